//! `POST /login` and its page.
//!
//! A sign-in is answered in three ways: JSON gets JSON, the page's form gets a redirect to its checked `next`, and the form
//! of a program, which SimpleJWT accepts too, gets JSON. Field errors are SimpleJWT's, with `code` and `request_id` added.
//! At an alias, bodies have exactly SimpleJWT's members: a strict front end accepts no others.
//!
//! Intended differences from SimpleJWT:
//! - White space around a **user name** is removed, as SimpleJWT and Django's own form do. A **password** is taken byte
//!   for byte: one with spaces at its ends, which SimpleJWT cannot sign in with, works here, and one without does not
//!   match with spaces added.
//! - A password of more than 1024 bytes is refused before anything is hashed; so is a control character in a name.
//! - Members that occur twice, and deep nesting, are refused (`wire::body`).
//!
//! A browser that signs in again brings the cookie of its old session. That session ends once the new one exists, and its
//! id is never reused.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::credentials::live;
use super::factor_texts::FactorTexts;
use super::page::LoginPage;
use super::passkey_page::PasskeyButton;
use super::refused::{FieldErrors, Refused};
use super::texts::Texts;
use super::{Endpoints, Served, input};
use crate::config::{Issues, OwnPathEntry};
use crate::event::EndReason;
use crate::refusal::Refusal;
use crate::secret::Secret;
use crate::session::{Grants, SignIn, SignedIn, TokenPair};
use crate::store::{Session, SessionSelection};
use crate::wire::accept::Language;
use crate::wire::arrival::Arrival;
use crate::wire::body::{FieldProblem, Fields};
use crate::wire::next::Next;
use crate::wire::reply::Reply;
use crate::wire::scheme::Scheme;

/// The name of the field with the user name, unless the configuration names another.
const USERNAME: &str = "username";

/// The most bytes of a user name or a password.
const MAX_BYTES: usize = 1024;

/// A user name and a password.
pub(super) struct Credentials<'a> {
    pub(super) username: &'a str,
    pub(super) password: Secret,
    /// Whether the name was typed into the page.
    pub(super) is_typed: bool,
    /// The code of a second factor, if the request contains one.
    pub(super) otp: Option<Secret>,
}

impl Endpoints {
    /// Answers `GET /login`: with the page, or with a redirect to `next` if a signed-in user was not just sent back from there.
    pub(super) async fn login_page(&self, own: &OwnPathEntry, arrival: &Arrival) -> Served {
        let next = next_of_query(arrival.target.query());
        let page = self.page(own, arrival, &next, "");
        let Ok(cookies) = self.cookie.read(&arrival.headers) else {
            // The page is shown all the same: it is where the user gets a new cookie once this one is removed.
            return Served::reply(self.remove_cookies(arrival, page.reply()));
        };
        for value in cookies {
            let session = self.issuers.sessions().cookie(
                value,
                arrival.client_ip(),
                arrival.at,
                &arrival.events,
            );
            match live(session.await) {
                // The user has to sign in again; a redirect would send them back and forth.
                Ok(Some(session))
                    if self.issuers.sessions().blocks().may_use(&session, arrival.at).is_err() => {}
                Ok(Some(session)) if self.sent_back.is_back(&session.id, &next, arrival.at) => {
                    let name = session.identity.load().name.clone();
                    return Served::reply(page.for_whom_it_is_not_enough(&name));
                }
                Ok(Some(_)) => return Served::reply(Reply::see_other(&next.location())),
                Ok(None) => {}
                Err(refusal) => {
                    return Served {
                        reply: page.with_problem(&refusal.into(), &arrival.request_id),
                        refusal: Some(refusal),
                    };
                }
            }
        }
        Served::reply(page.reply())
    }

    /// Answers `POST /login`.
    pub(super) async fn login(
        &self,
        own: &OwnPathEntry,
        arrival: &Arrival,
        body: &Bytes,
    ) -> Served {
        let wants_page = input::is_page_form(arrival);
        let fields = match self.login_fields(arrival, body) {
            Ok(fields) => fields,
            Err(refused) if wants_page => {
                let page = self
                    .page(own, arrival, &Next::default(), "")
                    .with_problem(&refused, &arrival.request_id);
                return Served { reply: page, refusal: Some(refused.refusal) };
            }
            Err(refused) => return Served::refused(refused, &arrival.request_id),
        };
        let issues = if wants_page { Issues::Cookie } else { self.issues };
        // A front end on another site may get tokens, but a cookie would sign in the browser of its visitor.
        let may_set_cookie = self.may_set_cookie(arrival);
        let grants = Grants {
            tokens: issues != Issues::Cookie,
            cookie: issues != Issues::Tokens && may_set_cookie,
            issued: None,
        };
        let field = username_field(&fields, &own.username_fields);
        let signed_in = match credentials(&fields, field) {
            Ok(_) if issues == Issues::Cookie && !may_set_cookie => Err(Refusal::CrossSite.into()),
            Ok(given) => {
                let given = Credentials { is_typed: wants_page, ..given };
                match own.is_alias {
                    true => self.sign_in_at_alias(arrival, &given, grants).await,
                    false => self.sign_in(arrival, &given, grants).await,
                }
            }
            Err(refused) => Err(refused),
        };
        let answer = signed_in.and_then(|signed_in| {
            let next = wants_page.then(|| next_of_form(&fields));
            self.signed_in(arrival, &signed_in, next.as_ref(), own)
        });
        match answer {
            Ok(reply) => Served::reply(reply),
            Err(refused) if wants_page => {
                let (next, username) =
                    (next_of_form(&fields), fields.trimmed(field).unwrap_or_default());
                let ticket = refused.ticket.as_deref();
                if let Some(due) = ticket.and_then(|one| self.due_page(arrival, one, &next, None)) {
                    return Served { refusal: Some(refused.refusal), ..due };
                }
                let page = LoginPage {
                    link: self.link_offer(&refused, username, arrival).await,
                    ..self.page(own, arrival, &next, username)
                };
                let reply = page.with_problem(&refused, &arrival.request_id);
                Served { reply, refusal: Some(refused.refusal) }
            }
            Err(refused) => {
                let username = fields.trimmed(field).unwrap_or_default();
                let offer = self.link_offer(&refused, username, arrival).await;
                let refused = match offer.filter(|_| !own.is_alias) {
                    Some(offer) => refused.with_member("mailed_link", offer.path.into()),
                    None => refused,
                };
                Served::refused(refused, &arrival.request_id)
            }
        }
    }

    /// Whether the browser will drop the session cookie, which is `Secure`: over plain HTTP, browsers store such cookies for
    /// this machine's own names only.
    fn loses_cookies(&self, arrival: &Arrival) -> bool {
        let lost =
            self.cookie.is_secure() && arrival.scheme == Scheme::Http && !arrival.host.is_local();
        if lost && !self.has_warned_of_plain_http.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                host = %arrival.host,
                "somebody signs in over plain HTTP, where browsers drop the session cookie: use listen.https, list the proxy \
                 that ends TLS in trusted_proxies.networks, or set session.danger_plain_http_cookies"
            );
        }
        lost
    }

    /// Whether the sender is our own page, a listed origin, or no browser. The origins that may send the cookie are listed, and
    /// those that may read answers.
    pub(super) fn may_set_cookie(&self, arrival: &Arrival) -> bool {
        input::same_site(arrival, &self.trusted_origins).is_ok()
            || self.cors.lists(&arrival.headers)
    }

    /// Returns the fields of a sign-in.
    pub(super) fn login_fields(&self, arrival: &Arrival, body: &Bytes) -> Result<Fields, Refused> {
        if input::is_form(arrival) {
            input::same_site(arrival, &self.trusted_origins)?;
        }
        input::fields(arrival, body)
    }

    /// Signs in. The session that the request came with ends if its cookie is replaced.
    pub(super) async fn sign_in(
        &self,
        arrival: &Arrival,
        given: &Credentials<'_>,
        grants: Grants,
    ) -> Result<SignedIn, Refused> {
        let old = self.brought_sessions(arrival, grants).await?;
        let request = SignIn {
            is_typed: given.is_typed,
            username: given.username,
            password: &given.password,
            grants,
            device: self.issuers.sessions().cookie_names().device_of(&arrival.headers),
            otp: given.otp.as_ref(),
        };
        let signed_in = self.issuers.sessions().sign_in(request, &arrival.context()).await?;
        self.end_replaced(arrival, old).await?;
        Ok(signed_in)
    }

    /// Returns the sessions of the browser that signs in, if it gets another cookie. They are looked up first: if that fails,
    /// nothing has begun yet.
    pub(super) async fn brought_sessions(
        &self,
        arrival: &Arrival,
        grants: Grants,
    ) -> Result<Vec<Arc<Session>>, Refused> {
        let mut old = Vec::new();
        for value in self.cookie.read(&arrival.headers)? {
            if grants.cookie {
                let session = self.issuers.sessions().cookie(
                    value,
                    arrival.client_ip(),
                    arrival.at,
                    &arrival.events,
                );
                old.extend(live(session.await)?);
            }
        }
        Ok(old)
    }

    /// Ends the replaced sessions, once the new one exists.
    pub(super) async fn end_replaced(
        &self,
        arrival: &Arrival,
        old: Vec<Arc<Session>>,
    ) -> Result<(), Refused> {
        for old in old {
            let which = SessionSelection::Session(old.id.clone());
            self.issuers
                .sessions()
                .end(&which, EndReason::Replaced, arrival.at, &arrival.events)
                .await?;
        }
        Ok(())
    }

    /// Returns the answer to a sign-in: a redirect to `next`, or JSON.
    pub(super) fn signed_in(
        &self,
        arrival: &Arrival,
        signed_in: &SignedIn,
        next: Option<&Next>,
        own: &OwnPathEntry,
    ) -> Result<Reply, Refused> {
        let reply = match next {
            Some(next) => Reply::see_other(&next.location()),
            None => {
                let mut body = tokens(signed_in.tokens.as_ref(), own.is_alias);
                if let Value::Object(members) = &mut body {
                    own.extra.add_to(members, &signed_in.session.identity.load());
                }
                Reply::json(StatusCode::OK, &body)
            }
        };
        self.with_cookies(arrival, signed_in, reply)
    }

    /// Returns the reply to a sign-in, with its cookies.
    pub(super) fn with_cookies(
        &self,
        arrival: &Arrival,
        signed_in: &SignedIn,
        reply: Reply,
    ) -> Result<Reply, Refused> {
        let reply = self.known_device(reply, signed_in, arrival);
        Ok(match &signed_in.cookie {
            Some(value) => self.cookie.set(reply, None, value, arrival)?,
            None => reply,
        })
    }

    /// Returns the login page, after a second step that cannot go on.
    pub(super) fn login_again(&self, arrival: &Arrival, next: &Next, refused: &Refused) -> Served {
        let language = Language::negotiate(&arrival.headers);
        let page = LoginPage {
            title: &self.title,
            links: &self.links,
            action: self.login_path.as_deref().unwrap_or("/login"),
            next,
            field: USERNAME,
            username: "",
            insecure: false,
            texts: Texts::of(language),
            passkey: self.passkey_button(next, language),
            link: None,
        };
        let problem = FactorTexts::of(language).problem(refused.refusal);
        let reply = page.with_message(refused, problem, &arrival.request_id);
        Served { reply, refusal: Some(refused.refusal) }
    }

    /// Returns the reply to a sign-in, which sets the device cookie. A page of another site must not have it set.
    pub(super) fn known_device(
        &self,
        reply: Reply,
        signed_in: &SignedIn,
        arrival: &Arrival,
    ) -> Reply {
        match self.may_set_cookie(arrival) {
            true => self.cookie.set_device(reply, signed_in.device.as_ref()),
            false => reply,
        }
    }

    fn page<'a>(
        &'a self,
        own: &'a OwnPathEntry,
        arrival: &'a Arrival,
        next: &'a Next,
        username: &'a str,
    ) -> LoginPage<'a> {
        let language = Language::negotiate(&arrival.headers);
        LoginPage {
            title: &self.title,
            links: &self.links,
            // The path that was requested: an alias may have `*` in its own.
            action: arrival.target.path().as_str(),
            next,
            field: own.username_fields.first().map_or(USERNAME, String::as_str),
            username,
            insecure: self.loses_cookies(arrival),
            texts: Texts::of(language),
            passkey: self.passkey_button(next, language),
            link: None,
        }
    }

    /// Returns the button that signs in with a passkey, if passkeys are turned on.
    fn passkey_button<'a>(
        &'a self,
        next: &'a Next,
        language: Language,
    ) -> Option<PasskeyButton<'a>> {
        let (path, script) = (self.passkey_path.as_deref()?, self.passkey_script.as_deref()?);
        Some(PasskeyButton::sign_in(path, next.as_str(), script, language))
    }
}

/// Returns the tokens as JSON; `{}` if there are none. At an alias for SimpleJWT, their lifetimes are left out.
pub(super) fn tokens(pair: Option<&TokenPair>, is_alias: bool) -> Value {
    let mut members = Map::new();
    let Some(pair) = pair else { return Value::Object(members) };
    members.insert("access".into(), json!(pair.access.expose()));
    // With a refresh token that stays valid, the answer has the access token alone, as SimpleJWT without rotation.
    if let Some(refresh) = &pair.refresh {
        members.insert("refresh".into(), json!(refresh.expose()));
        if !is_alias {
            members.insert("token_type".into(), json!("Bearer"));
            members.insert("expires_in".into(), json!(pair.access_expires_in.as_secs()));
            members.insert("refresh_expires_in".into(), json!(pair.refresh_expires_in.as_secs()));
        }
    }
    Value::Object(members)
}

/// Returns the field that has the user name: the first of `names` that is present, or else the first.
pub(super) fn username_field<'n>(fields: &Fields, names: &'n [String]) -> &'n str {
    let is_there = |name: &&String| fields.text(name) != Err(FieldProblem::Required);
    names.iter().find(is_there).or(names.first()).map_or(USERNAME, String::as_str)
}

/// Returns name and password, or everything that is wrong with them.
pub(super) fn credentials<'f>(fields: &'f Fields, field: &str) -> Result<Credentials<'f>, Refused> {
    let mut errors = FieldErrors::default();
    let username = fields.trimmed(field).map_err(|problem| errors.add(field, problem));
    let password = fields.text("password").map_err(|problem| errors.add("password", problem));
    for (field, text) in [(field, username), ("password", password)] {
        if text.is_ok_and(|text| text.len() > MAX_BYTES) {
            errors.add_text(field, "Ensure this field has no more than 1024 characters.");
        }
    }
    if username.is_ok_and(|text| text.contains(char::is_control)) {
        errors.add_text(field, "Control characters are not allowed.");
    }
    match (username, password) {
        (Ok(username), Ok(password)) if errors.is_empty() => {
            let otp = otp(fields);
            Ok(Credentials { username, password: Secret::new(password), is_typed: false, otp })
        }
        _ => Err(errors.refused()),
    }
}

/// Returns the code of a second factor, if there is one.
pub(super) fn otp(fields: &Fields) -> Option<Secret> {
    fields.trimmed("otp").ok().filter(|otp| !otp.is_empty()).map(Secret::new)
}

pub(super) fn next_of_form(fields: &Fields) -> Next {
    fields.text("next").ok().and_then(Next::parse).unwrap_or_default()
}

/// Returns the `next` of a query. If there are two, neither counts.
pub(super) fn next_of_query(query: Option<&str>) -> Next {
    let pairs = form_urlencoded::parse(query.unwrap_or_default().as_bytes());
    let mut found =
        pairs.filter(|(name, _)| name == "next").map(|(_, value): (_, Cow<'_, str>)| value);
    match (found.next(), found.next()) {
        (Some(next), None) => Next::parse(&next).unwrap_or_default(),
        _ => Next::default(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::HeaderValue;

    use super::*;

    const REQUIRED: &str = "This field is required.";
    const JSON: HeaderValue = HeaderValue::from_static("application/json");

    fn given(body: &str) -> Result<(String, String), Value> {
        let fields = Fields::parse(Some(&JSON), body.as_bytes()).unwrap();
        match credentials(&fields, USERNAME) {
            Ok(given) => Ok((given.username.into(), given.password.expose().into())),
            Err(refused) => {
                assert_eq!(refused.refusal, Refusal::BadBody);
                Err(Value::Object(refused.members))
            }
        }
    }

    #[test]
    fn the_name_is_trimmed_and_the_password_is_not() {
        for (body, username, password) in [
            (r#"{"username": "kim", "password": "pw", "more": []}"#, "kim", "pw"),
            (r#"{"username": 1, "password": 2.5}"#, "1", "2.5"),
            (r#"{"username": "  kim ", "password": "  pw "}"#, "kim", "  pw "),
            (r#"{"username": "김민정", "password": "\u00e9\n"}"#, "김민정", "\u{e9}\n"),
            (r#"{"username": "kim", "password": "   "}"#, "kim", "   "),
        ] {
            assert_eq!(given(body), Ok((username.into(), password.into())), "{body}");
        }
    }

    #[test]
    fn the_field_is_called_as_the_service_calls_it() {
        let names = ["email".to_owned(), "phone".to_owned()];
        for (body, expected) in [
            (r#"{"email": "k@a.b", "password": "pw"}"#, Ok("k@a.b")),
            (r#"{"phone": "1", "password": "pw"}"#, Ok("1")),
            (r#"{"phone": "1", "email": "k@a.b", "password": "pw"}"#, Ok("k@a.b")),
            (r#"{"username": "kim", "password": "pw"}"#, Err(json!({"email": [REQUIRED]}))),
            (
                r#"{"phone": null, "password": "pw"}"#,
                Err(json!({"phone": ["This field may not be null."]})),
            ),
        ] {
            let fields = Fields::parse(Some(&JSON), body.as_bytes()).unwrap();
            let given = credentials(&fields, username_field(&fields, &names));
            let given = given.map(|given| given.username.to_owned());
            let given = given.map_err(|refused| Value::Object(refused.members));
            assert_eq!(given, expected.map(str::to_owned), "{body}");
        }
    }

    #[test]
    fn field_errors_are_those_of_simplejwt() {
        for (body, errors) in [
            (r#"{"username": "kim"}"#, json!({"password": [REQUIRED]})),
            ("{}", json!({"username": [REQUIRED], "password": [REQUIRED]})),
            (
                r#"{"username": "", "password": ""}"#,
                json!({
                    "username": ["This field may not be blank."],
                    "password": ["This field may not be blank."],
                }),
            ),
            (
                r#"{"username": null, "password": null}"#,
                json!({
                    "username": ["This field may not be null."],
                    "password": ["This field may not be null."],
                }),
            ),
            (
                r#"{"username": [], "password": {"a": 1}}"#,
                json!({"username": ["Not a valid string."], "password": ["Not a valid string."]}),
            ),
            (
                r#"{"username": "a\u0000", "password": "p"}"#,
                json!({"username": ["Null characters are not allowed."]}),
            ),
            (
                r#"{"username": "kim", "password": "\ud800"}"#,
                json!({"password": ["Surrogate characters are not allowed: U+D800."]}),
            ),
        ] {
            assert_eq!(given(body), Err(errors), "{body}");
        }
    }

    #[test]
    fn what_no_account_has_is_refused_before_it_costs_anything() {
        let long = "a".repeat(MAX_BYTES + 1);
        let too_long = "Ensure this field has no more than 1024 characters.";
        assert_eq!(
            given(&json!({"username": long, "password": long}).to_string()),
            Err(json!({"username": [too_long], "password": [too_long]}))
        );
        assert!(
            given(&json!({"username": "kim", "password": "a".repeat(MAX_BYTES)}).to_string())
                .is_ok()
        );
        assert_eq!(
            given(r#"{"username": "a\u001bb", "password": "p"}"#),
            Err(json!({"username": ["Control characters are not allowed."]}))
        );
    }

    #[test]
    fn next_is_one_path_on_this_host_or_the_start_page() {
        for (query, next) in [
            (None, "/"),
            (Some(""), "/"),
            (Some("next=%2Fapp%3Fa%3D1"), "/app?a=1"),
            (Some("x=1&next=/app"), "/app"),
            (Some("next=https://evil.example/"), "/"),
            (Some("next=//evil.example"), "/"),
            (Some("next=%2F%5Cevil.example"), "/"),
            (Some("next=/a&next=/b"), "/"),
            (Some("NEXT=/a"), "/"),
        ] {
            assert_eq!(next_of_query(query).as_str(), next, "{query:?}");
        }
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        for (body, next) in [("next=%2Fapp", "/app"), ("next=//evil.example", "/"), ("a=1", "/")] {
            assert_eq!(
                next_of_form(&Fields::parse(Some(&form), body.as_bytes()).unwrap()).as_str(),
                next
            );
        }
    }

    #[test]
    fn tokens_have_the_shape_of_simplejwt_and_more() {
        let pair = TokenPair {
            access: Secret::new("a"),
            access_expires_in: Duration::from_secs(300),
            refresh: Some(Secret::new("r")),
            refresh_expires_in: Duration::from_secs(1_209_600),
        };
        assert_eq!(
            tokens(Some(&pair), false),
            json!({
                "access": "a",
                "refresh": "r",
                "token_type": "Bearer",
                "expires_in": 300,
                "refresh_expires_in": 1_209_600,
            })
        );
        assert_eq!(tokens(Some(&pair), true), json!({"access": "a", "refresh": "r"}));
        let kept = TokenPair { refresh: None, ..pair };
        assert_eq!(tokens(Some(&kept), false), json!({"access": "a"}));
        assert_eq!(tokens(None, false), json!({}));
    }
}
