//! Tests browsers that are trusted for a time.

use serde_json::json;

use super::{audited, enrol, kim, login, with};
use crate::support::client::{Client, Response};
use crate::support::gateway::{Gateway, Setup};
use crate::support::upstream::Upstream;

const DEVICE: &str = "__Host-doorwarden-device";

fn gateway(upstream: &Upstream) -> Gateway {
    Setup::new(upstream.address)
        .behind_a_proxy()
        .route("name = \"admin\"\npath = \"/admin/\"\nsecond_factor = \"required\"")
        .with("[second_factor]\nmode = \"required\"\ntrusted_devices = \"30d\"")
        .start()
}

fn page(client: &Client, path: &str, device: &str, fields: &[(&str, &str)]) -> Response {
    let request = client.post(path).navigation().header("Origin", "http://app.test");
    request.cookie(DEVICE, device).form(fields).send()
}

/// Signs in on the page with this code, with or without the box ticked, and returns the device cookie.
fn by_page(client: &Client, otp: &str, trusts: bool) -> String {
    let asked = page(client, "/login", "", &[("username", "kim"), ("password", super::PASSWORD)]);
    let text = asked.text();
    assert!(text.contains("name=\"trust_device\"") && text.contains("for 30 days"), "{text}");
    let ticket = text.split("name=\"ticket\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let mut fields = vec![("ticket", ticket), ("otp", otp)];
    if trusts {
        fields.push(("trust_device", "on"));
    }
    let signed_in = page(client, "/login/second-factor", "", &fields);
    assert_eq!(signed_in.status, 303, "{}", signed_in.text());
    signed_in.set_cookie(DEVICE).unwrap()
}

fn again(client: &Client, device: &str) -> Response {
    client.post("/login").cookie(DEVICE, device).json(&kim()).send()
}

#[test]
fn a_trusted_browser_is_not_asked_at_a_sign_in_and_everywhere_else_it_is() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address)
        .behind_a_proxy()
        .route("name = \"admin\"\npath = \"/admin/\"\nsecond_factor = \"required\"")
        .with("[second_factor]\nmode = \"optional\"\ntrusted_devices = \"30d\"")
        .start();
    let client = gateway.client();
    let (mut app, codes) = enrol(&client);
    let known = by_page(&client, &app.code(), false);
    assert_eq!(again(&client, &known).code(), "second_factor_required", "not without the box");
    let device = by_page(&client, &app.code(), true);
    audited(&gateway, "second_factor_changed", "device_trusted");

    let signed_in = again(&client, &device);
    assert_eq!(signed_in.status, 200, "{}", signed_in.text());
    let next = signed_in.set_cookie(DEVICE).unwrap();
    assert_eq!(again(&client, &next).status, 200, "the cookie of then says so too");
    let access = signed_in.json()["access"].as_str().unwrap().to_owned();
    let session = client.get("/session").bearer(&access).send().json();
    assert_eq!(session["amr"], json!(["pwd"]), "nothing was proved that was not");
    assert_eq!(
        client.get("/admin/x").bearer(&access).send().code(),
        "insufficient_user_authentication"
    );
    let begin = json!({"action": "begin"});
    let factors = client.post("/account/second-factors").bearer(&access);
    assert_eq!(factors.json(&begin).send().code(), "insufficient_user_authentication");

    // Without its cookie, with half of it, and for another user, there is no trust.
    assert_eq!(login(&client, &kim()).code(), "second_factor_required");
    let half = device.split('.').next().unwrap();
    assert_eq!(again(&client, half).code(), "second_factor_required");
    // A recovery code does not make a browser trusted.
    let ticket = login(&client, &kim()).json()["ticket"].clone();
    let body = json!({"ticket": ticket, "otp": codes[0], "trust_device": "on"});
    let written = client.post("/login/second-factor").json(&body).send();
    assert_eq!(again(&client, &written.set_cookie(DEVICE).unwrap()).status, 401);

    // Another factor ends the trust, and so does the user's request.
    let proved = login(&client, &with(kim(), "otp", &codes[1])).json();
    let access = proved["access"].as_str().unwrap().to_owned();
    let distrusted = client.post("/account/second-factors").bearer(&access);
    let distrusted = distrusted.json(&json!({"action": "distrust"})).send();
    assert_eq!(distrusted.status, 200, "{}", distrusted.text());
    assert_eq!(again(&client, &next).code(), "second_factor_required");
    audited(&gateway, "second_factor_changed", "devices_distrusted");
}

#[test]
fn another_set_of_factors_or_another_password_voids_it() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream);
    let client = gateway.client();
    // Where a factor is required, it is set up with an operator's code.
    let invited = gateway.command(&["user", "second-factor", "invite", "file/kim"]);
    let said = String::from_utf8_lossy(&invited.stdout).into_owned();
    let invitation = said.trim().rsplit(' ').next().unwrap();
    let ticket = login(&client, &kim()).json()["ticket"].clone();
    let begun = client.post("/login/second-factor").json(&json!({"ticket": ticket, "enrol": true}));
    let begun = begun.send().json();
    let mut app = super::App::new(begun["secret"].as_str().unwrap());
    let body = json!({
        "ticket": ticket, "enrolment": begun["enrolment"], "otp": app.code(), "invitation": invitation,
    });
    assert_eq!(client.post("/login/second-factor").json(&body).send().status, 200);
    let device = by_page(&client, &app.code(), true);
    assert_eq!(again(&client, &device).status, 200);
    let reset = gateway.command(&["user", "second-factor", "reset", "file/kim"]);
    assert!(reset.status.success());
    let asked = again(&client, &device);
    assert_eq!((asked.status, asked.code().as_str()), (401, "enrolment_required"));
}
