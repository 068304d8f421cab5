//! Tests refresh tokens that Django issued before the gateway came: each is taken over once, and then treated as the
//! service's own settings say.

use std::sync::Arc;
use std::thread;

use serde_json::{Value, json};

use crate::support::client::{Client, Response};
use crate::support::django::{Django, TOKEN_BLACKLIST};
use crate::support::eventually;
use crate::support::gateway::{Gateway, Setup};

const OBTAIN: &str = "/api/v1/users/login/simpleJWT";
/// The paths of the service that the gateway answers, as it does without rotation.
const REFRESH: &str = "/api/v1/users/login/simpleJWT/refresh";
const BLACKLIST: &str = "/api/v1/users/login/simpleJWT/blacklist";

/// The service's `SECRET_KEY`.
const SECRET_KEY: &str = "django-insecure-development-key-of-the-legacy-service\n";

/// Returns a gateway with further keys for its issuer. `/refresh` rotates, the service's own path does not.
fn setup(django: &Django, issuer: &str) -> Setup {
    let aliases = format!(
        "[[paths.alias]]\npath = \"{REFRESH}\"\nto = \"refresh\"\nrotation = \"none\"\n\
         [[paths.alias]]\npath = \"{BLACKLIST}\"\nto = \"blacklist\"\n"
    );
    django.setup_with("refresh_interval = \"1s\"").file("secret-key", SECRET_KEY.as_bytes()).with(
        &format!(
            "{aliases}[[issuer]]\nkind = \"simplejwt\"\nkey_file = \"secret-key\"\n\
         adopt_refresh_tokens = true\n{issuer}\n"
        ),
    )
}

/// Returns the refresh token that Django itself issues to a user.
fn at_django(django: &Django, name: &str) -> String {
    let body = json!({"username": name, "password": format!("{name}-pass-1234")});
    let response = Client::new(django.address).post(OBTAIN).json(&body).send();
    assert_eq!(response.status, 200, "{}", response.text());
    text(&response, "refresh")
}

fn text(response: &Response, member: &str) -> String {
    response.json()[member].as_str().unwrap_or_else(|| panic!("{}", response.text())).to_owned()
}

fn post(client: &Client, path: &str, token: &str) -> Response {
    client.post(path).json(&json!({"refresh": token})).send()
}

/// Returns the user and session that the service's view received for a caller with this access token.
fn seen(client: &Client, access: &str) -> Option<(Value, Value)> {
    let response = client.get("/api/v1/whoami").bearer(access).send();
    let meta = (response.status == 200).then(|| response.json()["meta"].clone())?;
    Some((meta["HTTP_X_USER_NAME"].clone(), meta["HTTP_X_SESSION_ID"].clone()))
}

fn refused(response: &Response, status: u16, code: &str, detail: &str) {
    let body = response.json();
    assert_eq!((response.status, body["detail"].as_str()), (status, Some(detail)), "{body}");
    // SimpleJWT gives some of its refusals no code.
    assert_eq!(body["code"].as_str(), (!code.is_empty()).then_some(code), "{body}");
}

fn is_blacklisted(response: &Response) {
    refused(response, 401, "token_not_valid", "Token is blacklisted");
}

fn audited(gateway: &Gateway, event: &str) {
    gateway.logged(event, |line| line["target"] == "audit" && line["event"] == event);
}

#[test]
fn without_rotation_the_same_token_goes_on_until_it_is_signed_out() {
    let django = Django::start_with(&[TOKEN_BLACKLIST]);
    let tokens: Vec<_> = ["kim", "kim", "lee"].map(|name| at_django(&django, name)).into();
    let gateway = setup(&django, "").start();
    let client = gateway.client();

    let mut sessions = Vec::new();
    for _ in 0..3 {
        let response = post(&client, REFRESH, &tokens[0]);
        assert_eq!(response.status, 200, "{}", response.text());
        let members: Vec<_> = response.json().as_object().unwrap().keys().cloned().collect();
        assert_eq!(members, ["access"]);
        let (name, session) = seen(&client, &text(&response, "access")).unwrap();
        assert_eq!(name, "kim");
        sessions.push(session);
    }
    assert!(sessions.iter().all(|session| *session == sessions[0]), "{sessions:?}");
    audited(&gateway, "taken_over");
    gateway.counts("doorwarden_sessions_taken_over_total", 1.0);
    let verified = client.post("/verify").json(&json!({"token": tokens[0]})).send();
    assert_eq!((verified.status, verified.json()), (200, json!({})));

    // One ends with /logout, one at the service's path, one before it was ever presented.
    let access = text(&post(&client, REFRESH, &tokens[0]), "access");
    assert_eq!(post(&client, "/logout", &tokens[0]).status, 204);
    assert_eq!(seen(&client, &access), None, "with everything that came of it");
    let access = text(&post(&client, REFRESH, &tokens[1]), "access");
    let ended = post(&client, BLACKLIST, &tokens[1]);
    assert_eq!((ended.status, ended.json()), (200, json!({})));
    assert_eq!(seen(&client, &access), None);
    assert_eq!(post(&client, BLACKLIST, &tokens[2]).status, 200);
    for token in &tokens {
        for path in [REFRESH, "/refresh", BLACKLIST] {
            is_blacklisted(&post(&client, path, token));
        }
        is_blacklisted(&client.post("/verify").json(&json!({"token": token})).send());
        assert_eq!(post(&client, "/logout", token).status, 204, "it is signed out");
    }
    gateway.counts("doorwarden_sessions_taken_over_total", 2.0);
}

#[test]
fn with_rotation_twenty_callers_get_one_successor_and_a_replay_ends_it() {
    let django = Django::start();
    let (raced, replayed) = (at_django(&django, "kim"), at_django(&django, "kim"));
    let gateway = setup(&django, "").start();
    let racing: Vec<_> = (0..20)
        .map(|_| {
            let (client, token) = (gateway.client(), raced.clone());
            thread::spawn(move || post(&client, "/refresh", &token))
        })
        .collect();
    let answers: Vec<Response> = racing.into_iter().map(|one| one.join().unwrap()).collect();
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert!(answers.iter().all(|answer| answer.json() == answers[0].json()), "one answer for all");
    for (result, count) in [("rotated", 1.0), ("replayed_in_grace", 19.0)] {
        gateway.counts(&format!("doorwarden_refreshes_total{{result=\"{result}\"}}"), count);
    }
    gateway.counts("doorwarden_sessions_taken_over_total", 1.0);
    let client = gateway.client();
    let next = post(&client, "/refresh", &text(&answers[0], "refresh"));
    assert_eq!(next.status, 200, "{}", next.text());
    drop(gateway);

    let gateway = setup(&django, "[tokens]\nrefresh_grace = \"0s\"").start();
    let client = gateway.client();
    let first = post(&client, "/refresh", &replayed);
    let access = text(&first, "access");
    assert!(seen(&client, &access).is_some());
    is_blacklisted(&post(&client, "/refresh", &replayed));
    audited(&gateway, "refresh_reused");
    assert_eq!(seen(&client, &access), None);
    is_blacklisted(&post(&client, "/refresh", &text(&first, "refresh")));
}

#[test]
fn what_django_took_back_is_refused_and_a_dead_database_is_no_answer() {
    let django = Django::start_with(&[TOKEN_BLACKLIST]);
    let [back, taken, later] = ["kim", "kim", "lee"].map(|name| at_django(&django, name));
    let taken_back = post(&Client::new(django.address), BLACKLIST, &back);
    assert_eq!(taken_back.status, 200, "{}", taken_back.text());
    let gateway = setup(&django, "blacklist = true").start();
    let client = gateway.client();
    is_blacklisted(&post(&client, REFRESH, &back));
    is_blacklisted(&client.post("/verify").json(&json!({"token": back})).send());
    assert_eq!(post(&client, REFRESH, &taken).status, 200);

    let away = django.database().with_extension("away");
    std::fs::rename(django.database(), &away).unwrap();
    eventually("the file to be missed", || {
        (post(&client, REFRESH, &later).status == 503).then_some(())
    });
    assert_eq!(post(&client, REFRESH, &back).status, 503, "never a pass, and never a no");
    assert_eq!(post(&client, REFRESH, &taken).status, 200, "it has a session");
    std::fs::rename(&away, django.database()).unwrap();
    eventually("the file to be back", || {
        (post(&client, REFRESH, &later).status == 200).then_some(())
    });
    is_blacklisted(&post(&client, REFRESH, &back));
}

#[test]
fn another_password_or_an_inactive_user_begins_nothing_and_ends_what_began() {
    let django = Django::start_with(&[("DJANGO_SIMPLE_JWT", "{\"CHECK_REVOKE_TOKEN\": true}")]);
    let names = ["kim", "lee", "park", "choi"];
    let [kim, lee, park, choi] = names.map(|name| at_django(&django, name));
    let gateway = setup(&django, "check_revoke_token = true").start();
    let client = gateway.client();
    for begun in [&lee, &choi] {
        assert_eq!(post(&client, REFRESH, begun).status, 200);
    }
    django.run(
        "for name in ('kim', 'lee'):\n    \
             user = User.objects.get(username=name); user.set_password('another'); user.save()\n\
         User.objects.filter(username__in=('park', 'choi')).update(is_active=False)\n",
    );
    refused(&post(&client, REFRESH, &kim), 401, "token_not_valid", "Token is invalid");
    let inactive = "No active account found for the given token.";
    refused(&post(&client, REFRESH, &park), 401, "", inactive);
    assert_eq!(
        post(&Client::new(django.address), REFRESH, &park).json()["detail"],
        json!(inactive),
        "as Django says it"
    );
    for begun in [&lee, &choi] {
        eventually("its session to end", || {
            (post(&client, REFRESH, begun).status == 401).then_some(())
        });
        is_blacklisted(&post(&client, REFRESH, begun));
    }
    let anew = json!({"username": "kim", "password": "another"});
    let token = text(&Client::new(django.address).post(OBTAIN).json(&anew).send(), "refresh");
    assert_eq!(post(&client, REFRESH, &token).status, 200, "one from after the change is good");
}

#[test]
fn killed_after_a_take_over_it_has_lost_nothing() {
    let django = Django::start();
    let [kept, rotated, ended] = ["kim", "lee", "park"].map(|name| at_django(&django, name));
    let mut gateway = setup(&django, "[tokens]\nrefresh_grace = \"60s\"").start();
    let client = gateway.client();
    let session = seen(&client, &text(&post(&client, REFRESH, &kept), "access")).unwrap();
    let pair = post(&client, "/refresh", &rotated);
    assert_eq!(post(&client, BLACKLIST, &ended).status, 200);
    gateway.kill();
    gateway.spawn();

    let client = gateway.client();
    let again = post(&client, REFRESH, &kept);
    assert_eq!(seen(&client, &text(&again, "access")), Some(session), "the same session");
    let replayed = post(&client, "/refresh", &rotated);
    assert_eq!(replayed.json(), pair.json(), "the sealed answer of before");
    assert_eq!(post(&client, "/refresh", &text(&pair, "refresh")).status, 200);
    is_blacklisted(&post(&client, REFRESH, &ended));
}

#[test]
fn under_load_a_kill_leaves_each_token_with_its_one_session() {
    const TOKENS: usize = 24;
    let django = Django::start();
    let tokens: Arc<[String]> = (0..TOKENS).map(|_| at_django(&django, "kim")).collect();
    let mut gateway = setup(&django, "[tokens]\nrefresh_grace = \"60s\"").start();
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (client, tokens) = (gateway.client(), Arc::clone(&tokens));
            thread::spawn(move || {
                let send = |token: &String| {
                    client.post("/refresh").json(&json!({"refresh": token})).try_send()
                };
                tokens.iter().map_while(send).collect::<Vec<Response>>()
            })
        })
        .collect();
    eventually("some to be taken over", || {
        gateway.metric("doorwarden_sessions_taken_over_total").filter(|taken| *taken >= 4.0)
    });
    gateway.kill();
    let known: Vec<_> = clients.into_iter().map(|client| client.join().unwrap()).collect();
    gateway.spawn();
    let client = gateway.client();
    for (number, token) in tokens.iter().enumerate() {
        let after = post(&client, "/refresh", token);
        assert_eq!(after.status, 200, "{}", after.text());
        for answers in &known {
            if let Some(before) = answers.get(number) {
                assert_eq!(before.json(), after.json(), "what was acknowledged still holds");
            }
        }
        assert_eq!(post(&client, "/refresh", &text(&after, "refresh")).status, 200);
    }
}

#[test]
fn it_is_good_until_its_own_end_and_not_longer() {
    let lifetimes = "{\"REFRESH_TOKEN_LIFETIME\": 2}";
    let django = Django::start_with(&[("DJANGO_SIMPLE_JWT", lifetimes)]);
    let gateway = setup(&django, "").start();
    let client = gateway.client();
    let token = at_django(&django, "kim");
    // On a slow machine it may have expired already. Then nothing was taken over, and the rest holds as well.
    let first = post(&client, REFRESH, &token);
    assert!([200, 401].contains(&first.status), "{}", first.text());
    eventually("its end", || (post(&client, REFRESH, &token).status == 401).then_some(()));
    refused(&post(&client, REFRESH, &token), 401, "token_not_valid", "Token is expired");
    let at_django = post(&Client::new(django.address), REFRESH, &token);
    assert_eq!(at_django.json()["detail"], "Token is expired");
}
