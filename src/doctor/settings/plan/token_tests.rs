//! Tests the tokens of packages: django-rest-knox, dj-rest-auth's cookie, and the names of fields.

use serde_json::{Value, json};

use super::tests::{endpoint, planned, project, route, says, with};
use crate::config::{Access, Config, CredentialSelection, IssuerKind, IssuerSettings, KnoxVersion};
use crate::doctor::finding::Weight;

fn class(name: &str, kind: &str) -> Value {
    json!({"name": name, "kind": kind, "header": "", "keyword": ""})
}

/// Returns a project with django-rest-knox as its documentation sets it up, and without SimpleJWT.
fn with_knox() -> Value {
    let mut project = project();
    project["simplejwt"] = Value::Null;
    project["rest_framework"]["classes"] = json!([class("knox.auth.TokenAuthentication", "knox")]);
    project["knox"] =
        json!({"version": 5, "table": "knox_authtoken", "scheme": "Token", "manager": ""});
    let mut basic = class("rest_framework.authentication.BasicAuthentication", "basic");
    basic["kinds"] = json!(["knox-obtain"]);
    project["urls"]["view_classes"] = json!([basic]);
    project["urls"]["endpoints"] =
        json!([endpoint("/login/", "knox-obtain"), endpoint("/logout/", "knox-logout")]);
    project
}

fn of_kind(config: &Config, is: impl Fn(&IssuerKind) -> bool) -> Option<&IssuerSettings> {
    config.issuers.iter().find(|issuer| is(&issuer.kind))
}

fn knox(config: &Config) -> Option<&IssuerSettings> {
    of_kind(config, |kind| matches!(kind, IssuerKind::Knox { .. }))
}

fn basic(config: &Config) -> Option<&IssuerSettings> {
    of_kind(config, |kind| matches!(kind, IssuerKind::Basic { .. }))
}

#[test]
fn tokens_of_knox_stay_good_and_go_on_to_its_views() {
    let (_, config, said) = planned(with_knox());
    let issuer = knox(&config).unwrap();
    assert!(config.forwards(issuer));
    assert!(matches!(issuer.kind, IssuerKind::Knox { version: KnoxVersion::Five, .. }));
    assert!(basic(&config).is_none(), "it gets a token, and is taken nowhere else");
    assert_eq!(route(&config, "/login/").access, Access::Public);
    assert_eq!(route(&config, "/login/").credentials, CredentialSelection::All);
    assert!(said.iter().all(|(mark, _)| *mark != Weight::Failure), "{said:#?}");

    let mut older = with_knox();
    older["knox"] =
        json!({"version": 4, "table": "accounts_token", "scheme": "Knox", "manager": ""});
    let (_, config, _) = planned(older);
    let issuer = knox(&config).unwrap();
    let IssuerKind::Knox { version, table, .. } = &issuer.kind else { panic!("{issuer:?}") };
    assert_eq!((*version, table.as_str()), (KnoxVersion::Four, "accounts_token"));
}

#[test]
fn tokens_of_knox_that_are_judged_otherwise_are_left_to_the_service() {
    for (pointer, value, why) in [
        ("/knox/version", json!(0), "SECURE_HASH_ALGORITHM"),
        ("/knox/manager", json!("shop.models.TokenManager"), "shop.models.TokenManager"),
        (
            "/rest_framework/classes/0",
            json!({"name": "shop.auth.Tokens", "kind": "knox", "header": "", "keyword": "", "changes": ["validate_user"]}),
            "shop.auth.Tokens has its own validate_user",
        ),
    ] {
        let mut project = with_knox();
        *project.pointer_mut(pointer).unwrap() = value;
        let (_, config, said) = planned(project);
        assert!(knox(&config).is_none(), "{pointer}");
        says(&said, Weight::Failure, why);
    }
}

/// A caller with one kind of token must not get the other kind instead: a view may accept only one of them.
#[test]
fn opaque_tokens_beside_simplejwts_go_on_themselves() {
    let jwt = class("rest_framework_simplejwt.authentication.JWTAuthentication", "simplejwt");
    for scheme in ["Token", "Bearer"] {
        let mut both = with_knox();
        both["simplejwt"] = project()["simplejwt"].clone();
        both["knox"]["scheme"] = json!(scheme);
        both["rest_framework"]["classes"].as_array_mut().unwrap().push(jwt.clone());
        let (_, config, said) = planned(both);
        assert_eq!(knox(&config).unwrap().forward, Some(true), "{scheme}");
        assert!(of_kind(&config, |kind| matches!(kind, IssuerKind::SimpleJwt(_))).is_some());
        assert!(said.iter().all(|(mark, _)| *mark != Weight::Failure), "{scheme}: {said:#?}");
    }
    let token = class("rest_framework.authentication.TokenAuthentication", "drf-token");
    let judged = |by: Value| {
        let mut project = with("/rest_framework/classes", json!([jwt, token]));
        project["authtoken_table"] = json!("authtoken_token");
        let mut view = endpoint("/orders/", "");
        view["judged_by"] = by;
        project["urls"]["endpoints"] = json!([view]);
        let (_, config, _) = planned(project);
        let issuer = of_kind(&config, |kind| matches!(kind, IssuerKind::DrfToken { .. }));
        issuer.unwrap().forward
    };
    assert_eq!(judged(json!([token["name"]])), Some(true), "this view takes nothing else");
    assert_eq!(judged(json!([token["name"], jwt["name"]])), None, "one of the gateway's will do");
}

/// If the gateway accepts Basic itself, the view that issues tokens for it must still see it.
#[test]
fn basic_reaches_the_view_that_gives_tokens_out() {
    let mut project = with_knox();
    let classes = project["rest_framework"]["classes"].as_array_mut().unwrap();
    classes.push(class("rest_framework.authentication.BasicAuthentication", "basic"));
    let (_, config, _) = planned(project);
    assert!(basic(&config).is_some());
    let nothing = CredentialSelection::Only { cookie: false, bearer: false, issuers: Vec::new() };
    assert_eq!(route(&config, "/login/").credentials, nothing);
    assert_eq!(route(&config, "/logout/").credentials, CredentialSelection::All);
}

#[test]
fn dj_rest_auths_cookie_is_read() {
    let mut cookie = class("dj_rest_auth.jwt_auth.JWTCookieAuthentication", "simplejwt");
    cookie["cookie"] = json!("access-token");
    let (_, config, _) = planned(with("/rest_framework/classes", json!([cookie])));
    let cookies: Vec<_> = config.issuers.iter().filter(|one| one.is_token_in_cookie()).collect();
    assert_eq!(cookies.len(), 1);
    assert_eq!((cookies[0].cookie(), &*cookies[0].name), (Some("access-token"), "simplejwt"));

    cookie = class("shop.auth.Cookies", "simplejwt");
    (cookie["cookie"], cookie["changes"]) = (json!("access-token"), json!(["get_user"]));
    let (_, config, said) = planned(with("/rest_framework/classes", json!([cookie])));
    assert!(config.issuers.iter().all(|one| !one.is_token_in_cookie()));
    says(&said, Weight::Failure, "shop.auth.Cookies has its own get_user");
}

#[test]
fn a_name_is_called_as_the_model_says() {
    let (_, config, _) = planned(project());
    assert_eq!(config.directories[0].username_field, "username");
    let mut project = project();
    (project["user"]["username_field"], project["user"]["username"]) =
        (json!("email"), json!("email"));
    let (plan, config, _) = planned(project);
    assert_eq!(config.directories[0].username_field, "email", "{}", plan.toml);
}
