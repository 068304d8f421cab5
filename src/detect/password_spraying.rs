//! Sign-ins to many accounts failed from one address, or from its neighborhood: one password list over many names, which
//! no account's own counter notices.
//!
//! An address is what one client has (an IPv4 address, an IPv6 /64), a neighborhood what one customer of a provider has
//! (/24, /48), for those who spread an attack over it. Both have the same threshold. An attack from one address reaches
//! both at once, and is told once, of the address. Only *distinct* accounts count: a user who forgot a password tries one.

use ipnet::IpNet;

use super::window::{Again, Windows};
use super::{Detector, DetectorName, Evidence, Finding, Subject, Surroundings};
use crate::config;
use crate::event::{Event, EventKind};
use crate::secret::Digest;
use crate::wire::client_ip::{network_24_or_48, network_32_or_64};

struct PasswordSpraying {
    settings: config::DetectorSettings,
    /// Accounts, as hashes: names are as long as a client likes.
    addresses: Windows<IpNet, Digest>,
    networks: Windows<IpNet, Digest>,
}

pub(super) fn build(settings: &config::DetectorSettings) -> impl Detector + use<> {
    let windows = || Windows::new(settings.threshold, settings.window, Again::AfterWindow);
    PasswordSpraying { settings: settings.clone(), addresses: windows(), networks: windows() }
}

impl Detector for PasswordSpraying {
    fn observe(&mut self, event: &Event, _: &Surroundings<'_>) -> Option<Finding> {
        let EventKind::SignInFailed { account, .. } = &event.what else { return None };
        let client = event.client?;
        let account = Digest::of(account.as_bytes());
        let (address, network) = (network_32_or_64(client), network_24_or_48(client));
        // Both are asked, whatever the first says: each has its own history.
        let by_address = self.addresses.distinct(address, account, event.at);
        let by_network = self.networks.distinct(network, account, event.at);
        let (subject, accounts) = match (by_address, by_network) {
            (Some(accounts), _) => (Subject::Address(address), accounts),
            (None, Some(accounts)) => (Subject::Network(network), accounts),
            (None, None) => return None,
        };
        let evidence = Evidence::count(accounts.len(), self.settings.window);
        Some(Finding::new(DetectorName::PasswordSpraying, event, subject, evidence))
    }

    fn judge_by(&mut self, settings: &config::DetectorSettings) {
        self.addresses.judge_by(settings.threshold, settings.window);
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
        event(at(secs), client, failed(account, SignInFailure::UnknownUser))
    }

    #[test]
    fn many_accounts_from_one_address_are_told_once_of_the_address() {
        for (client, subject) in [
            ("192.0.2.1", Subject::Address("192.0.2.1/32".parse().unwrap())),
            ("::ffff:192.0.2.1", Subject::Address("192.0.2.1/32".parse().unwrap())),
            ("2001:db8::1", Subject::Address("2001:db8::/64".parse().unwrap())),
        ] {
            let events = ["ada", "bob", "eve"].map(|account| miss(0, client, account));
            let found = findings(&mut build(&detector(3)), events);
            let [(3, finding)] = &found[..] else { panic!("{found:?}") };
            assert_eq!((&finding.subject, finding.evidence.count), (&subject, 3));
            assert_eq!(finding.session, None);
        }
    }

    #[test]
    fn many_accounts_from_one_neighborhood_are_told_of_the_network() {
        for (clients, network) in [
            (["192.0.2.1", "192.0.2.77", "192.0.2.200"], "192.0.2.0/24"),
            (["2001:db8:1:1::1", "2001:db8:1:2::1", "2001:db8:1:ffff::1"], "2001:db8:1::/48"),
        ] {
            let events = clients.map(|client| miss(0, client, client));
            let found = findings(&mut build(&detector(3)), events);
            let [(3, finding)] = &found[..] else { panic!("{found:?}") };
            assert_eq!(finding.subject, Subject::Network(network.parse().unwrap()));
        }
    }

    #[test]
    fn silent_below_the_threshold_beyond_the_window_for_one_account_and_over_far_networks() {
        let client = "192.0.2.1";
        for events in [
            vec![miss(0, client, "ada"), miss(1, client, "bob"), miss(2, client, "ada")],
            vec![miss(0, client, "ada"), miss(30, client, "bob"), miss(60, client, "eve")],
            (0..50).map(|s| miss(s, client, "ada")).collect(),
            vec![miss(0, client, "ada"), miss(0, "198.51.100.1", "bob"), miss(0, "::1", "eve")],
        ] {
            assert_eq!(fires_at(&mut build(&detector(3)), events), NEVER);
        }
    }

    #[test]
    fn an_attempt_without_a_client_is_nobodys() {
        let nobody = |account| Event { client: None, ..miss(0, "::1", account) };
        assert_eq!(fires_at(&mut build(&detector(1)), [nobody("ada"), nobody("bob")]), NEVER);
    }
}
