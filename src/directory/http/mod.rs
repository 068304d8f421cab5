//! Signs users in at any application with a login form: the gateway posts the form itself, and interprets the response.
//!
//! **The application decides**, by its own rules, with its own second factors and locks; nothing in it changes. So the
//! gateway learns about a user only when they sign in: a user cannot be looked up before that, or again later. An operator
//! who disables a user there ends their sessions here too (`doorwarden session end`), or lets the application report it
//! through the identity form `cookies`.
//!
//! **Identity.** Without a pointer to an id, it is the typed name without white space at its ends. If an application treats
//! `Kim` as `kim`, the gateway has two users for its one, which is what `casefold` is for; it is off by default, because the
//! opposite error would take one person for another.
//!
//! **What is sent** is what a browser would send: first a request for the page if the form has a token, then the form, with
//! the page's cookies, `Origin` and `Referer`. Redirects are read and never followed, no proxy of the environment is used,
//! and at most 1 MiB of a response is read. The client's address is sent as `X-Forwarded-For`, so that the application's
//! limits count the client and not the gateway. Each sign-in has its own connection, because a reused one that the
//! application has just closed would fail the sign-in.
//!
//! **What is logged** of a failed exchange: a status, a path, a reason. Never a body, a query or a header.

mod answer;
mod page;

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::header::{ACCEPT, CONTENT_TYPE, COOKIE, ORIGIN, REFERER, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use serde_json::{Map, Value};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use self::answer::LoginAnswer;
use super::{Account, DirectoryError, LoginService, PasswordAttempt, PasswordVerdict};
use crate::caller::{Identity, UserKey};
use crate::clock::Timestamp;
use crate::config::{
    AnswerRules, Csrf, CsrfToken, HttpDirectorySettings as Settings, LoginEncoding,
};
use crate::secret::Secret;
use crate::wire::jar::Jar;

const MAX_BODY: usize = 1024 * 1024;
/// The most concurrent sign-outs: a thousand sessions that end together wait for each other, and never delay a sign-in.
const SIGN_OUTS: usize = 4;
const MAX_CONNECT: Duration = Duration::from_secs(3);
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// A stored password that matches nothing, since the gateway does not know any.
const NO_PASSWORD: &str = "!";

/// The directory of an application with a login form.
pub struct HttpDirectory {
    name: String,
    settings: Settings,
    client: Client,
    places: Semaphore,
    ways_out: Semaphore,
}

/// The request of one exchange.
struct SentForm<'a> {
    method: Method,
    url: &'a Uri,
    headers: HeaderMap,
    body: Option<String>,
    at: Timestamp,
}

impl HttpDirectory {
    /// Makes the directory without sending anything yet.
    ///
    /// # Errors
    /// If no client can be made, because the system's certificates cannot be read.
    pub fn new(name: &str, settings: &Settings) -> Result<Self, DirectoryError> {
        let client = Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .referer(false)
            .http1_only()
            .pool_max_idle_per_host(0)
            .connect_timeout(settings.timeout.min(MAX_CONNECT))
            .timeout(settings.timeout)
            .build()
            .map_err(|error| DirectoryError {
                directory: name.to_owned(),
                reason: error.without_url().to_string(),
            })?;
        let places = Semaphore::new(settings.max_concurrent);
        let ways_out = Semaphore::new(SIGN_OUTS);
        Ok(Self { name: name.to_owned(), settings: settings.clone(), client, places, ways_out })
    }

    fn failed(&self, reason: impl Into<String>) -> DirectoryError {
        DirectoryError { directory: self.name.clone(), reason: reason.into() }
    }

    /// Limits the time of all exchanges of one sign-in or sign-out together.
    async fn in_time<T>(
        &self,
        work: impl Future<Output = Result<T, String>> + Send,
    ) -> Result<T, DirectoryError> {
        match tokio::time::timeout(self.settings.timeout, work).await {
            Ok(done) => done.map_err(|reason| self.failed(reason)),
            Err(_) => Err(self.failed("it takes too long")),
        }
    }

    async fn post(&self, attempt: PasswordAttempt<'_>) -> Result<PasswordVerdict, String> {
        let Settings { url, csrf, success, refused, .. } = &self.settings;
        if types_success(success, attempt) {
            return Err("the credentials contain the text of `success.body_contains`".into());
        }
        let mut jar = Jar::default();
        let client = Some(attempt.client);
        let mut token = None;
        if let Some(csrf) = csrf {
            let page = self.page(&csrf.page, &jar, client, attempt.at).await?;
            if page.status != StatusCode::OK {
                return Err(format!("its page answers {}", page.status));
            }
            jar.take(&page.headers, attempt.at);
            let found = token_of(csrf, &page, &jar).ok_or("its page has no token")?;
            token = Some((csrf, found));
        }
        let referrer = csrf.as_ref().map_or(url, |csrf| &csrf.page);
        let mut headers = self.headers(Some(referrer), &jar, client, attempt.at);
        let mut fields = self.settings.fields.clone();
        if let Some((csrf, token)) = &token {
            give_back(csrf, token, &mut fields, &mut headers)?;
        }
        fields.push((self.settings.username_field.clone(), attempt.name.to_owned()));
        fields.push((self.settings.password_field.clone(), attempt.password.expose().to_owned()));
        let body = Some(self.body(&fields, &mut headers));
        let sent = SentForm { method: Method::POST, url, headers, body, at: attempt.at };
        let answer = self.exchange(sent).await?;
        if !answer.accepts(success, refused)? {
            return Ok(PasswordVerdict::Refused);
        }
        jar.take(&answer.headers, attempt.at);
        match self.account(attempt.name, &answer) {
            Ok(account) => Ok(PasswordVerdict::Accepted(Box::new(account), jar)),
            Err(reason) => {
                // The session is of no use to anybody. If it cannot be ended, the first error is still the one to report.
                let _ = self.leave(jar, attempt.at).await;
                Err(reason)
            }
        }
    }

    async fn leave(&self, jar: Jar, at: Timestamp) -> Result<(), String> {
        let Some(logout) = &self.settings.logout else { return Ok(()) };
        let mut jar = jar;
        let mut fields = Vec::new();
        let referrer = logout.csrf_page.as_ref().unwrap_or(&logout.url);
        let mut headers = self.headers(Some(referrer), &jar, None, at);
        if let (Some(url), Some(csrf)) = (&logout.csrf_page, &self.settings.csrf) {
            let page = self.page(url, &jar, None, at).await?;
            if page.is_trouble() {
                return Err(format!("its page answers {}", page.status));
            }
            jar.take(&page.headers, at);
            // Without a page for the user, or without a token in it, nobody is signed in any more.
            let token = token_of(csrf, &page, &jar).filter(|_| page.status == StatusCode::OK);
            let Some(token) = token else { return Ok(()) };
            headers = self.headers(Some(referrer), &jar, None, at);
            give_back(csrf, &token, &mut fields, &mut headers)?;
        }
        let is_post = logout.method == Method::POST;
        let body = is_post.then(|| self.body(&fields, &mut headers));
        let sent = SentForm { method: logout.method.clone(), url: &logout.url, headers, body, at };
        let answer = self.exchange(sent).await?;
        if answer.is_trouble() { Err(format!("it answers {}", answer.status)) } else { Ok(()) }
    }

    async fn page(
        &self,
        url: &Uri,
        jar: &Jar,
        client: Option<IpAddr>,
        at: Timestamp,
    ) -> Result<LoginAnswer, String> {
        let headers = self.headers(None, jar, client, at);
        self.exchange(SentForm { method: Method::GET, url, headers, body: None, at }).await
    }

    /// Returns the headers of every request; the operator's own are set last and replace ours.
    fn headers(
        &self,
        from: Option<&Uri>,
        jar: &Jar,
        client: Option<IpAddr>,
        at: Timestamp,
    ) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static("Doorwarden"));
        headers.insert(ACCEPT, HeaderValue::from_static("text/html, application/json;q=0.9"));
        if self.settings.encoding == LoginEncoding::Json {
            headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        }
        let mut set = |name: HeaderName, value: String| {
            if let Ok(value) = HeaderValue::try_from(value) {
                headers.insert(name, value);
            }
        };
        if let Some(client) = client {
            set(X_FORWARDED_FOR, client.to_string());
        }
        if let Some(from) = from {
            let mut origin = String::new();
            if let (Some(scheme), Some(authority)) = (from.scheme_str(), from.authority()) {
                // Writing to a string cannot fail.
                let _ = write!(origin, "{scheme}://{authority}");
            }
            set(ORIGIN, origin);
            set(REFERER, from.to_string());
        }
        if let Some(line) = jar.line(at) {
            headers.insert(COOKIE, line);
        }
        for (name, value) in &self.settings.headers {
            headers.insert(name.clone(), value.clone());
        }
        headers
    }

    fn body(&self, fields: &[(String, String)], headers: &mut HeaderMap) -> String {
        let (kind, body) = match self.settings.encoding {
            LoginEncoding::Form => {
                let mut form = form_urlencoded::Serializer::new(String::new());
                form.extend_pairs(fields);
                ("application/x-www-form-urlencoded", form.finish())
            }
            LoginEncoding::Json => {
                let members =
                    fields.iter().map(|(name, value)| (name.clone(), value.as_str().into()));
                ("application/json", Value::Object(members.collect::<Map<_, _>>()).to_string())
            }
        };
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        body
    }

    async fn exchange(&self, sent: SentForm<'_>) -> Result<LoginAnswer, String> {
        let reason = |error: reqwest::Error| reason_of(&error.without_url());
        let url = Url::parse(&sent.url.to_string()).map_err(|error| error.to_string())?;
        let mut request = self.client.request(sent.method, url.clone()).headers(sent.headers);
        if let Some(body) = sent.body {
            request = request.body(body);
        }
        let mut response = request.send().await.map_err(reason)?;
        let mut body = Vec::new();
        while body.len() <= MAX_BODY
            && let Some(chunk) = response.chunk().await.map_err(reason)?
        {
            body.extend_from_slice(&chunk);
        }
        let is_whole = body.len() <= MAX_BODY;
        body.truncate(MAX_BODY);
        Ok(LoginAnswer {
            url,
            status: response.status(),
            headers: std::mem::take(response.headers_mut()),
            body: String::from_utf8_lossy(&body).into_owned(),
            is_whole,
            at: sent.at,
        })
    }

    fn account(&self, typed: &str, answer: &LoginAnswer) -> Result<Account, String> {
        let user = &self.settings.user;
        let json = answer.json().unwrap_or_default();
        let at = |pointer: &Option<String>| {
            let pointer = pointer.as_deref()?;
            Some(
                json.pointer(pointer)
                    .and_then(text)
                    .ok_or_else(|| format!("its answer has no text or number at {pointer:?}")),
            )
        };
        let folded = |name: &str| if user.casefold { name.to_lowercase() } else { name.to_owned() };
        let typed = folded(typed.trim());
        let name = at(&user.name).transpose()?.unwrap_or_else(|| typed.clone());
        let id = at(&user.id).transpose()?.unwrap_or(typed);
        let mut groups: Vec<String> = Vec::new();
        if let Some(pointer) = &user.groups {
            let all = json.pointer(pointer).and_then(Value::as_array);
            groups = all.into_iter().flatten().filter_map(text).collect();
            groups.sort_unstable();
            groups.dedup();
        }
        let email = user.email.as_deref().and_then(|pointer| json.pointer(pointer)).and_then(text);
        let identity = Identity {
            key: UserKey::new(&self.name, &id),
            name,
            groups,
            staff: false,
            superuser: false,
            attributes: email.map(|email| ("email".to_owned(), email)).into_iter().collect(),
        };
        let password = Secret::new(NO_PASSWORD);
        Ok(Account {
            identity: Arc::new(identity),
            active: true,
            has_second_factor: false,
            password,
        })
    }
}

#[async_trait]
impl LoginService for HttpDirectory {
    fn name(&self) -> &str {
        &self.name
    }

    async fn sign_in(
        &self,
        attempt: PasswordAttempt<'_>,
    ) -> Result<PasswordVerdict, DirectoryError> {
        let Ok(_place) = self.places.try_acquire() else { return Ok(PasswordVerdict::Busy) };
        self.in_time(self.post(attempt)).await
    }

    async fn sign_out(&self, cookies: Jar, at: Timestamp) -> Result<(), DirectoryError> {
        let _way = self.ways_out.acquire().await;
        self.in_time(self.leave(cookies, at)).await
    }
}

/// Whether the name or the password contains the text that marks success, in any case. Login pages show a name again that
/// failed, sometimes in another case, so typing that text would count as success.
fn types_success(success: &AnswerRules, attempt: PasswordAttempt<'_>) -> bool {
    let Some(text) = &success.body_contains else { return false };
    let text = text.trim().to_lowercase();
    [attempt.name, attempt.password.expose()]
        .iter()
        .any(|typed| Zeroizing::new(typed.to_lowercase()).contains(&text))
}

/// Returns the token of a page.
fn token_of(csrf: &Csrf, page: &LoginAnswer, jar: &Jar) -> Option<String> {
    let found = match &csrf.found {
        CsrfToken::Input(name) => page::input(&page.body, name),
        CsrfToken::Meta(name) => page::meta(&page.body, name),
        CsrfToken::Cookie(name) => jar.get(name, page.at).map(|value| {
            percent_encoding::percent_decode_str(value.expose()).decode_utf8_lossy().into_owned()
        }),
    };
    found.filter(|token| !token.is_empty())
}

/// Adds the token to the request in the configured ways.
fn give_back(
    csrf: &Csrf,
    token: &str,
    fields: &mut Vec<(String, String)>,
    headers: &mut HeaderMap,
) -> Result<(), String> {
    if let Some(field) = &csrf.field {
        fields.push((field.clone(), token.to_owned()));
    }
    if let Some(header) = &csrf.header {
        let value = HeaderValue::from_str(token).map_err(|_| "its token fits in no header")?;
        headers.insert(header.clone(), value);
    }
    Ok(())
}

/// Returns a value as text, if it fits into an id, a name or a group.
fn text(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let fits = (1..=1024).contains(&text.len()) && !text.chars().any(char::is_control);
    fits.then_some(text)
}

/// Returns an error's text with its causes, since "error sending request" alone explains nothing.
fn reason_of(error: &dyn std::error::Error) -> String {
    let mut reason = error.to_string();
    let mut behind = error.source();
    while let Some(error) = behind {
        let _ = write!(reason, ": {error}");
        behind = error.source();
    }
    reason
}

#[cfg(test)]
mod tests;
