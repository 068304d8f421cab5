//! Tests whether the configuration's directories and keys work, at the service too.
//!
//! A form's header is made for the user, as in a request of theirs, and sent to a protected path: the service's answer
//! with it is compared with its answer without. Nothing of the header is printed.

use std::io;

use super::classes::FoundClasses;
use super::http::{ProbeRequest, ProbedService};
use crate::app::examine::{DirectoryReply, Examined, FormTrial, examine};
use crate::command::CommandFailure;
use crate::config::{Config, FormEngine, FormKind, IssuerKind, SessionEngine};
use crate::doctor::finding::{DoctorReport, Weight};

/// Tests them on this machine. The headers of the forms are for [`at_service`].
pub(in crate::doctor) fn here(
    config: &Config,
    user: Option<&str>,
    report: &mut DoctorReport,
) -> Result<Examined, CommandFailure> {
    let examined = examine(config, user).map_err(CommandFailure::Failed)?;
    let name = user.unwrap_or_default();
    for (directory, said) in &examined.directories {
        match said {
            DirectoryReply::Answers => {
                report.add(Weight::Fine, "directory", format!("{directory}: can be asked"))
            }
            DirectoryReply::Knows(id, true) => {
                report.add(
                    Weight::Fine,
                    "directory",
                    format!("{directory}: {name} is its user {id}"),
                );
            }
            DirectoryReply::Knows(id, false) => report.add(
                Weight::Warning,
                "directory",
                format!("{directory}: {name} is its user {id}, and may not sign in (is_active)"),
            ),
            DirectoryReply::KnowsNot => {
                report.add(
                    Weight::Warning,
                    "directory",
                    format!("{directory}: there is no user {name}"),
                );
            }
            DirectoryReply::ChecksPasswords => report.add(
                Weight::Note,
                "directory",
                format!("{directory}: not asked, since it checks passwords itself"),
            ),
            DirectoryReply::Fails(why) => report.tell(
                Weight::Failure,
                "directory",
                why.clone(),
                "None of its users can sign in until that is fixed.",
            ),
        }
    }
    for (issuer, tried) in &examined.issuers {
        match tried {
            Ok(()) => {
                report.add(Weight::Fine, "issuer", format!("{issuer}: {}", usable(config, issuer)))
            }
            Err(why) => report.tell(
                Weight::Failure,
                "issuer",
                why.clone(),
                "What the service has issued is not accepted until that is fixed.",
            ),
        }
    }
    for (form, gives) in &examined.forms {
        match gives {
            Ok(FormTrial::Refused(why)) => report.add(
                Weight::Warning,
                "form",
                format!("{form}: gives nothing for {name}: {why}"),
            ),
            Ok(_) => report.add(Weight::Fine, "form", format!("{form}: {}", makes(config, form))),
            Err(why) => report.tell(
                Weight::Failure,
                "form",
                format!("{form}: {why}"),
                "Callers on its routes are refused (503) until that is fixed.",
            ),
        }
    }
    Ok(examined)
}

/// Describes what was tested of an issuer.
fn usable(config: &Config, name: &str) -> &'static str {
    match config.issuers.iter().find(|issuer| issuer.name == name).map(|issuer| &issuer.kind) {
        Some(IssuerKind::DjangoSession(kind)) => match kind.engine {
            SessionEngine::Database { .. } => "its keys and its table can be read",
            SessionEngine::Cache(_) => "its keys and its cache can be read",
            SessionEngine::SignedCookies => "its keys can be read",
        },
        Some(IssuerKind::DrfToken { .. } | IssuerKind::Knox { .. }) => "its table can be read",
        Some(IssuerKind::Basic { .. }) => "asks its directory",
        Some(IssuerKind::SimpleJwt(kind)) if kind.blacklist.is_some() => {
            "its key can be used, and its blacklist be read"
        }
        _ => "its key can be used",
    }
}

/// Describes what was tested of a form.
fn makes(config: &Config, name: &str) -> &'static str {
    match config.forms.iter().find(|form| form.name == name).map(|form| &form.kind) {
        Some(FormKind::DjangoSession(form)) => match form.engine {
            FormEngine::Rows { .. } => "its key can be read, and its table be written",
            FormEngine::Cache(_) => "its key can be read, and its cache be asked",
            FormEngine::SignedCookies { .. } => "its key can be read",
        },
        _ => "can be made",
    }
}

/// Reports issuers that would adopt a refresh token that was signed out at the service.
pub(in crate::doctor) fn blacklist(config: &Config, report: &mut DoctorReport) {
    for issuer in &config.issuers {
        let IssuerKind::SimpleJwt(kind) = &issuer.kind else { continue };
        if kind.adopt_refresh_tokens && kind.blacklist.is_none() {
            report.tell(
                Weight::Note,
                "issuer",
                format!("{}: refresh tokens are taken over without checking the blacklist", issuer.name),
                "If rest_framework_simplejwt.token_blacklist is in INSTALLED_APPS, set blacklist = true: those that were signed \
                 out would be valid again.",
            );
        }
    }
}

/// Sends the headers of the forms to a protected path, where the classes that answer are known.
pub(super) fn at_service(
    service: &ProbedService,
    path: &str,
    there: FoundClasses,
    config: &Config,
    examined: &Examined,
    report: &mut DoctorReport,
) -> io::Result<()> {
    let plain = service.get(path)?;
    for (form, gives) in &examined.forms {
        let Ok(FormTrial::Headers(fields)) = gives else { continue };
        let mut request = ProbeRequest::new("GET", path);
        for (name, value) in fields {
            if let Ok(value) = value.to_str() {
                request = request.header(name.as_str(), value);
            }
        }
        let answer = service.send(&request)?;
        let says = format!(
            "{path}: {} without, {} with what the form {form} gives",
            plain.status, answer.status
        );
        let is_refused = matches!(answer.status, 401 | 403);
        let kind = config.forms.iter().find(|one| one.name == *form).map(|one| &one.kind);
        let is_read = match kind {
            Some(FormKind::SimpleJwt(_)) => there.simplejwt,
            Some(FormKind::Jwt(_)) => there.hand_made,
            Some(FormKind::DrfToken(_)) => there.drf_token,
            _ => false,
        };
        if matches!(plain.status, 401 | 403) && matches!(answer.status, 200..=299 | 404 | 405) {
            report.add(Weight::Fine, "form", format!("{says}: accepted"));
        } else if is_refused && is_read {
            report.tell(
                Weight::Failure,
                "form",
                format!("{says}: refused"),
                "Another key, algorithm, audience or header than the service's, or a view that asks for more (a permission).",
            );
        } else {
            report.add(Weight::Note, "form", format!("{says}: nothing there reads it"));
        }
    }
    Ok(())
}
