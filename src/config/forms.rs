//! `[[identity.form]]`: how an unchanged service is told who is calling, beside the headers of `[identity]`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::template::Members;
use super::{Database, ServiceCache};
use crate::caller::Proof;
use crate::django::jws::Algorithm;
use crate::django::simplejwt::TokenType;

/// One block.
#[derive(Clone, Debug, PartialEq)]
pub struct IdentityForm {
    /// The name that routes use.
    pub name: String,
    /// The directory whose users the service knows by this form; none: it does not matter which.
    pub directory: Option<String>,
    /// The kind and what only it has.
    pub kind: FormKind,
}

/// The kinds of form.
#[derive(Clone, Debug, PartialEq)]
pub enum FormKind {
    /// `kind = "remote-user"`
    RemoteUser(RemoteUser),
    /// `kind = "simplejwt"`
    SimpleJwt(Box<SimpleJwt>),
    /// `kind = "jwt"`
    Jwt(Box<HandMadeJwt>),
    /// `kind = "django-session"`
    DjangoSession(Box<DjangoSession>),
    /// `kind = "drf-token"`
    DrfToken(Box<DrfToken>),
    /// `kind = "cookies"`
    Cookies(CookiesForm),
}

/// `kind = "cookies"`: what the service gave when its user signed in through a directory `http`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CookiesForm {
    /// The names of those that are kept from the client; empty: all that the service gave at the sign-in.
    pub cookies: Vec<String>,
    /// The one without which the service knows nobody.
    pub session_cookie: String,
    /// Where the service sends whoever has no session there.
    pub login_path: Option<String>,
}

/// `kind = "django-session"`: a session that the service's own middleware reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DjangoSession {
    /// Where the service keeps its sessions.
    pub engine: FormEngine,
    /// The file that holds `SECRET_KEY`.
    pub key_file: PathBuf,
    /// `SESSION_COOKIE_NAME`
    pub cookie: String,
    /// Which of `AUTHENTICATION_BACKENDS` the session names.
    pub backend: String,
    /// How long a session is good before it is renewed.
    pub lifetime: Duration,
    /// Note the time of a sign-in with the user, as the service's own sign-in does.
    pub last_login: Option<LastLogin>,
}

/// `SESSION_ENGINE`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FormEngine {
    /// `db`, and `cached_db`, whose copy in the cache is read first by the service.
    Rows {
        /// The database.
        database: Database,
        /// `django_session`
        table: String,
        /// Where copies of them are.
        cache: Option<ServiceCache>,
    },
    /// `cache`
    Cache(ServiceCache),
    /// `signed_cookies`
    SignedCookies {
        /// `SESSION_COOKIE_AGE`
        max_age: Duration,
    },
}

/// Where `last_login` is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastLogin {
    /// The database.
    pub database: Database,
    /// The users' table.
    pub table: String,
    /// The column of a user's id.
    pub id: String,
}

/// `kind = "drf-token"`: the user's own token, as the service has it in its table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrfToken {
    /// The database: the directory's.
    pub database: Database,
    /// `authtoken_token`
    pub table: String,
    /// The header that holds it.
    pub header: String,
    /// `TokenAuthentication.keyword`
    pub scheme: String,
    /// How long a token that was read is sent without reading it again.
    pub cache_for: Duration,
    /// What a user without one gets.
    pub missing: MissingToken,
}

/// What happens to a caller who has no token.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum MissingToken {
    /// The request is refused.
    #[default]
    Refuse,
    /// It is forwarded without one.
    None,
}

/// `kind = "simplejwt"`: an access token that the service's `JWTAuthentication` accepts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimpleJwt {
    /// `SIGNING_KEY` and `ALGORITHM`.
    pub key: FormKey,
    /// `AUTH_HEADER_NAME`
    pub header: String,
    /// `AUTH_HEADER_TYPES`
    pub scheme: String,
    /// How long each is good.
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
    /// What a token class of the service's own adds.
    pub claims: Members,
}

/// `kind = "jwt"`: a hand-made token, of an id and a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandMadeJwt {
    /// What the service verifies it with.
    pub key: FormKey,
    /// The header that holds it.
    pub header: String,
    /// How long each is good.
    pub lifetime: Duration,
    /// The claim that holds the user's id.
    pub user_id_claim: String,
    /// Further claims.
    pub claims: Members,
}

impl IdentityForm {
    /// The files of its keys.
    pub fn key_file(&self) -> Option<&Path> {
        match &self.kind {
            FormKind::SimpleJwt(settings) => Some(&settings.key.file),
            FormKind::Jwt(settings) => Some(&settings.key.file),
            FormKind::DjangoSession(settings) => Some(&settings.key_file),
            FormKind::RemoteUser(_) | FormKind::DrfToken(_) | FormKind::Cookies(_) => None,
        }
    }
}

/// A key that the service has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormKey {
    /// How it signs.
    pub algorithm: Algorithm,
    /// The file: the secret itself, or a private key in PEM.
    pub file: PathBuf,
    /// Use a secret that can be guessed, because the service has no other.
    pub danger_weak_key: bool,
}

/// `kind = "remote-user"`: a header that the service takes for the result of its server's own authentication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteUser {
    /// The header.
    pub header: String,
    /// What is in it.
    pub value: UserValue,
}

/// What names a user.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum UserValue {
    /// The name they sign in with.
    #[default]
    Name,
    /// Their id in the directory.
    Id,
}

/// `route.identity`: the forms of a route by how the caller came, as indexes into [`super::Config::forms`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteForms {
    /// For a caller with a token.
    pub bearer: Vec<usize>,
    /// For a caller with the session cookie.
    pub cookie: Vec<usize>,
}

impl RouteForms {
    /// Those of a caller who came with this proof.
    pub fn of(&self, proof: Proof) -> &[usize] {
        if proof.is_cookie() { &self.cookie } else { &self.bearer }
    }

    /// Each form that some caller gets.
    pub fn all(&self) -> impl Iterator<Item = usize> {
        self.bearer.iter().chain(&self.cookie).copied()
    }
}

impl FormKind {
    /// The header that it sets.
    pub fn header(&self) -> Option<&str> {
        match self {
            Self::RemoteUser(form) => Some(&form.header),
            Self::SimpleJwt(form) => Some(&form.header),
            Self::Jwt(form) => Some(&form.header),
            Self::DrfToken(form) => Some(&form.header),
            Self::DjangoSession(_) | Self::Cookies(_) => None,
        }
    }

    /// The cookies that it sets, as far as the configuration names them.
    pub fn cookies(&self) -> impl Iterator<Item = &str> {
        let (one, more): (Option<&String>, &[String]) = match self {
            Self::DjangoSession(form) => (Some(&form.cookie), &[]),
            Self::Cookies(form) => (Some(&form.session_cookie), &form.cookies),
            Self::RemoteUser(_) | Self::SimpleJwt(_) | Self::Jwt(_) | Self::DrfToken(_) => {
                (None, &[])
            }
        };
        let more = more.iter().filter(move |name| Some(*name) != one);
        one.into_iter().chain(more).map(String::as_str)
    }
}

impl Default for RemoteUser {
    fn default() -> Self {
        Self { header: "Remote-User".into(), value: UserValue::Name }
    }
}

/// How long a token for the service is good: long enough for a request, and worth little to whoever reads it in a log.
const TOKEN_LIFETIME: Duration = Duration::from_secs(60);

impl SimpleJwt {
    /// SimpleJWT's own defaults.
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

impl HandMadeJwt {
    /// As tutorials write it.
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

impl DjangoSession {
    /// Django's own defaults.
    pub fn new(engine: FormEngine, key_file: PathBuf) -> Self {
        Self {
            engine,
            key_file,
            cookie: "sessionid".into(),
            backend: "django.contrib.auth.backends.ModelBackend".into(),
            lifetime: Duration::from_secs(3600),
            last_login: None,
        }
    }
}

impl FormEngine {
    /// `db`, with Django's own table.
    pub fn rows(database: Database) -> Self {
        Self::Rows { database, table: "django_session".into(), cache: None }
    }
}

impl DrfToken {
    /// Django REST framework's own defaults.
    pub fn new(database: Database) -> Self {
        Self {
            database,
            table: "authtoken_token".into(),
            header: "Authorization".into(),
            scheme: "Token".into(),
            cache_for: Duration::from_secs(60),
            missing: MissingToken::Refuse,
        }
    }
}
