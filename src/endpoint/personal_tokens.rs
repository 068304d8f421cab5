//! `/account/tokens`: users manage their personal access tokens.
//!
//! A GET shows them (a page, or JSON for a program). A POST does one thing, by `action`: `create` makes one and shows it, once;
//! `revoke` ends the one of an `id`. As with second factors, each requires a proof of the last ten minutes with all that the
//! user has: a browser is redirected to the page that asks for it and back, a program gets 401
//! `insufficient_user_authentication`. A personal access token is no credential here: none creates or ends another.
//!
//! | field of `create` | JSON | form |
//! |---|---|---|
//! | `name` | text | text |
//! | `routes` | list of names; absent: all that accept tokens | a field `route.NAME` for each |
//! | `methods` | list; absent: all | `methods`, with spaces between them |
//! | `expires` | a duration like `"30d"`; absent: the longest | the same |

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::refused::Refused;
use super::second_factor::text;
use super::token_page::{MadeTokenPage, TokensPage};
use super::{Endpoints, Served, input, navigation};
use crate::caller::SessionId;
use crate::config;
use crate::event::FactorRefusal;
use crate::refusal::Refusal;
use crate::session::personal_token::{TokenMaker, TokenProblem, WantedToken};
use crate::store::Session;
use crate::wire::accept::Language;
use crate::wire::arrival::Arrival;
use crate::wire::body::{FieldProblem, Fields};
use crate::wire::reply::Reply;

impl Endpoints {
    /// Answers `GET` and `POST /account/tokens`.
    pub(super) async fn personal_tokens(&self, arrival: &Arrival, body: &Bytes) -> Served {
        let is_post = arrival.method == Method::POST;
        let wants_page = input::wants_page(arrival);
        let (session, proof) = match self.session_of(arrival).await {
            Ok(found) => found,
            Err(refused) if wants_page => return self.to_login_or_refused(arrival, refused),
            Err(refused) => return Served::refused(refused, &arrival.request_id),
        };
        let made = match is_post {
            true => match self.is_from_here(arrival, proof) {
                Ok(()) => self.change_tokens(arrival, body, &session, wants_page).await,
                Err(refusal) => Err(refusal.into()),
            },
            false => self.show_tokens(arrival, &session, wants_page, None).await,
        };
        match made {
            Ok(reply) => Served::reply(reply),
            Err(refused) if wants_page => {
                let refusal = Some(refused.refusal);
                if let Some(reply) = self.to_confirmation(&refused, arrival.target.path().as_str())
                {
                    return Served { reply, refusal };
                }
                match self.show_tokens(arrival, &session, true, Some(&refused)).await {
                    Ok(reply) => Served { reply, refusal },
                    Err(refused) => Served::refused(refused, &arrival.request_id),
                }
            }
            Err(refused) => Served::refused(refused, &arrival.request_id),
        }
    }

    async fn show_tokens(
        &self,
        arrival: &Arrival,
        session: &Session,
        wants_page: bool,
        problem: Option<&Refused>,
    ) -> Result<Reply, Refused> {
        let identity = session.identity.load_full();
        let sessions = self.issuers.sessions();
        let tokens = sessions.personal_tokens().list(Some(&identity.key), arrival.at).await?;
        let rules = sessions.personal_tokens().rules();
        if !wants_page {
            let body = json!({
                "tokens": tokens.iter().map(|token| describe_token(token)).collect::<Vec<_>>(),
                "routes": rules.routes,
                "max_lifetime_seconds": rules.settings.max_lifetime.as_secs(),
                "max_per_user": rules.settings.max_per_user,
            });
            return Ok(Reply::json(StatusCode::OK, &body));
        }
        let page = TokensPage {
            service: &self.title,
            action: arrival.target.path().as_str(),
            name: &identity.name,
            tokens: &tokens,
            rules,
            time_zone: &self.incidents.time_zone,
            language: Language::negotiate(&arrival.headers),
        };
        Ok(page.reply(problem, &arrival.request_id))
    }

    async fn change_tokens(
        &self,
        arrival: &Arrival,
        body: &Bytes,
        session: &Session,
        wants_page: bool,
    ) -> Result<Reply, Refused> {
        let fields = input::fields(arrival, body)?;
        let sessions = self.issuers.sessions();
        let user = session.identity.load().key.clone();
        if let Err(refusal) = sessions.step_up().is_fresh(session, arrival.at).await {
            if refusal == Refusal::InsufficientAuthentication {
                let context = &arrival.context();
                sessions.second_factors().note_refused(&user, FactorRefusal::NotFresh, context);
            }
            return Err(refusal.into());
        }
        match fields.trimmed("action").map_err(|why| Refused::field("action", why))? {
            "create" => {
                let wanted =
                    wanted_token(&fields, body, &sessions.personal_tokens().rules().routes)?;
                let checked = sessions.personal_tokens().rules().check(wanted)?;
                let client = Some(arrival.client_ip());
                let maker = TokenMaker::Owner(session);
                let (made, token) = sessions
                    .personal_tokens()
                    .make(maker, checked, client, arrival.at, &arrival.events)
                    .await?;
                if wants_page {
                    let page = MadeTokenPage {
                        service: &self.title,
                        token: &token,
                        name: made.grant.as_ref().map_or("", |grant| &grant.name),
                        next: arrival.target.path().as_str(),
                        language: Language::negotiate(&arrival.headers),
                    };
                    return Ok(page.reply());
                }
                let mut body = describe_token(&made);
                if let Value::Object(members) = &mut body {
                    members.insert("token".into(), token.expose().into());
                }
                Ok(Reply::json(StatusCode::CREATED, &body))
            }
            "revoke" => {
                let id = text(&fields, "id").ok_or(Refusal::BadBody)?;
                let id = SessionId::new(id);
                if !sessions
                    .personal_tokens()
                    .revoke(&id, Some(&user), arrival.at, &arrival.events)
                    .await?
                {
                    return Err(Refused::field("id", FieldProblem::NotAString));
                }
                match wants_page {
                    true => Ok(navigation::to(arrival.target.path().as_str())),
                    false => self.show_tokens(arrival, session, false, None).await,
                }
            }
            _ => Err(Refused::field("action", FieldProblem::NotAString)),
        }
    }
}

/// Describes a token for its owner, for commands and for the operator's API. The token itself is left out.
pub fn describe_token(session: &Session) -> Value {
    let identity = session.identity.load();
    let grant = session.grant.as_deref();
    let was_used = session.last_used() > session.signed_in_at;
    json!({
        "id": session.id.as_str(),
        "user": identity.key.to_string(),
        "username": identity.name,
        "name": grant.map(|grant| &grant.name),
        "routes": grant.map(|grant| &grant.routes),
        "methods": grant.map(|grant| &grant.methods),
        "created_at": session.signed_in_at.to_string(),
        "last_used": was_used.then(|| session.last_used().to_string()),
        "expires_at": session.expires_at.to_string(),
        "created_from": session.client.map(|client| client.to_string()),
    })
}

fn wanted_token(fields: &Fields, body: &Bytes, routes: &[String]) -> Result<WantedToken, Refused> {
    let optional = |name: &str| match fields.trimmed(name) {
        Ok(text) => Ok(Some(text)),
        Err(FieldProblem::Required | FieldProblem::Blank | FieldProblem::Null) => Ok(None),
        Err(why) => Err(Refused::field(name, why)),
    };
    let name = optional("name")?.unwrap_or_default().to_owned();
    let lifetime = match optional("expires")? {
        None => None,
        Some(text) => Some(lifetime(text).ok_or_else(no_lifetime)?),
    };
    if fields.is_form() {
        let is_chosen = |route: &&String| fields.text(&format!("route.{route}")).is_ok();
        let methods = optional("methods")?.unwrap_or_default();
        return Ok(WantedToken {
            name,
            routes: routes.iter().filter(is_chosen).cloned().collect(),
            methods: methods.split_ascii_whitespace().map(str::to_owned).collect(),
            lifetime,
        });
    }
    let json: Value = serde_json::from_slice(body).map_err(|_| Refusal::BadBody)?;
    Ok(WantedToken {
        name,
        routes: list(&json, "routes")?,
        methods: list(&json, "methods")?,
        lifetime,
    })
}

/// Returns a list of texts from a JSON body; an empty one if there is no such member.
pub(crate) fn list(body: &Value, name: &'static str) -> Result<Vec<String>, Refused> {
    let not_a_list = || problem(TokenProblem { field: name, text: "A list of texts.".to_owned() });
    match body.get(name) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(all)) => {
            let texts = all.iter().map(|one| one.as_str().map(str::to_owned));
            texts.collect::<Option<Vec<_>>>().ok_or_else(not_a_list)
        }
        Some(_) => Err(not_a_list()),
    }
}

/// Parses `30d`, in the configuration's format for durations.
pub(crate) fn lifetime(text: &str) -> Option<std::time::Duration> {
    config::duration(text)
}

pub(super) fn no_lifetime() -> Refused {
    let text = "A duration with its unit, like \"30d\" or \"12h\".".to_owned();
    problem(TokenProblem { field: "expires", text })
}

fn problem(problem: TokenProblem) -> Refused {
    Refused::field_text(problem.field, &problem.text)
}

impl From<TokenProblem> for Refused {
    fn from(wrong: TokenProblem) -> Self {
        problem(wrong)
    }
}
