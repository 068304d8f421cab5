//! Detects that sign-ins to many accounts failed from one address, or from its neighborhood: one password list tried on many
//! names, which no account's own counter notices.
//!
//! An address is what one client has (an IPv4 address, an IPv6 /64), a neighborhood what one customer of a provider has (/24,
//! /48), for attackers who distribute their attempts over it. Both have the same threshold. An attack from one address reaches
//! both at once, and is one finding about the address. Only *distinct* accounts count: a user who forgot a password tries one.

use super::window::{RepeatRule, Windows};
use super::{Finding, Scene, Subject};
use crate::event::EventKind;
use crate::store::counters::CounterKey;
use crate::wire::client_ip::{network_24_or_48, network_32_or_64};

/// The values are hashes of accounts, because names can be arbitrarily long.
const ADDRESSES: Windows<CounterKey> = Windows::new("password_spraying", RepeatRule::AfterWindow);
const NETWORKS: Windows<CounterKey> =
    Windows::new("password_spraying by network", RepeatRule::AfterWindow);

pub(super) async fn observe(scene: Scene<'_>) -> Option<Finding> {
    let EventKind::SignInFailed { account, .. } = &scene.event.what else { return None };
    let client = scene.event.client?;
    let account = CounterKey::of(account);
    let (address, network) = (network_32_or_64(client), network_24_or_48(client));
    // Both are always marked, because each has its own history.
    let by_address = ADDRESSES.distinct(scene, &address, account).await;
    let by_network = NETWORKS.distinct(scene, &network, account).await;
    match (by_address, by_network) {
        (Some(accounts), _) => Some(scene.finding(Subject::Address(address), accounts.len())),
        (None, Some(accounts)) => Some(scene.finding(Subject::Network(network), accounts.len())),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::DetectorName;
    use super::super::testing::{NEVER, at, detector, event, failed, findings, fires_at, shown};
    use super::*;
    use crate::event::Event;
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
            let found = findings(&shown(DetectorName::PasswordSpraying, &detector(3)), events);
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
            let found = findings(&shown(DetectorName::PasswordSpraying, &detector(3)), events);
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
            assert_eq!(
                fires_at(&shown(DetectorName::PasswordSpraying, &detector(3)), events),
                NEVER
            );
        }
    }

    #[test]
    fn an_attempt_without_a_client_is_nobodys() {
        let nobody = |account| Event { client: None, ..miss(0, "::1", account) };
        assert_eq!(
            fires_at(
                &shown(DetectorName::PasswordSpraying, &detector(1)),
                [nobody("ada"), nobody("bob")]
            ),
            NEVER
        );
    }
}
