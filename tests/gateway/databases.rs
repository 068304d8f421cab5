//! Tests users of a Django service on PostgreSQL and MariaDB: the whole directory, once for each.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::json;

use crate::database_factors::devices_are_used_by_the_grant;
use crate::support::client::{Client, Response};
use crate::support::database::{Database, Kind};
use crate::support::eventually;
use crate::support::gateway::{Gateway, Setup, write_private};
use crate::support::upstream::Upstream;

#[test]
fn postgresql() {
    the_whole_directory(Kind::Postgres);
}

#[test]
fn mariadb() {
    the_whole_directory(Kind::MariaDb);
}

struct Service {
    kind: Kind,
    database: Database,
    upstream: Upstream,
    gateway: Gateway,
    client: Client,
}

/// All tests share one server, because starting one takes seconds.
fn the_whole_directory(kind: Kind) {
    let database = Database::start(kind);
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).directories(&database.directory()).start();
    let client = gateway.client();
    let mut service = Service { kind, database, upstream, gateway, client };
    everybody_signs_in(&service);
    the_server_must_be_who_it_should_be(&service);
    nobody_else_signs_in(&service);
    other_case_is_as_at_django(&service);
    a_custom_table_may_have_uuids(&service);
    what_a_manager_adds_is_asked(&service);
    what_the_service_issued_is_read_from_its_tables(&service);
    a_token_of_knox_ends_at_its_millisecond(&service);
    devices_are_used_by_the_grant(kind, &service.database, &service.upstream);
    changes_reach_sessions(&service);
    nothing_but_the_grant_is_needed_or_possible(&service);
    a_password_that_is_changed_is_read_again(&service);
    killed_and_back_under_load(&mut service);
}

impl Service {
    fn sign_in(&self, name: &str, password: &str) -> Response {
        sign_in(&self.client, name, password)
    }

    fn enter(&self, name: &str) -> String {
        let response = self.sign_in(name, &format!("{name}-pass-1234"));
        assert_eq!(response.status, 200, "{name}: {}", response.text());
        response.json()["access"].as_str().unwrap().to_owned()
    }

    /// Returns what the upstream received: id, name, groups.
    fn told(&self, access: &str) -> [String; 3] {
        assert_eq!(self.client.get("/told").bearer(access).send().status, 200);
        let seen = self.upstream.last();
        ["x-user-id", "x-user-name", "x-user-groups"]
            .map(|name| seen.header(name).unwrap_or_default().to_owned())
    }
}

fn sign_in(client: &Client, name: &str, password: &str) -> Response {
    client.post("/login").json(&json!({"username": name, "password": password})).send()
}

fn everybody_signs_in(service: &Service) {
    for (name, password, told) in [
        ("admin", "admin-pass-1234", ["1", "admin", ""]),
        ("kim", "kim-pass-1234", ["2", "kim", "editors"]),
        ("lee", "lee-pass-1234", ["3", "lee", "editors,reviewers"]),
        ("park", "park-pass-1234", ["4", "park", ""]),
        ("choi", "choi-pass-1234", ["5", "choi", ""]),
        ("staff", "staff-pass-1234", ["12", "staff", ""]),
        ("김민정", "비밀번호-1234", ["13", "%EA%B9%80%EB%AF%BC%EC%A0%95", ""]),
        ("blanks", "  two blanks  ", ["14", "blanks", ""]),
        ("1", "one-pass-1234", ["20", "1", ""]),
    ] {
        let response = service.sign_in(name, password);
        assert_eq!(response.status, 200, "{name}: {}", response.text());
        let body = response.json();
        assert_eq!(service.told(body["access"].as_str().unwrap()), told);
    }
}

/// The other tests use a verified connection; this one shows that the verification can fail.
fn the_server_must_be_who_it_should_be(service: &Service) {
    if service.kind == Kind::MariaDb {
        // The gateway connects through a socket, which only the server's own user can have created.
        return;
    }
    let other = service.database.directory_with_another_name();
    let gateway = Setup::new(service.upstream.address).directories(&other).start();
    assert_eq!(sign_in(&gateway.client(), "kim", "kim-pass-1234").status, 503);
    gateway.logged("what is wrong with the certificate", |line| {
        line.to_string().contains("certificate")
    });
}

fn nobody_else_signs_in(service: &Service) {
    let long = "k".repeat(151);
    for (what, name, password) in [
        ("inactive", "inactive", "inactive-pass-1234"),
        ("an unusable password", "nopassword", "none works"),
        ("unknown", "nobody", "kim-pass-1234"),
        ("somebody else's password", "park", "lee-pass-1234"),
        ("an id is no name", "2", "kim-pass-1234"),
        ("an accent that a collation ignores", "kím", "kim-pass-1234"),
        ("letters of another width", "ｋｉｍ", "kim-pass-1234"),
        ("a LIKE pattern", "k%m", "kim-pass-1234"),
        ("SQL", "kim' -- ", "kim-pass-1234"),
        ("a NUL", "kim\0", "kim-pass-1234"),
        ("longer than the column", &long, "kim-pass-1234"),
        ("beyond the basic plane", "kim\u{1f600}", "kim-pass-1234"),
    ] {
        let response = service.sign_in(name, password);
        assert!(
            matches!(response.status, 400 | 401),
            "{what}: {} {}",
            response.status,
            response.text()
        );
    }
}

/// Reads sessions and tokens from the service's own tables, with dates in its own time zone.
fn what_the_service_issued_is_read_from_its_tables(service: &Service) {
    service.database.sql(&issuers_grant(service.kind));
    service.database.django(
        "from django.contrib.sessions.models import Session\n\
         from rest_framework.authtoken.models import Token\n\
         from django.utils.timezone import now, timedelta\n\
         u = User.objects.get(username='kim')\n\
         data = Session.objects.encode({'_auth_user_id': str(u.pk), '_auth_user_hash': u.get_session_auth_hash(),\n\
         \x20 '_auth_user_backend': 'django.contrib.auth.backends.ModelBackend'})\n\
         for key, minutes in [('kimsession', 30), ('oldsession', -30)]:\n\
         \x20 end = now() + timedelta(minutes=minutes)\n\
         \x20 Session.objects.create(session_key=key, session_data=data, expire_date=end)\n\
         Token.objects.create(key='a' * 40, user=u)",
    );
    let gateway = Setup::new(service.upstream.address)
        .directories(&service.database.directory())
        .file("secret-key", b"django-insecure-development-key-of-the-legacy-service")
        .with(
            "[[issuer]]\nkind = \"django-session\"\nkey_file = \"secret-key\"\n\
             [[issuer]]\nkind = \"drf-token\"\n",
        )
        .start();
    let client = gateway.client();
    let session = |key: &str| client.get("/told").cookie("sessionid", key).send().status;
    let token = |key: &str| {
        client.get("/told").header("Authorization", &format!("Token {key}")).send().status
    };
    for temperature in ["cold", "warm"] {
        assert_eq!((session("kimsession"), token(&"a".repeat(40))), (200, 200), "{temperature}");
        assert_eq!(service.upstream.last().header("x-user-name"), Some("kim"));
    }
    assert_eq!(
        (session("oldsession"), session("nosession"), token(&"b".repeat(40))),
        (401, 401, 401)
    );
    // Signing out ends the session under every spelling that the table's collation accepts.
    let out = client.post("/logout").cookie("sessionid", "kimsession").send();
    assert_eq!(out.status, 204);
    assert_eq!((session("kimsession"), session("KIMSESSION")), (401, 401));
}

/// The columns are those of django-rest-knox's migrations. The expiry has fractions of a second, and they count.
fn a_token_of_knox_ends_at_its_millisecond(service: &Service) {
    let token = "0123456789abcdef".repeat(4);
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    // Far from a whole second on both sides.
    let expiry = Duration::new(now().as_secs() + 12, 600_000_000);
    let micros = expiry.as_micros();
    let (moment, digest, made, ends, table) = match service.kind {
        Kind::Postgres => (
            "timestamptz",
            format!("encode(sha512('{token}'), 'hex')"),
            "now()".to_owned(),
            format!("to_timestamp({micros} / 1000000.0)"),
            "knox_authtoken",
        ),
        Kind::MariaDb => (
            "datetime(6)",
            format!("sha2('{token}', 512)"),
            "utc_timestamp(6)".to_owned(),
            format!("timestampadd(microsecond, {micros}, '1970-01-01 00:00:00')"),
            "app.knox_authtoken",
        ),
    };
    service.database.sql(&format!(
        "CREATE TABLE knox_authtoken (digest varchar(128) PRIMARY KEY, token_key varchar(25) NOT NULL, \
         user_id integer NOT NULL, created {moment} NOT NULL, expiry {moment} NULL);\
         INSERT INTO knox_authtoken SELECT {digest}, '{}', id, {made}, {ends} FROM auth_user WHERE username = 'kim';\
         GRANT SELECT ON {table} TO doorwarden",
        &token[..15]
    ));
    let gateway = Setup::new(service.upstream.address)
        .directories(&service.database.directory())
        .with("[[issuer]]\nkind = \"knox\"\n")
        .start();
    let client = gateway.client();
    let mut good = 0;
    let refused = eventually("the token to end", || {
        let asked = now();
        let status =
            client.get("/told").header("Authorization", &format!("Token {token}")).send().status;
        match status {
            200 => {
                assert!(asked < expiry, "accepted {:?} too late", asked - expiry);
                good += 1;
                None
            }
            401 => Some(now()),
            other => panic!("{other}"),
        }
    });
    assert!(refused > expiry, "refused {:?} too early, after {good} looks", expiry - refused);
    assert!(good > 0, "it was good before");
    let told = service.upstream.last().header("x-user-name").map(str::to_owned);
    assert_eq!(told.as_deref(), Some("kim"));
}

/// Returns the grants that `docs/databases.md` adds for issuers.
fn issuers_grant(kind: Kind) -> String {
    let blocks = include_str!("../../docs/databases.md").split("```sql\n").skip(1);
    let mut blocks = blocks.filter_map(|rest| rest.split("```").next());
    let names_database = kind == Kind::MariaDb;
    blocks
        .find(|block| block.contains("authtoken_token") && block.contains("app.") == names_database)
        .unwrap()
        .to_owned()
}

fn other_case_is_as_at_django(service: &Service) {
    let response = service.sign_in("KIM", "kim-pass-1234");
    match service.kind {
        Kind::Postgres => assert_eq!(response.status, 401, "{}", response.text()),
        Kind::MariaDb => {
            let access = response.json()["access"].as_str().unwrap().to_owned();
            assert_eq!(service.told(&access), ["2", "kim", "editors"], "under the row's name");
        }
    }
    // The answer of Django itself on this database.
    let expected = if service.kind == Kind::Postgres { "None" } else { "kim" };
    service.database.django(&format!(
        "from django.contrib.auth import authenticate\n\
         user = authenticate(username='KIM', password='kim-pass-1234')\n\
         assert str(user) == '{expected}', user"
    ));
}

fn a_custom_table_may_have_uuids(service: &Service) {
    // The types are those that Django uses: PostgreSQL has a UUID type, on MySQL it stores the digits.
    let (uuid, table) = match service.kind {
        Kind::Postgres => ("uuid", "people"),
        Kind::MariaDb => ("char(32)", "app.people"),
    };
    service.database.sql(&format!(
        "CREATE TABLE people (key_ {uuid} PRIMARY KEY, mail varchar(254) UNIQUE, pw varchar(128), on_ bool);\
         INSERT INTO people SELECT '0123456789abcdef0123456789abcdef', 'lee@example.com', password, true \
             FROM auth_user WHERE username = 'lee';\
         GRANT SELECT ON {table} TO doorwarden"
    ));
    let keys = r#"user_table = "people"
groups = false
columns = { id = "key_", username = "mail", password = "pw", is_active = "on_", is_staff = "", is_superuser = "", email = "mail" }
"#;
    let gateway = Setup::new(service.upstream.address)
        .directories(&format!("{}{keys}", service.database.directory()))
        .start();
    let client = gateway.client();
    let response = sign_in(&client, "lee@example.com", "lee-pass-1234");
    assert_eq!(response.status, 200, "{}", response.text());
    let access = response.json()["access"].as_str().unwrap().to_owned();
    let told = || {
        let status = client.get("/told").bearer(&access).send().status;
        let seen = service.upstream.last();
        (
            status,
            seen.header("x-user-id").map(str::to_owned),
            seen.header("x-user-name").map(str::to_owned),
        )
    };
    let as_lee = |name: &str| {
        (200, Some("01234567-89ab-cdef-0123-456789abcdef".to_owned()), Some(name.to_owned()))
    };
    assert_eq!(told(), as_lee("lee@example.com"));
    // The user is found by the row's primary key, although the user's name has changed.
    service.database.sql("UPDATE people SET mail = 'l@example.com'");
    eventually("the new name", || (told() == as_lee("l@example.com")).then_some(()));
    service.database.sql("UPDATE people SET on_ = false");
    eventually("the session to end", || (told().0 == 401).then_some(()));
}

/// Tests `[[directory.condition]]` and `[[directory.second_factor]]` on columns of the server's own types.
fn what_a_manager_adds_is_asked(service: &Service) {
    let (moment, quote, prefix) = match service.kind {
        Kind::Postgres => ("timestamptz", '"', ""),
        Kind::MariaDb => ("datetime(6)", '`', "app."),
    };
    service.database.sql(&format!(
        "CREATE TABLE members AS SELECT id, username, password, is_active FROM auth_user;\
         ALTER TABLE members ADD deleted_at {moment} NULL;\
         ALTER TABLE members ADD banned bool NOT NULL DEFAULT false;\
         ALTER TABLE members ADD {quote}level{quote} integer NOT NULL DEFAULT 3;\
         ALTER TABLE members ADD state varchar(20) NOT NULL DEFAULT 'it''s ok';\
         CREATE TABLE devices (id integer PRIMARY KEY, user_id integer, confirmed bool, kind varchar(20));\
         UPDATE members SET deleted_at = '2026-01-01 00:00:00' WHERE username = 'park';\
         UPDATE members SET banned = true WHERE username = 'choi';\
         UPDATE members SET {quote}level{quote} = 4 WHERE username = 'staff';\
         UPDATE members SET state = 'IT''S OK' WHERE username = 'blanks';\
         INSERT INTO devices SELECT 1, id, true, 'totp' FROM members WHERE username = 'lee';\
         INSERT INTO devices SELECT 2, id, false, 'totp' FROM members WHERE username = 'kim';\
         GRANT SELECT ON {prefix}members TO doorwarden; GRANT SELECT ON {prefix}devices TO doorwarden"
    ));
    let keys = r#"user_table = "members"
groups = false
columns = { is_staff = "", is_superuser = "", email = "" }
condition = [
    { column = "deleted_at", is = "null" }, { column = "banned", equals = false }, { column = "level", equals = 3 },
    { column = "state", equals = "it's ok" },
]
[[directory.second_factor]]
table = "devices"
condition = [{ column = "confirmed", equals = true }, { column = "kind", equals = "totp" }]
"#;
    let gateway = Setup::new(service.upstream.address)
        .directories(&format!("{}{keys}", service.database.directory()))
        .start();
    let client = gateway.client();
    // The server's collation decides whether case matters, and so it is in Django.
    let folds = service.kind == Kind::MariaDb;
    for (name, password, status, code) in [
        ("kim", "kim-pass-1234", 200, ""),
        ("park", "park-pass-1234", 401, "no_active_account"),
        ("choi", "choi-pass-1234", 401, "no_active_account"),
        ("staff", "staff-pass-1234", 401, "no_active_account"),
        (
            "blanks",
            "  two blanks  ",
            if folds { 200 } else { 401 },
            if folds { "" } else { "no_active_account" },
        ),
        ("lee", "wrong", 401, "no_active_account"),
        ("lee", "lee-pass-1234", 403, "second_factor_elsewhere"),
    ] {
        let response = sign_in(&client, name, password);
        assert_eq!(response.status, status, "{name}: {}", response.text());
        if status != 200 {
            assert_eq!(response.code(), code, "{name}");
        }
    }
    let access = client.sign_in("kim", "kim-pass-1234")["access"].as_str().unwrap().to_owned();
    let kims = || client.get("/told").bearer(&access).send().status;
    assert_eq!(kims(), 200);
    service
        .database
        .sql("UPDATE members SET deleted_at = '2026-02-01 00:00:00' WHERE username = 'kim'");
    eventually("who is deleted to be signed out", || (kims() == 401).then_some(()));
}

fn changes_reach_sessions(service: &Service) {
    let ended = ["park", "choi", "staff"].map(|name| (name, service.enter(name)));
    let lee = service.enter("lee");
    service.database.django(
        "park = User.objects.get(username='park'); park.set_password('new-pass-1234'); park.save()\n\
         User.objects.filter(username='choi').update(is_active=False)\n\
         User.objects.get(username='staff').delete()\n\
         lee = User.objects.get(username='lee'); lee.groups.set([Group.objects.create(name='a, \"b')])",
    );
    for (name, access) in &ended {
        eventually(&format!("the session of {name} to end"), || {
            (service.client.get("/").bearer(access).send().status == 401).then_some(())
        });
    }
    eventually("the group of lee to change", || {
        (service.told(&lee) == ["3", "lee", "a%2C \"b"]).then_some(())
    });
    assert_eq!(service.sign_in("park", "new-pass-1234").status, 200);
    assert_eq!(service.sign_in("choi", "choi-pass-1234").status, 401);
}

/// The tests so far ran with only the documented grants; with fewer, the gateway reports what is missing.
fn nothing_but_the_grant_is_needed_or_possible(service: &Service) {
    let table = if service.kind == Kind::Postgres { "auth_group" } else { "app.auth_group" };
    service.database.sql(&format!("REVOKE SELECT (name) ON {table} FROM doorwarden"));
    let response = service.sign_in("lee", "lee-pass-1234");
    assert_eq!((response.status, response.code().as_str()), (503, "directory_unavailable"));
    service.gateway.logged("what is missing", |line| {
        let line = line.to_string();
        line.contains("denied") && !line.contains("change-me")
    });
    service.database.sql(&format!("GRANT SELECT (name) ON {table} TO doorwarden"));
    assert_eq!(service.sign_in("lee", "lee-pass-1234").status, 200);
}

fn a_password_that_is_changed_is_read_again(service: &Service) {
    let (change, end) = match service.kind {
        Kind::Postgres => (
            "ALTER ROLE doorwarden PASSWORD 'another'",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'doorwarden'",
        ),
        Kind::MariaDb => ("ALTER USER doorwarden IDENTIFIED BY 'another'", "KILL USER doorwarden"),
    };
    service.database.sql(&format!("{change}; {end}"));
    assert_eq!(service.sign_in("lee", "lee-pass-1234").status, 503, "the old one");
    write_private(&service.database.password_file(), "another");
    assert_eq!(service.sign_in("lee", "lee-pass-1234").status, 200, "the new one");
}

fn killed_and_back_under_load(service: &mut Service) {
    let access = service.enter("lee");
    let (client, over) = (service.client.clone(), AtomicBool::new(false));
    let load = |each: &(dyn Fn() -> u16 + Sync)| {
        let mut statuses = Vec::new();
        while !over.load(Ordering::SeqCst) {
            statuses.push(each());
        }
        statuses
    };
    let (signing_in, signed_in) = thread::scope(|scope| {
        let _over = crate::support::Over(&over);
        let signing_in: Vec<_> = (0..3)
            .map(|_| scope.spawn(|| load(&|| sign_in(&client, "lee", "lee-pass-1234").status)))
            .collect();
        let signed_in = scope.spawn(|| load(&|| client.get("/").bearer(&access).send().status));
        let status = || sign_in(&client, "lee", "lee-pass-1234").status;
        for round in 0..2 {
            service.database.kill();
            assert_eq!(status(), 503, "round {round}");
            let asked = Instant::now();
            assert_eq!(status(), 503, "round {round}");
            assert!(
                asked.elapsed() < Duration::from_secs(2),
                "a refused connection waits for no limit"
            );
            service.gateway.logged("a recheck that fails", |line| {
                line.to_string().contains("sessions stay as they are")
            });
            service.database.run();
            assert_eq!(status(), 200, "round {round}: at once");
        }
        over.store(true, Ordering::SeqCst);
        let signing_in: Vec<u16> =
            signing_in.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        (signing_in, signed_in.join().unwrap())
    });
    for (what, statuses) in [("signing in", &signing_in), ("signed in", &signed_in)] {
        let count = |status| statuses.iter().filter(|one| **one == status).count();
        eprintln!("{what}, killed twice: {} answered 200, {} answered 503", count(200), count(503));
    }
    assert!(signing_in.iter().all(|status| [200, 503].contains(status)), "{signing_in:?}");
    assert!(signing_in.contains(&200) && signing_in.contains(&503));
    assert!(signed_in.len() > 10 && signed_in.iter().all(|status| *status == 200), "{signed_in:?}");
}
