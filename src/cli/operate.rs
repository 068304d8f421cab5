//! `doorwarden key`, `session` and `store`: commands for operators.
//!
//! A command that changes a running gateway goes through its admin listener, so that it takes effect at once. Where no gateway
//! answers, the store and the key files are opened directly.

use std::path::PathBuf;

use clap::{ArgGroup, Subcommand};
use serde_json::{Value, json};

use super::config_file::ConfigFile;
use super::health;
use super::list::{self, Format, ListColumn};
use crate::app;
use crate::command::{CommandFailure, load, say};
use crate::config::Config;

/// `doorwarden key`
#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Make the signing key that `tokens.signing_key_file` names, if it is not there yet.
    Generate(ConfigFile),
    /// List the signing key and the keys that still verify tokens.
    List {
        #[command(flatten)]
        file: ConfigFile,
        #[command(flatten)]
        format: Format,
    },
    /// Make a new signing key; the old one still verifies tokens until its last token has expired.
    Rotate(ConfigFile),
}

/// `doorwarden session`
#[derive(Debug, Subcommand)]
pub(super) enum SessionCommand {
    /// List the live sessions.
    List {
        #[command(flatten)]
        file: ConfigFile,
        /// Only the sessions of this user: their name, or `DIRECTORY/ID`.
        #[arg(long)]
        user: Option<String>,
        #[command(flatten)]
        format: Format,
    },
    /// End one session, or all sessions of a user.
    #[command(group = ArgGroup::new("which").required(true).args(["session", "user"]))]
    End {
        #[command(flatten)]
        file: ConfigFile,
        /// The session's id. (One in 64 begins with a hyphen.)
        #[arg(allow_hyphen_values = true)]
        session: Option<String>,
        /// All sessions of this user: their name, or `DIRECTORY/ID`.
        #[arg(long)]
        user: Option<String>,
    },
}

/// `doorwarden store`
#[derive(Debug, Subcommand)]
pub(super) enum StoreCommand {
    /// Write a consistent copy to a new file, whether the gateway runs or not.
    Backup {
        /// The file to write.
        to: PathBuf,
        #[command(flatten)]
        file: ConfigFile,
    },
}

const KEYS: [ListColumn; 3] =
    [("KEY", "kid"), ("ALGORITHM", "algorithm"), ("VERIFIES UNTIL", "verifies_until")];

const SESSIONS: [ListColumn; 6] = [
    ("SESSION", "session"),
    ("USER", "user"),
    ("NAME", "name"),
    ("SIGNED IN", "signed_in_at"),
    ("LAST USED", "last_used"),
    ("FROM", "client"),
];

/// Runs a key command.
pub(super) fn keys(command: KeyCommand) -> Result<(), CommandFailure> {
    match command {
        KeyCommand::Generate(file) => {
            let config = load(&file.path()?)?;
            let keys = app::offline::list_keys(&config).map_err(CommandFailure::Failed)?;
            list::show(Format { json: false }, &KEYS, &keys)?;
        }
        KeyCommand::List { file, format } => {
            let config = load(&file.path()?)?;
            let keys = match ask(&config, "GET /keys", "")? {
                Some(keys) => keys,
                None => app::offline::list_keys(&config).map_err(CommandFailure::Failed)?,
            };
            list::show(format, &KEYS, &keys)?;
        }
        KeyCommand::Rotate(file) => {
            let config = load(&file.path()?)?;
            let made = match ask(&config, "POST /keys/rotate", "")? {
                Some(made) => made,
                None => app::offline::rotate_key(&config).map_err(CommandFailure::Failed)?,
            };
            say(format_args!("the signing key is now {}", text(&made, "kid")))?;
        }
    }
    Ok(())
}

/// Runs a session command.
pub(super) fn sessions(command: SessionCommand) -> Result<(), CommandFailure> {
    match command {
        SessionCommand::List { file, user, format } => {
            let config = load(&file.path()?)?;
            let user = user.map(|user| user_key(&config, &user)).transpose()?;
            let path = of_user("/sessions", user.as_deref());
            let listed = match ask_all(&config, &path, "sessions")? {
                Some(listed) => listed,
                None => app::offline::list_sessions(&config, user.as_deref())
                    .map_err(CommandFailure::Failed)?,
            };
            list::show(format, &SESSIONS, &listed)?;
        }
        SessionCommand::End { file, session, user } => {
            let config = load(&file.path()?)?;
            let which = one_or_all_of(&config, ("session", session), user)?;
            let ended = match ask(&config, "POST /sessions/end", &which.to_string())? {
                Some(ended) => ended,
                None => {
                    app::offline::end_sessions(&config, &which).map_err(CommandFailure::Failed)?
                }
            };
            let count = ended.get("ended").unwrap_or(&Value::Null);
            say(format_args!("ended {count}"))?;
            if let (Some(0), Some(user)) =
                (count.as_u64(), which.get("user").and_then(Value::as_str))
            {
                warn_of_unknown_directory(&config, user);
            }
        }
    }
    Ok(())
}

/// Returns the path of a list, with the user in its query if one is named.
pub(super) fn of_user(path: &str, user: Option<&str>) -> String {
    let Some(user) = user else { return path.to_owned() };
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("user", user).finish();
    format!("{path}?{query}")
}

/// Returns the body that names what to end: the object with this id, or all of a user.
pub(super) fn one_or_all_of(
    config: &Config,
    (name, one): (&str, Option<String>),
    user: Option<String>,
) -> Result<Value, CommandFailure> {
    Ok(match (one, user) {
        (Some(one), _) => json!({name: one}),
        (None, Some(user)) => json!({"user": user_key(config, &user)?}),
        (None, None) => json!({}),
    })
}

/// Warns only, because the sessions may belong to a directory that has since been removed from the configuration.
fn warn_of_unknown_directory(config: &Config, user: &str) {
    let directory = user.split('/').next().unwrap_or_default();
    if !config.directories.iter().any(|one| one.name == directory) {
        eprintln!(
            "doorwarden: the configuration has no directory {directory:?}; its directories are: {}",
            directories(config)
        );
    }
}

fn directories(config: &Config) -> String {
    let names: Vec<&str> = config.directories.iter().map(|one| one.name.as_str()).collect();
    names.join(", ")
}

/// Returns the `DIRECTORY/ID` of a user whom an operator names by it or by the name with which they sign in.
pub(super) fn user_key(config: &Config, named: &str) -> Result<String, CommandFailure> {
    if named.contains('/') {
        return Ok(named.to_owned());
    }
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("name", named).finish();
    let called = match ask(config, &format!("GET /users?{query}"), "")? {
        Some(called) => called,
        None => app::offline::users_called(config, named).map_err(CommandFailure::Failed)?,
    };
    let called = called.get("users").and_then(Value::as_array).into_iter().flatten();
    let called: Vec<&str> = called.filter_map(|user| user.get("user")?.as_str()).collect();
    match called[..] {
        [user] => Ok(user.to_owned()),
        [] => Err(CommandFailure::Failed(format!(
            "no user is called {named:?}; write DIRECTORY/ID, where the directory is one of: {} \
                 (`doorwarden session list` shows who is signed in)",
            directories(config)
        ))),
        _ => Err(CommandFailure::Failed(format!(
            "several users are called {named:?}; write one of: {}",
            called.join(", ")
        ))),
    }
}

/// Runs a store command.
pub(super) fn store(command: StoreCommand) -> Result<(), CommandFailure> {
    match command {
        StoreCommand::Backup { to, file } => {
            let config = load(&file.path()?)?;
            app::offline::backup(&config, &to).map_err(CommandFailure::Failed)?;
            say(format_args!("wrote {}", to.display()))?;
        }
    }
    Ok(())
}

/// Returns a member that is a text, for people.
fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value.get(name).and_then(Value::as_str).unwrap_or("-")
}

/// Requests a whole list, page by page; it is the one member besides `next`.
pub(super) fn ask_all(
    config: &Config,
    path: &str,
    member: &str,
) -> Result<Option<Value>, CommandFailure> {
    let mut all = Vec::new();
    let mut cursor = String::new();
    loop {
        let join = if path.contains('?') { '&' } else { '?' };
        let request = format!("GET {path}{join}limit=1000{cursor}");
        let Some(mut page) = ask(config, &request, "")? else { return Ok(None) };
        if let Some(Value::Array(items)) = page.get_mut(member).map(Value::take) {
            all.extend(items);
        }
        let Some(next) = page.get("next").and_then(Value::as_str) else { break };
        let next =
            form_urlencoded::Serializer::new(String::new()).append_pair("cursor", next).finish();
        cursor = format!("&{next}");
    }
    Ok(Some(json!({member: all})))
}

/// Sends a request to the running gateway; `None` if none answers at its admin address.
pub(super) fn ask(
    config: &Config,
    request: &str,
    body: &str,
) -> Result<Option<Value>, CommandFailure> {
    let Some(token) = app::offline::operator_token(config).map_err(CommandFailure::Failed)? else {
        return Ok(None);
    };
    let authorization = format!("Bearer {}", token.expose());
    let headers = [("Authorization", authorization.as_str()), ("Content-Type", "application/json")];
    let admin = app::offline::admin_address(config);
    let (status, answer) = match health::ask(&admin, request, &headers, body) {
        Ok(answered) => answered,
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => return Ok(None),
        Err(error) => {
            return Err(CommandFailure::Failed(format!("{admin} does not answer: {error}")));
        }
    };
    let answer: Value = serde_json::from_str(&answer)
        .map_err(|_| CommandFailure::Failed(format!("{admin} answered {status} without JSON")))?;
    if status == 200 || answer.get("problems").is_some() {
        Ok(Some(answer))
    } else {
        let detail = text(&answer, "detail");
        Err(CommandFailure::Failed(format!("{admin} refused with {status}: {detail}")))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::{Command, CommandLine};
    use super::*;

    fn end(arguments: &[&str]) -> (Option<String>, Option<String>, Option<String>) {
        let all = ["doorwarden", "session", "end"].iter().chain(arguments);
        let parsed = CommandLine::try_parse_from(all).unwrap();
        match parsed.command {
            Some(Command::Session(SessionCommand::End { file, session, user })) => {
                (session, user, file.config.map(|path| path.display().to_string()))
            }
            other => panic!("{arguments:?} is {other:?}"),
        }
    }

    #[test]
    fn a_session_id_may_begin_with_a_hyphen() {
        let text = |text: &str| Some(text.to_owned());
        for id in [
            "Kq_3fE960-B5ua29HMtVbw",
            "-m_3fE960-B5ua29HMtVbw",
            "--_3fE960-B5ua29HMtVbw",
            "-h_3fE960-B5ua29HMtVbw",
        ] {
            assert_eq!(end(&[id]), (text(id), None, None));
            assert_eq!(end(&[id, "--config", "f"]), (text(id), None, text("f")));
            assert_eq!(end(&["--config", "f", id]), (text(id), None, text("f")));
        }
        assert_eq!(end(&["--user", "django/2"]), (None, text("django/2"), None));
    }

    #[test]
    fn what_would_be_done_to_another_than_was_named_is_refused() {
        for (arguments, says) in [
            (&["session", "end"][..], "--user"),
            (&["session", "end", "Kq_3fE960-B5ua29HMtVbw", "--user", "django/2"], "--user"),
            // Before the command, the option would be `run`'s, and the command would use the default.
            (&["--config", "f", "check"], "--config"),
        ] {
            let error = CommandLine::try_parse_from([&["doorwarden"], arguments].concat());
            let error = error.unwrap_err().to_string();
            assert!(error.contains(says), "{arguments:?}: {error}");
        }
    }
}
