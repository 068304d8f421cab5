//! Tests which personal data a running gateway deletes by itself.

use std::net::IpAddr;

use serde_json::{Value, json};

use crate::support::eventually;
use crate::support::gateway::{Gateway, Setup};
use crate::support::upstream::Upstream;

/// Returns how many files of the store contain this text.
fn holding(gateway: &Gateway, text: &str) -> usize {
    let files = std::fs::read_dir(gateway.folder().join("state")).unwrap();
    let holds = |path: std::path::PathBuf| {
        let bytes = std::fs::read(path).unwrap_or_default();
        bytes.windows(text.len()).any(|part| part == text.as_bytes())
    };
    files.filter(|entry| holds(entry.as_ref().unwrap().path())).count()
}

#[test]
fn the_store_of_a_running_gateway_forgets_addresses_and_nobody_is_signed_out() {
    let upstream = Upstream::start();
    let setup = || Setup::new(upstream.address).behind_a_proxy();
    let keeps = setup().start();
    let forgets = setup().with("[privacy]\nretention = \"1s\"").start();
    let sign_in = |gateway: &Gateway| {
        let from: IpAddr = "203.0.113.77".parse().unwrap();
        let login = json!({"username": "kim", "password": "correct horse battery"});
        let answer = gateway.client().post("/login").from(from).header("User-Agent", "SeekMe/7");
        let answer = answer.json(&login).send();
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    };
    let (kept, tokens) = (sign_in(&keeps), sign_in(&forgets));
    // The address, its network (of the device and of the account's activity), and the client.
    for text in ["203.0.113.77", "203.0.113.0", "SeekMe/7"] {
        assert!(holding(&keeps, text) > 0, "{text} is found where it is kept");
        eventually("no file to hold it", || (holding(&forgets, text) == 0).then_some(()));
    }
    let listed = |gateway: &Gateway| {
        gateway.operator("GET", "/sessions").send().json()["sessions"][0].clone()
    };
    let session = listed(&forgets);
    assert_eq!(
        (&session["client"], &session["agent"]),
        (&Value::Null, &json!("")),
        "nor does memory"
    );
    assert_eq!(listed(&keeps)["client"], "203.0.113.77");
    for (gateway, tokens) in [(&keeps, kept), (&forgets, tokens)] {
        let bearer = tokens["access"].as_str().unwrap();
        assert_eq!(gateway.client().get("/app").bearer(bearer).send().status, 200);
    }
}
