//! Tests `sign_in.observe.tokens`: tokens that the service's own views issue are sessions here, as its cookies are.

use serde_json::{Value, json};

use super::adopted::{end, ended, listed, rechecked};
use super::follow::ISSUER;
use super::report;
use crate::support::client::{Client, Response};
use crate::support::django::{Django, TOKEN_BLACKLIST};
use crate::support::eventually;
use crate::support::gateway::{Gateway, Setup};
use crate::support::mmdb::country_database;

const SECRET_KEY: &str = "django-insecure-development-key-of-the-legacy-service\n";
const OBTAIN: &str = "/api/v1/users/login/simpleJWT";
const REFRESH: &str = "/api/v1/users/login/simpleJWT/refresh";

fn setup(django: &Django) -> Setup {
    let routes = "
        [[route]]
        name = \"tokens\"
        path = \"/api/v1/users/login\"
        upstream = \"app\"
        access = \"public\"
        [[route]]
        name = \"login\"
        path = \"/admin/login/\"
        upstream = \"app\"
        access = \"public\"
        [[route]]
        name = \"app\"
        path = \"/\"
        upstream = \"app\"";
    django
        .setup_with("refresh_interval = \"1s\"")
        .routes(routes)
        .file("secret-key", SECRET_KEY.as_bytes())
        .with(&format!(
            "{ISSUER}
            [[issuer]]
            kind = \"simplejwt\"
            key_file = \"secret-key\"
            danger_weak_key = true
            [sign_in]
            mode = \"follow\"
            login_path = \"/admin/login/\"
            [[sign_in.observe]]
            kind = \"sign-in\"
            path = \"{OBTAIN}\"
            tokens = \"simplejwt\"
            success = {{ status = [200] }}
            [[sign_in.observe]]
            kind = \"refresh\"
            path = \"{REFRESH}\"
            tokens = \"simplejwt\"
            [login]
            account_failures = 3
            backoff_initial = \"1m\""
        ))
}

fn obtain(client: &Client, name: &str, password: &str) -> Response {
    client.post(OBTAIN).json(&json!({"username": name, "password": password})).send()
}

/// Signs in, and returns the access and the refresh token.
fn tokens(client: &Client, name: &str) -> (String, String) {
    let answer = obtain(client, name, &format!("{name}-pass-1234"));
    assert_eq!(answer.status, 200, "{}", answer.text());
    let text = |member: &str| answer.json()[member].as_str().unwrap().to_owned();
    (text("access"), text("refresh"))
}

fn refresh(client: &Client, token: &str) -> Response {
    client.post(REFRESH).json(&json!({"refresh": token})).send()
}

fn whoami(client: &Client, access: &str) -> Response {
    client.get("/api/v1/whoami").bearer(access).send()
}

fn seen(client: &Client, access: &str) -> Value {
    report(&client.get("/api/v1/whoami").bearer(access))
}

fn one(gateway: &Gateway) -> (String, String, Value) {
    eventually("the session", || listed(gateway).first().cloned())
}

#[test]
fn tokens_that_the_service_gives_are_one_session_and_end_with_it() {
    let django = Django::start();
    let mut gateway = setup(&django).start();
    let client = gateway.client();
    let (access, first) = tokens(&client, "kim");
    let (id, name, issuer) = one(&gateway);
    assert_eq!((name.as_str(), &issuer), ("kim", &json!("simplejwt")));
    gateway.logged("the adoption", |line| {
        line["event"] == "adopted" && line["session"] == *id && line["reason"] == "answer"
    });
    // The view sees the user by the token, and the gateway's headers name the same user.
    let kim = seen(&client, &access);
    assert_eq!(kim["rest_framework"]["user"]["username"], "kim", "{kim}");
    assert_eq!(kim["meta"]["HTTP_X_USER_NAME"], "kim");
    assert_eq!(kim["meta"]["HTTP_X_SESSION_ID"], id.as_str());

    // However often and concurrently the token is refreshed, the session stays the same.
    let again: Vec<String> = (0..3)
        .map(|_| refresh(&client, &first).json()["access"].as_str().unwrap().to_owned())
        .collect();
    for access in &again {
        assert_eq!(seen(&client, access)["meta"]["HTTP_X_SESSION_ID"], id.as_str());
    }
    assert_eq!(listed(&gateway).len(), 1);

    end(&gateway, &id);
    let refused = refresh(&client, &first);
    assert_eq!(refused.status, 401, "the service is not asked: {}", refused.text());
    // This holds after a crash, too.
    for round in 0..2 {
        let client = gateway.client();
        for access in again.iter().chain([&access]) {
            assert_eq!(whoami(&client, access).status, 401, "{round}");
        }
        assert_eq!(refresh(&client, &first).status, 401, "{round}");
        assert_eq!(listed(&gateway), [], "{round}");
        if round == 0 {
            gateway.kill();
            gateway.spawn();
        }
    }
    // The service itself still accepts the token.
    let direct = Client::new(django.address);
    assert_eq!(direct.post(REFRESH).json(&json!({"refresh": first})).send().status, 200);
    // Signing in again creates another session.
    let client = gateway.client();
    let (access, _) = tokens(&client, "kim");
    assert_eq!(seen(&client, &access)["rest_framework"]["user"]["username"], "kim");
    assert_ne!(one(&gateway).0, id);
}

#[test]
fn rotated_refresh_tokens_are_the_same_session_and_old_ones_lead_nowhere() {
    let rotates = "{\"ROTATE_REFRESH_TOKENS\": true}";
    for blacklist in [false, true] {
        let mut variables = vec![("DJANGO_SIMPLE_JWT", rotates)];
        variables.extend(blacklist.then_some(TOKEN_BLACKLIST));
        let django = Django::start_with(&variables);
        let mut gateway = setup(&django).start();
        let client = gateway.client();
        let (_, first) = tokens(&client, "kim");
        let (id, ..) = one(&gateway);
        let mut current = first.clone();
        for _ in 0..3 {
            let answer = refresh(&client, &current).json();
            let access = answer["access"].as_str().unwrap();
            assert_eq!(seen(&client, access)["meta"]["HTTP_X_SESSION_ID"], id.as_str());
            current = answer["refresh"].as_str().unwrap().to_owned();
            assert_ne!(current, first);
        }
        // Rotations are written while the answers are sent, so only recorded ones are certain to survive a crash.
        let rotated = "doorwarden_sessions_adopted_total{how=\"rotated\"}";
        eventually("each to be told", || (gateway.metric(rotated) == Some(3.0)).then_some(()));
        assert_eq!(listed(&gateway).len(), 1);
        let before = refresh(&client, &first).status;
        assert_eq!(before, if blacklist { 401 } else { 200 }, "as the service says");
        assert_eq!(listed(&gateway).len(), 1, "and no other session comes of it");

        end(&gateway, &id);
        for round in 0..2 {
            let client = gateway.client();
            for token in [&first, &current] {
                assert_eq!(refresh(&client, token).status, 401, "{blacklist} {round}");
            }
            assert_eq!(listed(&gateway), [], "{blacklist} {round}");
            if round == 0 {
                gateway.kill();
                gateway.spawn();
            }
        }
    }
}

#[test]
fn a_refresh_token_from_before_the_gateway_begins_a_session_at_its_first_refresh() {
    let django = Django::start();
    let gateway = setup(&django).start();
    let (client, direct) = (gateway.client(), Client::new(django.address));
    let (access, first) = tokens(&direct, "kim");
    // A token whose issue was not observed is a credential without a session, as usual.
    assert_eq!(seen(&client, &access)["meta"]["HTTP_X_SESSION_ID"], "");
    assert_eq!(listed(&gateway), []);
    let access = refresh(&client, &first).json()["access"].as_str().unwrap().to_owned();
    let (id, ..) = one(&gateway);
    assert_eq!(seen(&client, &access)["meta"]["HTTP_X_SESSION_ID"], id.as_str());
    gateway.logged("the adoption", |line| {
        line["event"] == "adopted" && line["session"] == *id && line["reason"] == "first_use"
    });
    // Ending all sessions of a user ends it, and the gateway refuses older refresh tokens.
    let (_, another) = tokens(&direct, "kim");
    let answer =
        gateway.operator("POST", "/sessions/end").json(&json!({"user": "django/2"})).send();
    assert_eq!(answer.json()["ended"], 1, "{}", answer.text());
    assert_eq!(whoami(&client, &access).status, 401);
    assert_eq!(refresh(&client, &another).status, 401, "issued before that");
}

#[test]
fn what_ends_a_cookies_session_ends_a_tokens() {
    let django = Django::start();
    let countries = country_database(&[("1.0.0.0/8", "KR"), ("2.0.0.0/8", "US")]);
    let gateway = setup(&django)
        .behind_a_proxy()
        .file("countries.mmdb", &countries)
        .with(
            "[geo]\ncountry_database = \"countries.mmdb\"\n[detect.token_countries]\naction = \"end_session\"",
        )
        .start();
    let client = gateway.client();
    // The lockout is the same as for all sign-ins.
    for _ in 0..3 {
        assert_eq!(obtain(&client, "lee", "wrong").status, 401);
    }
    let locked = obtain(&client, "lee", "lee-pass-1234");
    assert_eq!((locked.status, locked.code().as_str()), (429, "too_many_attempts"));
    // Detectors see where the tokens are used.
    let (access, _) = tokens(&client, "kim");
    let (id, ..) = one(&gateway);
    let from = |address: &str| {
        let request = client.get("/api/v1/whoami").bearer(&access);
        let request = request.header("User-Agent", &format!("Client/{address}"));
        request.header("X-Forwarded-For", address).send().status
    };
    assert_eq!((from("1.0.0.1"), from("2.0.0.1")), (200, 200));
    ended(&gateway, &id, "detected");
    assert_eq!(from("1.0.0.1"), 401);
    // A changed password ends the session at the directory's next recheck.
    let (access, first) = tokens(&client, "kim");
    one(&gateway);
    django.run("u = User.objects.get(username='kim'); u.set_password('another-1234'); u.save()");
    eventually("the session to end", || listed(&gateway).is_empty().then_some(()));
    assert_eq!(whoami(&client, &access).status, 401);
    assert_eq!(refresh(&client, &first).status, 401);
}

#[test]
fn only_what_is_asked_for_is_read_and_all_of_it_goes_on_untouched() {
    let django = Django::start();
    let direct = Client::new(django.address);
    let gateway = setup(&django)
        .with(
            "[[sign_in.observe]]\nkind = \"sign-in\"\npath = \"/api/v1/users/login/jwt\"\nsuccess = { status = [200] }",
        )
        .start();
    let client = gateway.client();
    let members = |answer: &Response| -> Vec<String> {
        answer.json().as_object().unwrap().keys().cloned().collect()
    };
    let body = json!({"username": "kim", "password": "kim-pass-1234"});
    let (here, there) = (client.post(OBTAIN).json(&body), direct.post(OBTAIN).json(&body));
    let (here, there) = (here.send(), there.send());
    assert_eq!((here.status, members(&here)), (there.status, members(&there)));
    assert_eq!(here.header("content-length"), there.header("content-length"));
    one(&gateway);
    // The service's own refusal is passed on unchanged.
    let (here, there) = (refresh(&client, "no-token"), {
        direct.post(REFRESH).json(&json!({"refresh": "no-token"})).send()
    });
    assert_eq!((here.status, here.text()), (there.status, there.text()));
    // Where no tokens are configured, the body is not read.
    let before = listed(&gateway).len();
    assert_eq!(client.post("/api/v1/users/login/jwt").json(&body).send().status, 200);
    rechecked(&gateway);
    assert_eq!(listed(&gateway).len(), before);
}
