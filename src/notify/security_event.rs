//! `[[notify.security_events]]`: pushes (RFC 8935) Security Event Tokens (RFC 8417), so that other systems end their sessions.
//!
//! The events are CAEP's: `session-revoked` for every session that was ended for any reason except expiry, `credential-change`
//! if a user's password in the directory or their second factors changed, `assurance-level-change` if the user of a session
//! authenticated again and so changed its level. An operator's reset of second factors lowers no session's level: it ends the
//! sessions, which `session-revoked` reports.
//!
//! The token is signed with the key that signs access tokens, and verified with the same JWK set. Its `typ` prevents its use as
//! an access token, and it has no `sub` and no `exp` (RFC 8417 section 4.2): the subject is in `sub_id` (RFC 9493), by `iss`
//! and `sub` as in access tokens, and for a session by its id, the `sid` there.

use std::sync::Arc;

use async_trait::async_trait;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use reqwest::{Client, Url};
use serde_json::{Value, json};

use super::channel::{Deliver, Delivery, Parcel};
use super::news::{AssuranceNews, News, Person};
use super::post;
use crate::caller::AssuranceLevel;
use crate::clock::Timestamp;
use crate::config::SecurityEventsSettings;
use crate::secret::Secret;

const SESSION_REVOKED: &str = "https://schemas.openid.net/secevent/caep/event-type/session-revoked";
const CREDENTIAL_CHANGE: &str =
    "https://schemas.openid.net/secevent/caep/event-type/credential-change";

const ASSURANCE_LEVEL_CHANGE: &str =
    "https://schemas.openid.net/secevent/caep/event-type/assurance-level-change";
/// The authentication assurance levels of NIST SP 800-63 (CAEP section 3.4.1).
const LEVELS: &str = "NIST-AAL";

/// Signs claims as a token of the type `secevent+jwt`.
pub trait SignEvents: Send + Sync {
    /// Returns the compact serialization. The error is for the log.
    ///
    /// # Errors
    /// If there is no key to sign with.
    fn sign_event(&self, claims: &Value) -> Result<String, String>;
}

/// A receiver of security events.
pub struct SecurityEvents {
    client: Client,
    url: Url,
    audience: String,
    issuer: String,
    authorization: Option<HeaderValue>,
    keys: Arc<dyn SignEvents>,
}

impl SecurityEvents {
    /// Creates it; nothing is sent yet. `token`: the bearer token for the receiver.
    ///
    /// # Errors
    /// Which part of it cannot be used.
    pub fn new(
        settings: &SecurityEventsSettings,
        token: Option<&Secret>,
        issuer: &str,
        keys: Arc<dyn SignEvents>,
    ) -> Result<Self, String> {
        let authorization = |token: &Secret| {
            let value = format!("Bearer {}", token.expose().trim());
            let mut value = HeaderValue::try_from(value)
                .map_err(|_| "the token is not a valid header value")?;
            value.set_sensitive(true);
            Ok::<_, &str>(value)
        };
        Ok(Self {
            client: post::client(settings.timeout, settings.ca_file.as_deref())?,
            url: Url::parse(&settings.url).map_err(|error| error.to_string())?,
            audience: settings.audience.clone(),
            issuer: issuer.to_owned(),
            authorization: token.map(authorization).transpose()?,
            keys,
        })
    }

    /// Returns the claims; `None` for news that is no security event.
    fn claims(&self, parcel: &Parcel) -> Option<Value> {
        let user = |user: &Person| {
            let sub = user.key().to_string();
            json!({"format": "iss_sub", "iss": self.issuer, "sub": sub})
        };
        let (sub_id, kind, event) = match &parcel.news {
            News::SessionEnded(ended) => {
                let subject = of_session(&ended.session, user(&ended.user));
                let event = json!({
                    "event_timestamp": parcel.news.at().as_secs(),
                    "initiating_entity": initiated_by(&ended.why),
                    "reason_admin": {"en": ended.why},
                });
                (subject, SESSION_REVOKED, event)
            }
            News::PasswordChanged(changed) => {
                let event = json!({
                    "event_timestamp": parcel.news.at().as_secs(),
                    "credential_type": "password",
                    "change_type": "update",
                });
                (user(&changed.user), CREDENTIAL_CHANGE, event)
            }
            News::FactorChanged(changed) => {
                let change_type = match changed.change.as_str() {
                    "added" | "passkey_added" => "create",
                    "removed" | "passkey_removed" | "reset" => "revoke",
                    "renamed" | "recovery_renewed" => "update",
                    // Using up a recovery code changes nothing that other systems hold.
                    _ => return None,
                };
                // CAEP distinguishes platform from roaming authenticators; the gateway does not know which one a passkey is.
                let credential_type = match changed.change.as_str() {
                    "passkey_added" | "passkey_removed" => "fido2-roaming",
                    _ => "app",
                };
                let event = json!({
                    "event_timestamp": parcel.news.at().as_secs(),
                    "initiating_entity": if changed.change == "reset" { "admin" } else { "user" },
                    "credential_type": credential_type,
                    "change_type": change_type,
                });
                (user(&changed.user), CREDENTIAL_CHANGE, event)
            }
            News::PersonalTokenChanged(changed) => {
                let event = json!({
                    "event_timestamp": parcel.news.at().as_secs(),
                    "credential_type": "personal-access-token",
                    "change_type": if changed.change == "made" { "create" } else { "revoke" },
                });
                (user(&changed.user), CREDENTIAL_CHANGE, event)
            }
            News::AssuranceChanged(changed) => {
                let subject = of_session(&changed.session, user(&changed.user));
                (subject, ASSURANCE_LEVEL_CHANGE, level_change(changed)?)
            }
            News::Incident(_) | News::Answered(_) | News::LinkAsked(_) | News::CodeAsked(_) => {
                return None;
            }
        };
        Some(json!({
            "iss": self.issuer,
            "aud": self.audience,
            "iat": parcel.now.as_secs(),
            "jti": parcel.id,
            "sub_id": sub_id,
            "events": { kind: event },
        }))
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/secevent+jwt"));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(authorization) = &self.authorization {
            headers.insert(AUTHORIZATION, authorization.clone());
        }
        headers
    }
}

#[async_trait]
impl Deliver for SecurityEvents {
    async fn deliver(&self, parcel: &Parcel) -> Delivery {
        let Some(claims) = self.claims(parcel) else {
            return Delivery::Never("it is not a security event".to_owned());
        };
        match self.keys.sign_event(&claims) {
            Ok(token) => {
                let (headers, body) = (self.headers(), token.into_bytes());
                post::post(&self.client, &self.url, headers, body).await
            }
            Err(reason) => Delivery::Again(reason, None),
        }
    }
}

/// Returns the subject for a session of a user (RFC 9493 section 3.3).
fn of_session(session: &str, user: Value) -> Value {
    json!({"format": "complex", "session": {"format": "opaque", "id": session}, "user": user})
}

/// Returns a change of a session's level of assurance (CAEP section 3.4). Nothing is reported for a session that a service
/// began, because its previous level is unknown, nor for a level of another version.
fn level_change(changed: &AssuranceNews) -> Option<Value> {
    let nist = |name: &str| {
        AssuranceLevel::ALL.iter().find(|level| level.name() == name).map(|level| match level {
            AssuranceLevel::One => (*level, "nist-aal1"),
            AssuranceLevel::Two => (*level, "nist-aal2"),
        })
    };
    let (to, current) = nist(&changed.to)?;
    let mut event = json!({
        "event_timestamp": Timestamp::from_millis(changed.at).as_secs(),
        "initiating_entity": "user",
        "reason_admin": {"en": format!("proved: {}", changed.methods)},
        "namespace": LEVELS,
        "current_level": current,
    });
    if let (Some((from, previous)), Some(members)) =
        (changed.from.as_deref().and_then(nist), event.as_object_mut())
    {
        let direction = if from < to { "increase" } else { "decrease" };
        members.insert("previous_level".into(), previous.into());
        members.insert("change_direction".into(), direction.into());
    }
    Some(event)
}

/// Returns who initiated the end (CAEP section 2), by the name of the reason.
fn initiated_by(why: &str) -> &'static str {
    match why {
        "detected" | "refresh_reused" => "policy",
        "operator" => "admin",
        "directory_changed" => "system",
        _ => "user",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::news::{FactorNews, PasswordChangeNews, SessionEndNews};
    use super::*;

    struct Plain;

    impl SignEvents for Plain {
        fn sign_event(&self, claims: &Value) -> Result<String, String> {
            Ok(claims.to_string())
        }
    }

    fn receiver(token: Option<&Secret>) -> Result<SecurityEvents, String> {
        super::super::testing::install_crypto();
        let settings = SecurityEventsSettings {
            name: "partner".into(),
            url: "https://partner.example/events".into(),
            audience: "https://partner.example".into(),
            token_file: None,
            timeout: Duration::from_secs(1),
            ca_file: None,
        };
        SecurityEvents::new(&settings, token, "https://app.example", Arc::new(Plain))
    }

    fn claims(news: News) -> Option<Value> {
        let parcel = Parcel { id: "m1".into(), news, now: Timestamp::from_secs(2_000) };
        receiver(None).unwrap().claims(&parcel)
    }

    fn person() -> Person {
        Person { directory: "django".into(), id: "7".into() }
    }

    #[test]
    fn an_ended_session_is_revoked_by_its_id_and_its_user() {
        let news = News::SessionEnded(SessionEndNews {
            session: "s1".into(),
            user: person(),
            why: "detected".into(),
            at: 1_500_900,
        });
        let expected = json!({
            "iss": "https://app.example",
            "aud": "https://partner.example",
            "iat": 2000,
            "jti": "m1",
            "sub_id": {
                "format": "complex",
                "session": {"format": "opaque", "id": "s1"},
                "user": {"format": "iss_sub", "iss": "https://app.example", "sub": "django/7"},
            },
            "events": {
                "https://schemas.openid.net/secevent/caep/event-type/session-revoked": {
                    "event_timestamp": 1500,
                    "initiating_entity": "policy",
                    "reason_admin": {"en": "detected"},
                },
            },
        });
        assert_eq!(claims(news), Some(expected));
    }

    #[test]
    fn another_password_is_a_credential_change_and_an_incident_is_no_event() {
        let changed =
            claims(News::PasswordChanged(PasswordChangeNews { user: person(), at: 7_000 }))
                .unwrap();
        let kind = "https://schemas.openid.net/secevent/caep/event-type/credential-change";
        assert_eq!(changed["events"][kind]["change_type"], "update");
        assert_eq!(changed["events"][kind]["event_timestamp"], 7);
        assert_eq!(changed["sub_id"]["sub"], "django/7");
        let told = super::super::ToldIncident::new(
            "i".into(),
            &super::super::testing::incident("refresh_reuse", None, Some("7")),
        );
        assert_eq!(claims(News::Incident(told)), None);
    }

    #[test]
    fn a_change_of_second_factors_is_a_credential_change() {
        let kind = "https://schemas.openid.net/secevent/caep/event-type/credential-change";
        for (change, expected) in [
            ("added", Some(("create", "user"))),
            ("removed", Some(("revoke", "user"))),
            ("passkey_added", Some(("create", "user"))),
            ("passkey_removed", Some(("revoke", "user"))),
            ("reset", Some(("revoke", "admin"))),
            ("recovery_renewed", Some(("update", "user"))),
            ("recovery_used", None),
            ("invited", None),
        ] {
            let news = News::FactorChanged(FactorNews {
                user: person(),
                change: change.into(),
                at: 7_000,
            });
            let said = claims(news);
            let said = said.as_ref().map(|claims| &claims["events"][kind]);
            let said = said.map(|event| {
                let is_passkey = change.starts_with("passkey");
                let credential = if is_passkey { "fido2-roaming" } else { "app" };
                assert_eq!(event["credential_type"], credential);
                (
                    event["change_type"].as_str().unwrap(),
                    event["initiating_entity"].as_str().unwrap(),
                )
            });
            assert_eq!(said, expected, "{change}");
        }
    }

    #[test]
    fn another_level_of_assurance_is_told_with_the_one_before_if_that_is_known() {
        let kind = "https://schemas.openid.net/secevent/caep/event-type/assurance-level-change";
        for (from, to, expected) in [
            (Some("aal1"), "aal2", Some(("nist-aal2", Some(("nist-aal1", "increase"))))),
            (Some("aal2"), "aal1", Some(("nist-aal1", Some(("nist-aal2", "decrease"))))),
            (None, "aal2", Some(("nist-aal2", None))),
            (None, "aal1", Some(("nist-aal1", None))),
            (Some("aal9"), "aal2", Some(("nist-aal2", None))),
            (Some("aal1"), "aal9", None),
        ] {
            let said = claims(News::AssuranceChanged(AssuranceNews {
                session: "s1".into(),
                user: person(),
                from: from.map(str::to_owned),
                to: to.into(),
                methods: "pwd otp mfa".into(),
                at: 7_900,
            }));
            let expected = expected.map(|(current, before)| {
                let mut event = json!({
                    "event_timestamp": 7,
                    "initiating_entity": "user",
                    "reason_admin": {"en": "proved: pwd otp mfa"},
                    "namespace": "NIST-AAL",
                    "current_level": current,
                });
                if let Some((previous, direction)) = before {
                    event["previous_level"] = json!(previous);
                    event["change_direction"] = json!(direction);
                }
                event
            });
            assert_eq!(said.as_ref().map(|claims| claims["events"][kind].clone()), expected);
            let Some(said) = said else { continue };
            let session = json!({"format": "opaque", "id": "s1"});
            let user =
                json!({"format": "iss_sub", "iss": "https://app.example", "sub": "django/7"});
            let subject = json!({"format": "complex", "session": session, "user": user});
            assert_eq!(said["sub_id"], subject, "{from:?} {to}");
        }
    }

    #[test]
    fn the_receiver_knows_us_by_a_token() {
        let headers = receiver(Some(&Secret::new("abc\n"))).unwrap().headers();
        assert_eq!(headers[AUTHORIZATION], "Bearer abc");
        assert_eq!(headers[CONTENT_TYPE], "application/secevent+jwt");
        assert!(!format!("{headers:?}").contains("abc"));
        assert!(receiver(Some(&Secret::new("a\nb"))).is_err());
    }

    #[test]
    fn who_made_it_end_is_said_for_every_reason() {
        for why in crate::event::EndReason::ALL {
            let by = initiated_by(why.name());
            assert!(["user", "admin", "policy", "system"].contains(&by), "{}", why.name());
        }
        assert_eq!(initiated_by("not_me"), "user");
    }
}
