//! The cache of a Django service, where it is Redis.
//!
//! One connection, which carries many questions at once, opened when it is needed and given up after trouble. Its keys
//! are Django's (`prefix:version:name`). Nothing is ever said about what a value is: that is for who reads it.
//!
//! **Time.** Connecting and each answer have a limit. A connection that had been used may have died with its server, so
//! what was asked is asked once more on a new one; everything that is asked here may be done twice.
//!
//! **The password** is read from its file for each new connection.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, FromRedisValue, IntoConnectionInfo, RedisError};
use tokio::sync::Mutex;

use super::private_file;
use crate::config::DjangoCache;
use crate::secret::Secret;

/// How long connecting may take, and each answer.
const LIMIT: Duration = Duration::from_secs(2);

/// One service's cache.
pub struct ServiceCache {
    settings: DjangoCache,
    connection: Mutex<Option<MultiplexedConnection>>,
}

impl ServiceCache {
    /// Takes the settings. The server need not be there yet: until it is, asking it is trouble.
    pub fn new(settings: &DjangoCache) -> Self {
        Self { settings: settings.clone(), connection: Mutex::default() }
    }

    /// The value of a key.
    ///
    /// # Errors
    /// What went wrong, for the log.
    pub async fn get(&self, name: &str) -> Result<Option<Vec<u8>>, String> {
        let mut command = redis::cmd("GET");
        command.arg(self.key(name));
        self.ask(&command).await
    }

    /// Gives a key a value, for this long.
    ///
    /// # Errors
    /// What went wrong, for the log.
    pub async fn set(&self, name: &str, value: &[u8], lives: Duration) -> Result<(), String> {
        let mut command = redis::cmd("SET");
        command.arg(self.key(name)).arg(value).arg("EX").arg(lives.as_secs().max(1));
        self.ask(&command).await
    }

    /// Has a key live for this long from now. Was it there?
    ///
    /// # Errors
    /// What went wrong, for the log.
    pub async fn renew(&self, name: &str, lives: Duration) -> Result<bool, String> {
        let mut command = redis::cmd("EXPIRE");
        command.arg(self.key(name)).arg(lives.as_secs().max(1));
        self.ask(&command).await
    }

    /// Takes a key away.
    ///
    /// # Errors
    /// What went wrong, for the log.
    pub async fn delete(&self, name: &str) -> Result<(), String> {
        let mut command = redis::cmd("DEL");
        command.arg(self.key(name));
        self.ask(&command).await
    }

    fn key(&self, name: &str) -> String {
        format!("{}:{}:{name}", self.settings.prefix, self.settings.version)
    }

    async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, String> {
        let rested = self.connection.lock().await.clone();
        if let Some(mut connection) = rested {
            match command.query_async(&mut connection).await {
                Ok(answer) => return Ok(answer),
                Err(error) if !is_broken(&error) => return Err(self.failed(&error)),
                Err(_) => {}
            }
        }
        // Whoever comes first opens it for all.
        let mut slot = self.connection.lock().await;
        *slot = None;
        let mut connection = self.connect().await?;
        *slot = Some(connection.clone());
        drop(slot);
        command.query_async(&mut connection).await.map_err(|error| self.failed(&error))
    }

    async fn connect(&self) -> Result<MultiplexedConnection, String> {
        let settings = &self.settings;
        let host = if settings.host.contains(':') {
            format!("[{}]", settings.host)
        } else {
            settings.host.clone()
        };
        let scheme = if settings.tls { "rediss" } else { "redis" };
        let url = format!("{scheme}://{host}:{}/{}", settings.port, settings.database);
        let info = url.into_connection_info().map_err(|error| self.failed(&error))?;
        let mut signing_in = info.redis_settings().clone();
        if let Some(user) = &settings.user {
            signing_in = signing_in.set_username(user);
        }
        if let Some(password) = self.password().await? {
            signing_in = signing_in.set_password(password.expose());
        }
        let client = Client::open(info.set_redis_settings(signing_in))
            .map_err(|error| self.failed(&error))?;
        let limits = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(LIMIT))
            .set_response_timeout(Some(LIMIT));
        client
            .get_multiplexed_async_connection_with_config(&limits)
            .await
            .map_err(|error| self.failed(&error))
    }

    async fn password(&self) -> Result<Option<Secret>, String> {
        let Some(path) = self.settings.password_file.clone() else { return Ok(None) };
        tokio::task::spawn_blocking(move || {
            let (bytes, _) = private_file::read(&path).map_err(|error| error.to_string())?;
            let text = std::str::from_utf8(&bytes)
                .map_err(|_| format!("{}: it is not UTF-8", path.display()))?;
            // An editor leaves a line break behind.
            Ok(Some(Secret::new(text.trim_end_matches(['\n', '\r']))))
        })
        .await
        .unwrap_or_else(|_| Err("reading the password broke off".into()))
    }

    fn failed(&self, error: &RedisError) -> String {
        format!("{}:{}: {error}", self.settings.host, self.settings.port)
    }
}

/// Is it the connection that failed, and not what was asked?
fn is_broken(error: &RedisError) -> bool {
    error.is_io_error() || error.is_unrecoverable_error() || error.is_connection_dropped()
}
