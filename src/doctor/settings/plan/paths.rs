//! `[paths]`, its aliases, and `[tokens]`: the URLs that front ends know.

use super::super::facts::{SimpleJwtSettings, UrlShape};
use super::Planner;
use super::toml::Toml;
use crate::config::OwnPath;
use crate::doctor::finding::Weight;

/// The answers of a Django REST framework view that signs in with a session, for the operator to change.
const ANSWERS: [(&str, &str); 3] = [
    ("answers.success", r#"{ status = 200, body = '{"message":"success"}' }"#),
    ("answers.missing", r#"{ status = 400, body = '{"detail":"Malformed request."}' }"#),
    ("answers.refused", r#"{ status = 403, body = "" }"#),
];
const LOGOUT_ANSWERS: [(&str, &str); 2] = [
    ("answers.success", r#"{ status = 200, body = "" }"#),
    (
        "answers.refused",
        r#"{ status = 401, body = '{"detail":"Authentication credentials were not provided."}' }"#,
    ),
];

/// The members that projects' own serializers add most often.
const EXAMPLE: &str = r#"{ username = "{user.name}" }"#;

/// The prefix for an own path whose default path the project uses itself.
const ELSEWHERE: &str = "/doorwarden";

/// The issuer of SimpleJWT's tokens, by its kind.
const SIMPLEJWT: &str = "simplejwt";

impl Planner<'_> {
    pub(super) fn paths(&mut self) {
        // In this mode own paths are off, unless the file contains them.
        if self.choices.follows {
            self.toml.section("What the gateway answers itself");
            self.toml.table("[paths]");
            let path = format!("{ELSEWHERE}/logout");
            self.toml.string(
                "logout",
                &path,
                "a page that ends the session here, whatever the service has",
            );
            return;
        }
        let facts = self.facts;
        self.toml.section("What the gateway answers itself");
        let moved: Vec<(OwnPath, &str)> = OwnPath::ALL
            .into_iter()
            .filter_map(|own| Some((own, own.default_path()?)))
            .filter(|(_, path)| facts.taken.iter().any(|taken| taken == path))
            .collect();
        if !moved.is_empty() {
            self.toml.table("[paths]");
        }
        for (own, path) in moved {
            let to = format!("{ELSEWHERE}{path}");
            self.toml.string(own.name(), &to, &format!("{path} is the project's"));
            self.report.tell(
                Weight::Note,
                "paths",
                format!("{path} is a path of the project's"),
                format!("The gateway's own is at {to}."),
            );
        }
        for path in self.admin_login_paths() {
            self.toml.table("[[paths.alias]]");
            self.toml.string("path", &path, "django.contrib.admin: the gateway's page is there");
            self.toml.string("endpoint", "login", "");
        }
        self.session_aliases();
        let Some(jwt) = facts.simplejwt.as_ref().filter(|_| self.choices.simplejwt.is_some())
        else {
            return;
        };
        for endpoint in &facts.urls.endpoints {
            if let Some(to) = self.alias_of(endpoint) {
                self.alias(endpoint, to, jwt);
            }
        }
        if self.choices.custom_tokens {
            self.custom_aliases(jwt);
        }
        self.tokens(jwt);
    }

    /// Writes the views that make the project's own tokens, as comments: what they add cannot be seen.
    fn custom_aliases(&mut self, jwt: &SimpleJwtSettings) {
        let mut block = Toml::default();
        for endpoint in self.facts.urls.endpoints.iter().filter(|one| one.exact) {
            let to = match endpoint.kind.as_str() {
                "simplejwt-obtain" => OwnPath::Login,
                "simplejwt-refresh" => OwnPath::Refresh,
                _ => continue,
            };
            alias(&mut block, endpoint, to, jwt.rotate);
            if to == OwnPath::Login {
                block.raw("extra", EXAMPLE, "further members of the answer");
            }
        }
        if block.is_empty() {
            return;
        }
        self.toml.note(
            "These stay the service's, because a serializer of its own makes the tokens. If it only adds members to the \
             answer, or claims, the gateway can answer there: take the \"#\" away here and before adopt_refresh_tokens, and \
             state what is added with extra here, and with claims in [tokens] and in the form (docs/simplejwt.md).",
        );
        self.toml.commented(&block);
    }

    /// Writes `claims` as a comment, if the tokens have claims of the project's own.
    pub(super) fn claims_hint(&mut self, why: &str) {
        if self.choices.custom_tokens {
            let mut hint = Toml::default();
            hint.raw("claims", EXAMPLE, why);
            self.toml.commented(&hint);
        }
    }

    fn tokens(&mut self, jwt: &SimpleJwtSettings) {
        let toml = &mut self.toml;
        toml.table("[tokens]");
        let access = jwt.access_lifetime.clamp(10, 86_400);
        toml.duration("access_lifetime", access, "SIMPLE_JWT[\"ACCESS_TOKEN_LIFETIME\"]");
        let refresh = jwt.refresh_lifetime.clamp(access.max(60), 366 * 86_400);
        toml.duration("refresh_lifetime", refresh, "SIMPLE_JWT[\"REFRESH_TOKEN_LIFETIME\"]");
        toml.string("user_id_claim", &jwt.user_id_claim, "SIMPLE_JWT[\"USER_ID_CLAIM\"]");
        self.claims_hint("what a front end reads in the token");
        if access != jwt.access_lifetime {
            self.report.add(
                Weight::Note,
                "tokens",
                "ACCESS_TOKEN_LIFETIME is outside what the gateway takes (10 s to a day): the nearest is written",
            );
        }
    }

    /// Returns what the gateway answers at a path of the project, if it can answer as the view there would.
    ///
    /// If the project makes the tokens itself, it also refreshes them, because their claims are its own.
    pub(super) fn alias_of(&self, endpoint: &UrlShape) -> Option<OwnPath> {
        self.choices.simplejwt?;
        // If the service continues to sign people in, it issues the tokens.
        let is_other = !endpoint.exact || endpoint.custom || endpoint.hidden || endpoint.stray;
        if self.choices.follows || is_other {
            return None;
        }
        let makes_its_own = self.choices.custom_tokens;
        let slides = || self.choices.mints && self.facts.simplejwt.as_ref().is_some_and(slides);
        match endpoint.kind.as_str() {
            "sliding-obtain" if slides() => Some(OwnPath::Login),
            "sliding-refresh" if slides() => Some(OwnPath::Refresh),
            "simplejwt-obtain" if !makes_its_own => Some(OwnPath::Login),
            "simplejwt-refresh" if !makes_its_own => Some(OwnPath::Refresh),
            "simplejwt-blacklist" if !makes_its_own => Some(OwnPath::Blacklist),
            "simplejwt-verify" => Some(OwnPath::Verify),
            _ => None,
        }
    }

    /// Writes the project's own views that sign in with a session, as comments: settings do not show what they answer. The
    /// paths stay the service's.
    fn session_aliases(&mut self) {
        let facts = self.facts;
        let Some(sessions) = &facts.sessions else { return };
        let own = |one: &&UrlShape| {
            one.exact
                && one.guessed
                && matches!(one.kind.as_str(), "login" | "logout")
                && (one.kind == "logout" || one.served.contains_key("POST"))
        };
        for endpoint in facts.urls.endpoints.iter().filter(own) {
            let mut block = Toml::default();
            block.table("[[paths.alias]]");
            block.string("path", &endpoint.path, &endpoint.view);
            block.string("endpoint", &endpoint.kind, "");
            block.string("shape", "django-session", "");
            block.string("cookie", &sessions.cookie, "SESSION_COOKIE_NAME");
            if endpoint.kind == "login" {
                block.string("csrf_cookie", &facts.csrf_cookie, "CSRF_COOKIE_NAME");
            }
            let answers = if endpoint.kind == "login" { &ANSWERS[..] } else { &LOGOUT_ANSWERS };
            for (key, answer) in answers {
                block.raw(key, answer, "");
            }
            self.toml.note(&format!(
                "{} stays the service's, which signs people {} with a session there. For the gateway to do so, take the \"#\" \
                 away and write what the view answers, word for word (docs/aliases.md).",
                endpoint.path,
                if endpoint.kind == "login" { "in" } else { "out" }
            ));
            self.toml.commented(&block);
        }
    }

    fn alias(&mut self, endpoint: &UrlShape, to: OwnPath, jwt: &SimpleJwtSettings) {
        match endpoint.kind.starts_with("sliding") {
            true => sliding_alias(&mut self.toml, endpoint, to, jwt),
            false => alias(&mut self.toml, endpoint, to, jwt.rotate),
        }
        self.report.add(
            Weight::Fine,
            "alias",
            format!("{} is answered by the gateway ({})", endpoint.path, to.name()),
        );
        self.tell_what_lies_below(&endpoint.path);
    }

    /// Reports the paths below an own path, which is exact: they are forwarded to the service, by a signed-in route.
    fn tell_what_lies_below(&mut self, path: &str) {
        let below: Vec<&str> = self
            .facts
            .urls
            .paths
            .iter()
            .map(String::as_str)
            .filter(|other| {
                other.strip_prefix(path).is_some_and(|rest| rest.starts_with('/') && rest.len() > 1)
            })
            .filter(|other| {
                !self
                    .facts
                    .urls
                    .endpoints
                    .iter()
                    .any(|one| one.path == *other && self.alias_of(one).is_some())
            })
            .collect();
        if !below.is_empty() {
            self.report.add(
                Weight::Note,
                "alias",
                format!("below {path} lie paths that go on to the service: {}", below.join(", ")),
            );
        }
    }
}

/// Whether the gateway can issue the service's sliding tokens.
fn slides(jwt: &SimpleJwtSettings) -> bool {
    jwt.takes("sliding") && !jwt.custom_sliding
}

fn sliding_alias(toml: &mut Toml, endpoint: &UrlShape, to: OwnPath, jwt: &SimpleJwtSettings) {
    toml.table("[[paths.alias]]");
    toml.string("path", &endpoint.path, &endpoint.view);
    toml.string("endpoint", to.name(), "");
    toml.string("shape", "simplejwt-sliding", "");
    toml.string("issuer", SIMPLEJWT, "");
    let lifetime = |seconds: u64| seconds.clamp(60, 366 * 86_400);
    let from = "SIMPLE_JWT[\"SLIDING_TOKEN_LIFETIME\"]";
    toml.duration("lifetime", lifetime(jwt.sliding_lifetime), from);
    let from = "SIMPLE_JWT[\"SLIDING_TOKEN_REFRESH_LIFETIME\"]";
    toml.duration("refresh_lifetime", lifetime(jwt.sliding_refresh_lifetime), from);
}

fn alias(toml: &mut Toml, endpoint: &UrlShape, to: OwnPath, rotates: bool) {
    toml.table("[[paths.alias]]");
    toml.string("path", &endpoint.path, &endpoint.view);
    toml.string("endpoint", to.name(), "");
    if to == OwnPath::Refresh {
        let rotation = if rotates { "single-use" } else { "none" };
        toml.string("rotation", rotation, "SIMPLE_JWT[\"ROTATE_REFRESH_TOKENS\"]");
    }
}
