//! Tests codes by mail, for users without another second factor.

use std::path::PathBuf;

use super::*;
use crate::accessibility::Looks;
use crate::second_factor::App;
use crate::support::DEVICE_COOKIE;
use crate::support::browser::Browser;
use crate::support::client::{Request, Response};
use crate::support::eventually;

const COOKIE: &str = "__Host-doorwarden";
const PASSWORD: &str = "correct horse battery";
const REQUIRED: &str = "[second_factor]\nmode = \"required\"\nmailed_codes = true\n";
const ADMIN: &str = "name = \"admin\"\npath = \"/admin/\"\nsecond_factor = \"required\"";

struct Scene {
    gateway: Gateway,
    post: Receiver,
    _upstream: Upstream,
}

fn scene(toml: &str) -> Scene {
    let (upstream, post) = (Upstream::start(), Receiver::smtp(&[]));
    let gateway = Setup::new(upstream.address)
        .behind_a_proxy()
        .route(ADMIN)
        .file("users.toml", sharing().as_bytes())
        .with(&format!("{}{toml}", notify(&mail(&post, PLAIN))))
        .start();
    Scene { gateway, post, _upstream: upstream }
}

impl Scene {
    fn login(&self, name: &str, password: &str) -> Request {
        let login = json!({"username": name, "password": password});
        self.gateway.client().post("/login").json(&login)
    }

    fn ticket(&self) -> Value {
        let refused = self.login("kim", PASSWORD).send();
        assert_eq!(refused.code(), "second_factor_required", "{}", refused.text());
        let refused = refused.json();
        assert_eq!(refused["methods"], json!(["mail"]), "{refused}");
        refused["ticket"].clone()
    }

    fn step(&self, body: &Value) -> Response {
        self.gateway.client().post("/login/second-factor").json(body).send()
    }

    /// Returns the code of letter number `count`, once it is there.
    fn code(&self, count: usize) -> String {
        let letter = eventually("the letter", || {
            let letters = self.post.received().into_iter();
            let has_code =
                |one: &Value| one["text"].as_str().unwrap().contains("Enter the code nowhere");
            letters.filter(has_code).nth(count - 1)
        });
        assert_eq!(letter["to"], json!(["kim@example.org"]), "{letter}");
        code_in(&letter).unwrap()
    }
}

/// Returns the line of a letter that is a code.
fn code_in(letter: &Value) -> Option<String> {
    let is_code = |line: &&str| {
        line.len() == 9 && line.bytes().all(|byte| byte.is_ascii_digit() || byte == b' ')
    };
    letter["text"].as_str()?.lines().map(str::trim).find(is_code).map(str::to_owned)
}

#[test]
fn a_program_asks_for_a_code_and_signs_in_by_it() {
    let scene = scene(REQUIRED);
    let ticket = scene.ticket();
    // Before a code was requested, none is right.
    let early = scene.step(&json!({"ticket": ticket, "otp": "1234 5678"}));
    assert_eq!((early.status, early.code().as_str()), (401, "bad_code"));
    let asked = scene.step(&json!({"ticket": ticket, "mail": true}));
    assert_eq!(asked.status, 202, "{}", asked.text());
    assert!(!asked.text().contains('@'), "nothing of the address: {}", asked.text());
    let code = scene.code(1);

    // With another ticket, or from another network, the code is not accepted.
    let other = scene.ticket();
    assert_eq!(scene.step(&json!({"ticket": other, "otp": code})).code(), "bad_code");
    let elsewhere = scene.gateway.client().post("/login/second-factor");
    let elsewhere = elsewhere.from("203.0.113.7".parse().unwrap());
    let elsewhere = elsewhere.json(&json!({"ticket": ticket, "otp": code})).send();
    assert_eq!(elsewhere.code(), "ticket_not_valid");

    let signed_in = scene.step(&json!({"ticket": ticket, "otp": code}));
    assert_eq!(signed_in.status, 200, "{}", signed_in.text());
    let access = signed_in.json()["access"].as_str().unwrap().to_owned();
    let client = scene.gateway.client();
    let session = client.get("/session").bearer(&access).send().json();
    assert_eq!((&session["amr"], &session["acr"]), (&json!(["pwd", "mail"]), &Value::Null));
    assert_eq!(client.get("/admin/").bearer(&access).send().status, 200, "it stands for one");
    let again = scene.step(&json!({"ticket": ticket, "otp": code}));
    assert_eq!((again.status, again.code().as_str()), (401, "ticket_not_valid"));
    scene
        .gateway
        .logged("the wish", |line| line["event"] == "mailed_code" && line["reason"] == "asked");
    scene.gateway.counts("doorwarden_mailed_codes_total{event=\"asked\"}", 1.0);
}

#[test]
fn garbage_for_a_flag_is_told_as_that() {
    let scene = scene(REQUIRED);
    let ticket = scene.ticket();
    let step = |flag: &str, value: Value| {
        let mut body = json!({"ticket": ticket});
        body[flag] = value;
        scene.step(&body)
    };
    for flag in ["mail", "enrol", "passkey"] {
        for garbage in [json!("maybe"), json!(2), json!([true])] {
            let refused = step(flag, garbage);
            assert_eq!((refused.status, refused.code().as_str()), (400, "bad_body"), "{flag}");
            assert_eq!(refused.json()[flag], json!(["Must be a valid boolean."]), "{flag}");
        }
        let required = json!(["This field is required."]);
        assert_eq!(step(flag, json!(false)).json()["otp"], required, "{flag}");
    }
    assert_eq!(step("mail", json!(true)).status, 202);
}

#[test]
fn three_an_hour_and_whoever_stole_the_password_uses_up_none_of_its_owners() {
    let scene = scene(REQUIRED);
    let ticket = scene.ticket();
    scene.step(&json!({"ticket": ticket, "mail": true}));
    let own = scene.step(&json!({"ticket": ticket, "otp": scene.code(1)}));
    let device = own.set_cookie(DEVICE_COOKIE).unwrap();

    let asked: Vec<u16> = (0..4)
        .map(|_| scene.step(&json!({"ticket": scene.ticket(), "mail": true})).status)
        .collect();
    assert_eq!(asked, [202, 202, 429, 429], "with the owner's first");
    let refused = scene.step(&json!({"ticket": scene.ticket(), "mail": true}));
    assert_eq!(
        (refused.code().as_str(), refused.header("retry-after")),
        ("too_many_attempts", Some("3600"))
    );
    let known = scene.login("kim", PASSWORD).cookie(DEVICE_COOKIE, &device).send().json();
    let owner = scene.step(&json!({"ticket": known["ticket"], "mail": true}));
    assert_eq!(owner.status, 202, "{}", owner.text());
    scene.code(4);
    scene.gateway.counts("doorwarden_mailed_codes_total{event=\"withheld\"}", 3.0);
}

#[test]
fn who_shares_an_address_or_has_an_app_gets_none() {
    let scene = scene(REQUIRED);
    let lee = scene.login("lee", "staple 한글 암호").send();
    assert_eq!(lee.code(), "enrolment_required", "the address is the family's: {}", lee.text());
    let refused = scene.step(&json!({"ticket": lee.json()["ticket"], "mail": true}));
    assert_eq!((refused.status, refused.code().as_str()), (400, "bad_body"));

    // Kim sets up an app with a ticket for which a code has been mailed, in a browser that is known by then.
    let ticket = scene.ticket();
    scene.step(&json!({"ticket": ticket, "mail": true}));
    let first = scene.step(&json!({"ticket": ticket, "otp": scene.code(1)}));
    let device = first.set_cookie(DEVICE_COOKIE).unwrap();
    let again = scene.login("kim", PASSWORD).cookie(DEVICE_COOKIE, &device).send().json();
    let with_device = |body: &Value| {
        let request = scene.gateway.client().post("/login/second-factor").json(body);
        request.cookie(DEVICE_COOKIE, &device).send()
    };
    assert_eq!(with_device(&json!({"ticket": again["ticket"], "mail": true})).status, 202);
    let late = scene.code(2);
    let begun = with_device(&json!({"ticket": again["ticket"], "enrol": true})).json();
    let mut app = App::new(begun["secret"].as_str().unwrap());
    let ends = json!({
        "ticket": again["ticket"], "enrolment": begun["enrolment"], "otp": app.code(), "name": "app",
    });
    assert_eq!(with_device(&ends).status, 200);
    // From now on the app's code is demanded, and a mailed one does not help.
    let next = scene.login("kim", PASSWORD).send().json();
    assert_eq!(next["methods"], json!(["totp", "recovery_code"]), "{next}");
    let mailed = scene.step(&json!({"ticket": next["ticket"], "mail": true}));
    assert_eq!((mailed.status, mailed.code().as_str()), (400, "bad_body"));
    assert_eq!(scene.step(&json!({"ticket": next["ticket"], "otp": late})).code(), "bad_code");
}

#[test]
fn pages_lead_through_it_without_a_script() {
    let scene = scene(REQUIRED);
    let client = scene.gateway.client();
    let post = |target: &str, fields: &[(&str, &str)]| {
        client.post(target).navigation().form(fields).send()
    };
    let due = post("/login", &[("username", "kim"), ("password", PASSWORD), ("next", "/app?a=1")]);
    let page = due.text();
    assert!(page.contains("Mail me a code") && !page.contains("name=\"otp\""), "{page}");
    let ticket = page.split("name=\"ticket\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let ask = [("ticket", ticket), ("next", "/app?a=1"), ("mail", "on")];
    let foreign = client.post("/login/second-factor").header("Accept", "text/html");
    let foreign = foreign.header("Origin", "https://evil.example").form(&ask).send();
    assert_eq!(foreign.status, 403, "{}", foreign.text());
    let asked = post("/login/second-factor", &ask);
    assert_eq!(asked.status, 200, "{}", asked.text());
    assert!(asked.text().contains("on its way"), "{}", asked.text());
    let wrong = post("/login/second-factor", &[("ticket", ticket), ("otp", "0"), ("next", "/")]);
    assert_eq!(wrong.status, 401);
    assert!(
        wrong.text().contains("latest mail") && wrong.text().contains("another code"),
        "{}",
        wrong.text()
    );
    assert!(!wrong.text().contains("on its way"), "nothing is now: {}", wrong.text());
    let asked_too_often: Vec<_> = (0..3).map(|_| post("/login/second-factor", &ask)).collect();
    let last = &asked_too_often[2];
    assert_eq!(last.status, 429);
    assert!(last.text().contains("name=\"otp\"") && !last.text().contains("on its way"));
    let code = scene.code(1);
    let ends = [("ticket", ticket), ("otp", &code), ("next", "/app?a=1")];
    let signed_in = post("/login/second-factor", &ends);
    assert_eq!((signed_in.status, signed_in.header("location")), (303, Some("/app?a=1")));
    assert!(signed_in.set_cookie(COOKIE).is_some());
}

#[test]
fn a_session_is_raised_by_a_code_where_a_route_asks_for_a_second_factor() {
    let scene = scene("[second_factor]\nmode = \"optional\"\nmailed_codes = true\n");
    let client = scene.gateway.client();
    let cookie = scene.login("kim", PASSWORD).send().set_cookie(COOKIE).unwrap();
    let ask = |fields: &[(&str, &str)]| {
        let request = client.post("/login/second-factor").navigation().cookie(COOKIE, &cookie);
        request.form(fields).send()
    };
    let led = client.get("/admin/x").navigation().cookie(COOKIE, &cookie).send();
    assert_eq!(led.header("location"), Some("/login/second-factor?next=/admin/x"));
    let page = client.get(led.header("location").unwrap()).navigation().cookie(COOKIE, &cookie);
    let page = page.send();
    assert!(page.text().contains("Mail me a code"), "{}", page.text());
    let sent = ask(&[("mail", "on"), ("next", "/admin/x")]);
    assert!(sent.text().contains("name=\"otp\""), "{}", sent.text());
    let code = scene.code(1);
    // The code is no use to another session of the same user.
    let other = scene.login("kim", PASSWORD).send().set_cookie(COOKIE).unwrap();
    let stolen = client.post("/login/second-factor").navigation().cookie(COOKIE, &other);
    assert_eq!(stolen.form(&[("otp", &code), ("next", "/")]).send().status, 401);
    let raised = ask(&[("otp", &code), ("next", "/admin/x")]);
    assert_eq!(
        (raised.status, raised.header("location")),
        (303, Some("/admin/x")),
        "{}",
        raised.text()
    );
    let there = client.get("/admin/x").navigation().cookie(COOKIE, &cookie).send();
    assert_eq!(there.status, 200);
    assert_eq!(ask(&[("otp", &code), ("next", "/")]).status, 401, "once");
}

#[test]
fn at_an_alias_it_is_mailed_at_once_and_posted_with_the_same_again() {
    let scene = scene(&format!(
        "{REQUIRED}[[paths.alias]]\npath = \"/api/token/\"\nendpoint = \"login\"\n"
    ));
    let post = |body: &Value| scene.gateway.client().post("/api/token/").json(body).send();
    let mut login = json!({"username": "kim", "password": PASSWORD});
    let refused = post(&login);
    let expected = json!({"detail": "A second factor is required.", "code": "otp_required"});
    assert_eq!((refused.status, refused.json()), (401, expected));
    login["otp"] = scene.code(1).into();
    let signed_in = post(&login);
    assert_eq!(signed_in.status, 200, "{}", signed_in.text());
    assert_eq!(post(&login).json()["code"], "otp_invalid", "once");
}

#[test]
fn a_kill_between_the_wish_and_its_letter_loses_neither() {
    let mut scene = scene(REQUIRED);
    let ticket = scene.ticket();
    assert_eq!(scene.step(&json!({"ticket": ticket, "mail": true})).status, 202);
    scene.gateway.kill();
    scene.gateway.spawn();
    let code = scene.code(1);
    let signed_in = scene.step(&json!({"ticket": ticket, "otp": code}));
    assert_eq!(signed_in.status, 200, "{}", signed_in.text());
}

#[test]
fn everybody_can_read_the_pages_and_go_on_by_them() {
    let (upstream, post) = (Upstream::start(), Receiver::smtp(&[]));
    let gateway = Setup::new(upstream.address)
        .file("users.toml", people().as_bytes())
        .with(&format!("{}{REQUIRED}[login]\ntitle = \"Acme\"\n", notify(&mail(&post, PLAIN))))
        .start();
    let at = |path: &str| format!("http://localhost:{}{path}", gateway.http.port());
    let pictures = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("mailed-code");
    std::fs::create_dir_all(&pictures).unwrap();
    let mut looks = Looks::new();
    for (lang, name, address, password) in [
        ("en", "kim", "kim@example.org", PASSWORD),
        ("ko", "lee", "lee@example.org", "staple 한글 암호"),
    ] {
        let browser = Browser::start();
        browser.prefer("light", lang);
        browser.open(&at("/reports/?page=2"));
        browser.fill("#username", name);
        browser.fill("#password", password);
        browser.follow("main > form button");
        looks.at_widths(&browser, ("offered", lang), &pictures);
        browser.follow("main > form button");
        looks.at_widths(&browser, ("asked", lang), &pictures);
        browser.fill("#otp", "0000 0000");
        browser.follow("form.code button");
        assert_eq!(browser.count("[role=alert]"), 1);
        looks.at_widths(&browser, ("wrong", lang), &pictures);
        let code = eventually("the letter", || {
            let letters = post.received();
            let theirs = letters.iter().find(|one| one["to"] == json!([address]))?;
            code_in(theirs)
        });
        browser.fill("#otp", &code);
        browser.follow("form.code button");
        assert_eq!(browser.url(), at("/reports/?page=2"), "{lang}");
    }
    looks.none(6);
}
