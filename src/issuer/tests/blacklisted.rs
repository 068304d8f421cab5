//! Tests of access and sliding tokens that a service has revoked itself.

use std::path::Path;

use super::*;
use crate::config::Database;

/// A kit whose service has a blacklist, which is asked.
struct Service {
    kit: Kit,
    folder: tempfile::TempDir,
}

fn service() -> Service {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::Sqlite(folder.path().join("db.sqlite3"));
    let kit = kit(|issuers| {
        for issuer in issuers {
            if let IssuerKind::SimpleJwt(kind) = &mut issuer.kind {
                kind.token_types = vec![TokenType::Access, TokenType::Sliding];
                kind.blacklist = Some(database.clone());
            }
        }
    });
    Service { kit, folder }
}

fn run(folder: &Path, sql: &str) {
    let file = rusqlite::Connection::open(folder.join("db.sqlite3")).unwrap();
    file.execute_batch(sql).unwrap();
}

fn make_tables(folder: &Path) {
    run(
        folder,
        "CREATE TABLE token_blacklist_outstandingtoken (id INTEGER PRIMARY KEY, jti varchar(255));
         CREATE TABLE token_blacklist_blacklistedtoken (id INTEGER PRIMARY KEY, token_id bigint);",
    );
}

fn take_back(folder: &Path, jti: &str) {
    run(
        folder,
        &format!(
            "INSERT INTO token_blacklist_outstandingtoken (jti) VALUES ('{jti}');
             INSERT INTO token_blacklist_blacklistedtoken (token_id) VALUES (last_insert_rowid());"
        ),
    );
}

/// Removes expired rows as the service does (`flushexpiredtokens`).
fn flush(folder: &Path) {
    run(
        folder,
        "DELETE FROM token_blacklist_blacklistedtoken; DELETE FROM token_blacklist_outstandingtoken",
    );
}

/// Returns a sliding token that can be refreshed for a day.
fn sliding(jti: &str, expires_at: Timestamp) -> Secret {
    let claims = [
        ("token_type", json!("sliding")),
        ("exp", json!(expires_at.as_secs())),
        ("iat", json!(NOW.as_secs())),
        ("jti", json!(jti)),
        ("user_id", json!("7")),
        ("refresh_exp", json!(later(86_400).as_secs())),
    ];
    crate::django::jws::sign_for_tests(&signing(), &claims)
}

#[tokio::test]
async fn one_that_was_taken_back_before_it_came_is_refused() {
    let service = service();
    make_tables(service.folder.path());
    for (jti, token) in [
        (format!("jti-7-{}", NOW.as_secs()), access("7", NOW, None)),
        ("slides".into(), sliding("slides", later(300))),
    ] {
        take_back(service.folder.path(), &jti);
        for _ in 0..2 {
            assert_eq!(bearer(&service.kit, &token, NOW).await, Err("blacklisted"), "{jti}");
        }
        // `/verify` refuses it too.
        let posted = service.kit.issuers.registry.as_posted(token.expose()).unwrap();
        let found = service.kit.issuers.issued(&posted, None, NOW, &Events::default()).await;
        let refused = found.map(drop).map_err(|(refusal, _)| refusal);
        assert_eq!(refused, Err(Refusal::TokenBlacklisted), "{jti}");
    }
    assert_eq!(bearer(&service.kit, &sliding("other", later(300)), NOW).await, Ok(()));
}

#[tokio::test]
async fn one_that_is_taken_back_later_ends_within_the_recheck_and_for_good() {
    let service = service();
    make_tables(service.folder.path());
    let (token, other) = (access("7", NOW, None), sliding("slides", later(7200)));
    for token in [&token, &other] {
        assert_eq!(bearer(&service.kit, token, NOW).await, Ok(()));
    }
    take_back(service.folder.path(), &format!("jti-7-{}", NOW.as_secs()));
    take_back(service.folder.path(), "slides");
    for token in [&token, &other] {
        assert_eq!(bearer(&service.kit, token, later(59)).await, Ok(()), "nobody was asked yet");
        assert_eq!(bearer(&service.kit, token, later(60)).await, Err("blacklisted"));
    }
    flush(service.folder.path());
    for token in [&token, &other] {
        assert_eq!(bearer(&service.kit, token, later(180)).await, Err("blacklisted"));
    }
    // The service has given the token a later expiry, and its own blacklist no longer lists it.
    let refreshed = sliding("slides", later(86_400 + 7200));
    assert_eq!(bearer(&service.kit, &refreshed, later(86_400 + 7199)).await, Err("blacklisted"));
}

#[tokio::test]
async fn a_blacklist_that_cannot_be_asked_stops_what_is_new() {
    let service = service();
    let token = access("7", NOW, None);
    assert_eq!(bearer(&service.kit, &token, NOW).await, Err("unavailable"));
    make_tables(service.folder.path());
    assert_eq!(bearer(&service.kit, &token, NOW).await, Ok(()));
    run(service.folder.path(), "DROP TABLE token_blacklist_blacklistedtoken");
    for after in [60, 61, 600] {
        assert_eq!(bearer(&service.kit, &token, later(after)).await, Ok(()), "it was good before");
    }
    assert_eq!(bearer(&service.kit, &sliding("a", later(900)), NOW).await, Err("unavailable"));
}
