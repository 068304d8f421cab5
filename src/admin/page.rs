//! The operator's page on the admin listener: findings, blocks and live sessions.
//!
//! | request | answer |
//! |---|---|
//! | `GET /operator` | the page, or the form that asks for the operator's token |
//! | `POST /operator/sign-in` | exchanges the token for a cookie that stands for a session of the page |
//! | `POST /operator/sign-out` | ends that session |
//! | `GET /operator/page.js`, `/operator/page.css` | the page's own script and style; nothing else is loaded |
//! | `GET /operator/state` | the data of the page, as JSON, requested every few seconds |
//!
//! The script creates elements and text nodes, never markup. The `Content-Security-Policy` allows the script, the style sheet
//! and requests to this listener, and nothing inline.

use askama::Template;
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, SET_COOKIE};
use http::{HeaderValue, Method, StatusCode};
use serde_json::{Value, json};

use super::access::{LONGEST, csrf, is_same_origin};
use super::{Operator, OperatorRequest};
use crate::issuer::Issuers;
use crate::refusal::Refusal;
use crate::secret::Secret;
use crate::session::cookies::OPERATOR_COOKIE;
use crate::wire::reply::Reply;

const SCRIPT: &str = include_str!("../../templates/operator/page.js");
const STYLE: &str = include_str!("../../templates/operator/page.css");

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; form-action 'self'; \
                      frame-ancestors 'none'; base-uri 'none'; require-trusted-types-for 'script'";

/// The most findings and blocks that the page shows.
const SHOWN: usize = 50;

#[derive(Template)]
#[template(path = "operator/page.html")]
struct PageTemplate<'a> {
    csrf: &'a str,
    version: &'static str,
}

#[derive(Template)]
#[template(path = "operator/sign_in.html")]
struct SignInTemplate {
    problem: Option<&'static str>,
}

impl Operator {
    /// Answers the requests of the page; `None` if the path is another one.
    pub async fn serve_page(
        &self,
        request: &OperatorRequest<'_>,
        issuers: &Issuers,
    ) -> Option<Reply> {
        let reading = *request.method == Method::GET || *request.method == Method::HEAD;
        let posting = *request.method == Method::POST;
        let answer = match request.path {
            "/" if reading => Ok(to_page()),
            "/operator" if reading => self.page(request),
            "/operator/page.js" if reading => Ok(asset("text/javascript; charset=utf-8", SCRIPT)),
            "/operator/page.css" if reading => Ok(asset("text/css; charset=utf-8", STYLE)),
            "/operator/state" if reading => self.state(request, issuers).await,
            "/operator/sign-in" if posting => self.sign_in(request),
            "/operator/sign-out" if posting => self.sign_out(request),
            "/operator" | "/operator/page.js" | "/operator/page.css" | "/operator/state"
            | "/operator/sign-in" | "/operator/sign-out" => Err(Refusal::MethodNotAllowed),
            _ => return None,
        };
        Some(answer.unwrap_or_else(|refusal| Reply::refusal(refusal, "")))
    }

    fn page(&self, request: &OperatorRequest<'_>) -> Result<Reply, Refusal> {
        super::access::host_of(request.headers)?;
        // A cross-site link here is harmless: it shows the form, or the page, and changes nothing.
        match self.signed_in(request.headers, request.at) {
            Some(cookie) => {
                let csrf = csrf(&cookie);
                let version = env!("CARGO_PKG_VERSION");
                html(StatusCode::OK, &PageTemplate { csrf: csrf.expose(), version })
            }
            None => html(StatusCode::OK, &SignInTemplate { problem: None }),
        }
    }

    fn sign_in(&self, request: &OperatorRequest<'_>) -> Result<Reply, Refusal> {
        is_same_origin(request.headers)?;
        let is_form = request.headers.get(CONTENT_TYPE).is_some_and(|value| {
            value.as_bytes().starts_with(b"application/x-www-form-urlencoded")
        });
        if !is_form {
            return Err(Refusal::UnsupportedMediaType);
        }
        let token = form_urlencoded::parse(request.body)
            .find_map(|(name, value)| (name == "token").then(|| Secret::new(value.trim())));
        if !token.is_some_and(|token| self.is_token(token.expose())) {
            tracing::warn!("a sign-in to the operator's page failed: the token was wrong");
            let problem = Some("That is not the operator\u{2019}s token.");
            return html(StatusCode::UNAUTHORIZED, &SignInTemplate { problem });
        }
        let cookie = self.pages.begin(request.at).map_err(|error| {
            tracing::error!(%error, "a sign-in to the operator's page failed: its session could not be made");
            Refusal::Internal
        })?;
        tracing::info!("somebody signed in to the operator's page");
        with_cookie(to_page(), &cookie, LONGEST.as_secs())
    }

    fn sign_out(&self, request: &OperatorRequest<'_>) -> Result<Reply, Refusal> {
        is_same_origin(request.headers)?;
        let cookie = self.signed_in(request.headers, request.at);
        if let Some(cookie) = &cookie {
            let sent = form_urlencoded::parse(request.body)
                .find_map(|(name, value)| (name == "csrf").then(|| Secret::new(value)));
            if sent != Some(csrf(cookie)) {
                return Err(Refusal::CrossSite);
            }
            self.pages.end(cookie);
        }
        with_cookie(to_page(), &Secret::new(""), 0)
    }

    async fn state(
        &self,
        request: &OperatorRequest<'_>,
        issuers: &Issuers,
    ) -> Result<Reply, Refusal> {
        self.admit(request.method, request.headers, request.at)?;
        let sessions = self.summary(request.at, issuers.sessions()).await?;
        let blocks = super::blocks::describe_blocks(&self.blocks.list(), request.at);
        let blocks = blocks.get("blocks").and_then(Value::as_array);
        let shown: Vec<&Value> = blocks.into_iter().flatten().take(SHOWN).collect();
        let state = json!({
            "now": request.at.to_string(),
            "findings": self.newest_findings(SHOWN),
            "blocks": shown,
            "blocked": blocks.map_or(0, Vec::len),
            "silences": self.list_silences(request.at).get("silences"),
            "rates": self.rates.describe(),
            "sessions": sessions,
        });
        Ok(Reply::json(StatusCode::OK, &state))
    }
}

fn to_page() -> Reply {
    Reply::empty(StatusCode::SEE_OTHER).with_header(LOCATION, HeaderValue::from_static("/operator"))
}

fn asset(content_type: &'static str, text: &'static str) -> Reply {
    Reply::empty(StatusCode::OK)
        .with_body(content_type, text)
        .with_header(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY))
}

fn html(status: StatusCode, template: &impl Template) -> Result<Reply, Refusal> {
    let html = template.render().map_err(|error| {
        tracing::error!(%error, "the operator's page cannot be rendered");
        Refusal::Internal
    })?;
    let reply = Reply::empty(status).with_body("text/html; charset=utf-8", html);
    Ok(reply.with_header(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)))
}

/// Adds the cookie to the reply; a `max_age` of 0 deletes it.
fn with_cookie(reply: Reply, value: &Secret, max_age: u64) -> Result<Reply, Refusal> {
    let cookie = format!(
        "{OPERATOR_COOKIE}={}; Path=/; Max-Age={max_age}; HttpOnly; SameSite=Strict",
        value.expose()
    );
    let mut cookie = HeaderValue::try_from(cookie).map_err(|_| Refusal::Internal)?;
    cookie.set_sensitive(true);
    Ok(reply.with_header(SET_COOKIE, cookie))
}
