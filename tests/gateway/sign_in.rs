//! Tests `POST /login` and its page: bodies, codes, cookies, limits.

use serde_json::{Value, json};

use crate::support::client::{Client, Response};
use crate::support::eventually;
use crate::support::gateway::Setup;
use crate::support::upstream::Upstream;

fn login(client: &Client, body: &Value) -> Response {
    client.post("/login").json(body).send()
}

#[test]
fn a_sign_in_gives_tokens_and_a_cookie() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).start();
    let client = gateway.client();
    let response = login(&client, &json!({"username": "kim", "password": "correct horse battery"}));
    assert_eq!(response.status, 200);
    let body = response.json();
    assert_eq!(body["token_type"], "Bearer");
    assert_eq!(
        (&body["expires_in"], &body["refresh_expires_in"]),
        (&json!(300), &json!(1_209_600))
    );
    assert_eq!(response.header("cache-control"), Some("no-store"));
    let set = response.all("set-cookie");
    assert_eq!(set.len(), 2, "the session's and the device's: {set:?}");
    for (name, age) in [("__Host-doorwarden", 2_592_000), ("__Host-doorwarden-device", 31_536_000)]
    {
        let line = set.iter().find(|line| line.starts_with(&format!("{name}="))).unwrap();
        let age = format!("Max-Age={age}");
        for attribute in ["HttpOnly", "Secure", "SameSite=Lax", "Path=/", &age] {
            assert!(line.contains(attribute), "{attribute} is missing in {line}");
        }
        assert!(!line.contains("Domain"), "{line}");
    }

    let cookie = response.set_cookie("__Host-doorwarden").unwrap();
    assert_eq!(cookie.len(), 43, "256 bits in base64url");
    for request in [
        client.get("/app").bearer(body["access"].as_str().unwrap()),
        client.get("/app").cookie("__Host-doorwarden", &cookie),
    ] {
        assert_eq!(request.send().status, 200);
        assert_eq!(upstream.last().all("x-user-id"), ["kim"]);
    }
}

#[test]
fn every_failure_of_name_and_password_has_the_same_answer() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).start();
    let client = gateway.client();
    let output = gateway.command(&["user", "disable", "root", "--file", "users.toml"]);
    assert!(output.status.success());
    eventually("the file to be read again", || {
        let root = json!({"username": "root", "password": "toor toor toor"});
        (login(&client, &root).status == 401).then_some(())
    });
    let mut answers: Vec<Value> = Vec::new();
    for (name, password) in [
        ("kim", "wrong"),
        ("nobody", "wrong"),
        ("Kim", "correct horse battery"),
        ("root", "toor toor toor"),
        ("lee", "STAPLE 한글 암호"),
    ] {
        let response = login(&client, &json!({"username": name, "password": password}));
        assert_eq!(response.status, 401, "{name}");
        assert_eq!(response.header("www-authenticate"), Some("Bearer realm=\"api\""));
        assert_eq!(response.header("set-cookie"), None);
        let mut body = response.json();
        body["request_id"].take();
        answers.push(body);
    }
    assert_eq!(answers[0]["detail"], "No active account found with the given credentials");
    assert_eq!(answers[0]["code"], "no_active_account");
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
}

#[test]
fn what_is_no_sign_in_is_a_clear_4xx() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).start();
    let client = gateway.client();
    let deep = format!("{}1{}", "[".repeat(500), "]".repeat(500));
    let deep = format!(r#"{{"username":"kim","password":"x","a":{deep}}}"#);
    let json = Some("application/json");
    for (what, type_, body, status) in [
        ("nothing", json, &b""[..], 400),
        ("an empty object", json, b"{}", 400),
        ("a list", json, b"[]", 400),
        ("a string", json, b"\"kim\"", 400),
        ("broken JSON", json, b"{\"username\": ", 400),
        ("null", json, b"{\"username\":null,\"password\":null}", 400),
        ("objects", json, b"{\"username\":{},\"password\":[]}", 400),
        ("a NUL", json, b"{\"username\":\"k\\u0000\",\"password\":\"x\"}", 400),
        ("a lone surrogate", json, b"{\"username\":\"kim\",\"password\":\"\\ud800\"}", 400),
        ("invalid UTF-8", json, b"{\"username\":\"\xff\",\"password\":\"x\"}", 400),
        (
            "a duplicate",
            json,
            b"{\"username\":\"kim\",\"username\":\"lee\",\"password\":\"x\"}",
            400,
        ),
        ("deep nesting", json, deep.as_bytes(), 400),
        ("text", Some("text/plain"), b"kim", 415),
        ("no type", None, b"{}", 415),
    ] {
        let mut request = client.post("/login").body(body);
        if let Some(type_) = type_ {
            request = request.header("Content-Type", type_);
        }
        let response = request.send();
        assert_eq!(response.status, status, "{what}: {}", response.text());
        assert!(!response.code().is_empty(), "{what}: {}", response.text());
    }
    let big = vec![b'x'; 10 * 1024 * 1024];
    let response =
        client.post("/login").header("Content-Type", "application/json").body(&big).send();
    assert_eq!((response.status, response.code().as_str()), (413, "body_too_large"));
    let empty = login(&client, &json!({}));
    assert_eq!(empty.json()["username"], json!(["This field is required."]));
    let unknown = json!({"username": "kim", "password": "correct horse battery", "remember": true});
    assert_eq!(login(&client, &unknown).status, 200, "unknown members are ignored");
}

#[test]
fn failures_of_one_account_are_slowed_down_and_its_owner_is_not_locked_out() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).behind_a_proxy().start();
    let client = gateway.client();
    let attempt = |from: &str, password: &str| {
        client
            .post("/login")
            .from(from.parse().unwrap())
            .json(&json!({"username": "kim", "password": password}))
            .send()
    };
    assert_eq!(attempt("198.51.100.7", "correct horse battery").status, 200);
    let mut refused = None;
    for _ in 0..12 {
        let response = attempt("203.0.113.5", "guess");
        if response.status == 429 {
            refused = Some(response);
            break;
        }
        assert_eq!(response.status, 401);
    }
    let refused = refused.expect("the guesser has to wait");
    assert_eq!(refused.code(), "too_many_attempts");
    assert!(refused.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);
    assert_eq!(
        attempt("203.0.113.5", "correct horse battery").status,
        429,
        "even with the right one"
    );
    assert_eq!(attempt("198.51.100.7", "correct horse battery").status, 200, "the owner gets in");
}

#[test]
fn the_page_works_without_a_script() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).start();
    let client = gateway.client();
    let page = client.get("/login?next=%2Fnotes%3Fpage%3D2").navigation().send();
    assert_eq!(page.status, 200);
    let text = page.text();
    assert!(!text.contains("<script"), "no script");
    let policy = page.header("content-security-policy").unwrap();
    for part in
        ["default-src 'none'", "frame-ancestors 'none'", "form-action 'self'", "base-uri 'none'"]
    {
        assert!(policy.contains(part), "{part} is missing in {policy}");
    }
    let sent = client
        .post("/login")
        .navigation()
        .header("Origin", "http://app.test")
        .form(&[
            ("username", "kim"),
            ("password", "correct horse battery"),
            ("next", "/notes?page=2"),
        ])
        .send();
    assert_eq!((sent.status, sent.header("location")), (303, Some("/notes?page=2")));
    assert!(sent.set_cookie("__Host-doorwarden").is_some());
    assert!(!sent.text().contains("access"), "a page gets no token");

    let wrong = client
        .post("/login")
        .navigation()
        .header("Origin", "http://app.test")
        .form(&[("username", "kim<b>"), ("password", "s3cret-wrong"), ("next", "/notes")])
        .send();
    assert_eq!(wrong.status, 401);
    let text = wrong.text();
    assert!(text.contains("kim&#60;b&#62;") || text.contains("kim&lt;b&gt;"), "escaped: {text}");
    assert!(!text.contains("s3cret-wrong"), "the password never comes back");

    let korean =
        client.get("/login").navigation().header("Accept-Language", "ko-KR,ko;q=0.9").send();
    assert!(korean.text().contains("lang=\"ko\""));
}

#[test]
fn next_leads_nowhere_else() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).start();
    let client = gateway.client();
    for next in [
        "//evil.test/",
        "/\\evil.test",
        "https://evil.test/",
        "javascript:alert(1)",
        "/%2f/evil.test",
        "/..//evil.test",
        "\\\\evil.test",
        "/\tevil",
        "",
    ] {
        let sent = client
            .post("/login")
            .navigation()
            .header("Origin", "http://app.test")
            .form(&[("username", "kim"), ("password", "correct horse battery"), ("next", next)])
            .send();
        assert_eq!((sent.status, sent.header("location")), (303, Some("/")), "{next:?}");
    }
}

#[test]
fn a_form_from_another_site_signs_nobody_in() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).start();
    let client = gateway.client();
    let form = &[("username", "kim"), ("password", "correct horse battery")];
    for (name, value) in [
        ("Origin", "https://evil.test"),
        ("Origin", "null"),
        ("Sec-Fetch-Site", "cross-site"),
        ("Sec-Fetch-Site", "same-site"),
        ("Referer", "https://evil.test/x"),
    ] {
        let response = client.post("/login").header(name, value).form(form).send();
        assert_eq!(response.status, 403, "{name}: {value}");
        assert!(response.header("set-cookie").is_none());
    }
}

#[test]
fn a_brought_cookie_is_never_adopted_and_the_old_session_ends() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).start();
    let client = gateway.client();
    let enter = |cookie: Option<&str>| {
        let mut request = client.post("/login");
        if let Some(cookie) = cookie {
            request = request.cookie("__Host-doorwarden", cookie);
        }
        request
            .json(&json!({"username": "kim", "password": "correct horse battery"}))
            .send()
            .set_cookie("__Host-doorwarden")
            .unwrap()
    };
    let invented = "A".repeat(43);
    let first = enter(Some(&invented));
    assert_ne!(first, invented);
    let second = enter(Some(&first));
    assert_ne!(second, first);
    let status =
        |cookie: &str| client.get("/app").cookie("__Host-doorwarden", cookie).send().status;
    assert_eq!((status(&invented), status(&first), status(&second)), (401, 401, 200));
}

#[test]
fn a_browser_without_a_session_is_sent_to_the_page_and_a_script_is_not() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).start();
    let client = gateway.client();
    let sent = client.get("/notes?page=2").navigation().send();
    assert_eq!(
        (sent.status, sent.header("location")),
        (303, Some("/login?next=/notes%3Fpage%3D2"))
    );
    let told = client.get("/notes").header("Accept", "application/json").send();
    assert_eq!((told.status, told.code().as_str()), (401, "not_authenticated"));
    assert_eq!(told.header("www-authenticate"), Some("Bearer realm=\"api\""));
    let posted = client.post("/notes").body(b"x").send();
    assert_eq!(posted.status, 401);
}

#[test]
fn the_field_with_the_name_is_called_as_the_service_calls_it() {
    let upstream = Upstream::start();
    let alias = |path: &str, more: &str| {
        format!("[[paths.alias]]\npath = \"{path}\"\nto = \"login\"\n{more}\n")
    };
    let gateway = Setup::new(upstream.address)
        .directories(
            "[[directory]]\nkind = \"file\"\npath = \"users.toml\"\nusername_field = \"email\"",
        )
        .with(&alias("/token", ""))
        .with(&alias("/session-login", "shape = \"django-session\""))
        .with(&alias("/accounts/login/", "username_field = \"username\""))
        .start();
    let client = gateway.client();
    let password = "correct horse battery";
    for path in ["/login", "/token", "/session-login"] {
        let sent = |name: &str| client.post(path).json(&json!({name: "kim", "password": password}));
        assert_eq!(sent("email").send().status, 200, "{path}");
        assert_eq!(sent("username").send().status, 400, "{path}");
        let form = client.post(path).form(&[("email", "kim"), ("password", password)]);
        assert_eq!(form.send().status, 200, "{path}");
    }
    let missing = client.post("/token").json(&json!({"username": "kim"})).send().json();
    assert_eq!(missing["email"], json!(["This field is required."]));
    assert_eq!(
        (&missing["username"], &missing["password"][0]),
        (&Value::Null, &missing["email"][0])
    );
    let other = client.post("/accounts/login/");
    let other = other.json(&json!({"username": "kim", "password": password})).send();
    assert_eq!(other.status, 200, "an alias can call it otherwise");
    for (path, name, label) in
        [("/login", "email", "Email"), ("/accounts/login/", "username", "Username")]
    {
        let page = client.get(path).header("Accept", "text/html").send().text();
        assert!(page.contains(&format!("name=\"{name}\"")), "{page}");
        assert!(page.contains(&format!(">{label}</label>")), "{page}");
    }
}
