//! The blacklist of a service's SimpleJWT (`rest_framework_simplejwt.token_blacklist`): the refresh tokens that were revoked
//! before they expired, by their `jti`.

use std::sync::Arc;

use super::database::{RequiredColumns, ServiceDatabase, Statement};

/// The table of every refresh token that was issued.
const OUTSTANDING: &str = "token_blacklist_outstandingtoken";

/// The table of the revoked refresh tokens.
const BLACKLISTED: &str = "token_blacklist_blacklistedtoken";

/// The two blacklist tables of one service.
pub struct TokenBlacklist {
    /// The name of the directory whose database has the tables.
    name: String,
    database: Arc<ServiceDatabase>,
    sql: Arc<str>,
}

impl TokenBlacklist {
    /// Uses the tables in the database of the directory `name`.
    ///
    /// # Errors
    /// Why the tables cannot be queried.
    pub fn new(name: &str, database: Arc<ServiceDatabase>) -> Result<Self, String> {
        let dialect = database.dialect();
        let sql = format!(
            "SELECT {} FROM {} o JOIN {} b ON b.token_id = o.id WHERE o.jti = {}",
            dialect.as_text("o.jti"),
            database.table(OUTSTANDING)?,
            database.table(BLACKLISTED)?,
            dialect.placeholder(1),
        );
        Ok(Self { name: name.to_owned(), database, sql: sql.into() })
    }

    /// Lists the tables and columns that are missing.
    ///
    /// # Errors
    /// Why the database cannot be asked.
    pub async fn missing(&self) -> Result<Vec<String>, String> {
        let needed = [
            RequiredColumns::new(OUTSTANDING, ["id", "jti"]),
            RequiredColumns::new(BLACKLISTED, ["token_id"]),
        ];
        self.database.missing(&needed).await
    }

    /// Whether the token with this `jti` was revoked.
    ///
    /// # Errors
    /// Why the database cannot be asked. The token is then neither revoked nor valid.
    pub async fn holds(&self, token_id: &str) -> Result<bool, String> {
        let statement =
            Statement { sql: Arc::clone(&self.sql), parameters: vec![token_id.to_owned()] };
        let rows = self.database.ask(vec![statement]).await;
        let rows = rows.map_err(|reason| format!("the blacklist of {}: {reason}", self.name))?;
        Ok(rows.iter().any(|rows| !rows.is_empty()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Database;
    use crate::service::database::{DatabaseAccess, Databases};

    fn blacklist(folder: &std::path::Path) -> TokenBlacklist {
        let database = Database::Sqlite(folder.join("db.sqlite3"));
        let open = Databases::default().open(&database, DatabaseAccess::Read);
        TokenBlacklist::new("django", open).unwrap()
    }

    #[tokio::test]
    async fn it_holds_what_was_taken_back_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let schema = "CREATE TABLE token_blacklist_outstandingtoken (id INTEGER PRIMARY KEY, jti varchar(255));
             CREATE TABLE token_blacklist_blacklistedtoken (id INTEGER PRIMARY KEY, token_id bigint);
             INSERT INTO token_blacklist_outstandingtoken VALUES (1, 'aa'), (2, 'bb');
             INSERT INTO token_blacklist_blacklistedtoken VALUES (1, 2);";
        let file = rusqlite::Connection::open(folder.path().join("db.sqlite3")).unwrap();
        file.execute_batch(schema).unwrap();
        let blacklist = blacklist(folder.path());
        for (token, expected) in [("aa", false), ("bb", true), ("BB", false), ("", false)] {
            assert_eq!(blacklist.holds(token).await, Ok(expected), "{token}");
        }
        file.execute_batch("DROP TABLE token_blacklist_blacklistedtoken").unwrap();
        assert!(blacklist.holds("aa").await.is_err(), "a missing table is trouble");
    }

    #[tokio::test]
    async fn a_database_that_is_not_there_is_no_answer() {
        let folder = tempfile::tempdir().unwrap();
        assert!(blacklist(folder.path()).holds("aa").await.is_err());
    }
}
