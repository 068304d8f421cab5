//! Tests `step_up`, where a detector demands a proof: users with a second factor prove it, and their session goes on.

use serde_json::{Value, json};

use super::authenticator::{Authenticator, PLATFORM};
use super::{App, COOKIE, audited, enrol, kim, login, with};
use crate::support::browser::Browser;
use crate::support::client::Client;
use crate::support::eventually;
use crate::support::gateway::{Gateway, Setup};
use crate::support::upstream::Upstream;

const BURST: &str =
    "[detect.refresh_burst]\nthreshold = 3\nwindow = \"10m\"\naction = \"step_up\"\n";

fn gateway(upstream: &Upstream) -> Gateway {
    Setup::new(upstream.address)
        .behind_a_proxy()
        .with(&format!("[second_factor]\nmode = \"optional\"\n{BURST}"))
        .start()
}

/// Signs in with a code and refreshes until the detector demands a proof; returns the cookie, and the latest tokens.
fn asked(gateway: &Gateway, client: &Client, app: &mut App) -> (String, Value) {
    let signed_in = login(client, &with(kim(), "otp", &app.code()));
    assert_eq!(signed_in.status, 200, "{}", signed_in.text());
    let cookie = signed_in.set_cookie(COOKIE).unwrap();
    let mut tokens = signed_in.json();
    for _ in 0..3 {
        let next = client.post("/refresh").json(&json!({"refresh": tokens["refresh"]})).send();
        assert_eq!(next.status, 200, "{}", next.text());
        tokens = next.json();
    }
    let taken = "doorwarden_abnormal_access_total{action=\"step_up\",detector=\"refresh_burst\"}";
    eventually("the detector", || (gateway.metric(taken) >= Some(1.0)).then_some(()));
    (cookie, tokens)
}

#[test]
fn the_code_alone_leads_on_and_a_copy_of_the_cookie_is_worth_nothing() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream);
    let client = gateway.client();
    let (mut app, _) = enrol(&client);
    let (cookie, tokens) = asked(&gateway, &client, &mut app);
    let access = tokens["access"].as_str().unwrap().to_owned();

    // A program, a browser's page, and forms of this site and of another.
    let refused = client.get("/app").bearer(&access).send();
    let code = refused.code();
    assert_eq!((refused.status, code.as_str()), (401, "insufficient_user_authentication"));
    let challenge = refused.header("www-authenticate").unwrap().to_owned();
    assert!(challenge.ends_with("acr_values=\"aal2\", max_age=\"0\""), "{challenge}");
    let refresh = client.post("/refresh").json(&json!({"refresh": tokens["refresh"]})).send();
    assert_eq!(refresh.code(), "insufficient_user_authentication");
    let page = client.get("/app?a=1").navigation().cookie(COOKIE, &cookie).send();
    assert_eq!(page.header("location"), Some("/login/second-factor?next=/app%3Fa%3D1"));
    let own = client.get("/account/second-factors").navigation().cookie(COOKIE, &cookie).send();
    let back = "/login/second-factor?next=/account/second-factors";
    assert_eq!((own.status, own.header("location")), (303, Some(back)));
    let before = upstream.seen().len();
    for (origin, status) in [("https://evil.example", 403), ("http://app.test", 200)] {
        let form = client.post("/app").header("Accept", "text/html").header("Origin", origin);
        let form = form.header("Sec-Fetch-Mode", "navigate").header("Sec-Fetch-Dest", "document");
        let answer = form.cookie(COOKIE, &cookie).form(&[("a", "1")]).send();
        assert_eq!(answer.status, status, "{origin}: {}", answer.text());
        assert_eq!(answer.text().contains("name=\"held\""), status == 200, "{origin}");
    }
    assert_eq!(upstream.seen().len(), before);

    // Neither a password nor a wrong code lifts the demand.
    let prove =
        |body: &Value| client.post("/login/second-factor").bearer(&access).json(body).send();
    assert_eq!(prove(&json!({"password": super::PASSWORD})).code(), "second_factor_required");
    assert_eq!(prove(&json!({"otp": "000000"})).code(), "bad_code");
    assert_eq!(client.get("/app").bearer(&access).send().status, 401);

    let confirmed = client
        .post("/login/second-factor")
        .navigation()
        .cookie(COOKIE, &cookie)
        .form(&[("otp", &app.code()), ("next", "/app?a=1")])
        .send();
    assert_eq!((confirmed.status, confirmed.header("location")), (303, Some("/app?a=1")));
    let another = confirmed.set_cookie(COOKIE).unwrap();
    assert_eq!(client.get("/app").cookie(COOKIE, &another).send().status, 200);
    assert_eq!(client.get("/app").cookie(COOKIE, &cookie).send().status, 401, "the old one");
    assert_eq!(client.get("/app").bearer(&access).send().status, 200, "the session goes on");
    gateway.logged("the block to be lifted", |line| {
        line["target"] == "audit" && line["event"] == "block_lifted"
    });
    audited(&gateway, "second_factor_refused", "wrong_code");
}

/// A passkey is a second factor like any other, and may be the only one.
#[test]
fn a_passkey_alone_leads_on_too() {
    let upstream = Upstream::start();
    let passkeys = "[second_factor]\nmode = \"optional\"\n\
         [second_factor.passkeys]\nenabled = true\nrp_id = \"localhost\"\n";
    let gateway =
        Setup::new(upstream.address).behind_a_proxy().with(&format!("{passkeys}{BURST}")).start();
    let (client, browser) = (gateway.client(), Browser::start());
    browser.open(&format!("http://localhost:{}/public/", gateway.http.port()));
    let key = Authenticator::new(&browser, PLATFORM);
    let mut tokens = login(&client, &kim()).json();
    let as_them = |tokens: &Value, path: &str, body: &Value| {
        client.post(path).bearer(tokens["access"].as_str().unwrap()).json(body).send()
    };
    let factors = "/account/second-factors";
    let begun = as_them(&tokens, factors, &json!({"action": "begin", "kind": "passkey"})).json();
    let confirm = json!({
        "action": "confirm", "enrolment": begun["enrolment"], "name": "one",
        "credential": key.create(&begun["publicKey"]),
    });
    assert_eq!(as_them(&tokens, factors, &confirm).status, 200);
    for _ in 0..3 {
        let next = client.post("/refresh").json(&json!({"refresh": tokens["refresh"]})).send();
        assert_eq!(next.status, 200, "{}", next.text());
        tokens = next.json();
    }
    let app = || client.get("/app").bearer(tokens["access"].as_str().unwrap()).send();
    eventually("the detector", || (app().status == 401).then_some(()));
    assert_eq!(app().code(), "insufficient_user_authentication");
    let prove = |body: &Value| as_them(&tokens, "/login/second-factor", body);
    assert_eq!(prove(&json!({"password": super::PASSWORD})).code(), "second_factor_required");
    let asked = prove(&json!({"passkey": true}));
    assert_eq!(asked.status, 200, "{}", asked.text());
    let asked = asked.json();
    let said = key.get(&asked["publicKey"]);
    let proved = prove(&json!({"ceremony": asked["ceremony"], "credential": said}));
    assert_eq!(proved.status, 200, "{}", proved.text());
    assert_eq!(app().status, 200, "the session goes on");
}

/// The last step in a real browser: the gateway's page sends the form on once, however often it is clicked.
#[test]
fn a_browser_sends_a_kept_form_on_once() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address)
        .route("name = \"admin\"\npath = \"/admin/\"\nsecond_factor = \"required\"")
        .with("[second_factor]\nmode = \"optional\"")
        .start();
    let at = |path: &str| format!("http://localhost:{}{path}", gateway.http.port());
    let browser = Browser::start();
    browser.open(&at("/app"));
    browser.fill("#username", "kim");
    browser.fill("#password", super::PASSWORD);
    browser.follow("button[type=submit]");
    assert_eq!(browser.url(), at("/app"));
    let (mut app, _) = enrol(&gateway.client());
    browser.run(
        "document.body.innerHTML = '<form method=post action=\"/admin/pay?a=1\">\
           <input type=hidden name=to value=\"김민정 &amp; co\"><button>send</button></form>'",
    );
    browser.follow("button");
    assert_eq!(browser.text("h1"), "Confirm that it is you");
    browser.fill("#otp", &app.code());
    browser.follow("main > form button");
    assert_eq!(browser.text("h1"), "Thank you");
    browser
        .run("const send = document.querySelector('main form button'); send.click(); send.click()");
    let paid = || {
        let seen = upstream.seen();
        let paid: Vec<_> = seen.into_iter().filter(|one| one.method == "POST").collect();
        (!paid.is_empty()).then_some(paid)
    };
    let paid = eventually("the form to arrive", paid);
    eventually("the page after it", || (browser.text("body") != "Thank you").then_some(()));
    assert_eq!(paid.len(), 1);
    assert_eq!(paid[0].target, "/admin/pay?a=1");
    let body = String::from_utf8(paid[0].body.clone()).unwrap();
    assert_eq!(body, "to=%EA%B9%80%EB%AF%BC%EC%A0%95+%26+co");
    let all = upstream.seen();
    assert_eq!(all.iter().filter(|one| one.method == "POST").count(), 1);
}
