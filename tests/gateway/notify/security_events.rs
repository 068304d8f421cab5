use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{DecodingKey, Validation, decode, decode_header};

use super::*;
use crate::second_factor::App;

/// Returns a token's claims; another test checks its signature.
fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

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
    let claims = claims(access);
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

    // It is not accepted as an access token.
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
    // Kim gets root's password.
    let text = std::fs::read_to_string(&file).unwrap();
    let passwords: Vec<&str> =
        text.lines().filter(|line| line.starts_with("password = ")).collect();
    std::fs::write(&file, text.replace(passwords[0], passwords[2])).unwrap();

    let pushed = partner.wait_for(3);
    let kinds: Vec<String> = pushed
        .iter()
        .map(|one| {
            let claims = claims(one["body"].as_str().unwrap());
            claims["events"].as_object().unwrap().keys().next().unwrap().clone()
        })
        .collect();
    let count = |kind: &str| kinds.iter().filter(|one| one.ends_with(kind)).count();
    assert_eq!((count("session-revoked"), count("credential-change")), (2, 1), "{kinds:?}");
}

#[test]
fn another_level_of_assurance_is_pushed_once_up_and_once_down() {
    let (upstream, partner) = (Upstream::start(), Receiver::http(SECRET));
    let gateway = setup(&upstream)
        .file("partner-token", b"token\n")
        .with(&notify(&events(&partner)))
        .with("[second_factor]\nmode = \"optional\"")
        .start();
    let client = gateway.client();
    let metric = |level: &str| {
        let name = format!("doorwarden_assurance_changes_total{{level=\"{level}\"}}");
        gateway.metric(&name).unwrap()
    };
    let mut expected = 0;
    let mut next = |kind: &str, after: &str| {
        expected += 1;
        let pushed = partner.wait_for(expected);
        let event = claims(pushed[expected - 1]["body"].as_str().unwrap());
        let kind = format!("https://schemas.openid.net/secevent/caep/event-type/{kind}");
        assert!(event["events"].get(&kind).is_some(), "after {after}: {event}");
        (event["sub_id"].clone(), event["events"][kind].clone())
    };
    let access =
        client.sign_in("kim", "correct horse battery")["access"].as_str().unwrap().to_owned();
    let sid = claims(&access)["sid"].clone();
    let change =
        |body: Value| client.post("/account/second-factors").bearer(&access).json(&body).send();
    let confirm =
        |body: Value| client.post("/login/second-factor").bearer(&access).json(&body).send();
    let begun = change(json!({"action": "begin"})).json();
    let mut app = App::new(begun["secret"].as_str().unwrap());
    let token = &begun["enrolment"];
    let made = json!({"action": "confirm", "enrolment": token, "otp": app.code(), "name": "phone"});
    let made = change(made);
    assert_eq!(made.status, 200, "{}", made.text());
    next("credential-change", "a second factor was set up");
    assert_eq!((metric("aal1"), metric("aal2")), (0.0, 0.0));

    assert_eq!(confirm(json!({"otp": app.code()})).status, 200);
    let (subject, event) = next("assurance-level-change", "a code");
    assert_eq!(subject["session"]["id"], sid);
    assert_eq!(subject["user"]["sub"], "file/kim");
    assert_eq!(
        json!([event["namespace"], event["previous_level"], event["current_level"]]),
        json!(["NIST-AAL", "nist-aal1", "nist-aal2"])
    );
    assert_eq!(
        json!([event["change_direction"], event["initiating_entity"], event["reason_admin"]["en"]]),
        json!(["increase", "user", "proved: pwd otp mfa"])
    );
    assert_eq!((metric("aal1"), metric("aal2")), (0.0, 1.0));
    // A repeated proof changes nothing, so the next event is about what happens next.
    assert_eq!(confirm(json!({"otp": app.code()})).status, 200);
    let id = made.json()["factors"][0]["id"].clone();
    assert_eq!(change(json!({"action": "remove", "id": id})).status, 200);
    next("credential-change", "the second factor was removed");
    assert_eq!(confirm(json!({"password": "correct horse battery"})).status, 200);
    let (subject, event) = next("assurance-level-change", "a password is all that is left");
    assert_eq!(subject["session"]["id"], sid);
    assert_eq!(
        json!([event["previous_level"], event["current_level"], event["change_direction"]]),
        json!(["nist-aal2", "nist-aal1", "decrease"])
    );
    assert_eq!((metric("aal1"), metric("aal2")), (1.0, 1.0));
    gateway.logged("the change in the audit trail", |line| {
        line["target"] == "audit"
            && line["event"] == "assurance_changed"
            && line["reason"] == "aal1"
    });
}
