//! Reads `[cors]`, for front ends on other origins.

use std::time::Duration;

use super::raw::{RawTable, Wrong};
use super::units::{DAY, mins, secs};
use super::{SessionSettings, values};
use crate::wire::cookie::SameSite;
use crate::wire::host::Host;

/// `[cors]`: front ends on other origins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    /// Origins (`scheme://host[:port]`) that get CORS headers.
    pub allowed_origins: Vec<String>,
    /// Request headers that they may send besides the safelisted ones.
    pub allowed_headers: Vec<String>,
    /// Response headers that they may read.
    pub exposed_headers: Vec<String>,
    /// Whether they may send cookies.
    pub allow_credentials: bool,
    /// How long a browser may cache a preflight.
    pub max_age: Duration,
}

impl Default for Cors {
    fn default() -> Self {
        Self {
            allowed_origins: Vec::new(),
            allowed_headers: ["Authorization", "Content-Type", "X-CSRFToken", "X-Requested-With"]
                .map(str::to_owned)
                .to_vec(),
            exposed_headers: Vec::new(),
            allow_credentials: false,
            max_age: mins(10),
        }
    }
}

pub(super) fn cors(table: &RawTable<'_>, session: &SessionSettings, hosts: &[String]) -> Cors {
    let default = Cors::default();
    let origins = table.list("allowed_origins", values::origin).unwrap_or_default();
    let allow_credentials = table.flag("allow_credentials").unwrap_or(default.allow_credentials);
    for origin in &origins {
        if allow_credentials && !session.trusted_origins.contains(&origin.value) {
            table.warn_at(
                origin.place.clone(),
                Wrong::new(format!(
                    "{:?} may send cookies, but its unsafe requests with one are refused",
                    origin.value
                ))
                .help("add it to session.trusted_origins, or leave allow_credentials off"),
            );
        } else if allow_credentials
            && let Some(keeps) = keeps_cookies(session.same_site)
            && !is_same_site(&origin.value, hosts)
        {
            table.warn_at(
                origin.place.clone(),
                Wrong::new(format!(
                    "{:?} may send cookies, but session.same_site = {keeps:?} keeps the session's from requests of another site",
                    origin.value
                ))
                .help("set session.same_site = \"none\" if it is another site than the gateway's; if it is the same one, name the gateway's hosts in route.hosts"),
            );
        }
    }
    Cors {
        allowed_origins: origins.into_iter().map(|item| item.value).collect(),
        allowed_headers: table
            .values("allowed_headers", values::header)
            .unwrap_or(default.allowed_headers),
        exposed_headers: table
            .values("exposed_headers", values::header)
            .unwrap_or(default.exposed_headers),
        allow_credentials,
        max_age: table.duration("max_age", secs(0)..=DAY).unwrap_or(default.max_age),
    }
}

/// Returns the value of `SameSite` if it keeps the session cookie out of requests from another site's scripts.
const fn keeps_cookies(same_site: SameSite) -> Option<&'static str> {
    match same_site {
        SameSite::Lax => Some("lax"),
        SameSite::Strict => Some("strict"),
        SameSite::None => None,
    }
}

/// Whether a page of this origin may belong to the same site as the gateway. A site is a scheme and a registrable domain. The
/// list of registrable domains changes, so hosts with the same last two labels count as one site: this is only for a warning.
fn is_same_site(origin: &str, hosts: &[String]) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let Ok(host) = Host::parse(authority) else { return false };
    // `Secure` cookies reach a machine's own names over plain HTTP too, and ports make no difference to a site.
    let is_local = |name: &str| name == "localhost" || name == "127.0.0.1" || name == "[::1]";
    if is_local(host.name()) {
        return true;
    }
    scheme == "https" && hosts.iter().any(|one| site(one) == site(host.name()))
}

fn site(host: &str) -> &str {
    if host.starts_with('[') || host.parse::<std::net::Ipv4Addr>().is_ok() {
        return host;
    }
    host.rmatch_indices('.').nth(1).and_then(|(at, _)| host.get(at + 1..)).unwrap_or(host)
}
