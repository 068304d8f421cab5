//! `doorwarden check`: what is wrong with a configuration, before `run` meets it.
//!
//! It fails where `run` would not start, with what `run` would say, and warns of what `run` would warn of. What it looks at
//! grows: with `--file-only` the file alone, for machines that have nothing else of it; by default also the files that it
//! names; with `--connect` the databases and services too, which it asks and never changes.

use super::config_file::ConfigFile;
use crate::app::examine::{self, DirectoryReply};
use crate::command::{CommandFailure, load, say};
use crate::config::{Config, DirectoryKind, DirectorySettings, OwnPath};

/// `doorwarden check`
#[derive(Debug, clap::Args)]
pub(super) struct CheckArguments {
    #[command(flatten)]
    file: ConfigFile,
    /// Look at the configuration file alone, and not at the files that it names.
    #[arg(long, conflicts_with = "connect")]
    file_only: bool,
    /// Ask the databases and services that it names as well.
    #[arg(long)]
    connect: bool,
}

/// Does it.
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
        1 => Err(CommandFailure::Failed(format!("{path}: 1 thing is not as it has to be"))),
        _ => Err(CommandFailure::Failed(format!(
            "{path}: {failed} things are not as they have to be"
        ))),
    }
}

/// What becomes of somebody in a new browser while others guess at their account, if nothing but waiting is left to them.
fn about_strangers(config: &Config) -> Option<&'static str> {
    let has = |own| config.paths.iter().any(|entry| entry.own == own);
    let knows_addresses = |one: &DirectorySettings| !matches!(one.kind, DirectoryKind::Http(_));
    if !has(OwnPath::Login) {
        return None;
    }
    if !has(OwnPath::MailedLink) {
        return Some(
            "while somebody guesses at an account, its owner can only wait in a new browser: a link is \
             mailed where there are [notify.mail] and paths.mailed_link (docs/detection.md)",
        );
    }
    (!config.directories.iter().any(knows_addresses)).then_some(
        "while somebody guesses at an account, its owner can only wait in a new browser: no directory \
         knows an address to which a link could be mailed (docs/detection.md)",
    )
}

/// The files that it names; how many of them would keep it from starting.
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

/// The databases and services; how many do not work.
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
