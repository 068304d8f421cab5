//! Reads `paths.alias.shape`: which service's answers an alias imitates, and the settings of each shape.

use std::time::Duration;

use http::StatusCode;

use super::raw::{RawTable, Wrong, nearest};
use super::template::members;
use super::units::{DAY, MINUTE};
use super::{IssuerKey, IssuerKind, IssuerSettings, Members, OwnPath, values};
use crate::django::simplejwt::TokenType;

/// The shape of an alias: the kind of service whose front ends it serves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    /// `"simplejwt"`: like the own path itself.
    #[default]
    SimpleJwt,
    /// `"django-session"`: a Django view that signs in or out with a session.
    DjangoSession(Box<SessionShape>),
    /// `"jwt"`: a hand-made view that answers with one token.
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
    /// The members in which its `USER_DETAILS_SERIALIZER` describes a user.
    pub user: Members,
}

impl DjRestAuthShape {
    /// Returns the names of both cookies.
    pub fn cookies(&self) -> impl Iterator<Item = &str> {
        self.access_cookie.iter().chain(&self.refresh_cookie).map(String::as_str)
    }
}

/// `shape = "simplejwt-sliding"`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlidingShape {
    /// The `[[issuer]]` whose tokens it issues: an index into [`super::Config::issuers`].
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
    /// The answers of the view.
    pub answers: AliasAnswers,
}

/// `shape = "jwt"`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtShape {
    /// The `[[issuer]]` whose tokens it issues: an index into [`super::Config::issuers`].
    pub issuer: usize,
    /// How long each token is valid.
    pub lifetime: Duration,
    /// The answer if the name or the password is missing.
    pub missing: AliasAnswer,
    /// The answer if the name or the password is wrong.
    pub refused: AliasAnswer,
}

/// `paths.alias.answers`: the answers of a view, word for word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AliasAnswers {
    /// The answer to a successful sign-in or sign-out.
    pub success: AliasAnswer,
    /// The answer if the name or the password is missing.
    pub missing: AliasAnswer,
    /// The answer if the name or the password is wrong. At a sign-out: nobody is signed in.
    pub refused: AliasAnswer,
}

/// An answer of a view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AliasAnswer {
    /// The answer's status.
    pub status: StatusCode,
    /// The answer's body: JSON, or empty.
    pub body: String,
}

impl Shape {
    /// Returns the name that this shape gives the session cookie.
    pub fn cookie(&self) -> Option<&str> {
        match self {
            Self::DjangoSession(shape) => Some(&shape.cookie),
            Self::SimpleJwt | Self::Jwt(_) | Self::Sliding(_) | Self::DjRestAuth(_) => None,
        }
    }

    /// Returns the names of the cookies in which this shape puts tokens of the gateway's own.
    pub fn token_cookies(&self) -> impl Iterator<Item = &str> {
        let shape = match self {
            Self::DjRestAuth(shape) => Some(shape),
            Self::SimpleJwt | Self::DjangoSession(_) | Self::Jwt(_) | Self::Sliding(_) => None,
        };
        shape.into_iter().flat_map(|shape| shape.cookies())
    }

    /// Returns the name of the cookie in which this shape puts the access token.
    pub fn access_cookie(&self) -> Option<&str> {
        match self {
            Self::DjRestAuth(shape) => shape.access_cookie.as_deref(),
            Self::SimpleJwt | Self::DjangoSession(_) | Self::Jwt(_) | Self::Sliding(_) => None,
        }
    }
}

impl AliasAnswer {
    /// Creates an answer.
    pub fn new(status: StatusCode, body: &str) -> Self {
        Self { status, body: body.to_owned() }
    }
}

impl AliasAnswers {
    /// Returns the answers of Django REST framework's views that sign in with a session.
    pub fn of_session_login() -> Self {
        Self {
            success: AliasAnswer::new(StatusCode::OK, r#"{"message":"success"}"#),
            missing: AliasAnswer::new(
                StatusCode::BAD_REQUEST,
                r#"{"detail":"Malformed request."}"#,
            ),
            refused: AliasAnswer::new(StatusCode::FORBIDDEN, ""),
        }
    }

    /// Returns the answers of the views that sign out. Nothing can be missing there.
    pub fn of_session_logout() -> Self {
        Self {
            success: AliasAnswer::new(StatusCode::OK, ""),
            missing: AliasAnswer::new(StatusCode::BAD_REQUEST, ""),
            refused: AliasAnswer::new(
                StatusCode::UNAUTHORIZED,
                r#"{"detail":"Authentication credentials were not provided."}"#,
            ),
        }
    }
}

impl JwtShape {
    /// Returns the shape of the tutorials' view, with the answer of a view that refuses a name and a password.
    pub fn new(issuer: usize, lifetime: Duration) -> Self {
        let refused = r#"{"detail":"No active account found with the given credentials"}"#;
        Self {
            issuer,
            lifetime,
            missing: AliasAnswers::of_session_login().missing,
            refused: AliasAnswer::new(StatusCode::FORBIDDEN, refused),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum AliasShapeKey {
    SimpleJwt,
    DjangoSession,
    Jwt,
    Sliding,
    DjRestAuth,
}

const WORDS: [(&str, AliasShapeKey); 5] = [
    ("simplejwt", AliasShapeKey::SimpleJwt),
    ("django-session", AliasShapeKey::DjangoSession),
    ("jwt", AliasShapeKey::Jwt),
    ("simplejwt-sliding", AliasShapeKey::Sliding),
    ("dj-rest-auth", AliasShapeKey::DjRestAuth),
];

const SESSION_KEYS: [&str; 2] = ["cookie", "csrf_cookie"];

const JWT_KEYS: [&str; 2] = ["issuer", "lifetime"];

const DJ_REST_AUTH_KEYS: [&str; 5] =
    ["access_cookie", "refresh_cookie", "http_only", "expiration", "user"];

pub(super) fn shape(
    table: &RawTable<'_>,
    own: Option<OwnPath>,
    issuers: &[IssuerSettings],
) -> Shape {
    let word = table.choice("shape", &WORDS).unwrap_or(AliasShapeKey::SimpleJwt);
    let is_of = |allowed: &[OwnPath], help: &str| {
        if own.is_some_and(|own| !allowed.contains(&own)) {
            table.error("shape", Wrong::new("this own path does not have this shape").help(help));
        }
    };
    if word != AliasShapeKey::DjangoSession {
        table.refuse(
            &SESSION_KEYS,
            "an alias of this shape sets no such cookie",
            "it is for shape = \"django-session\"",
        );
    }
    if !matches!(word, AliasShapeKey::Jwt | AliasShapeKey::Sliding) {
        table.refuse(
            &JWT_KEYS,
            "an alias of this shape mints nothing",
            "it is for shape = \"jwt\" and shape = \"simplejwt-sliding\"",
        );
    }
    if word != AliasShapeKey::Sliding {
        table.refuse(
            &["refresh_lifetime"],
            "its tokens are not sliding ones",
            "it is for shape = \"simplejwt-sliding\"",
        );
    }
    if word != AliasShapeKey::DjRestAuth {
        table.refuse(
            &DJ_REST_AUTH_KEYS,
            "an alias of this shape sets no such cookies",
            "it is for shape = \"dj-rest-auth\"",
        );
    }
    match word {
        AliasShapeKey::DjRestAuth => {
            is_of(
                &[OwnPath::Login, OwnPath::Refresh, OwnPath::Logout],
                "allowed: endpoint = \"login\", endpoint = \"refresh\" or endpoint = \"logout\"",
            );
            let help = "it is for shape = \"django-session\" and shape = \"jwt\"";
            table.refuse(&["answers"], "dj-rest-auth's answers cannot be changed", help);
            Shape::DjRestAuth(Box::new(dj_rest_auth(table)))
        }
        AliasShapeKey::SimpleJwt => {
            let help = "it is for shape = \"django-session\" and shape = \"jwt\"";
            table.refuse(&["answers"], "SimpleJWT's answers cannot be changed", help);
            Shape::SimpleJwt
        }
        AliasShapeKey::DjangoSession => {
            is_of(
                &[OwnPath::Login, OwnPath::Logout],
                "allowed: endpoint = \"login\" or endpoint = \"logout\"",
            );
            Shape::DjangoSession(Box::new(session(table, own)))
        }
        AliasShapeKey::Sliding => {
            is_of(
                &[OwnPath::Login, OwnPath::Refresh],
                "allowed: endpoint = \"login\" or endpoint = \"refresh\"",
            );
            let help = "it is for shape = \"django-session\" and shape = \"jwt\"";
            table.refuse(&["answers"], "SimpleJWT's answers cannot be changed", help);
            if table.has("rotation") {
                table.error(
                    "rotation",
                    Wrong::new("a sliding token stays the same").help("remove it"),
                );
            }
            sliding(table, issuers).map_or(Shape::SimpleJwt, Shape::Sliding)
        }
        AliasShapeKey::Jwt => {
            is_of(&[OwnPath::Login], "allowed: endpoint = \"login\"");
            jwt(table, issuers).map_or(Shape::SimpleJwt, |shape| Shape::Jwt(Box::new(shape)))
        }
    }
}

fn session(table: &RawTable<'_>, own: Option<OwnPath>) -> SessionShape {
    let cookie = table.text("cookie", cookie_name).unwrap_or_else(|| "sessionid".into());
    let csrf_cookie = table.text("csrf_cookie", |text| {
        if text.is_empty() { Ok(None) } else { cookie_name(text).map(Some) }
    });
    let csrf_cookie = csrf_cookie.unwrap_or_else(|| Some("csrftoken".into()));
    if csrf_cookie.as_ref() == Some(&cookie) {
        table.error("csrf_cookie", Wrong::new("is the session's cookie already"));
    }
    let answers = if own == Some(OwnPath::Logout) {
        if table.has("csrf_cookie") {
            let wrong = Wrong::new("signing out neither sets nor removes it").help("remove it");
            table.error("csrf_cookie", wrong);
        }
        table.table("answers", |table| {
            let default = AliasAnswers::of_session_logout();
            table.refuse(&["missing"], "a sign-out needs no fields", "remove it");
            AliasAnswers {
                success: answer(table, "success", default.success),
                refused: answer(table, "refused", default.refused),
                missing: default.missing,
            }
        })
    } else {
        table.table("answers", |table| {
            let default = AliasAnswers::of_session_login();
            AliasAnswers {
                success: answer(table, "success", default.success),
                missing: answer(table, "missing", default.missing),
                refused: answer(table, "refused", default.refused),
            }
        })
    };
    SessionShape { cookie, csrf_cookie, answers }
}

fn dj_rest_auth(table: &RawTable<'_>) -> DjRestAuthShape {
    let (access_cookie, refresh_cookie) =
        (table.text("access_cookie", cookie_name), table.text("refresh_cookie", cookie_name));
    if access_cookie.is_some() && access_cookie == refresh_cookie {
        table.error("refresh_cookie", Wrong::new("is the access token's cookie already"));
    }
    let user = members(table, "user", |_| false);
    DjRestAuthShape {
        access_cookie,
        refresh_cookie,
        http_only: table.flag("http_only").unwrap_or(true),
        expiration: table.flag("expiration").unwrap_or(false),
        user: if table.has("user") { user } else { Members::of_dj_rest_auth() },
    }
}

fn jwt(table: &RawTable<'_>, issuers: &[IssuerSettings]) -> Option<JwtShape> {
    table.require(
        "issuer",
        "the name of an [[issuer]] of kind = \"jwt\", under whose key tokens are made",
    );
    let named = table.text("issuer", |text| named(text, issuers));
    let lifetime = table.duration("lifetime", MINUTE..=366 * DAY);
    let default = named.map(|(index, max_age)| JwtShape::new(index, lifetime.unwrap_or(max_age)));
    let (missing, refused) = table.table("answers", |table| {
        let Some(default) = &default else {
            table.pass_over(&["success", "missing", "refused"]);
            return (None, None);
        };
        table.refuse(&["success"], "the answer is the token", "remove it");
        let missing = answer(table, "missing", default.missing.clone());
        (Some(missing), Some(answer(table, "refused", default.refused.clone())))
    });
    Some(JwtShape { missing: missing?, refused: refused?, ..default? })
}

fn sliding(table: &RawTable<'_>, issuers: &[IssuerSettings]) -> Option<SlidingShape> {
    table.require(
        "issuer",
        "the name of an [[issuer]] of kind = \"simplejwt\" that takes sliding tokens",
    );
    let issuer = table.text("issuer", |text| {
        let index = issuers.iter().position(|issuer| issuer.name == text);
        let wrong = |why: &str, help: &str| Err(Wrong::new(format!("{text:?} {why}")).help(help));
        match index.and_then(|index| Some((index, &issuers.get(index)?.kind))) {
            Some((index, IssuerKind::SimpleJwt(kind))) => match kind.signature.key {
                IssuerKey::Public(_) => {
                    wrong("has only a public key", "name the private one in its key_file")
                }
                IssuerKey::Private(_) if !kind.token_types.contains(&TokenType::Sliding) => {
                    wrong("takes no sliding tokens", "set its token_types = [\"sliding\"]")
                }
                IssuerKey::Private(_) => Ok(index),
            },
            _ => wrong("is no issuer of kind = \"simplejwt\"", "it makes the tokens"),
        }
    });
    let lifetime = table.duration("lifetime", MINUTE..=366 * DAY).unwrap_or(5 * MINUTE);
    let refresh_lifetime = table.duration("refresh_lifetime", MINUTE..=366 * DAY).unwrap_or(DAY);
    Some(SlidingShape { issuer: issuer?, lifetime, refresh_lifetime })
}

/// Returns the index of an issuer under whose key tokens can be made, and its `max_age`.
fn named(text: &str, issuers: &[IssuerSettings]) -> Result<(usize, std::time::Duration), Wrong> {
    let of_kind = |issuer: &&IssuerSettings| matches!(issuer.kind, IssuerKind::Jwt { .. });
    let names = || issuers.iter().filter(of_kind).map(|issuer| issuer.name.as_str());
    let found = issuers.iter().enumerate().find(|(_, issuer)| issuer.name == text);
    match found.map(|(index, issuer)| (index, &issuer.kind)) {
        Some((index, IssuerKind::Jwt { signature, max_age, .. })) => match signature.key {
            IssuerKey::Private(_) => Ok((index, *max_age)),
            IssuerKey::Public(_) => {
                Err(Wrong::new(format!("the issuer {text:?} has only a public key"))
                    .help("name the private one in its key_file"))
            }
        },
        Some(_) => Err(Wrong::new(format!("the issuer {text:?} is not of kind = \"jwt\""))),
        None => {
            let wrong = Wrong::new(format!("there is no issuer {text:?} of kind = \"jwt\""));
            Err(match nearest(text, names()) {
                Some(meant) => wrong.help(format!("did you mean {meant:?}?")),
                None => wrong,
            })
        }
    }
}

/// Reads one answer: each of its keys has a default of its own.
fn answer(table: &RawTable<'_>, key: &'static str, default: AliasAnswer) -> AliasAnswer {
    let range = if key == "success" { 200..=299 } else { 400..=499 };
    table.table(key, |table| {
        let status = table.number::<u16>("status", range);
        let status = status.and_then(|status| StatusCode::from_u16(status).ok());
        let body = table.text("body", |text| {
            let is_json = serde_json::from_str::<serde_json::Value>(text).is_ok();
            if text.is_empty() || is_json {
                return Ok(text.to_owned());
            }
            Err(Wrong::new("is no JSON")
                .help("like body = '{\"message\": \"success\"}', or \"\" for nothing"))
        });
        let status = status.unwrap_or(default.status);
        let body = body.unwrap_or(default.body);
        if matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT) && !body.is_empty()
        {
            table.error("status", Wrong::new(format!("{} has no body", status.as_u16())));
        }
        AliasAnswer { status, body }
    })
}

/// The prefixes `__Host-` and `__Secure-` are refused, because they require attributes that an operator can turn off.
fn cookie_name(text: &str) -> Result<String, Wrong> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if text.is_empty() || text.len() > 64 || !text.bytes().all(legal) || text.starts_with("__") {
        return Err(Wrong::new(format!("{text:?} is no name of a service's cookie"))
            .help("allowed: letters, digits, - _ and ., without __ in front; like \"sessionid\""));
    }
    values::filled(text)
}
