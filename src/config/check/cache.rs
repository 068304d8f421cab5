//! `cache` and the keys beside it: where a service's cache is.
//!
//! Of an address only the scheme is ever repeated: it may hold a password, if only to be refused for it.

use super::values;
use crate::config::DjangoCache;
use crate::config::raw::{Table, Wrong};
use crate::wire::host::Host;

/// Keys that mean nothing without `cache`.
pub(super) const BESIDE: [&str; 3] = ["cache_password_file", "cache_prefix", "cache_version"];

const FORM: &str =
    "allowed: \"redis://host:port/0\", \"redis://user@host:port/0\", and \"rediss://\" for TLS";

/// The cache, if there is one.
pub(super) fn cache(table: &Table<'_>) -> Option<DjangoCache> {
    let cache = table.text("cache", address);
    if !table.has("cache") {
        table.refuse(&BESIDE, "there is no cache", "it is for cache = \"redis://...\"");
        return None;
    }
    let beside = (
        table.path("cache_password_file"),
        table.text("cache_prefix", prefix),
        table.number("cache_version", 0..=u32::MAX),
    );
    let mut cache = cache?;
    cache.password_file = beside.0;
    cache.prefix = beside.1.unwrap_or(cache.prefix);
    cache.version = beside.2.unwrap_or(cache.version);
    let address = cache.host.parse::<std::net::IpAddr>();
    let is_near = cache.host == "localhost" || address.is_ok_and(|address| address.is_loopback());
    if !cache.tls && !is_near {
        table.warn(
            "cache",
            Wrong::new("sessions and the password may cross the network readable")
                .help("write \"rediss://\" if the server has a certificate"),
        );
    }
    Some(cache)
}

fn address(text: &str) -> Result<DjangoCache, Wrong> {
    let wrong = |message: &str| Wrong::new(message).help(FORM);
    let (tls, rest) = match text.split_once("://") {
        Some(("redis", rest)) => (false, rest),
        Some(("rediss", rest)) => (true, rest),
        _ => return Err(wrong("is no address of a cache")),
    };
    let (user, rest) = match rest.rsplit_once('@') {
        None => (None, rest),
        Some((user, _)) if user.contains([':', '/']) => {
            return Err(Wrong::new("holds a password").help(
                "write it into a file that only the gateway's user can read, and the file's name into cache_password_file",
            ));
        }
        Some((user, rest)) => (Some(values::name(user).map_err(|_| wrong("names no user"))?), rest),
    };
    let (host, database) = rest.split_once('/').unwrap_or((rest, ""));
    let database = match database {
        "" => 0,
        number => number.parse().map_err(|_| wrong("names no database by its number"))?,
    };
    let host = Host::parse(host).map_err(|_| wrong("names no host"))?;
    let name = host.name().trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = host.port().unwrap_or(6379);
    let (password_file, prefix, version) = (None, String::new(), 1);
    Ok(DjangoCache { host: name, port, database, user, tls, password_file, prefix, version })
}

fn prefix(text: &str) -> Result<String, Wrong> {
    if text.chars().any(char::is_control) || text.len() > 200 {
        return Err(Wrong::new("is no prefix of keys").help("at most 200 characters in one line"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_where_it_is() {
        for (text, expected) in [
            ("redis://localhost", ("localhost", 6379, 0, None, false)),
            ("redis://127.0.0.1:7000/3", ("127.0.0.1", 7000, 3, None, false)),
            ("rediss://app@cache.internal/", ("cache.internal", 6379, 0, Some("app"), true)),
            ("redis://[::1]:7000/0", ("::1", 7000, 0, None, false)),
        ] {
            let made = address(text).unwrap_or_else(|_| panic!("{text}"));
            let seen =
                (made.host.as_str(), made.port, made.database, made.user.as_deref(), made.tls);
            assert_eq!(seen, expected, "{text}");
        }
        for text in [
            "",
            "redis",
            "http://localhost",
            "redis://",
            "redis://:hunter2@localhost/0",
            "redis://app:hunter2@localhost/0",
            "redis://localhost/x",
            "redis://localhost/0?a=b",
            "unix:///run/redis",
        ] {
            assert!(address(text).is_err(), "{text}");
        }
    }
}
