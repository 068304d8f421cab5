//! Personal access tokens at the gate, as a table: credentials presented × route.

use std::time::Duration;

use super::testkit::route;
use super::*;
use crate::clock::Timestamp;
use crate::context::Events;
use crate::issuer::testkit::Kit;
use crate::secret::Secret;
use crate::session::personal_token::{TokenMaker, WantedToken};
use crate::session::testkit::{NOW, new_session};
use crate::store::{NewSession, Sessions as _};

/// The settings of each route.
const ROUTES: [(&str, &str); 8] = [
    ("/api/", "personal_tokens = true"),
    ("/files/", "personal_tokens = true"),
    ("/staff/", "personal_tokens = true\ngroups = [\"nobody\"]"),
    ("/open/", "personal_tokens = true\naccess = \"public\""),
    ("/plain/", ""),
    ("/optional/", "access = \"optional\""),
    ("/public/", "access = \"public\""),
    ("/cookie/", "credentials = [\"cookie\"]"),
];

/// `K` passes as kim, `-` as anonymous, `i` as anonymous although something was presented; `s` is outside the token's scope,
/// `t`: the route takes no such tokens, `f`: the token is invalid, `a`: not authenticated, `g`: in none of the groups, `2`:
/// two users.
const TABLE: &str = "
all            K K g K t t i a
api GET        K s s i t t i a
api POST       s s s i t t i a
malformed      f f f i f f i a
unknown        f f f i f f i a
expired        f f f i f f i a
with kim's     K K g K t t i K
with lee's     2 2 2 2 t t i K
bad, with      f f f i f f i K
";

fn config() -> Config {
    testkit::config(&ROUTES.map(|(path, more)| route(path, more)).concat())
}

fn arrival(path: &str, token: &str, cookie: Option<&Secret>, at: Timestamp) -> Arrival {
    let token = format!("Bearer {token}");
    let cookie = cookie.map(|cookie| format!("__Host-doorwarden={}", cookie.expose()));
    let mut fields = vec![("authorization", token.as_str())];
    fields.extend(cookie.as_deref().map(|cookie| ("cookie", cookie)));
    testkit::arrival("GET", path, &fields, at)
}

fn word(decision: &Decision) -> &'static str {
    match decision {
        Decision::Forward(permit) => {
            assert!(!permit.keeps_authorization(), "a token goes on: {permit:?}");
            match permit.caller() {
                Caller::Known(_) => "K",
                Caller::Anonymous(Anonymous::NoCredential) => "-",
                Caller::Anonymous(Anonymous::Ignored(_)) => "i",
            }
        }
        Decision::Refuse(denial) => match denial.refusal {
            Refusal::PersonalTokenScope => "s",
            Refusal::PersonalTokenNotTaken => "t",
            Refusal::TokenNotValid => "f",
            Refusal::NotAuthenticated => "a",
            Refusal::GroupRequired => "g",
            Refusal::ConflictingCredentials => "2",
            other => panic!("{other:?} is in no cell"),
        },
        other => panic!("{other:?} is in no cell"),
    }
}

#[tokio::test]
async fn every_token_on_every_route_is_decided_as_the_table_says() {
    let kit = Kit::new();
    let store = Arc::clone(&kit.store);
    let sessions = Arc::clone(kit.issuers.sessions());
    let kim = crate::caller::UserKey::new("django", "7");
    let make = async |routes: &[&str], methods: &[&str], lifetime| {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let (routes, methods) = (list(routes), list(methods));
        let wanted = WantedToken { name: "CI".to_owned(), routes, methods, lifetime };
        let checked = sessions.personal_tokens().rules().check(wanted).unwrap();
        let (maker, none) = (TokenMaker::Operator(&kim), &Events::default());
        sessions.personal_tokens().make(maker, checked, None, NOW, none).await.unwrap().1
    };
    let cookie = async |user: &str| {
        let cookie = Secret::random().unwrap();
        let digest = Some(cookie.digest());
        let new = NewSession { cookie: digest, ..new_session(user, user) };
        store.create(new).await.unwrap();
        cookie
    };
    let minute = Some(Duration::from_secs(60));
    let all = make(&[], &[], None).await;
    let (read, write) =
        (make(&["api"], &["GET"], None).await, make(&["api"], &["POST"], None).await);
    let short = make(&[], &[], minute).await;
    let (of_kim, of_lee) = (cookie("7").await, cookie("8").await);
    let unknown = "dwp_0000000000000000000000000000000003c6Ebk";
    let later = NOW.plus(Duration::from_secs(60));
    let gate = Gate::new(&config(), Arc::new(kit.issuers));
    let mut table = String::from("\n");
    for (row, token, cookie, at) in [
        ("all", all.expose(), None, NOW),
        ("api GET", read.expose(), None, NOW),
        ("api POST", write.expose(), None, NOW),
        ("malformed", &all.expose()[..42], None, NOW),
        ("unknown", unknown, None, NOW),
        ("expired", short.expose(), None, later),
        ("with kim's", all.expose(), Some(&of_kim), NOW),
        ("with lee's", all.expose(), Some(&of_lee), NOW),
        ("bad, with", unknown, Some(&of_kim), NOW),
    ] {
        let mut cells = Vec::new();
        for (path, _) in ROUTES {
            let arrival = arrival(path, token, cookie, at);
            cells.push(word(&gate.decide(&arrival).await));
        }
        table.push_str(&format!("{row:<15}{}\n", cells.join(" ")));
    }
    assert_eq!(table, TABLE, "the decisions are now\n{table}");
}

#[tokio::test]
async fn a_token_does_not_go_on_where_nothing_is_enforced() {
    let kit = Kit::new();
    let mut config = config();
    config.shadow.routes = (0..config.routes.len()).collect();
    let gate = Gate::new(&config, Arc::new(kit.issuers));
    for token in ["dwp_0000000000000000000000000000000003c6Ebk", "dwp_typo"] {
        for (path, _) in ROUTES {
            let decided = gate.decide(&arrival(path, token, None, NOW)).await;
            let Decision::Shadow(permit) = decided else { panic!("{path}: {decided:?}") };
            assert!(!permit.keeps_authorization(), "{path} {token}");
        }
    }
}

#[test]
fn nothing_that_a_token_proves_is_ever_enough_where_a_route_asks() {
    use crate::caller::{Assurance, AuthMethod};
    let fresh = Some(Duration::from_secs(900));
    for (several_factors, fresh) in [(true, None), (false, fresh), (true, fresh)] {
        let asks = crate::config::AssuranceRequirement { several_factors, fresh };
        assert!(!asks.is_met(Assurance::BY_TOKEN, NOW));
        // Even if a record claimed more, by a mistake in the gateway.
        let methods = Assurance::BY_TOKEN.methods.and(AuthMethod::MultipleFactors);
        assert!(!asks.is_met(Assurance::now(methods, NOW), NOW));
    }
}
