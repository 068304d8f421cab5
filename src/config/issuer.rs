//! `[[issuer]]`, checked.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Config, Database, SignInMode};
use crate::clock::Timestamp;
use crate::django::jws;
use crate::django::simplejwt::TokenType;

/// `[[issuer]]`: what a service has issued itself, accepted as a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerSettings {
    /// For logs; the kind, unless given.
    pub name: String,
    /// The name of the directory in which its users are.
    pub directory: String,
    /// Where in a request its credentials come.
    pub place: CredentialPlace,
    /// The `Domain` with which the service sets its cookie, or set it once.
    pub cookie_domain: Option<String>,
    /// The upstreams whose answers say who is signed in in its sessions, as indices of [`super::Config::upstreams`]; empty:
    /// all.
    pub upstreams: Vec<usize>,
    /// Do identity forms that make another credential make one for whoever comes with its session?
    pub danger_mint: bool,
    /// Does a good credential go on to the service? None: where the service signs people in (`sign_in.mode`).
    pub forward: Option<bool>,
    /// None of its credentials is accepted from then on.
    pub accept_until: Option<Timestamp>,
    /// The kind and what only it has.
    pub kind: IssuerKind,
}

/// Where in a request an issuer's credentials come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialPlace {
    /// In a header.
    Header {
        /// Its name.
        name: String,
        /// The schemes before the token, any case (`Bearer`); empty: the token stands alone.
        schemes: Vec<String>,
    },
    /// The value of the cookie with this name.
    Cookie(String),
}

/// How the JWTs of an issuer are verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuerSignature {
    /// How they are signed.
    pub algorithm: jws::Algorithm,
    /// With what they are verified.
    pub key: IssuerKey,
    /// How far clocks may differ.
    pub leeway: Duration,
    /// Take `sub` and `jti` that are numbers.
    pub numeric_ids: bool,
    /// Take a shared secret that can be guessed.
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
    /// Its file.
    pub fn path(&self) -> &Path {
        match self {
            Self::Private(path) | Self::Public(path) => path,
        }
    }
}

/// The kinds of issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IssuerKind {
    /// `kind = "simplejwt"`
    SimpleJwt(SimpleJwtIssuer),
    /// `kind = "jwt"`: tokens made by hand, which name a user and may say nothing else.
    Jwt {
        /// How they are verified.
        signature: IssuerSignature,
        /// The claim with the user's id.
        claim: String,
        /// A token without `exp` is accepted for this long from when one of its user was first seen.
        max_age: Duration,
        /// In whose words one that is not good is refused.
        refusals: Refusals,
    },
    /// `kind = "django-session"`
    DjangoSession(Box<DjangoSessionIssuer>),
    /// `kind = "drf-token"`: Django REST framework's `TokenAuthentication`.
    DrfToken {
        /// Where its table lies.
        database: Database,
        /// The table.
        table: String,
    },
    /// `kind = "knox"`: the tokens of django-rest-knox.
    Knox {
        /// Where its table lies.
        database: Database,
        /// The table.
        table: String,
        /// How it keeps them.
        version: KnoxVersion,
    },
    /// `kind = "basic"`: a name and a password of the directory's in each request (RFC 7617).
    Basic {
        /// How long a password that was right is not checked again.
        cache_for: Duration,
        /// Tell whoever brings no credential that they may come with these.
        challenge: bool,
    },
}

/// `issuer.version`: the major version of django-rest-knox.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum KnoxVersion {
    /// 4.2
    Four,
    /// 5
    #[default]
    Five,
}

/// `[[issuer]] kind = "django-session"`: the service's session settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DjangoSessionIssuer {
    /// `SESSION_ENGINE`
    pub engine: SessionEngine,
    /// The file with `SECRET_KEY`.
    pub key_file: PathBuf,
    /// Files with `SECRET_KEY_FALLBACKS`.
    pub fallback_key_files: Vec<PathBuf>,
    /// `AUTHENTICATION_BACKENDS`
    pub backends: Vec<String>,
    /// `SESSION_COOKIE_AGE`
    pub max_age: Duration,
}

/// Where a service's sessions are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionEngine {
    /// `db`, and `cached_db`, whose rows are the same.
    Database {
        /// Where the table lies.
        database: Database,
        /// The table.
        table: String,
    },
    /// `cache`
    Cache(ServiceCache),
    /// `signed_cookies`
    SignedCookies,
}

/// A service's cache in Redis, as its `CACHES` say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceCache {
    /// `LOCATION`
    pub address: String,
    /// File with the password; none: the server asks for none.
    pub password_file: Option<PathBuf>,
    /// `KEY_PREFIX`
    pub prefix: String,
    /// `VERSION`
    pub version: u32,
}

/// `issuer.refusals`
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Refusals {
    /// `"gateway"`: as for any token.
    #[default]
    Gateway,
    /// `"jwt"`: 403, with the four texts of a reader made by hand.
    Jwt,
}

/// `[[issuer]] kind = "simplejwt"`: the service's `SIMPLE_JWT` settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimpleJwtIssuer {
    /// How its tokens are verified.
    pub signature: IssuerSignature,
    /// `AUTH_TOKEN_CLASSES`: accepted kinds.
    pub token_types: Vec<TokenType>,
    /// `USER_ID_CLAIM`
    pub user_id_claim: String,
    /// `AUDIENCE`; empty: not looked at.
    pub audience: Vec<String>,
    /// `ISSUER`
    pub issuer: Option<String>,
    /// `CHECK_REVOKE_TOKEN`
    pub check_revoke_token: bool,
    /// Are its refresh tokens taken over?
    pub take_over_refresh: bool,
    /// The database whose blacklist is asked (`rest_framework_simplejwt.token_blacklist`).
    pub blacklist: Option<Database>,
}

impl IssuerSettings {
    /// The header in which its credentials come.
    pub fn header(&self) -> Option<&str> {
        match &self.place {
            CredentialPlace::Header { name, .. } => Some(name),
            CredentialPlace::Cookie(_) => None,
        }
    }

    /// The cookie that is its credential.
    pub fn cookie(&self) -> Option<&str> {
        match &self.place {
            CredentialPlace::Header { .. } => None,
            CredentialPlace::Cookie(name) => Some(name),
        }
    }

    /// Is its cookie a token, and no session?
    pub const fn is_token_in_cookie(&self) -> bool {
        matches!(self.place, CredentialPlace::Cookie(_))
            && !matches!(self.kind, IssuerKind::DjangoSession(_))
    }

    /// The same issuer, whose tokens come in a cookie as well. It is an entry of its own, so that nothing that was found out of
    /// a token in a header, which a browser never sends unasked, counts for the same token in a cookie.
    pub(super) fn in_cookie(&self, name: String) -> Self {
        Self { place: CredentialPlace::Cookie(name), ..self.clone() }
    }
}

impl Config {
    /// Does a good credential of this issuer's go on to its service?
    pub fn forwards(&self, issuer: &IssuerSettings) -> bool {
        issuer.forward.unwrap_or(self.sign_in.mode == SignInMode::Follow)
    }
}
