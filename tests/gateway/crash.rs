//! Tests `kill -9` under load: what was acknowledged still holds after the restart, and nothing is valid twice.
//!
//! Many clients sign in, refresh and sign out, and each records what the gateway acknowledged. Then the process is killed.
//! One request of each client may be unanswered at that moment; it was either carried out or not, but never half.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use serde_json::{Value, json};

use crate::support::client::{Client, Response};
use crate::support::eventually;
use crate::support::gateway::{Gateway, Setup};
use crate::support::upstream::Upstream;

const CLIENTS: usize = 8;
const ROUNDS: usize = 3;
/// Sign-ins in progress count as failed until they have succeeded, and here one account has many of them.
const CROWD: &str = "[login]\naccount_failures = 100";
const COOKIE: &str = "__Host-doorwarden";

/// What a client knows about one session.
#[derive(Clone, Debug)]
struct Ledger {
    /// All refresh tokens that the client received; all but the last are spent.
    refresh: Vec<String>,
    access: String,
    cookie: String,
    ended: bool,
    /// The request that got no answer.
    unanswered: Option<Request>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Request {
    Refresh,
    End,
}

/// How much was acknowledged in this round.
#[derive(Default)]
struct Progress {
    sign_ins: AtomicUsize,
    rotations: AtomicUsize,
    ends: AtomicUsize,
}

fn text(body: &Value, member: &str) -> String {
    body[member].as_str().expect("a text").to_owned()
}

fn refresh(client: &Client, token: &str) -> Response {
    client.post("/refresh").json(&json!({"refresh": token})).send()
}

impl Ledger {
    fn last(&self) -> &str {
        self.refresh.last().unwrap()
    }

    /// Returns the status of a request with the access token, and of one with the cookie.
    fn used(&self, client: &Client) -> [u16; 2] {
        [
            client.get("/app").bearer(&self.access).send().status,
            client.get("/app").cookie(COOKIE, &self.cookie).send().status,
        ]
    }
}

/// Signs in, refreshes a few times and signs some sessions out, until the gateway is gone.
fn work(client: &Client, number: usize, stop: &AtomicBool, progress: &Progress) -> Vec<Ledger> {
    let mut sessions = Vec::new();
    let credentials = json!({"username": "kim", "password": "correct horse battery"});
    while !stop.load(Ordering::SeqCst) {
        let Some(response) = client.post("/login").json(&credentials).try_send() else { break };
        assert_eq!(response.status, 200, "{}", response.text());
        progress.sign_ins.fetch_add(1, Ordering::SeqCst);
        let body = response.json();
        sessions.push(Ledger {
            refresh: vec![text(&body, "refresh")],
            access: text(&body, "access"),
            cookie: response.set_cookie(COOKIE).unwrap(),
            ended: false,
            unanswered: None,
        });
        let ledger = sessions.last_mut().unwrap();
        for _ in 0..1 + number % 3 {
            let body = json!({"refresh": ledger.last()});
            let Some(response) = client.post("/refresh").json(&body).try_send() else {
                ledger.unanswered = Some(Request::Refresh);
                return sessions;
            };
            assert_eq!(response.status, 200, "{}", response.text());
            progress.rotations.fetch_add(1, Ordering::SeqCst);
            ledger.refresh.push(text(&response.json(), "refresh"));
            ledger.access = text(&response.json(), "access");
        }
        if number.is_multiple_of(2) {
            let Some(response) = client.post("/logout").bearer(&ledger.access).try_send() else {
                ledger.unanswered = Some(Request::End);
                return sessions;
            };
            assert_eq!(response.status, 204);
            progress.ends.fetch_add(1, Ordering::SeqCst);
            ledger.ended = true;
        }
    }
    sessions
}

/// Runs one round (load, kill, restart), and returns what the clients knew at the time of the kill.
fn round(gateway: &mut Gateway) -> Vec<Ledger> {
    let (stop, progress) = (Arc::new(AtomicBool::new(false)), Arc::new(Progress::default()));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let (client, stop, progress) =
                (gateway.client(), Arc::clone(&stop), Arc::clone(&progress));
            thread::spawn(move || work(&client, number, &stop, &progress))
        })
        .collect();
    eventually("the load to be under way", || {
        let enough = |count: &AtomicUsize| count.load(Ordering::SeqCst) >= CLIENTS;
        (enough(&progress.sign_ins) && enough(&progress.rotations) && enough(&progress.ends))
            .then_some(())
    });
    gateway.kill();
    stop.store(true, Ordering::SeqCst);
    let sessions = clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
    gateway.spawn();
    sessions
}

#[test]
fn what_was_acknowledged_survives_and_nothing_is_good_twice() {
    let upstream = Upstream::start();
    let mut gateway =
        Setup::new(upstream.address).with("[tokens]\nrefresh_grace = \"0s\"").with(CROWD).start();
    for _ in 0..ROUNDS {
        let sessions = round(&mut gateway);
        let client = gateway.client();
        for ledger in &sessions {
            match (ledger.ended, ledger.unanswered) {
                (true, _) => {
                    assert_eq!(ledger.used(&client), [401, 401], "an end was lost: {ledger:?}");
                    let again = refresh(&client, ledger.last());
                    assert_eq!(again.status, 401, "an ended session refreshes: {ledger:?}");
                }
                (false, None) => {
                    assert_eq!(ledger.used(&client), [200, 200], "a sign-in was lost: {ledger:?}");
                    let next = refresh(&client, ledger.last());
                    assert_eq!(next.status, 200, "a rotation was lost: {ledger:?}");
                    let spent = &ledger.refresh[0];
                    assert_eq!(refresh(&client, spent).status, 401, "good again: {ledger:?}");
                    assert_eq!(ledger.used(&client), [401, 401], "its reuse ends the session");
                }
                // Without a grace period, the client's own lost answer looks like theft; but two refreshes never both
                // succeed.
                (false, Some(Request::Refresh)) => {
                    let first = refresh(&client, ledger.last()).status;
                    assert!([200, 401].contains(&first), "{first}: {ledger:?}");
                    assert_eq!(refresh(&client, ledger.last()).status, 401, "{ledger:?}");
                }
                (false, Some(Request::End)) => {
                    let used = ledger.used(&client);
                    assert!(used == [200, 200] || used == [401, 401], "half an end: {used:?}");
                    let expected = used[0];
                    assert_eq!(refresh(&client, ledger.last()).status, expected, "{ledger:?}");
                }
            }
        }
    }
}

#[test]
fn a_client_whose_answer_was_lost_gets_the_one_successor() {
    let upstream = Upstream::start();
    let mut gateway =
        Setup::new(upstream.address).with("[tokens]\nrefresh_grace = \"60s\"").with(CROWD).start();
    for _ in 0..ROUNDS {
        let sessions = round(&mut gateway);
        let client = gateway.client();
        // A sign-out without an answer may have been carried out or not.
        let lives = |ledger: &&Ledger| !ledger.ended && ledger.unanswered != Some(Request::End);
        for ledger in sessions.iter().filter(lives) {
            if let [.., spent, successor] = &ledger.refresh[..] {
                let replayed = refresh(&client, spent);
                assert_eq!(replayed.status, 200, "{}: {ledger:?}", replayed.text());
                assert_eq!(text(&replayed.json(), "refresh"), *successor, "another successor");
            }
            // The token was rotated before the crash or just now. In both cases it has one successor, which works.
            let answers = [(); 2].map(|()| refresh(&client, ledger.last()));
            assert_eq!(answers[0].status, 200, "{}: {ledger:?}", answers[0].text());
            assert_eq!(answers[0].json(), answers[1].json(), "good twice: {ledger:?}");
            let successor = text(&answers[0].json(), "refresh");
            assert_ne!(successor, ledger.last());
            assert_eq!(refresh(&client, &successor).status, 200);
        }
    }
}

#[test]
fn a_backup_of_a_busy_store_opens_and_has_the_sessions() {
    let upstream = Upstream::start();
    let mut gateway = Setup::new(upstream.address).with(CROWD).start();
    let kept = gateway.client().sign_in("lee", "staple 한글 암호");
    let (stop, progress) = (Arc::new(AtomicBool::new(false)), Arc::new(Progress::default()));
    let load: Vec<_> = (0..3)
        .map(|number| {
            let (client, stop, progress) =
                (gateway.client(), Arc::clone(&stop), Arc::clone(&progress));
            thread::spawn(move || work(&client, number * 2 + 1, &stop, &progress))
        })
        .collect();
    eventually("the load to be under way", || {
        (progress.rotations.load(Ordering::SeqCst) > 3).then_some(())
    });
    let before = progress.sign_ins.load(Ordering::SeqCst);
    let made = gateway.command(&["store", "backup", "copy.db"]);
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let again = gateway.command(&["store", "backup", "copy.db"]);
    assert_eq!(again.status.code(), Some(1), "a backup never overwrites");
    stop.store(true, Ordering::SeqCst);
    let after: usize = load.into_iter().map(|client| client.join().unwrap().len()).sum();

    // The store is lost, and its backup is put in its place.
    gateway.kill();
    for file in ["store.db", "store.db-wal", "store.db-shm"] {
        let _ = std::fs::remove_file(gateway.folder().join("state").join(file));
    }
    std::fs::rename(gateway.folder().join("copy.db"), gateway.folder().join("state/store.db"))
        .unwrap();
    gateway.spawn();
    let client = gateway.client();
    assert_eq!(client.get("/app").bearer(&text(&kept, "access")).send().status, 200);
    assert_eq!(refresh(&client, &text(&kept, "refresh")).status, 200);
    let listed = gateway.operator("GET", "/sessions").send().json();
    let count = listed["sessions"].as_array().unwrap().len();
    assert!((before + 1..=after + 1).contains(&count), "{before} < {count} <= {after} + 1");
}
