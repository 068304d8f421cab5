//! `[[route]]`: what anonymous callers may use, what requires a sign-in, and which identity each route forwards.
//!
//! Nothing is open because of a word in its path. A pattern is open because of the class of its view, or because an
//! anonymous caller was served there: see [`open`](super::open).

use super::super::facts::{ProjectFacts, UrlShape};
use super::forms::TOKEN;
use super::knox::obtains;
use super::open::{self, ALL, OpenAccess, UnopenedPattern};
use super::toml::quoted;
use super::{Planner, UPSTREAM};
use crate::config::OwnPath;
use crate::doctor::finding::Weight;
use crate::wire::path::CanonicalPath;

/// Kinds of view that people reach before they are signed in, whatever the method.
const PUBLIC: [(&str, &str); 23] = [
    ("login", "the service's own sign-in"),
    ("sign-in-step", "part of the service's own sign-in"),
    ("dj-rest-auth-login", "the service's own sign-in"),
    ("dj-rest-auth-refresh", "left to the service"),
    ("dj-rest-auth-logout", "left to the service"),
    ("knox-obtain", "the service's own sign-in"),
    ("knox-logout", "left to the service"),
    ("knox-logout-all", "left to the service"),
    ("drf-token-obtain", "gives out tokens of rest_framework.authtoken"),
    ("simplejwt-obtain", "gives out tokens of the project's own"),
    ("simplejwt-refresh", "left to the service"),
    ("simplejwt-verify", "left to the service"),
    ("simplejwt-blacklist", "left to the service"),
    ("sliding-obtain", "gives out sliding tokens"),
    ("sliding-refresh", "gives out sliding tokens"),
    ("password-reset", "for people who cannot sign in"),
    ("password-reset-step", "for people who cannot sign in"),
    ("sign-up", "for people who have no account"),
    ("sign-up-step", "for people who have no account"),
    ("client-credentials", "its clients have secrets of their own"),
    ("headless", "answers a front end's questions about signing in"),
    ("for-everybody", "changes nothing but a visitor's own page"),
    ("own-files", "hands out files, and decides itself to whom"),
];

/// Kinds whose views set `sessionid`.
const SESSIONS: [&str; 6] =
    ["login", "sign-in-step", "sign-up", "sign-up-step", "dj-rest-auth-login", "headless"];

impl Planner<'_> {
    pub(super) fn routes(&mut self) {
        let facts = self.facts;
        let (bearer, own) = self.form_names();
        let cookie = &*self.cookie_forms();
        // A caller without a token must be able to reach the place where it is issued.
        let unless_token = |form: Option<&'static str>| form.filter(|form| *form != TOKEN);
        let cookie_unless_token: Vec<&str> =
            cookie.iter().copied().filter(|form| *form != TOKEN).collect();
        self.files();
        for admin in &facts.urls.admins {
            let Some(path) = route_path(admin) else { continue };
            if self.choices.sessions || self.choices.remote_user.is_some() {
                let bearer = bearer.filter(|_| self.choices.remote_user.is_some());
                // The admin reads only the session.
                let cookie = own.as_slice();
                self.route(
                    &Written::folder(&path, "signed-in", "the Django admin"),
                    bearer,
                    cookie,
                );
            } else {
                let why = "the admin, with its own sign-in";
                self.route(&Written::folder(&path, "public", why), None, &[]);
                self.tell_public(&path, why);
            }
        }
        let candidates: Vec<OpenAccess<'_>> =
            facts.urls.endpoints.iter().filter_map(|one| self.candidate(one)).collect();
        let opened =
            open::opened(&facts.urls.endpoints, candidates, |one| self.alias_of(one).is_some());
        let mut asked = Vec::new();
        for (at, one) in opened.open.iter().enumerate() {
            let is_first = |other: &OpenAccess<'_>| {
                (&other.endpoint.path, other.endpoint.rest)
                    == (&one.endpoint.path, one.endpoint.rest)
            };
            // Two patterns of the project can be the same pattern of the gateway.
            if opened.open.iter().position(is_first) != Some(at) {
                continue;
            }
            // Its view accepts a name and a password as the gateway would.
            let leaves_all = obtains(&one.endpoint.kind) && self.writes_basic();
            let credentials = self.credentials(one.endpoint);
            if !self.judges(one.endpoint).is_empty() {
                self.left.push(one.endpoint.path.clone());
            }
            let written = Written { leaves_all, credentials, ..Written::open(one) };
            let is_public = one.access == "public";
            let sets_session = SESSIONS.contains(&one.endpoint.kind.as_str());
            let (its_bearer, its_cookie) = match is_public {
                // A caller with a cookie keeps the one that the view is about to set.
                true if sets_session => (unless_token(bearer), &[][..]),
                true => (unless_token(bearer), &*cookie_unless_token),
                false => (bearer, cookie),
            };
            self.route(&written, its_bearer, its_cookie);
            let line = written.to_string();
            if is_public {
                self.tell_public(&line, &one.why);
            } else {
                asked.push(format!("{line} ({})", one.why));
            }
            let without_slash = one.endpoint.path.trim_end_matches('/');
            let is_ours = OwnPath::ALL.iter().any(|own| own.default_path() == Some(without_slash));
            if one.endpoint.redirects_to_slash && !is_ours {
                self.route(&Written::without_slash(one), None, &[]);
            }
            if let Some(others) = written.others() {
                let why = "everything else that it takes";
                let access = "signed-in";
                let credentials = Vec::new();
                let rest = Written {
                    methods: others,
                    access,
                    why,
                    leaves_all: false,
                    credentials,
                    ..written
                };
                self.route(&rest, bearer, cookie);
            }
        }
        for one in &opened.closed {
            self.route(&Written::closed(one), bearer, cookie);
        }
        self.other_login_pages(bearer, cookie);
        self.other_refusals(bearer, cookie);
        self.tell_asked(&asked, &opened.given_up);
        let is_root = |one: &&OpenAccess<'_>| one.endpoint.path == "/" && one.endpoint.rest;
        if !opened.open.iter().any(|one| is_root(&one)) {
            self.route(&Written::folder("/", "signed-in", "everything else"), bearer, cookie);
        }
    }

    /// Writes pages from which the service redirects anonymous callers to another login page than the gateway would.
    fn other_login_pages(&mut self, bearer: Option<&str>, cookie: &[&str]) {
        let Some(login_path) = self.login_path().filter(|_| self.choices.follows) else { return };
        let facts = self.facts;
        let is_other = |one: &&UrlShape| {
            let is_asked = one.exact && !one.stray && !one.hidden && one.asks_sign_in;
            is_asked && !one.sent_to.is_empty() && !one.sent_to.contains(&login_path)
        };
        for one in facts.urls.endpoints.iter().filter(is_other) {
            let mut written = Written::closed(one);
            written.redirects = true;
            self.route(&written, bearer, cookie);
        }
    }

    /// Writes views of REST framework that refuse anonymous callers otherwise than the project's default does.
    fn other_refusals(&mut self, bearer: Option<&str>, cookie: &[&str]) {
        let facts = self.facts;
        let default = default_challenge(facts);
        // The blocks for a hand-made token have routes of their own to the views that read only that token.
        let by_hand = |path: &String| {
            let mut classes = facts.classes().filter(|class| class.hand_made.is_some());
            classes.any(|class| class.alone_at.contains(path))
        };
        for one in facts.urls.endpoints.iter().filter(|one| one.exact && !one.stray && !one.hidden)
        {
            let own = challenge_of(one);
            let is_other = own.is_some() && own != default && !by_hand(&one.path);
            if is_other && CanonicalPath::parse(&one.path).is_ok() && self.alias_of(one).is_none() {
                self.route(&Written::closed(one), bearer, cookie);
            }
        }
    }

    /// Writes static files and uploads: from their settings, and wherever Django's own view for files is, unwrapped.
    fn files(&mut self) {
        let facts = self.facts;
        let mut public: Vec<(String, &str)> = Vec::new();
        if let Some(path) = local(&facts.static_url) {
            public.push((path, "STATIC_URL"));
        }
        for one in facts.urls.endpoints.iter().filter(|one| one.kind == "files" && one.rest) {
            let Some(path) = route_path(&one.path) else { continue };
            if !public.iter().any(|(there, _)| *there == path) {
                public.push((path, &one.view));
            }
        }
        for (path, why) in &public {
            self.route(&Written::folder(path, "public", why), None, &[]);
            self.tell_public(path, why);
        }
        let media = local(&facts.media_url);
        if let Some(path) = media.filter(|path| !public.iter().any(|(there, _)| there == path)) {
            self.report.tell(
                Weight::Note,
                "public",
                format!(
                    "MEDIA_URL is {path}: as the file is written, uploads are for who is signed in"
                ),
                "If they are public, add a route like that of STATIC_URL.",
            );
        }
    }

    fn tell_public(&mut self, path: &str, why: &str) {
        self.report.add(Weight::Fine, "public", format!("{path} ({why})"));
    }

    /// Reports what was requested anonymously, and the results.
    fn tell_asked(&mut self, open: &[String], given_up: &[UnopenedPattern]) {
        let urls = &self.facts.urls;
        if !open.is_empty() {
            self.report.tell(
                Weight::Fine,
                "strangers",
                format!(
                    "{} pages were asked for without a credential: strangers go on being served at {} of the patterns",
                    urls.asked,
                    open.len()
                ),
                open.join("\n"),
            );
        }
        let unknown = |one: &&UrlShape| {
            one.kind.is_empty()
                && !one.stray
                && !one.hidden
                && one.served.is_empty()
                && one.asked.is_empty()
        };
        let unknown: Vec<&str> =
            urls.endpoints.iter().filter(unknown).map(|one| one.path.as_str()).collect();
        if urls.asked > 0 && !unknown.is_empty() {
            self.report.tell(
                Weight::Note,
                "strangers",
                format!(
                    "{} patterns were not asked for, since no page links there: they ask for a sign-in",
                    unknown.len()
                ),
                format!(
                    "Where they are for strangers, ask again with content in the database, or add a route with access = \
                     \"optional\":\n{}",
                    some_of(&unknown)
                ),
            );
        }
        let seems = |one: &&UrlShape| {
            one.guessed && one.kind == "login" && !one.served.contains_key("POST") && !one.stray
        };
        let seem: Vec<&str> =
            urls.endpoints.iter().filter(seems).map(|one| one.path.as_str()).collect();
        if !seem.is_empty() {
            self.report.tell(
                Weight::Note,
                "strangers",
                "views that call Django's login, and did not let a stranger in: they ask for a sign-in",
                some_of(&seem),
            );
        }
        let odd = |one: &&UrlShape| one.kind.is_empty() && one.served.is_empty();
        let odd: Vec<&str> = urls
            .endpoints
            .iter()
            .filter(odd)
            .flat_map(|one| one.answers.iter().map(String::as_str))
            .collect();
        if !odd.is_empty() {
            self.report.tell(
                Weight::Note,
                "strangers",
                format!("{} pages answered a stranger in a way that opens nothing here", odd.len()),
                some_of(&odd),
            );
        }
        let lines = |is_public: bool| -> Vec<String> {
            let of_this = given_up.iter().filter(|one| one.is_public == is_public);
            of_this.map(|one| format!("{}, because of {}", one.what, one.because)).collect()
        };
        for (mark, lines) in [(Weight::Failure, lines(true)), (Weight::Warning, lines(false))] {
            if !lines.is_empty() {
                self.report.tell(
                    mark,
                    "strangers",
                    "for strangers, and closed here all the same: a route would open more than that",
                    lines.join("\n"),
                );
            }
        }
        if urls.asked == 0 && urls.endpoints.iter().any(|one| !one.view.is_empty()) {
            self.report.tell(
                Weight::Warning,
                "strangers",
                "no page could be asked for as a stranger",
                "Every view without a known class requires a sign-in.",
            );
        }
    }

    /// Returns what anonymous callers may do there: by the class of the view, or else by the answers that one got.
    fn candidate<'e>(&self, endpoint: &'e UrlShape) -> Option<OpenAccess<'e>> {
        if endpoint.stray || endpoint.hidden || self.alias_of(endpoint).is_some() {
            return None;
        }
        if !endpoint.rest && CanonicalPath::parse(&endpoint.path).is_err() {
            return None;
        }
        let by_class = PUBLIC.iter().find(|(kind, _)| *kind == endpoint.kind);
        if let Some((_, why)) = by_class.filter(|_| !endpoint.guessed && !endpoint.asks_sign_in) {
            let methods: Vec<&str> = endpoint.about.iter().map(String::as_str).collect();
            let methods = (!methods.is_empty()).then(|| {
                let served = endpoint.served.keys().map(String::as_str);
                let more: Vec<&str> = served.filter(|one| !methods.contains(one)).collect();
                [methods.clone(), more].concat()
            });
            let why = format!("{}: {why}", endpoint.view);
            return Some(OpenAccess::new(endpoint, methods, "public", why));
        }
        if let Some(class) = self.judges(endpoint).first() {
            let why = format!("{}: {} judges who calls", endpoint.view, class.name);
            return Some(OpenAccess::new(endpoint, None, "optional", why));
        }
        let methods: Vec<&str> = endpoint.served.keys().map(String::as_str).collect();
        let shown = endpoint.served.values().next()?;
        // The view signs people in, and anonymous callers may do so: the cookie that it sets must not be replaced by another.
        let signs_in = endpoint.guessed
            && matches!(endpoint.kind.as_str(), "login" | "hand-made-obtain")
            && endpoint.served.contains_key("POST");
        Some(match signs_in {
            true => {
                let why = format!("{}: the service's own sign-in", endpoint.view);
                OpenAccess::new(endpoint, Some(methods), "public", why)
            }
            false => OpenAccess::new(
                endpoint,
                Some(methods),
                "optional",
                format!("{}: {shown}", endpoint.view),
            ),
        })
    }

    fn route(&mut self, written: &Written<'_>, bearer: Option<&str>, cookie: &[&str]) {
        // Two settings can name the same place.
        if self.written.iter().any(|(path, exact, methods)| {
            let same = *path == written.path && *exact == written.exact;
            same && (methods.is_empty()
                || written.methods.is_empty()
                || methods.iter().any(|one| written.methods.contains(&one.as_str())))
        }) {
            return;
        }
        let methods = written.methods.iter().map(ToString::to_string).collect();
        self.written.push((written.path.clone(), written.exact, methods));
        let name = self.route_name(&written.path);
        let challenge = written.challenge.or_else(|| default_challenge(self.facts));
        let toml = &mut self.toml;
        toml.table("[[route]]");
        toml.string("name", &name, "");
        toml.string("path", &written.path, written.why);
        if written.exact {
            toml.string("match", "exact", "");
        }
        if !written.methods.is_empty() {
            let methods: Vec<String> = written.methods.iter().map(ToString::to_string).collect();
            toml.list("methods", &methods, "");
        }
        toml.string("upstream", UPSTREAM, "");
        toml.string("access", written.access, "");
        if written.redirects {
            toml.string("sign_in_redirect", "service", "its own login page for this");
        }
        if let Some(challenge) = challenge.filter(|_| written.access != "public") {
            toml.string("refusals", "rest-framework", "a script is refused as the service would");
            if !challenge.is_empty() {
                toml.string("challenge", challenge, "authenticate_header of its first class");
            }
        }
        if written.leaves_all {
            toml.raw("credentials", "[]", "the service's view reads what it takes itself");
        } else if !written.credentials.is_empty() {
            toml.list(
                "credentials",
                &written.credentials,
                "what else comes is the service's to judge",
            );
        }
        match (bearer, cookie) {
            (None, []) => {}
            (Some(bearer), [cookie]) if bearer == *cookie => toml.string("identity", bearer, ""),
            (bearer, cookie) => {
                let mut keys = Vec::new();
                keys.extend(bearer.map(|form| format!("bearer = {}", quoted(form))));
                match cookie {
                    [] => {}
                    [form] => keys.push(format!("cookie = {}", quoted(form))),
                    forms => {
                        let forms: Vec<String> = forms.iter().map(|form| quoted(form)).collect();
                        keys.push(format!("cookie = [{}]", forms.join(", ")));
                    }
                }
                toml.raw("identity", &format!("{{ {} }}", keys.join(", ")), "");
            }
        }
        if self.facts.cors {
            toml.flag("forward_preflight", true, "corsheaders answers them");
        }
    }

    /// Returns a unique name for the route, from its path.
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

/// Returns how the project's REST framework views refuse anonymous callers, if the project sets it: for all paths without a
/// known view. A browser that gets `Basic` there would ask for a name and a password for an image.
fn default_challenge(facts: &ProjectFacts) -> Option<&str> {
    let rest = facts.rest_framework.as_ref().filter(|rest| rest.written)?;
    let is_basic = rest.challenge.get(..5).is_some_and(|word| word.eq_ignore_ascii_case("basic"));
    (!is_basic).then_some(rest.challenge.as_str())
}

/// Returns how a REST framework view refuses an anonymous caller; `None` for other views.
fn challenge_of(endpoint: &UrlShape) -> Option<&str> {
    (!endpoint.judged_by.is_empty()).then_some(endpoint.challenge.as_str())
}

/// Returns the first lines of a list, one below the other.
fn some_of(lines: &[&str]) -> String {
    let mut some = lines.iter().take(LINES).copied().collect::<Vec<_>>().join("\n");
    if lines.len() > LINES {
        some.push_str(&format!("\n… and {} more", lines.len() - LINES));
    }
    some
}

/// The most lines of a list that are reported.
const LINES: usize = 15;

/// A route to write.
#[derive(Clone)]
struct Written<'w> {
    path: String,
    exact: bool,
    /// The methods; empty for all.
    methods: Vec<&'w str>,
    access: &'w str,
    why: &'w str,
    /// Whether the gateway reads no credential there.
    leaves_all: bool,
    /// The credentials that the gateway reads; empty for all.
    credentials: Vec<String>,
    /// Whether the service decides where users sign in for it.
    redirects: bool,
    /// How a REST framework view refuses an anonymous caller; `None` for the project's default.
    challenge: Option<&'w str>,
}

impl<'w> Written<'w> {
    fn folder(path: &str, access: &'w str, why: &'w str) -> Self {
        Self {
            path: path.to_owned(),
            exact: false,
            methods: Vec::new(),
            access,
            why,
            leaves_all: false,
            credentials: Vec::new(),
            redirects: false,
            challenge: None,
        }
    }

    fn open(one: &'w OpenAccess<'w>) -> Self {
        let methods = one.methods.clone().unwrap_or_default();
        let UrlShape { path, rest, .. } = one.endpoint;
        let (access, why) = (one.access, &*one.why);
        let challenge = challenge_of(one.endpoint);
        Self {
            path: path.clone(),
            exact: !rest,
            methods,
            challenge,
            ..Self::folder("", access, why)
        }
    }

    /// Creates the route on which Django redirects to the path itself.
    fn without_slash(one: &'w OpenAccess<'w>) -> Self {
        let path = one.endpoint.path.trim_end_matches('/').to_owned();
        let why = "APPEND_SLASH: a redirect";
        let methods = vec!["GET", "HEAD"];
        Self { path, exact: true, methods, ..Self::folder("", "public", why) }
    }

    fn closed(endpoint: &'w UrlShape) -> Self {
        let path = match endpoint.rest {
            // A folder whose last segment is a variable is closed from the folder above it.
            true => endpoint.path.trim_end_matches("*/").to_owned(),
            false => endpoint.path.clone(),
        };
        let why = &endpoint.view;
        let challenge = challenge_of(endpoint);
        Self { path, exact: !endpoint.rest, challenge, ..Self::folder("", "signed-in", why) }
    }

    /// Returns the methods that the route leaves out.
    fn others(&self) -> Option<Vec<&'w str>> {
        let left = || ALL.into_iter().filter(|one| !self.methods.contains(one)).collect();
        (!self.methods.is_empty()).then(left)
    }
}

impl std::fmt::Display for Written<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let methods = self.methods.join(", ");
        match (self.methods.is_empty(), self.exact) {
            (true, _) => write!(f, "{}", self.path),
            (false, true) => write!(f, "{methods} {}", self.path),
            (false, false) => write!(f, "{methods} below {}", self.path),
        }
    }
}

/// Returns the path of a URL on this host, unless it is the root.
fn local(url: &str) -> Option<String> {
    if url.starts_with("//") || url.contains("://") {
        return None;
    }
    route_path(url)
}

/// Returns a path that a route can have: canonical, and cut to whole segments.
pub(super) fn route_path(path: &str) -> Option<String> {
    let path = CanonicalPath::parse(path).ok()?;
    (path.as_str() != "/").then(|| path.as_str().to_owned())
}
