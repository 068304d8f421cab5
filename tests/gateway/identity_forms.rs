//! What a real Django takes for the caller, in each of the forms that a route can have.

use serde_json::{Value, json};

use crate::support::client::{Client, Request};
use crate::support::django::Django;
use crate::support::gateway::{Setup, write_private};

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

/// The service's `SECRET_KEY`, which is one for development.
const SECRET_KEY: &str = "django-insecure-development-key-of-the-legacy-service";

/// A folder with that key in a file, and a block that mints with it.
fn minting(kind: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret-key");
    write_private(&file, &format!("{SECRET_KEY}\n"));
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

        // A token that the service would accept, got from the service: a client's own is not passed on.
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
