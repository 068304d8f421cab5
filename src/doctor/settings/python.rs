//! Runs the project's own Python, and reads its answer.
//!
//! Only the project's interpreter has the project's packages, so it is looked for where people put it: the active
//! environment, then `.venv`, `venv` and `env` beside the project or above it. Secrets come through a pipe, never through a
//! file, an argument or the environment. The program itself goes through a pipe as well: one argument of a command has at
//! most 128 KiB, and a file would add a folder in which modules are looked for.

use std::ffi::OsStr;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::json;
use zeroize::Zeroizing;

use super::facts::ProjectFacts;
use super::trying::Trial;
use crate::command::CommandFailure;

/// One program in one namespace: `start` first, since it says where modules are looked for, and `answer` last.
const PROGRAM: &str = concat!(
    include_str!("project/start.py"),
    include_str!("project/values.py"),
    include_str!("project/compare.py"),
    include_str!("project/obstacles.py"),
    include_str!("project/stores.py"),
    include_str!("project/users.py"),
    include_str!("project/sessions.py"),
    include_str!("project/simplejwt.py"),
    include_str!("project/numeric_ids.py"),
    include_str!("project/tokens.py"),
    include_str!("project/classes.py"),
    include_str!("project/judged.py"),
    include_str!("project/patterns.py"),
    include_str!("project/kinds.py"),
    include_str!("project/asking.py"),
    include_str!("project/sent.py"),
    include_str!("project/urls.py"),
    include_str!("project/lookups.py"),
    include_str!("project/factors.py"),
    include_str!("project/sign_in.py"),
    include_str!("project/sample.py"),
    include_str!("project/proxies.py"),
    include_str!("project/proof.py"),
    include_str!("project/trying.py"),
    include_str!("project/answer.py"),
);

/// Runs as many bytes of standard input as the first argument says, and leaves the rest to that program.
const READ_AND_RUN: &str =
    "import sys; exec(compile(sys.stdin.buffer.read(int(sys.argv.pop(1))), 'doctor', 'exec'))";

/// How many folders are searched for an environment, from the project's folder upwards.
const LEVELS: usize = 3;

/// Runs Django and reads what is in effect. `own_paths` are the gateway's, to learn which of them the project has too.
pub(super) fn read(
    settings: &Path,
    python: Option<&Path>,
    own_paths: &[&str],
    trial: Option<&Trial>,
) -> Result<ProjectFacts, CommandFailure> {
    let settings = std::path::absolute(settings)
        .map_err(|error| CommandFailure::Failed(format!("{}: {error}", settings.display())))?;
    if settings.extension() != Some(OsStr::new("py")) || !settings.is_file() {
        return Err(CommandFailure::Failed(format!(
            "{} is no manage.py and no settings file",
            settings.display()
        )));
    }
    let python = python.map_or_else(|| interpreter(&settings), Path::to_owned);
    let mut command = Command::new(&python);
    command
        .arg("-c")
        .arg(READ_AND_RUN)
        .arg(PROGRAM.len().to_string())
        .arg(&settings)
        .args(trial.map(|_| "--try"))
        .args(own_paths)
        // Compiled files would be written beside the project's sources, perhaps as another user.
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("PYTHONIOENCODING", "utf-8")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let failed =
        |error| CommandFailure::Failed(format!("cannot run {}: {error}", python.display()));
    let output = answered(&mut command, trial).map_err(failed)?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no output");
        return Err(CommandFailure::Failed(format!(
            "{} failed: {last}\nIf it is not the project's Python, name that with --python",
            python.display()
        )));
    }
    let answer = Zeroizing::new(output.stdout);
    // The error could quote a value, and values are secrets here.
    serde_json::from_slice(&answer).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        CommandFailure::Failed(format!("what Django answered cannot be read ({line}:{column})"))
    })
}

/// Runs the command. The pipe carries the program, and after it the name and the password that are tried.
fn answered(command: &mut Command, trial: Option<&Trial>) -> io::Result<Output> {
    let mut child = command.stdin(Stdio::piped()).spawn()?;
    if let Some(mut pipe) = child.stdin.take() {
        let given = trial.map(|trial| {
            json!({"name": trial.name, "password": trial.password.expose()}).to_string()
        });
        let given = Zeroizing::new(given.unwrap_or_default());
        // A program that ends without reading says why, or answers without it.
        let _ = pipe.write_all(PROGRAM.as_bytes()).and_then(|()| pipe.write_all(given.as_bytes()));
    }
    child.wait_with_output()
}

fn interpreter(settings: &Path) -> PathBuf {
    let active = std::env::var_os("VIRTUAL_ENV").map(PathBuf::from);
    let beside =
        settings.ancestors().skip(1).take(LEVELS).flat_map(|folder| {
            [".venv", "venv", "env"].into_iter().map(move |name| folder.join(name))
        });
    active
        .into_iter()
        .chain(beside)
        .map(|environment| environment.join("bin/python"))
        .find(|python| python.is_file())
        .unwrap_or_else(|| "python3".into())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::PROGRAM;

    /// If two parts defined the same name, the later definition would apply to both.
    #[test]
    fn no_two_parts_define_the_same_name() {
        let mut names = HashSet::new();
        for line in PROGRAM.lines() {
            let name = match line.strip_prefix("def ").or_else(|| line.strip_prefix("class ")) {
                Some(rest) => rest.split(['(', ':']).next(),
                None => line.split_once(" = ").map(|(name, _)| name),
            };
            let Some(name) = name.filter(|name| !name.starts_with([' ', '#', '\'', '"'])) else {
                continue;
            };
            assert!(names.insert(name), "{name} is defined twice");
        }
        assert!(names.len() > 20, "{names:?}");
    }
}
