//! Reads a server of an upstream.

use std::path::PathBuf;

use super::raw::Wrong;
use crate::wire::host::Host;

/// One of `upstream.servers`, or a `[[upstream.member]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamServer {
    /// The server's name for operators, metrics and the log.
    pub name: String,
    /// The server's host and port, or its socket.
    pub target: ServerTarget,
    /// Whether connections to it use TLS.
    pub tls: bool,
    /// The server's share of the requests, relative to the other servers.
    pub weight: u16,
}

/// The location of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerTarget {
    /// A name or an address, and a port.
    Inet(Host),
    /// A Unix socket.
    Unix(PathBuf),
}

/// The longest path of a Unix socket (`sun_path`, unix(7), with its final zero).
const MAX_SOCKET_PATH: usize = 107;

const FORM: &str = "allowed: a host and a port, like \"127.0.0.1:8000\" or \"app.internal:8000\"; \
                    \"https://app.internal:8443\"; \"unix:/run/app.sock\"";

impl UpstreamServer {
    /// Parses a server; its name is the text itself.
    pub(super) fn parse(text: &str) -> Result<Self, Wrong> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if !path.starts_with('/') {
                return Err(Wrong::new(format!("{text:?} is not an absolute path")).help(FORM));
            }
            if path.len() > MAX_SOCKET_PATH {
                let help = format!("allowed: up to {MAX_SOCKET_PATH} bytes");
                return Err(Wrong::new("the path is too long for a socket").help(help));
            }
            let target = ServerTarget::Unix(path.into());
            return Ok(Self { name: text.to_owned(), target, tls: false, weight: 1 });
        }
        let (tls, rest) = match text.strip_prefix("https://") {
            Some(rest) => (true, rest.strip_suffix('/').unwrap_or(rest)),
            None => (false, text),
        };
        if !tls && text.contains("://") {
            let help = format!("plain HTTP has no scheme here; {FORM}");
            return Err(Wrong::new("is a URL where a server is expected").help(help));
        }
        match Host::parse(rest) {
            Ok(host) if host.port().is_some() => {
                let name = if tls { format!("https://{host}") } else { host.to_string() };
                Ok(Self { name, target: ServerTarget::Inet(host), tls, weight: 1 })
            }
            Ok(_) => Err(Wrong::new(format!("{text:?} has no port")).help(FORM)),
            Err(_) => Err(Wrong::new(format!("{text:?} is no server")).help(FORM)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_host_a_socket_or_an_https_url() {
        let long = format!("unix:/{}", "x".repeat(MAX_SOCKET_PATH));
        for (text, expected) in [
            ("127.0.0.1:8000", Some(("127.0.0.1:8000", false))),
            ("[::1]:8000", Some(("[::1]:8000", false))),
            ("App.internal:8000", Some(("app.internal:8000", false))),
            ("unix:/run/app.sock", Some(("unix:/run/app.sock", false))),
            ("https://app.internal:8443", Some(("https://app.internal:8443", true))),
            ("https://app.internal:8443/", Some(("https://app.internal:8443", true))),
            ("unix:run/app.sock", None),
            ("https://app.internal", None),
            ("https://app.internal:8443/path", None),
            ("https://user@app.internal:8443", None),
            ("http://127.0.0.1:8000", None),
            ("127.0.0.1", None),
            (&long, None),
        ] {
            let read = UpstreamServer::parse(text).ok();
            let read = read.as_ref().map(|server| (server.name.as_str(), server.tls));
            assert_eq!(read, expected, "{text}");
        }
    }
}
