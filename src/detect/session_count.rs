//! One user has more live sessions than is allowed: the oldest is what the finding is about.
//!
//! Each sign-in beyond the threshold is a finding and names one session, so that the count stays at the threshold. They are
//! counted by whoever keeps sessions; this remembers nothing.

use super::{Detector, DetectorName, Evidence, Finding, Subject, Surroundings};
use crate::config;
use crate::event::Event;

struct SessionCount {
    settings: config::DetectorSettings,
}

pub(super) fn build(settings: &config::DetectorSettings) -> impl Detector + use<> {
    SessionCount { settings: settings.clone() }
}

impl Detector for SessionCount {
    fn observe(&mut self, event: &Event, around: &Surroundings<'_>) -> Option<Finding> {
        let user = event.what.began()?;
        let most = usize::try_from(self.settings.threshold).unwrap_or(usize::MAX);
        if around.sessions.len() <= most {
            return None;
        }
        let oldest = around.sessions.last()?.clone();
        let evidence = Evidence::count(around.sessions.len(), self.settings.window);
        let subject = Subject::User(user.clone());
        let finding = Finding::new(DetectorName::SessionCount, event, subject, evidence);
        Some(Finding { session: Some(oldest), ..finding.of_user(user) })
    }

    fn judge_by(&mut self, settings: &config::DetectorSettings) {
        self.settings = settings.clone();
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{around, at, detector, signed_in};
    use super::*;
    use crate::caller::SessionId;

    #[test]
    fn the_oldest_of_too_many_is_what_the_finding_is_about() {
        let all: Vec<SessionId> = ["new", "middle", "old"].map(SessionId::new).to_vec();
        let event = signed_in(at(0), "1", "192.0.2.1", true);
        for (threshold, sessions, oldest) in [
            (3, &all[..], None),
            (2, &all[..], Some("old")),
            (1, &all[..2], Some("middle")),
            (1, &all[..1], None),
        ] {
            let around = Surroundings { sessions, ..around() };
            let found = build(&detector(threshold)).observe(&event, &around);
            let about = found.as_ref().and_then(|finding| finding.session.clone());
            assert_eq!(about, oldest.map(SessionId::new), "{threshold}");
            if let Some(finding) = found {
                assert_eq!(finding.subject.to_string(), "django/1");
                assert_eq!(finding.evidence.count, sessions.len());
            }
        }
    }
}
