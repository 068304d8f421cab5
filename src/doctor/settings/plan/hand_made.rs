//! Tokens that the project makes and reads by hand: writes what its source seems to say, as comments.
//!
//! A class that calls `jwt.decode` can do anything else as well, so nothing of this is switched on. An operator who finds it
//! right removes the "#", from one block after the other or from all at once: each is complete by itself.

use super::super::facts::{AuthenticationClass, HandMadeClass};
use super::forms::weak_secret;
use super::issuers::MIN_SECRET;
use super::routes::route_path;
use super::toml::{Toml, quoted};
use super::{Planner, SECRETS, UPSTREAM};
use crate::doctor::finding::Weight;
use crate::jose::Algorithm;

/// The name of both the issuer and the form.
const NAME: &str = "by-hand";

impl Planner<'_> {
    pub(super) fn hand_made_issuers(&mut self) {
        let facts = self.facts;
        let mut seen: Vec<&str> = Vec::new();
        let classes = facts.classes().filter_map(|class| Some((class, class.hand_made.as_ref()?)));
        for (class, made) in classes {
            if seen.contains(&class.name.as_str()) || made.header.is_empty() {
                continue;
            }
            let algorithm = Algorithm::OF_SERVICES
                .into_iter()
                .find(|one| made.algorithms.iter().any(|name| name == one.name()))
                .filter(|one| one.is_shared());
            let Some(algorithm) = algorithm else { continue };
            // Only the first stands in for the view that makes the tokens: which of several that view is for cannot be seen.
            self.hand_made(class, made, algorithm, seen.len());
            seen.push(&class.name);
        }
    }

    fn hand_made(
        &mut self,
        class: &AuthenticationClass,
        made: &HandMadeClass,
        algorithm: Algorithm,
        before: usize,
    ) {
        let claim = if made.claim.is_empty() { "id" } else { &made.claim };
        let is_secret_key = made.key == self.facts.secret_key;
        let name = if before == 0 { NAME.to_owned() } else { format!("{NAME}-{}", before + 1) };
        self.report.tell(
            Weight::Note,
            "hint",
            format!("{} looks like a hand-made JWT in the header {}", class.name, made.header),
            format!(
                "From its source, so perhaps wrong: claim {}, {}, key {}. The file has the blocks as comments.",
                quoted(claim),
                algorithm.name(),
                if is_secret_key { "SECRET_KEY" } else { "of its own" }
            ),
        );
        let blocks = [
            self.hand_made_issuer(&name, class, made, algorithm, claim),
            if before == 0 { self.hand_made_alias(&name) } else { Toml::default() },
            self.hand_made_form(&name, class, made, algorithm, claim),
        ];
        self.toml.note(&format!(
            "A guess from the source of {}: it looks like a hand-made JWT. Read that class, and take the \"#\" away if it \
             is so{}. The issuer accepts the tokens that there are; an alias answers where they are given out; the form \
             makes one for the views that read them{}.",
            class.name,
            if is_secret_key { "" } else { ", with its key in the file that is named here" },
            if class.alone_at.is_empty() {
                format!(": name it in the routes to them (identity = {})", quoted(&name))
            } else {
                String::new()
            }
        ));
        let mut all = Toml::default();
        blocks.into_iter().for_each(|block| all.append(&block));
        self.toml.commented(&all);
    }

    fn hand_made_issuer(
        &self,
        name: &str,
        class: &AuthenticationClass,
        made: &HandMadeClass,
        algorithm: Algorithm,
        claim: &str,
    ) -> Toml {
        let mut block = Toml::default();
        block.table("[[issuer]]");
        block.string("name", name, "");
        block.string("kind", "jwt", &class.name);
        self.hand_made_key(&mut block, made, algorithm, made.key.expose().len() < MIN_SECRET);
        block.string("header", &made.header, "");
        block.string("claim", claim, "the claim with the user's id");
        block.string("refusals", "jwt", "a refusal says what such a class does");
        block
    }

    fn hand_made_form(
        &self,
        name: &str,
        class: &AuthenticationClass,
        made: &HandMadeClass,
        algorithm: Algorithm,
        claim: &str,
    ) -> Toml {
        let mut block = Toml::default();
        block.table("[[identity.form]]");
        block.string("name", name, "");
        block.string("kind", "jwt", &class.name);
        self.hand_made_key(&mut block, made, algorithm, weak_secret(made.key.expose()).is_some());
        block.string("header", &made.header, "");
        block.string("user_id_claim", claim, "the claim with the user's id");
        let has_a_route = |path: &&String| self.written.iter().any(|(there, ..)| there == *path);
        let paths = class.alone_at.iter().filter(|path| !has_a_route(path));
        for path in paths.filter_map(|path| route_path(path)) {
            block.table("[[route]]");
            let words = path.split(|letter: char| !letter.is_ascii_alphanumeric());
            let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
            let mut name_of_route = format!("{name}-{}", words.join("-"));
            name_of_route.truncate(56);
            block.string("name", &name_of_route, "");
            block.string("path", &path, "its view reads this token alone");
            block.string("upstream", UPSTREAM, "");
            block.string("access", "optional", "who shows none is for the view to refuse");
            block.string("identity", name, "");
        }
        block
    }

    fn hand_made_key(
        &self,
        block: &mut Toml,
        made: &HandMadeClass,
        algorithm: Algorithm,
        weak: bool,
    ) {
        let is_secret_key = made.key == self.facts.secret_key;
        let file = if is_secret_key { "django-secret-key" } else { "hand-made-jwt-key" };
        block.string("algorithm", algorithm.name(), "");
        block.string("key_file", &format!("{SECRETS}/{file}"), "");
        if weak {
            block.flag("danger_weak_key", true, "the key can be guessed");
        }
    }

    /// Returns the aliases for the paths where such tokens are issued.
    fn hand_made_alias(&self, name: &str) -> Toml {
        let mut block = Toml::default();
        let is_one = |kind: &str| kind == "hand-made-obtain";
        let endpoints = &self.facts.urls.endpoints;
        for endpoint in endpoints.iter().filter(|one| one.exact && is_one(&one.kind)) {
            block.table("[[paths.alias]]");
            block.string("path", &endpoint.path, &endpoint.view);
            block.string("endpoint", "login", "");
            block.string("shape", "jwt", "it answers {\"token\": ...}");
            block.string("issuer", name, "");
        }
        block
    }
}
