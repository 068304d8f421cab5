//! `[paths]`: what the gateway answers itself, and where.

use super::values;
use crate::config::raw::{Item, Place, Table, Wrong};
use crate::config::{OwnPath, OwnPathEntry, Rotation};

pub(super) const ROTATION: [(&str, Rotation); 2] =
    [("single-use", Rotation::SingleUse), ("none", Rotation::None)];

pub(super) fn paths(table: &Table<'_>, rotation: Rotation) -> Vec<OwnPathEntry> {
    let mut all: Vec<Item<OwnPathEntry>> = Vec::new();
    for own in OwnPath::ALL {
        let key = own.name();
        if table.is_off(key) {
            continue;
        }
        let path = table
            .text(key, values::canonical_path)
            .map_or_else(|| own.default_path().to_owned(), |path| path.to_string());
        add(table, &mut all, OwnPathEntry { path, own, rotation }, table.place(key));
    }
    table.tables("alias", |alias| {
        if let Some(entry) = read_alias(alias, rotation) {
            add(table, &mut all, entry, alias.place("path"));
        }
    });
    all.into_iter().map(|item| item.value).collect()
}

fn read_alias(table: &Table<'_>, rotation: Rotation) -> Option<OwnPathEntry> {
    table.require("path", "the path where it is answered as well");
    table.require("to", "which of the own paths it stands for");
    let path = table.text("path", values::canonical_path).map(|path| path.to_string());
    let own = table.choice("to", &OwnPath::ALL.map(|own| (own.name(), own)));
    let own_rotation = table.choice("rotation", &ROTATION);
    if own.is_some_and(|own| own != OwnPath::Refresh) && table.has("rotation") {
        table.error(
            "rotation",
            Wrong::new("only an alias of refresh has a rotation").help("remove it"),
        );
    }
    Some(OwnPathEntry { path: path?, own: own?, rotation: own_rotation.unwrap_or(rotation) })
}

fn add(table: &Table<'_>, all: &mut Vec<Item<OwnPathEntry>>, entry: OwnPathEntry, place: Place) {
    if let Some(other) = all.iter().find(|other| other.value.path == entry.path) {
        table.error_at(
            place,
            Wrong::new(format!("{:?} is {} already", entry.path, other.place.key))
                .help("each own path and alias needs a path of its own"),
        );
    } else {
        all.push(Item { value: entry, place });
    }
}
