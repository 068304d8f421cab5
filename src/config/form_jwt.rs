//! Reads `[[identity.form]]` of the kinds `simplejwt` and `jwt`: tokens that the gateway mints as the service would.

use std::path::PathBuf;
use std::time::Duration;

use super::raw::{RawTable, Wrong};
use super::template::{Members, members};
use super::units::{HOUR, secs};
use super::values;
use crate::django::simplejwt::TokenType;
use crate::jose::Algorithm;

/// `kind = "simplejwt"`: an access token that the service's `JWTAuthentication` accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimpleJwtFormSettings {
    /// `SIGNING_KEY` and `ALGORITHM`.
    pub key: FormKey,
    /// `AUTH_HEADER_NAME`
    pub header: String,
    /// `AUTH_HEADER_TYPES`
    pub scheme: String,
    /// How long each token is valid.
    pub lifetime: Duration,
    /// `USER_ID_CLAIM`
    pub user_id_claim: String,
    /// `AUDIENCE`
    pub audience: Option<String>,
    /// `ISSUER`
    pub issuer: Option<String>,
    /// `CHECK_REVOKE_TOKEN`
    pub check_revoke_token: bool,
    /// The first of `AUTH_TOKEN_CLASSES`: access or sliding.
    pub token_type: TokenType,
    /// Claims that a token class of the service's own adds.
    pub claims: Members,
}

impl SimpleJwtFormSettings {
    /// Returns SimpleJWT's own defaults.
    pub fn new(key: FormKey) -> Self {
        Self {
            key,
            header: "Authorization".into(),
            scheme: "Bearer".into(),
            lifetime: TOKEN_LIFETIME,
            user_id_claim: "user_id".into(),
            audience: None,
            issuer: None,
            check_revoke_token: false,
            token_type: TokenType::Access,
            claims: Members::default(),
        }
    }
}

/// `kind = "jwt"`: a hand-made token with an id and a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandMadeJwt {
    /// The key with which the service verifies it.
    pub key: FormKey,
    /// The header with the token.
    pub header: String,
    /// How long each token is valid.
    pub lifetime: Duration,
    /// The claim with the user's id.
    pub user_id_claim: String,
    /// Further claims.
    pub claims: Members,
}

impl HandMadeJwt {
    /// Returns the form that tutorials use.
    pub fn new(key: FormKey) -> Self {
        Self {
            key,
            header: "jwt-auth".into(),
            lifetime: TOKEN_LIFETIME,
            user_id_claim: "id".into(),
            claims: Members::default(),
        }
    }
}

/// A key that the service shares with the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormKey {
    /// The algorithm of the signatures.
    pub algorithm: Algorithm,
    /// The file: the secret itself, or a private key in PEM.
    pub file: PathBuf,
    /// Whether a secret that can be guessed is accepted, because the service has no other.
    pub danger_weak_key: bool,
}

/// How long a token for the service is valid: long enough for a request, and worth little to a reader of a log.
const TOKEN_LIFETIME: Duration = Duration::from_secs(60);

/// The claims of every token: the user's id needs a claim of its own.
const OWN_CLAIMS: [&str; 10] = [
    "token_type",
    "exp",
    "iat",
    "jti",
    "aud",
    "iss",
    "hash_password",
    "username",
    "refresh_exp",
    "doorwarden_session",
];

/// The token types that prove something in a request.
const TOKEN_TYPES: [(&str, TokenType); 2] =
    [("access", TokenType::Access), ("sliding", TokenType::Sliding)];

pub(super) fn simplejwt(table: &RawTable<'_>) -> SimpleJwtFormSettings {
    let default = SimpleJwtFormSettings::new(key(table));
    let user_id_claim = table.text("user_id_claim", claim).unwrap_or(default.user_id_claim);
    SimpleJwtFormSettings {
        claims: members(table, "claims", |name| {
            // Services' own token classes often add it.
            (OWN_CLAIMS.contains(&name) && name != "username") || name == user_id_claim
        }),
        header: table.text("header", values::token_header).unwrap_or(default.header),
        scheme: table.text("scheme", values::scheme).unwrap_or(default.scheme),
        lifetime: table.duration("lifetime", secs(10)..=HOUR).unwrap_or(default.lifetime),
        user_id_claim,
        audience: table.text("audience", values::filled),
        issuer: table.text("issuer", values::filled),
        check_revoke_token: table.flag("check_revoke_token").unwrap_or(default.check_revoke_token),
        token_type: table.choice("token_type", &TOKEN_TYPES).unwrap_or(default.token_type),
        key: default.key,
    }
}

pub(super) fn hand_made(table: &RawTable<'_>) -> HandMadeJwt {
    let default = HandMadeJwt::new(key(table));
    let user_id_claim = table.text("user_id_claim", claim).unwrap_or(default.user_id_claim);
    HandMadeJwt {
        claims: members(table, "claims", |name| {
            OWN_CLAIMS.contains(&name) || name == user_id_claim
        }),
        header: table.text("header", values::form_header).unwrap_or(default.header),
        lifetime: table.duration("lifetime", secs(10)..=HOUR).unwrap_or(default.lifetime),
        user_id_claim,
        key: default.key,
    }
}

pub(super) fn key(table: &RawTable<'_>) -> FormKey {
    table.require("key_file", "the file of the key that the service verifies with");
    let algorithms = Algorithm::OF_SERVICES.map(|algorithm| (algorithm.name(), algorithm));
    let danger_weak_key = table.flag("danger_weak_key").unwrap_or(false);
    if danger_weak_key {
        table.warn(
            "danger_weak_key",
            Wrong::new("whoever guesses the service's key can sign in there as any user")
                .help("give the service a key of 32 random bytes or more"),
        );
    }
    FormKey {
        algorithm: table.choice("algorithm", &algorithms).unwrap_or_default(),
        file: table.path("key_file").unwrap_or_default(),
        danger_weak_key,
    }
}

pub(super) fn claim(text: &str) -> Result<String, Wrong> {
    if OWN_CLAIMS.contains(&text) {
        return Err(Wrong::new(format!("{text:?} is a claim with another meaning")));
    }
    values::name(text)
}
