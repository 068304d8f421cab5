//! Reads `[shadow]`: routes on which the gateway decides and enforces nothing.

use super::raw::{RawItem, RawTable, Wrong, nearest};
use super::{Config, FormKind, Route, values};
use crate::wire::path::{PathMatch, PathPattern};

/// `[shadow]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shadow {
    /// Indices into [`Config::routes`](super::Config::routes); empty: off.
    pub routes: Vec<usize>,
    /// The paths to which a service redirects callers who are not signed in.
    pub login_paths: Vec<PathPattern>,
}

impl Shadow {
    /// Whether this route is shadowed.
    pub fn covers(&self, route: usize) -> bool {
        self.routes.contains(&route)
    }
}

impl Config {
    /// Whether another route that is enforced leads to the same upstream.
    pub fn shares_upstream(&self, route: &Route) -> bool {
        self.routes
            .iter()
            .any(|other| other.upstream == route.upstream && !self.shadow.covers(other.index))
    }

    /// Returns the headers that services trust without a proof in them: those of `[identity]`, and of `remote-user` forms.
    pub fn believed_headers(&self) -> impl Iterator<Item = &str> {
        let forms = self.forms.iter().filter_map(|form| match &form.kind {
            FormKind::RemoteUser(settings) => Some(settings.header.as_str()),
            FormKind::SimpleJwt(_)
            | FormKind::Jwt(_)
            | FormKind::DjangoSession(_)
            | FormKind::DrfToken(_)
            | FormKind::Cookies(_) => None,
        });
        self.identity.names().chain(forms)
    }
}

impl Default for Shadow {
    fn default() -> Self {
        Self {
            routes: Vec::new(),
            // These are Django's LOGIN_URL, and its admin's own.
            login_paths: ["/accounts/login/", "/admin/login/"]
                .into_iter()
                .filter_map(|path| PathPattern::parse(path, PathMatch::Exact).ok())
                .collect(),
        }
    }
}

pub(super) fn shadow(table: &RawTable<'_>, routes: &[RawItem<Route>]) -> Shadow {
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

fn index(text: &str, routes: &[RawItem<Route>]) -> Result<usize, Wrong> {
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
