//! The messages in the outbox, as JSON: they must be readable after a restart, by a later version too.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Incident;
use super::codes::CodeAsked;
use super::links::LinkAsked;
use crate::caller::{SessionId, UserKey};
use crate::clock::Timestamp;
use crate::secret::Digest;

/// The content of one notification.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum News {
    /// A detector found something.
    Incident(ToldIncident),
    /// A user answered the question in the mail about an incident.
    Answered(IncidentReply),
    /// A session was ended for any reason except expiry.
    SessionEnded(SessionEndNews),
    /// A user's password in the directory has changed.
    PasswordChanged(PasswordChangeNews),
    /// A user's second factors changed.
    FactorChanged(FactorNews),
    /// A personal access token was created, or ended before its time.
    PersonalTokenChanged(PersonalTokenNews),
    /// A session's level of assurance changed.
    AssuranceChanged(AssuranceNews),
    /// A user requests a sign-in link.
    LinkAsked(LinkAsked),
    /// A user requests a code that replaces a second factor.
    CodeAsked(CodeAsked),
}

/// The kind of a [`News`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum NewsKind {
    /// [`News::Incident`]
    Incident,
    /// [`News::Answered`]
    Answered,
    /// [`News::SessionEnded`]
    SessionEnded,
    /// [`News::PasswordChanged`]
    PasswordChanged,
    /// [`News::FactorChanged`]
    FactorChanged,
    /// [`News::PersonalTokenChanged`]
    PersonalTokenChanged,
    /// [`News::AssuranceChanged`]
    AssuranceChanged,
    /// [`News::LinkAsked`]
    LinkAsked,
    /// [`News::CodeAsked`]
    CodeAsked,
}

/// An incident, as it is stored and sent.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ToldIncident {
    /// The id of the incident: the same in every channel.
    pub id: String,
    /// See [`Incident::detector`].
    pub detector: String,
    /// See [`Incident::at`], in milliseconds since 1970.
    pub at: u64,
    /// See [`Incident::user`].
    pub user: Option<Person>,
    /// See [`Incident::session`].
    pub session: Option<String>,
    /// See [`Incident::about`].
    #[serde(default)]
    pub about: Option<String>,
    /// See [`Incident::client`].
    pub client: Option<std::net::IpAddr>,
    /// See [`Incident::country`]: an ISO 3166-1 alpha-2 code.
    pub country: Option<String>,
    /// See [`Incident::agent`].
    pub agent: String,
    /// See [`Incident::actions`].
    pub actions: Vec<String>,
}

/// A [`UserKey`] in JSON.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Person {
    /// The directory.
    pub directory: String,
    /// The id in the directory.
    pub id: String,
}

/// A user's answer about an incident.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct IncidentReply {
    /// The incident.
    pub incident: ToldIncident,
    /// Whether the user said that it was them.
    pub was_me: bool,
    /// The number of sessions that were ended because it was not the user.
    pub ended: u64,
    /// The time of the answer, in milliseconds since 1970.
    pub at: u64,
}

/// A session that was ended.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct SessionEndNews {
    /// The session.
    pub session: String,
    /// The user of the session.
    pub user: Person,
    /// The stable name of the reason.
    pub why: String,
    /// When it ended, in milliseconds since 1970.
    pub at: u64,
}

/// A change of a password.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PasswordChangeNews {
    /// The user.
    pub user: Person,
    /// When it was noticed, in milliseconds since 1970.
    pub at: u64,
}

/// A change of a user's second factors.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FactorNews {
    /// The user.
    pub user: Person,
    /// The stable name of the change.
    pub change: String,
    /// When it changed, in milliseconds since 1970.
    pub at: u64,
}

/// A change of a user's personal access tokens.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PersonalTokenNews {
    /// The owner of the tokens.
    pub user: Person,
    /// `made` or `ended`.
    pub change: String,
    /// When it changed, in milliseconds since 1970.
    pub at: u64,
}

/// A change of a session's level of assurance.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AssuranceNews {
    /// The session.
    pub session: String,
    /// The user of the session.
    pub user: Person,
    /// The name of the previous level, if known.
    pub from: Option<String>,
    /// The name of the new level.
    pub to: String,
    /// The names of the authentication methods used.
    pub methods: String,
    /// When it changed, in milliseconds since 1970.
    pub at: u64,
}

impl News {
    /// Returns the kind.
    pub const fn kind(&self) -> NewsKind {
        match self {
            Self::Incident(_) => NewsKind::Incident,
            Self::Answered(_) => NewsKind::Answered,
            Self::SessionEnded(_) => NewsKind::SessionEnded,
            Self::PasswordChanged(_) => NewsKind::PasswordChanged,
            Self::FactorChanged(_) => NewsKind::FactorChanged,
            Self::PersonalTokenChanged(_) => NewsKind::PersonalTokenChanged,
            Self::AssuranceChanged(_) => NewsKind::AssuranceChanged,
            Self::LinkAsked(_) => NewsKind::LinkAsked,
            Self::CodeAsked(_) => NewsKind::CodeAsked,
        }
    }

    /// Returns the key by which equal news is recognized.
    pub(super) fn key(&self) -> Digest {
        let text = match self {
            Self::Incident(told) => return told.key(),
            Self::Answered(answered) => format!("answered\n{}", answered.incident.id),
            Self::SessionEnded(ended) => format!("ended\n{}", ended.session),
            Self::PasswordChanged(changed) => {
                format!("changed\n{}\n{}\n{}", changed.user.directory, changed.user.id, changed.at)
            }
            Self::FactorChanged(changed) => {
                let Person { directory, id } = &changed.user;
                format!("factor {}\n{directory}\n{id}\n{}", changed.change, changed.at)
            }
            Self::PersonalTokenChanged(changed) => {
                let Person { directory, id } = &changed.user;
                format!("token {}\n{directory}\n{id}\n{}", changed.change, changed.at)
            }
            Self::AssuranceChanged(changed) => {
                format!("assurance {}\n{}\n{}", changed.to, changed.session, changed.at)
            }
            // Requests go into the outbox under other keys, which count them (`RequestedMail`).
            Self::LinkAsked(asked) => format!("link\n{}\n{}", asked.account, asked.at),
            Self::CodeAsked(asked) => format!("code\n{}\n{}", asked.place, asked.at),
        };
        Digest::of(text.as_bytes())
    }

    /// Whether equal news is sent again after a cool-down. A session ends once, and a question is answered once.
    pub(super) const fn has_cool_down(&self) -> bool {
        matches!(self, Self::Incident(_))
    }

    /// Returns when it happened.
    pub const fn at(&self) -> Timestamp {
        Timestamp::from_millis(match self {
            Self::Incident(told) => told.at,
            Self::Answered(answered) => answered.at,
            Self::SessionEnded(ended) => ended.at,
            Self::PasswordChanged(changed) => changed.at,
            Self::FactorChanged(changed) => changed.at,
            Self::PersonalTokenChanged(changed) => changed.at,
            Self::AssuranceChanged(changed) => changed.at,
            Self::LinkAsked(asked) => asked.at,
            Self::CodeAsked(asked) => asked.at,
        })
    }

    /// Returns the text that the outbox stores.
    pub(super) fn to_body(&self) -> Vec<u8> {
        // It holds only texts and numbers, so serialization cannot fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Parses the text that the outbox stored.
    pub(super) fn of_body(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }
}

impl NewsKind {
    /// Returns the name that webhooks use.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Incident => "incident.detected",
            Self::Answered => "incident.answered",
            Self::SessionEnded => "session.ended",
            Self::PasswordChanged => "password.changed",
            Self::FactorChanged => "second_factor.changed",
            Self::PersonalTokenChanged => "personal_token.changed",
            Self::AssuranceChanged => "assurance.changed",
            Self::LinkAsked => "mailed_link.asked",
            Self::CodeAsked => "mailed_code.asked",
        }
    }
}

impl ToldIncident {
    /// Creates it from an incident, under this id.
    pub(super) fn new(id: String, incident: &Incident) -> Self {
        Self {
            id,
            detector: incident.detector.to_owned(),
            at: incident.at.as_millis(),
            user: incident.user.as_ref().map(Person::of),
            session: incident.session.as_ref().map(ToString::to_string),
            about: incident.about.as_deref().map(str::to_owned),
            client: incident.client,
            country: incident.country.map(|country| country.as_str().to_owned()),
            agent: incident.agent.to_string(),
            actions: incident.actions.iter().map(|action| (*action).to_owned()).collect(),
        }
    }

    fn key(&self) -> Digest {
        super::key(
            &self.detector,
            self.session.as_deref(),
            self.user.as_ref().map(|user| format!("{}/{}", user.directory, user.id)).as_deref(),
            self.about.as_deref(),
            self.client,
        )
    }

    /// Returns the user concerned.
    pub fn user_key(&self) -> Option<UserKey> {
        self.user.as_ref().map(Person::key)
    }

    /// Returns the session concerned.
    pub fn session_id(&self) -> Option<SessionId> {
        self.session.as_deref().map(SessionId::new)
    }
}

impl Person {
    /// Returns the person of this user.
    pub fn of(user: &UserKey) -> Self {
        Self { directory: user.directory.to_string(), id: user.id.to_string() }
    }

    /// Returns the key of the user.
    pub fn key(&self) -> UserKey {
        UserKey { directory: Arc::from(&*self.directory), id: Arc::from(&*self.id) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::incident;
    use super::*;

    #[test]
    fn what_was_written_is_read_again() {
        let told =
            ToldIncident::new("i1".into(), &incident("refresh_reuse", Some("s1"), Some("7")));
        let user = Person { directory: "django".into(), id: "7".into() };
        for news in [
            News::Incident(told.clone()),
            News::Incident(ToldIncident::new(
                "i2".into(),
                &incident("password_guessing", None, None),
            )),
            News::Answered(IncidentReply { incident: told, was_me: false, ended: 2, at: 5 }),
            News::SessionEnded(SessionEndNews {
                session: "s1".into(),
                user: user.clone(),
                why: "detected".into(),
                at: 5,
            }),
            News::PasswordChanged(PasswordChangeNews { user: user.clone(), at: 5 }),
            News::FactorChanged(FactorNews { user: user.clone(), change: "added".into(), at: 5 }),
            News::PersonalTokenChanged(PersonalTokenNews {
                user: user.clone(),
                change: "made".into(),
                at: 5,
            }),
            News::AssuranceChanged(AssuranceNews {
                session: "s1".into(),
                user,
                from: Some("aal1".into()),
                to: "aal2".into(),
                methods: "pwd otp mfa".into(),
                at: 5,
            }),
        ] {
            assert_eq!(News::of_body(&news.to_body()), Some(news));
        }
        assert_eq!(News::of_body(b"{}"), None);
    }

    #[test]
    fn a_member_that_a_later_version_adds_does_not_hurt() {
        let news = News::Incident(ToldIncident::new(
            "i".into(),
            &incident("refresh_reuse", None, Some("7")),
        ));
        let mut body: serde_json::Value = serde_json::from_slice(&news.to_body()).unwrap();
        body["later"] = serde_json::json!({"more": 1});
        assert_eq!(News::of_body(body.to_string().as_bytes()), Some(news));
    }

    #[test]
    fn an_incident_keeps_its_key_in_the_outbox() {
        for incident in [
            incident("refresh_reuse", Some("s1"), Some("7")),
            incident("refresh_reuse", None, Some("7")),
            incident("refresh_reuse", None, None),
        ] {
            let news = News::Incident(ToldIncident::new("i".into(), &incident));
            assert_eq!(news.key(), incident.key());
        }
    }
}
