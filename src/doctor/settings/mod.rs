//! `doorwarden doctor --settings`: one command from a Django project to a gateway.
//!
//! Settings are read by running Django, because nothing else knows which are in effect: they are Python, they read the
//! environment, and half of what matters is in the defaults of installed packages.

use std::path::{Path, PathBuf};

use super::finding::{DoctorReport, Weight};
use crate::command::CommandFailure;
use crate::config::{Config, LoadError, OwnPath};

mod facts;
mod plan;
mod proof;
mod python;
mod trying;
mod write;

pub(super) use trying::Trial;

/// The addresses, which no setting of Django contains.
pub(super) struct ServiceAddresses {
    pub(super) listen: String,
    pub(super) admin: String,
    pub(super) upstream: String,
}

/// The project that is read, and where the files are written.
pub(super) struct Project<'a> {
    pub(super) settings: &'a Path,
    pub(super) python: Option<&'a Path>,
    pub(super) out: &'a Path,
    /// The user whose sign-in is tried.
    pub(super) trial: Option<&'a Trial>,
}

/// Reads the project and writes the configuration. Returns its path, and the configuration if it is valid.
pub(super) fn run(
    project: &Project<'_>,
    addresses: &ServiceAddresses,
    report: &mut DoctorReport,
) -> Result<(PathBuf, Option<Config>), CommandFailure> {
    let own: Vec<&str> = OwnPath::ALL.iter().filter_map(|own| own.default_path()).collect();
    let facts = python::read(project.settings, project.python, &own, project.trial)?;
    let plan = plan::plan(&facts, addresses, report);
    let path = write::write(&plan, project.out)?;
    report.add(Weight::Fine, "written", {
        let count = plan.files.len();
        let word = if count == 1 { "secret" } else { "secrets" };
        format!("{}, and {count} {word} beside it", path.display())
    });
    let config = match Config::load(&path) {
        Ok((config, warnings)) => {
            // The report already says of a weak key what to do about it.
            let told = |key: &str| key.ends_with("danger_weak_key");
            for problem in warnings.problems().iter().filter(|problem| !told(&problem.key)) {
                report.add(
                    Weight::Note,
                    "check",
                    format!("line {}: {}: {}", problem.line, problem.key, problem.message),
                );
            }
            if let (Some(trial), Some(service)) = (project.trial, &facts.tried) {
                trying::compare(&config, trial, service, report)?;
            }
            Some(config)
        }
        Err(LoadError::Invalid(errors)) => {
            for problem in errors.problems().iter().filter(|problem| problem.is_error()) {
                report.tell(
                    Weight::Failure,
                    "check",
                    format!("line {}: {}: {}", problem.line, problem.key, problem.message),
                    "Edit the file there before the gateway starts.",
                );
            }
            None
        }
        Err(error) => return Err(CommandFailure::Failed(error.to_string())),
    };
    Ok((path, config))
}
