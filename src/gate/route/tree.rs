//! Stores path patterns as a tree of segments, which is searched in the order of precedence.
//!
//! At each segment the literal branch comes first, then that of `*`, then the prefix that ends here; at the path's end
//! the exact pattern comes before the prefix. So of two patterns that match a path, the one with a literal at the first
//! difference wins over `*`, then the longer one, then the exact one, and no list has to be sorted. A look-up costs a
//! few comparisons for each segment, however many routes there are, and visits `*` only where a pattern has one.

use std::ops::ControlFlow;

use crate::wire::path::{CanonicalPath, PathMatch, PathPattern, Segment};

/// A tree that holds a `T` for each pattern.
#[derive(Clone, Debug)]
pub(super) struct Tree<T> {
    /// The literal branches, sorted.
    literals: Vec<(Box<str>, Self)>,
    any: Option<Box<Self>>,
    exact: Option<T>,
    prefix: Option<T>,
}

impl<T> Default for Tree<T> {
    fn default() -> Self {
        Self { literals: Vec::new(), any: None, exact: None, prefix: None }
    }
}

impl<T: Default> Tree<T> {
    /// Returns the value of this pattern, to set it.
    pub(super) fn at(&mut self, pattern: &PathPattern) -> &mut T {
        let node = pattern.segments().fold(self, Self::child);
        let slot = match pattern.matching() {
            PathMatch::Exact => &mut node.exact,
            PathMatch::Prefix => &mut node.prefix,
        };
        slot.get_or_insert_default()
    }

    fn child<'t>(&'t mut self, segment: Segment<'_>) -> &'t mut Self {
        match segment {
            Segment::Any => self.any.get_or_insert_default(),
            Segment::Literal(text) => {
                let found = self.literals.binary_search_by(|(name, _)| (**name).cmp(text));
                let at = found.unwrap_or_else(|at| {
                    self.literals.insert(at, (text.into(), Self::default()));
                    at
                });
                #[expect(clippy::indexing_slicing, reason = "it was found or inserted there")]
                &mut self.literals[at].1
            }
        }
    }
}

impl<T> Tree<T> {
    /// Returns the value of the best pattern that matches the path.
    pub(super) fn best(&self, path: &CanonicalPath) -> Option<&T> {
        match self.each(path, &mut ControlFlow::Break) {
            ControlFlow::Break(best) => Some(best),
            ControlFlow::Continue(()) => None,
        }
    }

    /// Visits every pattern that matches the path, the best first, until `visit` breaks.
    pub(super) fn each<'t, B>(
        &'t self,
        path: &CanonicalPath,
        visit: &mut impl FnMut(&'t T) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        self.walk(path.as_str().strip_prefix('/'), visit)
    }

    /// `rest` is the part of the path that is left, if any.
    fn walk<'t, B>(
        &'t self,
        rest: Option<&str>,
        visit: &mut impl FnMut(&'t T) -> ControlFlow<B>,
    ) -> ControlFlow<B> {
        match rest {
            None => self.exact.as_ref().map_or(ControlFlow::Continue(()), &mut *visit)?,
            Some(rest) => {
                let (segment, below) = match rest.split_once('/') {
                    Some((segment, below)) => (segment, Some(below)),
                    None => (rest, None),
                };
                if let Ok(at) = self.literals.binary_search_by(|(name, _)| (**name).cmp(segment))
                    && let Some((_, literal)) = self.literals.get(at)
                {
                    literal.walk(below, visit)?;
                }
                if let Some(any) = self.any.as_ref().filter(|_| Segment::Any.takes(segment)) {
                    any.walk(below, visit)?;
                }
            }
        }
        self.prefix.as_ref().map_or(ControlFlow::Continue(()), visit)
    }
}
