//! Personal access tokens, as operators list, create and revoke them.

use serde_json::{Value, json};

use super::{OperatorRequest, user_key};
use crate::caller::SessionId;
use crate::endpoint::personal_tokens::{describe_token, lifetime, list as texts};
use crate::issuer::Issuers;
use crate::refusal::Refusal;
use crate::session::personal_token::{TokenMaker, WantedToken};
use crate::store::Session;

/// Answers `GET /tokens?user=DIRECTORY/ID`; without a user with the tokens of all users.
pub(super) async fn list(
    request: &OperatorRequest<'_>,
    issuers: &Issuers,
) -> Result<Value, Refusal> {
    let named = form_urlencoded::parse(request.query.as_bytes())
        .find_map(|(name, value)| (name == "user").then(|| user_key(&value)));
    let user = named.transpose()?;
    let tokens = issuers.sessions().personal_tokens().list(user.as_ref(), request.at).await?;
    Ok(describe_tokens(tokens.iter().map(|token| &**token)))
}

/// Answers `POST /tokens` with `{"user": "DIRECTORY/ID", "name", "routes", "methods", "expires"}`: creates a token, shown once.
pub(super) async fn create(
    request: &OperatorRequest<'_>,
    issuers: &Issuers,
) -> Result<Value, (Refusal, Option<String>)> {
    let bad = |text: &str| (Refusal::BadBody, Some(text.to_owned()));
    let body: Value = serde_json::from_slice(request.body).map_err(|_| bad("no JSON"))?;
    let said = |name: &str| body.get(name).and_then(Value::as_str);
    let user = said("user").ok_or_else(|| bad("user: DIRECTORY/ID"))?;
    let user = user_key(user).map_err(|_| bad("user: DIRECTORY/ID"))?;
    let lifetime = match said("expires") {
        None => None,
        Some(text) => Some(lifetime(text).ok_or_else(|| bad("expires: a duration like 30d"))?),
    };
    let wanted = WantedToken {
        name: said("name").unwrap_or_default().to_owned(),
        routes: texts(&body, "routes").map_err(|_| bad("routes: a list"))?,
        methods: texts(&body, "methods").map_err(|_| bad("methods: a list"))?,
        lifetime,
    };
    let sessions = issuers.sessions();
    let checked = sessions
        .personal_tokens()
        .rules()
        .check(wanted)
        .map_err(|problem| bad(&format!("{}: {}", problem.field, problem.text)))?;
    let maker = TokenMaker::Operator(&user);
    let made =
        sessions.personal_tokens().make(maker, checked, None, request.at, request.events).await;
    let (session, token) = made.map_err(|refusal| (refusal, None))?;
    let mut described = describe_token(&session);
    if let Value::Object(members) = &mut described {
        members.insert("token".into(), token.expose().into());
    }
    Ok(described)
}

/// Answers `POST /tokens/revoke` with `{"token": ID}` or `{"user": "DIRECTORY/ID"}`: revokes that token, or all of the user.
pub(super) async fn revoke(
    request: &OperatorRequest<'_>,
    issuers: &Issuers,
) -> Result<Value, Refusal> {
    let body: Value = serde_json::from_slice(request.body).map_err(|_| Refusal::BadBody)?;
    let sessions = issuers.sessions();
    let ids = match (body.get("token"), body.get("user")) {
        (Some(Value::String(id)), None) => vec![SessionId::new(id)],
        (None, Some(Value::String(user))) => {
            let tokens =
                sessions.personal_tokens().list(Some(&user_key(user)?), request.at).await?;
            tokens.iter().map(|token| token.id.clone()).collect()
        }
        _ => return Err(Refusal::BadBody),
    };
    let mut revoked = 0;
    for id in ids {
        revoked += u64::from(
            sessions.personal_tokens().revoke(&id, None, request.at, request.events).await?,
        );
    }
    Ok(json!({"revoked": revoked}))
}

/// Describes tokens as commands and the operator's API show them.
pub fn describe_tokens<'s>(tokens: impl Iterator<Item = &'s Session>) -> Value {
    json!({"tokens": tokens.map(describe_token).collect::<Vec<_>>()})
}
