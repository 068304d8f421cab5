//! Provides counters that fail, for tests.

use std::sync::Arc;

use async_trait::async_trait;

use super::memory::CountersInMemory;
use super::{CounterChange, CounterKey, CounterScope, Counters};
use crate::clock::Timestamp;
use crate::store::StoreError;

/// Counters in memory that fail in some scopes.
pub(crate) struct FailingCounters {
    memory: CountersInMemory,
    fails: fn(CounterScope) -> bool,
}

impl FailingCounters {
    /// Creates counters that fail in all scopes.
    pub(crate) fn everywhere() -> Arc<Self> {
        Self::where_it(|_| true)
    }

    /// Creates counters that fail in the scopes for which `fails` returns `true`.
    pub(crate) fn where_it(fails: fn(CounterScope) -> bool) -> Arc<Self> {
        Arc::new(Self { memory: CountersInMemory::default(), fails })
    }
}

#[async_trait]
impl Counters for FailingCounters {
    async fn change(
        &self,
        scope: CounterScope,
        keys: &[CounterKey],
        at: Timestamp,
        change: &mut CounterChange<'_>,
    ) -> Result<(), StoreError> {
        match (self.fails)(scope) {
            true => Err(StoreError("down".into())),
            false => self.memory.change(scope, keys, at, change).await,
        }
    }
}
