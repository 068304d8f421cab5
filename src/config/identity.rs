//! Reads `[identity]`: header names that the upstream trusts, so each must be legal, unused and distinct in every spelling.

use super::raw::{RawTable, SourcePlace, Wrong};
use super::values;
use crate::wire::forward::fold;

/// `[identity]`: the headers that tell the upstream who is calling. An empty name turns one off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityHeaderNames {
    /// The user's id.
    pub user_id: String,
    /// The user's name.
    pub user_name: String,
    /// The user's groups, comma separated.
    pub groups: String,
    /// The session's id.
    pub session_id: String,
    /// The methods by which the user was authenticated: names of RFC 8176, comma separated.
    pub auth_methods: String,
    /// Further headers: name -> attribute of the directory (`email`, ...).
    pub attributes: Vec<(String, String)>,
}

impl IdentityHeaderNames {
    /// Returns the names that are not turned off.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        [&self.user_id, &self.user_name, &self.groups, &self.session_id, &self.auth_methods]
            .into_iter()
            .chain(self.attributes.iter().map(|(name, _)| name))
            .map(String::as_str)
            .filter(|name| !name.is_empty())
    }
}

impl Default for IdentityHeaderNames {
    fn default() -> Self {
        Self {
            user_id: "X-User-Id".into(),
            user_name: "X-User-Name".into(),
            groups: "X-User-Groups".into(),
            session_id: "X-Session-Id".into(),
            auth_methods: "X-Auth-Methods".into(),
            attributes: Vec::new(),
        }
    }
}

pub(super) fn identity(table: &RawTable<'_>) -> IdentityHeaderNames {
    let default = IdentityHeaderNames::default();
    let mut seen: Vec<(String, SourcePlace)> = Vec::new();
    let mut one = |key: &'static str, default: String| {
        let name = table.text(key, values::identity_header).unwrap_or(default);
        note(table, &mut seen, &name, table.place(key));
        name
    };
    let user_id = one("user_id", default.user_id);
    let user_name = one("user_name", default.user_name);
    let groups = one("groups", default.groups);
    let session_id = one("session_id", default.session_id);
    let auth_methods = one("auth_methods", default.auth_methods);
    let attributes = table.table("attributes", |attributes| {
        let mut all = Vec::new();
        for (header, attribute) in attributes.free() {
            match values::identity_header(&header.value) {
                Ok(name) if name.is_empty() => {
                    attributes.error_at(header.place, Wrong::new("a header needs a name"));
                }
                Ok(name) => {
                    note(attributes, &mut seen, &name, header.place);
                    match values::name(&attribute.value) {
                        Ok(attribute) => all.push((name, attribute)),
                        Err(wrong) => attributes.error_at(attribute.place, wrong),
                    }
                }
                Err(wrong) => attributes.error_at(header.place, wrong),
            }
        }
        all
    });
    IdentityHeaderNames { user_id, user_name, groups, session_id, auth_methods, attributes }
}

fn note(
    table: &RawTable<'_>,
    seen: &mut Vec<(String, SourcePlace)>,
    name: &str,
    place: SourcePlace,
) {
    if name.is_empty() {
        return;
    }
    let folded = fold(name).into_owned();
    if let Some((_, other)) = seen.iter().find(|(one, _)| *one == folded) {
        table.error_at(
            place,
            Wrong::new(format!("{name:?} is the header of {} already", other.key))
                .help("names that differ only in case or separators are one name to servers"),
        );
    } else {
        seen.push((folded, place));
    }
}
