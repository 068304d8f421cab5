//! Tests each detector's finding from end to end: the client's answer, what is counted and audited, and what arrives at a
//! real mail server and a real webhook receiver; then a dry run, in which nothing arrives. The scenes are those of
//! `detect`.

use serde_json::{Value, json};

use crate::detect::{LOUD, SCENES, Scene, setup};
use crate::support::eventually;
use crate::support::gateway::{Gateway, users_file};
use crate::support::receivers::Receiver;
use crate::support::upstream::Upstream;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Detectors whose findings name no user, so nobody gets a letter.
const OF_ADDRESSES: [&str; 3] = ["password_spraying", "revoked_use", "scanning"];

fn start(
    upstream: &Upstream,
    scene: &Scene,
    keys: &str,
    hook: &Receiver,
    post: &Receiver,
) -> Gateway {
    let people =
        format!("{}\n[users.root.attributes]\nemail = \"root@example.org\"\n", users_file());
    let notify = format!(
        "[notify]\nbackoff_initial = \"50ms\"\ncooldown = \"1h\"\n\
         [[notify.webhook]]\nname = \"hook\"\nurl = \"http://{}/hook\"\nsecret_file = \"webhook-secret\"\n\
         [notify.mail]\nhost = \"{}\"\nport = {}\nfrom = \"Acme <security@example.com>\"\n\
         public_url = \"https://app.example\"\npassword_change_url = \"/password/\"\n\
         danger_plaintext = true\n",
        hook.address,
        post.address.ip(),
        post.address.port(),
    );
    setup(upstream, scene, keys)
        .file("users.toml", people.as_bytes())
        .file("webhook-secret", SECRET.as_bytes())
        .with(&notify)
        .start()
}

fn counted(gateway: &Gateway, detector: &str, action: &str) -> f64 {
    let labels = format!("{{action=\"{action}\",detector=\"{detector}\"}}");
    gateway.metric(&format!("doorwarden_abnormal_access_total{labels}")).unwrap()
}

fn audit(gateway: &Gateway, detector: &str) -> Value {
    gateway
        .logged(detector, |line| line["event"] == "abnormal_access" && line["detector"] == detector)
}

/// Returns the answer to the client with the session or the address of the finding.
fn answer(gateway: &Gateway, scene: &Scene, tokens: &Value) -> String {
    let from = match scene.detector {
        "password_spraying" => "1.1.3.99",
        "revoked_use" | "scanning" => "1.1.3.50",
        _ => "1.1.3.1",
    };
    let request = gateway.client().get("/app").from(from.parse().unwrap());
    let response = request.bearer(tokens["access"].as_str().unwrap()).send();
    match response.status {
        200 => "200".to_owned(),
        status => format!("{status} {}", response.code()),
    }
}

fn told(scene: &Scene) {
    let is_of_address = OF_ADDRESSES.contains(&scene.detector);
    let (upstream, hook, post) = (Upstream::start(), Receiver::http(SECRET), Receiver::smtp(&[]));
    let strong = if is_of_address { "block_address" } else { "end_session" };
    let keys = format!("action = [\"{strong}\", \"notify\"]");
    let gateway = start(&upstream, scene, &keys, &hook, &post);
    let before = counted(&gateway, scene.detector, "notify");
    let tokens = (scene.play)(&gateway.client(), LOUD, scene.threshold);
    let has_session = !is_of_address && !scene.detector.ends_with("guessing");
    let does = if is_of_address || has_session { strong } else { "notify" };
    eventually("the finding", || (counted(&gateway, scene.detector, "notify") > 0.0).then_some(()));
    eventually(does, || (counted(&gateway, scene.detector, does) > 0.0).then_some(()));
    let after = counted(&gateway, scene.detector, "notify");
    let got = answer(&gateway, scene, &tokens);
    let expected = match (has_session, is_of_address) {
        (true, _) => "401 session_ended",
        (false, true) => "429 address_blocked",
        // Another client guesses at the account; its owner is unaffected.
        (false, false) => "200",
    };
    assert_eq!(got, expected, "{}", scene.detector);
    let line = audit(&gateway, scene.detector);
    let is_it = |told: &Value| told["verified"]["data"]["detector"] == scene.detector;
    let webhook = eventually("the webhook", || hook.received().into_iter().find(is_it));
    let data = &webhook["verified"]["data"];
    let letter = (!is_of_address).then(|| post.wait_for(1).swap_remove(0));
    if let Some(letter) = &letter {
        assert_eq!(letter["to"], json!(["root@example.org"]), "{}", scene.detector);
        assert_eq!(data["user"], json!({"directory": "file", "id": "root"}), "{data}");
    } else {
        assert_eq!(data["user"], Value::Null, "{data}");
        assert_eq!(post.received().len(), 0, "nobody is known to write to");
    }
    let mailed = letter.as_ref().map_or("none", |letter| letter["to"][0].as_str().unwrap());

    let (quiet_hook, quiet_post) = (Receiver::http(SECRET), Receiver::smtp(&[]));
    let keys = format!("{keys}\ndry_run = true");
    let dry = start(&upstream, scene, &keys, &quiet_hook, &quiet_post);
    let tokens = (scene.play)(&dry.client(), LOUD, scene.threshold);
    eventually("the dry run", || (counted(&dry, scene.detector, "dry_run") > 0.0).then_some(()));
    let in_dry_run = answer(&dry, scene, &tokens);
    // A reuse ends its session whether or not the detector acts.
    let ended = scene.detector == "refresh_reuse";
    assert_eq!(in_dry_run == "200", !ended, "{}: {in_dry_run}", scene.detector);
    assert_eq!(audit(&dry, scene.detector)["action"], "dry_run");
    let arrived = quiet_hook.received().len() + quiet_post.received().len();
    assert_eq!(arrived, 0, "{}", scene.detector);
    eprintln!(
        "| {} | {before} -> {after} | {got} | {} | {} | {mailed} | {in_dry_run}, 0 messages |",
        scene.detector,
        line["action"].as_str().unwrap(),
        data["actions"],
    );
}

#[test]
fn each_finding_reaches_those_who_should_know_and_none_in_a_dry_run() {
    eprintln!(
        "| detector | counted | the client got | audit: action | webhook: actions | mail | in a dry run |"
    );
    // Each scene has receivers and gateways of its own.
    std::thread::scope(|scope| {
        for half in SCENES.chunks(7) {
            scope.spawn(|| half.iter().for_each(told));
        }
    });
}
