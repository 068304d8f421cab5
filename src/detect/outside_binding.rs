//! A session's credential was used outside what `tokens.bind` ties it to. The use was refused; the person should know.

use super::window::{Again, Windows};
use super::{Detector, DetectorName, Evidence, Finding, Subject, Surroundings};
use crate::caller::SessionId;
use crate::config;
use crate::event::{Event, EventKind};

struct OutsideBinding {
    settings: config::DetectorSettings,
    refused: Windows<SessionId, ()>,
}

pub(super) fn build(settings: &config::DetectorSettings) -> impl Detector + use<> {
    OutsideBinding {
        refused: Windows::new(settings.threshold, settings.window, Again::AfterWindow),
        settings: settings.clone(),
    }
}

impl Detector for OutsideBinding {
    fn observe(&mut self, event: &Event, around: &Surroundings<'_>) -> Option<Finding> {
        let EventKind::OutsideBinding { session, user } = &event.what else { return None };
        let refused = self.refused.count(session.clone(), (), event.at)?;
        let country = event.client.and_then(|client| around.places.country(client));
        let evidence = Evidence {
            count: refused.len(),
            window: self.settings.window,
            countries: country.into_iter().collect(),
        };
        let subject = Subject::Session(session.clone());
        Some(Finding::new(DetectorName::OutsideBinding, event, subject, evidence).of_user(user))
    }

    fn judge_by(&mut self, settings: &config::DetectorSettings) {
        self.refused.judge_by(settings.threshold, settings.window);
        self.settings = settings.clone();
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{NEVER, at, detector, event, findings, fires_at, session};
    use super::*;
    use crate::geo::Country;

    fn outside(secs: u64, name: &str) -> Event {
        let (session, user) = session(name);
        event(at(secs), "2.0.0.1", EventKind::OutsideBinding { session, user })
    }

    #[test]
    fn a_use_outside_is_a_finding_about_session_and_user_once_a_window() {
        let found = findings(&mut build(&detector(1)), (0..5).map(|s| outside(s, "a")));
        let [(1, finding)] = &found[..] else { panic!("{found:?}") };
        assert_eq!(finding.session, Some(SessionId::new("a")));
        assert!(finding.user.is_some());
        assert_eq!(finding.evidence.countries, [Country::new("US").unwrap()]);
    }

    #[test]
    fn sessions_are_told_apart() {
        let events = [outside(0, "a"), outside(1, "b"), outside(2, "a")];
        assert_eq!(fires_at(&mut build(&detector(3)), events), NEVER);
    }
}
