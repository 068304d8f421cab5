//! Tests the places of addresses, from databases whose files change while the gateway runs.

use std::net::IpAddr;

use crate::support::eventually;
use crate::support::gateway::Setup;
use crate::support::mmdb::country_database;
use crate::support::upstream::Upstream;

/// Returns the path of a free database by a third party; `scripts/setup-test` installs it.
fn real_database() -> std::path::PathBuf {
    let package = "node_modules/@ip-location-db/geo-whois-asn-country-mmdb";
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(".tools/geo")
        .join(package)
        .join("geo-whois-asn-country.mmdb");
    assert!(path.exists(), "{} is missing: run scripts/setup-test", path.display());
    path
}

#[test]
fn a_real_database_says_where_people_are_and_that_one_is_in_two_countries() {
    let upstream = Upstream::start();
    let geo = format!("[geo]\ncountry_database = {:?}", real_database());
    let gateway = Setup::new(upstream.address).behind_a_proxy().with(&geo).start();
    let client = gateway.client();
    let login = serde_json::json!({"username": "kim", "password": "correct horse battery"});
    let sign_in = |from: &str| {
        let from: IpAddr = from.parse().unwrap();
        let signed_in = client.post("/login").from(from).json(&login).send();
        assert_eq!(signed_in.status, 200, "{}", signed_in.text());
        (from, signed_in.json()["access"].as_str().unwrap().to_owned())
    };
    // Well-known resolvers, a registry's own network, and an address in no country.
    for (address, country) in [
        ("8.8.8.8", "US"),
        ("168.126.63.1", "KR"),
        ("193.0.6.139", "NL"),
        ("2001:4860:4860::8888", "US"),
        ("10.1.2.3", ""),
    ] {
        let (from, access) = sign_in(address);
        let listed = client.get("/account/sessions").from(from).bearer(&access).send().json();
        let sessions = listed["sessions"].as_array().unwrap();
        let this = sessions.iter().find(|one| one["current"] == true).unwrap();
        assert_eq!(this["place"].as_str().unwrap_or_default(), country, "{address}: {this}");
    }
    let (seoul, access) = sign_in("168.126.63.1");
    let from = |address: IpAddr, agent: &str| {
        let request = client.get("/app").from(address).header("User-Agent", agent);
        request.bearer(&access).send().status
    };
    assert_eq!(from(seoul, "Phone/1"), 200);
    from("8.8.8.8".parse().unwrap(), "curl/8");
    let found = gateway.logged("the finding", |line| {
        line["event"] == "abnormal_access" && line["detector"] == "token_countries"
    });
    assert_eq!(found["countries"], "KR,US", "{found}");
    eventually("the end of the session", || (from(seoul, "Phone/1") == 401).then_some(()));
}

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
        // Replaced as updaters of such databases do it.
        let beside = file.with_extension("new");
        std::fs::write(&beside, bytes).unwrap();
        std::fs::rename(&beside, &file).unwrap();
    };
    replace(&country_database(&[("1.1.0.0/16", "DE")]));
    eventually("the new database", || (place() == "DE").then_some(()));
    // An incomplete download.
    replace(b"no database");
    gateway.logged("the warning", |line| {
        line["message"] == "the databases of places cannot be read; those in use stay in use"
    });
    assert_eq!(place(), "DE");
    replace(&country_database(&[("1.1.0.0/16", "KR")]));
    eventually("a database again", || (place() == "KR").then_some(()));
}
