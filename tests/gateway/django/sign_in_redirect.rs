//! Tests `route.sign_in_redirect = "service"`: a service with several login pages chooses itself where a browser signs in.

use std::io::Write as _;

use super::adopted::{become_, end, listed};
use super::follow::ISSUER;
use crate::support::client::{Request, Response};
use crate::support::django::Django;
use crate::support::eventually;
use crate::support::gateway::{Gateway, Setup};

const SECRET_KEY: &str = "django-insecure-development-key-of-the-legacy-service\n";

fn setup(django: &Django) -> Setup {
    let route = |name: &str, path: &str, keys: &str| {
        format!("[[route]]\nname = \"{name}\"\npath = \"{path}\"\nupstream = \"app\"\n{keys}\n")
    };
    let redirects = "sign_in_redirect = \"service\"";
    let routes = [
        route("public", "/public/", "access = \"public\""),
        route("login", "/admin/login/", "access = \"public\""),
        route("admin", "/admin/", &format!("{redirects}\nwebsocket = true")),
        route("served", "/session/", redirects),
        route("broken", "/status/", redirects),
        route("app", "/", ""),
    ];
    django.setup().routes(&routes.concat()).file("secret-key", SECRET_KEY.as_bytes()).with(
        &format!(
            "{ISSUER}
        [sign_in]
        mode = \"follow\"
        login_path = \"/public/login\"
        [[sign_in.observe]]
        kind = \"sign-in\"
        path = \"/admin/login/\""
        ),
    )
}

fn answer(response: &Response) -> (u16, Option<&str>) {
    (response.status, response.header("location"))
}

/// Returns how many requests reached the service.
fn asked(gateway: &Gateway) -> usize {
    gateway.log().iter().filter(|line| line.contains("\"upstream_server\"")).count()
}

#[test]
fn a_browser_is_sent_where_the_service_says_and_gets_nothing_else() {
    let django = Django::start();
    let gateway = setup(&django).start();
    let client = gateway.client();
    let page = |path: &str| client.get(path).navigation();
    let by_the_service = page("/admin/auth/user/").send();
    assert_eq!(answer(&by_the_service), (302, Some("/admin/login/?next=/admin/auth/user/")));
    let elsewhere = page("/whoami").send();
    assert_eq!(answer(&elsewhere), (303, Some("/public/login?next=/whoami")), "without the key");
    // What the service would show to strangers is not shown: the route requires a user.
    for path in
        ["/session/tell", "/session/keep/basket", "/status/404", "/status/500", "/status/401"]
    {
        let shown = page(path).send();
        let next = format!("/public/login?next={path}");
        assert_eq!(answer(&shown), (303, Some(next.as_str())), "{path}: {}", shown.text());
        assert_eq!(shown.set_cookie("sessionid"), None, "{path}");
    }
    // A redirect reveals nothing about a claimed identity.
    let spoofed = page("/admin/").header("X-User-Id", "1").header("X-User-Name", "admin").send();
    assert_eq!(answer(&spoofed), (302, Some("/admin/login/?next=/admin/")));

    // Requests that do not open a page are not forwarded at all.
    const LOOKS: usize = 7;
    eventually("the looks to be logged", || (asked(&gateway) == LOOKS).then_some(()));
    let others: [Request; 5] = [
        client.get("/admin/"),
        client.get("/admin/").header("Accept", "application/json"),
        client.post("/admin/auth/user/add/").navigation().form(&[("username", "x")]),
        page("/admin/").bearer("no-token"),
        client.request("DELETE", "/admin/").navigation(),
    ];
    for request in &others {
        let refused = request.send();
        assert!(matches!(refused.status, 401 | 303), "{}", refused.status);
        assert_ne!(refused.header("location"), Some("/admin/login/?next=/admin/"));
    }
    let mut stream = client.connect();
    let upgrade = "GET /admin/ HTTP/1.1\r\nHost: app.test\r\nAccept: text/html\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(upgrade.as_bytes()).unwrap();
    assert_eq!(
        answer(&Response::read(&mut stream, false)),
        (303, Some("/public/login?next=/admin/"))
    );

    // A session that has ended here is not forwarded to the service, and its cookie is deleted.
    let session = become_(&client, "admin", "");
    let own = page("/admin/").cookie("sessionid", &session).send();
    assert_eq!(own.status, 200, "{}", own.text());
    end(&gateway, &listed(&gateway)[0].0.clone());
    let over = page("/admin/").cookie("sessionid", &session).send();
    assert_eq!(answer(&over), (303, Some("/public/login?next=/admin/")));
    assert_eq!(over.set_cookie("sessionid").as_deref(), Some(""));
    // Besides those, only the sign-in and the page for it reached the service.
    gateway.logged("the last request", |line| line["reason"] == "session_ended");
    assert_eq!(asked(&gateway), LOOKS + 2);
}
