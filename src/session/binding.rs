//! Checks that a session is used within what `tokens.bind` ties it to: the country, the network or the address it began from.
//!
//! If one of the two places is unknown, `tokens.bind_unknown` decides. That is the case for a session whose first address was
//! not stored, for an address without a country, and for addresses of different families.

use std::net::IpAddr;

use super::SessionManager;
use crate::config::Binding;
use crate::context::Events;
use crate::event::EventKind;
use crate::geo::Places;
use crate::refusal::Refusal;
use crate::store::Session;
use crate::wire::client_ip::{network_24_or_48, network_32_or_64};

impl SessionManager {
    /// Checks that this client may use a session.
    ///
    /// # Errors
    /// [`Refusal::OutsideBinding`]
    pub(crate) fn is_within_binding(
        &self,
        session: &Session,
        client: IpAddr,
        events: &Events,
    ) -> Result<(), Refusal> {
        let bind = self.tokens.bind;
        if bind == Binding::None {
            return Ok(());
        }
        let is_within = match session.client {
            Some(first) => same_place(bind, first, client, &*self.places),
            None => None,
        };
        if is_within.unwrap_or(!self.tokens.refuse_unknown) {
            return Ok(());
        }
        let user = session.identity.load().key.clone();
        events.note(EventKind::OutsideBinding { session: session.id.clone(), user });
        Err(Refusal::OutsideBinding)
    }
}

/// Whether both addresses are in the same place; `None` if that is unknown.
fn same_place(bind: Binding, first: IpAddr, now: IpAddr, places: &dyn Places) -> Option<bool> {
    let (first, now) = (first.to_canonical(), now.to_canonical());
    match bind {
        Binding::None => Some(true),
        Binding::Country => {
            if first == now {
                return Some(true);
            }
            Some(places.country(first)? == places.country(now)?)
        }
        Binding::Network => {
            if first == now {
                return Some(true);
            }
            Some(places.asn(first)? == places.asn(now)?)
        }
        // One device may alternate between both families, and nothing shows that they are one network.
        Binding::Prefix | Binding::Address if first.is_ipv4() != now.is_ipv4() => None,
        Binding::Prefix => Some(network_24_or_48(first) == network_24_or_48(now)),
        Binding::Address => Some(network_32_or_64(first) == network_32_or_64(now)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geo::{Asn, Country};

    /// Addresses that begin with 1 are in Korea, with 2 in Germany.
    struct Few;

    impl Places for Few {
        fn country(&self, address: IpAddr) -> Option<Country> {
            let text = address.to_string();
            match text.as_bytes().first()? {
                b'1' => Country::new("KR"),
                b'2' => Country::new("DE"),
                _ => None,
            }
        }

        /// The AS number is the second number of the address.
        fn asn(&self, address: IpAddr) -> Option<Asn> {
            let text = address.to_string();
            text.split('.').nth(1)?.parse().ok().filter(|number| *number < 100).map(Asn)
        }
    }

    #[test]
    fn a_place_is_the_same_or_another_or_unknown() {
        use Binding::*;
        for (bind, first, now, same) in [
            (None, "1.1.1.1", "2.2.2.2", Some(true)),
            (Country, "1.1.1.1", "1.9.9.9", Some(true)),
            (Country, "1.1.1.1", "2.2.2.2", Some(false)),
            (Country, "1.1.1.1", "9.9.9.9", Option::None),
            (Country, "9.9.9.9", "9.9.9.9", Some(true)),
            (Network, "1.1.1.1", "2.1.2.2", Some(true)),
            (Network, "1.1.1.1", "1.2.1.1", Some(false)),
            (Network, "1.1.1.1", "1.200.1.1", Option::None),
            (Network, "1.200.1.1", "1.200.1.1", Some(true)),
            (Prefix, "1.1.1.1", "1.1.1.200", Some(true)),
            (Prefix, "1.1.1.1", "::ffff:1.1.1.9", Some(true)),
            (Prefix, "1.1.1.1", "1.1.2.1", Some(false)),
            (Prefix, "2a00:1:2::1", "2a00:1:2:ffff::1", Some(true)),
            (Prefix, "2a00:1:2::1", "2a00:1:3::1", Some(false)),
            (Prefix, "1.1.1.1", "2a00::1", Option::None),
            (Address, "1.1.1.1", "1.1.1.1", Some(true)),
            (Address, "1.1.1.1", "1.1.1.2", Some(false)),
            (Address, "2a00::1", "2a00::9", Some(true)),
            (Address, "2a00:0:0:1::1", "2a00:0:0:2::1", Some(false)),
        ] {
            let (first, now) = (first.parse().unwrap(), now.parse().unwrap());
            assert_eq!(same_place(bind, first, now, &Few), same, "{bind:?} {first} {now}");
        }
    }
}
