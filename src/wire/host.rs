//! Parses the host that a client asks for into a normalized form, which routing, the origin check and `X-Forwarded-Host` use.
//!
//! The form is lower case, without a final dot (`app.example.` is the same name), and with IPv6 in its shortest spelling.
//! Userinfo, lists, escapes and everything outside ASCII are refused. An underscore is not legal in a DNS host name (and
//! Django refuses it), but container networks use it in names, so it passes here and the application decides.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::scheme::Scheme;
use crate::refusal::Refusal;

/// A host and, if it was given, its port.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Host {
    name: String,
    port: Option<u16>,
}

/// The reason why a text is not a host.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum HostProblem {
    /// The name is empty.
    Empty,
    /// The name is longer than DNS allows, or has an empty label.
    BadName,
    /// A character that no host can have: userinfo, lists, escapes, non-ASCII, white space.
    BadCharacter,
    /// Brackets without an IPv6 address inside.
    BadAddress,
    /// The port is not a number from 1 to 65535 in its plain spelling.
    BadPort,
}

impl Host {
    /// Parses the value of a `Host` header or of `:authority`.
    ///
    /// # Errors
    /// The reason why the value is not a host.
    pub fn parse(raw: impl AsRef<[u8]>) -> Result<Self, HostProblem> {
        let text = std::str::from_utf8(raw.as_ref()).map_err(|_| HostProblem::BadCharacter)?;
        if let Some(rest) = text.strip_prefix('[') {
            let (address, port) = rest.split_once(']').ok_or(HostProblem::BadAddress)?;
            let address: Ipv6Addr = address.parse().map_err(|_| HostProblem::BadAddress)?;
            let port = match port {
                "" => None,
                port => Some(parse_port(port.strip_prefix(':').ok_or(HostProblem::BadCharacter)?)?),
            };
            return Ok(Self { name: format!("[{address}]"), port });
        }
        let (name, port) = match text.split_once(':') {
            Some((name, port)) => (name, Some(parse_port(port)?)),
            None => (text, None),
        };
        Ok(Self { name: parse_name(name)?, port })
    }

    /// Returns the name or address alone, for routing.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the port, if it was given.
    pub const fn port(&self) -> Option<u16> {
        self.port
    }

    /// Whether the host is the local machine. Browsers treat such a host as secure over plain HTTP (Secure Contexts,
    /// section 3.1).
    pub fn is_local(&self) -> bool {
        let name = self.name.as_str();
        name == "localhost"
            || name.ends_with(".localhost")
            || name.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
            || name == "[::1]"
    }

    /// Returns the same host at `port`, unless it has one itself; the scheme's default port is left out.
    #[must_use]
    pub fn at_port(self, port: Option<u16>, scheme: Scheme) -> Self {
        let port = self.port.or(port.filter(|port| *port != default_port(scheme)));
        Self { port, ..self }
    }

    /// Returns the port, or the scheme's default.
    pub fn port_or_default(&self, scheme: Scheme) -> u16 {
        self.port.unwrap_or(default_port(scheme))
    }

    /// Returns `scheme://host[:port]` as a browser writes it in `Origin`: without the scheme's default port.
    pub fn origin(&self, scheme: Scheme) -> String {
        match self.port {
            Some(port) if port != default_port(scheme) => {
                format!("{}://{}:{port}", scheme.as_str(), self.name)
            }
            _ => format!("{}://{}", scheme.as_str(), self.name),
        }
    }
}

impl fmt::Display for Host {
    /// Writes `name` or `name:port`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

impl HostProblem {
    /// Returns the name for the log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::BadName => "bad-name",
            Self::BadCharacter => "bad-character",
            Self::BadAddress => "bad-address",
            Self::BadPort => "bad-port",
        }
    }

    /// Returns the refusal that the client gets.
    pub const fn refusal(self) -> Refusal {
        Refusal::BadHost
    }
}

const fn default_port(scheme: Scheme) -> u16 {
    match scheme {
        Scheme::Http => 80,
        Scheme::Https => 443,
    }
}

fn parse_port(text: &str) -> Result<u16, HostProblem> {
    if text.starts_with('0') || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(HostProblem::BadPort);
    }
    text.parse().map_err(|_| HostProblem::BadPort)
}

fn parse_name(text: &str) -> Result<String, HostProblem> {
    if text.is_empty() {
        return Err(HostProblem::Empty);
    }
    if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)) {
        return Err(HostProblem::BadCharacter);
    }
    let name = text.strip_suffix('.').unwrap_or(text);
    let labels = name.split('.').all(|label| (1..=63).contains(&label.len()));
    if !labels || name.len() > 253 {
        return Err(HostProblem::BadName);
    }
    Ok(name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_host_has_one_form() {
        for (raw, normal) in [
            ("app.example", "app.example"),
            ("APP.Example", "app.example"),
            ("app.example.", "app.example"),
            ("app.example.:8080", "app.example:8080"),
            ("django_web_1:8000", "django_web_1:8000"),
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("[::1]", "[::1]"),
            ("[0:0::0:1]:443", "[::1]:443"),
            ("[2001:DB8::A]", "[2001:db8::a]"),
        ] {
            assert_eq!(Host::parse(raw).unwrap().to_string(), normal);
        }
    }

    #[test]
    fn what_is_no_host_is_refused() {
        use HostProblem::*;
        let long = ["a".repeat(63).as_str(); 4].join(".");
        for (raw, problem) in [
            ("", Empty),
            (":80", Empty),
            (".", BadName),
            ("a..b", BadName),
            (".a", BadName),
            (&long, BadName),
            ("kim@app", BadCharacter),
            ("app,evil", BadCharacter),
            ("app evil", BadCharacter),
            ("app/evil", BadCharacter),
            ("app%2eexample", BadCharacter),
            ("앱.example", BadCharacter),
            ("app:", BadPort),
            ("app:0", BadPort),
            ("app:080", BadPort),
            ("app:+80", BadPort),
            ("app:65536", BadPort),
            ("app:80:80", BadPort),
            ("::1", BadPort),
            ("[::1", BadAddress),
            ("[fe80::1%25eth0]", BadAddress),
            ("[127.0.0.1]", BadAddress),
            ("[::1]80", BadCharacter),
            ("[::1]:", BadPort),
        ] {
            assert_eq!(Host::parse(raw), Err(problem), "{raw:?}");
        }
    }

    #[test]
    fn an_origin_leaves_the_schemes_own_port_out() {
        for (raw, scheme, origin) in [
            ("app", Scheme::Https, "https://app"),
            ("app:443", Scheme::Https, "https://app"),
            ("app:80", Scheme::Https, "https://app:80"),
            ("app:80", Scheme::Http, "http://app"),
            ("[::1]:8080", Scheme::Http, "http://[::1]:8080"),
        ] {
            assert_eq!(Host::parse(raw).unwrap().origin(scheme), origin);
        }
        assert_eq!(Host::parse("app").unwrap().port_or_default(Scheme::Https), 443);
    }

    #[test]
    fn a_port_is_added_where_none_is_named_and_it_is_not_the_schemes_own() {
        for (raw, port, scheme, host) in [
            ("app", Some(8443), Scheme::Https, "app:8443"),
            ("app", Some(443), Scheme::Https, "app"),
            ("app:81", Some(8443), Scheme::Https, "app:81"),
            ("app", None, Scheme::Http, "app"),
        ] {
            assert_eq!(Host::parse(raw).unwrap().at_port(port, scheme).to_string(), host);
        }
    }

    proptest! {
        #[test]
        fn normalizing_twice_changes_nothing(raw in "[a-zA-Z0-9_.:\\[\\]@%-]{0,24}") {
            if let Ok(host) = Host::parse(&raw) {
                prop_assert_eq!(Host::parse(host.to_string()), Ok(host));
            }
        }
    }
}
