//! What a request's target leads to, before anybody asks who is calling: preflights, targets with several readings, pages on
//! which a service signs people in, and routes of `[shadow]`.

use super::testkit::{Fields, arrival, config, route};
use super::*;
use crate::issuer::testkit::Kit;
use crate::session::testkit::NOW;

/// The front end that `[cors]` lists.
const LISTED: &str = "https://front.example";

fn gate(config: &Config) -> Gate {
    Gate::new(config, Arc::new(Kit::new().issuers))
}

/// Returns a word for the decision: where the request goes, or why it does not.
fn word(decision: &Decision) -> String {
    match decision {
        Decision::Forward(permit) => {
            let answers = match permit.answers() {
                ReturnedAnswers::All => "",
                ReturnedAnswers::Redirect => ", for a redirect",
            };
            format!("to {}{answers}", permit.route().name)
        }
        Decision::Shadow(permit) => format!("past to {}", permit.route().name),
        Decision::Serve(own) => format!("own {}", own.path),
        Decision::Preflight(methods) => {
            let names: Vec<_> = methods.iter().map(Method::as_str).collect();
            format!("preflight {}", names.join(" "))
        }
        Decision::Refuse(denial) => denial.refusal.code().to_owned(),
    }
}

#[tokio::test]
async fn a_preflight_is_answered_for_listed_origins_or_forwarded_where_the_route_says_so() {
    let gate = gate(&config(&format!(
        "[cors]\nallowed_origins = [\"{LISTED}\"]\n{}{}{}{}",
        route("/api/", "methods = [\"GET\", \"PUT\"]"),
        route("/own-cors/", "forward_preflight = true\nallow_ambiguous_path = [\"double-slash\"]"),
        route("/own-cors/inner/", "forward_preflight = true"),
        route("/signed-in/", ""),
    )));
    let evil = "https://evil.example";
    for (path, origin, wanted, expected) in [
        ("/api/", LISTED, "PUT", "preflight GET PUT"),
        ("/api/", LISTED, "DELETE", "preflight GET PUT"),
        ("/api/", evil, "PUT", "method_not_allowed"),
        ("/api/", evil, "DELETE", "method_not_allowed"),
        ("/own-cors/", LISTED, "PUT", "to own-cors"),
        ("/own-cors/", evil, "PUT", "to own-cors"),
        // Only if every reading of the path leads to the same route.
        ("/own-cors//x", evil, "PUT", "to own-cors"),
        ("/own-cors//inner/", evil, "PUT", "bad_target"),
        ("/signed-in/", evil, "PUT", "not_authenticated"),
        ("/nowhere/", LISTED, "PUT", "no_route"),
        ("/login", LISTED, "POST", "own /login"),
    ] {
        let fields = [("origin", origin), ("access-control-request-method", wanted)];
        let decision = gate.decide(&arrival("OPTIONS", path, &fields, NOW)).await;
        assert_eq!(word(&decision), expected, "{path} {origin} {wanted}");
    }
}

#[tokio::test]
async fn a_target_with_several_readings_is_refused_unless_all_lead_to_a_route_that_tolerates_them()
{
    let gate = gate(&config(&format!(
        "{}{}{}",
        route("/open/", "access = \"public\"\nallow_ambiguous_path = [\"double-slash\"]"),
        route("/open/admin/", "access = \"public\""),
        route("/strict/", "access = \"public\""),
    )));
    for (path, expected) in [
        ("/open/a", "to open"),
        ("/open//a", "to open"),
        ("/open//admin/", "bad_target"),
        // This reading leads to the same route, but is none that the route tolerates.
        ("/open/a;b", "bad_target"),
        ("/strict/a", "to strict"),
        ("/strict//a", "bad_target"),
        ("/.well-known/jwks.json", "own /.well-known/jwks.json"),
        ("/.well-known/jwks%2Ejson", "bad_target"),
        ("/.well-known/jwks.json?q=é", "bad_target"),
    ] {
        let decision = gate.decide(&arrival("GET", path, &[], NOW)).await;
        assert_eq!(word(&decision), expected, "{path}");
    }
}

#[tokio::test]
async fn a_service_that_signs_people_in_gets_a_browsers_way_to_a_page_and_nothing_else() {
    let mut config = config(&format!("{}{}", route("/page/", ""), route("/gateway/", "")));
    config.routes[0].sign_in_redirect = SignInRedirect::Service;
    let gate = gate(&config);
    let navigates: Fields<'_> = &[("sec-fetch-mode", "navigate")];
    let fetches: Fields<'_> = &[("sec-fetch-mode", "cors")];
    let refused = "not_authenticated";
    for (path, method, fields, has_body, websocket, expected) in [
        ("/page/", "GET", navigates, false, false, "to page, for a redirect"),
        ("/page/", "HEAD", navigates, false, false, "to page, for a redirect"),
        ("/page/", "POST", navigates, false, false, refused),
        ("/page/", "GET", fetches, false, false, refused),
        ("/page/", "GET", navigates, true, false, refused),
        ("/page/", "GET", navigates, false, true, refused),
        ("/gateway/", "GET", navigates, false, false, refused),
    ] {
        let arrival = Arrival { has_body, websocket, ..arrival(method, path, fields, NOW) };
        let decision = gate.decide(&arrival).await;
        assert_eq!(word(&decision), expected, "{method} {path} {fields:?} {has_body} {websocket}");
    }
}

#[tokio::test]
async fn a_shadowed_route_is_no_way_around_an_enforced_one_at_the_same_upstream() {
    let to_other = route("/alone/", "").replace("\"app\"", "\"other\"");
    let mut config = config(&format!(
        "{}{}{to_other}",
        route("/shadowed/", "allow_ambiguous_path = [\"double-slash\"]"),
        route("/shadowed/admin/", ""),
    ));
    config.shadow.routes = vec![0, 2];
    let gate = gate(&config);
    for (path, expected) in [
        ("/shadowed/a", "past to shadowed"),
        ("/shadowed/admin/", "not_authenticated"),
        // A reading that the route tolerates is forwarded byte for byte, like the rest.
        ("/shadowed//a", "past to shadowed"),
        // The service may read this one as a path that the gateway guards.
        ("/shadowed/admin%2Fx", "bad_target"),
        ("/alone/a", "past to alone"),
        ("/alone/a%2Fb", "past to alone"),
    ] {
        let decision = gate.decide(&arrival("GET", path, &[], NOW)).await;
        assert_eq!(word(&decision), expected, "{path}");
    }
}

#[tokio::test]
async fn only_the_cookie_of_a_session_that_has_ended_is_to_be_deleted() {
    let kit = Kit::new();
    let signed_in = kit.signed_in().await;
    let token = format!("Bearer {}", signed_in.tokens.unwrap().access.expose());
    let cookie = format!("__Host-doorwarden={}", signed_in.cookie.unwrap().expose());
    let which = crate::store::SessionSelection::Session(signed_in.session.id.clone());
    let why = crate::event::EndReason::SignedOut;
    kit.sessions.end(&which, why, NOW, &crate::context::Events::default()).await.unwrap();
    let gate = Gate::new(&config(&route("/users/", "")), Arc::new(kit.issuers));
    for (fields, refusal, dead) in [
        (&[("cookie", cookie.as_str())][..], Refusal::SessionEnded, Some(Proof::SessionCookie)),
        (&[("authorization", token.as_str())], Refusal::SessionEnded, None),
        (&[("cookie", "other=x")], Refusal::NotAuthenticated, None),
        (&[("authorization", "Bearer nonsense")], Refusal::TokenNotValid, None),
    ] {
        let decision = gate.decide(&arrival("GET", "/users/", fields, NOW)).await;
        let Decision::Refuse(denial) = decision else { panic!("{fields:?}: {decision:?}") };
        assert_eq!((denial.refusal, denial.dead_cookie), (refusal, dead), "{fields:?}");
    }
}
