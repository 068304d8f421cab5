//! Limits the number of retries.
//!
//! When everything fails, retrying everything prevents a recovery. Each request earns a part of a retry
//! (`budget_percent`), of which a few seconds' worth can be saved up; besides, `budget_floor` retries are allowed in
//! any second, so that a service with few requests has retries too.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use super::endpoint::now;

/// The parts that make up one retry.
const ONE: i64 = 100;
/// The most that can be saved up.
const SAVED: i64 = 100 * ONE;

/// The retries that are allowed now.
#[derive(Default)]
pub(super) struct Budget {
    saved: AtomicI64,
    /// The second that `spent` counts.
    second: AtomicU64,
    spent: AtomicU64,
}

impl Budget {
    /// Earns a part of a retry for a request.
    pub(super) fn earn(&self, percent: u32) {
        if percent > 0 && self.saved.load(Ordering::Relaxed) < SAVED {
            self.saved.fetch_add(i64::from(percent), Ordering::Relaxed);
        }
    }

    /// Counts one more retry and returns `true`, if it is allowed.
    pub(super) fn spend(&self, floor: u32) -> bool {
        self.spend_at(now() / 1000, floor)
    }

    fn spend_at(&self, second: u64, floor: u32) -> bool {
        if self.saved.fetch_sub(ONE, Ordering::Relaxed) >= ONE {
            return true;
        }
        self.saved.fetch_add(ONE, Ordering::Relaxed);
        if self.second.swap(second, Ordering::Relaxed) != second {
            self.spent.store(0, Ordering::Relaxed);
        }
        self.spent.fetch_add(1, Ordering::Relaxed) < u64::from(floor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_as_many_as_the_requests_earn_and_a_few_each_second() {
        let budget = Budget::default();
        let spend = |second| (0..1000).filter(|_| budget.spend_at(second, 3)).count();
        assert_eq!(spend(1), 3);
        assert_eq!(spend(2), 3);
        for _ in 0..50 {
            budget.earn(20);
        }
        assert_eq!(spend(3), 10 + 3);
        for _ in 0..100_000 {
            budget.earn(20);
        }
        assert_eq!(spend(4), 100 + 3);
    }
}
