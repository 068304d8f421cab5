use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{DecodingKey, Validation, decode, decode_header};

use super::*;

fn events(receiver: &Receiver) -> String {
    format!(
        "[[notify.security_events]]\nname = \"partner\"\nurl = \"http://{}/events\"\n\
         audience = \"https://partner.example\"\ntoken_file = \"partner-token\"\n",
        receiver.address
    )
}

#[test]
fn an_ended_session_is_pushed_as_a_token_that_the_key_set_verifies() {
    let (upstream, partner) = (Upstream::start(), Receiver::http(SECRET));
    let gateway = setup(&upstream)
        .file("partner-token", b"a token of the partner's\n")
        .with(&notify(&events(&partner)))
        .start();
    let client = gateway.client();
    let tokens = client.sign_in("kim", "correct horse battery");
    let access = tokens["access"].as_str().unwrap();
    let claims = access.split('.').nth(1).unwrap();
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    assert_eq!(client.post("/logout").bearer(access).send().status, 204);

    let pushed = &partner.wait_for(1)[0];
    assert_eq!(pushed["headers"]["content-type"], "application/secevent+jwt");
    assert_eq!(pushed["headers"]["authorization"], "Bearer a token of the partner's");
    let token = pushed["body"].as_str().unwrap();
    let header = decode_header(token).unwrap();
    assert_eq!(header.typ.as_deref(), Some("secevent+jwt"));

    let keys = client.get("/.well-known/jwks.json").send().json();
    let key = keys["keys"].as_array().unwrap().iter().find(|key| key["kid"] == json!(header.kid));
    let key = DecodingKey::from_ec_components(
        key.unwrap()["x"].as_str().unwrap(),
        key.unwrap()["y"].as_str().unwrap(),
    );
    let mut validation = Validation::new(header.alg);
    validation.set_audience(&["https://partner.example"]);
    validation.set_required_spec_claims(&["aud", "iss"]);
    validation.validate_exp = false;
    let event: Value = decode(token, &key.unwrap(), &validation).unwrap().claims;
    assert_eq!(event["iss"], claims["iss"]);
    assert_eq!(event["sub_id"]["session"]["id"], claims["sid"]);
    assert_eq!(event["sub_id"]["user"]["sub"], claims["sub"]);
    let kind = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";
    assert_eq!(event["events"][kind]["reason_admin"]["en"], "signed_out", "{event}");
    assert!(event.get("exp").is_none() && event.get("sub").is_none(), "{event}");

    // It is no access token.
    assert_eq!(client.get("/app").bearer(token).send().status, 401);
}

#[test]
fn another_password_is_pushed_as_a_credential_change() {
    let (upstream, partner) = (Upstream::start(), Receiver::http(SECRET));
    let gateway = setup(&upstream)
        .file("partner-token", b"token\n")
        .directories(
            "[[directory]]\nkind = \"file\"\npath = \"users.toml\"\nrefresh_interval = \"1s\"\n",
        )
        .with(&notify(&events(&partner)))
        .start();
    gateway.client().sign_in("kim", "correct horse battery");
    gateway.client().sign_in("kim", "correct horse battery");
    let file = gateway.folder().join("users.toml");
    // Kim's password becomes root's.
    let text = std::fs::read_to_string(&file).unwrap();
    let passwords: Vec<&str> =
        text.lines().filter(|line| line.starts_with("password = ")).collect();
    std::fs::write(&file, text.replace(passwords[0], passwords[2])).unwrap();

    let pushed = partner.wait_for(3);
    let kinds: Vec<String> = pushed
        .iter()
        .map(|one| {
            let payload = one["body"].as_str().unwrap().split('.').nth(1).unwrap();
            let claims: Value =
                serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
            claims["events"].as_object().unwrap().keys().next().unwrap().clone()
        })
        .collect();
    let count = |kind: &str| kinds.iter().filter(|one| one.ends_with(kind)).count();
    assert_eq!((count("session-revoked"), count("credential-change")), (2, 1), "{kinds:?}");
}
