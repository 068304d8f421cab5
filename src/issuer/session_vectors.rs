//! Tests that sessions recorded from Django are accepted and refused as credentials as Django does, for the same reasons.

use std::time::Duration;

use http::{HeaderMap, HeaderValue};

use crate::clock::Timestamp;
use crate::config::{
    CredentialPlace, Database, DjangoSessionIssuer, IssuerKind, IssuerSettings, SessionEngine,
};
use crate::context::Events;
use crate::directory::Directory;
use crate::django::session::vectors::{Vector, VectorUser, Vectors, vectors};
use crate::event::EventKind;
use crate::issuer::testkit::Kit;
use crate::private_file;
use crate::refusal::Refusal;
use crate::secret::Secret;
use crate::session::WatchedDirectory;
use crate::session::testkit::{CLIENT, FakeDirectory, NOW, account};

/// Returns this crate's name for one of Django's reasons.
fn reason(theirs: &str) -> &str {
    match theirs {
        "auth_hash_mismatch" => "password_changed",
        same => same,
    }
}

/// Returns the user, or the reason why there is none.
async fn judged(vector: &Vector, users: &[VectorUser]) -> Result<String, String> {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, key: &str| {
        let path = folder.path().join(name);
        private_file::create(&path, format!("{key}\n").as_bytes()).unwrap();
        path
    };
    let path = folder.path().join("db.sqlite3");
    let database = rusqlite::Connection::open(&path).unwrap();
    database
        .execute_batch("CREATE TABLE django_session (session_key, session_data, expire_date)")
        .unwrap();
    let cookie = match (&vector.row, &vector.cookie) {
        (Some(row), _) => {
            let values = [&row.session_key, &row.session_data, &row.expire_date];
            database.execute("INSERT INTO django_session VALUES (?1, ?2, ?3)", values).unwrap();
            &row.session_key
        }
        (None, cookie) => cookie.as_ref().unwrap(),
    };
    let fallbacks = vector.secret_key_fallbacks.iter().enumerate();
    let kind = DjangoSessionIssuer {
        engine: match &*vector.engine {
            "db" => SessionEngine::Database {
                database: Database::Sqlite(path),
                table: "django_session".into(),
            },
            "signed_cookies" => SessionEngine::SignedCookies,
            other => panic!("{other}"),
        },
        key_file: file("key", &vector.secret_key),
        fallback_key_files: fallbacks.map(|(n, key)| file(&format!("old-{n}"), key)).collect(),
        backends: vector.authentication_backends.clone(),
        max_age: Duration::from_secs(vector.max_age.unwrap_or(1_209_600)),
    };
    let accounts = users.iter().map(|user| {
        let mut account = account(&user.id.to_string(), &user.username, "unused");
        account.password = Secret::new(user.password.as_str());
        account.active = user.is_active;
        account
    });
    let directory = FakeDirectory::new("django", accounts.collect());
    let kit = Kit::with(|parts| {
        parts.session.directories =
            vec![WatchedDirectory::new(Directory::Users(directory), Duration::from_secs(60))];
        parts.issuers = vec![IssuerSettings {
            name: "service".into(),
            directory: "django".into(),
            place: CredentialPlace::Cookie("sessionid".into()),
            cookie_domain: None,
            upstreams: Vec::new(),
            danger_mint: false,
            forward: None,
            accept_until: None,
            kind: IssuerKind::DjangoSession(Box::new(kind)),
        }];
    });
    let mut headers = HeaderMap::new();
    headers.append("cookie", HeaderValue::from_str(&format!("sessionid={cookie}")).unwrap());
    let at = vector.now.map_or(NOW, Timestamp::from_secs);
    let cookies = kit
        .issuers
        .registry
        .readings
        .cookies(kit.sessions.cookie_names(), &headers, &crate::config::CredentialSelection::All)
        .unwrap();
    let events = Events::default();
    match kit.issuers.issued(&cookies.issued[0].1, None, at, &events).await {
        Ok(found) => {
            let credential = found.used(CLIENT, at, &events);
            Ok(credential.identity().key.id.to_string())
        }
        Err((Refusal::NotAuthenticated, _)) => Err("no_user".into()),
        Err((refusal, _)) => {
            assert_eq!(refusal, Refusal::SessionEnded, "{}", vector.name);
            let happened = events.take();
            let [EventKind::IssuedRefused { why, .. }] = &happened[..] else {
                panic!("{happened:?}")
            };
            Err(why.name().into())
        }
    }
}

#[tokio::test]
async fn every_recorded_session_is_judged_as_django_judges_it() {
    let Vectors { users, sessions } = vectors();
    assert!(sessions.len() >= 19, "{}", sessions.len());
    for vector in &sessions {
        let expect = &vector.expect;
        let expected = match (expect.accept, expect.user_id, &expect.reason) {
            (true, Some(user), _) => Ok(user.to_string()),
            (_, _, reason_) => Err(reason(reason_.as_ref().unwrap()).to_owned()),
        };
        assert_eq!(judged(vector, &users).await, expected, "{}", vector.name);
    }
}
