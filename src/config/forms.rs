//! `[[identity.form]]`: how an unchanged service is told who is calling, beside the headers of `[identity]`.

use std::path::PathBuf;
use std::time::Duration;

use super::template::Members;
use crate::caller::Proof;
use crate::django::jws::Algorithm;

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
}

/// `kind = "django-session"`: a session in the service's own table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DjangoSession {
    /// The SQLite file.
    pub database: PathBuf,
    /// `django_session`
    pub table: String,
    /// The file that holds `SECRET_KEY`.
    pub key_file: PathBuf,
    /// `SESSION_COOKIE_NAME`
    pub cookie: String,
    /// Which of `AUTHENTICATION_BACKENDS` the session names.
    pub backend: String,
    /// How long a row is good before it is renewed.
    pub lifetime: Duration,
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
            Self::DjangoSession(_) => None,
        }
    }

    /// The cookie that it sets.
    pub fn cookie(&self) -> Option<&str> {
        match self {
            Self::DjangoSession(form) => Some(&form.cookie),
            Self::RemoteUser(_) | Self::SimpleJwt(_) | Self::Jwt(_) => None,
        }
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
    /// Django's own defaults, in this database.
    pub fn new(database: PathBuf, key_file: PathBuf) -> Self {
        Self {
            database,
            table: "django_session".into(),
            key_file,
            cookie: "sessionid".into(),
            backend: "django.contrib.auth.backends.ModelBackend".into(),
            lifetime: Duration::from_secs(3600),
        }
    }
}
