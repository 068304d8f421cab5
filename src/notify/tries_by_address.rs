//! Limits how often one address tries wrong links, or requests links.
//!
//! A token has 256 random bits, so nobody guesses one; but each try reads from the store; past the limit, a try costs nothing.
//! A link that works is never counted, and is refused for the tries of others only if they come from the same address.
//!
//! Tries are counted in the store's [`Counters`], so gateways that share a store count together. A scope has room for
//! [`ADDRESSES`]; beyond it, the address whose last try is longest ago is forgotten. If the store cannot count, nobody may try,
//! as at a sign-in (`session::lockout`): the link would be looked up in the same store.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::store::StoreError;
use crate::store::counters::span::CountInSpan;
use crate::store::counters::{
    CounterEntry, CounterKey, CounterScope, Counters, ENTRY_BYTES, changed_one,
};
use crate::wire::client_ip::network_32_or_64;

/// The most wrong links that an address may try within [`WINDOW`].
const MOST: u32 = 20;
const WINDOW: Duration = Duration::from_secs(600);

/// The most addresses that are remembered.
const ADDRESSES: usize = 10_000;

/// The number of tries of each address, and when its first one was. Cheap to clone.
#[derive(Clone)]
pub(super) struct TriesByAddress {
    counters: Arc<dyn Counters>,
    scope: CounterScope,
    most: u32,
    window: Duration,
}

/// Why a try is refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TryRefused {
    /// The address has tried too often, and has to wait for this long.
    Wait(Duration),
    /// The tries of the address cannot be counted.
    NotCounted(StoreError),
}

impl From<StoreError> for TryRefused {
    fn from(error: StoreError) -> Self {
        Self::NotCounted(error)
    }
}

impl TriesByAddress {
    /// Creates a limit of `most` tries within `window`, counted in a scope of this name, which must be unique.
    pub(super) fn new(
        counters: Arc<dyn Counters>,
        name: &'static str,
        most: u32,
        window: Duration,
    ) -> Self {
        let most_bytes = ADDRESSES * (ENTRY_BYTES + CountInSpan::BYTES);
        Self { counters, scope: CounterScope { name, most_bytes }, most, window }
    }

    /// Creates the limit for wrong links.
    pub(super) fn of_wrong_links(counters: Arc<dyn Counters>, name: &'static str) -> Self {
        Self::new(counters, name, MOST, WINDOW)
    }

    /// Checks whether this address may try once more, and counts nothing.
    ///
    /// # Errors
    /// [`TryRefused`].
    pub(super) async fn admit(&self, client: IpAddr, now: Timestamp) -> Result<(), TryRefused> {
        self.judge(client, now, |_, _| ()).await
    }

    /// Checks whether this address may try once more, and if so, counts the try in the same step.
    ///
    /// # Errors
    /// [`TryRefused`].
    pub(super) async fn take(&self, client: IpAddr, now: Timestamp) -> Result<(), TryRefused> {
        let count = |entry: &mut CounterEntry, tries: CountInSpan| {
            *entry = tries.with_one_more(self.window);
        };
        self.judge(client, now, count).await
    }

    /// Counts a try.
    ///
    /// # Errors
    /// If the try cannot be counted.
    pub(super) async fn note(&self, client: IpAddr, now: Timestamp) -> Result<(), StoreError> {
        let count = |entry: &mut CounterEntry| {
            *entry = CountInSpan::read(entry, self.window, now).with_one_more(self.window);
        };
        changed_one(&*self.counters, self.scope, key(client), now, count).await
    }

    async fn judge(
        &self,
        client: IpAddr,
        now: Timestamp,
        if_admitted: impl Fn(&mut CounterEntry, CountInSpan) + Send + Sync,
    ) -> Result<(), TryRefused> {
        let judge = |entry: &mut CounterEntry| {
            let tries = CountInSpan::read(entry, self.window, now);
            if tries.count >= self.most {
                return Some(tries.since.plus(self.window).since(now));
            }
            if_admitted(entry, tries);
            None
        };
        match changed_one(&*self.counters, self.scope, key(client), now, judge).await? {
            Some(wait) => Err(TryRefused::Wait(wait)),
            None => Ok(()),
        }
    }
}

fn key(client: IpAddr) -> CounterKey {
    CounterKey::of(&network_32_or_64(client).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::counters::memory::CountersInMemory;
    use crate::store::counters::testing::FailingCounters;

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_secs(1_000_000 + secs)
    }

    fn links(counters: Arc<dyn Counters>) -> TriesByAddress {
        TriesByAddress::of_wrong_links(counters, "test")
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn wait(secs: u64) -> Result<(), TryRefused> {
        Err(TryRefused::Wait(Duration::from_secs(secs)))
    }

    #[tokio::test]
    async fn an_address_has_so_many_tries_and_another_has_its_own() {
        let links = links(CountersInMemory::new());
        let (one, other) = (ip("192.0.2.1"), ip("192.0.2.2"));
        for n in 0..u64::from(MOST) {
            assert_eq!(links.admit(one, at(n)).await, Ok(()), "{n}");
            links.note(one, at(n)).await.unwrap();
        }
        assert_eq!(links.admit(one, at(100)).await, wait(500));
        assert_eq!(links.admit(other, at(100)).await, Ok(()));
        assert_eq!(links.admit(one, at(600)).await, Ok(()), "when the time is over");
        links.note(one, at(600)).await.unwrap();
        assert_eq!(links.admit(one, at(601)).await, Ok(()));
    }

    #[tokio::test]
    async fn gateways_with_one_store_count_together_and_each_use_by_itself() {
        let counters = CountersInMemory::new();
        let of = |name| {
            let counters = Arc::<CountersInMemory>::clone(&counters);
            TriesByAddress::new(counters, name, 1, WINDOW)
        };
        assert_eq!(of("asked").take(ip("192.0.2.1"), at(0)).await, Ok(()));
        assert_eq!(of("asked").take(ip("192.0.2.1"), at(1)).await, wait(599));
        assert_eq!(of("opened").take(ip("192.0.2.1"), at(1)).await, Ok(()));
    }

    #[tokio::test]
    async fn of_parallel_tries_no_more_are_taken_than_there_may_be() {
        let links = TriesByAddress::new(CountersInMemory::new(), "test", 3, WINDOW);
        let tries = (0..9).map(|_| links.take(ip("192.0.2.1"), at(0)));
        let taken = futures_util::future::join_all(tries).await;
        assert_eq!(taken.iter().filter(|taken| taken.is_ok()).count(), 3);
    }

    #[tokio::test]
    async fn a_store_that_cannot_count_lets_nobody_try() {
        let (links, client) = (links(FailingCounters::everywhere()), ip("192.0.2.1"));
        let down = StoreError("down".into());
        let refused = Err(TryRefused::NotCounted(down.clone()));
        assert_eq!(links.admit(client, at(0)).await, refused);
        assert_eq!(links.take(client, at(0)).await, refused);
        assert_eq!(links.note(client, at(0)).await, Err(down));
    }

    #[tokio::test]
    async fn few_addresses_are_remembered() {
        let counters = CountersInMemory::new();
        let links = links(Arc::<CountersInMemory>::clone(&counters));
        for n in 0..2 * ADDRESSES as u32 {
            links.note(std::net::Ipv4Addr::from(n).into(), at(0)).await.unwrap();
        }
        assert_eq!(counters.held(links.scope).0, ADDRESSES);
    }
}
