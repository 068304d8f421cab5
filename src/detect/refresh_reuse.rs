//! Detects that a spent refresh token was presented outside the grace window: two parties hold one token, and one of them stole
//! it.
//!
//! The store ended the session in the same call that detected the reuse, so `end_session` has nothing left to end here. Reuses
//! are counted per user: a session has at most one, so a threshold above 1 requires several of the same user.

use super::window::{RepeatRule, Windows};
use super::{Finding, Scene, Subject};
use crate::event::EventKind;

const REUSES: Windows<()> = Windows::new("refresh_reuse", RepeatRule::AtThreshold);

pub(super) async fn observe(scene: Scene<'_>) -> Option<Finding> {
    let EventKind::RefreshReused { session, user } = &scene.event.what else { return None };
    let reuses = REUSES.count(scene, user, ()).await?;
    Some(scene.finding(Subject::Session(session.clone()), reuses.len()).of_user(user))
}

#[cfg(test)]
mod tests {
    use super::super::DetectorName;
    use super::super::testing::{NEVER, at, detector, event, findings, fires_at, shown};
    use super::*;
    use crate::caller::SessionId;
    use crate::caller::UserKey;
    use crate::event::Event;
    use crate::event::{Refresh, RefreshRefusal};

    fn reuse(secs: u64, session: &str, user: &str) -> Event {
        let what = EventKind::RefreshReused {
            session: SessionId::new(session),
            user: UserKey::new("django", user),
        };
        event(at(secs), "192.0.2.1", what)
    }

    #[test]
    fn one_reuse_is_a_finding_about_its_session() {
        let found =
            findings(&shown(DetectorName::RefreshReuse, &detector(1)), [reuse(0, "a", "1")]);
        let (_, finding) = &found[0];
        assert_eq!(finding.detector, DetectorName::RefreshReuse);
        assert_eq!(finding.session, Some(SessionId::new("a")));
        assert_eq!(finding.user, Some(UserKey::new("django", "1")));
        assert_eq!((finding.at, finding.evidence.count), (at(0), 1));
    }

    #[test]
    fn every_session_that_was_stolen_is_told() {
        let reuses = [reuse(0, "a", "1"), reuse(1, "b", "1"), reuse(2, "c", "2")];
        assert_eq!(fires_at(&shown(DetectorName::RefreshReuse, &detector(1)), reuses), [1, 2, 3]);
    }

    #[test]
    fn a_higher_threshold_counts_a_users_reuses_within_the_window() {
        for (events, expected) in [
            (vec![reuse(0, "a", "1")], &[][..]),
            (vec![reuse(0, "a", "1"), reuse(59, "b", "1")], &[2]),
            (vec![reuse(0, "a", "1"), reuse(60, "b", "1")], &[]),
            (vec![reuse(0, "a", "1"), reuse(1, "b", "2")], &[]),
        ] {
            assert_eq!(
                fires_at(&shown(DetectorName::RefreshReuse, &detector(2)), events),
                expected
            );
        }
    }

    #[test]
    fn racing_callers_and_stale_tokens_are_no_reuse() {
        let raced = EventKind::Refreshed {
            session: SessionId::new("a"),
            user: UserKey::new("django", "1"),
            how: Refresh::ReplayedInGrace,
        };
        let refused = RefreshRefusal::ALL.iter().map(|why| EventKind::RefreshRefused { why: *why });
        let events = refused.chain([raced]).map(|what| event(at(0), "192.0.2.1", what));
        assert_eq!(fires_at(&shown(DetectorName::RefreshReuse, &detector(1)), events), NEVER);
    }
}
