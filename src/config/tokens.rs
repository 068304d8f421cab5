//! Reads `[tokens]`: what the gateway issues, and how it is signed.

use std::path::PathBuf;
use std::time::Duration;

use super::paths::ROTATION;
use super::raw::{RawTable, Wrong, duration_text};
use super::template::members;
use super::units::{DAY, HOUR, MINUTE, days, mins, secs};
use super::{Geo, Members, SessionSettings, StoreSettings, values};
use crate::jose::Algorithm;

/// `[tokens]`
#[derive(Clone, Debug, PartialEq)]
pub struct Tokens {
    /// The algorithm that signs access tokens.
    pub algorithm: Algorithm,
    /// The signing key; created at the first start, beside the store.
    pub signing_key_file: PathBuf,
    /// How long an access token is valid.
    pub access_lifetime: Duration,
    /// How long a refresh token is valid.
    pub refresh_lifetime: Duration,
    /// Whether refresh tokens are single use.
    pub rotation: RotationPolicy,
    /// How long concurrent uses of a refresh token get the same successor.
    pub refresh_grace: Duration,
    /// What a session is bound to, from where it began.
    pub bind: Binding,
    /// Whether a use is refused if its place, or the session's, is not known.
    pub refuse_unknown: bool,
    /// `iss`.
    pub issuer: String,
    /// `aud`.
    pub audience: String,
    /// The claim with the user's id (SimpleJWT: `user_id`).
    pub user_id_claim: String,
    /// Further claims of access tokens.
    pub claims: Members,
}

/// `tokens.rotation`, and that of an alias.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum RotationPolicy {
    /// `"single-use"`: using a token gives the next one.
    #[default]
    SingleUse,
    /// `"none"`: the answer is `{"access"}`, and the refresh token stays valid.
    None,
}

/// `tokens.bind`: what a session is bound to, from where it began.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Binding {
    /// Nothing.
    #[default]
    None,
    /// The country (`geo.country_database`).
    Country,
    /// The operator of the network (`geo.asn_database`).
    Network,
    /// The network's prefix: /24, /48.
    Prefix,
    /// The address: IPv4, or an IPv6 /64.
    Address,
}

impl Default for Tokens {
    fn default() -> Self {
        let algorithm = Algorithm::Es256;
        Self {
            algorithm,
            signing_key_file: StoreSettings::default().path.with_file_name(key_file(algorithm)),
            access_lifetime: mins(5),
            refresh_lifetime: days(14),
            rotation: RotationPolicy::SingleUse,
            refresh_grace: secs(10),
            bind: Binding::None,
            refuse_unknown: false,
            issuer: "doorwarden".into(),
            audience: "doorwarden".into(),
            user_id_claim: "user_id".into(),
            claims: Members::default(),
        }
    }
}

/// Returns the name of the signing key's file, beside the store: PEM, except for a shared secret, whose file has its bytes.
const fn key_file(algorithm: Algorithm) -> &'static str {
    if algorithm.is_shared() { "signing-key.key" } else { "signing-key.pem" }
}

const ALGORITHMS: [(&str, Algorithm); 4] = [
    ("ES256", Algorithm::Es256),
    ("EdDSA", Algorithm::EdDsa),
    ("RS256", Algorithm::Rs256),
    ("HS256", Algorithm::Hs256),
];

const BINDINGS: [(&str, Binding); 5] = [
    ("none", Binding::None),
    ("country", Binding::Country),
    ("network", Binding::Network),
    ("prefix", Binding::Prefix),
    ("address", Binding::Address),
];

/// Whether a use is refused whose place is not known.
const UNKNOWN: [(&str, bool); 2] = [("allow", false), ("refuse", true)];

/// The claims of every token: the user's id needs a claim of its own.
const OWN_CLAIMS: [&str; 11] =
    ["token_type", "exp", "iat", "nbf", "jti", "sid", "iss", "aud", "amr", "auth_time", "acr"];

pub(super) fn tokens(
    table: &RawTable<'_>,
    store: &StoreSettings,
    session: &SessionSettings,
    geo: &Geo,
) -> Tokens {
    let default = Tokens::default();
    let bind = table.choice("bind", &BINDINGS).unwrap_or(default.bind);
    if bind == Binding::Network && geo.asn_database.is_none() {
        table.error("bind", Wrong::new("without geo.asn_database no network's operator is known"));
    }
    if bind == Binding::Country && !geo.knows_countries() {
        table.error("bind", Wrong::new("without geo.country_database no address has a country"));
    }
    let algorithm = table.choice("algorithm", &ALGORITHMS).unwrap_or(default.algorithm);
    let access_lifetime =
        table.duration("access_lifetime", secs(10)..=DAY).unwrap_or(default.access_lifetime);
    if access_lifetime > HOUR {
        table.warn(
            "access_lifetime",
            Wrong::new(format!("{} is long for an access token", duration_text(access_lifetime)))
                .help("services that check tokens themselves accept one until it expires; up to \"60m\" is usual"),
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
            .unwrap_or_else(|| store.path.with_file_name(key_file(algorithm))),
        access_lifetime,
        refresh_lifetime,
        rotation: table.choice("rotation", &ROTATION).unwrap_or(default.rotation),
        refresh_grace: table
            .duration("refresh_grace", secs(0)..=MINUTE)
            .unwrap_or(default.refresh_grace),
        bind,
        refuse_unknown: table.choice("bind_unknown", &UNKNOWN).unwrap_or(default.refuse_unknown),
        issuer: table.text("issuer", values::filled).unwrap_or(default.issuer),
        audience: table.text("audience", values::filled).unwrap_or(default.audience),
        claims: members(table, "claims", |name| {
            OWN_CLAIMS.contains(&name) || name == "sub" || name == user_id_claim
        }),
        user_id_claim,
    }
}

fn user_id_claim_name(text: &str) -> Result<String, Wrong> {
    if OWN_CLAIMS.contains(&text) {
        return Err(Wrong::new(format!("{text:?} is a claim with another meaning"))
            .help("for example: \"user_id\" or \"sub\""));
    }
    values::name(text)
}
