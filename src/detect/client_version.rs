//! Compares the `User-Agent` of two uses of one session: the same client, the same one after an update, or another one.
//!
//! Browsers update themselves while a session lives. So of two clients whose `User-Agent` differs in its numbers alone, the
//! later one may be the same if its numbers are not lower: nobody goes back to an older browser. It may be a thief's client as
//! well, so callers need further evidence to decide.

use super::window::MarkValue;
use crate::store::counters::CounterKey;

/// The most numbers of a `User-Agent` that are compared; further ones are ignored.
const NUMBERS: usize = 8;

/// A `User-Agent` in a fixed size, because its text can be arbitrarily long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct ClientVersion {
    /// The key of the text without its numbers.
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

    /// Compares the client of a later use with that of an earlier one. Two clients without a `User-Agent` are the same.
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

/// The likeness of two clients, from the most to the least alike.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Likeness {
    /// The text is equal, and so are its numbers as far as they are compared.
    Same,
    /// The same client after an update, or a thief's newer one.
    Update,
    /// Another client.
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
