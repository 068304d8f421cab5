//! The state of a detector: for each key, the marks within the last window.
//!
//! A window is exact: each mark carries its time, and a key's marks are counted when the newest arrives. The time is that of
//! the events. Events of several threads may arrive slightly out of order, so a mark counts if it lies within the window of the
//! newest event on *either* side.
//!
//! The state is stored in the store's [`Counters`](crate::store::counters), in a scope for each use, which bounds the memory
//! whoever fills it. Values are of fixed size for that reason, and a key never holds more marks than the threshold: reaching it
//! is a finding, and clears them. If the store fails, there is a warning, and marks that it did not store do not count.

use std::fmt::Display;
use std::marker::PhantomData;
use std::time::Duration;

use super::Scene;
use crate::clock::Timestamp;
use crate::store::StoreError;
use crate::store::counters::{CounterEntry, CounterKey, CounterScope, changed_one};

/// The most bytes that one window may take: some 55 000 keys with one mark.
const MOST_BYTES: usize = if cfg!(test) { 1 << 20 } else { 8 << 20 };

/// The first byte of an entry while marks are collected, and after they were reported.
const COLLECTING: u8 = 0;
const REPORTED: u8 = 1;

/// When the same key may reach the threshold again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum RepeatRule {
    /// When the window has passed, with marks that came after that. A continuing attack is reported once per window.
    AfterWindow,
    /// As soon as as many new marks have arrived.
    AtThreshold,
}

/// The value of a mark, in a fixed number of bytes.
pub(super) trait MarkValue: Sized + Send + Sync {
    /// The number of bytes.
    const BYTES: usize;

    /// Writes the value.
    fn write(&self, to: &mut Vec<u8>);

    /// Reads the value.
    fn read(from: &[u8]) -> Option<Self>;
}

/// A mark without a value.
impl MarkValue for () {
    const BYTES: usize = 0;

    fn write(&self, _: &mut Vec<u8>) {}

    fn read(_: &[u8]) -> Option<Self> {
        Some(())
    }
}

/// A value that distinguishes marks.
impl MarkValue for CounterKey {
    const BYTES: usize = 16;

    fn write(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(self.as_bytes());
    }

    fn read(from: &[u8]) -> Option<Self> {
        from.try_into().ok().map(Self::from_bytes)
    }
}

/// One byte says whether there is a value.
impl<V: MarkValue> MarkValue for Option<V> {
    const BYTES: usize = 1 + V::BYTES;

    fn write(&self, to: &mut Vec<u8>) {
        let end = to.len() + Self::BYTES;
        to.push(u8::from(self.is_some()));
        if let Some(value) = self {
            value.write(to);
        }
        to.resize(end, 0);
    }

    fn read(from: &[u8]) -> Option<Self> {
        match from.split_first()? {
            (0, _) => Some(None),
            (_, value) => V::read(value).map(Some),
        }
    }
}

/// For each key, the marks within the window of a detector's settings; as many marks of one key as its threshold are a finding.
pub(super) struct Windows<V> {
    scope: CounterScope,
    again: RepeatRule,
    values: PhantomData<fn() -> V>,
}

enum WindowHistory<V> {
    /// The marks, oldest first.
    Collecting(Vec<(Timestamp, V)>),
    Reported(Timestamp),
}

impl<V: MarkValue> Windows<V> {
    /// Creates windows in a scope of this name, which must be unique.
    pub(super) const fn new(name: &'static str, again: RepeatRule) -> Self {
        Self { scope: CounterScope { name, most_bytes: MOST_BYTES }, again, values: PhantomData }
    }

    /// Marks `key` once more. Returns the values of all its marks, oldest first, if that reaches the threshold.
    pub(super) async fn count(
        &self,
        scene: Scene<'_>,
        key: &(impl Display + ?Sized),
        value: V,
    ) -> Option<Vec<V>>
    where
        V: Clone,
    {
        self.mark(scene, key.to_string(), value, |_, _| false).await
    }

    /// Marks `key` with `value`; an equal value that is already there only gets the new time. Returns the distinct values, if
    /// that reaches the threshold.
    pub(super) async fn distinct(
        &self,
        scene: Scene<'_>,
        key: &(impl Display + ?Sized),
        value: V,
    ) -> Option<Vec<V>>
    where
        V: Clone + PartialEq,
    {
        self.mark(scene, key.to_string(), value, V::eq).await
    }

    /// Like [`Self::distinct`], but two different values may be the `same`: then the later one counts.
    pub(super) async fn distinct_by(
        &self,
        scene: Scene<'_>,
        key: &(impl Display + ?Sized),
        value: V,
        same: fn(&V, &V) -> bool,
    ) -> Option<Vec<V>>
    where
        V: Clone,
    {
        self.mark(scene, key.to_string(), value, same).await
    }

    /// Undoes reaching the threshold, for what was no finding after all, or one that must not hide another: the values are
    /// collected again without the oldest, at the time of this event.
    pub(super) async fn put_back(
        &self,
        scene: Scene<'_>,
        key: &(impl Display + ?Sized),
        mut values: Vec<V>,
    ) where
        V: Clone,
    {
        values.drain(..values.len().saturating_sub(scene.threshold() - 1));
        let now = scene.event.at;
        let put = |entry: &mut CounterEntry| {
            let marks = values.iter().map(|value| (now, value.clone())).collect();
            WindowHistory::Collecting(marks).write(entry, now.plus(scene.settings.window));
        };
        self.change(scene, &key.to_string(), put).await;
    }

    /// Returns the values that are collected for a key, oldest first.
    pub(super) async fn seen(&self, scene: Scene<'_>, key: &(impl Display + ?Sized)) -> Vec<V> {
        let read = |entry: &mut CounterEntry| match WindowHistory::read(&entry.value) {
            WindowHistory::Collecting(marks) => marks.into_iter().map(|(_, value)| value).collect(),
            WindowHistory::Reported(_) => Vec::new(),
        };
        self.change(scene, &key.to_string(), read).await.unwrap_or_default()
    }

    async fn mark(
        &self,
        scene: Scene<'_>,
        key: String,
        value: V,
        replaces: fn(&V, &V) -> bool,
    ) -> Option<Vec<V>>
    where
        V: Clone,
    {
        let (at, window, threshold) = (scene.event.at, scene.settings.window, scene.threshold());
        let mark = |entry: &mut CounterEntry| {
            let mut marks = match WindowHistory::read(&entry.value) {
                WindowHistory::Reported(told) if apart(told, at) < window => {
                    let until = entry.until.max(at.plus(window));
                    WindowHistory::<V>::Reported(told).write(entry, until);
                    return None;
                }
                WindowHistory::Reported(_) => Vec::new(),
                WindowHistory::Collecting(marks) => marks,
            };
            marks.retain(|(then, old)| apart(*then, at) < window && !replaces(old, &value));
            marks.push((at, value.clone()));
            let is_reached = marks.len() >= threshold;
            let reached = is_reached.then(|| std::mem::take(&mut marks));
            let next = match (is_reached, self.again) {
                (true, RepeatRule::AfterWindow) => WindowHistory::Reported(at),
                (true, RepeatRule::AtThreshold) | (false, _) => WindowHistory::Collecting(marks),
            };
            next.write(entry, entry.until.max(at.plus(window)));
            reached.map(|marks| marks.into_iter().map(|(_, value)| value).collect())
        };
        self.change(scene, &key, mark).await.flatten()
    }

    async fn change<R: Send>(
        &self,
        scene: Scene<'_>,
        key: &str,
        change: impl FnMut(&mut CounterEntry) -> R + Send,
    ) -> Option<R> {
        let (counters, key) = (scene.around.counters, CounterKey::of(key));
        told(changed_one(counters, self.scope, key, scene.event.at, change).await)
    }
}

impl<V: MarkValue> WindowHistory<V> {
    fn read(bytes: &[u8]) -> Self {
        match bytes.split_first() {
            Some((&REPORTED, told)) => {
                Self::Reported(time(told).map_or(Timestamp::from_secs(0), |(told, _)| told))
            }
            Some((_, marks)) => {
                let marks = marks.chunks_exact(8 + V::BYTES).filter_map(|mark| {
                    let (at, value) = time(mark)?;
                    Some((at, V::read(value)?))
                });
                Self::Collecting(marks.collect())
            }
            None => Self::Collecting(Vec::new()),
        }
    }

    fn write(&self, entry: &mut CounterEntry, until: Timestamp) {
        let mut value = Vec::new();
        match self {
            Self::Collecting(marks) => {
                for (at, mark) in marks {
                    if value.is_empty() {
                        value.reserve_exact(1 + marks.len() * (8 + V::BYTES));
                        value.push(COLLECTING);
                    }
                    value.extend_from_slice(&at.as_millis().to_be_bytes());
                    mark.write(&mut value);
                }
            }
            Self::Reported(told) => {
                value.push(REPORTED);
                value.extend_from_slice(&told.as_millis().to_be_bytes());
            }
        }
        *entry = CounterEntry { value, until };
    }
}

/// Returns the store's result; after an error, which is logged, nothing was counted.
pub(super) fn told<R>(said: Result<R, StoreError>) -> Option<R> {
    said.inspect_err(|error| tracing::warn!(%error, "a detector could not count an event")).ok()
}

/// Splits off a time, and returns it with the remaining bytes.
pub(super) fn time(bytes: &[u8]) -> Option<(Timestamp, &[u8])> {
    let (millis, rest) = bytes.split_first_chunk::<8>()?;
    Some((Timestamp::from_millis(u64::from_be_bytes(*millis)), rest))
}

fn apart(a: Timestamp, b: Timestamp) -> Duration {
    a.since(b).max(b.since(a))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::FutureExt as _;
    use proptest::prelude::*;

    use super::super::DetectorName;
    use super::super::testing::{around, at, detector, event};
    use super::*;
    use crate::config::DetectorSettings;
    use crate::event::EventKind;
    use crate::refusal::Refusal;
    use crate::store::counters::ENTRY_BYTES;
    use crate::store::counters::memory::CountersInMemory;

    impl MarkValue for u64 {
        const BYTES: usize = 8;

        fn write(&self, to: &mut Vec<u8>) {
            to.extend_from_slice(&self.to_be_bytes());
        }

        fn read(from: &[u8]) -> Option<Self> {
            from.try_into().ok().map(Self::from_be_bytes)
        }
    }

    /// Marks in a window of 60 seconds.
    struct Marked {
        windows: Windows<u64>,
        settings: DetectorSettings,
        counters: Arc<CountersInMemory>,
    }

    impl Marked {
        fn new(threshold: u32, again: RepeatRule) -> Self {
            let counters = CountersInMemory::new();
            Self { windows: Windows::new("test", again), settings: detector(threshold), counters }
        }

        fn at<R>(&self, secs: u64, act: impl AsyncFnOnce(Scene<'_>) -> R) -> R {
            let what = EventKind::Refused { refusal: Refusal::NoRoute, user: None };
            let event = event(at(secs), "192.0.2.1", what);
            let around = super::super::Surroundings { counters: &*self.counters, ..around() };
            let scene = Scene {
                detector: DetectorName::Scanning,
                event: &event,
                around: &around,
                settings: &self.settings,
            };
            act(scene).now_or_never().expect("it waits for nothing")
        }

        fn count(&self, key: &str, value: u64, secs: u64) -> Option<Vec<u64>> {
            self.at(secs, async |scene| self.windows.count(scene, key, value).await)
        }

        fn distinct(&self, key: &str, value: u64, secs: u64) -> Option<Vec<u64>> {
            self.at(secs, async |scene| self.windows.distinct(scene, key, value).await)
        }

        fn held(&self) -> (usize, usize) {
            self.counters.held(self.windows.scope)
        }
    }

    /// Returns the seconds at which marks of one key, at these seconds, reach the threshold.
    fn reached(threshold: u32, again: RepeatRule, marks: &[u64]) -> Vec<u64> {
        let marked = Marked::new(threshold, again);
        marks.iter().copied().filter(|secs| marked.count("a", *secs, *secs).is_some()).collect()
    }

    #[test]
    fn the_threshold_is_reached_within_the_window_only() {
        for (marks, expected) in [
            (&[0, 1][..], &[][..]),
            (&[0, 1, 2], &[2]),
            (&[0, 30, 59], &[59]),
            (&[0, 30, 60], &[]),
            (&[0, 30, 60, 89], &[89]),
            // Out of order, as from two threads.
            (&[5, 4, 3], &[3]),
            // The wall clock was set back by an hour: marks in the future do not count.
            (&[3600, 3601, 0], &[]),
        ] {
            assert_eq!(reached(3, RepeatRule::AfterWindow, marks), expected, "{marks:?}");
        }
    }

    #[test]
    fn a_reported_key_is_quiet_for_a_window_and_starts_anew_after_it() {
        let steady: Vec<u64> = (0..300).step_by(10).collect();
        assert_eq!(reached(3, RepeatRule::AfterWindow, &steady), [20, 100, 180, 260]);
        assert_eq!(reached(3, RepeatRule::AfterWindow, &[0, 1, 2, 3, 4, 61, 62, 63, 64]), [2, 64]);
    }

    #[test]
    fn what_was_put_back_reaches_the_threshold_with_the_next() {
        for (threshold, expected) in [(1, vec![7]), (2, vec![2, 7]), (3, vec![1, 2, 7])] {
            let marked = Marked::new(threshold, RepeatRule::AfterWindow);
            for value in 0..3 {
                marked.count("a", value, value);
            }
            marked.at(2, async |scene| {
                marked.windows.put_back(scene, "a", vec![0, 1, 2]).await;
            });
            assert_eq!(marked.count("a", 7, 3), Some(expected), "{threshold}");
            assert_eq!(marked.count("a", 8, 4), None, "and is a finding then");
        }
    }

    #[test]
    fn or_it_may_reach_the_threshold_at_once_again() {
        assert_eq!(reached(2, RepeatRule::AtThreshold, &[0, 1, 2, 3, 4]), [1, 3]);
        assert_eq!(reached(1, RepeatRule::AtThreshold, &[0, 0, 1]), [0, 0, 1]);
    }

    #[test]
    fn equal_values_count_once_and_are_made_younger() {
        let marked = Marked::new(3, RepeatRule::AfterWindow);
        let see = |value, secs| marked.distinct("a", value, secs);
        assert_eq!(see(7, 0), None);
        assert_eq!(see(8, 1), None);
        assert_eq!(see(7, 50), None);
        let seen = marked.at(50, async |scene| marked.windows.seen(scene, "a").await);
        assert_eq!(seen, [8, 7]);
        // The 8 is too old by now, the 7 is not.
        assert_eq!(see(9, 70), None);
        assert_eq!(see(8, 80), Some(vec![7, 9, 8]));
    }

    #[test]
    fn keys_are_counted_apart_and_forgotten_when_they_were_silent_for_a_window() {
        let marked = Marked::new(2, RepeatRule::AfterWindow);
        assert!(marked.count("a", 0, 0).is_none());
        assert!(marked.count("b", 0, 0).is_none());
        assert!(marked.count("a", 0, 1).is_some());
        for n in 0..100 {
            marked.count(&format!("{n}"), 0, 2);
        }
        marked.count("c", 0, 62);
        assert_eq!(marked.held().0, 1);
    }

    /// Inventing names fills one window and no more, and a frequent name is still counted.
    #[test]
    fn however_many_names_are_invented_so_much_is_held() {
        let marked = Marked::new(10, RepeatRule::AfterWindow);
        let mut found = 0;
        for n in 0..20_000 {
            marked.distinct(&format!("name {n}"), n, n / 2000);
            found += usize::from(n % 500 == 0 && marked.count("one", n, n / 2000).is_some());
        }
        let (keys, bytes) = marked.held();
        assert!(bytes <= MOST_BYTES && keys > 6000, "{keys} {bytes}");
        assert_eq!(found, 1, "of one attack that goes on");
    }

    proptest! {
        /// No key ever has more marks than the threshold allows.
        #[test]
        fn a_key_is_bounded(
            marks in prop::collection::vec((0_u32..40, 0_u64..5, 0_u64..200), 0..200),
            distinct: bool,
        ) {
            let marked = Marked::new(5, RepeatRule::AfterWindow);
            for (key, value, secs) in marks {
                let key = key.to_string();
                let reached = match distinct {
                    true => marked.distinct(&key, value, secs),
                    false => marked.count(&key, value, secs),
                };
                prop_assert!(reached.is_none_or(|values| values.len() == 5));
                let (keys, bytes) = marked.held();
                prop_assert!(keys <= 40 && bytes <= keys * (ENTRY_BYTES + 1 + 4 * 16));
            }
        }
    }
}
