//! What a real Django takes for the caller, in each of the forms that a route can have.

use serde_json::{Value, json};

use crate::support::client::{Client, Request};
use crate::support::django::Django;
use crate::support::gateway::Setup;

const COOKIE: &str = "__Host-doorwarden";

/// A gateway in front of the service, with these forms; `route` is what its one signed-in route says besides.
fn setup(django: &Django, forms: &str, route: &str) -> Setup {
    django
        .setup()
        .routes(&format!(
            "[[route]]\nname = \"public\"\npath = \"/public/\"\nupstream = \"app\"\naccess = \"public\"\n{route}\n\
             [[route]]\nname = \"app\"\npath = \"/\"\nupstream = \"app\"\n{route}\n"
        ))
        .with(forms)
}

/// Signs a user in; the access token and the session cookie.
fn enter(client: &Client, name: &str, password: &str) -> (String, String) {
    let response =
        client.post("/login").json(&json!({"username": name, "password": password})).send();
    assert_eq!(response.status, 200, "{name}: {}", response.text());
    let access = response.json()["access"].as_str().unwrap().to_owned();
    (access, response.set_cookie(COOKIE).unwrap())
}

/// What a view was given.
fn report(request: &Request) -> Value {
    let response = request.send();
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()
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
