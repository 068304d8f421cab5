//! Tests the sessions in JSON: whose they are, the pages of the list, and what ends them.

use std::net::IpAddr;

use serde_json::json;

use super::{COOKIE, LEES, PASSWORD, enter, enter_as, listed};
use crate::support::gateway::Setup;
use crate::support::mmdb::country_database;
use crate::support::upstream::Upstream;

#[test]
fn a_person_sees_their_sessions_and_nobody_elses() {
    let upstream = Upstream::start();
    let places = country_database(&[("1.1.0.0/16", "KR"), ("1.2.0.0/16", "DE")]);
    let gateway = Setup::new(upstream.address)
        .behind_a_proxy()
        .file("countries.mmdb", &places)
        .with("[geo]\ncountry_database = \"countries.mmdb\"")
        .start();
    let client = gateway.client();
    let from = |ip: &str| client.post("/login").from(ip.parse::<IpAddr>().unwrap());
    let first = enter_as(&client, from("1.1.2.3"), "kim", PASSWORD);
    let firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
    let second = enter_as(&client, from("9.8.7.6").header("User-Agent", firefox), "kim", PASSWORD);
    let other = enter_as(&client, from("1.2.2.3"), "lee", LEES);

    let (answer, ids) = listed(&client, &first, "");
    assert_eq!(ids, [second.id.clone(), first.id.clone()], "newest first");
    let [newest, own] = &answer["sessions"].as_array().unwrap()[..] else { panic!("{answer}") };
    assert_eq!((&own["current"], &newest["current"]), (&json!(true), &json!(false)));
    assert_eq!((&own["place"], &own["country"]), (&json!("KR"), &json!("KR")));
    assert_eq!((&newest["device"], &newest["place"]), (&json!("Firefox on Linux"), &json!(null)));
    assert_eq!(newest["network"], "9.8.7.0/24");
    let text = answer.to_string();
    for never in ["1.1.2.3", "9.8.7.6", &first.cookie, &first.access, &second.cookie, "rv:140"] {
        assert!(!text.contains(never), "{never} is in {text}");
    }
    let summary = client.get("/account").bearer(&first.access).send();
    assert_eq!((summary.status, &summary.json()["sessions"]), (200, &json!(2)));
    assert_eq!(summary.json()["username"], "kim");
    let (_, lees) = listed(&client, &other, "");
    assert_eq!(lees, std::slice::from_ref(&other.id));
    for path in ["/account", "/account/sessions"] {
        let refused = client.get(path).send();
        assert_eq!((refused.status, refused.code().as_str()), (401, "not_authenticated"));
        let led = client.get(path).navigation().send();
        assert_eq!(led.header("location"), Some(&*format!("/login?next={path}")));
    }
}

#[test]
fn one_ends_the_others_end_and_all_end() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).start();
    let client = gateway.client();
    let kims: Vec<_> = (0..4).map(|_| enter(&client, "kim", PASSWORD)).collect();
    let lee = enter(&client, "lee", LEES);
    let post = |body: serde_json::Value| {
        client.post("/account/sessions").bearer(&kims[0].access).json(&body).send()
    };
    let alive = || kims.iter().map(|one| one.is_in(&client)).collect::<Vec<_>>();

    let ended = post(json!({"action": "end", "id": kims[1].id}));
    assert_eq!((ended.status, ended.json()), (200, json!({"ended": 1})));
    assert_eq!(alive(), [true, false, true, true]);
    gateway
        .logged("the end", |line| line["event"] == "session_ended" && line["reason"] == "account");
    let ended = post(json!({"action": "end_others"}));
    assert_eq!((ended.status, ended.json()), (200, json!({"ended": 2})));
    assert_eq!(alive(), [true, false, false, false]);
    // Ended sessions, other users' sessions and ids that never existed are answered alike, so nobody learns which it is.
    for id in [&*kims[1].id, &*lee.id, "0", "' OR 1=1", "\u{0}"] {
        let refused = post(json!({"action": "end", "id": id}));
        let is_text = id != "\u{0}";
        assert_eq!(refused.status, if is_text { 404 } else { 400 }, "{id}");
        if is_text {
            assert_eq!(refused.code(), "not_on_account", "{id}");
        }
    }
    assert!(lee.is_in(&client));
    for body in [json!({}), json!({"action": "end"}), json!({"action": "burn"}), json!([])] {
        assert_eq!(post(body.clone()).status, 400, "{body}");
    }
    let ended = post(json!({"action": "end_all"}));
    assert_eq!((ended.status, ended.json()), (200, json!({"ended": 1})));
    assert!(!kims[0].is_in(&client) && lee.is_in(&client));
}

#[test]
fn many_come_in_pages_and_each_once() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).start();
    let client = gateway.client();
    let all: Vec<_> = (0..5).map(|_| enter(&client, "kim", PASSWORD)).collect();
    let (mut seen, mut query) = (Vec::new(), "?limit=2".to_owned());
    loop {
        let (answer, ids) = listed(&client, &all[0], &query);
        assert!(ids.len() <= 2);
        seen.extend(ids);
        let Some(next) = answer["next"].as_str() else { break };
        query = format!("?limit=2&cursor={next}");
    }
    let mut expected: Vec<_> = all.iter().map(|one| one.id.clone()).collect();
    expected.sort_unstable();
    seen.sort_unstable();
    assert_eq!(seen, expected);
    for wrong in ["?limit=0", "?limit=1001", "?cursor=x", "?user=file/lee"] {
        let path = format!("/account/sessions{wrong}");
        assert_eq!(client.get(&path).bearer(&all[0].access).send().status, 400, "{wrong}");
    }
}

#[test]
fn another_sites_page_ends_nothing() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).start();
    let client = gateway.client();
    let (kim, other) = (enter(&client, "kim", PASSWORD), enter(&client, "kim", PASSWORD));
    for (name, value) in [
        ("Origin", "https://evil.example"),
        ("Origin", "null"),
        ("Sec-Fetch-Site", "same-site"),
        ("Referer", "https://evil.example/app.test/account"),
    ] {
        for action in ["end_others", "end_all"] {
            let refused = client
                .post("/account/sessions")
                .cookie(COOKIE, &kim.cookie)
                .header(name, value)
                .form(&[("action", action)])
                .send();
            assert_eq!((refused.status, refused.code().as_str()), (403, "cross_site"), "{value}");
        }
    }
    assert!(kim.is_in(&client) && other.is_in(&client));
    let framed = client.get("/account").cookie(COOKIE, &kim.cookie).navigation().send();
    assert_eq!(framed.header("cache-control"), Some("no-store"));
    let policy = framed.header("content-security-policy").unwrap();
    assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
}

#[test]
fn it_moves_and_is_turned_off_as_other_paths_are() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).with("[paths]\naccount = \"/me\"").start();
    let client = gateway.client();
    let kim = enter(&client, "kim", PASSWORD);
    let status = |path: &str| client.get(path).bearer(&kim.access).send().status;
    assert_eq!((status("/me"), status("/me/sessions")), (200, 200));
    let page = client.get("/me").cookie(COOKIE, &kim.cookie).navigation().send().text();
    assert!(page.contains("action=\"/me/sessions\""), "{page}");
    let reaches = |path: &str| upstream.seen().iter().any(|seen| seen.target == path);
    assert!(status("/account") == 200 && reaches("/account"));

    let gateway = Setup::new(upstream.address).with("[paths]\naccount = false").start();
    let client = gateway.client();
    let kim = enter(&client, "kim", PASSWORD);
    for path in ["/account", "/account/sessions"] {
        let before = upstream.seen().len();
        assert_eq!(client.get(path).bearer(&kim.access).send().status, 200);
        assert_eq!(upstream.seen().len(), before + 1, "{path}");
    }
}
