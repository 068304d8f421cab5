//! `GET /session`: who is signed in, when and how they signed in, and when the session ends.
//!
//! The answer has what a front end needs, but no token and nothing that could become one. 401 if nobody is signed in.

use http::StatusCode;
use serde_json::{Value, json};

use super::Endpoints;
use super::refused::Refused;
use crate::caller::{Assurance, Identity, Proof};
use crate::clock::Timestamp;
use crate::issuer::IssuedCredential;
use crate::issuer::credential::Credential;
use crate::session::personal_token::PersonalTokenUse;
use crate::store::Session;
use crate::wire::arrival::Arrival;
use crate::wire::reply::Reply;

impl Endpoints {
    /// Answers `GET /session`.
    pub(super) async fn session(&self, arrival: &Arrival) -> Result<Reply, Refused> {
        let description = match self.caller(arrival, PersonalTokenUse::Identification).await? {
            Credential::Session(session, proof) => describe(&session, proof),
            Credential::Issued(issued, _, Some(session)) => {
                let mut description = describe(&session, issued.proof());
                if let Value::Object(members) = &mut description {
                    members.insert("issuer".into(), issued.issuer().into());
                    members.insert("expires_at".into(), issued.expires_at().to_string().into());
                }
                description
            }
            Credential::Issued(issued, identity, None) => {
                describe_issued(&issued, &identity, issued.proof())
            }
        };
        Ok(Reply::json(StatusCode::OK, &description))
    }
}

fn describe(session: &Session, proof: Proof) -> Value {
    let identity = session.identity.load();
    let idle_end = session.last_used().plus(session.idle_timeout);
    json!({
        "user_id": &*identity.key.id,
        "username": identity.name,
        "directory": &*identity.key.directory,
        "groups": identity.groups,
        "session_id": session.id.as_str(),
        "proof": proof.name(),
        "amr": amr(session.assurance),
        "auth_time": auth_time(session.assurance),
        "acr": session.assurance.acr(),
        "signed_in_at": session.signed_in_at.to_string(),
        "last_used_at": session.last_used().to_string(),
        "idle_expires_at": idle_end.min(session.expires_at).to_string(),
        "expires_at": session.expires_at.to_string(),
    })
}

/// Describes a token of an `[[issuer]]`, which has no session, and so no times of one.
fn describe_issued(issued: &IssuedCredential, identity: &Identity, proof: Proof) -> Value {
    json!({
        "user_id": &*identity.key.id,
        "username": identity.name,
        "directory": &*identity.key.directory,
        "groups": identity.groups,
        "session_id": null,
        "proof": proof.name(),
        "amr": amr(issued.assurance()),
        "auth_time": auth_time(issued.assurance()),
        "acr": issued.assurance().acr(),
        "issuer": issued.issuer(),
        "expires_at": issued.expires_at().to_string(),
    })
}

/// Returns the methods, as in an access token; empty if they are unknown.
pub(super) fn amr(assurance: Assurance) -> Vec<&'static str> {
    assurance.methods.names().collect()
}

/// Returns seconds since 1970, as in an access token; `null` if the time is unknown.
fn auth_time(assurance: Assurance) -> Option<u64> {
    assurance.auth_time.map(Timestamp::as_secs)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::endpoint::tests;

    #[test]
    fn it_says_who_and_until_when() {
        let session = tests::session("s1", "2");
        session.touch(session.signed_in_at.plus(Duration::from_secs(60)));
        assert_eq!(
            describe(&session, Proof::SessionCookie),
            json!({
                "user_id": "2",
                "username": "kim",
                "directory": "django",
                "groups": ["staff"],
                "session_id": "s1",
                "proof": "session_cookie",
                "amr": ["pwd"],
                "auth_time": 1_795_422_879,
                "acr": null,
                "signed_in_at": "2026-11-23T08:34:39.000Z",
                "last_used_at": "2026-11-23T08:35:39.000Z",
                "idle_expires_at": "2026-11-24T08:35:39.000Z",
                "expires_at": "2026-12-23T08:34:39.000Z",
            })
        );
    }

    #[test]
    fn the_idle_end_is_never_later_than_the_absolute_one() {
        let session = tests::session("s1", "2");
        session.touch(session.expires_at.minus(Duration::from_secs(1)));
        let description = describe(&session, Proof::AccessToken);
        assert_eq!(description["idle_expires_at"], description["expires_at"]);
    }
}
