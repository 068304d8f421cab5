//! Makes a whole `gateway.toml` from Django's settings.
//!
//! The rule for every block: what the service does today continues, for the people who are signed in and for the front
//! ends that know its URLs, and nothing is let through that the service would refuse. Where that is impossible, the path
//! is left to the service and a finding says so. What is only guessed (a hand-made class, read from its source) is
//! written as a comment and never switched on.

use super::ServiceAddresses;
use super::facts::ProjectFacts;
use crate::doctor::finding::{DoctorReport, Weight};
use crate::secret::Secret;

mod choices;
mod directory;
mod forms;
mod grants;
mod hand_made;
mod issuers;
mod knox;
mod left;
mod open;
mod paths;
#[cfg(test)]
mod proof_tests;
#[cfg(test)]
mod route_tests;
mod routes;
mod service;
#[cfg(test)]
mod session_tests;
mod sessions;
mod sign_in;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod token_tests;
mod toml;

use choices::Choices;
use toml::Toml;

/// The folder of the secrets' files, below the configuration's folder.
pub(super) const SECRETS: &str = "secrets";

/// The name of the one upstream.
const UPSTREAM: &str = "django";

/// The files to write.
pub(super) struct Plan {
    pub(super) toml: String,
    /// File names below [`SECRETS`], with their contents.
    pub(super) files: Vec<(String, Secret)>,
}

/// The state that the parts of the plan share.
struct Planner<'f> {
    facts: &'f ProjectFacts,
    choices: Choices,
    toml: Toml,
    files: Vec<(String, Secret)>,
    /// The routes so far: path, whether it is exact, and methods (empty for all).
    written: Vec<(String, bool, Vec<String>)>,
    /// The patterns where the service checks credentials itself.
    left: Vec<String>,
    report: &'f mut DoctorReport,
}

/// Makes the plan. `report` receives what the operator should know.
pub(super) fn plan(
    facts: &ProjectFacts,
    addresses: &ServiceAddresses,
    report: &mut DoctorReport,
) -> Plan {
    for problem in &facts.problems {
        report.add(Weight::Warning, "settings", format!("could not be read: {problem}"));
    }
    let choices = Choices::of(facts, report);
    let mut planner = Planner {
        facts,
        choices,
        toml: Toml::default(),
        files: Vec::new(),
        written: Vec::new(),
        left: Vec::new(),
        report,
    };
    planner.head();
    planner.service(addresses);
    planner.routes();
    planner.sign_in();
    planner.paths();
    planner.session();
    planner.login();
    planner.directory();
    planner.issuers();
    planner.forms();
    Plan { toml: planner.toml.finish(), files: planner.files }
}

impl Planner<'_> {
    fn head(&mut self) {
        self.toml.comment(&format!(
            "Doorwarden in front of a Django project: written from {} (Django {}) by `doorwarden doctor --settings`. \
             Behind each value stands the setting that it came from; every other setting of the gateway has its \
             default. The secrets are in {SECRETS}/, mode 0600.",
            self.facts.settings_module, self.facts.django
        ));
    }

    /// Stores a secret for a file. Returns its path for the configuration.
    fn file(&mut self, name: &str, content: &Secret) -> String {
        if !self.files.iter().any(|(taken, _)| *taken == name) {
            self.files.push((name.to_owned(), content.clone()));
        }
        format!("{SECRETS}/{name}")
    }

    /// Returns the file of `SECRET_KEY`.
    fn secret_key(&mut self) -> String {
        let key = self.facts.secret_key.clone();
        self.file("django-secret-key", &key)
    }
}
