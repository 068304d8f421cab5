//! Detects that a user signed in on an unknown device: without the device cookie, and with a kind of client and from a network
//! that are new for this user.
//!
//! Scripts and apps store no cookies, so the cookie alone would report each of their sign-ins. The network is its operator,
//! where a database knows it (a phone's addresses are a carrier's), else its /24 or /48. The first sign-in of a user is no
//! finding.

use super::client_change::kind;
use super::history::HistoryKey;
use super::window::{RepeatRule, Windows};
use super::{Finding, Scene, Subject};
use crate::event::EventKind;
use crate::wire::client_ip::network_24_or_48;

const SORT: &str = "device";

const SIGN_INS: Windows<()> = Windows::new("new_device", RepeatRule::AtThreshold);

pub(super) async fn observe(scene: Scene<'_>) -> Option<Finding> {
    let Scene { event, around, .. } = scene;
    let (session, user) = event.what.sign_in()?;
    let client = event.client?;
    let network = match around.places.asn(client) {
        Some(asn) => format!("AS{}", asn.0),
        None => network_24_or_48(client).to_string(),
    };
    let kind = event.agent.as_deref().and_then(kind).unwrap_or_default();
    let device = format!("{kind}\0{network}");
    let (any, this) = (HistoryKey::Any(SORT), HistoryKey::One(SORT, &device));
    let is_first = !around.history.has(user, any, event.at);
    let is_known = around.history.has(user, this, event.at);
    let has_cookie = matches!(event.what, EventKind::SignedIn { known_device: true, .. });
    around.history.note(user, any, event.at);
    around.history.note(user, this, event.at);
    if is_first || is_known || has_cookie {
        return None;
    }
    let sign_ins = SIGN_INS.count(scene, user, ()).await?;
    let country = around.places.country(client);
    let finding = scene.finding(Subject::Session(session.clone()), sign_ins.len());
    Some(finding.of_user(user).in_countries(country.into_iter().collect()))
}

#[cfg(test)]
mod tests {
    use super::super::DetectorName;
    use super::super::testing::{NEVER, at, detector, findings, fires_at, shown, signed_in};

    #[test]
    fn a_sign_in_without_the_cookie_where_nobody_was_is_a_finding_once() {
        let events = [
            signed_in(at(0), "1", "192.0.2.1", false),
            signed_in(at(1), "1", "198.51.100.1", false),
            signed_in(at(2), "1", "198.51.100.99", false),
        ];
        let found = findings(&shown(DetectorName::NewDevice, &detector(1)), events);
        let [(2, finding)] = &found[..] else { panic!("{found:?}") };
        assert!(finding.session.is_some() && finding.user.is_some());
    }

    #[test]
    fn silent_with_the_cookie_for_a_script_at_its_place_and_for_a_first_sign_in() {
        for events in [
            vec![
                signed_in(at(0), "1", "192.0.2.1", false),
                signed_in(at(1), "1", "198.51.100.1", true),
            ],
            (0..50).map(|secs| signed_in(at(secs), "1", "192.0.2.1", false)).collect(),
            (0..50)
                .map(|n| signed_in(at(n), &n.to_string(), &format!("192.0.{n}.1"), false))
                .collect(),
        ] {
            assert_eq!(fires_at(&shown(DetectorName::NewDevice, &detector(1)), events), NEVER);
        }
    }
}
