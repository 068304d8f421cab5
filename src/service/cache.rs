//! Reads and writes the Redis of a service, which stores what a restart may lose, such as sessions.
//!
//! All requests share one connection, on which answers come in the order of the commands. It is opened when it is first
//! needed, and again after an error. **An error** is a text for the log, and is never reported as a missing key. It is
//! returned in time however many callers wait for a connection: one limit covers both the wait and the answer.

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

/// The longest time that connecting may take, and each answer.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The index of the last byte that is read of a value: 1 MiB, from 0.
const MAX_VALUE: isize = 1 << 20;

/// The cache of a service.
pub struct ServiceCache {
    address: String,
    password_file: Option<PathBuf>,
    connection: Mutex<Option<MultiplexedConnection>>,
    timeout: Duration,
}

/// A value in the cache with its time to live.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CacheEntry {
    /// The value; at most the first MiB and a byte of a longer one.
    pub value: Vec<u8>,
    /// The time to live; `None` if the entry does not expire.
    pub stays: Option<Duration>,
}

impl ServiceCache {
    /// Makes a cache without connecting to it. Until the server can be reached, every command is an error.
    pub fn new(settings: &Settings) -> Self {
        Self {
            address: settings.address.clone(),
            password_file: settings.password_file.clone(),
            connection: Mutex::new(None),
            timeout: TIMEOUT,
        }
    }

    /// Returns the entry of the key.
    ///
    /// # Errors
    /// A description of the failure, for the log.
    pub async fn get(&self, key: &str) -> Result<Option<CacheEntry>, String> {
        // One transaction reads the value and its time to live, so that both are of the same entry.
        let mut both = redis::pipe();
        both.atomic();
        both.cmd("GETRANGE").arg(key).arg(0).arg(MAX_VALUE).cmd("PTTL").arg(key);
        let (value, millis): (Vec<u8>, i64) = self.ask(&both).await?;
        let stays = u64::try_from(millis).ok().map(Duration::from_millis);
        Ok((!value.is_empty()).then_some(CacheEntry { value, stays }))
    }

    /// Stores a value under the key, for this long.
    ///
    /// # Errors
    /// A description of the failure, for the log.
    pub async fn set(&self, key: &str, value: &[u8], stays: Duration) -> Result<(), String> {
        let mut set = redis::pipe();
        set.cmd("SET").arg(key).arg(value).arg("EX").arg(stays.as_secs().max(1)).ignore();
        self.ask(&set).await
    }

    /// Lets the entry of the key expire after this long from now. Returns whether there was an entry.
    ///
    /// # Errors
    /// A description of the failure, for the log.
    pub async fn renew(&self, key: &str, stays: Duration) -> Result<bool, String> {
        let mut renew = redis::pipe();
        renew.cmd("EXPIRE").arg(key).arg(stays.as_secs().max(1));
        let (was_there,) = self.ask(&renew).await?;
        Ok(was_there)
    }

    /// Deletes the entry of the key.
    ///
    /// # Errors
    /// A description of the failure, for the log.
    pub async fn delete(&self, key: &str) -> Result<(), String> {
        let mut delete = redis::pipe();
        delete.cmd("DEL").arg(key).ignore();
        self.ask(&delete).await
    }

    /// Runs commands that may be run twice.
    async fn ask<T: FromRedisValue>(&self, what: &Pipeline) -> Result<T, String> {
        // The limit covers connecting, the answer, and waiting for either.
        let limit = self.timeout * 2;
        let late = |_| Err(format!("{}: there is no answer, for {limit:?}", self.address));
        timeout(limit, self.ask_in_time(what)).await.unwrap_or_else(late)
    }

    async fn ask_in_time<T: FromRedisValue>(&self, what: &Pipeline) -> Result<T, String> {
        let (mut connection, is_new) = self.connected().await?;
        let answer = match what.query_async(&mut connection).await {
            // An idle connection may have been closed in the meantime.
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

    /// Returns the connection, and whether it was opened just now.
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
        // The listener never accepts: connections are opened and get no answer.
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
