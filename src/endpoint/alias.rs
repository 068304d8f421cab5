//! Aliases that answer in a service's own words: `shape = "django-session"`, `"jwt"` and `"simplejwt-sliding"`.
//! `"dj-rest-auth"` has a file of its own.
//!
//! The front end of a service that had its own sign-in keeps posting to the same path, and gets the status, the body and
//! the cookies that it expects. Operators can state the exact answers of the view: signed in (or out), a missing field, a
//! wrong one. Answers that only a gateway gives (429, 503, a request from another site) also have the gateway's members
//! `code` and `request_id`.
//!
//! The session cookie is the gateway's own under the service's name (`session::cookies`). The `csrftoken` cookie beside it
//! is a value that nobody stores: Django only compares the cookie with the header or field that comes with it.
//!
//! Intended differences from a Django REST framework view that calls `login()`:
//! - A sign-in always begins a new session and ends the old one; Django keeps the key if the user is the same.
//! - A signed-in user needs no `X-CSRFToken` to sign in or out here: the sender is checked by `Origin`, `Referer` and
//!   `Sec-Fetch-Site`, as for the gateway's own cookie. A sign-in ignores `Authorization`, even an invalid one.
//! - A user name or password that is not a string (a list, `true`) counts as missing, whatever the password hasher does with
//!   it. A body on which such a view fails (500), JSON that is not an object, is 400. A member that occurs twice is 400.
//! - Cookies are `Secure`, and last as long as a session of the gateway can.
//! - 401 says `WWW-Authenticate: Bearer`: with Django's `Basic`, browsers ask for a password in a dialog of their own.
//! - A wrong password at the hand-written JWT view, which does not handle it (500), is 403.

use bytes::Bytes;
use http::header::{SET_COOKIE, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde_json::json;

use super::login::{Credentials, credentials, otp, username_field};
use super::logout::{LogoutScope, keeps_cookie};
use super::refused::Refused;
use super::{Endpoints, Served};
use crate::config::{
    AliasAnswer, JwtShape, OwnPath, OwnPathEntry, SessionShape, Shape, SlidingShape,
};
use crate::refusal::Refusal;
use crate::secret::{NoRandomness, Secret, random_bytes};
use crate::session::{Grants, Mint};
use crate::wire::arrival::Arrival;
use crate::wire::body::{FieldProblem, Fields};
use crate::wire::cookie::SetCookie;
use crate::wire::reply::Reply;

/// The age of Django's own CSRF cookie: 52 weeks.
const CSRF_MAX_AGE: std::time::Duration = std::time::Duration::from_secs(31_449_600);

/// The alphabet of Django's own secrets of this kind.
const CSRF_ALPHABET: &[u8; 62] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
const CSRF_LENGTH: usize = 32;

/// Why a body has no usable name and password.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum MissingCredential {
    /// The name or the password is missing.
    Missing,
    /// The name or the password cannot be anybody's.
    Nobodys,
}

impl Endpoints {
    /// Answers a sign-in, refresh or sign-out in another shape than SimpleJWT's.
    pub(super) async fn alias(
        &self,
        own: &OwnPathEntry,
        arrival: &Arrival,
        body: &Bytes,
    ) -> Served {
        match (&own.shape, own.own) {
            (Shape::DjangoSession(shape), OwnPath::Login) => {
                self.session_login(shape, own, arrival, body).await
            }
            (Shape::DjangoSession(shape), OwnPath::Logout) => {
                self.session_logout(shape, arrival).await
            }
            (Shape::Jwt(shape), OwnPath::Login) => self.jwt_login(shape, own, arrival, body).await,
            (Shape::Sliding(shape), OwnPath::Login) => {
                let made = self.sliding_login(shape, own, arrival, body).await;
                Served::of(made, arrival)
            }
            (Shape::Sliding(shape), OwnPath::Refresh) => {
                Served::of(self.sliding_refresh(shape, arrival, body).await, arrival)
            }
            (Shape::DjRestAuth(shape), OwnPath::Login) => {
                self.dj_rest_auth_login(shape, own, arrival, body).await
            }
            (Shape::DjRestAuth(shape), OwnPath::Refresh) => {
                let made = self.dj_rest_auth_refresh(shape, own, arrival, body).await;
                Served::of(made, arrival)
            }
            (Shape::DjRestAuth(shape), OwnPath::Logout) => {
                self.dj_rest_auth_logout(shape, arrival, body).await
            }
            // The configuration allows no other combination.
            _ => Served::refused(Refusal::Internal.into(), &arrival.request_id),
        }
    }

    async fn session_login(
        &self,
        shape: &SessionShape,
        own: &OwnPathEntry,
        arrival: &Arrival,
        body: &Bytes,
    ) -> Served {
        let said = (&shape.answers.missing, &shape.answers.refused);
        let grants = Grants { tokens: false, cookie: true, issued: None };
        let signed_in = match self.enter(said, own, arrival, body, grants).await {
            Ok(signed_in) => signed_in,
            Err(served) => return served,
        };
        let reply = stated(&shape.answers.success);
        let reply = match &signed_in.cookie {
            Some(value) => self.cookie.set(reply, Some(&shape.cookie), value, arrival),
            None => Err(Refusal::Internal),
        };
        let reply = reply.map(|reply| self.known_device(reply, &signed_in, arrival));
        let reply = reply.and_then(|reply| self.with_csrf_cookie(shape, reply));
        Served::of(reply.map_err(Refused::from), arrival)
    }

    async fn session_logout(&self, shape: &SessionShape, arrival: &Arrival) -> Served {
        // Such a view ignores the body.
        let ended = self.end(LogoutScope::Session, arrival, None).await;
        let mut served = match ended {
            Ok(true) => Served::reply(stated(&shape.answers.success)),
            Ok(false) => Served {
                reply: stated(&shape.answers.refused),
                refusal: Some(Refusal::NotAuthenticated),
            },
            Err(refused) => Served::refused(refused, &arrival.request_id),
        };
        if !keeps_cookie(&served) {
            served.reply = self.remove_brought_cookies(arrival, served.reply);
        }
        served
    }

    async fn jwt_login(
        &self,
        shape: &JwtShape,
        own: &OwnPathEntry,
        arrival: &Arrival,
        body: &Bytes,
    ) -> Served {
        let said = (&shape.missing, &shape.refused);
        let (issuer, lifetime) = (shape.issuer, shape.lifetime);
        let mint = Mint { issuer, lifetime, refresh_lifetime: std::time::Duration::ZERO };
        let grants = Grants { tokens: false, cookie: false, issued: Some(mint) };
        let signed_in = match self.enter(said, own, arrival, body, grants).await {
            Ok(signed_in) => signed_in,
            Err(served) => return served,
        };
        match &signed_in.issued {
            Some(token) => {
                let reply = Reply::json(StatusCode::OK, &json!({"token": token.expose()}));
                Served::reply(self.known_device(reply, &signed_in, arrival))
            }
            None => Served::refused(Refusal::Internal.into(), &arrival.request_id),
        }
    }

    /// Answers as SimpleJWT's `TokenObtainSlidingView`.
    async fn sliding_login(
        &self,
        shape: &SlidingShape,
        own: &OwnPathEntry,
        arrival: &Arrival,
        body: &Bytes,
    ) -> Result<Reply, Refused> {
        let fields = self.login_fields(arrival, body)?;
        let given = credentials(&fields, username_field(&fields, &own.username_fields))?;
        let grants = Grants { tokens: false, cookie: false, issued: Some(mint(shape)) };
        let signed_in = self.sign_in_at_alias(arrival, &given, grants).await?;
        let token = signed_in.issued.as_ref().ok_or(Refusal::Internal)?;
        let reply = Reply::json(StatusCode::OK, &json!({"token": token.expose()}));
        Ok(self.known_device(reply, &signed_in, arrival))
    }

    /// Answers as SimpleJWT's `TokenRefreshSlidingView`.
    async fn sliding_refresh(
        &self,
        shape: &SlidingShape,
        arrival: &Arrival,
        body: &Bytes,
    ) -> Result<Reply, Refused> {
        let token = self.token(arrival, body, "token")?;
        let token = self.issuers.slide(&mint(shape), token.expose(), &arrival.context()).await?;
        Ok(Reply::json(StatusCode::OK, &json!({"token": token.expose()})))
    }

    /// Signs in. A missing or wrong field gets the answer that the view gives to it.
    async fn enter(
        &self,
        (missing, wrong): (&AliasAnswer, &AliasAnswer),
        own: &OwnPathEntry,
        arrival: &Arrival,
        body: &Bytes,
        grants: Grants,
    ) -> Result<crate::session::SignedIn, Served> {
        let refused = |refused| Served::refused(refused, &arrival.request_id);
        let says = |answer, refusal| Served { reply: stated(answer), refusal: Some(refusal) };
        let fields = self.login_fields(arrival, body).map_err(refused)?;
        let field = username_field(&fields, &own.username_fields);
        let given = given(&fields, field).map_err(|lack| match lack {
            MissingCredential::Missing => says(missing, Refusal::BadBody),
            MissingCredential::Nobodys => says(wrong, Refusal::BadCredentials),
        })?;
        self.sign_in_at_alias(arrival, &given, grants).await.map_err(|why| match why.refusal {
            Refusal::BadCredentials => says(wrong, Refusal::BadCredentials),
            _ => refused(why),
        })
    }

    fn with_csrf_cookie(&self, shape: &SessionShape, reply: Reply) -> Result<Reply, Refusal> {
        let Some(name) = &shape.csrf_cookie else { return Ok(reply) };
        let value = csrf_token().map_err(|_| Refusal::Internal)?;
        let cookie = SetCookie::new(name, value.expose()).max_age(CSRF_MAX_AGE).http_only(false);
        let cookie = self.cookie.with_attributes(cookie);
        Ok(reply.with_header(SET_COOKIE, cookie.header().ok_or(Refusal::Internal)?))
    }
}

/// Returns name and password as such a view reads them: byte for byte, with an empty one counted as missing.
fn given<'f>(fields: &'f Fields, field: &str) -> Result<Credentials<'f>, MissingCredential> {
    let text = |name| {
        fields.text(name).map_err(|problem| match problem {
            FieldProblem::Required
            | FieldProblem::Null
            | FieldProblem::Blank
            | FieldProblem::NotAString
            | FieldProblem::NotABoolean => MissingCredential::Missing,
            FieldProblem::NullCharacters | FieldProblem::Surrogate(_) => MissingCredential::Nobodys,
        })
    };
    let (username, password) = match (text(field), text("password")) {
        (Ok(username), Ok(password)) => (username, password),
        (Err(MissingCredential::Missing), _) | (_, Err(MissingCredential::Missing)) => {
            return Err(MissingCredential::Missing);
        }
        (Err(lack), _) | (_, Err(lack)) => return Err(lack),
    };
    Ok(Credentials { username, password: Secret::new(password), is_typed: false, otp: otp(fields) })
}

const fn mint(shape: &SlidingShape) -> Mint {
    let SlidingShape { issuer, lifetime, refresh_lifetime } = *shape;
    Mint { issuer, lifetime, refresh_lifetime }
}

/// Returns the answer that the operator stated.
fn stated(answer: &AliasAnswer) -> Reply {
    let mut reply = Reply::empty(answer.status);
    if !answer.body.is_empty() {
        reply = reply.with_body("application/json", answer.body.clone());
    }
    if answer.status == StatusCode::UNAUTHORIZED {
        let challenge = HeaderValue::from_static("Bearer realm=\"api\"");
        reply.headers.insert(WWW_AUTHENTICATE, challenge);
    }
    reply
}

/// Returns 190 random bits in Django's alphabet.
fn csrf_token() -> Result<Secret, NoRandomness> {
    let mut token = String::with_capacity(CSRF_LENGTH);
    while token.len() < CSRF_LENGTH {
        // 248 is the largest multiple of 62 below 256: no letter is likelier than another.
        let fair = random_bytes::<64>()?.into_iter().filter(|byte| *byte < 248);
        let letters = fair.filter_map(|byte| CSRF_ALPHABET.get(usize::from(byte % 62)));
        token.extend(letters.take(CSRF_LENGTH - token.len()).copied().map(char::from));
    }
    Ok(Secret::new(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lack(body: &str) -> Option<MissingCredential> {
        let json = HeaderValue::from_static("application/json");
        given(&Fields::parse(Some(&json), body.as_bytes()).unwrap(), "username").err()
    }

    #[test]
    fn what_such_a_view_takes_for_missing_is_missing() {
        for body in [
            "{}",
            r#"{"username": "kim"}"#,
            r#"{"password": "pw"}"#,
            r#"{"username": "kim", "password": ""}"#,
            r#"{"username": null, "password": "pw"}"#,
            r#"{"username": [], "password": {}}"#,
            r#"{"username": "a\u0000b", "password": ""}"#,
        ] {
            assert_eq!(lack(body), Some(MissingCredential::Missing), "{body}");
        }
        for body in [
            r#"{"username": "a\u0000b", "password": "pw"}"#,
            r#"{"username": "\ud800", "password": "p"}"#,
        ] {
            assert_eq!(lack(body), Some(MissingCredential::Nobodys), "{body}");
        }
        for body in [
            r#"{"username": " kim ", "password": " "}"#,
            r#"{"username": 1, "password": 2.5, "a": []}"#,
        ] {
            assert_eq!(lack(body), None, "{body}");
        }
    }

    #[test]
    fn neither_name_nor_password_is_trimmed() {
        let fields = Fields::parse(
            Some(&HeaderValue::from_static("application/x-www-form-urlencoded")),
            b"username=+kim+&password=+pw",
        );
        let fields = fields.unwrap();
        let given = given(&fields, "username").unwrap();
        assert_eq!((given.username, given.password.expose()), (" kim ", " pw"));
    }

    #[test]
    fn an_answer_is_what_was_stated_word_for_word() {
        let reply = stated(&AliasAnswer::new(StatusCode::OK, r#"{ "ok": true }"#));
        assert_eq!(reply.headers["content-type"], "application/json");
        assert_eq!(&reply.body[..], br#"{ "ok": true }"#);
        let reply = stated(&AliasAnswer::new(StatusCode::FORBIDDEN, ""));
        assert!(reply.body.is_empty() && !reply.headers.contains_key("content-type"));
        assert!(!reply.headers.contains_key(WWW_AUTHENTICATE));
        let reply = stated(&AliasAnswer::new(StatusCode::UNAUTHORIZED, ""));
        assert_eq!(reply.headers[WWW_AUTHENTICATE], "Bearer realm=\"api\"");
    }

    #[test]
    fn a_csrf_token_is_as_django_writes_it() {
        let (one, two) = (csrf_token().unwrap(), csrf_token().unwrap());
        for token in [&one, &two] {
            assert_eq!(token.expose().len(), 32);
            assert!(token.expose().bytes().all(|byte| byte.is_ascii_alphanumeric()));
        }
        assert_ne!(one.expose(), two.expose());
    }

    #[test]
    fn a_get_is_not_for_an_alias_that_has_no_page() {
        let shape = SessionShape {
            cookie: "sessionid".into(),
            csrf_cookie: None,
            answers: crate::config::AliasAnswers::of_session_login(),
        };
        let own = OwnPathEntry {
            path: crate::wire::path::PathPattern::default(),
            own: OwnPath::Login,
            rotation: crate::config::RotationPolicy::default(),
            extra: crate::config::Members::default(),
            shape: Shape::DjangoSession(Box::new(shape)),
            is_alias: true,
            username_fields: vec!["username".into()],
        };
        assert_eq!(super::super::methods(&own), [http::Method::POST]);
    }
}
