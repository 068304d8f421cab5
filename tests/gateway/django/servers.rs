//! Tests Django's sessions on PostgreSQL and MariaDB, written with the documented grants, and a server that crashes.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use tempfile::TempDir;

use super::{COOKIE, enter, kim, report};
use crate::support::client::Client;
use crate::support::database::{Database, Kind};
use crate::support::django::Django;
use crate::support::eventually;
use crate::support::gateway::{Gateway, Setup, write_private};
use crate::support::upstream::Upstream;

const SECRET_KEY: &str = "django-insecure-development-key-of-the-legacy-service";

#[test]
fn postgresql() {
    a_session_on_a_server(Kind::Postgres);
}

#[test]
fn mariadb() {
    a_session_on_a_server(Kind::MariaDb);
}

/// Returns a form that writes as the documented role.
fn form(database: &Database) -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("secret-key");
    write_private(&key, format!("{SECRET_KEY}\n"));
    // Opening a connection is TLS and SCRAM, which take seconds in a debug build on a busy machine.
    let form = format!(
        "[[identity.form]]\nname = \"session\"\nkind = \"django-session\"\nlast_login = true\nkey_file = \"{}\"\n\
         connect_timeout = \"10s\"\n{}",
        key.display(),
        database.sessions()
    );
    (folder, form)
}

fn route(name: &str, path: &str, identity: &str) -> String {
    format!("[[route]]\nname = \"{name}\"\npath = \"{path}\"\nupstream = \"app\"\n{identity}\n")
}

fn a_session_on_a_server(kind: Kind) {
    let mut database = Database::start(kind);
    {
        let django = Django::start_on(&database, &[]);
        let (_folder, form) = form(&database);
        let mut gateway = Setup::new(django.address)
            .directories(&database.directory())
            .routes(&route("app", "/", "identity = { bearer = \"token\", cookie = \"session\" }"))
            .with(&form)
            .with("[[identity.form]]\nname = \"token\"\nkind = \"drf-token\"")
            .start();
        a_token_is_read_with_what_the_documentation_grants(kind, &database, &gateway);
        django_takes_it(&database, &mut gateway);
    }
    killed_and_back_under_load(&mut database);
}

fn a_token_is_read_with_what_the_documentation_grants(
    kind: Kind,
    database: &Database,
    gateway: &Gateway,
) {
    database.django(
        "from rest_framework.authtoken.models import Token\n\
         Token.objects.create(user=User.objects.get(username='lee'), key='k' * 40)",
    );
    let client = gateway.client();
    let (access, _) = enter(&client, "lee", "lee-pass-1234");
    let request = client.get("/api/v1/whoami").bearer(&access);
    assert_eq!(request.send().code(), "identity_unavailable", "not granted yet");
    let grant = match kind {
        Kind::Postgres => "GRANT SELECT (key, user_id) ON authtoken_token TO doorwarden;",
        Kind::MariaDb => "GRANT SELECT (`key`, user_id) ON app.authtoken_token TO doorwarden;",
    };
    assert!(include_str!("../../../docs/databases.md").contains(grant));
    database.sql(grant);
    let seen = report(&request);
    assert_eq!(seen["rest_framework"]["user"]["username"], "lee", "{seen}");
    assert_eq!(seen["rest_framework"]["by"], "TokenAuthentication");
}

fn django_takes_it(database: &Database, gateway: &mut Gateway) {
    let client = gateway.client();
    let (_, cookie) = kim(&client);
    let user = |client: &Client| {
        report(&client.get("/api/v1/whoami").cookie(COOKIE, &cookie))["user"]["username"].clone()
    };
    assert_eq!(user(&client), "kim");
    // The session expires an hour from now, as Django itself reads the column; what the application stores there stays.
    database.django(
        "from django.contrib.sessions.models import Session\n\
         from django.contrib.sessions.backends.db import SessionStore\n\
         from django.utils import timezone\n\
         row = Session.objects.get()\n\
         left = (row.expire_date - timezone.now()).total_seconds()\n\
         assert 3400 < left <= 3600, left\n\
         kim = User.objects.get(username='kim')\n\
         assert row.get_decoded()['_auth_user_id'] == str(kim.pk)\n\
         ago = (timezone.now() - kim.last_login).total_seconds()\n\
         assert 0 <= ago < 120, ago\n\
         store = SessionStore(row.session_key)\n\
         store['cart'] = 7\n\
         store.save()",
    );
    gateway.kill();
    gateway.spawn();
    assert_eq!(user(&gateway.client()), "kim");
    database.django(
        "from django.contrib.sessions.models import Session\n\
         from django.utils import timezone\n\
         row = Session.objects.get()\n\
         assert row.get_decoded()['cart'] == 7\n\
         assert (row.expire_date - timezone.now()).total_seconds() <= 3600, 'renewed by the gateway'",
    );
    let client = gateway.client();
    let (_, admin) = enter(&client, "admin", "admin-pass-1234");
    let page = client.get("/admin/").cookie(COOKIE, &admin).send();
    assert!(page.text().contains("Site administration"), "{}", page.text());
    for cookie in [&cookie, &admin] {
        let out = client.post("/logout").cookie(COOKIE, cookie).header("Origin", "http://app.test");
        assert_eq!(out.send().status, 204);
    }
    no_rows(database);
}

fn no_rows(database: &Database) {
    eventually("the rows to go", || {
        let count = "from django.contrib.sessions.models import Session\n\
             import sys; sys.exit(Session.objects.count())";
        database.try_django(count).then_some(())
    });
}

/// How often each status was answered.
type Counts = BTreeMap<u16, usize>;

fn add(counts: &mut Counts, status: u16) {
    *counts.entry(status).or_default() += 1;
}

/// Kills the database under load. The upstream needs no database here, so every failure is the gateway's.
fn killed_and_back_under_load(database: &mut Database) {
    const NEW: usize = 12;
    let upstream = Upstream::start();
    let (_folder, form) = form(database);
    let gateway = Setup::new(upstream.address)
        .directories(&database.directory())
        .routes(&format!(
            "{}{}",
            route("plain", "/plain/", ""),
            route("app", "/", "identity = { cookie = \"session\" }")
        ))
        .with(&form)
        .start();
    let client = gateway.client();
    let (access, old) = kim(&client);
    let ask = |path: &str, cookie: &str| client.get(path).cookie(COOKIE, cookie).send().status;
    assert_eq!(ask("/", &old), 200);
    // These are signed in, but have no session in the service yet.
    let new: Vec<String> = (0..NEW).map(|_| kim(&client).1).collect();
    let (_, ended) = kim(&client);
    assert_eq!(ask("/", &ended), 200);

    let over = AtomicBool::new(false);
    let load = |each: &(dyn Fn() -> u16 + Sync)| {
        let mut counts = Counts::new();
        while !over.load(Ordering::SeqCst) {
            add(&mut counts, each());
        }
        counts
    };
    let [had, bearer, plain] = thread::scope(|scope| {
        let _over = crate::support::Over(&over);
        let had = scope.spawn(|| load(&|| ask("/", &old)));
        let bearer = scope.spawn(|| load(&|| client.get("/").bearer(&access).send().status));
        let plain = scope.spawn(|| load(&|| ask("/plain/", &old)));
        database.kill();
        let mut down = Counts::new();
        for cookie in &new {
            add(&mut down, ask("/", cookie));
        }
        assert_eq!(down, Counts::from([(503, NEW)]), "without a row to be had");
        let out = client.post("/logout").cookie(COOKIE, &ended).header("Origin", "http://app.test");
        assert_eq!(out.send().status, 204, "ends here whatever the service can do");
        assert_eq!(ask("/", &ended), 401);
        database.run();
        let mut up = Counts::new();
        for cookie in &new {
            add(&mut up, ask("/", cookie));
        }
        assert_eq!(up, Counts::from([(200, NEW)]), "at once");
        over.store(true, Ordering::SeqCst);
        [had, bearer, plain].map(|thread| thread.join().unwrap())
    });
    for (what, counts) in [("with a session", &had), ("bearer", &bearer), ("plain", &plain)] {
        eprintln!("{what}: {counts:?}");
        assert_eq!(counts.keys().collect::<Vec<_>>(), [&200], "{what}: {counts:?}");
        assert!(counts[&200] > 10, "{what}: {counts:?}");
    }
    // No request reached the service without the session that its route promises.
    let promised = upstream.seen().into_iter().filter(|seen| seen.target == "/");
    let with = |seen: &crate::support::upstream::Seen| {
        seen.header("cookie").is_some_and(|line| line.contains("sessionid="))
    };
    let without = promised.filter(|seen| !with(seen)).count();
    assert_eq!(without, bearer[&200], "only the Bearer caller's, which has no such form");

    // The session that was to be deleted in the meantime is deleted after all, and the others with their sign-outs.
    for cookie in new.iter().chain([&old]) {
        let out = client.post("/logout").cookie(COOKIE, cookie).header("Origin", "http://app.test");
        assert_eq!(out.send().status, 204);
    }
    no_rows(database);
}
