//! Turns the file's shape into a [`Config`]: each section has its own file, and this one checks how they fit together.
//!
//! Each function reads its whole table and returns a value in any case, with defaults in place of what cannot be used; the
//! report alone decides whether there is a configuration in the end.

use super::raw::{RawItem, RawTable, Wrong};
use super::{Config, DirectorySettings, Listen, OwnPath, OwnPathEntry, Route, SignInMode};
use super::{
    account, cors, detect, directory, error_page, forms, geo, identity, issuer, listen, log, login,
    notify, paths, personal_tokens, privacy, reload, route, second_factor, session, shadow,
    sign_in, store, tokens, upstream,
};

/// Reads and checks the whole file.
pub(super) fn check(root: &RawTable<'_>) -> Config {
    let listen = root.table("listen", listen::listen);
    let (trusted_proxies, reserved_headers) =
        root.table("trusted_proxies", listen::trusted_proxies);
    let upstreams = upstream::upstreams(root);
    let directories = directory::directories(root);
    // The names of these headers are read before the routes, which may not let them through.
    let (identity, forms) = root.table("identity", |table| {
        let headers = identity::identity(table);
        let forms = forms::forms(table, &headers, &directories);
        (headers, forms)
    });
    let issuers = issuer::issuers(root, &directories, &identity, &upstreams);
    let routes = route::routes(root, &upstreams, &identity, &forms, &issuers);
    forms::warn_of_unused(root, &forms, routes.iter().map(|route| &route.value.identity));
    let shadow = root.table("shadow", |table| shadow::shadow(table, &routes));
    let store = root.table("store", store::store);
    let sign_in = root.table("sign_in", |table| sign_in::sign_in(table, &issuers));
    let session = root.table("session", |table| {
        sign_in::refuse_session_times(table, &sign_in);
        session::session(table)
    });
    let geo = root.table("geo", geo::geo);
    let tokens = root.table("tokens", |table| tokens::tokens(table, &store, &session, &geo));
    let notify = root.table("notify", |table| notify::notify(table, &tokens));
    let second_factor = root.table("second_factor", |table| {
        let needs = second_factor::MailedCodeNeeds {
            sends_mail: notify.mail.is_some(),
            knows_addresses: directories.iter().any(DirectorySettings::finds_users),
            is_asked: routes.iter().any(|route| route.value.asks.several_factors),
        };
        second_factor::second_factor(table, &store, needs)
    });
    let account = root.table("account", |table| account::account(table, &notify));
    let privacy =
        root.table("privacy", |table| privacy::privacy(table, &tokens, &session, &notify));
    let takes_tokens = routes.iter().any(|route| route.value.personal_tokens);
    let paths = root.table("paths", |table| {
        let on = paths::EnabledFeatures {
            signs_in: sign_in.mode == SignInMode::Replace,
            sends_mail: notify.mail.is_some(),
            takes_tokens,
            // A user who makes a token has to confirm their identity.
            asks_for_factors: takes_tokens
                || second_factor.is_on()
                || directories.iter().any(DirectorySettings::takes_over_factors)
                || routes.iter().any(|route| route.value.asks.asks()),
            has_factors: second_factor.is_on()
                || directories.iter().any(DirectorySettings::takes_over_factors)
                || routes.iter().any(|route| route.value.asks.asks()),
            has_passkeys: second_factor.passkeys.is_some(),
            signs_in_by_passkey: second_factor.passkeys.as_ref().is_some_and(|one| one.sign_in),
        };
        paths::paths(table, tokens.rotation, &issuers, &directories, on)
    });
    let has_factors =
        second_factor.is_on() || directories.iter().any(DirectorySettings::takes_over_factors);
    refuse_factors_that_nobody_has(root, has_factors, &routes);
    warn_of_hidden_routes(root, &routes, &paths);
    sign_in::refuse_redirects(root, sign_in.mode, &routes);
    sign_in::refuse_closed_login(root, &sign_in, &routes, &paths);
    let signs_in = paths.iter().any(|entry| entry.own == OwnPath::Login);
    if signs_in && trusted_proxies.is_empty() && !session.danger_plain_http_cookies {
        warn_of_lost_cookies(root, &listen);
    }
    upstream::warn_of_unused(root, &upstreams, &routes);
    let error_pages = error_page::error_pages(root, &routes);
    let hosts: Vec<String> =
        routes.iter().flat_map(|route| &route.value.hosts).map(String::clone).collect();
    Config {
        directories,
        issuers,
        forms: forms.into_iter().map(|item| item.value).collect(),
        login: root.table("login", login::login),
        sign_in,
        second_factor,
        personal_tokens: root.table("personal_tokens", personal_tokens::personal_tokens),
        cors: root.table("cors", |table| cors::cors(table, &session, &hosts)),
        detect: root.table("detect", |table| detect::detect(table, &geo)),
        notify,
        log: root.table("log", |table| log::log(table, &store.path)),
        reload: root.table("reload", reload::reload),
        listen,
        trusted_proxies,
        reserved_headers,
        upstreams: upstreams.into_iter().map(|item| item.value).collect(),
        routes: routes.into_iter().map(|item| item.value).collect(),
        error_pages,
        shadow,
        paths,
        tokens,
        session,
        identity,
        account,
        privacy,
        geo,
        store,
    }
}

/// Refuses a route that requires a second factor where nobody can set one up: it would let nobody in.
fn refuse_factors_that_nobody_has(
    root: &RawTable<'_>,
    has_factors: bool,
    routes: &[RawItem<Route>],
) {
    let asks = |route: &&RawItem<Route>| route.value.asks.several_factors;
    if let Some(route) = routes.iter().find(asks).filter(|_| !has_factors) {
        root.error_at(
            route.place.clone(),
            Wrong::new("this route asks for a second factor, which nobody can set up")
                .help("set second_factor.mode = \"optional\" or \"required\""),
        );
    }
}

/// Warns of plain HTTP: browsers accept a `Secure` cookie over it only from this machine's own names.
fn warn_of_lost_cookies(root: &RawTable<'_>, listen: &Listen) {
    let open = listen.http.iter().find(|address| !address.ip().to_canonical().is_loopback());
    if let Some(address) = open {
        root.warn(
            "listen",
            Wrong::new(format!(
                "browsers that sign in at http://{address} drop the session cookie"
            ))
            .help(
                "use listen.https; or, behind a proxy that ends TLS, trusted_proxies.networks; or \
                 session.danger_plain_http_cookies = true",
            ),
        );
    }
}

/// Warns of routes that never get a request: an own path takes precedence over a route of the same path, and an alias with `*`
/// over a route within it.
fn warn_of_hidden_routes(root: &RawTable<'_>, routes: &[RawItem<Route>], paths: &[OwnPathEntry]) {
    for route in routes {
        let path = &route.value.path;
        let hides = |entry: &&OwnPathEntry| entry.path.takes_path_of(path);
        if let Some(entry) = paths.iter().find(hides) {
            let own = entry.own.name();
            root.warn_at(
                route.place.clone(),
                Wrong::new(format!("the gateway answers {:?} itself (paths.{own})", entry.path.as_str()))
                    .help(format!(
                        "take the route out if an alias stands in for it; else [paths] {own} = \"/...\" moves it, {own} = false turns it off"
                    )),
            );
        }
    }
}
