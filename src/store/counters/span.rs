//! Defines a count within a span of time, as an entry stores it.
//!
//! The span begins with the first event that is counted. Once it is over, the next event begins another.

use std::time::Duration;

use super::CounterEntry;
use crate::clock::Timestamp;

/// The number of events within a span of time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CountInSpan {
    /// When the first event happened.
    pub since: Timestamp,
    /// The number of events.
    pub count: u32,
}

impl CountInSpan {
    /// The number of bytes of a stored count.
    pub const BYTES: usize = 12;

    /// Reads the count from an entry: zero if its span is over or the entry has no count.
    pub fn read(entry: &CounterEntry, span: Duration, at: Timestamp) -> Self {
        let kept = || {
            let (since, rest) = entry.value.split_first_chunk::<8>()?;
            let (count, _) = rest.split_first_chunk::<4>()?;
            let since = Timestamp::from_millis(u64::from_be_bytes(*since));
            Some(Self { since, count: u32::from_be_bytes(*count) })
        };
        let lasting = kept().filter(|kept| at.since(kept.since) < span);
        lasting.unwrap_or(Self { since: at, count: 0 })
    }

    /// Returns the entry with one more event.
    #[must_use]
    pub fn with_one_more(self, span: Duration) -> CounterEntry {
        let mut value = Vec::with_capacity(Self::BYTES);
        value.extend_from_slice(&self.since.as_millis().to_be_bytes());
        value.extend_from_slice(&self.count.saturating_add(1).to_be_bytes());
        CounterEntry { value, until: self.since.plus(span) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPAN: Duration = Duration::from_secs(60);

    #[test]
    fn a_span_begins_with_its_first_and_ends_in_time() {
        let mut entry = CounterEntry::default();
        for (secs, count, since) in [
            (100, 0, 100),
            (159, 1, 100),
            (160, 0, 160),
            (161, 1, 160),
            // The clock was set back.
            (5, 2, 160),
        ] {
            let at = Timestamp::from_secs(secs);
            let read = CountInSpan::read(&entry, SPAN, at);
            assert_eq!(read, CountInSpan { since: Timestamp::from_secs(since), count }, "{secs}");
            entry = read.with_one_more(SPAN);
            assert_eq!(entry.value.len(), CountInSpan::BYTES);
            assert_eq!(entry.until, Timestamp::from_secs(since + 60));
        }
    }
}
