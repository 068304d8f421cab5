//! `[[upstream]]`.

use super::{DAY, TIMEOUT, secs, values};
use crate::config::raw::{Item, Table, Wrong, nearest};
use crate::config::{Route, Upstream};

/// All upstreams, each with the place of its name.
/// The upstream of this name.
pub(super) fn index_of(text: &str, upstreams: &[Item<Upstream>]) -> Result<usize, Wrong> {
    upstreams.iter().position(|upstream| upstream.value.name == text).ok_or_else(|| {
        let names = || upstreams.iter().map(|upstream| upstream.value.name.as_str());
        let wrong = Wrong::new(format!("there is no upstream {text:?}"));
        let list = format!("the upstreams are: {}", names().collect::<Vec<_>>().join(", "));
        match nearest(text, names()) {
            Some(meant) => wrong.help(format!("did you mean {meant:?}? {list}")),
            None => wrong.help(list),
        }
    })
}

pub(super) fn upstreams(root: &Table<'_>) -> Vec<Item<Upstream>> {
    let mut names: Vec<String> = Vec::new();
    let all = root.tables("upstream", |table| {
        let upstream = upstream(table);
        if names.contains(&upstream.name) {
            table.error(
                "name",
                Wrong::new(format!("{:?} is another upstream's name", upstream.name)),
            );
        } else if !upstream.name.is_empty() {
            names.push(upstream.name.clone());
        }
        Item { value: upstream, place: table.place("name") }
    });
    root.require(
        "upstream",
        "at least one: [[upstream]] name = \"app\" servers = [\"127.0.0.1:8000\"]",
    );
    all
}

/// Where no route was mistaken about its upstream.
pub(super) fn warn_of_unused(
    root: &Table<'_>,
    upstreams: &[Item<Upstream>],
    routes: &[Item<Route>],
) {
    if routes.is_empty() || routes.iter().any(|route| route.value.upstream >= upstreams.len()) {
        return;
    }
    for (index, upstream) in upstreams.iter().enumerate() {
        if !routes.iter().any(|route| route.value.upstream == index) {
            root.warn_at(upstream.place.clone(), Wrong::new("no route leads to this upstream"));
        }
    }
}

fn upstream(table: &Table<'_>) -> Upstream {
    table.require("name", "the name that routes use");
    table.require("servers", "for example: servers = [\"127.0.0.1:8000\"]");
    let name = table.text("name", values::name).unwrap_or_default();
    let servers = table.values("servers", values::server).unwrap_or_default();
    let default = Upstream::new(&name, &[]);
    Upstream {
        servers,
        connect_timeout: table
            .duration("connect_timeout", TIMEOUT)
            .unwrap_or(default.connect_timeout),
        read_timeout: table.duration("read_timeout", TIMEOUT).unwrap_or(default.read_timeout),
        write_timeout: table.duration("write_timeout", TIMEOUT).unwrap_or(default.write_timeout),
        idle_timeout: table
            .duration("idle_timeout", secs(0)..=*TIMEOUT.end())
            .unwrap_or(default.idle_timeout),
        buffer_chunked: table.flag("buffer_chunked").unwrap_or(default.buffer_chunked),
        buffer_limit: table
            // The framework's buffer for a body that is sent again has this size (its 0.9.1: 64 KiB).
            .size("buffer_limit", 1 << 10..=64 << 10)
            .unwrap_or(default.buffer_limit),
        websocket_timeout: table
            .duration("websocket_timeout", secs(1)..=DAY)
            .unwrap_or(default.websocket_timeout),
        name,
    }
}
