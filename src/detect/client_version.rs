//! What a client says of itself, as two uses of one session are compared: the same client, or the same one brought up to date.
//!
//! Browsers update themselves, and a session lives through it. So of two clients whose `User-Agent` differs in its numbers
//! alone, the later one may be the same if its numbers are not lower: nobody goes back to an older browser. It may be a thief's
//! as well, so whoever asks decides by more than that.

use super::window::MarkValue;
use crate::store::counters::CounterKey;

/// Numbers of an agent that are compared; those behind them are not.
const NUMBERS: usize = 8;

/// A `User-Agent`, in fixed size: it is as long as a client likes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ClientVersion {
    /// Of its text without the numbers.
    text: CounterKey,
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
        Self { text: CounterKey::of(&text), numbers }
    }

    /// How like the client of an earlier use that of a later one is. Clients that say nothing of themselves are one.
    pub(super) fn likeness(before: Option<&Self>, now: Option<&Self>) -> Likeness {
        match (before, now) {
            (before, now) if before == now => Likeness::Same,
            (Some(before), Some(now))
                if before.text == now.text && before.numbers < now.numbers =>
            {
                Likeness::Update
            }
            _ => Likeness::Other,
        }
    }
}

impl MarkValue for ClientVersion {
    const BYTES: usize = CounterKey::BYTES + 4 * NUMBERS;

    fn write(&self, to: &mut Vec<u8>) {
        self.text.write(to);
        self.numbers.iter().for_each(|number| to.extend_from_slice(&number.to_be_bytes()));
    }

    fn read(from: &[u8]) -> Option<Self> {
        let (text, rest) = from.split_at_checked(CounterKey::BYTES)?;
        let mut numbers = [0; NUMBERS];
        for (number, bytes) in numbers.iter_mut().zip(rest.chunks_exact(4)) {
            *number = u32::from_be_bytes(bytes.try_into().ok()?);
        }
        Some(Self { text: CounterKey::read(text)?, numbers })
    }
}

/// How like another a client is, from like to unlike.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Likeness {
    /// To the letter, as far as its numbers are compared.
    Same,
    /// The same, brought up to date; or a thief's newer one.
    Update,
    /// Another one.
    Other,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_is_the_same_client_and_nothing_else_is() {
        const CHROME: &str = "Mozilla/5.0 (Linux; Android 15; K) Chrome/140.0.0.0 Mobile";
        use Likeness::{Other, Same, Update};
        for (before, now, like) in [
            (CHROME, CHROME, Same),
            (CHROME, "Mozilla/5.0 (Linux; Android 15; K) Chrome/141.0.0.0 Mobile", Update),
            (CHROME, "Mozilla/5.0 (Linux; Android 16; K) Chrome/139.0.0.0 Mobile", Update),
            (CHROME, "Mozilla/5.0 (Linux; Android 15; K) Chrome/139.0.0.0 Mobile", Other),
            (CHROME, "Mozilla/5.0 (Linux; Android 15; K) Chrome/141.0.0.0", Other),
            ("App/9", "App/10", Update),
            ("App/10", "App/9", Other),
            ("App/1", "App/1.1", Other),
            ("App/1", "App/99999999999999999999", Update),
            ("", "", Same),
            ("App", "", Other),
        ] {
            let (before, now) = (ClientVersion::of(before), ClientVersion::of(now));
            let found = ClientVersion::likeness(Some(&before), Some(&now));
            assert_eq!(found, like, "{before:?} {now:?}");
        }
        let one = ClientVersion::of("App/1");
        for (before, now, like) in
            [(None, None, Same), (None, Some(&one), Other), (Some(&one), None, Other)]
        {
            assert_eq!(ClientVersion::likeness(before, now), like);
        }
    }
}
