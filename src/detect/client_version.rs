//! What a client says of itself, as two uses of one session are compared: the same client, or the same one brought up to date.
//!
//! Browsers update themselves, and a session lives through it. So of two clients whose `User-Agent` differs in its numbers
//! alone, the later one is the same if its numbers are not lower: nobody goes back to an older browser.

use crate::secret::Digest;

/// Numbers of an agent that are compared; those behind them are not.
const NUMBERS: usize = 8;

/// A `User-Agent`, in fixed size: it is as long as a client likes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ClientVersion {
    /// Of its text without the numbers.
    text: Digest,
    numbers: [u32; NUMBERS],
}

impl ClientVersion {
    pub(super) fn of(agent: &str) -> Self {
        let mut numbers = [0_u32; NUMBERS];
        let mut text = String::with_capacity(agent.len());
        let mut found = 0;
        for letter in agent.chars() {
            let Some(digit) = letter.to_digit(10) else {
                text.push(letter);
                continue;
            };
            if !text.ends_with('0') {
                text.push('0');
                found += 1;
            }
            if let Some(number) = numbers.get_mut(found - 1) {
                *number = number.saturating_mul(10).saturating_add(digit);
            }
        }
        Self { text: Digest::of(text.as_bytes()), numbers }
    }

    /// The same client as this one before, or the same with an update since.
    fn follows(&self, before: &Self) -> bool {
        self.text == before.text && self.numbers >= before.numbers
    }
}

/// May the later use be of the same client? Clients that say nothing of themselves are one.
pub(super) fn may_be_same(before: Option<&ClientVersion>, now: Option<&ClientVersion>) -> bool {
    match (before, now) {
        (None, None) => true,
        (Some(before), Some(now)) => now.follows(before),
        (None, Some(_)) | (Some(_), None) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_is_the_same_client_and_nothing_else_is() {
        const CHROME: &str = "Mozilla/5.0 (Linux; Android 15; K) Chrome/140.0.0.0 Mobile";
        for (before, now, same) in [
            (CHROME, CHROME, true),
            (CHROME, "Mozilla/5.0 (Linux; Android 15; K) Chrome/141.0.0.0 Mobile", true),
            (CHROME, "Mozilla/5.0 (Linux; Android 16; K) Chrome/139.0.0.0 Mobile", true),
            (CHROME, "Mozilla/5.0 (Linux; Android 15; K) Chrome/139.0.0.0 Mobile", false),
            (CHROME, "Mozilla/5.0 (Linux; Android 15; K) Chrome/141.0.0.0", false),
            ("App/9", "App/10", true),
            ("App/10", "App/9", false),
            ("App/1", "App/1.1", false),
            ("App/1", "App/99999999999999999999", true),
            ("", "", true),
            ("App", "", false),
        ] {
            let (before, now) = (ClientVersion::of(before), ClientVersion::of(now));
            assert_eq!(may_be_same(Some(&before), Some(&now)), same, "{before:?} {now:?}");
        }
        let one = ClientVersion::of("App/1");
        for (before, now, same) in
            [(None, None, true), (None, Some(&one), false), (Some(&one), None, false)]
        {
            assert_eq!(may_be_same(before, now), same);
        }
    }
}
