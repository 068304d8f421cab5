//! Decides when a service is asked again about one of its credentials.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::user;
use crate::clock::Timestamp;

/// The longest time after which a service is asked again about a credential.
const ASK_AGAIN: Duration = Duration::from_secs(60);

/// When the service was last asked about a credential.
#[derive(Default)]
pub(super) struct LastLook {
    asked_at: AtomicU64,
    is_asking: AtomicBool,
}

/// The right to ask again. If it is dropped without a result, the next caller gets it.
pub(super) struct RecheckTurn<'a>(&'a LastLook);

impl LastLook {
    /// Records that the service was asked at this time.
    pub(super) fn at(at: Timestamp) -> Self {
        Self { asked_at: AtomicU64::new(at.as_millis()), ..Self::default() }
    }

    /// Returns the turn, if it is time to ask again and nobody else is asking.
    pub(super) fn turn(&self, every: Duration, at: Timestamp) -> Option<RecheckTurn<'_>> {
        let asked_at = Timestamp::from_millis(self.asked_at.load(Ordering::Relaxed));
        let is_due = at.since(asked_at) >= every.min(ASK_AGAIN);
        let is_first = || !self.is_asking.swap(true, Ordering::AcqRel);
        (is_due && is_first()).then_some(RecheckTurn(self))
    }
}

impl RecheckTurn<'_> {
    /// Records that the answer changed nothing; the next query is due after the same time.
    pub(super) fn done(self, at: Timestamp) {
        self.0.asked_at.store(at.as_millis(), Ordering::Relaxed);
    }

    /// Records that the service could not be asked; the next attempt may come a second from now.
    pub(super) fn failed(self, every: Duration, at: Timestamp) {
        let asked_at = at.plus(user::ASK_AGAIN).minus(every.min(ASK_AGAIN));
        self.0.asked_at.store(asked_at.as_millis(), Ordering::Relaxed);
    }
}

impl Drop for RecheckTurn<'_> {
    fn drop(&mut self) {
        self.0.is_asking.store(false, Ordering::Release);
    }
}
