//! Reads the limits that keep allowed requests from a route's service: rate limits and maintenance.

use std::ops::RangeInclusive;
use std::time::Duration;

use ipnet::IpNet;

use super::raw::{RawTable, Wrong, duration_text};
use super::units::{DAY, mins, secs};
use super::values;

/// A `[[route.rate_limit]]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// The subject whose requests are counted.
    pub by: LimitedBy,
    /// The number of requests that are allowed...
    pub requests: u32,
    /// ...in this time.
    pub per: Duration,
    /// The most requests that may come at once.
    pub burst: u32,
}

/// `route.rate_limit.by`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitedBy {
    /// The client's address; for IPv6 its /64.
    Address,
    /// The signed-in user, on all devices together.
    User,
    /// One session.
    Session,
}

/// `[route.maintenance]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MaintenanceSettings {
    /// Whether the route is down.
    pub on: bool,
    /// After how long clients may try again.
    pub retry_after: Duration,
    /// Clients that are let through nevertheless.
    pub allow: Vec<IpNet>,
}

const PER: RangeInclusive<Duration> = secs(1)..=DAY;
const MANY: RangeInclusive<u32> = 1..=1_000_000;

impl Default for MaintenanceSettings {
    fn default() -> Self {
        Self { on: false, retry_after: mins(5), allow: Vec::new() }
    }
}

impl LimitedBy {
    /// Returns the name as in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::User => "user",
            Self::Session => "session",
        }
    }
}

impl RateLimit {
    /// Returns the limit's name in header fields: `address-1m`.
    pub fn name(&self) -> String {
        format!("{}-{}", self.by.name(), duration_text(self.per))
    }
}

const BY: [(&str, LimitedBy); 3] =
    [("address", LimitedBy::Address), ("user", LimitedBy::User), ("session", LimitedBy::Session)];

/// Reads each `[[route.rate_limit]]`.
pub(super) fn rate_limits(table: &RawTable<'_>) -> Vec<RateLimit> {
    let mut all: Vec<RateLimit> = Vec::new();
    table.tables("rate_limit", |table| {
        table.require("by", "who is counted: by = \"address\", \"user\" or \"session\"");
        table.require("requests", "how many requests, like requests = 100");
        let by = table.choice("by", &BY);
        let requests = table.number("requests", MANY);
        let per = table.duration("per", PER).unwrap_or(mins(1));
        let burst = table.number("burst", MANY).or(requests);
        let (Some(by), Some(requests), Some(burst)) = (by, requests, burst) else { return };
        let limit = RateLimit { by, requests, per, burst };
        if all.iter().any(|other| other.name() == limit.name()) {
            let wrong = Wrong::new(format!("there is a limit of {} already", limit.name()));
            table.error("by", wrong.help("give one of them another time (per)"));
        }
        all.push(limit);
    });
    all
}

/// Reads `[route.maintenance]`.
pub(super) fn maintenance(table: &RawTable<'_>) -> MaintenanceSettings {
    let default = MaintenanceSettings::default();
    MaintenanceSettings {
        on: table.flag("on").unwrap_or(default.on),
        retry_after: table.duration("retry_after", PER).unwrap_or(default.retry_after),
        allow: table.values("allow", values::network).unwrap_or_default(),
    }
}
