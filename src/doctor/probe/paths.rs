//! Finds paths that collide with the gateway's own, and paths that must stay public.

use std::io;

use super::http::{ProbeRequest, ProbedService};
use crate::config::OwnPath;
use crate::doctor::finding::{DoctorReport, Weight};

/// A path that no service has.
const NOWHERE: &str = "/doorwarden-probe/no/such/path";

/// Where Django projects and their usual packages have pages and files for people who are not signed in.
const PUBLIC: [(&str, &str); 18] = [
    ("/static/admin/css/base.css", "/static/"),
    ("/accounts/login/", ""),
    ("/admin/login/", ""),
    ("/api-auth/login/", ""),
    ("/accounts/password_reset/", "/accounts/password_reset/"),
    ("/accounts/password/reset/", "/accounts/password/reset/"),
    ("/accounts/reset/done/", "/accounts/reset/"),
    ("/password_reset/", "/password_reset/"),
    ("/password-reset/", "/password-reset/"),
    ("/reset/done/", "/reset/"),
    ("/admin/password_reset/", "/admin/password_reset/"),
    ("/accounts/signup/", "/accounts/signup/"),
    ("/accounts/register/", "/accounts/register/"),
    ("/signup/", "/signup/"),
    ("/signup", "/signup"),
    ("/register/", "/register/"),
    ("/register", "/register"),
    ("/favicon.ico", "/favicon.ico"),
];

/// A path that the gateway answers itself.
pub(super) struct ProbedOwnPath {
    pub(super) path: String,
    pub(super) own: OwnPath,
    /// Whether it is written as an alias, and so meant to hide the service's path.
    pub(super) is_alias: bool,
}

/// Requests each of the gateway's own paths from the service.
pub(super) fn collisions(
    service: &ProbedService,
    own: &[ProbedOwnPath],
    report: &mut DoctorReport,
) -> io::Result<()> {
    let nowhere = service.get(NOWHERE)?.status;
    if nowhere != 404 {
        report.tell(
            Weight::Note,
            "paths",
            format!("an unknown path answers {nowhere}, not 404: there is a view for all paths"),
            "Collisions with the gateway's own paths cannot be seen from outside.",
        );
        return Ok(());
    }
    let mut free = Vec::new();
    for ProbedOwnPath { path, own, is_alias } in own {
        let status = service.get(path)?.status;
        match (status, is_alias) {
            (404, false) => free.push(path.as_str()),
            (404, true) => report.add(
                Weight::Warning,
                "paths",
                format!("the alias {path} ({}) is no path of the service's: is it written right? Case counts", own.name()),
            ),
            (_, true) => report.add(Weight::Fine, "paths", format!("the alias {path} takes the service's path over ({})", own.name())),
            (_, false) => report.tell(
                Weight::Warning,
                "paths",
                format!("the service has {path} too ({status}), which the gateway's own hides"),
                format!("[paths] {} = \"/doorwarden{path}\" moves it.", own.name()),
            ),
        }
    }
    if !free.is_empty() {
        report.add(Weight::Fine, "paths", format!("not the service's: {}", free.join(", ")));
    }
    Ok(())
}

/// Finds what answers without a credential. Returns the prefixes for which routes are proposed.
pub(super) fn public(
    service: &ProbedService,
    report: &mut DoctorReport,
) -> io::Result<Vec<&'static str>> {
    let nowhere = service.get(NOWHERE)?;
    if nowhere.status == 200 {
        report.add(
            Weight::Note,
            "public",
            "every path is 200: what must stay public cannot be seen",
        );
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for (path, prefix) in PUBLIC {
        let answer = service.send(&ProbeRequest::new("GET", path))?;
        if answer.status != 200 {
            continue;
        }
        if prefix.is_empty() {
            report.tell(
                Weight::Note,
                "public",
                format!("{path}: a page for signing in"),
                "Behind the gateway people sign in at the gateway's. Leave it public only for those who must use the service's own.",
            );
        } else {
            report.add(
                Weight::Note,
                "public",
                format!("{prefix} answers without a credential ({path})"),
            );
            found.push(prefix);
        }
    }
    Ok(found)
}
