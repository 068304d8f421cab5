//! Tests tokens that the service checks by rules of its own: the gateway leaves them to the service.

use serde_json::{Value, json};

use super::kim;
use crate::support::client::{Client, Response};
use crate::support::django::Django;

const SECRET_KEY: &str = "django-insecure-development-key-of-the-legacy-service\n";

/// Returns SimpleJWT's access token, from Django itself.
fn at_django(django: &Django) -> String {
    let response = Client::new(django.address)
        .post("/api/v1/users/login/simpleJWT")
        .json(&json!({"username": "lee", "password": "lee-pass-1234"}))
        .send();
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()["access"].as_str().unwrap().to_owned()
}

#[test]
fn a_token_that_the_service_judges_by_rules_of_its_own_is_left_to_it() {
    let django = Django::start();
    let key = "key_file = \"secret-key\"";
    let gateway = django
        .setup()
        .file("secret-key", SECRET_KEY.as_bytes())
        .with(&format!("[[issuer]]\nkind = \"simplejwt\"\n{key}\n"))
        .with(&format!("[[identity.form]]\nname = \"minted\"\nkind = \"simplejwt\"\n{key}\ndanger_weak_key = true\n"))
        .route(
            "name = \"open\"\npath = \"/api/\"\nhosts = [\"open.test\"]\naccess = \"optional\"\n\
             credentials = [\"cookie\"]",
        )
        .route(
            "name = \"closed\"\npath = \"/api/\"\nhosts = [\"closed.test\"]\n\
             credentials = [\"cookie\"]",
        )
        .route(
            "name = \"told\"\npath = \"/api/\"\nhosts = [\"told.test\"]\naccess = \"optional\"\n\
             credentials = [\"cookie\"]\nidentity = \"minted\"",
        )
        .start();
    let client = gateway.client();
    let token = at_django(&django);
    let whoami = |host: &str| client.get("/api/v1/whoami").host(host);
    let user = |report: &Value| report["rest_framework"]["user"]["username"].clone();

    // The service checks the token, and the gateway sends no identity.
    let report = whoami("open.test").bearer(&token).send().json();
    assert_eq!((user(&report), &report["meta"]["HTTP_X_USER_ID"]), (json!("lee"), &Value::Null));
    // The client gets the service's own verdict.
    let forged = format!("{token}x");
    let (through, direct) = (
        whoami("open.test").bearer(&forged).send(),
        Client::new(django.address).get("/api/v1/whoami").bearer(&forged).send(),
    );
    let judged = |answer: &Response| (answer.status, answer.json()["rest_framework"].clone());
    assert_eq!(judged(&through), judged(&direct));
    // The token gives no access to a protected route.
    let refused = whoami("closed.test").bearer(&token).send();
    assert_eq!((refused.status, refused.code().as_str()), (401, "not_authenticated"));
    // Where a form conveys the identity, the token is removed: the caller is anonymous here.
    let report = whoami("told.test").bearer(&token).send().json();
    assert_eq!(user(&report), Value::Null);

    let (_, cookie) = kim(&client);
    let with_cookie = |host: &str| whoami(host).cookie(super::COOKIE, &cookie).bearer(&token);
    let report = with_cookie("open.test").send().json();
    assert_eq!((user(&report), &report["meta"]["HTTP_X_USER_NAME"]), (json!("lee"), &json!("kim")));
    let report = with_cookie("told.test").send().json();
    assert_eq!(user(&report), json!("kim"), "the form's, not the client's");
    assert_eq!(
        gateway
            .metric("doorwarden_issued_refusals_total{reason=\"bad_signature\"}")
            .filter(|count| *count > 0.0),
        None,
        "nobody looked at it"
    );
}
