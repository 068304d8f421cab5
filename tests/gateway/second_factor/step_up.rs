//! Tests routes that demand a second factor, or a fresh proof.

use std::thread;

use serde_json::json;

use super::{COOKIE, PASSWORD, enrol, kim, login};
use crate::support::client::Client;
use crate::support::gateway::{Gateway, Setup};
use crate::support::upstream::Upstream;

const CHALLENGE: &str = "Bearer realm=\"api\", error=\"insufficient_user_authentication\"";

fn gateway(upstream: &Upstream) -> Gateway {
    Setup::new(upstream.address)
        .route(
            "name = \"admin\"\npath = \"/admin/\"\nsecond_factor = \"required\"\nfresh = \"15m\"",
        )
        .with("[second_factor]\nmode = \"optional\"")
        .start()
}

#[test]
fn a_program_is_told_what_it_takes_and_a_browser_is_led_there_and_back() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream);
    let client = gateway.client();
    let signed_in = login(&client, &kim());
    let (access, cookie) = (
        signed_in.json()["access"].as_str().unwrap().to_owned(),
        signed_in.set_cookie(COOKIE).unwrap(),
    );
    assert_eq!(client.get("/app").bearer(&access).send().status, 200);
    let refused = client.get("/admin/x").bearer(&access).send();
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (401, "insufficient_user_authentication")
    );
    let expected = format!("{CHALLENGE}, acr_values=\"aal2\", max_age=\"900\"");
    assert_eq!(refused.header("www-authenticate"), Some(expected.as_str()));

    let page = client.get("/admin/x?a=1").navigation().cookie(COOKIE, &cookie).send();
    assert_eq!(page.status, 303);
    assert_eq!(page.header("location"), Some("/login/second-factor?next=/admin/x%3Fa%3D1"));
    // A password is all that they have, and it does not give access to this route.
    let confirm = json!({"password": PASSWORD});
    let confirmed = client.post("/login/second-factor").bearer(&access).json(&confirm).send();
    assert_eq!(confirmed.status, 200, "{}", confirmed.text());
    assert_eq!(client.get("/admin/x").bearer(&access).send().status, 401);

    let (mut app, _) = enrol(&client);
    let asked = client
        .get("/login/second-factor?next=/admin/x")
        .navigation()
        .cookie(COOKIE, &cookie)
        .send();
    assert_eq!(asked.status, 200);
    assert!(
        asked.text().contains("one-time-code") && asked.text().contains("kim"),
        "{}",
        asked.text()
    );
    let confirmed = client
        .post("/login/second-factor")
        .navigation()
        .cookie(COOKIE, &cookie)
        .form(&[("otp", &app.code()), ("next", "/admin/x")])
        .send();
    assert_eq!((confirmed.status, confirmed.header("location")), (303, Some("/admin/x")));
    assert_eq!(client.get("/admin/x").navigation().cookie(COOKIE, &cookie).send().status, 200);
    assert_eq!(client.get("/admin/x").bearer(&access).send().status, 200, "the same session");
    let session = client.get("/session").bearer(&access).send().json();
    assert_eq!((&session["acr"], &session["amr"]), (&json!("aal2"), &json!(["pwd", "otp", "mfa"])));
    // Anonymous callers are redirected to the login page.
    let nobody = client.get("/login/second-factor?next=/admin/x").navigation().send();
    assert_eq!(
        nobody.header("location"),
        Some("/login?next=/login/second-factor%3Fnext%3D/admin/x")
    );
}

#[test]
fn a_browsers_form_is_kept_and_carried_out_once_after_the_proof() {
    let upstream = Upstream::start();
    let gateway = gateway(&upstream);
    let client = gateway.client();
    let cookie = login(&client, &kim()).set_cookie(COOKIE).unwrap();
    let (mut app, _) = enrol(&client);
    let before = upstream.seen().len();
    let post = |headers: &[(&str, &str)], fields: &[(&str, &str)]| {
        let mut request = client
            .post("/admin/pay?a=1")
            .header("Accept", "text/html")
            .header("Sec-Fetch-Mode", "navigate")
            .header("Sec-Fetch-Dest", "document")
            .cookie(COOKIE, &cookie);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        request.form(fields).send()
    };
    let fields = [("to", "김민정 & <co>"), ("csrfmiddlewaretoken", "t"), ("to", "again\r\nline")];
    let foreign = post(&[("Origin", "https://evil.example")], &fields);
    assert_eq!(foreign.status, 403, "the sender is looked at first: {}", foreign.text());
    let asked = post(&[("Origin", "http://app.test")], &fields);
    assert_eq!(asked.status, 200, "{}", asked.text());
    assert_eq!(upstream.seen().len(), before, "nothing went on");
    let page = asked.text();
    let held = page.split("name=\"held\" value=\"").nth(1).unwrap().split('"').next().unwrap();

    // A proof of another session does not release the form.
    let lee = json!({"username": "lee", "password": "staple 한글 암호"});
    let other = login(&client, &lee).set_cookie(COOKIE).unwrap();
    let confirm = |cookie: &str, field: (&str, &str)| {
        client
            .post("/login/second-factor")
            .navigation()
            .cookie(COOKIE, cookie)
            .form(&[field, ("held", held), ("next", "/")])
            .send()
    };
    let taken = confirm(&other, ("password", "staple 한글 암호"));
    assert_eq!((taken.status, taken.header("location")), (303, Some("/")));

    let wrong = confirm(&cookie, ("otp", "000000"));
    assert_eq!(wrong.status, 401);
    assert!(wrong.text().contains(held), "it is still kept");
    let page = confirm(&cookie, ("otp", &app.code()));
    assert_eq!(page.status, 200, "{}", page.text());
    let page = page.text();
    let action = "<form method=\"post\" action=\"/admin/pay?a=1&#38;doorwarden-held=";
    let ticket = page.split(action).nth(1).and_then(|rest| rest.split('"').next()).unwrap();
    for field in ["value=\"김민정 &#38; &#60;co&#62;\"", "name=\"csrfmiddlewaretoken\" value=\"t\""]
    {
        assert!(page.contains(field), "{field} is not in\n{page}");
    }
    assert_eq!(upstream.seen().len(), before);
    // Of two clicks at once one is forwarded, without the ticket, and no later one is.
    let click = |client: Client, cookie: String, ticket: String| {
        client
            .post(&format!("/admin/pay?a=1&doorwarden-held={ticket}"))
            .navigation()
            .header("Origin", "http://app.test")
            .cookie(COOKIE, &cookie)
            .form(&[("to", "kim")])
            .send()
    };
    // Nor is it forwarded with another session.
    let taken = click(gateway.client(), other, ticket.to_owned());
    assert_eq!((taken.status, upstream.seen().len()), (303, before), "led to set one up");
    let both = [(); 2].map(|()| {
        let (client, cookie, ticket) = (gateway.client(), cookie.clone(), ticket.to_owned());
        thread::spawn(move || click(client, cookie, ticket))
    });
    let mut ends = both.map(|one| one.join().unwrap().status);
    ends.sort_unstable();
    assert_eq!(ends, [200, 409]);
    let late = click(gateway.client(), cookie.clone(), ticket.to_owned());
    assert_eq!(late.status, 409);
    assert!(late.text().contains("href=\"/admin/pay?a=1\""), "{}", late.text());
    let arrived = upstream.seen();
    assert_eq!(arrived.len(), before + 1);
    assert_eq!(arrived.last().unwrap().target, "/admin/pay?a=1");
    // The form's ticket is spent.
    let again = confirm(&cookie, ("otp", &app.code()));
    assert_eq!((again.status, again.header("location")), (303, Some("/")));
}
