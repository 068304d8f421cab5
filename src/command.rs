//! Provides what every command needs: reading a configuration or a password, printing lines, and failing with an exit code.
#![expect(clippy::print_stderr, reason = "errors of a command go to standard error")]

use std::io::Read as _;
use std::path::Path;

use crate::config::{Config, LoadError};
use crate::secret::Secret;

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum CommandFailure {
    /// Exit code 64: the command line or the configuration is wrong.
    Usage(String),
    /// Exit code 1: the command failed.
    Failed(String),
    /// Exit code 1: the request or token in question would be refused; the answer has been printed.
    Refused,
    /// Exit code 69: no gateway could be asked.
    Unavailable(String),
}

/// Reads a configuration; warnings go to standard error.
pub(crate) fn load(path: &Path) -> Result<Config, CommandFailure> {
    match Config::load(path) {
        Ok((config, warnings)) => {
            if !warnings.is_empty() {
                eprintln!(
                    "{}",
                    warnings.render(std::io::IsTerminal::is_terminal(&std::io::stderr()))
                );
            }
            Ok(config)
        }
        Err(LoadError::Invalid(report)) => Err(CommandFailure::Usage(
            report.render(std::io::IsTerminal::is_terminal(&std::io::stderr())),
        )),
        Err(error) => Err(CommandFailure::Usage(format!("doorwarden: {error}"))),
    }
}

/// Prints one line of a command's answer. It is no failure if the reader closes the pipe early, as `head` does.
pub(crate) fn say(line: std::fmt::Arguments<'_>) -> Result<(), CommandFailure> {
    use std::io::Write as _;
    match writeln!(std::io::stdout(), "{line}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(CommandFailure::Failed(format!("cannot write the answer: {error}")))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Reads all of standard input, less one final newline.
pub(crate) fn password_from_stdin() -> Result<Secret, CommandFailure> {
    let mut text = String::new();
    std::io::stdin()
        .read_to_string(&mut text)
        .map_err(|error| CommandFailure::Failed(format!("cannot read the password: {error}")))?;
    let password = text
        .strip_suffix('\n')
        .map_or(text.as_str(), |text| text.strip_suffix('\r').unwrap_or(text));
    if password.is_empty() {
        return Err(CommandFailure::Failed("there is no password on standard input".into()));
    }
    Ok(Secret::new(password))
}
