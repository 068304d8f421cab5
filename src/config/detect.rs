//! `[detect]`: one table for each detector.

use std::time::Duration;

use super::Geo;
use super::raw::{Table, Wrong};
use super::units::{DAY, hours, mins, secs};

/// `[detect]`: one table for each detector.
#[derive(Clone, Debug, PartialEq)]
pub struct Detect {
    /// `[detect.refresh_reuse]`
    pub refresh_reuse: Detector,
    /// `[detect.refresh_burst]`
    pub refresh_burst: Detector,
    /// `[detect.password_guessing]`
    pub password_guessing: Detector,
    /// `[detect.password_spraying]`
    pub password_spraying: Detector,
    /// `[detect.token_countries]`
    pub token_countries: Detector,
    /// Events that may wait for the detectors; more are dropped and counted.
    pub queue: usize,
}

/// The settings of one detector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detector {
    /// How much within the window is a finding.
    pub threshold: u32,
    /// The window.
    pub window: Duration,
    /// What is done about a finding.
    pub action: Action,
    /// Only tell; do nothing.
    pub dry_run: bool,
}

/// `detect.NAME.action`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Action {
    /// Audit line and metric only.
    #[default]
    Observe,
    /// End the session that the finding is about, where it is about one.
    EndSession,
}

impl Default for Detect {
    fn default() -> Self {
        let observe = |threshold, window| Detector {
            threshold,
            window,
            action: Action::Observe,
            dry_run: false,
        };
        Self {
            // The refresh endpoint has ended the session already; nothing is lost by saying so here.
            refresh_reuse: Detector { action: Action::EndSession, ..observe(1, mins(1)) },
            refresh_burst: observe(10, mins(1)),
            password_guessing: observe(10, mins(10)),
            password_spraying: observe(10, mins(10)),
            token_countries: observe(2, hours(1)),
            queue: 4096,
        }
    }
}

const ACTIONS: [(&str, Action); 2] =
    [("observe", Action::Observe), ("end_session", Action::EndSession)];

pub(super) fn detect(table: &Table<'_>, geo: &Geo) -> Detect {
    let default = Detect::default();
    let sign_ins = |key, default: Detector| {
        table.table(key, |table| {
            let detector = detector(table, 1, default);
            if detector.action == Action::EndSession {
                table.warn(
                    "action",
                    Wrong::new("a failed sign-in has no session to end, so this only observes"),
                );
            }
            detector
        })
    };
    Detect {
        refresh_reuse: table
            .table("refresh_reuse", |table| detector(table, 1, default.refresh_reuse)),
        refresh_burst: table
            .table("refresh_burst", |table| detector(table, 1, default.refresh_burst)),
        password_guessing: sign_ins("password_guessing", default.password_guessing),
        password_spraying: sign_ins("password_spraying", default.password_spraying),
        token_countries: table.table("token_countries", |table| {
            // Every session is used from one country.
            let detector = detector(table, 2, default.token_countries);
            if detector.action == Action::EndSession && geo.country_database.is_none() {
                table.warn(
                    "action",
                    Wrong::new("without geo.country_database no address has a country"),
                );
            }
            detector
        }),
        queue: table.number("queue", 1..=1_000_000).unwrap_or(default.queue),
    }
}

fn detector(table: &Table<'_>, lowest: u32, default: Detector) -> Detector {
    Detector {
        threshold: table.number("threshold", lowest..=1_000_000).unwrap_or(default.threshold),
        window: table.duration("window", secs(1)..=30 * DAY).unwrap_or(default.window),
        action: table.choice("action", &ACTIONS).unwrap_or(default.action),
        dry_run: table.flag("dry_run").unwrap_or(default.dry_run),
    }
}
