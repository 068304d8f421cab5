//! Reads `[sign_in]`: who signs people in, and the requests with which the service does.

use http::Method;

use super::raw::{RawItem, RawTable, Wrong};
use super::{
    Access, AnswerRules, CredentialPlace, IssuerKind, IssuerSettings, OwnPath, OwnPathEntry, Route,
    Shape, http_directory, values,
};
use crate::wire::path::{CanonicalPath, PathMatch, PathPattern};

/// `[sign_in]`
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SignInSettings {
    /// Who signs people in.
    pub mode: SignInMode,
    /// The page to which a browser is redirected to sign in: the service's own (`mode = "follow"`), or a path of the gateway's
    /// page.
    pub login_path: Option<CanonicalPath>,
    /// The requests that are observed.
    pub observe: Vec<Observed>,
}

/// `sign_in.mode`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SignInMode {
    /// The gateway: its page, its tokens, and aliases of the service's own paths.
    #[default]
    Replace,
    /// The service; the gateway observes and adopts its sessions.
    Follow,
}

/// `route.sign_in_redirect`: who decides where a browser is redirected to sign in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SignInRedirect {
    /// The gateway: `sign_in.login_path`, or its own page.
    #[default]
    Gateway,
    /// The service: it gets the request, and of its answers only a redirect is returned.
    Service,
}

/// `[[sign_in.observe]]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// What the request does.
    pub kind: ObservedKind,
    /// The request's path.
    pub path: PathPattern,
    /// The request's methods.
    pub methods: Vec<Method>,
    /// The field with the user's name.
    pub username_field: String,
    /// The `[[issuer]]`, by its index, whose tokens the answer's body contains.
    pub tokens: Option<usize>,
    /// The rules for a successful answer; none: it sets a session of an issuer that has a user.
    pub success: AnswerRules,
}

/// `sign_in.observe.kind`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ObservedKind {
    /// A user signs in.
    SignIn,
    /// A user creates an account, and may be signed in by that.
    SignUp,
    /// A user signs out.
    SignOut,
    /// A refresh token is exchanged for new tokens.
    Refresh,
}

impl Observed {
    /// Creates an observed request with the fields of a Django form.
    pub fn new(kind: ObservedKind, path: PathPattern) -> Self {
        Self {
            kind,
            path,
            methods: vec![Method::POST],
            username_field: "username".into(),
            tokens: None,
            success: AnswerRules::default(),
        }
    }

    /// Whether a request is an observed one.
    pub fn is_of(&self, method: &Method, path: &CanonicalPath) -> bool {
        self.methods.contains(method) && self.path.takes(path)
    }
}

const MODES: [(&str, SignInMode); 2] =
    [("replace", SignInMode::Replace), ("follow", SignInMode::Follow)];

const KINDS: [(&str, ObservedKind); 4] = [
    ("sign-in", ObservedKind::SignIn),
    ("sign-up", ObservedKind::SignUp),
    ("sign-out", ObservedKind::SignOut),
    ("refresh", ObservedKind::Refresh),
];

pub(super) fn sign_in(table: &RawTable<'_>, issuers: &[IssuerSettings]) -> SignInSettings {
    let mode = table.choice("mode", &MODES).unwrap_or_default();
    let login_path = table.text("login_path", values::canonical_path);
    let observe: Vec<Observed> = table
        .tables("observe", |table| observed(table, mode, issuers))
        .into_iter()
        .flatten()
        .collect();
    if mode == SignInMode::Follow {
        let has_sessions =
            issuers.iter().any(|issuer| matches!(issuer.kind, IssuerKind::DjangoSession(_)));
        if !has_sessions {
            table.error(
                "mode",
                Wrong::new("the gateway cannot read the service's sessions")
                    .help("add an [[issuer]] of kind = \"django-session\""),
            );
        }
        table.require("login_path", "the service's own login page, like \"/accounts/login/\"");
        if !observe.iter().any(|one| one.kind == ObservedKind::SignIn) {
            table.error(
                "mode",
                Wrong::new("the service's sign-in is not observed, so no lockout protects it")
                    .help(
                        "add a [[sign_in.observe]] with kind = \"sign-in\" and the path to which \
                         its login form is posted",
                    ),
            );
        }
    }
    SignInSettings { mode, login_path, observe }
}

fn observed(
    table: &RawTable<'_>,
    mode: SignInMode,
    issuers: &[IssuerSettings],
) -> Option<Observed> {
    table.require("kind", "allowed: \"sign-in\", \"sign-up\", \"sign-out\", \"refresh\"");
    table.require("path", "the path of the service's, like \"/accounts/login/\"");
    let kind = table.choice("kind", &KINDS);
    let path = table.text("path", |text| values::path_pattern(text, PathMatch::Exact));
    let methods = table.values("methods", method);
    if table.is_empty_list("methods") {
        table.error("methods", Wrong::new("without a method nothing is observed"));
    }
    if kind.is_some_and(|kind| kind != ObservedKind::SignIn) {
        table.refuse(
            &["username_field"],
            "the user's name is read only at a sign-in",
            "it is for kind = \"sign-in\"",
        );
    }
    let username_field = table.text("username_field", values::filled);
    if kind == Some(ObservedKind::SignOut) {
        table.refuse(&["tokens"], "a sign-out gives out no tokens", "remove it");
    }
    if kind == Some(ObservedKind::Refresh) {
        table.require("tokens", "the name of the [[issuer]] whose tokens are refreshed there");
    }
    let tokens = table.text("tokens", |name| simplejwt(name, issuers));
    // Where the gateway signs people in, it issues its own tokens.
    let tokens = tokens.filter(|_| mode == SignInMode::Follow);
    let success = table.table("success", success);
    let default = Observed::new(kind?, path?);
    Some(Observed {
        methods: methods.filter(|all| !all.is_empty()).unwrap_or(default.methods),
        username_field: username_field.unwrap_or(default.username_field),
        tokens,
        success,
        ..default
    })
}

/// Returns the issuer whose tokens an answer contains.
fn simplejwt(name: &str, issuers: &[IssuerSettings]) -> Result<usize, Wrong> {
    let is_it = |one: &IssuerSettings| {
        one.name == name
            && matches!(one.kind, IssuerKind::SimpleJwt(_))
            && matches!(one.place, CredentialPlace::Header { .. })
    };
    issuers.iter().position(is_it).ok_or_else(|| {
        Wrong::new(format!(
            "there is no [[issuer]] {name:?} of kind = \"simplejwt\" whose tokens come in a header"
        ))
    })
}

/// Reads the rules for an answer that is forwarded to the client: only its head is checked.
fn success(table: &RawTable<'_>) -> AnswerRules {
    table.refuse(
        &["body_contains", "body_lacks", "json"],
        "the answer's body goes on to the client unread",
        "allowed: status, cookie, location, location_not",
    );
    http_directory::head_rules(table)
}

fn method(text: &str) -> Result<Method, Wrong> {
    match text {
        "POST" | "PUT" | "PATCH" | "DELETE" | "GET" => {
            text.parse().map_err(|_| Wrong::new(format!("{text:?} is no method")))
        }
        _ => Err(Wrong::new(format!("{text:?} cannot be observed"))
            .help("allowed: \"POST\", \"PUT\", \"PATCH\", \"DELETE\", \"GET\"")),
    }
}

/// Refuses settings of `[session]` that the gateway cannot guarantee where it uses the service's own sessions.
pub(super) fn refuse_session_times(table: &RawTable<'_>, settings: &SignInSettings) {
    if settings.mode == SignInMode::Follow {
        table.refuse(
            &["idle_timeout", "absolute_timeout"],
            "the service's sessions end when the service says",
            "remove it, and set the service's SESSION_COOKIE_AGE; or sign_in.mode = \"replace\"",
        );
    }
}

/// Refuses redirects to a service that signs nobody in, and so has no page for it.
pub(super) fn refuse_redirects(root: &RawTable<'_>, mode: SignInMode, routes: &[RawItem<Route>]) {
    for route in routes.iter().map(|route| &route.value) {
        let is_closed = route.access == Access::SignedIn && route.groups.is_empty();
        if route.sign_in_redirect == SignInRedirect::Service
            && !(mode == SignInMode::Follow && is_closed)
        {
            root.error(
                "sign_in",
                Wrong::new(format!(
                    "the route {:?} leaves to the service where a browser signs in (sign_in_redirect)",
                    route.name
                ))
                .help(
                    "it is for sign_in.mode = \"follow\" and a route with access = \"signed-in\" and without groups",
                ),
            );
        }
    }
}

/// Refuses a configuration in which the service's sign-in page, or its form, cannot be reached.
pub(super) fn refuse_closed_login(
    root: &RawTable<'_>,
    settings: &SignInSettings,
    routes: &[RawItem<Route>],
    paths: &[OwnPathEntry],
) {
    let Some(login_path) = &settings.login_path else { return };
    if settings.mode == SignInMode::Replace {
        let is_page =
            |entry: &&OwnPathEntry| entry.own == OwnPath::Login && entry.shape == Shape::SimpleJwt;
        if !paths.iter().filter(is_page).any(|entry| entry.path.takes(login_path)) {
            root.error(
                "sign_in",
                Wrong::new(format!("login_path \"{login_path}\" is not where the gateway's page is"))
                    .help(
                        "give the page that path too: [[paths.alias]] with endpoint = \"login\"; or sign_in.mode = \"follow\"",
                    ),
            );
        }
        return;
    }
    if paths.iter().any(|entry| entry.path.takes(login_path)) {
        root.error(
            "sign_in",
            Wrong::new(format!("login_path \"{login_path}\" is a path that the gateway answers"))
                .help("it is the service's own page; write it so, or remove the one of [paths]"),
        );
        return;
    }
    // This is the route table's order: the longer path first, and exact before prefix for the same path.
    let fitting =
        routes.iter().map(|route| &route.value).filter(|route| route.path.takes(login_path));
    let order = |route: &&Route| (route.path.as_str().len(), route.path.matching());
    let Some(route) = fitting.max_by_key(order) else {
        root.error(
            "sign_in",
            Wrong::new(format!("no route leads to login_path \"{login_path}\""))
                .help("give it a [[route]] with access = \"public\""),
        );
        return;
    };
    if route.access == Access::SignedIn {
        root.error(
            "sign_in",
            Wrong::new(format!(
                "login_path \"{login_path}\" is behind the route {:?}, which asks who is signed in",
                route.name
            ))
            .help("give it a [[route]] with access = \"public\""),
        );
    }
}
