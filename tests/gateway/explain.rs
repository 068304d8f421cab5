//! Tests `doorwarden explain`: it reports what would happen to a request as the request itself does, and leaves no trace.

use serde_json::{Value, json};

use crate::support::client::{Client, Request};
use crate::support::django::Django;
use crate::support::eventually;
use crate::support::gateway::{Gateway, Setup, run_in, write_private};
use crate::support::upstream::Upstream;

const COOKIE: &str = "__Host-doorwarden";
const SECRET_KEY: &str = "django-insecure-development-key-of-the-legacy-service";

fn ask(gateway: &Gateway, question: &Value) -> Value {
    let answer = gateway.operator("POST", "/explain").json(question).send();
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

fn explain(gateway: &Gateway, request: &Request) -> Value {
    let head = String::from_utf8(request.bytes()).unwrap();
    ask(gateway, &json!({"head": head}))
}

fn reason<'v>(explained: &'v Value, step: &str) -> &'v str {
    let steps = explained["steps"].as_array().unwrap();
    let last = steps.iter().rev().find(|one| one["step"] == step);
    last.and_then(|one| one["text"].as_str()).unwrap_or_default()
}

/// Returns the access lines so far.
fn lines(gateway: &Gateway) -> Vec<Value> {
    let parsed = gateway.log().into_iter().filter_map(|line| serde_json::from_str(&line).ok());
    parsed.filter(|line: &Value| line["target"] == "access").collect()
}

/// Explains a request before and after it is sent, and compares decision, refusal and route with what happened. Returns the
/// first explanation.
fn both_ways(gateway: &Gateway, what: &str, request: &Request) -> Value {
    let explained = explain(gateway, request);
    let before = lines(gateway).len();
    let answer = request.send();
    let line = eventually("the access line", || lines(gateway).into_iter().nth(before));
    let again = explain(gateway, request);
    for explained in [&explained, &again] {
        let context = format!("{what}: {explained:#} but {line}");
        assert_eq!(explained["decision"], line["decision"], "{context}");
        assert_eq!(explained["code"], line["refusal"], "{context}");
        assert_eq!(explained["route"], line["route"], "{context}");
        if explained["decision"] == "refuse" {
            assert_eq!(explained["status"], json!(answer.status), "{context}");
        }
    }
    explained
}

/// Checks that the upstream received what was explained, except for the request's own id.
fn as_seen(what: &str, explained: &Value, upstream: &Upstream) {
    let seen = upstream.last();
    let gets = &explained["upstream"];
    assert_eq!(gets["path"], json!(seen.target.split('?').next()), "{what}");
    for field in gets["headers_set"].as_array().unwrap() {
        let (name, value) = (field["name"].as_str().unwrap(), field["value"].as_str().unwrap());
        if name != "x-request-id" {
            assert_eq!(seen.all(name), [value], "{what}: {name}");
        }
    }
    for name in gets["headers_removed"].as_array().unwrap() {
        assert_eq!(seen.header(name.as_str().unwrap()), None, "{what}: {name}");
    }
    let cookies = seen.header("cookie").unwrap_or_default();
    let names: Vec<&str> =
        cookies.split("; ").filter_map(|pair| pair.split_once('=')).map(|pair| pair.0).collect();
    assert_eq!(gets["cookies_kept"], json!(names), "{what}");
}

#[test]
fn it_says_what_becomes_of_every_request() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address)
        .route("name = \"editors\"\npath = \"/editors/\"\ngroups = [\"editors\"]")
        .route("name = \"read\"\npath = \"/read/\"\nmethods = [\"GET\"]\nstrip_prefix = \"/read/\"")
        .with("[cors]\nallowed_origins = [\"https://front.example\"]")
        .behind_a_proxy()
        .start();
    let client = gateway.client();
    let enter = |name: &str, password: &str| {
        let login = json!({"username": name, "password": password});
        let answer = client.post("/login").json(&login).send();
        let tokens = answer.json();
        let text = |name: &str| tokens[name].as_str().unwrap().to_owned();
        (text("access"), text("refresh"), answer.set_cookie(COOKIE).unwrap())
    };
    let (access, refresh, cookie) = enter("kim", "correct horse battery");
    let (lee, _, lee_cookie) = enter("lee", "staple 한글 암호");
    let (gone, _, gone_cookie) = enter("root", "toor toor toor");
    assert_eq!(client.post("/logout").bearer(&gone).send().status, 204);
    eventually("the access lines so far", || (lines(&gateway).len() == 4).then_some(()));
    let (body, _) = access.rsplit_once('.').unwrap();
    let forged = format!("{body}.{}", lee.rsplit_once('.').unwrap().1);
    let elsewhere = |request: Request| request.header("Sec-Fetch-Site", "cross-site");
    let page = |request: Request| request.header("Cookie", &format!("a=1; {COOKIE}={cookie}; b=2"));
    let preflight = |origin: &str| {
        client
            .request("OPTIONS", "/app")
            .header("Origin", origin)
            .header("Access-Control-Request-Method", "PUT")
    };
    let table: Vec<(&str, Request)> = vec![
        ("nobody", client.get("/app")),
        ("nobody in public", client.get("/public/a?token=x")),
        ("nobody where it is optional", client.get("/optional/a")),
        ("a token", client.get("/app").bearer(&access)),
        ("a cookie", page(client.get("/app"))),
        ("both", page(client.get("/app")).bearer(&access)),
        ("two people", page(client.get("/app")).bearer(&lee)),
        ("a bad cookie beside a token", client.get("/app").bearer(&access).cookie(COOKIE, "x")),
        ("a forged token", client.get("/app").bearer(&forged)),
        ("a forged token in public", client.get("/public/a").bearer(&forged)),
        ("a forged token where it is optional", client.get("/optional/a").bearer(&forged)),
        ("a refresh token", client.get("/app").bearer(&refresh)),
        ("what is no token", client.get("/app").header("Authorization", "Bearer a b")),
        ("another scheme", client.get("/app").header("Authorization", "Basic a2ltOmtpbQ==")),
        ("another scheme in public", client.get("/public/").header("Authorization", "Basic a2lt")),
        ("the token of a session that has ended", client.get("/app").bearer(&gone)),
        ("its cookie", client.get("/app").cookie(COOKIE, &gone_cookie)),
        (
            "its cookie on a page",
            client.get("/optional/").cookie(COOKIE, &gone_cookie).navigation(),
        ),
        ("two cookies", client.get("/app").header("Cookie", &format!("{COOKIE}=a; {COOKIE}=b"))),
        ("a form from elsewhere", elsewhere(page(client.post("/app")))),
        ("a form from elsewhere in public", elsewhere(page(client.post("/public/")))),
        ("a form from here", page(client.post("/app")).header("Sec-Fetch-Site", "same-origin")),
        ("a script from elsewhere", elsewhere(client.post("/app").bearer(&access))),
        ("an editor", client.get("/editors/x").bearer(&access)),
        ("no editor", client.get("/editors/x").bearer(&lee)),
        ("no editor, by cookie", client.get("/editors/x").cookie(COOKIE, &lee_cookie)),
        ("a stripped prefix", client.get("/read/a/b?c=d").bearer(&access)),
        ("another method", client.post("/read/a").bearer(&access)),
        ("a method that is nobody's", client.request("TRACE", "/app")),
        ("an own path", client.get("/session").bearer(&access)),
        ("dots", client.get("/a/../b")),
        ("an escaped slash", client.get("/app/a%2Fb").bearer(&access)),
        ("two slashes in an own path", client.get("/login//x").bearer(&access)),
        ("an escaped path", client.get("/%61pp").bearer(&access)),
        ("a bad host", client.get("/app").host("a,b")),
        ("two lengths", client.post("/app").header("Content-Length", "1, 1")),
        ("two tokens", client.get("/app").bearer(&access).bearer(&access)),
        ("a nominated identity", client.get("/app").header("Connection", "close, X-User-Id")),
        ("an expectation", client.get("/app").header("Expect", "more")),
        ("what poses as somebody", client.get("/public/").header("X_User_Id", "1")),
        ("from elsewhere", client.get("/app").bearer(&access).from("203.0.113.7".parse().unwrap())),
        ("a preflight", preflight("https://front.example")),
        ("a stranger's preflight", preflight("https://evil.example")),
    ];
    let mut decisions = std::collections::BTreeMap::new();
    for (what, request) in &table {
        let explained = both_ways(&gateway, what, request);
        let text = explained.to_string();
        for secret in [&access, &refresh, &cookie, &lee, &lee_cookie, &gone, &forged] {
            assert!(!text.contains(secret.as_str()), "{what}: {text}");
        }
        if explained["decision"] == "forward" {
            as_seen(what, &explained, &upstream);
        }
        *decisions.entry(explained["decision"].as_str().unwrap().to_owned()).or_insert(0) += 1;
    }
    assert!(decisions["forward"] >= 15 && decisions["refuse"] >= 20, "{decisions:?}");
}

#[test]
fn nothing_of_it_is_seen_afterwards() {
    let upstream = Upstream::start();
    let mut gateway = Setup::new(upstream.address).log("audit_file = \"audit.log\"").start();
    let login = json!({"username": "kim", "password": "correct horse battery"});
    let answer = gateway.client().post("/login").json(&login).send();
    let (access, cookie) = (answer.json()["access"].clone(), answer.set_cookie(COOKIE).unwrap());
    let access = access.as_str().unwrap();
    eventually("the access line", || (lines(&gateway).len() == 1).then_some(()));
    let state = |gateway: &Gateway| {
        let metrics = Client::new(gateway.admin).get("/metrics").host("localhost").send().text();
        let of_requests = |line: &&str| {
            let of = ["requests_total", "refusals_total", "events", "sessions_active", "hash_"];
            of.iter().any(|name| line.starts_with(&format!("doorwarden_{name}")))
        };
        let metrics: Vec<String> = metrics.lines().filter(of_requests).map(str::to_owned).collect();
        assert!(metrics.len() > 20, "{metrics:?}");
        let sessions = gateway.operator("GET", "/sessions").send().json();
        (metrics, sessions, lines(gateway).len(), upstream.seen().len())
    };
    let before = state(&gateway);
    let client = gateway.client();
    for _ in 0..3 {
        for request in [
            client.get("/app").bearer(access),
            client.get("/app").cookie(COOKIE, &cookie),
            client.get("/app").bearer("a.b.c"),
        ] {
            explain(&gateway, &request);
        }
        ask(&gateway, &json!({"token": access}));
    }
    assert_eq!(state(&gateway), before);
    let told = ask(&gateway, &json!({"token": access}));
    let last_used = before.1["sessions"][0]["last_used"].as_str().unwrap();
    assert!(reason(&told, "access").contains(&format!("last used {last_used}")), "{told:#}");
    gateway.terminate();
    assert_eq!(gateway.wait(), Some(0));
    let audit = std::fs::read_to_string(gateway.folder().join("audit.log")).unwrap();
    let events: Vec<Value> = audit
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["event"].clone())
        .collect();
    assert_eq!(events, ["trail_segment", "sign_in"], "{audit}");
}

#[test]
fn a_token_alone_is_told_apart() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).start();
    let client = gateway.client();
    let login = json!({"username": "kim", "password": "correct horse battery"});
    let answer = client.post("/login").json(&login).send();
    let tokens = answer.json();
    let text = |tokens: &Value, name: &str| tokens[name].as_str().unwrap().to_owned();
    let (access, first) = (text(&tokens, "access"), text(&tokens, "refresh"));
    let next = client.post("/refresh").json(&json!({"refresh": first})).send().json();
    let second = text(&next, "refresh");
    let cookie = answer.set_cookie(COOKIE).unwrap();
    let of = |token: &str| ask(&gateway, &json!({"token": token}));
    for (token, decision, step, says) in [
        (&access, "good", "access", "the access token of file/kim (kim)"),
        (&second, "good", "refresh", "a refresh token, unspent"),
        (&first, "refuse", "refresh", "spent at"),
        (&cookie, "good", "cookie", "the session cookie of file/kim"),
        (&"a.b.c".to_owned(), "refuse", "decision", "no issuer accepts it"),
    ] {
        let explained = of(token);
        assert_eq!(explained["decision"], decision, "{explained:#}");
        assert!(reason(&explained, step).contains(says), "{explained:#}");
        assert!(!explained.to_string().contains(token.as_str()), "{explained}");
    }
    assert_eq!(client.get("/app").bearer(&text(&next, "access")).send().status, 200, "it lives on");
    assert_eq!(client.post("/logout").bearer(&access).send().status, 204);
    for token in [&access, &second, &cookie] {
        let explained = of(token);
        let is_ended =
            explained["code"] == "session_ended" || explained["code"] == "token_not_valid";
        assert!(explained["decision"] == "refuse" && is_ended, "{explained:#}");
    }
}

#[test]
fn the_command_prints_it_and_its_exit_code_says_it() {
    let upstream = Upstream::start();
    let mut gateway = Setup::new(upstream.address).start();
    let tokens = gateway.client().sign_in("kim", "correct horse battery");
    let access = tokens["access"].as_str().unwrap();
    let bearer = format!("Authorization: Bearer {access}");
    let run = |arguments: &[&str], input: &str| {
        let all = [&["explain", "--config", "gateway.toml"], arguments].concat();
        let output = run_in(gateway.folder(), &all, input);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let head = format!("GET /app HTTP/1.1\nHost: app.test\n{bearer}\n");
    for (arguments, input) in [
        (&["GET /app HTTP/1.1", "-H", "Host: app.test", "-H", &bearer][..], ""),
        (&["--request", "-"], head.as_str()),
    ] {
        let (code, out, error) = run(arguments, input);
        assert_eq!(code, Some(0), "{out}{error}");
        for line in [
            "ok  head        GET /app, host app.test, http; framing and limits hold",
            "ok  access      access = \"signed-in\": file/kim (kim) by access_token",
            "=> forward",
            "  -  authorization",
            "  +  x-user-id: kim",
            "  +  x-request-id: <a new id>",
        ] {
            assert!(out.contains(line), "{line}\n{out}");
        }
        assert!(!out.contains(access), "{out}");
    }
    let (code, out, _) = run(&["GET /app", "-H", "Host: app.test", "--client", "203.0.113.7"], "");
    assert_eq!(code, Some(1), "{out}");
    assert!(out.contains("NO  access"), "{out}");
    assert!(out.contains("=> refuse: 401 not_authenticated"), "{out}");
    let (code, out, _) = run(&["--json", "GET /app", "-H", "Host: app.test"], "");
    let json: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &json["code"]), (Some(1), &json!("not_authenticated")));
    let (code, out, _) = run(&["--token-file", "-"], &format!("{access}\n"));
    assert_eq!(code, Some(0), "{out}");
    let (code, out, _) = run(&["--token", "x"], "");
    assert_eq!(code, Some(1), "{out}");
    assert_eq!(run(&[], "").0, Some(64));
    gateway.kill();
    let output = run_in(gateway.folder(), &["explain", "GET /", "-H", "Host: a"], "");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(69), "{error}");
    assert!(error.contains("no gateway runs"), "{error}");
}

#[test]
fn only_the_operator_may_ask() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).start();
    let tokens = gateway.client().sign_in("kim", "correct horse battery");
    let admin = Client::new(gateway.admin);
    let question = json!({"head": "GET / HTTP/1.1\r\nHost: a\r\n\r\n"});
    let post = || admin.post("/explain").host("localhost").json(&question);
    assert_eq!(post().send().status, 401);
    assert_eq!(post().bearer(tokens["access"].as_str().unwrap()).send().status, 401);
    let good = || gateway.operator("POST", "/explain");
    assert_eq!(good().json(&question).header("Origin", "http://localhost").send().status, 403);
    assert_eq!(good().json(&question).host("evil.test").send().status, 400);
    assert_eq!(gateway.operator("GET", "/explain").send().status, 405);
    for body in
        ["", "[]", "{}", "{\"head\": 1}", "{\"head\": \"\", \"token\": \"\"}", "{\"more\": 1}"]
    {
        assert_eq!(good().body(body.as_bytes()).send().status, 400, "{body}");
    }
}

/// A secret, for every place in a head where there may be one.
const HIDDEN: &str = "hunter2";

/// `name:hunter2` and `{"sub":"hunter2"}`, which must not be shown decoded either.
const HIDDEN_BASIC: &str = "bmFtZTpodW50ZXIy";

fn hides(gateway: &Gateway, question: &Value) -> Value {
    let explained = ask(gateway, question);
    let text = explained.to_string();
    for secret in [HIDDEN, HIDDEN_BASIC] {
        assert!(!text.contains(secret), "{question} is answered with {text}");
    }
    explained
}

#[test]
fn no_head_is_too_odd_and_no_secret_of_one_is_said() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).start();
    let host = "Host: app.test\r\n";
    let long = "a".repeat(20_000);
    for head in [
        String::new(),
        "\r\n\r\n".into(),
        "GET".into(),
        "GET /\r\n\r\n".into(),
        format!("GET / HTTP/0.9\r\n{host}\r\n"),
        format!("GET / HTTP/2.0\r\n{host}\r\n"),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".into(),
        format!("CONNECT app.test:443 HTTP/1.1\r\n{host}\r\n"),
        format!("OPTIONS * HTTP/1.1\r\n{host}\r\n"),
        format!("GET http://app.test/x?{HIDDEN} HTTP/1.1\r\n{host}\r\n"),
        "GET / HTTP/1.1\r\n\r\n".into(),
        "GET / HTTP/1.0\r\n\r\n".into(),
        format!("GET / HTTP/1.1\r\n{host}{host}\r\n"),
        format!("GET / HTTP/1.1\r\n{host}A: {long}\r\n\r\n"),
        format!("GET /{long} HTTP/1.1\r\n{host}\r\n"),
        format!("GET / HTTP/1.1\r\n{host}{}\r\n", "A: 1\r\n".repeat(500)),
        format!("GET / HTTP/1.1\r\n{host}A: 1\r\n 2\r\n\r\n"),
        format!("GET / HTTP/1.1\r\n{host}A: \u{0}\r\n\r\n"),
        format!("GET /\u{7} HTTP/1.1\r\n{host}\r\n"),
        format!("GET /김 HTTP/1.1\r\n{host}X-User-Id: 김\r\n\r\n"),
        format!("POST / HTTP/1.1\r\n{host}Content-Length: 9\r\n\r\n{HIDDEN}"),
        format!("POST / HTTP/1.1\r\n{host}Content-Length: 99999999999999999999\r\n\r\n"),
        format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: chunked\r\n\r\nzz\r\n{HIDDEN}"),
        format!(
            "GET / HTTP/1.1\r\n{host}Expect: 100-continue\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n"
        ),
        format!("GET / HTTP/1.1\r\n{host}\r\nGET /{HIDDEN} HTTP/1.1\r\n{host}\r\n"),
    ] {
        let explained = hides(&gateway, &json!({"head": head}));
        let decision = explained["decision"].as_str().unwrap();
        assert!(["forward", "serve", "refuse"].contains(&decision), "{head:?}: {explained}");
    }
    for credential in [
        format!("Authorization: Bearer {HIDDEN}"),
        format!("Authorization: Bearer a.{HIDDEN}.b"),
        format!("Authorization: Bearer {HIDDEN} {HIDDEN}"),
        format!("Authorization: Basic {HIDDEN_BASIC}"),
        format!("Authorization: {HIDDEN}"),
        format!("Authorization: Bearer x\r\nAuthorization: Token {HIDDEN}"),
        format!("Proxy-Authorization: Basic {HIDDEN_BASIC}"),
        format!("Cookie: {COOKIE}={HIDDEN}"),
        format!("Cookie: {COOKIE}={HIDDEN}; {COOKIE}={HIDDEN}2"),
        format!("Cookie: sessionid={HIDDEN}; a=\"{HIDDEN}"),
        format!("Cookie: {COOKIE}=x\r\nReferer: http://app.test/?{HIDDEN}"),
        format!("X-Api-Key: {HIDDEN}\r\njwt-auth: {HIDDEN}\r\nConnection: X-Api-Key"),
        format!("X-User-Id: {HIDDEN}\r\nX_User_Id: {HIDDEN}"),
    ] {
        for path in ["/", "/public/a", "/optional/a", "/login"] {
            let head = format!("GET {path}?{HIDDEN} HTTP/1.1\r\n{host}{credential}\r\n\r\n");
            hides(&gateway, &json!({"head": head}));
        }
    }
    for token in ["", HIDDEN, HIDDEN_BASIC, "a.hunter2.b", "..", ". hunter2 .", "\u{0}hunter2"] {
        hides(&gateway, &json!({"token": token}));
    }
    assert!(gateway.log().iter().all(|line| !line.contains("panicked") && !line.contains(HIDDEN)));
}

/// Signs in at Django itself, and returns a SimpleJWT access token and a hand-made one.
fn issued(django: &Django, name: &str) -> (String, String) {
    let at = |path: &str, member: &str| {
        let login = json!({"username": name, "password": format!("{name}-pass-1234")});
        let answer = Client::new(django.address).post(path).json(&login).send();
        answer.json()[member].as_str().unwrap().to_owned()
    };
    (at("/api/v1/users/login/simpleJWT", "access"), at("/api/v1/users/login/jwt", "token"))
}

fn rows(django: &Django) -> i64 {
    let db = rusqlite::Connection::open(django.database()).unwrap();
    db.query_row("SELECT count(*) FROM django_session", [], |row| row.get(0)).unwrap()
}

#[test]
fn issuers_and_forms_are_explained_and_not_touched() {
    let django = Django::start();
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("secret-key");
    write_private(&key, format!("{SECRET_KEY}\n"));
    let key = key.display();
    let gateway = django
        .setup_with("refresh_interval = \"1s\"")
        .routes(
            "[[route]]\nname = \"public\"\npath = \"/public/\"\nupstream = \"app\"\naccess = \"public\"\n\
             [[route]]\nname = \"app\"\npath = \"/\"\nupstream = \"app\"\n\
             identity = { cookie = \"admin\", bearer = \"minted\" }\n",
        )
        .with(&format!(
            "[[issuer]]\nkind = \"simplejwt\"\nkey_file = \"{key}\"\n\
             [[issuer]]\nkind = \"jwt\"\nname = \"by-hand\"\nkey_file = \"{key}\"\n\
             [[identity.form]]\nname = \"minted\"\nkind = \"simplejwt\"\nkey_file = \"{key}\"\ndanger_weak_key = true\n\
             [[identity.form]]\nname = \"admin\"\nkind = \"django-session\"\nkey_file = \"{key}\"\n\
             database = \"sqlite://{}\"\n",
            django.database().display()
        ))
        .start();
    let client = gateway.client();
    let (access, made) = issued(&django, "kim");
    let (lee, lee_made) = issued(&django, "lee");
    let login = json!({"username": "kim", "password": "kim-pass-1234"});
    let cookie = client.post("/login").json(&login).send().set_cookie(COOKIE).unwrap();
    eventually("the access line", || (lines(&gateway).len() == 1).then_some(()));
    let whoami = || client.get("/api/v1/whoami");

    let before = rows(&django);
    let admin = explain(&gateway, &whoami().cookie(COOKIE, &cookie).cookie("sessionid", "theirs"));
    assert_eq!(admin["decision"], "forward", "{admin:#}");
    let set = &admin["upstream"]["cookies_set"];
    assert_eq!(
        *set,
        json!([{"name": "sessionid", "value": "<secret, 32 characters>"}]),
        "{admin:#}"
    );
    assert_eq!(rows(&django), before, "no row was made");

    let (signed, _) = access.rsplit_once('.').unwrap();
    let forged = format!("{signed}.{}", lee.rsplit_once('.').unwrap().1);
    for (what, request) in [
        ("simplejwt", whoami().bearer(&access)),
        ("by hand", whoami().header("jwt-auth", &made)),
        ("both", whoami().header("jwt-auth", &made).bearer(&access)),
        ("two people", whoami().header("jwt-auth", &made).bearer(&lee)),
        ("a forged one", whoami().bearer(&forged)),
        ("a forged one in public", client.get("/public/whoami").bearer(&forged)),
        ("one in the other's place", whoami().bearer(&made)),
        ("the other way round", whoami().header("jwt-auth", &access)),
        ("no token", whoami().header("jwt-auth", "x")),
        ("a cookie and its row", whoami().cookie(COOKIE, &cookie)),
    ] {
        let explained = both_ways(&gateway, what, &request);
        let text = explained.to_string();
        for secret in [&access, &made, &lee, &cookie] {
            assert!(!text.contains(secret.as_str()), "{what}: {text}");
        }
    }
    let explained = explain(&gateway, &whoami().bearer(&access));
    let fields = explained["upstream"]["headers_set"].as_array().unwrap();
    let minted = fields.iter().find(|field| field["name"] == "authorization").unwrap();
    let shown = minted["value"].as_str().unwrap();
    assert!(shown.starts_with("<a token: HS256, exp in ") && shown.contains("user_id"), "{shown}");
    let why = explain(&gateway, &whoami().bearer(&forged));
    assert!(reason(&why, "credential").contains("simplejwt refuses it: bad_signature"), "{why:#}");

    // The age of a hand-made token counts from its first use, and an explanation is no use.
    let alone = ask(&gateway, &json!({"token": lee_made}));
    assert!(reason(&alone, "issuer").contains("issued by by-hand to django/3"), "{alone:#}");
    let stamps = || {
        let store = gateway.folder().join("state/store.db");
        let db = rusqlite::Connection::open(store).unwrap();
        db.query_row("SELECT count(*) FROM stamps", [], |row| row.get::<_, i64>(0)).unwrap()
    };
    let seen = stamps();
    explain(&gateway, &whoami().header("jwt-auth", &lee_made));
    assert_eq!(stamps(), seen);
    assert_eq!(whoami().header("jwt-auth", &lee_made).send().status, 200);
    eventually("its first sight to be kept", || (stamps() == seen + 1).then_some(()));
    eventually("the access line", || (lines(&gateway).len() == 12).then_some(()));

    // The user is switched off: the explanation shows it before the next real use does.
    django.run("User.objects.filter(pk=3).update(is_active=False)");
    let refused = eventually("the directory's next turn", || {
        let explained = explain(&gateway, &whoami().bearer(&lee));
        (explained["decision"] == "refuse").then_some(explained)
    });
    assert!(reason(&refused, "credential").contains("inactive_user"), "{refused:#}");
    both_ways(&gateway, "who was switched off", &whoami().bearer(&lee));
}

/// A public pattern opens only what it matches, and explain says which route a request takes.
#[test]
fn a_pattern_opens_nothing_beside_it() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address)
        .route("name = \"event\"\npath = \"/orga/*/login/\"\nmatch = \"exact\"\naccess = \"public\"\nallow_ambiguous_path = [\"encoded-slash\", \"double-slash\", \"semicolon\", \"encoded-dot\"]")
        .route("name = \"new\"\npath = \"/orga/new/\"")
        .route("name = \"page\"\npath = \"/orga/\"\nmatch = \"exact\"\naccess = \"public\"\nmethods = [\"GET\"]")
        .with("[[paths.alias]]\npath = \"/team/*/login/\"\nto = \"login\"")
        .start();
    let client = gateway.client();
    for (method, target, route, status) in [
        ("GET", "/orga/x/login/", "event", 200),
        ("POST", "/orga/x%2Dy/login/?next=/", "event", 200),
        ("GET", "/orga/", "page", 200),
        ("POST", "/orga/", "", 405),
        ("GET", "/orga", "app", 401),
        ("GET", "/orga/x/login", "app", 401),
        ("GET", "/orga/x/login/settings", "app", 401),
        ("GET", "/orga/x/y/login/", "app", 401),
        ("GET", "/orga/x%2Fy/login/", "app", 400),
        ("GET", "/orga//login/", "app", 400),
        ("GET", "/orga/;x/login/", "app", 400),
        ("GET", "/orga/new/login/", "new", 401),
        ("GET", "/ORGA/x/login/", "app", 401),
        ("GET", "/team/x/login/", "own:login", 200),
        ("GET", "/team/x/login", "app", 401),
    ] {
        let request = client.request(method, target);
        let explained = both_ways(&gateway, target, &request);
        assert_eq!(
            explained["route"].as_str().unwrap_or_default(),
            route,
            "{target}: {explained:#}"
        );
        assert_eq!(explained["status"].as_u64().unwrap_or(200), status, "{target}");
    }
    let explained = explain(&gateway, &client.get("/orga/x/login/"));
    assert!(
        explained["steps"]
            .to_string()
            .contains("event (exactly /orga/*/login/, any host): it is this one"),
        "{explained:#}"
    );
    let page = client.get("/team/x/login/").navigation().send().text();
    assert!(page.contains("action=\"/team/x/login/\""), "{page}");
}
