//! The Redis of a service, where it keeps what a restart may lose: sessions, for one.
//!
//! Read only. One connection for all, on which answers come in the order of the questions; it is made when it is first
//! needed and anew after trouble. **Trouble** is a text for the log, and never "there is no such key".

use std::path::PathBuf;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ConnectionInfo, IntoConnectionInfo, RedisError};
use tokio::sync::Mutex;

use super::private_file;
use crate::config::ServiceCache as Settings;

/// How long connecting may take, and each answer.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Longer values are not read.
const MAX_VALUE: isize = 1 << 20;

/// The cache of a service.
pub struct ServiceCache {
    address: String,
    password_file: Option<PathBuf>,
    connection: Mutex<Option<MultiplexedConnection>>,
}

/// What lies under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
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
        }
    }

    /// What lies under the key.
    ///
    /// # Errors
    /// What went wrong, for the log.
    pub async fn get(&self, key: &str) -> Result<Option<Entry>, String> {
        let failed = |error: RedisError| format!("{}: {error}", self.address);
        let (mut connection, is_new) = self.connected().await?;
        let answer = match ask(&mut connection, key).await {
            // One that was idle may have been closed since.
            Err(error) if !is_new && is_broken(&error) => {
                self.connection.lock().await.take();
                ask(&mut self.connected().await?.0, key).await
            }
            answer => answer,
        };
        match answer {
            Ok((value, _)) if value.is_empty() => Ok(None),
            Ok((value, millis)) => Ok(Some(Entry {
                value,
                stays: u64::try_from(millis).ok().map(Duration::from_millis),
            })),
            Err(error) => {
                if is_broken(&error) {
                    self.connection.lock().await.take();
                }
                Err(failed(error))
            }
        }
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
                        .set_connection_timeout(Some(TIMEOUT))
                        .set_response_timeout(Some(TIMEOUT)),
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

/// Value and time to live in one step, so that they are of the same entry.
async fn ask(
    connection: &mut MultiplexedConnection,
    key: &str,
) -> Result<(Vec<u8>, i64), RedisError> {
    redis::pipe()
        .atomic()
        .cmd("GETRANGE")
        .arg(key)
        .arg(0)
        .arg(MAX_VALUE)
        .cmd("PTTL")
        .arg(key)
        .query_async(connection)
        .await
}

fn is_broken(error: &RedisError) -> bool {
    error.is_io_error() || error.is_timeout() || error.is_connection_dropped()
}
