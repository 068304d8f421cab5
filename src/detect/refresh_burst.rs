//! Detects that many access tokens were issued for one session in a short time: no front end needs them, but a script that
//! distributes them or an endless loop does.
//!
//! Callers that raced for one token and got the same answer count once, as one rotation.

use super::window::{RepeatRule, Windows};
use super::{Finding, Scene, Subject};
use crate::event::{EventKind, Refresh};

const REFRESHES: Windows<()> = Windows::new("refresh_burst", RepeatRule::AfterWindow);

pub(super) async fn observe(scene: Scene<'_>) -> Option<Finding> {
    let EventKind::Refreshed { session, user, how } = &scene.event.what else { return None };
    match how {
        Refresh::Rotated | Refresh::Kept => {}
        Refresh::ReplayedInGrace => return None,
    }
    let refreshes = REFRESHES.count(scene, session, ()).await?;
    Some(scene.finding(Subject::Session(session.clone()), refreshes.len()).of_user(user))
}

#[cfg(test)]
mod tests {
    use super::super::DetectorName;
    use super::super::testing::{NEVER, at, detector, event, findings, fires_at, session, shown};
    use super::*;
    use crate::caller::SessionId;
    use crate::event::Event;

    fn refreshed(secs: u64, name: &str, how: Refresh) -> Event {
        let (session, user) = session(name);
        event(at(secs), "192.0.2.1", EventKind::Refreshed { session, user, how })
    }

    #[test]
    fn the_threshold_within_the_window_is_a_finding_about_the_session() {
        let events = (0..5).map(|s| refreshed(s, "a", Refresh::Rotated));
        let found = findings(&shown(DetectorName::RefreshBurst, &detector(5)), events);
        let [(5, finding)] = &found[..] else { panic!("{found:?}") };
        assert_eq!(finding.session, Some(SessionId::new("a")));
        assert_eq!((finding.at, finding.evidence.count), (at(4), 5));
    }

    #[test]
    fn both_ways_of_issuing_count_and_a_shared_answer_does_not() {
        for (how, expected) in
            [(Refresh::Rotated, &[3][..]), (Refresh::Kept, &[3]), (Refresh::ReplayedInGrace, &[])]
        {
            let events = (0..3).map(|s| refreshed(s, "a", how));
            assert_eq!(
                fires_at(&shown(DetectorName::RefreshBurst, &detector(3)), events),
                expected,
                "{how:?}"
            );
        }
    }

    #[test]
    fn silent_below_the_threshold_beyond_the_window_and_over_several_sessions() {
        let rotated = |secs, name| refreshed(secs, name, Refresh::Rotated);
        for events in [
            vec![rotated(0, "a"), rotated(1, "a")],
            vec![rotated(0, "a"), rotated(30, "a"), rotated(60, "a")],
            vec![rotated(0, "a"), rotated(1, "b"), rotated(2, "a"), rotated(3, "c")],
        ] {
            assert_eq!(fires_at(&shown(DetectorName::RefreshBurst, &detector(3)), events), NEVER);
        }
    }

    #[test]
    fn a_burst_that_goes_on_is_told_once_a_window() {
        let events = (0..120).map(|s| refreshed(s, "a", Refresh::Kept));
        assert_eq!(fires_at(&shown(DetectorName::RefreshBurst, &detector(3)), events), [3, 65]);
    }
}
