//! `[[identity.form]]`, and which of them a route uses.

use super::values;
use crate::config::raw::{Item, Table, Wrong, nearest};
use crate::config::{
    DirectorySettings, FormKind, IdentityForm, IdentityHeaders, RemoteUser, RouteForms, UserValue,
};
use crate::wire::forward::fold;

#[derive(Clone, Copy)]
enum Kind {
    RemoteUser,
}

const KINDS: [(&str, Kind); 1] = [("remote-user", Kind::RemoteUser)];

const REMOTE_USER_KEYS: [&str; 2] = ["header", "value"];
const VALUES: [(&str, UserValue); 2] = [("name", UserValue::Name), ("id", UserValue::Id)];

/// All forms, each with the place of its name. `identity` is the table that they stand in.
pub(super) fn forms(
    identity: &Table<'_>,
    headers: &IdentityHeaders,
    directories: &[DirectorySettings],
) -> Vec<Item<IdentityForm>> {
    let mut all: Vec<Item<IdentityForm>> = Vec::new();
    identity.tables("form", |table| {
        table.require("name", "a name for routes to use, like \"drf\"");
        table.require("kind", &format!("allowed: {}", listed(KINDS.iter().map(|(word, _)| *word))));
        let name = table.text("name", values::name).unwrap_or_default();
        if !name.is_empty() && all.iter().any(|other| other.value.name == name) {
            table.error("name", Wrong::new(format!("{name:?} is another form's name")));
        }
        let kind = table.choice("kind", &KINDS);
        let kind = match kind {
            Some(Kind::RemoteUser) => FormKind::RemoteUser(remote_user(table)),
            None => {
                // Which keys it may have is not known.
                table.pass_over(&REMOTE_USER_KEYS);
                FormKind::RemoteUser(RemoteUser::default())
            }
        };
        if let (Some(header), true) = (kind.header(), table.has("kind")) {
            refuse_taken(table, header, headers);
        }
        let directory = directory(table, &kind, directories);
        all.push(Item {
            value: IdentityForm { name, directory, kind },
            place: table.place("name"),
        });
    });
    all
}

fn remote_user(table: &Table<'_>) -> RemoteUser {
    let default = RemoteUser::default();
    RemoteUser {
        header: table.text("header", form_header).unwrap_or(default.header),
        value: table.choice("value", &VALUES).unwrap_or(default.value),
    }
}

/// The name of a header that a form sets.
fn form_header(text: &str) -> Result<String, Wrong> {
    match values::identity_header(text)? {
        name if name.is_empty() => Err(Wrong::new("a header needs a name")),
        name => Ok(name),
    }
}

fn refuse_taken(table: &Table<'_>, header: &str, headers: &IdentityHeaders) {
    let folded = fold(header);
    if headers.names().any(|name| fold(name) == folded) {
        table.error(
            "header",
            Wrong::new(format!("{header:?} is set by [identity] already"))
                .help("turn it off there with \"\", or choose another name"),
        );
    }
}

/// Two directories may both have a user 1, and only one of them is the service's.
fn directory(
    table: &Table<'_>,
    kind: &FormKind,
    directories: &[DirectorySettings],
) -> Option<String> {
    let names = || directories.iter().map(|directory| directory.name.as_str());
    let given = table.text("directory", |text| {
        if names().any(|name| name == text) {
            return Ok(text.to_owned());
        }
        let wrong = Wrong::new(format!("there is no directory {text:?}"));
        Err(match nearest(text, names()) {
            Some(meant) => wrong.help(format!("did you mean {meant:?}?")),
            None => wrong.help(format!("the directories are: {}", listed(names()))),
        })
    });
    let any_will_do =
        matches!(kind, FormKind::RemoteUser(RemoteUser { value: UserValue::Name, .. }));
    match directories {
        _ if table.has("directory") || any_will_do => given,
        [] => None,
        [one] => Some(one.name.clone()),
        _ => {
            table.error(
                "directory",
                Wrong::new("is missing: two directories may have users of the same id")
                    .help(format!("say whose users the service has: {}", listed(names()))),
            );
            None
        }
    }
}

/// `route.identity`: one name, a list of names, or a table with these for `bearer` and `cookie`.
pub(super) fn of_route(route: &Table<'_>, forms: &[Item<IdentityForm>]) -> RouteForms {
    if route.is_table_or_absent("identity") {
        return route.table("identity", |table| RouteForms {
            bearer: named(table, "bearer", forms),
            cookie: named(table, "cookie", forms),
        });
    }
    let both = named(route, "identity", forms);
    RouteForms { bearer: both.clone(), cookie: both }
}

fn named(table: &Table<'_>, key: &'static str, forms: &[Item<IdentityForm>]) -> Vec<usize> {
    let find = |text: &str| {
        let names = || forms.iter().map(|form| form.value.name.as_str());
        names().position(|name| name == text).ok_or_else(|| {
            let wrong = Wrong::new(format!("there is no identity form {text:?}"));
            match (nearest(text, names()), forms.is_empty()) {
                (_, true) => wrong.help("it needs an [[identity.form]] block of that name"),
                (Some(meant), _) => wrong.help(format!("did you mean {meant:?}?")),
                (None, _) => wrong.help(format!("the forms are: {}", listed(names()))),
            }
        })
    };
    let all: Vec<usize> = table.one_or_more(key, find);
    let mut seen: Vec<(&IdentityForm, String)> = Vec::new();
    for form in all.iter().filter_map(|index| forms.get(*index)).map(|form| &form.value) {
        let carries = [form.kind.header(), form.kind.cookie()];
        for carrier in carries.into_iter().flatten().map(|name| fold(name).into_owned()) {
            if let Some((other, _)) = seen.iter().find(|(_, taken)| *taken == carrier) {
                table.error(
                    key,
                    Wrong::new(format!(
                        "the forms {:?} and {:?} both set {carrier}",
                        other.name, form.name
                    )),
                );
            }
            seen.push((form, carrier));
        }
    }
    all
}

/// Warns of forms that no route uses.
pub(super) fn warn_of_unused<'r>(
    root: &Table<'_>,
    forms: &[Item<IdentityForm>],
    routes: impl Iterator<Item = &'r RouteForms> + Clone,
) {
    for (index, form) in forms.iter().enumerate() {
        if !routes.clone().any(|route| route.all().any(|used| used == index)) {
            root.warn_at(
                form.place.clone(),
                Wrong::new(format!("no route uses the form {:?}", form.value.name)),
            );
        }
    }
}

fn listed<'n>(names: impl Iterator<Item = &'n str>) -> String {
    names.map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ")
}
