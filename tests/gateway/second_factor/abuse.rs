//! Tests refusals, each with its code and its line in the audit trail.

use serde_json::{Value, json};

use super::{App, PASSWORD, audited, enrol, gateway, kim, login, second, step, ticket, with};
use crate::support::client::{Client, Response};
use crate::support::eventually;
use crate::support::upstream::Upstream;

fn refused(response: &Response, status: u16, code: &str, what: &str) {
    let got = (response.status, response.code());
    assert_eq!((got.0, got.1.as_str()), (status, code), "{what}: {}", response.text());
    assert_eq!(response.header("set-cookie"), None, "{what}");
}

#[test]
fn a_used_code_a_neighbour_used_twice_and_parallel_codes_are_refused() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream, "mode = \"optional\"");
    let client = gateway.client();
    let (mut app, codes) = enrol(&client);

    let code = app.code();
    let results: Vec<u16> = std::thread::scope(|scope| {
        let tickets: Vec<String> = (0..3).map(|_| ticket(&client)).collect();
        let tries: Vec<_> = tickets
            .into_iter()
            .map(|ticket| {
                let (client, code) = (&client, &code);
                scope.spawn(move || second(client, &ticket, code).status)
            })
            .collect();
        tries.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(results.iter().filter(|status| **status == 200).count(), 1, "{results:?}");
    assert!(results.iter().all(|status| [200, 401].contains(status)), "{results:?}");

    refused(&second(&client, &ticket(&client), &code), 401, "bad_code", "a code again");
    audited(&gateway, "second_factor_refused", "used_code");
    let before = app.code_of(app.next - 2);
    refused(&second(&client, &ticket(&client), &before), 401, "bad_code", "the one before it");

    // A recovery code, twice. The first use resets the count of failures.
    assert_eq!(second(&client, &ticket(&client), &codes[3]).status, 200);
    refused(&second(&client, &ticket(&client), &codes[3]), 401, "bad_code", "a recovery code");
    audited(&gateway, "second_factor_refused", "wrong_code");
    let metric = "doorwarden_second_factor_refusals_total{reason=\"used_code\"}";
    eventually(metric, || gateway.metric(metric).filter(|count| *count >= 2.0));
}

#[test]
fn guesses_are_slowed_however_fresh_the_password_is() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream, "mode = \"optional\"");
    let client = gateway.client();
    let device = login(&client, &kim()).set_cookie("__Host-doorwarden-device").unwrap();
    let (mut app, codes) = enrol(&client);
    for n in 0..5_u8 {
        // Each comes from another network, with a fresh ticket.
        let from = format!("198.51.100.{n}").parse().unwrap();
        let asked = client.post("/login").from(from).json(&kim()).send().json();
        let guess = json!({"ticket": asked["ticket"], "otp": "000000"});
        let guessed = client.post("/login/second-factor").from(from).json(&guess).send();
        refused(&guessed, 401, "bad_code", "a guess");
    }
    for otp in [app.code_of(step()), codes[0].clone()] {
        let throttled = second(&client, &ticket(&client), &otp);
        refused(&throttled, 429, "too_many_attempts", "not looked at");
        let wait: u32 = throttled.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=30).contains(&wait), "{wait}");
    }
    audited(&gateway, "second_factor_refused", "throttled");
    // A browser that has signed in before is not slowed.
    let known = client
        .post("/login")
        .cookie("__Host-doorwarden-device", &device)
        .json(&with(kim(), "otp", &app.code()))
        .send();
    assert_eq!(known.status, 200, "{}", known.text());
}

#[test]
fn a_ticket_is_of_its_client_and_of_its_sign_in() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream, "mode = \"optional\"");
    let client = gateway.client();
    let (mut app, _) = enrol(&client);
    let ticket = ticket(&client);
    let code = app.code();
    let body = json!({"ticket": ticket, "otp": code});
    let elsewhere =
        client.post("/login/second-factor").from("203.0.113.9".parse().unwrap()).json(&body).send();
    refused(&elsewhere, 401, "ticket_not_valid", "another client");
    audited(&gateway, "second_factor_refused", "ticket");
    for forged in ["", "x", &"a".repeat(43), &"a".repeat(4000)] {
        let body = json!({"ticket": forged, "otp": code});
        let answer = client.post("/login/second-factor").json(&body).send();
        assert!([400, 401].contains(&answer.status), "{forged}: {}", answer.text());
    }
    assert_eq!(second(&client, &ticket, &code).status, 200, "nothing was spent by that");
    refused(&second(&client, &ticket, &app.code()), 401, "ticket_not_valid", "spent");
    // A change of the password in the meantime ends it.
    let later = super::ticket(&client);
    let output = gateway_passwd(&gateway);
    assert!(output.status.success(), "{output:?}");
    crate::support::eventually("the file to be read again", || {
        (login(&client, &kim()).status == 401
            && login(&client, &kim()).code() == "no_active_account")
            .then_some(())
    });
    refused(&second(&client, &later, "000000"), 401, "ticket_not_valid", "another password");
}

fn gateway_passwd(gateway: &crate::support::gateway::Gateway) -> std::process::Output {
    let arguments = ["user", "passwd", "kim", "--file", "users.toml", "--password-stdin"];
    crate::support::gateway::run_in(gateway.folder(), &arguments, "another password 1234")
}

fn begin(client: &Client, ticket: &Value) -> Value {
    let begun =
        client.post("/login/second-factor").json(&json!({"ticket": ticket, "enrol": true})).send();
    assert_eq!(begun.status, 200, "{}", begun.text());
    begun.json()
}

#[test]
fn a_stolen_password_sets_up_no_factor_where_one_is_due() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream, "mode = \"required\"");
    let client = gateway.client();
    let asked = login(&client, &kim());
    refused(&asked, 401, "enrolment_required", "a password alone");
    let asked = asked.json();
    assert_eq!(asked["invitation_required"], true);
    let begun = begin(&client, &asked["ticket"]);
    let mut app = App::new(begun["secret"].as_str().unwrap());
    let code = app.code();
    let mut confirm =
        json!({"ticket": asked["ticket"], "enrolment": begun["enrolment"], "otp": code});
    let confirmed = |body: &Value| client.post("/login/second-factor").json(body).send();
    refused(&confirmed(&confirm), 403, "enrolment_proof_required", "a password alone");
    confirm["invitation"] = json!("0000-0000-0000");
    refused(&confirmed(&confirm), 403, "enrolment_proof_required", "no code of an operator's");
    audited(&gateway, "second_factor_refused", "no_proof");
    let other = json!({"username": "lee", "password": "staple 한글 암호"});
    let of_lee = login(&client, &other).json();
    confirm["ticket"] = of_lee["ticket"].clone();
    refused(&confirmed(&confirm), 401, "ticket_not_valid", "another's secret");

    // With the operator's code it can be set up, and the next sign-in demands it.
    let invited = gateway.command(&["user", "second-factor", "invite", "file/kim"]);
    let said = String::from_utf8_lossy(&invited.stdout).into_owned();
    assert!(invited.status.success(), "{said} {}", String::from_utf8_lossy(&invited.stderr));
    let invitation = said.trim().rsplit(' ').next().unwrap().to_owned();
    confirm["ticket"] = asked["ticket"].clone();
    confirm["invitation"] = json!(invitation);
    let signed_in = confirmed(&confirm);
    assert_eq!(signed_in.status, 200, "{}", signed_in.text());
    assert_eq!(signed_in.json()["recovery_codes"].as_array().unwrap().len(), 10);
    let device = signed_in.set_cookie("__Host-doorwarden-device").unwrap();
    refused(&login(&client, &kim()), 401, "second_factor_required", "from then on");

    // If the factor is lost, an operator removes it. This browser is known.
    let reset = gateway.command(&["user", "second-factor", "reset", "kim"]);
    assert!(reset.status.success(), "{}", String::from_utf8_lossy(&reset.stderr));
    audited(&gateway, "second_factor_changed", "reset");
    let asked = client
        .post("/login")
        .cookie("__Host-doorwarden-device", &device)
        .json(&kim())
        .send()
        .json();
    assert_eq!(
        (&asked["code"], &asked["invitation_required"]),
        (&json!("enrolment_required"), &json!(false))
    );
    let listed = gateway.command(&["user", "second-factor", "list", "file/kim"]);
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    assert!(listed.contains("recovery codes left: 0"), "{listed}");
}

#[test]
fn nothing_is_changed_without_a_fresh_proof_of_all_that_they_have() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream, "mode = \"optional\"");
    let client = gateway.client();
    // A session from before the factor: its password is fresh, but not enough any more.
    let before = login(&client, &kim()).json()["access"].as_str().unwrap().to_owned();
    let (mut app, _) = enrol(&client);
    let change = |access: &str, body: &Value| {
        client.post("/account/second-factors").bearer(access).json(body).send()
    };
    let listed = client.get("/account/second-factors").bearer(&before).send().json();
    let id = listed["factors"][0]["id"].clone();
    for body in [
        json!({"action": "remove", "id": id}),
        json!({"action": "rename", "id": id, "name": "mine"}),
        json!({"action": "begin"}),
        json!({"action": "recovery"}),
    ] {
        refused(&change(&before, &body), 401, "insufficient_user_authentication", "stolen");
    }
    audited(&gateway, "second_factor_refused", "not_fresh");
    let confirm =
        |body: Value| client.post("/login/second-factor").bearer(&before).json(&body).send();
    let by_password = confirm(json!({"password": PASSWORD}));
    refused(&by_password, 401, "second_factor_required", "a password proves nothing then");
    refused(&confirm(json!({"otp": "000000"})), 401, "bad_code", "a guess");
    let raised = confirm(json!({"otp": app.code()}));
    assert_eq!(raised.status, 200, "{}", raised.text());
    assert_eq!(raised.json()["amr"], json!(["pwd", "otp", "mfa"]));
    let renamed = change(&before, &json!({"action": "rename", "id": id, "name": "mine"}));
    assert_eq!(renamed.json()["factors"][0]["name"], "mine");
    let codes = change(&before, &json!({"action": "recovery"})).json();
    assert_eq!(codes["recovery_codes"].as_array().unwrap().len(), 10);
    let removed = change(&before, &json!({"action": "remove", "id": id}));
    assert_eq!(removed.json(), json!({"factors": [], "recovery_codes_left": 0, "reset_at": null}));
    audited(&gateway, "second_factor_changed", "removed");
    assert_eq!(login(&client, &kim()).status, 200);
    // A POST with the cookie from another site's page.
    let cookie = login(&client, &kim()).set_cookie(super::COOKIE).unwrap();
    let foreign = client
        .post("/account/second-factors")
        .cookie(super::COOKIE, &cookie)
        .header("Origin", "https://evil.example")
        .form(&[("action", "begin")])
        .send();
    assert_eq!(foreign.code(), "cross_site", "{}", foreign.text());
}
