//! `kind = "knox"`: checks the tokens of django-rest-knox.
//!
//! The table holds a digest of each token and the token's first characters; both must match, as in knox. Versions differ in
//! what is hashed and in how many characters that are: 4 decodes the token as hexadecimal, in any case, and 5 hashes the text
//! itself, with a prefix that a service may have chosen. 5 does not accept what 4 has issued.
//!
//! A token ends with its `expiry`, if it has one. A service can be set to postpone it while the token is in use
//! (`AUTO_REFRESH`), so an expired token is looked up again. It does not end with its user's password, as in knox. Hashes
//! other than SHA-512 (`SECURE_HASH_ALGORITHM`), and the salted ones before 4.2, are not supported: tokens with them are
//! refused.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_lc_rs::digest::{SHA512, digest};

use super::key::{IssuerKeyError, IssuerKeyProblem};
use super::{CredentialCheck, JudgedCredential, Password, all_there};
use crate::clock::Timestamp;
use crate::config::{Database, IssuerSettings, KnoxVersion};
use crate::event::IssuedRefusal;
use crate::service::database::dates::{millis, seconds};
use crate::service::database::{
    DatabaseAccess, Databases, RequiredColumns, ServiceDatabase, Statement,
};

/// The longest token that is looked up: the setting is 64, and a prefix has 10 characters at most.
const MAX_LENGTH: usize = 1024;

/// How long a denied token stays denied: the service may keep postponing its expiry as long as it is used there.
const DENY_FOR: Duration = Duration::from_secs(3650 * 86_400);

/// The tokens of a service.
pub(super) struct KnoxTokens {
    database: Arc<ServiceDatabase>,
    select: Arc<str>,
    table: String,
    version: KnoxVersion,
}

/// What the table stores of a token.
struct Stored {
    digest: String,
    key: String,
}

impl KnoxTokens {
    pub(super) fn open(
        settings: &IssuerSettings,
        database: &Database,
        table: &str,
        version: KnoxVersion,
        databases: &Databases,
    ) -> Result<Self, IssuerKeyError> {
        let database = databases.open(database, DatabaseAccess::Read);
        let select = select(&database, table)
            .map_err(|why| IssuerKeyError::of(settings, IssuerKeyProblem::Database(why)))?;
        Ok(Self { database, select, table: table.to_owned(), version })
    }

    async fn rows(&self, stored: Stored) -> Result<Vec<Vec<Option<String>>>, String> {
        let parameters = vec![stored.digest, stored.key];
        let statement = Statement { sql: Arc::clone(&self.select), parameters };
        Ok(self.database.ask(vec![statement]).await?.into_iter().flatten().collect())
    }
}

#[async_trait]
impl CredentialCheck for KnoxTokens {
    async fn ask(&self, token: &str, _: Timestamp) -> Result<JudgedCredential, IssuedRefusal> {
        let stored = stored(self.version, token).ok_or(IssuedRefusal::Malformed)?;
        let id = stored.digest.clone();
        let rows = self.rows(stored).await.map_err(|error| {
            tracing::warn!(error, "an issuer's service cannot be asked");
            IssuedRefusal::Unavailable
        })?;
        let row = rows.into_iter().next().ok_or(IssuedRefusal::NotFound)?;
        let [Some(user), Some(created), expiry] = &row[..] else {
            return Err(IssuedRefusal::Malformed);
        };
        Ok(JudgedCredential {
            user: user.clone(),
            issued_at: Some(seconds(created).ok_or(IssuedRefusal::Malformed)?),
            expires_at: match expiry {
                Some(text) => Some(millis(text).ok_or(IssuedRefusal::Malformed)?),
                None => None,
            },
            token_id: Some(id),
            deny_for: DENY_FOR,
            password: Password::Independent,
            max_age: None,
        })
    }

    async fn try_out(&self) -> Result<(), String> {
        let columns = ["digest", "token_key", "user_id", "created", "expiry"];
        all_there(self.database.missing(&[RequiredColumns::new(&self.table, columns)]).await?)?;
        self.rows(Stored { digest: String::new(), key: String::new() }).await.map(drop)
    }
}

/// Returns what a version stores of a token; `None` if it is not a token of that version.
fn stored(version: KnoxVersion, token: &str) -> Option<Stored> {
    let (hashed, key_length) = match version {
        KnoxVersion::Four => (unhexed(token)?, 8),
        KnoxVersion::Five => (token.as_bytes().to_vec(), 15),
    };
    if token.is_empty() || token.len() > MAX_LENGTH {
        return None;
    }
    let key = token.get(..key_length.min(token.len()))?.to_owned();
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Some(Stored { digest: hex(digest(&SHA512, &hashed).as_ref()), key })
}

fn unhexed(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks(2).map(|pair| match pair {
        [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
        _ => None,
    });
    pairs.collect()
}

fn select(database: &ServiceDatabase, table: &str) -> Result<Arc<str>, String> {
    let dialect = database.dialect();
    Ok(format!(
        "SELECT {}, {}, {} FROM {} WHERE {} = {} AND {} = {}",
        dialect.as_text(&dialect.quoted("user_id")?),
        dialect.as_seconds("created")?,
        dialect.as_millis("expiry")?,
        database.table(table)?,
        dialect.quoted("digest")?,
        dialect.placeholder(1),
        dialect.quoted("token_key")?,
        dialect.placeholder(2),
    )
    .into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{CredentialPlace, IssuerKind};
    use crate::context::Events;
    use crate::issuer::PresentedCredential;
    use crate::issuer::testkit::Kit;
    use crate::refusal::Refusal;
    use crate::session::testkit::{CLIENT, NOW};

    /// Tokens of django-rest-knox 4.2.0 and 5.1.0, and what these versions stored of them.
    const FOUR: &str = "18a6169ed85b20ea9ed2fcaa976d669b11b2265ff1b79cd44262db1d16046b76";
    const FOUR_DIGEST: &str = "8aeb7bd86d227c0bc10d8114b833d906a137fbe9e962647c541cc589827d927a86203ce41f9da0b131daec402efbb08b8131c034e0bd964f34f0ed9d80fc1766";
    const FIVE: &str = "5602a8bfce71c4e60f2ae1e39658420cd1dcce19559710170b82495af4c1a2ce";
    const FIVE_DIGEST: &str = "ecbf37c8a2b8a4878e465cffeaabce84ab9fc0f73128ba9b2917ebf20c4c4e19a9de8e5562f078cee8ba220e9633354fc8025334d6f4e1caa829dcf9efbe6f66";
    const PREFIXED: &str = "ab_4c3dd6c4a247de560f52ff876159bce289c1f21729bc4b517988cc053ba7fee1";
    const PREFIXED_DIGEST: &str = "351056076885f1523b48628bec2be04df0a4c54f50bab339967982f2f7425ab917ac63791013766e12d37f31e2a9e6a56d9d32c716d69025f120de636f303446";

    #[test]
    fn each_version_keeps_a_token_in_its_own_way() {
        use KnoxVersion::{Five, Four};
        let upper_tail = FOUR[..20].to_owned() + &FOUR[20..].to_uppercase();
        for (version, token, expected) in [
            (Four, FOUR, Some((FOUR_DIGEST, "18a6169e"))),
            (Four, &upper_tail, Some((FOUR_DIGEST, "18a6169e"))),
            (Four, "no hexadecimal", None),
            (Four, "abc", None),
            (Four, "", None),
            (Five, FIVE, Some((FIVE_DIGEST, "5602a8bfce71c4e"))),
            (Five, PREFIXED, Some((PREFIXED_DIGEST, "ab_4c3dd6c4a247"))),
            (Five, "", None),
        ] {
            let stored = stored(version, token).map(|stored| (stored.digest, stored.key));
            let stored = stored.as_ref().map(|(digest, key)| (digest.as_str(), key.as_str()));
            assert_eq!(stored, expected, "{version:?} {token}");
        }
        assert!(stored(Five, &"a".repeat(MAX_LENGTH + 1)).is_none());
    }

    struct Service {
        kit: Kit,
        file: rusqlite::Connection,
        _folder: tempfile::TempDir,
    }

    /// Makes a service of this version, with the table that its migrations make.
    fn service(version: KnoxVersion) -> Service {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db.sqlite3");
        let file = rusqlite::Connection::open(&path).unwrap();
        file.execute_batch(
            "CREATE TABLE \"knox_authtoken\" (\"digest\" varchar(128) NOT NULL PRIMARY KEY, \
             \"created\" datetime NOT NULL, \"user_id\" integer NOT NULL, \"expiry\" datetime NULL, \
             \"token_key\" varchar(25) NOT NULL)",
        )
        .unwrap();
        let kit = Kit::with(|parts| {
            parts.issuers = vec![IssuerSettings {
                name: "knox".into(),
                directory: "django".into(),
                place: CredentialPlace::Header {
                    name: "Authorization".into(),
                    schemes: vec!["Token".into()],
                },
                accept_until: None,
                cookie_domain: None,
                upstreams: Vec::new(),
                danger_mint: false,
                forward: None,
                kind: IssuerKind::Knox {
                    database: Database::Sqlite(path),
                    table: "knox_authtoken".into(),
                    version,
                },
            }];
        });
        Service { kit, file, _folder: folder }
    }

    impl Service {
        /// Stores a token of kim's, issued now and valid for so many seconds.
        fn keep(&self, token: &str, version: KnoxVersion, secs: Option<i64>) {
            let kept = stored(version, token).unwrap();
            let now = i64::try_from(NOW.as_secs()).unwrap();
            self.file
                .execute(
                    "INSERT OR REPLACE INTO knox_authtoken VALUES \
                     (?1, datetime(?2, 'unixepoch'), 7, datetime(?3, 'unixepoch'), ?4)",
                    rusqlite::params![kept.digest, now, secs.map(|secs| now + secs), kept.key],
                )
                .unwrap();
        }

        async fn present(&self, token: &str, after: u64) -> Result<String, Refusal> {
            let shown = PresentedCredential::alone(token, &[0]);
            let at = NOW.plus(Duration::from_secs(after));
            let events = Events::default();
            let found = self.kit.issuers.issued(&shown, Some(CLIENT), at, &events).await;
            let found = found.map_err(|(refusal, _)| refusal)?;
            Ok(found.used(CLIENT, at, &events).identity().key.id.to_string())
        }
    }

    #[tokio::test]
    async fn a_token_is_its_users_until_its_expiry_which_the_service_may_put_off() {
        for (version, token) in [(KnoxVersion::Four, FOUR), (KnoxVersion::Five, PREFIXED)] {
            let service = service(version);
            assert_eq!(
                service.present(token, 0).await,
                Err(Refusal::OpaqueTokenNotValid),
                "not there"
            );
            service.keep(token, version, Some(100));
            for after in [0, 1, 99] {
                assert_eq!(service.present(token, after).await, Ok("7".into()), "{after}");
            }
            assert_eq!(service.present(token, 100).await, Err(Refusal::OpaqueTokenNotValid));
            // It was used at the service, which postponed its expiry.
            service.keep(token, version, Some(1000));
            assert_eq!(service.present(token, 101).await, Ok("7".into()));
            service.keep(token, version, None);
            assert_eq!(service.present(token, 2000).await, Ok("7".into()), "one without an end");
            service.file.execute("DELETE FROM knox_authtoken", []).unwrap();
            assert_eq!(
                service.present(token, 2060).await,
                Err(Refusal::OpaqueTokenNotValid),
                "{token}"
            );
        }
    }

    #[tokio::test]
    async fn what_another_version_has_kept_is_not_taken() {
        let service = service(KnoxVersion::Five);
        service.keep(FOUR, KnoxVersion::Four, Some(100));
        assert_eq!(service.present(FOUR, 0).await, Err(Refusal::OpaqueTokenNotValid));
        // The digest matches, but the first characters do not.
        service.keep(FIVE, KnoxVersion::Five, Some(100));
        service.file.execute("UPDATE knox_authtoken SET token_key = '5602a8bf'", []).unwrap();
        assert_eq!(service.present(FIVE, 0).await, Err(Refusal::OpaqueTokenNotValid));
    }

    #[tokio::test]
    async fn one_that_was_signed_out_stays_so_however_the_service_extends_it() {
        let service = service(KnoxVersion::Five);
        service.keep(FIVE, KnoxVersion::Five, Some(100));
        let shown = PresentedCredential::alone(FIVE, &[0]);
        let events = Events::default();
        let found = service.kit.issuers.issued(&shown, Some(CLIENT), NOW, &events).await;
        let Ok(crate::issuer::verify::VerifiedCredential::Itself(issued, _)) = found else {
            panic!()
        };
        service.kit.issuers.end_issued(&issued, NOW, &events).await.unwrap();
        service.keep(FIVE, KnoxVersion::Five, Some(10_000));
        for after in [1, 200, 5000] {
            assert_eq!(service.present(FIVE, after).await, Err(Refusal::SessionEnded), "{after}");
        }
    }
}
