//! `doorwarden maintenance`: takes routes of the running gateway down, and up again.

use clap::Subcommand;
use serde_json::{Value, json};

use super::config_file::ConfigFile;
use super::list::{self, Format, ListColumn};
use super::operate;
use crate::command::{CommandFailure, load, say};

/// `doorwarden maintenance`
#[derive(Debug, Subcommand)]
pub(super) enum MaintenanceCommand {
    /// List the routes, and which of them are down.
    List {
        #[command(flatten)]
        file: ConfigFile,
        #[command(flatten)]
        format: Format,
    },
    /// Take a route down: its requests get 503. This lasts until `off`, `reset` or a restart of the gateway.
    On(WhichRoutes),
    /// Take a route up, whatever its configuration says.
    Off(WhichRoutes),
    /// Undo `on` and `off` for a route: its configuration decides again.
    Reset(WhichRoutes),
}

/// Which routes.
#[derive(Debug, clap::Args)]
pub(super) struct WhichRoutes {
    /// The route's name.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    route: Option<String>,
    /// All routes.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    file: ConfigFile,
}

const COLUMNS: [ListColumn; 4] = [
    ("ROUTE", "route"),
    ("DOWN", "maintenance"),
    ("CONFIGURED", "configured"),
    ("OPERATOR", "operator"),
];

/// Runs a maintenance command.
pub(super) fn run(command: MaintenanceCommand) -> Result<(), CommandFailure> {
    match command {
        MaintenanceCommand::List { file, format } => {
            let config = load(&file.path()?)?;
            list::show(format, &COLUMNS, &ask(operate::ask(&config, "GET /maintenance", "")?)?)
        }
        MaintenanceCommand::On(which) => change(&which, "on", "down for maintenance"),
        MaintenanceCommand::Off(which) => change(&which, "off", "up"),
        MaintenanceCommand::Reset(which) => change(&which, "as-configured", "as configured"),
    }
}

fn change(which: &WhichRoutes, word: &str, now: &str) -> Result<(), CommandFailure> {
    let config = load(&which.file.path()?)?;
    let body = match &which.route {
        None => json!({"maintenance": word}),
        Some(name) if config.routes.iter().any(|route| route.name == *name) => {
            json!({"route": name, "maintenance": word})
        }
        Some(name) => {
            let names: Vec<&str> = config.routes.iter().map(|one| one.name.as_str()).collect();
            let text = format!("there is no route {name:?}; there are: {}", names.join(", "));
            return Err(CommandFailure::Failed(text));
        }
    };
    let changed = ask(operate::ask(&config, "POST /maintenance", &body.to_string())?)?;
    let none = changed.get("changed").and_then(Value::as_array).is_none_or(Vec::is_empty);
    let was = if none { " already" } else { "" };
    match &which.route {
        Some(name) => say(format_args!("{name} is{was} {now}")),
        None => say(format_args!("all routes are{was} {now}")),
    }
}

fn ask(answer: Option<Value>) -> Result<Value, CommandFailure> {
    answer.ok_or_else(|| {
        CommandFailure::Unavailable("no gateway answers at its admin address".to_owned())
    })
}
