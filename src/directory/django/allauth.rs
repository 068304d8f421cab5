//! Checks codes of `allauth.mfa`'s authenticators as that package does.
//!
//! **Apps.** allauth records used codes in the service's cache and in no table, so each side knows only the codes that were
//! used there: the gateway records its own ([`ServiceVerdict::UsedOnce`]). The same code could be used once more at the
//! service, within the half minute in which it is valid at all. Nothing has to be written for that.
//!
//! **Recovery codes** are one column of JSON. Using one is an UPDATE that names all of the JSON that was read, so of two
//! equal codes at the same time, here or at the service, only one matches its row. If the column may not be written, recovery
//! codes are not checked.
//!
//! **Guesses** are counted by the package in its cache too, so the gateway counts those that it receives itself.
//!
//! A row that an adapter of the project encrypts cannot be read. Such users are sent to the service's own page, like those
//! who have only passkeys or security keys, which are bound to the service's host name.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use zeroize::Zeroizing;

use super::changes::ChangeText;
use crate::caller::UserKey;
use crate::clock::Timestamp;
use crate::config::AllauthSettings;
use crate::directory::DirectoryError;
use crate::directory::second_factors::{
    FactorsAtService, ServiceCode, ServiceFactor, ServiceFactorKind, ServiceFactors, ServiceVerdict,
};
use crate::django::allauth::{RecoveryRow, RecoverySettings, totp_secret};
use crate::hotp::{hotp, is_code};
use crate::service::database::dates::millis;
use crate::service::database::{Dialect, QueryTexts, RequiredColumns, ServiceDatabase, Statement};

const COLUMNS: [&str; 5] = ["id", "type", "data", "last_used_at", "user_id"];

/// The most attempts for one code, when concurrent changes make an attempt void.
const ROUNDS: usize = 4;

/// `kind = "allauth"`
pub struct Allauth {
    directory: String,
    settings: AllauthSettings,
    read: Arc<ServiceDatabase>,
    write: Arc<ServiceDatabase>,
    /// Set once the table is known to be writable; until then the right is checked each time.
    may_write: OnceLock<()>,
}

/// An authenticator's row, as far as it can be used.
struct Authenticator {
    id: i64,
    /// The JSON as it was read.
    data: Zeroizing<String>,
    last_used: Option<Timestamp>,
    content: Option<AuthenticatorContent>,
}

enum AuthenticatorContent {
    App(Zeroizing<Vec<u8>>),
    Codes(RecoveryRow),
}

impl Allauth {
    /// Takes the settings, and the service's database, opened for reading and for writing. The database need not exist yet.
    pub fn new(
        directory: &str,
        settings: &AllauthSettings,
        read: Arc<ServiceDatabase>,
        write: Arc<ServiceDatabase>,
    ) -> Self {
        let (directory, settings) = (directory.to_owned(), settings.clone());
        Self { directory, settings, read, write, may_write: OnceLock::new() }
    }

    async fn may_write(&self) -> Result<bool, String> {
        if self.may_write.get().is_some() {
            return Ok(true);
        }
        let table = self.read.table(&self.settings.table)?;
        let sql =
            format!("UPDATE {table} SET data = data, last_used_at = last_used_at WHERE 1 = 0");
        let may =
            self.write.may_change(Statement { sql: sql.into(), parameters: Vec::new() }).await?;
        if may {
            self.may_write.get_or_init(|| ());
        }
        Ok(may)
    }

    async fn authenticators(&self, user: &UserKey) -> Result<Vec<Authenticator>, String> {
        let may_write = self.may_write().await?;
        let dialect = self.read.dialect();
        let table = self.read.table(&self.settings.table)?;
        let column = &self.settings.user_column;
        let sql = format!(
            "SELECT {}, {}, {}, {} FROM {table} f WHERE f.{} {} ORDER BY f.id LIMIT 100",
            dialect.as_text("f.id"),
            dialect.as_text(&format!("f.{}", dialect.quoted("type")?)),
            dialect.as_text("f.data"),
            dialect.as_millis("last_used_at")?,
            dialect.quoted(column)?,
            dialect.is_key(&table, column, 1)?,
        );
        let parameters = dialect.key_parameters(&user.id);
        let rows = self.read.ask(vec![Statement { sql: sql.into(), parameters }]).await?;
        rows.into_iter().flatten().map(|row| self.authenticator(row, may_write)).collect()
    }

    fn authenticator(&self, row: QueryTexts, may_write: bool) -> Result<Authenticator, String> {
        let shape = || "a row is not as allauth.mfa writes it".to_owned();
        let mut columns = row.into_iter();
        let mut next = || columns.next().flatten();
        let id = next().and_then(|id| id.parse().ok()).ok_or_else(shape)?;
        let kind = next().ok_or_else(shape)?;
        let data = Zeroizing::new(next().ok_or_else(shape)?);
        let last_used = next().and_then(|text| millis(&text));
        let content = match kind.as_str() {
            "totp" => totp_secret(&data).map(AuthenticatorContent::App),
            "recovery_codes" if may_write => {
                RecoveryRow::read(&data, self.recovery()).map(AuthenticatorContent::Codes)
            }
            _ => None,
        };
        if content.is_none() && kind == "totp" {
            tracing::warn!(
                directory = self.directory,
                "a TOTP secret of allauth.mfa cannot be read: an adapter of the project's may encrypt it"
            );
        }
        let content = content.filter(|content| match content {
            AuthenticatorContent::App(_) => true,
            AuthenticatorContent::Codes(codes) => codes.left() > 0,
        });
        Ok(Authenticator { id, data, last_used, content })
    }

    fn recovery(&self) -> RecoverySettings {
        let AllauthSettings { recovery_codes, recovery_digits, .. } = self.settings;
        RecoverySettings { count: recovery_codes, digits: recovery_digits }
    }

    /// Returns the time step that an app's code belongs to, or `None` if it is wrong.
    fn step_of(&self, secret: &[u8], digits: &str, at: Timestamp) -> Option<u64> {
        let present = at.as_secs() / self.settings.period.as_secs().max(1);
        let tolerance = u64::from(self.settings.tolerance);
        let mut found = None;
        // Every step is checked whatever the others give, so that the time reveals nothing.
        for step in present.saturating_sub(tolerance)..=present.saturating_add(tolerance) {
            if is_code(digits, &hotp(secret, step, self.settings.digits)) {
                found = Some(step);
            }
        }
        found
    }

    fn update(&self) -> Result<ChangeText, String> {
        let table = self.read.table(&self.settings.table)?;
        Ok(ChangeText::new(self.write.dialect(), &format!("UPDATE {table} SET last_used_at = ")))
    }

    /// Stores the JSON without the code, if the row still has the JSON that was read. Returns whether it had.
    async fn use_recovery(
        &self,
        row: &Authenticator,
        without: &str,
        at: Timestamp,
    ) -> Result<bool, String> {
        let set = self.update()?.date(at).sql(", data = ");
        let set = match self.write.dialect() {
            Dialect::Postgres => set.sql("CAST(CAST(").text(without).sql(" AS text) AS jsonb)"),
            Dialect::Sqlite | Dialect::MySql => set.text(without),
        };
        let found = set.sql(" WHERE id = ").number(row.id);
        let found = match self.write.dialect() {
            Dialect::Postgres => {
                found.sql(" AND data = CAST(CAST(").text(&row.data).sql(" AS text) AS jsonb)")
            }
            Dialect::Sqlite => found.sql(" AND data = ").text(&row.data),
            // The comparison is byte for byte, whatever collation the column has.
            Dialect::MySql => found
                .sql(" AND CAST(CAST(data AS CHAR) AS BINARY) = CAST(")
                .text(&row.data)
                .sql(" AS BINARY)"),
        };
        Ok(self.write.change(found.made()).await? > 0)
    }

    /// Checks the code once. `None` if somebody else changed the row first, so that what was read is outdated.
    async fn look(
        &self,
        rows: &[Authenticator],
        user: &UserKey,
        code: ServiceCode<'_>,
    ) -> Result<Option<ServiceVerdict>, String> {
        for row in rows {
            match &row.content {
                Some(AuthenticatorContent::App(secret)) => {
                    let digits = code.digits.map_or("", |digits| digits.expose());
                    let Some(step) = self.step_of(secret, digits, code.at) else { continue };
                    let once = format!("allauth {user} {} {step}", row.id);
                    if self.may_write().await? {
                        let used = self.update()?.date(code.at).sql(" WHERE id = ").number(row.id);
                        self.write.change(used.made()).await?;
                    }
                    let kind = ServiceFactorKind::App;
                    return Ok(Some(ServiceVerdict::UsedOnce { kind, once }));
                }
                Some(AuthenticatorContent::Codes(codes)) => {
                    let Some(without) = codes.without(code.typed.expose()) else { continue };
                    let without = Zeroizing::new(without);
                    if !self.use_recovery(row, &without, code.at).await? {
                        return Ok(None);
                    }
                    let left = codes.left().saturating_sub(1);
                    let kind = ServiceFactorKind::WrittenCodes { left };
                    return Ok(Some(ServiceVerdict::Used(kind)));
                }
                None => {}
            }
        }
        Ok(Some(ServiceVerdict::Wrong))
    }

    fn failed(&self, reason: String) -> DirectoryError {
        DirectoryError { directory: self.directory.clone(), reason }
    }
}

#[async_trait]
impl FactorsAtService for Allauth {
    fn directory(&self) -> &str {
        &self.directory
    }

    async fn of(&self, user: &UserKey, _at: Timestamp) -> Result<ServiceFactors, DirectoryError> {
        let rows = self.authenticators(user).await.map_err(|reason| self.failed(reason))?;
        let usable = rows.iter().filter_map(|row| {
            let kind = match row.content.as_ref()? {
                AuthenticatorContent::App(_) => ServiceFactorKind::App,
                AuthenticatorContent::Codes(codes) => {
                    ServiceFactorKind::WrittenCodes { left: codes.left() }
                }
            };
            let id = format!("mfa {}", row.id);
            Some(ServiceFactor { id, kind, name: String::new(), last_used: row.last_used })
        });
        let usable: Vec<ServiceFactor> = usable.collect();
        let is_elsewhere = usable.is_empty() && !rows.is_empty();
        Ok(ServiceFactors { usable, is_elsewhere, wait: None })
    }

    async fn use_code(
        &self,
        user: &UserKey,
        code: ServiceCode<'_>,
    ) -> Result<ServiceVerdict, DirectoryError> {
        for _ in 0..ROUNDS {
            let rows = self.authenticators(user).await.map_err(|reason| self.failed(reason))?;
            let looked = self.look(&rows, user, code).await;
            if let Some(verdict) = looked.map_err(|reason| self.failed(reason))? {
                return Ok(verdict);
            }
        }
        Ok(ServiceVerdict::Wrong)
    }

    async fn missing(&self) -> Result<Vec<String>, DirectoryError> {
        let columns = COLUMNS.into_iter().filter(|column| *column != "user_id");
        let columns = columns.chain([self.settings.user_column.as_str()]);
        let table = &self.settings.table;
        let missing = self.read.missing(&[RequiredColumns::new(table, columns)]).await;
        let mut missing = missing.map_err(|reason| self.failed(reason))?;
        if missing.is_empty() && !self.may_write().await.map_err(|reason| self.failed(reason))? {
            missing.push(format!(
                "there is no right to UPDATE {table} (data, last_used_at): its recovery codes are not accepted"
            ));
        }
        Ok(missing)
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;
    use crate::config::Database;
    use crate::secret::Secret;
    use crate::service::database::{DatabaseAccess, Databases};

    const NOW: Timestamp = Timestamp::from_secs(1_795_422_870);

    const SCHEMA: &str = r#"
        CREATE TABLE mfa_authenticator (id integer PRIMARY KEY AUTOINCREMENT, type varchar(20) NOT NULL,
          data text NOT NULL CHECK ((JSON_VALID("data") OR "data" IS NULL)), user_id integer NOT NULL,
          created_at datetime NOT NULL, last_used_at datetime NULL);
        INSERT INTO mfa_authenticator VALUES
          (1, 'totp', '{"secret": "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"}', 7, '2026-01-01', NULL),
          (2, 'recovery_codes', '{"migrated_codes": ["abcd-1234", "efgh"]}', 7, '2026-01-01', NULL),
          (3, 'totp', '{"secret": "gAAAAABlZ0_8Xw-1"}', 8, '2026-01-01', NULL),
          (4, 'webauthn', '{"name": "key"}', 9, '2026-01-01', NULL);
    "#;

    struct Kit {
        allauth: Arc<Allauth>,
        read_only: Allauth,
        _folder: tempfile::TempDir,
    }

    fn kit() -> Kit {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db.sqlite3");
        Connection::open(&path).unwrap().execute_batch(SCHEMA).unwrap();
        let (databases, at) = (Databases::default(), Database::Sqlite(path));
        let read = databases.open(&at, DatabaseAccess::Read);
        let write = databases.open(&at, DatabaseAccess::Write);
        let settings = AllauthSettings::new();
        let read_only = Allauth::new("django", &settings, Arc::clone(&read), Arc::clone(&read));
        let allauth = Arc::new(Allauth::new("django", &settings, read, write));
        Kit { allauth, read_only, _folder: folder }
    }

    fn user(id: &str) -> UserKey {
        UserKey::new("django", id)
    }

    async fn tried(allauth: &Allauth, typed: &str) -> ServiceVerdict {
        let typed = Secret::new(typed);
        let is_digits = typed.expose().bytes().all(|byte| byte.is_ascii_digit());
        let digits = is_digits.then(|| typed.clone());
        let code = ServiceCode { typed: &typed, digits: digits.as_ref(), at: NOW };
        allauth.use_code(&user("7"), code).await.unwrap()
    }

    #[tokio::test]
    async fn what_can_be_read_is_used_and_all_else_is_elsewhere() {
        let kit = kit();
        let kim = kit.allauth.of(&user("7"), NOW).await.unwrap();
        let kinds: Vec<ServiceFactorKind> = kim.usable.iter().map(|factor| factor.kind).collect();
        assert_eq!(kinds, [ServiceFactorKind::App, ServiceFactorKind::WrittenCodes { left: 2 }]);
        for (id, is_elsewhere) in [("8", true), ("9", true), ("5", false)] {
            let found = kit.allauth.of(&user(id), NOW).await.unwrap();
            assert_eq!((found.usable.len(), found.is_elsewhere), (0, is_elsewhere), "{id}");
        }
        assert_eq!(kit.allauth.missing().await.unwrap(), Vec::<String>::new());
    }

    #[tokio::test]
    async fn an_apps_code_is_of_this_step_alone_and_named_for_whoever_keeps_it() {
        let kit = kit();
        let step = NOW.as_secs() / 30;
        let code = |step| hotp(b"12345678901234567890", step, 6).to_string();
        let verdict = tried(&kit.allauth, &code(step)).await;
        assert_eq!(verdict, tried(&kit.read_only, &code(step)).await, "nothing need be written");
        let ServiceVerdict::UsedOnce { kind: ServiceFactorKind::App, once } = verdict else {
            panic!("{verdict:?}");
        };
        assert_eq!(once, format!("allauth django/7 1 {step}"));
        for other in [step - 1, step + 1] {
            assert_eq!(tried(&kit.allauth, &code(other)).await, ServiceVerdict::Wrong);
        }
    }

    #[tokio::test]
    async fn a_recovery_code_is_used_once_and_only_where_that_can_be_written() {
        let kit = kit();
        assert_eq!(tried(&kit.read_only, "efgh").await, ServiceVerdict::Wrong);
        let missing = kit.read_only.missing().await.unwrap();
        assert!(missing[0].starts_with("there is no right to UPDATE mfa_authenticator"));
        let all: Vec<_> = (0..6)
            .map(|_| {
                let allauth = Arc::clone(&kit.allauth);
                tokio::spawn(async move { tried(&allauth, "ABCD 1234").await })
            })
            .collect();
        let mut used = 0;
        for one in all {
            used += usize::from(one.await.unwrap() != ServiceVerdict::Wrong);
        }
        assert_eq!(used, 1);
        let left = ServiceFactorKind::WrittenCodes { left: 0 };
        assert_eq!(tried(&kit.allauth, "efgh").await, ServiceVerdict::Used(left));
        assert_eq!(kit.allauth.of(&user("7"), NOW).await.unwrap().usable.len(), 1, "none left");
    }
}
