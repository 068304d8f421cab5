//! Aliases that answer as dj-rest-auth does: `shape = "dj-rest-auth"`.
//!
//! Its sign-in sets the access and the refresh token as cookies and describes the user. If scripts cannot read the cookies
//! (`http_only`), the body's `refresh` is the empty string. Its refresh reads the token from its cookie if the body has
//! none, and its sign-out removes both cookies. Tokens, rotation and sessions are the gateway's own.
//!
//! Intended differences:
//! - What a cookie authenticates must come from our own site. dj-rest-auth requires it with `JWT_AUTH_COOKIE_USE_CSRF` only.
//! - Cookies are `Secure` unless `session.danger_plain_http_cookies` says otherwise, have `session.same_site`, and have
//!   `Max-Age` instead of `Expires`.
//! - A sign-out that does not show whose session it is (the access token has expired, and there is no refresh token) is 401,
//!   as in dj-rest-auth with the blacklist, and removes the cookies: the session may live on with whoever has a copy.

use bytes::Bytes;
use http::StatusCode;
use http::header::SET_COOKIE;
use serde_json::{Map, Value, json};

use super::credentials::live;
use super::login::{credentials, username_field};
use super::logout::{LogoutScope, keeps_cookie};
use super::refused::Refused;
use super::{Endpoints, Served, input};
use crate::clock::Timestamp;
use crate::config::{DjRestAuthShape, OwnPathEntry};
use crate::event::EndReason;
use crate::issuer::RefreshSubject;
use crate::refusal::Refusal;
use crate::secret::Secret;
use crate::session::cookies::CookieNames;
use crate::session::{Grants, TokenPair};
use crate::store::SessionSelection;
use crate::wire::arrival::Arrival;
use crate::wire::body::FieldProblem;
use crate::wire::cookie::SetCookie;
use crate::wire::reply::Reply;

impl Endpoints {
    pub(super) async fn dj_rest_auth_login(
        &self,
        shape: &DjRestAuthShape,
        own: &OwnPathEntry,
        arrival: &Arrival,
        body: &Bytes,
    ) -> Served {
        let made = self.dj_rest_auth_sign_in(shape, own, arrival, body).await;
        match made {
            Err(refused) if refused.refusal == Refusal::BadCredentials => Served {
                reply: Reply::json(
                    StatusCode::BAD_REQUEST,
                    &json!({"non_field_errors": ["Unable to log in with provided credentials."]}),
                ),
                refusal: Some(Refusal::BadCredentials),
            },
            made => Served::of(made, arrival),
        }
    }

    async fn dj_rest_auth_sign_in(
        &self,
        shape: &DjRestAuthShape,
        own: &OwnPathEntry,
        arrival: &Arrival,
        body: &Bytes,
    ) -> Result<Reply, Refused> {
        let fields = self.login_fields(arrival, body)?;
        let given = credentials(&fields, username_field(&fields, &own.username_fields))?;
        // Otherwise the cookies would sign in a visitor of another site's page.
        if !self.may_set_cookie(arrival) {
            return Err(Refusal::CrossSite.into());
        }
        // The lookup comes first: if it fails, nothing has begun yet.
        let old = match shape.refresh_of(arrival) {
            Some(token) => {
                live(self.issuers.held_by_refresh(token, arrival.at, &arrival.events).await)?
            }
            None => None,
        };
        let grants = Grants { tokens: true, cookie: false, issued: None };
        let signed_in = self.sign_in_at_alias(arrival, &given, grants).await?;
        if let Some(RefreshSubject::Session { session, .. }) = old {
            let which = SessionSelection::Session(session.id.clone());
            self.issuers
                .sessions()
                .end(&which, EndReason::Replaced, arrival.at, &arrival.events)
                .await?;
        }
        let pair = signed_in.tokens.as_ref().ok_or(Refusal::Internal)?;
        let mut user = Map::new();
        shape.user.add_to(&mut user, &signed_in.session.identity.load());
        let refresh = pair.refresh.as_ref().filter(|_| !shape.http_only);
        let mut members = Map::new();
        let mut say = |name: &str, value: Value| drop(members.insert(name.to_owned(), value));
        say("access", pair.access.expose().into());
        say("refresh", refresh.map_or("", Secret::expose).into());
        say("user", user.into());
        if shape.expiration {
            say("access_expiration", date(arrival.at.plus(pair.access_expires_in)));
            say("refresh_expiration", date(arrival.at.plus(pair.refresh_expires_in)));
        }
        let members = Value::Object(members);
        let reply = self.with_tokens(shape, pair, Reply::json(StatusCode::OK, &members))?;
        Ok(self.known_device(reply, &signed_in, arrival))
    }

    pub(super) async fn dj_rest_auth_refresh(
        &self,
        shape: &DjRestAuthShape,
        own: &OwnPathEntry,
        arrival: &Arrival,
        body: &Bytes,
    ) -> Result<Reply, Refused> {
        if input::is_form(arrival) {
            input::same_site(arrival, &self.trusted_origins)?;
        }
        let fields = input::fields(arrival, body)?;
        let token = match fields.trimmed("refresh") {
            Ok(token) => token,
            Err(FieldProblem::Required | FieldProblem::Blank) => {
                let missing = || {
                    Refused::with_detail(Refusal::TokenNotValid, "No valid refresh token found.")
                };
                let token = shape.refresh_of(arrival).ok_or_else(missing)?;
                input::same_site(arrival, &self.trusted_origins)?;
                token
            }
            Err(problem) => return Err(Refused::field("refresh", problem)),
        };
        let context = &arrival.context();
        let pair = self.issuers.refresh(token, own.rotation, context).await?;
        let mut members = Map::new();
        let mut say = |name: &str, value: Value| drop(members.insert(name.to_owned(), value));
        say("access", pair.access.expose().into());
        say("access_expiration", date(arrival.at.plus(pair.access_expires_in)));
        if let Some(refresh) = pair.refresh.as_ref().filter(|_| !shape.http_only) {
            say("refresh", refresh.expose().into());
            say("refresh_expiration", date(arrival.at.plus(pair.refresh_expires_in)));
        }
        let members = Value::Object(members);
        self.with_tokens(shape, &pair, Reply::json(StatusCode::OK, &members))
    }

    pub(super) async fn dj_rest_auth_logout(
        &self,
        shape: &DjRestAuthShape,
        arrival: &Arrival,
        body: &Bytes,
    ) -> Served {
        let ended = self.dj_rest_auth_end(shape, arrival, body).await;
        let mut served = match ended {
            Ok(()) => {
                let text = json!({"detail": "Successfully logged out."});
                Served::reply(Reply::json(StatusCode::OK, &text))
            }
            Err(refused) if refused.refusal.status() == StatusCode::UNAUTHORIZED => {
                let text = json!({"detail": "Refresh token was not included in cookie data."});
                let reply = Reply::json(StatusCode::UNAUTHORIZED, &text);
                Served { reply, refusal: Some(refused.refusal) }
            }
            Err(refused) => Served::refused(refused, &arrival.request_id),
        };
        if !keeps_cookie(&served) {
            for name in shape.cookies() {
                served.reply = self.cookie.removed(served.reply, name);
            }
            served.reply = self.remove_brought_cookies(arrival, served.reply);
        }
        served
    }

    async fn dj_rest_auth_end(
        &self,
        shape: &DjRestAuthShape,
        arrival: &Arrival,
        body: &Bytes,
    ) -> Result<(), Refused> {
        let fields = self.logout_fields(arrival, body)?;
        let refresh = match fields.trimmed("refresh") {
            Ok(token) => Some(token),
            Err(FieldProblem::Required | FieldProblem::Blank | FieldProblem::Null) => {
                let is_same_site = input::same_site(arrival, &self.trusted_origins).is_ok();
                shape.refresh_of(arrival).filter(|_| is_same_site)
            }
            Err(problem) => return Err(Refused::field("refresh", problem)),
        };
        self.end(LogoutScope::Session, arrival, refresh).await.map(drop)
    }

    /// Returns the reply, which sets both tokens as cookies. A refresh token that stays valid is not set again.
    fn with_tokens(
        &self,
        shape: &DjRestAuthShape,
        pair: &TokenPair,
        mut reply: Reply,
    ) -> Result<Reply, Refused> {
        let access = Some((&pair.access, pair.access_expires_in));
        let refresh = pair.refresh.as_ref().map(|token| (token, pair.refresh_expires_in));
        for (name, token) in [(&shape.access_cookie, access), (&shape.refresh_cookie, refresh)] {
            let (Some(name), Some((token, good_for))) = (name, token) else { continue };
            let cookie = SetCookie::new(name, token.expose()).max_age(good_for);
            let cookie = self.cookie.with_attributes(cookie.http_only(shape.http_only));
            let mut header = cookie.header().ok_or(Refusal::Internal)?;
            header.set_sensitive(true);
            reply = reply.with_header(SET_COOKIE, header);
        }
        Ok(reply)
    }
}

impl DjRestAuthShape {
    /// Returns the refresh token of the request's cookie.
    fn refresh_of<'h>(&self, arrival: &'h Arrival) -> Option<&'h str> {
        let value = CookieNames::theirs(&arrival.headers, self.refresh_cookie.as_deref()?)?;
        str::from_utf8(value).ok()
    }
}

/// Returns a time as Django REST framework writes it.
fn date(at: Timestamp) -> Value {
    let millis = i64::try_from(at.as_millis()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(millis).map_or(Value::Null, |at| format!("{at:.6}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_as_rest_framework_writes_it() {
        let at = Timestamp::from_millis(1_795_960_068_120);
        assert_eq!(date(at), json!("2026-11-29T13:47:48.120000Z"));
    }
}
