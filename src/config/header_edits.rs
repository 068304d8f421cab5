//! Reads `[route.request_headers]` and `[route.response_headers]`: an operator's changes to header sections.
//!
//! Such an edit never speaks for the gateway. Only the gate says who is calling, where a request came from, which host and body
//! it has, and what a credential is. Names that frame a message or belong to one connection, cookies, and the CORS permissions
//! of answers are not for edits either. All of these are refused here, with the name of what sets them. A request's field with
//! something of its caller can only be set: if it were added, a client could send its own beside it.

use http::HeaderName;

use super::raw::{RawItem, RawTable, Wrong};
use super::template::Template;
use super::values;
use crate::wire::forward::{NameClasses, ProtectedNames, fold};

/// The changes to a header section, applied in this order: remove, set, add.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderEdits {
    /// Names whose fields are removed.
    pub remove: Vec<HeaderName>,
    /// Fields that replace all fields of the same name.
    pub set: Vec<(HeaderName, Template)>,
    /// Fields that are added to those of the same name.
    pub add: Vec<(HeaderName, Template)>,
}

/// Names that frame a message, or belong to one connection (RFC 9110 sections 7.6.1 and 8.6).
const FRAMING: [&str; 12] = [
    "connection",
    "content-encoding",
    "content-length",
    "expect",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Names that only the gateway sets in an answer, besides those that frame it.
const ANSWERS: [(&str, &str); 5] = [
    ("set-cookie", "only the service and the gateway set cookies"),
    ("www-authenticate", "whoever refuses a request sets it"),
    ("x-request-id", "the gateway sets it"),
    ("ratelimit", "[[route.rate_limit]] sets it"),
    ("ratelimit-policy", "[[route.rate_limit]] sets it"),
];

impl HeaderEdits {
    /// Whether nothing is changed.
    pub const fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.set.is_empty() && self.add.is_empty()
    }
}

/// Reads `[route.request_headers]`.
pub(super) fn of_requests(table: &RawTable<'_>, protected: &ProtectedNames) -> HeaderEdits {
    let edits = read(table, |text| request_name(text, protected));
    for (item, template) in &edits.add {
        if template.names_user() {
            let wrong = Wrong::new(format!(
                "a client could send its own {:?} as well",
                item.value.as_str()
            ));
            table.error_at(item.place.clone(), wrong.help("use route.request_headers.set"));
        }
    }
    edits.checked(table)
}

/// Reads `[route.response_headers]`.
pub(super) fn of_responses(table: &RawTable<'_>, protected: &ProtectedNames) -> HeaderEdits {
    read(table, |text| response_name(text, protected)).checked(table)
}

struct ReadEdits {
    remove: Vec<RawItem<HeaderName>>,
    set: Vec<(RawItem<HeaderName>, Template)>,
    add: Vec<(RawItem<HeaderName>, Template)>,
}

fn read(table: &RawTable<'_>, name: impl Fn(&str) -> Result<HeaderName, Wrong>) -> ReadEdits {
    let fields = |key| {
        table.table(key, |fields| {
            let mut all = Vec::new();
            for (field, text) in fields.free() {
                let name = name(&field.value);
                let template = Template::parse(&text.value);
                let template = template.map_err(|no| Wrong::new(no.message).help(no.help));
                match (name, template.and_then(Template::of_a_header)) {
                    (Ok(name), Ok(template)) => {
                        all.push((RawItem { value: name, place: field.place }, template));
                    }
                    (name, template) => {
                        if let Err(wrong) = name {
                            fields.error_at(field.place, wrong);
                        }
                        if let Err(wrong) = template {
                            fields.error_at(text.place, wrong);
                        }
                    }
                }
            }
            all
        })
    };
    ReadEdits {
        remove: table.list("remove", &name).unwrap_or_default(),
        set: fields("set"),
        add: fields("add"),
    }
}

impl ReadEdits {
    /// Checks that each name occurs once, in any spelling.
    fn checked(self, table: &RawTable<'_>) -> HeaderEdits {
        let mut seen: Vec<&HeaderName> = Vec::new();
        let removed = self.remove.iter();
        for item in removed.chain(self.set.iter().chain(&self.add).map(|(item, _)| item)) {
            if seen.contains(&&item.value) {
                let wrong = Wrong::new(format!("{:?} is changed twice", item.value.as_str()));
                table.error_at(item.place.clone(), wrong.help("remove, set or add it"));
            }
            seen.push(&item.value);
        }
        let fields = |fields: Vec<(RawItem<HeaderName>, Template)>| {
            fields.into_iter().map(|(item, template)| (item.value, template)).collect()
        };
        HeaderEdits {
            remove: self.remove.into_iter().map(|item| item.value).collect(),
            set: fields(self.set),
            add: fields(self.add),
        }
    }
}

fn request_name(text: &str, protected: &ProtectedNames) -> Result<HeaderName, Wrong> {
    let name = plain_name(text)?;
    let wrong = |why: &str, help: &str| Err(Wrong::new(format!("{text:?} {why}")).help(help));
    let classes = protected.classes(name.as_str());
    if classes.has(NameClasses::IDENTITY) || classes.has(NameClasses::DENIED) {
        return wrong("says who is calling, or changes how the request is read", "see [identity]");
    }
    if classes.has(NameClasses::CREDENTIAL) {
        return wrong("is where clients bring a credential", "see issuer.forward");
    }
    if classes.has(NameClasses::FORWARDING) {
        return wrong("says where the request came from", "the gateway sets it");
    }
    match name.as_str() {
        "host" => wrong("has a key of its own", "set route.host"),
        "authorization" | "cookie" => wrong(
            "holds credentials, which do not belong in a configuration",
            "see [[identity.form]] for what a service is given",
        ),
        "content-type" | "origin" | "x-request-id" | "proxy-authorization" => {
            wrong("has already been used for the gateway's decision", "choose a name of your own")
        }
        _ => Ok(name),
    }
}

fn response_name(text: &str, protected: &ProtectedNames) -> Result<HeaderName, Wrong> {
    let name = plain_name(text)?;
    let wrong = |why: &str, help: &str| Err(Wrong::new(format!("{text:?} {why}")).help(help));
    let classes = protected.classes(name.as_str());
    if classes.has(NameClasses::IDENTITY) || classes.has(NameClasses::CREDENTIAL) {
        return wrong("says who is calling, or is a credential", "answers must not contain it");
    }
    if name.as_str().starts_with("access-control-") {
        return wrong("belongs to CORS", "see [cors]");
    }
    match ANSWERS.iter().find(|(other, _)| *other == name.as_str()) {
        Some((_, help)) => wrong("cannot be edited", help),
        None => Ok(name),
    }
}

/// Parses a name that every server reads as this one.
fn plain_name(text: &str) -> Result<HeaderName, Wrong> {
    let name = values::plain_header(text)?;
    let folded = fold(&name).into_owned();
    let other = || Wrong::new(format!("{text:?} is no usable header name"));
    let name = HeaderName::try_from(name.to_ascii_lowercase()).map_err(|_| other())?;
    if folded != name.as_str() {
        return Err(other().help("allowed: words of letters and digits with one - between them"));
    }
    if FRAMING.contains(&name.as_str()) {
        return Err(Wrong::new(format!(
            "{text:?} frames the message, or belongs to one connection"
        ))
        .help("the gateway writes it itself"));
    }
    Ok(name)
}
