//! `doorwarden user second-factor`: manages second factors, and lets a user who has lost theirs set up another.

use clap::Subcommand;
use serde_json::{Value, json};

use super::config_file::ConfigFile;
use super::list::{self, Format, ListColumn};
use super::operate::{ask, user_key};
use crate::app;
use crate::command::{CommandFailure, load, say};

/// `doorwarden user second-factor`
#[derive(Debug, Subcommand)]
pub(super) enum SecondFactorCommand {
    /// List a user's second factors.
    List {
        /// The user: their name, or `DIRECTORY/ID`.
        user: String,
        #[command(flatten)]
        file: ConfigFile,
        #[command(flatten)]
        format: Format,
    },
    /// Remove a user's second factors and recovery codes, and end their sessions; they set up a new one at their next sign-in,
    /// with the code that is shown.
    Reset {
        /// The user: their name, or `DIRECTORY/ID`.
        user: String,
        #[command(flatten)]
        file: ConfigFile,
    },
    /// Make a code with which a user sets up their first second factor in an unknown browser. It works once, for a day.
    Invite {
        /// The user: their name, or `DIRECTORY/ID`.
        user: String,
        #[command(flatten)]
        file: ConfigFile,
    },
}

const COLUMNS: [ListColumn; 5] = [
    ("ID", "id"),
    ("KIND", "kind"),
    ("NAME", "name"),
    ("SET UP", "created_at"),
    ("LAST USED", "last_used"),
];

/// Runs a second-factor command.
pub(super) fn run(command: SecondFactorCommand) -> Result<(), CommandFailure> {
    match command {
        SecondFactorCommand::List { user, file, format } => {
            let config = load(&file.path()?)?;
            let user = user_key(&config, &user)?;
            let query =
                form_urlencoded::Serializer::new(String::new()).append_pair("user", &user).finish();
            let listed = match ask(&config, &format!("GET /second-factors?{query}"), "")? {
                Some(listed) => listed,
                None => {
                    app::offline::list_factors(&config, &user).map_err(CommandFailure::Failed)?
                }
            };
            list::show(format, &COLUMNS, &listed)?;
            if !format.json {
                let left = listed.get("recovery_codes_left").and_then(Value::as_u64);
                say(format_args!("recovery codes left: {}", left.unwrap_or_default()))?;
            }
        }
        SecondFactorCommand::Reset { user, file } => {
            let config = load(&file.path()?)?;
            let user = user_key(&config, &user)?;
            let body = json!({"user": user}).to_string();
            let made = match ask(&config, "POST /second-factors/reset", &body)? {
                Some(made) => made,
                None => {
                    app::offline::reset_factors(&config, &user).map_err(CommandFailure::Failed)?
                }
            };
            say(format_args!("removed the second factors of {user}, and ended their sessions"))?;
            tell_invitation(&made)?;
        }
        SecondFactorCommand::Invite { user, file } => {
            let config = load(&file.path()?)?;
            let user = user_key(&config, &user)?;
            let body = json!({"user": user}).to_string();
            let made = match ask(&config, "POST /second-factors/invite", &body)? {
                Some(made) => made,
                None => app::offline::invite(&config, &user).map_err(CommandFailure::Failed)?,
            };
            tell_invitation(&made)?;
        }
    }
    Ok(())
}

fn tell_invitation(made: &Value) -> Result<(), CommandFailure> {
    let code = made.get("invitation").and_then(Value::as_str).unwrap_or("-");
    say(format_args!("the code to set up a new one, valid once within 24 hours: {code}"))
}
