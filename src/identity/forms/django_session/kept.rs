//! Stores the service's sessions where the service does: in rows, in a cache, or in rows with copies in a cache.
//!
//! With copies (`cached_db`) the service reads the copy first and writes both. So the gateway makes or renews a row only in
//! the table, where the service finds it if there is no copy; and whenever a row is deleted or made again, its copy is
//! deleted.

use std::time::Duration;

use super::rows::Rows;
use crate::clock::Timestamp;
use crate::config::{self, FormEngine};
use crate::django::session::{DjangoLogin, read_cached, read_row};
use crate::django::signing::SecretKeys;
use crate::service::cache::ServiceCache;
use crate::service::database::Databases;

/// The prefix of a session's key in the cache.
const COPY: &str = "django.contrib.sessions.cached_db";
const ENTRY: &str = "django.contrib.sessions.cache";

pub(super) enum KeptSession {
    Rows { rows: Rows, copies: Option<Entries> },
    Entries(Entries),
}

/// Sessions in a cache, or copies of sessions.
pub(super) struct Entries {
    cache: ServiceCache,
    /// `KEY_PREFIX`, `VERSION` and what the engine puts before a session's key.
    before: String,
}

impl Entries {
    fn new(settings: &config::ServiceCacheSettings, engine: &str) -> Self {
        let before = format!("{}:{}:{engine}", settings.prefix, settings.version);
        Self { cache: ServiceCache::new(settings), before }
    }

    fn key(&self, session: &str) -> String {
        format!("{}{session}", self.before)
    }

    async fn get(&self, session: &str) -> Result<Option<Vec<u8>>, String> {
        Ok(self.cache.get(&self.key(session)).await?.map(|entry| entry.value))
    }

    async fn delete(&self, session: &str) -> Result<(), String> {
        self.cache.delete(&self.key(session)).await
    }
}

/// The result of storing or renewing a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum KeptChange {
    /// The session was missing or another user's, and has been made.
    Made,
    /// The session existed and was renewed; what the application stored in it stays.
    Renewed,
    /// The session should have existed and did not: the service has ended it.
    Gone,
}

/// A session to store or renew.
pub(super) struct WantedSession<'a> {
    pub(super) key: &'a str,
    pub(super) login: &'a DjangoLogin,
    pub(super) at: Timestamp,
    pub(super) lifetime: Duration,
    pub(super) must_exist: bool,
}

impl KeptSession {
    /// Opens the storage. `None` if the session is its cookie.
    pub(super) fn open(engine: &FormEngine, databases: &Databases) -> Result<Option<Self>, String> {
        Ok(match engine {
            FormEngine::Rows { database, table, cache } => Some(Self::Rows {
                rows: Rows::new(database, table, databases)?,
                copies: cache.as_ref().map(|cache| Entries::new(cache, COPY)),
            }),
            FormEngine::Cache(cache) => Some(Self::Entries(Entries::new(cache, ENTRY))),
            FormEngine::SignedCookies { .. } => None,
        })
    }

    /// Makes a session or renews it. If the session that exists is one that `fits`, it keeps what the application has stored
    /// in it.
    pub(super) async fn keep(
        &self,
        wanted: &WantedSession<'_>,
        keys: &SecretKeys,
        fits: impl Fn(&DjangoLogin) -> bool + Send,
    ) -> Result<KeptChange, String> {
        let found = match self {
            Self::Rows { rows, .. } => rows
                .read(wanted.key)
                .await?
                .map(|data| matches!(read_row(&data, keys), Ok(Some(login)) if fits(&login))),
            // The application may store what only Python can read. Django checks the login in it itself.
            Self::Entries(entries) => entries.get(wanted.key).await?.map(|bytes| {
                read_cached(&bytes).map_or(true, |login| login.as_ref().is_some_and(&fits))
            }),
        };
        match found {
            None if wanted.must_exist => Ok(KeptChange::Gone),
            Some(true) => {
                let is_there = match self {
                    Self::Rows { rows, .. } => {
                        rows.renew(wanted.key, wanted.at.plus(wanted.lifetime)).await?
                    }
                    Self::Entries(entries) => {
                        entries.cache.renew(&entries.key(wanted.key), wanted.lifetime).await?
                    }
                };
                Ok(if is_there { KeptChange::Renewed } else { KeptChange::Gone })
            }
            None | Some(false) => {
                match self {
                    Self::Rows { rows, copies } => {
                        let data = wanted.login.to_row(keys, wanted.at);
                        rows.write(wanted.key, data, wanted.at.plus(wanted.lifetime)).await?;
                        if let Some(copies) = copies {
                            copies.delete(wanted.key).await?;
                        }
                    }
                    Self::Entries(entries) => {
                        let value = wanted.login.to_pickle();
                        entries
                            .cache
                            .set(&entries.key(wanted.key), &value, wanted.lifetime)
                            .await?;
                    }
                }
                Ok(KeptChange::Made)
            }
        }
    }

    /// Returns what [`Self::keep`] would do, without writing.
    pub(super) async fn look(&self, wanted: &WantedSession<'_>) -> Result<KeptChange, String> {
        let is_there = match self {
            Self::Rows { rows, .. } => rows.read(wanted.key).await?.is_some(),
            Self::Entries(entries) => entries.get(wanted.key).await?.is_some(),
        };
        Ok(match (is_there, wanted.must_exist) {
            (true, _) => KeptChange::Renewed,
            (false, true) => KeptChange::Gone,
            (false, false) => KeptChange::Made,
        })
    }

    /// Whether there is such a session, in which nobody is signed in.
    pub(super) async fn is_nobodys(&self, key: &str, keys: &SecretKeys) -> Result<bool, String> {
        Ok(match self {
            Self::Rows { rows, .. } => {
                rows.read(key).await?.is_some_and(|data| matches!(read_row(&data, keys), Ok(None)))
            }
            Self::Entries(entries) => {
                let entry = entries.get(key).await?;
                entry.is_some_and(|bytes| matches!(read_cached(&bytes), Ok(None)))
            }
        })
    }

    /// Returns the login of a session; `None` if nobody is signed in or there is no such session.
    pub(super) async fn read(
        &self,
        key: &str,
        keys: &SecretKeys,
    ) -> Result<Option<DjangoLogin>, String> {
        Ok(match self {
            Self::Rows { rows, .. } => {
                rows.read(key).await?.and_then(|data| read_row(&data, keys).ok().flatten())
            }
            Self::Entries(entries) => {
                entries.get(key).await?.and_then(|bytes| read_cached(&bytes).ok().flatten())
            }
        })
    }

    /// Deletes a session.
    pub(super) async fn delete(&self, key: &str) -> Result<(), String> {
        match self {
            Self::Rows { rows, copies } => {
                rows.delete(key).await?;
                match copies {
                    Some(copies) => copies.delete(key).await,
                    None => Ok(()),
                }
            }
            Self::Entries(entries) => entries.delete(key).await,
        }
    }
}
