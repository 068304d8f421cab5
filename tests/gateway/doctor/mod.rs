//! Tests what the doctor finds and writes, and a gateway that runs with the file.

// The doctor's rows of the table of what can go wrong, printed.
mod acceptance;
// Tokens that the service goes on checking.
mod judged;
// Small projects that authenticate differently from Django's defaults.
mod projects;
// Which URLs of small projects with real views strangers may use.
mod routes;
// Tables in a schema of their own, and an older copy in another.
mod schemas;
// Findings about a running service.
mod service;
// From a project's settings to a running gateway.
mod settings;
// The name of the username field, and sliding tokens.
mod tokens;

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::support::django::environment;

/// Runs the doctor in a folder, with the service's environment.
fn doctor(folder: &Path, database: &str, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_doorwarden"))
        .arg("doctor")
        .args(arguments)
        .current_dir(folder)
        .envs(environment(database))
        .env_remove("DJANGO_SETTINGS_MODULE")
        .output()
        .unwrap()
}

/// Does the same, with text on its standard input.
fn doctor_with_input(folder: &Path, database: &str, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_doorwarden"))
        .arg("doctor")
        .args(arguments)
        .current_dir(folder)
        .envs(environment(database))
        .env_remove("DJANGO_SETTINGS_MODULE")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// Returns what the doctor printed; it must have ended with this exit code.
fn printed(output: &Output, code: i32) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{text}\n{error}");
    text
}
