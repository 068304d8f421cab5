//! `doorwarden audit verify`: checks whether the audit trail has been changed.

use std::path::PathBuf;

use clap::Subcommand;

use super::config_file::ConfigFile;
use crate::command::{CommandFailure, load, say};
use crate::telemetry;

/// `doorwarden audit`
#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    /// Verify the codes of the audit trail. Exits with 1 and names the first line that was changed, removed, inserted,
    /// truncated or reordered.
    Verify {
        /// Segments elsewhere, or single ones; without any, the whole trail of log.audit_file.
        files: Vec<PathBuf>,
        #[command(flatten)]
        file: ConfigFile,
    },
}

/// Runs an audit command.
pub(super) fn run(command: AuditCommand) -> Result<(), CommandFailure> {
    match command {
        AuditCommand::Verify { files, file } => {
            let config = load(&file.path()?)?;
            let Some(trail) = &config.log.audit_file else {
                let what = "the configuration has no log.audit_file, so the trail is part of the log, without MACs";
                return Err(CommandFailure::Failed(what.into()));
            };
            let seen = telemetry::examine(trail, &config.log.audit_key_file, &files)
                .map_err(|alarm| CommandFailure::Failed(alarm.to_string()))?;
            for torn in &seen.torn {
                say(format_args!("{torn}: an incomplete line, left by a crash"))?;
            }
            if seen.dropped > 0 {
                let (dropped, lines) = (seen.dropped, seen.dropped_lines);
                say(format_args!(
                    "{dropped} segments were dropped after log.audit_retention, with {lines} lines"
                ))?;
            }
            let (lines, segments) = (seen.lines, seen.segments);
            match seen.last {
                Some((seq, mac)) => say(format_args!(
                    "OK: {lines} lines in {segments} files; the last is {seq} {mac}"
                )),
                None => say(format_args!("OK: {lines} lines in {segments} files")),
            }
        }
    }
}
