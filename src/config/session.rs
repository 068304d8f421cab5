//! Reads `[session]`: the session cookie, and how long a session lasts.

use std::time::Duration;

use super::raw::{RawTable, Wrong};
use super::units::{DAY, days, hours, secs};
use super::values;
use crate::wire::cookie::SameSite;

/// `[session]`
#[derive(Clone, Debug, PartialEq)]
pub struct SessionSettings {
    /// The cookie's name.
    pub cookie: String,
    /// How long a session lasts without being used.
    pub idle_timeout: Duration,
    /// How long a session lasts at most.
    pub absolute_timeout: Duration,
    /// Origins besides the gateway's own whose unsafe requests the cookie may authenticate.
    pub trusted_origins: Vec<String>,
    /// The requests from other sites that carry the cookie. `None` is set with `Partitioned`.
    pub same_site: SameSite,
    /// Whether the cookie is issued without `Secure` and the `__Host-` prefix. Warns.
    pub danger_plain_http_cookies: bool,
}

/// `session.cookie` where `danger_plain_http_cookies` rules out the prefix.
pub(super) const PLAIN_COOKIE: &str = "doorwarden";

impl Default for SessionSettings {
    fn default() -> Self {
        Self {
            cookie: "__Host-doorwarden".into(),
            idle_timeout: hours(24),
            absolute_timeout: days(30),
            trusted_origins: Vec::new(),
            same_site: SameSite::Lax,
            danger_plain_http_cookies: false,
        }
    }
}

const SAME_SITE: [(&str, SameSite); 3] =
    [("lax", SameSite::Lax), ("strict", SameSite::Strict), ("none", SameSite::None)];

pub(super) fn session(table: &RawTable<'_>) -> SessionSettings {
    let default = SessionSettings::default();
    let plain = table.flag("danger_plain_http_cookies").unwrap_or(false);
    if plain {
        table.warn(
            "danger_plain_http_cookies",
            Wrong::new("session cookies travel over plain HTTP, where others can read them")
                .help("browsers take the default cookie from http://localhost without it"),
        );
    }
    let cookie = table.text("cookie", |text| cookie(text, plain));
    let idle_timeout =
        table.duration("idle_timeout", secs(1)..=366 * DAY).unwrap_or(default.idle_timeout);
    let absolute_timeout =
        table.duration("absolute_timeout", secs(1)..=366 * DAY).unwrap_or(default.absolute_timeout);
    table.ordered(("idle_timeout", idle_timeout), ("absolute_timeout", absolute_timeout));
    SessionSettings {
        cookie: cookie.unwrap_or_else(|| if plain { PLAIN_COOKIE.into() } else { default.cookie }),
        idle_timeout,
        absolute_timeout,
        trusted_origins: table.values("trusted_origins", values::origin).unwrap_or_default(),
        same_site: same_site(table, plain),
        danger_plain_http_cookies: plain,
    }
}

fn same_site(table: &RawTable<'_>, plain: bool) -> SameSite {
    let same_site = table.choice("same_site", &SAME_SITE).unwrap_or_default();
    if plain && same_site == SameSite::None {
        table.error(
            "same_site",
            Wrong::new("browsers refuse \"none\" over plain HTTP, which danger_plain_http_cookies asks for")
                .help("browsers take the safe cookie from http://localhost without that switch"),
        );
    }
    same_site
}

fn cookie(text: &str, plain: bool) -> Result<String, Wrong> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if text.is_empty() || text.len() > 128 || !text.bytes().all(legal) {
        return Err(Wrong::new(format!("{text:?} is no name of a cookie"))
            .help("allowed: letters, digits, - and _"));
    }
    // Browsers compare the prefixes case-insensitively.
    let lower = text.to_ascii_lowercase();
    let has_prefix = lower.starts_with("__host-") || lower.starts_with("__secure-");
    match (plain, text.starts_with("__Host-"), has_prefix) {
        (true, _, true) => Err(Wrong::new(format!(
            "browsers refuse {text:?} over plain HTTP, which danger_plain_http_cookies asks for"
        ))
        .help(format!("use a name without prefix, like {PLAIN_COOKIE:?}"))),
        (false, false, _) => Err(Wrong::new(format!("{text:?} does not start with \"__Host-\""))
            .help("the prefix keeps other hosts and plain HTTP from setting the cookie; without TLS, danger_plain_http_cookies = true allows other names")),
        (false, true, _) if text.len() == "__Host-".len() => {
            Err(Wrong::new("there is no name after \"__Host-\""))
        }
        _ => Ok(text.to_owned()),
    }
}
