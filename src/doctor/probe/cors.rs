//! Finds out whether the service answers cross-origin requests itself.

use std::io;

use super::http::{ProbeRequest, ProbedService};
use crate::doctor::finding::{DoctorReport, Weight};

/// An origin that belongs to nobody (RFC 2606), so an answer that allows it allows everybody.
const ORIGIN: &str = "https://doorwarden-probe.invalid";

/// Returns whether preflights must be forwarded.
pub(super) fn look(
    service: &ProbedService,
    path: &str,
    report: &mut DoctorReport,
) -> io::Result<bool> {
    let preflight = ProbeRequest::new("OPTIONS", path)
        .header("Origin", ORIGIN)
        .header("Access-Control-Request-Method", "POST")
        .header("Access-Control-Request-Headers", "authorization");
    let preflight = service.send(&preflight)?;
    let plain = service.send(&ProbeRequest::new("GET", path).header("Origin", ORIGIN))?;
    let allowed = [&preflight, &plain]
        .into_iter()
        .find_map(|answer| answer.header("access-control-allow-origin"));
    // django-cors-headers marks every answer as varying by origin, and answers preflights without a view.
    let varies = [&preflight, &plain].into_iter().any(|answer| {
        answer.header("vary").is_some_and(|vary| vary.to_ascii_lowercase().contains("origin"))
    });
    match allowed {
        Some(origin) => {
            let credentials = plain.header("access-control-allow-credentials") == Some("true");
            let mark = if origin == ORIGIN && credentials { Weight::Warning } else { Weight::Note };
            let means = if mark == Weight::Warning {
                "Every site may read what it answers to its users. Set forward_preflight = true on its routes, and fix that."
            } else {
                "forward_preflight = true on its routes, and leave [cors] empty."
            };
            report.tell(
                mark,
                "cors",
                format!("it answers CORS itself, for everybody ({origin})"),
                means,
            );
        }
        None if varies => report.tell(
            Weight::Note,
            "cors",
            "it answers CORS itself, for origins that it knows",
            "forward_preflight = true on its routes, and leave [cors] empty.",
        ),
        None => report.tell(
            Weight::Fine,
            "cors",
            "it does not answer CORS",
            "Front ends on another origin are named in [cors].",
        ),
    }
    Ok(allowed.is_some() || varies)
}
