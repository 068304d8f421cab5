//! Detects that many networks try passwords on one account: an attacker who distributes more guesses than one network may make.
//!
//! The lockout handles the guesses (unknown clients wait longer and longer, known devices do not), so there is nothing to
//! block, but the account's owner should know. Only distinct networks (/24, /48) count: a person who forgot a password tries
//! from one or two.

use super::window::{RepeatRule, Windows};
use super::{Finding, Scene, Subject};
use crate::event::EventKind;
use crate::store::counters::CounterKey;
use crate::wire::client_ip::network_24_or_48;

const NETWORKS: Windows<CounterKey> = Windows::new("distributed_guessing", RepeatRule::AfterWindow);

pub(super) async fn observe(scene: Scene<'_>) -> Option<Finding> {
    let EventKind::SignInFailed { account, .. } = &scene.event.what else { return None };
    let network = CounterKey::of(&network_24_or_48(scene.event.client?).to_string());
    let networks = NETWORKS.distinct(scene, account, network).await?;
    Some(scene.finding(Subject::Account(account.clone()), networks.len()))
}

#[cfg(test)]
mod tests {
    use super::super::DetectorName;
    use super::super::testing::{NEVER, at, detector, event, failed, findings, fires_at, shown};
    use super::*;
    use crate::event::Event;
    use crate::event::SignInFailure;

    fn miss(secs: u64, client: &str, account: &str) -> Event {
        event(at(secs), client, failed(account, SignInFailure::WrongPassword))
    }

    #[test]
    fn one_account_tried_from_many_networks_is_a_finding_about_it() {
        let events = (0..3).map(|n| miss(n, &format!("192.0.{n}.1"), "ada"));
        let found = findings(&shown(DetectorName::DistributedGuessing, &detector(3)), events);
        let [(3, finding)] = &found[..] else { panic!("{found:?}") };
        assert_eq!(finding.subject, Subject::Account("ada".into()));
        assert_eq!((&finding.session, &finding.user, finding.evidence.count), (&None, &None, 3));
    }

    #[test]
    fn silent_for_one_network_below_the_threshold_beyond_the_window_and_over_accounts() {
        for events in [
            (0..50).map(|n| miss(0, &format!("192.0.2.{n}"), "ada")).collect::<Vec<_>>(),
            vec![miss(0, "192.0.1.1", "ada"), miss(0, "192.0.2.1", "ada")],
            (0..3).map(|n| miss(30 * n, &format!("192.0.{n}.1"), "ada")).collect(),
            (0..3).map(|n| miss(0, &format!("192.0.{n}.1"), &n.to_string())).collect(),
        ] {
            assert_eq!(
                fires_at(&shown(DetectorName::DistributedGuessing, &detector(3)), events),
                NEVER
            );
        }
    }
}
