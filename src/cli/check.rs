//! `doorwarden check`: reports what is wrong with a configuration, before `run` fails on it.
//!
//! It fails where `run` would not start, with the same message, and gives the same warnings. It has three levels: with
//! `--file-only` it checks the file alone, for machines that have nothing else of it; by default also the files that it names;
//! with `--connect` the databases and services too, which are asked and never changed.

use super::config_file::ConfigFile;
use crate::app::examine::{self, DirectoryReply};
use crate::command::{CommandFailure, load, say};
use crate::config::{Config, DirectorySettings, OwnPath};

/// `doorwarden check`
#[derive(Debug, clap::Args)]
pub(super) struct CheckArguments {
    #[command(flatten)]
    file: ConfigFile,
    /// Check the configuration file alone, and not the files that it names.
    #[arg(long, conflicts_with = "connect")]
    file_only: bool,
    /// Also ask the databases and services that it names.
    #[arg(long)]
    connect: bool,
}

/// Runs the check.
pub(super) fn run(check: &CheckArguments) -> Result<(), CommandFailure> {
    let path = check.file.path()?;
    let config = load(&path)?;
    let mut failed = 0;
    if !check.file_only {
        failed += files(&config)?;
    }
    // What cannot be opened cannot be asked either.
    if check.connect && failed == 0 {
        failed += services(&config)?;
    }
    if let Some(note) = about_strangers(&config) {
        say(format_args!("note: {note}"))?;
    }
    let path = path.display();
    match failed {
        0 => say(format_args!("{path}: fine")),
        1 => Err(CommandFailure::Failed(format!("{path}: 1 check failed"))),
        _ => Err(CommandFailure::Failed(format!("{path}: {failed} checks failed"))),
    }
}

/// Warns if a user in a new browser can only wait while others guess at their account.
fn about_strangers(config: &Config) -> Option<&'static str> {
    let has = |own| config.paths.iter().any(|entry| entry.own == own);
    if !has(OwnPath::Login) {
        return None;
    }
    if !has(OwnPath::MailedLink) {
        return Some(
            "while somebody guesses at an account, its owner can only wait in a new browser: a link is \
             mailed where there are [notify.mail] and paths.mailed_link (docs/detection.md)",
        );
    }
    (!config.directories.iter().any(DirectorySettings::finds_users)).then_some(
        "while somebody guesses at an account, its owner can only wait in a new browser: no directory \
         knows an address to which a link could be mailed (docs/detection.md)",
    )
}

/// Checks the files that the configuration names; returns how many of them would keep the gateway from starting.
fn files(config: &Config) -> Result<usize, CommandFailure> {
    let mut failed = 0;
    for found in examine::files(config).map_err(CommandFailure::Failed)? {
        if found.stops {
            failed += 1;
            eprintln!("error: {}", found.what);
        } else {
            eprintln!("warning: {}", found.what);
        }
    }
    Ok(failed)
}

/// Asks the databases and services; returns how many do not work.
fn services(config: &Config) -> Result<usize, CommandFailure> {
    let examined = examine::examine(config, None).map_err(CommandFailure::Failed)?;
    let mut failed = 0;
    let mut tell = |kind: &str, name: &str, trouble: Option<&str>| match trouble {
        None => say(format_args!("ok: {kind} {name}")),
        Some(why) => {
            failed += 1;
            eprintln!("error: {kind} {name}: {why}");
            Ok(())
        }
    };
    for (name, said) in &examined.directories {
        match said {
            DirectoryReply::Fails(why) => tell("directory", name, Some(why))?,
            DirectoryReply::Answers | DirectoryReply::Knows(..) | DirectoryReply::KnowsNot => {
                tell("directory", name, None)?
            }
            DirectoryReply::ChecksPasswords => say(format_args!(
                "ok: directory {name}: not asked, since it checks passwords itself"
            ))?,
        }
    }
    for (name, tried) in &examined.issuers {
        tell("issuer", name, tried.as_ref().err().map(String::as_str))?;
    }
    for (name, gives) in &examined.forms {
        tell("identity form", name, gives.as_ref().err().map(String::as_str))?;
    }
    Ok(failed)
}
