//! Tests `/account`, where users see and manage their own sessions.

mod activity;
mod cost;
mod pages;
mod password;
mod sessions;

use serde_json::{Value, json};

use crate::support::client::{Client, Request};

const PASSWORD: &str = "correct horse battery";
const LEES: &str = "staple 한글 암호";
const COOKIE: &str = "__Host-doorwarden";

/// A session of a user, with its cookie and its tokens.
struct SignedIn {
    cookie: String,
    access: String,
    id: String,
}

fn enter(client: &Client, name: &str, password: &str) -> SignedIn {
    enter_as(client, client.post("/login"), name, password)
}

fn enter_as(client: &Client, login: Request, name: &str, password: &str) -> SignedIn {
    let login = login.json(&json!({"username": name, "password": password})).send();
    assert_eq!(login.status, 200, "{}", login.text());
    let cookie = login.set_cookie(COOKIE).unwrap();
    let access = login.json()["access"].as_str().unwrap().to_owned();
    let session = client.get("/session").bearer(&access).send().json();
    SignedIn { cookie, access, id: session["session_id"].as_str().unwrap().to_owned() }
}

impl SignedIn {
    fn is_in(&self, client: &Client) -> bool {
        let by_cookie = client.get("/session").cookie(COOKIE, &self.cookie).send().status == 200;
        let by_token = client.get("/session").bearer(&self.access).send().status == 200;
        assert_eq!(by_cookie, by_token, "cookie and token are of one session");
        by_cookie
    }
}

/// Returns the list of sessions, and the ids in it.
fn listed(client: &Client, session: &SignedIn, query: &str) -> (Value, Vec<String>) {
    let answer = client.get(&format!("/account/sessions{query}")).bearer(&session.access).send();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let answer = answer.json();
    let ids = answer["sessions"].as_array().unwrap().iter();
    let ids = ids.map(|one| one["id"].as_str().unwrap().to_owned()).collect();
    (answer, ids)
}
