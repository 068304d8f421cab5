//! Tests reloading another configuration: what a client sees before and after, and what is not interrupted.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::net::TcpStream;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::client::{Client, Response};
use crate::support::eventually;
use crate::support::gateway::{Gateway, Setup, signal, write_private};
use crate::support::soak;
use crate::support::tls::{Certificate, connect_to};
use crate::support::upstream::Upstream;

const GENERATION: &str = "doorwarden_config_generation";
const SUCCESSFUL: &str = "doorwarden_config_last_reload_successful";

impl Gateway {
    /// Replaces one text of the gateway's configuration.
    fn edit(&self, from: &str, to: &str) {
        let path = self.folder().join("gateway.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{from} is not in\n{text}");
        write_private(&path, text.replacen(from, to, 1));
    }

    fn append(&self, toml: &str) {
        let path = self.folder().join("gateway.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        write_private(&path, format!("{text}\n{toml}\n"));
    }

    /// Runs `doorwarden reload`, which must succeed, and returns what it prints.
    fn reload(&self) -> String {
        let output = self.command(&["reload", "--config", "gateway.toml"]);
        assert!(output.status.success(), "{}", told(&output));
        told(&output)
    }
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

fn access_token(client: &Client) -> String {
    client.sign_in("kim", "correct horse battery")["access"].as_str().unwrap().to_owned()
}

#[test]
fn what_is_changed_counts_for_the_next_request() {
    let upstream = Upstream::start();
    let other = Upstream::start();
    let gateway = Setup::new(upstream.address).start();
    let client = gateway.client();
    let token = access_token(&client);
    let kim = |path: &str| client.get(path).bearer(&token).send().status;

    assert_eq!((kim("/x"), client.get("/public/x").send().status), (200, 200));
    // A route is closed.
    gateway.edit("access = \"public\"", "access = \"signed-in\"");
    assert_eq!(gateway.reload(), "generation 2 is served\n");
    assert_eq!((kim("/public/x"), client.get("/public/x").send().status), (200, 401));
    // A route demands a group.
    gateway.edit(
        "name = \"app\"\npath = \"/\"",
        "name = \"app\"\npath = \"/\"\ngroups = [\"admins\"]",
    );
    gateway.reload();
    assert_eq!((kim("/x"), kim("/public/x")), (403, 200));
    // A route is removed: its paths belong to the next one.
    gateway.edit("name = \"public\"\npath = \"/public/\"", "name = \"public\"\npath = \"/moved/\"");
    gateway.reload();
    assert_eq!((kim("/public/x"), kim("/moved/x")), (403, 200));
    // Another server, and another name for the header with the user's id.
    gateway.edit(&upstream.address.to_string(), &other.address.to_string());
    gateway.append("[identity]\nuser_id = \"X-Who\"");
    gateway.reload();
    assert_eq!(kim("/moved/x"), 200);
    assert_eq!(other.last().header("x-who"), Some("kim"));
    assert_eq!(other.last().header("x-user-id"), None);
    // An own path is moved.
    gateway.append("[paths]\nsession = \"/me\"");
    gateway.reload();
    assert_eq!((kim("/me"), kim("/session")), (200, 403));
    gateway.counts(GENERATION, 6.0);
    gateway.counts(SUCCESSFUL, 1.0);
    // A route has one counter, whichever configuration it was in.
    let counted = "doorwarden_requests_total{code=\"200\",method=\"GET\",route=\"public\"}";
    gateway.counts(counted, 5.0);
}

#[test]
fn a_file_with_mistakes_changes_nothing_and_all_of_them_are_told() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).start();
    gateway.edit("path = \"/optional/\"", "path = \"optional\"");
    gateway.edit("access = \"public\"", "access = \"nobody\"");
    gateway.append("[sesion]\nidle_timeout = \"1h\"");
    let output = gateway.command(&["reload", "--config", "gateway.toml"]);
    assert_eq!(output.status.code(), Some(1));
    let told = told(&output);
    assert!(
        told.starts_with("doorwarden: the reload changed nothing (generation 1 is served):"),
        "{told}"
    );
    for says in ["route.path: ", "route.access: ", "sesion: unknown key (did you mean session?"] {
        assert!(told.contains(says), "{says} is not in\n{told}");
        gateway.logged("the reason", |line| {
            line["level"] == "ERROR"
                && line["problem"].as_str().is_some_and(|problem| problem.contains(says))
        });
    }
    assert_eq!(gateway.client().get("/public/x").send().status, 200);
    assert_eq!((gateway.metric(GENERATION), gateway.metric(SUCCESSFUL)), (Some(1.0), Some(0.0)));
    // A container's health check still works.
    let health = gateway.command(&["health", "--config", "gateway.toml"]);
    assert_eq!(String::from_utf8_lossy(&health.stdout), "ready\n");

    for (from, to) in [
        ("path = \"optional\"", "path = \"/optional/\""),
        ("access = \"nobody\"", "access = \"public\""),
        ("[sesion]", "[session]"),
    ] {
        gateway.edit(from, to);
    }
    gateway.reload();
    assert_eq!((gateway.metric(GENERATION), gateway.metric(SUCCESSFUL)), (Some(2.0), Some(1.0)));
}

#[test]
fn what_a_configuration_names_is_opened_before_anything_changes() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).file("bad.mmdb", b"no database").start();
    let directory = "[[directory]]\nkind = \"file\"\n";
    for (toml, says) in [
        ("[geo]\ncountry_database = \"missing.mmdb\"", "missing.mmdb"),
        ("[geo]\ncountry_database = \"bad.mmdb\"", "bad.mmdb"),
        ("[[directory]]\nkind = \"file\"\nname = \"two\"\npath = \"none.toml\"", "none.toml"),
        ("[[issuer]]\nkind = \"simplejwt\"\nkey_file = \"no-key\"\n", "no-key"),
    ] {
        gateway.edit(directory, &format!("{toml}\n{directory}"));
        let output = gateway.command(&["reload", "--config", "gateway.toml"]);
        assert!(told(&output).contains(says), "{}", told(&output));
        assert_eq!(output.status.code(), Some(1), "{toml}");
        gateway.edit(&format!("{toml}\n"), "");
    }
    let two = "[geo]\ncountry_database = \"bad.mmdb\"\n[[issuer]]\nkind = \"simplejwt\"\nkey_file = \"no-key\"\n";
    gateway.edit(directory, &format!("{two}{directory}"));
    let both = told(&gateway.command(&["reload", "--config", "gateway.toml"]));
    assert!(both.contains("bad.mmdb") && both.contains("no-key"), "{both}");
    let missing = gateway.command(&["reload", "--config", "none.toml"]);
    assert_eq!(missing.status.code(), Some(1));
    gateway.counts(GENERATION, 1.0);
}

#[test]
fn who_is_signed_in_stays_so_and_what_was_counted_stays_counted() {
    let upstream = Upstream::start();
    let login = "[login]\naccount_failures = 3\nfirst_wait = \"1h\"\nlongest_wait = \"1h\"\nforget_after = \"24h\"";
    let gateway = Setup::new(upstream.address).with(login).start();
    let client = gateway.client();
    let tokens = client.sign_in("kim", "correct horse battery");
    let (access, refresh) =
        (tokens["access"].as_str().unwrap(), tokens["refresh"].as_str().unwrap());
    let signs_in = |password: &str| {
        let body = serde_json::json!({"username": "lee", "password": password});
        client.post("/login").json(&body).send().status
    };
    assert_eq!((signs_in("wrong"), signs_in("wrong"), signs_in("wrong")), (401, 401, 401));
    assert_eq!(signs_in("staple 한글 암호"), 429);

    // A kept connection, a WebSocket, and a request in progress.
    let mut kept = client.connect();
    let head =
        format!("GET /x HTTP/1.1\r\nHost: app.test\r\nAuthorization: Bearer {access}\r\n\r\n");
    kept.write_all(head.as_bytes()).unwrap();
    assert_eq!(Response::read(&mut kept, false).status, 200);
    let mut dripping = client.connect();
    let head =
        format!("GET /drip HTTP/1.1\r\nHost: app.test\r\nAuthorization: Bearer {access}\r\n\r\n");
    dripping.write_all(head.as_bytes()).unwrap();
    let mut first = [0; 17];
    dripping.read_exact(&mut first).unwrap();

    gateway.edit(
        "name = \"app\"\npath = \"/\"",
        "name = \"app\"\npath = \"/\"\ngroups = [\"admins\"]",
    );
    gateway.reload();

    // The request was permitted by the previous configuration, and ends under it.
    upstream.release();
    let mut rest = String::new();
    dripping.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    while !rest.contains("0\r\n\r\n") {
        let mut part = [0; 1024];
        let length = dripping.read(&mut part).unwrap();
        assert!(length > 0, "{rest}");
        rest.push_str(&String::from_utf8_lossy(&part[..length]));
    }
    let head = format!(
        "GET /public/x HTTP/1.1\r\nHost: app.test\r\nAuthorization: Bearer {access}\r\n\r\n"
    );
    kept.write_all(head.as_bytes()).unwrap();
    assert_eq!(Response::read(&mut kept, false).status, 200, "the connection is the same");
    assert_eq!(client.get("/session").bearer(access).send().status, 200);
    assert_eq!(client.get("/x").bearer(access).send().code(), "group_required");
    assert_eq!(signs_in("staple 한글 암호"), 429, "three failures are still counted");
    let refreshed = client.post("/refresh").json(&serde_json::json!({"refresh": refresh})).send();
    assert_eq!(refreshed.status, 200);
    let sessions = gateway.operator("GET", "/sessions").send().json();
    assert_eq!(sessions["sessions"].as_array().unwrap().len(), 1);
}

#[test]
fn a_directory_of_other_people_is_refused_under_the_old_name() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).start();
    let client = gateway.client();
    let token = access_token(&client);
    let users = std::fs::read(gateway.folder().join("users.toml")).unwrap();
    write_private(&gateway.folder().join("moved.toml"), users);
    gateway.edit("path = \"users.toml\"", "path = \"moved.toml\"");
    let output = gateway.command(&["reload", "--config", "gateway.toml"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(told(&output).contains("the directory \"file\" has other users"), "{}", told(&output));
    assert_eq!(client.get("/x").bearer(&token).send().status, 200);

    gateway.edit("path = \"moved.toml\"", "path = \"moved.toml\"\ndanger_same_users = true");
    gateway.reload();
    assert_eq!(client.get("/x").bearer(&token).send().status, 200, "they are the same people");

    gateway.edit("danger_same_users = true", "name = \"others\"");
    gateway.reload();
    eventually("the end of a session whose directory is gone", || {
        (client.get("/x").bearer(&token).send().code() == "session_ended").then_some(())
    });
}

#[test]
fn another_signing_key_ends_access_tokens_and_no_session() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).start();
    let client = gateway.client();
    let tokens = client.sign_in("kim", "correct horse battery");
    let (old, refresh) = (tokens["access"].as_str().unwrap(), tokens["refresh"].as_str().unwrap());
    assert_eq!(client.get("/x").bearer(old).send().status, 200);
    std::fs::remove_file(gateway.folder().join("state/signing-key.pem")).unwrap();
    gateway.reload();
    assert_eq!(client.get("/x").bearer(old).send().code(), "token_not_valid");
    let new = client.post("/refresh").json(&serde_json::json!({"refresh": refresh})).send().json();
    assert_eq!(client.get("/x").bearer(new["access"].as_str().unwrap()).send().status, 200);
}

#[test]
fn what_only_a_start_can_change_is_named() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).start();
    gateway.edit("threads = 2", "threads = 3");
    gateway.edit("path = \"state/store.db\"", "path = \"state/other.db\"");
    let told = gateway.reload();
    assert_eq!(
        told,
        "generation 2 is served\n\
         listen.threads has changed; it takes effect at the next start\n\
         store has changed; it takes effect at the next start\n"
    );
}

#[test]
fn a_changed_file_is_read_by_itself_and_a_hang_up_reads_it_too() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).with("[reload]\nwatch = true").start();
    let is_open = || (gateway.client().get("/x").send().status == 200).then_some(());
    gateway
        .edit("name = \"app\"\npath = \"/\"", "name = \"app\"\npath = \"/\"\naccess = \"public\"");
    eventually("the change to be served", is_open);

    gateway.edit("watch = true", "watch = false");
    eventually("that change too", || (gateway.metric(GENERATION) == Some(3.0)).then_some(()));
    gateway.edit("path = \"/\"\naccess = \"public\"", "path = \"/\"");
    signal("HUP", gateway.pid());
    eventually("the hang-up", || is_open().is_none().then_some(()));
    gateway.counts(GENERATION, 4.0);
}

#[test]
fn listeners_come_and_go_and_their_connections_live_on() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).start();
    // A port that was free a moment ago.
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let one = "http = [\"127.0.0.1:0\"]";
    let two = format!("http = [\"127.0.0.1:0\", \"{free}\"]");

    let refused = format!("http = [\"{}\"]", taken.local_addr().unwrap());
    gateway.edit(one, &refused);
    let output = gateway.command(&["reload", "--config", "gateway.toml"]);
    assert!(told(&output).contains("cannot listen on"), "{}", told(&output));
    gateway.edit(&refused, &two);
    gateway.reload();
    let other = Client::new(free);
    let mut kept = other.connect();
    let head = "GET /public/x HTTP/1.1\r\nHost: app.test\r\n\r\n";
    kept.write_all(head.as_bytes()).unwrap();
    assert_eq!(Response::read(&mut kept, false).status, 200);

    gateway.edit(&two, one);
    gateway.reload();
    eventually("nobody listens there any more", || TcpStream::connect(free).is_err().then_some(()));
    kept.write_all(head.as_bytes()).unwrap();
    assert_eq!(Response::read(&mut kept, false).status, 200, "a connection of it");
    assert_eq!(gateway.client().get("/public/x").send().status, 200);
}

#[test]
fn limits_and_times_of_connections_are_those_of_the_moment() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).start();
    gateway.edit(
        "threads = 2",
        "threads = 2\nmax_connections_per_address = 1\nmax_target_bytes = \"256B\"",
    );
    gateway.reload();
    let _first = gateway.client().connect();
    eventually("the second connection to be closed", || {
        let mut second = gateway.client().connect();
        (second.read(&mut [0; 1]).ok() == Some(0)).then_some(())
    });
    gateway.edit("max_connections_per_address = 1", "max_connections_per_address = 0");
    // The admin listener has a limit of its own.
    gateway.reload();
    let long = format!("/public/{}", "x".repeat(300));
    assert_eq!(gateway.client().get(&long).send().code(), "target_too_long");
}

#[test]
fn certificates_are_chosen_by_name_and_changed_without_a_restart() {
    let upstream = Upstream::start();
    let all = ["app.test", "*.shop.test", "app.test"].map(Certificate::of);
    let mut setup = Setup::new(upstream.address).listen(
        "https = [\"127.0.0.1:0\"]\ncertificate_file = \"0.pem\"\nprivate_key_file = \"0.key\"",
    );
    for (n, one) in all.iter().enumerate() {
        setup = setup.file(&format!("{n}.pem"), one.pem.as_bytes());
        setup = setup.file(&format!("{n}.key"), one.key.as_bytes());
    }
    let gateway = setup.start();
    let serves = |name: &str, certificate: &Certificate| {
        let config = Arc::new(certificate.client(&["http/1.1"]));
        let mut stream = connect_to(name, gateway.https.unwrap(), &config);
        stream.conn.complete_io(&mut stream.sock).is_ok()
    };
    let [first, shop, renewed] = &all;
    assert!(serves("app.test", first) && !serves("a.shop.test", shop));

    gateway.append(
        "[[listen.certificate]]\ncertificate_file = \"1.pem\"\nprivate_key_file = \"1.key\"",
    );
    gateway.reload();
    for (name, certificate, is_served) in [
        ("app.test", first, true),
        ("a.shop.test", shop, true),
        ("A.SHOP.test", shop, true),
        // The wildcard stands for exactly one label.
        ("a.b.shop.test", shop, false),
        ("shop.test", shop, false),
    ] {
        assert_eq!(serves(name, certificate), is_served, "{name}");
    }
    gateway.edit("\"0.pem\"", "\"2.pem\"");
    let output = gateway.command(&["reload", "--config", "gateway.toml"]);
    assert!(told(&output).contains("0.key"), "{}", told(&output));
    assert!(serves("app.test", first), "the pair does not belong together");
    gateway.edit("\"0.key\"", "\"2.key\"");
    gateway.reload();
    assert!(serves("app.test", renewed) && !serves("app.test", first));
}

#[test]
fn the_log_and_the_audit_trail_are_those_of_the_moment() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).log("audit_file = \"one.log\"").start();
    let sign_ins = |name: &str| {
        let text = std::fs::read_to_string(gateway.folder().join(name)).unwrap_or_default();
        text.matches("\"event\":\"sign_in\"").count()
    };
    let accesses = || gateway.log().iter().filter(|line| line.contains("\"access\"")).count();
    access_token(&gateway.client());
    eventually("the first file to have it", || (sign_ins("one.log") == 1).then_some(()));
    eventually("its access line", || (accesses() == 1).then_some(()));
    gateway.edit("\"one.log\"", "\"two.log\"\naccess = false");
    gateway.reload();
    access_token(&gateway.client());
    eventually("the second file to have it", || (sign_ins("two.log") == 1).then_some(()));
    assert_eq!((sign_ins("one.log"), accesses()), (1, 1));
}

/// Returns an open WebSocket.
fn websocket(client: &Client, token: &str) -> TcpStream {
    let mut stream = client.connect();
    let handshake = client
        .get("/socket")
        .bearer(token)
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    stream.write_all(&handshake.bytes()).unwrap();
    assert_eq!(Response::read(&mut stream, false).status, 101);
    stream
}

/// Reloads under load, some of them with a broken file: nothing fails, and WebSockets stay open.
#[test]
fn reloads_under_load_lose_nothing() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).start();
    let client = gateway.client();
    let token = access_token(&client);
    let mut sockets: Vec<TcpStream> = (0..8).map(|_| websocket(&client, &token)).collect();
    let memory = || gateway.metric("process_resident_memory_bytes").unwrap() / 1024.0 / 1024.0;
    let memory_before = memory();
    let reloads = soak::times(10, 200);
    let stop = Arc::new(AtomicBool::new(false));
    let (done, failed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let began = Instant::now();
    let workers: Vec<_> = (0..8)
        .map(|n| {
            let (stop, done, failed) = (Arc::clone(&stop), Arc::clone(&done), Arc::clone(&failed));
            let (client, token) = (client.clone(), token.clone());
            thread::spawn(move || {
                let mut kept = client.connect();
                let path = ["/x", "/public/x"][n % 2];
                let head = format!(
                    "GET {path} HTTP/1.1\r\nHost: app.test\r\nAuthorization: Bearer {token}\r\n\r\n"
                );
                while !stop.load(Ordering::Relaxed) {
                    kept.write_all(head.as_bytes()).unwrap();
                    let status = Response::read(&mut kept, false).status;
                    done.fetch_add(1, Ordering::Relaxed);
                    failed.fetch_add(usize::from(status != 200), Ordering::Relaxed);
                    thread::sleep(Duration::from_millis(5));
                }
            })
        })
        .collect();
    let mut broken = 0;
    for n in 0..reloads {
        let is_broken = n % 10 == 9;
        let (from, to) = match n % 2 {
            0 => ("[log]", "[cors]\nallowed_origins = [\"https://a.test\"]\n\n[log]"),
            _ => ("[cors]\nallowed_origins = [\"https://a.test\"]\n\n[log]", "[log]"),
        };
        gateway.edit(from, to);
        if is_broken {
            gateway.append("nonsense = 1");
        }
        // Some requests between any two reloads.
        let goal = done.load(Ordering::Relaxed) + 40;
        eventually("forty more requests", || (done.load(Ordering::Relaxed) >= goal).then_some(()));
        let reloaded = gateway.operator("POST", "/reload").send();
        assert_eq!(reloaded.status, if is_broken { 422 } else { 200 }, "{}", reloaded.text());
        if is_broken {
            broken += 1;
            gateway.edit("nonsense = 1", "");
        }
    }
    let took = began.elapsed();
    stop.store(true, Ordering::Relaxed);
    for worker in workers {
        worker.join().expect("no connection was lost");
    }
    for socket in &mut sockets {
        socket.write_all(b"still here").unwrap();
        let mut echoed = [0; 10];
        socket.read_exact(&mut echoed).unwrap();
        assert_eq!(&echoed, b"still here");
    }
    let (done, failed) = (done.load(Ordering::Relaxed), failed.load(Ordering::Relaxed));
    soak::report(&format!(
        "{reloads} reloads ({broken} broken) in {took:?}, {done} requests ({:.0}/s), {failed} failed; 8 of 8 WebSockets \
         open; memory {memory_before:.0} MiB before, {:.0} MiB after",
        done as f64 / took.as_secs_f64(),
        memory()
    ));
    assert_eq!(failed, 0, "of {done}");
    let served = f64::from(u32::try_from(1 + reloads - broken).unwrap());
    gateway.counts(GENERATION, served);
    assert_eq!(client.get("/session").bearer(&token).send().status, 200);
}
