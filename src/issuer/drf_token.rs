//! `kind = "drf-token"`: the tokens of Django REST framework's `TokenAuthentication`.
//!
//! A token is a key of its table and says nothing; it has no end, and a user has the same one for good. So a changed
//! password does not end it, as it does not for Django. Once it was signed out here it stays so: the way back is to have
//! the service make another, or to sign in at the gateway.
//!
//! Whatever is one word is asked for: an operator may have given a token a key of their own. A table that takes other
//! spellings of a key (MySQL's usual collations) takes them here as well, but what ends a token ends the key that its row
//! has, under each of them.

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

/// No column of keys is longer: Django's own takes 40 characters.
const MAX_KEY: usize = 1024;

/// A service's tokens.
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
