//! Tests who is notified of findings, at real receivers that the tests start, stop and start again.

mod answer;
mod crash;
mod django;
mod mail;
mod mailed_code;
mod mailed_link;
mod mailed_link_pages;
mod second_factors;
mod security_events;
mod webhook;

use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::gateway::{Gateway, Setup, users_file};
use crate::support::receivers::Receiver;
use crate::support::upstream::Upstream;

/// The specification's own example.
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Returns a `users.toml` in which people have addresses.
fn people() -> String {
    format!(
        "{}\n[users.kim.attributes]\nemail = \"kim@example.org\"\n\
         [users.lee.attributes]\nemail = \"lee@example.org\"\nlanguage = \"ko\"\n",
        users_file()
    )
}

/// Returns a `users.toml` in which, in addition, two people share an address.
fn sharing() -> String {
    people().replace("lee@example.org", "family@example.org")
        + "\n[users.root.attributes]\nemail = \"Family@example.org\"\n"
}

/// Returns a gateway in which one spent refresh token is an incident, and failed attempts are soon repeated.
fn setup(upstream: &Upstream) -> Setup {
    Setup::new(upstream.address)
        .behind_a_proxy()
        .file("users.toml", people().as_bytes())
        .file("webhook-secret", SECRET.as_bytes())
        .with(
            "[tokens]\nrefresh_grace = \"0s\"\n[login]\ntitle = \"Acme\"\naccount_failures = 100\n",
        )
}

/// Returns `[notify]` with waits of fractions of a second, and these tables.
fn notify(tables: &str) -> String {
    format!(
        "[notify]\nbackoff_initial = \"50ms\"\nbackoff_max = \"200ms\"\ncooldown = \"1h\"\n{tables}"
    )
}

fn webhook(receiver: &Receiver, path: &str) -> String {
    format!(
        "[[notify.webhook]]\nname = \"hook\"\nurl = \"http://{}{path}\"\n\
         secret_file = \"webhook-secret\"\ntimeout = \"2s\"\n",
        receiver.address
    )
}

fn mail(receiver: &Receiver, more: &str) -> String {
    format!(
        "[notify.mail]\nhost = \"{}\"\nport = {}\nfrom = \"Acme <security@example.com>\"\n\
         public_url = \"https://app.example\"\npassword_change_url = \"/password/\"\n{more}\n",
        receiver.address.ip(),
        receiver.address.port()
    )
}

const PLAIN: &str = "danger_plaintext = true";

/// Signs in, refreshes, and presents the spent token again: an incident. Returns the tokens that the thief does not have.
fn incident(client: &Client, name: &str, password: &str) -> Value {
    let first = client.sign_in(name, password);
    let next = client.post("/refresh").json(&json!({"refresh": first["refresh"]})).send();
    assert_eq!(next.status, 200, "{}", next.text());
    let thief = client
        .post("/refresh")
        .from("203.0.113.7".parse().unwrap())
        .header(
            "user-agent",
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Gecko/20100101 Firefox/140.0",
        )
        .json(&json!({"refresh": first["refresh"]}))
        .send();
    assert_eq!(thief.status, 401);
    next.json()
}

fn kim(client: &Client) -> Value {
    incident(client, "kim", "correct horse battery")
}

fn lee(client: &Client) -> Value {
    incident(client, "lee", "staple 한글 암호")
}

fn notices(gateway: &Gateway, channel: &str, result: &str) -> f64 {
    let name = format!("doorwarden_notices_total{{channel=\"{channel}\",result=\"{result}\"}}");
    gateway.metric(&name).unwrap_or_else(|| panic!("{name} exists from the start"))
}
