//! Reads `[login]`: the sign-in page, what a sign-in returns, and how guessing is slowed down.

use std::time::Duration;

use super::raw::{RawTable, Wrong};
use super::units::{DAY, hours, mins, secs};
use super::values;

/// `[login]`
#[derive(Clone, Debug, PartialEq)]
pub struct Login {
    /// What a JSON sign-in returns.
    pub token_delivery: Issues,
    /// The title of the page.
    pub title: String,
    /// The operator's own links on the page: label and address.
    pub links: Vec<(String, String)>,
    /// Threads that hash passwords; 0 means half the cores, at least one.
    pub hash_threads: usize,
    /// Sign-ins that may wait for such a thread; beyond it 503.
    pub hash_queue: usize,
    /// Failures for one account from one network before further attempts have to wait.
    pub account_failures: u32,
    /// Failures from one address (/32, /64) before further attempts have to wait.
    pub address_failures: u32,
    /// Failures from one network (/24, /48) before further attempts have to wait.
    pub network_failures: u32,
    /// Guesses at one account in a day, from anywhere, by clients without a device cookie of it.
    pub guesses_per_day: u32,
    /// The first wait; it doubles with each further failure.
    pub backoff_initial: Duration,
    /// The longest wait.
    pub backoff_max: Duration,
    /// How long without another failure until failures are forgotten.
    pub reset_after: Duration,
}

/// `login.token_delivery`: what a JSON sign-in returns. A form from the page gets the cookie only.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Issues {
    /// Tokens in the body and the session cookie.
    #[default]
    Both,
    /// Tokens only.
    Tokens,
    /// The cookie only.
    Cookie,
}

impl Default for Login {
    /// The limits do not affect a person who mistypes a few times, or an office or mobile network whose users share an address.
    /// A guesser gets 5 tries at full speed, then 1 s, 2 s, 4 s ... up to 15 minutes apart: about 100 a day for one account
    /// from one network, and at most 100 a day from everywhere (`guesses_per_day`), except with a device cookie. A pair of
    /// account and network, an address or a network has to wait, never an account as such, so nobody can lock a user out from
    /// elsewhere.
    fn default() -> Self {
        Self {
            token_delivery: Issues::Both,
            title: "Doorwarden".into(),
            links: Vec::new(),
            hash_threads: 0,
            hash_queue: 64,
            account_failures: 5,
            address_failures: 20,
            network_failures: 100,
            guesses_per_day: 100,
            backoff_initial: secs(1),
            backoff_max: mins(15),
            reset_after: hours(1),
        }
    }
}

const ISSUES: [(&str, Issues); 3] =
    [("both", Issues::Both), ("tokens", Issues::Tokens), ("cookie", Issues::Cookie)];

pub(super) fn login(table: &RawTable<'_>) -> Login {
    let default = Login::default();
    let waits = secs(1)..=DAY;
    let backoff_initial =
        table.duration("backoff_initial", waits.clone()).unwrap_or(default.backoff_initial);
    let backoff_max = table.duration("backoff_max", waits).unwrap_or(default.backoff_max);
    let reset_after =
        table.duration("reset_after", secs(1)..=30 * DAY).unwrap_or(default.reset_after);
    table.ordered(("backoff_initial", backoff_initial), ("backoff_max", backoff_max));
    // Otherwise a guesser would start afresh before the longest wait is over.
    table.ordered(("backoff_max", backoff_max), ("reset_after", reset_after));
    let failures = 1..=1_000_000;
    Login {
        token_delivery: table.choice("token_delivery", &ISSUES).unwrap_or(default.token_delivery),
        title: table.text("title", values::filled).unwrap_or(default.title),
        links: table.tables("links", link).into_iter().flatten().collect(),
        hash_threads: table.number("hash_threads", 0..=256).unwrap_or(default.hash_threads),
        hash_queue: table.number("hash_queue", 1..=100_000).unwrap_or(default.hash_queue),
        account_failures: table
            .number("account_failures", failures.clone())
            .unwrap_or(default.account_failures),
        address_failures: table
            .number("address_failures", failures.clone())
            .unwrap_or(default.address_failures),
        network_failures: table
            .number("network_failures", failures)
            .unwrap_or(default.network_failures),
        guesses_per_day: table
            .number("guesses_per_day", 2..=1_000_000)
            .unwrap_or(default.guesses_per_day),
        backoff_initial,
        backoff_max,
        reset_after,
    }
}

fn link(table: &RawTable<'_>) -> Option<(String, String)> {
    table.require("label", "the text of the link");
    table.require("href", "the address that the link leads to");
    let label = table.text("label", values::filled);
    let href = table.text("href", href);
    Some((label?, href?))
}

/// Parses a link to a page of this host or of another; never a script.
fn href(text: &str) -> Result<String, Wrong> {
    let is_local = text.starts_with('/') && !text.starts_with("//") && !text.starts_with("/\\");
    let is_remote = text.starts_with("https://") || text.starts_with("http://");
    let is_clean = text.bytes().all(|byte| byte.is_ascii_graphic());
    if (is_local || is_remote) && is_clean {
        Ok(text.to_owned())
    } else {
        Err(Wrong::new(format!("{text:?} is no link")).help(
            "allowed: a path that begins with /, or an address that begins with https:// or http://",
        ))
    }
}
