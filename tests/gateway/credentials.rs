//! Tests which credentials a route reads and which it leaves to its service (`route.credentials`), schemes that nothing in
//! the gateway reads, and the gateway's own token in the places where a service's front end sends its tokens.

use serde_json::json;

use crate::support::client::{Client, Request};
use crate::support::gateway::Setup;
use crate::support::upstream::Upstream;

const COOKIE: &str = "__Host-doorwarden";

/// Issuers that read `Authorization: Bearer` and `JWT`, `jwt-auth` and `Token`; routes that leave some of them unread.
const ISSUERS: &str = r#"
[[issuer]]
kind = "simplejwt"
key_file = "secret-key"
schemes = ["Bearer", "JWT"]
[[issuer]]
kind = "jwt"
name = "by-hand"
key_file = "secret-key"
"#;

fn setup(upstream: &Upstream) -> Setup {
    Setup::new(upstream.address)
        .file("secret-key", b"the service's own secret, which is long enough\n")
        .with(ISSUERS)
        .route("name = \"left\"\npath = \"/left/\"\ncredentials = [\"cookie\"]")
        .route("name = \"left-open\"\npath = \"/open/\"\naccess = \"optional\"\ncredentials = [\"cookie\"]")
        .route("name = \"nothing\"\npath = \"/nothing/\"\naccess = \"public\"\ncredentials = []")
        .route("name = \"by-hand\"\npath = \"/by-hand/\"\ncredentials = [\"issuer:by-hand\"]")
}

/// Signs kim in, and returns the access token and the cookie.
fn kim(client: &Client) -> (String, String) {
    let request = client.post("/login");
    let response =
        request.json(&json!({"username": "kim", "password": "correct horse battery"})).send();
    let access = response.json()["access"].as_str().unwrap().to_owned();
    (access, response.set_cookie(COOKIE).unwrap())
}

/// Returns the status, and the `X-User-Id`, `Authorization` and `jwt-auth` that the upstream received.
fn answer(upstream: &Upstream, request: &Request) -> (u16, Vec<String>, Vec<String>, Vec<String>) {
    let before = upstream.seen().len();
    let status = request.send().status;
    let all = upstream.seen();
    let Some(seen) = all.get(before) else { return (status, vec![], vec![], vec![]) };
    let of = |name: &str| seen.all(name).into_iter().map(str::to_owned).collect();
    (status, of("x-user-id"), of("authorization"), of("jwt-auth"))
}

#[test]
fn what_a_route_leaves_to_its_service_goes_on_and_proves_nothing() {
    let upstream = Upstream::start();
    let gateway = setup(&upstream).start();
    let client = gateway.client();
    let (_, cookie) = kim(&client);
    let cookie = (COOKIE, cookie.as_str());
    let kims = || vec!["kim".to_owned()];
    for (name, value) in [
        ("Authorization", "Bearer another-systems"),
        ("Authorization", "Bearer a b"),
        ("Authorization", "JWT a.b.c"),
        ("Authorization", "Token 0123"),
        ("Authorization", "Basic bGVlOmxlZQ=="),
        ("jwt-auth", "a.b.c"),
        ("jwt-auth", "no token"),
    ] {
        let left = |is: &str| if name == is { vec![value.to_owned()] } else { vec![] };
        let both = (left("Authorization"), left("jwt-auth"));
        let request = client.get("/open/x").header(name, value);
        let (authorization, jwt_auth) = both.clone();
        let nobody = (200, Vec::<String>::new(), authorization, jwt_auth);
        assert_eq!(answer(&upstream, &request), nobody, "{name}: {value}");
        let request = client.get("/nothing/x").header(name, value);
        assert_eq!(answer(&upstream, &request), nobody, "{name}: {value}");
        // Alone, an unread credential gives no access.
        let request = client.get("/left/x").header(name, value);
        assert_eq!(answer(&upstream, &request).0, 401, "{name}: {value}");
        // Beside a valid cookie it is forwarded, and the cookie decides who is calling.
        let request = client.get("/left/x").header(name, value).cookie(cookie.0, cookie.1);
        let (authorization, jwt_auth) = both;
        assert_eq!(answer(&upstream, &request), (200, kims(), authorization, jwt_auth), "{value}");
        // The origin is checked, because the cookie is what counts.
        let request = client
            .post("/left/x")
            .header(name, value)
            .header("Origin", "https://evil.example")
            .cookie(cookie.0, cookie.1);
        assert_eq!(answer(&upstream, &request).0, 403, "{name}: {value}");
    }
    let told = gateway.log().join("\n");
    for value in ["another-systems", "bGVlOmxlZQ==", "0123\""] {
        assert!(!told.contains(value), "{value} is in the log");
    }
}

#[test]
fn a_scheme_that_nothing_reads_passes_beside_a_good_cookie_and_what_is_read_does_not() {
    let upstream = Upstream::start();
    let gateway = setup(&upstream).start();
    let client = gateway.client();
    let (access, cookie) = kim(&client);
    for path in ["/app", "/optional/x", "/public/x"] {
        for value in ["Token 0123", "Basic bGVlOmxlZQ==", "ApiKey x y z", "Digest a=\"b\", c=d"] {
            let request = client.get(path).header("Authorization", value).cookie(COOKIE, &cookie);
            let seen = answer(&upstream, &request);
            assert_eq!(seen, (200, vec!["kim".into()], vec![value.into()], vec![]), "{path}");
        }
    }
    // A Bearer token, or a token in an issuer's place, is checked and not forwarded.
    for (value, status) in [("Bearer another-systems", 401), ("JWT a.b.c", 401)] {
        let request = client.get("/app").header("Authorization", value).cookie(COOKIE, &cookie);
        assert_eq!(answer(&upstream, &request).0, status, "{value}");
        let request = client.get("/public/x").header("Authorization", value);
        assert_eq!(answer(&upstream, &request), (200, vec![], vec![], vec![]), "{value}");
    }
    // The gateway's own token is never forwarded, read or not, wherever it is.
    for path in ["/nothing/x", "/open/x"] {
        for (name, value) in [
            ("Authorization", format!("Bearer {access}")),
            ("Authorization", format!("JWT {access}")),
            ("Authorization", format!("Other {access}")),
            ("jwt-auth", access.clone()),
        ] {
            let request = client.get(path).header(name, &value);
            assert_eq!(answer(&upstream, &request), (200, vec![], vec![], vec![]), "{path} {name}");
        }
    }
}

#[test]
fn our_own_token_counts_wherever_an_issuers_are_read_and_after_a_refresh() {
    let upstream = Upstream::start();
    let gateway = setup(&upstream).start();
    let client = gateway.client();
    let tokens = client.sign_in("kim", "correct horse battery");
    let refreshed = client.post("/refresh").json(&json!({"refresh": tokens["refresh"]})).send();
    let refreshed = refreshed.json();
    for access in [&tokens["access"], &refreshed["access"]] {
        let access = access.as_str().unwrap();
        for (name, value) in [
            ("Authorization", format!("Bearer {access}")),
            ("Authorization", format!("JWT {access}")),
            ("Authorization", format!("jwt {access}")),
            ("jwt-auth", access.to_owned()),
        ] {
            let request = client.get("/app").header(name, &value);
            let seen = answer(&upstream, &request);
            assert_eq!(seen, (200, vec!["kim".into()], vec![], vec![]), "{name}: {value}");
            let session = client.get("/session").header(name, &value).send();
            assert_eq!(session.json()["user_id"], "kim", "{name}: {value}");
            let spoiled = format!("{value}x");
            assert_eq!(client.get("/app").header(name, &spoiled).send().status, 401, "{name}");
        }
        // A route that reads only the issuer's credentials does not accept it.
        let request = client.get("/by-hand/x").header("jwt-auth", access);
        assert_eq!(request.send().status, 401);
    }
    // Tokens of two users in two places are refused.
    let lee = client.sign_in("lee", "staple 한글 암호");
    let request = client.get("/app").bearer(tokens["access"].as_str().unwrap());
    let both = request.header("jwt-auth", lee["access"].as_str().unwrap()).send();
    assert_eq!((both.status, both.code().as_str()), (400, "conflicting_credentials"));
    // Signing out works with a token in that place too.
    let request = client.post("/logout");
    let access = refreshed["access"].as_str().unwrap();
    assert_eq!(request.header("Authorization", &format!("JWT {access}")).send().status, 204);
    assert_eq!(client.get("/app").bearer(access).send().status, 401);
}
