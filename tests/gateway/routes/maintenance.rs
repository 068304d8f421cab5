//! Tests routes in maintenance: by configuration, by command, and back.

use crate::support::client::Client;
use crate::support::gateway::{Gateway, Setup};
use crate::support::upstream::Upstream;

fn run(gateway: &Gateway, arguments: &[&str]) -> (Option<i32>, String) {
    let output = gateway.command(arguments);
    let text = if output.status.success() { output.stdout } else { output.stderr };
    (output.status.code(), String::from_utf8(text).unwrap())
}

#[test]
fn a_route_is_down_by_its_configuration_and_up_after_a_reload() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address)
        .behind_a_proxy()
        .route(
            "name = \"shop\"\npath = \"/shop/\"\n[route.maintenance]\non = true\nretry_after = \"10m\"\nallow = [\"192.0.2.0/24\"]",
        )
        .start();
    let shop = || gateway.client().get("/shop/x");
    // Nobody is redirected to sign in first, and nothing reaches the service.
    let answer = shop().send();
    assert_eq!(
        (answer.status, answer.code().as_str(), answer.header("retry-after")),
        (503, "maintenance", Some("600"))
    );
    let page = shop().navigation().send();
    assert_eq!((page.status, page.header("retry-after")), (503, Some("600")));
    assert!(page.text().contains("down for maintenance"), "{}", page.text());
    assert_eq!(shop().bearer("a.b.c").send().status, 503);
    assert!(upstream.seen().is_empty());
    let operator = shop().from("192.0.2.7".parse().unwrap()).send();
    assert_eq!(operator.status, 401, "whoever is let through is judged as ever");
    assert_eq!(gateway.client().get("/public/x").send().status, 200);
    assert_eq!(gateway.client().get("/login").navigation().send().status, 200, "own paths stay");
    for path in ["/live", "/ready", "/metrics"] {
        assert_eq!(
            Client::new(gateway.admin).get(path).host("localhost").send().status,
            200,
            "{path}"
        );
    }
    gateway.counts("doorwarden_route_maintenance{route=\"shop\"}", 1.0);
    gateway.counts("doorwarden_route_maintenance{route=\"public\"}", 0.0);
    let path = gateway.folder().join("gateway.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("on = true", "on = false")).unwrap();
    assert_eq!(gateway.operator("POST", "/reload").send().status, 200);
    assert_eq!(shop().send().status, 401);
    gateway.counts("doorwarden_route_maintenance{route=\"shop\"}", 0.0);
}

#[test]
fn an_operator_takes_a_running_gateways_route_down() {
    let upstream = Upstream::start();
    let gateway = Setup::new(upstream.address).start();
    let status = || gateway.client().get("/public/x").send().status;
    assert_eq!(status(), 200);
    assert_eq!(
        run(&gateway, &["maintenance", "on", "public"]),
        (Some(0), "public is down for maintenance\n".into())
    );
    assert_eq!(
        run(&gateway, &["maintenance", "on", "public"]),
        (Some(0), "public is already down for maintenance\n".into())
    );
    assert_eq!(status(), 503);
    gateway.logged("the switch", |line| line["route"] == "public" && line["maintenance"] == true);
    let path = gateway.folder().join("gateway.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("websocket = true", "websocket = false")).unwrap();
    assert_eq!(gateway.operator("POST", "/reload").send().status, 200);
    assert_eq!(status(), 503, "a reload keeps it");
    let (code, listed) = run(&gateway, &["maintenance", "list"]);
    assert_eq!((code, listed.lines().count()), (Some(0), 4), "{listed}");
    let row = listed.lines().find(|line| line.starts_with("public")).unwrap();
    assert_eq!(row.split_whitespace().collect::<Vec<_>>(), ["public", "yes", "no", "on"]);
    assert_eq!(run(&gateway, &["maintenance", "reset", "public"]).0, Some(0));
    assert_eq!(status(), 200);
    assert_eq!(
        run(&gateway, &["maintenance", "on", "--all"]),
        (Some(0), "all routes are down for maintenance\n".into())
    );
    assert_eq!(gateway.client().get("/x").send().code(), "maintenance");
    assert_eq!(run(&gateway, &["maintenance", "off", "--all"]).0, Some(0));
    assert_eq!(status(), 200);
    let (code, text) = run(&gateway, &["maintenance", "on", "pubic"]);
    assert!(code == Some(1) && text.contains("there are: public"), "{text}");
    for (body, status) in [
        (serde_json::json!({"route": "x", "maintenance": "on"}), 404),
        (serde_json::json!({"route": "public", "maintenance": "maybe"}), 400),
        (serde_json::json!({"route": 7, "maintenance": "on"}), 400),
    ] {
        assert_eq!(
            gateway.operator("POST", "/maintenance").json(&body).send().status,
            status,
            "{body}"
        );
    }
    let stranger = Client::new(gateway.admin).get("/maintenance").host("localhost").send();
    assert_eq!(stranger.status, 401);
}
