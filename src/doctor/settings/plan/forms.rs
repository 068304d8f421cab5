//! `[[identity.form]]`: how the service's views learn who calls.

use super::super::facts::SimpleJwtSettings;
use super::Planner;
use super::issuers::MIN_SECRET;
use crate::doctor::finding::Weight;
use crate::jose::Algorithm;
use crate::wire::forward::fold;

/// The request headers that `[identity]` sets by default, with their keys.
const IDENTITY: [(&str, &str); 5] = [
    ("user_id", "X-User-Id"),
    ("user_name", "X-User-Name"),
    ("groups", "X-User-Groups"),
    ("session_id", "X-Session-Id"),
    ("auth_methods", "X-Auth-Methods"),
];

/// The names of the forms, for routes.
pub(super) const DRF: &str = "drf";
pub(super) const TOKEN: &str = "token";
pub(super) const SESSION: &str = "session";
const SERVER: &str = "server";

impl Planner<'_> {
    /// Returns the form for callers with a token, and the one for callers with a cookie.
    pub(super) fn form_names(&self) -> (Option<&'static str>, Option<&'static str>) {
        let choices = &self.choices;
        if choices.follows && choices.remote_user.is_none() {
            return (None, None);
        }
        let drf = choices.mints.then_some(DRF).or(choices.drf_tokens.then_some(TOKEN));
        if choices.remote_user.is_some() {
            return (Some(SERVER), Some(SERVER));
        }
        let session = choices.sessions.then_some(SESSION);
        // A session is made for callers who have one at the gateway, and an issuer's token has none.
        let bearer = drf.or(session.filter(|_| !self.has_token_issuer()));
        (bearer, session.or(drf))
    }

    /// Returns all forms for callers with a cookie: REST framework's views without `SessionAuthentication` need a token.
    pub(super) fn cookie_forms(&self) -> Vec<&'static str> {
        let (_, cookie) = self.form_names();
        let mut forms: Vec<&'static str> = cookie.into_iter().collect();
        let wants_token = self.facts.urls.endpoints.iter().any(|one| one.without_session);
        if cookie == Some(SESSION) && wants_token && self.choices.mints {
            forms.push(DRF);
        }
        forms
    }

    /// Whether there are callers with an `Authorization` of the service's own, besides SimpleJWT's.
    fn has_token_issuer(&self) -> bool {
        self.has_lost_callers() || self.facts.takes_knox()
    }

    /// Whether there are callers of whose credential nothing is forwarded to the service by itself.
    fn has_lost_callers(&self) -> bool {
        let facts = self.facts;
        let tokens = facts.drf_token_class().is_some() && !facts.authtoken_table.is_empty();
        let basic = facts.rest_framework.as_ref().is_some_and(|rest| rest.written);
        tokens || (basic && facts.takes_basic())
    }

    pub(super) fn forms(&mut self) {
        let facts = self.facts;
        self.toml.section("How the service learns who is calling");
        if let Some(header) = self.choices.remote_user.clone() {
            self.remote_user(&header);
            return;
        }
        if let (true, Some(jwt), Some(algorithm)) =
            (self.choices.mints, &facts.simplejwt, self.choices.simplejwt)
        {
            self.minted(jwt, algorithm);
        }
        if self.choices.drf_tokens {
            self.drf_token();
        }
        if let (true, Some(sessions)) = (self.choices.sessions, &facts.sessions) {
            self.session_form(sessions);
        }
        if self.choices.follows {
            self.toml.note("By the credential that the service gave them, which goes on to it.");
            return;
        }
        if self.form_names().0.is_none() && self.has_lost_callers() {
            self.report.tell(
                Weight::Failure,
                "identity",
                "callers with a token or HTTP Basic are known to the gateway, and REST framework's views do not find them",
                "Views find the caller in X-User-Id: docs/identity-forms.md has the middleware for that.",
            );
        }
        if self.form_names() == (None, None) {
            self.toml.note(
                "By the headers X-User-Id, X-User-Name, X-User-Groups, X-Session-Id and X-Auth-Methods alone.",
            );
            self.report.tell(
                Weight::Warning,
                "identity",
                "nothing in this project reads a form that the gateway can send",
                "Views find the caller in X-User-Id: docs/identity-forms.md has the middleware for that.",
            );
        }
    }

    fn remote_user(&mut self, header: &str) {
        let taken = IDENTITY.into_iter().find(|(_, name)| fold(name) == fold(header));
        if let Some((key, _)) = taken {
            self.toml.table("[identity]");
            self.toml.string(key, "", "the form below sets this header");
        }
        self.toml.table("[[identity.form]]");
        self.toml.string("name", SERVER, "");
        self.toml.string("kind", "remote-user", "RemoteUserMiddleware or RemoteUserAuthentication");
        self.toml.string("header", header, "its header");
    }

    fn minted(&mut self, jwt: &SimpleJwtSettings, algorithm: Algorithm) {
        self.toml.note("REST framework's views find the caller by a short-lived token that the service accepts.");
        self.toml.table("[[identity.form]]");
        self.toml.string("name", DRF, "");
        self.toml.string("kind", "simplejwt", "JWTAuthentication");
        self.toml.string("algorithm", algorithm.name(), "SIMPLE_JWT[\"ALGORITHM\"]");
        let file = self.signing_key(jwt);
        self.toml.string("key_file", &file, "SIMPLE_JWT[\"SIGNING_KEY\"]");
        if let Some(why) = algorithm.is_shared().then(|| weakness(jwt)).flatten() {
            self.weak(why);
        }
        self.toml.string("header", &jwt.header, "SIMPLE_JWT[\"AUTH_HEADER_NAME\"]");
        if let Some(scheme) = jwt.schemes.first() {
            self.toml.string("scheme", scheme, "SIMPLE_JWT[\"AUTH_HEADER_TYPES\"]");
        }
        self.toml.string("user_id_claim", &jwt.user_id_claim, "SIMPLE_JWT[\"USER_ID_CLAIM\"]");
        if jwt.takes("sliding") && !jwt.takes("access") {
            self.toml.string("token_type", "sliding", "SIMPLE_JWT[\"AUTH_TOKEN_CLASSES\"]");
        }
        if let Some(audience) = jwt.audience.first() {
            self.toml.string("audience", audience, "SIMPLE_JWT[\"AUDIENCE\"]");
        }
        if !jwt.issuer.is_empty() {
            self.toml.string("issuer", &jwt.issuer, "SIMPLE_JWT[\"ISSUER\"]");
        }
        if jwt.check_revoke_token {
            self.toml.flag("check_revoke_token", true, "SIMPLE_JWT[\"CHECK_REVOKE_TOKEN\"]");
        }
        self.claims_hint("what the service's own code reads in the token");
    }

    /// Writes the form for `TokenAuthentication`, which only recognises the token in its table.
    fn drf_token(&mut self) {
        let facts = self.facts;
        let Some(class) = facts.drf_token_class() else { return };
        self.toml.note(
            "REST framework's views find the caller by their own token, which the gateway reads and never makes.",
        );
        self.toml.table("[[identity.form]]");
        self.toml.string("name", TOKEN, "");
        self.toml.string("kind", "drf-token", &class.name);
        self.toml.string("scheme", class.keyword(), "keyword of the class");
        self.toml.string("table", &facts.authtoken_table, "rest_framework.authtoken");
        self.report.tell(
            Weight::Note,
            "identity",
            "callers are known to REST framework's views by their own token, which the gateway never makes",
            "Who has none is refused (503): manage.py drf_create_token NAME makes one. With missing = \"none\" in the form, \
             they reach the service as strangers.",
        );
    }
}

/// Returns the weakness for which a form needs the operator's consent.
fn weakness(jwt: &SimpleJwtSettings) -> Option<&'static str> {
    weak_secret(jwt.signing_key.expose())
}

/// Returns why a secret can be guessed.
pub(super) fn weak_secret(key: &str) -> Option<&'static str> {
    let mut different: Vec<u8> = key.bytes().collect();
    different.sort_unstable();
    different.dedup();
    if key.starts_with("django-insecure-") {
        Some("the signing key is the one that startproject made for development")
    } else if key.len() < MIN_SECRET {
        Some("SIMPLE_JWT[\"SIGNING_KEY\"] has fewer than 32 bytes")
    } else if different.len() < 5 {
        Some("the signing key has fewer than 5 different characters")
    } else {
        None
    }
}
