//! `[[issuer]]`: what the service has issued stays good.

use super::super::facts::{HandMade, SimpleJwt};
use super::forms::weakness;
use super::toml::{Toml, quoted};
use super::{Planner, SECRETS};
use crate::cli::doctor::finding::Mark;
use crate::config::OwnPath;
use crate::django::jws::Algorithm;
use crate::secret::Secret;

/// A shorter one is not taken without `danger_weak_key`.
const MIN_SECRET: usize = 32;
/// The form's name that is proposed with a hand-made token.
const BY_HAND: &str = "by-hand";

impl Planner<'_> {
    pub(super) fn issuers(&mut self) {
        self.toml.section("What the service has issued and the gateway goes on accepting");
        if let (Some(jwt), Some(algorithm)) = (&self.facts.simplejwt, self.choices.simplejwt) {
            self.simplejwt_issuer(jwt, algorithm);
        }
        if self.choices.directory {
            self.session_issuer();
            self.drf_token_issuer();
            self.basic_issuer();
        }
        self.hand_made_issuers();
    }

    fn simplejwt_issuer(&mut self, jwt: &SimpleJwt, algorithm: Algorithm) {
        self.toml.table("[[issuer]]");
        self.toml.string("kind", "simplejwt", "rest_framework_simplejwt");
        self.toml.string("algorithm", algorithm.name(), "SIMPLE_JWT[\"ALGORITHM\"]");
        if algorithm.is_shared() {
            let file = self.signing_key(jwt);
            self.toml.string("key_file", &file, "SIMPLE_JWT[\"SIGNING_KEY\"]");
            if jwt.signing_key.expose().len() < MIN_SECRET {
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
        if jwt.check_revoke_token {
            toml.flag("check_revoke_token", true, "SIMPLE_JWT[\"CHECK_REVOKE_TOKEN\"]");
        }
        if self.refreshes() {
            self.toml.flag(
                "take_over_refresh",
                true,
                "TokenRefreshView: its tokens become sessions",
            );
            if jwt.blacklist {
                self.toml.flag("blacklist", true, "rest_framework_simplejwt.token_blacklist");
            }
        }
        self.report.add(
            Mark::Fine,
            "simplejwt",
            format!("tokens that it has issued stay good ({}, {})", algorithm.name(), jwt.header),
        );
        let own = self.facts.classes().find(|class| class.kind == "simplejwt" && class.custom);
        if let Some(own) = own {
            self.report.tell(
                Mark::Note,
                "simplejwt",
                format!("{} is a class of the project's own on top of JWTAuthentication", own.name),
                "What it does besides (another header, a cookie, another user) is not known here: read it.",
            );
        }
        if jwt.update_last_login {
            self.report.add(
                Mark::Note,
                "simplejwt",
                "UPDATE_LAST_LOGIN is on: sign-ins at the gateway do not write last_login",
            );
        }
    }

    /// `TokenAuthentication`, with the keyword that its class has.
    fn drf_token_issuer(&mut self) {
        let facts = self.facts;
        let class = facts.classes().find(|class| class.kind == "drf-token");
        let (Some(class), false) = (class, facts.authtoken_table.is_empty()) else { return };
        let keyword = if class.keyword.is_empty() { "Token" } else { &class.keyword };
        let is_taken = self.choices.simplejwt.is_some()
            && facts.simplejwt.as_ref().is_some_and(|jwt| {
                jwt.header.eq_ignore_ascii_case("authorization")
                    && jwt.schemes.iter().any(|scheme| scheme.eq_ignore_ascii_case(keyword))
            });
        if is_taken {
            self.report.tell(
                Mark::Warning,
                "drf-token",
                format!("{} and SimpleJWT both read Authorization: {keyword}", class.name),
                "Tokens of rest_framework.authtoken are not accepted at the gateway.",
            );
            return;
        }
        self.toml.table("[[issuer]]");
        self.toml.string("kind", "drf-token", &class.name);
        self.toml.list("schemes", &[keyword.to_owned()], "keyword of the class");
        self.toml.string("table", &facts.authtoken_table, "rest_framework.authtoken");
        self.report.add(
            Mark::Fine,
            "drf-token",
            format!("tokens that it has given out stay good (Authorization: {keyword})"),
        );
    }

    /// `BasicAuthentication`, where the project asked for it: it is among REST framework's defaults as well.
    fn basic_issuer(&mut self) {
        let facts = self.facts;
        if !facts.has_class("basic") {
            return;
        }
        if !facts.rest_framework.as_ref().is_some_and(|rest| rest.written) {
            self.report.tell(
                Mark::Note,
                "basic",
                "HTTP Basic is accepted by REST framework's own default alone, and not by the gateway",
                "If clients use it: [[issuer]] kind = \"basic\".",
            );
            return;
        }
        self.toml.table("[[issuer]]");
        self.toml.string("kind", "basic", "BasicAuthentication");
        self.report.add(
            Mark::Fine,
            "basic",
            "names and passwords in each request stay good (HTTP Basic)",
        );
    }

    /// Does the gateway answer where refresh tokens are presented?
    fn refreshes(&self) -> bool {
        let endpoints = &self.facts.urls.endpoints;
        endpoints.iter().any(|one| self.alias_of(one) == Some(OwnPath::Refresh))
    }

    /// The file that a shared or private key is in.
    pub(super) fn signing_key(&mut self, jwt: &SimpleJwt) -> String {
        if jwt.signing_key == self.facts.secret_key {
            self.secret_key()
        } else {
            self.file("simplejwt-signing-key", &jwt.signing_key)
        }
    }

    /// `danger_weak_key = true`, which is never set without a word.
    pub(super) fn weak(&mut self, why: &str) {
        self.toml.flag("danger_weak_key", true, why);
        let told = self.report.tells("key", why);
        if !told {
            self.report.tell(
                Mark::Warning,
                "key",
                why,
                "Whoever guesses it is anybody, at the service today as at the gateway. Give the service a random key, \
                 with the old one in SECRET_KEY_FALLBACKS.",
            );
        }
    }

    /// Classes of the project's own that call `jwt.decode`: what their source seems to say, as comments.
    fn hand_made_issuers(&mut self) {
        let facts = self.facts;
        let mut seen: Vec<&str> = Vec::new();
        let classes = facts.classes().filter_map(|class| Some((class, class.hand_made.as_ref()?)));
        for (class, made) in classes {
            if seen.contains(&class.name.as_str()) || made.header.is_empty() {
                continue;
            }
            seen.push(&class.name);
            self.hand_made(&class.name, made);
        }
    }

    fn hand_made(&mut self, class: &str, made: &HandMade) {
        let key = made.key.expose();
        let algorithm = Algorithm::ALL
            .into_iter()
            .find(|one| made.algorithms.iter().any(|name| name == one.name()) && one.is_shared());
        let Some(algorithm) = algorithm else { return };
        let is_secret_key = made.key == self.facts.secret_key;
        let file = if is_secret_key { "django-secret-key" } else { "hand-made-jwt-key" };
        let claim = if made.claim.is_empty() { "id" } else { &made.claim };
        let mut block = Toml::default();
        block.table("[[issuer]]");
        block.string("kind", "jwt", class);
        block.string("algorithm", algorithm.name(), "");
        block.string("key_file", &format!("{SECRETS}/{file}"), "");
        if key.len() < MIN_SECRET {
            block.flag("danger_weak_key", true, "it has fewer than 32 bytes");
        }
        block.string("header", &made.header, "");
        block.string("claim", claim, "the claim with the user's id");
        // The issuer's header is taken from the request, so that the class finds nobody without a form.
        block.table("[[identity.form]]");
        block.string("name", BY_HAND, "add it to the forms of the routes to its views");
        block.string("kind", "jwt", class);
        block.string("algorithm", algorithm.name(), "");
        block.string("key_file", &format!("{SECRETS}/{file}"), "");
        if weakness(key).is_some() {
            block.flag("danger_weak_key", true, "whoever guesses it is anybody");
        }
        block.string("header", &made.header, "");
        block.string("user_id_claim", claim, "");
        self.toml.comment("");
        self.toml.comment(&format!(
            "A guess from the source of {class}: it looks like a hand-made JWT. Read that class, and take the \"#\" \
             away if it is so{}. The form makes its views find the caller: identity = [..., \"{BY_HAND}\"].",
            if is_secret_key { "" } else { "; its key is then to be put into the file named here" }
        ));
        self.toml.commented(&block);
        self.report.tell(
            Mark::Note,
            "hint",
            format!("{class} looks like a hand-made JWT in the header {}", made.header),
            format!(
                "From its source, so perhaps wrong: claim {}, {}, key {}. The file has the blocks as a comment.",
                quoted(claim),
                algorithm.name(),
                if is_secret_key { "SECRET_KEY" } else { "of its own" }
            ),
        );
    }
}
