//! `[detect]`: one table for each detector.

use super::{DAY, secs};
use crate::config::raw::{Table, Wrong};
use crate::config::{Action, Detect, Detector, Geo};

const ACTIONS: [(&str, Action); 2] =
    [("observe", Action::Observe), ("end_session", Action::EndSession)];

pub(super) fn detect(table: &Table<'_>, geo: &Geo) -> Detect {
    let default = Detect::default();
    let read =
        |key, lowest, default: Detector| table.table(key, |table| detector(table, lowest, default));
    let detect = Detect {
        refresh_reuse: read("refresh_reuse", 1, default.refresh_reuse),
        refresh_burst: read("refresh_burst", 1, default.refresh_burst),
        password_guessing: read("password_guessing", 1, default.password_guessing),
        password_spraying: read("password_spraying", 1, default.password_spraying),
        // Every session is used from one country.
        token_countries: read("token_countries", 2, default.token_countries),
        queue: table.number("queue", 1..=1_000_000).unwrap_or(default.queue),
    };
    for (key, detector) in [
        ("password_guessing", &detect.password_guessing),
        ("password_spraying", &detect.password_spraying),
    ] {
        if detector.action == Action::EndSession {
            table.warn(
                key,
                Wrong::new("a failed sign-in has no session to end, so this only observes")
                    .help("write action = \"observe\""),
            );
        }
    }
    if detect.token_countries.action == Action::EndSession && geo.country_database.is_none() {
        table.warn(
            "token_countries",
            Wrong::new("without geo.country_database no address has a country"),
        );
    }
    detect
}

fn detector(table: &Table<'_>, lowest: u32, default: Detector) -> Detector {
    Detector {
        threshold: table.number("threshold", lowest..=1_000_000).unwrap_or(default.threshold),
        window: table.duration("window", secs(1)..=30 * DAY).unwrap_or(default.window),
        action: table.choice("action", &ACTIONS).unwrap_or(default.action),
        dry_run: table.flag("dry_run").unwrap_or(default.dry_run),
    }
}
