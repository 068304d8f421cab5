//! `kind = "drf-token"`: the tokens of Django REST framework's `TokenAuthentication`.
//!
//! A token is a key of its table and says nothing; it has no end, and a user has the same one for good. So a changed
//! password does not end it, as it does not for Django. Once it was signed out here it stays so: the way back is to have
//! the service make another, or to sign in at the gateway.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::django_session::{as_seconds, seconds};
use super::key::{IssuerKeyError, Problem};
use super::{Asked, Judged, Password};
use crate::clock::Timestamp;
use crate::config::{Database, IssuerSettings};
use crate::directory::database::{
    Access, Databases, Dialect, ServiceDatabase, Statement, with_hyphens,
};
use crate::event::IssuedRefusal;

const KEY_LENGTH: usize = 40;

/// A service's tokens.
pub(super) struct DrfTokens {
    database: Arc<ServiceDatabase>,
    select: Arc<str>,
}

impl DrfTokens {
    pub(super) fn open(
        settings: &IssuerSettings,
        database: &Database,
        table: &str,
        databases: &Databases,
    ) -> Result<Self, IssuerKeyError> {
        let database = databases.open(database, Access::Read);
        let select = select(database.dialect(), table)
            .map_err(|why| IssuerKeyError::of(settings, Problem::Database(why)))?;
        Ok(Self { database, select })
    }
}

#[async_trait]
impl Asked for DrfTokens {
    async fn ask(&self, token: &str, _: Timestamp) -> Result<Judged, IssuedRefusal> {
        let in_alphabet = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if token.len() != KEY_LENGTH || !token.bytes().all(in_alphabet) {
            return Err(IssuedRefusal::Malformed);
        }
        let parameters = vec![token.to_owned()];
        let statement = Statement { sql: Arc::clone(&self.select), parameters };
        let rows = self.database.ask(vec![statement]).await.map_err(|error| {
            tracing::warn!(error, "an issuer's service cannot be asked");
            IssuedRefusal::Unavailable
        })?;
        let row = rows.into_iter().flatten().next().ok_or(IssuedRefusal::NotFound)?;
        let [Some(user), Some(created)] = &row[..] else { return Err(IssuedRefusal::Malformed) };
        Ok(Judged {
            user: with_hyphens(user),
            issued_at: Some(seconds(created).ok_or(IssuedRefusal::Malformed)?),
            expires_at: None,
            token_id: Some(token.to_owned()),
            deny_for: Duration::ZERO,
            password: Password::Independent,
            max_age: None,
        })
    }

    async fn try_out(&self) -> Result<(), String> {
        let statement =
            Statement { sql: Arc::clone(&self.select), parameters: vec![String::new()] };
        self.database.ask(vec![statement]).await.map(drop)
    }
}

fn select(dialect: Dialect, table: &str) -> Result<Arc<str>, String> {
    Ok(format!(
        "SELECT {}, {} FROM {} WHERE {} = {}",
        dialect.as_text(&dialect.quoted("user_id")?),
        as_seconds(dialect, "created")?,
        dialect.quoted(table)?,
        dialect.quoted("key")?,
        dialect.placeholder(1),
    )
    .into())
}
