//! `[log]`: what is written, and how.

use std::path::PathBuf;

use super::raw::Table;

/// `[log]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// JSON lines, or readable text.
    pub format: LogFormat,
    /// The least severe level that is written (`error`, `warn`, `info`, `debug`).
    pub level: String,
    /// One line for each request?
    pub access: bool,
    /// A file for the audit trail (appended, 0600); none: with the other lines.
    pub audit_file: Option<PathBuf>,
}

/// `log.format`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    #[default]
    Text,
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: "info".into(), access: true, audit_file: None }
    }
}

const FORMATS: [(&str, LogFormat); 2] = [("text", LogFormat::Text), ("json", LogFormat::Json)];

const LEVELS: [(&str, &str); 4] =
    [("error", "error"), ("warn", "warn"), ("info", "info"), ("debug", "debug")];

pub(super) fn log(table: &Table<'_>) -> Log {
    let default = Log::default();
    Log {
        format: table.choice("format", &FORMATS).unwrap_or(default.format),
        level: table.choice("level", &LEVELS).map_or(default.level, str::to_owned),
        access: table.flag("access").unwrap_or(default.access),
        audit_file: table.path("audit_file"),
    }
}
