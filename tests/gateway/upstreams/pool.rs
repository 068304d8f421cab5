//! Tests a pool of three, one of which is killed, hangs, flaps, is slow or fails; retries and their budget; limits; drains.

use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use super::switched::{Mode, Switched};
use crate::peers::servers::{Server, install, path};
use crate::support::client::Client;
use crate::support::eventually;
use crate::support::gateway::{Gateway, Setup};

const TIMEOUTS: &str = "connect_timeout = \"200ms\"\nread_timeout = \"300ms\"\n";
const EJECTION: &str = "[upstream.ejection]\nafter = 3\ntime = \"500ms\"\nlongest = \"2s\"\n";

fn three() -> [Switched; 3] {
    ["a", "b", "c"].map(Switched::start)
}

fn behind(servers: &[Switched], more: &str) -> Setup {
    let written: Vec<String> = servers.iter().map(|one| format!("\"{}\"", one.address)).collect();
    Setup::new(servers[0].address).servers(&written.join(", ")).upstream(more)
}

/// Returns the state of a server's address, as operators see it.
fn state(gateway: &Gateway, server: &Switched) -> String {
    let listed = gateway.operator("GET", "/upstreams").send().json();
    let servers = listed["upstreams"][0]["servers"].as_array().unwrap().clone();
    let name = server.address.to_string();
    let found = servers.iter().find(|one| one["name"] == name).unwrap();
    found["addresses"][0]["state"].as_str().unwrap().to_owned()
}

/// Clients that request a page again and again.
struct Load {
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicUsize>,
    failed: Arc<Mutex<Vec<u16>>>,
    last_failure: Arc<Mutex<Option<Instant>>>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Load {
    fn start(client: &Client, clients: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (sent, failed) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
        let last_failure = Arc::new(Mutex::new(None));
        let threads = (0..clients)
            .map(|_| {
                let client = client.clone();
                let (stop, sent, failed) =
                    (Arc::clone(&stop), Arc::clone(&sent), Arc::clone(&failed));
                let last_failure = Arc::clone(&last_failure);
                thread::spawn(move || {
                    while !stop.load(Ordering::SeqCst) {
                        let status = client.get("/public/x").send().status;
                        sent.fetch_add(1, Ordering::SeqCst);
                        if status != 200 {
                            failed.lock().unwrap().push(status);
                            *last_failure.lock().unwrap() = Some(Instant::now());
                        }
                    }
                })
            })
            .collect();
        Self { stop, sent, failed, last_failure, threads }
    }

    /// Returns how many requests were sent, and the statuses of failed ones, since the previous call.
    fn so_far(&self) -> (usize, Vec<u16>) {
        let sent = self.sent.swap(0, Ordering::SeqCst);
        (sent, std::mem::take(&mut *self.failed.lock().unwrap()))
    }

    /// Returns when a request last failed.
    fn last_failure(&self) -> Option<Instant> {
        *self.last_failure.lock().unwrap()
    }

    fn stop(self) -> (usize, Vec<u16>) {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads {
            thread.join().unwrap();
        }
        (self.sent.load(Ordering::SeqCst), std::mem::take(&mut *self.failed.lock().unwrap()))
    }
}

/// Waits for `count` more requests, so that a state has been tried.
fn more_requests(load: &Load, count: usize) {
    let before = load.sent.load(Ordering::SeqCst);
    eventually("requests", || (load.sent.load(Ordering::SeqCst) >= before + count).then_some(()));
}

#[test]
fn a_pool_of_three_under_load() {
    let mut servers = three();
    let gateway = behind(&servers, &format!("{TIMEOUTS}{EJECTION}")).start();
    let load = Load::start(&gateway.client(), 8);
    more_requests(&load, 100);
    let (sent, failed) = load.so_far();
    assert_eq!(failed, [0; 0], "of {sent}, before anything happens");

    let ejects = |what: &str, index: usize, servers: &[Switched]| {
        let begun = Instant::now();
        eventually(what, || (state(&gateway, &servers[index]) == "ejected").then_some(()));
        begun.elapsed()
    };
    let returns = |what: &str, index: usize, servers: &[Switched]| {
        let (begun, before) = (Instant::now(), servers[index].count());
        eventually(what, || (servers[index].count() > before + 20).then_some(()));
        begun.elapsed()
    };
    let mut report = String::new();
    let tell = |report: &mut String, what: &str, [ejected, returned]: [Duration; 2]| {
        let (sent, failed) = load.so_far();
        *report += &format!(
            "{what}: {} of {sent} failed, ejected after {ejected:.0?}, back {returned:.0?} after it was well\n",
            failed.len()
        );
        failed
    };

    servers[0].kill();
    let ejected = ejects("the killed one to be left out", 0, &servers);
    servers[0].revive();
    let returned = returns("the killed one to be back", 0, &servers);
    let failed = tell(&mut report, "one killed", [ejected, returned]);
    // A request that was sent before the server died may have been carried out, so it is not repeated.
    assert!(failed.len() <= 8, "{failed:?}");

    servers[1].switch(Mode::Hung);
    let ejected = ejects("the hung one to be left out", 1, &servers);
    more_requests(&load, 50);
    servers[1].switch(Mode::Well);
    let returned = returns("the hung one to be back", 1, &servers);
    let failed = tell(&mut report, "one hung", [ejected, returned]);
    assert!(failed.iter().all(|status| *status == 504), "{failed:?}");
    assert!(failed.len() <= 3 * 8 + 8, "{failed:?}");

    let slow = Duration::from_millis(100);
    servers[2].switch(Mode::Slow(slow));
    more_requests(&load, 100);
    servers[2].switch(Mode::Well);
    let (sent, failed) = load.so_far();
    report += &format!("one slow ({slow:.0?}): {} of {sent} failed\n", failed.len());
    assert_eq!(failed, [0; 0]);

    for _ in 0..3 {
        servers[0].switch(Mode::Status(503));
        ejects("the flapping one to be left out", 0, &servers);
        servers[0].switch(Mode::Well);
    }
    let returned = returns("the flapping one to be back", 0, &servers);
    let failed = tell(&mut report, "one flapping", [Duration::ZERO, returned]);
    assert!(failed.iter().all(|status| *status == 503), "{failed:?}");

    // A reload that changes the pool while one server is killed.
    servers[1].kill();
    ejects("the killed one to be left out", 1, &servers);
    let path = gateway.folder().join("gateway.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let text = text.replace("read_timeout = \"300ms\"", "read_timeout = \"400ms\"");
    std::fs::write(&path, text).unwrap();
    load.so_far();
    let reloaded = gateway.operator("POST", "/reload").send();
    assert_eq!(reloaded.status, 200, "{}", reloaded.text());
    assert_eq!(state(&gateway, &servers[1]), "ejected", "the new pool knows it");
    more_requests(&load, 100);
    let (sent, failed) = load.so_far();
    report += &format!("a reload with one killed: {} of {sent} failed\n", failed.len());
    assert_eq!(failed, [0; 0]);

    for server in &mut servers {
        server.kill();
    }
    load.so_far();
    more_requests(&load, 50);
    let (sent, failed) = load.so_far();
    report += &format!("all down: {} of {sent} failed\n", failed.len());
    assert!(!failed.is_empty());
    let begun = Instant::now();
    for server in &mut servers {
        server.revive();
    }
    for index in 0..3 {
        returns("each to be back", index, &servers);
    }
    load.so_far();
    report += &format!("all back: each serves again after {:.0?}\n", begun.elapsed());
    more_requests(&load, 100);
    let (sent, failed) = load.stop();
    assert_eq!(failed, [0; 0], "of {sent}, after all are back");
    eprintln!("a pool of three under load of 8 clients\n{report}");
}

#[test]
fn no_post_comes_twice() {
    let mut servers = three();
    let gateway =
        behind(&servers, &format!("{TIMEOUTS}[upstream.retry]\nstatuses = [502, 503, 504]\n"))
            .start();
    servers[0].kill();
    servers[1].switch(Mode::Breaks);
    let mut statuses = Vec::new();
    for nth in 0..60 {
        let answer = gateway
            .client()
            .post("/public/x")
            .header("X-Nth", &nth.to_string())
            .body(b"pay")
            .send();
        statuses.push(answer.status);
    }
    servers[1].switch(Mode::Status(503));
    for nth in 60..90 {
        let nth = nth.to_string();
        gateway.client().post("/public/x").header("X-Nth", &nth).body(b"pay").send();
    }
    let mut seen: Vec<String> = servers.iter().flat_map(Switched::seen).collect();
    let all = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!((seen.len(), all), (90, 90), "each came once");
    assert!(statuses.contains(&200) && statuses.contains(&502), "{statuses:?}");
    eprintln!(
        "90 POSTs with one server dead and one that breaks or is out of order: {all} came, none twice"
    );
}

#[test]
fn a_get_is_asked_again_elsewhere_where_that_is_asked_for() {
    let servers = three();
    for (retry, failures) in [("", true), ("[upstream.retry]\nstatuses = [503]\n", false)] {
        servers[0].switch(Mode::Status(503));
        let gateway = behind(&servers, &format!("{retry}[upstream.ejection]\nafter = 0\n")).start();
        let get = |_| gateway.client().get("/public/x").send().status;
        let failed = (0..9).map(get).filter(|status| *status == 503).count();
        assert_eq!(failed > 0, failures, "{retry}: {failed}");
        // Other statuses are not retried.
        servers[0].switch(Mode::Status(500));
        assert!((0..9).map(get).any(|status| status == 500));
        for server in &servers {
            server.switch(Mode::Status(503));
        }
        let answer = gateway.client().get("/public/x").send();
        assert_eq!((answer.status, answer.body.len()), (503, 1), "the service's own answer");
        for server in &servers {
            server.switch(Mode::Well);
        }
    }
}

#[test]
fn when_everything_fails_retries_keep_to_their_budget() {
    let servers = three();
    for server in &servers {
        server.switch(Mode::Status(503));
    }
    let retry = "[upstream.ejection]\nafter = 0\n[upstream.retry]\nstatuses = [503]\nbudget_percent = 10\nbudget_floor = 0\n";
    let gateway = behind(&servers, retry).start();
    for _ in 0..200 {
        assert_eq!(gateway.client().get("/public/x").send().status, 503);
    }
    let came: usize = servers.iter().map(Switched::count).sum();
    // A tenth of all tries, retries included.
    assert!((215..=223).contains(&came), "{came}");
    let denied = gateway.metric("doorwarden_upstream_retries_denied_total{upstream=\"app\"}");
    assert!(denied.is_some_and(|count| count > 100.0), "{denied:?}");
    eprintln!("200 requests, everything fails, a budget of 10 %: {came} tries");
}

#[test]
fn more_than_a_server_may_have_is_told_to_come_later() {
    let server = Switched::start("a");
    server.switch(Mode::Slow(Duration::from_millis(400)));
    let limits = "[upstream.limits]\nrequests = 2\npending = 2\npending_timeout = \"5s\"\n";
    let gateway = behind(std::slice::from_ref(&server), limits).start();
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let client = gateway.client();
            thread::spawn(move || client.get("/public/x").send())
        })
        .collect();
    let answers: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    let busy: Vec<_> = answers.iter().filter(|answer| answer.status == 503).collect();
    assert_eq!(answers.iter().filter(|answer| answer.status == 200).count(), 4);
    assert_eq!(busy.len(), 4);
    for answer in busy {
        assert_eq!(
            (answer.code().as_str(), answer.header("retry-after")),
            ("upstream_busy", Some("1"))
        );
    }
    assert_eq!(server.count(), 4);
}

#[test]
fn a_server_that_its_checks_find_unwell_gets_no_requests() {
    let servers = three();
    let health = "[upstream.health]\nkind = \"http\"\npath = \"/up\"\ninterval = \"100ms\"\ntimeout = \"200ms\"\nrise = 2\nfall = 2\n";
    let gateway = behind(&servers, health).start();
    eventually("the first checks", || servers.iter().all(|one| one.count() > 2).then_some(()));
    for (mode, index) in [(Mode::Hung, 0), (Mode::Status(500), 1)] {
        servers[index].switch(mode);
        eventually("it to be found unwell", || {
            (state(&gateway, &servers[index]) == "unwell").then_some(())
        });
    }
    let asked = |server: &Switched| {
        server.seen().iter().filter(|line| line.starts_with("GET /public/")).count()
    };
    for _ in 0..20 {
        assert_eq!(gateway.client().get("/public/x").send().text(), "c");
    }
    assert_eq!([0, 1].map(|index| asked(&servers[index])), [0, 0]);
    gateway.logged("the change", |line| {
        line["state"] == "unwell" && line["server"] == servers[0].address.to_string()
    });
    let name = format!(
        "doorwarden_upstream_server_addresses{{server=\"{}\",state=\"unwell\",upstream=\"app\"}}",
        servers[0].address
    );
    gateway.counts(&name, 1.0);
    servers[0].switch(Mode::Well);
    eventually("it to be well again", || {
        (state(&gateway, &servers[0]) == "in_service").then_some(())
    });
    eventually("requests there", || {
        (gateway.client().get("/public/x").send().text() == "a").then_some(())
    });
}

#[test]
fn an_operator_drains_a_server() {
    let servers = three();
    let gateway = behind(&servers, "").start();
    let name = servers[1].address.to_string();
    let run = |arguments: &[&str]| {
        let output = gateway.command(arguments);
        let text = if output.status.success() { output.stdout } else { output.stderr };
        (output.status.code(), String::from_utf8(text).unwrap())
    };
    let change = |what: &str| {
        let (code, text) = run(&["upstream", what, "app", &name]);
        assert_eq!(code, Some(0), "{text}");
        !text.contains("already")
    };
    assert!(change("drain"));
    assert!(!change("drain"));
    let before = servers[1].count();
    for _ in 0..12 {
        assert_ne!(gateway.client().get("/public/x").send().text(), "b");
    }
    assert_eq!(servers[1].count(), before);
    let path = gateway.folder().join("gateway.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("servers = [", "idle_timeout = \"1s\"\nservers = ["))
        .unwrap();
    assert_eq!(gateway.operator("POST", "/reload").send().status, 200);
    assert_eq!(state(&gateway, &servers[1]), "drained", "a reload keeps it");
    assert!(change("undrain"));
    let all: Vec<String> =
        (0..6).map(|_| gateway.client().get("/public/x").send().text()).collect();
    assert!(all.contains(&"b".to_owned()), "{all:?}");
    let (code, listed) = run(&["upstream", "list"]);
    assert_eq!((code, listed.lines().count()), (Some(0), 4), "{listed}");
    assert!(listed.contains(&name) && listed.contains("in_service"), "{listed}");
    let (_, json) = run(&["upstream", "list", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["upstreams"][0]["name"], "app");
    for (upstream, server, says) in [("app", "x", &*name), ("other", "x", "there are: app")] {
        let (code, text) = run(&["upstream", "drain", upstream, server]);
        assert!(code == Some(1) && text.contains(says), "{text}");
    }
    let wrong = serde_json::json!({"upstream": "app", "server": "x"});
    assert_eq!(gateway.operator("POST", "/upstreams/drain").json(&wrong).send().status, 404);
    assert_eq!(gateway.client().get("/upstreams").send().status, 401, "it is no path for clients");
    let admin = Client::new(gateway.admin);
    assert_eq!(admin.get("/upstreams").host("localhost").send().status, 401);
}

#[test]
fn a_user_stays_with_a_server() {
    let servers = three();
    let gateway = behind(&servers, "balance = \"hash-user\"\n").start();
    for (name, password) in [("kim", "correct horse battery"), ("root", "toor toor toor")] {
        let first = gateway.client().sign_in(name, password);
        let again = gateway.client().sign_in(name, password);
        let at = |tokens: &serde_json::Value| {
            gateway.client().get("/x").bearer(tokens["access"].as_str().unwrap()).send().text()
        };
        let server = at(&first);
        assert!((0..9).all(|_| at(&first) == server && at(&again) == server), "{name}");
    }
    let strangers: Vec<_> =
        (0..3).map(|_| gateway.client().get("/public/x").send().text()).collect();
    assert!(["a", "b", "c"].iter().all(|one| strangers.contains(&(*one).to_owned())));
}

/// Starts HAProxy in front of the same pool: with the same times and the same number of failures, and its own checks twice
/// a second.
fn haproxy(folder: &std::path::Path, servers: &[Switched]) -> Server {
    let lines: String = servers
        .iter()
        .zip(["a", "b", "c"])
        .map(|(server, name)| {
            format!(
                "server {name} {} check inter 500ms fall 1 rise 1 observe layer7 error-limit 3 on-error mark-down\n",
                server.address
            )
        })
        .collect();
    Server::start("haproxy", |address| {
        let file = folder.join("pool.conf");
        let text = format!(
            "defaults\nmode http\ntimeout connect 200ms\ntimeout client 30s\ntimeout server 300ms\nretries 2\n\
             option redispatch 1\nlisten front\nbind {address}\nbalance roundrobin\noption httpchk GET /up\n{lines}"
        );
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new("haproxy");
        command.args(["-db", "-q", "-f"]).arg(&file).env("PATH", path());
        command
    })
}

/// What happens to one of three servers, or to all, one after the other: the same for the gateway and HAProxy.
const EVENTS: [&str; 6] =
    ["one killed", "one hung", "one flapping", "one slow", "a reload with one killed", "all down"];

#[test]
fn a_pool_of_three_beside_haproxy() {
    install();
    let folder = tempfile::tempdir().unwrap();
    let mut report = String::new();
    for what in ["the gateway", "HAProxy"] {
        let mut servers = three();
        let gateway = behind(&servers, &format!("{TIMEOUTS}{EJECTION}")).start();
        let other = haproxy(folder.path(), &servers);
        let is_ours = what == "the gateway";
        let client = if is_ours { gateway.client() } else { Client::new(other.address) };
        let load = Load::start(&client, 8);
        more_requests(&load, 100);
        load.so_far();
        for event in EVENTS {
            let begun = Instant::now();
            match event {
                "one hung" => servers[0].switch(Mode::Hung),
                "one slow" => servers[0].switch(Mode::Slow(Duration::from_millis(100))),
                "one flapping" => {
                    for _ in 0..3 {
                        servers[0].switch(Mode::Status(503));
                        more_requests(&load, 100);
                        servers[0].switch(Mode::Well);
                        more_requests(&load, 100);
                    }
                }
                "all down" => servers.iter_mut().for_each(Switched::kill),
                _ => servers[0].kill(),
            }
            // HAProxy would reload by a new process of its master; here only the gateway reloads.
            if event == "a reload with one killed" && is_ours {
                let path = gateway.folder().join("gateway.toml");
                let text = std::fs::read_to_string(&path).unwrap();
                let text = text.replace("read_timeout = \"300ms\"", "read_timeout = \"310ms\"");
                std::fs::write(&path, text).unwrap();
                assert_eq!(gateway.operator("POST", "/reload").send().status, 200);
            }
            more_requests(&load, if event == "all down" { 50 } else { 300 });
            let last_failure = load.last_failure().filter(|at| *at > begun);
            let ejected = last_failure.map_or(Duration::ZERO, |at| at.duration_since(begun));
            let (sent, failed) = load.so_far();
            match event {
                "one hung" | "one slow" | "one flapping" => servers[0].switch(Mode::Well),
                "all down" => servers.iter_mut().for_each(Switched::revive),
                _ => servers[0].revive(),
            }
            let begun = Instant::now();
            let before: Vec<usize> = servers.iter().map(Switched::count).collect();
            eventually("all to serve again", || {
                servers
                    .iter()
                    .zip(&before)
                    .all(|(one, before)| one.count() > before + 20)
                    .then_some(())
            });
            let (again, late) = load.so_far();
            report += &format!(
                "{what}: {event}: {} of {sent} failed, the last one {ejected:.0?} after it began; \
                 all serve again {:.0?} after it ended ({} of {again} failed)\n",
                failed.len(),
                begun.elapsed(),
                late.len()
            );
            let most = match event {
                "one killed" | "a reload with one killed" => 8,
                "one hung" => 40,
                "one slow" => 0,
                // Each 503 is the service's own answer, and three of them eject the server.
                "one flapping" => 60,
                _ => sent,
            };
            assert!(!is_ours || failed.len() <= most, "{event}: {failed:?}");
        }
        load.stop();
    }
    eprintln!("a pool of three under load of 8 clients\n{report}");
}
