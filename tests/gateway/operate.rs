//! Tests what operators see: starting and failing to start, stopping, the files, the admin listener, the log.

use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::client::{Client, Response};
use crate::support::eventually;
use crate::support::gateway::{Gateway, Setup, does_not_start, write_private};
use crate::support::upstream::Upstream;

const COOKIE: &str = "__Host-doorwarden";

fn replace_in(path: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{text}");
    write_private(path, text.replacen(from, to, 1));
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}

#[test]
fn a_port_in_use_is_a_clear_line_at_once() {
    let upstream = Upstream::start();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for key in ["http = [\"127.0.0.1:0\"]", "admin = \"127.0.0.1:0\""] {
        let folder = Setup::new(upstream.address).prepare();
        let to = key.replace("127.0.0.1:0", &address);
        replace_in(&folder.path().join("gateway.toml"), key, &to);
        let line = does_not_start(folder.path());
        assert!(line.contains(&format!("cannot listen on {address}")), "{line}");
        assert!(!line.contains('\n'));
    }
}

#[test]
fn what_lies_beside_the_store_must_be_sound_and_private() {
    let upstream = Upstream::start();
    type Spoil = fn(&Path);
    let cases: [(&str, Spoil, &str); 9] = [
        ("signing-key.pem", |file| set_mode(file, 0o644), "chmod 600"),
        ("signing-key.pem", |file| write_private(file, "no key"), "signing-key.pem"),
        (
            "signing-key.pem",
            |file| {
                std::fs::remove_file(file).unwrap();
                std::fs::create_dir(file).unwrap();
            },
            "not a regular file",
        ),
        ("refresh-key", |file| set_mode(file, 0o640), "chmod 600"),
        ("refresh-key", |file| write_private(file, "short"), "refresh-key"),
        ("operator-token", |file| set_mode(file, 0o604), "chmod 600"),
        ("operator-token", |file| write_private(file, "1234"), "holds no token"),
        ("store.db", |file| set_mode(file, 0o644), "chmod 600"),
        (
            "store.db",
            |file| {
                write_private(file, vec![7; 64 * 1024]);
                // A complete write-ahead log could repair the damage.
                let _ = std::fs::remove_file(file.with_extension("db-wal"));
            },
            "is damaged",
        ),
    ];
    // A folder that a gateway has used, copied for each case.
    let mut used = Setup::new(upstream.address).start();
    used.client().sign_in("kim", "correct horse battery");
    used.terminate();
    assert_eq!(used.wait(), Some(0));
    for (name, spoil, says) in cases {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("state")).unwrap();
        for (from, to) in [("", ""), ("state", "state")] {
            for entry in std::fs::read_dir(used.folder().join(from)).unwrap() {
                let entry = entry.unwrap();
                if entry.file_type().unwrap().is_file() {
                    let to = folder.path().join(to).join(entry.file_name());
                    std::fs::copy(entry.path(), to).unwrap();
                }
            }
        }
        spoil(&folder.path().join("state").join(name));
        let line = does_not_start(folder.path());
        assert!(line.contains(says) && line.contains(name), "{name}: {line}");
    }
}

#[test]
fn all_that_it_makes_is_for_its_owner_alone() {
    let upstream = Upstream::start();
    let mut gateway = Setup::new(upstream.address).log("audit_file = \"audit.log\"").start();
    gateway.client().sign_in("kim", "correct horse battery");
    for stopped in [false, true] {
        if stopped {
            gateway.terminate();
            assert_eq!(gateway.wait(), Some(0));
        }
        let state = gateway.folder().join("state");
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        assert_eq!(mode(&state), 0o700);
        let files: Vec<_> =
            std::fs::read_dir(&state).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(files.len() >= 4, "{files:?}");
        let trail = ["audit.log", "audit.log.head"].map(|name| gateway.folder().join(name));
        for file in files.iter().chain(&trail) {
            assert_eq!(mode(file), 0o600, "{}", file.display());
        }
    }
    let audit = std::fs::read_to_string(gateway.folder().join("audit.log")).unwrap();
    let first: Value = serde_json::from_str(audit.lines().nth(1).unwrap()).unwrap();
    assert_eq!((&first["event"], &first["user"]), (&json!("sign_in"), &json!("file/kim")));
}

#[test]
fn a_directory_that_cannot_be_asked_is_told_at_the_start() {
    let upstream = Upstream::start();
    for (keys, says) in [("", "gone.db"), ("user_table = \"people\"", "people")] {
        let setup = Setup::new(upstream.address).directories(&format!(
            "[[directory]]\nkind = \"django\"\ndatabase = \"sqlite://gone.db\"\n{keys}\n"
        ));
        // An empty file is a database without tables.
        let setup = if keys.is_empty() { setup } else { setup.file("gone.db", b"") };
        let gateway = setup.start();
        let line = gateway.logged("the warning", |line| line["error"].is_string());
        assert_eq!(line["level"], "WARN");
        assert!(line["error"].as_str().unwrap().contains(says), "{line}");
        let login = json!({"username": "kim", "password": "correct horse battery"});
        let answer = gateway.client().post("/login").json(&login).send();
        assert_eq!((answer.status, &*answer.code()), (503, "directory_unavailable"));
    }
}

#[test]
fn a_second_signal_does_not_wait_for_requests_in_flight() {
    let upstream = Upstream::start();
    let mut gateway = Setup::new(upstream.address).start();
    // The first signal waits for this request, up to listen.shutdown_timeout (30 s).
    let mut hanging = gateway.client().connect();
    hanging.write_all(&gateway.client().get("/public/hang").bytes()).unwrap();
    eventually("the request to arrive", || (!upstream.seen().is_empty()).then_some(()));
    gateway.terminate();
    gateway.logged("the first signal", |line| line["message"] == "stopping");
    gateway.terminate();
    assert_eq!(gateway.wait(), Some(0));
    gateway.logged("the end", |line| line["message"] == "stopped");
}

#[test]
fn an_interrupt_stops_it_as_well() {
    let upstream = Upstream::start();
    let mut gateway = Setup::new(upstream.address).start();
    crate::support::gateway::signal("INT", gateway.pid());
    assert_eq!(gateway.wait(), Some(0));
}

#[test]
fn a_store_in_memory_does_the_same_until_the_end() {
    let upstream = Upstream::start();
    let mut gateway =
        Setup::new(upstream.address).store("kind = \"memory\"\npath = \"state/store.db\"").start();
    let client = gateway.client();
    let tokens = client.sign_in("kim", "correct horse battery");
    let other = client.sign_in("root", "toor toor toor");
    let bearer = |gateway: &Gateway, tokens: &Value| {
        gateway.client().get("/app").bearer(tokens["access"].as_str().unwrap()).send().status
    };
    let next = client.post("/refresh").json(&json!({"refresh": tokens["refresh"]})).send();
    assert_eq!(next.status, 200);
    assert_eq!(bearer(&gateway, &next.json()), 200);
    let out = client.post("/logout").bearer(tokens["access"].as_str().unwrap()).send();
    assert_eq!((out.status, bearer(&gateway, &next.json())), (204, 401));
    assert_eq!(bearer(&gateway, &other), 200);
    assert!(!gateway.folder().join("state/store.db").exists());
    gateway.terminate();
    assert_eq!(gateway.wait(), Some(0));
    gateway.spawn();
    assert_eq!(bearer(&gateway, &other), 401, "nothing survives a restart");
}

#[test]
fn the_operators_api_takes_the_operators_token_and_nothing_else() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).start();
    let answer = gateway
        .client()
        .post("/login")
        .json(&json!({"username": "root", "password": "toor toor toor"}))
        .send();
    let (tokens, cookie) = (answer.json(), answer.set_cookie(COOKIE).unwrap());
    let admin = Client::new(gateway.admin);
    let token = std::fs::read_to_string(gateway.folder().join("state/operator-token")).unwrap();
    for (method, target) in [
        ("GET", "/sessions"),
        ("POST", "/sessions/end"),
        ("GET", "/keys"),
        ("POST", "/keys/rotate"),
        ("GET", "/nothing"),
    ] {
        let ask = || admin.request(method, target).host("localhost");
        let mut almost = token.trim().to_owned();
        almost.pop();
        for (what, request) in [
            ("nothing", ask()),
            ("a user's access token", ask().bearer(tokens["access"].as_str().unwrap())),
            ("a user's refresh token", ask().bearer(tokens["refresh"].as_str().unwrap())),
            ("a user's cookie", ask().cookie(COOKIE, &cookie)),
            ("most of the token", ask().bearer(&almost)),
            ("a longer token", ask().bearer(&format!("{}A", token.trim()))),
            ("another scheme", ask().header("Authorization", &format!("Basic {}", token.trim()))),
            (
                "a query",
                admin
                    .request(method, &format!("{target}?token={}", token.trim()))
                    .host("localhost"),
            ),
        ] {
            let refused = request.send();
            assert_eq!(refused.status, 401, "{what} at {target}: {}", refused.text());
        }
        let good = || gateway.operator(method, target);
        for (what, request, status) in [
            ("a page", good().header("Origin", "http://localhost"), 403),
            ("a page without an origin", good().header("Origin", "null"), 403),
            ("a rebound name", good().host("evil.test"), 400),
            ("a rebound name with a port", good().host("evil.test:9090"), 400),
            ("a name that looks like one of ours", good().host("localhost.evil.test"), 400),
        ] {
            assert_eq!(request.send().status, status, "{what} at {target}");
        }
    }
    let keys = gateway.operator("GET", "/keys").send().json();
    assert_eq!(keys["keys"].as_array().unwrap().len(), 1, "no refused request has rotated it");
    for host in ["127.0.0.1", "127.0.0.1:9090", "localhost:9090", "[::1]:9090"] {
        assert_eq!(gateway.operator("GET", "/sessions").host(host).send().status, 200, "{host}");
    }
}

#[test]
fn the_operators_api_answers_exactly_what_it_has() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).start();
    for (method, target, status) in [
        // The page for people.
        ("GET", "/", 303),
        ("POST", "/", 404),
        ("DELETE", "/operator", 405),
        ("GET", "/operator/", 404),
        ("GET", "/operator/sign-in", 405),
        ("GET", "/sessions/", 404),
        ("GET", "/Sessions", 404),
        ("GET", "//keys", 404),
        ("GET", "/keys/../sessions", 404),
        ("GET", "/login", 404),
        ("DELETE", "/sessions", 405),
        ("GET", "/keys/rotate", 405),
        ("GET", "/sessions/end", 405),
        ("POST", "/metrics", 404),
        ("GET", "/sessions?user=nobody", 400),
    ] {
        let answer = gateway.operator(method, target).send();
        assert_eq!(answer.status, status, "{method} {target}: {}", answer.text());
    }
    for (body, status) in [
        ("", 400),
        ("[]", 400),
        ("{}", 400),
        ("{\"session\": 1}", 400),
        ("{\"session\": \"a\", \"user\": \"file/kim\"}", 400),
        ("{\"session\": \"nothing\"}", 200),
    ] {
        let answer = gateway.operator("POST", "/sessions/end").body(body.as_bytes()).send();
        assert_eq!(answer.status, status, "{body}: {}", answer.text());
    }
    let large = gateway.operator("POST", "/sessions/end").body(&vec![b' '; 17 * 1024]).send();
    assert_eq!((large.status, large.code().as_str()), (413, "body_too_large"));
}

#[test]
fn nothing_of_the_admin_listener_is_on_the_public_port() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).start();
    let token = std::fs::read_to_string(gateway.folder().join("state/operator-token")).unwrap();
    for (method, target) in [
        ("GET", "/metrics"),
        ("GET", "/live"),
        ("GET", "/ready"),
        ("GET", "/sessions"),
        ("GET", "/keys"),
        ("POST", "/keys/rotate"),
    ] {
        for host in ["localhost", "127.0.0.1"] {
            let answer =
                gateway.client().request(method, target).host(host).bearer(token.trim()).send();
            assert_eq!(
                (answer.status, answer.code().as_str()),
                (401, "token_not_valid"),
                "{target}"
            );
        }
    }
    assert!(upstream.seen().is_empty(), "the operator's token passes nothing on");
    for (target, text) in [("/live", "live\n"), ("/ready", "ready\n")] {
        let answer = Client::new(gateway.admin).get(target).host("localhost").send();
        assert_eq!((answer.status, answer.text().as_str()), (200, text));
    }
    // The admin listener serves nothing of the public port.
    let login = Client::new(gateway.admin)
        .post("/login")
        .host("localhost")
        .json(&json!({"username": "kim", "password": "correct horse battery"}))
        .send();
    assert_eq!(login.status, 401, "{}", login.text());
}

#[test]
fn metrics_have_the_names_and_types_of_the_golden_file() {
    let upstream = Upstream::start();
    // Some metrics exist only with shadowed routes and notification channels.
    let setup = Setup::new(upstream.address).with(
        "[shadow]\nroutes = [\"public\"]\n[notify.mail]\nhost = \"mail.example\"\n\
         from = \"a@example.com\"\npublic_url = \"https://app.example\"\n",
    );
    let gateway = setup.start();
    let client = gateway.client();
    let tokens = client.sign_in("kim", "correct horse battery");
    assert_eq!(client.get("/app").bearer(tokens["access"].as_str().unwrap()).send().status, 200);
    // Some exist only from the first request on.
    eventually("that request to be counted", || {
        gateway.metric("doorwarden_requests_total{code=\"200\",method=\"GET\",route=\"app\"}")
    });
    let answer = Client::new(gateway.admin).get("/metrics").host("localhost").send();
    assert!(answer.header("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
    let text = answer.text();
    let mut served: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    served.sort_unstable();
    let golden = include_str!("../golden/metrics.txt");
    let golden: Vec<String> =
        golden.lines().map(|line| line.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(served, golden);
    // Labels are closed sets: none contains a caller or a target. The operator wrote the server's address.
    let text = text.replace(&format!("server=\"{}\"", upstream.address), "server");
    for word in ["kim", "127.0.0.1", "app.test", "/app", tokens["access"].as_str().unwrap()] {
        assert!(!text.contains(word), "{word} is in the metrics");
    }
}

/// Does everything that a client can do right and wrong with its secrets. Returns the number of requests, and the secrets.
fn a_whole_run(gateway: &Gateway) -> (usize, Vec<String>) {
    let client = gateway.client();
    let mut secrets: Vec<String> = Vec::new();
    let mut requests = 0;
    let mut send = |request: crate::support::client::Request| -> Response {
        requests += 1;
        request.send()
    };
    let text = |body: &Value, name: &str| body[name].as_str().unwrap().to_owned();
    let passwords = ["correct horse battery", "a wrong guess of mine", "toor toor toor"];
    secrets.extend(passwords.map(str::to_owned));
    let login = |password: &str| {
        client.post("/login").json(&json!({"username": "kim", "password": password}))
    };
    let answer = send(login(passwords[0]));
    let (tokens, cookie) = (answer.json(), answer.set_cookie(COOKIE).unwrap());
    assert_eq!(send(login(passwords[1])).status, 401);
    let form = [("username", "root"), ("password", passwords[2])];
    let page = send(client.post("/login").form(&form).navigation());
    let pages_cookie = page.set_cookie(COOKIE).expect("a cookie");
    let (access, refresh) = (text(&tokens, "access"), text(&tokens, "refresh"));
    let next = send(client.post("/refresh").json(&json!({"refresh": refresh}))).json();
    let kept = send(client.post("/refresh").json(&json!({"refresh": text(&next, "refresh")})));
    secrets.extend([text(&next, "access"), text(&next, "refresh")]);
    secrets.extend([text(&kept.json(), "access"), text(&kept.json(), "refresh")]);
    for request in [
        client.get("/app").bearer(&access),
        client.get("/app").cookie(COOKIE, &cookie),
        client.get("/public/x").bearer(&access).cookie("sessionid", "the-apps-own"),
        client.get("/session").cookie(COOKIE, &cookie),
        // In wrong places, and in forms that are refused.
        client.get(&format!("/app?access_token={access}&next=/x")),
        client.get("/app").bearer(&format!("{access} {access}")),
        client.get("/app").bearer(&refresh),
        client.get("/app").header("Authorization", &format!("Basic {access}")),
        client.get("/app").header("X_Token", &access).bearer(&access),
        client.get("/app").header("Cookie", &format!("{COOKIE}={cookie}; {COOKIE}=x")),
        client.get("/app").cookie(COOKIE, &pages_cookie).bearer(&access),
        client.post("/verify").json(&json!({"token": access})),
        client.post("/verify").json(&json!({"token": format!("{access}x")})),
        client.post("/refresh").json(&json!({"refresh": format!("{refresh}x")})),
        client.post("/login").body(format!("{{\"password\": \"{}\",", passwords[1]).as_bytes()),
        client.post("/login").json(&json!({"username": "kim", "password": [passwords[0]]})),
        client.get("/a%2fb").bearer(&access),
        client.get("/app").host("bad host").bearer(&access),
        client.get("/app").header("Connection", "X-User-Id").bearer(&access),
        // The upstream closes the connection in the middle.
        client.get("/public/break").bearer(&access),
        // The end of the session; a spent token after the grace period would end it as well.
        client.post("/logout").json(&json!({"refresh": text(&kept.json(), "refresh")})),
        client.get("/app").bearer(&access),
    ] {
        send(request);
    }
    // Parts of a token are useful too: its signature is the part that cannot be guessed.
    let signature = access.rsplit('.').next().unwrap().to_owned();
    secrets.extend([access, refresh, cookie, pages_cookie, signature, "the-apps-own".into()]);
    let token = std::fs::read_to_string(gateway.folder().join("state/operator-token")).unwrap();
    secrets.push(token.trim().to_owned());
    assert_eq!(gateway.operator("GET", "/sessions").send().status, 200);
    Client::new(gateway.admin).get("/keys").host("localhost").bearer(&secrets[0]).send();
    (requests, secrets)
}

#[test]
fn no_secret_is_in_any_log_and_every_request_has_one_line() {
    for level in ["info", "debug"] {
        let upstream = Upstream::start();
        let mut gateway = Setup::new(upstream.address).log(&format!("level = \"{level}\"")).start();
        let (requests, secrets) = a_whole_run(&gateway);
        gateway.terminate();
        assert_eq!(gateway.wait(), Some(0));
        gateway.logged("the end", |line| line["message"] == "stopped");
        let log = gateway.log();
        let lines: Vec<Value> = log
            .iter()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}")))
            .collect();
        for secret in &secrets {
            assert!(secret.len() > 8);
            let found = log.iter().find(|line| line.contains(secret.as_str()));
            assert_eq!(found, None, "{secret} is in the log at level {level}");
        }
        let access: Vec<&Value> = lines.iter().filter(|line| line["target"] == "access").collect();
        assert_eq!(access.len(), requests, "one line for each request at level {level}");
        let mut ids: Vec<&str> =
            access.iter().filter_map(|line| line["request_id"].as_str()).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), requests, "each has an id of its own");
        let audited = |event: &str| lines.iter().filter(|line| line["event"] == event).count();
        assert_eq!((audited("sign_in"), audited("sign_in_failed"), audited("refresh")), (2, 1, 2));
    }
}

#[test]
fn a_hang_up_opens_the_audit_file_anew_and_goes_on() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).log("audit_file = \"audit.log\"").start();
    let (file, moved) = (gateway.folder().join("audit.log"), gateway.folder().join("audit.log.1"));
    let sign_ins = |path: &Path| {
        std::fs::read_to_string(path).unwrap_or_default().matches("\"event\":\"sign_in\"").count()
    };
    gateway.client().sign_in("kim", "correct horse battery");
    eventually("the first line", || (sign_ins(&file) == 1).then_some(()));
    std::fs::rename(&file, &moved).unwrap();
    crate::support::gateway::signal("HUP", gateway.pid());
    eventually("a new file", || file.exists().then_some(()));
    gateway.client().sign_in("kim", "correct horse battery");
    eventually("the second line", || (sign_ins(&file) == 1).then_some(()));
    assert_eq!(sign_ins(&moved), 1);
}

#[test]
fn who_was_refused_and_why_is_told_to_operators_alone() {
    let upstream = Upstream::start();
    let route = "name = \"admins\"\npath = \"/admins/\"\ngroups = [\"admins\"]";
    let gateway = Setup::new(upstream.address).route(route).start();
    let client = gateway.client();
    let token =
        client.sign_in("kim", "correct horse battery")["access"].as_str().unwrap().to_owned();
    assert_eq!(client.get("/admins/").bearer(&token).send().code(), "group_required");
    for target in ["access", "audit"] {
        let line = gateway
            .logged(target, |line| line["target"] == target && line["reason"] == "group_required");
        assert_eq!(line["user"], "file/kim", "{line}");
    }
    let forged = format!("{}AAAA", &token[..token.len() - 4]);
    assert_eq!(client.get("/x").bearer(&forged).send().code(), "token_not_valid");
    for (reason, count) in [("token_not_valid", 1.0), ("token_expired", 0.0)] {
        let labels = format!("code=\"token_not_valid\",reason=\"{reason}\"");
        gateway.counts(&format!("doorwarden_refusals_total{{{labels}}}"), count);
    }
}
