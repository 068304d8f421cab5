//! Tests of the routing table's rules, with one table each.

use std::path::Path;

use super::*;

fn table(routes: &str) -> RouteTable {
    RouteTable::new(&config(routes))
}

fn config(routes: &str) -> Config {
    let text = format!(
        "listen.http = [\"127.0.0.1:8080\"]\n[[upstream]]\nname = \"app\"\nservers = [\"127.0.0.1:1\"]\n\n\
         [[directory]]\nkind = \"file\"\npath = \"users.toml\"\n\n{routes}"
    );
    let (config, _) = Config::parse(&text, Path::new("/"), "gateway.toml")
        .unwrap_or_else(|report| panic!("{}", report.render(false)));
    config
}

fn route(name: &str, path: &str, more: &str) -> String {
    format!("[[route]]\nname = \"{name}\"\npath = \"{path}\"\nupstream = \"app\"\n{more}\n\n")
}

/// Returns the match as a word.
fn found(table: &RouteTable, host: &str, path: &str, method: &str) -> String {
    let host = Host::parse(host).unwrap();
    let path = CanonicalPath::parse(path).unwrap();
    match table.find(&host, &path, &method.parse().unwrap()) {
        RouteMatch::Own(own) => format!("own {:?}", own.own),
        RouteMatch::Route(route) => route.name.clone(),
        RouteMatch::OtherMethods(methods) => {
            format!("405 {}", methods.iter().map(Method::as_str).collect::<Vec<_>>().join(","))
        }
        RouteMatch::Nothing => "404".into(),
    }
}

#[test]
fn the_longest_prefix_on_whole_segments_wins() {
    let table = table(
        &[route("root", "/", ""), route("api", "/api", ""), route("users", "/api/users/", "")]
            .concat(),
    );
    for (path, name) in [
        ("/", "root"),
        ("/apis", "root"),
        ("/api", "api"),
        ("/api/", "api"),
        ("/api/user", "api"),
        ("/api/users", "users"),
        ("/api/users/7", "users"),
        ("/API", "root"),
    ] {
        assert_eq!(found(&table, "a.test", path, "GET"), name, "{path}");
    }
}

#[test]
fn an_exact_host_comes_before_a_wildcard_and_that_before_none() {
    let table = table(
        &[
            route("any", "/", ""),
            route("deep", "/deep/", ""),
            route("wild", "/", "hosts = [\"*.b.test\"]"),
            route("wilder", "/", "hosts = [\"*.test\"]"),
            route("exact", "/", "hosts = [\"a.b.test\"]"),
        ]
        .concat(),
    );
    for (host, path, name) in [
        ("a.b.test", "/", "exact"),
        ("A.B.test:8443", "/deep/x", "exact"),
        ("x.b.test", "/", "wild"),
        ("b.test", "/", "wilder"),
        ("x.test", "/", "wilder"),
        ("x.y.b.test", "/", "wild"),
        ("test", "/deep/x", "deep"),
        ("other.example", "/", "any"),
    ] {
        assert_eq!(found(&table, host, path, "GET"), name, "{host}{path}");
    }
}

#[test]
fn a_method_never_falls_to_a_shorter_prefix() {
    let table = table(
        &[
            route("read", "/notes/", "methods = [\"GET\", \"HEAD\"]"),
            route("write", "/notes/", "methods = [\"POST\"]"),
            route("root", "/", ""),
        ]
        .concat(),
    );
    assert_eq!(found(&table, "a", "/notes/1", "GET"), "read");
    assert_eq!(found(&table, "a", "/notes/1", "POST"), "write");
    assert_eq!(found(&table, "a", "/notes/1", "DELETE"), "405 GET,HEAD,POST");
    assert_eq!(found(&table, "a", "/x", "PROPFIND"), "405 GET,HEAD,POST,PUT,PATCH,DELETE,OPTIONS");
}

#[test]
fn own_paths_are_exact_and_come_first() {
    let table = table(&route("root", "/", ""));
    for (path, name) in [
        ("/login", "own Login"),
        ("/logout/all", "own LogoutAll"),
        ("/.well-known/jwks.json", "own Jwks"),
        ("/login/", "root"),
        ("/Login", "root"),
        ("/login/x", "root"),
    ] {
        assert_eq!(found(&table, "a.test", path, "GET"), name, "{path}");
    }
}

#[test]
fn what_no_route_takes_is_nowhere() {
    let table = table(&route("api", "/api/", ""));
    assert_eq!(found(&table, "a.test", "/", "GET"), "404");
    assert_eq!(found(&table, "a.test", "/application", "GET"), "404");
}

const EXACT: &str = "match = \"exact\"";

#[test]
fn the_best_of_several_patterns_wins() {
    let table = table(
        &[
            route("root", "/", ""),
            route("event", "/orga/*/settings/", ""),
            route("login", "/orga/*/login/", EXACT),
            route("new", "/orga/new/", ""),
            route("orga", "/orga/", ""),
            route("orga-page", "/orga/", EXACT),
            route("team", "/orga/new/team/*/", EXACT),
            route("any", "/*/login/", EXACT),
            route("two", "/*/*/", EXACT),
            route("deep", "/*/*/a/b/", ""),
        ]
        .concat(),
    );
    for (path, name) in [
        // A literal segment wins over `*` at the first difference, however short its path is and however many paths it covers.
        ("/orga/new/login/", "new"),
        ("/orga/new/settings/", "new"),
        ("/orga/new/team/7/", "team"),
        ("/orga/new/team/7", "new"),
        ("/orga/login/", "orga"),
        ("/orga/a/b/c/a/b/", "orga"),
        ("/x/login/", "any"),
        // The longest matching path wins; the search backtracks from a branch without a match.
        ("/orga/x/settings", "event"),
        ("/orga/x/settings/y", "event"),
        ("/orga/x/login/", "login"),
        ("/orga/x/login", "orga"),
        ("/orga/x/login/y", "orga"),
        ("/orga/x/y", "orga"),
        ("/x/y/a/b/c", "deep"),
        ("/x/y/a/", "root"),
        // Exact wins over a prefix of the same length; its final slash counts.
        ("/orga/", "orga-page"),
        ("/orga", "orga"),
        ("/x/y/", "two"),
        ("/x/y", "root"),
        ("/x/", "root"),
        ("/", "root"),
    ] {
        assert_eq!(found(&table, "a.test", path, "GET"), name, "{path}");
    }
}

#[test]
fn a_method_falls_to_no_other_path() {
    let get = "methods = [\"GET\"]";
    let exact_get = &format!("{EXACT}\n{get}");
    let table = table(
        &[
            route("root", "/", ""),
            route("any", "/orga/*/", EXACT),
            route("new", "/orga/new/", exact_get),
            route("notes", "/notes/", ""),
            route("notes-page", "/notes/", exact_get),
            route("read", "/a/*/b", get),
            route("write", "/a/*/b/", "methods = [\"POST\"]"),
        ]
        .concat(),
    );
    for (method, path, name) in [
        ("GET", "/orga/new/", "new"),
        ("POST", "/orga/new/", "405 GET"),
        ("POST", "/orga/x/", "any"),
        ("POST", "/notes/", "405 GET"),
        ("POST", "/notes/1", "notes"),
        ("POST", "/notes", "notes"),
        ("PUT", "/orga/x/y", "root"),
        // The final slash of a prefix makes no difference: both spellings are one path.
        ("GET", "/a/x/b/", "read"),
        ("POST", "/a/x/b", "write"),
        ("PUT", "/a/x/b/c", "405 GET,POST"),
    ] {
        assert_eq!(found(&table, "a", path, method), name, "{method} {path}");
    }
}

#[test]
fn the_host_comes_before_the_path() {
    let table = table(
        &[
            route("page", "/a/b/", EXACT),
            route("pattern", "/*/b/", "hosts = [\"a.test\"]"),
            route("wild", "/a/", "hosts = [\"*.test\"]"),
        ]
        .concat(),
    );
    for (host, path, name) in [
        ("a.test", "/a/b/", "pattern"),
        ("a.test", "/a/c/", "wild"),
        ("b.test", "/a/b/", "wild"),
        ("other.example", "/a/b/", "page"),
        ("a.test", "/", "404"),
    ] {
        assert_eq!(found(&table, host, path, "GET"), name, "{host}{path}");
    }
}

#[test]
fn an_alias_may_be_a_pattern_and_comes_before_routes() {
    let alias =
        |path: &str, to: &str| format!("[[paths.alias]]\npath = \"{path}\"\nto = \"{to}\"\n\n");
    let table = table(
        &[
            route("root", "/", ""),
            route("page", "/orga/x/login/", EXACT),
            alias("/orga/*/login/", "login"),
            alias("/orga/new/login/", "logout"),
            alias("/*/x/login/", "refresh"),
        ]
        .concat(),
    );
    for (path, name) in [
        ("/orga/x/login/", "own Login"),
        ("/orga/new/login/", "own Logout"),
        ("/team/x/login/", "own Refresh"),
        ("/orga/x/login", "root"),
        ("/orga/x/login/y", "root"),
        ("/login", "own Login"),
    ] {
        assert_eq!(found(&table, "a.test", path, "GET"), name, "{path}");
    }
}

#[test]
fn all_that_match_are_listed_the_best_first_whatever_their_methods() {
    let table = table(
        &[
            route("pattern", "/*/b", EXACT),
            route("read", "/a/", "methods = [\"GET\"]"),
            route("write", "/a/", "methods = [\"POST\"]"),
            route("page", "/a/b", EXACT),
            route("wild", "/", "hosts = [\"*.test\"]"),
            route("exact", "/a/", "hosts = [\"a.test\"]"),
        ]
        .concat(),
    );
    for (host, path, expected) in [
        ("a.test", "/a/b", "exact wild page read write pattern"),
        ("b.test", "/c/b", "wild pattern"),
        ("other.example", "/a/c", "read write"),
        ("other.example", "/c", ""),
    ] {
        let (host, path) = (Host::parse(host).unwrap(), CanonicalPath::parse(path).unwrap());
        let found = table.candidates(&host, &path);
        let names: Vec<&str> = found.iter().map(|route| route.name.as_str()).collect();
        assert_eq!(names.join(" "), expected, "{host:?} {path:?}");
    }
}

#[test]
fn only_a_table_with_shadowed_routes_has_a_shadow() {
    let routes = [route("a", "/a/", ""), route("b", "/b/", "")].concat();
    for (shadow, has_shadow) in [
        ("", false),
        ("[shadow]\nlogin_paths = [\"/in\"]", false),
        ("[shadow]\nroutes = [\"b\"]", true),
    ] {
        assert_eq!(table(&format!("{routes}{shadow}")).has_shadow(), has_shadow, "{shadow}");
    }
}

/// The rule as a list that is sorted by precedence and searched in order.
fn by_the_rule(config: &Config, path: &CanonicalPath) -> Option<String> {
    use crate::wire::path::{PathMatch, Segment};
    let mut fitting: Vec<&Route> =
        config.routes.iter().filter(|one| one.path.takes(path)).collect();
    fitting.sort_by_key(|route| {
        let segments = route.path.segments().map(|one| u8::from(one == Segment::Any));
        // The end of a pattern sorts after both kinds of segment, and a prefix after an exact path of its length.
        let is_prefix = u8::from(route.path.matching() == PathMatch::Prefix);
        segments.chain([2 + is_prefix]).collect::<Vec<u8>>()
    });
    fitting.first().map(|route| route.name.clone())
}

proptest::proptest! {
    #[test]
    fn the_tree_finds_what_the_rule_says(
        paths in proptest::collection::btree_set(("(/[ab*]){0,3}", proptest::bool::ANY), 1..8),
        asked in "(/[abc]{1}){0,4}/?",
    ) {
        let mut text = String::new();
        for (path, is_exact) in paths {
            let path = if path.is_empty() { "/" } else { &path };
            if path.ends_with('*') && !is_exact {
                continue;
            }
            text += &route(&format!("r{}", text.len()), path, if is_exact { EXACT } else { "" });
        }
        let path = CanonicalPath::parse(if asked.is_empty() { "/" } else { &asked }).unwrap();
        if !text.is_empty() {
            let config = config(&text);
            let found = found(&RouteTable::new(&config), "a.test", path.as_str(), "GET");
            proptest::prop_assert_eq!(found, by_the_rule(&config, &path).unwrap_or("404".into()));
        }
    }
}
