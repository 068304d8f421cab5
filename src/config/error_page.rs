//! Reads `[[error_page]]`: custom pages that replace the gateway's and, if configured, the service's errors.

use std::path::PathBuf;

use super::Route;
use super::raw::{RawItem, RawTable, Wrong};

/// An `[[error_page]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorPage {
    /// The statuses of the answers that it replaces.
    pub statuses: Vec<u16>,
    /// Indices of the routes that use it; empty: all, and requests that no route matches.
    pub routes: Vec<usize>,
    /// The page for browsers.
    pub html: Option<PathBuf>,
    /// The body for all other clients.
    pub json: Option<PathBuf>,
    /// Whether it also replaces the service's own answers with these statuses.
    pub service_errors: bool,
}

/// Reads the pages; if several match an answer, the first is used.
pub(super) fn error_pages(root: &RawTable<'_>, routes: &[RawItem<Route>]) -> Vec<ErrorPage> {
    root.tables("error_page", |table| {
        table.require("statuses", "the statuses that it replaces, like statuses = [502, 503, 504]");
        let statuses = table.numbers("statuses", 400..=599_u16).unwrap_or_default();
        let (html, json) = (table.path("html"), table.path("json"));
        if !table.has("html") && !table.has("json") {
            table.error(
                "statuses",
                Wrong::new("there is no page for them")
                    .help("add error_page.html or error_page.json"),
            );
        }
        let service_errors = table.flag("service_errors").unwrap_or(false);
        if service_errors && !statuses.is_empty() && statuses.iter().all(|status| *status < 500) {
            let wrong = Wrong::new("only the service's errors of the server (5xx) are replaced");
            table.error("service_errors", wrong.help("list one of them in error_page.statuses"));
        }
        let named = table.list("routes", |text| route(text, routes)).unwrap_or_default();
        ErrorPage {
            statuses,
            routes: named.into_iter().map(|item| item.value).collect(),
            html,
            json,
            service_errors,
        }
    })
}

fn route(text: &str, routes: &[RawItem<Route>]) -> Result<usize, Wrong> {
    routes.iter().position(|route| route.value.name == text).ok_or_else(|| {
        let names: Vec<&str> = routes.iter().map(|route| route.value.name.as_str()).collect();
        Wrong::new(format!("there is no route {text:?}"))
            .help(format!("the routes are: {}", names.join(", ")))
    })
}
