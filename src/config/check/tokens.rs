//! `[tokens]` and `[session]`.

use super::members::members;
use super::paths::ROTATION;
use super::{DAY, HOUR, MINUTE, secs, values};
use crate::config::defaults::PLAIN_COOKIE;
use crate::config::raw::{Table, Wrong, duration_text};
use crate::config::{Algorithm, SessionSettings, StoreSettings, Tokens};
use crate::wire::cookie::SameSite;

const ALGORITHMS: [(&str, Algorithm); 4] = [
    ("ES256", Algorithm::Es256),
    ("EdDSA", Algorithm::EdDsa),
    ("RS256", Algorithm::Rs256),
    ("HS256", Algorithm::Hs256),
];

const SAME_SITE: [(&str, SameSite); 3] =
    [("lax", SameSite::Lax), ("strict", SameSite::Strict), ("none", SameSite::None)];

/// The claims that every token has: none of them can hold the user's id as well.
const OWN_CLAIMS: [&str; 8] = ["token_type", "exp", "iat", "nbf", "jti", "sid", "iss", "aud"];

pub(super) fn tokens(
    table: &Table<'_>,
    store: &StoreSettings,
    session: &SessionSettings,
) -> Tokens {
    let default = Tokens::default();
    let algorithm = table.choice("algorithm", &ALGORITHMS).unwrap_or(default.algorithm);
    let access_lifetime =
        table.duration("access_lifetime", secs(10)..=DAY).unwrap_or(default.access_lifetime);
    if access_lifetime > HOUR {
        table.warn(
            "access_lifetime",
            Wrong::new(format!("{} is long for an access token", duration_text(access_lifetime)))
                .help("services that check tokens themselves do not see a session's end before; up to \"60m\" is usual"),
        );
    }
    let refresh_lifetime =
        table.duration("refresh_lifetime", MINUTE..=366 * DAY).unwrap_or(default.refresh_lifetime);
    if refresh_lifetime < access_lifetime {
        table.error(
            "refresh_lifetime",
            Wrong::new("is shorter than tokens.access_lifetime")
                .help(format!("allowed: {} or more", duration_text(access_lifetime))),
        );
    } else if table.has("refresh_lifetime") && refresh_lifetime > session.absolute_timeout {
        table.warn(
            "refresh_lifetime",
            Wrong::new(format!(
                "sessions end after {} (session.absolute_timeout), and their refresh tokens with them",
                duration_text(session.absolute_timeout)
            )),
        );
    }
    let user_id_claim =
        table.text("user_id_claim", user_id_claim_name).unwrap_or(default.user_id_claim);
    Tokens {
        algorithm,
        signing_key_file: table
            .path("signing_key_file")
            .unwrap_or_else(|| store.path.with_file_name(algorithm.key_file())),
        access_lifetime,
        refresh_lifetime,
        rotation: table.choice("rotation", &ROTATION).unwrap_or(default.rotation),
        refresh_grace: table
            .duration("refresh_grace", secs(0)..=MINUTE)
            .unwrap_or(default.refresh_grace),
        issuer: table.text("issuer", values::filled).unwrap_or(default.issuer),
        audience: table.text("audience", values::filled).unwrap_or(default.audience),
        claims: members(table, "claims", |name| {
            OWN_CLAIMS.contains(&name) || name == "sub" || name == user_id_claim
        }),
        user_id_claim,
    }
}

pub(super) fn session(table: &Table<'_>) -> SessionSettings {
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

fn same_site(table: &Table<'_>, plain: bool) -> SameSite {
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
    // Browsers compare the prefixes without regard to case.
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

fn user_id_claim_name(text: &str) -> Result<String, Wrong> {
    if OWN_CLAIMS.contains(&text) {
        return Err(Wrong::new(format!("{text:?} is a claim with another meaning"))
            .help("for example: \"user_id\" or \"sub\""));
    }
    values::name(text)
}
