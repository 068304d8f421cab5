//! Reads `[second_factor.passkeys]`: passkeys and security keys (WebAuthn).
//!
//! A passkey belongs to an RP ID, which is a host name, and authenticators use it only for pages of that host and of those
//! below it. It cannot be moved to another name, so the RP ID is configured here and derived from no other key: changing a host
//! name elsewhere in the configuration does not make everybody's passkeys useless.

use std::net::IpAddr;

use super::raw::{RawTable, Wrong};
use super::values;

/// `[second_factor.passkeys]`, where passkeys are on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasskeySettings {
    /// The RP ID.
    pub rp_id: String,
    /// The name of the service in authenticators; empty: `login.title`, or else the RP ID.
    pub rp_name: String,
    /// The origins whose pages may use passkeys.
    pub origins: Vec<String>,
    /// Whether users may sign in with a passkey and nothing else.
    pub sign_in: bool,
}

/// This machine's own name, for which browsers use passkeys without TLS.
const LOCALHOST: &str = "localhost";

impl PasskeySettings {
    /// Whether all origins are this machine's own, without a port. Then every port is accepted, for developers' pages.
    pub fn takes_any_port(&self) -> bool {
        let is_portless = |origin: &String| {
            origin.strip_prefix("http://").is_some_and(|authority| !authority.contains(':'))
        };
        self.origins.iter().all(is_portless)
    }
}

pub(super) fn passkeys(table: &RawTable<'_>, is_on: bool) -> Option<PasskeySettings> {
    let enabled = table.flag("enabled").unwrap_or(false);
    let rp_id = table.text("rp_id", rp_id);
    let rp_name = table.text("rp_name", rp_name).unwrap_or_default();
    let sign_in = table.flag("sign_in").unwrap_or(true);
    let of = rp_id.clone().unwrap_or_default();
    let origins = table.values("origins", |text| origin(text, &of));
    if !enabled {
        return None;
    }
    if !is_on {
        table.error(
            "enabled",
            Wrong::new("passkeys are second factors, which are turned off")
                .help("set second_factor.mode = \"optional\" or \"required\""),
        );
    }
    if !table.has("rp_id") {
        table.require("rp_id", "the host name that passkeys belong to, like \"app.example.com\"");
    }
    let rp_id = rp_id?;
    let origins = match origins {
        Some(origins) if !origins.is_empty() => origins,
        Some(_) | None if rp_id == LOCALHOST => vec![format!("http://{rp_id}")],
        Some(_) | None => vec![format!("https://{rp_id}")],
    };
    Some(PasskeySettings { rp_id, rp_name, origins, sign_in })
}

/// Parses a host name, as browsers compare it. An address is not one (WebAuthn section 5.1.2).
fn rp_id(text: &str) -> Result<String, Wrong> {
    const FORM: &str = "allowed: a host name in lower case, like \"app.example.com\" or \"example.com\", without scheme and port";
    let labels = || text.split('.');
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    let is_name = text.len() <= 253 && labels().all(is_label) && text.parse::<IpAddr>().is_err();
    if !is_name || (labels().count() < 2 && text != LOCALHOST) {
        return Err(Wrong::new(format!("{text:?} is no RP ID")).help(FORM));
    }
    Ok(text.to_owned())
}

fn rp_name(text: &str) -> Result<String, Wrong> {
    if text.chars().any(char::is_control) || text.len() > 64 {
        return Err(Wrong::new(format!("{text:?} is no name"))
            .help("allowed: up to 64 bytes without control characters"));
    }
    Ok(text.to_owned())
}

/// Parses an origin of the RP ID's host, or of one below it, over TLS.
fn origin(text: &str, rp_id: &str) -> Result<String, Wrong> {
    let origin = values::origin(text)?;
    let (scheme, authority) = origin.split_once("://").unwrap_or(("", &origin));
    let host = authority.split_once(':').map_or(authority, |(host, _)| host);
    let is_below =
        host.strip_suffix(rp_id).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    if !rp_id.is_empty() && !is_below {
        return Err(Wrong::new(format!("{text:?} is not of the RP ID {rp_id:?}"))
            .help("allowed: origins of that host, and of hosts below it"));
    }
    let is_local = host == LOCALHOST || host.ends_with(".localhost");
    if scheme != "https" && !is_local {
        return Err(Wrong::new(format!(
            "{text:?} is not secure, and browsers use no passkeys there"
        ))
        .help("write an origin with https://"));
    }
    Ok(origin)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_rp_id_is_a_host_name() {
        for good in ["localhost", "example.com", "app.example.com", "xn--9d0b.example", "a-b.c1.de"]
        {
            assert_eq!(rp_id(good).ok().as_deref(), Some(good));
        }
        for bad in [
            "",
            "com",
            "Example.com",
            "https://example.com",
            "example.com:443",
            "example.com.",
            ".example.com",
            "a..b",
            "127.0.0.1",
            "[::1]",
            "-a.com",
            "a-.com",
            "한.kr",
            "a_b.com",
            "*.example.com",
            "example.com/",
        ] {
            assert!(rp_id(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_origin_is_of_the_rp_id_and_secure() {
        for (text, id, is_good) in [
            ("https://example.com", "example.com", true),
            ("https://app.example.com:8443", "example.com", true),
            ("http://localhost:3000", "localhost", true),
            ("http://app.localhost", "localhost", true),
            ("https://badexample.com", "example.com", false),
            ("https://example.com", "app.example.com", false),
            ("https://example.com.evil.test", "example.com", false),
            ("http://example.com", "example.com", false),
            ("https://example.com/", "example.com", false),
            ("example.com", "example.com", false),
            ("*", "example.com", false),
        ] {
            assert_eq!(origin(text, id).is_ok(), is_good, "{text} {id}");
        }
    }
}
