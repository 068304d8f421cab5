//! Who tries links that are none: a bound for each address, so that guessing costs the store nothing.
//!
//! A token has 256 random bits, so nobody finds one; but each try is a look into the store. A link that works is never counted, and
//! never refused for the tries of others unless they come from the same address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use parking_lot::Mutex;

use crate::clock::Timestamp;
use crate::wire::client_ip::network_32_or_64;

/// So many within [`WINDOW`].
const MOST: u32 = 20;
const WINDOW: Duration = Duration::from_secs(600);

/// So many addresses are remembered.
const ADDRESSES: usize = 10_000;

/// When the first of them was, and how many there were.
#[derive(Debug, Default)]
pub(super) struct WrongLinks(Mutex<HashMap<IpNet, (Timestamp, u32)>>);

impl WrongLinks {
    /// May this address try one?
    ///
    /// # Errors
    /// How long it has to wait.
    pub(super) fn admit(&self, client: IpAddr, now: Timestamp) -> Result<(), Duration> {
        match self.0.lock().get(&network_32_or_64(client)) {
            Some((first, tries)) if *tries >= MOST && now.since(*first) < WINDOW => {
                Err(first.plus(WINDOW).since(now))
            }
            _ => Ok(()),
        }
    }

    /// It tried one that is none.
    pub(super) fn note(&self, client: IpAddr, now: Timestamp) {
        let mut all = self.0.lock();
        if all.len() >= ADDRESSES {
            all.retain(|_, (first, _)| now.since(*first) < WINDOW);
            if all.len() >= ADDRESSES {
                all.clear();
            }
        }
        let tries = all.entry(network_32_or_64(client)).or_insert((now, 0));
        if now.since(tries.0) >= WINDOW {
            *tries = (now, 0);
        }
        tries.1 += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_secs(1_000_000 + secs)
    }

    #[test]
    fn an_address_has_so_many_tries_and_another_has_its_own() {
        let links = WrongLinks::default();
        let (one, other): (IpAddr, IpAddr) =
            ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        for n in 0..u64::from(MOST) {
            assert_eq!(links.admit(one, at(n)), Ok(()), "{n}");
            links.note(one, at(n));
        }
        assert_eq!(links.admit(one, at(100)), Err(Duration::from_secs(500)));
        assert_eq!(links.admit(other, at(100)), Ok(()));
        assert_eq!(links.admit(one, at(600)), Ok(()), "when the time is over");
        links.note(one, at(600));
        assert_eq!(links.admit(one, at(601)), Ok(()));
    }

    #[test]
    fn few_addresses_are_remembered() {
        let links = WrongLinks::default();
        for n in 0..2 * ADDRESSES as u32 {
            links.note(std::net::Ipv4Addr::from(n).into(), at(0));
        }
        assert!(links.0.lock().len() <= ADDRESSES);
    }
}
