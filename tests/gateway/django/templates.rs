//! Tests what a service's own serializers add, from templates: members of the answer to a sign-in, claims of the gateway's
//! tokens, and claims of tokens that the service verifies.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::report;
use crate::support::django::Django;

const OBTAIN: &str = "/api/v1/users/login/simpleJWT";

/// The service's `SECRET_KEY`.
const SECRET_KEY: &str = "django-insecure-development-key-of-the-legacy-service\n";

/// Returns the claims of a token, unverified.
fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

#[test]
fn answers_and_tokens_have_what_templates_say() {
    let django = Django::shared();
    let gateway = django
        .setup()
        .file("secret-key", SECRET_KEY.as_bytes())
        .routes(
            "[[route]]\nname = \"app\"\npath = \"/\"\nupstream = \"app\"\nidentity = [\"drf\", \"hand\"]\n",
        )
        .with(&format!(
            "[[paths.alias]]\npath = \"{OBTAIN}\"\nto = \"login\"\n\
             extra = {{ user_id = \"{{user.id:int}}\", username = \"{{user.name}}\", groups = \"{{user.groups}}\", \
             is_staff = \"{{user.staff}}\", email = \"{{user.email}}\", api = \"v1\" }}\n\
             [tokens]\nclaims = {{ username = \"{{user.name}}\", staff = \"{{user.staff}}\" }}\n\
             [[identity.form]]\nname = \"drf\"\nkind = \"simplejwt\"\nkey_file = \"secret-key\"\n\
             danger_weak_key = true\nclaims = {{ username = \"{{user.name}}\", roles = \"{{user.groups}}\" }}\n\
             [[identity.form]]\nname = \"hand\"\nkind = \"jwt\"\nkey_file = \"secret-key\"\n\
             danger_weak_key = true\nclaims = {{ greeting = \"{{user.name}} of {{user.directory}}\" }}\n"
        ))
        .start();
    let client = gateway.client();
    let credentials = json!({"username": "kim", "password": "kim-pass-1234"});
    let answer = client.post(OBTAIN).json(&credentials).send().json();
    for (name, value) in [
        ("user_id", json!(2)),
        ("username", json!("kim")),
        ("groups", json!(["editors"])),
        ("is_staff", json!(false)),
        ("email", json!("kim@example.com")),
        ("api", json!("v1")),
    ] {
        assert_eq!(answer[name], value, "{name} of {answer}");
    }
    let access = answer["access"].as_str().unwrap();
    let ours = claims(access);
    assert_eq!((&ours["username"], &ours["staff"]), (&json!("kim"), &json!(false)));
    let refresh = json!({"refresh": answer["refresh"]});
    let refreshed = client.post("/refresh").json(&refresh).send().json();
    assert_eq!(claims(refreshed["access"].as_str().unwrap())["username"], "kim");

    let seen = report(&client.get("/api/v1/whoami").bearer(access));
    assert_eq!(seen["rest_framework"]["user"]["username"], "kim", "{seen}");
    let minted = claims(seen["meta"]["HTTP_AUTHORIZATION"].as_str().unwrap());
    assert_eq!((&minted["username"], &minted["roles"]), (&json!("kim"), &json!(["editors"])));
    let made = claims(seen["meta"]["HTTP_JWT_AUTH"].as_str().unwrap());
    assert_eq!(made["greeting"], "kim of django");

    let plain = client.post("/login").json(&credentials).send().json();
    assert_eq!(plain.get("user_id"), None, "only the alias says so");
}
