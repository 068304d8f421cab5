//! Notifications about incidents: the incident as a plain value, and the port that takes it.
//!
//! Reporting an incident never waits and never fails: a channel or store that is down, or a full queue, must not slow down a
//! request or a detector. Lost incidents are counted.
//!
//! One incident is one message. Within a cool-down, an incident with the same [`Incident::key`] is no new message.

mod answers;
mod channel;
mod codes;
mod links;
mod mail;
mod news;
mod post;
mod queue;
mod requested;
mod security_event;
mod tries_by_address;
mod webhook;
mod worker;

use std::net::IpAddr;
use std::sync::Arc;

pub use self::answers::IncidentQuestions;
pub use self::channel::{Channel, Channels, Deliver, Delivery, Pace, Parcel};
pub use self::codes::{CodeAsked, IssueCodes, MailedCodes};
pub use self::links::{LINK, LinkAsked, MailedLink, MailedLinks, hash_text};
pub use self::mail::{
    CodeMail, IncidentText, LinkMail, Mail, MailParts, Question, describe, device, time,
    what_was_found,
};
pub use self::news::{
    AssuranceNews, FactorNews, IncidentReply, News, NewsKind, PasswordChangeNews, Person,
    SessionEndNews, ToldIncident,
};
pub use self::queue::{NewsQueue, NewsSink, queue};
pub use self::requested::RequestedLetters;
pub use self::security_event::{SecurityEvents, SignEvents};
pub use self::tries_by_address::TryRefused;
pub use self::webhook::Webhook;
pub use self::worker::{Counting, DeliveryOutcome, Worker};
use crate::caller::{SessionId, UserKey};
use crate::clock::Timestamp;
use crate::geo::Country;
use crate::secret::Digest;

/// An anomaly, with what its recipients need.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Incident {
    /// The name of the detector that found it.
    pub detector: &'static str,
    /// When it happened.
    pub at: Timestamp,
    /// The user concerned. `None` if it is about an address, or a name that no directory knows; then no mail is sent.
    pub user: Option<UserKey>,
    /// The session concerned, if there is one.
    pub session: Option<SessionId>,
    /// The subject if it is neither of them: the name given, or the network. So many guesses from everywhere at one name are
    /// one incident.
    pub about: Option<Arc<str>>,
    /// The client's address.
    pub client: Option<IpAddr>,
    /// The country of that address, if a database knows it.
    pub country: Option<Country>,
    /// The `User-Agent`, as the client sent it; empty if it sent none. Users see a description instead.
    pub agent: Arc<str>,
    /// The actions taken, by their stable names.
    pub actions: Vec<&'static str>,
}

/// Takes incidents.
pub trait Notices: Send + Sync {
    /// Takes one incident. Never waits; an incident that does not fit is dropped and counted.
    fn tell(&self, incident: Incident);
}

impl Incident {
    /// Returns the key that identifies the incident: the detector with the session, else the user (and the subject, if there is
    /// one), else the name or network, else the address.
    pub fn key(&self) -> Digest {
        let session = self.session.as_ref().map(SessionId::as_str);
        let user = self.user.as_ref().map(ToString::to_string);
        key(self.detector, session, user.as_deref(), self.about.as_deref(), self.client)
    }
}

fn key(
    detector: &str,
    session: Option<&str>,
    user: Option<&str>,
    about: Option<&str>,
    client: Option<IpAddr>,
) -> Digest {
    let subject = match (session, user, about, client) {
        (Some(session), _, _, _) => format!("session {session}"),
        (None, Some(user), Some(about), _) => format!("user {user} about {about}"),
        (None, Some(user), None, _) => format!("user {user}"),
        (None, None, Some(about), _) => format!("about {about}"),
        (None, None, None, Some(client)) => format!("address {client}"),
        (None, None, None, None) => String::new(),
    };
    Digest::of(format!("{detector}\n{subject}").as_bytes())
}

#[cfg(test)]
mod testing;

#[cfg(test)]
mod tests {
    use super::testing::incident;
    use super::*;

    #[test]
    fn the_same_thing_twice_has_one_key() {
        let first = incident("refresh_reuse", Some("s1"), Some("7"));
        let later =
            Incident { at: Timestamp::from_secs(99), agent: "other".into(), ..first.clone() };
        assert_eq!(first.key(), later.key());
    }

    #[test]
    fn another_detector_session_user_or_address_is_another_incident() {
        let other_address = Incident {
            client: Some("198.51.100.1".parse().unwrap()),
            ..incident("refresh_reuse", None, None)
        };
        let keys: std::collections::BTreeSet<_> = [
            incident("refresh_reuse", Some("s1"), Some("7")),
            incident("refresh_burst", Some("s1"), Some("7")),
            incident("refresh_reuse", Some("s2"), Some("7")),
            incident("refresh_reuse", None, Some("7")),
            incident("refresh_reuse", None, Some("8")),
            incident("refresh_reuse", None, None),
            Incident { about: Some("ada".into()), ..incident("refresh_reuse", None, None) },
            other_address,
        ]
        .iter()
        .map(Incident::key)
        .collect();
        assert_eq!(keys.len(), 8);
        let from = |client: &str| Incident {
            about: Some("ada".into()),
            client: Some(client.parse().unwrap()),
            ..incident("password_guessing", None, None)
        };
        assert_eq!(from("192.0.2.1").key(), from("198.51.100.1").key(), "wherever it comes from");
    }
}
