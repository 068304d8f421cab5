//! Tests that a front end that knows only the hand-made JWT (`jwt-auth`) notices no difference behind the gateway.

use std::time::Duration;

use doorwarden::clock::Timestamp;
use doorwarden::django::simplejwt::{NewHandMade, mint_hand_made};
use doorwarden::jose::{Algorithm, SigningKey};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::client::{Client, Request, Response};
use crate::support::django::Django;
use crate::support::eventually;
use crate::support::gateway::{Gateway, Setup, write_private};

const LOGIN: &str = "/api/v1/users/login/jwt";
const INFO: &str = "/api/v1/users/login/jwt/info";
const SECRET_KEY: &str = "django-insecure-development-key-of-the-legacy-service";

/// Members that the gateway's bodies may have and Django's do not.
const ADDED: &[&str] = &["code", "request_id"];

/// Sets the gateway up in place of the service's sign-in: it answers the path, accepts the service's tokens, and mints
/// tokens for the service. Callers without a token are left to the service to refuse.
fn setup(django: &Django, directory: &str) -> (TempDir, Setup) {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("secret-key");
    write_private(&key, SECRET_KEY);
    let key = key.display();
    let toml = format!(
        "[[issuer]]\nkind = \"jwt\"\nname = \"by-hand\"\nkey_file = \"{key}\"\nrefusals = \"jwt\"\n\
         [[paths.alias]]\npath = \"{LOGIN}\"\nto = \"login\"\nshape = \"jwt\"\nissuer = \"by-hand\"\n\
         [[identity.form]]\nname = \"by-hand\"\nkind = \"jwt\"\nkey_file = \"{key}\"\ndanger_weak_key = true\n"
    );
    let setup = django.setup_with(directory).with(&toml).routes(
        "[[route]]\nname = \"app\"\npath = \"/\"\nupstream = \"app\"\naccess = \"optional\"\n\
         identity = { bearer = \"by-hand\" }\n",
    );
    (folder, setup)
}

/// Returns a token that is signed with the service's key, for a user in a claim, valid from now for `good_for` seconds.
fn signed(claim: &str, user: &str, good_for: i64) -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let now = Timestamp::from_secs(now.as_secs());
    let span = Duration::from_secs(good_for.unsigned_abs());
    let new = NewHandMade {
        claim,
        user,
        name: "kim",
        expires_at: if good_for < 0 { now.minus(span) } else { now.plus(span) },
        issued_at: now.minus(Duration::from_secs(3600)),
        token_id: "t",
        session: None,
    };
    let key = SigningKey::read(Algorithm::Hs256, SECRET_KEY.as_bytes()).unwrap();
    mint_hand_made(&key, &new).unwrap().expose().to_owned()
}

/// Runs the front end's steps, and returns the answers.
fn script(client: &Client) -> Vec<(&'static str, Response)> {
    let mut all = Vec::new();
    let mut step = |what: &'static str, request: Request| {
        let response = request.send();
        all.push((what, response.clone()));
        response
    };
    let login = |body: &Value| client.post(LOGIN).json(body);
    let info = |token: &str| client.get(INFO).header("jwt-auth", token);
    let kim = json!({"username": "kim", "password": "kim-pass-1234"});
    step("nobody is there", client.get(INFO));
    let token = step("kim signs in", login(&kim)).json()["token"].as_str().unwrap().to_owned();
    step("kim looks", info(&token));
    step("kim looks again", info(&token));
    let form = [("username", "kim"), ("password", "kim-pass-1234")];
    let second = step("kim signs in by a form", client.post(LOGIN).form(&form)).json();
    step("kim looks with that", info(second["token"].as_str().unwrap()));
    step("no password", login(&json!({"username": "kim"})));
    step("an empty password", login(&json!({"username": "kim", "password": ""})));
    step("nothing", login(&json!({})));
    step("plain text", client.post(LOGIN).header("Content-Type", "text/plain").body(b"x"));
    step("a GET", client.get(LOGIN));
    step("garbage", info("garbage"));
    step("three parts of garbage", info("a.b.c"));
    let (signed_part, _) = token.rsplit_once('.').unwrap();
    let other = signed("id", "2", 60);
    let (_, signature) = other.rsplit_once('.').unwrap();
    step("another token's signature", info(&format!("{signed_part}.{signature}")));
    step("an expired token", info(&signed("id", "2", -60)));
    step("a token without an id", info(&signed("user", "2", 60)));
    step("a token of nobody", info(&signed("id", "999", 60)));
    step("one from elsewhere that is good", info(&other));
    all
}

/// Reads a body as the front end does: any token is as good as another, and unknown members are ignored.
fn read(response: &Response, theirs: &Value) -> Value {
    let mut body = response.json();
    for name in ADDED {
        if theirs.get(name).is_none() {
            body.as_object_mut().unwrap().remove(*name);
        }
    }
    if let Some(token) = body["token"].as_str() {
        assert_eq!(token.split('.').count(), 3);
        body["token"] = json!("a token");
    }
    body
}

#[test]
fn a_front_end_for_the_hand_made_jwt_has_the_same_answers() {
    let django = Django::start();
    let direct = script(&Client::new(django.address));
    for rotation in ["none", "single-use"] {
        let (_key, setup) = setup(&django, "");
        let gateway = setup.with(&format!("[tokens]\nrotation = \"{rotation}\"")).start();
        answers_as_django(&gateway, &django, &direct);
    }
}

fn answers_as_django(gateway: &Gateway, django: &Django, direct: &[(&str, Response)]) {
    let through = script(&gateway.client());
    assert_eq!(through.len(), direct.len());
    for ((what, ours), (_, theirs)) in through.iter().zip(direct) {
        assert_eq!(ours.status, theirs.status, "{what}: {} / {}", ours.text(), theirs.text());
        let theirs_json = theirs.json();
        assert_eq!(read(ours, &theirs_json), read(theirs, &Value::Null), "{what}");
        assert_eq!(ours.header("content-type"), theirs.header("content-type"), "{what}");
        assert!(ours.sets().is_empty(), "{what}");
    }
    let statuses =
        |status: u16| through.iter().filter(|(_, answer)| answer.status == status).count();
    assert_eq!((statuses(200), statuses(403)), (6, 7));

    // The service itself fails here.
    let wrong = |client: &Client, name: &str| {
        client.post(LOGIN).json(&json!({"username": name, "password": "wrong"})).send()
    };
    assert_eq!(wrong(&Client::new(django.address), "kim").status, 500);
    for name in ["kim", "nobody", "inactive"] {
        let refused = wrong(&gateway.client(), name);
        let text = r#"{"detail":"No active account found with the given credentials"}"#;
        assert_eq!((refused.status, refused.text().as_str()), (403, text), "{name}");
    }
}

#[test]
fn a_minted_token_ends_with_its_session_and_no_other_does() {
    let django = Django::start();
    let (_key, setup) = setup(&django, "refresh_interval = \"1s\"");
    let mut gateway = setup.start();
    let enter = |client: &Client| {
        let body = json!({"username": "kim", "password": "kim-pass-1234"});
        client.post(LOGIN).json(&body).send().json()["token"].as_str().unwrap().to_owned()
    };
    let before = enter(&Client::new(django.address));
    let (one, two) = (enter(&gateway.client()), enter(&gateway.client()));
    let info = |client: &Client, token: &str| client.get(INFO).header("jwt-auth", token).send();
    let client = gateway.client();
    for token in [&one, &two, &before] {
        assert_eq!(info(&client, token).json(), json!({"id": 2, "username": "kim"}));
    }
    // The view received another token, which belongs to the same session.
    let seen = client.get("/api/v1/whoami").header("jwt-auth", &one).send().json();
    let shown = seen["meta"]["HTTP_JWT_AUTH"].as_str().unwrap();
    assert_ne!(shown, one);
    let session = client.get("/session").header("jwt-auth", &one).send().json();
    assert_eq!(seen["meta"]["HTTP_X_SESSION_ID"], session["session_id"]);
    assert_eq!(
        client.get("/session").header("jwt-auth", shown).send().json()["session_id"],
        session["session_id"]
    );

    let out = |client: &Client| client.post("/logout").header("jwt-auth", &one).send().status;
    assert_eq!((out(&client), out(&client)), (204, 204));
    let over = info(&client, &one);
    assert_eq!((over.status, over.code().as_str()), (403, "jwt_ended"));
    assert_eq!(over.json()["detail"], "Token has expired");
    assert_eq!(info(&client, shown).status, 403, "the view's token is over as well");
    assert_eq!((info(&client, &two).status, info(&client, &before).status), (200, 200));
    gateway.kill();
    gateway.spawn();
    let client = gateway.client();
    assert_eq!(
        (info(&client, &one).status, info(&client, &two).status),
        (403, 200),
        "after a crash"
    );
    // Removing the gateway signs nobody out.
    assert_eq!(info(&Client::new(django.address), &two).json()["username"], "kim");

    django.run("user = User.objects.get(pk=2)\nuser.set_password('new')\nuser.save()");
    eventually("the session to end with the password", || {
        (info(&client, &two).status == 403).then_some(())
    });
}
