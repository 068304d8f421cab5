//! Second factors, as operators list and remove them.

use serde_json::{Value, json};

use super::{OperatorRequest, user_key};
use crate::caller::UserKey;
use crate::endpoint::factors::listed;
use crate::event::{EndReason, EventKind, FactorEvent};
use crate::factor::{FactorAdministration, INVITATION};
use crate::issuer::Issuers;
use crate::refusal::Refusal;
use crate::secret::Secret;
use crate::store::SessionSelection;
use crate::store::factors::StoredFactors;

/// Answers `GET /second-factors?user=DIRECTORY/ID`.
pub(super) async fn list(
    request: &OperatorRequest<'_>,
    issuers: &Issuers,
) -> Result<Value, Refusal> {
    let user = form_urlencoded::parse(request.query.as_bytes())
        .find_map(|(name, value)| (name == "user").then(|| user_key(&value)))
        .ok_or(Refusal::BadBody)??;
    Ok(describe_factors(&issuers.sessions().factors().of(&user).await?))
}

/// Answers `POST /second-factors/reset` and `/second-factors/invite` with `{"user": "DIRECTORY/ID"}`.
pub(super) async fn change(
    request: &OperatorRequest<'_>,
    issuers: &Issuers,
    change: FactorEvent,
) -> Result<Value, Refusal> {
    let body: Value = serde_json::from_slice(request.body).map_err(|_| Refusal::BadBody)?;
    let user = body.get("user").and_then(Value::as_str).ok_or(Refusal::BadBody)?;
    let user = user_key(user)?;
    let factors = issuers.sessions().factors().administration();
    if change != FactorEvent::Reset {
        return invite(factors, user, request).await;
    }
    factors.reset(&user, request.at).await?;
    issuers.sessions().mailed_links().void(&user, request.at).await?;
    request.events.note(EventKind::FactorChanged { user: user.clone(), change });
    // An attacker may have been in the account, with a factor of their own: what was proved with it counts no more.
    let which = SessionSelection::SignIns { user: user.clone(), kept: None };
    let at = request.at;
    let ended = issuers.sessions().end(&which, EndReason::Operator, at, request.events).await?;
    let mut told = invite(factors, user, request).await?;
    if let Value::Object(members) = &mut told {
        members.insert("sessions_ended".into(), ended.into());
    }
    Ok(told)
}

async fn invite(
    factors: FactorAdministration<'_>,
    user: UserKey,
    request: &OperatorRequest<'_>,
) -> Result<Value, Refusal> {
    let code = factors.invite(&user, request.at).await?;
    request.events.note(EventKind::FactorChanged { user, change: FactorEvent::Invited });
    Ok(describe_invitation(&code))
}

/// Describes a user's second factors as commands and the operator's API show them.
pub fn describe_factors(kept: &StoredFactors) -> Value {
    listed(kept)
}

/// Describes a code to set up a factor as commands and the operator's API show it.
pub fn describe_invitation(code: &Secret) -> Value {
    json!({"invitation": code.expose(), "works_for_seconds": INVITATION.as_secs()})
}
