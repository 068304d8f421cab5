//! Tests devices of django-otp on a database server: the gateway accepts their codes if its grants permit it.

use std::thread;

use serde_json::json;

use crate::support::client::{Client, Response};
use crate::support::database::{Database, Kind};
use crate::support::gateway::{Setup, run_in};
use crate::support::upstream::Upstream;

const BLOCK: &str = "[[directory.second_factor]]\nkind = \"django-otp\"\ntake_over = true\n";

/// Returns the tables as the package's migrations create them on each server.
fn tables(kind: Kind) -> String {
    let (id, small, bool, moment, key) = match kind {
        Kind::Postgres => ("serial", "smallint", "boolean", "timestamptz", "key"),
        Kind::MariaDb => {
            ("integer AUTO_INCREMENT", "smallint unsigned", "tinyint(1)", "datetime(6)", "`key`")
        }
    };
    let device = format!(
        "id {id} PRIMARY KEY, name varchar(64) NOT NULL, confirmed {bool} NOT NULL, user_id integer NOT NULL, \
         throttling_failure_count integer NOT NULL, throttling_failure_timestamp {moment} NULL, \
         created_at {moment} NULL, last_used_at {moment} NULL"
    );
    format!(
        "CREATE TABLE otp_totp_totpdevice ({device}, {key} varchar(80) NOT NULL, step {small} NOT NULL, \
             t0 bigint NOT NULL, digits {small} NOT NULL, tolerance {small} NOT NULL, drift smallint NOT NULL, \
             last_t bigint NOT NULL);\
         CREATE TABLE otp_static_staticdevice ({device});\
         CREATE TABLE otp_static_statictoken (id {id} PRIMARY KEY, token varchar(16) NOT NULL, device_id integer NOT NULL);\
         INSERT INTO otp_totp_totpdevice (name, confirmed, user_id, throttling_failure_count, {key}, step, t0, digits, \
             tolerance, drift, last_t) \
             SELECT 'default', true, id, 0, '3132333435363738393031323334353637383930', 30, 0, 8, 1, 0, -1 \
             FROM auth_user WHERE username = 'kim';\
         INSERT INTO otp_static_staticdevice (name, confirmed, user_id, throttling_failure_count) \
             SELECT 'backup', true, id, 0 FROM auth_user WHERE username IN ('kim', 'lee') ORDER BY id;\
         INSERT INTO otp_static_statictoken (token, device_id) SELECT 'abcd2345', id FROM otp_static_staticdevice;\
         INSERT INTO otp_static_statictoken (token, device_id) SELECT 'efgh2345', id FROM otp_static_staticdevice"
    )
}

fn grants(kind: Kind) -> [String; 3] {
    let (prefix, key) = match kind {
        Kind::Postgres => ("", "key"),
        Kind::MariaDb => ("app.", "`key`"),
    };
    let counted = "throttling_failure_timestamp, throttling_failure_count";
    [
        format!(
            "GRANT SELECT (id, name, {key}, step, t0, digits, tolerance, drift, last_t, confirmed, user_id, \
                 {counted}, last_used_at) ON {prefix}otp_totp_totpdevice TO doorwarden;\
             GRANT SELECT (id, name, confirmed, user_id, {counted}, last_used_at) \
                 ON {prefix}otp_static_staticdevice TO doorwarden;\
             GRANT SELECT ON {prefix}otp_static_statictoken TO doorwarden"
        ),
        format!(
            "GRANT UPDATE (last_t, drift, {counted}, last_used_at) ON {prefix}otp_totp_totpdevice TO doorwarden"
        ),
        format!(
            "GRANT UPDATE ({counted}, last_used_at) ON {prefix}otp_static_staticdevice TO doorwarden;\
             GRANT DELETE ON {prefix}otp_static_statictoken TO doorwarden"
        ),
    ]
}

fn sign_in(client: &Client, name: &str, otp: &str) -> Response {
    let mut body = json!({"username": name, "password": format!("{name}-pass-1234")});
    if !otp.is_empty() {
        body["otp"] = json!(otp);
    }
    client.post("/login").json(&body).send()
}

/// Checks that each grant permits what it is for and no more, and that a missing one is reported.
pub(crate) fn devices_are_used_by_the_grant(kind: Kind, database: &Database, upstream: &Upstream) {
    database.sql(&tables(kind));
    let [read, apps, tokens] = grants(kind);
    database.sql(&read);
    let gateway = Setup::new(upstream.address)
        .directories(&format!("{}{BLOCK}", database.directory()))
        .start();
    let client = gateway.client();
    let says = |expected: &[&str]| {
        let checked =
            run_in(gateway.folder(), &["check", "--connect", "--config", "gateway.toml"], "");
        let text = String::from_utf8_lossy(&checked.stderr).into_owned()
            + &String::from_utf8_lossy(&checked.stdout);
        for table in [
            "UPDATE otp_totp_totpdevice",
            "UPDATE otp_static_staticdevice",
            "DELETE otp_static_statictoken",
        ] {
            assert_eq!(text.contains(table), expected.contains(&table), "{table}: {text}");
        }
    };
    let ends = |name: &str, otp: &str, status: u16, code: &str| {
        let response = sign_in(&client, name, otp);
        assert_eq!(response.status, status, "{name}: {}", response.text());
        if status != 200 {
            assert_eq!(response.code(), code, "{name}");
        }
    };
    says(&[
        "UPDATE otp_totp_totpdevice",
        "UPDATE otp_static_staticdevice",
        "DELETE otp_static_statictoken",
    ]);
    for name in ["kim", "lee"] {
        ends(name, "abcd2345", 403, "second_factor_elsewhere");
    }
    ends("park", "", 200, "");
    database.sql(&apps);
    says(&["UPDATE otp_static_staticdevice", "DELETE otp_static_statictoken"]);
    ends("kim", "", 401, "second_factor_required");
    ends("kim", "abcd2345", 401, "bad_code");
    ends("lee", "abcd2345", 403, "second_factor_elsewhere");
    database.sql(&tokens);
    says(&[]);
    for (name, code, otp) in [("kim", "app", ""), ("lee", "token", "abcd2345")] {
        let otp = if otp.is_empty() { now_code() } else { otp.to_owned() };
        let all: Vec<_> = (0..4)
            .map(|_| {
                let (client, otp) = (gateway.client(), otp.clone());
                thread::spawn(move || sign_in(&client, name, &otp).status)
            })
            .collect();
        let mut ends: Vec<u16> = all.into_iter().map(|one| one.join().unwrap()).collect();
        ends.sort_unstable();
        assert_eq!(ends[0], 200, "{code} {ends:?}");
        assert!(ends[1..].iter().all(|status| matches!(status, 401 | 429)), "{code} {ends:?}");
    }
    ends("kim", "efgh2345", 200, "");
    let now = if kind == Kind::Postgres { "now()" } else { "utc_timestamp()" };
    database.sql(&format!(
        "UPDATE otp_static_staticdevice SET throttling_failure_count = 12, throttling_failure_timestamp = {now}"
    ));
    ends("lee", "efgh2345", 429, "too_many_attempts");
    database.sql("DROP TABLE otp_static_statictoken; DROP TABLE otp_static_staticdevice; DROP TABLE otp_totp_totpdevice");
    ends("kim", "", 503, "directory_unavailable");
}

/// Returns the present code of RFC 6238, with eight digits.
fn now_code() -> String {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let key = aws_lc_rs::hmac::Key::new(
        aws_lc_rs::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        b"12345678901234567890",
    );
    let tag = aws_lc_rs::hmac::sign(&key, &(now / 30).to_be_bytes());
    let tag = tag.as_ref();
    let offset = usize::from(tag[19] & 15);
    let number = u32::from_be_bytes(tag[offset..offset + 4].try_into().unwrap()) & 0x7fff_ffff;
    format!("{:08}", number % 100_000_000)
}
