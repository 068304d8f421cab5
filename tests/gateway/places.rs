//! Where addresses are, by databases whose files change while the gateway runs.

use std::net::IpAddr;

use crate::support::eventually;
use crate::support::gateway::Setup;
use crate::support::mmdb::country_database;
use crate::support::upstream::Upstream;

#[test]
fn a_database_that_is_replaced_is_read_anew_and_one_that_is_none_is_not() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address)
        .behind_a_proxy()
        .file("countries.mmdb", &country_database(&[("1.1.0.0/16", "AU")]))
        .with("[geo]\ncountry_database = \"countries.mmdb\"")
        .start();
    let client = gateway.client();
    let from: IpAddr = "1.1.1.1".parse().unwrap();
    let login = serde_json::json!({"username": "kim", "password": "correct horse battery"});
    let signed_in = client.post("/login").from(from).json(&login).send().json();
    let access = signed_in["access"].as_str().unwrap();
    let place = || {
        let listed = client.get("/account/sessions").from(from).bearer(access).send().json();
        listed["sessions"][0]["place"].as_str().unwrap_or_default().to_owned()
    };
    assert_eq!(place(), "AU");
    let file = gateway.folder().join("countries.mmdb");
    let replace = |bytes: &[u8]| {
        // As those do who keep databases up to date.
        let beside = file.with_extension("new");
        std::fs::write(&beside, bytes).unwrap();
        std::fs::rename(&beside, &file).unwrap();
    };
    replace(&country_database(&[("1.1.0.0/16", "DE")]));
    eventually("the new database", || (place() == "DE").then_some(()));
    // Half of a download.
    replace(b"no database");
    gateway.logged("the warning", |line| {
        line["message"] == "the databases of places that are in use go on"
    });
    assert_eq!(place(), "DE");
    replace(&country_database(&[("1.1.0.0/16", "KR")]));
    eventually("a database again", || (place() == "KR").then_some(()));
}
