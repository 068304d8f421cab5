//! `[store]`, `[geo]`, `[log]` and `[reload]`: files that the gateway keeps or reads.

use crate::config::raw::Table;
use crate::config::{Geo, Log, LogFormat, ReloadSettings, StoreKind, StoreSettings};

const STORES: [(&str, StoreKind); 2] =
    [("embedded", StoreKind::Embedded), ("memory", StoreKind::Memory)];
const FORMATS: [(&str, LogFormat); 2] = [("text", LogFormat::Text), ("json", LogFormat::Json)];
const LEVELS: [(&str, &str); 4] =
    [("error", "error"), ("warn", "warn"), ("info", "info"), ("debug", "debug")];

pub(super) fn store(table: &Table<'_>) -> StoreSettings {
    let default = StoreSettings::default();
    StoreSettings {
        kind: table.choice("kind", &STORES).unwrap_or(default.kind),
        path: table.path("path").unwrap_or_else(|| table.below(&default.path)),
    }
}

pub(super) fn geo(table: &Table<'_>) -> Geo {
    Geo { country_database: table.path("country_database") }
}

pub(super) fn log(table: &Table<'_>) -> Log {
    let default = Log::default();
    Log {
        format: table.choice("format", &FORMATS).unwrap_or(default.format),
        level: table.choice("level", &LEVELS).map_or(default.level, str::to_owned),
        access: table.flag("access").unwrap_or(default.access),
        audit_file: table.path("audit_file"),
    }
}

pub(super) fn reload(table: &Table<'_>) -> ReloadSettings {
    ReloadSettings { watch: table.flag("watch").unwrap_or_default() }
}
