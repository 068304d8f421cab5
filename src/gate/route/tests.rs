//! The routing table's rules, one table each.

use std::path::Path;

use super::*;

fn table(routes: &str) -> RouteTable {
    let text = format!(
        "listen.http = [\"127.0.0.1:8080\"]\n[[upstream]]\nname = \"app\"\nservers = [\"127.0.0.1:1\"]\n\n\
         [[directory]]\nkind = \"file\"\npath = \"users.toml\"\n\n{routes}"
    );
    let (config, _) = Config::parse(&text, Path::new("/"), "gateway.toml")
        .unwrap_or_else(|report| panic!("{}", report.render(false)));
    RouteTable::new(&config)
}

fn route(name: &str, path: &str, more: &str) -> String {
    format!("[[route]]\nname = \"{name}\"\npath = \"{path}\"\nupstream = \"app\"\n{more}\n\n")
}

/// What is found, as a word.
fn found(table: &RouteTable, host: &str, path: &str, method: &str) -> String {
    let host = Host::parse(host).unwrap();
    let path = CanonicalPath::parse(path).unwrap();
    match table.find(&host, &path, &method.parse().unwrap()) {
        Found::Own(own) => format!("own {:?}", own.own),
        Found::Route(route) => route.name.clone(),
        Found::OtherMethods(methods) => {
            format!("405 {}", methods.iter().map(Method::as_str).collect::<Vec<_>>().join(","))
        }
        Found::Nothing => "404".into(),
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
