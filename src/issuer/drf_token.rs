//! `kind = "drf-token"`: checks the tokens of Django REST framework's `TokenAuthentication`.
//!
//! A token is the key of a row and contains nothing; it does not expire, and a user keeps the same one for good. A changed
//! password does not end it, as it does not for Django. A token that was signed out here stays ended: the user must have the
//! service make another, or sign in at the gateway.
//!
//! Any word is looked up, because an operator may have chosen a token's key. A table that accepts other spellings of a key
//! (MySQL's usual collations) accepts them here as well, but a token ends by the key in its row, and so under each spelling.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::key::{IssuerKeyError, IssuerKeyProblem};
use super::{CredentialCheck, JudgedCredential, Password, all_there};
use crate::clock::Timestamp;
use crate::config::{Database, IssuerSettings};
use crate::event::IssuedRefusal;
use crate::service::database::dates::seconds;
use crate::service::database::{
    DatabaseAccess, Databases, RequiredColumns, ServiceDatabase, Statement,
};

/// The longest key that is looked up: Django's own column has 40 characters.
const MAX_KEY: usize = 1024;

/// The tokens of a service.
pub(super) struct DrfTokens {
    database: Arc<ServiceDatabase>,
    select: Arc<str>,
    table: String,
}

impl DrfTokens {
    pub(super) fn open(
        settings: &IssuerSettings,
        database: &Database,
        table: &str,
        databases: &Databases,
    ) -> Result<Self, IssuerKeyError> {
        let database = databases.open(database, DatabaseAccess::Read);
        let select = select(&database, table)
            .map_err(|why| IssuerKeyError::of(settings, IssuerKeyProblem::Database(why)))?;
        Ok(Self { database, select, table: table.to_owned() })
    }
}

#[async_trait]
impl CredentialCheck for DrfTokens {
    async fn ask(&self, token: &str, _: Timestamp) -> Result<JudgedCredential, IssuedRefusal> {
        if token.len() > MAX_KEY {
            return Err(IssuedRefusal::Malformed);
        }
        let parameters = vec![token.to_owned()];
        let statement = Statement { sql: Arc::clone(&self.select), parameters };
        let rows = self.database.ask(vec![statement]).await.map_err(|error| {
            tracing::warn!(error, "an issuer's service cannot be asked");
            IssuedRefusal::Unavailable
        })?;
        let row = rows.into_iter().flatten().next().ok_or(IssuedRefusal::NotFound)?;
        let [Some(key), Some(user), Some(created)] = &row[..] else {
            return Err(IssuedRefusal::Malformed);
        };
        Ok(JudgedCredential {
            user: user.clone(),
            issued_at: Some(seconds(created).ok_or(IssuedRefusal::Malformed)?),
            expires_at: None,
            token_id: Some(key.clone()),
            deny_for: Duration::ZERO,
            password: Password::Independent,
            max_age: None,
        })
    }

    async fn try_out(&self) -> Result<(), String> {
        let needed = RequiredColumns::new(&self.table, ["key", "user_id", "created"]);
        all_there(self.database.missing(&[needed]).await?)?;
        let statement =
            Statement { sql: Arc::clone(&self.select), parameters: vec![String::new()] };
        self.database.ask(vec![statement]).await.map(drop)
    }
}

fn select(database: &ServiceDatabase, table: &str) -> Result<Arc<str>, String> {
    let dialect = database.dialect();
    let key = dialect.quoted("key")?;
    Ok(format!(
        "SELECT {}, {}, {} FROM {} WHERE {key} = {}",
        dialect.as_text(&key),
        dialect.as_text(&dialect.quoted("user_id")?),
        dialect.as_seconds("created")?,
        database.table(table)?,
        dialect.placeholder(1),
    )
    .into())
}
