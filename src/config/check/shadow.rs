//! `[shadow]`.

use super::values;
use crate::config::raw::{Item, Table, Wrong, nearest};
use crate::config::{Route, Shadow};
use crate::wire::path::PathMatch;

pub(super) fn shadow(table: &Table<'_>, routes: &[Item<Route>]) -> Shadow {
    let default = Shadow::default();
    let login_paths =
        table.values("login_paths", |text| values::path_pattern(text, PathMatch::Exact));
    let mut shadowed: Vec<usize> = Vec::new();
    for item in table.list("routes", |text| index(text, routes)).unwrap_or_default() {
        let name = routes.get(item.value).map_or("", |route| route.value.name.as_str());
        table.warn_at(
            item.place,
            Wrong::new(format!("the gateway lets everything through on the route {name:?}"))
                .help("only the service itself protects it; take it out when the reports agree"),
        );
        shadowed.push(item.value);
    }
    Shadow { routes: shadowed, login_paths: login_paths.unwrap_or(default.login_paths) }
}

fn index(text: &str, routes: &[Item<Route>]) -> Result<usize, Wrong> {
    let names = || routes.iter().map(|route| route.value.name.as_str());
    names().position(|name| name == text).ok_or_else(|| {
        let wrong = Wrong::new(format!("there is no route {text:?}"));
        let list = format!("the routes are: {}", names().collect::<Vec<_>>().join(", "));
        match nearest(text, names()) {
            Some(meant) => wrong.help(format!("did you mean {meant:?}? {list}")),
            None => wrong.help(list),
        }
    })
}
