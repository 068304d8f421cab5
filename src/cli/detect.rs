//! `doorwarden detect`: reports what detectors would find.

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::{Value, json};

use super::config_file::ConfigFile;
use super::list::{self, Format, ListColumn};
use crate::app;
use crate::command::{CommandFailure, load, say};
use crate::detect::replay::Replayed;

/// `doorwarden detect`
#[derive(Debug, Subcommand)]
pub(super) enum DetectCommand {
    /// Run a configuration's detectors on a recorded audit trail, and show what they would have found and done.
    ///
    /// Nothing is done, and no gateway needs to run. The trail contains addresses and agents for as long as they are stored.
    Replay {
        /// The trail: `log.audit_file`, or the log itself if that is JSON.
        #[arg(value_name = "AUDIT_LOG")]
        trail: PathBuf,
        #[command(flatten)]
        file: ConfigFile,
        #[command(flatten)]
        format: Format,
    },
}

const COLUMNS: [ListColumn; 5] = [
    ("DETECTOR", "detector"),
    ("FINDINGS", "findings"),
    ("USERS", "users"),
    ("DOUBTFUL", "doubtful"),
    ("ACTIONS", "actions"),
];

/// Runs a detect command.
pub(super) fn run(command: DetectCommand) -> Result<(), CommandFailure> {
    let DetectCommand::Replay { trail, file, format } = command;
    let config = load(&file.path()?)?;
    let replayed = app::replay::replay(&config, &trail).map_err(CommandFailure::Failed)?;
    if format.json {
        return say(format_args!("{:#}", described(&replayed)));
    }
    let Replayed { events, unread, span, .. } = &replayed;
    match span {
        Some((first, last)) => say(format_args!("{events} events from {first} to {last}"))?,
        None => say(format_args!("the trail has no events"))?,
    }
    if *unread > 0 {
        say(format_args!("{unread} lines are not lines of an audit trail"))?;
    }
    let rows = replayed.detectors.iter().map(|(name, tally)| {
        let of = |(action, times): (&&str, &u64)| json!(format!("{action} {times}"));
        let actions: Vec<Value> = tally.actions.iter().map(of).collect();
        json!({
            "detector": name.name(),
            "findings": tally.findings,
            "users": tally.users.len(),
            "doubtful": tally.doubtful,
            "actions": actions,
        })
    });
    list::show(format, &COLUMNS, &json!({ "detectors": rows.collect::<Vec<_>>() }))
}

fn described(replayed: &Replayed) -> Value {
    let detectors = replayed.detectors.iter().map(|(name, tally)| {
        json!({
            "detector": name.name(),
            "findings": tally.findings,
            "users": tally.users,
            "doubtful": tally.doubtful,
            "actions": tally.actions,
        })
    });
    json!({
        "events": replayed.events,
        "unread": replayed.unread,
        "first": replayed.span.map(|(first, _)| first.to_string()),
        "last": replayed.span.map(|(_, last)| last.to_string()),
        "detectors": detectors.collect::<Vec<_>>(),
    })
}
