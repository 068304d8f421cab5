//! Checks requests row by row: input, answer, and what the view received. `--nocapture` prints the table.
//!
//! Each row is a request to a real Django behind the gateway, with one more input of the same kind. Rows that need another
//! service (databases, packages, the doctor) are separate tests.

use serde_json::{Value, json};

use super::adopted::{become_, does, listed};
use super::follow::{ISSUER, line, resets, setup, setup_with};
use super::{COOKIE, enter};
use crate::support::client::{Client, Request, Response};
use crate::support::django::{Django, TOKEN_BLACKLIST};
use crate::support::eventually;

const OBTAIN: &str = "/api/v1/users/login/simpleJWT";
const FORM: &str = "identity = \"session\"";

/// One line of the table: the answer, and what the view received.
pub(super) fn row(number: &str, input: &str, request: &Request, wanted: (u16, &str)) -> Response {
    let response = request.send();
    let body: Value = serde_json::from_slice(&response.body).unwrap_or(Value::Null);
    let code = body["code"].as_str().unwrap_or_default();
    let kept = |name: &str| body[name].as_str().unwrap_or_default().to_owned();
    let of_drf = body["rest_framework"]["user"]["username"].as_str();
    let user =
        of_drf.or_else(|| body["user"]["username"].as_str()).or_else(|| body["user"].as_str());
    let saw = match (user, body["cookies"].as_array()) {
        (Some(user), cookies) => {
            let header =
                body["header"].as_str().or_else(|| body["meta"]["HTTP_X_USER_NAME"].as_str());
            let cookies = cookies.map(|all| format!(", {} cookies", all.len())).unwrap_or_default();
            let basket = if kept("kept").is_empty() {
                String::new()
            } else {
                format!(", kept {}", kept("kept"))
            };
            format!("user {user:?}, X-User-Name {:?}{cookies}{basket}", header.unwrap_or("-"))
        }
        (None, _) => "was not asked, or says nothing of it".to_owned(),
    };
    let sets: Vec<&str> =
        response.all("set-cookie").into_iter().filter_map(|set| set.split('=').next()).collect();
    eprintln!("| {number} | {input} | {} {code} {} | {saw} |", response.status, sets.join(", "));
    assert_eq!(response.status, wanted.0, "{number}: {input}: {}", response.text());
    assert!(format!("{code} {saw}").contains(wanted.1), "{number}: {input}: {code} {saw}");
    response
}

pub(super) fn whoami(client: &Client) -> Request {
    client.get("/api/v1/whoami")
}

fn tell(client: &Client, cookies: &str) -> Request {
    client.get("/session/tell").header("Cookie", cookies)
}

const TOKENS: &str = "
    [[issuer]]
    kind = \"simplejwt\"
    key_file = \"secret-key\"
    danger_weak_key = true
    schemes = [\"Bearer\", \"JWT\"]
    blacklist = BLACKLIST
    [[issuer]]
    kind = \"drf-token\"
    [[paths.alias]]
    path = \"/api/v1/users/login/simpleJWT\"
    endpoint = \"login\"
    [[paths.alias]]
    path = \"/api/v1/users/login/simpleJWT/refresh\"
    endpoint = \"refresh\"
    rotation = \"none\"";

#[test]
fn tokens_row_by_row() {
    let django = Django::start_with(&[TOKEN_BLACKLIST]);
    let direct = Client::new(django.address);
    let with = TOKENS.replace("BLACKLIST", "true");
    let directory = "refresh_interval = \"1s\"\nusername_field = \"email\"\nusername_case = \"fold\"\n\
        [[directory.condition]]\ncolumn = \"last_name\"\nequals = \"\"";
    let gateway = setup_with(directory, &django, "", &with).start();
    let client = gateway.client();
    let post = |body: &Value| client.post(OBTAIN).json(body);
    eprintln!("\n| row | input | answer | the view |\n|---|---|---|---|");
    let kim = json!({"email": "kim", "password": "kim-pass-1234"});
    let pair =
        row("1", "{\"email\", \"password\"} to SimpleJWT's URL", &post(&kim), (200, "")).json();
    let missing = row(
        "1+",
        "{\"username\", \"password\"} there",
        &post(&json!({"username": "kim", "password": "x"})),
        (400, ""),
    );
    assert!(missing.text().contains("\"email\""), "{}", missing.text());
    let access = pair["access"].as_str().unwrap();
    let header = |value: &str| whoami(&client).header("Authorization", value);
    row("2", "Authorization: JWT <access>", &header(&format!("JWT {access}")), (200, "\"kim\""));
    let body = json!({"refresh": pair["refresh"]});
    let again = client.post(&format!("{OBTAIN}/refresh")).json(&body).send().json();
    let again = again["access"].as_str().unwrap();
    row("2+", "jwt <access after a refresh>", &header(&format!("jwt {again}")), (200, "\"kim\""));
    let folded = json!({"email": "KIM", "password": "kim-pass-1234"});
    row("5", "KIM for kim, username_case = \"fold\"", &post(&folded), (200, ""));
    django.run("User.objects.filter(username='lee').update(last_name='deleted')");
    let lee = json!({"email": "lee", "password": "lee-pass-1234"});
    row("5+", "lee, whom a condition on a column hides", &post(&lee), (401, ""));

    let issued = direct
        .post(OBTAIN)
        .json(&json!({"username": "kim", "password": "kim-pass-1234"}))
        .send()
        .json();
    let theirs = issued["access"].as_str().unwrap();
    row("8", "the service's access token", &header(&format!("Bearer {theirs}")), (200, "\"kim\""));
    let revoke = |token: &str| {
        django.run_with(
            &[TOKEN_BLACKLIST],
            &format!(
                "from rest_framework_simplejwt.tokens import UntypedToken\n\
                 from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken, OutstandingToken\n\
                 import datetime\n\
                 jti = UntypedToken({token:?})['jti']\n\
                 one, _ = OutstandingToken.objects.get_or_create(jti=jti, defaults={{'token': {token:?}, 'expires_at': datetime.datetime(2099, 1, 1, tzinfo=datetime.timezone.utc)}})\n\
                 BlacklistedToken.objects.get_or_create(token=one)"
            ),
        );
    };
    revoke(theirs);
    eventually("the blacklist to be asked again", || {
        (header(&format!("Bearer {theirs}")).send().status == 401).then_some(())
    });
    row(
        "8",
        "the same, in the blacklist now",
        &header(&format!("Bearer {theirs}")),
        (401, "token_not_valid"),
    );
    let another = direct
        .post(OBTAIN)
        .json(&json!({"username": "kim", "password": "kim-pass-1234"}))
        .send()
        .json();
    let another = another["access"].as_str().unwrap().to_owned();
    revoke(&another);
    row(
        "8+",
        "one that was there before it was seen",
        &header(&format!("JWT {another}")),
        (401, "token_not_valid"),
    );

    django.run("from rest_framework.authtoken.models import Token\nToken.objects.create(user=User.objects.get(username='kim'), key='integration-billing-2024')");
    row(
        "16",
        "Token integration-billing-2024",
        &header("Token integration-billing-2024"),
        (200, "\"kim\""),
    );
    row(
        "16+",
        "Token with a key that nobody has: billing/2025",
        &header("Token billing/2025"),
        (401, ""),
    );

    let (_, cookie) = {
        let answer = client.post("/login").json(&kim).send();
        ((), answer.set_cookie(COOKIE).unwrap())
    };
    let beside = |value: &str| header(value).cookie(COOKIE, &cookie);
    row(
        "32",
        "Basic of an application beside a good cookie",
        &beside("Basic bGVlOmxlZQ=="),
        (200, "\"kim\""),
    );
    row("32", "Bearer of another system beside it", &beside("Bearer another-systems"), (401, ""));
    row("32+", "Digest beside it", &beside("Digest a=\"b\""), (200, "\"kim\""));
}

#[test]
fn sessions_row_by_row() {
    let django = Django::start();
    let gateway = setup_with("refresh_interval = \"1s\"", &django, FORM, ISSUER).start();
    let (client, direct) = (gateway.client(), Client::new(django.address));
    eprintln!("\n| row | input | answer | the view |\n|---|---|---|---|");
    let public = |cookies: &str| client.get("/public/session/tell").header("Cookie", cookies);
    let basket = does(&client, "keep/basket", "").set_cookie("sessionid").unwrap();
    row(
        "3",
        "a stranger's own sessionid with a basket",
        &public(&line(&[("sessionid", &basket)])),
        (200, "kept basket"),
    );
    let reset = resets(&client, &[]);
    eprintln!(
        "| 3 | the mailed link of PasswordResetConfirmView, and its form | {} to {} | the stranger's session on the way |",
        reset.status,
        reset.header("location").unwrap_or_default()
    );
    assert_eq!(reset.status, 302);
    let quoted = format!("sessionid=\"{basket}\"");
    row(
        "3+",
        "the same in quotes, beside a bad Bearer",
        &public(&quoted).bearer("no"),
        (200, "kept basket"),
    );
    let link = client.get("/public/session/become/kim");
    let kim =
        row("4", "a magic link: Set-Cookie of a session with a user", &link, (200, "\"kim\""))
            .set_cookie("sessionid")
            .unwrap();
    row(
        "4",
        "the next request with it",
        &tell(&client, &line(&[("sessionid", &kim)])),
        (200, "X-User-Name \"kim\""),
    );
    let taken = become_(&client, "admin", &line(&[("sessionid", &kim)]));
    row(
        "4+",
        "hijack: the session of before",
        &tell(&client, &line(&[("sessionid", &kim)])),
        (401, "session_ended"),
    );
    row(
        "4+",
        "hijack: the one of after",
        &tell(&client, &line(&[("sessionid", &taken)])),
        (200, "X-User-Name \"admin\""),
    );
    let kim = become_(&direct, "kim", "");
    let both = line(&[("sessionid", &kim), ("sessionid", &taken)]);
    row(
        "7",
        "Cookie: sessionid=kim's; sessionid=admin's",
        &tell(&client, &both),
        (200, "\"admin\", X-User-Name \"admin\", 1 cookies"),
    );
    let odd = line(&[("sessionid", &kim), ("sessionid", "no-such-session")]);
    row("7+", "the last one is none, on a public route", &public(&odd), (200, "user \"\""));
    let (_, ours) = enter(&client, "kim", "kim-pass-1234");
    let admin = become_(&client, "admin", &line(&[(COOKIE, &ours)]));
    row(
        "29",
        "kim at the gateway, then the service's form as admin",
        &tell(&client, &line(&[("sessionid", &admin)])),
        (200, "X-User-Name \"admin\""),
    );
    row(
        "29",
        "kim's cookie of the gateway",
        &tell(&client, &line(&[(COOKIE, &ours)])),
        (401, "session_ended"),
    );
    does(&client, "leave", &line(&[("sessionid", &admin)]));
    row(
        "29+",
        "after the service's log-out, nobody is left over",
        &tell(&client, &line(&[("sessionid", &admin)])),
        (401, "session_ended"),
    );
    let (_, mine) = enter(&client, "kim", "kim-pass-1234");
    let (_, other) = enter(&client, "kim", "kim-pass-1234");
    let change = client
        .post("/session/password/quite-new-1234")
        .header("Origin", "http://app.test")
        .cookie(COOKIE, &mine);
    row("30", "kim changes the password in this browser", &change, (200, "\"kim\""));
    eventually("the other browser's end", || {
        (tell(&client, &line(&[(COOKIE, &other)])).send().status == 401).then_some(())
    });
    row(
        "30",
        "the other browser",
        &tell(&client, &line(&[(COOKIE, &other)])),
        (401, "session_ended"),
    );
    row(
        "30+",
        "this browser, after looks at the directory",
        &tell(&client, &line(&[(COOKIE, &mine)])),
        (200, "\"kim\""),
    );
    assert!(listed(&gateway).len() < 4);

    // A page that redirects back users without the permission.
    let page =
        |cookies: &str| client.get("/login?next=/admin/").navigation().header("Cookie", cookies);
    row("14", "a signed-in user at the page", &page(&line(&[(COOKIE, &mine)])), (303, ""));
    let back =
        row("14", "the same, sent back at once", &page(&line(&[(COOKIE, &mine)])), (200, ""));
    assert!(back.text().contains("kim"), "{}", back.text());
    row(
        "14+",
        "another place a moment later",
        &client.get("/login?next=/other").navigation().cookie(COOKIE, &mine),
        (303, ""),
    );
    let login = client.get("/admin/login/").send();
    eprintln!(
        "| 22 | the service's own form, on a route with a form for tokens | {} | sets {} |",
        login.status,
        login.all("set-cookie").len()
    );

    let noted = Django::start_with(&[("DJANGO_SIGN_IN_NOTE", "1")]);
    let gateway = setup(&noted, FORM, "").start();
    let client = gateway.client();
    for (input, wanted) in
        [("1", (200, "")), ("2", (200, "")), ("3", (200, "")), ("4", (503, "session_not_kept"))]
    {
        let (_, cookie) = enter(&client, "kim", "kim-pass-1234");
        row(
            "10, 27",
            &format!("a session that the service throws away, for the time {input}"),
            &tell(&client, &line(&[(COOKIE, &cookie)])),
            wanted,
        );
    }
    let (_, lee) = enter(&client, "lee", "lee-pass-1234");
    row("10+, 27+", "somebody else's first", &tell(&client, &line(&[(COOKIE, &lee)])), (200, ""));
}
