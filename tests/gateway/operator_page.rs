//! Tests the operator's page in a real browser, and the lists behind it, page by page.

use std::net::IpAddr;

use serde_json::{Value, json};

use crate::support::browser::Browser;
use crate::support::client::{Client, Request};
use crate::support::eventually;
use crate::support::gateway::{Gateway, Setup};
use crate::support::mmdb::country_database;
use crate::support::upstream::Upstream;

const PASSWORD: &str = "correct horse battery";
const BURST: &str =
    "[detect.refresh_burst]\nthreshold = 3\nwindow = \"10m\"\naction = \"observe\"\n";

fn start(upstream: &Upstream, toml: &str) -> Gateway {
    let places = country_database(&[("1.1.0.0/16", "KR"), ("1.2.0.0/16", "DE")]);
    Setup::new(upstream.address)
        .behind_a_proxy()
        .file("countries.mmdb", &places)
        .with(&format!("[geo]\ncountry_database = \"countries.mmdb\"\n{BURST}{toml}"))
        .start()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn sign_in(client: &Client, from: &str, name: &str, password: &str) -> Value {
    let login = json!({"username": name, "password": password});
    let answer = client.post("/login").from(ip(from)).json(&login).send();
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

/// Refreshes until `refresh_burst` finds something.
fn burst(client: &Client, from: &str, mut tokens: Value) -> Value {
    for _ in 0..3 {
        let next =
            client.post("/refresh").from(ip(from)).json(&json!({"refresh": tokens["refresh"]}));
        let next = next.header("User-Agent", "Script/1.0 <b>&</b>").send();
        assert_eq!(next.status, 200, "{}", next.text());
        tokens = next.json();
    }
    tokens
}

fn token(gateway: &Gateway) -> String {
    let text = std::fs::read_to_string(gateway.folder().join("state/operator-token")).unwrap();
    text.trim().to_owned()
}

fn at(gateway: &Gateway, path: &str) -> String {
    format!("http://localhost:{}{path}", gateway.admin.port())
}

/// Returns a browser that is signed in to the page.
pub(crate) fn page(gateway: &Gateway) -> Browser {
    let browser = Browser::start();
    browser.open(&at(gateway, "/"));
    browser.fill("#token", &token(gateway));
    browser.follow("button[type=submit]");
    eventually("the page to be filled", || browser.text("#state").contains("As of").then_some(()));
    browser
}

pub(crate) fn shown(browser: &Browser, css: &str, what: &str) {
    let script = format!(
        "return [...document.querySelectorAll({})].some((e) => e.textContent.includes({}))",
        json!(css),
        json!(what)
    );
    eventually(what, || (browser.run(&script) == true).then_some(()));
}

pub(crate) fn press(browser: &Browser, css: &str, label: &str) {
    let script = format!(
        "const all = [...document.querySelectorAll({})]; \
         const one = all.find((e) => e.getAttribute('aria-label') === {} || e.textContent === {}); \
         if (!one) return false; one.click(); return true",
        json!(css),
        json!(label),
        json!(label)
    );
    eventually(label, || (browser.run(&script) == true).then_some(()));
}

pub(crate) fn agree(browser: &Browser) {
    eventually("the question", || {
        (browser.run("return document.getElementById('ask').open") == true).then_some(())
    });
    press(browser, "#ask-yes", &browser.text("#ask-yes"));
}

fn operator(gateway: &Gateway, target: &str) -> Value {
    let answer = gateway.operator("GET", target).send();
    assert_eq!(answer.status, 200, "{target}: {}", answer.text());
    answer.json()
}

#[test]
fn an_operator_signs_in_sees_what_was_found_and_acts() {
    let upstream = Upstream::start();
    let gateway = start(&upstream, "");
    let client = gateway.client();
    let tokens = burst(&client, "1.1.1.7", sign_in(&client, "1.1.1.7", "kim", PASSWORD));
    sign_in(&client, "1.2.1.1", "root", "toor toor toor");

    let browser = Browser::start();
    browser.open(&at(&gateway, "/"));
    assert_eq!(browser.url(), at(&gateway, "/operator"));
    browser.has_focus("token");
    browser.fill("#token", "a guess");
    browser.follow("button[type=submit]");
    assert_eq!(browser.text("[role=alert]"), "That is not the operator\u{2019}s token.");
    assert_eq!(browser.cookies(), [Value::Null; 0]);
    browser.fill("#token", &token(&gateway));
    browser.follow("button[type=submit]");
    assert_eq!(browser.url(), at(&gateway, "/operator"));

    // The cookie identifies the page's session, and is not the operator's token.
    let cookie = browser.cookies().pop().unwrap();
    assert_eq!(
        [&cookie["name"], &cookie["httpOnly"], &cookie["sameSite"], &cookie["path"]],
        [&json!("doorwarden-operator"), &json!(true), &json!("Strict"), &json!("/")]
    );
    let value = cookie["value"].as_str().unwrap().to_owned();
    assert!(value.len() == 43 && value != token(&gateway), "{value}");
    assert_eq!(browser.run("return document.cookie"), "", "no script reads it");
    let holds =
        format!("return document.documentElement.outerHTML.includes({})", json!(token(&gateway)));
    assert_eq!(browser.run(&holds), false, "nor is the token in the page");

    shown(&browser, "#findings-list .what", "refresh burst: file/kim");
    shown(&browser, "#findings-list .facts", "Script/1.0 <b>&</b>");
    shown(&browser, "#countries .label", "South Korea");
    shown(&browser, "#countries .label", "Germany");
    shown(&browser, "#users .label", "kim (file/kim)");
    shown(&browser, "#sessions-list .what", "root");
    shown(&browser, "#upstreams-list .what", "app: ");
    assert_eq!(browser.text("#blocks-empty"), "Nobody is blocked.");
    assert_eq!(browser.count("#rates svg"), 6);

    press(&browser, "#findings-list button", "Block 1.1.1.7");
    agree(&browser);
    shown(&browser, "#blocks-list .what", "1.1.1.7");
    assert_eq!(client.get("/public/").from(ip("1.1.1.7")).send().status, 429);
    press(&browser, "#blocks-list button", "Lift the block of 1.1.1.7");
    agree(&browser);
    eventually("nobody to be blocked", || (browser.count("#blocks-list li") == 0).then_some(()));
    assert_eq!(client.get("/public/").from(ip("1.1.1.7")).send().status, 200);

    press(&browser, "#findings-list button", "Silence refresh burst about file/kim");
    browser.fill("#ask-reason", "a load test");
    agree(&browser);
    shown(&browser, "#silences-list .what", "refresh burst: file/kim");
    let held = operator(&gateway, "/silences");
    assert_eq!(
        [&held["silences"][0]["subject"], &held["silences"][0]["reason"]],
        [&json!("file/kim"), &json!("a load test")]
    );

    press(&browser, "#findings-list button", "End the session of file/kim");
    // The page asks for confirmation, and does nothing without it.
    press(&browser, "#ask button", "Cancel");
    let app = || client.get("/app").bearer(tokens["access"].as_str().unwrap()).send().status;
    assert_eq!(app(), 200);
    press(&browser, "#findings-list button", "End the session of file/kim");
    agree(&browser);
    eventually("the session to end", || (app() == 401).then_some(()));
    assert_eq!(browser.attribute("#alert", "hidden"), json!("true"), "{}", browser.text("body"));

    browser.follow("header form button");
    assert_eq!(browser.count("#token"), 1);
    let left = Client::new(gateway.admin);
    let stale = left.get("/sessions").host("localhost").cookie("doorwarden-operator", &value);
    assert_eq!(stale.send().status, 401, "the session of the page is over");
    let console = browser.console();
    let bad =
        console.iter().find(|line| line.contains("Content Security") || line.contains("Uncaught"));
    assert_eq!(bad, None, "{console:#?}");
}

#[test]
fn a_change_needs_the_page_and_not_only_its_cookie() {
    let upstream = Upstream::start();
    let gateway = start(&upstream, "");
    let client = gateway.client();
    let tokens = sign_in(&client, "1.1.1.7", "kim", PASSWORD);
    let browser = page(&gateway);
    let value = browser.cookies()[0]["value"].as_str().unwrap().to_owned();
    let csrf = browser.run("return document.querySelector('meta[name=csrf]').content");
    let csrf = csrf.as_str().unwrap();
    let host = format!("localhost:{}", gateway.admin.port());
    let admin = Client::new(gateway.admin);
    let own = format!("http://{host}");
    let end = |with: &dyn Fn(Request) -> Request| {
        let asked = admin.post("/sessions/end").host(&host).json(&json!({"user": "file/kim"}));
        with(asked.cookie("doorwarden-operator", &value)).send().status
    };
    let good = |request: Request| request.header("X-CSRF-Token", csrf);
    for (what, with, status) in [
        ("the cookie alone", &(|r: Request| r) as &dyn Fn(Request) -> Request, 403),
        ("another token", &|r| r.header("X-CSRF-Token", &format!("{csrf}0")), 403),
        ("another port's page", &|r| good(r).header("Origin", "http://localhost:8080"), 403),
        ("another site's page", &|r| good(r).header("Origin", "https://evil.test"), 403),
        ("a page without an origin", &|r| good(r).header("Origin", "null"), 403),
        ("a page of the same site", &|r| good(r).header("Sec-Fetch-Site", "same-site"), 403),
        ("a rebound name", &|r| good(r).host("evil.test"), 400),
    ] {
        assert_eq!(end(with), status, "{what}");
    }
    let app = || client.get("/app").bearer(tokens["access"].as_str().unwrap()).send().status;
    assert_eq!(app(), 200, "nothing was done");
    // Neither does a page of the gateway's public side achieve anything with the cookie that the browser has for this host.
    browser.open(&format!("http://localhost:{}/public/", gateway.http.port()));
    let tried = browser.run(&format!(
        "const asked = await fetch('{own}/sessions/end', {{method: 'POST', credentials: 'include', mode: 'no-cors', \
         body: '{{\"user\": \"file/kim\"}}'}}); return asked.type"
    ));
    assert_eq!((tried, app()), (json!("opaque"), 200));
    let read = format!(
        "try {{ await fetch('{own}/sessions', {{credentials: 'include'}}); return 'read' }} catch {{ return 'no' }}"
    );
    assert_eq!(browser.run(&read), "no");
    let seen = upstream.last().all("cookie").join(";");
    assert!(!seen.contains("doorwarden-operator"), "the service never sees it: {seen}");
    assert_eq!(end(&|r| good(r).header("Origin", &own)), 200, "the page itself may");
    assert_eq!(app(), 401);
    // Another page cannot sign anybody in to this one.
    let form = [("token", token(&gateway))];
    let form: Vec<(&str, &str)> =
        form.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let forged = admin
        .post("/operator/sign-in")
        .host(&host)
        .header("Origin", "http://evil.test")
        .form(&form)
        .send();
    assert_eq!((forged.status, forged.sets().len()), (403, 0));
}

#[test]
fn the_page_fits_a_phone_and_a_desk_by_day_and_by_night() {
    let upstream = Upstream::start();
    let gateway = start(&upstream, "");
    let client = gateway.client();
    for n in 0..3 {
        let from = format!("1.{}.1.{}", n % 2 + 1, n + 1);
        burst(&client, &from, sign_in(&client, &from, "kim", PASSWORD));
    }
    for n in 0..40 {
        let (name, from) = (format!("nobody-{n}"), format!("1.1.9.{n}"));
        client
            .post("/login")
            .from(ip(&from))
            .json(&json!({"username": name, "password": "x"}))
            .send();
    }
    for address in ["203.0.113.7", "2001:db8:1234:5678::/64"] {
        let asked = json!({"address": address, "seconds": 3600, "reason": "scans the shop"});
        assert_eq!(gateway.operator("POST", "/blocks").json(&asked).send().status, 200);
    }
    let asked = json!({"detector": "scanning", "address": "198.51.100.0/24", "seconds": 3600, "reason": "the auditor"});
    assert_eq!(gateway.operator("POST", "/silences").json(&asked).send().status, 200);
    let browser = page(&gateway);
    shown(&browser, "#findings-list .what", "refresh burst");
    for (width, scheme) in [(390, "light"), (390, "dark"), (1280, "light"), (1280, "dark")] {
        browser.width(width);
        browser.prefer(scheme, "en");
        let wide =
            "return document.documentElement.scrollWidth - document.documentElement.clientWidth";
        assert_eq!(browser.run(wide), 0, "{width} {scheme}");
        let ground = browser.run("return getComputedStyle(document.body).backgroundColor");
        let expected = if scheme == "dark" { "rgb(19, 21, 26)" } else { "rgb(243, 244, 247)" };
        assert_eq!(ground, expected);
        // All controls are large enough for a finger, and can be reached by keyboard.
        let small = "return [...document.querySelectorAll('main button')].filter((b) => b.offsetParent && !b.closest('.bars') \
                     && b.getBoundingClientRect().height < 35.9).length";
        assert_eq!(browser.run(small), 0, "{width}");
        if let Some(folder) = std::env::var_os("DOORWARDEN_SCREENSHOTS") {
            let name = format!("operator-{width}-{scheme}.png");
            browser.run("window.scrollTo(0, 0)");
            std::fs::write(std::path::Path::new(&folder).join(name), browser.screenshot()).unwrap();
            browser.run("window.scrollTo(0, 900)");
            let name = format!("operator-{width}-{scheme}-below.png");
            std::fs::write(std::path::Path::new(&folder).join(name), browser.screenshot()).unwrap();
        }
    }
    let unlabelled = "return [...document.querySelectorAll('button, input, select')].filter((e) => \
                      !e.textContent && !e.labels?.length && e.type !== 'hidden').length";
    assert_eq!(browser.run(unlabelled), 0);
}

#[test]
fn lists_come_in_pages() {
    let upstream = Upstream::start();
    let gateway = start(&upstream, "");
    let client = gateway.client();
    for n in 0..5 {
        sign_in(&client, &format!("1.1.1.{n}"), "kim", PASSWORD);
        let asked = json!({"address": format!("198.51.100.{n}"), "seconds": 60 + n % 2});
        assert_eq!(gateway.operator("POST", "/blocks").json(&asked).send().status, 200);
    }
    sign_in(&client, "1.2.1.1", "root", "toor toor toor");
    for (list, path, key, all) in [
        ("sessions", "/sessions", "session", 6),
        ("sessions", "/sessions?user=file/kim", "session", 5),
        ("blocks", "/blocks", "subject", 5),
    ] {
        let mut seen = Vec::new();
        let mut cursor = String::new();
        let join = if path.contains('?') { '&' } else { '?' };
        loop {
            let page = operator(&gateway, &format!("{path}{join}limit=2{cursor}"));
            let items = page[list].as_array().unwrap();
            assert!((1..=2).contains(&items.len()), "{page}");
            seen.extend(items.iter().map(|one| one[key].as_str().unwrap().to_owned()));
            let Some(next) = page["next"].as_str() else { break };
            let next = form_urlencoded::byte_serialize(next.as_bytes()).collect::<String>();
            cursor = format!("&cursor={next}");
        }
        let whole = operator(&gateway, path);
        let whole: Vec<&str> =
            whole[list].as_array().unwrap().iter().map(|one| one[key].as_str().unwrap()).collect();
        assert_eq!(seen, whole, "{path}");
        assert_eq!(seen.len(), all, "{path}");
        for wrong in ["limit=0", "limit=1001", "limit=x", "cursor=x", "offset=1"] {
            let status = gateway.operator("GET", &format!("{path}{join}{wrong}")).send().status;
            assert_eq!(status, 400, "{path} {wrong}");
        }
    }
    let countries: Vec<Value> = operator(&gateway, "/sessions")["sessions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|session| session["country"].clone())
        .collect();
    assert_eq!(countries.iter().filter(|country| **country == "KR").count(), 5);
    assert_eq!(countries.iter().filter(|country| **country == "DE").count(), 1);
}

#[test]
fn a_silenced_detector_counts_and_does_nothing_until_the_silence_ends() {
    let upstream = Upstream::start();
    let mut gateway = start(&upstream, "");
    let count = |gateway: &Gateway, action: &str| {
        let labels = format!("{{action=\"{action}\",detector=\"refresh_burst\"}}");
        gateway.metric(&format!("doorwarden_abnormal_access_total{labels}")).unwrap()
    };
    let wait = |gateway: &Gateway, action: &str, n: f64| {
        eventually(action, || (count(gateway, action) == n).then_some(()));
    };
    let silence = json!({"detector": "refresh_burst", "user": "file/kim", "seconds": 3600, "reason": "a test"});
    for body in [
        json!({}),
        json!({"detector": "refresh_burst"}),
        json!({"detector": "none", "user": "file/kim", "seconds": 1}),
    ] {
        assert_eq!(gateway.operator("POST", "/silences").json(&body).send().status, 400, "{body}");
    }
    assert_eq!(gateway.operator("POST", "/silences").json(&silence).send().status, 200);
    let client = gateway.client();
    burst(&client, "1.1.1.7", sign_in(&client, "1.1.1.7", "kim", PASSWORD));
    wait(&gateway, "silenced", 1.0);
    burst(&client, "1.1.1.7", sign_in(&client, "1.1.1.7", "root", "toor toor toor"));
    wait(&gateway, "observe", 1.0);
    let line = gateway
        .logged("the audit line", |line| line["target"] == "audit" && line["action"] == "silenced");
    assert_eq!(line["user"], "file/kim");
    // The silence survives a restart.
    gateway.kill();
    gateway.spawn();
    let client = gateway.client();
    burst(&client, "1.1.1.7", sign_in(&client, "1.1.1.7", "kim", PASSWORD));
    wait(&gateway, "silenced", 1.0);
    for lifted in [true, false] {
        let answer = gateway.operator("POST", "/silences/lift").json(&silence).send();
        assert_eq!(answer.json()["lifted"], lifted);
    }
    burst(&client, "1.1.1.7", sign_in(&client, "1.1.1.7", "kim", PASSWORD));
    wait(&gateway, "observe", 1.0);
}
