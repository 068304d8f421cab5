//! Tests the forms that use the service's own data: a session in each of its engines, and its own tokens.

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{COOKIE, enter, kim, report};
use crate::support::client::{Client, Request};
use crate::support::django::Django;
use crate::support::eventually;
use crate::support::gateway::{Setup, write_private};
use crate::support::redis::Redis;

const SECRET_KEY: &str = "django-insecure-development-key-of-the-legacy-service";

/// Returns a gateway whose one protected route has these forms; `{folder}` in them is a folder with the service's
/// `secret-key`.
fn setup(django: &Django, forms: &str, identity: &str) -> (TempDir, Setup) {
    let folder = tempfile::tempdir().unwrap();
    write_private(&folder.path().join("secret-key"), format!("{SECRET_KEY}\n"));
    let forms = forms.replace("{folder}", &folder.path().display().to_string());
    let routes = format!(
        "[[route]]\nname = \"app\"\npath = \"/\"\nupstream = \"app\"\nidentity = {identity}\n"
    );
    (folder, django.setup().routes(&routes).with(&forms))
}

fn session(keys: &str) -> String {
    format!(
        "[[identity.form]]\nname = \"session\"\nkind = \"django-session\"\nkey_file = \"{{folder}}/secret-key\"\n{keys}\n"
    )
}

fn whoami(client: &Client, cookie: &str) -> Request {
    client.get("/api/v1/whoami").cookie(COOKIE, cookie)
}

fn user(seen: &Value) -> &Value {
    &seen["user"]["username"]
}

/// Returns the session key that Django received.
fn key(seen: &Value) -> String {
    let cookies = seen["meta"]["HTTP_COOKIE"].as_str().unwrap();
    cookies.split("; ").find_map(|pair| pair.strip_prefix("sessionid=")).unwrap().to_owned()
}

fn sign_out(client: &Client, cookie: &str) {
    let out =
        client.post("/logout").cookie(COOKIE, cookie).header("Origin", "http://app.test").send();
    assert_eq!(out.status, 204, "{}", out.text());
}

/// Adds a group in the Django admin and signs out, by forms with Django's own check.
fn the_admin_works(client: &Client) {
    let (_, cookie) = enter(client, "admin", "admin-pass-1234");
    let page = client.get("/admin/auth/group/add/").cookie(COOKIE, &cookie).send();
    assert_eq!(page.status, 200, "{}", page.text());
    let csrf = page.set_cookie("csrftoken").unwrap();
    let post = |path: &str, fields: &[(&str, &str)]| {
        client
            .post(path)
            .header("Cookie", &format!("{COOKIE}={cookie}; csrftoken={csrf}"))
            .header("Origin", "http://app.test")
            .form(&[fields, &[("csrfmiddlewaretoken", csrf.as_str())]].concat())
            .send()
    };
    let made = post("/admin/auth/group/add/", &[("name", "made")]);
    assert_eq!((made.status, made.header("location")), (302, Some("/admin/auth/group/")));
    assert_eq!(post("/admin/logout/", &[]).status, 200);
    let after = client.get("/admin/").cookie(COOKIE, &cookie).send();
    assert_eq!((after.status, after.code().as_str()), (401, "session_ended"));
}

#[test]
fn a_session_with_a_copy_in_the_cache_goes_from_both() {
    let redis = Redis::with_password("change-me");
    let url = redis.url_for_django();
    let django =
        Django::start_with(&[("DJANGO_SESSION_ENGINE", "cached_db"), ("DJANGO_CACHE_URL", &url)]);
    let form = session(&format!(
        "engine = \"cached_db\"\ncache = \"{}\"\ncache_password_file = \"{{folder}}/cache-password\"",
        redis.url()
    ));
    let (folder, setup) = setup(&django, &form, "\"session\"");
    write_private(&folder.path().join("cache-password"), "change-me\n");
    let gateway = setup.start();
    let client = gateway.client();
    the_admin_works(&client);

    let (_, cookie) = kim(&client);
    let seen = report(&whoami(&client, &cookie));
    assert_eq!(user(&seen), "kim");
    let copy = format!(":1:django.contrib.sessions.cached_db{}", key(&seen));
    assert_eq!(redis.ask::<u8>(&["EXISTS", &copy]), 1, "Django made it");
    sign_out(&client, &cookie);
    eventually("the copy to go", || (redis.ask::<u8>(&["EXISTS", &copy]) == 0).then_some(()));
    let stolen = Client::new(django.address).get("/api/v1/whoami").cookie("sessionid", &key(&seen));
    assert_eq!(report(&stolen)["user"]["is_authenticated"], false);
}

#[test]
fn a_session_in_the_cache_alone_is_one_that_django_reads() {
    let mut redis = Redis::start();
    let url = redis.url();
    let django =
        Django::start_with(&[("DJANGO_SESSION_ENGINE", "cache"), ("DJANGO_CACHE_URL", &url)]);
    let form = session(&format!("engine = \"cache\"\ncache = \"{url}\""));
    let (_folder, setup) = setup(&django, &form, "{ cookie = \"session\" }");
    let mut gateway = setup.start();
    the_admin_works(&gateway.client());

    let client = gateway.client();
    let (access, cookie) = kim(&client);
    let seen = report(&whoami(&client, &cookie));
    assert_eq!(user(&seen), "kim");
    let entry = format!(":1:django.contrib.sessions.cache{}", key(&seen));
    let lives: i64 = redis.ask(&["TTL", &entry]);
    assert!((3500..=3600).contains(&lives), "{lives}");
    gateway.kill();
    gateway.spawn();
    let client = gateway.client();
    assert_eq!(key(&report(&whoami(&client, &cookie))), key(&seen), "found again");

    // Without the cache, only callers that need it are refused; it comes back empty.
    redis.kill();
    let (_, other) = kim(&client);
    let refused = whoami(&client, &other).send();
    assert_eq!((refused.status, refused.code().as_str()), (503, "identity_unavailable"));
    assert_eq!(client.get("/status/204").bearer(&access).send().status, 204);
    redis.run();
    assert_eq!(user(&report(&whoami(&client, &other))), "kim");

    sign_out(&client, &other);
    eventually("the entry to go", || {
        redis.ask::<Vec<String>>(&["KEYS", "*"]).is_empty().then_some(())
    });
}

#[test]
fn a_session_that_is_its_cookie_needs_no_store() {
    let django = Django::start_with(&[("DJANGO_SESSION_ENGINE", "signed_cookies")]);
    let form = session("engine = \"signed_cookies\"\nlast_login = true");
    let (_folder, setup) = setup(&django, &form, "\"session\"");
    let gateway = setup.start();
    let client = gateway.client();
    the_admin_works(&client);
    let (_, cookie) = kim(&client);
    let seen = report(&whoami(&client, &cookie));
    assert_eq!(user(&seen), "kim");
    assert_eq!(key(&report(&whoami(&client, &cookie))), key(&seen));
    let django_sees = "from django.contrib.sessions.models import Session\n\
        assert Session.objects.count() == 0\n\
        from django.utils import timezone\n\
        at = User.objects.get(username='kim').last_login\n\
        assert abs((timezone.now() - at).total_seconds()) < 120, at";
    django.run(django_sees);
}

#[test]
fn rest_framework_finds_the_caller_by_the_token_that_it_gave_them() {
    let django = Django::start();
    django.run(
        "from rest_framework.authtoken.models import Token\n\
         Token.objects.create(user=User.objects.get(username='kim'), key='k' * 40)",
    );
    let form = "[[identity.form]]\nname = \"token\"\nkind = \"drf-token\"\ncache_for = \"1s\"\n";
    let (_folder, strict) = setup(&django, form, "\"token\"");
    let gateway = strict.start();
    let client = gateway.client();
    let (access, cookie) = kim(&client);
    for request in [
        client.get("/api/v1/whoami").bearer(&access),
        whoami(&client, &cookie),
        client.post("/api/v1/whoami").bearer(&access).body(b"x"),
    ] {
        let seen = report(&request);
        assert_eq!(seen["rest_framework"]["user"]["username"], "kim", "{seen}");
        assert_eq!(seen["rest_framework"]["by"], "TokenAuthentication");
        assert_eq!(seen["meta"]["HTTP_AUTHORIZATION"], format!("Token {}", "k".repeat(40)));
    }

    // A user without a token is refused with a log line that says what to do, or forwarded without one if so configured.
    let (lee, _) = enter(&client, "lee", "lee-pass-1234");
    let refused = client.get("/api/v1/whoami").bearer(&lee).send();
    assert_eq!((refused.status, refused.code().as_str()), (503, "identity_unavailable"));
    gateway.logged("what to do", |line| line.to_string().contains("drf_create_token"));
    let (_folder, lenient) = setup(&django, &format!("{form}missing = \"none\"\n"), "\"token\"");
    let lenient = lenient.start();
    let (lee, _) = enter(&lenient.client(), "lee", "lee-pass-1234");
    let seen = report(&lenient.client().get("/api/v1/whoami").bearer(&lee));
    assert_eq!(seen["meta"]["HTTP_AUTHORIZATION"], Value::Null);

    // A new token is used once the cached one is old enough.
    django.run(
        "from rest_framework.authtoken.models import Token\nToken.objects.filter(user__username='kim').update(key='n' * 40)",
    );
    eventually("the new token", || {
        let seen = report(&client.get("/api/v1/whoami").bearer(&access));
        (seen["meta"]["HTTP_AUTHORIZATION"] == format!("Token {}", "n".repeat(40))).then_some(())
    });
}

#[test]
fn a_form_a_view_and_a_token_each_get_their_post_through_one_route() {
    let django = Django::start();
    let forms = format!(
        "{}[[identity.form]]\nname = \"drf\"\nkind = \"simplejwt\"\ndanger_weak_key = true\nkey_file = \"{{folder}}/secret-key\"\n",
        session("")
    );
    let (_folder, setup) = setup(&django, &forms, "{ bearer = \"drf\", cookie = \"session\" }");
    let gateway = setup.start();
    let client = gateway.client();
    let (access, cookie) = enter(&client, "admin", "admin-pass-1234");
    let page = client.get("/admin/auth/group/add/").cookie(COOKIE, &cookie).send();
    let csrf = page.set_cookie("csrftoken").unwrap();
    let browser = |path: &str| {
        client
            .post(path)
            .header("Cookie", &format!("{COOKIE}={cookie}; csrftoken={csrf}"))
            .header("Origin", "http://app.test")
    };
    let form = browser("/admin/auth/group/add/")
        .form(&[("name", "made"), ("csrfmiddlewaretoken", &csrf)])
        .send();
    assert_eq!((form.status, form.header("location")), (302, Some("/admin/auth/group/")));
    django.run("Group.objects.get(name='made')");

    let by = |request: Request| {
        let seen = report(&request);
        let found = &seen["rest_framework"];
        assert_eq!(found["user"]["username"], "admin", "{seen}");
        (seen["method"].clone(), found["by"].clone())
    };
    let view = browser("/api/v1/whoami").header("X-CSRFToken", &csrf);
    assert_eq!(by(view), (json!("POST"), json!("SessionAuthentication")));
    // No CSRF token is needed, even if a browser's cookie is sent too.
    for request in
        [client.post("/api/v1/whoami"), client.post("/api/v1/whoami").cookie(COOKIE, &cookie)]
    {
        let seen = by(request.bearer(&access));
        assert_eq!(seen, (json!("POST"), json!("JWTAuthentication")));
    }
    let refused = browser("/api/v1/whoami");
    assert_eq!(report(&refused)["rest_framework"]["status"], 403, "the browser's needs one");
}

#[test]
fn who_comes_with_a_token_of_the_services_gets_every_form_but_a_session() {
    let django = Django::start();
    django.run(
        "from rest_framework.authtoken.models import Token\n\
         Token.objects.create(user=User.objects.get(username='kim'), key='k' * 40)",
    );
    let pair = Client::new(django.address)
        .post("/api/v1/users/login/simpleJWT")
        .json(&json!({"username": "kim", "password": "kim-pass-1234"}))
        .send()
        .json();
    let theirs = pair["access"].as_str().unwrap();
    let key = "danger_weak_key = true\nkey_file = \"{folder}/secret-key\"\n";
    let issuer = format!("[[issuer]]\nkind = \"simplejwt\"\n{key}");
    let minted =
        |kind: &str| format!("[[identity.form]]\nname = \"form\"\nkind = \"{kind}\"\n{key}");
    let plain = |kind: &str| format!("[[identity.form]]\nname = \"form\"\nkind = \"{kind}\"\n");
    for (form, name, by) in [
        (plain("remote-user"), "HTTP_REMOTE_USER", Value::Null),
        (minted("simplejwt"), "HTTP_AUTHORIZATION", json!("JWTAuthentication")),
        (minted("jwt"), "HTTP_JWT_AUTH", json!("JWTAuthentication")),
        (plain("drf-token"), "HTTP_AUTHORIZATION", json!("TokenAuthentication")),
    ] {
        let (_folder, setup) = setup(&django, &format!("{form}{issuer}"), "\"form\"");
        let gateway = setup.start();
        let seen = report(&gateway.client().get("/api/v1/whoami").bearer(theirs));
        assert!(seen["meta"][name].is_string(), "{form}: {seen}");
        assert_eq!(seen["rest_framework"]["by"], by, "{form}");
        assert!(!seen.to_string().contains(theirs), "the client's own stays here");
    }
    let form = format!("{}{issuer}", session(""));
    let (_folder, setup) = setup(&django, &form, "\"form\"".replace("form", "session").as_str());
    let gateway = setup.start();
    let refused = gateway.client().get("/api/v1/whoami").bearer(theirs).send();
    assert_eq!((refused.status, refused.code().as_str()), (503, "identity_unavailable"));
}
