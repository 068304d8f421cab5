//! The second readings of a target that a route may tolerate, and sets of them.

use std::fmt;

/// A harmless second reading, which a route may tolerate.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Ambiguity {
    /// `%2F`: inside a segment here, a separator for servers that decode first.
    EncodedSlash,
    /// `//` after the first segment: an empty segment here, one separator for servers that merge slashes.
    DoubleSlash,
    /// `;` or `%3B`: part of the segment here, path parameters for Java servers.
    Semicolon,
    /// `%2E` in a segment that is not a dot segment: a `.` for all servers but those that never decode.
    EncodedDot,
    /// `%252F`, an escape that decodes to another one: text here, a separator for servers that decode twice.
    DoubleEscape,
    /// `%5C`: part of the segment here, a separator for Windows servers and URL parsers.
    EncodedBackslash,
    /// Escapes that are not UTF-8 (file names in EUC-KR or Latin-1): bytes here, text in some other encoding at the upstream.
    InvalidUtf8,
    /// Unescaped characters outside ASCII, in the path or the query: RFC 3986 has none, so servers differ.
    RawUtf8,
}

/// A set of ambiguities: those that a route tolerates, or those that a target has.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Tolerance(u8);

impl Ambiguity {
    /// All ambiguities.
    pub const ALL: [Self; 8] = [
        Self::EncodedSlash,
        Self::DoubleSlash,
        Self::Semicolon,
        Self::EncodedDot,
        Self::DoubleEscape,
        Self::EncodedBackslash,
        Self::InvalidUtf8,
        Self::RawUtf8,
    ];

    /// Returns the name that `route.allow_ambiguous_path` uses.
    pub const fn name(self) -> &'static str {
        match self {
            Self::EncodedSlash => "encoded-slash",
            Self::DoubleSlash => "double-slash",
            Self::Semicolon => "semicolon",
            Self::EncodedDot => "encoded-dot",
            Self::DoubleEscape => "double-escape",
            Self::EncodedBackslash => "encoded-backslash",
            Self::InvalidUtf8 => "invalid-utf8",
            Self::RawUtf8 => "raw-utf8",
        }
    }

    /// Returns the ambiguity of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }

    const fn bit(self) -> u8 {
        match self {
            Self::EncodedSlash => 1,
            Self::DoubleSlash => 2,
            Self::Semicolon => 4,
            Self::EncodedDot => 8,
            Self::DoubleEscape => 16,
            Self::EncodedBackslash => 32,
            Self::InvalidUtf8 => 64,
            Self::RawUtf8 => 128,
        }
    }
}

impl Tolerance {
    /// The empty set.
    pub const NONE: Self = Self(0);
    /// All ambiguities.
    pub const ALL: Self = Self(u8::MAX);

    /// Returns the set with one more.
    #[must_use]
    pub const fn with(self, ambiguity: Ambiguity) -> Self {
        Self(self.0 | ambiguity.bit())
    }

    /// Whether the ambiguity is in the set.
    pub const fn contains(self, ambiguity: Ambiguity) -> bool {
        self.0 & ambiguity.bit() != 0
    }

    /// Whether the set is empty.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl FromIterator<Ambiguity> for Tolerance {
    fn from_iter<I: IntoIterator<Item = Ambiguity>>(all: I) -> Self {
        all.into_iter().fold(Self::NONE, Self::with)
    }
}

impl fmt::Debug for Tolerance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(Ambiguity::ALL.into_iter().filter(|one| self.contains(*one))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_its_members_and_names_them() {
        use Ambiguity::*;
        for (members, written) in [
            (&[][..], "{}"),
            (&[EncodedSlash], "{EncodedSlash}"),
            (&[RawUtf8, Semicolon, RawUtf8], "{Semicolon, RawUtf8}"),
            (
                &Ambiguity::ALL,
                "{EncodedSlash, DoubleSlash, Semicolon, EncodedDot, DoubleEscape, EncodedBackslash, \
                 InvalidUtf8, RawUtf8}",
            ),
        ] {
            let set: Tolerance = members.iter().copied().collect();
            for one in Ambiguity::ALL {
                assert_eq!(set.contains(one), members.contains(&one), "{one:?} in {written}");
            }
            assert_eq!(set.is_empty(), members.is_empty(), "{written}");
            assert_eq!(format!("{set:?}"), written);
        }
    }
}
