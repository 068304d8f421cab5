//! `[[issuer]]`: keeps what the service has issued valid.

use super::super::facts::SimpleJwtSettings;
use super::Planner;
use super::toml::Toml;
use crate::config::OwnPath;
use crate::doctor::finding::Weight;
use crate::jose::Algorithm;
use crate::secret::Secret;

/// The fewest bytes of a secret; a shorter one is not accepted without `danger_weak_key`.
pub(super) const MIN_SECRET: usize = 32;

impl Planner<'_> {
    pub(super) fn issuers(&mut self) {
        self.toml.section("What the service has issued and the gateway goes on accepting");
        if let (Some(jwt), Some(algorithm)) = (&self.facts.simplejwt, self.choices.simplejwt) {
            self.simplejwt_issuer(jwt, algorithm);
        }
        let is_read = self.choices.directory && self.facts.simplejwt.is_some();
        if let Some(class) = self.facts.changed_class("simplejwt", |_| true).filter(|_| is_read) {
            let says = format!("its tokens cannot be accepted: {}", class.decides_itself());
            self.tell_left("simplejwt", class, says);
        }
        if self.choices.directory {
            self.session_issuer();
            self.drf_token_issuer();
            self.knox_issuer();
            self.basic_issuer();
        }
        self.hand_made_issuers();
    }

    fn simplejwt_issuer(&mut self, jwt: &SimpleJwtSettings, algorithm: Algorithm) {
        self.toml.table("[[issuer]]");
        self.toml.string("kind", "simplejwt", "rest_framework_simplejwt");
        self.toml.string("algorithm", algorithm.name(), "SIMPLE_JWT[\"ALGORITHM\"]");
        if algorithm.is_shared() || self.gives_sliding() {
            let file = self.signing_key(jwt);
            self.toml.string("key_file", &file, "SIMPLE_JWT[\"SIGNING_KEY\"]");
            if algorithm.is_shared() && jwt.signing_key.expose().len() < MIN_SECRET {
                self.weak("SIMPLE_JWT[\"SIGNING_KEY\"] has fewer than 32 bytes");
            }
        } else {
            let key = Secret::new(jwt.verifying_key.clone());
            let file = self.file("simplejwt-verifying-key.pem", &key);
            self.toml.string("public_key_file", &file, "SIMPLE_JWT[\"VERIFYING_KEY\"]");
        }
        let toml = &mut self.toml;
        toml.string("header", &jwt.header, "SIMPLE_JWT[\"AUTH_HEADER_NAME\"]");
        toml.list("schemes", &jwt.schemes, "SIMPLE_JWT[\"AUTH_HEADER_TYPES\"]");
        let cookie = self.facts.classes().map(|class| class.cookie.as_str());
        if let Some(cookie) = cookie.into_iter().find(|cookie| !cookie.is_empty()) {
            toml.string("cookie", cookie, "REST_AUTH[\"JWT_AUTH_COOKIE\"]");
        }
        let types: Vec<String> = jwt
            .token_types
            .iter()
            .filter(|kind| matches!(kind.as_str(), "access" | "sliding"))
            .cloned()
            .collect();
        if !types.is_empty() {
            toml.list("token_types", &types, "SIMPLE_JWT[\"AUTH_TOKEN_CLASSES\"]");
        }
        toml.string("user_id_claim", &jwt.user_id_claim, "SIMPLE_JWT[\"USER_ID_CLAIM\"]");
        if !jwt.audience.is_empty() {
            toml.list("audience", &jwt.audience, "SIMPLE_JWT[\"AUDIENCE\"]");
        }
        if !jwt.issuer.is_empty() {
            toml.string("issuer", &jwt.issuer, "SIMPLE_JWT[\"ISSUER\"]");
        }
        if jwt.leeway > 0 {
            toml.duration("leeway", jwt.leeway.min(300), "SIMPLE_JWT[\"LEEWAY\"]");
        }
        if self.facts.numeric_ids {
            toml.flag("numeric_ids", true, "the installed PyJWT takes them");
        }
        if jwt.check_revoke_token {
            toml.flag("check_revoke_token", true, "SIMPLE_JWT[\"CHECK_REVOKE_TOKEN\"]");
        }
        if self.refreshes() {
            self.toml.flag(
                "adopt_refresh_tokens",
                true,
                "TokenRefreshView: its tokens become sessions",
            );
        } else if self.choices.custom_tokens {
            let mut hint = Toml::default();
            hint.flag("adopt_refresh_tokens", true, "with an alias for its refresh tokens");
            self.toml.commented(&hint);
        }
        if self.asks_blacklist() {
            self.toml.flag("blacklist", true, "rest_framework_simplejwt.token_blacklist");
        }
        self.report.add(
            Weight::Fine,
            "simplejwt",
            format!("tokens that it has issued stay good ({}, {})", algorithm.name(), jwt.header),
        );
        if jwt.update_last_login {
            self.report.add(
                Weight::Note,
                "simplejwt",
                "UPDATE_LAST_LOGIN is on: sign-ins at the gateway do not write last_login",
            );
        }
    }

    /// Writes `TokenAuthentication`, with the keyword of its class.
    fn drf_token_issuer(&mut self) {
        let facts = self.facts;
        for class in facts.classes().filter(|class| class.kind == "drf-token") {
            if !class.changes.is_empty() {
                let says = format!("its tokens cannot be accepted: {}", class.decides_itself());
                self.tell_left("drf-token", class, says);
            }
        }
        let class = facts.drf_token_class();
        let (Some(class), false) = (class, facts.authtoken_table.is_empty()) else { return };
        let keyword = class.keyword();
        let is_taken = self.choices.simplejwt.is_some()
            && facts.simplejwt.as_ref().is_some_and(|jwt| {
                jwt.header.eq_ignore_ascii_case("authorization")
                    && jwt.schemes.iter().any(|scheme| scheme.eq_ignore_ascii_case(keyword))
            });
        self.toml.table("[[issuer]]");
        self.toml.string("kind", "drf-token", &class.name);
        self.toml.list("schemes", &[keyword.to_owned()], "keyword of the class");
        self.toml.string("table", &facts.authtoken_table, "rest_framework.authtoken");
        // Views that accept these tokens and no JWT must get the caller's own token, not one that the gateway makes.
        let is_alone = facts.has_views_of("drf-token", "simplejwt");
        if self.choices.mints && (is_taken || is_alone) {
            self.toml.flag("forward", true, "some of the service's views take no other token");
        }
        self.report.add(
            Weight::Fine,
            "drf-token",
            format!("tokens that it has given out stay good (Authorization: {keyword})"),
        );
    }

    /// Writes `BasicAuthentication`, if the project asked for it: it is among REST framework's defaults as well.
    fn basic_issuer(&mut self) {
        let facts = self.facts;
        if !facts.takes_basic() {
            return;
        }
        if !facts.rest_framework.as_ref().is_some_and(|rest| rest.written) {
            self.report.tell(
                Weight::Note,
                "basic",
                "HTTP Basic is accepted by REST framework's own default alone, and not by the gateway",
                "If clients use it: [[issuer]] kind = \"basic\".",
            );
            return;
        }
        if let Some(class) = facts.changed_class("basic", |_| true) {
            let why = class.decides_itself();
            let says = format!("HTTP Basic is not accepted at the gateway: {why}");
            self.tell_left("basic", class, says);
            return;
        }
        if !self.writes_basic() {
            self.report.tell(
                Weight::Failure,
                "basic",
                "HTTP Basic is not accepted at the gateway: the service decides itself who signs in",
                "It is left to the service, on routes that are open to strangers. On the others such requests are refused.",
            );
            return;
        }
        self.toml.table("[[issuer]]");
        self.toml.string("kind", "basic", "BasicAuthentication");
        self.report.add(
            Weight::Fine,
            "basic",
            "names and passwords in each request stay good (HTTP Basic)",
        );
    }

    /// Whether a name and a password in each request are checked at the gateway.
    pub(super) fn writes_basic(&self) -> bool {
        let facts = self.facts;
        let is_written = facts.rest_framework.as_ref().is_some_and(|rest| rest.written);
        let is_changed = facts.changed_class("basic", |_| true).is_some();
        self.choices.directory
            && facts.takes_basic()
            && is_written
            && !is_changed
            && !self.choices.follows
    }

    /// Whether tokens are looked up among those that the service revoked. Access and sliding tokens can be there, too.
    pub(super) fn asks_blacklist(&self) -> bool {
        self.choices.simplejwt.is_some()
            && self.facts.simplejwt.as_ref().is_some_and(|jwt| jwt.blacklist)
    }

    /// Whether the gateway answers where refresh tokens are presented.
    fn refreshes(&self) -> bool {
        let mut endpoints = self.facts.urls.endpoints.iter();
        endpoints.any(|one| {
            !one.kind.starts_with("sliding") && self.alias_of(one) == Some(OwnPath::Refresh)
        })
    }

    /// Whether the gateway makes sliding tokens, which requires the service's own key.
    fn gives_sliding(&self) -> bool {
        let mut endpoints = self.facts.urls.endpoints.iter();
        endpoints.any(|one| one.kind.starts_with("sliding") && self.alias_of(one).is_some())
    }

    /// Returns the file that contains a shared or private key.
    pub(super) fn signing_key(&mut self, jwt: &SimpleJwtSettings) -> String {
        if jwt.signing_key == self.facts.secret_key {
            self.secret_key()
        } else {
            self.file("simplejwt-signing-key", &jwt.signing_key)
        }
    }

    /// Writes `danger_weak_key = true`, which is never set without a warning.
    pub(super) fn weak(&mut self, why: &str) {
        self.toml.flag("danger_weak_key", true, why);
        let told = self.report.tells("key", why);
        if !told {
            self.report.tell(
                Weight::Warning,
                "key",
                why,
                "Whoever guesses it can pose as any user, at the service today as at the gateway. Give the service a random \
                 key, with the old one in SECRET_KEY_FALLBACKS.",
            );
        }
    }
}
