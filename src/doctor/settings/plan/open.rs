//! Which URL patterns strangers may use, and what must be closed so that nobody gets more.
//!
//! A pattern is open where the class of its view says so (a sign-in page, a password reset), or for the methods that the
//! service was seen to serve to a stranger. The gateway's patterns are wider than Django's: `*` is any segment, where
//! `<int:id>` is a number, and what is below a path is all of it. So each open pattern is held against all others of the
//! project. Of one that strangers are not served and that would be reached through it, the gateway must either see that
//! it is the more special one, and then it gets a route of its own that is closed; or the open one stays closed.

use super::super::facts::UrlShape;

/// A pattern in segments, without the slash that ends a folder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Pattern<'f> {
    segments: Vec<&'f str>,
    rest: bool,
    /// Which of the segments Django takes for a number alone. The gateway's `*` knows no such thing.
    digits: &'f [usize],
}

/// What strangers may do at a pattern.
#[derive(Clone, Debug)]
pub(super) struct OpenAccess<'f> {
    pub(super) endpoint: &'f UrlShape,
    /// None for all of them.
    pub(super) methods: Option<Vec<&'f str>>,
    pub(super) access: &'static str,
    /// Why, for the file and the report.
    pub(super) why: String,
    pattern: Pattern<'f>,
}

/// What is to be written.
pub(super) struct OpenedPattern<'f> {
    pub(super) open: Vec<OpenAccess<'f>>,
    /// Patterns that need a closed route of their own, since an open one is wider.
    pub(super) closed: Vec<&'f UrlShape>,
    pub(super) given_up: Vec<UnopenedPattern>,
}

/// What stays closed although strangers are served there.
pub(super) struct UnopenedPattern {
    /// Methods and path.
    pub(super) what: String,
    /// The path that would be opened with it.
    pub(super) because: String,
    /// Is it the class of the view that says it is for strangers?
    pub(super) is_public: bool,
}

/// What an open pattern would do to another one.
enum PatternEffect {
    None,
    /// The other one needs a route.
    Guard,
    /// The other one would be open too.
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

    /// Is there a path that both take, this one as a route of the gateway's and the other one as Django reads it?
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

    /// Does the gateway prefer it to the other one, of a path that both take?
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

/// `\d` takes digits of every script, and those are percent-encoded here.
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

    /// What opening it for strangers does to a pattern that is not open to them.
    fn effect_on(&self, other: &UrlShape, theirs: &Pattern<'_>) -> PatternEffect {
        let is_its_own = other.same_view == self.endpoint.same_view;
        // Django was asked who gets a path without a variable.
        if is_its_own || other.hidden || self.pattern.is_literal() || !self.pattern.meets(theirs) {
            return PatternEffect::None;
        }
        // Django gives all of it to this one.
        let comes_first = self.endpoint.total && self.endpoint.order < other.order;
        match theirs.is_before(&self.pattern) {
            _ if comes_first => PatternEffect::None,
            true => PatternEffect::Guard,
            false => PatternEffect::Leak,
        }
    }
}

/// Takes from the candidates what would open more than them. `answered` tells which patterns the gateway answers itself.
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
    // What is given up is no longer open to others.
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

/// The patterns that lie within an open one and are not open themselves.
fn guards<'f>(
    patterns: &[(&'f UrlShape, Pattern<'f>)],
    open: &[OpenAccess<'f>],
) -> Vec<&'f UrlShape> {
    let mut found: Vec<(&'f UrlShape, &Pattern<'f>)> = Vec::new();
    for (other, theirs) in patterns {
        // The admin has a route in any case, and one that is open for some methods is closed for the others.
        let has_a_route = matches!(other.kind.as_str(), "admin" | "files")
            || open.iter().any(|one| std::ptr::eq(one.endpoint, *other));
        let is_within =
            |one: &OpenAccess<'_>| matches!(one.effect_on(other, theirs), PatternEffect::Guard);
        let is_there = found.iter().any(|(_, pattern)| *pattern == theirs);
        if !has_a_route && !is_there && open.iter().any(is_within) {
            found.push((other, theirs));
        }
    }
    // Below a folder that is closed nothing else need be.
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

/// What a route takes without `methods`.
pub(super) const ALL: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
