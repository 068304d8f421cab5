//! Defines the command line.
//!
//! Exit codes: 0 for success, 64 for a wrong configuration or command line (EX_USAGE of sysexits), 1 for everything else that
//! failed, each with a clear line on standard error. `explain` exits with 1 if the request or token would be refused, and with
//! 69 (EX_UNAVAILABLE) if no gateway could be asked.
#![expect(clippy::print_stderr, reason = "errors of a command go to standard error")]

mod audit;
mod blocks;
mod check;
mod config_file;
mod detect;
mod explain;
mod health;
mod list;
mod maintenance;
mod operate;
mod reload;
mod second_factors;
mod tokens;
mod upstreams;
mod users;

use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use self::config_file::ConfigFile;
use crate::app;
use crate::command::{CommandFailure, load, password_from_stdin, say};
use crate::directory::password;
use crate::doctor;

/// A reverse-proxy authentication gateway.
#[derive(Debug, Parser)]
#[command(name = "doorwarden", version, about, args_conflicts_with_subcommands = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    file: ConfigFile,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway (the default).
    Run(ConfigFile),
    /// Check a configuration and the files that it names; reports all problems at once.
    Check(check::CheckArguments),
    /// Write a commented minimal configuration.
    Init {
        /// The file to write; an existing file is left alone.
        #[arg(long, value_name = "FILE", default_value = "gateway.toml")]
        config: std::path::PathBuf,
    },
    /// Manage the users of a file directory.
    #[command(subcommand)]
    User(users::UserCommand),
    /// Hash a password from standard input, for a users' file.
    HashPassword,
    /// Manage the keys that sign access tokens.
    #[command(subcommand)]
    Key(operate::KeyCommand),
    /// List sessions and end them, in the running gateway or, where none runs, in its store.
    #[command(subcommand)]
    Session(operate::SessionCommand),
    /// Make, list and revoke personal access tokens.
    #[command(subcommand)]
    Token(tokens::TokenCommand),
    /// Block an address, a user or a session for a time, lift a block, or list the blocks.
    #[command(subcommand)]
    Block(blocks::BlockCommand),
    /// Verify the audit trail.
    #[command(subcommand)]
    Audit(audit::AuditCommand),
    /// Run detectors on a recorded trail.
    #[command(subcommand)]
    Detect(detect::DetectCommand),
    /// List the servers behind the running gateway, and take one out of service.
    #[command(subcommand)]
    Upstream(upstreams::UpstreamCommand),
    /// Take routes of the running gateway down for maintenance, and up again.
    #[command(subcommand)]
    Maintenance(maintenance::MaintenanceCommand),
    /// Copy the store while it is in use.
    #[command(subcommand)]
    Store(operate::StoreCommand),
    /// Examine a service: find out what a gateway in front of it must know, and write a configuration for it.
    Doctor(Box<doctor::DoctorArguments>),
    /// Explain what the running gateway would do with a request or a token, and why; nothing is sent, used or counted.
    ///
    /// Exits with 0 if it would pass, 1 if it would be refused, and 69 if no gateway could be asked.
    Explain(explain::Explain),
    /// Have the running gateway read its configuration again; if that has a mistake, nothing changes.
    Reload(ConfigFile),
    /// Ask a running gateway whether it is ready (for container health checks).
    Health(health::Health),
}

/// Runs the command that the command line names.
pub fn main() -> ExitCode {
    let arguments = match CommandLine::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let wrong = error.use_stderr();
            // If printing to the terminal fails, there is nothing left to do.
            let _ = error.print();
            return ExitCode::from(if wrong { EX_USAGE } else { 0 });
        }
    };
    let done = match arguments.command {
        None => arguments.file.path().and_then(|path| run(&path)),
        Some(Command::Run(file)) => file.path().and_then(|path| run(&path)),
        Some(Command::Check(arguments)) => check::run(&arguments),
        Some(Command::Init { config }) => init(&config),
        Some(Command::User(command)) => users::run(command),
        Some(Command::HashPassword) => hash_password(),
        Some(Command::Key(command)) => operate::keys(command),
        Some(Command::Session(command)) => operate::sessions(command),
        Some(Command::Token(command)) => tokens::run(command),
        Some(Command::Block(command)) => blocks::run(command),
        Some(Command::Audit(command)) => audit::run(command),
        Some(Command::Detect(command)) => detect::run(command),
        Some(Command::Upstream(command)) => upstreams::run(command),
        Some(Command::Maintenance(command)) => maintenance::run(command),
        Some(Command::Store(command)) => operate::store(command),
        Some(Command::Doctor(arguments)) => doctor::run(&arguments),
        Some(Command::Explain(explain)) => explain::run(&explain),
        Some(Command::Reload(file)) => reload::run(&file),
        Some(Command::Health(health)) => health::run(&health),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(CommandFailure::Usage(text)) => {
            eprintln!("{}", text.trim_end());
            ExitCode::from(EX_USAGE)
        }
        Err(CommandFailure::Failed(text)) => {
            eprintln!("doorwarden: {}", text.trim_end());
            ExitCode::FAILURE
        }
        Err(CommandFailure::Refused) => ExitCode::FAILURE,
        Err(CommandFailure::Unavailable(text)) => {
            eprintln!("doorwarden: {}", text.trim_end());
            ExitCode::from(EX_UNAVAILABLE)
        }
    }
}

const EX_USAGE: u8 = 64;
const EX_UNAVAILABLE: u8 = 69;

fn run(path: &Path) -> Result<(), CommandFailure> {
    let config = load(path)?;
    app::run(config, path.to_owned()).map_err(|error| CommandFailure::Failed(error.to_string()))
}

fn init(path: &Path) -> Result<(), CommandFailure> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o644).open(path).map_err(
            |error| {
                CommandFailure::Failed(match error.kind() {
                    std::io::ErrorKind::AlreadyExists => {
                        format!(
                            "{} is there already and was not changed; name another file with --config FILE",
                            path.display()
                        )
                    }
                    _ => format!("cannot write {}: {error}", path.display()),
                })
            },
        )?;
    file.write_all(crate::config::init::MINIMAL.as_bytes()).map_err(|error| {
        CommandFailure::Failed(format!("cannot write {}: {error}", path.display()))
    })?;
    let path = path.display();
    say(format_args!("wrote {path}; read and edit it, then: doorwarden check --config {path}"))?;
    Ok(())
}

fn hash_password() -> Result<(), CommandFailure> {
    let hashed = password::hash(&password_from_stdin()?)
        .map_err(|error| CommandFailure::Failed(error.to_string()))?;
    say(format_args!("{hashed}"))?;
    Ok(())
}
