//! Explains the credentials of a request, one by one.

use http::header::{AUTHORIZATION, ORIGIN, REFERER};

use super::jwt;
use super::story::{Story, StoryMark};
use crate::caller::Proof;
use crate::clock::Timestamp;
use crate::config::CredentialSelection;
use crate::event::EventKind;
use crate::issuer::Issuers;
use crate::issuer::credential::{Credential, Presented};
use crate::refusal::Refusal;
use crate::session::personal_token::PersonalTokenUse;
use crate::wire::arrival::Arrival;
use crate::wire::authorization::{self, Authorization};

/// The facts about the credentials that the later steps need.
#[derive(Debug, Default)]
pub(super) struct FoundCredential {
    /// The caller's groups.
    pub(super) groups: Vec<String>,
    /// Whether the credential that counts is a cookie.
    pub(super) by_cookie: bool,
}

/// Adds a step for each credential; `passes` if the request got past all of them.
pub(super) async fn tell(
    story: &mut Story,
    issuers: &Issuers,
    arrival: &Arrival,
    looks_at: &CredentialSelection,
    personal: PersonalTokenUse<'_>,
    passes: bool,
) -> FoundCredential {
    let bad = if passes { StoryMark::Note } else { StoryMark::No };
    let mut found = Vec::new();
    match issuers.tokens(arrival, looks_at, personal).await {
        Ok(tokens) => found.extend(tokens),
        Err(Presented::Bad(refusal, proof)) => found.push(Err((refusal, proof))),
        Err(Presented::Malformed(refusal)) => {
            let text = format!("a header cannot be read as one credential ({})", refusal.code());
            story.step("credential", bad, text);
        }
        Err(Presented::Good(_) | Presented::Nothing) => {}
    }
    match issuers.cookies(arrival, looks_at).await {
        Ok(cookies) => found.extend(
            cookies.into_iter().map(|one| one.map_err(|refusal| (refusal, Proof::SessionCookie))),
        ),
        Err(refusal) => {
            let text = format!("the cookie cannot be read ({})", refusal.code());
            story.step("credential", bad, text);
        }
    }
    if found.is_empty() {
        let foreign = arrival.headers.contains_key(AUTHORIZATION)
            && !issuers.reads_authorization(&arrival.headers, looks_at);
        let text = if foreign && passes {
            "none that is accepted here; Authorization holds a credential of another kind"
        } else {
            "none"
        };
        story.step("credential", StoryMark::Note, text);
    }
    for one in &found {
        match one {
            Ok(credential) => {
                let text = describe(issuers, credential, arrival.at).await;
                story.step("credential", StoryMark::Yes, text);
            }
            Err((refusal, proof)) => {
                story.step("credential", bad, bad_one(arrival, *refusal, *proof));
            }
        }
    }
    for what in arrival.events.take() {
        if let EventKind::IssuedRefused { issuer, why } = what {
            let text = format!("the issuer {issuer} refuses it: {}", why.name());
            story.step("credential", bad, text);
        } else if let EventKind::PersonalTokenRefused { token, why } = what {
            let whose = token.map(|(id, user)| format!(" {id} of {user}"));
            let whose = whose.unwrap_or_default();
            let text = format!("the personal access token{whose} is refused: {}", why.name());
            story.step("credential", bad, text);
        }
    }
    let first = found.iter().find_map(|one| one.as_ref().ok());
    FoundCredential {
        groups: first.map(|one| one.identity().groups.clone()).unwrap_or_default(),
        by_cookie: first.is_some_and(|one| one.known().proof.is_sent_unasked()),
    }
}

/// Describes a valid credential.
pub(super) async fn describe(issuers: &Issuers, credential: &Credential, at: Timestamp) -> String {
    match credential {
        Credential::Session(session, proof) => {
            let identity = session.identity.load_full();
            // The session at hand was used a moment ago, by this check.
            let stored = issuers.sessions().session(&session.id, at).await;
            let last_used = stored.as_ref().unwrap_or(session).last_used();
            if let Some(grant) = &session.grant {
                return format!(
                    "the personal access token {:?} ({}) of {} ({}), for {}, by {}, last used {}, valid until {}",
                    grant.name,
                    session.id,
                    identity.key,
                    identity.name,
                    all_or(&grant.routes, "every route that takes such tokens"),
                    all_or(&grant.methods, "every method"),
                    last_used,
                    session.expires_at,
                );
            }
            format!(
                "{} of {} ({}), session {}, signed in {}, last used {}, ends {} at the latest",
                named(*proof),
                identity.key,
                identity.name,
                session.id,
                session.signed_in_at,
                last_used,
                session.expires_at,
            )
        }
        Credential::Issued(issued, identity, session) => {
            // Only a stored session has a last use: another would begin with the request.
            let session = match session {
                Some(session) => issuers.sessions().session(&session.id, at).await,
                None => None,
            };
            let session =
                session.map_or_else(String::new, |session| format!(", session {}", session.id));
            format!(
                "issued by {} to {} ({}), valid until {}{session}",
                issued.issuer(),
                identity.key,
                identity.name,
                issued.expires_at()
            )
        }
    }
}

fn all_or(names: &[String], all: &str) -> String {
    if names.is_empty() { all.to_owned() } else { names.join(", ") }
}

fn bad_one(arrival: &Arrival, refusal: Refusal, proof: Proof) -> String {
    let mut text = format!("{} does not hold: {}", named(proof), why(refusal));
    if proof == Proof::AccessToken
        && let Authorization::Bearer(shown) = authorization::read(&arrival.headers)
    {
        text += "; it says of itself: ";
        text += &jwt::said(shown, arrival.at);
    }
    if let Some(issuer) = proof.issuer() {
        text += &format!(" (the last that was asked is {})", issuer.as_str());
    }
    text
}

fn named(proof: Proof) -> String {
    match proof {
        Proof::AccessToken => "the access token".into(),
        Proof::SessionCookie => "the session cookie".into(),
        Proof::PersonalToken => "the personal access token".into(),
        Proof::Issued(_) | Proof::IssuedCookie(_) | Proof::Password(_) => {
            format!("what an issuer takes ({})", proof.name())
        }
    }
}

/// Returns the reason of a refusal, with more than a client is told.
pub(super) fn why(refusal: Refusal) -> String {
    match refusal {
        Refusal::SessionEnded => {
            "its session has ended (the audit trail says when), timed out, or never existed".into()
        }
        other => format!("{} ({})", other.detail(), other.code()),
    }
}

/// Describes the headers that the origin check uses.
pub(super) fn origin_of(arrival: &Arrival) -> String {
    let said = |name: &str| arrival.header(name).map_or_else(|| "none".to_owned(), str::to_owned);
    let referer = if arrival.headers.contains_key(REFERER) { "there" } else { "none" };
    format!(
        "{} from Sec-Fetch-Site {}, Origin {}, Referer {referer}; our own origin is {}",
        arrival.method,
        said("sec-fetch-site"),
        said(ORIGIN.as_str()),
        arrival.origin()
    )
}
