//! Creates and parses codes that people write down: recovery codes, and the invitations with which users set up a factor.
//!
//! A code has 60 random bits in Crockford's base32, in three groups. A typed code may have capitals, spaces and hyphens, and
//! letters in place of the digits that look like them.

use crate::secret::{NoRandomness, Secret, random_bytes};

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

const LENGTH: usize = 12;

const GROUP: usize = 4;

/// The number of digits of an app's code.
const DIGITS: usize = 6;

/// The most digits of a code of a service's own factors.
const MOST_DIGITS: usize = 16;

/// Creates a random code, in the form that people read.
pub(super) fn random() -> Result<Secret, NoRandomness> {
    let mut text = String::with_capacity(LENGTH + LENGTH / GROUP);
    for (index, byte) in random_bytes::<LENGTH>()?.into_iter().enumerate() {
        if index > 0 && index % GROUP == 0 {
            text.push('-');
        }
        let letter = ALPHABET.get(usize::from(byte % 32)).copied().unwrap_or_default();
        text.push(char::from(letter));
    }
    Ok(Secret::new(text))
}

/// Parses a typed code into the form that is compared. `None` if it is not a code.
pub(super) fn read(typed: &str) -> Option<Secret> {
    let mut text = String::with_capacity(LENGTH);
    for letter in typed.chars().filter(|letter| !letter.is_whitespace() && *letter != '-') {
        let letter = match letter.to_ascii_lowercase() {
            'o' => '0',
            'i' | 'l' => '1',
            letter => letter,
        };
        let is_one = u8::try_from(letter).is_ok_and(|letter| ALPHABET.contains(&letter));
        if !is_one || text.len() == LENGTH {
            return None;
        }
        text.push(letter);
    }
    (text.len() == LENGTH).then(|| Secret::new(text))
}

/// Returns the digits of an app's code as typed: six digits in any groups, half width or full width.
pub(super) fn read_digits(typed: &str) -> Option<Secret> {
    digits(typed).filter(|digits| digits.expose().len() == DIGITS)
}

/// Returns the digits that were typed, in any groups, half width or full width. `None` if there is anything else.
pub(super) fn digits(typed: &str) -> Option<Secret> {
    let mut text = String::with_capacity(MOST_DIGITS);
    for letter in typed.chars().filter(|letter| !letter.is_whitespace() && *letter != '-') {
        // Korean and Japanese input methods write full-width digits.
        let digit = match letter {
            '0'..='9' => letter,
            '０'..='９' => char::from_u32(u32::from(letter) - u32::from('０') + u32::from('0'))?,
            _ => return None,
        };
        if text.len() == MOST_DIGITS {
            return None;
        }
        text.push(digit);
    }
    (!text.is_empty()).then(|| Secret::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_code_is_read_back_however_it_is_typed() {
        let code = random().unwrap();
        assert_eq!(code.expose().len(), 14);
        assert_ne!(code, random().unwrap());
        let plain = code.expose().replace('-', "");
        for typed in [
            code.expose().to_owned(),
            plain.clone(),
            code.expose().to_uppercase(),
            format!("  {} ", code.expose().replace('-', " ")),
            plain.replace('1', "l").replace('0', "O"),
        ] {
            assert_eq!(read(&typed).unwrap().expose(), plain, "{typed}");
        }
        for wrong in ["", "0123", "0123-4567-89abc", "0123-4567-89au", "0123-4567-89a한", "123456"]
        {
            assert!(read(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn six_digits_are_a_code_of_an_app() {
        for typed in ["123456", "123 456", " 123-456\t", "１２３４５６"] {
            assert_eq!(read_digits(typed).unwrap().expose(), "123456", "{typed}");
        }
        for wrong in ["", "12345", "1234567", "12345a", "+12345", "１２３４５", "123.456"] {
            assert!(read_digits(wrong).is_none(), "{wrong}");
        }
    }
}
