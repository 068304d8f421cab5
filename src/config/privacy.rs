//! Reads `[privacy]`: how long addresses and clients are stored.

use std::time::Duration;

use super::raw::{RawTable, Wrong, duration_text};
use super::units::{days, secs};
use super::{Binding, Notify, SessionSettings, Tokens};

/// `[privacy]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Privacy {
    /// The age at which addresses and `User-Agent`s in the store are deleted.
    pub retention: Duration,
}

impl Default for Privacy {
    fn default() -> Self {
        Self { retention: days(30) }
    }
}

pub(super) fn privacy(
    table: &RawTable<'_>,
    tokens: &Tokens,
    session: &SessionSettings,
    notify: &Notify,
) -> Privacy {
    let retention = table.duration("retention", secs(1)..=days(3660));
    let retention = retention.unwrap_or(Privacy::default().retention);
    let shorter_than = |key: &str, other: Duration| {
        let other = duration_text(other);
        Wrong::new(format!("{} is shorter than {key} ({other})", duration_text(retention)))
    };
    if notify.mail.as_ref().is_some_and(|mail| mail.link_lifetime > retention) {
        let lifetime = notify.mail.as_ref().map_or(retention, |mail| mail.link_lifetime);
        table.error("retention", shorter_than("notify.mail.link_lifetime", lifetime));
    }
    if notify.give_up_after > retention && notify.is_any() {
        table.error("retention", shorter_than("notify.give_up_after", notify.give_up_after));
    }
    if tokens.bind != Binding::None && session.absolute_timeout > retention {
        let wrong = shorter_than("session.absolute_timeout", session.absolute_timeout);
        let help = "a session that outlives it has no address to be bound to (tokens.bind_unknown)";
        table.warn("retention", wrong.help(help));
    }
    Privacy { retention }
}
