//! Tests signing in with a second factor: JSON, aliases, HTTP Basic, a restart and a kill.

use serde_json::json;

use super::{App, COOKIE, PASSWORD, audited, enrol, gateway, kim, login, second, ticket, with};
use crate::support::gateway::Setup;
use crate::support::upstream::Upstream;

#[test]
fn a_code_ends_a_sign_in_and_the_session_says_so() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream, "mode = \"optional\"");
    let client = gateway.client();
    let (mut app, codes) = enrol(&client);

    let asked = login(&client, &kim());
    assert_eq!((asked.status, asked.code().as_str()), (401, "second_factor_required"));
    assert_eq!(asked.header("set-cookie"), None, "nothing has begun");
    let asked = asked.json();
    assert_eq!(asked["methods"], json!(["totp", "recovery_code"]));
    assert!(asked.get("access").is_none());
    audited(&gateway, "sign_in_failed", "second_factor_required");

    let signed_in = second(&client, asked["ticket"].as_str().unwrap(), &app.code());
    assert_eq!(signed_in.status, 200, "{}", signed_in.text());
    assert!(signed_in.set_cookie(COOKIE).is_some());
    let tokens = signed_in.json();
    let access = tokens["access"].as_str().unwrap();
    let session = client.get("/session").bearer(access).send().json();
    assert_eq!(session["amr"], json!(["pwd", "otp", "mfa"]));
    assert_eq!(session["acr"], "aal2");
    assert_eq!(client.get("/app").bearer(access).send().status, 200);

    // After a refresh the methods and the time of the proof stay the same.
    let refreshed = client.post("/refresh").json(&json!({"refresh": tokens["refresh"]})).send();
    let access = refreshed.json()["access"].as_str().unwrap().to_owned();
    let later = client.get("/session").bearer(&access).send().json();
    assert_eq!((&later["amr"], &later["auth_time"]), (&session["amr"], &session["auth_time"]));

    // With the code and the password in one request; a recovery code can be used only once.
    let spaced = format!("{} {}", &codes[0][..4], &codes[0][5..]);
    assert_eq!(login(&client, &with(kim(), "otp", &spaced)).status, 200);
    audited(&gateway, "second_factor_changed", "recovery_used");
    let again = login(&client, &with(kim(), "otp", &codes[0]));
    assert_eq!((again.status, again.code().as_str()), (401, "bad_code"));
    assert_eq!(login(&client, &with(kim(), "otp", &app.code())).status, 200);

    let listed = client.get("/account/second-factors").bearer(&access).send().json();
    assert_eq!(listed["recovery_codes_left"], 9);
    assert_eq!(listed["factors"].as_array().unwrap().len(), 1);

    // A user without a factor is asked for none.
    let lee = json!({"username": "lee", "password": "staple 한글 암호"});
    assert_eq!(login(&client, &lee).status, 200);
}

/// Returns `oathtool`'s codes for this secret, from the previous step on: an implementation that is independent of this
/// project.
fn oathtool(secret: &str) -> Vec<String> {
    let start = format!("--now=@{}", super::now() - 30);
    let shown = std::process::Command::new("oathtool")
        .args(["--totp", "--base32", "--window=3", &start, secret])
        .output()
        .expect("oathtool is there; scripts/setup-test installs it");
    assert!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stderr));
    String::from_utf8(shown.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn what_oathtool_shows_is_right_once() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream, "mode = \"optional\"");
    let client = gateway.client();
    let access = login(&client, &kim()).json()["access"].as_str().unwrap().to_owned();
    let factors = |body: &serde_json::Value| {
        client.post("/account/second-factors").bearer(&access).json(body).send()
    };
    let begun = factors(&json!({"action": "begin"})).json();
    let codes = oathtool(begun["secret"].as_str().unwrap());
    assert_eq!(codes.len(), 4, "{codes:?}");
    let confirm = json!({"action": "confirm", "enrolment": begun["enrolment"], "otp": codes[1]});
    let confirmed = factors(&confirm);
    assert_eq!(confirmed.status, 200, "{}", confirmed.text());
    for (code, status) in [(&codes[1], 401), (&codes[2], 200), (&codes[2], 401), (&codes[1], 401)] {
        let step = second(&client, &ticket(&client), code);
        assert_eq!(step.status, status, "{code} of {codes:?}: {}", step.text());
    }
}

#[test]
fn a_ticket_survives_a_kill_and_nothing_is_half_there() {
    let upstream = Upstream::start();
    let mut gateway = gateway(&upstream, "mode = \"optional\"");
    let client = gateway.client();
    let access = login(&client, &kim()).json()["access"].as_str().unwrap().to_owned();
    let begin = json!({"action": "begin"});
    let begun = client.post("/account/second-factors").bearer(&access).json(&begin).send().json();

    // Killed between the secret and its code: nothing is stored, and no factor is demanded.
    gateway.kill();
    gateway.spawn();
    let client = gateway.client();
    assert_eq!(login(&client, &kim()).status, 200);
    // The page that shows the secret can be completed all the same.
    let mut app = App::new(begun["secret"].as_str().unwrap());
    let confirm = json!({"action": "confirm", "enrolment": begun["enrolment"], "otp": app.code()});
    let confirmed = client.post("/account/second-factors").bearer(&access).json(&confirm).send();
    assert_eq!(confirmed.status, 200, "{}", confirmed.text());

    // Killed between the password and the code.
    let ticket = ticket(&client);
    gateway.kill();
    gateway.spawn();
    let client = gateway.client();
    assert_eq!(second(&client, &ticket, &app.code()).status, 200);
    let key = gateway.folder().join("state/second-factor-key");
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(key).unwrap().permissions());
    assert_eq!(mode & 0o7777, 0o600);
}

#[test]
fn aliases_keep_their_shape_and_take_the_code_with_the_password() {
    let upstream = Upstream::start();
    let gateway = gateway(
        &upstream,
        "mode = \"optional\"\n[[paths.alias]]\npath = \"/api/token/\"\nendpoint = \"login\"\n\
         [[paths.alias]]\npath = \"/api/session/\"\nendpoint = \"login\"\nshape = \"django-session\"\n",
    );
    let client = gateway.client();
    let (mut app, _) = enrol(&client);
    for path in ["/api/token/", "/api/session/"] {
        let asked = client.post(path).json(&kim()).send();
        assert_eq!(asked.status, 401, "{path}: {}", asked.text());
        let expected = json!({"detail": "A second factor is required.", "code": "otp_required"});
        assert_eq!(asked.json(), expected, "{path}");
        let wrong = client.post(path).json(&with(kim(), "otp", "000000")).send();
        assert_eq!((wrong.status, wrong.json()["code"].clone()), (401, json!("otp_invalid")));
        let signed_in = client.post(path).json(&with(kim(), "otp", &app.code())).send();
        assert_eq!(signed_in.status, 200, "{path}: {}", signed_in.text());
    }
}

#[test]
fn a_password_in_each_request_is_no_way_past_it() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address)
        .with(
            "[second_factor]\nmode = \"optional\"\n[[second_factor.rule]]\nmode = \"required\"\nusers = [\"lee\"]\n\
             [[issuer]]\nname = \"basic\"\nkind = \"basic\"\n",
        )
        .start();
    let client = gateway.client();
    let basic = |name: &str, password: &str| {
        use base64::Engine as _;
        let both = format!("{name}:{password}");
        let encoded = base64::engine::general_purpose::STANDARD.encode(both);
        client.get("/app").header("Authorization", &format!("Basic {encoded}")).send()
    };
    assert_eq!(basic("root", "toor toor toor").status, 200);
    enrol(&client);
    for (name, password) in [("kim", PASSWORD), ("lee", "staple 한글 암호")] {
        let refused = basic(name, password);
        let code = refused.code();
        assert_eq!((refused.status, code.as_str()), (403, "second_factor_elsewhere"), "{name}");
    }
}
