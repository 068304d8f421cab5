//! Detects that one user has more live sessions than allowed; the finding is about the oldest session.
//!
//! Each sign-in above the threshold is a finding and names one session, so that the count stays at the threshold. The session
//! store counts them; this detector has no state.

use super::{Finding, Scene, Subject};

pub(super) async fn observe(scene: Scene<'_>) -> Option<Finding> {
    let (user, sessions) = (scene.event.what.began()?, scene.around.sessions);
    let most = usize::try_from(scene.settings.threshold).unwrap_or(usize::MAX);
    if sessions.len() <= most {
        return None;
    }
    let oldest = sessions.last()?.clone();
    let finding = scene.finding(Subject::User(user.clone()), sessions.len());
    Some(Finding { session: Some(oldest), ..finding.of_user(user) })
}

#[cfg(test)]
mod tests {
    use super::super::DetectorName;
    use super::super::testing::{around, at, detector, shown, signed_in};
    use crate::caller::SessionId;
    use crate::detect::Surroundings;

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
            let found =
                shown(DetectorName::SessionCount, &detector(threshold)).observe(&event, &around);
            let about = found.as_ref().and_then(|finding| finding.session.clone());
            assert_eq!(about, oldest.map(SessionId::new), "{threshold}");
            if let Some(finding) = found {
                assert_eq!(finding.subject.to_string(), "django/1");
                assert_eq!(finding.evidence.count, sessions.len());
            }
        }
    }
}
