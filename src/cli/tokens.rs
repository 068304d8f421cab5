//! `doorwarden token`: manages personal access tokens, in the running gateway or, to list and revoke them, in its store.

use clap::Subcommand;
use serde_json::{Value, json};

use super::config_file::ConfigFile;
use super::list::{self, Format, ListColumn};
use super::operate::{ask, of_user, one_or_all_of, user_key};
use crate::app;
use crate::command::{CommandFailure, load, say};

/// `doorwarden token`
#[derive(Debug, Subcommand)]
pub(super) enum TokenCommand {
    /// Make a personal access token, and show it once. Requires a running gateway.
    Create {
        /// The user: their name, or `DIRECTORY/ID`.
        user: String,
        /// The token's name.
        #[arg(long)]
        name: String,
        /// A route for which it is valid; may be repeated. Without any: all routes that accept such tokens.
        #[arg(long = "route", value_name = "NAME")]
        routes: Vec<String>,
        /// A method for which it is valid; may be repeated. Without any: all methods.
        #[arg(long = "method", value_name = "METHOD")]
        methods: Vec<String>,
        /// How long it is valid, like "30d". Without it: as long as personal_tokens.max_lifetime says.
        #[arg(long, value_name = "DURATION")]
        expires: Option<String>,
        #[command(flatten)]
        file: ConfigFile,
    },
    /// List the personal access tokens of a user, or of all users.
    List {
        /// The user: their name, or `DIRECTORY/ID`.
        user: Option<String>,
        #[command(flatten)]
        file: ConfigFile,
        #[command(flatten)]
        format: Format,
    },
    /// Revoke a personal access token at once, or all tokens of a user.
    Revoke {
        #[command(flatten)]
        file: ConfigFile,
        /// The token's id, as the list shows it. (One in 64 begins with a hyphen.)
        #[arg(allow_hyphen_values = true)]
        token: Option<String>,
        /// All tokens of this user: their name, or `DIRECTORY/ID`.
        #[arg(long, conflicts_with = "token", required_unless_present = "token")]
        user: Option<String>,
    },
}

const COLUMNS: [ListColumn; 7] = [
    ("ID", "id"),
    ("USER", "user"),
    ("NAME", "name"),
    ("ROUTES", "routes"),
    ("METHODS", "methods"),
    ("LAST USED", "last_used"),
    ("EXPIRES", "expires_at"),
];

/// Runs a token command.
pub(super) fn run(command: TokenCommand) -> Result<(), CommandFailure> {
    match command {
        TokenCommand::Create { user, name, routes, methods, expires, file } => {
            let config = load(&file.path()?)?;
            let user = user_key(&config, &user)?;
            let body = json!({
                "user": user, "name": name, "routes": routes, "methods": methods,
                "expires": expires,
            });
            let made = ask(&config, "POST /tokens", &body.to_string())?.ok_or_else(|| {
                // Only the directories of a running gateway know who the user is, and with which password.
                CommandFailure::Failed(
                    "no gateway is running here, and only a running one can make a token".into(),
                )
            })?;
            let text =
                |name: &str| made.get(name).and_then(Value::as_str).unwrap_or("-").to_owned();
            let (id, until) = (text("id"), text("expires_at"));
            say(format_args!("made {id} for {user}, valid until {until}"))?;
            say(format_args!("it is not shown again: {}", text("token")))?;
        }
        TokenCommand::List { user, file, format } => {
            let config = load(&file.path()?)?;
            let user = user.map(|user| user_key(&config, &user)).transpose()?;
            let path = format!("GET {}", of_user("/tokens", user.as_deref()));
            let listed = match ask(&config, &path, "")? {
                Some(listed) => listed,
                None => app::offline::list_tokens(&config, user.as_deref())
                    .map_err(CommandFailure::Failed)?,
            };
            list::show(format, &COLUMNS, &listed)?;
        }
        TokenCommand::Revoke { token, user, file } => {
            let config = load(&file.path()?)?;
            let which = one_or_all_of(&config, ("token", token), user)?;
            let revoked = match ask(&config, "POST /tokens/revoke", &which.to_string())? {
                Some(revoked) => revoked,
                None => {
                    app::offline::revoke_tokens(&config, &which).map_err(CommandFailure::Failed)?
                }
            };
            let count = revoked.get("revoked").and_then(Value::as_u64).unwrap_or_default();
            say(format_args!("revoked {count}"))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::{Command, CommandLine};
    use super::*;

    fn revoked(arguments: &[&str]) -> Option<(Option<String>, Option<String>)> {
        let all = ["doorwarden", "token", "revoke"].iter().chain(arguments);
        match CommandLine::try_parse_from(all).ok()?.command {
            Some(Command::Token(TokenCommand::Revoke { token, user, .. })) => Some((token, user)),
            other => panic!("{arguments:?} is {other:?}"),
        }
    }

    #[test]
    fn a_tokens_id_may_begin_with_a_hyphen_and_one_of_two_is_named() {
        let text = |text: &str| Some(text.to_owned());
        for id in ["Kq_3fE960-B5ua29HMtVbw", "-K_3fE960-B5ua29HMtVbw", "--_3fE960-B5ua29HMtVbw"] {
            assert_eq!(revoked(&[id]), Some((text(id), None)));
            assert_eq!(revoked(&["--config", "f", id]), Some((text(id), None)));
            assert_eq!(revoked(&[id, "--user", "kim"]), None);
        }
        assert_eq!(revoked(&["--user", "kim"]), Some((None, text("kim"))));
        assert_eq!(revoked(&[]), None);
    }
}
