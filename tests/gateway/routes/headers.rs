//! Tests header edits, and the host that a service is asked for.

use crate::support::gateway::Setup;
use crate::support::upstream::Upstream;

const EDITS: &str = r#"
[route.request_headers]
remove = ["X-Debug"]
set = { X-Tenant = "t-{user.id}", X-Fixed = "one two" }
add = { X-Via = "doorwarden" }
[route.response_headers]
remove = ["X-Upstream"]
set = { X-Frame-Options = "DENY", X-Application = "of {user.name}" }
"#;

#[test]
fn headers_are_edited_on_their_way() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address)
        .route(&format!("name = \"edited\"\npath = \"/edited/\"\naccess = \"optional\"\nallow_headers = [\"x_debug\"]\n{EDITS}"))
        .start();
    let token = gateway.client().sign_in("kim", "correct horse battery");
    let token = token["access"].as_str().unwrap();
    let request = |path: &str| {
        gateway
            .client()
            .get(path)
            .header("X-Debug", "1")
            .header("x_debug", "1")
            .header("X-Tenant", "t-admin")
            .header("x-tenant", "t-root")
            .header("X-Via", "client")
            // The client cannot have any of these removed.
            .header("Connection", "close, X-Tenant, X-Fixed")
    };
    let answer = request("/edited/x").bearer(token).send();
    assert_eq!(answer.status, 200, "{}", answer.text());
    let seen = upstream.last();
    let id = seen.header("x-user-id").unwrap().to_owned();
    assert_eq!(seen.all("x-tenant"), [format!("t-{id}")]);
    assert_eq!(seen.all("x-fixed"), ["one two"]);
    assert_eq!(seen.all("x-via"), ["client", "doorwarden"]);
    assert_eq!(seen.folded("x-debug"), [("", ""); 0]);
    assert_eq!(answer.header("x-upstream"), None);
    assert_eq!(answer.all("x-frame-options"), ["DENY"]);
    assert_eq!(answer.all("x-application"), ["of kim"]);
    // For a stranger no identity is sent, and none of the stranger's own headers takes its place.
    let answer = request("/edited/x").send();
    let seen = upstream.last();
    assert_eq!((seen.all("x-tenant").len(), seen.all("x-fixed")), (0, vec!["one two"]));
    assert_eq!(
        (answer.header("x-application"), answer.header("x-frame-options")),
        (None, Some("DENY"))
    );
    // Other routes are unaffected.
    let answer = request("/public/x").send();
    assert_eq!(answer.header("x-upstream"), Some("yes"));
    assert_eq!(upstream.last().all("x-debug").len(), 1);
}

#[test]
fn a_service_is_asked_for_the_host_that_its_route_names() {
    let upstream = Upstream::start();
    let route = |name: &str, host: &str| {
        format!(
            "name = \"{name}\"\npath = \"/{name}/\"\naccess = \"public\"\nhost = \"{host}\"\nstrip_prefix = \"/{name}/\"\nrewrite_location = true"
        )
    };
    let gateway = Setup::new(upstream.address)
        .route(&route("fixed", "App.internal:8000"))
        .route(&route("theirs", "upstream"))
        .route(&route("kept", "preserve"))
        .start();
    for (path, host) in [
        ("/fixed/x", "app.internal:8000".to_owned()),
        ("/theirs/x", upstream.address.to_string()),
        ("/kept/x", "app.test".to_owned()),
    ] {
        assert_eq!(gateway.client().get(path).send().status, 200);
        let seen = upstream.last();
        assert_eq!(seen.all("host"), [host], "{path}");
        assert_eq!(seen.all("x-forwarded-host"), ["app.test"], "{path}");
        assert_eq!(
            (seen.target.as_str(), seen.header("x-forwarded-prefix")),
            ("/x", Some(&path[..path.len() - 2]))
        );
    }
}

#[test]
fn a_service_that_redirects_to_itself_leads_to_the_client_s_host() {
    let service = crate::support::scripted::Scripted::answering(
        "HTTP/1.1 302 Found\r\nLocation: http://APP.internal:8000/next?a=1\r\nContent-Length: 0\r\n\r\n",
    );
    let gateway = Setup::new(service.address)
        .route("name = \"fixed\"\npath = \"/fixed/\"\naccess = \"public\"\nhost = \"app.internal:8000\"\nstrip_prefix = \"/fixed/\"\nrewrite_location = true")
        .start();
    let answer = gateway.client().get("/fixed/x").send();
    assert_eq!(answer.header("location"), Some("http://app.test/fixed/next?a=1"));
    let answer = gateway.client().get("/public/x").send();
    assert_eq!(answer.header("location"), Some("http://APP.internal:8000/next?a=1"), "as it came");
}
