//! The Redis of a service, where it keeps what a restart may lose: sessions, for one.
//!
//! One connection for all, on which answers come in the order of the questions; it is made when it is first
//! needed and anew after trouble. **Trouble** is a text for the log, and never "there is no such key". It comes in time,
//! however many wait for a connection: they are not let in one after another, each with a limit of its own.

use std::path::PathBuf;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionInfo, FromRedisValue, IntoConnectionInfo, Pipeline,
    RedisError,
};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::config::ServiceCacheSettings as Settings;
use crate::private_file;

/// How long connecting may take, and each answer.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Longer values are not read.
const MAX_VALUE: isize = 1 << 20;

/// The cache of a service.
pub struct ServiceCache {
    address: String,
    password_file: Option<PathBuf>,
    connection: Mutex<Option<MultiplexedConnection>>,
    timeout: Duration,
}

/// What lies under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheEntry {
    /// The value; of a longer one no more than its first MiB and a byte.
    pub value: Vec<u8>,
    /// How long it stays; none: until it is taken away.
    pub stays: Option<Duration>,
}

impl ServiceCache {
    /// The cache need not be there yet: until it is, asking it is trouble.
    pub fn new(settings: &Settings) -> Self {
        Self {
            address: settings.address.clone(),
            password_file: settings.password_file.clone(),
            connection: Mutex::new(None),
            timeout: TIMEOUT,
        }
    }

    /// What lies under the key.
    ///
    /// # Errors
    /// What went wrong, for the log.
    pub async fn get(&self, key: &str) -> Result<Option<CacheEntry>, String> {
        // Value and time to live in one step, so that they are of the same entry.
        let mut both = redis::pipe();
        both.atomic();
        both.cmd("GETRANGE").arg(key).arg(0).arg(MAX_VALUE).cmd("PTTL").arg(key);
        let (value, millis): (Vec<u8>, i64) = self.ask(&both).await?;
        let stays = u64::try_from(millis).ok().map(Duration::from_millis);
        Ok((!value.is_empty()).then_some(CacheEntry { value, stays }))
    }

    /// Puts a value under the key, for this long.
    ///
    /// # Errors
    /// What went wrong, for the log.
    pub async fn set(&self, key: &str, value: &[u8], stays: Duration) -> Result<(), String> {
        let mut set = redis::pipe();
        set.cmd("SET").arg(key).arg(value).arg("EX").arg(stays.as_secs().max(1)).ignore();
        self.ask(&set).await
    }

    /// Has what lies under the key stay for this long from now. Was there anything?
    ///
    /// # Errors
    /// What went wrong, for the log.
    pub async fn renew(&self, key: &str, stays: Duration) -> Result<bool, String> {
        let mut renew = redis::pipe();
        renew.cmd("EXPIRE").arg(key).arg(stays.as_secs().max(1));
        let (was_there,) = self.ask(&renew).await?;
        Ok(was_there)
    }

    /// Takes away what lies under the key.
    ///
    /// # Errors
    /// What went wrong, for the log.
    pub async fn delete(&self, key: &str) -> Result<(), String> {
        let mut delete = redis::pipe();
        delete.cmd("DEL").arg(key).ignore();
        self.ask(&delete).await
    }

    /// Asks something that may be asked twice.
    async fn ask<T: FromRedisValue>(&self, what: &Pipeline) -> Result<T, String> {
        // A connection and an answer, and all the waiting for either.
        let limit = self.timeout * 2;
        let late = |_| Err(format!("{}: there is no answer, for {limit:?}", self.address));
        timeout(limit, self.ask_in_time(what)).await.unwrap_or_else(late)
    }

    async fn ask_in_time<T: FromRedisValue>(&self, what: &Pipeline) -> Result<T, String> {
        let (mut connection, is_new) = self.connected().await?;
        let answer = match what.query_async(&mut connection).await {
            // One that was idle may have been closed since.
            Err(error) if !is_new && is_broken(&error) => {
                self.connection.lock().await.take();
                what.query_async(&mut self.connected().await?.0).await
            }
            answer => answer,
        };
        if answer.as_ref().is_err_and(is_broken) {
            self.connection.lock().await.take();
        }
        answer.map_err(|error| format!("{}: {error}", self.address))
    }

    /// The connection, and whether it was made just now.
    async fn connected(&self) -> Result<(MultiplexedConnection, bool), String> {
        let mut slot = self.connection.lock().await;
        if let Some(connection) = &*slot {
            return Ok((connection.clone(), false));
        }
        let connect = async {
            let info = self.address.as_str().into_connection_info()?;
            Client::open(self.with_password(info)?)?
                .get_multiplexed_async_connection_with_config(
                    &AsyncConnectionConfig::new()
                        .set_connection_timeout(Some(self.timeout))
                        .set_response_timeout(Some(self.timeout)),
                )
                .await
        };
        let connection =
            connect.await.map_err(|error: RedisError| format!("{}: {error}", self.address))?;
        *slot = Some(connection.clone());
        Ok((connection, true))
    }

    fn with_password(&self, info: ConnectionInfo) -> Result<ConnectionInfo, RedisError> {
        let Some(path) = &self.password_file else { return Ok(info) };
        let refused = |why: String| {
            RedisError::from((redis::ErrorKind::InvalidClientConfig, "password", why))
        };
        let (bytes, _) = private_file::read(path).map_err(|error| refused(error.to_string()))?;
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
        let password = std::str::from_utf8(bytes).map_err(|error| refused(error.to_string()))?;
        let settings = info.redis_settings().clone().set_password(password);
        Ok(info.set_redis_settings(settings))
    }
}

fn is_broken(error: &RedisError) -> bool {
    error.is_io_error() || error.is_timeout() || error.is_connection_dropped()
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::time::Instant;

    use futures_util::future::join_all;

    use super::*;

    #[tokio::test]
    async fn a_cache_that_is_silent_is_trouble_for_all_who_wait_at_once() {
        // Nobody accepts, so that connections are made and nothing is ever said.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let cache = ServiceCache {
            address: format!("redis://{}/0", silent.local_addr().unwrap()),
            password_file: None,
            connection: Mutex::new(None),
            timeout: Duration::from_millis(200),
        };
        let begun = Instant::now();
        let all = join_all((0..20).map(|_| cache.get("key"))).await;
        assert!(all.iter().all(Result::is_err), "{all:?}");
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(2), "one after another it would be four: {took:?}");
    }
}
