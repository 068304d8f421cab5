//! Finds out which server software answers, and what is known of it.
//!
//! The rows are recorded answers of these servers with Django behind them. What a running one really does is measured if
//! there is a view that echoes its request (`echo.rs`), and then counts instead of this.

use super::http::{ProbeRequest, ProbedService};
use crate::doctor::finding::{DoctorReport, Weight};

/// What is known of a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct KnownServer {
    /// The server's usual name.
    pub(super) name: &'static str,
    /// The beginning of its `Server` header, in lower case.
    sign: &'static str,
    /// Whether `X_User_Id` becomes the same variable as `X-User-Id`.
    pub(super) folds: ServerCapability,
    /// Whether a chunked body reaches a Django application.
    pub(super) chunked: ServerCapability,
    /// Whether it takes the scheme from `X-Forwarded-Proto`.
    pub(super) forwarded: ServerCapability,
}

/// Whether a server does something, as far as that is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ServerCapability {
    Yes,
    No,
    /// It depends on settings or the version, which cannot be seen from outside.
    Depends(&'static str),
}

use ServerCapability::{Depends, No, Yes};

const SERVERS: [KnownServer; 9] = [
    KnownServer {
        name: "gunicorn",
        sign: "gunicorn",
        folds: Depends(
            "before version 22 and with --header-map dangerous; names in --forwarder-headers always",
        ),
        chunked: Depends("only with an ASGI worker"),
        forwarded: Depends("from addresses in --forwarded-allow-ips; loopback is one by default"),
    },
    KnownServer {
        name: "uvicorn",
        sign: "uvicorn",
        folds: Depends("only with Django 5.1, which keeps such names under ASGI"),
        chunked: Yes,
        forwarded: Depends("from addresses in --forwarded-allow-ips; loopback is one by default"),
    },
    KnownServer {
        name: "daphne",
        sign: "daphne",
        folds: No,
        chunked: Yes,
        forwarded: Depends("only with --proxy-headers"),
    },
    KnownServer { name: "hypercorn", sign: "hypercorn", folds: No, chunked: Yes, forwarded: No },
    KnownServer {
        name: "granian",
        sign: "granian",
        folds: Depends("with its WSGI interface"),
        chunked: Depends("only with its ASGI interface"),
        forwarded: No,
    },
    KnownServer {
        name: "waitress",
        sign: "waitress",
        folds: No,
        chunked: Yes,
        forwarded: Depends("only with --trusted-proxy"),
    },
    KnownServer {
        name: "manage.py runserver or wsgiref",
        sign: "wsgiserver",
        folds: Depends("wsgiref by itself does, runserver does not"),
        chunked: No,
        forwarded: No,
    },
    KnownServer {
        name: "Werkzeug",
        sign: "werkzeug",
        folds: Depends("by its version"),
        chunked: Depends("Flask reads it, Django does not"),
        forwarded: No,
    },
    KnownServer { name: "uWSGI", sign: "uwsgi", folds: Yes, chunked: No, forwarded: Yes },
];

/// Proxies, behind which the server itself cannot be seen.
const PROXIES: [&str; 6] = ["nginx", "apache", "caddy", "envoy", "traefik", "openresty"];

/// Finds out which server answers. `None` if it is unknown.
pub(super) fn look(
    service: &ProbedService,
    report: &mut DoctorReport,
) -> std::io::Result<Option<KnownServer>> {
    let answer = service.get("/")?;
    let Some(server) = answer.header("server") else {
        return Ok(nameless(service, report));
    };
    let lower = server.to_ascii_lowercase();
    if let Some(proxy) = PROXIES.iter().find(|proxy| lower.starts_with(**proxy)) {
        report.tell(
            Weight::Warning,
            "server",
            format!("{server}: a proxy of its own ({proxy}) answers, not the application's server"),
            "Point [[upstream]] at the application's server, or make that proxy hand on the headers of [identity] from the gateway alone.",
        );
        return Ok(None);
    }
    let known = SERVERS.into_iter().find(|known| lower.starts_with(known.sign));
    match known {
        Some(known) => report.add(Weight::Fine, "server", format!("{server} ({})", known.name)),
        None => report.add(Weight::Note, "server", format!("{server}, an unknown server")),
    }
    if let Some(KnownServer { name: "gunicorn", .. }) = known {
        gunicorn(service, report);
    }
    if answer.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("keep-alive")) {
        report.add(
            Weight::Note,
            "server",
            "it keeps connections; [[upstream]] idle_timeout must be below its own limit",
        );
    }
    Ok(known)
}

/// Identifies a server without a `Server` header: if it answers a blank before the colon not with 400, it is uWSGI or wsgiref.
fn nameless(service: &ProbedService, report: &mut DoctorReport) -> Option<KnownServer> {
    let lenient = service.send(&ProbeRequest::new("GET", "/").header("X-Doorwarden-Probe ", "1"));
    let is_lenient = lenient.is_ok_and(|answer| answer.status != 400);
    let known =
        is_lenient.then(|| SERVERS.into_iter().find(|known| known.sign == "uwsgi")).flatten();
    match known {
        Some(_) => report.add(
            Weight::Note,
            "server",
            "no Server header, and it takes a blank before a header's colon: as uWSGI does",
        ),
        None => report.add(Weight::Note, "server", "no Server header: the server is unknown"),
    }
    known
}

/// Tests for versions before 22, which forward folded lines and also fold `X_User_Id` into `X-User-Id`.
fn gunicorn(service: &ProbedService, report: &mut DoctorReport) {
    let folded =
        service.send(&ProbeRequest::new("GET", "/").header("X-Doorwarden-Probe", "1\r\n 2"));
    if folded.is_ok_and(|answer| answer.status != 400) {
        report.tell(
            Weight::Warning,
            "server",
            "it takes folded header lines: an old gunicorn, which takes X_User_Id for X-User-Id too",
            "The gateway drops such names. Whoever reaches the service without it can pose as any user: update gunicorn.",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_sign_hides_another() {
        for (at, known) in SERVERS.iter().enumerate() {
            assert_eq!(
                SERVERS.iter().position(|other| known.sign.starts_with(other.sign)),
                Some(at)
            );
            assert_eq!(known.sign, known.sign.to_ascii_lowercase());
        }
    }
}
