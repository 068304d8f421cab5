//! How many retries there may be.
//!
//! When everything fails, trying everything again is what keeps it down. Each request earns a part of a retry
//! (`budget_percent`), which lasts a few seconds' worth; beside that there may be `budget_floor` of them in any second, so
//! that a quiet service has retries too.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use super::endpoint::now;

/// A retry is counted in parts of it.
const ONE: i64 = 100;
/// The most that can be saved up.
const SAVED: i64 = 100 * ONE;

/// What may be retried now.
#[derive(Default)]
pub(super) struct Budget {
    saved: AtomicI64,
    /// The second for which `spent` counts.
    second: AtomicU64,
    spent: AtomicU64,
}

impl Budget {
    /// A request came.
    pub(super) fn earn(&self, percent: u32) {
        if percent > 0 && self.saved.load(Ordering::Relaxed) < SAVED {
            self.saved.fetch_add(i64::from(percent), Ordering::Relaxed);
        }
    }

    /// May there be one more retry? Then it is counted.
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
