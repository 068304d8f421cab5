//! `doorwarden user`: manages the users of a file directory.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use super::config_file::ConfigFile;
use super::list::{self, Format, ListColumn};
use super::second_factors;
use crate::command::{CommandFailure, load, password_from_stdin, say};
use crate::config::DirectorySettings;
use crate::directory::password;
use crate::directory::users_file::UsersFile as Users;

/// `doorwarden user`
#[derive(Debug, Subcommand)]
pub(super) enum UserCommand {
    /// Add a user.
    Add {
        /// The name that the user signs in with.
        name: String,
        #[command(flatten)]
        file: UsersFileArgument,
        /// Read the password from standard input. (There is no other way: everybody on the machine could see an argument.)
        #[arg(long, required = true)]
        password_stdin: bool,
        /// A group of the user; may be repeated.
        #[arg(long = "group", value_name = "GROUP")]
        groups: Vec<String>,
    },
    /// List the users.
    List {
        #[command(flatten)]
        file: UsersFileArgument,
        #[command(flatten)]
        format: Format,
    },
    /// Prevent a user from signing in, and end their sessions.
    Disable {
        /// The user's name.
        name: String,
        #[command(flatten)]
        file: UsersFileArgument,
    },
    /// Let a disabled user sign in again.
    Enable {
        /// The user's name.
        name: String,
        #[command(flatten)]
        file: UsersFileArgument,
    },
    /// List and remove a user's second factors.
    #[command(subcommand)]
    SecondFactor(second_factors::SecondFactorCommand),
    /// Give a user a new password, and end their sessions.
    Passwd {
        /// The user's name.
        name: String,
        #[command(flatten)]
        file: UsersFileArgument,
        /// Read the password from standard input.
        #[arg(long, required = true)]
        password_stdin: bool,
    },
}

/// The users' file of a command.
#[derive(Debug, Args)]
pub(super) struct UsersFileArgument {
    /// The users' file [default: that of the configuration's directory of kind = "file"].
    #[arg(long, conflicts_with = "config")]
    file: Option<PathBuf>,
    #[command(flatten)]
    config: ConfigFile,
}

impl UsersFileArgument {
    /// Returns the path that is given, or the one that the configuration names.
    fn path(&self) -> Result<PathBuf, CommandFailure> {
        if let Some(file) = &self.file {
            return Ok(file.clone());
        }
        let config = load(&self.config.path()?)?;
        let paths = config.directories.iter().filter_map(DirectorySettings::users_file);
        match paths.collect::<Vec<_>>()[..] {
            [path] => Ok(path.to_owned()),
            [] => Err(CommandFailure::Usage(
                "doorwarden: the configuration has no [[directory]] of kind = \"file\"; name a users' file with --file"
                    .into(),
            )),
            _ => Err(CommandFailure::Usage(
                "doorwarden: the configuration has several [[directory]] of kind = \"file\"; name the file with --file"
                    .into(),
            )),
        }
    }
}

const COLUMNS: [ListColumn; 4] =
    [("NAME", "name"), ("ID", "id"), ("STATE", "state"), ("GROUPS", "groups")];

/// Runs a user command.
pub(super) fn run(command: UserCommand) -> Result<(), CommandFailure> {
    match command {
        UserCommand::Add { name, file, password_stdin: _, groups } => {
            let hashed = hashed_password()?;
            Users::change(&file.path()?, |users| users.with_user(&name, &hashed, &groups))
                .map_err(failed)?;
            say(format_args!("added {name}"))?;
        }
        UserCommand::List { file, format } => {
            let users = Users::read(&file.path()?).map_err(failed)?.list();
            let users = users.iter().map(|user| {
                let state = if user.disabled { "disabled" } else { "active" };
                json!({"name": user.name, "id": user.id, "state": state, "groups": user.groups})
            });
            list::show(format, &COLUMNS, &json!({"users": users.collect::<Vec<_>>()}))?;
        }
        UserCommand::Disable { name, file } => {
            Users::change(&file.path()?, |users| users.with_disabled(&name, true))
                .map_err(failed)?;
            say(format_args!("disabled {name}; their sessions end at the gateway's next check"))?;
        }
        UserCommand::Enable { name, file } => {
            Users::change(&file.path()?, |users| users.with_disabled(&name, false))
                .map_err(failed)?;
            say(format_args!("enabled {name}"))?;
        }
        UserCommand::SecondFactor(command) => second_factors::run(command)?,
        UserCommand::Passwd { name, file, password_stdin: _ } => {
            let hashed = hashed_password()?;
            Users::change(&file.path()?, |users| users.with_password(&name, &hashed))
                .map_err(failed)?;
            say(format_args!(
                "changed the password of {name}; their sessions end at the gateway's next check"
            ))?;
        }
    }
    Ok(())
}

fn hashed_password() -> Result<String, CommandFailure> {
    password::hash(&password_from_stdin()?).map_err(failed)
}

fn failed(error: impl std::fmt::Display) -> CommandFailure {
    CommandFailure::Failed(error.to_string())
}
