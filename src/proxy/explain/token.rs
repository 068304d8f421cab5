//! Explains a token alone: its owner, its kind, and whether it is valid.

use std::net::{IpAddr, Ipv4Addr};

use serde_json::Value;

use super::credential::{describe, why};
use super::jwt::{header, said};
use super::story::{Story, StoryEnd, StoryMark};
use crate::caller::Proof;
use crate::clock::Timestamp;
use crate::context::Events;
use crate::event::{EventKind, TokenRefusal};
use crate::issuer::Issuers;
use crate::issuer::credential::Credential;
use crate::refusal::Refusal;
use crate::secret::Secret;
use crate::session::personal_token::{PersonalTokenUse, says_token};
use crate::session::{RefreshLook, looks_like_ours};

/// The address of a token's sender: a token by itself has none.
const NOWHERE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// Explains a token by asking everybody who could have issued it.
pub(super) async fn explain(issuers: &Issuers, token: &Secret, at: Timestamp) -> Value {
    let mut story = Story::default();
    let text = token.expose();
    if says_token(text.as_bytes()) {
        return personal(story, issuers, text, at).await;
    }
    story.step("form", StoryMark::Note, said(text, at));
    if looks_like_ours(text) {
        return ours(story, issuers, text, at).await;
    }
    let events = Events::default();
    let mut worst = Refusal::TokenNotValid;
    let mut good = false;
    let by_cookie = issuers.sessions().cookie(text, NOWHERE, at, &events).await;
    match by_cookie {
        Ok(session) => {
            good = true;
            let credential = Credential::Session(session, Proof::SessionCookie);
            story.step("cookie", StoryMark::Yes, describe(issuers, &credential, at).await);
        }
        Err(refusal) => {
            let text = format!("as the session cookie: {}", why(refusal));
            story.step("cookie", StoryMark::Note, text);
        }
    }
    let all = issuers.shown_to_issuers(text, at, &events).await;
    let happened = events.take();
    for (issuer, judged) in all {
        match judged {
            Ok(credential) => {
                good = true;
                story.step("issuer", StoryMark::Yes, describe(issuers, &credential, at).await);
            }
            Err(refusal) => {
                let reason = happened.iter().rev().find_map(|what| match what {
                    EventKind::IssuedRefused { issuer: named, why } if *named == issuer => {
                        Some(*why)
                    }
                    _ => None,
                });
                let reason = reason.map_or_else(|| refusal.code(), |why| why.name());
                if refusal != Refusal::TokenNotValid {
                    worst = refusal;
                }
                story.step("issuer", StoryMark::Note, format!("{issuer} refuses it: {reason}"));
            }
        }
    }
    if good {
        return story.end(StoryEnd::Good);
    }
    story.refused("decision", worst, &format!("no issuer accepts it ({})", worst.code()))
}

async fn personal(mut story: Story, issuers: &Issuers, text: &str, at: Timestamp) -> Value {
    let events = Events::default();
    let asked = PersonalTokenUse::Identification;
    match issuers.sessions().personal_tokens().session_of(text, asked, NOWHERE, at, &events).await {
        Ok(session) => {
            let credential = Credential::Session(session, Proof::PersonalToken);
            story.step("token", StoryMark::Yes, describe(issuers, &credential, at).await);
            story.end(StoryEnd::Good)
        }
        Err(refusal) => {
            let is_malformed = events.has(|what| {
                matches!(what, EventKind::PersonalTokenRefused { why: TokenRefusal::Malformed, .. })
            });
            let why = match is_malformed {
                true => "it is no personal access token: its form or its checksum is wrong".into(),
                false => match refusal {
                    Refusal::TokenNotValid => {
                        "there is no such personal access token: it never existed, has expired, or has ended".into()
                    }
                    other => why(other),
                },
            };
            story.refused("token", refusal, &why)
        }
    }
}

async fn ours(mut story: Story, issuers: &Issuers, text: &str, at: Timestamp) -> Value {
    let is_refresh =
        header(text).is_some_and(|header| header.get("typ").is_some_and(|typ| typ == "rt+jwt"));
    if is_refresh {
        return match issuers.sessions().refresh_tokens().look(text, at).await {
            Ok(RefreshLook::Fresh(session)) => {
                let credential = Credential::Session(session, Proof::AccessToken);
                let session = describe(issuers, &credential, at)
                    .await
                    .replace("the access token", "a session");
                story.step(
                    "refresh",
                    StoryMark::Yes,
                    format!("a refresh token, unspent: {session}"),
                );
                story.end(StoryEnd::Good)
            }
            Ok(RefreshLook::Spent(_, spent_at)) => {
                let why = format!(
                    "a refresh token that was spent at {spent_at}; presented again after the grace period, it ends its session"
                );
                story.refused("refresh", Refusal::TokenBlacklisted, &why)
            }
            Err(refusal) => story.refused("refresh", refusal, &why(refusal)),
        };
    }
    match issuers.sessions().bearer(text, NOWHERE, at, &Events::default()).await {
        Ok(session) => {
            let credential = Credential::Session(session, Proof::AccessToken);
            story.step("access", StoryMark::Yes, describe(issuers, &credential, at).await);
            story.end(StoryEnd::Good)
        }
        Err(refusal) => story.refused("access", refusal, &why(refusal)),
    }
}
