//! Tests personal access tokens of users with a second factor.

use serde_json::json;

use super::{COOKIE, audited, enrol, kim, login};
use crate::support::gateway::Setup;
use crate::support::upstream::Upstream;

#[test]
fn making_or_ending_a_token_takes_a_fresh_proof_of_all_that_they_have() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address)
        .route("name = \"api\"\npath = \"/api/\"\npersonal_tokens = true")
        .with("[second_factor]\nmode = \"optional\"")
        .start();
    let client = gateway.client();
    // This session is from before the factor, and has only proved a password.
    let cookie = login(&client, &kim()).set_cookie(COOKIE).unwrap();
    let create = json!({"action": "create", "name": "CI"});
    let post = |body: &serde_json::Value| {
        client.post("/account/tokens").cookie(COOKIE, &cookie).json(body).send()
    };
    let made = post(&create);
    assert_eq!(made.status, 201, "{}", made.text());
    let made = made.json();

    let (mut app, _) = enrol(&client);
    for body in [create.clone(), json!({"action": "revoke", "id": made["id"]})] {
        let refused = post(&body);
        assert_eq!(
            (refused.status, refused.code().as_str()),
            (401, "insufficient_user_authentication"),
            "{body}"
        );
    }
    audited(&gateway, "second_factor_refused", "not_fresh");
    let page = client
        .post("/account/tokens")
        .navigation()
        .cookie(COOKIE, &cookie)
        .form(&[("action", "create"), ("name", "CI")])
        .send();
    let leads_to = Some("/login/second-factor?next=/account/tokens");
    assert_eq!((page.status, page.header("location")), (303, leads_to));
    // The existing token stays valid, and may be listed.
    let token = made["token"].as_str().unwrap();
    assert_eq!(client.get("/api/x").bearer(token).send().status, 200);
    let listed = client.get("/account/tokens").cookie(COOKIE, &cookie).send();
    assert_eq!(listed.json()["tokens"][0]["name"], "CI");

    let confirm = json!({"otp": app.code()});
    let confirmed =
        client.post("/login/second-factor").cookie(COOKIE, &cookie).json(&confirm).send();
    assert_eq!(confirmed.status, 200, "{}", confirmed.text());
    assert_eq!(post(&create).status, 201);
    assert_eq!(post(&json!({"action": "revoke", "id": made["id"]})).status, 200);
    assert_eq!(client.get("/api/x").bearer(token).send().status, 401);
}
