//! Tests the operator's own error pages.

use std::net::TcpListener;

use crate::support::gateway::{Setup, run_in, write_private};
use crate::support::upstream::Upstream;

const PAGES: &str = r#"
[[error_page]]
statuses = [404, 500, 502, 503]
html = "own.html"
json = "own.json"
service_errors = true
routes = ["mine"]
[[error_page]]
statuses = [404, 401]
html = "all.html"
json = "all.json"
"#;

fn setup(upstream: std::net::SocketAddr) -> Setup {
    Setup::new(upstream)
        .with(PAGES)
        .route("name = \"mine\"\npath = \"/status/\"\naccess = \"public\"")
        .file("own.html", b"<style>p {color: red}</style><p>{{status}} {{code}} {{request_id}}</p>")
        .file(
            "own.json",
            b"{\"mine\": \"{{code}}\", \"code\": \"{{code}}\", \"request_id\": \"{{request_id}}\"}",
        )
        .file("all.html", b"<p>nothing here: {{code}}</p>")
        .file("all.json", b"{\"all\": \"{{code}}\"}")
}

#[test]
fn refusals_and_the_services_errors_have_pages_of_ones_own() {
    let upstream = Upstream::start();
    let gateway = setup(upstream.address).start();
    let get = |path: &str| gateway.client().get(path);
    let page = get("/status/503").navigation().send();
    let id = page.header("x-request-id").unwrap().to_owned();
    assert_eq!(page.status, 503);
    assert_eq!(
        page.text(),
        format!("<style>p {{color: red}}</style><p>503 service_error {id}</p>")
    );
    assert_eq!(
        (page.header("content-type"), page.header("x-upstream")),
        (Some("text/html; charset=utf-8"), None)
    );
    assert_eq!(get("/status/500").send().json()["mine"], "service_error");
    let head = gateway.client().request("HEAD", "/status/500").send();
    assert_eq!((head.status, head.body.len()), (500, 0));
    // The connection can be used again afterwards.
    let raw = b"GET /status/500 HTTP/1.1\r\nHost: app.test\r\n\r\nGET /public/x HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n";
    assert_eq!(gateway.client().raw(raw).status, 500);
    // The service's own answers below 500 are kept, and so are those with statuses that have no page.
    assert_eq!(get("/status/404").send().text(), "{}");
    assert_eq!(get("/public/missing/x").send().text(), "{}");
    assert_eq!(get("/status/501").send().text(), "{}");
    // Of the gateway's own refusals, those with these statuses are replaced.
    assert_eq!(get("/x").send().text(), "{\"all\": \"not_authenticated\"}");
    let refused = get("/x").send();
    assert_eq!((refused.status, refused.header("www-authenticate").is_some()), (401, true));
    assert_eq!(get("/x").navigation().send().status, 303, "a browser is sent to sign in");
    assert_eq!(get("/session").send().code(), "not_authenticated", "own paths keep theirs");
    let failures = "doorwarden_upstream_server_failures_total";
    let name = format!("{failures}{{server=\"{}\",upstream=\"app\"}}", upstream.address);
    gateway.counts(&name, 1.0);
}

#[test]
fn a_service_that_cannot_be_reached_has_the_page_too_and_reloads_read_it_again() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gateway = setup(nobody).start();
    assert_eq!(gateway.client().get("/status/x").send().json()["mine"], "upstream_unavailable");
    let folder = gateway.folder();
    write_private(&folder.join("own.json"), "{\"new\": \"{{status}}\"}");
    assert_eq!(gateway.operator("POST", "/reload").send().status, 200);
    assert_eq!(gateway.client().get("/status/x").send().json()["new"], "502");
    std::fs::remove_file(folder.join("own.html")).unwrap();
    let reloaded = gateway.operator("POST", "/reload").send();
    assert_eq!(reloaded.status, 422, "{}", reloaded.text());
    assert!(reloaded.text().contains("own.html"), "{}", reloaded.text());
    assert_eq!(gateway.client().get("/status/x").send().json()["new"], "502", "nothing changed");
    let checked = run_in(folder, &["check", "--config", "gateway.toml"], "");
    let said = String::from_utf8_lossy(&checked.stdout).into_owned()
        + &String::from_utf8_lossy(&checked.stderr);
    assert!(!checked.status.success() && said.contains("own.html"), "{said}");
}
