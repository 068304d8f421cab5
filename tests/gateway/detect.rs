//! Tests the detectors: for each a scene against the running gateway, which is behind a trusted proxy, so that the scene
//! can choose client addresses. Each is played just below its threshold, then at it, and again in a dry run.

use std::net::IpAddr;

use serde_json::{Value, json};

use crate::support::DEVICE_COOKIE;
use crate::support::client::{Client, Response};
use crate::support::eventually;
use crate::support::gateway::{Gateway, Setup};
use crate::support::mmdb::{city_database, country_database};
use crate::support::upstream::Upstream;

const ACTIONS: [&str; 11] = [
    "observe",
    "notify",
    "limit",
    "step_up",
    "end_session",
    "end_user_sessions",
    "block_address",
    "dry_run",
    "exempt",
    "bounded",
    "failed",
];

const DETECTORS: [&str; 14] = [
    "refresh_reuse",
    "refresh_burst",
    "password_guessing",
    "password_spraying",
    "token_countries",
    "revoked_use",
    "scanning",
    "distributed_guessing",
    "outside_binding",
    "client_change",
    "impossible_travel",
    "new_country",
    "new_device",
    "session_count",
];

/// What a detector is shown.
pub(crate) struct Scene {
    pub(crate) detector: &'static str,
    pub(crate) threshold: usize,
    /// Makes what the detector looks for happen this many times to the user; returns the tokens of a session.
    pub(crate) play: fn(&Client, User, usize) -> Value,
    /// The name of the action that is counted with `action = "end_session"`.
    taken: &'static str,
    /// What the audit line has besides detector, action and count.
    audit: &'static [(&'static str, &'static str)],
}

/// The user of a scene, and the network of the client addresses.
#[derive(Clone, Copy)]
pub(crate) struct User {
    pub(crate) name: &'static str,
    password: &'static str,
    network: &'static str,
}

const QUIET: User = User { name: "kim", password: "correct horse battery", network: "1.1.2" };
pub(crate) const LOUD: User = User { name: "root", password: "toor toor toor", network: "1.1.3" };

impl User {
    fn at(&self, host: usize) -> IpAddr {
        format!("{}.{host}", self.network).parse().unwrap()
    }
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn credentials(user: User) -> Value {
    json!({"username": user.name, "password": user.password})
}

fn sign_in(client: &Client, user: User) -> Value {
    let response = client.post("/login").from(user.at(1)).json(&credentials(user)).send();
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()
}

fn fail(client: &Client, from: IpAddr, name: &str) {
    let credentials = json!({"username": name, "password": "a guess"});
    let response = client.post("/login").from(from).json(&credentials).send();
    assert_eq!(response.status, 401, "{}", response.text());
}

fn refresh(client: &Client, from: IpAddr, token: &Value) -> Response {
    client.post("/refresh").from(from).json(&json!({"refresh": token})).send()
}

fn used(client: &Client, from: IpAddr, tokens: &Value) -> Response {
    client.get("/app").from(from).bearer(tokens["access"].as_str().unwrap()).send()
}

/// Presents the spent refresh tokens of `times` sessions again.
fn reuse(client: &Client, user: User, times: usize) -> Value {
    let sessions: Vec<Value> = (0..times)
        .map(|_| {
            let first = sign_in(client, user);
            let next = refresh(client, user.at(1), &first["refresh"]);
            assert_eq!(next.status, 200);
            assert_eq!(refresh(client, user.at(66), &first["refresh"]).status, 401);
            next.json()
        })
        .collect();
    sessions.last().unwrap().clone()
}

/// Refreshes in a loop, as a broken front end does.
fn burst(client: &Client, user: User, times: usize) -> Value {
    let mut tokens = sign_in(client, user);
    for _ in 0..times {
        let next = refresh(client, user.at(1), &tokens["refresh"]);
        assert_eq!(next.status, 200);
        tokens = next.json();
    }
    tokens
}

/// Guesses at one account, each time from another network: the lockout of each network sees one failure.
fn guess(client: &Client, user: User, times: usize) -> Value {
    let tokens = sign_in(client, user);
    for network in 0..times {
        fail(client, address(&format!("198.51.{network}.7")), user.name);
    }
    tokens
}

/// Tries many names from one address.
fn spray(client: &Client, user: User, times: usize) -> Value {
    let tokens = sign_in(client, user);
    for number in 0..times {
        fail(client, user.at(99), &format!("{}-{number}", user.name));
        // The same name again is no other account. The last is tried once: the address may already be blocked.
        if number + 1 < times {
            fail(client, user.at(99), &format!("{}-{number}", user.name));
        }
    }
    tokens
}

/// Uses the same session's token from `countries` countries, and from addresses that are in none.
fn travel(client: &Client, user: User, countries: usize) -> Value {
    let tokens = sign_in(client, user);
    for nowhere in ["10.0.0.9", "192.168.3.4", "100.64.0.1", "fd00::9", "9.9.9.9"] {
        assert_eq!(used(client, address(nowhere), &tokens).status, 200);
    }
    let places = [user.at(1), address("2a00:1234::5"), address("5.5.5.5")];
    for (version, place) in places[..countries].iter().enumerate() {
        assert_eq!(used_by(client, *place, &tokens, version).status, 200, "{place}");
    }
    tokens
}

/// Uses the token with a browser that is `older` versions older: the same kind of client in another version.
fn used_by(client: &Client, from: IpAddr, tokens: &Value, older: usize) -> Response {
    let version = 149 - older;
    let agent = format!("Mozilla/5.0 (X11; Linux x86_64; rv:{version}.0) Firefox/{version}.0");
    let request = client.get("/app").from(from).header("User-Agent", &agent);
    request.bearer(tokens["access"].as_str().unwrap()).send()
}

/// Uses a session in Sydney, and then `times` times in Berlin, where it never was.
fn jump(client: &Client, user: User, times: usize) -> Value {
    let tokens = sign_in(client, user);
    assert_eq!(used_by(client, user.at(1), &tokens, 0).status, 200);
    for host in 0..times {
        let from = address(&format!("5.5.5.{}", host + 5));
        assert_eq!(used_by(client, from, &tokens, 1).status, 200);
    }
    tokens
}

/// Signs in `times` times from another country, in a known browser.
fn emigrate(client: &Client, user: User, times: usize) -> Value {
    let first = client.post("/login").from(user.at(1)).json(&credentials(user)).send();
    let device = first.set_cookie(DEVICE_COOKIE).unwrap();
    let mut tokens = first.json();
    for _ in 0..times {
        let request = client.post("/login").from(address("2a00:1234::5")).json(&credentials(user));
        tokens = request.cookie(DEVICE_COOKIE, &device).send().json();
    }
    tokens
}

/// Signs in `times` times from other networks of the same country, without a device cookie.
fn change_devices(client: &Client, user: User, times: usize) -> Value {
    let mut tokens = sign_in(client, user);
    for network in 0..times {
        let from = address(&format!("1.1.{}.7", 100 + network));
        tokens = client.post("/login").from(from).json(&credentials(user)).send().json();
    }
    tokens
}

/// Signs in `times` times, and returns the tokens of the first session.
fn sign_in_often(client: &Client, user: User, times: usize) -> Value {
    let first = sign_in(client, user);
    for _ in 1..times {
        sign_in(client, user);
    }
    first
}

/// Uses a session `times` times from another network than it began in.
fn leave(client: &Client, user: User, times: usize) -> Value {
    let tokens = sign_in(client, user);
    assert_eq!(used(client, user.at(200), &tokens).status, 200);
    for _ in 0..times {
        let refused = used(client, address("1.2.9.9"), &tokens);
        assert_eq!((refused.status, refused.code().as_str()), (401, "outside_binding"));
    }
    tokens
}

/// Uses a session with `kinds` kinds of clients, and with one of them in two versions.
fn change_clients(client: &Client, user: User, kinds: usize) -> Value {
    let tokens = sign_in(client, user);
    let agents = [
        "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        "Mozilla/5.0 (X11; Linux x86_64; rv:141.0) Gecko/20100101 Firefox/141.0",
        "curl/8.5.0",
    ];
    // A script that comes from where the browsers are belongs to the same person.
    let at_home = client.get("/app").from(user.at(12)).header("User-Agent", "wget/1.24");
    assert_eq!(at_home.bearer(tokens["access"].as_str().unwrap()).send().status, 200);
    for (host, agent) in agents[..kinds + 1].iter().enumerate() {
        // The address changes each time, because only a use from a new address is an event; the last is in another network.
        let from = if host == 2 { address("1.2.9.9") } else { user.at(host + 10) };
        let request = client.get("/app").from(from).header("User-Agent", agent);
        assert_eq!(request.bearer(tokens["access"].as_str().unwrap()).send().status, 200);
    }
    tokens
}

/// Presents forged tokens, and among them one of an ended session, which does not count.
fn forge(client: &Client, user: User, times: usize) -> Value {
    let (tokens, ended) = (sign_in(client, user), sign_in(client, user));
    let dead = ended["access"].as_str().unwrap();
    client.post("/logout").from(user.at(1)).bearer(dead).send();
    let (head, signature) = dead.rsplit_once('.').unwrap();
    let turned: String = signature.chars().rev().collect();
    for _ in 0..times {
        let forged = json!({"access": format!("{head}.{turned}")});
        // The last one may have the address blocked, so it must be one that counts.
        assert_eq!(used(client, user.at(50), &ended).code(), "session_ended");
        assert_eq!(used(client, user.at(50), &forged).code(), "token_not_valid");
    }
    tokens
}

/// Requests paths that the service does not have from one address, each of them three times.
fn scan(client: &Client, user: User, times: usize) -> Value {
    let tokens = sign_in(client, user);
    for number in 0..times {
        let path = format!("/public/missing/{}-{number}", user.name);
        // The last path is requested once: the address may already be blocked.
        let queries = if number + 1 == times { &[""][..] } else { &["", "?a", "?b"] };
        for query in queries {
            let path = format!("{path}{query}");
            assert_eq!(client.get(&path).from(user.at(50)).send().status, 404);
        }
    }
    tokens
}

pub(crate) const SCENES: [Scene; 14] = [
    Scene {
        detector: "refresh_reuse",
        threshold: 2,
        play: reuse,
        taken: "end_session",
        audit: &[("subject", "session"), ("user", "file/root"), ("client", "1.1.3.66")],
    },
    Scene {
        detector: "refresh_burst",
        threshold: 4,
        play: burst,
        taken: "end_session",
        audit: &[("subject", "session"), ("user", "file/root"), ("client", "1.1.3.1")],
    },
    Scene {
        detector: "password_guessing",
        threshold: 4,
        play: guess,
        taken: "observe",
        audit: &[("subject", "account"), ("account", "root")],
    },
    Scene {
        detector: "password_spraying",
        threshold: 4,
        play: spray,
        taken: "observe",
        audit: &[("subject", "address"), ("network", "1.1.3.99")],
    },
    Scene {
        detector: "token_countries",
        threshold: 2,
        play: travel,
        taken: "end_session",
        audit: &[("subject", "session"), ("user", "file/root"), ("countries", "AU,KR")],
    },
    Scene {
        detector: "revoked_use",
        threshold: 4,
        play: forge,
        taken: "observe",
        audit: &[("subject", "address"), ("network", "1.1.3.50")],
    },
    Scene {
        detector: "scanning",
        threshold: 4,
        play: scan,
        taken: "observe",
        audit: &[("subject", "address"), ("network", "1.1.3.50")],
    },
    Scene {
        detector: "distributed_guessing",
        threshold: 4,
        play: guess,
        taken: "observe",
        audit: &[("subject", "account"), ("account", "root")],
    },
    Scene {
        detector: "outside_binding",
        threshold: 2,
        play: leave,
        taken: "end_session",
        audit: &[("subject", "session"), ("user", "file/root"), ("client", "1.2.9.9")],
    },
    Scene {
        detector: "client_change",
        threshold: 2,
        play: change_clients,
        taken: "end_session",
        audit: &[("subject", "session"), ("user", "file/root")],
    },
    Scene {
        detector: "impossible_travel",
        threshold: 1,
        play: jump,
        taken: "end_session",
        audit: &[("subject", "session"), ("user", "file/root"), ("client", "5.5.5.5")],
    },
    Scene {
        detector: "new_country",
        threshold: 1,
        play: emigrate,
        taken: "end_session",
        audit: &[("subject", "session"), ("user", "file/root"), ("countries", "KR")],
    },
    Scene {
        detector: "new_device",
        threshold: 1,
        play: change_devices,
        taken: "end_session",
        audit: &[("subject", "session"), ("user", "file/root"), ("client", "1.1.100.7")],
    },
    Scene {
        detector: "session_count",
        threshold: 3,
        play: sign_in_often,
        taken: "end_session",
        audit: &[("subject", "user"), ("user", "file/root")],
    },
];

fn gateway(upstream: &Upstream, scene: &Scene, dry_run: bool) -> Gateway {
    let action = "action = \"end_session\"";
    setup(upstream, scene, &format!("{action}\ndry_run = {dry_run}")).start()
}

/// Returns the setup of a scene, with these keys for its detector.
pub(crate) fn setup(upstream: &Upstream, scene: &Scene, keys: &str) -> Setup {
    let bind = if scene.detector == "outside_binding" { "bind = \"prefix\"" } else { "" };
    let database = country_database(&[
        ("1.1.0.0/16", "AU"),
        ("2a00::/16", "KR"),
        ("5.5.0.0/16", "DE"),
        // These private addresses belong to no country, even though they are in the database.
        ("10.0.0.0/8", "US"),
        ("192.168.0.0/16", "FR"),
        ("fd00::/8", "NO"),
    ]);
    // Sydney and Berlin, without their countries.
    let cities = city_database(&[("1.1.0.0/16", -33.87, 151.21), ("5.5.0.0/16", 52.52, 13.4)]);
    let is_of_cities = scene.detector == "impossible_travel";
    let geo = if is_of_cities {
        "city_database = \"cities.mmdb\""
    } else {
        "country_database = \"countries.mmdb\""
    };
    // This detector fires above its threshold, the others at it.
    let threshold = scene.threshold - usize::from(scene.detector == "session_count");
    Setup::new(upstream.address)
        .behind_a_proxy()
        .file("countries.mmdb", &database)
        .file("cities.mmdb", &cities)
        .with(&format!(
            "[geo]\n{geo}\n[tokens]\nrefresh_grace = \"0s\"\n{bind}\n\
             [detect.{}]\nthreshold = {threshold}\nwindow = \"10m\"\n{keys}\n",
            scene.detector,
        ))
}

fn counted(gateway: &Gateway, detector: &str, action: &str) -> f64 {
    let labels = format!("{{action=\"{action}\",detector=\"{detector}\"}}");
    let name = format!("doorwarden_abnormal_access_total{labels}");
    gateway.metric(&name).unwrap_or_else(|| panic!("{name} exists from the start"))
}

/// Plays the quiet scene and then the loud one, and checks that they count one finding, with this action.
fn play(gateway: &Gateway, scene: &Scene, taken: &str) -> (Value, Value) {
    let client = gateway.client();
    for detector in DETECTORS {
        for action in ACTIONS {
            assert_eq!(counted(gateway, detector, action), 0.0, "{detector} {action}");
        }
    }
    let quiet = (scene.play)(&client, QUIET, scene.threshold - 1);
    let loud = (scene.play)(&client, LOUD, scene.threshold);
    eventually("the finding", || (counted(gateway, scene.detector, taken) > 0.0).then_some(()));
    // The detectors see events in order: once the loud scene's finding is there, the quiet one has raised none.
    for detector in DETECTORS {
        for action in ACTIONS {
            let expected = if detector == scene.detector && action == taken { 1.0 } else { 0.0 };
            // A reuse is a finding of `refresh_reuse` wherever it happens; no other scene has one.
            assert_eq!(counted(gateway, detector, action), expected, "{detector} {action}");
        }
    }
    let audit = gateway.logged("the audit line", |line| {
        line["target"] == "audit" && line["event"] == "abnormal_access"
    });
    assert_eq!(audit["detector"], scene.detector);
    assert_eq!(audit["action"], taken, "{audit}");
    assert_eq!(audit["count"], scene.threshold, "{audit}");
    assert_eq!(audit["window_seconds"], 600, "{audit}");
    for (field, value) in scene.audit {
        assert_eq!(audit[*field], *value, "{field} in {audit}");
    }
    (quiet, loud)
}

fn scene(detector: &str) -> &'static Scene {
    static SCENES: [Scene; 14] = self::SCENES;
    SCENES.iter().find(|scene| scene.detector == detector).unwrap()
}

fn with_action(detector: &str) {
    let (upstream, scene) = (Upstream::start(), scene(detector));
    let gateway = gateway(&upstream, scene, false);
    let (quiet, loud) = play(&gateway, scene, scene.taken);
    let client = gateway.client();
    if scene.taken == "end_session" {
        let refused = used(&client, LOUD.at(1), &loud);
        assert_eq!((refused.status, refused.code().as_str()), (401, "session_ended"));
        assert_eq!(refresh(&client, LOUD.at(1), &loud["refresh"]).status, 401);
    } else {
        // The account's owner may be the victim: they stay signed in, and can sign in again.
        assert_eq!(used(&client, LOUD.at(1), &loud).status, 200);
        sign_in(&client, LOUD);
    }
    if detector != "refresh_reuse" {
        assert_eq!(used(&client, QUIET.at(1), &quiet).status, 200, "the quiet one is left alone");
    }
}

fn in_a_dry_run(detector: &str) {
    let (upstream, scene) = (Upstream::start(), scene(detector));
    let gateway = gateway(&upstream, scene, true);
    let (_, loud) = play(&gateway, scene, "dry_run");
    // A reuse ends its session whether or not the detector acts.
    let expected = if detector == "refresh_reuse" { 401 } else { 200 };
    assert_eq!(used(&gateway.client(), LOUD.at(1), &loud).status, expected);
}

macro_rules! scenes {
    ($($detector:ident)+) => {
        $(mod $detector {
            #[test]
            fn is_found_counted_audited_and_acted_upon() {
                super::with_action(stringify!($detector));
            }

            #[test]
            fn in_a_dry_run_is_told_and_nothing_else() {
                super::in_a_dry_run(stringify!($detector));
            }
        })+
    };
}

scenes! {
    refresh_reuse refresh_burst password_guessing password_spraying token_countries revoked_use scanning
    distributed_guessing outside_binding client_change impossible_travel new_country new_device session_count
}

#[test]
fn one_reuse_is_a_finding_by_default() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address)
        .behind_a_proxy()
        .with("[tokens]\nrefresh_grace = \"0s\"")
        .start();
    reuse(&gateway.client(), LOUD, 1);
    eventually("the finding", || {
        (counted(&gateway, "refresh_reuse", "end_session") == 1.0).then_some(())
    });
}

#[test]
fn names_tried_from_a_whole_network_are_found_as_one() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address)
        .behind_a_proxy()
        .with("[detect.password_spraying]\nthreshold = 3\n")
        .start();
    for (host, name) in [(1, "ada"), (77, "bob"), (200, "eve")] {
        fail(&gateway.client(), LOUD.at(host), name);
    }
    let audit = gateway.logged("the audit line", |line| line["event"] == "abnormal_access");
    assert_eq!((&audit["subject"], &audit["network"]), (&json!("network"), &json!("1.1.3.0/24")));
}

#[test]
fn no_client_can_choose_its_country() {
    let upstream = Upstream::start();
    // Without trusted proxies, the header is only a client's claim.
    let gateway = Setup::new(upstream.address)
        .file("countries.mmdb", &country_database(&[("1.1.0.0/16", "AU"), ("2a00::/16", "KR")]))
        .with("[geo]\ncountry_database = \"countries.mmdb\"\n[detect.token_countries]\naction = \"end_session\"\n[detect.refresh_burst]\nthreshold = 1\naction = \"observe\"")
        .start();
    let client = gateway.client();
    let tokens = client.sign_in("kim", "correct horse battery");
    for place in ["1.1.1.1", "2a00::1"] {
        assert_eq!(used(&client, address(place), &tokens).status, 200);
    }
    // A finding of another detector shows that the events before it have been processed.
    assert_eq!(refresh(&client, address("1.1.1.1"), &tokens["refresh"]).status, 200);
    eventually("the other finding", || {
        (counted(&gateway, "refresh_burst", "observe") == 1.0).then_some(())
    });
    for action in ACTIONS {
        assert_eq!(counted(&gateway, "token_countries", action), 0.0);
    }
}

#[test]
fn a_country_database_that_cannot_be_read_keeps_the_gateway_from_starting() {
    let upstream = Upstream::start();
    let folder = Setup::new(upstream.address)
        .file("countries.mmdb", b"no database")
        .with("[geo]\ncountry_database = \"countries.mmdb\"")
        .prepare();
    let output = crate::support::gateway::run_in(folder.path(), &["run"], "");
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("the country database") && error.contains("countries.mmdb"), "{error}");
}
