//! Closed sets of label values, and one metric for each value, found by index.
//!
//! Every child of a family is created at the start: a security counter exists at 0 before anything happened, so that `rate()`
//! sees the first event. Counting is one atomic addition, without a look-up by text, a lock or an allocation.

use std::marker::PhantomData;

use prometheus::{Histogram, IntCounter};

use crate::block::BlockedBy;
use crate::caller::{AssuranceLevel, AuthMethod};
use crate::config::OwnPath;
use crate::detect::DetectorName;
use crate::detect::respond::TakenAction;
use crate::event::{
    Adoption, EndReason, FactorEvent, FactorRefusal, IssuedRefusal, MailedCodeEvent,
    MailedLinkEvent, Refresh, RefreshRefusal, SignInFailure, TokenRefusal,
};
use crate::gate::shadow::ShadowVerdict;
use crate::refusal::Refusal;
use crate::telemetry::record::{ConnectionFailure, Decided, Retried, UpstreamFailure};

/// A closed set of label values.
pub(super) trait Label: Copy + 'static {
    /// All values, in the order of [`Self::index`].
    const ALL: &'static [Self];

    /// Returns the label value.
    fn label(self) -> &'static str;

    /// Returns the index in [`Self::ALL`].
    fn index(self) -> usize;
}

macro_rules! labels {
    ($($name:ident by $function:expr, $all:expr;)+) => {
        $(impl Label for $name {
            const ALL: &'static [Self] = $all;

            fn label(self) -> &'static str {
                $function(self)
            }

            fn index(self) -> usize {
                self as usize
            }
        })+

        #[cfg(test)]
        mod tests {
            use super::*;

            #[test]
            fn an_index_is_the_place_in_the_list() {
                $(assert!($name::ALL.iter().enumerate().all(|(n, value)| value.index() == n));)+
            }
        }
    };
}

labels! {
    BlockedBy by BlockedBy::name, BlockedBy::ALL;
    ConnectionFailure by ConnectionFailure::name, ConnectionFailure::ALL;
    Decided by Decided::name, Decided::ALL;
    DetectorName by DetectorName::name, DetectorName::ALL;
    Adoption by Adoption::name, Adoption::ALL;
    EndReason by EndReason::name, EndReason::ALL;
    FactorEvent by FactorEvent::name, FactorEvent::ALL;
    FactorRefusal by FactorRefusal::name, FactorRefusal::ALL;
    AuthMethod by AuthMethod::name, &AuthMethod::ALL;
    AssuranceLevel by AssuranceLevel::name, AssuranceLevel::ALL;
    MailedCodeEvent by MailedCodeEvent::name, MailedCodeEvent::ALL;
    MailedLinkEvent by MailedLinkEvent::name, MailedLinkEvent::ALL;
    TokenRefusal by TokenRefusal::name, TokenRefusal::ALL;
    OwnPath by OwnPath::label, &OwnPath::ALL;
    Refresh by Refresh::name, Refresh::ALL;
    IssuedRefusal by IssuedRefusal::name, IssuedRefusal::ALL;
    RefreshRefusal by RefreshRefusal::name, RefreshRefusal::ALL;
    Refusal by Refusal::code, Refusal::ALL;
    Retried by Retried::name, Retried::ALL;
    SignInFailure by SignInFailure::name, SignInFailure::ALL;
    StoreOperation by StoreOperation::name, StoreOperation::ALL;
    TakenAction by TakenAction::name, TakenAction::ALL;
    TokenKind by TokenKind::name, TokenKind::ALL;
    UpstreamFailure by UpstreamFailure::name, UpstreamFailure::ALL;
    ShadowVerdict by ShadowVerdict::name, ShadowVerdict::ALL;
}

/// The kind of an issued token.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum TokenKind {
    Access,
    Refresh,
    Cookie,
}

/// An operation of the store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::telemetry) enum StoreOperation {
    Create,
    Find,
    End,
    List,
    Upkeep,
    Renew,
    Rotate,
    Look,
    Stamp,
    Keep,
    Outbox,
    Question,
    Block,
    Factor,
    Record,
    Backup,
}

impl TokenKind {
    const ALL: &'static [Self] = &[Self::Access, Self::Refresh, Self::Cookie];

    const fn name(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Refresh => "refresh",
            Self::Cookie => "cookie",
        }
    }
}

impl StoreOperation {
    const ALL: &'static [Self] = &[
        Self::Create,
        Self::Find,
        Self::End,
        Self::List,
        Self::Upkeep,
        Self::Renew,
        Self::Rotate,
        Self::Look,
        Self::Stamp,
        Self::Keep,
        Self::Outbox,
        Self::Question,
        Self::Block,
        Self::Factor,
        Self::Record,
        Self::Backup,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Find => "find",
            Self::End => "end",
            Self::List => "list",
            Self::Upkeep => "upkeep",
            Self::Renew => "renew",
            Self::Rotate => "rotate",
            Self::Look => "look",
            Self::Stamp => "stamp",
            Self::Keep => "keep",
            Self::Outbox => "outbox",
            Self::Question => "question",
            Self::Block => "block",
            Self::Factor => "factor",
            Self::Record => "record",
            Self::Backup => "backup",
        }
    }
}

/// One metric for each value of a closed set.
#[derive(Debug)]
pub(super) struct MetricsByLabel<L, M> {
    children: Vec<M>,
    labels: PhantomData<L>,
}

impl<L: Label, M> MetricsByLabel<L, M> {
    /// Creates every child.
    pub(super) fn new(child: impl FnMut(L) -> M) -> Self {
        Self { children: L::ALL.iter().copied().map(child).collect(), labels: PhantomData }
    }

    /// Returns the child of one value.
    pub(super) fn of(&self, label: L) -> Option<&M> {
        self.children.get(label.index())
    }
}

impl<L: Label> MetricsByLabel<L, IntCounter> {
    /// Increments the counter.
    pub(super) fn inc(&self, label: L) {
        if let Some(counter) = self.of(label) {
            counter.inc();
        }
    }
}

impl<L: Label> MetricsByLabel<L, Histogram> {
    /// Observes a duration.
    pub(super) fn observe(&self, label: L, duration: std::time::Duration) {
        if let Some(histogram) = self.of(label) {
            histogram.observe(duration.as_secs_f64());
        }
    }
}
