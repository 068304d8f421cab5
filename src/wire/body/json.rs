//! Reads a JSON object as members, without building a tree.
//!
//! serde_json parses, and these visitors store what a field can use. A visitor cannot return a [`BodyProblem`] through
//! serde's error, so the problem is put into a cell; an error without one comes from the parser, and means that the
//! text is not JSON.
//!
//! Half a surrogate pair (`"\ud800"`) is JSON, but not text, and serde_json stops there. Django REST framework names the field
//! in its error, so such a body is parsed again with each half replaced by a private-use character that stands for it.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{BodyProblem, Member, add};
use crate::secret::Secret;

const MAX_DEPTH: usize = 16;

/// The 2048 halves map to as many characters at the end of plane 16, which nobody uses.
const STAND_IN: u32 = 0x10_F800;
const FIRST_HALF: u16 = 0xD800;
const LAST_HALF: u16 = 0xDFFF;

pub(super) fn members(body: &[u8]) -> Result<Vec<(String, Member)>, BodyProblem> {
    let text = std::str::from_utf8(body).map_err(|_| BodyProblem::InvalidUtf8)?;
    match read(text, false) {
        Err(BodyProblem::Malformed) => match replace_halves(text) {
            None => Err(BodyProblem::Malformed),
            Some(replaced) => read(&replaced, true),
        },
        done => done,
    }
}

fn read(text: &str, has_halves: bool) -> Result<Vec<(String, Member)>, BodyProblem> {
    let problem = Cell::new(None);
    let reader = JsonReader { problem: &problem, has_halves, depth: 0 };
    let mut json = serde_json::Deserializer::from_str(text);
    let document =
        Document(reader).deserialize(&mut json).and_then(|members| json.end().map(|()| members));
    document.map_err(|_| problem.get().unwrap_or(BodyProblem::Malformed))
}

#[derive(Clone, Copy)]
struct JsonReader<'c> {
    problem: &'c Cell<Option<BodyProblem>>,
    has_halves: bool,
    depth: usize,
}

impl JsonReader<'_> {
    fn fail<E: Error>(self, problem: BodyProblem) -> E {
        self.problem.set(Some(problem));
        E::custom("")
    }

    fn deeper<E: Error>(self) -> Result<Self, E> {
        if self.depth == MAX_DEPTH {
            return Err(self.fail(BodyProblem::TooDeep));
        }
        Ok(Self { depth: self.depth + 1, ..self })
    }

    fn text(self, text: &str) -> Member {
        let half = |character: char| {
            let half = u32::from(character).checked_sub(STAND_IN)? + u32::from(FIRST_HALF);
            u16::try_from(half).ok()
        };
        match text.chars().find_map(half) {
            Some(half) if self.has_halves => Member::Surrogate(half),
            _ => Member::Text(Secret::new(text)),
        }
    }
}

/// The whole text, which has to be an object.
struct Document<'c>(JsonReader<'c>);

impl<'de> DeserializeSeed<'de> for Document<'_> {
    type Value = Vec<(String, Member)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Document<'_> {
    type Value = Vec<(String, Member)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let value = self.0.deeper()?;
        let mut members = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            let member = map.next_value_seed(value)?;
            add(&mut members, name, member).map_err(|problem| self.0.fail(problem))?;
        }
        Ok(members)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let value = self.0.deeper()?;
        // Read to its end, so that text which is not JSON is not called a list.
        while seq.next_element_seed(value)?.is_some() {}
        Err(self.0.fail(BodyProblem::NotAnObject("list")))
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> {
        Err(self.0.fail(BodyProblem::NotAnObject("str")))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
        Err(self.0.fail(BodyProblem::NotAnObject("bool")))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Self::Value, E> {
        Err(self.0.fail(BodyProblem::NotAnObject("int")))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Self::Value, E> {
        Err(self.0.fail(BodyProblem::NotAnObject("int")))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
        Err(self.0.fail(BodyProblem::NotAnObject("float")))
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Err(self.0.fail(BodyProblem::NotAnObject("NoneType")))
    }
}

impl<'de> DeserializeSeed<'de> for JsonReader<'_> {
    type Value = Member;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Member, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for JsonReader<'_> {
    type Value = Member;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Member, A::Error> {
        let value = self.deeper()?;
        while map.next_key::<IgnoredAny>()?.is_some() {
            map.next_value_seed(value)?;
        }
        Ok(Member::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Member, A::Error> {
        let value = self.deeper()?;
        while seq.next_element_seed(value)?.is_some() {}
        Ok(Member::Other)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Member, E> {
        Ok(self.text(text))
    }

    fn visit_bool<E: Error>(self, flag: bool) -> Result<Member, E> {
        Ok(Member::Flag(flag))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Member, E> {
        Ok(Member::Text(Secret::new(number.to_string())))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Member, E> {
        Ok(Member::Text(Secret::new(number.to_string())))
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Member, E> {
        // This is `1.0` and not `1`, as Python writes it.
        Ok(Member::Text(Secret::new(format!("{number:?}"))))
    }

    fn visit_unit<E: Error>(self) -> Result<Member, E> {
        Ok(Member::Null)
    }
}

/// Returns the text with every escape of half a surrogate pair replaced by its stand-in; `None` if there is no such escape.
fn replace_halves(text: &str) -> Option<String> {
    let mut replaced = String::with_capacity(text.len());
    let mut rest = text;
    let mut found = false;
    while let Some(start) = rest.find('\\') {
        let (before, escape) = rest.split_at(start);
        replaced.push_str(before);
        let next = escape.get(6..).unwrap_or_default();
        let length = match escaped_unit(escape) {
            Some(0xD800..=0xDBFF) if matches!(escaped_unit(next), Some(0xDC00..=0xDFFF)) => 12,
            Some(half @ FIRST_HALF..=LAST_HALF) => {
                found = true;
                replaced.extend(char::from_u32(STAND_IN + u32::from(half - FIRST_HALF)));
                rest = next;
                continue;
            }
            _ => 1 + escape.chars().nth(1).map_or(0, char::len_utf8),
        };
        let (kept, after) = escape.split_at_checked(length).unwrap_or((escape, ""));
        replaced.push_str(kept);
        rest = after;
    }
    replaced.push_str(rest);
    found.then_some(replaced)
}

/// Returns the code unit of the `\uXXXX` that the text starts with.
fn escaped_unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    digits
        .bytes()
        .all(|digit| digit.is_ascii_hexdigit())
        .then(|| u16::from_str_radix(digits, 16).ok())?
}
