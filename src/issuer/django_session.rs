//! `kind = "django-session"`: checks sessions that Django made, as Django does.
//!
//! A session is refused if Django would treat its visitor as not signed in, or would end it. A session in which nobody is
//! signed in (a basket, a language) is not a credential and is left alone.
//!
//! A session does not say when its user signed in, only when it was last saved: in its signature, or by its remaining time to
//! live in a cache. That counts as when it was issued, so whatever ends all that a user has also ends what was saved before.
//! If the service saves the session again later, it does not count as younger while it is cached, nor after it was refused
//! for that end.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::key::{IssuerKeyError, IssuerKeyProblem};
use super::{CredentialCheck, JudgedCredential, Password, SessionAuthHash, all_there};
use crate::clock::Timestamp;
use crate::config::{DjangoSessionIssuer, IssuerSettings, SessionEngine};
use crate::django::session::{self, DjangoLogin, UnreadableSession};
use crate::django::signing::SecretKeys;
use crate::event::IssuedRefusal;
use crate::private_file;
use crate::secret::Secret;
use crate::service::cache::ServiceCache;
use crate::service::database::dates::seconds;
use crate::service::database::{
    DatabaseAccess, Databases, RequiredColumns, ServiceDatabase, Statement,
};

/// The sessions of a service.
pub(super) struct DjangoSessions {
    keys: Arc<SecretKeys>,
    backends: Vec<String>,
    max_age: Duration,
    kept: SessionBackend,
}

enum SessionBackend {
    Rows { database: Arc<ServiceDatabase>, select: Arc<str>, table: String },
    Cache { cache: ServiceCache, before_key: String },
    Cookie,
}

/// A session that was found.
struct FoundSession {
    /// The session's key as the service has it, or the whole cookie.
    id: String,
    login: Option<DjangoLogin>,
    saved_at: Option<Timestamp>,
    expires_at: Option<Timestamp>,
}

impl DjangoSessions {
    pub(super) fn open(
        settings: &IssuerSettings,
        kind: &DjangoSessionIssuer,
        databases: &Databases,
    ) -> Result<Self, IssuerKeyError> {
        let problem = |problem| IssuerKeyError::of(settings, problem);
        let fallbacks = kind.fallback_key_files.iter().map(|path| secret_key(path));
        let fallbacks = fallbacks.collect::<Result<_, _>>().map_err(problem)?;
        let keys = SecretKeys::new(secret_key(&kind.key_file).map_err(problem)?, fallbacks);
        let kept = match &kind.engine {
            SessionEngine::Database { database, table } => {
                let database = databases.open(database, DatabaseAccess::Read);
                let select = select(&database, table)
                    .map_err(|why| problem(IssuerKeyProblem::Database(why)))?;
                SessionBackend::Rows { database, select, table: table.clone() }
            }
            SessionEngine::Cache(cache) => SessionBackend::Cache {
                before_key: format!(
                    "{}:{}:django.contrib.sessions.cache",
                    cache.prefix, cache.version
                ),
                cache: ServiceCache::new(cache),
            },
            SessionEngine::SignedCookies => SessionBackend::Cookie,
        };
        Ok(Self {
            keys: Arc::new(keys),
            backends: kind.backends.clone(),
            max_age: kind.max_age,
            kept,
        })
    }

    async fn find(&self, cookie: &str, at: Timestamp) -> Result<FoundSession, IssuedRefusal> {
        match &self.kept {
            SessionBackend::Rows { database, select, .. } => {
                let key = session_key(cookie)?.to_owned();
                let statement = Statement { sql: Arc::clone(select), parameters: vec![key] };
                let rows = database.ask(vec![statement]).await.map_err(unavailable)?;
                let Some(row) = rows.into_iter().flatten().next() else {
                    return Err(IssuedRefusal::NotFound);
                };
                let [Some(id), Some(data), Some(expires_at)] = &row[..] else {
                    return Err(IssuedRefusal::Malformed);
                };
                let expires_at = seconds(expires_at).ok_or(IssuedRefusal::Malformed)?;
                let login = session::read_row(data, &self.keys)?;
                let saved_at = login.as_ref().and_then(|login| login.saved_at);
                Ok(FoundSession { id: id.clone(), login, saved_at, expires_at: Some(expires_at) })
            }
            SessionBackend::Cache { cache, before_key } => {
                let key = session_key(cookie)?;
                let entry = cache.get(&format!("{before_key}{key}")).await.map_err(unavailable)?;
                let entry = entry.ok_or(IssuedRefusal::NotFound)?;
                let login = session::read_cached(&entry.value)?;
                // With a longer time to live than that, it is unknown when the entry was saved.
                let age = entry.stays.and_then(|stays| self.max_age.checked_sub(stays));
                Ok(FoundSession {
                    id: key.to_owned(),
                    login,
                    saved_at: age.map(|age| at.minus(age)),
                    expires_at: entry.stays.map(|stays| at.plus(stays)),
                })
            }
            SessionBackend::Cookie => {
                let login = session::read_cookie(cookie, &self.keys, at, self.max_age)?;
                let saved_at = login.as_ref().and_then(|login| login.saved_at);
                let expires_at = saved_at.map(|saved_at| saved_at.plus(self.max_age));
                Ok(FoundSession { id: cookie.to_owned(), login, saved_at, expires_at })
            }
        }
    }
}

#[async_trait]
impl CredentialCheck for DjangoSessions {
    async fn ask(&self, cookie: &str, at: Timestamp) -> Result<JudgedCredential, IssuedRefusal> {
        let found = self.find(cookie, at).await?;
        if found.expires_at.is_some_and(|expires_at| at >= expires_at) {
            return Err(IssuedRefusal::Expired);
        }
        let login = found.login.ok_or(IssuedRefusal::NoUser)?;
        if !self.backends.contains(&login.backend) {
            return Err(IssuedRefusal::UnknownBackend);
        }
        Ok(JudgedCredential {
            user: login.user_id.clone(),
            issued_at: found.saved_at.map(|saved_at| saved_at.min(at)),
            expires_at: found.expires_at,
            token_id: Some(found.id),
            // A request that is under way may save it, so that it lives on under its key.
            deny_for: self.max_age,
            password: Password::Noted(Box::new(SessionAuthHash::new(
                login,
                Arc::clone(&self.keys),
            ))),
            max_age: None,
        })
    }

    async fn try_out(&self) -> Result<(), String> {
        match &self.kept {
            SessionBackend::Rows { database, select, table } => {
                let columns = ["session_key", "session_data", "expire_date"];
                all_there(database.missing(&[RequiredColumns::new(table, columns)]).await?)?;
                let parameters = vec![String::new()];
                let statement = Statement { sql: Arc::clone(select), parameters };
                database.ask(vec![statement]).await.map(drop)
            }
            SessionBackend::Cache { cache, before_key } => cache.get(before_key).await.map(drop),
            SessionBackend::Cookie => Ok(()),
        }
    }
}

impl From<UnreadableSession> for IssuedRefusal {
    fn from(why: UnreadableSession) -> Self {
        match why {
            UnreadableSession::NotSigned(_) => Self::BadSignature,
            UnreadableSession::Expired => Self::Expired,
            UnreadableSession::Malformed => Self::Malformed,
        }
    }
}

fn session_key(cookie: &str) -> Result<&str, IssuedRefusal> {
    let is_one = session::KEY_LENGTHS.contains(&cookie.len())
        && cookie.bytes().all(|b| b.is_ascii_graphic());
    if is_one { Ok(cookie) } else { Err(IssuedRefusal::Malformed) }
}

fn unavailable(error: String) -> IssuedRefusal {
    tracing::warn!(error, "an issuer's service cannot be asked");
    IssuedRefusal::Unavailable
}

fn select(database: &ServiceDatabase, table: &str) -> Result<Arc<str>, String> {
    let dialect = database.dialect();
    let key = dialect.quoted("session_key")?;
    Ok(format!(
        "SELECT {}, {}, {} FROM {} WHERE {key} = {}",
        dialect.as_text(&key),
        dialect.as_text(&dialect.quoted("session_data")?),
        dialect.as_seconds("expire_date")?,
        database.table(table)?,
        dialect.placeholder(1),
    )
    .into())
}

fn secret_key(path: &Path) -> Result<Secret, IssuerKeyProblem> {
    let (bytes, _) = private_file::read(path)?;
    // Editors add a newline at the end, which is not part of the key.
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let text = std::str::from_utf8(bytes).ok().filter(|text| !text.is_empty());
    text.map(Secret::new).ok_or_else(|| IssuerKeyProblem::NoSecret(path.to_owned()))
}
