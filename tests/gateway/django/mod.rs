//! Tests the gateway in front of a real Django service with the service's own users: one file for each topic.

mod acceptance;
mod acceptance_kinds;
mod admin;
mod adopted;
mod adopted_ways;
mod alias_jwt;
mod alias_session;
mod blacklist;
mod carry;
mod changes;
mod credentials;
mod dj_rest_auth;
mod follow;
mod forms;
mod front_end;
mod given;
mod identity;
mod in_a_browser;
mod left;
mod loops;
mod observed;
mod servers;
mod sign_in;
mod sign_in_redirect;
mod take_over;
mod templates;
mod thousand;
mod token_cookies;

use serde_json::{Value, json};

use crate::support::client::{Client, Request};

const COOKIE: &str = "__Host-doorwarden";

/// Signs a user of the service in, and returns the access token and the session cookie.
fn enter(client: &Client, name: &str, password: &str) -> (String, String) {
    let response =
        client.post("/login").json(&json!({"username": name, "password": password})).send();
    assert_eq!(response.status, 200, "{name}: {}", response.text());
    let access = response.json()["access"].as_str().unwrap().to_owned();
    (access, response.set_cookie(COOKIE).unwrap())
}

fn kim(client: &Client) -> (String, String) {
    enter(client, "kim", "kim-pass-1234")
}

/// Sends a request to one of the views that report what Django received, and returns the report.
fn report(request: &Request) -> Value {
    let response = request.send();
    assert_eq!(response.status, 200, "{}", response.text());
    response.json()
}
