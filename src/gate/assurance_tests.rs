//! What routes require of their callers' authentication, as a table: user × assurance × age × route.

use std::time::Duration;

use super::testkit::{arrival, route};
use super::*;
use crate::caller::{Assurance, AuthMethod, AuthMethods, Identity};
use crate::issuer::testkit::Kit;
use crate::secret::Secret;
use crate::session::testkit::{NOW, new_session};
use crate::store::{NewSession, Sessions as _};

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
    let mut text = String::from("[second_factor]\nmode = \"optional\"\n");
    text.extend(ROUTES.map(|(path, asks)| route(path, asks)));
    testkit::config(&text)
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
            let sent = format!("__Host-doorwarden={}", cookie.expose());
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
                    let decided =
                        gate.decide(&arrival("GET", path, &[("cookie", &sent)], at)).await;
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
