//! `doorwarden key`, `session` and `store`: what operators do to a gateway.
//!
//! What changes a running gateway goes through its admin listener, so that it takes effect there at once. Where none
//! answers, the store and the key files are opened directly.

use std::path::PathBuf;

use clap::{ArgGroup, Subcommand};
use serde_json::{Value, json};

use super::{ConfigFile, Failure, health, load, say};
use crate::app;
use crate::config::Config;

/// `doorwarden key`
#[derive(Debug, Subcommand)]
pub(super) enum KeyCommand {
    /// Make the signing key that `tokens.signing_key_file` names, if it is not there yet.
    Generate(ConfigFile),
    /// List the signing key and those that are still good for checking.
    List(ConfigFile),
    /// Make a new signing key; the old one stays good for checking until its last token has expired.
    Rotate(ConfigFile),
}

/// `doorwarden session`
#[derive(Debug, Subcommand)]
pub(super) enum SessionCommand {
    /// List the live sessions.
    List {
        #[command(flatten)]
        file: ConfigFile,
        /// Only those of this user (`DIRECTORY/ID`).
        #[arg(long)]
        user: Option<String>,
    },
    /// End one session, or all of a user.
    #[command(group = ArgGroup::new("which").required(true).args(["session", "user"]))]
    End {
        #[command(flatten)]
        file: ConfigFile,
        /// The session's id. (One in 64 begins with a hyphen.)
        #[arg(allow_hyphen_values = true)]
        session: Option<String>,
        /// All sessions of this user (`DIRECTORY/ID`).
        #[arg(long)]
        user: Option<String>,
    },
}

/// `doorwarden store`
#[derive(Debug, Subcommand)]
pub(super) enum StoreCommand {
    /// Write a consistent copy to a new file, while the gateway runs or not.
    Backup {
        /// Where to.
        to: PathBuf,
        #[command(flatten)]
        file: ConfigFile,
    },
}

/// Does what a key command asks for.
pub(super) fn keys(command: KeyCommand) -> Result<(), Failure> {
    match command {
        KeyCommand::Generate(file) => {
            let config = load(&file.config)?;
            say(format_args!("{}", app::offline::list_keys(&config).map_err(Failure::Failed)?))?;
        }
        KeyCommand::List(file) => {
            let config = load(&file.config)?;
            let keys = match ask(&config, "GET /keys", "")? {
                Some(keys) => keys,
                None => app::offline::list_keys(&config).map_err(Failure::Failed)?,
            };
            say(format_args!("{keys:#}"))?;
        }
        KeyCommand::Rotate(file) => {
            let config = load(&file.config)?;
            let made = match ask(&config, "POST /keys/rotate", "")? {
                Some(made) => made,
                None => app::offline::rotate_key(&config).map_err(Failure::Failed)?,
            };
            say(format_args!("the signing key is now {}", text(&made, "kid")))?;
        }
    }
    Ok(())
}

/// Does what a session command asks for.
pub(super) fn sessions(command: SessionCommand) -> Result<(), Failure> {
    match command {
        SessionCommand::List { file, user } => {
            let config = load(&file.config)?;
            let path = match &user {
                Some(user) => {
                    let query = form_urlencoded::Serializer::new(String::new())
                        .append_pair("user", user)
                        .finish();
                    format!("GET /sessions?{query}")
                }
                None => "GET /sessions".to_owned(),
            };
            let listed = match ask(&config, &path, "")? {
                Some(listed) => listed,
                None => app::offline::list_sessions(&config, user.as_deref())
                    .map_err(Failure::Failed)?,
            };
            for session in listed.get("sessions").and_then(Value::as_array).into_iter().flatten() {
                let field = |name: &str| text(session, name);
                say(format_args!(
                    "{}\t{}\t{}\tsigned in {}\tlast used {}\tfrom {}",
                    field("session"),
                    field("user"),
                    field("name"),
                    field("signed_in_at"),
                    field("last_used"),
                    field("client"),
                ))?;
            }
        }
        SessionCommand::End { file, session, user } => {
            let config = load(&file.config)?;
            let which = match (session, user) {
                (Some(session), _) => json!({"session": session}),
                (None, user) => json!({"user": user}),
            };
            let ended = match ask(&config, "POST /sessions/end", &which.to_string())? {
                Some(ended) => ended,
                None => app::offline::end_sessions(&config, &which).map_err(Failure::Failed)?,
            };
            say(format_args!("ended {}", ended.get("ended").unwrap_or(&Value::Null)))?;
        }
    }
    Ok(())
}

/// Does what a store command asks for.
pub(super) fn store(command: StoreCommand) -> Result<(), Failure> {
    match command {
        StoreCommand::Backup { to, file } => {
            let config = load(&file.config)?;
            app::offline::backup(&config, &to).map_err(Failure::Failed)?;
            say(format_args!("wrote {}", to.display()))?;
        }
    }
    Ok(())
}

/// A member that is a text, for people.
fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value.get(name).and_then(Value::as_str).unwrap_or("-")
}

/// Asks the running gateway; `None` if none answers at its admin address.
pub(super) fn ask(config: &Config, request: &str, body: &str) -> Result<Option<Value>, Failure> {
    let Some(token) = app::offline::operator_token(config).map_err(Failure::Failed)? else {
        return Ok(None);
    };
    let authorization = format!("Bearer {}", token.expose());
    let headers = [("Authorization", authorization.as_str()), ("Content-Type", "application/json")];
    let admin = app::offline::admin_address(config);
    let (status, answer) = match health::ask(&admin, request, &headers, body) {
        Ok(answered) => answered,
        Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => return Ok(None),
        Err(error) => return Err(Failure::Failed(format!("{admin} does not answer: {error}"))),
    };
    let answer: Value = serde_json::from_str(&answer)
        .map_err(|_| Failure::Failed(format!("{admin} answered {status} and no JSON")))?;
    if status == 200 {
        Ok(Some(answer))
    } else {
        let detail = text(&answer, "detail");
        Err(Failure::Failed(format!("{admin} refused with {status}: {detail}")))
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::{Arguments, Command};
    use super::*;

    fn end(arguments: &[&str]) -> (Option<String>, Option<String>, String) {
        let all = ["doorwarden", "session", "end"].iter().chain(arguments);
        let parsed = Arguments::try_parse_from(all).unwrap();
        match parsed.command {
            Some(Command::Session(SessionCommand::End { file, session, user })) => {
                (session, user, file.config.display().to_string())
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
            assert_eq!(end(&[id]), (text(id), None, "gateway.toml".into()));
            assert_eq!(end(&[id, "--config", "f"]), (text(id), None, "f".into()));
            assert_eq!(end(&["--config", "f", id]), (text(id), None, "f".into()));
        }
        assert_eq!(end(&["--user", "django/2"]), (None, text("django/2"), "gateway.toml".into()));
    }

    #[test]
    fn what_would_be_done_to_another_than_was_named_is_refused() {
        for (arguments, says) in [
            (&["session", "end"][..], "--user"),
            (&["session", "end", "Kq_3fE960-B5ua29HMtVbw", "--user", "django/2"], "--user"),
            // Before the command it would be `run`'s, and the command would take the default.
            (&["--config", "f", "check"], "--config"),
        ] {
            let error = Arguments::try_parse_from([&["doorwarden"], arguments].concat());
            let error = error.unwrap_err().to_string();
            assert!(error.contains(says), "{arguments:?}: {error}");
        }
    }
}
