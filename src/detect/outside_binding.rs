//! Detects that a session's credential was used outside the client that `tokens.bind` ties it to. The use was refused; the user
//! should know.

use super::window::{RepeatRule, Windows};
use super::{Finding, Scene, Subject};
use crate::event::EventKind;

const REFUSED: Windows<()> = Windows::new("outside_binding", RepeatRule::AfterWindow);

pub(super) async fn observe(scene: Scene<'_>) -> Option<Finding> {
    let EventKind::OutsideBinding { session, user } = &scene.event.what else { return None };
    let refused = REFUSED.count(scene, session, ()).await?;
    let country = scene.event.client.and_then(|client| scene.around.places.country(client));
    let finding = scene.finding(Subject::Session(session.clone()), refused.len());
    Some(finding.of_user(user).in_countries(country.into_iter().collect()))
}

#[cfg(test)]
mod tests {
    use super::super::DetectorName;
    use super::super::testing::{NEVER, at, detector, event, findings, fires_at, session, shown};
    use super::*;
    use crate::caller::SessionId;
    use crate::event::Event;
    use crate::geo::Country;

    fn outside(secs: u64, name: &str) -> Event {
        let (session, user) = session(name);
        event(at(secs), "2.0.0.1", EventKind::OutsideBinding { session, user })
    }

    #[test]
    fn a_use_outside_is_a_finding_about_session_and_user_once_a_window() {
        let found = findings(
            &shown(DetectorName::OutsideBinding, &detector(1)),
            (0..5).map(|s| outside(s, "a")),
        );
        let [(1, finding)] = &found[..] else { panic!("{found:?}") };
        assert_eq!(finding.session, Some(SessionId::new("a")));
        assert!(finding.user.is_some());
        assert_eq!(finding.evidence.countries, [Country::new("US").unwrap()]);
    }

    #[test]
    fn sessions_are_told_apart() {
        let events = [outside(0, "a"), outside(1, "b"), outside(2, "a")];
        assert_eq!(fires_at(&shown(DetectorName::OutsideBinding, &detector(3)), events), NEVER);
    }
}
