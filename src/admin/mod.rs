//! The operator's API of a running gateway, on the admin listener.
//!
//! | request | answer |
//! |---|---|
//! | `GET /sessions?user=DIRECTORY/ID&limit=COUNT&cursor=CURSOR` | the live sessions, newest first (`sessions`) |
//! | `POST /sessions/end` with `{"session": ID}` or `{"user": "DIRECTORY/ID"}` | `{"ended": N}`, effective at once |
//! | `GET /blocks?limit=COUNT&cursor=CURSOR` | the blocks (`blocks`) |
//! | `POST /blocks` with `{"address": NETWORK}`, `{"user": ...}` or `{"session": ...}`, `seconds`, `reason` | the active block |
//! | `POST /blocks/lift` with one of the three | `{"lifted": true}`, or false if there was none |
//! | `GET /findings?before=NUMBER&limit=COUNT` | recent findings of the detectors, newest first (`findings`) |
//! | `GET /silences`, `POST /silences`, `POST /silences/lift` | what detectors are silent about for a time (`silences`) |
//! | `GET /users?name=NAME` | the users with that name, as `DIRECTORY/ID` |
//! | `GET /second-factors?user=DIRECTORY/ID` | a user's second factors (`factors`) |
//! | `POST /second-factors/reset` with `{"user": "DIRECTORY/ID"}` | removes them, ends the sessions, gives a set-up code |
//! | `POST /second-factors/invite` with the same | returns such a code, and changes nothing else |
//! | `GET /tokens?user=DIRECTORY/ID` | the personal access tokens of a user or, without `user`, of all (`tokens`) |
//! | `POST /tokens` with `{"user", "name", "routes", "methods", "expires"}` | creates one, and shows it once |
//! | `POST /tokens/revoke` with `{"token": ID}` or `{"user": "DIRECTORY/ID"}` | `{"revoked": N}`, effective at once |
//! | `GET /keys` | the signing keys |
//! | `POST /explain` | the decision about a described request, and its reasons (`proxy::explain`) |
//! | `GET /maintenance`, `POST /maintenance` | the routes in maintenance (`proxy::admin_maintenance`) |
//! | `POST /reload` | reloads the configuration, and reports the result (`reload`) |
//! | `POST /keys/rotate` | creates a signing key; the old one still verifies tokens until its last token has expired |
//!
//! The page for people is in `page`; authentication is in `access`. The credential is a token of its own from a file beside the
//! store (R59): users' credentials are worthless here.

mod access;
pub mod blocks;
pub mod factors;
mod findings;
mod page;
pub mod rates;
pub mod reload;
mod sessions;
mod silences;
pub mod tokens;

use std::sync::Arc;

use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};

use self::access::PageSessions;
use self::rates::Rates;
use self::sessions::Summary;
use crate::caller::{SessionId, UserKey};
use crate::clock::Timestamp;
use crate::context::Events;
use crate::detect::recent::Recent;
use crate::detect::silence::Silences;
use crate::endpoint::refused::Refused;
use crate::event::{EndReason, FactorEvent};
use crate::issuer::Issuers;
use crate::refusal::Refusal;
use crate::secret::{Digest, Secret};
use crate::session::keys::KeyRing;
use crate::store::{Blocks, Session, SessionSelection, Sessions, StoreError};
use crate::wire::reply::Reply;

/// Answers the requests of operators.
pub struct Operator {
    token: Digest,
    sessions: Arc<dyn Sessions>,
    blocks: Arc<dyn Blocks>,
    recent: Arc<Recent>,
    silences: Arc<Silences>,
    rates: Arc<Rates>,
    pages: PageSessions,
    summary: Summary,
}

/// What operators see and change.
pub struct OperatorParts {
    /// The live sessions.
    pub sessions: Arc<dyn Sessions>,
    /// The blocks.
    pub blocks: Arc<dyn Blocks>,
    /// The recent findings.
    pub recent: Arc<Recent>,
    /// The silences of the detectors.
    pub silences: Arc<Silences>,
    /// The counts of the last hour.
    pub rates: Arc<Rates>,
}

/// One request of an operator.
#[derive(Debug)]
pub struct OperatorRequest<'a> {
    /// The method.
    pub method: &'a Method,
    /// The path without its query.
    pub path: &'a str,
    /// The query, empty if there is none.
    pub query: &'a str,
    /// All header fields.
    pub headers: &'a HeaderMap,
    /// The body.
    pub body: &'a [u8],
    /// The present time.
    pub at: Timestamp,
    /// The collector of events during this request.
    pub events: &'a Events,
}

impl Operator {
    /// Creates the API with the operator's token.
    pub fn new(token: &Secret, parts: OperatorParts) -> Self {
        let OperatorParts { sessions, blocks, recent, silences, rates } = parts;
        Self {
            token: token.digest(),
            sessions,
            blocks,
            recent,
            silences,
            rates,
            pages: PageSessions::default(),
            summary: Summary::default(),
        }
    }

    /// Answers one request, with the issuers of the present configuration.
    pub async fn serve(&self, request: &OperatorRequest<'_>, issuers: &Issuers) -> Reply {
        if let Err(refusal) = self.admit(request.method, request.headers, request.at) {
            return Reply::refusal(refusal, "");
        }
        let answer = match (request.method, request.path) {
            (&Method::GET, "/sessions") => self.list_sessions(request, issuers.sessions()).await,
            (&Method::POST, "/sessions/end") => self.end(request, issuers).await,
            (&Method::GET, "/blocks") => self.list_blocks(request),
            (&Method::POST, "/blocks") => self.block(request).await,
            (&Method::POST, "/blocks/lift") => self.lift(request).await,
            (&Method::GET, "/findings") => self.list_findings(request),
            (&Method::GET, "/silences") => Ok(self.list_silences(request.at)),
            (&Method::POST, "/silences") => self.silence(request),
            (&Method::POST, "/silences/lift") => self.lift_silence(request),
            (&Method::GET, "/users") => called(request, issuers).await,
            (&Method::GET, "/second-factors") => factors::list(request, issuers).await,
            (&Method::POST, "/second-factors/reset") => {
                factors::change(request, issuers, FactorEvent::Reset).await
            }
            (&Method::POST, "/second-factors/invite") => {
                factors::change(request, issuers, FactorEvent::Invited).await
            }
            (&Method::GET, "/tokens") => tokens::list(request, issuers).await,
            (&Method::POST, "/tokens") => match tokens::create(request, issuers).await {
                Err((refusal, Some(text))) => {
                    return Refused::with_detail(refusal, text).reply("");
                }
                made => made.map_err(|(refusal, _)| refusal),
            },
            (&Method::POST, "/tokens/revoke") => tokens::revoke(request, issuers).await,
            (&Method::GET, "/keys") => Ok(describe_keys(issuers.sessions().keys())),
            (&Method::POST, "/keys/rotate") => rotate(issuers, request.at),
            (
                _,
                "/sessions"
                | "/sessions/end"
                | "/blocks"
                | "/blocks/lift"
                | "/findings"
                | "/silences"
                | "/silences/lift"
                | "/users"
                | "/second-factors"
                | "/second-factors/reset"
                | "/second-factors/invite"
                | "/tokens"
                | "/tokens/revoke"
                | "/keys"
                | "/keys/rotate",
            ) => Err(Refusal::MethodNotAllowed),
            _ => Err(Refusal::NoRoute),
        };
        match answer {
            Ok(body) => Reply::json(StatusCode::OK, &body),
            Err(refusal) => Reply::refusal(refusal, ""),
        }
    }

    async fn end(
        &self,
        request: &OperatorRequest<'_>,
        issuers: &Issuers,
    ) -> Result<Value, Refusal> {
        let body: Value = serde_json::from_slice(request.body).map_err(|_| Refusal::BadBody)?;
        let which = match (body.get("session"), body.get("user")) {
            (Some(Value::String(id)), None) => SessionSelection::Session(SessionId::new(id)),
            (None, Some(Value::String(user))) => SessionSelection::User(user_key(user)?),
            _ => return Err(Refusal::BadBody),
        };
        let ended =
            issuers.sessions().end(&which, EndReason::Operator, request.at, request.events).await?;
        Ok(json!({"ended": ended}))
    }
}

async fn called(request: &OperatorRequest<'_>, issuers: &Issuers) -> Result<Value, Refusal> {
    let name = form_urlencoded::parse(request.query.as_bytes())
        .find_map(|(name, value)| (name == "name").then_some(value))
        .ok_or(Refusal::BadBody)?;
    Ok(describe_users(issuers.sessions().users_named(&name, request.at).await?))
}

fn rotate(issuers: &Issuers, at: Timestamp) -> Result<Value, Refusal> {
    match issuers.sessions().keys().rotate(at) {
        Ok(kid) => Ok(json!({"kid": kid})),
        Err(error) => {
            tracing::error!(%error, "the signing key cannot be rotated");
            Err(Refusal::Internal)
        }
    }
}

/// Describes a session as commands and the operator's API show it.
pub fn describe(session: &Session) -> Value {
    let identity = session.identity.load();
    json!({
        "session": session.id.as_str(),
        "user": identity.key.to_string(),
        "name": identity.name,
        "signed_in_at": session.signed_in_at.to_string(),
        "last_used": session.last_used().to_string(),
        "expires_at": session.expires_at.to_string(),
        "client": session.client.map(|client| client.to_string()),
        "agent": session.agent,
        "issuer": session.issuer.as_deref(),
    })
}

/// Describes users as commands and the operator's API show them.
pub fn describe_users(users: impl IntoIterator<Item = UserKey>) -> Value {
    let users = users.into_iter().map(|user| json!({"user": user.to_string()}));
    json!({"users": users.collect::<Vec<_>>()})
}

/// Describes the signing keys as commands and the operator's API show them.
pub fn describe_keys(keys: &KeyRing) -> Value {
    let describe = |key: &crate::session::keys::ListedKey| {
        json!({
            "kid": key.kid,
            "algorithm": key.algorithm.name(),
            "verifies_until": key.retired_until.map(|until| until.to_string()),
        })
    };
    json!({"keys": keys.list().iter().map(describe).collect::<Vec<_>>()})
}

/// Parses `DIRECTORY/ID`.
fn user_key(text: &str) -> Result<UserKey, Refusal> {
    match text.split_once('/') {
        Some((directory, id)) if !directory.is_empty() && !id.is_empty() => {
            Ok(UserKey::new(directory, id))
        }
        _ => Err(Refusal::BadBody),
    }
}

fn down(error: &StoreError) -> Refusal {
    tracing::error!(%error, "the store cannot list sessions");
    Refusal::StoreUnavailable
}
