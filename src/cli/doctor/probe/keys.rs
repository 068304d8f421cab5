//! Whether the configuration's directories and keys work, at the service too.
//!
//! A form's header is made for the user, as at a request of theirs, and sent to a protected path: the service's answer
//! with it is compared with its answer without. Nothing of the header is printed.

use std::io;

use super::classes::Classes;
use super::http::{Request, Service};
use crate::app::examine::{Asked, Examined, Gives, examine};
use crate::cli::Failure;
use crate::cli::doctor::finding::{Mark, Report};
use crate::config::{Config, FormKind};

/// Tries them here. The forms' headers are for [`at_service`].
pub(in crate::cli::doctor) fn here(
    config: &Config,
    user: Option<&str>,
    report: &mut Report,
) -> Result<Examined, Failure> {
    let examined = examine(config, user).map_err(Failure::Failed)?;
    let name = user.unwrap_or_default();
    for (directory, said) in &examined.directories {
        match said {
            Asked::Answers => {
                report.add(Mark::Fine, "directory", format!("{directory}: can be asked"))
            }
            Asked::Knows(id, true) => {
                report.add(
                    Mark::Fine,
                    "directory",
                    format!("{directory}: {name} is its user {id}"),
                );
            }
            Asked::Knows(id, false) => report.add(
                Mark::Warning,
                "directory",
                format!("{directory}: {name} is its user {id}, and may not sign in (is_active)"),
            ),
            Asked::KnowsNot => {
                report.add(
                    Mark::Warning,
                    "directory",
                    format!("{directory}: there is no user {name}"),
                );
            }
            Asked::Fails(why) => report.tell(
                Mark::Failure,
                "directory",
                why.clone(),
                "Nobody of it can sign in until that is mended.",
            ),
        }
    }
    for (issuer, tried) in &examined.issuers {
        match tried {
            Ok(()) => {
                report.add(Mark::Fine, "key", format!("the issuer {issuer}: its key can be used"))
            }
            Err(why) => report.add(Mark::Failure, "key", why.clone()),
        }
    }
    for (form, gives) in &examined.forms {
        match gives {
            Ok(Gives::Refused(why)) => report.add(
                Mark::Warning,
                "key",
                format!("the identity form {form} gives nothing for {name}: {why}"),
            ),
            Ok(_) => report.add(Mark::Fine, "key", format!("the identity form {form} can be made")),
            Err(why) => {
                report.add(Mark::Failure, "key", format!("the identity form {form}: {why}"))
            }
        }
    }
    Ok(examined)
}

/// Sends what the forms give to a protected path, of which it is known what answers there.
pub(super) fn at_service(
    service: &Service,
    path: &str,
    there: Classes,
    config: &Config,
    examined: &Examined,
    report: &mut Report,
) -> io::Result<()> {
    let plain = service.get(path)?;
    for (form, gives) in &examined.forms {
        let Ok(Gives::Headers(fields)) = gives else { continue };
        let mut request = Request::new("GET", path);
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
            _ => false,
        };
        if matches!(plain.status, 401 | 403) && matches!(answer.status, 200..=299 | 404 | 405) {
            report.add(Mark::Fine, "key", format!("{says}: accepted"));
        } else if is_refused && is_read {
            report.tell(
                Mark::Failure,
                "key",
                format!("{says}: refused"),
                "Another key, algorithm, audience or header than the service's, or a view that asks for more (a permission).",
            );
        } else {
            report.add(Mark::Note, "key", format!("{says}: nothing there reads it"));
        }
    }
    Ok(())
}
