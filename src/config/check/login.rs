//! `[login]` and `[cors]`.

use super::{DAY, secs, values};
use crate::config::raw::{Table, Wrong};
use crate::config::{Cors, Issues, Login, SessionSettings};
use crate::wire::cookie::SameSite;
use crate::wire::host::Host;

const ISSUES: [(&str, Issues); 3] =
    [("both", Issues::Both), ("tokens", Issues::Tokens), ("cookie", Issues::Cookie)];

pub(super) fn login(table: &Table<'_>) -> Login {
    let default = Login::default();
    let waits = secs(1)..=DAY;
    let first_wait = table.duration("first_wait", waits.clone()).unwrap_or(default.first_wait);
    let longest_wait = table.duration("longest_wait", waits).unwrap_or(default.longest_wait);
    let forget_after =
        table.duration("forget_after", secs(1)..=30 * DAY).unwrap_or(default.forget_after);
    table.ordered(("first_wait", first_wait), ("longest_wait", longest_wait));
    // Or a guesser would begin anew before the longest wait is over.
    table.ordered(("longest_wait", longest_wait), ("forget_after", forget_after));
    let failures = 1..=1_000_000;
    Login {
        issues: table.choice("issues", &ISSUES).unwrap_or(default.issues),
        title: table.text("title", values::filled).unwrap_or(default.title),
        links: table.tables("links", link).into_iter().flatten().collect(),
        hash_threads: table.number("hash_threads", 0..=256).unwrap_or(default.hash_threads),
        hash_queue: table.number("hash_queue", 1..=100_000).unwrap_or(default.hash_queue),
        account_failures: table
            .number("account_failures", failures.clone())
            .unwrap_or(default.account_failures),
        address_failures: table
            .number("address_failures", failures.clone())
            .unwrap_or(default.address_failures),
        network_failures: table
            .number("network_failures", failures)
            .unwrap_or(default.network_failures),
        first_wait,
        longest_wait,
        forget_after,
    }
}

pub(super) fn cors(table: &Table<'_>, session: &SessionSettings, hosts: &[String]) -> Cors {
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

/// Which value keeps the session's cookie from requests that another site's scripts send.
const fn keeps_cookies(same_site: SameSite) -> Option<&'static str> {
    match same_site {
        SameSite::Lax => Some("lax"),
        SameSite::Strict => Some("strict"),
        SameSite::None => None,
    }
}

/// May a page of this origin be of the same site as the gateway? A site is a scheme and a registrable domain. Which domains
/// are registrable is a list that changes, so two names of one host's last two labels count as one site: it is for a warning.
fn is_same_site(origin: &str, hosts: &[String]) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let Ok(host) = Host::parse(authority) else { return false };
    // Of a machine's own, which `Secure` cookies reach over plain HTTP too: ports make no difference to a site.
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

fn link(table: &Table<'_>) -> Option<(String, String)> {
    table.require("label", "the text of the link");
    table.require("href", "where it leads");
    let label = table.text("label", values::filled);
    let href = table.text("href", href);
    Some((label?, href?))
}

/// A page of this host or of another; never a script.
fn href(text: &str) -> Result<String, Wrong> {
    let is_local = text.starts_with('/') && !text.starts_with("//") && !text.starts_with("/\\");
    let is_remote = text.starts_with("https://") || text.starts_with("http://");
    let is_clean = text.bytes().all(|byte| byte.is_ascii_graphic());
    if (is_local || is_remote) && is_clean {
        Ok(text.to_owned())
    } else {
        Err(Wrong::new(format!("{text:?} is no link")).help(
            "allowed: a path that begins with /, or an address that begins with https:// or http://",
        ))
    }
}
