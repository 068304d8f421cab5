//! Converts values with a unit between their text in the file and their value.

use std::time::Duration;

const UNITS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

const SIZES: [(&str, u64); 4] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

/// Parses `"500ms"`, `"30s"`, `"15m"`, `"24h"`, `"14d"`: a whole number and one unit.
pub(in crate::config) fn parse_duration(text: &str) -> Option<Duration> {
    scaled(text, &UNITS).map(Duration::from_millis)
}

/// Writes a duration in the largest unit that divides it.
pub(in crate::config) fn duration_text(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if millis == 0 { "0s".into() } else { unscaled(millis, &UNITS) }
}

/// Parses `"512B"`, `"64KiB"`, `"1MiB"`.
pub(in crate::config) fn parse_size(text: &str) -> Option<u64> {
    scaled(text, &SIZES)
}

/// Writes a size in the largest unit that divides it.
pub(in crate::config) fn size_text(bytes: u64) -> String {
    if bytes == 0 { "0B".into() } else { unscaled(bytes, &SIZES) }
}

fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let (_, scale) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*scale)
}

fn unscaled(number: u64, units: &[(&str, u64)]) -> String {
    let best = units.iter().rev().find(|(_, scale)| number.is_multiple_of(*scale));
    best.map_or_else(|| number.to_string(), |(name, scale)| format!("{}{name}", number / scale))
}

/// Returns the candidate that was probably meant: at most one typo for every three characters.
pub(in crate::config) fn nearest<'a>(
    text: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    // A longer text is hardly a typo, and comparing it would cost time.
    if text.len() > 64 {
        return None;
    }
    candidates
        .into_iter()
        .map(|candidate| (distance(text, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= (candidate.chars().count() / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Returns the number of insertions, deletions, replacements and swaps of neighbors that turn one text into the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    let mut previous = None;
    for (row, of_a) in a.chars().enumerate() {
        let mut current = vec![row + 1];
        for (column, of_b) in b.iter().enumerate() {
            let at = |line: &[usize], index: usize| line.get(index).copied().unwrap_or(usize::MAX);
            let replaced = at(&last, column).saturating_add(usize::from(of_a != *of_b));
            let removed = at(&last, column + 1).saturating_add(1);
            let inserted = at(&current, column).saturating_add(1);
            let mut best = replaced.min(removed).min(inserted);
            let swapped = column
                .checked_sub(1)
                .is_some_and(|left| b.get(left) == Some(&of_a) && previous == Some(*of_b));
            if swapped {
                best = best.min(at(&before_last, column - 1).saturating_add(1));
            }
            current.push(best);
        }
        before_last = std::mem::replace(&mut last, current);
        previous = Some(of_a);
    }
    last.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_duration_is_a_number_and_one_unit() {
        for (text, millis) in
            [("500ms", 500), ("0s", 0), ("30s", 30_000), ("15m", 900_000), ("14d", 1_209_600_000)]
        {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", "15", "m", "1h30m", "1.5h", "-1s", "15 m", "15M", "99999999999999999d"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn a_size_is_a_number_and_a_binary_unit() {
        assert_eq!(parse_size("64KiB"), Some(65_536));
        for text in ["", "64", "64KB", "64kib", "KiB", "18446744073709551615GiB"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }

    #[test]
    fn the_nearest_is_a_slip_away() {
        let keys = ["servers", "name", "read_timeout"];
        for (text, meant) in [
            ("server", Some("servers")),
            ("sevrers", Some("servers")),
            ("raed_timeuot", Some("read_timeout")),
            ("nmae", Some("name")),
            ("color", None),
        ] {
            assert_eq!(nearest(text, keys), meant, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back(millis in 0..u64::MAX / 2, bytes: u64) {
            let duration = Duration::from_millis(millis);
            prop_assert_eq!(parse_duration(&duration_text(duration)), Some(duration));
            prop_assert_eq!(parse_size(&size_text(bytes)), Some(bytes));
        }
    }
}
