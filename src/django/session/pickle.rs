//! Reads the outermost dictionary of a pickle, as Python's `pickle` writes plain data (protocols 2
//! to 5).
//!
//! A pickle is a program for a stack machine, and unpickling runs it: it may call anything. This
//! machine knows only the instructions that make plain data. Any other instruction, such as one
//! that names or calls something, makes the whole pickle unreadable, even where its result would be
//! discarded.
//!
//! Only text members of the outermost dictionary are needed, so every other value is recorded only
//! as being there: values do not nest, a value that is referred to a thousand times is not copied,
//! and the result is never larger than the input.

use std::collections::HashMap;

/// The largest session that is read.
const MAX_BYTES: usize = 1 << 20;

/// The instruction that every pickle of these protocols begins with.
pub(super) const PROTOCOL: u8 = 0x80;

/// An item on the machine's stack.
#[derive(Clone, Copy, PartialEq)]
enum StackItem<'p> {
    /// A text that a Rust string can hold.
    Text(&'p str),
    /// The outermost dictionary.
    Outermost,
    /// Any other value.
    Other,
    Mark,
}

/// Returns the members of the outermost dictionary, in order. A value is `None` if it is not a
/// text; a name that is not a text is left out. Returns `None` if this is not a dictionary of plain
/// data.
pub(super) fn members(pickle: &[u8]) -> Option<Vec<(String, Option<String>)>> {
    if pickle.len() > MAX_BYTES {
        return None;
    }
    let mut machine =
        Machine { rest: pickle, stack: Vec::new(), memo: HashMap::new(), members: None };
    while !machine.step()? {}
    let is_whole = machine.rest.is_empty() && machine.stack == [StackItem::Outermost];
    machine.members.filter(|_| is_whole)
}

struct Machine<'p> {
    rest: &'p [u8],
    stack: Vec<StackItem<'p>>,
    memo: HashMap<u32, StackItem<'p>>,
    /// The members so far; `None` until the outermost dictionary is made, which comes first.
    members: Option<Vec<(String, Option<String>)>>,
}

impl<'p> Machine<'p> {
    /// Executes one instruction. Returns whether it was the last, or `None` if it is not allowed.
    fn step(&mut self) -> Option<bool> {
        let [instruction] = self.take(1)? else { return None };
        match instruction {
            // PROTO, FRAME
            &PROTOCOL => self.skip(1)?,
            0x95 => self.skip(8)?,
            b'.' => return Some(true),
            b'(' => self.stack.push(StackItem::Mark),
            b'}' => self.new_dictionary(),
            // EMPTY_LIST, EMPTY_TUPLE, EMPTY_SET, NONE, NEWTRUE, NEWFALSE
            b']' | b')' | 0x8f | b'N' | 0x88 | 0x89 => self.new_value()?,
            // BININT, BININT1, BININT2, BINFLOAT
            b'J' => self.value_after(4)?,
            b'K' => self.value_after(1)?,
            b'M' => self.value_after(2)?,
            b'G' => self.value_after(8)?,
            // LONG1, LONG4; SHORT_BINBYTES, BINBYTES, BINBYTES8, BYTEARRAY8
            0x8a | b'C' => self.sized_value(1)?,
            0x8b | b'B' => self.sized_value(4)?,
            0x8e | 0x96 => self.sized_value(8)?,
            // SHORT_BINUNICODE, BINUNICODE, BINUNICODE8
            0x8c => self.text(1)?,
            b'X' => self.text(4)?,
            0x8d => self.text(8)?,
            // DICT, LIST, TUPLE, FROZENSET
            b'd' | b'l' | b't' | 0x91 => {
                self.above_mark()?;
                self.new_value()?;
            }
            // TUPLE1, TUPLE2, TUPLE3
            0x85 => self.tuple(1)?,
            0x86 => self.tuple(2)?,
            0x87 => self.tuple(3)?,
            // SETITEM, SETITEMS, APPEND, APPENDS, ADDITEMS
            b's' => {
                let at = self.stack.len().checked_sub(2)?;
                let items = self.stack.split_off(at);
                self.set(&items)?;
            }
            b'u' => {
                let items = self.above_mark()?;
                self.set(&items)?;
            }
            b'a' => {
                self.pop()?;
                self.is_value()?;
            }
            b'e' | 0x90 => {
                self.above_mark()?;
                self.is_value()?;
            }
            // MEMOIZE, BINPUT, LONG_BINPUT; BINGET, LONG_BINGET
            0x94 => self.remember(u32::try_from(self.memo.len()).ok()?)?,
            b'q' => {
                let place = self.number(1)?;
                self.remember(u32::try_from(place).ok()?)?;
            }
            b'r' => {
                let place = self.number(4)?;
                self.remember(u32::try_from(place).ok()?)?;
            }
            b'h' => self.recall(1)?,
            b'j' => self.recall(4)?,
            _ => return None,
        }
        Some(false)
    }

    fn take(&mut self, length: usize) -> Option<&'p [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }

    fn skip(&mut self, length: usize) -> Option<()> {
        self.take(length).map(|_| ())
    }

    /// Takes a little-endian number of `length` bytes.
    fn number(&mut self, length: usize) -> Option<usize> {
        let bytes = self.take(length)?;
        let number = bytes
            .iter()
            .rev()
            .try_fold(0_u64, |number, byte| Some(number.checked_mul(256)? | u64::from(*byte)))?;
        usize::try_from(number).ok()
    }

    fn pop(&mut self) -> Option<StackItem<'p>> {
        self.stack.pop().filter(|item| *item != StackItem::Mark)
    }

    fn new_dictionary(&mut self) {
        let item = if self.members.is_none() { StackItem::Outermost } else { StackItem::Other };
        self.members.get_or_insert_default();
        self.stack.push(item);
    }

    /// Pushes a value other than the outermost dictionary, which must have come before.
    fn new_value(&mut self) -> Option<()> {
        self.members.as_ref()?;
        self.stack.push(StackItem::Other);
        Some(())
    }

    fn value_after(&mut self, length: usize) -> Option<()> {
        self.skip(length)?;
        self.new_value()
    }

    fn sized_value(&mut self, length: usize) -> Option<()> {
        let size = self.number(length)?;
        self.value_after(size)
    }

    fn text(&mut self, length: usize) -> Option<()> {
        let size = self.number(length)?;
        let bytes = self.take(size)?;
        self.members.as_ref()?;
        // A lone surrogate is not valid UTF-8; Python writes it nevertheless.
        self.stack.push(str::from_utf8(bytes).map_or(StackItem::Other, StackItem::Text));
        Some(())
    }

    fn tuple(&mut self, length: usize) -> Option<()> {
        for _ in 0..length {
            self.pop()?;
        }
        self.new_value()
    }

    /// Takes the items above the last mark, and the mark.
    fn above_mark(&mut self) -> Option<Vec<StackItem<'p>>> {
        let mark = self.stack.iter().rposition(|item| *item == StackItem::Mark)?;
        let items = self.stack.split_off(mark + 1);
        self.stack.pop();
        Some(items)
    }

    /// Checks that a container is on top of the stack, into which items were put.
    fn is_value(&self) -> Option<()> {
        matches!(self.stack.last()?, StackItem::Other).then_some(())
    }

    /// Adds alternating names and values to the dictionary on top.
    fn set(&mut self, items: &[StackItem<'p>]) -> Option<()> {
        if !items.len().is_multiple_of(2) {
            return None;
        }
        match self.stack.last()? {
            StackItem::Outermost => {}
            StackItem::Other => return Some(()),
            StackItem::Text(_) | StackItem::Mark => return None,
        }
        let members = self.members.as_mut()?;
        for pair in items.chunks_exact(2) {
            if let [StackItem::Text(name), value] = pair {
                let value = match value {
                    StackItem::Text(text) => Some((*text).to_owned()),
                    StackItem::Outermost | StackItem::Other | StackItem::Mark => None,
                };
                members.push(((*name).to_owned(), value));
            }
        }
        Some(())
    }

    fn remember(&mut self, place: u32) -> Option<()> {
        let item = *self.stack.last()?;
        self.memo.insert(place, item);
        (item != StackItem::Mark).then_some(())
    }

    fn recall(&mut self, length: usize) -> Option<()> {
        let place = self.number(length)?;
        let item = *self.memo.get(&u32::try_from(place).ok()?)?;
        self.stack.push(item);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(pickle: &[u8]) -> Option<String> {
        let shown = members(pickle)?
            .into_iter()
            .map(|(name, value)| format!("{name}={} ", value.unwrap_or("?".into())));
        Some(shown.collect())
    }

    /// How Python 3 pickles `{"a": "1", "b": "1", "c": [1, {"a": "x"}], "d": (None, True, 2.5)}`.
    const PROTOCOL_5: &[u8] =
        b"\x80\x05\x95*\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\x01a\x94\x8c\x01\
1\x94\x8c\x01b\x94h\x02\x8c\x01c\x94]\x94(K\x01}\x94h\x01\x8c\x01x\x94se\x8c\x01d\x94N\x88G@\x04\
\x00\x00\x00\x00\x00\x00\x87\x94u.";

    #[test]
    fn reads_what_python_writes() {
        assert_eq!(read(PROTOCOL_5).as_deref(), Some("a=1 b=1 c=? d=? "));
        let protocol_2 = b"\x80\x02}q\x00(X\x01\x00\x00\x00aq\x01X\x01\x00\x00\x001q\x02u.";
        assert_eq!(read(protocol_2).as_deref(), Some("a=1 "));
        assert_eq!(read(b"\x80\x05}\x94.").as_deref(), Some(""));
        assert_eq!(read(b"\x80\x05}\x94\x8c\x01a\x8c\x01bs.").as_deref(), Some("a=b "));
        // A name that is a number is left out; a value may be anything, such as the dictionary
        // itself or a surrogate.
        assert_eq!(read(b"\x80\x05}\x94(K\x01\x8c\x01b\x8c\x01ah\x00u.").as_deref(), Some("a=? "));
        let surrogate = b"\x80\x05}\x94\x8c\x01a\x8c\x03\xed\xa0\xbds.";
        assert_eq!(read(surrogate).as_deref(), Some("a=? "));
    }

    #[test]
    fn refuses_what_names_or_calls_anything() {
        for pickle in [
            // os.system("x"), in protocols 0 and 4, and next to members that are plain data.
            &b"cos\nsystem\n(S'x'\ntR."[..],
            b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x01x\x85R.",
            b"\x80\x05}\x94(\x8c\x01a\x8c\x01b\x8c\x01c\x8c\x02os\x8c\x06system\x93u.",
            b"\x80\x05}\x94(\x8c\x01a\x8c\x01b\x8c\x01ccos\nsystem\n)Ru.",
            b"\x80\x05}\x94(\x8c\x01aPid\nu.",
            b"\x80\x05}\x94\x82\x01s.",
            b"\x80\x05}\x94\x81.",
            b"\x80\x05}\x94}b.",
        ] {
            assert_eq!(read(pickle), None, "{pickle:?}");
        }
    }

    #[test]
    fn refuses_what_is_no_dictionary_or_more_than_one() {
        for pickle in [
            &b""[..],
            b".",
            b"\x80\x05N.",
            b"\x80\x05]\x94.",
            b"\x80\x05\x8c\x01a.",
            b"\x80\x05}\x94",
            b"\x80\x05}\x94}.",
            b"\x80\x05}\x94..",
            b"\x80\x05}\x94(.",
            b"\x80\x05}\x94u.",
            b"\x80\x05}\x94(\x8c\x01au.",
            b"\x80\x05}\x94s.",
            b"\x80\x05}\x94\x8c\xffa.",
            b"\x80\x05}\x94h\x01.",
            b"\x80\x05}\x94(a.",
            b"\x80\x05(\x94}.",
        ] {
            assert_eq!(read(pickle), None, "{pickle:?}");
        }
        let mut long = b"\x80\x05}\x94\x8c\x01aB\x00\x00\x10\x00".to_vec();
        long.resize(long.len() + MAX_BYTES, b'x');
        long.extend_from_slice(b"s.");
        assert_eq!(read(&long), None);
    }

    #[test]
    fn neither_depth_nor_references_cost_more_than_their_bytes() {
        let mut deep = b"\x80\x05}\x94\x8c\x01a".to_vec();
        deep.extend_from_slice(&vec![b']'; 200_000]);
        deep.extend_from_slice(&vec![b'a'; 199_999]);
        deep.extend_from_slice(b"s.");
        assert_eq!(read(&deep).as_deref(), Some("a=? "));
        let mut wide = b"\x80\x05}\x94\x8c\x01a]\x94".to_vec();
        for _ in 0..60 {
            // A list that contains the previous list twice.
            wide.extend_from_slice(b"](h\x01h\x01eq\x01");
        }
        wide.extend_from_slice(&[b'a'; 60]);
        wide.extend_from_slice(b"s.");
        assert_eq!(read(&wide).as_deref(), Some("a=? "));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _members = members(&bytes);
        }

        #[test]
        fn no_changed_pickle_panics(at in 0..PROTOCOL_5.len(), to in any::<u8>()) {
            let mut changed = PROTOCOL_5.to_vec();
            changed[at] = to;
            let _members = members(&changed);
        }
    }
}
