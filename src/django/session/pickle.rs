//! Sessions in a cache: a pickle of the session's dictionary, neither signed nor JSON.
//!
//! A pickle is a program for a stack machine. This one knows the instructions that build plain values, and of those it
//! keeps only texts and which dictionary they are in; whatever names a function or a class is refused and never looked
//! up. It neither recurses nor copies, so that a small pickle cannot become a large value.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::{Login, MAX_JSON, Unreadable};
use crate::secret::Secret;

/// Who is signed in, by the value of a cache entry. The key that names it is all that protects it.
///
/// `None` is a session in which nobody is signed in.
///
/// # Errors
/// [`Unreadable::Malformed`] for what is no plain dictionary, or is too large.
pub fn read_pickle(bytes: &[u8]) -> Result<Option<Login>, Unreadable> {
    if u64::try_from(bytes.len()).is_ok_and(|length| length > MAX_JSON) {
        return Err(Unreadable::Malformed);
    }
    let machine = Machine { rest: bytes, ..Machine::default() };
    let members = machine.run().ok_or(Unreadable::Malformed)?;
    let text = |name: &str| members.get(name).cloned().flatten().map(|text| text.to_string());
    let auth_hash = text("_auth_user_hash").map(Secret::new);
    Ok(text("_auth_user_id").zip(text("_auth_user_backend")).map(|(user_id, backend)| Login {
        user_id,
        backend,
        auth_hash,
    }))
}

impl Login {
    /// The value of a cache entry with this login and nothing else.
    #[must_use]
    pub fn to_pickle(&self) -> Vec<u8> {
        let auth_hash = self.auth_hash.as_ref().map(Secret::expose);
        let members = [
            ("_auth_user_id", Some(self.user_id.as_str())),
            ("_auth_user_backend", Some(self.backend.as_str())),
            ("_auth_user_hash", auth_hash),
        ];
        // Protocol 4, a dictionary, and all pairs at once.
        let mut pickle = b"\x80\x04}(".to_vec();
        for (name, value) in members {
            let Some(value) = value else { continue };
            for text in [name, value] {
                pickle.push(b'X');
                pickle.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
                pickle.extend(text.as_bytes());
            }
        }
        pickle.extend(b"u.");
        pickle
    }
}

type Members = BTreeMap<Rc<str>, Option<Rc<str>>>;

#[derive(Default)]
struct Machine<'b> {
    rest: &'b [u8],
    stack: Vec<Item>,
    memo: Vec<Option<Item>>,
    dictionaries: Vec<Members>,
}

#[derive(Clone)]
enum Item {
    Mark,
    Text(Rc<str>),
    /// Which.
    Dictionary(usize),
    /// A value that is of no interest.
    Other,
}

impl Machine<'_> {
    /// The dictionary that it ends with.
    fn run(mut self) -> Option<Members> {
        loop {
            match self.byte()? {
                b'.' => {
                    let Some(Item::Dictionary(which)) = self.stack.pop() else { return None };
                    let is_all = self.stack.is_empty() && self.rest.is_empty();
                    return is_all.then(|| self.dictionaries.swap_remove(which));
                }
                // What version it is written in, and how long a part is.
                0x80 => self.skip(1)?,
                0x95 => self.skip(8)?,
                b'(' => self.stack.push(Item::Mark),
                b'0' => drop(self.stack.pop()?),
                b'}' => {
                    self.stack.push(Item::Dictionary(self.dictionaries.len()));
                    self.dictionaries.push(Members::new());
                }
                b'X' => self.text(4)?,
                0x8c => self.text(1)?,
                0x8d => self.text(8)?,
                // None, True, False, and what is empty: list, tuple, set.
                b'N' | 0x88 | 0x89 | b']' | b')' | 0x8f => self.stack.push(Item::Other),
                // Numbers and bytes.
                b'K' => self.other(1)?,
                b'M' => self.other(2)?,
                b'J' => self.other(4)?,
                b'G' => self.other(8)?,
                0x8a | b'C' => self.other_of_length(1)?,
                0x8b | b'B' => self.other_of_length(4)?,
                0x8e => self.other_of_length(8)?,
                // A list or a set takes one, or all since the mark.
                b'a' => drop(self.stack.pop()?),
                b'e' | 0x90 => drop(self.since_mark()?),
                b's' => {
                    let (value, name) = (self.stack.pop()?, self.stack.pop()?);
                    self.put(&[name, value])?;
                }
                b'u' => {
                    let pairs = self.since_mark()?;
                    self.put(&pairs)?;
                }
                // Tuples and frozen sets.
                b't' | 0x91 => {
                    self.since_mark()?;
                    self.stack.push(Item::Other);
                }
                size @ 0x85..=0x87 => {
                    for _ in 0x84..size {
                        self.stack.pop()?;
                    }
                    self.stack.push(Item::Other);
                }
                0x94 => self.keep(self.memo.len())?,
                b'q' => {
                    let place = self.number(1)?;
                    self.keep(place)?;
                }
                b'r' => {
                    let place = self.number(4)?;
                    self.keep(place)?;
                }
                b'h' => self.recall(1)?,
                b'j' => self.recall(4)?,
                _ => return None,
            }
        }
    }

    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn take(&mut self, length: usize) -> Option<&[u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }

    fn skip(&mut self, length: usize) -> Option<()> {
        self.take(length).map(drop)
    }

    /// A number of so many bytes, the lowest first.
    fn number(&mut self, length: usize) -> Option<usize> {
        let bytes = self.take(length)?;
        let number = bytes
            .iter()
            .rev()
            .try_fold(0_u64, |number, byte| number.checked_mul(256)?.checked_add(u64::from(*byte)));
        usize::try_from(number?).ok()
    }

    fn text(&mut self, length: usize) -> Option<()> {
        let length = self.number(length)?;
        // Python writes lone surrogates too; a text with one is nobody's name.
        let item = match std::str::from_utf8(self.take(length)?) {
            Ok(text) => Item::Text(Rc::from(text)),
            Err(_) => Item::Other,
        };
        self.stack.push(item);
        Some(())
    }

    fn other(&mut self, length: usize) -> Option<()> {
        self.skip(length)?;
        self.stack.push(Item::Other);
        Some(())
    }

    fn other_of_length(&mut self, length: usize) -> Option<()> {
        let length = self.number(length)?;
        self.other(length)
    }

    fn since_mark(&mut self) -> Option<Vec<Item>> {
        let mark = self.stack.iter().rposition(|item| matches!(item, Item::Mark))?;
        let items = self.stack.split_off(mark + 1);
        self.stack.pop();
        Some(items)
    }

    fn put(&mut self, pairs: &[Item]) -> Option<()> {
        let Some(Item::Dictionary(which)) = self.stack.last() else { return None };
        let members = self.dictionaries.get_mut(*which)?;
        let (pairs, []) = pairs.as_chunks::<2>() else { return None };
        for [name, value] in pairs {
            if let Item::Text(name) = name {
                let value = match value {
                    Item::Text(text) => Some(Rc::clone(text)),
                    _ => None,
                };
                members.insert(Rc::clone(name), value);
            }
        }
        Some(())
    }

    fn keep(&mut self, place: usize) -> Option<()> {
        let item = self.stack.last()?.clone();
        // Python counts up; a place far away is somebody's try to fill the memory.
        if place > self.memo.len().saturating_add(256) {
            return None;
        }
        if place >= self.memo.len() {
            self.memo.resize(place + 1, None);
        }
        *self.memo.get_mut(place)? = Some(item);
        Some(())
    }

    fn recall(&mut self, length: usize) -> Option<()> {
        let place = self.number(length)?;
        let item = self.memo.get(place)?.clone()?;
        self.stack.push(item);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `pickle.dumps({"_auth_user_id": "2", "_auth_user_backend": "b", "_auth_user_hash": "h", "n": [1, 2.5, None]}, 5)`
    const PLAIN: &[u8] =
        b"\x80\x05\x95\\\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\r_auth_user_id\x94\x8c\x012\x94\
        \x8c\x12_auth_user_backend\x94\x8c\x01b\x94\x8c\x0f_auth_user_hash\x94\x8c\x01h\x94\
        \x8c\x01n\x94]\x94(K\x01G@\x04\x00\x00\x00\x00\x00\x00Neu.";

    #[test]
    fn reads_a_plain_dictionary_and_nothing_that_calls() {
        let login = read_pickle(PLAIN).unwrap().unwrap();
        assert_eq!((login.user_id.as_str(), login.backend.as_str()), ("2", "b"));
        assert_eq!(login.auth_hash, Some(Secret::new("h")));
        for (what, bytes) in [
            ("os.system", &b"cos\nsystem\n(S'true'\ntR."[..]),
            ("a class", b"\x80\x04\x8c\x08datetime\x94\x8c\x04date\x94\x93."),
            ("a list", b"\x80\x05]\x94."),
            ("nothing", b""),
            ("cut off", &PLAIN[..PLAIN.len() - 2]),
            ("more behind it", b"}.}."),
            ("half a pair", b"}(X\x01\x00\x00\x00au."),
            ("a place far away", b"}r\xff\xff\xff\x7f."),
        ] {
            assert_eq!(read_pickle(bytes), Err(Unreadable::Malformed), "{what}");
        }
        assert_eq!(read_pickle(b"\x80\x05}\x94."), Ok(None), "nobody");
    }

    #[test]
    fn a_dictionary_within_says_nothing() {
        let inner = b"}(X\x0d\x00\x00\x00_auth_user_idX\x01\x00\x00\x001X\x12\x00\x00\x00_auth_user_backend\
            X\x01\x00\x00\x00bu";
        let nested = [&b"}X\x01\x00\x00\x00n"[..], inner, b"s."].concat();
        assert_eq!(read_pickle(&nested), Ok(None));
        assert!(read_pickle(&[&inner[..], b"."].concat()).unwrap().is_some());
    }

    #[test]
    fn deep_ones_need_no_stack() {
        let deep =
            [&b"}X\x01\x00\x00\x00n"[..], &b"]".repeat(200_000), &b"a".repeat(199_999), b"s."];
        assert_eq!(read_pickle(&deep.concat()), Ok(None));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(user_id in any::<String>(), hash in any::<String>()) {
            let login =
                Login { user_id, backend: "b".into(), auth_hash: Some(Secret::new(hash)) };
            prop_assert_eq!(read_pickle(&login.to_pickle()), Ok(Some(login)));
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _read = read_pickle(&bytes);
        }
    }
}
