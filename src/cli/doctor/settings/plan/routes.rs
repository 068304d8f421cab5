//! `[[route]]`: what stays public, what asks for a sign-in, and what each is told.

use super::super::facts::Endpoint;
use super::forms::TOKEN;
use super::toml::quoted;
use super::{Planner, UPSTREAM};
use crate::cli::doctor::finding::Mark;
use crate::wire::path::CanonicalPath;

/// Kinds of view that people reach before they are signed in.
const PUBLIC: [(&str, &str); 12] = [
    ("login", "the service's own sign-in"),
    ("hand-made-obtain", "the service's own sign-in"),
    ("drf-token-obtain", "gives out tokens of rest_framework.authtoken"),
    ("simplejwt-obtain", "gives out tokens of the project's own"),
    ("simplejwt-refresh", "left to the service"),
    ("simplejwt-verify", "left to the service"),
    ("simplejwt-blacklist", "left to the service"),
    ("sliding-obtain", "gives out sliding tokens"),
    ("sliding-refresh", "gives out sliding tokens"),
    ("password-reset", "for people who cannot sign in"),
    ("sign-up", "for people who have no account"),
    ("public-by-name", "public by its name, see whether it is"),
];

impl Planner<'_> {
    pub(super) fn routes(&mut self) {
        let facts = self.facts;
        let (bearer, cookie) = self.form_names();
        // Who has no token yet must reach where it is given out.
        let unless_token = |form: Option<&'static str>| form.filter(|form| *form != TOKEN);
        if let Some(path) = local(&facts.static_url) {
            self.route(&path, "public", None, None, "STATIC_URL");
            self.tell_public(&path, "STATIC_URL");
        }
        if let Some(path) = local(&facts.media_url) {
            self.report.tell(
                Mark::Note,
                "public",
                format!(
                    "MEDIA_URL is {path}: as the file is written, uploads are for who is signed in"
                ),
                "If they are public, add a route like that of STATIC_URL.",
            );
        }
        for admin in &facts.urls.admins {
            let Some(path) = route_path(admin) else { continue };
            if self.choices.sessions || self.choices.remote_user.is_some() {
                let bearer = bearer.filter(|_| self.choices.remote_user.is_some());
                self.route(&path, "signed-in", bearer, cookie, "the Django admin");
            } else {
                self.route(&path, "public", None, None, "the Django admin, with its own sign-in");
                self.tell_public(&path, "the admin, with its own sign-in");
            }
        }
        for (path, view, why, kind) in self.public_paths() {
            // A caller with a cookie is left the one that the view is about to give them.
            let cookie = if is_session(&kind) { None } else { unless_token(cookie) };
            self.route(&path, "public", unless_token(bearer), cookie, &format!("{view}: {why}"));
            self.tell_public(&path, &why);
        }
        self.route("/", "signed-in", bearer, cookie, "everything else");
        self.report.tell(
            Mark::Note,
            "routes",
            "everything else asks for a sign-in at the gateway",
            "Pages and APIs for anonymous visitors need a route with access = \"public\" or \"optional\".",
        );
    }

    fn tell_public(&mut self, path: &str, why: &str) {
        self.report.add(Mark::Fine, "public", format!("{path} ({why})"));
    }

    /// What must stay public and is not answered by the gateway: path, view, why, kind. None lies below another.
    fn public_paths(&self) -> Vec<(String, String, String, String)> {
        let mut all: Vec<(String, &Endpoint, &str)> = Vec::new();
        for endpoint in &self.facts.urls.endpoints {
            let Some((_, why)) = PUBLIC.iter().find(|(kind, _)| *kind == endpoint.kind) else {
                continue;
            };
            if self.alias_of(endpoint).is_some() {
                continue;
            }
            let Some(path) = route_path(&endpoint.path) else { continue };
            all.push((path, endpoint, why));
        }
        all.sort_by(|(one, ..), (other, ..)| one.cmp(other));
        let mut kept: Vec<(String, String, String, String)> = Vec::new();
        for (path, endpoint, why) in all {
            let covered = |by: &str| {
                path == by
                    || path
                        .strip_prefix(by)
                        .is_some_and(|rest| by.ends_with('/') || rest.starts_with('/'))
            };
            if !kept
                .iter()
                .any(|(by, .., kind)| covered(by) && is_session(kind) == is_session(&endpoint.kind))
            {
                kept.push((path, endpoint.view.clone(), why.to_owned(), endpoint.kind.clone()));
            }
        }
        kept
    }

    fn route(
        &mut self,
        path: &str,
        access: &str,
        bearer: Option<&str>,
        cookie: Option<&str>,
        why: &str,
    ) {
        let name = self.route_name(path);
        let toml = &mut self.toml;
        toml.table("[[route]]");
        toml.string("name", &name, "");
        toml.string("path", path, why);
        toml.string("upstream", UPSTREAM, "");
        toml.string("access", access, "");
        match (bearer, cookie) {
            (Some(bearer), Some(cookie)) if bearer == cookie => toml.string("identity", bearer, ""),
            (None, None) => {}
            (bearer, cookie) => {
                let keys = [("bearer", bearer), ("cookie", cookie)];
                let keys = keys
                    .iter()
                    .filter_map(|(key, form)| Some(format!("{key} = {}", quoted((*form)?))));
                toml.raw("identity", &format!("{{ {} }}", keys.collect::<Vec<_>>().join(", ")), "");
            }
        }
        if self.facts.cors {
            toml.flag("forward_preflight", true, "corsheaders answers them");
        }
    }

    /// From its path; each has its own.
    fn route_name(&mut self, path: &str) -> String {
        let words = path
            .split(|letter: char| !letter.is_ascii_alphanumeric())
            .filter(|word| !word.is_empty());
        let mut name = words.collect::<Vec<_>>().join("-");
        name.truncate(48);
        if name.is_empty() {
            name = "app".into();
        }
        let same = self.choices.names.iter().filter(|taken| **taken == name).count();
        self.choices.names.push(name.clone());
        if same == 0 { name } else { format!("{name}-{}", same + 1) }
    }
}

/// Does the view set `sessionid`?
fn is_session(kind: &str) -> bool {
    kind == "login"
}

/// A URL that is a path of this host, and not all of it.
fn local(url: &str) -> Option<String> {
    if url.starts_with("//") || url.contains("://") {
        return None;
    }
    route_path(url)
}

/// A path that a route can have: canonical, and cut to whole segments.
pub(super) fn route_path(path: &str) -> Option<String> {
    let path = CanonicalPath::parse(path).ok()?;
    (path.as_str() != "/").then(|| path.as_str().to_owned())
}
