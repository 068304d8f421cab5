//! Decides which URL patterns are open to anonymous callers, and what must be closed so that nobody gets more.
//!
//! A pattern is open if the class of its view says so (a sign-in page, a password reset), or for the methods that the
//! service was seen to serve anonymously. The gateway's patterns are wider than Django's: `*` is any segment, where
//! `<int:id>` is a number, and a folder is everything below its path. So each open pattern is compared with all others of
//! the project. If it also matches one that anonymous callers are not served, then either the gateway sees that the other
//! is more specific, and the other gets a closed route of its own; or the open pattern stays closed.

use super::super::facts::UrlShape;

/// A pattern in segments, without the slash that ends a folder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Pattern<'f> {
    segments: Vec<&'f str>,
    rest: bool,
    /// The segments that Django accepts only as numbers. The gateway's `*` has no such restriction.
    digits: &'f [usize],
}

/// What anonymous callers may do at a pattern.
#[derive(Clone, Debug)]
pub(super) struct OpenAccess<'f> {
    pub(super) endpoint: &'f UrlShape,
    /// The methods; `None` for all.
    pub(super) methods: Option<Vec<&'f str>>,
    pub(super) access: &'static str,
    /// The reason, for the file and the report.
    pub(super) why: String,
    pattern: Pattern<'f>,
}

/// The routes to write.
pub(super) struct OpenedPattern<'f> {
    pub(super) open: Vec<OpenAccess<'f>>,
    /// Patterns that need a closed route of their own, because an open pattern is wider.
    pub(super) closed: Vec<&'f UrlShape>,
    pub(super) given_up: Vec<UnopenedPattern>,
}

/// A pattern that stays closed although anonymous callers are served there.
pub(super) struct UnopenedPattern {
    /// Methods and path.
    pub(super) what: String,
    /// The path that would be opened with it.
    pub(super) because: String,
    /// Whether the class of its view says that it is for anonymous callers.
    pub(super) is_public: bool,
}

/// The effect of an open pattern on another one.
enum PatternEffect {
    None,
    /// The other pattern needs a route of its own.
    Guard,
    /// The other pattern would be open too.
    Leak,
}

impl<'f> Pattern<'f> {
    pub(super) fn of(endpoint: &'f UrlShape) -> Self {
        let path = endpoint.path.strip_prefix('/').unwrap_or(&endpoint.path);
        let path = if endpoint.rest { path.strip_suffix('/').unwrap_or(path) } else { path };
        let segments =
            if endpoint.rest && path.is_empty() { Vec::new() } else { path.split('/').collect() };
        Self { segments, rest: endpoint.rest, digits: &endpoint.digits }
    }

    fn is_literal(&self) -> bool {
        !self.rest && self.segments.iter().all(|segment| *segment != ANY)
    }

    /// Whether some path matches both: this one as a route of the gateway, and the other one as Django reads it.
    fn meets(&self, other: &Self) -> bool {
        let pairs = self.segments.iter().zip(&other.segments).enumerate();
        let fits = pairs.into_iter().all(|(at, (ours, theirs))| {
            let may_be = |ours: &str| !other.digits.contains(&at) || may_be_a_number(ours);
            ours == theirs
                || (*ours == ANY && !theirs.is_empty())
                || (*theirs == ANY && !ours.is_empty() && may_be(ours))
        });
        let (ours, theirs) = (self.segments.len(), other.segments.len());
        fits && match (self.rest, other.rest) {
            (true, true) => true,
            (true, false) => ours <= theirs,
            (false, true) => theirs <= ours,
            (false, false) => ours == theirs,
        }
    }

    /// Whether the gateway prefers this pattern to the other one, for a path that matches both.
    fn is_before(&self, other: &Self) -> bool {
        for (ours, theirs) in self.segments.iter().zip(&other.segments) {
            if ours != theirs {
                return *theirs == ANY;
            }
        }
        let (ours, theirs) = (self.segments.len(), other.segments.len());
        ours > theirs || (ours == theirs && !self.rest && other.rest)
    }
}

const ANY: &str = "*";

/// Whether a segment may be a number. `\d` accepts digits of every script, and those are percent-encoded here.
fn may_be_a_number(segment: &str) -> bool {
    segment.contains('%') || segment.bytes().all(|byte| byte.is_ascii_digit())
}

impl<'f> OpenAccess<'f> {
    pub(super) fn new(
        endpoint: &'f UrlShape,
        methods: Option<Vec<&'f str>>,
        access: &'static str,
        why: String,
    ) -> Self {
        Self { endpoint, methods, access, why, pattern: Pattern::of(endpoint) }
    }

    fn takes(&self, method: &str) -> bool {
        self.methods.as_ref().is_none_or(|methods| methods.contains(&method))
    }

    /// Returns the effect of opening this pattern on a pattern that is not open.
    fn effect_on(&self, other: &UrlShape, theirs: &Pattern<'_>) -> PatternEffect {
        let is_its_own = other.same_view == self.endpoint.same_view;
        // Django was asked which view gets a path without a variable.
        if is_its_own || other.hidden || self.pattern.is_literal() || !self.pattern.meets(theirs) {
            return PatternEffect::None;
        }
        // Django gives every such path to this pattern.
        let comes_first = self.endpoint.total && self.endpoint.order < other.order;
        match theirs.is_before(&self.pattern) {
            _ if comes_first => PatternEffect::None,
            true => PatternEffect::Guard,
            false => PatternEffect::Leak,
        }
    }
}

/// Removes the candidates that would open more than themselves. `answered` says which patterns the gateway answers itself.
pub(super) fn opened<'f>(
    endpoints: &'f [UrlShape],
    mut open: Vec<OpenAccess<'f>>,
    answered: impl Fn(&UrlShape) -> bool,
) -> OpenedPattern<'f> {
    let patterns: Vec<(&UrlShape, Pattern<'_>)> = endpoints
        .iter()
        .filter(|endpoint| !answered(endpoint))
        .map(|endpoint| (endpoint, Pattern::of(endpoint)))
        .collect();
    let mut given_up = Vec::new();
    // A pattern that is given up no longer counts as open for the others.
    loop {
        let before = open.clone();
        let admits = |other: &UrlShape, method: &str| {
            other.kind == "files"
                || before.iter().any(|one| std::ptr::eq(one.endpoint, other) && one.takes(method))
        };
        let leak = |one: &OpenAccess<'_>, method: &str| {
            patterns.iter().find(|(other, theirs)| {
                matches!(one.effect_on(other, theirs), PatternEffect::Leak)
                    && !admits(other, method)
            })
        };
        open.retain_mut(|one| {
            let asked = one.methods.clone().unwrap_or_else(|| ALL.to_vec());
            let (mut kept, mut lost, mut because) = (Vec::new(), Vec::new(), String::new());
            for method in &asked {
                match leak(one, method) {
                    None => kept.push(*method),
                    Some((other, _)) => {
                        lost.push(*method);
                        because.clone_from(&other.path);
                    }
                }
            }
            if !lost.is_empty() {
                let below = if one.endpoint.rest { "below " } else { "" };
                given_up.push(UnopenedPattern {
                    what: format!("{} {below}{}", lost.join(", "), one.endpoint.path),
                    because,
                    is_public: one.access == "public",
                });
            }
            if kept.len() < asked.len() {
                one.methods = Some(kept);
            }
            one.methods.as_ref().is_none_or(|methods| !methods.is_empty())
        });
        let count = |all: &[OpenAccess<'_>]| {
            all.iter().map(|one| one.methods.as_ref().map_or(ALL.len(), Vec::len)).sum::<usize>()
        };
        if count(&open) == count(&before) {
            break;
        }
    }
    let closed = guards(&patterns, &open);
    OpenedPattern { open, closed, given_up }
}

/// Returns the patterns that lie within an open one and are not open themselves.
fn guards<'f>(
    patterns: &[(&'f UrlShape, Pattern<'f>)],
    open: &[OpenAccess<'f>],
) -> Vec<&'f UrlShape> {
    let mut found: Vec<(&'f UrlShape, &Pattern<'f>)> = Vec::new();
    for (other, theirs) in patterns {
        // The admin has a route in any case, and a pattern that is open for some methods is closed for the others.
        let has_a_route = matches!(other.kind.as_str(), "admin" | "files")
            || open.iter().any(|one| std::ptr::eq(one.endpoint, *other));
        let is_within =
            |one: &OpenAccess<'_>| matches!(one.effect_on(other, theirs), PatternEffect::Guard);
        let is_there = found.iter().any(|(_, pattern)| *pattern == theirs);
        if !has_a_route && !is_there && open.iter().any(is_within) {
            found.push((other, theirs));
        }
    }
    // Below a closed folder, no other pattern needs to be closed.
    let covered = |theirs: &Pattern<'_>| {
        found.iter().any(|(_, folder)| {
            folder.rest
                && *folder != theirs
                && folder.meets(theirs)
                && theirs.is_before(folder)
                && !folder.segments.contains(&ANY)
        })
    };
    found.iter().filter(|(_, theirs)| !covered(theirs)).map(|(one, _)| *one).collect()
}

/// The methods of a route without `methods`.
pub(super) const ALL: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
