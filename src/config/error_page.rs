//! `[[error_page]]`: pages of one's own in place of the gateway's, and if asked in place of the service's errors.

use std::path::PathBuf;

use super::Route;
use super::raw::{RawItem, RawTable, Wrong};

/// An `[[error_page]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorPage {
    /// For answers with these statuses.
    pub statuses: Vec<u16>,
    /// Indices of the routes that it is for; empty: all, and what no route takes.
    pub routes: Vec<usize>,
    /// The page that a browser gets.
    pub html: Option<PathBuf>,
    /// What everybody else gets.
    pub json: Option<PathBuf>,
    /// In place of the service's own answers with these statuses too.
    pub service_errors: bool,
}

/// Each of them; of several that are for an answer, the first is taken.
pub(super) fn error_pages(root: &RawTable<'_>, routes: &[RawItem<Route>]) -> Vec<ErrorPage> {
    root.tables("error_page", |table| {
        table.require("statuses", "for which it is, like statuses = [502, 503, 504]");
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
