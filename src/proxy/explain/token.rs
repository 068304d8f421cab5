//! A token alone: whose it is, of which kind, and whether it holds.

use std::net::{IpAddr, Ipv4Addr};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::credential::{describe, why};
use super::story::{End, Mark, Story};
use crate::auth::presented::Credential;
use crate::auth::{Auth, RefreshLook};
use crate::caller::Proof;
use crate::clock::Timestamp;
use crate::event::What;
use crate::refusal::Refusal;
use crate::secret::Secret;

/// Nobody's: a token by itself comes from nowhere.
const NOWHERE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// Explains a token by asking everybody who could have issued it.
pub(super) async fn explain(auth: &Auth, token: &Secret, at: Timestamp) -> Value {
    let mut story = Story::default();
    let text = token.expose();
    story.step("form", Mark::Note, said(text, at));
    if Auth::looks_like_ours(text) {
        return ours(story, auth, text, at).await;
    }
    let mut happened = Vec::new();
    let mut worst = Refusal::TokenNotValid;
    let mut good = false;
    let by_cookie = auth.cookie(text, NOWHERE, at, &mut happened).await;
    match by_cookie {
        Ok(session) => {
            good = true;
            let credential = Credential::Session(session, Proof::SessionCookie);
            story.step("cookie", Mark::Yes, describe(auth, &credential, at).await);
        }
        Err(refusal) => {
            let text = format!("as the session cookie: {}", why(refusal));
            story.step("cookie", Mark::Note, text);
        }
    }
    for (issuer, judged) in auth.shown_to_issuers(text, at, &mut happened).await {
        match judged {
            Ok(credential) => {
                good = true;
                story.step("issuer", Mark::Yes, describe(auth, &credential, at).await);
            }
            Err(refusal) => {
                let reason = happened.iter().rev().find_map(|what| match what {
                    What::IssuedRefused { issuer: named, why } if *named == issuer => Some(*why),
                    _ => None,
                });
                let reason = reason.map_or_else(|| refusal.code(), |why| why.name());
                if refusal != Refusal::TokenNotValid {
                    worst = refusal;
                }
                story.step("issuer", Mark::Note, format!("{issuer} refuses it: {reason}"));
            }
        }
    }
    if good {
        return story.end(End::Good);
    }
    story.refused("decision", worst, &format!("nobody takes it ({})", worst.code()))
}

async fn ours(mut story: Story, auth: &Auth, text: &str, at: Timestamp) -> Value {
    let is_refresh =
        header(text).is_some_and(|header| header.get("typ").is_some_and(|typ| typ == "rt+jwt"));
    if is_refresh {
        return match auth.look_at_refresh(text, at).await {
            Ok(RefreshLook::Fresh(session)) => {
                let credential = Credential::Session(session, Proof::AccessToken);
                let session =
                    describe(auth, &credential, at).await.replace("the access token", "a session");
                story.step("refresh", Mark::Yes, format!("a refresh token, unspent: {session}"));
                story.end(End::Good)
            }
            Ok(RefreshLook::Spent(_, spent_at)) => {
                let why = format!(
                    "a refresh token that was spent at {spent_at}; presented again after the \
                     grace it ends its session"
                );
                story.refused("refresh", Refusal::TokenBlacklisted, &why)
            }
            Err(refusal) => story.refused("refresh", refusal, &why(refusal)),
        };
    }
    match auth.bearer(text, NOWHERE, at, &mut Vec::new()).await {
        Ok(session) => {
            let credential = Credential::Session(session, Proof::AccessToken);
            story.step("access", Mark::Yes, describe(auth, &credential, at).await);
            story.end(End::Good)
        }
        Err(refusal) => story.refused("access", refusal, &why(refusal)),
    }
}

/// What a token says of itself, verified or not, without what makes it one.
pub(super) fn said(text: &str, at: Timestamp) -> String {
    let Some((header, claims)) = header(text).zip(claims(text)) else {
        return format!("no JWT; {} characters", text.chars().count());
    };
    let mut said = "a JWT".to_owned();
    for name in ["alg", "typ", "kid"] {
        if let Some(value) = header.get(name) {
            said += &format!(", {name} {value}");
        }
    }
    for name in ["iss", "sub", "user_id", "sid", "token_type"] {
        if let Some(value) = claims.get(name) {
            said += &format!(", {name} {value}");
        }
    }
    if let Some(exp) = claims.get("exp").and_then(Value::as_u64) {
        let exp = Timestamp::from_secs(exp);
        said += &if exp > at {
            format!(", expires {exp} (in {} s)", exp.since(at).as_secs())
        } else {
            format!(", expired {exp} ({} s ago)", at.since(exp).as_secs())
        };
    } else {
        said += ", without exp";
    }
    said + &format!("; claims {}", names(&claims))
}

/// A token for a service, as it is shown: never itself.
pub(super) fn shown(value: &str, at: Timestamp) -> String {
    let word = value.rsplit(' ').next().unwrap_or_default();
    let Some((header, claims)) = header(word).zip(claims(word)) else {
        return format!("<secret, {} characters>", word.chars().count());
    };
    let alg = header.get("alg").and_then(Value::as_str).unwrap_or("?");
    let exp = claims.get("exp").and_then(Value::as_u64).map(Timestamp::from_secs);
    let exp = exp.map_or_else(String::new, |exp| format!(", exp in {} s", exp.since(at).as_secs()));
    format!("<a token: {alg}{exp}, claims {}>", names(&claims))
}

fn names(claims: &Map<String, Value>) -> String {
    claims.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
}

fn header(token: &str) -> Option<Map<String, Value>> {
    part(token, 0)
}

fn claims(token: &str) -> Option<Map<String, Value>> {
    part(token, 1)
}

fn part(token: &str, index: usize) -> Option<Map<String, Value>> {
    let mut parts = token.split('.');
    if parts.clone().count() != 3 {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(parts.nth(index)?).ok()?;
    serde_json::from_slice(&bytes).ok()
}
