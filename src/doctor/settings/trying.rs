//! `--try USER`: signs a user in both ways, at the service and at the gateway's directory.
//!
//! The service's half ran in the project's own Python, in transactions that were rolled back. The gateway's half is what
//! its page would ask: the user's row and password. Both must agree, and the service's sign-in must leave nothing in the
//! session that a session of the gateway would lack.

use serde::Deserialize;

use crate::app::examine::{SignInTrial as AtGateway, try_password};
use crate::command::CommandFailure;
use crate::config::Config;
use crate::doctor::finding::{DoctorReport, Weight};
use crate::secret::Secret;

/// The user whose sign-in is tried.
pub(in crate::doctor) struct Trial {
    pub(in crate::doctor) name: String,
    pub(in crate::doctor) password: Secret,
}

/// What the service did.
#[derive(Debug, Deserialize)]
pub(super) struct AtService {
    /// The primary key of the user who was signed in; empty if nobody was.
    user: String,
    backend: String,
    /// The keys of the session besides those that identify the user.
    keys: Vec<String>,
    /// The user that the next request with that session found.
    again: String,
    error: String,
}

/// Compares the results of both.
pub(super) fn compare(
    config: &Config,
    trial: &Trial,
    service: &AtService,
    report: &mut DoctorReport,
) -> Result<(), CommandFailure> {
    let name = &trial.name;
    if !service.error.is_empty() {
        report.add(Weight::Failure, "try", format!("{name} at the service: {}", service.error));
        return Ok(());
    }
    let gateway = try_password(config, name, &trial.password).map_err(CommandFailure::Failed)?;
    let at_service = match service.user.as_str() {
        "" => "nobody".to_owned(),
        id => format!("user {id} ({})", service.backend),
    };
    let (same, at_gateway) = match &gateway {
        AtGateway::User(id) => (service.user == *id, format!("user {id}")),
        AtGateway::Nobody(why) => (service.user.is_empty(), format!("nobody ({why})")),
        AtGateway::Asks => (true, "the user that the service's own sign-in finds".to_owned()),
        AtGateway::Fails(why) => (false, why.clone()),
    };
    let says = format!("{name}: the service signs in {at_service}, the gateway {at_gateway}");
    if same {
        report.add(Weight::Fine, "try", says);
    } else {
        report.tell(
            Weight::Failure,
            "try",
            says,
            "Leave the sign-in to the service: [sign_in] mode = \"follow\".",
        );
    }
    if !service.user.is_empty() && service.again != service.user {
        report.add(
            Weight::Failure,
            "try",
            format!("{name}: the service's own next request does not find them by that session"),
        );
    }
    if !service.keys.is_empty() {
        report.tell(
            Weight::Failure,
            "try",
            format!("{name}: the service's sign-in puts {} into the session", service.keys.join(", ")),
            "A session that the gateway makes would not have it. Leave the sign-in to the service: [sign_in] mode = \"follow\".",
        );
    }
    Ok(())
}
