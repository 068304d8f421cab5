//! Finds out what reaches the application: measured by a view that echoes its request, or else known from the server.
//!
//! A header is sent with a unique value; if that value is in the answer, the header has arrived. Each measurement has a
//! control, so that a view that echoes no headers, or reads no body, is distinguished from a server that drops them.

use std::io;

use super::http::{ProbeRequest, ProbedService};
use super::server::{KnownServer, ServerCapability};
use crate::doctor::finding::{DoctorReport, Weight};
use crate::secret::random_id;

/// The header that the application reads, and the spellings that a server may accept for it.
const PLAIN: &str = "X-User-Id";
const SPELLINGS: [&str; 5] = ["X_User_Id", "X-User_Id", "x_user_id", "X.User.Id", "X-User-Id "];

/// A body with a length that no other number in an answer is likely to have.
const BODY: [u8; 7919] = [b'd'; 7919];

/// What was found out, for the proposals.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct EchoFacts {
    /// Whether a chunked body arrives; `None` if unknown.
    pub(super) chunked: Option<bool>,
}

pub(super) fn look(
    service: &ProbedService,
    echo: Option<&str>,
    known: Option<KnownServer>,
    report: &mut DoctorReport,
) -> io::Result<EchoFacts> {
    let Some(path) = echo else {
        report.add(
            Weight::Note,
            "echo",
            "without --echo PATH (a view that answers with its request) what arrives is inferred from the server's name",
        );
        by_name(known, report);
        let chunked = known.and_then(|known| match known.chunked {
            ServerCapability::Yes => Some(true),
            ServerCapability::No => Some(false),
            ServerCapability::Depends(_) => None,
        });
        return Ok(EchoFacts { chunked });
    };
    spellings(service, path, report)?;
    forwarded(service, path, report)?;
    Ok(EchoFacts { chunked: chunked(service, path, report)? })
}

fn by_name(known: Option<KnownServer>, report: &mut DoctorReport) {
    let Some(known) = known else { return };
    let name = known.name;
    let (mark, says) = match known.folds {
        ServerCapability::No => {
            (Weight::Fine, format!("{name} does not take X_User_Id for X-User-Id"))
        }
        ServerCapability::Yes => (Weight::Warning, format!("{name} takes X_User_Id for X-User-Id")),
        ServerCapability::Depends(how) => {
            (Weight::Note, format!("{name} takes X_User_Id for X-User-Id: {how}"))
        }
    };
    report.tell(
        mark,
        "spelling",
        says,
        "The gateway drops names with \"_\" and joins none. It matters for requests that bypass it.",
    );
    match known.chunked {
        ServerCapability::Yes => {
            report.add(Weight::Fine, "chunked", format!("{name} hands chunked bodies on"))
        }
        ServerCapability::No => report.tell(
            Weight::Warning,
            "chunked",
            format!("behind {name} Django sees a chunked body empty"),
            "buffer_chunked = true in [[upstream]].",
        ),
        ServerCapability::Depends(how) => report.tell(
            Weight::Note,
            "chunked",
            format!("{name} hands chunked bodies on: {how}"),
            "buffer_chunked = true in [[upstream]] is right for WSGI, and harmless otherwise.",
        ),
    }
    match known.forwarded {
        ServerCapability::No => report.tell(
            Weight::Note,
            "forwarded",
            format!("{name} does not read X-Forwarded-Proto"),
            "Over TLS Django needs SECURE_PROXY_SSL_HEADER = (\"HTTP_X_FORWARDED_PROTO\", \"https\").",
        ),
        ServerCapability::Yes => report.add(Weight::Note, "forwarded", format!("{name} believes X-Forwarded-Proto from everybody")),
        ServerCapability::Depends(how) => {
            report.add(Weight::Note, "forwarded", format!("{name} believes X-Forwarded-Proto: {how}"));
        }
    }
}

fn spellings(service: &ProbedService, path: &str, report: &mut DoctorReport) -> io::Result<()> {
    // Returns the application's name for a header that arrives. Headers with the same name are one to the application.
    let arrives = |name: &str| -> io::Result<Option<String>> {
        let marker = marker()?;
        let answer = service.send(&ProbeRequest::new("GET", path).header(name, &marker))?;
        let shown = answer.body.contains(&marker);
        Ok(shown.then(|| answer.name_of(&marker).unwrap_or_default()))
    };
    let Some(own) = arrives(PLAIN)? else {
        report.tell(
            Weight::Failure,
            "spelling",
            format!("{path} does not show {PLAIN}: it echoes no headers, or they do not arrive"),
            "So the spellings of headers cannot be checked.",
        );
        return Ok(());
    };
    let mut same = Vec::new();
    let mut apart = Vec::new();
    for name in SPELLINGS {
        let shown = name.replace(' ', "<blank>");
        match arrives(name)? {
            Some(other) if other == own => same.push(shown),
            Some(_) => apart.push(shown),
            None => {}
        }
    }
    if same.is_empty() {
        report.add(
            Weight::Fine,
            "spelling",
            format!("{PLAIN} reaches the application, and no other spelling is taken for it"),
        );
    } else {
        report.tell(
            Weight::Warning,
            "spelling",
            format!("the application takes {} for {PLAIN}", same.join(", ")),
            "The gateway removes them all. A client that bypasses it can use any of them.",
        );
    }
    if !apart.is_empty() {
        report.add(
            Weight::Note,
            "spelling",
            format!("{} arrives, as another header", apart.join(", ")),
        );
    }
    let (one, two) = (marker()?, marker()?);
    let answer =
        service.send(&ProbeRequest::new("GET", path).header(PLAIN, &one).header(PLAIN, &two))?;
    let says = match (answer.body.contains(&one), answer.body.contains(&two)) {
        (true, true) => "both are handed on, joined",
        (true, false) => "the first is taken",
        (false, true) => "the last is taken",
        (false, false) => "neither arrives",
    };
    report.add(
        Weight::Note,
        "spelling",
        format!("of {PLAIN} twice: {says} (the gateway sends it once)"),
    );
    Ok(())
}

fn chunked(
    service: &ProbedService,
    path: &str,
    report: &mut DoctorReport,
) -> io::Result<Option<bool>> {
    let length = BODY.len().to_string();
    let shows = |answer: &super::http::ProbeAnswer| {
        answer.body.contains(&length) || answer.body.matches('d').count() >= BODY.len()
    };
    let control = service.send(&ProbeRequest::new("POST", path).body(&BODY))?;
    // The header Content-Length would show the length too; what counts is the body.
    let control_length = control.member(&["length", "body_length"]);
    let is_measured = control_length.as_deref() == Some(length.as_str()) || shows(&control);
    if control.status >= 400 || !is_measured {
        report.add(
            Weight::Note,
            "chunked",
            format!("{path} does not show the length of a body ({})", control.status),
        );
        return Ok(None);
    }
    let answer = service.send(&ProbeRequest::new("POST", path).chunked(&BODY))?;
    let arrived = match answer.member(&["length", "body_length"]) {
        Some(seen) => seen == length,
        None => shows(&answer),
    };
    if arrived {
        report.add(Weight::Fine, "chunked", "a chunked body arrives whole");
    } else {
        report.tell(
            Weight::Warning,
            "chunked",
            format!("of a chunked body of {length} bytes the application sees nothing"),
            "buffer_chunked = true in [[upstream]].",
        );
    }
    Ok(Some(arrived))
}

fn forwarded(service: &ProbedService, path: &str, report: &mut DoctorReport) -> io::Result<()> {
    const SCHEME: [&str; 3] = ["wsgi.url_scheme", "url_scheme", "scheme"];
    const ADDRESS: [&str; 3] = ["REMOTE_ADDR", "remote_addr", "client"];
    /// An address for documentation (RFC 5737), which nobody has.
    const NOBODY: &str = "192.0.2.77";
    let answer = service.send(
        &ProbeRequest::new("GET", path)
            .header("X-Forwarded-Proto", "https")
            .header("X-Forwarded-For", NOBODY),
    )?;
    match answer.member(&SCHEME) {
        Some(scheme) if scheme == "https" => {
            report.add(Weight::Fine, "forwarded", "X-Forwarded-Proto is believed from this address");
        }
        Some(_) => report.tell(
            Weight::Warning,
            "forwarded",
            "the server does not believe X-Forwarded-Proto from this address",
            "Over TLS Django then needs SECURE_PROXY_SSL_HEADER = (\"HTTP_X_FORWARDED_PROTO\", \"https\").",
        ),
        None => report.add(Weight::Note, "forwarded", format!("{path} shows no scheme")),
    }
    match answer.member(&ADDRESS) {
        Some(address) if address.contains(NOBODY) => {
            report.add(Weight::Note, "forwarded", "X-Forwarded-For becomes the client's address");
        }
        Some(_) => report.tell(
            Weight::Note,
            "forwarded",
            "the application takes the gateway for the client: X-Forwarded-For stays a header",
            "Limits and logs of the service that go by address need that header.",
        ),
        None => {}
    }
    Ok(())
}

/// Returns a unique value.
fn marker() -> io::Result<String> {
    random_id().map_err(io::Error::other)
}
