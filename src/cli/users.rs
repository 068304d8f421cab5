//! `doorwarden user`: the users of a file directory.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Failure, password_from_stdin, say};
use crate::directory::password;
use crate::directory::users_file::UsersFile as Users;

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Add a user.
    Add {
        /// The name they sign in with.
        name: String,
        #[command(flatten)]
        file: UsersFile,
        /// Take the password from standard input. (There is no other way: an argument would be seen by everybody on the
        /// machine.)
        #[arg(long, required = true)]
        password_stdin: bool,
        /// A group they are in; may be repeated.
        #[arg(long = "group", value_name = "GROUP")]
        groups: Vec<String>,
    },
    /// List the users.
    List(UsersFile),
    /// Keep a user from signing in, and end their sessions.
    Disable {
        /// Whom.
        name: String,
        #[command(flatten)]
        file: UsersFile,
    },
    /// Let a disabled user sign in again.
    Enable {
        /// Whom.
        name: String,
        #[command(flatten)]
        file: UsersFile,
    },
    /// Give a user a new password, and end their sessions.
    Passwd {
        /// Whom.
        name: String,
        #[command(flatten)]
        file: UsersFile,
        /// Take the password from standard input.
        #[arg(long, required = true)]
        password_stdin: bool,
    },
}

/// Which users' file.
#[derive(Debug, Args)]
pub(super) struct UsersFile {
    /// The users' file (`directory.path`).
    #[arg(long)]
    file: PathBuf,
}

/// Does it.
pub(super) fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Add { name, file, password_stdin: _, groups } => {
            let hashed = hashed_password()?;
            Users::change(&file.file, |users| users.with_user(&name, &hashed, &groups))
                .map_err(failed)?;
            say(format_args!("added {name}"))?;
        }
        Command::List(file) => {
            for user in Users::read(&file.file).map_err(failed)?.list() {
                let state = if user.disabled { "disabled" } else { "active" };
                say(format_args!("{}\t{state}\t{}", user.name, user.groups.join(",")))?;
            }
        }
        Command::Disable { name, file } => {
            Users::change(&file.file, |users| users.with_disabled(&name, true)).map_err(failed)?;
            say(format_args!("disabled {name}; their sessions end when the gateway looks again"))?;
        }
        Command::Enable { name, file } => {
            Users::change(&file.file, |users| users.with_disabled(&name, false)).map_err(failed)?;
            say(format_args!("enabled {name}"))?;
        }
        Command::Passwd { name, file, password_stdin: _ } => {
            let hashed = hashed_password()?;
            Users::change(&file.file, |users| users.with_password(&name, &hashed))
                .map_err(failed)?;
            say(format_args!(
                "changed the password of {name}; their sessions end when the gateway looks again"
            ))?;
        }
    }
    Ok(())
}

fn hashed_password() -> Result<String, Failure> {
    password::hash(&password_from_stdin()?).map_err(failed)
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::Failed(error.to_string())
}
