//! Detects that many sign-ins to one account failed, from any address.
//!
//! The lockout slows each network down by itself; this detects an account that many networks try. Attempts that the lockout
//! refused count too, because somebody made them. A success clears nothing, since an operator most needs to know of the
//! failures before a guess that succeeded. Names that no directory knows count as well; the client cannot tell the difference.
//!
//! Names can be arbitrarily long, so the counters hold their hashes and the finding the name of the last event.

use super::window::{RepeatRule, Windows};
use super::{Finding, Scene, Subject};
use crate::event::EventKind;

const FAILURES: Windows<()> = Windows::new("password_guessing", RepeatRule::AfterWindow);

pub(super) async fn observe(scene: Scene<'_>) -> Option<Finding> {
    let EventKind::SignInFailed { account, .. } = &scene.event.what else { return None };
    let failures = FAILURES.count(scene, account, ()).await?;
    Some(scene.finding(Subject::Account(account.clone()), failures.len()))
}

#[cfg(test)]
mod tests {
    use super::super::DetectorName;
    use super::super::testing::{
        NEVER, at, detector, event, failed, findings, fires_at, session, shown,
    };
    use super::*;
    use crate::event::Event;
    use crate::event::SignInFailure;

    fn miss(secs: u64, account: &str) -> Event {
        event(at(secs), "192.0.2.1", failed(account, SignInFailure::WrongPassword))
    }

    #[test]
    fn many_failures_of_one_account_are_a_finding_about_it_and_no_session() {
        let events = (0..4).map(|n| {
            let client = format!("192.0.2.{n}");
            event(at(n), &client, failed("ada", SignInFailure::WrongPassword))
        });
        let found = findings(&shown(DetectorName::PasswordGuessing, &detector(4)), events);
        let [(4, finding)] = &found[..] else { panic!("{found:?}") };
        assert_eq!(finding.subject, Subject::Account("ada".into()));
        assert_eq!((&finding.session, &finding.user, finding.evidence.count), (&None, &None, 4));
    }

    #[test]
    fn every_kind_of_failure_counts() {
        let events = SignInFailure::ALL.iter().map(|why| event(at(0), "::1", failed("ada", *why)));
        let all = u32::try_from(SignInFailure::ALL.len()).unwrap();
        assert_eq!(fires_at(&shown(DetectorName::PasswordGuessing, &detector(all)), events), [7]);
    }

    #[test]
    fn silent_below_the_threshold_beyond_the_window_and_over_several_accounts() {
        for events in [
            vec![miss(0, "ada"), miss(1, "ada")],
            vec![miss(0, "ada"), miss(30, "ada"), miss(60, "ada")],
            vec![miss(0, "ada"), miss(0, "bob"), miss(0, "ada"), miss(0, "eve")],
        ] {
            assert_eq!(
                fires_at(&shown(DetectorName::PasswordGuessing, &detector(3)), events),
                NEVER
            );
        }
    }

    #[test]
    fn a_success_between_does_not_hide_the_failures() {
        let (session, user) = session("a");
        let hit = EventKind::SignedIn {
            session,
            user,
            account: "ada".into(),
            tokens: true,
            cookie: false,
            known_device: true,
            methods: crate::caller::AuthMethods::default(),
        };
        let events = [miss(0, "ada"), miss(1, "ada"), event(at(2), "::1", hit), miss(3, "ada")];
        assert_eq!(fires_at(&shown(DetectorName::PasswordGuessing, &detector(3)), events), [4]);
    }
}
