//! What routes require of their callers' authentication, as a table: user × assurance × age × route.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::time::Duration;

use http::header::{COOKIE, HeaderMap, HeaderValue};

use super::*;
use crate::caller::{Assurance, AuthMethod, AuthMethods, Identity};
use crate::context::Events;
use crate::issuer::testkit::Kit;
use crate::secret::Secret;
use crate::session::testkit::{NOW, new_session};
use crate::store::{NewSession, Sessions as _};
use crate::wire::client_ip::{ClientAddress, TrustedProxies};
use crate::wire::host::Host;
use crate::wire::path::{Target, Tolerance};
use crate::wire::scheme::Scheme;

/// The requirements of each route.
const ROUTES: [(&str, &str); 5] = [
    ("/plain/", ""),
    ("/factor/", "second_factor = \"required\""),
    ("/fresh/", "fresh = \"15m\""),
    ("/both/", "second_factor = \"required\"\nfresh = \"15m\""),
    ("/editors/", "second_factor = \"required\"\nfresh = \"15m\"\ngroups = [\"editors\"]"),
];

/// The user and the authentication methods, then the ages in seconds; under each age the routes' answers: `K` passes,
/// `p` needs stronger or fresher authentication, `g` is in none of the groups.
const TABLE: &str = "
                    0          900        901
kim service         K p p p p  K p p p p  K p p p p
kim pwd             K p K p p  K p K p p  K p p p p
kim otp             K p K p p  K p K p p  K p p p p
kim pwd otp mfa     K K K K K  K K K K K  K K p p p
kim pwd mail        K K K K K  K K K K K  K K p p p
lee service         K p p p g  K p p p g  K p p p g
lee pwd             K p K p g  K p K p g  K p p p g
lee otp             K p K p g  K p K p g  K p p p g
lee pwd otp mfa     K K K K g  K K K K g  K K p p g
lee pwd mail        K K K K g  K K K K g  K K p p g
";

const AGES: [u64; 3] = [0, 900, 901];

fn config() -> Config {
    let mut text = String::from(
        "listen.http = [\"127.0.0.1:8080\"]\n[[upstream]]\nname = \"app\"\nservers = [\"127.0.0.1:1\"]\n\
         [[directory]]\nkind = \"file\"\npath = \"users.toml\"\n[second_factor]\nmode = \"optional\"\n",
    );
    for (path, asks) in ROUTES {
        let name = path.trim_matches('/');
        text.push_str(&format!(
            "[[route]]\nname = \"{name}\"\npath = \"{path}\"\nupstream = \"app\"\n{asks}\n"
        ));
    }
    let parsed = Config::parse(&text, Path::new("/"), "gateway.toml");
    parsed.unwrap_or_else(|report| panic!("{}", report.render(false))).0
}

fn arrival(path: &str, cookie: &Secret, at: crate::clock::Timestamp) -> Arrival {
    let mut headers = HeaderMap::new();
    let cookie = format!("__Host-doorwarden={}", cookie.expose());
    headers.insert(COOKIE, HeaderValue::from_str(&cookie).unwrap());
    let peer = IpAddr::V4(Ipv4Addr::LOCALHOST);
    Arrival {
        at,
        request_id: Arc::from("r1"),
        method: http::Method::GET,
        target: Target::parse(path, Tolerance::NONE).unwrap(),
        host: Host::parse("app.example").unwrap(),
        scheme: Scheme::Https,
        client: ClientAddress::resolve(peer, &TrustedProxies::default(), &headers),
        headers,
        has_body: false,
        websocket: false,
        events: Events::default(),
    }
}

#[tokio::test]
async fn every_cell_of_the_policies_is_as_the_table_says() {
    let kit = Kit::new();
    let store = Arc::clone(&kit.store);
    let gate = Gate::new(&config(), Arc::new(kit.issuers));
    let mut table = format!("\n{:<20}{:<11}{:<11}{}\n", "", AGES[0], AGES[1], AGES[2]);
    for person in ["kim", "lee"] {
        for methods in ["service", "pwd", "otp", "pwd otp mfa", "pwd mail"] {
            let assurance = match methods {
                "service" => Assurance::BY_SERVICE,
                methods => Assurance::now(AuthMethods::read(methods), NOW),
            };
            let cookie = Secret::random().unwrap();
            let new = new_session(&format!("{person} {methods}"), person);
            let groups = if person == "kim" { vec!["editors".to_owned()] } else { Vec::new() };
            let identity = Identity { groups, ..(*new.identity).clone() };
            let cookie_digest = Some(cookie.digest());
            let new = NewSession {
                identity: Arc::new(identity),
                cookie: cookie_digest,
                assurance,
                grant: None,
                ..new
            };
            store.create(new).await.unwrap();
            table.push_str(&format!("{:<20}", format!("{person} {methods}")));
            let mut cells = Vec::new();
            for age in AGES {
                let at = NOW.plus(Duration::from_secs(age));
                let mut words = Vec::new();
                for (path, _) in ROUTES {
                    let decided = gate.decide(&arrival(path, &cookie, at)).await;
                    words.push(match decided {
                        Decision::Forward(_) => "K",
                        Decision::Refuse(denial) => match denial.refusal {
                            Refusal::InsufficientAuthentication => "p",
                            Refusal::GroupRequired => "g",
                            other => panic!("{person} {methods} {path}: {other:?}"),
                        },
                        other => panic!("{person} {methods} {path}: {other:?}"),
                    });
                }
                cells.push(words.join(" "));
            }
            table.push_str(&format!("{}\n", cells.join("  ")));
        }
    }
    assert_eq!(table, TABLE, "the decisions are now\n{table}");
    assert!(AuthMethods::read("pwd otp mfa").has(AuthMethod::MultipleFactors));
}
