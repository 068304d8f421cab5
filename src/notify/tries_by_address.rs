//! What one address does too often, in memory: it tries links that are none, or asks for too many.
//!
//! A token has 256 random bits, so nobody finds one; but each try is a look into the store, and costs nothing past the bound. A
//! link that works is never counted, and never refused for the tries of others unless they come from the same address.

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

/// By address when the first of them was, and how many there were.
#[derive(Debug)]
pub(super) struct TriesByAddress {
    most: u32,
    window: Duration,
    tries: Mutex<HashMap<IpNet, (Timestamp, u32)>>,
}

/// Of links that are none.
impl Default for TriesByAddress {
    fn default() -> Self {
        Self::new(MOST, WINDOW)
    }
}

impl TriesByAddress {
    /// So many within this time.
    pub(super) fn new(most: u32, window: Duration) -> Self {
        Self { most, window, tries: Mutex::default() }
    }

    /// May this address try once more?
    ///
    /// # Errors
    /// How long it has to wait.
    pub(super) fn admit(&self, client: IpAddr, now: Timestamp) -> Result<(), Duration> {
        match self.tries.lock().get(&network_32_or_64(client)) {
            Some((first, tries)) if *tries >= self.most && now.since(*first) < self.window => {
                Err(first.plus(self.window).since(now))
            }
            _ => Ok(()),
        }
    }

    /// It tried.
    pub(super) fn note(&self, client: IpAddr, now: Timestamp) {
        let mut all = self.tries.lock();
        if all.len() >= ADDRESSES {
            all.retain(|_, (first, _)| now.since(*first) < self.window);
            if all.len() >= ADDRESSES {
                all.clear();
            }
        }
        let tries = all.entry(network_32_or_64(client)).or_insert((now, 0));
        if now.since(tries.0) >= self.window {
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
        let links = TriesByAddress::default();
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
        let links = TriesByAddress::default();
        for n in 0..2 * ADDRESSES as u32 {
            links.note(std::net::Ipv4Addr::from(n).into(), at(0));
        }
        assert!(links.tries.lock().len() <= ADDRESSES);
    }
}
