//! Tests that changes in Django's own tables reach its users' sessions within `refresh_interval`, whoever made them.

use serde_json::{Value, json};

use super::{COOKIE, enter, report};
use crate::support::client::{Client, Response};
use crate::support::django::Django;
use crate::support::eventually;

/// The interval is short, so that the tests are.
const RECHECK: &str = "refresh_interval = \"1s\"";

struct SignedIn {
    name: &'static str,
    access: String,
    refresh: Value,
    cookie: String,
}

fn all_tokens(client: &Client, name: &'static str) -> SignedIn {
    let password = format!("{name}-pass-1234");
    let response =
        client.post("/login").json(&json!({"username": name, "password": password})).send();
    assert_eq!(response.status, 200, "{name}: {}", response.text());
    let body = response.json();
    SignedIn {
        name,
        access: body["access"].as_str().unwrap().into(),
        refresh: body["refresh"].clone(),
        cookie: response.set_cookie(COOKIE).unwrap(),
    }
}

/// Returns the status that each credential of the user gets: access token, cookie, refresh token.
fn answers(client: &Client, user: &SignedIn) -> [u16; 3] {
    let status = |response: Response| response.status;
    [
        status(client.get("/api/v1/whoami").bearer(&user.access).send()),
        status(client.get("/api/v1/whoami").cookie(COOKIE, &user.cookie).send()),
        status(client.post("/refresh").json(&json!({"refresh": user.refresh})).send()),
    ]
}

#[test]
fn a_users_sessions_end_with_the_password_the_flag_and_the_row() {
    let django = Django::start();
    let gateway = django.setup_with(RECHECK).start();
    let client = gateway.client();
    let ended: Vec<_> =
        ["kim", "park", "choi"].into_iter().map(|name| all_tokens(&client, name)).collect();
    let untouched = all_tokens(&client, "lee");

    django.run(
        "kim = User.objects.get(username='kim'); kim.set_password('another-pass-1234'); kim.save()\n\
         User.objects.filter(username='park').update(is_active=False)\n\
         User.objects.get(username='choi').delete()\n",
    );
    for user in &ended {
        eventually(&format!("the sessions of {} to end", user.name), || {
            let bearer = client.get("/api/v1/whoami").bearer(&user.access).send();
            (bearer.status == 401).then_some(())
        });
        assert_eq!(answers(&client, user), [401; 3], "{}", user.name);
        gateway.logged("the end of the session", |line| {
            line["target"] == "audit" && line["reason"] == "directory_changed"
        });
    }
    assert_eq!(answers(&client, &untouched), [200; 3]);

    // Signing in uses the password that Django has now.
    for (name, password, status) in [
        ("kim", "kim-pass-1234", 401),
        ("kim", "another-pass-1234", 200),
        ("park", "park-pass-1234", 401),
        ("choi", "choi-pass-1234", 401),
    ] {
        let response =
            client.post("/login").json(&json!({"username": name, "password": password})).send();
        assert_eq!(response.status, status, "{name} with {password}");
    }
}

#[test]
fn changed_groups_and_names_are_seen_by_the_same_session() {
    let django = Django::start();
    let gateway = django
        .setup_with(RECHECK)
        .route("name = \"review\"\npath = \"/api/v1/whoami/review/\"\ngroups = [\"reviewers\"]")
        .start();
    let client = gateway.client();
    let (access, _) = enter(&client, "lee", "lee-pass-1234");
    let review = || client.get("/api/v1/whoami/review/1").bearer(&access).send().status;
    assert_eq!(review(), 200);

    django.run(
        "lee = User.objects.get(username='lee')\n\
         lee.groups.set([Group.objects.get_or_create(name='a, b')[0], Group.objects.get(name='editors')])\n\
         lee.username = '이'; lee.save()\n",
    );
    eventually("the group to be gone", || (review() == 403).then_some(()));
    let report = report(&client.get("/api/v1/whoami").bearer(&access));
    assert_eq!(report["meta"]["HTTP_X_USER_GROUPS"], "a%2C b,editors");
    assert_eq!(report["meta"]["HTTP_X_USER_NAME"], "%EC%9D%B4");
    assert_eq!(report["meta"]["HTTP_X_USER_ID"], "3", "the same user");
}
