//! Tests `doorwarden detect replay`: a running gateway's recorded trail, shown to the detectors of another configuration.

use serde_json::{Value, json};

use crate::support::eventually;
use crate::support::gateway::{Setup, run_in};
use crate::support::mmdb::country_database;
use crate::support::upstream::Upstream;

#[test]
fn what_happened_is_found_by_other_settings_and_nothing_is_done() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address)
        .behind_a_proxy()
        .file("countries.mmdb", &country_database(&[("1.1.0.0/16", "AU"), ("5.5.0.0/16", "DE")]))
        .log("level = \"info\"\naudit_file = \"audit.jsonl\"")
        .with("[geo]\ncountry_database = \"countries.mmdb\"\n")
        .start();
    let client = gateway.client();
    let tokens = client.sign_in("kim", "correct horse battery");
    let access = tokens["access"].as_str().unwrap();
    for number in 0..6 {
        let login = json!({"username": "kim", "password": "a guess"});
        let from = format!("198.51.{number}.7").parse().unwrap();
        assert_eq!(client.post("/login").from(from).json(&login).send().status, 401);
    }
    for (place, agent) in [("1.1.1.1", "A/1"), ("1.1.1.1", "A/1"), ("5.5.5.5", "A/1")] {
        let request = client.get("/app").from(place.parse().unwrap()).header("User-Agent", agent);
        assert_eq!(request.bearer(access).send().status, 200);
    }
    let folder = gateway.folder();
    let trail = folder.join("audit.jsonl");
    let moved = "\"event\":\"session_used\"";
    let lines = eventually("the trail", || {
        let text = std::fs::read_to_string(&trail).unwrap_or_default();
        (text.matches(moved).count() == 2).then(|| text.lines().count())
    });
    let asked = |more: &str, arguments: &[&str]| {
        let config = std::fs::read_to_string(folder.join("gateway.toml")).unwrap();
        std::fs::write(folder.join("new.toml"), format!("{config}\n{more}")).unwrap();
        let whole =
            [&["detect", "replay", "audit.jsonl", "--config", "new.toml"], arguments].concat();
        let output = run_in(folder, &whole, "");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let found = |told: &Value, name: &str| {
        let all = told["detectors"].as_array().unwrap();
        let one = all.iter().find(|one| one["detector"] == name).unwrap();
        (one["findings"].clone(), one["doubtful"].clone(), one["actions"].clone())
    };
    let as_it_is: Value = serde_json::from_str(&asked("", &["--json"])).unwrap();
    assert_eq!(as_it_is["unread"], 0, "{as_it_is}");
    assert!(as_it_is["events"].as_u64().unwrap() >= 9 && lines >= 9, "{as_it_is}");
    assert_eq!(found(&as_it_is, "password_guessing").0, 0);
    // The client is the same in both countries, so the finding is reported and nothing else is done.
    let told = (json!(1), json!(1), json!({"notify": 1}));
    assert_eq!(found(&as_it_is, "token_countries"), told);
    let stricter =
        "[detect.password_guessing]\nthreshold = 3\n[detect.distributed_guessing]\nthreshold = 6\n";
    let stricter_told: Value = serde_json::from_str(&asked(stricter, &["--json"])).unwrap();
    for name in ["password_guessing", "distributed_guessing"] {
        let (findings, _, actions) = found(&stricter_told, name);
        assert_eq!((findings, actions), (json!(1), json!({"notify": 1})), "{name}");
    }
    assert_eq!(stricter_told["detectors"][2]["users"], json!(["file/kim"]), "{stricter_told}");
    let table = asked(stricter, &[]);
    eprintln!("{table}");
    assert!(table.contains("DETECTOR") && table.contains("password_guessing"), "{table}");
    let missing = run_in(folder, &["detect", "replay", "none", "--config", "new.toml"], "");
    assert_eq!(missing.status.code(), Some(1));
    // The running gateway is unaffected.
    assert_eq!(client.get("/app").bearer(access).send().status, 200);
}
