//! `doorwarden doctor`: checks what would keep a service from working behind a gateway.
//!
//! It only examines and reports; it changes nothing at the service. Exit code 1 means that something will not work as it is.

mod finding;
mod probe;
mod settings;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args};

use self::finding::{DoctorReport, Weight};
use self::probe::ProbeTarget;
use self::settings::{Project, ServiceAddresses, Trial};
use crate::command::{CommandFailure, load};

/// What to examine.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").required(true).multiple(true).args(["url", "settings"]))]
pub(crate) struct DoctorArguments {
    /// A running service, http://HOST:PORT. It gets harmless requests without anybody's credential.
    url: Option<String>,
    /// A view of the service that answers with the request that it received, so that what arrives can be measured.
    #[arg(long, value_name = "PATH", value_parser = target, requires = "url")]
    echo: Option<String>,
    /// A path that asks for a credential; may be repeated.
    #[arg(long = "probe-path", value_name = "PATH", value_parser = target, requires = "url")]
    protected: Vec<String>,
    /// A configuration whose directories, keys and paths are tested as well.
    #[arg(long)]
    config: Option<PathBuf>,
    /// A user to look up in the directories. No password is needed.
    #[arg(long)]
    user: Option<String>,
    /// Write a whole configuration for this Django project: its manage.py, or a settings file. Django is run to read
    /// the settings that are in effect.
    #[arg(long, value_name = "MANAGE.PY")]
    settings: Option<PathBuf>,
    /// Sign this user in at the service, in a transaction that is rolled back, and compare whom the gateway would sign in.
    /// The password is read from standard input.
    #[arg(long = "try", value_name = "USER", requires = "settings")]
    tried: Option<String>,
    /// Exit with 0 although something will not work as before, provided that a file was written.
    #[arg(long)]
    lenient: bool,
    /// The project's Python; by default that of the active environment, or of .venv, venv or env beside the project.
    #[arg(long, requires = "settings")]
    python: Option<PathBuf>,
    /// The folder that gateway.toml and secrets/ are written to. What is there already is left alone.
    #[arg(long, default_value = ".")]
    out: PathBuf,
    /// The address that the gateway is to listen on.
    #[arg(long, default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// The address of its admin listener.
    #[arg(long, default_value = "127.0.0.1:9090")]
    admin: SocketAddr,
    /// Where the service listens, unless its URL is given.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:8000")]
    upstream: String,
    /// Answer in JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(arguments: &DoctorArguments) -> Result<(), CommandFailure> {
    let mut report = DoctorReport::default();
    let mut config = arguments.config.as_deref().map(load).transpose()?;
    let mut next = None;
    if let Some(settings) = &arguments.settings {
        let (path, written) = from_settings(arguments, settings, &mut report)?;
        next = written.is_some().then_some(path);
        config = config.or(written);
    }
    let user = arguments.user.as_deref();
    match (&arguments.url, &config) {
        (Some(url), config) => {
            let target = ProbeTarget {
                url,
                echo: arguments.echo.as_deref(),
                protected: &arguments.protected,
                config: config.as_ref(),
                user,
            };
            probe::run(&target, &mut report)?;
        }
        (None, Some(config)) => {
            probe::keys::here(config, user, &mut report)?;
        }
        (None, None) => {}
    }
    // If a project's settings were read, it is known whether there is a blacklist, and the file says so.
    if let (Some(config), None) = (&config, &arguments.settings) {
        probe::keys::blacklist(config, &mut report);
    }
    let next_is_there = next.is_some();
    if let Some(path) = next {
        report.add(Weight::Note, "next", format!("doorwarden run --config {}", path.display()));
    }
    report.print(arguments.json)?;
    let is_lenient = arguments.lenient && arguments.settings.is_some() && next_is_there;
    if report.has_failures() && !is_lenient {
        return Err(CommandFailure::Failed("something will not work as it is: see FAIL".into()));
    }
    Ok(())
}

fn from_settings(
    arguments: &DoctorArguments,
    settings: &Path,
    report: &mut DoctorReport,
) -> Result<(PathBuf, Option<crate::config::Config>), CommandFailure> {
    let trial = match &arguments.tried {
        Some(name) => {
            Some(Trial { name: name.clone(), password: crate::command::password_from_stdin()? })
        }
        None => None,
    };
    let project = Project {
        settings,
        python: arguments.python.as_deref(),
        out: &arguments.out,
        trial: trial.as_ref(),
    };
    let upstream = match &arguments.url {
        Some(url) => probe::server_of(url)?,
        // A URL is meant as it is written.
        None if arguments.upstream.contains("://") => probe::server_of(&arguments.upstream)?,
        None => arguments.upstream.clone(),
    };
    let addresses = ServiceAddresses {
        listen: arguments.listen.to_string(),
        admin: arguments.admin.to_string(),
        upstream,
    };
    settings::run(&project, &addresses, report)
}

/// Checks that a path can stand in a request line.
fn target(text: &str) -> Result<String, String> {
    let legal = |byte: u8| byte.is_ascii_graphic() && byte != b'#';
    if text.starts_with('/') && text.bytes().all(legal) {
        Ok(text.to_owned())
    } else {
        Err("a path begins with / and has neither blanks nor control characters".to_owned())
    }
}
