//! Tests second factors with the running gateway.

mod abuse;
pub(crate) mod authenticator;
mod detected;
mod operator;
mod pages;
mod passkey_pages;
mod passkeys;
mod sign_in;
mod step_up;
mod tokens;
mod trusted;

use std::time::{SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use serde_json::{Value, json};

use crate::support::client::{Client, Response};
use crate::support::eventually;
use crate::support::gateway::{Gateway, Setup};
use crate::support::upstream::Upstream;

const PASSWORD: &str = "correct horse battery";
const COOKIE: &str = "__Host-doorwarden";

/// Starts a gateway in this mode, behind a proxy, so that a test can use any client address.
fn gateway(upstream: &Upstream, more: &str) -> Gateway {
    Setup::new(upstream.address).behind_a_proxy().with(&format!("[second_factor]\n{more}")).start()
}

/// An authenticator app, written here independently by RFC 6238, with the secret that the gateway shows.
pub(crate) struct App {
    secret: Vec<u8>,
    /// The next step whose code has not been used yet.
    next: u64,
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn step() -> u64 {
    now() / 30
}

impl App {
    pub(crate) fn new(secret: &str) -> Self {
        let secret = data_encoding::BASE32_NOPAD.decode(secret.replace(' ', "").as_bytes());
        Self { secret: secret.unwrap(), next: 0 }
    }

    fn code_of(&self, step: u64) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &self.secret);
        let tag = hmac::sign(&key, &step.to_be_bytes());
        let tag = tag.as_ref();
        let offset = usize::from(tag[19] & 15);
        let number = u32::from_be_bytes(tag[offset..offset + 4].try_into().unwrap()) & 0x7fff_ffff;
        format!("{:06}", number % 1_000_000)
    }

    /// Returns an unused code of the earliest accepted step: three are available at once, and a fourth needs time to pass.
    pub(crate) fn code(&mut self) -> String {
        let used = eventually("a step that was not used", || {
            // The previous step is accepted as long as the present one lasts.
            let before = if now() % 30 < 20 { step() - 1 } else { step() };
            let earliest = self.next.max(before);
            (earliest <= step() + 1).then_some(earliest)
        });
        self.next = used + 1;
        self.code_of(used)
    }
}

fn login(client: &Client, body: &Value) -> Response {
    client.post("/login").json(body).send()
}

fn kim() -> Value {
    json!({"username": "kim", "password": PASSWORD})
}

fn with(mut body: Value, name: &str, value: &str) -> Value {
    body[name] = json!(value);
    body
}

/// Sets up an app for kim, who has just signed in with a password, where that is optional.
fn enrol(client: &Client) -> (App, Vec<String>) {
    let access = login(client, &kim()).json()["access"].as_str().unwrap().to_owned();
    let begun = client
        .post("/account/second-factors")
        .bearer(&access)
        .json(&json!({"action": "begin"}))
        .send();
    assert_eq!(begun.status, 200, "{}", begun.text());
    let begun = begun.json();
    let mut app = App::new(begun["secret"].as_str().unwrap());
    let confirmed = client
        .post("/account/second-factors")
        .bearer(&access)
        .json(&json!({
            "action": "confirm", "enrolment": begun["enrolment"], "otp": app.code(), "name": "전화",
        }))
        .send();
    assert_eq!(confirmed.status, 200, "{}", confirmed.text());
    let confirmed = confirmed.json();
    assert_eq!(confirmed["factors"][0]["name"], "전화");
    let codes = confirmed["recovery_codes"].as_array().unwrap();
    let codes: Vec<String> = codes.iter().map(|code| code.as_str().unwrap().to_owned()).collect();
    assert_eq!(codes.len(), 10);
    (app, codes)
}

fn ticket(client: &Client) -> String {
    let asked = login(client, &kim());
    assert_eq!((asked.status, asked.code().as_str()), (401, "second_factor_required"));
    asked.json()["ticket"].as_str().unwrap().to_owned()
}

fn second(client: &Client, ticket: &str, otp: &str) -> Response {
    client.post("/login/second-factor").json(&json!({"ticket": ticket, "otp": otp})).send()
}

/// Waits for a line of the audit trail.
fn audited(gateway: &Gateway, event: &str, reason: &str) {
    let what = format!("{event} with {reason}");
    gateway.logged(&what, |line| {
        line["target"] == "audit" && line["event"] == event && line["reason"] == reason
    });
}
