//! Tests that a front end that knows only Django's sessions signs in and out at the service's own paths, and notices no
//! difference behind the gateway.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::client::{Client, Request, Response};
use crate::support::django::Django;
use crate::support::eventually;
use crate::support::gateway::{Setup, write_private};

const LOGIN: &str = "/api/v1/users/login";
const LOGOUT: &str = "/api/v1/users/logout";
const SECRET_KEY: &str = "django-insecure-development-key-of-the-legacy-service";

/// Sets the gateway up in place of the service's sign-in. Its cookies are like Django's there: without TLS, for two weeks.
fn setup(django: &Django) -> (TempDir, Setup) {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("secret-key");
    write_private(&key, SECRET_KEY);
    let toml = format!(
        "[session]\nabsolute_timeout = \"14d\"\ndanger_plain_http_cookies = true\n\
         [[paths.alias]]\npath = \"{LOGIN}\"\nto = \"login\"\nshape = \"django-session\"\n\
         [[paths.alias]]\npath = \"{LOGOUT}\"\nto = \"logout\"\nshape = \"django-session\"\n\
         [[identity.form]]\nname = \"django\"\nkind = \"django-session\"\nkey_file = \"{}\"\n\
         database = \"sqlite://{}\"\n",
        key.display(),
        django.database().display()
    );
    let setup = django.setup().with(&toml).routes(
        "[[route]]\nname = \"app\"\npath = \"/\"\nupstream = \"app\"\naccess = \"optional\"\n\
         identity = { cookie = \"django\" }\n",
    );
    (folder, setup)
}

/// Returns the cookies that are set: name, sorted attributes, and whether a browser would delete the cookie.
fn cookies(response: &Response) -> Vec<(String, Vec<String>)> {
    let lines = response.sets().into_iter().map(|line| {
        let mut parts = line.split(';').map(|part| part.trim().to_ascii_lowercase());
        let pair = parts.next().unwrap();
        let (name, value) = pair.split_once('=').unwrap();
        let gone = value.trim_matches('"').is_empty();
        // The other attributes do not matter to a browser if the cookie is deleted.
        let mut attributes: Vec<String> = if gone {
            vec!["gone".into()]
        } else {
            // Max-Age takes precedence over it.
            parts.filter(|part| !part.starts_with("expires=")).collect()
        };
        attributes.sort_unstable();
        (name.to_owned(), attributes)
    });
    let mut all: Vec<_> = lines.collect();
    all.sort_unstable();
    all
}

/// Reads a body. Django's parser adds where it failed, which the gateway omits.
fn body(response: &Response) -> Value {
    if response.body.is_empty() {
        return Value::Null;
    }
    let mut body = response.json();
    let members = body.as_object_mut().unwrap();
    if let Some(Value::String(detail)) = members.get_mut("detail")
        && let Some((before, _)) = detail.split_once(" - ")
    {
        *detail = before.to_owned();
    }
    body
}

fn same(what: &str, ours: &Response, theirs: &Response) {
    assert_eq!(ours.status, theirs.status, "{what}: {} / {}", ours.text(), theirs.text());
    assert_eq!(body(ours), body(theirs), "{what}");
    assert_eq!(cookies(ours), cookies(theirs), "{what}");
    assert_eq!(ours.header("content-type"), theirs.header("content-type"), "{what}");
    let challenges = |response: &Response| response.header("www-authenticate").is_some();
    assert_eq!(challenges(ours), challenges(theirs), "{what}");
}

#[test]
fn each_sign_in_has_djangos_answer() {
    // The Django is this test's own, because it rehashes the password of whoever signs in.
    let django = Django::start();
    let (_key, setup) = setup(&django);
    let gateway = setup.start();
    let given = |name: &str, password: &str| json!({"username": name, "password": password});
    let json = |body: Value| move |request: Request| request.json(&body);
    type Send = Box<dyn Fn(Request) -> Request>;
    let table: Vec<(&str, u16, Send)> = vec![
        ("good", 200, Box::new(json(given("kim", "kim-pass-1234")))),
        (
            "more members",
            200,
            Box::new(json(json!({"username": "kim", "password": "kim-pass-1234", "a": []}))),
        ),
        (
            "a form",
            200,
            Box::new(|r| r.form(&[("username", "kim"), ("password", "kim-pass-1234")])),
        ),
        (
            "a form in parts",
            200,
            Box::new(|r| {
                let part = |name: &str, value: &str| {
                    format!(
                        "--x\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
                    )
                };
                let body =
                    part("username", "kim") + &part("password", "kim-pass-1234") + "--x--\r\n";
                r.header("Content-Type", "multipart/form-data; boundary=x").body(body.as_bytes())
            }),
        ),
        (
            "a form in parts that is none",
            400,
            Box::new(|r| r.header("Content-Type", "multipart/form-data").body(b"x")),
        ),
        (
            "with a charset",
            200,
            Box::new(move |r| {
                r.header("Content-Type", "application/json; charset=utf-8")
                    .body(given("kim", "kim-pass-1234").to_string().as_bytes())
            }),
        ),
        ("Korean", 200, Box::new(json(given("김민정", "비밀번호-1234")))),
        ("blanks in the password", 200, Box::new(json(given("blanks", "  two blanks  ")))),
        ("the same, trimmed", 403, Box::new(json(given("blanks", "two blanks")))),
        (
            "a number as the name",
            200,
            Box::new(json(json!({"username": 1, "password": "one-pass-1234"}))),
        ),
        (
            "a number as the password",
            403,
            Box::new(json(json!({"username": "kim", "password": 456}))),
        ),
        ("wrong", 403, Box::new(json(given("lee", "wrong")))),
        ("unknown", 403, Box::new(json(given("nobody", "wrong")))),
        ("inactive", 403, Box::new(json(given("inactive", "inactive-pass-1234")))),
        ("unusable", 403, Box::new(json(given("nopassword", "x")))),
        ("a space behind the name", 403, Box::new(json(given("kim ", "kim-pass-1234")))),
        ("another case", 403, Box::new(json(given("KIM", "kim-pass-1234")))),
        ("a NUL in the name", 403, Box::new(json(given("a\0b", "x")))),
        ("no password", 400, Box::new(json(json!({"username": "kim"})))),
        ("no name", 400, Box::new(json(json!({"password": "x"})))),
        ("an empty password", 400, Box::new(json(given("kim", "")))),
        ("null", 400, Box::new(json(json!({"username": "kim", "password": null})))),
        ("nothing", 400, Box::new(json(json!({})))),
        ("an empty body", 400, Box::new(|r| r.body(b""))),
        ("an empty form", 400, Box::new(|r| r.form(&[]))),
        (
            "no JSON",
            400,
            Box::new(|r| r.header("Content-Type", "application/json").body(b"{\"username\":")),
        ),
        ("plain text", 415, Box::new(|r| r.header("Content-Type", "text/plain").body(b"x"))),
    ];
    let (through, direct) = (gateway.client(), Client::new(django.address));
    for (what, status, request) in &table {
        let (ours, theirs) =
            (request(through.post(LOGIN)).send(), request(direct.post(LOGIN)).send());
        assert_eq!(ours.status, *status, "{what}: {}", ours.text());
        same(what, &ours, &theirs);
    }
    for (what, method, path) in
        [("GET", "GET", LOGIN), ("PUT", "PUT", LOGIN), ("GET to sign out", "GET", LOGOUT)]
    {
        let [ours, theirs] = [&through, &direct].map(|client| client.request(method, path).send());
        assert_eq!(
            (ours.status, theirs.status),
            (405, if path == LOGOUT { 401 } else { 405 }),
            "{what}"
        );
        if path == LOGIN {
            same(what, &ours, &theirs);
        }
        assert!(theirs.header("allow").unwrap().starts_with(ours.header("allow").unwrap()));
    }
    // A trailing slash makes it another path for both.
    let slash = format!("{LOGIN}/");
    let [ours, theirs] = [&through, &direct].map(|client| client.post(&slash).send().status);
    assert_eq!((ours, theirs), (404, 404));
}

/// Intended differences: each line is on the list in `docs/aliases.md`.
#[test]
fn where_django_stumbles_the_gateway_answers() {
    let django = Django::start();
    let (_key, setup) = setup(&django);
    let gateway = setup.start();
    let (through, direct) = (gateway.client(), Client::new(django.address));
    let raw = |body: &'static str| {
        move |client: &Client| {
            client
                .post(LOGIN)
                .header("Content-Type", "application/json")
                .body(body.as_bytes())
                .send()
        }
    };
    for (what, body, ours, theirs) in [
        ("a list", "[]", 400, 500),
        ("a text", "\"x\"", 400, 500),
        ("null", "null", 400, 500),
        ("a list as the password", r#"{"username": "kim", "password": [1]}"#, 400, 403),
        ("an object as the name", r#"{"username": {"a": 1}, "password": "x"}"#, 400, 403),
        ("an unknown name with a number", r#"{"username": "nobody", "password": 4}"#, 403, 500),
        (
            "a name twice",
            r#"{"username": "a", "username": "kim", "password": "kim-pass-1234"}"#,
            400,
            200,
        ),
    ] {
        let send = raw(body);
        assert_eq!((send(&through).status, send(&direct).status), (ours, theirs), "{what}");
    }
    let good = json!({"username": "kim", "password": "kim-pass-1234"});
    let beside = |client: &Client| client.post(LOGIN).json(&good).bearer("a.b.c").send().status;
    assert_eq!((beside(&through), beside(&direct)), (200, 401), "a bad Bearer beside it");
}

/// A browser's cookies, and the CSRF token that a script reads from them.
#[derive(Default)]
struct Browser(BTreeMap<String, String>);

impl Browser {
    fn send(&mut self, request: Request, csrf: bool) -> Response {
        let mut request = request.header("Origin", "http://app.test");
        if !self.0.is_empty() {
            let line: Vec<_> =
                self.0.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request = request.header("Cookie", &line.join("; "));
        }
        if let (true, Some(token)) = (csrf, self.0.get("csrftoken")) {
            request = request.header("X-CSRFToken", token);
        }
        let response = request.send();
        for line in response.all("set-cookie") {
            let (name, rest) = line.split_once('=').unwrap();
            let value = rest.split(';').next().unwrap().trim_matches('"');
            match value {
                "" => drop(self.0.remove(name)),
                value => drop(self.0.insert(name.into(), value.into())),
            }
        }
        response
    }
}

/// Runs the front end's steps, and returns the answers.
fn script(client: &Client) -> Vec<(&'static str, Response)> {
    let mut browser = Browser::default();
    let given = |name: &str| json!({"username": name, "password": format!("{name}-pass-1234")});
    let whoami = "/api/v1/whoami";
    let mut all = Vec::new();
    let mut step = |what: &'static str, request: Request, csrf: bool| {
        let response = browser.send(request, csrf);
        all.push((what, response));
        browser.0.get("csrftoken").cloned().unwrap_or_default()
    };
    step("nobody is there", client.get(whoami), false);
    step("nobody signs out", client.post(LOGOUT), false);
    step(
        "a wrong password",
        client.post(LOGIN).json(&json!({"username": "kim", "password": "x"})),
        false,
    );
    let first = step("kim signs in", client.post(LOGIN).json(&given("kim")), false);
    assert_eq!(first.len(), 32);
    step("kim looks", client.get(whoami), false);
    step("kim puts without the token", client.request("PUT", whoami).body(b"x"), false);
    step("kim puts", client.request("PUT", whoami).body(b"x"), true);
    let second = step("kim signs in again", client.post(LOGIN).json(&given("kim")), true);
    assert_ne!(first, second, "the token is another after each sign-in");
    step("kim looks again", client.get(whoami), false);
    step("kim signs out", client.post(LOGOUT), true);
    step("kim is gone", client.get(whoami), false);
    step("kim signs out again", client.post(LOGOUT), true);
    let token = step(
        "admin signs in by a form",
        client.post(LOGIN).form(&[("username", "admin"), ("password", "admin-pass-1234")]),
        true,
    );
    let add = "/admin/auth/group/add/";
    step("a form without its token", client.post(add).form(&[("name", "by-alias")]), false);
    let fields = [("name", "by-alias"), ("csrfmiddlewaretoken", token.as_str())];
    step("a form of the admin", client.post(add).form(&fields), false);
    step("kim signs in over it", client.post(LOGIN).json(&given("kim")), true);
    step("kim has taken over", client.get(whoami), false);
    all
}

#[test]
fn a_front_end_for_sessions_has_the_same_answers() {
    for rotation in ["none", "single-use"] {
        the_same_answers_with(rotation);
    }
}

fn the_same_answers_with(rotation: &str) {
    let django = Django::start();
    let (_key, setup) = setup(&django);
    let gateway = setup.with(&format!("[tokens]\nrotation = \"{rotation}\"")).start();
    let direct = script(&Client::new(django.address));
    django.run("Group.objects.filter(name='by-alias').delete()");
    let through = script(&gateway.client());
    assert_eq!(through.len(), direct.len());
    let who = |response: &Response| {
        let report = response.json();
        json!([report["user"], report["rest_framework"], report["body"]])
    };
    for ((what, ours), (_, theirs)) in through.iter().zip(&direct) {
        assert_eq!(ours.status, theirs.status, "{what}: {} / {}", ours.text(), theirs.text());
        let is_report = ours.header("content-type") == Some("application/json")
            && theirs.json().get("rest_framework").is_some();
        if is_report {
            assert_eq!(who(ours), who(theirs), "{what}");
        } else if ours.header("content-type") == Some("application/json") || ours.body.is_empty() {
            same(what, ours, theirs);
        }
    }
    let of = |step: &str| through.iter().find(|(what, _)| *what == step).unwrap().1.clone();
    assert_eq!(of("kim puts").json()["rest_framework"]["by"], "SessionAuthentication");
    assert_eq!(of("a form of the admin").status, 302);
    // The service's sessions that belonged to the gateway's sessions end with these.
    let left = "SELECT count(*) FROM django_session";
    eventually("the service's sessions to go", || {
        let database = rusqlite::Connection::open(django.database()).unwrap();
        let rows: u32 = database.query_row(left, [], |row| row.get(0)).unwrap();
        // Kim's last session here, and the last one that Django itself created.
        (rows == 2).then_some(())
    });
}
