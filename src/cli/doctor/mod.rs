//! `doorwarden doctor`: what stands between a service and a gateway in front of it.
//!
//! It finds out and says; nothing is changed at the service. Exit code 1 tells that something will not work as it is.

mod finding;
mod settings;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use self::finding::{Mark, Report};
use self::settings::{Addresses, Project};
use super::Failure;

/// What to examine.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Write a whole configuration for this Django project: its manage.py, or a settings file. Django is run to read
    /// the settings that are in effect.
    #[arg(long, value_name = "MANAGE.PY")]
    settings: PathBuf,
    /// The project's Python; by default that of the active environment, or of .venv, venv or env beside the project.
    #[arg(long)]
    python: Option<PathBuf>,
    /// The folder that gateway.toml and secrets/ are written to. What is there already is left alone.
    #[arg(long, default_value = ".")]
    out: PathBuf,
    /// Where the gateway is to listen.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// Where its admin listener is to be.
    #[arg(long, default_value = "127.0.0.1:9090")]
    admin: SocketAddr,
    /// Where the service listens.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8000")]
    upstream: String,
    /// Answer in JSON.
    #[arg(long)]
    json: bool,
}

/// Does it.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let mut report = Report::default();
    let project = Project {
        settings: &arguments.settings,
        python: arguments.python.as_deref(),
        out: &arguments.out,
    };
    let addresses = Addresses {
        listen: arguments.listen.to_string(),
        admin: arguments.admin.to_string(),
        upstream: arguments.upstream.clone(),
    };
    let (path, _config) = settings::run(&project, &addresses, &mut report)?;
    report.add(Mark::Note, "next", format!("doorwarden run --config {}", path.display()));
    report.print(arguments.json)?;
    if report.has_failures() {
        return Err(Failure::Failed("something will not work as it is: see FAIL".into()));
    }
    Ok(())
}
