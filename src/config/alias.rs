//! `paths.alias.shape`: in whose words an alias answers.

use std::time::Duration;

use http::StatusCode;

use super::Members;

/// Whose front ends an alias speaks to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    /// `"simplejwt"`: as the own path itself.
    #[default]
    SimpleJwt,
    /// `"django-session"`: a Django view that signs in or out with a session.
    DjangoSession(Box<SessionShape>),
    /// `"jwt"`: a view that answers with one token, made by hand.
    Jwt(Box<JwtShape>),
    /// `"simplejwt-sliding"`: SimpleJWT's views for sliding tokens.
    Sliding(SlidingShape),
    /// `"dj-rest-auth"`: its views, with tokens in cookies.
    DjRestAuth(Box<DjRestAuthShape>),
}

/// `shape = "dj-rest-auth"`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DjRestAuthShape {
    /// `JWT_AUTH_COOKIE`
    pub access_cookie: Option<String>,
    /// `JWT_AUTH_REFRESH_COOKIE`
    pub refresh_cookie: Option<String>,
    /// `JWT_AUTH_HTTPONLY`
    pub http_only: bool,
    /// `JWT_AUTH_RETURN_EXPIRATION`
    pub expiration: bool,
    /// What its `USER_DETAILS_SERIALIZER` says of a user.
    pub user: Members,
}

impl DjRestAuthShape {
    /// The names of both cookies.
    pub fn cookies(&self) -> impl Iterator<Item = &str> {
        self.access_cookie.iter().chain(&self.refresh_cookie).map(String::as_str)
    }
}

/// `shape = "simplejwt-sliding"`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlidingShape {
    /// The `[[issuer]]` whose tokens it gives: an index into [`super::Config::issuers`].
    pub issuer: usize,
    /// `SLIDING_TOKEN_LIFETIME`
    pub lifetime: Duration,
    /// `SLIDING_TOKEN_REFRESH_LIFETIME`
    pub refresh_lifetime: Duration,
}

/// `shape = "django-session"`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionShape {
    /// `SESSION_COOKIE_NAME`
    pub cookie: String,
    /// `CSRF_COOKIE_NAME`; none: no such cookie is set.
    pub csrf_cookie: Option<String>,
    /// What the view says.
    pub answers: Answers,
}

/// `shape = "jwt"`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtShape {
    /// The `[[issuer]]` whose tokens it gives: an index into [`super::Config::issuers`].
    pub issuer: usize,
    /// How long each is good.
    pub lifetime: Duration,
    /// The name or the password is not there.
    pub missing: Answer,
    /// They are wrong.
    pub refused: Answer,
}

/// `paths.alias.answers`: what a view says, word for word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answers {
    /// Signed in, or out.
    pub success: Answer,
    /// The name or the password is not there.
    pub missing: Answer,
    /// They are wrong; at a sign-out: nobody is signed in.
    pub refused: Answer,
}

/// One answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// JSON, or nothing.
    pub body: String,
}

impl Shape {
    /// The name that it gives the session cookie.
    pub fn cookie(&self) -> Option<&str> {
        match self {
            Self::DjangoSession(shape) => Some(&shape.cookie),
            Self::SimpleJwt | Self::Jwt(_) | Self::Sliding(_) | Self::DjRestAuth(_) => None,
        }
    }

    /// The names of the cookies in which it puts tokens of the gateway's own.
    pub fn token_cookies(&self) -> impl Iterator<Item = &str> {
        let shape = match self {
            Self::DjRestAuth(shape) => Some(shape),
            Self::SimpleJwt | Self::DjangoSession(_) | Self::Jwt(_) | Self::Sliding(_) => None,
        };
        shape.into_iter().flat_map(|shape| shape.cookies())
    }

    /// The one in which it puts the access token.
    pub fn access_cookie(&self) -> Option<&str> {
        match self {
            Self::DjRestAuth(shape) => shape.access_cookie.as_deref(),
            Self::SimpleJwt | Self::DjangoSession(_) | Self::Jwt(_) | Self::Sliding(_) => None,
        }
    }
}

impl Answer {
    /// This status, and this body.
    pub fn new(status: StatusCode, body: &str) -> Self {
        Self { status, body: body.to_owned() }
    }
}

impl Answers {
    /// Of Django REST framework's views that sign in with a session.
    pub fn of_session_login() -> Self {
        Self {
            success: Answer::new(StatusCode::OK, r#"{"message":"success"}"#),
            missing: Answer::new(StatusCode::BAD_REQUEST, r#"{"detail":"Malformed request."}"#),
            refused: Answer::new(StatusCode::FORBIDDEN, ""),
        }
    }

    /// Of those that sign out. Nothing can be missing.
    pub fn of_session_logout() -> Self {
        Self {
            success: Answer::new(StatusCode::OK, ""),
            missing: Answer::new(StatusCode::BAD_REQUEST, ""),
            refused: Answer::new(
                StatusCode::UNAUTHORIZED,
                r#"{"detail":"Authentication credentials were not provided."}"#,
            ),
        }
    }
}

impl JwtShape {
    /// As the tutorials' view answers, and what one says that refuses a name and a password.
    pub fn new(issuer: usize, lifetime: Duration) -> Self {
        let refused = r#"{"detail":"No active account found with the given credentials"}"#;
        Self {
            issuer,
            lifetime,
            missing: Answers::of_session_login().missing,
            refused: Answer::new(StatusCode::FORBIDDEN, refused),
        }
    }
}
