//! `doorwarden block`: manages blocks, in the running gateway or, where none runs, in its store.

use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand};
use serde_json::{Value, json};

use super::config_file::ConfigFile;
use super::list::{self, Format, ListColumn};
use super::operate::{ask, ask_all, user_key};
use crate::admin::blocks::LONGEST;
use crate::app;
use crate::command::{CommandFailure, load, say};
use crate::config::{Config, duration};

/// `doorwarden block`
#[derive(Debug, Subcommand)]
pub(super) enum BlockCommand {
    /// List the blocks.
    List {
        #[command(flatten)]
        file: ConfigFile,
        #[command(flatten)]
        format: Format,
    },
    /// Refuse an address, a network, a user or a session for a time.
    Add {
        #[command(flatten)]
        file: ConfigFile,
        #[command(flatten)]
        subject: BlockSubjectArgument,
        /// How long the block lasts: 90s, 30m, 12h, 7d.
        #[arg(long = "for", value_name = "TIME", default_value = "1h", value_parser = time)]
        time: Duration,
        /// The reason, for other operators.
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
    },
    /// Lift a block before its end.
    Lift {
        #[command(flatten)]
        file: ConfigFile,
        #[command(flatten)]
        subject: BlockSubjectArgument,
    },
}

/// The subject of the block.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("subject").required(true).args(["address", "user", "session"]))]
pub(super) struct BlockSubjectArgument {
    /// An address or a network: 192.0.2.7, 2001:db8::/64.
    address: Option<String>,
    /// A user: their name, or `DIRECTORY/ID`.
    #[arg(long)]
    user: Option<String>,
    /// A session's id. (One in 64 begins with a hyphen.)
    #[arg(long, allow_hyphen_values = true)]
    session: Option<String>,
}

const BLOCKS: [ListColumn; 6] = [
    ("KIND", "kind"),
    ("SUBJECT", "subject"),
    ("DEMAND", "demand"),
    ("UNTIL", "until"),
    ("BY", "by"),
    ("REASON", "reason"),
];

/// Runs a block command.
pub(super) fn run(command: BlockCommand) -> Result<(), CommandFailure> {
    match command {
        BlockCommand::List { file, format } => {
            let config = load(&file.path()?)?;
            let blocks = match ask_all(&config, "/blocks", "blocks")? {
                Some(blocks) => blocks,
                None => app::offline::list_blocks(&config).map_err(CommandFailure::Failed)?,
            };
            list::show(format, &BLOCKS, &blocks)
        }
        BlockCommand::Add { file, subject, time, reason } => {
            let config = load(&file.path()?)?;
            let mut asked = subject.asked(&config)?;
            if let Value::Object(members) = &mut asked {
                members.insert("seconds".into(), time.as_secs().into());
                members.insert("reason".into(), reason.into());
            }
            let block = match ask(&config, "POST /blocks", &asked.to_string())? {
                Some(block) => block,
                None => app::offline::block(&config, &asked).map_err(CommandFailure::Failed)?,
            };
            let text = |name: &str| block.get(name).and_then(Value::as_str).unwrap_or("-");
            let (kind, subject, until) = (text("kind"), text("subject"), text("until"));
            say(format_args!("the {kind} {subject} is blocked until {until}"))
        }
        BlockCommand::Lift { file, subject } => {
            let config = load(&file.path()?)?;
            let asked = subject.asked(&config)?;
            let lifted = match ask(&config, "POST /blocks/lift", &asked.to_string())? {
                Some(lifted) => lifted,
                None => app::offline::lift(&config, &asked).map_err(CommandFailure::Failed)?,
            };
            match lifted.get("lifted") {
                Some(Value::Bool(true)) => say(format_args!("lifted")),
                _ => Err(CommandFailure::Failed(
                    "there is no such block (`doorwarden block list`)".into(),
                )),
            }
        }
    }
}

impl BlockSubjectArgument {
    fn asked(self, config: &Config) -> Result<Value, CommandFailure> {
        let wrong = |text: &str| {
            CommandFailure::Usage(format!(
                "doorwarden: {text:?} is not an address or network: write 192.0.2.7, 192.0.2.0/24 or 2001:db8::/64"
            ))
        };
        Ok(match (self.address, self.user, self.session) {
            (Some(address), _, _) => {
                let asked = json!({"address": address});
                match crate::admin::blocks::subject_of(&asked) {
                    Some(_) => asked,
                    None => return Err(wrong(&address)),
                }
            }
            (None, Some(user), _) => json!({"user": user_key(config, &user)?}),
            (None, None, Some(session)) => json!({"session": session}),
            (None, None, None) => json!({}),
        })
    }
}

fn time(text: &str) -> Result<Duration, String> {
    match duration(text) {
        Some(time) if time.as_secs() > 0 && time <= LONGEST => Ok(time),
        Some(_) => Err("from 1s to 366d are allowed".into()),
        None => Err("write a number and its unit: 90s, 30m, 12h, 7d".into()),
    }
}
