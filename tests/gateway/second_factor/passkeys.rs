//! Tests passkeys in JSON, with a real browser's authenticator. The tests post what the pages' scripts would.

use serde_json::{Value, json};

use super::authenticator::{Abilities, Authenticator, PLATFORM};
use super::{COOKIE, audited, kim, login, ticket};
use crate::support::browser::Browser;
use crate::support::client::{Client, Response};
use crate::support::gateway::{Gateway, Setup};
use crate::support::upstream::Upstream;

const FACTORS: &str = "/account/second-factors";
const SECOND: &str = "/login/second-factor";
const PASSKEY: &str = "/login/passkey";

fn gateway(upstream: &Upstream, mode: &str, more: &str) -> Gateway {
    let passkeys = "[second_factor.passkeys]\nenabled = true\nrp_id = \"localhost\"";
    Setup::new(upstream.address)
        .behind_a_proxy()
        .with(&format!("[second_factor]\nmode = \"{mode}\"\n{passkeys}\n{more}"))
        .start()
}

/// Returns a browser on a page of the gateway's host.
fn browser(gateway: &Gateway) -> Browser {
    let browser = Browser::start();
    browser.open(&format!("http://localhost:{}/public/", gateway.http.port()));
    browser
}

fn post(client: &Client, path: &str, body: &Value) -> Response {
    client.post(path).json(body).send()
}

fn post_as(client: &Client, access: &str, path: &str, body: &Value) -> Response {
    client.post(path).bearer(access).json(body).send()
}

fn ok(response: Response) -> Value {
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()
}

fn refused(response: &Response, status: u16, code: &str, what: &str) {
    let got = (response.status, response.code());
    assert_eq!((got.0, got.1.as_str()), (status, code), "{what}: {}", response.text());
    assert_eq!(response.header("set-cookie"), None, "{what}");
}

fn access_of(client: &Client, body: &Value) -> String {
    ok(login(client, body))["access"].as_str().unwrap().to_owned()
}

/// Creates a passkey for the holder of this access token; returns the list after it, and what was posted for it.
fn enrol(client: &Client, key: &Authenticator<'_>, access: &str, name: &str) -> (Value, Value) {
    enrol_otherwise(client, key, access, name, |_| {})
}

/// Does the same with changed options.
fn enrol_otherwise(
    client: &Client,
    key: &Authenticator<'_>,
    access: &str,
    name: &str,
    change: impl FnOnce(&mut Value),
) -> (Value, Value) {
    let begin = json!({"action": "begin", "kind": "passkey"});
    let mut begun = ok(post_as(client, access, FACTORS, &begin));
    change(&mut begun["publicKey"]);
    let confirm = json!({
        "action": "confirm", "enrolment": begun["enrolment"], "name": name,
        "credential": key.create(&begun["publicKey"]),
    });
    (ok(post_as(client, access, FACTORS, &confirm)), confirm)
}

/// Returns the answer to a challenge that this body asks for.
fn answer(client: &Client, key: &Authenticator<'_>, path: &str, ask: &Value) -> Value {
    let begun = ok(post(client, path, ask));
    let mut body = ask.clone();
    body.as_object_mut().unwrap().remove("passkey");
    body["ceremony"] = begun["ceremony"].clone();
    body["credential"] = key.get(&begun["publicKey"]);
    body
}

fn second_step(client: &Client, key: &Authenticator<'_>) -> Value {
    answer(client, key, SECOND, &json!({"ticket": ticket(client), "passkey": true}))
}

fn amr(client: &Client, signed_in: &Value) -> Value {
    let access = signed_in["access"].as_str().unwrap();
    let session = ok(client.get("/session").bearer(access).send());
    json!([session["amr"], session["acr"]])
}

#[test]
fn a_passkey_is_a_second_factor_and_signs_in_by_itself() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream, "optional", "");
    let (client, browser) = (gateway.client(), browser(&gateway));
    let key = Authenticator::new(&browser, PLATFORM);
    let access = access_of(&client, &kim());
    let (listed, confirm) = enrol(&client, &key, &access, "노트북");
    let factor = &listed["factors"][0];
    assert_eq!(
        json!([
            factor["kind"],
            factor["name"],
            factor["rp_id"],
            factor["discoverable"],
            factor["backed_up"]
        ]),
        json!(["passkey", "노트북", "localhost", true, false])
    );
    assert_eq!(listed["recovery_codes"].as_array().unwrap().len(), 10);
    let mut again = confirm;
    again["name"] = json!("again");
    // The session has proved less than the account now has.
    refused(
        &post_as(&client, &access, FACTORS, &again),
        401,
        "insufficient_user_authentication",
        "again",
    );

    let asked = login(&client, &kim());
    assert_eq!(asked.json()["methods"], json!(["passkey", "recovery_code"]), "{}", asked.text());
    let used = second_step(&client, &key);
    let signed_in = ok(post(&client, SECOND, &used));
    assert_eq!(amr(&client, &signed_in), json!([["pwd", "hwk", "user", "mfa"], "aal2"]));
    refused(&post(&client, SECOND, &used), 401, "ticket_not_valid", "the same sign-in again");

    // The same answer in another sign-in: its challenge belongs to the first.
    let mut replayed = used;
    replayed["ticket"] = json!(ticket(&client));
    refused(&post(&client, SECOND, &replayed), 401, "ticket_not_valid", "another sign-in");

    // A confirmation raises the session's assurance, and allows changes.
    let begun = ok(post_as(&client, &access, SECOND, &json!({"passkey": true})));
    let mut body =
        json!({"ceremony": begun["ceremony"], "credential": key.get(&begun["publicKey"])});
    let raised = ok(post_as(&client, &access, SECOND, &body));
    assert_eq!(raised["amr"], json!(["pwd", "hwk", "user", "mfa"]));
    refused(&post_as(&client, &access, SECOND, &body), 401, "bad_passkey", "a challenge twice");
    audited(&gateway, "second_factor_refused", "used_challenge");
    // A challenge of one session is not valid in another.
    let begun = ok(post_as(&client, &access, SECOND, &json!({"passkey": true})));
    body = json!({"ceremony": begun["ceremony"], "credential": key.get(&begun["publicKey"])});
    let other = signed_in["access"].as_str().unwrap();
    refused(&post_as(&client, other, SECOND, &body), 401, "ticket_not_valid", "another session's");

    // Without a password: the passkey identifies the user.
    let alone = answer(&client, &key, PASSKEY, &json!({}));
    let signed_in = client.post(PASSKEY).json(&alone).send();
    assert!(signed_in.set_cookie(COOKIE).is_some(), "{}", signed_in.text());
    assert_eq!(amr(&client, &ok(signed_in)), json!([["hwk", "user", "mfa"], "aal2"]));
    refused(&post(&client, PASSKEY, &alone), 401, "bad_passkey", "a challenge twice");
    let elsewhere = answer(&client, &key, PASSKEY, &json!({}));
    let from = "203.0.113.9".parse().unwrap();
    let moved = client.post(PASSKEY).from(from).json(&elsewhere).send();
    refused(&moved, 401, "ticket_not_valid", "a challenge of another network");

    // Renaming and removing, as with any other factor.
    let change = |body: Value| post_as(&client, &access, FACTORS, &body);
    let renamed = ok(change(json!({"action": "rename", "id": factor["id"], "name": "new"})));
    assert_eq!(renamed["factors"][0]["name"], "new");
    assert_eq!(ok(change(json!({"action": "remove", "id": factor["id"]})))["factors"], json!([]));
    let gone = answer(&client, &key, PASSKEY, &json!({}));
    refused(&post(&client, PASSKEY, &gone), 401, "bad_passkey", "removed");
    let metric = "doorwarden_second_factor_refusals_total{reason=\"used_challenge\"}";
    gateway.counts(metric, 2.0);
}

#[test]
fn a_copied_key_another_users_and_one_without_a_pin_are_refused() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream, "optional", "");
    let (client, browser) = (gateway.client(), browser(&gateway));
    let key = Authenticator::new(&browser, PLATFORM);
    // A credential that the authenticator uses without a PIN if asked to.
    enrol_otherwise(&client, &key, &access_of(&client, &kim()), "kim's", |options| {
        let extensions = options["extensions"].as_object_mut().unwrap();
        assert!(extensions.remove("credentialProtectionPolicy").is_some());
    });
    key.counted(20);
    ok(post(&client, PASSKEY, &answer(&client, &key, PASSKEY, &json!({}))));
    key.counted(10);
    for (path, body) in [
        (PASSKEY, answer(&client, &key, PASSKEY, &json!({}))),
        (SECOND, second_step(&client, &key)),
    ] {
        refused(&post(&client, path, &body), 401, "bad_passkey", "a counter that went back");
    }
    audited(&gateway, "second_factor_refused", "cloned_passkey");
    key.counted(40);
    ok(post(&client, SECOND, &second_step(&client, &key)));

    // Lee has a key of their own, and answers kim's challenge with it.
    let lee = json!({"username": "lee", "password": "staple 한글 암호"});
    enrol(&client, &key, &access_of(&client, &lee), "lee's");
    let begun = ok(post(&client, SECOND, &json!({"ticket": ticket(&client), "passkey": true})));
    assert_eq!(begun["publicKey"]["allowCredentials"].as_array().unwrap().len(), 1);
    let of_lee = login(&client, &lee).json();
    let theirs = ok(post(&client, SECOND, &json!({"ticket": of_lee["ticket"], "passkey": true})));
    let mut options = begun["publicKey"].clone();
    options["allowCredentials"] = theirs["publicKey"]["allowCredentials"].clone();
    let kims = ticket(&client);
    let begun = ok(post(&client, SECOND, &json!({"ticket": kims, "passkey": true})));
    options["challenge"] = begun["publicKey"]["challenge"].clone();
    let body =
        json!({"ticket": kims, "ceremony": begun["ceremony"], "credential": key.get(&options)});
    refused(&post(&client, SECOND, &body), 401, "bad_passkey", "another's key");
    audited(&gateway, "second_factor_refused", "bad_passkey");

    // With another user handle: the handle is not signed, so the credential's owner decides.
    let mut alone = answer(&client, &key, PASSKEY, &json!({}));
    alone["credential"]["response"]["userHandle"] = json!("AAAAAAAAAAAAAAAAAAAAAA");
    refused(&post(&client, PASSKEY, &alone), 401, "bad_passkey", "another handle");
    alone["credential"]["response"].as_object_mut().unwrap().remove("userHandle");
    refused(&post(&client, PASSKEY, &alone), 401, "bad_passkey", "no handle");

    // Touched, but without a PIN: the page demands no PIN, which is not for the page to decide.
    key.verifies(false);
    let kims = ticket(&client);
    let begun = ok(post(&client, SECOND, &json!({"ticket": kims, "passkey": true})));
    assert_eq!(begun["publicKey"]["userVerification"], "required");
    let mut options = begun["publicKey"].clone();
    options["userVerification"] = json!("discouraged");
    let said = key.get(&options);
    assert!(said["response"]["signature"].is_string(), "{said}");
    let body = json!({"ticket": kims, "ceremony": begun["ceremony"], "credential": said});
    refused(&post(&client, SECOND, &body), 401, "bad_passkey", "nobody was verified");
    // Bodies that no authenticator makes.
    for credential in [
        json!({}),
        json!("x"),
        json!({"id": "a", "rawId": "a", "type": "public-key", "response": {}}),
    ] {
        let body = json!({"ticket": kims, "ceremony": begun["ceremony"], "credential": credential});
        refused(&post(&client, SECOND, &body), 401, "bad_passkey", &credential.to_string());
    }
    for token in ["x", "", &"a".repeat(40_000)] {
        let body = json!({"ticket": kims, "ceremony": token, "credential": {"id": "a"}});
        let answer = post(&client, SECOND, &body);
        assert!([400, 401, 413].contains(&answer.status), "{}", answer.text());
    }
}

#[test]
fn an_origin_that_is_not_ours_sets_up_and_proves_nothing() {
    let upstream = Upstream::start();
    // The page has the same RP ID, but another port.
    let gateway = gateway(&upstream, "optional", "origins = [\"http://localhost:1\"]");
    let (client, browser) = (gateway.client(), browser(&gateway));
    let key = Authenticator::new(&browser, PLATFORM);
    let access = access_of(&client, &kim());
    let begun =
        ok(post_as(&client, &access, FACTORS, &json!({"action": "begin", "kind": "passkey"})));
    let confirm = json!({
        "action": "confirm", "enrolment": begun["enrolment"],
        "credential": key.create(&begun["publicKey"]),
    });
    refused(&post_as(&client, &access, FACTORS, &confirm), 401, "bad_passkey", "another origin");
    let alone = answer(&client, &key, PASSKEY, &json!({}));
    refused(&post(&client, PASSKEY, &alone), 401, "bad_passkey", "another origin");
    audited(&gateway, "second_factor_refused", "bad_passkey");
}

#[test]
fn a_key_that_keeps_nothing_is_a_second_factor_and_is_told_as_one_in_software() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream, "required", "sign_in = false");
    let (client, browser) = (gateway.client(), browser(&gateway));
    let synced = Abilities { resident: false, verifies: true, synced: true };
    let key = Authenticator::new(&browser, synced);
    let asked = login(&client, &kim()).json();
    assert_eq!(
        (&asked["code"], &asked["methods"]),
        (&json!("enrolment_required"), &json!(["totp", "passkey"]))
    );
    let begin = json!({"ticket": asked["ticket"], "enrol": true, "kind": "passkey"});
    let begun = ok(post(&client, SECOND, &begin));
    assert_eq!(begun["invitation_required"], true);
    let mut confirm = json!({
        "ticket": asked["ticket"], "enrolment": begun["enrolment"], "name": "key",
        "credential": key.create(&begun["publicKey"]),
    });
    // As with an app: a stolen password is not enough.
    refused(&post(&client, SECOND, &confirm), 403, "enrolment_proof_required", "a password alone");
    let invited = gateway.command(&["user", "second-factor", "invite", "file/kim"]);
    let said = String::from_utf8_lossy(&invited.stdout).into_owned();
    confirm["invitation"] = json!(said.trim().rsplit(' ').next().unwrap());
    let signed_in = ok(post(&client, SECOND, &confirm));
    assert_eq!(signed_in["recovery_codes"].as_array().unwrap().len(), 10);
    assert_eq!(amr(&client, &signed_in), json!([["pwd", "swk", "user", "mfa"], "aal2"]));
    ok(post(&client, SECOND, &second_step(&client, &key)));
    // Sign-in by passkey alone is off, so the path belongs to the service, behind a protected route.
    assert_eq!(post(&client, PASSKEY, &json!({})).status, 401);

    let listed = gateway.command(&["user", "second-factor", "list", "file/kim", "--json"]);
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap();
    let factor = &listed["factors"][0];
    assert_eq!(
        json!([factor["kind"], factor["discoverable"], factor["backed_up"]]),
        json!(["passkey", false, true])
    );
    let reset = gateway.command(&["user", "second-factor", "reset", "kim"]);
    assert!(reset.status.success(), "{}", String::from_utf8_lossy(&reset.stderr));
    assert_eq!(login(&client, &kim()).code(), "enrolment_required");
}

#[test]
fn whoever_was_switched_off_or_is_gone_does_not_come_in_by_a_passkey() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream, "optional", "");
    let (client, browser) = (gateway.client(), browser(&gateway));
    let key = Authenticator::new(&browser, PLATFORM);
    enrol(&client, &key, &access_of(&client, &kim()), "kim's");
    let mut ready = answer(&client, &key, PASSKEY, &json!({}));
    let user = |what: &str| {
        let arguments = ["user", what, "kim", "--file", "users.toml"];
        let output = crate::support::gateway::run_in(gateway.folder(), &arguments, "");
        assert!(output.status.success(), "{output:?}");
    };
    user("disable");
    crate::support::eventually("the file to be read again", || {
        (login(&client, &kim()).code() == "no_active_account").then_some(())
    });
    refused(&post(&client, PASSKEY, &ready), 401, "bad_passkey", "switched off");
    gateway.logged("a sign-in of somebody who is switched off", |line| {
        line["target"] == "audit"
            && line["event"] == "sign_in_failed"
            && line["reason"] == "inactive"
    });
    user("enable");
    crate::support::eventually("the file to be read again", || {
        (login(&client, &kim()).code() == "second_factor_required").then_some(())
    });
    ready = answer(&client, &key, PASSKEY, &json!({}));
    ok(post(&client, PASSKEY, &ready));

    // A block applies to passkeys too.
    let blocked = gateway.command(&["block", "add", "--user", "file/kim", "--for", "10m"]);
    assert!(blocked.status.success(), "{}", String::from_utf8_lossy(&blocked.stderr));
    ready = answer(&client, &key, PASSKEY, &json!({}));
    refused(&post(&client, PASSKEY, &ready), 403, "user_blocked", "blocked");
}

#[test]
fn a_kill_within_a_ceremony_leaves_nothing_half_there_and_keeps_nobody_out() {
    let upstream = Upstream::start();
    let mut gateway = gateway(&upstream, "optional", "");
    let (client, browser) = (gateway.client(), browser(&gateway));
    let key = Authenticator::new(&browser, PLATFORM);
    let access = access_of(&client, &kim());
    // Killed between the challenge and its answer: nothing is stored, and no factor is demanded.
    let begin = json!({"action": "begin", "kind": "passkey"});
    let begun = ok(post_as(&client, &access, FACTORS, &begin));
    let credential = key.create(&begun["publicKey"]);
    gateway.kill();
    gateway.spawn();
    let client = gateway.client();
    ok(login(&client, &kim()));
    let confirm = json!({
        "action": "confirm", "enrolment": begun["enrolment"], "name": "kim's", "credential": credential,
    });
    ok(post_as(&client, &access, FACTORS, &confirm));
    // Killed between the challenge of a sign-in and its answer.
    let step = second_step(&client, &key);
    gateway.kill();
    gateway.spawn();
    let client = gateway.client();
    ok(post(&client, SECOND, &step));
    refused(&post(&client, SECOND, &step), 401, "ticket_not_valid", "once");
}

#[test]
fn another_host_name_is_told_before_and_after_it_leaves_passkeys_useless() {
    let upstream = Upstream::start();
    let mut gateway = gateway(&upstream, "optional", "");
    let (client, browser) = (gateway.client(), browser(&gateway));
    let key = Authenticator::new(&browser, PLATFORM);
    let (enrolled, _) = enrol(&client, &key, &access_of(&client, &kim()), "kim's");
    let path = gateway.folder().join("gateway.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let moved = text.replacen("rp_id = \"localhost\"", "rp_id = \"app.localhost\"", 1);
    let check = |text: &str| {
        crate::support::gateway::write_private(&path, text);
        let output = gateway.command(&["check", "--config", "gateway.toml"]);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert_eq!(check(&text), "");
    let told = "1 passkeys in the store belong to another RP ID than \"app.localhost\"";
    let said = check(&moved);
    assert!(said.contains(told), "{said}");
    gateway.kill();
    gateway.spawn();
    gateway.logged("that it is useless", |line| {
        line["fields"]["message"].as_str().is_some_and(|message| message.starts_with(told))
            || line["message"].as_str().is_some_and(|message| message.starts_with(told))
    });
    // A password alone is not enough now either; a recovery code is.
    let client = gateway.client();
    let asked = login(&client, &kim()).json();
    assert_eq!(
        (&asked["code"], &asked["methods"]),
        (&json!("second_factor_required"), &json!(["recovery_code"]))
    );
    let body = json!({"ticket": asked["ticket"], "passkey": true});
    refused(&post(&client, SECOND, &body), 400, "bad_body", "none works here");
    let body = json!({"ticket": asked["ticket"], "otp": enrolled["recovery_codes"][0]});
    ok(post(&client, SECOND, &body));
}
