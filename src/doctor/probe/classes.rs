//! Finds out which of the service's authentication classes answer, from how it refuses requests without a credential and
//! with invalid ones. No password is tried: the one for Basic is not even base64.

use std::io;

use super::http::{ProbeAnswer, ProbeRequest, ProbedService};
use crate::doctor::finding::{DoctorReport, Weight};

/// The classes that were found, for the proposals.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct FoundClasses {
    pub(super) simplejwt: bool,
    pub(super) drf_token: bool,
    pub(super) basic: bool,
    pub(super) session: bool,
    pub(super) hand_made: bool,
    /// Whether a path redirects to a login page of the service's own.
    pub(super) redirects: bool,
}

/// Invalid credentials, and how a class refuses each.
const TRIALS: [(&str, &str, &str, &[&str]); 4] = [
    (
        "Authorization",
        "Bearer doorwarden.probe.none",
        "SimpleJWT (JWTAuthentication)",
        &["token_not_valid", "Given token not valid"],
    ),
    ("Authorization", "Token doorwarden-probe", "TokenAuthentication", &["Invalid token"]),
    ("Authorization", "Basic !", "BasicAuthentication", &["Invalid basic header"]),
    ("jwt-auth", "doorwarden.probe.none", "a hand-made JWT in jwt-auth", &[]),
];

pub(super) fn look(
    service: &ProbedService,
    path: &str,
    report: &mut DoctorReport,
) -> io::Result<FoundClasses> {
    let plain = service.get(path)?;
    let mut classes = FoundClasses::default();
    let challenge = plain.header("www-authenticate").unwrap_or_default().to_owned();
    match plain.status {
        401 => report.add(Weight::Fine, "classes", format!("{path}: 401, WWW-Authenticate: {challenge}")),
        403 if plain.body.contains("credentials were not provided") => {
            classes.session = true;
            report.tell(
                Weight::Fine,
                "classes",
                format!("{path}: 403 because credentials are missing"),
                "REST framework's first class there is SessionAuthentication, or one of the project's own.",
            );
        }
        301 | 302 | 303 | 307 if is_sign_in(&plain) => {
            classes.redirects = true;
            let to = plain.header("location").unwrap_or_default();
            report.tell(
                Weight::Fine,
                "classes",
                format!("{path}: redirects to {to}"),
                "A page of Django's own for signing in: such views want a Django session (identity form django-session).",
            );
        }
        404 => {
            report.add(Weight::Warning, "classes", format!("{path}: 404, name a protected path with --probe-path"));
            return Ok(classes);
        }
        status => report.tell(
            Weight::Note,
            "classes",
            format!("{path}: {status} without a credential"),
            "It is not protected there, or by something that cannot be seen; an invalid credential may show more.",
        ),
    }
    for (at, (header, value, name, says)) in TRIALS.into_iter().enumerate() {
        let answer = service.send(&ProbeRequest::new("GET", path).header(header, value))?;
        let is_told =
            says.iter().any(|text| answer.body.contains(text) && !plain.body.contains(text));
        // A class of the project's own has its own texts, so it only shows in an answer that differs from the one without it.
        let is_other = says.is_empty()
            && (answer.status != plain.status || detail(&answer) != detail(&plain))
            && answer.status >= 400;
        if is_told || is_other {
            report.add(
                Weight::Fine,
                "classes",
                format!("{path}: {name} answers: {} {}", answer.status, detail(&answer)),
            );
            match at {
                0 => classes.simplejwt = true,
                1 => classes.drf_token = true,
                2 => classes.basic = true,
                _ => classes.hand_made = true,
            }
        }
    }
    if classes == FoundClasses::default() && plain.status < 400 {
        report.add(Weight::Note, "classes", format!("{path}: no authentication class recognized"));
    }
    Ok(classes)
}

impl FoundClasses {
    pub(super) const fn and(self, other: Self) -> Self {
        Self {
            simplejwt: self.simplejwt || other.simplejwt,
            drf_token: self.drf_token || other.drf_token,
            basic: self.basic || other.basic,
            session: self.session || other.session,
            hand_made: self.hand_made || other.hand_made,
            redirects: self.redirects || other.redirects,
        }
    }
}

pub(super) fn is_sign_in(answer: &ProbeAnswer) -> bool {
    answer
        .header("location")
        .is_some_and(|to| to.to_ascii_lowercase().contains("login") || to.contains("next="))
}

/// Returns the detail of a refusal, shortened.
fn detail(answer: &ProbeAnswer) -> String {
    let text = answer.member(&["detail"]).unwrap_or_default();
    text.chars().take(80).collect()
}
