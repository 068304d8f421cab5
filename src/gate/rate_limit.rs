//! Limits how often a client may send requests (`[[route.rate_limit]]`), counted in memory for all listeners together.
//!
//! It uses the generic cell rate algorithm (ITU-T I.371): a bucket of `burst` requests that fills with `requests` each
//! `per`. For each client one number is stored, the time at which the bucket will be full again. A client whose bucket
//! is full needs no entry.
//!
//! The memory is of a fixed size, however many clients come: `BUCKETS` places for `WAYS` entries each, found by a keyed hash,
//! so that nobody can choose their place. Where a place is full, the entry whose bucket is the fullest is dropped: that client
//! has used the least. The memory is allocated when the first limit is checked, and outlives every configuration.

use std::hash::RandomState;
use std::hash::{BuildHasher as _, Hash as _, Hasher as _};
use std::net::IpAddr;
use std::sync::OnceLock;
use std::time::Duration;

use parking_lot::Mutex;

use crate::caller::Known;
use crate::config::{LimitedBy, RateLimit, Route};
use crate::wire::client_ip::network_32_or_64;

const BUCKETS: usize = 1 << 14;
const WAYS: usize = 16;

/// The recent use of all clients, in a table of fixed size.
#[derive(Default)]
pub struct RateLimits {
    hasher: RandomState,
    buckets: OnceLock<Box<[Mutex<Bucket>]>>,
}

type Bucket = [RateEntry; WAYS];

/// The hash of a client, and when its bucket will be full again; a hash of zero is an empty entry.
#[derive(Clone, Copy, Default)]
struct RateEntry {
    whose: u64,
    /// In microseconds.
    full_at: u64,
}

/// What a client has left under one limit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Quota {
    /// The limit's name.
    pub name: String,
    /// How many requests are allowed...
    pub requests: u32,
    /// ...in this time.
    pub per: Duration,
    /// How many more requests may come at once.
    pub remaining: u64,
    /// How long it is until the whole burst is available again.
    pub reset: Duration,
}

/// The result of counting a request.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RateTaken {
    /// The quota under each limit that applies to the caller.
    pub quotas: Vec<Quota>,
    /// If the request exceeds a limit: after how long another one may come.
    pub exceeded: Option<Duration>,
}

impl RateLimits {
    /// Counts a request of this caller under the limits of its route. `now` is any time that never goes backwards.
    ///
    /// A refused request is not counted under the limits that would have let it pass either.
    pub fn take(
        &self,
        route: &Route,
        client: IpAddr,
        known: Option<&Known>,
        now: Duration,
    ) -> RateTaken {
        let limits = route.handling.rate_limits.iter();
        let mine: Vec<(&RateLimit, u64)> = limits
            .filter_map(|limit| Some((limit, self.whose(&route.name, limit, client, known)?)))
            .collect();
        let now = micros(now);
        let mut taken = RateTaken::default();
        for (limit, whose) in &mine {
            let used = Used::of(limit, self.full_at(*whose), now);
            if let Err(wait) = used {
                taken.exceeded = taken.exceeded.max(Some(wait));
            }
        }
        if taken.exceeded.is_none() {
            taken.exceeded = self.count_all(&mine, now).err();
        }
        let quotas = mine.iter().map(|(limit, whose)| quota(limit, self.full_at(*whose), now));
        taken.quotas = quotas.collect();
        taken
    }

    /// Counts one request under each limit or under none: other requests may have come since the limits were checked.
    fn count_all(&self, limits: &[(&RateLimit, u64)], now: u64) -> Result<(), Duration> {
        for (index, (limit, whose)) in limits.iter().enumerate() {
            if let Err(wait) = self.count(limit, *whose, now) {
                for (limit, whose) in limits.iter().take(index) {
                    self.give_back(limit, *whose);
                }
                return Err(wait);
            }
        }
        Ok(())
    }

    /// Returns the hash of the client that is counted; `None` if the limit does not apply to such a caller.
    fn whose(
        &self,
        route: &str,
        limit: &RateLimit,
        client: IpAddr,
        known: Option<&Known>,
    ) -> Option<u64> {
        let mut hasher = self.hasher.build_hasher();
        (route, limit.name().as_str()).hash(&mut hasher);
        match limit.by {
            LimitedBy::Address => network_32_or_64(client).hash(&mut hasher),
            LimitedBy::User => {
                let user = &known?.identity.key;
                (&*user.directory, &*user.id).hash(&mut hasher);
            }
            LimitedBy::Session => {
                let known = known?;
                let user = &known.identity.key;
                // The credentials of other issuers belong to no session of the gateway.
                match &known.session {
                    Some(session) => session.as_str().hash(&mut hasher),
                    None => (&*user.directory, &*user.id).hash(&mut hasher),
                }
            }
        }
        Some(hasher.finish().max(1))
    }

    fn bucket(&self, whose: u64) -> Option<&Mutex<Bucket>> {
        let buckets = self
            .buckets
            .get_or_init(|| std::iter::repeat_with(Mutex::default).take(BUCKETS).collect());
        // These bits also tell two entries of one place apart; any other bits would do as well.
        let index = usize::try_from(whose % BUCKETS as u64).unwrap_or(0);
        buckets.get(index)
    }

    fn full_at(&self, whose: u64) -> u64 {
        let Some(bucket) = self.bucket(whose) else { return 0 };
        let bucket = bucket.lock();
        bucket.iter().find(|entry| entry.whose == whose).map_or(0, |entry| entry.full_at)
    }

    /// Counts one request, if the bucket has room for it.
    fn count(&self, limit: &RateLimit, whose: u64, now: u64) -> Result<(), Duration> {
        let Some(bucket) = self.bucket(whose) else { return Ok(()) };
        let mut bucket = bucket.lock();
        let found = bucket.iter().position(|entry| entry.whose == whose);
        let full_at = found.and_then(|place| bucket.get(place)).map_or(0, |entry| entry.full_at);
        Used::of(limit, full_at, now)?;
        let place = found.or_else(|| {
            let fullest = bucket.iter().enumerate().min_by_key(|(_, entry)| entry.full_at);
            fullest.map(|(place, _)| place)
        });
        let Some(entry) = place.and_then(|place| bucket.get_mut(place)) else { return Ok(()) };
        if entry.whose != whose {
            *entry = RateEntry { whose, full_at: now };
        }
        entry.full_at = entry.full_at.max(now).saturating_add(interval(limit));
        Ok(())
    }

    /// Takes a counted request back.
    fn give_back(&self, limit: &RateLimit, whose: u64) {
        let Some(bucket) = self.bucket(whose) else { return };
        if let Some(entry) = bucket.lock().iter_mut().find(|entry| entry.whose == whose) {
            entry.full_at = entry.full_at.saturating_sub(interval(limit));
        }
    }
}

/// Whether the bucket has room for one more request.
struct Used;

impl Used {
    /// # Errors
    /// How long it is until there is room for one more.
    fn of(limit: &RateLimit, full_at: u64, now: u64) -> Result<(), Duration> {
        let after = full_at.max(now).saturating_add(interval(limit));
        let over = after.saturating_sub(now).saturating_sub(capacity(limit));
        if over == 0 { Ok(()) } else { Err(Duration::from_micros(over)) }
    }
}

fn quota(limit: &RateLimit, full_at: u64, now: u64) -> Quota {
    let used = full_at.saturating_sub(now);
    Quota {
        name: limit.name(),
        requests: limit.requests,
        per: limit.per,
        remaining: capacity(limit).saturating_sub(used) / interval(limit),
        reset: Duration::from_micros(used),
    }
}

/// Returns how much of a bucket one request uses, in microseconds.
fn interval(limit: &RateLimit) -> u64 {
    (micros(limit.per) / u64::from(limit.requests.max(1))).max(1)
}

/// Returns how much a whole bucket holds, in microseconds.
fn capacity(limit: &RateLimit) -> u64 {
    interval(limit).saturating_mul(u64::from(limit.burst.max(1)))
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::caller::{Assurance, Identity, Proof, SessionId, UserKey};
    use crate::wire::path::PathPattern;

    fn limit(by: LimitedBy, requests: u32, seconds: u64, burst: u32) -> RateLimit {
        RateLimit { by, requests, per: Duration::from_secs(seconds), burst }
    }

    fn route(limits: Vec<RateLimit>) -> Route {
        let mut route = Route::new("app", PathPattern::default(), 0);
        route.handling.rate_limits = limits;
        route
    }

    fn known(id: &str, session: Option<&str>) -> Known {
        let identity = Identity {
            key: UserKey::new("d", id),
            name: "kim".into(),
            groups: Vec::new(),
            staff: false,
            superuser: false,
            attributes: BTreeMap::new(),
        };
        Known {
            identity: Arc::new(identity),
            session: session.map(SessionId::new),
            proof: Proof::AccessToken,
            assurance: Assurance::default(),
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_bucket_empties_and_fills_again() {
        let (limits, route) =
            (RateLimits::default(), route(vec![limit(LimitedBy::Address, 60, 60, 3)]));
        let take = |at: u32| limits.take(&route, ip("192.0.2.1"), None, SECOND * 100 + SECOND * at);
        let left = |taken: RateTaken| (taken.exceeded, taken.quotas[0].remaining);
        assert_eq!(left(take(0)), (None, 2));
        assert_eq!(left(take(0)), (None, 1));
        assert_eq!(left(take(0)), (None, 0));
        assert_eq!(left(take(0)), (Some(SECOND), 0));
        assert_eq!(left(take(0)), (Some(SECOND), 0), "what is refused does not count");
        assert_eq!(left(take(1)), (None, 0));
        assert_eq!(left(take(60)), (None, 2));
        let quota = take(60).quotas.remove(0);
        assert_eq!((quota.name.as_str(), quota.reset), ("address-1m", SECOND * 2));
    }

    #[test]
    fn each_is_counted_by_what_the_limit_names() {
        let limits = RateLimits::default();
        let one = |by| route(vec![limit(by, 1, 60, 1)]);
        let passes = |by, client: &str, known: Option<&Known>| {
            limits.take(&one(by), ip(client), known, SECOND).exceeded.is_none()
        };
        let (a, b) = (known("1", Some("s1")), known("1", Some("s2")));
        let token = known("1", None);
        assert!(passes(LimitedBy::Address, "192.0.2.1", None));
        assert!(!passes(LimitedBy::Address, "::ffff:192.0.2.1", Some(&a)));
        assert!(passes(LimitedBy::Address, "2001:db8::1", None));
        assert!(!passes(LimitedBy::Address, "2001:db8::2", None), "of one /64");
        assert!(passes(LimitedBy::Session, "192.0.2.1", Some(&a)));
        assert!(passes(LimitedBy::Session, "192.0.2.1", Some(&b)));
        assert!(!passes(LimitedBy::Session, "192.0.2.9", Some(&a)));
        assert!(passes(LimitedBy::Session, "192.0.2.9", Some(&token)));
        assert!(!passes(LimitedBy::Session, "192.0.2.9", Some(&token)));
        assert!(passes(LimitedBy::User, "192.0.2.1", Some(&a)));
        assert!(!passes(LimitedBy::User, "192.0.2.1", Some(&b)));
        for _ in 0..3 {
            assert!(passes(LimitedBy::User, "192.0.2.1", None), "nobody is no user");
        }
    }

    #[test]
    fn of_several_limits_each_must_let_it_pass_and_a_refusal_counts_under_none() {
        let limits = RateLimits::default();
        let route =
            route(vec![limit(LimitedBy::User, 2, 60, 2), limit(LimitedBy::Session, 1, 1, 1)]);
        let known = known("1", Some("s1"));
        let take = |at: u32| limits.take(&route, ip("192.0.2.1"), Some(&known), SECOND * at);
        assert_eq!(take(1).exceeded, None);
        let taken = take(1);
        assert_eq!((taken.exceeded, taken.quotas[0].remaining), (Some(SECOND), 1));
        assert_eq!(take(2).exceeded, None);
        assert_eq!(take(4).exceeded, Some(SECOND * 27), "two in a minute");
    }

    #[test]
    fn a_limit_that_was_reached_in_between_gives_back_what_the_others_counted() {
        let wide = limit(LimitedBy::User, 60, 60, 60);
        let narrow = limit(LimitedBy::Session, 1, 60, 1);
        let now = micros(SECOND * 100);
        for mine in [
            [(&narrow, 1), (&wide, 2), (&wide, 3)],
            [(&wide, 1), (&narrow, 2), (&wide, 3)],
            [(&wide, 1), (&wide, 2), (&narrow, 3)],
        ] {
            let limits = RateLimits::default();
            let used = || mine.map(|(_, whose)| limits.full_at(whose) - now);
            assert_eq!(limits.count_all(&mine, now), Ok(()));
            let before = used();
            // Another request found room under all limits too, before this one was counted.
            assert_eq!(limits.count_all(&mine, now), Err(SECOND * 60));
            assert_eq!(used(), before);
        }
    }

    #[test]
    fn of_many_at_once_no_more_pass_than_fit_and_what_is_refused_counts_nowhere() {
        let limits = RateLimits::default();
        let route = route(vec![
            limit(LimitedBy::User, 50, 3600, 50),
            limit(LimitedBy::Session, 20, 3600, 20),
        ]);
        let known = known("1", Some("s1"));
        for round in 1..200 {
            let now = SECOND * 100_000 * round;
            let take = || limits.take(&route, ip("192.0.2.1"), Some(&known), now);
            let ask = || (0..10).filter(|_| take().exceeded.is_none()).count();
            let passed: usize = std::thread::scope(|scope| {
                let all: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
                all.into_iter().map(|one| one.join().unwrap()).sum()
            });
            let left = take().quotas[0].remaining;
            assert_eq!((passed, left), (20, 30), "round {round}");
        }
    }

    #[test]
    fn however_many_come_the_memory_stays() {
        let (limits, route) =
            (RateLimits::default(), route(vec![limit(LimitedBy::Address, 1, 60, 1)]));
        // The heaviest user is remembered, while many clients come once each.
        let heavy = route_of_many();
        let me = ip("192.0.2.1");
        for _ in 0..50 {
            limits.take(&heavy, me, None, SECOND);
        }
        for n in 0..600_000_u32 {
            limits.take(&route, IpAddr::from(n.to_be_bytes()), None, SECOND);
        }
        let entries: usize = limits.buckets.get().unwrap().iter().map(|one| one.lock().len()).sum();
        assert_eq!(entries, BUCKETS * WAYS);
        assert!(limits.take(&heavy, me, None, SECOND).exceeded.is_some());
    }

    fn route_of_many() -> Route {
        route(vec![limit(LimitedBy::Address, 50, 3600, 50)])
    }

    proptest! {
        #[test]
        fn never_more_pass_than_the_bucket_and_what_fills_it(
            requests in 1..50_u32,
            seconds in 1..100_u64,
            burst in 1..50_u32,
            gaps in prop::collection::vec(0..3000_u64, 1..200),
        ) {
            let limits = RateLimits::default();
            let route = route(vec![limit(LimitedBy::Address, requests, seconds, burst)]);
            let (mut now, mut passed) = (SECOND, 0_u64);
            for gap in &gaps {
                now += Duration::from_millis(*gap);
                let taken = limits.take(&route, ip("192.0.2.1"), None, now);
                passed += u64::from(taken.exceeded.is_none());
                prop_assert!(taken.quotas[0].remaining < u64::from(burst) || taken.exceeded.is_none());
                if let Some(wait) = taken.exceeded {
                    // A client that waits for as long as the answer says gets through.
                    let later = limits.take(&route, ip("192.0.2.1"), None, now + wait);
                    prop_assert!(later.exceeded.is_none());
                    passed += 1;
                    now += wait;
                }
            }
            let elapsed = (now - SECOND).as_micros();
            let filled = elapsed / (u128::from(seconds) * 1_000_000 / u128::from(requests)).max(1);
            prop_assert!(u128::from(passed) <= u128::from(burst) + filled + 1);
        }
    }
}
