//! What a detector remembers: for each key, what was seen within the last window; bounded, whoever fills it.
//!
//! A window is exact: each mark carries its time, and a key's marks are counted when the newest arrives. Time is the
//! events' own. Events of several threads may arrive slightly out of order, so a mark counts if it lies within the window
//! of the newest event on *either* side.
//!
//! Keys are chosen by clients (names that somebody guesses, addresses), so all keys together hold at most a fixed number
//! of marks; beyond it the key that was silent for longest is forgotten. Keys and values are of fixed size for the same
//! reason. A key never holds more marks than the threshold: reaching it is a finding, and clears them.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::Hash;
use std::time::Duration;

use crate::clock::Timestamp;

/// Marks of all keys of one window. At some 100 bytes each: below 10 MB.
const CAPACITY: usize = 65_536;

/// After a threshold was reached: when may the same key reach it again?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Again {
    /// When the window has passed, with marks that came after that. One attack that goes on is told once a window.
    AfterWindow,
    /// As soon as as many new marks have come.
    AtThreshold,
}

/// For each key, what was seen within the window.
#[derive(Debug)]
pub(super) struct Windows<K, V> {
    threshold: usize,
    window: Duration,
    again: Again,
    capacity: usize,
    keys: HashMap<K, WindowEntry<V>>,
    /// Keys by their last mark, oldest first.
    order: BTreeMap<u64, K>,
    turn: u64,
    /// Marks of all keys; a reported key counts as one.
    marks: usize,
}

#[derive(Debug)]
struct WindowEntry<V> {
    turn: u64,
    touched: Timestamp,
    history: WindowHistory<V>,
}

#[derive(Debug)]
enum WindowHistory<V> {
    Collecting(VecDeque<(Timestamp, V)>),
    Reported(Timestamp),
}

impl<V> WindowHistory<V> {
    fn len(&self) -> usize {
        match self {
            Self::Collecting(marks) => marks.len(),
            Self::Reported(_) => 1,
        }
    }
}

impl<K: Clone + Eq + Hash, V: PartialEq> Windows<K, V> {
    /// `threshold` marks of one key within `window` are a finding. A threshold of 0 means 1.
    pub(super) fn new(threshold: u32, window: Duration, again: Again) -> Self {
        let threshold = usize::try_from(threshold).unwrap_or(usize::MAX).max(1);
        // Room for one key to reach its threshold, however large an operator chose it.
        let capacity = CAPACITY.max(threshold.saturating_add(1));
        Self {
            threshold,
            window,
            again,
            capacity,
            keys: HashMap::new(),
            order: BTreeMap::new(),
            turn: 0,
            marks: 0,
        }
    }

    /// From now on so many marks within this time are a finding.
    pub(super) fn judge_by(&mut self, threshold: u32, window: Duration) {
        let other = Self::new(threshold, window, self.again);
        (self.threshold, self.window, self.capacity) = (other.threshold, window, other.capacity);
    }

    /// Marks `key` once more. The values of all its marks, oldest first, if that reaches the threshold.
    pub(super) fn count(&mut self, key: K, value: V, at: Timestamp) -> Option<Vec<V>> {
        self.mark(key, value, at, |_, _| false)
    }

    /// Marks `key` with `value`; an equal value that is there already is only made younger. The distinct values, if that
    /// reaches the threshold.
    pub(super) fn distinct(&mut self, key: K, value: V, at: Timestamp) -> Option<Vec<V>> {
        self.mark(key, value, at, V::eq)
    }

    /// The same, where two values that differ may be `same`: the later one counts.
    pub(super) fn distinct_by(
        &mut self,
        key: K,
        value: V,
        at: Timestamp,
        same: impl Fn(&V, &V) -> bool,
    ) -> Option<Vec<V>> {
        self.mark(key, value, at, same)
    }

    /// What reached the threshold was no finding after all, or one that must not hide another: it is collected again, less
    /// its oldest, and as if it were of now.
    pub(super) fn put_back(&mut self, key: &K, values: &[V], now: Timestamp)
    where
        V: Clone,
    {
        let Some(entry) = self.keys.get_mut(key) else { return };
        let before = entry.history.len();
        let surplus = values.len().saturating_sub(self.threshold - 1);
        let kept = values.iter().skip(surplus).map(|value| (now, value.clone()));
        entry.history = WindowHistory::Collecting(kept.collect());
        self.marks = self.marks - before + entry.history.len();
        while self.marks > self.capacity && self.forget_oldest() {}
    }

    /// What is collected of a key, oldest first.
    pub(super) fn seen(&self, key: &K) -> impl Iterator<Item = &V> {
        let marks = self.keys.get(key).and_then(|entry| match &entry.history {
            WindowHistory::Collecting(marks) => Some(marks),
            WindowHistory::Reported(_) => None,
        });
        marks.into_iter().flatten().map(|(_, value)| value)
    }

    fn mark(
        &mut self,
        key: K,
        value: V,
        at: Timestamp,
        replaces: impl Fn(&V, &V) -> bool,
    ) -> Option<Vec<V>> {
        self.forget_silent(at);
        self.turn += 1;
        let entry = self.keys.entry(key.clone()).or_insert_with(|| WindowEntry {
            turn: self.turn,
            touched: at,
            history: WindowHistory::Collecting(VecDeque::new()),
        });
        self.order.remove(&entry.turn);
        self.order.insert(self.turn, key);
        entry.turn = self.turn;
        entry.touched = entry.touched.max(at);

        let before = entry.history.len();
        if let WindowHistory::Reported(told) = entry.history
            && apart(told, at) >= self.window
        {
            entry.history = WindowHistory::Collecting(VecDeque::new());
        }
        let mut reached = None;
        if let WindowHistory::Collecting(marks) = &mut entry.history {
            marks.retain(|(then, old)| apart(*then, at) < self.window && !replaces(old, &value));
            marks.push_back((at, value));
            if marks.len() >= self.threshold {
                reached = Some(std::mem::take(marks).into_iter().map(|(_, value)| value).collect());
            }
        }
        if reached.is_some() && self.again == Again::AfterWindow {
            entry.history = WindowHistory::Reported(at);
        }
        self.marks = self.marks - before + entry.history.len();
        while self.marks > self.capacity && self.forget_oldest() {}
        reached
    }

    /// Forgets keys that were silent for a whole window; each key is forgotten once, so this costs nothing on the whole.
    fn forget_silent(&mut self, at: Timestamp) {
        while let Some((_, key)) = self.order.first_key_value()
            && self.keys.get(key).is_some_and(|entry| apart(entry.touched, at) >= self.window)
        {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) -> bool {
        let Some((_, key)) = self.order.pop_first() else { return false };
        if let Some(entry) = self.keys.remove(&key) {
            self.marks -= entry.history.len();
        }
        true
    }
}

fn apart(a: Timestamp, b: Timestamp) -> Duration {
    a.since(b).max(b.since(a))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WINDOW: Duration = Duration::from_secs(60);

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_secs(1_000_000 + secs)
    }

    fn windows(threshold: u32, again: Again) -> Windows<u32, u64> {
        Windows::new(threshold, WINDOW, again)
    }

    /// The seconds at which marks of one key, at these seconds, reach the threshold.
    fn reached(threshold: u32, again: Again, marks: &[u64]) -> Vec<u64> {
        let mut windows = windows(threshold, again);
        marks.iter().copied().filter(|s| windows.count(1, *s, at(*s)).is_some()).collect()
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
            // The wall clock was set back by an hour: what is in the future does not count.
            (&[3600, 3601, 0], &[]),
        ] {
            assert_eq!(reached(3, Again::AfterWindow, marks), expected, "{marks:?}");
        }
    }

    #[test]
    fn a_reported_key_is_quiet_for_a_window_and_starts_anew_after_it() {
        let steady: Vec<u64> = (0..300).step_by(10).collect();
        assert_eq!(reached(3, Again::AfterWindow, &steady), [20, 100, 180, 260]);
        assert_eq!(reached(3, Again::AfterWindow, &[0, 1, 2, 3, 4, 61, 62, 63, 64]), [2, 64]);
    }

    #[test]
    fn what_was_put_back_reaches_the_threshold_with_the_next() {
        for (threshold, expected) in [(1, vec![7]), (2, vec![2, 7]), (3, vec![1, 2, 7])] {
            let mut windows = windows(threshold, Again::AfterWindow);
            for value in 0..3 {
                windows.count(1, value, at(value));
            }
            windows.put_back(&1, &[0, 1, 2], at(2));
            assert_eq!(windows.count(1, 7, at(3)), Some(expected), "{threshold}");
            assert_eq!(windows.count(1, 8, at(4)), None, "and is a finding then");
        }
    }

    #[test]
    fn or_it_may_reach_the_threshold_at_once_again() {
        assert_eq!(reached(2, Again::AtThreshold, &[0, 1, 2, 3, 4]), [1, 3]);
        assert_eq!(reached(1, Again::AtThreshold, &[0, 0, 1]), [0, 0, 1]);
    }

    #[test]
    fn equal_values_count_once_and_are_made_younger() {
        let mut windows = windows(3, Again::AfterWindow);
        let mut see = |value, secs| windows.distinct(1, value, at(secs));
        assert_eq!(see(7, 0), None);
        assert_eq!(see(8, 1), None);
        assert_eq!(see(7, 50), None);
        // 8 is out by now, 7 is not.
        assert_eq!(see(9, 70), None);
        assert_eq!(see(8, 80), Some(vec![7, 9, 8]));
    }

    #[test]
    fn keys_are_counted_apart() {
        let mut windows = windows(2, Again::AfterWindow);
        assert!(windows.count(1, 0, at(0)).is_none());
        assert!(windows.count(2, 0, at(0)).is_none());
        assert!(windows.count(1, 0, at(1)).is_some());
    }

    #[test]
    fn the_key_that_was_silent_for_longest_gives_way() {
        let mut windows = windows(3, Again::AfterWindow);
        windows.capacity = 4;
        for key in [1, 2, 1, 3] {
            windows.count(key, 0, at(0));
        }
        // The fifth mark drops key 2, so that key 1 reaches its threshold and key 2 does not.
        windows.count(4, 0, at(1));
        assert!(!windows.keys.contains_key(&2));
        assert!(windows.count(1, 0, at(1)).is_some());
        assert!(windows.count(2, 0, at(1)).is_none());
    }

    #[test]
    fn what_is_silent_for_a_window_is_forgotten() {
        let mut windows = windows(3, Again::AfterWindow);
        for key in 0..100 {
            windows.count(key, 0, at(0));
        }
        windows.count(1000, 0, at(60));
        assert_eq!((windows.keys.len(), windows.order.len(), windows.marks), (1, 1, 1));
    }

    #[test]
    fn however_many_names_are_invented_so_many_marks_are_held() {
        let mut windows: Windows<u64, u64> = Windows::new(10, WINDOW, Again::AfterWindow);
        for n in 0..200_000 {
            windows.distinct(n, n, at(0));
            windows.count(0, n, at(0));
        }
        assert_eq!(windows.marks, CAPACITY);
        assert!(windows.keys.len() <= CAPACITY && windows.order.len() == windows.keys.len());
    }

    proptest! {
        /// Whatever comes, the bookkeeping agrees with itself and stays within the bound.
        #[test]
        fn memory_is_bounded(
            marks in prop::collection::vec((0_u32..40, 0_u64..5, 0_u64..200), 0..400),
            distinct: bool,
        ) {
            let mut windows = windows(5, Again::AfterWindow);
            windows.capacity = 20;
            for (key, value, secs) in marks {
                let reached = if distinct {
                    windows.distinct(key, value, at(secs))
                } else {
                    windows.count(key, value, at(secs))
                };
                prop_assert!(reached.is_none_or(|values| values.len() == 5));
                let marks: usize = windows.keys.values().map(|entry| entry.history.len()).sum();
                prop_assert_eq!(marks, windows.marks);
                prop_assert!(windows.marks <= 20);
                prop_assert_eq!(windows.keys.len(), windows.order.len());
                prop_assert!(windows.keys.len() <= 20);
            }
        }
    }
}
