//! Tests what operators see and do about users' second factors and tokens: by API, by command and in the browser.

use serde_json::{Value, json};

use super::{COOKIE, audited, enrol, kim, login, ticket};
use crate::operator_page::{agree, page, press, shown};
use crate::support::client::{Client, Response};
use crate::support::eventually;
use crate::support::gateway::{Gateway, Setup};
use crate::support::upstream::Upstream;

fn gateway(upstream: &Upstream) -> Gateway {
    Setup::new(upstream.address)
        .route("name = \"api\"\npath = \"/api/\"\npersonal_tokens = true")
        .with("[second_factor]\nmode = \"optional\"")
        .start()
}

fn token(gateway: &Gateway, name: &str) -> String {
    let wanted = json!({"user": "file/kim", "name": name, "routes": ["api"], "methods": ["GET"]});
    let made = gateway.operator("POST", "/tokens").json(&wanted).send();
    assert_eq!(made.status, 200, "{}", made.text());
    made.json()["token"].as_str().unwrap().to_owned()
}

fn enrolment_is_due(client: &Client) -> Response {
    let asked = login(client, &kim());
    assert_eq!((asked.status, asked.code().as_str()), (401, "enrolment_required"));
    assert_eq!(asked.json()["invitation_required"], json!(true));
    asked
}

#[test]
fn a_reset_ends_the_sessions_and_forces_another_factor_by_the_operators_code() {
    let upstream = Upstream::start();
    let mut gateway = gateway(&upstream);
    for way in ["api", "command", "offline"] {
        let client = gateway.client();
        let first = login(&client, &kim());
        // The factor of the previous round has been removed.
        let signed_in = match first.status {
            200 => first,
            _ => panic!("{way}: {}", first.text()),
        };
        let access = signed_in.json()["access"].as_str().unwrap().to_owned();
        let cookie = signed_in.set_cookie(COOKIE).unwrap();
        enrol(&client);
        ticket(&client);
        let machine = token(&gateway, way);
        let use_of = |client: &Client| {
            let get = |path| client.get(path);
            [
                get("/app").bearer(&access).send().status,
                get("/app").cookie(COOKIE, &cookie).send().status,
                get("/api/x").bearer(&machine).send().status,
            ]
        };
        assert_eq!(use_of(&client), [200, 200, 200], "{way}");
        let invitation = match way {
            "api" => {
                let reset = gateway.operator("POST", "/second-factors/reset");
                let told = reset.json(&json!({"user": "file/kim"})).send().json();
                assert!(told["sessions_ended"].as_u64().unwrap() >= 2, "{told}");
                told["invitation"].as_str().unwrap().to_owned()
            }
            _ => {
                if way == "offline" {
                    gateway.kill();
                }
                let said = gateway.command(&["user", "second-factor", "reset", "kim"]);
                assert!(said.status.success(), "{said:?}");
                let said = String::from_utf8(said.stdout).unwrap();
                assert!(said.contains("ended their sessions"), "{said}");
                if way == "offline" {
                    gateway.spawn();
                }
                said.trim().rsplit(' ').next().unwrap().to_owned()
            }
        };
        let client = gateway.client();
        assert_eq!(use_of(&client), [401, 401, 200], "{way}: a token is not a sign-in");
        if way == "api" {
            audited(&gateway, "second_factor_changed", "reset");
            audited(&gateway, "session_ended", "operator");
        }
        // A user with only the password gets no further.
        let asked = enrolment_is_due(&client).json();
        let begin = json!({"ticket": asked["ticket"], "enrol": true});
        let begun = client.post("/login/second-factor").json(&begin).send().json();
        let mut app = super::App::new(begun["secret"].as_str().unwrap());
        let mut confirm = json!({
            "ticket": asked["ticket"], "enrolment": begun["enrolment"], "otp": app.code(), "name": "x",
        });
        let refused = client.post("/login/second-factor").json(&confirm).send();
        assert_eq!(refused.code(), "enrolment_proof_required", "{way}");
        confirm["invitation"] = json!(invitation);
        confirm["otp"] = json!(app.code());
        let done = client.post("/login/second-factor").json(&confirm).send();
        assert_eq!(done.status, 200, "{way}: {}", done.text());
        // For the next round kim has no factor again, and may sign in with the password.
        remove_all(&client, done.json()["access"].as_str().unwrap());
    }
}

/// Removes kim's factors as kim would.
fn remove_all(client: &Client, access: &str) {
    let listed = client.get("/account/second-factors").bearer(access).send().json();
    for factor in listed["factors"].as_array().unwrap() {
        let remove = json!({"action": "remove", "id": factor["id"]});
        let removed = client.post("/account/second-factors").bearer(access).json(&remove).send();
        assert_eq!(removed.status, 200, "{}", removed.text());
    }
}

#[test]
fn an_operator_sees_to_a_users_factors_and_tokens_on_the_page() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream);
    let client = gateway.client();
    let access = login(&client, &kim()).json()["access"].as_str().unwrap().to_owned();
    enrol(&client);
    let names = ["nightly backup", "<b>CI</b>"];
    let tokens = names.map(|name| token(&gateway, name));
    assert_eq!(client.get("/api/x").bearer(&tokens[0]).send().status, 200);

    let browser = page(&gateway);
    browser.fill("#person-user", "nobody");
    press(&browser, "#person button", "Show");
    shown(&browser, "#alert", "Nobody is called nobody.");
    browser.run("document.getElementById('person-user').value = ''");
    browser.fill("#person-user", "kim");
    press(&browser, "#person button", "Show");
    shown(&browser, "#person-who", "file/kim");
    shown(&browser, "#factors-list .what", "전화");
    shown(&browser, "#factors-list .tag", "authenticator app");
    shown(&browser, "#factors-state", "10 recovery codes left.");
    shown(&browser, "#tokens-list .what", "<b>CI</b>");
    shown(&browser, "#tokens-list .tag", "GET");
    for (width, scheme) in [(390, "light"), (390, "dark"), (1280, "light"), (1280, "dark")] {
        browser.width(width);
        browser.prefer(scheme, "en");
        let wide =
            "return document.documentElement.scrollWidth - document.documentElement.clientWidth";
        assert_eq!(browser.run(wide), 0, "{width} {scheme}");
        if let Some(folder) = std::env::var_os("DOORWARDEN_SCREENSHOTS") {
            browser.run("document.getElementById('person-title').scrollIntoView()");
            let name = format!("operator-person-{width}-{scheme}.png");
            std::fs::write(std::path::Path::new(&folder).join(name), browser.screenshot()).unwrap();
        }
    }
    press(&browser, "#tokens-list button", "Revoke nightly backup");
    agree(&browser);
    eventually("the token to end", || {
        (client.get("/api/x").bearer(&tokens[0]).send().status == 401).then_some(())
    });
    assert_eq!(client.get("/api/x").bearer(&tokens[1]).send().status, 200);

    press(&browser, "#person-shown button", "Invite to set one up");
    agree(&browser);
    shown(&browser, "#person-invitation", "not shown again");
    press(&browser, "#person-shown button", "Reset");
    // The page asks for confirmation, and does nothing without it.
    press(&browser, "#ask button", "Cancel");
    assert_eq!(client.get("/app").bearer(&access).send().status, 200);
    press(&browser, "#person-shown button", "Reset");
    agree(&browser);
    shown(&browser, "#factors-state", "one is set up at the next sign-in");
    assert_eq!(client.get("/app").bearer(&access).send().status, 401);
    enrolment_is_due(&client);
    let console = browser.console();
    let bad =
        console.iter().find(|line| line.contains("Content Security") || line.contains("Uncaught"));
    assert_eq!(bad, None, "{console:#?}");
    let listed: Value = gateway.operator("GET", "/tokens?user=file/kim").send().json();
    assert_eq!(listed["tokens"].as_array().unwrap().len(), 1);
}
