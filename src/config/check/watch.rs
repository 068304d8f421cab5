//! `[detect]`: one table for each detector.

use super::{DAY, secs};
use crate::config::raw::{Table, Wrong};
use crate::config::{Action, Detect, Detector, Geo};

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
