//! What the doctor finds out and writes, and a gateway that runs with it.

// The doctor's rows of the table of what goes wrong, printed.
mod acceptance;
// Tokens that the service goes on judging.
mod judged;
// Small projects that decide otherwise than Django's own.
mod projects;
// Which URLs strangers may use, of small projects with real views.
mod routes;
// Tables in a schema of their own, and an older copy beside them.
mod schemas;
// What is found out of a running service.
mod service;
// From a project's settings to a running gateway.
mod settings;
// What a name is called, and tokens that slide.
mod tokens;

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::support::django::environment;

/// Runs the doctor in a folder, with the environment in which the service runs.
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

/// The same, with something on its standard input.
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

/// What it printed; it must have ended with this code.
fn printed(output: &Output, code: i32) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{text}\n{error}");
    text
}
