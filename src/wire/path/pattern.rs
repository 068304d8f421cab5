//! Patterns for the paths of an operator's rule: a route, an alias, a path at which a service signs people in.
//!
//! A pattern is a path in which `*` as a whole segment stands for any one segment. It matches only what it spells,
//! since a public route with a pattern must not open anything else: `*` never matches an empty segment, nor one that
//! another server may split (`%2F`) or read as empty (`;x`), not even where a route tolerates those readings. Canonical
//! paths have no dot segments.
//!
//! - [`PathMatch::Prefix`] matches everything below as well. The final slash makes no difference, as with
//!   [`CanonicalPath::starts_with_segments`], and the last segment is not `*`: `/admin/*` looks like everything below
//!   `/admin/` and would leave out `/admin/` itself.
//! - [`PathMatch::Exact`] matches these segments and no others; the final slash counts.
//!
//! The route table is ordered by [`PathPattern::segments`]: without the final slash of a prefix, so that two spellings
//! of one pattern have one place in it.

use std::fmt;

use super::{CanonicalPath, TargetProblem};

/// How far below its path a pattern extends.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub enum PathMatch {
    /// The path and everything below it.
    #[default]
    Prefix,
    /// Only the path itself.
    Exact,
}

/// A path in which `*` stands for any segment.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct PathPattern {
    path: CanonicalPath,
    extent: PathMatch,
}

/// One segment of a pattern.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub enum Segment<'p> {
    /// A segment with this text.
    Literal(&'p str),
    /// Any one segment.
    Any,
}

/// The reason why a text is not a pattern.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PatternProblem {
    /// The text is not a path.
    Path(TargetProblem),
    /// `*` is only a part of a segment.
    PartOfSegment,
    /// `*` is the last segment of a prefix.
    LastOfPrefix,
}

impl PathPattern {
    /// Parses a pattern from the configuration.
    ///
    /// # Errors
    /// The reason why the text is not a pattern.
    pub fn parse(raw: &str, extent: PathMatch) -> Result<Self, PatternProblem> {
        let path = CanonicalPath::parse(raw).map_err(PatternProblem::Path)?;
        if path.segments().any(|segment| segment.contains('*') && segment != ANY) {
            return Err(PatternProblem::PartOfSegment);
        }
        let pattern = Self { path, extent };
        if extent == PathMatch::Prefix && pattern.segments().last() == Some(Segment::Any) {
            return Err(PatternProblem::LastOfPrefix);
        }
        Ok(pattern)
    }

    /// Returns the text, as it was written.
    pub fn as_str(&self) -> &str {
        self.path.as_str()
    }

    /// Returns how far the pattern extends.
    pub const fn matching(&self) -> PathMatch {
        self.extent
    }

    /// Whether the pattern has no `*`.
    pub fn is_literal(&self) -> bool {
        self.segments().all(|segment| segment != Segment::Any)
    }

    /// Whether the pattern matches this path.
    pub fn takes(&self, path: &CanonicalPath) -> bool {
        let mut theirs = path.segments();
        let fits = self.segments().all(|ours| theirs.next().is_some_and(|it| ours.takes(it)));
        fits && (self.extent == PathMatch::Prefix || theirs.next().is_none())
    }

    /// Whether the pattern matches the path that the other one is written with.
    pub fn takes_path_of(&self, other: &Self) -> bool {
        self.path == other.path || (other.is_literal() && self.takes(&other.path))
    }

    /// Whether both match the same paths.
    pub fn is_same(&self, other: &Self) -> bool {
        self.extent == other.extent && self.segments().eq(other.segments())
    }

    /// Whether the pattern begins with these segments, none of which is `*`.
    pub fn starts_with_segments(&self, prefix: &CanonicalPath) -> bool {
        !prefix.segments().any(|segment| segment == ANY) && self.path.starts_with_segments(prefix)
    }

    /// Returns the segments in order; those of a prefix without its final slash, which makes no difference.
    pub fn segments(&self) -> impl Iterator<Item = Segment<'_>> {
        let text = self.path.as_str();
        let text = match self.extent {
            PathMatch::Prefix => text.strip_suffix('/').unwrap_or(text),
            PathMatch::Exact => text,
        };
        text.split('/').skip(1).map(Segment::of)
    }
}

impl Segment<'_> {
    fn of(text: &str) -> Segment<'_> {
        if text == ANY { Segment::Any } else { Segment::Literal(text) }
    }

    /// Whether it matches this segment of a canonical path.
    pub fn takes(self, segment: &str) -> bool {
        match self {
            Self::Literal(text) => text == segment,
            Self::Any => is_one_segment(segment),
        }
    }
}

const ANY: &str = "*";

/// Whether the text is one segment for every server, and not an empty one.
fn is_one_segment(segment: &str) -> bool {
    let is_empty = segment.is_empty() || segment.starts_with(';') || segment.starts_with("%3B");
    !is_empty && !segment.contains("%2F")
}

impl PartialEq<&str> for PathPattern {
    fn eq(&self, text: &&str) -> bool {
        self.as_str() == *text
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::path::{Target, Tolerance};

    fn prefix(text: &str) -> PathPattern {
        PathPattern::parse(text, PathMatch::Prefix).unwrap()
    }

    fn exact(text: &str) -> PathPattern {
        PathPattern::parse(text, PathMatch::Exact).unwrap()
    }

    /// Returns a request's path, whatever its ambiguities.
    fn path(text: &str) -> CanonicalPath {
        Target::parse(text, Tolerance::ALL).unwrap().path().clone()
    }

    #[test]
    fn a_star_is_any_one_segment() {
        for (pattern, takes, leaves) in [
            (
                prefix("/orga/*/login/"),
                &["/orga/x/login", "/orga/x/login/", "/orga/x/login/y", "/orga/*/login/"][..],
                &["/orga/login/", "/orga//login/", "/orga/x/y/login/", "/orga/x/logins", "/orga"][..],
            ),
            (
                exact("/orga/*/login/"),
                &["/orga/x/login/", "/orga/a.b/login/", "/orga/x;y/login/"],
                &["/orga/x/login", "/orga/x/login/y", "/orga/x%2Fy/login/", "/orga/;x/login/"],
            ),
            (exact("/*"), &["/a", "/a%20b"], &["/", "/a/", "/a/b", "/a%2Fb"]),
            (exact("/a/*/"), &["/a/b/"], &["/a/b", "/a//", "/a/"]),
            (exact("/"), &["/"], &["/a"]),
            (prefix("/"), &["/", "/a", "/a/b"], &[]),
            (prefix("/a/"), &["/a", "/a/", "/a/b", "/a//b"], &["/", "/ab", "/A"]),
            (exact("/a/"), &["/a/"], &["/a", "/a/b"]),
            (exact("/a"), &["/a"], &["/a/", "/a/b"]),
        ] {
            for text in takes {
                assert!(pattern.takes(&path(text)), "{pattern:?} takes {text}");
            }
            for text in leaves {
                assert!(!pattern.takes(&path(text)), "{pattern:?} leaves {text}");
            }
        }
    }

    #[test]
    fn what_reads_as_something_else_is_no_pattern() {
        use PatternProblem::{LastOfPrefix, PartOfSegment, Path};
        for (text, in_prefix, in_exact) in [
            ("/admin/*", Some(LastOfPrefix), None),
            ("/admin/*/", Some(LastOfPrefix), None),
            ("/*", Some(LastOfPrefix), None),
            ("/*/", Some(LastOfPrefix), None),
            ("/admin/**", Some(PartOfSegment), Some(PartOfSegment)),
            ("/admin*", Some(PartOfSegment), Some(PartOfSegment)),
            ("/*.css", Some(PartOfSegment), Some(PartOfSegment)),
            ("/a/.*/b", Some(PartOfSegment), Some(PartOfSegment)),
            (
                "/a/*;x/b",
                Some(Path(TargetProblem::Ambiguous(super::super::Ambiguity::Semicolon))),
                Some(Path(TargetProblem::Ambiguous(super::super::Ambiguity::Semicolon))),
            ),
            (
                "*",
                Some(Path(TargetProblem::NotOriginForm)),
                Some(Path(TargetProblem::NotOriginForm)),
            ),
            ("/*/a", None, None),
            ("/a/*/*/b/", None, None),
        ] {
            let parse = |extent| PathPattern::parse(text, extent).err();
            assert_eq!(
                (parse(PathMatch::Prefix), parse(PathMatch::Exact)),
                (in_prefix, in_exact),
                "{text}"
            );
        }
    }

    #[test]
    fn two_spellings_of_one_pattern_are_the_same() {
        for (one, other, is_same) in [
            (prefix("/a/*/b/"), prefix("/a/*/b"), true),
            (prefix("/a/*/b/"), prefix("/a/c/b"), false),
            (exact("/a/"), exact("/a"), false),
            (exact("/a"), prefix("/a"), false),
        ] {
            assert_eq!(one.is_same(&other), is_same, "{one:?} {other:?}");
        }
        assert!(exact("/a/*/").takes_path_of(&prefix("/a/b/")));
        assert!(exact("/a/*/").takes_path_of(&exact("/a/*/")));
        assert!(!exact("/a/b/").takes_path_of(&exact("/a/*/")));
    }

    /// There are few letters, so that patterns and paths often match.
    fn segments(any: bool) -> impl Strategy<Value = Vec<&'static str>> {
        let texts: &[&str] = if any {
            &["a", "b", "*", "x;y"]
        } else {
            &["a", "b", "*", "", ";", "x;y", "%3Bb", "a%2Fb", "%2E", "c%2E"]
        };
        proptest::collection::vec(proptest::sample::select(texts.to_vec()), 0..5)
    }

    proptest! {
        /// Every server's reading of a path that a pattern matches is spelled like the pattern.
        #[test]
        fn no_pattern_takes_more_than_it_says(
            pattern in segments(true), theirs in segments(false), is_exact in any::<bool>(),
        ) {
            let extent = if is_exact { PathMatch::Exact } else { PathMatch::Prefix };
            let Ok(pattern) = PathPattern::parse(&format!("/{}", pattern.join("/")), extent) else { return Ok(()) };
            let Ok(target) = Target::parse(format!("/{}", theirs.join("/")), Tolerance::ALL) else { return Ok(()) };
            let ours: Vec<&str> = pattern.as_str().split('/').collect();
            let ours = if is_exact { &ours[..] } else { ours.strip_suffix(&[""]).unwrap_or(&ours) };
            let theirs: Vec<&str> = target.path().as_str().split('/').collect();
            let fits = ours.iter().zip(&theirs).all(|(ours, theirs)| match *ours {
                "*" => !["", ";", "%3Bb", "a%2Fb"].contains(theirs),
                ours => ours == *theirs,
            });
            let length = if is_exact { theirs.len() == ours.len() } else { theirs.len() >= ours.len() };
            prop_assert_eq!(pattern.takes(target.path()), fits && length);
        }

        #[test]
        fn a_pattern_without_a_star_is_the_prefix_that_it_was(
            ours in "(/[ab]{1,2}){0,3}/?", theirs in "(/[ab]{1,2}){0,3}/?",
        ) {
            let (Ok(pattern), Ok(target)) =
                (PathPattern::parse(&ours, PathMatch::Prefix), Target::parse(&theirs, Tolerance::ALL))
            else { return Ok(()) };
            let prefix = CanonicalPath::parse(&ours).unwrap();
            prop_assert_eq!(pattern.takes(target.path()), target.path().starts_with_segments(&prefix));
        }
    }
}
