use std::time::{Duration, Instant};

use super::*;
use crate::support::eventually;
use crate::support::gateway::run_in;

#[test]
fn an_incident_arrives_signed_and_once_for_each_session() {
    let (upstream, hook) = (Upstream::start(), Receiver::http(SECRET));
    let gateway = setup(&upstream).with(&notify(&webhook(&hook, "/hook"))).start();
    kim(&gateway.client());
    let told = &hook.wait_for(1)[0];
    let body = &told["verified"];
    assert_eq!(body["type"], "incident.detected", "{told}");
    let data = &body["data"];
    assert_eq!(data["detector"], "refresh_reuse");
    assert_eq!(data["client"], "203.0.113.7");
    assert_eq!(data["user"], json!({"directory": "file", "id": "kim"}));
    assert_eq!(told["headers"]["content-type"], "application/json");
    eventually("the count", || (notices(&gateway, "hook", "sent") == 1.0).then_some(()));
    // Another session is another incident.
    kim(&gateway.client());
    let all = hook.wait_for(2);
    assert_ne!(all[0]["headers"]["webhook-id"], all[1]["headers"]["webhook-id"]);
    gateway.counts("doorwarden_notices_lost_total", 0.0);
}

#[test]
fn the_same_incident_again_is_no_message() {
    let (upstream, hook) = (Upstream::start(), Receiver::http(SECRET));
    let detect = "[detect.password_guessing]\nthreshold = 2\nwindow = \"1s\"\n";
    let gateway = setup(&upstream).with(detect).with(&notify(&webhook(&hook, "/hook"))).start();
    let client = gateway.client();
    let guess = json!({"username": "nobody", "password": "a guess"});
    // The detector finds it again each second, but only the first finding is sent.
    let mut guesses: u32 = 0;
    eventually("the same finding to come again", || {
        for _ in 0..20 {
            guesses += 1;
            let from = std::net::Ipv4Addr::from_bits(0xc633_0000 + guesses * 37);
            client.post("/login").from(from.into()).json(&guess).send();
        }
        (notices(&gateway, "hook", "repeated") >= 2.0).then_some(())
    });
    // This message comes after all of them.
    kim(&client);
    let is = |told: &Value, detector: &str| told["verified"]["data"]["detector"] == detector;
    let told = eventually("the last", || {
        let told = hook.received();
        told.iter().any(|one| is(one, "refresh_reuse")).then_some(told)
    });
    println!("{guesses} guesses, {} messages", told.len());
    let of_guessing = told.iter().filter(|one| is(one, "password_guessing")).count();
    assert_eq!(of_guessing, 1, "{told:?}");
}

#[test]
fn a_redirect_is_not_followed_and_a_failure_is_tried_again_with_the_same_id() {
    let (upstream, hook) = (Upstream::start(), Receiver::http(SECRET));
    for path in ["/redirect", "/fail"] {
        let before = hook.received().len();
        let gateway = setup(&upstream).with(&notify(&webhook(&hook, path))).start();
        kim(&gateway.client());
        let all = hook.wait_for(before + 3);
        let mine = &all[before..];
        assert!(mine.iter().all(|told| told["path"] == path), "{mine:?}");
        let id = &mine[0]["headers"]["webhook-id"];
        assert!(mine.iter().all(|told| told["headers"]["webhook-id"] == *id), "{mine:?}");
        eventually("two more", || (notices(&gateway, "hook", "retried") >= 2.0).then_some(()));
        assert_eq!(notices(&gateway, "hook", "sent"), 0.0);
        let waiting = "doorwarden_notices_waiting{channel=\"hook\"}";
        gateway.counts(waiting, 1.0);
    }
}

#[test]
fn a_receiver_that_wants_no_more_gets_no_more() {
    let (upstream, hook) = (Upstream::start(), Receiver::http(SECRET));
    let gateway = setup(&upstream).with(&notify(&webhook(&hook, "/gone"))).start();
    kim(&gateway.client());
    eventually("giving up", || (notices(&gateway, "hook", "given_up") == 1.0).then_some(()));
    assert_eq!(hook.received().len(), 1);
}

#[test]
fn a_receiver_that_hangs_delays_nobody() {
    let (upstream, hook) = (Upstream::start(), Receiver::http(SECRET));
    let gateway = setup(&upstream).with(&notify(&webhook(&hook, "/hang"))).start();
    let client = gateway.client();
    for _ in 0..10 {
        kim(&client);
    }
    hook.wait_for(1);
    let began = Instant::now();
    let tokens = client.sign_in("lee", "staple 한글 암호");
    for _ in 0..50 {
        let used = client.get("/app").bearer(tokens["access"].as_str().unwrap()).send();
        assert_eq!(used.status, 200);
    }
    let took = began.elapsed();
    println!("a sign-in and 50 requests beside a receiver that hangs: {took:?}");
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[test]
fn a_channel_comes_with_a_reload_and_a_missing_secret_changes_nothing() {
    let (upstream, hook) = (Upstream::start(), Receiver::http(SECRET));
    let gateway = setup(&upstream).start();
    let file = gateway.folder().join("gateway.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let missing = webhook(&hook, "/hook").replace("webhook-secret", "no-such-file");
    std::fs::write(&file, format!("{text}\n{}", notify(&missing))).unwrap();
    let refused = gateway.command(&["reload"]);
    assert!(!refused.status.success());
    let said = String::from_utf8_lossy(&refused.stderr);
    assert!(said.contains("no-such-file"), "{said}");

    std::fs::write(&file, format!("{text}\n{}", notify(&webhook(&hook, "/hook")))).unwrap();
    let reloaded = gateway.command(&["reload"]);
    assert!(reloaded.status.success(), "{}", String::from_utf8_lossy(&reloaded.stderr));
    kim(&gateway.client());
    assert_eq!(hook.wait_for(1)[0]["verified"]["type"], "incident.detected");
}

#[test]
fn a_check_tells_of_every_channel_that_cannot_work() {
    let upstream = Upstream::start();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("incident.ko.html"), "<p>{{ waht }}</p>").unwrap();
    let channels = format!(
        "[[notify.webhook]]\nname = \"hook\"\nurl = \"https://hooks.example\"\nsecret_file = \"no-such-secret\"\n\
         [[notify.webhook]]\nname = \"short\"\nurl = \"https://hooks.example\"\nsecret_file = \"short-secret\"\n\
         [[notify.security_events]]\nname = \"partner\"\nurl = \"https://partner.example\"\naudience = \"a\"\n\
         ca_file = \"no-such-ca\"\n\
         [notify.mail]\nhost = \"mail.example\"\nfrom = \"a@example.com\"\npublic_url = \"https://app.example\"\n\
         templates = {:?}\n",
        folder.path()
    );
    let prepared =
        setup(&upstream).file("short-secret", b"whsec_c2hvcnQ=").with(&notify(&channels)).prepare();
    let output = run_in(prepared.path(), &["check"], "");
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(!output.status.success(), "{said}");
    for problem in ["no-such-secret", "5 bytes: 24 at least", "no-such-ca", "there is no \"waht\""]
    {
        assert!(said.contains(problem), "{problem} is not in\n{said}");
    }
}
