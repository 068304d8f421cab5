//! Reads `[[issuer]]` of the kinds `simplejwt` and `jwt`: how the tokens are signed, and what they contain.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::raw::{RawTable, Wrong};
use super::units::{MINUTE, secs};
use super::{Database, DirectorySettings, values};
use crate::django::simplejwt::TokenType;
use crate::jose::Algorithm;

/// How the JWTs of an issuer are verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerSignature {
    /// The algorithm of the signatures.
    pub algorithm: Algorithm,
    /// The key that verifies them.
    pub key: IssuerKey,
    /// How far clocks may differ.
    pub leeway: Duration,
    /// Whether `sub` and `jti` may be numbers.
    pub numeric_ids: bool,
    /// Whether a shared secret that can be guessed is accepted.
    pub danger_weak_key: bool,
}

/// Where an issuer's key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IssuerKey {
    /// `issuer.key_file`: a shared secret (its bytes less a final newline), or a private key in PEM.
    Private(PathBuf),
    /// `issuer.public_key_file`: a public key in PEM.
    Public(PathBuf),
}

impl IssuerKey {
    /// Returns the key's file.
    pub fn path(&self) -> &Path {
        match self {
            Self::Private(path) | Self::Public(path) => path,
        }
    }
}

/// `[[issuer]] kind = "simplejwt"`: the service's `SIMPLE_JWT` settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimpleJwtIssuer {
    /// How its tokens are verified.
    pub signature: IssuerSignature,
    /// `AUTH_TOKEN_CLASSES`: the accepted kinds.
    pub token_types: Vec<TokenType>,
    /// `USER_ID_CLAIM`
    pub user_id_claim: String,
    /// `AUDIENCE`; empty: not checked.
    pub audience: Vec<String>,
    /// `ISSUER`
    pub issuer: Option<String>,
    /// `CHECK_REVOKE_TOKEN`
    pub check_revoke_token: bool,
    /// Whether its refresh tokens are adopted.
    pub adopt_refresh_tokens: bool,
    /// The database with the blacklist (`rest_framework_simplejwt.token_blacklist`).
    pub blacklist: Option<Database>,
}

pub(super) fn signature(table: &RawTable<'_>) -> IssuerSignature {
    let algorithm = algorithm(table);
    let key = key(table, algorithm);
    let leeway = table.duration("leeway", secs(0)..=5 * MINUTE).unwrap_or_default();
    let danger_weak_key = table.flag("danger_weak_key").unwrap_or(false);
    if danger_weak_key {
        table.warn(
            "danger_weak_key",
            Wrong::new("whoever guesses the key can make tokens of every user")
                .help("give the service a SECRET_KEY of 50 random characters"),
        );
    }
    let numeric_ids = table.flag("numeric_ids").unwrap_or(false);
    IssuerSignature { algorithm, key, leeway, numeric_ids, danger_weak_key }
}

pub(super) fn simplejwt(
    table: &RawTable<'_>,
    signature: IssuerSignature,
    directory: Option<&DirectorySettings>,
) -> SimpleJwtIssuer {
    let adopt_refresh_tokens = table.flag("adopt_refresh_tokens").unwrap_or(false);
    let blacklist = blacklist(table, directory);
    let token_type = |text: &str| match text {
        // Tokens of both types name their own type; a refresh token proves nothing in a request.
        "access" => Ok(TokenType::Access),
        "sliding" => Ok(TokenType::Sliding),
        other => Err(Wrong::choice(other, &["access", "sliding"])),
    };
    if table.is_empty_list("token_types") {
        table.error("token_types", Wrong::new("without a token type no token is accepted"));
    }
    SimpleJwtIssuer {
        signature,
        token_types: table
            .values("token_types", token_type)
            .unwrap_or_else(|| vec![TokenType::Access]),
        user_id_claim: table
            .text("user_id_claim", values::name)
            .unwrap_or_else(|| "user_id".into()),
        audience: table.values("audience", values::filled).unwrap_or_default(),
        issuer: table.text("issuer", values::filled),
        check_revoke_token: table.flag("check_revoke_token").unwrap_or(false),
        adopt_refresh_tokens,
        blacklist,
    }
}

/// Reads the blacklist, which is in the database that has the issuer's users.
pub(super) fn blacklist(
    table: &RawTable<'_>,
    directory: Option<&DirectorySettings>,
) -> Option<Database> {
    if !table.flag("blacklist").unwrap_or(false) {
        return None;
    }
    let Some(django) = directory?.django() else {
        table.error(
            "blacklist",
            Wrong::new("the issuer's directory has no database")
                .help("it lies in the database of a directory of the kind \"django\""),
        );
        return None;
    };
    Some(django.database.clone())
}

pub(super) fn algorithm(table: &RawTable<'_>) -> Algorithm {
    let words = Algorithm::OF_SERVICES.map(|algorithm| (algorithm.name(), algorithm));
    table.choice("algorithm", &words).unwrap_or_default()
}

pub(super) fn key(table: &RawTable<'_>, algorithm: Algorithm) -> IssuerKey {
    let private = table.path("key_file");
    let public = table.path("public_key_file");
    if algorithm.is_shared() {
        if table.has("public_key_file") {
            table.error(
                "public_key_file",
                Wrong::new(format!("{} uses a shared key, not a public one", algorithm.name()))
                    .help("name the file with the service's secret in key_file"),
            );
        }
        table
            .require("key_file", "a file (mode 0600) with the service's SIGNING_KEY or SECRET_KEY");
        return IssuerKey::Private(private.unwrap_or_default());
    }
    match (private, public) {
        (Some(private), None) => IssuerKey::Private(private),
        (None, Some(public)) => IssuerKey::Public(public),
        (None, None) => {
            table.require("public_key_file", "a file with the service's VERIFYING_KEY in PEM");
            IssuerKey::Public(std::path::PathBuf::new())
        }
        (Some(_), Some(public)) => {
            table.error(
                "key_file",
                Wrong::new("the public key is enough").help("remove key_file or public_key_file"),
            );
            IssuerKey::Public(public)
        }
    }
}
