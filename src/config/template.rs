//! Provides values from templates, for further members of an answer or a token.
//!
//! `"{user.name}"` alone has the type of what it names: a text, `true` or `false`, a list of texts for groups;
//! `"{user.id:int}"` is a number if the id is one, and else a text. With other text around it, everything is text. `{{` and
//! `}}` are braces. Templates are parsed with the configuration, so a mistake is an error there and never at a sign-in.

use http::HeaderValue;
use serde_json::{Map, Value};

use super::raw::{RawTable, Wrong};
use crate::caller::Identity;
use crate::wire::header_value;

/// The names that are allowed, for messages.
const ALLOWED: &str = "allowed: {user.id}, {user.name}, {user.email}, {user.groups}, {user.staff}, {user.superuser}, \
    {user.directory}, {user.attributes.NAME}, and :int behind an id, a name or an attribute";

/// Members with their values, in the order of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Members(Vec<(String, Template)>);

/// The template of one value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    User { field: Field, as_number: bool },
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Field {
    Id,
    Name,
    Directory,
    Groups,
    Staff,
    Superuser,
    Attribute(String),
}

/// Why a text is not a template, and what is allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NoTemplate {
    pub(super) message: String,
    pub(super) help: &'static str,
}

impl Members {
    /// Creates members in this order.
    pub(crate) const fn new(members: Vec<(String, Template)>) -> Self {
        Self(members)
    }

    /// Returns the members of dj-rest-auth's `UserDetailsSerializer`, as far as a directory knows them.
    pub(crate) fn of_dj_rest_auth() -> Self {
        let field = |field, as_number| Template(vec![Part::User { field, as_number }]);
        Self::new(vec![
            ("pk".into(), field(Field::Id, true)),
            ("username".into(), field(Field::Name, false)),
            ("email".into(), field(Field::Attribute("email".into()), false)),
        ])
    }

    /// Whether there are no members.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether there is a member with this name.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(one, _)| one == name)
    }

    /// Returns the members with their values for a user.
    pub fn of<'a>(&'a self, user: &'a Identity) -> impl Iterator<Item = (&'a str, Value)> {
        self.0.iter().map(move |(name, template)| (name.as_str(), template.value(user)))
    }

    /// Adds the members with their values for a user to `members`.
    pub fn add_to(&self, members: &mut Map<String, Value>, user: &Identity) {
        members.extend(self.of(user).map(|(name, value)| (name.to_owned(), value)));
    }
}

impl Template {
    /// Parses a template.
    pub(super) fn parse(text: &str) -> Result<Self, NoTemplate> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, from) = rest.split_at(at);
            plain.push_str(before);
            if let Some((brace, after)) =
                ["{{", "}}"].iter().find_map(|two| Some((&two[..1], from.strip_prefix(two)?)))
            {
                plain.push_str(brace);
                rest = after;
                continue;
            }
            let (name, after) = from
                .strip_prefix('{')
                .and_then(|from| from.split_once('}'))
                .ok_or_else(|| wrong(format!("{text:?} has a brace without its counterpart")))?;
            if !plain.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut plain)));
            }
            parts.push(placeholder(name)?);
            rest = after;
        }
        plain.push_str(rest);
        if !plain.is_empty() || parts.is_empty() {
            parts.push(Part::Text(plain));
        }
        let is_groups = |part: &Part| matches!(part, Part::User { field: Field::Groups, .. });
        if parts.len() > 1 && parts.iter().any(is_groups) {
            return Err(wrong("{user.groups} is a list and must stand alone".into()));
        }
        Ok(Self(parts))
    }

    /// Whether the template names something of the user.
    pub fn names_user(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::User { .. }))
    }

    /// Returns the template if its own text can be in a header.
    pub(super) fn of_a_header(self) -> Result<Self, Wrong> {
        let is_legal = |part: &Part| match part {
            Part::Text(text) => text.bytes().all(|byte| matches!(byte, b' '..=b'~' | b'\t')),
            Part::User { .. } => true,
        };
        match self.0.iter().all(is_legal) {
            true => Ok(self),
            false => Err(Wrong::new("has a character that no header can carry")
                .help("allowed: visible ASCII and spaces")),
        }
    }

    /// Returns the value for a header. What it says of the user is escaped as in `[identity]`; `None` if it names something of
    /// the user and there is no user.
    pub fn header_value(&self, user: Option<&Identity>) -> Option<HeaderValue> {
        let mut text = String::new();
        for part in &self.0 {
            match (part, user) {
                (Part::Text(more), _) => text.push_str(more),
                (Part::User { .. }, None) => return None,
                (Part::User { .. }, Some(user)) => match part.value(user) {
                    Value::String(more) => text.push_str(&header_value::encode(&more)),
                    Value::Array(items) => {
                        for (index, item) in items.iter().filter_map(Value::as_str).enumerate() {
                            text.push_str(if index > 0 { "," } else { "" });
                            text.push_str(&header_value::encode_item(item));
                        }
                    }
                    other => text.push_str(&other.to_string()),
                },
            }
        }
        HeaderValue::try_from(text).ok()
    }

    /// Parses a template that is valid.
    #[cfg(test)]
    pub(crate) fn for_test(text: &str) -> Self {
        Self::parse(text).unwrap()
    }

    /// Returns the value for a user.
    pub fn value(&self, user: &Identity) -> Value {
        if let [one] = self.0.as_slice() {
            return one.value(user);
        }
        let mut text = String::new();
        for part in &self.0 {
            match part.value(user) {
                Value::String(more) => text.push_str(&more),
                other => text.push_str(&other.to_string()),
            }
        }
        Value::String(text)
    }
}

impl Part {
    fn value(&self, user: &Identity) -> Value {
        let (field, as_number) = match self {
            Self::Text(text) => return Value::String(text.clone()),
            Self::User { field, as_number } => (field, *as_number),
        };
        let text = match field {
            Field::Id => &*user.key.id,
            Field::Name => &user.name,
            Field::Directory => &*user.key.directory,
            Field::Groups => return user.groups.clone().into(),
            Field::Staff => return user.staff.into(),
            Field::Superuser => return user.superuser.into(),
            Field::Attribute(name) => user.attributes.get(name).map_or("", String::as_str),
        };
        // Only the usual spelling of a number is one: "007" is a name of its own.
        let number = || text.parse::<i64>().ok().filter(|number| number.to_string() == text);
        match as_number.then(number).flatten() {
            Some(number) => number.into(),
            None => text.into(),
        }
    }
}

fn placeholder(text: &str) -> Result<Part, NoTemplate> {
    let unknown = || wrong(format!("there is no {{{text}}}"));
    let (name, as_number) = match text.split_once(':') {
        Some((name, "int")) => (name, true),
        Some(_) => return Err(unknown()),
        None => (text, false),
    };
    let field = match name.strip_prefix("user.").ok_or_else(unknown)? {
        "id" => Field::Id,
        "name" => Field::Name,
        "email" => Field::Attribute("email".into()),
        "directory" => Field::Directory,
        "groups" => Field::Groups,
        "staff" => Field::Staff,
        "superuser" => Field::Superuser,
        other => match other.strip_prefix("attributes.") {
            Some(name) if !name.is_empty() => Field::Attribute(name.to_owned()),
            Some(_) | None => return Err(unknown()),
        },
    };
    if as_number && !matches!(field, Field::Id | Field::Name | Field::Attribute(_)) {
        return Err(unknown());
    }
    Ok(Part::User { field, as_number })
}

const fn wrong(message: String) -> NoTemplate {
    NoTemplate { message, help: ALLOWED }
}

/// Reads the members of the table under `key`; `is_taken` tells which names already exist there.
pub(super) fn members(
    table: &RawTable<'_>,
    key: &'static str,
    is_taken: impl Fn(&str) -> bool,
) -> Members {
    let read = |members: &RawTable<'_>| {
        let mut all = Vec::new();
        for (name, text) in members.free() {
            if name.value.is_empty() || is_taken(&name.value) {
                let problem = if name.value.is_empty() {
                    Wrong::new("a member needs a name")
                } else {
                    Wrong::new(format!("{:?} is there already, with another meaning", name.value))
                };
                members.error_at(name.place, problem.help("give it another name"));
                continue;
            }
            match Template::parse(&text.value) {
                Ok(template) => all.push((name.value, template)),
                Err(no) => members.error_at(text.place, Wrong::new(no.message).help(no.help)),
            }
        }
        Members::new(all)
    };
    table.table(key, read)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::caller::UserKey;

    fn kim(id: &str) -> Identity {
        Identity {
            key: UserKey::new("django", id),
            name: "kim".into(),
            groups: vec!["editors".into(), "staff".into()],
            staff: true,
            superuser: false,
            attributes: BTreeMap::from([
                ("email".to_owned(), "kim@app.example".to_owned()),
                ("level".to_owned(), "3".to_owned()),
            ]),
        }
    }

    #[test]
    fn a_value_has_the_type_of_what_it_names() {
        for (text, value) in [
            ("{user.id}", json!("7")),
            ("{user.id:int}", json!(7)),
            ("{user.name}", json!("kim")),
            ("{user.name:int}", json!("kim")),
            ("{user.email}", json!("kim@app.example")),
            ("{user.groups}", json!(["editors", "staff"])),
            ("{user.staff}", json!(true)),
            ("{user.superuser}", json!(false)),
            ("{user.directory}", json!("django")),
            ("{user.attributes.level:int}", json!(3)),
            ("{user.attributes.none}", json!("")),
            ("v1", json!("v1")),
            ("", json!("")),
            ("{user.directory}/{user.id:int} {user.staff}", json!("django/7 true")),
            ("{{user.id}} is {user.id}", json!("{user.id} is 7")),
        ] {
            let template = Template::parse(text).unwrap_or_else(|no| panic!("{text}: {no:?}"));
            assert_eq!(template.value(&kim("7")), value, "{text}");
        }
    }

    #[test]
    fn a_header_has_what_a_user_is_called_escaped() {
        let user = Identity { name: "k\r\nim 김".into(), ..kim("7") };
        for (text, known, nobody) in [
            ("v1 of it", Some("v1 of it"), Some("v1 of it")),
            ("{user.name}", Some("k%0D%0Aim %EA%B9%80"), None),
            ("id={user.id:int}; staff={user.staff}", Some("id=7; staff=true"), None),
            ("{user.groups}", Some("editors,staff"), None),
        ] {
            let template = Template::parse(text).unwrap().of_a_header().unwrap();
            let value = |user| template.header_value(user);
            let text = |value: Option<HeaderValue>| value.map(|v| v.to_str().unwrap().to_owned());
            assert_eq!(text(value(Some(&user))).as_deref(), known, "{template:?}");
            assert_eq!(text(value(None)).as_deref(), nobody, "{template:?}");
        }
        for text in ["a\nb", "né", "\u{7f}{user.id}"] {
            assert!(Template::parse(text).unwrap().of_a_header().is_err(), "{text:?}");
        }
    }

    #[test]
    fn an_id_that_is_no_number_stays_a_text() {
        let template = Template::parse("{user.id:int}").unwrap();
        for id in ["007", "+7", "0d0b-11", "9223372036854775808", " 7", ""] {
            assert_eq!(template.value(&kim(id)), json!(id));
        }
        assert_eq!(template.value(&kim("-7")), json!(-7));
    }

    #[test]
    fn a_slip_is_told_with_what_is_allowed() {
        for text in [
            "{user.pk}",
            "{user}",
            "{name}",
            "{}",
            "{user.id:bool}",
            "{user.id:}",
            "{user.staff:int}",
            "{user.groups:int}",
            "{user.attributes.}",
            "{user.id",
            "user.id}",
            "{ user.id }",
            "in {user.groups}",
        ] {
            let no = Template::parse(text).unwrap_err();
            assert!(no.help.contains("{user.id}"), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC*") {
            let _ = Template::parse(&text);
        }

        #[test]
        fn text_with_its_braces_doubled_is_itself(text in "\\PC*") {
            let doubled = text.replace('{', "{{").replace('}', "}}");
            prop_assert_eq!(Template::parse(&doubled).unwrap().value(&kim("7")), json!(text));
        }
    }
}
