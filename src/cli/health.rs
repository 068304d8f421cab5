//! `doorwarden health`, and the small HTTP client with which commands talk to the admin listener.

use std::io::{Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use super::config_file::ConfigFile;
use crate::app;
use crate::command::{CommandFailure, say};
use crate::config::{Config, LoadError};

/// How long the admin listener may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// `doorwarden health`
#[derive(Debug, clap::Args)]
pub(super) struct Health {
    #[command(flatten)]
    file: ConfigFile,
    /// The gateway's admin address [default: that of the configuration, else 127.0.0.1:9090].
    #[arg(long, value_name = "ADDRESS", conflicts_with = "config")]
    admin: Option<String>,
}

const DEFAULT_ADMIN: &str = "127.0.0.1:9090";

/// Returns exit code 0 if the gateway is ready.
pub(super) fn run(health: &Health) -> Result<(), CommandFailure> {
    let admin = match (&health.admin, health.file.if_any()) {
        (Some(admin), _) => admin.clone(),
        (None, None) => DEFAULT_ADMIN.to_owned(),
        // Other commands report what is wrong with the file; a running gateway may get it at a later reload.
        (None, Some(path)) => {
            let config = match Config::load(&path) {
                Ok((config, _)) => config,
                Err(LoadError::Invalid(_)) => Config::glimpse(&path),
                Err(error) => {
                    let text = format!("doorwarden: {}: {error}", path.display());
                    return Err(CommandFailure::Usage(text));
                }
            };
            app::offline::admin_address(&config)
        }
    };
    check(&admin)
}

fn check(admin: &str) -> Result<(), CommandFailure> {
    let (status, body) = ask(admin, "GET /ready", &[], "")
        .map_err(|error| CommandFailure::Failed(format!("{admin} does not answer: {error}")))?;
    if status == 200 {
        say(format_args!("ready"))?;
        Ok(())
    } else {
        // The server there may not be a gateway, and may send a long body.
        let line = body.lines().next().unwrap_or_default();
        Err(CommandFailure::Failed(format!("not ready: {status} {line}")))
    }
}

/// Sends one request and returns the status and body. An error means that nobody answered.
pub(super) fn ask(
    address: &str,
    request: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> std::io::Result<(u16, String)> {
    let address = address
        .to_socket_addrs()?
        .next()
        .ok_or_else(|| std::io::Error::other("the address does not resolve"))?;
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    let mut head = format!("{request} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(head.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let malformed = || std::io::Error::other("the answer is not HTTP");
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(malformed)?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(malformed)?;
    Ok((status, body.to_owned()))
}
