use super::*;
use crate::support::client::Response;
use crate::support::eventually;

const BROWSER: &str = "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8";

struct Scene {
    gateway: Gateway,
    hook: Receiver,
    _upstream: Upstream,
    _server: Receiver,
    /// The path and query of the link "this was not me".
    link: String,
}

/// Makes an incident of kim's, and waits for the letter.
fn scene() -> Scene {
    let (upstream, server, hook) = (Upstream::start(), Receiver::smtp(&[]), Receiver::http(SECRET));
    let channels = format!("{}{}", webhook(&hook, "/hook"), mail(&server, PLAIN));
    let gateway = setup(&upstream).with(&notify(&channels)).start();
    kim(&gateway.client());
    let text = server.wait_for(1)[0]["text"].as_str().unwrap().to_owned();
    let start = text.find("https://app.example/incident?answer=not-me").unwrap();
    let link = text[start..].split_whitespace().next().unwrap();
    let link = link.strip_prefix("https://app.example").unwrap().to_owned();
    Scene { gateway, hook, _upstream: upstream, _server: server, link }
}

impl Scene {
    fn get(&self, target: &str) -> Response {
        self.gateway.client().get(target).header("accept", BROWSER).send()
    }

    fn token(&self) -> &str {
        self.link.rsplit_once("token=").unwrap().1
    }

    fn post(&self, answer: &str) -> Response {
        let fields = [("token", self.token()), ("answer", answer)];
        self.gateway.client().post("/incident").header("accept", BROWSER).form(&fields).send()
    }
}

#[test]
fn links_that_are_none_are_refused_past_a_bound_and_another_address_goes_on() {
    let scene = scene();
    let wrong = format!("/incident?answer=not-me&token={}", "A".repeat(43));
    let from = |address: &str, target: &str| {
        let address = address.parse().unwrap();
        scene.gateway.client().get(target).from(address).header("accept", BROWSER).send()
    };
    for n in 0..20 {
        assert_eq!(from("192.0.2.7", &wrong).status, 410, "{n}");
    }
    let refused = from("192.0.2.7", &wrong);
    assert_eq!(refused.status, 429);
    assert!(refused.text().contains("too_many_attempts"), "{}", refused.text());
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((580..=600).contains(&wait), "{wait}");
    // Other users of that address must wait too; from all other addresses the link works.
    assert_eq!(from("192.0.2.7", &scene.link).status, 429);
    assert_eq!(from("192.0.2.8", &scene.link).status, 200);
    assert_eq!(scene.post("not-me").status, 200);
}

#[test]
fn this_was_not_me_asks_once_and_then_ends_everything() {
    let scene = scene();
    let client = scene.gateway.client();
    let (one, other) = (
        client.sign_in("kim", "correct horse battery"),
        client.sign_in("kim", "correct horse battery"),
    );
    let neighbor = client.sign_in("lee", "staple 한글 암호");
    let used = |tokens: &Value| {
        client.get("/app").bearer(tokens["access"].as_str().unwrap()).send().status
    };

    // Programs that check links for harmful sites open it, often several times.
    for _ in 0..3 {
        let page = scene.get(&scene.link);
        assert_eq!(page.status, 200, "{}", page.text());
        let html = page.text();
        for said in [
            "This was not you?",
            "kim",
            "203.0.113.7",
            "<form method=\"post\" action=\"/incident\">",
        ] {
            assert!(html.contains(said), "{said} is not in\n{html}");
        }
        assert!(!html.contains("<script"));
        assert!(page.header("content-security-policy").unwrap().contains("default-src 'none'"));
        assert_eq!(page.header("cache-control"), Some("no-store"));
        assert_eq!(client.request("HEAD", &scene.link).send().status, 200);
    }
    assert_eq!([used(&one), used(&other)], [200, 200], "a GET changes nothing");
    let korean = client.get(&scene.link).header("accept-language", "ko").send().text();
    assert!(
        korean.contains("본인이 아니신가요?") && korean.contains("본인이 아닙니다"),
        "{korean}"
    );

    let done = scene.post("not-me");
    assert_eq!(done.status, 200, "{}", done.text());
    assert!(done.text().contains("2 sessions were ended"), "{}", done.text());
    assert!(done.text().contains("href=\"/password/\""), "{}", done.text());
    assert_eq!([used(&one), used(&other), used(&neighbor)], [401, 401, 200]);
    for tokens in [&one, &other] {
        let refresh = client.post("/refresh").json(&json!({"refresh": tokens["refresh"]})).send();
        assert_eq!(refresh.status, 401);
    }

    // The link works once.
    let again = client.sign_in("kim", "correct horse battery");
    assert_eq!([scene.post("not-me").status, scene.get(&scene.link).status], [410, 410]);
    assert_eq!(used(&again), 200);

    // The operator sees the answer in three places.
    let line = scene.gateway.logged("the audit line", |line| line["event"] == "incident_answered");
    assert_eq!((&line["user"], &line["answer"]), (&json!("file/kim"), &json!("not_me")), "{line}");
    let counted = "doorwarden_incident_answers_total{answer=\"not_me\"}";
    scene.gateway.counts(counted, 1.0);
    let told = scene.hook.wait_for(2);
    let told = told.iter().find(|one| one["verified"]["type"] == "incident.answered").unwrap();
    let data = &told["verified"]["data"];
    assert_eq!((&data["was_me"], &data["sessions_ended"]), (&json!(false), &json!(2)));
    let log = scene.gateway.log().join("\n");
    assert!(!log.contains(scene.token()), "the secret is in the log");
    let store = std::fs::read(scene.gateway.folder().join("state/store.db")).unwrap();
    let wal = std::fs::read(scene.gateway.folder().join("state/store.db-wal")).unwrap_or_default();
    let holds = |bytes: &[u8]| bytes.windows(43).any(|part| part == scene.token().as_bytes());
    assert!(!holds(&store) && !holds(&wal), "the secret is in the store");
}

#[test]
fn this_was_me_ends_nothing_and_is_told() {
    let scene = scene();
    let client = scene.gateway.client();
    let tokens = client.sign_in("kim", "correct horse battery");
    let page = scene.get(&scene.link.replace("answer=not-me", "answer=me"));
    assert!(page.text().contains("This was you?"), "{}", page.text());
    let done = scene.post("me");
    assert!(done.status == 200 && done.text().contains("Thank you"), "{}", done.text());
    assert_eq!(client.get("/app").bearer(tokens["access"].as_str().unwrap()).send().status, 200);
    assert_eq!(scene.post("not-me").status, 410, "it was answered");
    let told = eventually("the webhook", || {
        scene.hook.received().into_iter().find(|one| one["verified"]["type"] == "incident.answered")
    });
    assert_eq!(told["verified"]["data"]["was_me"], true);
}

#[test]
fn what_is_no_link_of_ours_does_nothing() {
    let scene = scene();
    let client = scene.gateway.client();
    let tokens = client.sign_in("kim", "correct horse battery");
    for target in [
        "/incident",
        "/incident?token=",
        "/incident?token=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        &format!("/incident?token={}", "A".repeat(5000)),
        "/incident?token=%00",
    ] {
        assert_eq!(scene.get(target).status, 410, "{target}");
    }
    let post = |fields: &[(&str, &str)], origin: Option<&str>| {
        let mut request = client.post("/incident").header("accept", BROWSER).form(fields);
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        request.send().status
    };
    let token = scene.token();
    for (fields, origin, status) in [
        (&[("token", token)][..], None, 400),
        (&[("answer", "not-me")], None, 400),
        (&[("token", token), ("answer", "maybe")], None, 400),
        (&[("token", "x"), ("answer", "not-me")], None, 410),
        (&[("token", token), ("answer", "not-me")], Some("https://evil.example"), 403),
    ] {
        assert_eq!(post(fields, origin), status, "{fields:?} {origin:?}");
    }
    let used = client.get("/app").bearer(tokens["access"].as_str().unwrap()).send();
    assert_eq!(used.status, 200, "nothing was ended");
    assert_eq!(scene.post("not-me").status, 200, "and the link still works");
}

#[test]
fn of_many_answers_at_once_one_is_told() {
    let scene = scene();
    let answers: Vec<u16> = std::thread::scope(|threads| {
        let tasks: Vec<_> =
            (0..20).map(|_| threads.spawn(|| scene.post("not-me").status)).collect();
        tasks.into_iter().map(|task| task.join().unwrap()).collect()
    });
    assert!(answers.iter().all(|status| [200, 410].contains(status)), "{answers:?}");
    assert!(answers.contains(&200));
    let counted = "doorwarden_incident_answers_total{answer=\"not_me\"}";
    scene.gateway.counts(counted, 1.0);
}
