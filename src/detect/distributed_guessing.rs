//! Many networks try passwords on one account: a guesser who spreads what would be too much from one place.
//!
//! The lockout answers it (strangers wait longer and longer, known devices do not), so there is nothing to block; whose account
//! it is should know. Only distinct networks (/24, /48) count: a person who forgot a password tries from one or two.

use ipnet::IpNet;

use super::window::{Again, Windows};
use super::{Detector, DetectorName, Evidence, Finding, Subject, Surroundings};
use crate::config;
use crate::event::{Event, EventKind};
use crate::secret::Digest;
use crate::wire::client_ip::network_24_or_48;

struct DistributedGuessing {
    settings: config::DetectorSettings,
    networks: Windows<Digest, IpNet>,
}

pub(super) fn build(settings: &config::DetectorSettings) -> impl Detector + use<> {
    DistributedGuessing {
        networks: Windows::new(settings.threshold, settings.window, Again::AfterWindow),
        settings: settings.clone(),
    }
}

impl Detector for DistributedGuessing {
    fn observe(&mut self, event: &Event, _: &Surroundings<'_>) -> Option<Finding> {
        let EventKind::SignInFailed { account, .. } = &event.what else { return None };
        let network = network_24_or_48(event.client?);
        let key = Digest::of(account.as_bytes());
        let networks = self.networks.distinct(key, network, event.at)?;
        let evidence = Evidence::count(networks.len(), self.settings.window);
        let subject = Subject::Account(account.clone());
        Some(Finding::new(DetectorName::DistributedGuessing, event, subject, evidence))
    }

    fn judge_by(&mut self, settings: &config::DetectorSettings) {
        self.networks.judge_by(settings.threshold, settings.window);
        self.settings = settings.clone();
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{NEVER, at, detector, event, failed, findings, fires_at};
    use super::*;
    use crate::event::SignInFailure;

    fn miss(secs: u64, client: &str, account: &str) -> Event {
        event(at(secs), client, failed(account, SignInFailure::WrongPassword))
    }

    #[test]
    fn one_account_tried_from_many_networks_is_a_finding_about_it() {
        let events = (0..3).map(|n| miss(n, &format!("192.0.{n}.1"), "ada"));
        let found = findings(&mut build(&detector(3)), events);
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
            assert_eq!(fires_at(&mut build(&detector(3)), events), NEVER);
        }
    }
}
