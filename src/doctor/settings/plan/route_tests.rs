//! Tests what anonymous callers may do behind the planned routes: never more than they were served, and never less.

use http::Method;
use serde_json::{Value, json};

use super::tests::{endpoint, planned, project, route, says};
use crate::config::{Access, Config, FormKind, RouteRefusals};
use crate::doctor::finding::Weight;
use crate::gate::{RouteMatch, RouteTable};
use crate::wire::host::Host;
use crate::wire::path::CanonicalPath;

/// Returns URL patterns in Django's order: shape, kind, the methods that anonymous callers are served, and marks.
fn urls(patterns: &[(&str, &str, &[&str], &str)]) -> Value {
    let one = |(at, (path, kind, served, marks)): (usize, &(&str, &str, &[&str], &str))| {
        let has = |mark: &str| marks.contains(mark);
        let served: serde_json::Map<String, Value> = served
            .iter()
            .map(|method| ((*method).to_owned(), json!(format!("200 at {path}"))))
            .collect();
        json!({
            "path": path, "exact": !path.contains('*') && !has("rest"), "rest": has("rest"), "total": has("total"),
            "stray": has("stray"), "hidden": has("hidden"), "order": at, "same_view": if has("same") { 1000 } else { at },
            "kind": kind, "guessed": has("guessed"), "view": "shop.views.View", "custom": false, "served": served,
            "asked": if served.is_empty() { json!([]) } else { json!([path]) }, "asks_sign_in": has("asks-sign-in"),
            "redirects_to_slash": has("slash"), "without_session": has("token"),
        })
    };
    json!(patterns.iter().enumerate().map(one).collect::<Vec<_>>())
}

fn config_of(patterns: &[(&str, &str, &[&str], &str)]) -> (Config, Vec<(Weight, String)>) {
    let mut project = project();
    project["urls"]["endpoints"] = urls(patterns);
    project["urls"]["asked"] = json!(7);
    let (_, config, said) = planned(project);
    (config, said)
}

/// Returns the access of the route that a request meets.
fn access(config: &Config, method: &str, path: &str) -> Access {
    let host = Host::parse("shop.example").unwrap();
    let path = CanonicalPath::parse(path).unwrap();
    match RouteTable::new(config).find(&host, &path, &method.parse::<Method>().unwrap()) {
        RouteMatch::Route(route) => route.access,
        found => panic!("{method} {}: {found:?}", path.as_str()),
    }
}

const GET: &[&str] = &["GET", "HEAD"];
const POST: &[&str] = &["POST"];
const NONE: &[&str] = &[];

#[test]
fn a_pattern_is_never_cut_at_its_variable() {
    let (config, _) = config_of(&[
        ("/orga/event/*/", "", NONE, ""),
        ("/orga/event/*/login/", "login", NONE, "total"),
        ("/orga/event/*/*/", "", NONE, ""),
    ]);
    for (path, expected) in [
        ("/orga/event/pycon/login/", Access::Public),
        ("/orga/event/pycon/", Access::SignedIn),
        ("/orga/event/pycon/login/extra/", Access::SignedIn),
        ("/orga/event/pycon/speakers/", Access::SignedIn),
        ("/orga/event/login/", Access::SignedIn),
        ("/orga/event/a/b/login/", Access::SignedIn),
    ] {
        assert_eq!(access(&config, "GET", path), expected, "{path}");
    }
}

#[test]
fn strangers_are_served_what_they_were_served_and_nothing_else() {
    let (config, said) = config_of(&[
        ("/shop/", "", GET, "slash"),
        ("/shop/*/", "", GET, ""),
        ("/shop/reports/", "", NONE, ""),
        ("/shop/*/reviews/", "", NONE, ""),
        ("/contact/", "", &["GET", "HEAD", "POST"], ""),
        ("/account/", "", NONE, "asks-sign-in"),
        ("/wrapped/login/", "login", NONE, "asks-sign-in"),
    ]);
    for (method, path, expected) in [
        ("GET", "/shop/", Access::Optional),
        ("GET", "/shop", Access::Public),
        ("HEAD", "/shop/", Access::Optional),
        ("POST", "/shop/", Access::SignedIn),
        ("DELETE", "/shop/", Access::SignedIn),
        ("GET", "/shop/shoes_7/", Access::Optional),
        ("POST", "/shop/shoes_7/", Access::SignedIn),
        ("GET", "/shop/shoes_7", Access::SignedIn),
        ("GET", "/shop/reports/", Access::SignedIn),
        ("GET", "/shop/shoes_7/reviews/", Access::SignedIn),
        ("GET", "/shop/shoes_7/reviews/8/", Access::SignedIn),
        ("POST", "/contact/", Access::Optional),
        ("PUT", "/contact/", Access::SignedIn),
        ("GET", "/account/", Access::SignedIn),
        ("GET", "/wrapped/login/", Access::SignedIn),
        ("GET", "/", Access::SignedIn),
        ("GET", "/anything/else", Access::SignedIn),
    ] {
        assert_eq!(access(&config, method, path), expected, "{method} {path}");
    }
    says(&said, Weight::Fine, "7 pages were asked for without a credential");
    says(&said, Weight::Note, "patterns were not asked for");
}

#[test]
fn what_a_wider_route_would_open_too_stays_closed() {
    // Each case has patterns, and whether anonymous callers are served /x/7/ in the end.
    for (patterns, expected) in [
        // Django tries numbers first, and gives other words to another view.
        (&[("/x/*/", "", GET, ""), ("/x/*/", "", NONE, "")][..], Access::SignedIn),
        (&[("/x/*/", "", GET, ""), ("/x/*/", "", GET, "")], Access::Optional),
        // The first pattern takes every segment, so nothing is left for the second.
        (&[("/x/*/", "", GET, "total"), ("/x/*/", "", NONE, "")], Access::Optional),
        (&[("/x/*/", "", NONE, "total"), ("/x/*/", "", GET, "total")], Access::SignedIn),
        // The second pattern leads to the same view.
        (&[("/x/*/", "", GET, "same"), ("/x/*/", "", NONE, "same")], Access::Optional),
        // A catch-all that is not for anonymous callers gets what the number leaves.
        (&[("/x/*/", "", GET, ""), ("/", "", NONE, "rest")], Access::SignedIn),
        (&[("/x/*/", "", GET, ""), ("/", "", GET, "rest")], Access::Optional),
        (&[("/x/*/", "", GET, ""), ("/*/7/", "", NONE, "")], Access::SignedIn),
        // Unintended shapes open nothing, and close what they take.
        (&[("/x/", "", GET, "rest stray")], Access::SignedIn),
        (&[("/x/*/", "", GET, ""), ("/x/", "", NONE, "rest stray")], Access::SignedIn),
        (&[("/x/7/", "", GET, "hidden")], Access::SignedIn),
    ] {
        let (config, _) = config_of(patterns);
        assert_eq!(access(&config, "GET", "/x/7/"), expected, "{patterns:?}");
    }
    let (_, said) = config_of(&[("/x/*/", "", GET, ""), ("/x/*/", "", NONE, "")]);
    says(&said, Weight::Warning, "a route would open more than that");
}

#[test]
fn a_catch_all_opens_what_no_other_pattern_takes() {
    let (config, _) = config_of(&[
        ("/cms-admin/", "", NONE, ""),
        ("/cms-admin/jsi18n/", "", GET, ""),
        ("/cms-admin/pages/*/edit/", "", NONE, ""),
        ("/documents/*/*", "", NONE, ""),
        ("/documents/*/", "", NONE, "rest stray"),
        ("/", "", GET, "rest"),
    ]);
    for (method, path, expected) in [
        ("GET", "/", Access::Optional),
        ("GET", "/about/team/", Access::Optional),
        ("POST", "/about/team/", Access::SignedIn),
        ("GET", "/cms-admin/", Access::SignedIn),
        ("GET", "/cms-admin/jsi18n/", Access::Optional),
        ("GET", "/cms-admin/pages/7/edit/", Access::SignedIn),
        ("GET", "/documents/7/secret.pdf", Access::SignedIn),
        ("GET", "/documents/7/a/secret.pdf", Access::SignedIn),
        ("GET", "/admin/auth/user/", Access::SignedIn),
    ] {
        assert_eq!(access(&config, method, path), expected, "{method} {path}");
    }
}

#[test]
fn a_place_has_one_route_whatever_says_so() {
    let (config, _) = config_of(&[
        ("/static/", "files", NONE, "rest"),
        ("/static/", "files", NONE, ""),
        ("/logout/", "knox-logout", NONE, "slash"),
        ("/", "", GET, "rest"),
    ]);
    for (path, expected) in [("/static/a.css", Access::Public), ("/about/", Access::Optional)] {
        assert_eq!(access(&config, "GET", path), expected, "{path}");
    }
    assert!(config.routes.iter().all(|route| route.path != "/logout"), "it is the gateway's own");
}

#[test]
fn a_sign_in_that_cannot_be_opened_alone_is_a_failure() {
    let (config, said) =
        config_of(&[("/*/login/", "login", NONE, ""), ("/*/login/", "", NONE, "total")]);
    says(&said, Weight::Failure, "a route would open more than that");
    assert_eq!(access(&config, "POST", "/x/login/"), Access::SignedIn);
}

/// Django's `<int:id>` takes no word, so a word beside it belongs to no other view.
#[test]
fn a_number_is_no_word() {
    // The indexes of the segments that are numbers.
    for (digits, said_so) in [(json!([1]), false), (json!([]), true)] {
        let mut project = project();
        let mut document = endpoint("/documents/*/*", "");
        (document["exact"], document["digits"], document["order"]) =
            (json!(false), digits, json!(2));
        document["same_view"] = json!(2);
        let mut unlock = endpoint("/documents/unlock/*", "for-everybody");
        (unlock["exact"], unlock["order"], unlock["same_view"]) =
            (json!(false), json!(1), json!(1));
        project["urls"]["endpoints"] = json!([unlock, document]);
        let (_, config, said) = planned(project);
        let is_given_up = said.iter().any(|(mark, _)| *mark == Weight::Failure);
        assert_eq!(is_given_up, said_so, "{said:#?}");
        let expected = if said_so { Access::SignedIn } else { Access::Public };
        assert_eq!(access(&config, "POST", "/documents/unlock/7"), expected);
        assert_eq!(access(&config, "GET", "/documents/7/a.txt"), Access::SignedIn);
    }
}

/// A front end of REST framework expects the status that the service gives, 403 where its first class has no challenge.
#[test]
fn scripts_are_refused_as_the_service_would() {
    let mut project = project();
    project["rest_framework"]["written"] = json!(true);
    project["rest_framework"]["challenge"] = json!("Token");
    let view = |path: &str, challenge: &str| {
        let mut view = endpoint(path, "");
        (view["judged_by"], view["challenge"]) = (json!(["shop.Class"]), json!(challenge));
        view
    };
    project["urls"]["endpoints"] = json!([
        view("/orders/", "Token"),
        view("/session/", ""),
        view("/basic/", "Basic realm=\"api\"")
    ]);
    let (_, config, _) = planned(project.clone());
    let challenge = |path: &str| {
        let found = config.routes.iter().find(|one| one.path.as_str() == path);
        match &found.unwrap_or_else(|| panic!("{path} has no route")).refusals {
            RouteRefusals::Gateway => None,
            RouteRefusals::RestFramework { challenge } => Some(challenge.clone()),
        }
    };
    let header = |text: &str| Some(http::HeaderValue::from_str(text).unwrap());
    assert_eq!(challenge("/"), Some(header("Token")));
    assert_eq!(challenge("/session/"), Some(None), "403");
    assert_eq!(challenge("/basic/"), Some(header("Basic realm=\"api\"")));
    assert_eq!(challenge("/static/"), None);
    assert!(!config.routes.iter().any(|one| one.path == "/orders/"), "as everything else");

    project["rest_framework"]["challenge"] = json!("Basic realm=\"api\"");
    let (_, config, _) = planned(project);
    let all = config.routes.iter().find(|one| one.path == "/").unwrap();
    assert_eq!(all.refusals, RouteRefusals::Gateway, "no browser asks for a password there");
    assert!(config.routes.iter().any(|one| one.path == "/orders/"));
}

#[test]
fn words_in_a_path_open_nothing() {
    let words = [
        "/accounts/2fa/totp/activate/",
        "/accounts/2fa/totp/deactivate/",
        "/password/reset/",
        "/sign-up/",
        "/register/",
        "/forgot/",
        "/verify-email/",
    ];
    let patterns: Vec<_> = words.iter().map(|path| (*path, "", NONE, "")).collect();
    let (config, _) = config_of(&patterns);
    for path in words {
        for method in ["GET", "POST"] {
            assert_eq!(access(&config, method, path), Access::SignedIn, "{method} {path}");
        }
    }
    // A source that mentions `login` opens nothing either, if anonymous callers are not served.
    let (config, _) = config_of(&[("/checkout/", "login", NONE, "guessed")]);
    assert_eq!(access(&config, "POST", "/checkout/"), Access::SignedIn);
    let (config, _) = config_of(&[("/api/sign-in", "login", POST, "guessed")]);
    assert_eq!(access(&config, "POST", "/api/sign-in"), Access::Public);
    assert_eq!(access(&config, "GET", "/api/sign-in"), Access::SignedIn);
    assert_eq!(access(&config, "POST", "/api/sign-in/more"), Access::SignedIn);
}

#[test]
fn a_class_with_one_open_method_opens_that_one() {
    let mut project = project();
    let mut users = endpoint("/auth/users/", "sign-up");
    users["about"] = json!(["POST"]);
    project["urls"]["endpoints"] = json!([users]);
    let (_, config, _) = planned(project);
    assert_eq!(access(&config, "POST", "/auth/users/"), Access::Public);
    assert_eq!(access(&config, "GET", "/auth/users/"), Access::SignedIn);
}

#[test]
fn every_spelling_that_django_takes_is_an_alias() {
    let mut project = project();
    project["urls"]["endpoints"] = json!([
        endpoint("/auth/jwt/create", "simplejwt-obtain"),
        endpoint("/auth/jwt/create/", "simplejwt-obtain"),
    ]);
    let (_, config, _) = planned(project);
    for path in ["/auth/jwt/create", "/auth/jwt/create/"] {
        assert!(config.paths.iter().any(|entry| entry.path == path), "{path}");
    }
}

#[test]
fn files_are_public_wherever_djangos_own_view_is() {
    let mut project = project();
    project["media_url"] = json!("/uploads/");
    project["urls"]["endpoints"] =
        urls(&[("/uploads/", "files", NONE, "rest"), ("/brochures/", "files", NONE, "rest")]);
    let (_, config, said) = planned(project);
    for path in ["/static/a.css", "/uploads/a/b.png", "/brochures/x.pdf"] {
        assert_eq!(access(&config, "GET", path), Access::Public, "{path}");
    }
    assert!(!said.iter().any(|(_, text)| text.contains("MEDIA_URL is")), "{said:#?}");
}

#[test]
fn views_without_django_sessions_get_a_token_for_a_cookie_too() {
    let (config, _) = config_of(&[("/api/me/", "", NONE, "token")]);
    let kinds = |path: &str| -> Vec<bool> {
        let cookie = &route(&config, path).identity.cookie;
        cookie.iter().map(|at| matches!(config.forms[*at].kind, FormKind::SimpleJwt(_))).collect()
    };
    assert_eq!(kinds("/"), [false, true]);
    assert_eq!(kinds("/admin/"), [false], "the admin reads the session alone");
    let (config, _) = config_of(&[("/api/me/", "", NONE, "")]);
    assert_eq!(route(&config, "/").identity.cookie.len(), 1);
}

#[test]
fn the_page_links_to_the_services_own_pages() {
    let (config, _) = config_of(&[
        ("/auth/users/reset_password/", "password-reset", POST, ""),
        ("/accounts/password_reset/", "password-reset", GET, ""),
        ("/accounts/signup/", "sign-up", GET, ""),
    ]);
    let links: Vec<&str> = config.login.links.iter().map(|(_, href)| href.as_str()).collect();
    assert_eq!(links, ["/accounts/password_reset/", "/accounts/signup/"]);
}
