//! Finds the classes of a protected name with one look-up.
//!
//! Every header of every request is looked up, and nearly none is protected. So names are put into buckets by their
//! first two letters (behind `x-`, where half of the protected ones begin), and each name is compared only with those
//! of its bucket: mostly with none.

use super::fold;

/// The set of classes of a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct NameClasses(u8);

/// All protected names.
#[derive(Clone, Debug)]
pub(super) struct ProtectedNameTable {
    patterns: Vec<(NamePattern, NameClasses)>,
    /// The patterns that can match a name of each [`bucket`], by index.
    buckets: Vec<Vec<usize>>,
}

/// A pattern of names: a folded name, or a prefix.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct NamePattern {
    text: String,
    is_prefix: bool,
}

impl NameClasses {
    /// The name is in no class.
    pub const NONE: Self = Self(0);
    /// The name says who is calling.
    pub const IDENTITY: Self = Self(1);
    /// The header carries a client's own credential.
    pub const CREDENTIAL: Self = Self(2);
    /// The name changes how a request is read, or other applications take it for an identity.
    pub const DENIED: Self = Self(4);
    /// The name says where a request came from.
    pub const FORWARDING: Self = Self(8);
    /// Only a trusted proxy may send the name.
    pub const RESERVED: Self = Self(16);
    /// The name frames a request, says where it goes or proves who sends it.
    pub const CRITICAL: Self = Self(32);

    /// Whether the set contains one of these.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether the name tells an upstream who is calling, or changes how it reads the request.
    pub const fn are_spoofable(self) -> bool {
        self.has(Self(Self::IDENTITY.0 | Self::CREDENTIAL.0 | Self::DENIED.0))
    }
}

/// The number of letters, with one more for all other bytes and for the end.
const LETTERS: usize = 27;
/// The number of buckets for names that do not begin with `x-`; those that do have as many again.
const PAIRS: usize = LETTERS * LETTERS;

impl Default for ProtectedNameTable {
    fn default() -> Self {
        Self { patterns: Vec::new(), buckets: vec![Vec::new(); 2 * PAIRS] }
    }
}

impl ProtectedNameTable {
    /// Adds the names of a pattern.
    pub(super) fn add(&mut self, pattern: NamePattern, class: NameClasses) {
        let index = self.patterns.len();
        for (at, bucket) in self.buckets.iter_mut().enumerate() {
            if pattern.reaches(at) {
                bucket.push(index);
            }
        }
        self.patterns.push((pattern, class));
    }

    /// Returns all classes of this name.
    pub(super) fn classes(&self, name: &str) -> NameClasses {
        let mut classes = NameClasses::NONE;
        for index in self.buckets.get(bucket(name)).into_iter().flatten() {
            if let Some((pattern, class)) = self.patterns.get(*index)
                && pattern.takes(name)
            {
                classes.0 |= class.0;
            }
        }
        classes
    }
}

/// Returns the bucket of a name: by its first two letters, or by those behind `x-`.
fn bucket(name: &str) -> usize {
    match name.as_bytes() {
        [b'x', b'-', rest @ ..] => PAIRS + pair(rest),
        rest => pair(rest),
    }
}

fn pair(name: &[u8]) -> usize {
    letter(name.first()) * LETTERS + letter(name.get(1))
}

const fn letter(byte: Option<&u8>) -> usize {
    match byte {
        Some(byte @ b'a'..=b'z') => (*byte - b'a') as usize,
        _ => LETTERS - 1,
    }
}

impl NamePattern {
    /// Parses a pattern; a final `*` stands for any rest.
    pub(super) fn new(text: &str) -> Self {
        let Some(name) = text.strip_suffix('*') else {
            return Self::exact(fold(text).into_owned());
        };
        let mut folded = fold(name).into_owned();
        // The hyphen before the `*` is part of the prefix: `cf-*` does not match `cfx`.
        if name.ends_with(|last: char| !last.is_ascii_alphanumeric()) {
            folded.push('-');
        }
        Self::prefix(folded)
    }

    /// Creates the pattern of one name.
    pub(super) const fn exact(text: String) -> Self {
        Self { text, is_prefix: false }
    }

    /// Creates the pattern of every name with this prefix.
    pub(super) const fn prefix(text: String) -> Self {
        Self { text, is_prefix: true }
    }

    fn takes(&self, name: &str) -> bool {
        if self.is_prefix { name.starts_with(&self.text) } else { name == self.text }
    }

    /// Whether a name of this bucket can match. A short prefix reaches several buckets.
    fn reaches(&self, at: usize) -> bool {
        if !self.is_prefix {
            return at == bucket(&self.text);
        }
        let begins_with = |one: &u8| at % PAIRS / LETTERS == letter(Some(one));
        match self.text.as_bytes() {
            [] => true,
            [b'x'] => at >= PAIRS || begins_with(&b'x'),
            [b'x', b'-'] => at >= PAIRS,
            [b'x', b'-', one] => at >= PAIRS && begins_with(one),
            [one] => at < PAIRS && begins_with(one),
            _ => at == bucket(&self.text),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn table(patterns: &[String]) -> ProtectedNameTable {
        let mut table = ProtectedNameTable::default();
        for (at, text) in patterns.iter().enumerate() {
            table.add(NamePattern::new(text), NameClasses(1 << (at % 6)));
        }
        table
    }

    #[test]
    fn a_short_prefix_is_found_wherever_it_reaches() {
        for (pattern, taken, others) in [
            ("*", &["x-a", "a", "9", "x"][..], &[][..]),
            ("x*", &["x", "x-a", "xa", "x-9"], &["a-x"]),
            ("x-*", &["x-a", "x-9"], &["x", "xa"]),
            ("x-a*", &["x-a", "x-ab"], &["x-", "x-b"]),
            ("x", &["x"], &["x-", "xa"]),
        ] {
            let table = table(&[pattern.to_owned()]);
            assert!(taken.iter().all(|name| table.classes(name) != NameClasses::NONE), "{pattern}");
            assert!(
                others.iter().all(|name| table.classes(name) == NameClasses::NONE),
                "{pattern}"
            );
        }
    }

    /// Returns one name for each bucket, in the order of the buckets; `9` is no letter.
    fn names() -> impl Iterator<Item = String> {
        let letters = || ('a'..='z').chain(['9']);
        let pairs = move || {
            letters().flat_map(move |first| letters().map(move |second| format!("{first}{second}")))
        };
        pairs().chain(pairs().map(|pair| format!("x-{pair}")))
    }

    #[test]
    fn two_letters_have_a_bucket_of_their_own() {
        assert!(names().map(|name| bucket(&name)).eq(0..2 * PAIRS));
        for (name, same) in [("user-agent", "us"), ("x-user", "x-us"), ("a", "a-b"), ("x-", "x-99")]
        {
            assert_eq!(bucket(name), bucket(same), "{name}");
        }
    }

    /// Nothing would be missed if a pattern reached more, but then most names would be compared with it.
    #[test]
    fn a_short_prefix_reaches_the_buckets_of_its_names_only() {
        for text in ["*", "a*", "z*", "9*", "ab*", "x*", "xa*", "x-*", "x-a*", "x-z*", "x-9*"] {
            let pattern = NamePattern::new(text);
            for (at, name) in names().enumerate() {
                assert_eq!(pattern.reaches(at), pattern.takes(&name), "{text} {name}");
            }
        }
    }

    proptest! {
        /// The look-up finds the same as a comparison with every pattern.
        #[test]
        fn no_pattern_is_missed(
            patterns in prop::collection::vec("(x-?)?[a-c9]{0,2}-?[a-c]{0,2}\\*?", 0..12),
            name in "(x-?)?[a-c9]{0,2}-?[a-c]{0,3}",
        ) {
            let patterns: Vec<String> = patterns.into_iter().filter(|one| !one.is_empty()).collect();
            let table = table(&patterns);
            let all = table.patterns.iter().filter(|(pattern, _)| pattern.takes(&name));
            let expected = all.fold(0, |classes, (_, class)| classes | class.0);
            prop_assert_eq!(table.classes(&name).0, expected);
        }
    }
}
