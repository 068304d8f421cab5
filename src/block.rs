//! Defines blocks: a block refuses an address, a user or a session for a time.
//!
//! A detector's action or an operator makes a block, a store holds it, and the gate reads it. Every block ends by itself.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net};

use crate::caller::{SessionId, UserKey};
use crate::clock::Timestamp;

/// The subject of a block: who is refused.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum BlockSubject {
    /// An address or a network, as [`BlockSubject::address`] makes it.
    Address(IpNet),
    /// A user: any request whose caller is authenticated as this user.
    User(UserKey),
    /// A session: any request with a credential of this session.
    Session(SessionId),
}

/// What a block demands of its subject.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Demand {
    /// To stay away until the block ends.
    StayAway,
    /// To sign in again: until then, the session's credentials prove nothing. For sessions only.
    SignIn,
    /// To confirm their identity with a second factor; this lifts the block, and the session goes on. For sessions only.
    Confirm,
    /// To slow down: to refresh, or to sign in, once a minute.
    SlowDown,
}

/// Who made a block.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum BlockedBy {
    /// An operator.
    Operator,
    /// A detector's action.
    Detector,
}

/// A block; see the head of this module.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Block {
    /// Who is refused.
    pub subject: BlockSubject,
    /// What the block demands of them.
    pub demand: Demand,
    /// Who made the block.
    pub by: BlockedBy,
    /// The reason: a detector's name, or an operator's text.
    pub reason: Arc<str>,
    /// When the block was made.
    pub at: Timestamp,
    /// When the block ends.
    pub until: Timestamp,
}

impl BlockSubject {
    /// Returns the subject of all addresses of a network; an IPv4-mapped network becomes IPv4.
    pub fn address(network: IpNet) -> Self {
        let mapped = match network {
            IpNet::V6(v6) => v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(96)),
            IpNet::V4(_) => None,
        };
        let network = match mapped {
            Some((v4, length)) => IpNet::V4(Ipv4Net::new_assert(v4, length)),
            None => network,
        };
        Self::Address(network.trunc())
    }

    /// Parses a subject of this kind: an address or network, `DIRECTORY/ID`, or a session's id. `None` if `text` is not one.
    pub fn parse(kind: &str, text: &str) -> Option<Self> {
        match kind {
            "address" => {
                let of_one = |address: IpAddr| Some(IpNet::from(address));
                let network = text.parse().ok().or_else(|| text.parse().ok().and_then(of_one));
                network.map(Self::address)
            }
            "user" => match text.split_once('/') {
                Some((directory, id)) if !directory.is_empty() && !id.is_empty() => {
                    Some(Self::User(UserKey::new(directory, id)))
                }
                _ => None,
            },
            "session" if !text.is_empty() => Some(Self::Session(SessionId::new(text))),
            _ => None,
        }
    }

    /// Returns the stable name of its kind, for commands, the store, metrics and the audit trail.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Address(_) => "address",
            Self::User(_) => "user",
            Self::Session(_) => "session",
        }
    }
}

impl fmt::Display for BlockSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(network) if network.prefix_len() == network.max_prefix_len() => {
                network.addr().fmt(f)
            }
            Self::Address(network) => network.fmt(f),
            Self::User(user) => user.fmt(f),
            Self::Session(session) => session.fmt(f),
        }
    }
}

impl Demand {
    /// All demands.
    pub const ALL: &'static [Self] = &[Self::StayAway, Self::SignIn, Self::Confirm, Self::SlowDown];

    /// Returns the stable name for the store and commands.
    pub const fn name(self) -> &'static str {
        match self {
            Self::StayAway => "stay_away",
            Self::SignIn => "sign_in",
            Self::Confirm => "confirm",
            Self::SlowDown => "slow_down",
        }
    }
}

impl Demand {
    /// Returns the rank of the demand: a block is never replaced by one that demands less.
    const fn strength(self) -> u8 {
        match self {
            Self::SlowDown => 0,
            Self::Confirm => 1,
            Self::SignIn => 2,
            Self::StayAway => 3,
        }
    }
}

impl BlockedBy {
    /// All values.
    pub const ALL: &'static [Self] = &[Self::Operator, Self::Detector];

    /// Returns the stable name for the store, commands, metrics and the audit trail.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Detector => "detector",
        }
    }
}

impl Block {
    /// Whether the block has ended.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.until <= now
    }

    /// Whether a new block of the same subject replaces this one. An operator's always does; a detector's only if this one is a
    /// detector's too and the new one demands more, or the same for longer.
    pub fn gives_way_to(&self, new: &Self) -> bool {
        if self.is_over(new.at) || new.by == BlockedBy::Operator {
            return true;
        }
        match self.by {
            BlockedBy::Operator => false,
            BlockedBy::Detector => {
                let strength = |block: &Self| (block.demand.strength(), block.until);
                strength(new) > strength(self)
            }
        }
    }

    /// Whether the block may be dropped where there is no room for a new one. An operator's may not, and neither may one that
    /// prevents the use of a stolen session.
    pub fn is_expendable(&self) -> bool {
        self.by == BlockedBy::Detector && matches!(self.subject, BlockSubject::Address(_))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1000);

    fn block(by: BlockedBy, demand: Demand, minutes: u64) -> Block {
        Block {
            subject: BlockSubject::Session(SessionId::new("s")),
            demand,
            by,
            reason: "why".into(),
            at: NOW,
            until: NOW.plus(Duration::from_secs(60 * minutes)),
        }
    }

    #[test]
    fn a_subject_is_read_as_it_is_written() {
        for (kind, text, written) in [
            ("address", "192.0.2.7", Some("192.0.2.7")),
            ("address", "192.0.2.7/24", Some("192.0.2.0/24")),
            ("address", "::ffff:192.0.2.7", Some("192.0.2.7")),
            ("address", "::ffff:192.0.2.7/120", Some("192.0.2.0/24")),
            ("address", "2001:DB8::1/64", Some("2001:db8::/64")),
            ("address", "192.0.2.7/33", None),
            ("address", "somewhere", None),
            ("user", "django/7", Some("django/7")),
            ("user", "django/a/b", Some("django/a/b")),
            ("user", "django", None),
            ("user", "/7", None),
            ("session", "-x", Some("-x")),
            ("session", "", None),
            ("route", "app", None),
        ] {
            let subject = BlockSubject::parse(kind, text);
            assert_eq!(subject.as_ref().map(ToString::to_string).as_deref(), written, "{text}");
            assert!(subject.is_none_or(|subject| {
                subject.kind() == kind
                    && BlockSubject::parse(kind, &subject.to_string()) == Some(subject)
            }));
        }
    }

    #[test]
    fn an_operator_has_the_last_word_and_a_detector_never_asks_for_less() {
        use BlockedBy::{Detector, Operator};
        use Demand::{Confirm, SignIn, SlowDown, StayAway};
        for (old, new, gives_way) in [
            ((Operator, StayAway, 1), (Detector, StayAway, 9), false),
            ((Operator, StayAway, 9), (Operator, StayAway, 1), true),
            ((Detector, StayAway, 9), (Operator, StayAway, 1), true),
            ((Detector, StayAway, 1), (Detector, StayAway, 9), true),
            ((Detector, StayAway, 9), (Detector, StayAway, 1), false),
            ((Detector, StayAway, 1), (Detector, SignIn, 9), false),
            ((Detector, SignIn, 9), (Detector, StayAway, 1), true),
            ((Detector, SlowDown, 9), (Detector, SignIn, 1), true),
            ((Detector, SlowDown, 9), (Detector, Confirm, 1), true),
            ((Detector, Confirm, 9), (Detector, SignIn, 1), true),
            ((Detector, SignIn, 1), (Detector, Confirm, 9), false),
            ((Detector, StayAway, 1), (Detector, SlowDown, 9), false),
            // The first block has ended.
            ((Operator, StayAway, 0), (Detector, StayAway, 1), true),
        ] {
            let of = |(by, demand, minutes)| block(by, demand, minutes);
            assert_eq!(of(old).gives_way_to(&of(new)), gives_way, "{old:?} {new:?}");
        }
    }
}
