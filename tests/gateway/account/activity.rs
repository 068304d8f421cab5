//! Tests an account's recent activity, and the browsers that it knows.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::{COOKIE, LEES, PASSWORD, SignedIn, enter};
use crate::support::DEVICE_COOKIE;
use crate::support::client::{Client, Response};
use crate::support::eventually;
use crate::support::gateway::{Gateway, Setup};
use crate::support::mmdb::country_database;
use crate::support::upstream::Upstream;

fn start(upstream: &Upstream, toml: &str) -> Gateway {
    let places = country_database(&[("1.1.0.0/16", "KR"), ("1.2.0.0/16", "DE")]);
    Setup::new(upstream.address)
        .behind_a_proxy()
        .file("countries.mmdb", &places)
        .with(&format!("[geo]\ncountry_database = \"countries.mmdb\"\n{toml}"))
        .start()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Signs in from this address with these cookies, and returns the answer.
fn login(client: &Client, from: &str, device: &str, name: &str, password: &str) -> Response {
    let login = client.post("/login").from(ip(from));
    let login = if device.is_empty() { login } else { login.cookie(DEVICE_COOKIE, device) };
    login.json(&json!({"username": name, "password": password})).send()
}

fn activity(client: &Client, session: &SignedIn) -> Vec<Value> {
    let listed = client.get("/account/activity").bearer(&session.access).send();
    assert_eq!(listed.status, 200, "{}", listed.text());
    listed.json()["activity"].as_array().unwrap().clone()
}

/// Waits until the activity is this, newest first, detectors' findings aside: entries are stored a moment after the event.
fn told(client: &Client, session: &SignedIn, expected: &[(&str, &str, u64)]) -> Vec<Value> {
    eventually("what happened to be kept", || {
        let mut entries = activity(client, session);
        entries.retain(|one| one["what"] != "finding");
        let found: Vec<_> = entries
            .iter()
            .map(|one| {
                let text = |name: &str| one[name].as_str().unwrap();
                (text("what"), text("detail"), one["count"].as_u64().unwrap())
            })
            .collect();
        (found == expected).then(|| entries.clone())
    })
}

fn devices(client: &Client, session: &SignedIn, device: &str) -> Vec<Value> {
    let listed = client
        .get("/account/devices")
        .header("Cookie", &format!("{COOKIE}={}; {DEVICE_COOKIE}={device}", session.cookie));
    let listed = listed.send();
    assert_eq!(listed.status, 200, "{}", listed.text());
    listed.json()["devices"].as_array().unwrap().clone()
}

#[test]
fn a_person_sees_what_happened_and_what_others_tried() {
    let upstream = Upstream::start();
    let gateway = start(&upstream, "");
    let client = gateway.client();
    let lee = enter(&client, "lee", LEES);
    let first = login(&client, "1.1.2.3", "", "kim", PASSWORD);
    let device = first.set_cookie(DEVICE_COOKIE).unwrap();
    for _ in 0..3 {
        assert_eq!(login(&client, "1.2.200.9", "", "kim", "a guess").status, 401);
    }
    assert_eq!(login(&client, "1.2.200.9", "", "nobody", "a guess").status, 401);
    assert_eq!(login(&client, "1.1.2.3", &device, "kim", PASSWORD).status, 200);
    let kim = enter(&client, "kim", PASSWORD);
    let entries = told(
        &client,
        &kim,
        &[
            ("signed_in", "new_device", 1),
            ("signed_in", "known_device", 1),
            ("sign_in_refused", "wrong_password", 3),
            ("signed_in", "new_device", 1),
        ],
    );
    assert_eq!(
        (&entries[2]["country"], &entries[2]["network"]),
        (&json!("DE"), &json!("1.2.200.0/24"))
    );
    assert_eq!(entries[2]["text"], "A sign-in with a wrong password was refused.");
    let text = Value::Array(entries).to_string();
    for never in ["1.2.200.9", "1.1.2.3", "a guess", &device, &kim.cookie] {
        assert!(!text.contains(never), "{never} is in {text}");
    }
    told(&client, &lee, &[("signed_in", "new_device", 1)]);

    // The list comes in pages, and in Korean; a detector may find something in between.
    let all = eventually("the findings", || {
        let entries = activity(&client, &kim);
        let found = entries.iter().filter(|one| one["what"] == "finding").count();
        (found > 0).then_some(entries.len())
    });
    let page = |query: &str| {
        let page = client.get(&format!("/account/activity{query}")).bearer(&kim.access);
        page.header("Accept-Language", "ko").send().json()
    };
    let (mut seen, mut query) = (Vec::new(), "?limit=3".to_owned());
    loop {
        let page = page(&query);
        let entries = page["activity"].as_array().unwrap();
        assert!(entries.len() <= 3);
        seen.extend(entries.clone());
        let Some(next) = page["next"].as_str() else { break };
        query = format!("?limit=3&cursor={next}");
    }
    assert_eq!(seen.len(), all);
    let texts: Vec<_> = seen.iter().map(|one| one["text"].as_str().unwrap()).collect();
    assert!(texts.contains(&"새 기기에서 로그인했습니다."), "{texts:?}");

    // What was done about the finding is listed as well.
    let ended = client.post("/account/sessions").bearer(&kim.access);
    assert_eq!(ended.json(&json!({"action": "end_others"})).send().json(), json!({"ended": 2}));
    eventually("the ends, as one entry", || {
        let entries = activity(&client, &kim);
        let is_it = |one: &Value| {
            one["what"] == "session_ended" && one["detail"] == "account" && one["count"] == 2
        };
        entries.iter().any(is_it).then_some(())
    });
    let html = client.get("/account").cookie(COOKIE, &kim.cookie).navigation().send().text();
    assert!(html.contains("A sign-in with a wrong password was refused. (3×)"), "{html}");
    assert!(!html.contains("1.2.200.9") && !html.contains(&kim.cookie));
}

#[test]
fn what_a_detector_found_is_shown_to_whom_it_concerns() {
    let upstream = Upstream::start();
    let gateway = start(&upstream, "[tokens]\nrefresh_grace = \"0s\"");
    let client = gateway.client();
    let kim = enter(&client, "kim", PASSWORD);
    let stolen = client.sign_in("kim", PASSWORD);
    let refresh = || client.post("/refresh").json(&json!({"refresh": stolen["refresh"]})).send();
    assert_eq!((refresh().status, refresh().status), (200, 401));
    eventually("the finding", || {
        let entries = activity(&client, &kim);
        let has = |what: &str, detail: &str| {
            entries.iter().any(|one| one["what"] == what && one["detail"] == detail)
        };
        (has("finding", "refresh_reuse") && has("session_ended", "refresh_reused")).then_some(())
    });
}

#[test]
fn what_happened_is_forgotten_after_its_time() {
    let upstream = Upstream::start();
    let gateway = start(&upstream, "[privacy]\nretention = \"1s\"");
    let client = gateway.client();
    let kim = enter(&client, "kim", PASSWORD);
    eventually("a device without its place, and no entry", || {
        let devices = devices(&client, &kim, "");
        let is_forgotten = devices.iter().any(|one| one["network"].is_null());
        (is_forgotten && activity(&client, &kim).is_empty()).then_some(())
    });
}

#[test]
fn a_device_is_listed_once_and_forgotten_for_good() {
    let upstream = Upstream::start();
    let gateway = start(&upstream, "");
    let client = gateway.client();
    let phone = login(&client, "1.1.2.3", "", "kim", PASSWORD).set_cookie(DEVICE_COOKIE).unwrap();
    let again = login(&client, "1.1.2.3", &phone, "kim", PASSWORD);
    let again = again.set_cookie(DEVICE_COOKIE).unwrap();
    let kim = enter(&client, "kim", PASSWORD);
    let lee = enter(&client, "lee", LEES);
    let listed = eventually("two devices", || {
        let listed = devices(&client, &kim, &again);
        (listed.len() == 2).then_some(listed)
    });
    let here: Vec<_> = listed.iter().filter(|one| one["current"] == true).collect();
    assert_eq!(here.len(), 1, "{listed:?}");
    assert!(!Value::Array(listed.clone()).to_string().contains(&again));
    let id = here[0]["id"].as_str().unwrap().to_owned();

    let post = |session: &SignedIn, body: Value| {
        client.post("/account/devices").bearer(&session.access).json(&body).send()
    };
    let theirs = post(&lee, json!({"action": "forget", "id": id}));
    assert_eq!((theirs.status, theirs.code().as_str()), (404, "not_on_account"));
    for body in [json!({}), json!({"action": "forget"}), json!({"action": "burn"})] {
        assert_eq!(post(&kim, body.clone()).status, 400, "{body}");
    }
    let elsewhere = client
        .post("/account/devices")
        .cookie(COOKIE, &kim.cookie)
        .header("Origin", "https://evil.example")
        .form(&[("action", "forget_all")])
        .send();
    assert_eq!((elsewhere.status, elsewhere.code().as_str()), (403, "cross_site"));
    assert_eq!(devices(&client, &kim, "").len(), 2);

    let forgotten = post(&kim, json!({"action": "forget", "id": id}));
    assert_eq!((forgotten.status, forgotten.json()), (200, json!({"forgotten": 1})));
    assert_eq!(post(&kim, json!({"action": "forget", "id": id})).status, 404);
    assert_eq!(devices(&client, &kim, &again).len(), 1);
    gateway.logged("the trail", |line| {
        line["event"] == "devices_forgotten" && line["reason"] == "one"
    });
    // No copy of the forgotten device's cookie is known, not even the older one; the device comes back as a new one.
    for copy in [&phone, &again] {
        assert_eq!(login(&client, "1.1.2.3", copy, "kim", PASSWORD).status, 200);
    }
    eventually("strangers", || {
        let entries = activity(&client, &kim);
        let is_new = |one: &&Value| one["what"] == "signed_in" && one["detail"] == "new_device";
        (entries.iter().take_while(|one| one["what"] != "devices_forgotten").filter(is_new).count()
            == 2)
            .then_some(())
    });
    let all = eventually("three devices", || {
        let listed = devices(&client, &kim, "");
        (listed.len() == 3).then_some(listed)
    });
    assert!(all.iter().all(|one| one["id"] != *id));
    let forgotten = post(&kim, json!({"action": "forget_all"}));
    assert_eq!((forgotten.status, forgotten.json()), (200, json!({"forgotten": 3})));
    assert_eq!(devices(&client, &kim, "").len(), 0);
    assert!(kim.is_in(&client), "sessions go on");
}
