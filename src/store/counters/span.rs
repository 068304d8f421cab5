//! A count within a span of time, as it stands in an entry.
//!
//! The span begins with the first that is counted. When it is over, the next begins another.

use std::time::Duration;

use super::CounterEntry;
use crate::clock::Timestamp;

/// How many there were since when.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CountInSpan {
    /// When the first of them was.
    pub since: Timestamp,
    /// How many.
    pub count: u32,
}

impl CountInSpan {
    /// What one takes as a value.
    pub const BYTES: usize = 12;

    /// What an entry says at this time: none, if its span is over or it says nothing.
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

    /// The entry with one more.
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
