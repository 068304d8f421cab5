//! The form `drf-token`: sends the token of Django REST framework that the service itself has given the user.
//!
//! Tokens are only read. A token is cached for a short time, so that most requests need no query. If the service revokes a
//! token, it refuses it at once, whatever is cached here, and a new token is sent after that time.
//!
//! A user without a token is refused, because the service must not treat a known user as not signed in; or, if that is
//! configured, forwarded without one.

use std::sync::Arc;
use std::time::Duration;

use http::header::{HeaderName, HeaderValue};
use quick_cache::sync::Cache;

use crate::caller::{Known, UserKey};
use crate::clock::Timestamp;
use crate::config::{DrfToken, MissingToken};
use crate::refusal::Refusal;
use crate::service::database::{DatabaseAccess, Databases, ServiceDatabase, Statement};

/// The most users whose token is cached. The least used is removed first, and read again.
const KEPT: usize = 16_384;

pub(super) struct DrfTokenForm {
    database: Arc<ServiceDatabase>,
    select: Arc<str>,
    header: HeaderName,
    scheme: String,
    cache_for: Duration,
    missing: MissingToken,
    kept: Cache<UserKey, (HeaderValue, Timestamp)>,
}

impl DrfTokenForm {
    pub(super) fn new(settings: &DrfToken, databases: &Databases) -> Result<Self, String> {
        let header = HeaderName::from_bytes(settings.header.as_bytes())
            .map_err(|_| format!("{:?} is no header name", settings.header))?;
        let database = databases.open(&settings.database, DatabaseAccess::Read);
        let dialect = database.dialect();
        let key = dialect.as_text(&format!("t.{}", dialect.quoted("key")?));
        let table = database.table(&settings.table)?;
        // Two rows show that a user may have several tokens here, of which the right one is unknown.
        let select = format!(
            "SELECT {key} FROM {table} t WHERE t.{} {} LIMIT 2",
            dialect.quoted("user_id")?,
            dialect.is_key(&table, "user_id", 1)?,
        );
        Ok(Self {
            database,
            select: select.into(),
            header,
            scheme: settings.scheme.clone(),
            cache_for: settings.cache_for,
            missing: settings.missing,
            kept: Cache::new(KEPT),
        })
    }

    pub(super) const fn header(&self) -> &HeaderName {
        &self.header
    }

    pub(super) async fn field(
        &self,
        known: &Known,
        at: Timestamp,
    ) -> Result<Option<(HeaderName, HeaderValue)>, Refusal> {
        let user = &known.identity.key;
        let kept = self.kept.get(user).filter(|(_, until)| at < *until);
        let value = match kept {
            Some((value, _)) => value,
            None => match self.read(user).await.map_err(|error| {
                tracing::warn!(%error, "a user's token cannot be read in the service");
                Refusal::IdentityUnavailable
            })? {
                Some(value) => {
                    self.kept.insert(user.clone(), (value.clone(), at.plus(self.cache_for)));
                    value
                }
                None if self.missing == MissingToken::None => return Ok(None),
                None => {
                    tracing::warn!(
                        user = %user,
                        "a user has no token in the service: make one there \
                         (manage.py drf_create_token NAME), or set missing = \"none\" in the form"
                    );
                    return Err(Refusal::IdentityUnavailable);
                }
            },
        };
        Ok(Some((self.header.clone(), value)))
    }

    async fn read(&self, user: &UserKey) -> Result<Option<HeaderValue>, String> {
        let parameters = self.database.dialect().key_parameters(&user.id);
        let asked = Statement { sql: Arc::clone(&self.select), parameters };
        let mut rows = self.database.ask(vec![asked]).await?.into_iter().flatten();
        let row = match (rows.next(), rows.next()) {
            (None, _) => return Ok(None),
            (Some(row), None) => row,
            (Some(_), Some(_)) => return Err("a user has more than one token".into()),
        };
        let token = row.into_iter().flatten().next().ok_or("a token is empty")?;
        let mut value = HeaderValue::try_from(format!("{} {token}", self.scheme))
            .map_err(|_| "a token is not a valid header value")?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}
