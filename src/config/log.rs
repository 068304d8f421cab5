//! Reads `[log]`: what is logged, and how.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::StoreSettings;
use super::raw::RawTable;
use super::units::{days, hours, mins};

/// `[log]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// JSON lines, or readable text.
    pub format: LogFormat,
    /// The least severe level that is logged (`error`, `warn`, `info`, `debug`).
    pub level: String,
    /// Whether each request is logged.
    pub access: bool,
    /// The file of the audit trail (appended, 0600); none: the trail is part of the log.
    pub audit_file: Option<PathBuf>,
    /// The key of the codes that authenticate the trail's lines.
    pub audit_key_file: PathBuf,
    /// The size in bytes at which a segment of the trail is closed.
    pub audit_rotate_size: u64,
    /// The age at which a segment of the trail is closed.
    pub audit_rotate_after: Duration,
    /// The age of all of its lines at which a segment is deleted.
    pub audit_retention: Duration,
}

/// `log.format`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum LogFormat {
    /// One JSON object on each line.
    Json,
    /// Readable text, for people.
    #[default]
    Text,
}

impl Default for Log {
    fn default() -> Self {
        Self {
            format: LogFormat::Text,
            level: "info".into(),
            access: true,
            audit_file: None,
            audit_key_file: StoreSettings::default().path.with_file_name(AUDIT_KEY),
            audit_rotate_size: 64 << 20,
            audit_rotate_after: days(1),
            audit_retention: days(365),
        }
    }
}

/// The name of the key's file beside the store.
const AUDIT_KEY: &str = "audit-key";

const FORMATS: [(&str, LogFormat); 2] = [("text", LogFormat::Text), ("json", LogFormat::Json)];

const LEVELS: [(&str, &str); 4] =
    [("error", "error"), ("warn", "warn"), ("info", "info"), ("debug", "debug")];

pub(super) fn log(table: &RawTable<'_>, store: &Path) -> Log {
    let default = Log::default();
    Log {
        format: table.choice("format", &FORMATS).unwrap_or(default.format),
        level: table.choice("level", &LEVELS).map_or(default.level, str::to_owned),
        access: table.flag("access").unwrap_or(default.access),
        audit_file: table.path("audit_file"),
        audit_key_file: table
            .path("audit_key_file")
            .unwrap_or_else(|| store.with_file_name(AUDIT_KEY)),
        audit_rotate_size: table
            .size("audit_rotate_size", 64 << 10..=16 << 30)
            .map_or(default.audit_rotate_size, |bytes| bytes as u64),
        audit_rotate_after: table
            .duration("audit_rotate_after", mins(1)..=days(366))
            .unwrap_or(default.audit_rotate_after),
        audit_retention: table
            .duration("audit_retention", hours(1)..=days(36_600))
            .unwrap_or(default.audit_retention),
    }
}
