//! Decides who signs people in: the gateway in the service's place, or the service, and the gateway follows.
//!
//! The gateway takes the sign-in over only if Django was asked and every answer was the same. One obstacle is enough for
//! `[sign_in] mode = "follow"`, and each has a line in the report and in the file: an operator who removes them all can
//! let the gateway sign in.

use super::super::facts::{ProjectFacts, UrlShape};
use super::super::proof::{ColumnCondition, ObstacleEffect, SignInProof};
use super::Planner;
use super::toml::Toml;
use crate::django::hashers::PasswordHasher;
use crate::doctor::finding::{DoctorReport, Weight};
use crate::wire::path::CanonicalPath;

/// Kinds of view that sign people in, up and out, each with the answer to valid credentials.
const OBSERVED: [(&str, &str, Success); 15] = [
    ("login", "sign-in", Success::Session),
    ("dj-rest-auth-login", "sign-in", Success::Status),
    ("knox-obtain", "sign-in", Success::Status),
    ("simplejwt-obtain", "sign-in", Success::Tokens),
    ("sliding-obtain", "sign-in", Success::Tokens),
    ("simplejwt-refresh", "refresh", Success::Refreshed),
    ("sliding-refresh", "refresh", Success::Refreshed),
    ("drf-token-obtain", "sign-in", Success::Status),
    ("hand-made-obtain", "sign-in", Success::Status),
    ("sign-up", "sign-up", Success::Session),
    ("logout", "sign-out", Success::None),
    ("dj-rest-auth-logout", "sign-out", Success::None),
    ("knox-logout", "sign-out", Success::None),
    ("knox-logout-all", "sign-out", Success::None),
    ("simplejwt-blacklist", "sign-out", Success::None),
];

/// The name of the user name's field in a package's own form.
const FIELDS: [(&str, &str); 4] = [
    ("allauth.account.", "login"),
    ("two_factor.", "auth-username"),
    ("oscar.", "login-username"),
    ("django.", "username"),
];

/// How an answer shows that somebody was signed in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Success {
    /// The answer sets a session that has a user, which the gateway sees by itself.
    Session,
    /// The status is 200 or 201: there is no session, and tokens are in the body.
    Status,
    /// The status is 200, and SimpleJWT's tokens are in the body, which the gateway can read.
    Tokens,
    /// As [`Success::Tokens`], for a refresh token.
    Refreshed,
    None,
}

/// Whether the service continues to sign people in. Reports why.
pub(super) fn follows(facts: &ProjectFacts, report: &mut DoctorReport) -> bool {
    let Some(proof) = &facts.proof else {
        report.tell(
            Weight::Failure,
            "sign-in",
            "Django could not be asked how it signs people in",
            "The service goes on doing it. The line with \"could not be read\" says what went wrong.",
        );
        return true;
    };
    let mut reasons = 0;
    for one in &proof.obstacles {
        let says = format!("{}: {}", one.about, one.says);
        let mark = match one.effect {
            ObstacleEffect::Follow => Weight::Note,
            ObstacleEffect::Fail => Weight::Failure,
        };
        reasons += 1;
        if one.means.is_empty() {
            report.add(mark, "sign-in", says);
        } else {
            report.tell(mark, "sign-in", says, one.means.clone());
        }
    }
    for (name, count) in unknown_hashes(proof) {
        reasons += 1;
        report.add(
            Weight::Note,
            "sign-in",
            format!(
                "hashers: {count} passwords are stored as {name}, which the gateway does not know"
            ),
        );
    }
    if reasons == 0 {
        report.add(
            Weight::Fine,
            "sign-in",
            format!(
                "the gateway signs people in as Django does: asked about {} of {} users, its backends, forms, receivers and middleware",
                proof.asked, proof.users
            ),
        );
        return false;
    }
    report.tell(
        Weight::Note,
        "sign-in",
        format!("the service goes on signing people in, and the gateway follows ({reasons} reasons)"),
        "For the gateway to sign in itself, none of the lines above may hold: change it in the project, and run the doctor again.",
    );
    true
}

fn unknown_hashes(proof: &SignInProof) -> impl Iterator<Item = (&str, u64)> {
    let all = proof.hashes.iter().map(|(name, count)| (name.as_str(), *count));
    all.filter(|(name, _)| PasswordHasher::parse(name).is_none())
}

impl<'f> Planner<'f> {
    /// Writes `[sign_in]`, if the service continues to sign people in.
    pub(super) fn sign_in(&mut self) {
        if !self.choices.follows {
            self.login_page();
            return;
        }
        let facts = self.facts;
        self.toml.section("Who signs people in");
        self.toml.note(
            "The service goes on signing people in, on its own pages and URLs, and the gateway follows: what the service \
             gives becomes a session of the gateway's. Why the gateway does not do it itself:",
        );
        let mut why: Vec<String> = Vec::new();
        if let Some(proof) = &facts.proof {
            why.extend(proof.obstacles.iter().map(|one| format!("{}: {}", one.about, one.says)));
            why.extend(unknown_hashes(proof).map(|(name, _)| format!("hashers: {name}")));
        }
        self.toml.lines(&why);
        self.toml.table("[sign_in]");
        self.toml.string("mode", "follow", "\"replace\" when none of these holds any more");
        if let Some(path) = self.login_path() {
            self.toml.string("login_path", &path, "the service's own login page");
        }
        let mut seen: Vec<(&str, String)> = Vec::new();
        for endpoint in &facts.urls.endpoints {
            let Some((_, kind, success)) =
                OBSERVED.iter().find(|(kind, ..)| *kind == endpoint.kind)
            else {
                continue;
            };
            let here = (*kind, endpoint.path.clone());
            // A view that calls Django's `login` may be a checkout, or a page for staff: anonymous callers must be let in.
            let is_for_others =
                endpoint.guessed && *kind == "sign-in" && !endpoint.served.contains_key("POST");
            // Without an issuer, nothing of the answer could be read.
            let is_unread = *success == Success::Refreshed && self.choices.simplejwt.is_none();
            if is_for_others || is_unread || !is_whole(endpoint) || seen.contains(&here) {
                continue;
            }
            seen.push(here);
            let field = self.name_field(endpoint);
            self.observe(kind, &endpoint.path, &endpoint.view, field, *success);
        }
        for admin in &facts.urls.admins {
            let view = "django.contrib.admin";
            self.observe("sign-in", &format!("{admin}login/"), view, "username", Success::Session);
            self.observe("sign-out", &format!("{admin}logout/"), view, "", Success::None);
        }
    }

    /// Writes the address of the login page if the gateway signs people in: the service's, if that is the admin's, where links
    /// and bookmarks lead. Another page may have more than a name and a password, and stays.
    fn login_page(&mut self) {
        let Some(path) = self.login_path().filter(|path| self.admin_login_paths().contains(path))
        else {
            return;
        };
        self.toml.section("Who signs people in");
        self.toml.table("[sign_in]");
        self.toml.string("login_path", &path, "the admin's own; the gateway answers there");
    }

    /// Returns the login pages of admins, if the gateway replaces them.
    pub(super) fn admin_login_paths(&self) -> Vec<String> {
        let is_replaced =
            !self.choices.follows && self.choices.sessions && self.choices.remote_user.is_none();
        let admins = self.facts.urls.admins.iter().filter(|_| is_replaced);
        let paths = admins.map(|admin| format!("{admin}login/"));
        paths.filter(|path| CanonicalPath::parse(path).is_ok()).collect()
    }

    fn observe(&mut self, kind: &str, path: &str, view: &str, field: &str, success: Success) {
        let toml = &mut self.toml;
        toml.table("[[sign_in.observe]]");
        toml.string("kind", kind, view);
        toml.string("path", path, "");
        toml.list("methods", &["POST".to_owned()], "");
        if kind == "sign-in" {
            toml.string("username_field", field, "");
        }
        let is_read = matches!(success, Success::Tokens | Success::Refreshed);
        if is_read && self.choices.simplejwt.is_some() {
            toml.string("tokens", "simplejwt", "");
        }
        match success {
            Success::Status | Success::Tokens => toml.raw("success", "{ status = [200, 201] }", ""),
            Success::Refreshed | Success::None | Success::Session => {}
        }
    }

    /// Returns where a browser goes to sign in: the project's own page, or else the admin's. A view that accepts a name and a
    /// password and cannot be opened (django CMS has one) is not a page.
    pub(super) fn login_path(&self) -> Option<String> {
        let urls = &self.facts.urls;
        let cannot_be_opened =
            |one: &UrlShape| one.answers.iter().any(|answer| answer.starts_with("405"));
        let mut pages = urls.endpoints.iter().filter(|one| {
            one.kind == "login" && one.exact && !one.guessed && !one.hidden && !one.stray
        });
        let page = pages.find(|one| !cannot_be_opened(one)).map(|one| one.path.clone());
        page.or_else(|| urls.admins.first().map(|admin| format!("{admin}login/")))
    }

    /// Returns the name of the user name's field there.
    fn name_field(&self, endpoint: &'f UrlShape) -> &'f str {
        // If there is a page, it says so itself.
        let own = endpoint.form.as_ref().map(|form| form.username.as_str());
        if let Some(field) = own.filter(|field| !field.is_empty()) {
            return field;
        }
        let of_package = FIELDS.iter().find(|(package, _)| endpoint.view.starts_with(package));
        let facts: &'f ProjectFacts = self.facts;
        let user = facts.user.as_ref().map(|user| user.username_field.as_str());
        match (endpoint.kind.as_str(), of_package) {
            ("simplejwt-obtain" | "sliding-obtain", _) => user.unwrap_or("username"),
            (_, Some((_, field))) => field,
            _ => "username",
        }
    }

    /// Writes what else `[[directory]]` asks for: conditions, and who has a second factor.
    pub(super) fn what_else_is_asked(&mut self) {
        let Some(proof) = &self.facts.proof else { return };
        for condition in &proof.conditions {
            self.toml.table("[[directory.condition]]");
            write(&mut self.toml, condition, "the manager of the user model");
        }
        for factor in proof.second_factors.iter().filter(|factor| factor.known) {
            self.toml.table("[[directory.second_factor]]");
            let place = proof.tables.get(&factor.table).and_then(Option::as_ref);
            let table = place.map_or(factor.table.as_str(), |(_, table)| table);
            self.toml.string("table", table, &factor.model);
            self.toml.string("user_column", &factor.user_column, "");
            if factor.user_key != "id" {
                self.toml.string("user_key", &factor.user_key, "");
            }
            for condition in &factor.conditions {
                self.toml.table("[[directory.second_factor.condition]]");
                write(&mut self.toml, condition, "");
            }
        }
        let mut known: Vec<&str> = Vec::new();
        let mut others: Vec<&str> = Vec::new();
        for factor in &proof.second_factors {
            let list = if factor.known { &mut known } else { &mut others };
            if !list.contains(&factor.model.as_str()) {
                list.push(&factor.model);
            }
        }
        if !known.is_empty() {
            self.report.tell(
                Weight::Note,
                "factor",
                format!("whoever has a second factor is refused wherever the gateway takes a password: {}", known.join(", ")),
                "They sign in at the service, which asks for it; of django-otp and allauth.mfa the gateway can take the codes itself (docs/second-factors.md, take_over).",
            );
        }
        if !others.is_empty() {
            self.report.tell(
                Weight::Failure,
                "factor",
                format!("{} may hold second factors, and what its rows mean is not known", others.join(", ")),
                "If they do, write [[directory.second_factor]] for that table; if not, ignore this line.",
            );
        }
    }
}

/// Whether it is a path, possibly with variable segments, and not everything below one.
fn is_whole(endpoint: &UrlShape) -> bool {
    !endpoint.rest && !endpoint.stray && !endpoint.hidden
}

fn write(toml: &mut Toml, condition: &ColumnCondition, from: &str) {
    toml.string("column", &condition.column, from);
    match (&condition.is, &condition.equals) {
        (Some(is), _) => toml.string("is", is, ""),
        (None, Some(serde_json::Value::String(text))) => toml.string("equals", text, ""),
        (None, Some(value)) => toml.raw("equals", &value.to_string(), ""),
        (None, None) => {}
    }
}
