//! Chooses the server for the next request.
//!
//! This small code replaces `pingora-load-balancing`: that has no least requests, no ejection and no slow start; its
//! health, weights and members belong to one immutable set, so that drains and in-flight counts would have to be stored
//! beside it, and its consistent hashing (ketama) is rebuilt with every change of the members. Pools are small (a few
//! servers), so everything here visits each address of a pool at most a few times and allocates nothing:
//!
//! - in turn: an order that spreads weights evenly (smooth weighted round robin), made when the members change;
//! - least requests: one pass over all addresses;
//! - by hash: weighted rendezvous hashing (highest random weight). When an address is removed, only its own keys move,
//!   and they return with it.

use std::sync::Arc;
use std::time::Duration;

use super::endpoint::{Endpoint, EndpointState, InFlightAt};
use crate::config::Balance;

/// The addresses of a pool at one time.
#[derive(Default)]
pub(super) struct PoolTable {
    pub(super) endpoints: Vec<Arc<Endpoint>>,
    /// The order of turns; each address occurs by its weight.
    order: Vec<usize>,
}

/// The input of a choice.
pub(super) struct Choice<'a> {
    pub(super) balance: Balance,
    /// Increases with every choice.
    pub(super) turn: usize,
    /// The key of the caller, for hashing.
    pub(super) key: Option<u64>,
    /// The addresses that were tried for this request.
    pub(super) tried: &'a [Arc<str>],
    pub(super) slow_start: Duration,
    /// The most requests in flight at an address; zero is no limit.
    pub(super) most: usize,
}

/// The result of a choice.
pub(super) enum Chosen {
    /// This address.
    At(InFlightAt),
    /// There are addresses, but all have as many requests as they may.
    Full,
    /// No address can be asked.
    None,
}

/// The strictness of a search; each pass is less strict than the one before.
#[derive(Clone, Copy, PartialEq)]
enum Strictness {
    /// Addresses in service, with a reduced share after their return.
    Best,
    /// Addresses in service, with their full share.
    InService,
    /// Addresses in service, backups included.
    Backup,
    /// Ejected addresses too, rather than none. Addresses whose health checks fail, or that an operator has drained, are never
    /// chosen.
    Ejected,
}

impl PoolTable {
    pub(super) fn new(endpoints: Vec<Arc<Endpoint>>) -> Self {
        let order = spread(&endpoints.iter().map(|one| one.weight).collect::<Vec<_>>());
        Self { endpoints, order }
    }

    /// Chooses an address, and takes a place there.
    pub(super) fn choose(&self, choice: &Choice<'_>) -> Chosen {
        let mut is_full = false;
        for look in
            [Strictness::Best, Strictness::InService, Strictness::Backup, Strictness::Ejected]
        {
            // The best address may be full by the time of entering; then the search is repeated, at most once for each
            // address.
            for _ in 0..self.endpoints.len() {
                let found = match (choice.balance, choice.key) {
                    (Balance::LeastRequests, _) => self.least(choice, look, &mut is_full),
                    (Balance::HashUser | Balance::HashSession, Some(key)) => {
                        self.by_hash(choice, look, key, &mut is_full)
                    }
                    (Balance::RoundRobin | Balance::HashUser | Balance::HashSession, _) => {
                        self.in_turn(choice, look, &mut is_full)
                    }
                };
                let Some(endpoint) = found else { break };
                if let Some(entered) = endpoint.enter(choice.most) {
                    return Chosen::At(entered);
                }
                is_full = true;
            }
        }
        if is_full { Chosen::Full } else { Chosen::None }
    }

    fn in_turn(
        &self,
        choice: &Choice<'_>,
        look: Strictness,
        is_full: &mut bool,
    ) -> Option<&Arc<Endpoint>> {
        let length = self.order.len();
        let first = choice.turn.checked_rem(length)?;
        let (before, from) = self.order.split_at_checked(first)?;
        from.iter()
            .chain(before)
            .filter_map(|index| self.endpoints.get(*index))
            .find(|endpoint| is_open(endpoint, choice, look, is_full))
    }

    fn least(
        &self,
        choice: &Choice<'_>,
        look: Strictness,
        is_full: &mut bool,
    ) -> Option<&Arc<Endpoint>> {
        let first = choice.turn.checked_rem(self.endpoints.len())?;
        // Among equals, the turn decides.
        let (before, from) = self.endpoints.split_at_checked(first)?;
        let open = from.iter().chain(before).filter(|one| is_open(one, choice, look, is_full));
        open.min_by_key(|one| {
            let load = u64::try_from(one.condition.in_flight()).unwrap_or(u64::MAX);
            let share = one.share(choice.slow_start).saturating_mul(u64::from(one.weight)).max(1);
            load.saturating_add(1).saturating_mul(1_000_000) / share
        })
    }

    fn by_hash(
        &self,
        choice: &Choice<'_>,
        look: Strictness,
        key: u64,
        is_full: &mut bool,
    ) -> Option<&Arc<Endpoint>> {
        let open = self.endpoints.iter().filter(|one| is_open(one, choice, look, is_full));
        open.map(|one| (one, distance(key ^ one.hash, one.weight)))
            .min_by(|(_, one), (_, other)| one.total_cmp(other))
            .map(|(one, _)| one)
    }
}

fn is_open(endpoint: &Endpoint, choice: &Choice<'_>, look: Strictness, is_full: &mut bool) -> bool {
    let stands = match (look, endpoint.standing()) {
        (Strictness::Best | Strictness::InService, EndpointState::InService)
            if endpoint.is_backup =>
        {
            false
        }
        (Strictness::Best, EndpointState::InService) => {
            let share = endpoint.share(choice.slow_start);
            share >= 1000 || lot(choice.turn) < share
        }
        (_, EndpointState::InService) | (Strictness::Ejected, EndpointState::Ejected) => true,
        (_, EndpointState::Ejected | EndpointState::Unwell | EndpointState::Drained) => false,
    };
    if !stands || choice.tried.contains(&endpoint.name) {
        return false;
    }
    let has_room = choice.most == 0 || endpoint.condition.in_flight() < choice.most;
    *is_full |= !has_room;
    has_room
}

/// Returns a pseudo-random number below 1000.
fn lot(turn: usize) -> u64 {
    mix(u64::try_from(turn).unwrap_or(0)) % 1000
}

/// Returns a distance; the smallest wins, as often as its weight says (an exponential race).
#[expect(clippy::cast_precision_loss, reason = "53 bits are as many as a float has")]
fn distance(hash: u64, weight: u32) -> f64 {
    let unit = ((mix(hash) >> 11) as f64 + 1.0) / (1_u64 << 53) as f64;
    -unit.ln() / f64::from(weight.max(1))
}

/// Spreads the bits (splitmix64).
const fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Hashes with FNV-1a, which is the same in every process, so that parallel gateways send a user to the same server.
pub(in crate::proxy) fn hash_of(parts: &[&[u8]]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325;
    for byte in parts.iter().flat_map(|part| part.iter().copied().chain([0])) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    mix(hash)
}

/// Returns each index as often as its weight, spread as evenly as possible.
fn spread(weights: &[u32]) -> Vec<usize> {
    let divisor = weights.iter().copied().fold(0, greatest_common_divisor).max(1);
    let weights: Vec<i64> = weights.iter().map(|weight| i64::from(weight / divisor)).collect();
    let total: i64 = weights.iter().sum();
    let mut current = vec![0_i64; weights.len()];
    let mut order = Vec::new();
    for _ in 0..total {
        for (value, weight) in current.iter_mut().zip(&weights) {
            *value += weight;
        }
        let Some((index, value)) =
            current.iter_mut().enumerate().rev().max_by_key(|(_, value)| **value)
        else {
            break;
        };
        *value -= total;
        order.push(index);
    }
    order
}

const fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    let (mut a, mut b) = (a, b);
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::super::testing::endpoints;
    use super::*;

    fn choice(balance: Balance, turn: usize) -> Choice<'static> {
        Choice { balance, turn, key: None, tried: &[], slow_start: Duration::ZERO, most: 0 }
    }

    fn chosen(table: &PoolTable, choice: &Choice<'_>) -> Option<InFlightAt> {
        match table.choose(choice) {
            Chosen::At(at) => Some(at),
            Chosen::Full | Chosen::None => None,
        }
    }

    fn name(at: &InFlightAt) -> String {
        at.endpoint().server.name.clone()
    }

    #[test]
    fn weights_are_spread_evenly() {
        assert_eq!(spread(&[5, 1, 1]), [0, 0, 1, 0, 2, 0, 0]);
        assert_eq!(spread(&[10, 10]), [0, 1]);
        assert_eq!(spread(&[]), [0; 0]);
    }

    #[test]
    fn each_has_its_turn_and_one_that_is_out_is_left_out() {
        let table = PoolTable::new(endpoints(&[("a", 1), ("b", 1), ("c", 1)]));
        let turn =
            |turn| chosen(&table, &choice(Balance::RoundRobin, turn)).map(|at| name(&at)).unwrap();
        assert_eq!([0, 1, 2, 3].map(turn), ["a", "b", "c", "a"]);
        table.endpoints[1].server.drained.store(true, std::sync::atomic::Ordering::Relaxed);
        assert_eq!([0, 1, 2, 3].map(turn), ["a", "c", "c", "a"]);
    }

    #[test]
    fn the_one_with_the_fewest_requests_by_weight_is_asked() {
        let table = PoolTable::new(endpoints(&[("a", 2), ("b", 1)]));
        let mut open = Vec::new();
        for turn in 0..9 {
            open.push(chosen(&table, &choice(Balance::LeastRequests, turn)).unwrap());
        }
        let count = |wanted: &str| open.iter().filter(|at| name(at) == wanted).count();
        assert_eq!((count("a"), count("b")), (6, 3));
        drop(open);
        assert_eq!(table.endpoints[0].condition.in_flight(), 0);
    }

    #[test]
    fn a_user_stays_with_a_server_and_only_those_of_a_lost_one_move() {
        let table = PoolTable::new(endpoints(&[("a", 1), ("b", 1), ("c", 2)]));
        let of = |key: u64| {
            let by = Choice { key: Some(mix(key)), ..choice(Balance::HashUser, 0) };
            chosen(&table, &by).map(|at| name(&at)).unwrap()
        };
        let before: Vec<String> = (0..4000).map(of).collect();
        let mut count: HashMap<&str, usize> = HashMap::new();
        for server in &before {
            *count.entry(server).or_default() += 1;
        }
        assert!((900..1100).contains(&count["a"]), "{count:?}");
        assert!((1850..2150).contains(&count["c"]), "{count:?}");
        table.endpoints[2].server.drained.store(true, std::sync::atomic::Ordering::Relaxed);
        let after: Vec<String> = (0..4000).map(of).collect();
        let moved = before.iter().zip(&after).filter(|(one, other)| one != other);
        assert!(moved.clone().all(|(one, _)| one == "c"));
        assert_eq!(moved.count(), count["c"]);
    }

    #[test]
    fn a_full_pool_says_so_and_a_tried_address_is_not_tried_again() {
        let table = PoolTable::new(endpoints(&[("a", 1), ("b", 1)]));
        let limited = Choice { most: 1, ..choice(Balance::RoundRobin, 0) };
        let (one, other) = (chosen(&table, &limited).unwrap(), chosen(&table, &limited).unwrap());
        assert!(matches!(table.choose(&limited), Chosen::Full));
        drop(other);
        let tried = [Arc::clone(&one.endpoint().name)];
        drop(one);
        let again = Choice { tried: &tried, ..choice(Balance::RoundRobin, 0) };
        assert_eq!(name(&chosen(&table, &again).unwrap()), "b");
        assert!(matches!(PoolTable::default().choose(&limited), Chosen::None));
    }

    #[test]
    fn rather_one_that_failed_than_none() {
        let table = PoolTable::new(endpoints(&[("a", 1)]));
        let minute = Duration::from_secs(60);
        table.endpoints[0].condition.eject(1, minute, minute);
        assert!(chosen(&table, &choice(Balance::RoundRobin, 0)).is_some());
        for _ in 0..3 {
            table.endpoints[0].condition.checked(false, 1, 3);
        }
        assert!(chosen(&table, &choice(Balance::RoundRobin, 0)).is_none());
    }
}
