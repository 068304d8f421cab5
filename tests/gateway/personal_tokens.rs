//! Tests personal access tokens with the running gateway.

use std::process::Output;

use serde_json::{Value, json};

use crate::support::browser::Browser;
use crate::support::client::{Client, Response};
use crate::support::eventually;
use crate::support::gateway::{Gateway, Setup, write_private};
use crate::support::upstream::Upstream;

const PASSWORD: &str = "correct horse battery";
const COOKIE: &str = "__Host-doorwarden";

/// `/api/`, `/files/` and `/public/` accept tokens, the other routes do not.
const ROUTES: &str = r#"
[[route]]
name = "api"
path = "/api/"
upstream = "app"
personal_tokens = true

[[route]]
name = "files"
path = "/files/"
upstream = "app"
personal_tokens = true

[[route]]
name = "editors"
path = "/editors/"
upstream = "app"
groups = ["editors"]
personal_tokens = true

[[route]]
name = "fresh"
path = "/fresh/"
upstream = "app"
fresh = "15m"

[[route]]
name = "public"
path = "/public/"
upstream = "app"
access = "public"

[[route]]
name = "open"
path = "/open/"
upstream = "app"
access = "public"
personal_tokens = true

[[route]]
name = "optional"
path = "/optional/"
upstream = "app"
access = "optional"

[[route]]
name = "app"
path = "/"
upstream = "app"
"#;

fn gateway(upstream: &Upstream) -> Gateway {
    Setup::new(upstream.address).routes(ROUTES).start()
}

fn said(output: &Output) -> String {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?}: {error}", output.status);
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn access(client: &Client, name: &str, password: &str) -> String {
    client.sign_in(name, password)["access"].as_str().unwrap().to_owned()
}

/// Creates a token as kim, who has just signed in.
fn make(client: &Client, more: &Value) -> Value {
    let access = access(client, "kim", PASSWORD);
    let mut body = json!({"action": "create", "name": "CI"});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let made = client.post("/account/tokens").bearer(&access).json(&body).send();
    assert_eq!(made.status, 201, "{}", made.text());
    made.json()
}

fn token_of(made: &Value) -> &str {
    made["token"].as_str().unwrap()
}

fn got(response: &Response) -> (u16, String) {
    (response.status, if response.status < 400 { String::new() } else { response.code() })
}

fn audited(gateway: &Gateway, event: &str, fits: impl Fn(&Value) -> bool) {
    gateway.logged(event, |line| line["target"] == "audit" && line["event"] == event && fits(line));
}

#[test]
fn a_token_opens_the_routes_that_it_was_made_for_and_never_reaches_them() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream);
    let client = gateway.client();
    let made =
        make(&client, &json!({"routes": ["api", "open"], "methods": ["GET"], "expires": "30d"}));
    let (token, id) = (token_of(&made).to_owned(), made["id"].as_str().unwrap().to_owned());
    assert!(token.starts_with("dwp_") && token.len() == 43, "{token}");

    for (method, path, expected) in [
        ("GET", "/api/x", (200, "")),
        ("HEAD", "/api/x", (200, "")),
        ("POST", "/api/x", (403, "insufficient_scope")),
        ("GET", "/files/x", (403, "insufficient_scope")),
        ("GET", "/editors/x", (403, "insufficient_scope")),
        ("GET", "/app", (403, "insufficient_scope")),
        ("GET", "/fresh/x", (403, "insufficient_scope")),
        ("GET", "/optional/x", (403, "insufficient_scope")),
        // On public routes a token that is not accepted is ignored, but not forwarded either.
        ("GET", "/public/x", (200, "")),
        ("GET", "/open/x", (200, "")),
    ] {
        let response = client.request(method, path).bearer(&token).send();
        assert_eq!(got(&response), (expected.0, expected.1.to_owned()), "{method} {path}");
        if response.status == 403 {
            let challenge = response.header("www-authenticate").unwrap();
            assert!(challenge.contains("error=\"insufficient_scope\""), "{challenge}");
        }
    }
    for seen in upstream.seen() {
        let text = format!("{:?}", seen.headers);
        assert!(!text.contains(&token[4..]), "{} {text}", seen.target);
        let is_known = ["/api/x", "/open/x"].contains(&seen.target.as_str());
        let user = seen.header("x-user-name");
        assert_eq!(user, is_known.then_some("kim"), "{}", seen.target);
        assert_eq!(seen.header("x-auth-methods"), is_known.then_some("pat"), "{}", seen.target);
        assert_eq!(seen.header("x-session-id"), is_known.then_some(&*id), "{}", seen.target);
    }
    audited(&gateway, "personal_token_made", |line| line["session"] == *id);
    for reason in ["out_of_scope", "not_taken"] {
        audited(&gateway, "personal_token_refused", |line| {
            line["reason"] == reason && line["session"] == *id && line["user"].is_string()
        });
    }
    // Its id is in the log; the token itself is stored nowhere.
    gateway.logged("an access line", |line| line["path"] == "/api/x" && line["session"] == *id);
    assert!(!gateway.log().join("\n").contains(&token[4..]));
    let store = std::fs::read(gateway.folder().join("state/store.db")).unwrap();
    assert!(!store.windows(39).any(|bytes| bytes == &token.as_bytes()[4..]));
    let made = "doorwarden_personal_tokens_made_total";
    eventually(made, || gateway.metric(made).filter(|count| *count >= 1.0));
}

#[test]
fn a_token_is_told_whose_it_is_and_changes_nothing_of_the_gateways() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream);
    let client = gateway.client();
    let made = make(&client, &json!({}));
    let token = token_of(&made);
    let session = client.get("/session").bearer(token).send();
    assert_eq!(session.status, 200, "{}", session.text());
    let session = session.json();
    assert_eq!(
        (&session["username"], &session["proof"]),
        (&json!("kim"), &json!("personal_token"))
    );
    assert_eq!((&session["amr"], &session["auth_time"]), (&json!(["pat"]), &Value::Null));
    let verified = client.post("/verify").json(&json!({"token": token})).send();
    assert_eq!(verified.status, 200, "{}", verified.text());

    let create = json!({"action": "create", "name": "more"});
    let revoke = json!({"action": "revoke", "id": made["id"]});
    let otp = json!({"otp": "123456"});
    for (method, path, body) in [
        ("GET", "/account/tokens", None),
        ("POST", "/account/tokens", Some(&create)),
        ("POST", "/account/tokens", Some(&revoke)),
        ("POST", "/login/second-factor", Some(&otp)),
        ("POST", "/logout", None),
        ("POST", "/logout/all", None),
    ] {
        let request = client.request(method, path).bearer(token);
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        let response = request.send();
        assert_eq!(got(&response), (403, "insufficient_scope".into()), "{method} {path}");
    }
    for body in [json!({"refresh": token}), json!({"refresh": format!("{token}x")})] {
        assert_eq!(client.post("/refresh").json(&body).send().status, 401);
        assert_ne!(client.post("/logout").json(&body).send().status, 204);
    }
    // The token is not accepted as a cookie, in a query, or in another header.
    assert_eq!(client.get("/api/x").cookie(COOKIE, token).send().status, 401);
    assert_eq!(client.get(&format!("/api/x?access_token={token}")).send().status, 401);
    assert_eq!(client.get("/api/x").bearer(token).send().status, 200, "it is good all the while");
}

#[test]
fn malformed_unknown_and_anothers_tokens_are_refused() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream);
    let client = gateway.client();
    let made = make(&client, &json!({}));
    let token = token_of(&made);
    let typo = format!("{}{}", &token[..42], if token.ends_with('0') { '1' } else { '0' });
    for (text, reason) in
        [(typo.as_str(), "malformed"), ("dwp_", "malformed"), (&token[..42], "malformed")]
    {
        let response = client.get("/api/x").bearer(text).send();
        assert_eq!(got(&response), (401, "token_not_valid".into()), "{text}");
        audited(&gateway, "personal_token_refused", |line| line["reason"] == reason);
        // Whatever has the form of a personal token is not forwarded.
        assert_eq!(client.get("/public/typo").bearer(text).send().status, 200);
        assert!(upstream.last().header("authorization").is_none());
    }
    // Credentials of two users in one request.
    let signed_in =
        client.post("/login").json(&json!({"username": "lee", "password": "staple 한글 암호"}));
    let lee = signed_in.send().set_cookie(COOKIE).unwrap();
    let both = client.get("/api/x").bearer(token).cookie(COOKIE, &lee).send();
    assert_eq!(got(&both), (400, "conflicting_credentials".into()));
    // With an invalid token, the gateway does not fall back to a valid cookie.
    let bad = client.get("/api/x").bearer(&typo).cookie(COOKIE, &lee).send();
    assert_eq!(got(&bad), (401, "token_not_valid".into()));
    // Lee cannot revoke kim's token, and learns nothing about it.
    let access = access(&client, "lee", "staple 한글 암호");
    let revoke = json!({"action": "revoke", "id": made["id"]});
    let refused = client.post("/account/tokens").bearer(&access).json(&revoke).send();
    assert_eq!(refused.status, 400, "{}", refused.text());
    let listed = client.get("/account/tokens").bearer(&access).send().json();
    assert_eq!(listed["tokens"], json!([]));
    assert_eq!(client.get("/api/x").bearer(token).send().status, 200);
    // An invalid request is explained field by field.
    let access = self::access(&client, "kim", PASSWORD);
    for (wanted, field) in [
        (json!({"name": " "}), "name"),
        (json!({"routes": ["app"]}), "routes"),
        (json!({"routes": "api"}), "routes"),
        (json!({"methods": ["get"]}), "methods"),
        (json!({"expires": "91d"}), "expires"),
        (json!({"expires": "soon"}), "expires"),
    ] {
        let mut body = json!({"action": "create", "name": "CI"});
        body.as_object_mut().unwrap().extend(wanted.as_object().unwrap().clone());
        let refused = client.post("/account/tokens").bearer(&access).json(&body).send();
        assert_eq!(refused.status, 400, "{wanted}");
        assert!(refused.json()[field].is_array(), "{wanted}: {}", refused.text());
    }
}

#[test]
fn a_token_ends_at_once_whatever_ends_it_and_survives_a_restart_until_then() {
    let upstream = Upstream::start();
    let mut gateway = Setup::new(upstream.address)
        .routes(ROUTES)
        .directories(
            "[[directory]]\nkind = \"file\"\npath = \"users.toml\"\nrefresh_interval = \"1s\"\n",
        )
        .start();
    let client = gateway.client();
    let [revoked, by_operator, with_user, with_password] =
        [(); 4].map(|()| make(&client, &json!({})));
    let is_good = |client: &Client, made: &Value| {
        client.get("/api/x").bearer(token_of(made)).send().status == 200
    };
    for made in [&revoked, &by_operator, &with_user, &with_password] {
        assert!(is_good(&client, made));
    }
    // Tokens survive signing out everywhere, and a restart.
    let access = access(&client, "kim", PASSWORD);
    assert_eq!(client.post("/logout/all").bearer(&access).send().status, 204);
    gateway.kill();
    gateway.spawn();
    let client = gateway.client();
    assert!(is_good(&client, &revoked));

    let access = self::access(&client, "kim", PASSWORD);
    let revoke = json!({"action": "revoke", "id": revoked["id"]});
    let left = client.post("/account/tokens").bearer(&access).json(&revoke).send();
    assert_eq!(left.status, 200, "{}", left.text());
    assert_eq!(left.json()["tokens"].as_array().unwrap().len(), 3);
    assert!(!is_good(&client, &revoked));
    audited(&gateway, "personal_token_ended", |line| line["reason"] == "revoked");

    let id = by_operator["id"].as_str().unwrap();
    assert_eq!(said(&gateway.command(&["token", "revoke", id])), "revoked 1\n");
    assert_eq!(said(&gateway.command(&["token", "revoke", id])), "revoked 0\n");
    assert!(!is_good(&client, &by_operator));

    // A new password, and then an operator who ends all of kim's sessions.
    let users = gateway.folder().join("users.toml");
    let before = std::fs::read_to_string(&users).unwrap();
    let hash = said(&crate::support::gateway::run_in(
        gateway.folder(),
        &["hash-password"],
        "another password\n",
    ));
    let place = before.find("kim").unwrap();
    let (head, rest) = before.split_at(place);
    let begin = rest.find("pbkdf2_sha256$").or_else(|| rest.find("$argon2")).unwrap();
    let end = begin + rest[begin..].find('"').unwrap();
    write_private(&users, format!("{head}{}{}{}", &rest[..begin], hash.trim(), &rest[end..]));
    eventually("the token to end with the password", || {
        (!is_good(&client, &with_password)).then_some(())
    });
    audited(&gateway, "personal_token_ended", |line| line["reason"] == "directory_changed");
    let made = said(&gateway.command(&["token", "create", "kim", "--name", "from the shell"]));
    let token = made.trim().rsplit(' ').next().unwrap();
    assert_eq!(client.get("/api/x").bearer(token).send().status, 200, "{made}");
    let ended = said(&gateway.command(&["session", "end", "--user", "kim"]));
    assert_eq!(ended, "ended 1\n");
    assert_eq!(client.get("/api/x").bearer(token).send().status, 401);
}

#[test]
fn an_operator_makes_lists_and_revokes_them_from_the_shell() {
    let upstream = Upstream::start();
    let mut gateway = Setup::new(upstream.address)
        .routes(ROUTES)
        .with("[personal_tokens]\nmax_lifetime = \"10d\"\nmax_per_user = 2\n")
        .start();
    let create = |more: &[&str]| {
        gateway.command(&[&["token", "create", "lee", "--name", "backup"], more].concat())
    };
    let made = said(&create(&["--route", "api", "--method", "GET", "--expires", "1d"]));
    let token = made.trim().rsplit(' ').next().unwrap().to_owned();
    let client = gateway.client();
    assert_eq!(client.get("/api/x").bearer(&token).send().status, 200);
    assert_eq!(client.get("/editors/x").bearer(&token).send().status, 403);
    let wrong = |output: &Output| {
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(wrong(&create(&["--expires", "11d"])).contains("10 days at most"));
    assert!(wrong(&create(&["--route", "app"])).contains("Allowed: api, files, editors, open"));
    said(&create(&[]));
    assert!(wrong(&create(&[])).contains("too many personal access tokens"));
    let nobody = gateway.command(&["token", "create", "file/99", "--name", "x"]);
    assert!(wrong(&nobody).contains("No active account"), "{nobody:?}");

    let listed = said(&gateway.command(&["token", "list", "lee"]));
    assert!(
        listed.contains("backup") && listed.contains("api") && listed.contains("GET"),
        "{listed}"
    );
    assert!(!listed.contains(&token[4..]));
    let sessions = said(&gateway.command(&["session", "list", "--json"]));
    assert!(!sessions.contains("backup") && sessions.contains("[]"), "{sessions}");
    let explained = gateway.operator("POST", "/explain").json(&json!({"token": token})).send();
    assert!(
        explained.text().contains("personal access token \\\"backup\\\""),
        "{}",
        explained.text()
    );

    // Without a running gateway, the store's tokens can be listed and revoked, but none can be created.
    gateway.kill();
    let listed = said(&gateway.command(&["token", "list", "--json"]));
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed["tokens"].as_array().unwrap().len(), 2);
    assert!(
        wrong(&gateway.command(&["token", "create", "file/1", "--name", "x"]))
            .contains("no gateway")
    );
    assert_eq!(said(&gateway.command(&["token", "revoke", "--user", "lee"])), "revoked 2\n");
    gateway.spawn();
    assert_eq!(gateway.client().get("/api/x").bearer(&token).send().status, 401);
}

#[test]
fn people_see_to_their_tokens_on_a_page_without_scripts() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).routes(ROUTES).behind_a_proxy().start();
    let client = gateway.client();
    let nobody = client.get("/account/tokens").navigation().send();
    assert_eq!(nobody.header("location"), Some("/login?next=/account/tokens"));
    let signed_in = client.post("/login").json(&json!({"username": "kim", "password": PASSWORD}));
    let cookie = signed_in.send().set_cookie(COOKIE).unwrap();
    let page = client.get("/account/tokens").navigation().cookie(COOKIE, &cookie).send();
    assert_eq!(page.status, 200);
    for needed in ["name=\"route.api\"", "name=\"methods\"", "value=\"30d\" selected"] {
        assert!(page.text().contains(needed), "{needed}: {}", page.text());
    }
    assert!(!page.text().contains("route.app"), "{}", page.text());
    let post = |fields: &[(&str, &str)]| {
        client.post("/account/tokens").navigation().cookie(COOKIE, &cookie).form(fields).send()
    };
    let made = post(&[
        ("action", "create"),
        ("name", "<노트북>"),
        ("expires", "7d"),
        ("route.api", "on"),
        ("methods", "GET"),
    ]);
    assert_eq!(made.status, 200, "{}", made.text());
    let text = made.text();
    let begin = text.find("dwp_").unwrap();
    let token = &text[begin..begin + 43];
    assert_eq!(client.get("/api/x").bearer(token).send().status, 200);
    assert_eq!(client.post("/api/x").bearer(token).send().status, 403);
    let page = client.get("/account/tokens").navigation().cookie(COOKIE, &cookie).send().text();
    assert!(page.contains("&#60;노트북&#62;") && !page.contains(token), "{page}");
    let id = page.split("name=\"id\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let nameless = post(&[("action", "create"), ("name", "")]);
    assert!(nameless.status == 400 && nameless.text().contains("role=\"alert\""));
    let elsewhere = client
        .post("/account/tokens")
        .cookie(COOKIE, &cookie)
        .header("Origin", "https://evil.example")
        .form(&[("action", "revoke"), ("id", id)])
        .send();
    assert_eq!(got(&elsewhere), (403, "cross_site".into()));
    let revoked = post(&[("action", "revoke"), ("id", id)]);
    assert_eq!((revoked.status, revoked.header("location")), (303, Some("/account/tokens")));
    assert_eq!(client.get("/api/x").bearer(token).send().status, 401);
}

#[test]
fn the_page_reads_well_in_two_languages_and_widths_by_day_and_by_night() {
    let upstream = Upstream::start();
    let gateway =
        Setup::new(upstream.address).routes(ROUTES).with("[login]\ntitle = \"Acme\"").start();
    let browser = Browser::start();
    let at = |path: &str| format!("http://localhost:{}{path}", gateway.http.port());
    browser.open(&at("/account/tokens"));
    browser.fill("#username", "kim");
    browser.fill("#password", PASSWORD);
    browser.follow("button[type=submit]");
    assert_eq!(browser.url(), at("/account/tokens"));
    let look = |name: &str| {
        for (width, scheme, language) in [
            (390, "light", "en-US"),
            (390, "dark", "ko-KR,ko"),
            (1280, "light", "ko-KR,ko"),
            (1280, "dark", "en-US"),
        ] {
            browser.width(width);
            browser.prefer(scheme, language);
            if name == "list" {
                browser.open(&at("/account/tokens"));
            }
            let wide = "return document.documentElement.scrollWidth - innerWidth";
            assert!(browser.run(wide).as_f64().unwrap() <= 0.0, "{name} at {width}");
            for (css, count) in [("h1", 1), ("main", 1), ("script", 0)] {
                assert_eq!(browser.count(css), count, "{css}: {name}");
            }
            let unlabelled = "return [...document.querySelectorAll('input:not([type=hidden]), select, textarea')]\
                 .filter(i => !i.labels.length && !i.getAttribute('aria-label')).length";
            assert_eq!(browser.run(unlabelled), 0, "{name}");
            // Controls are large enough for a finger.
            let small = "return [...document.querySelectorAll('button, .choice, select')]\
                 .filter((e) => e.getBoundingClientRect().height < 43.9).length";
            assert_eq!(browser.run(small), 0, "{name} at {width}");
            if let Some(folder) = std::env::var_os("DOORWARDEN_SCREENSHOTS") {
                let file = format!("tokens-{name}-{width}-{scheme}.png");
                std::fs::write(std::path::Path::new(&folder).join(file), browser.screenshot())
                    .unwrap();
            }
        }
    };
    browser.fill("#name", "야간 백업");
    browser.follow("form:has([name=methods]) button");
    let token = browser.value("textarea.codes");
    assert!(token.starts_with("dwp_"), "{token}");
    look("made");
    browser.follow("a.button");
    assert_eq!(browser.url(), at("/account/tokens"));
    assert_eq!(browser.count(".factor"), 1);
    look("list");
    let console = browser.console();
    let bad = console.iter().find(|line| line.contains("Content Security"));
    assert_eq!(bad, None, "{console:#?}");
}
