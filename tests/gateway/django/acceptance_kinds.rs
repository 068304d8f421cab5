//! More rows of the table: other kinds of keys and claims, second factors, packages' tokens, and answers to browsers.

use std::process::Command;

use serde_json::json;

use super::acceptance::{row, whoami};
use super::follow::line;
use super::{COOKIE, enter};
use crate::support::client::{Client, Request};
use crate::support::django::{Django, interpreter};
use crate::support::eventually;
use crate::support::gateway::{Setup, run_in};

const KEY: &str = "django-insecure-development-key-of-the-legacy-service";

/// Returns a token that the service's own PyJWT makes of these claims, in addition to those that all tokens have.
fn jwt(claims: &str) -> String {
    let program = format!(
        "import jwt, time\nnow = int(time.time())\n\
         all = {{'token_type': 'access', 'exp': now + 300, 'iat': now, 'jti': 'a1', 'user_id': '2'}}\n\
         all.update({claims})\nprint(jwt.encode(all, {KEY:?}, 'HS256'))"
    );
    let output = Command::new(interpreter()).args(["-c", &program]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Runs SQL in the service's own database.
fn sql(django: &Django, statements: &str) {
    django.run(&format!(
        "from django.db import connection\nfor one in '''{statements} '''.split(';'):\n    connection.cursor().execute(one.strip())"
    ));
}

fn setup(django: &Django, directory: &str, with: &str) -> Setup {
    django.setup_with(directory).file("secret-key", KEY.as_bytes()).with(with)
}

fn head() {
    eprintln!("\n| row | input | answer | the view |\n|---|---|---|---|");
}

fn post(client: &Client, path: &str, name: &str, password: &str) -> Request {
    client.post(path).json(&json!({"username": name, "password": password}))
}

#[test]
fn claims_and_keys_row_by_row() {
    let django = Django::start();
    let issuer =
        "[[issuer]]\nkind = \"simplejwt\"\nkey_file = \"secret-key\"\ndanger_weak_key = true\n";
    let gateway = setup(&django, "", &format!("{issuer}numeric_ids = true")).start();
    let client = gateway.client();
    let bearer = |claims: &str| whoami(&client).bearer(&jwt(claims));
    head();
    row("12", "user_id and jti as integers", &bearer("{'user_id': 2, 'jti': 7}"), (200, "\"kim\""));
    row("12", "iat as numeric text", &bearer("{'iat': str(now)}"), (200, "\"kim\""));
    // SimpleJWT itself fails on it with a TypeError.
    row("12", "exp as numeric text", &bearer("{'exp': str(now + 300)}"), (401, "token_not_valid"));
    row("12+", "exp with a fraction", &bearer("{'exp': now + 300.5}"), (200, "\"kim\""));
    row(
        "12+",
        "exp as a text that is no number",
        &bearer("{'exp': 'soon'}"),
        (401, "token_not_valid"),
    );

    // The service's own users again, with UUIDs without dashes as keys, in a text column.
    sql(
        &django,
        "CREATE TABLE people (id varchar(32) PRIMARY KEY, username varchar(150), password varchar(128), is_active bool);\
         INSERT INTO people SELECT '0123456789abcdef0123456789abcdef', username, password, 1 FROM auth_user WHERE username = 'kim';\
         CREATE TABLE members (id char(32) PRIMARY KEY, username varchar(150), password varchar(128), is_active bool);\
         INSERT INTO members SELECT '0123456789abcdef0123456789abcdef', username, password, 1 FROM auth_user WHERE username = 'kim'",
    );
    for (number, table, claim, told) in [
        ("11", "people", "0123456789abcdef0123456789abcdef", "0123456789abcdef0123456789abcdef"),
        (
            "11",
            "members",
            "0123456789abcdef0123456789abcdef",
            "01234567-89ab-cdef-0123-456789abcdef",
        ),
        (
            "11+",
            "members",
            "01234567-89AB-CDEF-0123-456789ABCDEF",
            "01234567-89ab-cdef-0123-456789abcdef",
        ),
    ] {
        let directory = format!(
            "user_table = \"{table}\"\ngroups = false\ncolumns = {{ is_staff = \"\", is_superuser = \"\", email = \"\" }}"
        );
        let gateway = setup(&django, &directory, issuer).start();
        let client = gateway.client();
        let request = whoami(&client).bearer(&jwt(&format!("{{'user_id': '{claim}'}}")));
        let response =
            row(number, &format!("{table}.id, the token says {claim}"), &request, (200, ""));
        assert_eq!(response.json()["meta"]["HTTP_X_USER_ID"], told, "{table} {claim}");
        eprintln!("| {number} | | X-User-Id | {told} |");
    }
}

#[test]
fn names_and_factors_row_by_row() {
    let django = Django::start();
    django.run(
        "for name in ('émile', '100%', 'anna-maria'): User.objects.create_user(name, password='long-pass-1234')",
    );
    let form = "[[identity.form]]\nname = \"server\"\nkind = \"remote-user\"\n";
    let route = "name = \"told\"\npath = \"/api/\"\nhosts = [\"told.test\"]\nidentity = \"server\"";
    sql(
        &django,
        "CREATE TABLE otp_totp_totpdevice (id integer PRIMARY KEY, user_id integer, confirmed bool);\
         INSERT INTO otp_totp_totpdevice SELECT 1, id, 1 FROM auth_user WHERE username = 'kim';\
         INSERT INTO otp_totp_totpdevice SELECT 2, id, 0 FROM auth_user WHERE username = 'lee'",
    );
    let factor = "[[directory.second_factor]]\ntable = \"otp_totp_totpdevice\"\n\
                  condition = [{ column = \"confirmed\", equals = true }]";
    let basic = "[[issuer]]\nkind = \"basic\"\n";
    let gateway = setup(&django, factor, &format!("{form}{basic}")).route(route).start();
    let client = gateway.client();
    head();
    let told = |name: &str| {
        let (access, _) = enter(&client, name, "long-pass-1234");
        whoami(&client).host("told.test").bearer(&access)
    };
    row("13", "remote-user for émile", &told("émile"), (403, "identity_not_carried"));
    row("13", "remote-user for 100%", &told("100%"), (403, "identity_not_carried"));
    row("13+", "remote-user for anna-maria", &told("anna-maria"), (200, ""));
    let kim = post(&client, "/login", "kim", "kim-pass-1234");
    row("25", "kim's password; kim has TOTP", &kim, (403, "second_factor_elsewhere"));
    let wrong = post(&client, "/login", "kim", "wrong");
    row("25", "a wrong password tells nothing of it", &wrong, (401, "no_active_account"));
    let basic = whoami(&client).header("Authorization", "Basic a2ltOmtpbS1wYXNzLTEyMzQ=");
    row("25+", "the same in HTTP Basic", &basic, (403, "second_factor_elsewhere"));
    let lee = post(&client, "/login", "lee", "lee-pass-1234");
    row("25+", "lee, whose device was never confirmed", &lee, (200, ""));
}

/// Makes the service store the same password with more iterations, as its own sign-in does after an upgrade.
const UPGRADE: &str = "from django.contrib.auth.hashers import PBKDF2PasswordHasher\n\
    hasher = PBKDF2PasswordHasher()\nkim = User.objects.get(username='kim')\n\
    kim.password = hasher.encode('kim-pass-1234', hasher.salt(), iterations=ITERATIONS)\nkim.save()";

#[test]
fn upgrades_row_by_row() {
    head();
    for (number, switch, after) in
        [("15", "", 401), ("15", "\ndanger_keep_at_password_upgrade = true", 200)]
    {
        let django = Django::start();
        django.run(&UPGRADE.replace("ITERATIONS", "1000"));
        let gateway = setup(&django, &format!("recheck = \"1s\"{switch}"), "").start();
        let client = gateway.client();
        let (access, _) = enter(&client, "kim", "kim-pass-1234");
        let (_, lees) = enter(&client, "lee", "lee-pass-1234");
        let kims = || whoami(&client).bearer(&access);
        row(
            number,
            &format!("a token before the upgrade{}", switch.replace('\n', ", ")),
            &kims(),
            (200, ""),
        );
        django.run(&UPGRADE.replace("ITERATIONS", "2000"));
        let looked = |times: f64| {
            let metric = "doorwarden_directory_duration_seconds_count{directory=\"django\"}";
            let before = gateway.metric(metric).unwrap();
            eventually("looks at the directory", || {
                (gateway.metric(metric).unwrap() >= before + times).then_some(())
            });
        };
        looked(4.0);
        row(number, "after it", &kims(), (after, ""));
        // Another password with the same number of iterations.
        let change = UPGRADE.replace("ITERATIONS", "2000");
        django.run(&change.replace("kim-pass-1234", "quite-new-1234"));
        eventually("a real change to end it", || (kims().send().status == 401).then_some(()));
        row("15+", "after a real change", &kims(), (401, "session_ended"));
        row("15+", "lee, who changed nothing", &whoami(&client).cookie(COOKIE, &lees), (200, ""));
    }
}

#[test]
fn packages_tokens_row_by_row() {
    let django = Django::start();
    let secret = "0123456789abcdef".repeat(4);
    django.run(&format!(
        "import hashlib\nfrom django.db import connection\ncursor = connection.cursor()\n\
         cursor.execute('CREATE TABLE knox_authtoken (digest varchar(128) PRIMARY KEY, token_key varchar(25), user_id integer, created datetime, expiry datetime NULL)')\n\
         for token, expiry in (({secret:?}, None), ('over' + {secret:?}, '2026-01-01 00:00:00')):\n\
         \x20   cursor.execute('INSERT INTO knox_authtoken VALUES (%s, %s, 2, %s, %s)', [hashlib.sha512(token.encode()).hexdigest(), token[:15], '2025-12-01 00:00:00', expiry])"
    ));
    let issuers = "[[issuer]]\nkind = \"simplejwt\"\nkey_file = \"secret-key\"\ndanger_weak_key = true\ncookie = \"access-token\"\n\
                   [[issuer]]\nkind = \"knox\"\n";
    let gateway = setup(&django, "", issuers).start();
    let client = gateway.client();
    head();
    let token = jwt("{}");
    let by_cookie = |request: Request| request.header("Cookie", &line(&[("access-token", &token)]));
    row("17", "SimpleJWT's token in a cookie", &by_cookie(whoami(&client)), (200, "\"kim\""));
    let elsewhere = client.post("/api/v1/whoami").header("Origin", "https://evil.test").body(b"");
    row("17", "a POST of another site with it", &by_cookie(elsewhere), (403, "cross_site"));
    row(
        "17+",
        "a cookie that is no token",
        &whoami(&client).cookie("access-token", "a.b.c"),
        (401, "token_not_valid"),
    );
    let knox = |token: &str| whoami(&client).header("Authorization", &format!("Token {token}"));
    row("18", "Authorization: Token <64 hex> of knox", &knox(&secret), (200, "\"kim\""));
    row("18", "one that is over", &knox(&format!("over{secret}")), (401, "token_not_valid"));
    row(
        "18+",
        "in capitals, which version 5 does not take",
        &knox(&secret.to_uppercase()),
        (401, "token_not_valid"),
    );
}

#[test]
fn other_sites_and_tables_row_by_row() {
    let django = Django::shared();
    head();
    let front = "[cors]\nallowed_origins = [\"https://front.example\"]\nallow_credentials = true\n\
                 [session]\ntrusted_origins = [\"https://front.example\"]\nsame_site = ";
    for (number, same_site) in [("19", "none"), ("19", "lax"), ("19+", "strict")] {
        let gateway = setup(&django, "", &format!("{front}\"{same_site}\"")).start();
        let client = gateway.client();
        let kim = post(&client, "/login", "kim", "kim-pass-1234")
            .header("Origin", "https://front.example");
        let answer = row(
            number,
            &format!("same_site = \"{same_site}\", signed in by a front end"),
            &kim,
            (200, ""),
        );
        let cookie = answer.all("set-cookie").join(" ");
        assert_eq!(cookie.contains("Partitioned"), same_site == "none", "{cookie}");
        let attributes = cookie.split_once(';').map(|(_, rest)| rest).unwrap_or_default();
        let check = run_in(gateway.folder(), &["check", "--config", "gateway.toml"], "");
        let said = String::from_utf8_lossy(&check.stderr).into_owned()
            + &String::from_utf8_lossy(&check.stdout);
        let warned: Vec<&str> = said.lines().filter(|line| line.contains("same_site")).collect();
        assert_eq!(warned.is_empty(), same_site == "none", "{said}");
        eprintln!("| {number} | |{attributes} | check: {} |", warned.first().unwrap_or(&"nothing"));
    }
    let checked = |directory: &str| {
        let folder = setup(&django, directory, "").prepare();
        let check = run_in(folder.path(), &["check", "--connect", "--config", "gateway.toml"], "");
        let said = String::from_utf8_lossy(&check.stderr).into_owned()
            + &String::from_utf8_lossy(&check.stdout);
        (check.status.code(), said)
    };
    for (number, directory, words) in [
        ("20", "user_table = \"users_user\"", "users_user"),
        (
            "20",
            "user_table = \"auth_user\"\n[directory.groups]\nmembership_table = \"users_groups\"",
            "users_groups",
        ),
        ("20+", "columns = { username = \"login\" }", "login"),
    ] {
        let (status, said) = checked(directory);
        let told: Vec<&str> = said.lines().filter(|line| line.contains(words)).collect();
        assert!(!told.is_empty(), "{words}: {said}");
        eprintln!(
            "| {number} | {} | check --connect: {status:?} | {} |",
            directory.replace('\n', " "),
            told.join(" / ")
        );
    }
}
