//! Tests which caller a real Django sees, in each of the forms that a route can have.

use serde_json::{Value, json};

use crate::support::client::{Client, Request};
use crate::support::django::Django;
use crate::support::eventually;
use crate::support::gateway::{Setup, write_private};

const COOKIE: &str = "__Host-doorwarden";

/// Returns a gateway in front of the service, with these forms; `route` has more settings for its one protected route.
fn setup(django: &Django, forms: &str, route: &str) -> Setup {
    django
        .setup()
        .routes(&format!(
            "[[route]]\nname = \"public\"\npath = \"/public/\"\nupstream = \"app\"\naccess = \"public\"\n{route}\n\
             [[route]]\nname = \"app\"\npath = \"/\"\nupstream = \"app\"\n{route}\n"
        ))
        .with(forms)
}

/// Signs a user in, and returns the access token and the session cookie.
fn enter(client: &Client, name: &str, password: &str) -> (String, String) {
    let response =
        client.post("/login").json(&json!({"username": name, "password": password})).send();
    assert_eq!(response.status, 200, "{name}: {}", response.text());
    let access = response.json()["access"].as_str().unwrap().to_owned();
    (access, response.set_cookie(COOKIE).unwrap())
}

/// Returns what a view received.
fn report(request: &Request) -> Value {
    let response = request.send();
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()
}

/// The service's `SECRET_KEY`, which is one for development.
const SECRET_KEY: &str = "django-insecure-development-key-of-the-legacy-service";

/// Returns a folder with that key in a file, and settings that mint tokens with it.
fn minting(kind: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret-key");
    write_private(&file, format!("{SECRET_KEY}\n"));
    let form = format!(
        "[[identity.form]]\nname = \"{kind}\"\nkind = \"{kind}\"\nkey_file = \"{}\"\ndanger_weak_key = true\n",
        file.display()
    );
    (folder, form)
}

#[test]
fn rest_framework_finds_the_caller_by_a_minted_token() {
    let django = Django::shared();
    for (kind, header, by) in [
        ("simplejwt", "Authorization", "JWTAuthentication"),
        ("jwt", "jwt-auth", "JWTAuthentication"),
    ] {
        let (_folder, form) = minting(kind);
        let gateway = setup(&django, &form, &format!("identity = \"{kind}\"")).start();
        let client = gateway.client();
        let (access, cookie) = enter(&client, "kim", "kim-pass-1234");
        let (_, admin) = enter(&client, "admin", "admin-pass-1234");
        let variable = format!("HTTP_{}", header.replace('-', "_").to_uppercase());
        let mut tokens = Vec::new();
        for request in [
            client.get("/api/v1/whoami").bearer(&access),
            client.get("/api/v1/whoami").cookie(COOKIE, &cookie),
            client.get("/public/whoami").cookie(COOKIE, &cookie),
            client.post("/api/v1/whoami").bearer(&access).body(b"x"),
        ] {
            let seen = report(&request);
            assert_eq!(seen["rest_framework"]["user"]["username"], "kim", "{kind}: {seen}");
            assert_eq!(seen["rest_framework"]["by"], by);
            assert!(!seen.to_string().contains(&access), "ours stays here");
            tokens.push(seen["meta"][&variable].clone());
        }
        tokens.dedup();
        assert_eq!(tokens.len(), 1, "one session, one token: {tokens:?}");

        // The service would accept this token, which came from a report of the service's; a client's own is not forwarded.
        let stolen = tokens[0].as_str().unwrap();
        let seen = report(&client.get("/api/v1/whoami").cookie(COOKIE, &admin));
        assert_eq!(seen["rest_framework"]["user"]["username"], "admin");
        let spoofed = client.get("/public/whoami").header(header, stolen);
        let seen = report(&spoofed);
        assert_eq!(seen["rest_framework"]["user"], Value::Null, "{seen}");
        assert_eq!(seen["meta"][&variable], Value::Null);
    }
}

#[test]
fn remote_user_is_ours_or_nobodys() {
    let django = Django::shared();
    let gateway = setup(
        &django,
        "[[identity.form]]\nname = \"server\"\nkind = \"remote-user\"",
        "identity = \"server\"",
    )
    .start();
    let client = gateway.client();
    let (access, cookie) = enter(&client, "kim", "kim-pass-1234");
    for request in [
        client.get("/api/v1/whoami").bearer(&access),
        client.get("/api/v1/whoami").cookie(COOKIE, &cookie),
        client.get("/public/whoami").bearer(&access),
    ] {
        for spelling in ["Remote-User", "Remote_User", "Http-Remote-User"] {
            let seen = report(&request.clone().header(spelling, "admin"));
            assert_eq!(seen["meta"]["HTTP_REMOTE_USER"], "kim", "{spelling}");
            assert!(!seen.to_string().contains("admin"), "{seen}");
        }
    }
    let nobody = report(&client.get("/public/whoami").header("Remote-User", "admin"));
    assert_eq!(nobody["meta"]["HTTP_REMOTE_USER"], Value::Null);
}

/// Returns a gateway whose callers with the cookie get a Django session.
fn with_sessions(django: &Django) -> (tempfile::TempDir, Setup) {
    let (folder, _) = minting("unused");
    let form = format!(
        "[[identity.form]]\nname = \"admin\"\nkind = \"django-session\"\nkey_file = \"{}\"\ndatabase = \"sqlite://{}\"\n",
        folder.path().join("secret-key").display(),
        django.database().display()
    );
    let setup = setup(django, &form, "identity = { cookie = \"admin\" }");
    (folder, setup)
}

/// Returns the sessions in the service's table: key and expiry.
fn rows(django: &Django) -> Vec<(String, String)> {
    let db = rusqlite::Connection::open(django.database()).unwrap();
    let mut select =
        db.prepare("SELECT session_key, expire_date FROM django_session ORDER BY 1").unwrap();
    let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.map(Result::unwrap).collect()
}

#[test]
fn the_admin_opens_signed_in_and_its_forms_post() {
    let django = Django::start();
    let (_folder, setup) = with_sessions(&django);
    let gateway = setup.start();
    let client = gateway.client();
    let (_, cookie) = enter(&client, "admin", "admin-pass-1234");
    let page = client.get("/admin/auth/group/add/").cookie(COOKIE, &cookie).send();
    assert_eq!(page.status, 200, "{}", page.text());
    assert_eq!(page.set_cookie("sessionid"), None, "only the upstream sees it");
    let csrf = page.set_cookie("csrftoken").unwrap();
    let cookies = format!("{COOKIE}={cookie}; csrftoken={csrf}; sessionid=made-up-by-the-client");

    let add = |fields: &[(&str, &str)]| {
        client
            .post("/admin/auth/group/add/")
            .header("Cookie", &cookies)
            .header("Origin", "http://app.test")
            .form(fields)
            .send()
    };
    assert_eq!(add(&[("name", "made")]).status, 403, "Django's check is on");
    let made = add(&[("name", "made"), ("csrfmiddlewaretoken", &csrf)]);
    assert_eq!((made.status, made.header("location")), (302, Some("/admin/auth/group/")));
    // Django's message for the next page is in another cookie, which passes in both directions.
    let messages = made.set_cookie("messages").unwrap();
    let line = format!("{cookies}; messages={messages}");
    let list = client.get("/admin/auth/group/").header("Cookie", &line).send();
    assert!(list.text().contains("was added successfully"), "{}", list.text());
    assert_eq!(rows(&django).len(), 1);

    // Signing out in the admin signs out at the gateway.
    let out = client
        .post("/admin/logout/")
        .header("Cookie", &cookies)
        .header("Origin", "http://app.test")
        .form(&[("csrfmiddlewaretoken", &csrf)])
        .send();
    assert_eq!(out.status, 200, "{}", out.text());
    assert_eq!(out.set_cookie("sessionid"), None);
    assert_eq!(out.set_cookie(COOKIE).as_deref(), Some(""), "{:?}", out.all("set-cookie"));
    let after = client.get("/admin/").header("Cookie", &cookies).send();
    assert_eq!((after.status, after.code().as_str()), (401, "session_ended"));
    assert_eq!(rows(&django), []);
}

#[test]
fn a_session_in_the_service_is_the_callers_own_and_ends_with_ours() {
    let django = Django::start();
    let (_folder, setup) = with_sessions(&django);
    let mut gateway = setup.start();
    let client = gateway.client();
    let (access, kim) = enter(&client, "kim", "kim-pass-1234");
    let (_, admin) = enter(&client, "admin", "admin-pass-1234");
    let user = |request: &Request| report(request)["user"]["username"].clone();
    let whoami = |client: &Client| client.get("/api/v1/whoami");
    assert_eq!(user(&whoami(&client).cookie(COOKIE, &admin)), "admin");
    let admins = rows(&django)[0].0.clone();

    // A client sends a key that Django would accept: another caller's, in several ways, with spaces that Python strips.
    for name in
        ["sessionid", " sessionid", "\u{a0}sessionid", "sessionid\u{a0}", "\u{3000}sessionid "]
    {
        let line = format!("{COOKIE}={kim}; {name}={admins}");
        assert_eq!(user(&whoami(&client).header("Cookie", &line)), "kim", "{name:?}");
        let line = format!("{name}={admins}; a=b");
        let seen = report(&client.get("/public/whoami").header("Cookie", &line));
        assert_eq!(seen["user"]["is_authenticated"], false, "{name:?}: {seen}");
        let seen = report(&whoami(&client).bearer(&access).header("Cookie", &line));
        assert_eq!(seen["user"]["is_authenticated"], false, "{name:?}: {seen}");
        assert_eq!(seen["meta"]["HTTP_COOKIE"], "a=b");
    }
    assert_eq!(rows(&django).len(), 2);

    // The rows stay the same after a restart, and are deleted with the gateway's session.
    let before = rows(&django);
    gateway.kill();
    gateway.spawn();
    let client = gateway.client();
    assert_eq!(user(&whoami(&client).cookie(COOKIE, &kim)), "kim");
    let keys = |rows: &[(String, String)]| rows.iter().map(|row| row.0.clone()).collect::<Vec<_>>();
    assert_eq!(keys(&rows(&django)), keys(&before));
    for (cookie, left) in [(&kim, vec![admins]), (&admin, vec![])] {
        let out = client
            .post("/logout")
            .cookie(COOKIE, cookie)
            .header("Origin", "http://app.test")
            .send();
        assert_eq!(out.status, 204, "{}", out.text());
        eventually("the row to go", || (keys(&rows(&django)) == left).then_some(()));
    }
}

#[test]
fn a_service_whose_database_is_gone_gets_no_request_without_identity() {
    let django = Django::start();
    let (_folder, setup) = with_sessions(&django);
    let gateway = setup.start();
    let client = gateway.client();
    let (access, cookie) = enter(&client, "kim", "kim-pass-1234");
    let away = django.database().with_extension("away");
    std::fs::rename(django.database(), &away).unwrap();
    let refused = client.get("/api/v1/whoami").cookie(COOKIE, &cookie).send();
    assert_eq!((refused.status, refused.code().as_str()), (503, "identity_unavailable"));
    // Callers without this form are not affected, except where Django itself needs its database.
    assert_eq!(client.get("/status/204").bearer(&access).send().status, 204);
    std::fs::rename(&away, django.database()).unwrap();
    let seen = report(&client.get("/api/v1/whoami").cookie(COOKIE, &cookie));
    assert_eq!(seen["user"]["username"], "kim");
}

#[test]
fn a_row_that_the_service_takes_away_ends_the_session() {
    let django = Django::start();
    let (_folder, setup) = with_sessions(&django);
    let gateway = setup.start();
    let client = gateway.client();
    let (_, cookie) = enter(&client, "kim", "kim-pass-1234");
    let request = client.get("/api/v1/whoami").cookie(COOKIE, &cookie);
    assert_eq!(report(&request)["user"]["username"], "kim");
    django
        .run("from django.contrib.sessions.models import Session\nSession.objects.all().delete()");
    // Django finds no user and deletes the invalid cookie; the gateway creates no new row.
    assert_eq!(report(&request)["user"]["is_authenticated"], false);
    assert_eq!(request.send().code(), "session_ended");
    assert_eq!(rows(&django), []);
}

#[test]
fn a_post_of_a_browser_and_one_of_a_bearer_caller_both_reach_the_view() {
    let django = Django::start();
    let (folder, form) = minting("simplejwt");
    let forms = format!(
        "{form}[[identity.form]]\nname = \"admin\"\nkind = \"django-session\"\nkey_file = \"{}\"\ndatabase = \"sqlite://{}\"\n",
        folder.path().join("secret-key").display(),
        django.database().display()
    );
    let route = "identity = { bearer = \"simplejwt\", cookie = \"admin\" }";
    let gateway = setup(&django, &forms, route).start();
    let client = gateway.client();
    let (access, cookie) = enter(&client, "kim", "kim-pass-1234");
    let found = |request: &Request| report(request)["rest_framework"].clone();
    let post = || client.post("/api/v1/whoami");

    let browser = |csrf: &str| {
        post()
            .header("Cookie", &format!("{COOKIE}={cookie}; csrftoken={}", "a".repeat(32)))
            .header("Origin", "http://app.test")
            .header("X-CSRFToken", csrf)
    };
    let seen = found(&browser(&"a".repeat(32)));
    assert_eq!(
        (&seen["user"]["username"], &seen["by"]),
        (&json!("kim"), &json!("SessionAuthentication"))
    );
    // Django's own CSRF check is on, which is why a Bearer caller must not be given a session.
    assert_eq!(found(&browser(&"b".repeat(32)))["status"], 403);

    for request in [post().bearer(&access), post().bearer(&access).cookie(COOKIE, &cookie)] {
        let seen = found(&request.header("Origin", "http://app.test"));
        assert_eq!(
            (&seen["user"]["username"], &seen["by"]),
            (&json!("kim"), &json!("JWTAuthentication"))
        );
    }
}
