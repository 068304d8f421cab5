//! `[[issuer]] kind = "knox"`: the tokens of django-rest-knox, and HTTP Basic where it only serves to get one.
//!
//! The service's own views issue and revoke the tokens, and all its views identify callers by them: so a valid token is
//! forwarded unchanged, in both modes.

use super::super::facts::{AuthenticationClass, ProjectFacts};
use super::Planner;
use crate::doctor::finding::Weight;

/// Kinds of view that issue a token for any credential that their classes accept.
const OBTAINS: [&str; 1] = ["knox-obtain"];

impl ProjectFacts {
    /// Returns the class whose tokens are accepted, if they can be.
    fn knox_class(&self) -> Option<&AuthenticationClass> {
        let class =
            self.classes().find(|class| class.kind == "knox" && class.changes.is_empty())?;
        let known = |knox: &super::super::facts::Knox| knox.version > 0 && knox.manager.is_empty();
        self.knox.as_ref().filter(|knox| known(knox)).map(|_| class)
    }

    /// Whether tokens of django-rest-knox are accepted.
    pub(super) fn takes_knox(&self) -> bool {
        self.knox_class().is_some() && self.changed_class("knox", |_| true).is_none()
    }

    /// Whether HTTP Basic is accepted anywhere but where it gets a token.
    pub(super) fn takes_basic(&self) -> bool {
        let only_obtains = |class: &AuthenticationClass| {
            !class.kinds.is_empty() && class.kinds.iter().all(|one| obtains(one))
        };
        self.classes().any(|class| class.kind == "basic" && !only_obtains(class))
    }
}

/// Whether a view of this kind issues a token for any credential that its classes accept, for example HTTP Basic.
pub(super) fn obtains(kind: &str) -> bool {
    OBTAINS.contains(&kind)
}

impl Planner<'_> {
    pub(super) fn knox_issuer(&mut self) {
        let facts = self.facts;
        let Some(knox) = &facts.knox else { return };
        let why = match facts.changed_class("knox", |_| true) {
            Some(class) => Some(class.decides_itself()),
            None if !facts.has_class("knox") => return,
            None if knox.version == 0 => Some(
                "this version, its SECURE_HASH_ALGORITHM or its table are not what the gateway knows"
                    .to_owned(),
            ),
            None if !knox.manager.is_empty() => {
                Some(format!("{} may leave out tokens that the table has", knox.manager))
            }
            None => None,
        };
        if let Some(why) = why {
            self.report.tell(
                Weight::Failure,
                "knox",
                format!("its tokens cannot be accepted: {why}"),
                format!(
                    "Authorization: {} is left to the service to judge, on routes that are open to strangers. On the others \
                     such a token is refused.",
                    knox.scheme
                ),
            );
            return;
        }
        self.toml.table("[[issuer]]");
        self.toml.string("kind", "knox", "knox.auth.TokenAuthentication");
        self.toml.raw("version", &knox.version.to_string(), "how it stores tokens");
        self.toml.string("table", &knox.table, "the token model's");
        self.toml.list(
            "schemes",
            std::slice::from_ref(&knox.scheme),
            "REST_KNOX[\"AUTH_HEADER_PREFIX\"]",
        );
        self.toml.flag("forward", true, "the service's views find the caller by it");
        self.report.add(
            Weight::Fine,
            "knox",
            format!(
                "tokens that it has given out stay good, until it ends them (Authorization: {})",
                knox.scheme
            ),
        );
    }
}
