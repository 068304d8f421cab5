//! Tests what is taken over only with proof, and what is written without it.

use serde_json::{Value, json};

use super::session_tests::on_server;
use super::tests::{endpoint, planned, project, says, with};
use crate::config::{Access, SignInMode, SignInRedirect};
use crate::doctor::finding::Weight;

fn class(name: &str, kind: &str, changes: Value) -> Value {
    json!({"name": name, "kind": kind, "header": "", "keyword": "", "changes": changes})
}

fn obstacle(effect: &str, says: &str) -> Value {
    json!([{"effect": effect, "about": "backends", "says": says, "means": ""}])
}

#[test]
fn the_gateway_signs_in_only_where_nothing_is_otherwise() {
    let (plan, _, said) = planned(project());
    says(&said, Weight::Fine, "signs people in as Django does: asked about 11 of 11 users");
    assert!(!plan.toml.contains("mode = \"follow\""), "{}", plan.toml);

    let mut tried = project();
    tried["proof"]["session_backend"] = json!("rules.Later");
    assert!(planned(tried).0.toml.contains("backend = \"rules.Later\""));
}

#[test]
fn one_obstacle_leaves_the_sign_in_to_the_service() {
    for (pointer, value, mark, words) in [
        (
            "/proof/obstacles",
            obstacle("follow", "shop.Ldap decides"),
            Weight::Note,
            "shop.Ldap decides",
        ),
        ("/proof/obstacles", obstacle("fail", "own hash"), Weight::Failure, "own hash"),
        (
            "/proof/hashes",
            json!({"shop_sha3": 7}),
            Weight::Note,
            "7 passwords are stored as shop_sha3",
        ),
        ("/proof", Value::Null, Weight::Failure, "could not be asked"),
    ] {
        let (plan, config, said) = planned(with(pointer, value));
        says(&said, mark, words);
        assert!(plan.toml.contains("[sign_in]\nmode = \"follow\""), "{}", plan.toml);
        assert_eq!(config.sign_in.mode, SignInMode::Follow);
        // Nothing of the gateway's own replaces what the service gives.
        for absent in [
            "[[paths.alias]]",
            "[[identity.form]]",
            "adopt_refresh_tokens",
            "[tokens]",
            "kind = \"basic\"",
            "idle_timeout",
        ] {
            assert!(!plan.toml.contains(absent), "{absent} in {}", plan.toml);
        }
        for kept in ["kind = \"django\"", "kind = \"django-session\"", "kind = \"simplejwt\""] {
            assert!(plan.toml.contains(kept), "{kept} is missing in {}", plan.toml);
        }
    }
}

#[test]
fn the_services_own_sign_ins_are_observed() {
    let mut project = with("/proof/obstacles", obstacle("follow", "shop.Ldap decides"));
    project["user"]["username_field"] = json!("email");
    let own = |path: &str, kind: &str, view: &str| json!({"path": path, "exact": true, "kind": kind, "view": view, "custom": false});
    project["urls"]["endpoints"] = json!([
        own("/accounts/login/", "login", "allauth.account.views.LoginView"),
        own("/accounts/login/", "login", "allauth.account.views.LoginView"),
        own("/in/", "login", "django.contrib.auth.views.LoginView"),
        own("/accounts/signup/", "sign-up", "allauth.account.views.SignupView"),
        own("/out/", "logout", "django.contrib.auth.views.LogoutView"),
        endpoint("/api/token/", "simplejwt-obtain"),
        endpoint("/api/token/refresh/", "simplejwt-refresh"),
        endpoint("/accounts/password_reset/", "password-reset"),
        // The names of the inputs are known from its page.
        {"path": "/member/*/in/", "exact": false, "kind": "login", "view": "shop.views.In", "custom": true,
         "form": {"username": "nick", "password": "secret"}},
        // These call `login` but are not for anonymous callers, or are not where they seem to be.
        {"path": "/checkout/", "exact": true, "kind": "login", "guessed": true, "view": "shop.Checkout", "custom": false},
        {"path": "/old/in/", "exact": true, "kind": "login", "hidden": true, "view": "shop.views.In", "custom": false},
        {"path": "/all/", "exact": false, "rest": true, "kind": "login", "view": "shop.views.In", "custom": false},
    ]);
    let (plan, config, _) = planned(project);
    assert_eq!(config.sign_in.observe.len(), 9);
    assert!(plan.toml.contains("login_path = \"/accounts/login/\""), "{}", plan.toml);
    let observed: Vec<String> =
        plan.toml.split("[[sign_in.observe]]").skip(1).map(value_of).collect();
    assert_eq!(
        observed,
        [
            "sign-in /accounts/login/ login -",
            "sign-in /in/ username -",
            "sign-up /accounts/signup/ - -",
            "sign-out /out/ - -",
            "sign-in /api/token/ email status simplejwt",
            "refresh /api/token/refresh/ - - simplejwt",
            "sign-in /member/*/in/ nick -",
            "sign-in /admin/login/ username -",
            "sign-out /admin/logout/ - -",
        ]
    );
}

/// Returns kind, path, the name's field, what success looks like, and whose tokens the answer has.
fn value_of(block: &str) -> String {
    let block = block.split("\n[").next().unwrap_or_default();
    let value = |key: &str| {
        let line = block.lines().find(|line| line.starts_with(key)).unwrap_or("- = -");
        line.split_once(" = ")
            .unwrap()
            .1
            .split(" #")
            .next()
            .unwrap()
            .trim()
            .trim_matches('"')
            .to_owned()
    };
    let success = match value("success") {
        text if text.contains("status = [200, 201]") => "status",
        _ => "-",
    };
    let tokens = Some(value("tokens")).filter(|tokens| tokens != "-");
    let tokens = tokens.map(|tokens| format!(" {tokens}")).unwrap_or_default();
    format!("{} {} {} {success}{tokens}", value("kind"), value("path"), value("username_field"))
}

#[test]
fn what_a_manager_adds_and_who_has_a_second_factor_is_written() {
    let mut project = on_server("postgres");
    project["proof"]["conditions"] = json!([
        {"column": "deleted_at", "is": "null"}, {"column": "is_banned", "equals": false},
        {"column": "state", "equals": "good \"one\""}, {"column": "level", "equals": 3},
    ]);
    project["proof"]["username_case"] = json!("fold");
    project["proof"]["schema"] = json!("app");
    project["proof"]["tables"] = json!({"auth_user": ["app", "people"]});
    let confirmed = json!([{"column": "confirmed", "equals": true}]);
    let factor = |table: &str, key: &str, known: bool, conditions: &Value| {
        json!({"model": format!("shop.{table}"), "table": table, "user_column": "user_id", "user_key": key, "known": known,
               "conditions": conditions})
    };
    project["proof"]["second_factors"] = json!([
        factor("otp_totp_totpdevice", "id", true, &confirmed),
        factor("mfa_authenticator", "id", true, &json!([])),
        factor("mfa_user_keys", "username", true, &json!([])),
        factor("own_fido", "id", false, &json!([])),
    ]);
    let (plan, _, said) = planned(project);
    for words in [
        "user_table = \"people\"",
        "schema = \"app\"",
        "username_case = \"fold\"",
        "[[directory.condition]]\ncolumn = \"deleted_at\"",
        "is = \"null\"",
        "column = \"is_banned\"",
        "equals = false",
        "equals = \"good \\\"one\\\"\"",
        "equals = 3",
        "table = \"otp_totp_totpdevice\"",
        "[[directory.second_factor.condition]]\ncolumn = \"confirmed\"",
        "table = \"mfa_authenticator\"",
        "user_key = \"username\"",
    ] {
        assert!(plan.toml.contains(words), "{words} is missing in {}", plan.toml);
    }
    assert!(!plan.toml.contains("own_fido"), "what is not known is not written");
    says(
        &said,
        Weight::Note,
        "shop.otp_totp_totpdevice, shop.mfa_authenticator, shop.mfa_user_keys",
    );
    says(&said, Weight::Failure, "shop.own_fido may hold second factors");
}

/// django CMS accepts the password of its toolbar's form at a path of its own, which nobody can open.
#[test]
fn what_cannot_be_opened_is_no_login_page() {
    for (answers, page) in
        [(json!(["405 at /cms_login/"]), "/admin/login/"), (json!(["200 at /cms_login/"]), "")]
    {
        let mut toolbar = endpoint("/cms_login/", "login");
        (toolbar["asked"], toolbar["answers"]) = (json!(["/cms_login/"]), answers);
        let (_, config, _) = planned(with("/urls/endpoints", json!([toolbar])));
        let led_to = config.sign_in.login_path.as_ref().map(|path| path.as_str());
        assert_eq!(led_to.unwrap_or_default(), page);
    }
}

#[test]
fn tokens_of_a_class_with_rules_of_its_own_are_not_taken_over() {
    let of = |classes: Value| {
        let mut project = with("/rest_framework/classes", classes);
        project["authtoken_table"] = json!("authtoken_token");
        planned(project)
    };
    let own = json!(["authenticate_credentials"]);
    let kinds = |config: &crate::config::Config| -> Vec<String> {
        config.issuers.iter().map(|one| one.name.clone()).collect()
    };
    let (_, config, said) = of(json!([class("shop.Expiring", "drf-token", own.clone())]));
    assert_eq!(kinds(&config), ["simplejwt", "django-session"]);
    says(&said, Weight::Failure, "shop.Expiring has its own authenticate_credentials");

    // The stock class beside it reads the same header: the gateway cannot know for which view a token is.
    let stock = class("rest_framework.authentication.TokenAuthentication", "drf-token", json!([]));
    let (_, config, _) = of(json!([stock, class("shop.Expiring", "drf-token", own.clone())]));
    assert_eq!(kinds(&config), ["simplejwt", "django-session"]);

    // A class with another word before the token does not interfere.
    let mut other = class("shop.Expiring", "drf-token", own.clone());
    other["keyword"] = json!("Partner");
    let (_, config, _) = of(json!([stock, other]));
    assert_eq!(kinds(&config), ["simplejwt", "django-session", "drf-token"]);

    let (plan, config, said) = of(json!([class("shop.Jwt", "simplejwt", json!(["get_user"]))]));
    assert_eq!(kinds(&config), ["django-session"]);
    says(&said, Weight::Failure, "its tokens cannot be accepted: shop.Jwt has its own get_user");
    assert!(!config.paths.iter().any(|entry| entry.path == "/api/token/"), "{}", plan.toml);

    let (_, config, said) = of(json!([class("shop.Basic", "basic", json!(["authenticate"]))]));
    assert!(!kinds(&config).contains(&"basic".to_owned()));
    says(
        &said,
        Weight::Failure,
        "HTTP Basic is not accepted at the gateway: shop.Basic has its own",
    );
}

#[test]
fn a_service_with_several_login_pages_says_itself_where_one_signs_in() {
    for (follows, is_written) in [(true, true), (false, false)] {
        let obstacles = if follows { obstacle("follow", "shop.Ldap decides") } else { json!([]) };
        let mut project = with("/proof/obstacles", obstacles);
        let asks = |path: &str, sent_to: &str| {
            json!({
                "path": path, "exact": !path.contains('*'), "kind": "", "view": "shop.views.View", "custom": false,
                "asks_sign_in": true, "sent_to": [sent_to],
            })
        };
        project["urls"]["endpoints"] = json!([
            endpoint("/accounts/login/", "login"),
            asks("/account/", "/accounts/login/"),
            asks("/dashboard/", "/dashboard/login/"),
            // The service was seen to redirect from one path of this pattern only.
            asks("/dashboard/*/edit/", "/dashboard/login/"),
        ]);
        let (plan, config, _) = planned(project);
        let told: Vec<(&str, Access)> = config
            .routes
            .iter()
            .filter(|one| one.sign_in_redirect == SignInRedirect::Service)
            .map(|one| (one.path.as_str(), one.access))
            .collect();
        let wanted = if is_written { vec![("/dashboard/", Access::SignedIn)] } else { vec![] };
        assert_eq!(told, wanted, "{}", plan.toml);
    }
}

#[test]
fn what_such_a_class_judges_goes_on_to_the_service_and_opens_nothing_else() {
    let own = json!(["authenticate_credentials"]);
    let stock = |name: &str, kind: &str| class(name, kind, json!([]));
    for (kind, keyword, credentials) in [
        ("drf-token", "Token", None),
        // The gateway's own token comes with that word.
        ("drf-token", "Bearer", Some(vec!["cookie", "issuer:django-session", "issuer:basic"])),
        ("simplejwt", "", Some(vec!["cookie", "issuer:django-session", "issuer:basic"])),
    ] {
        let mut judge = class("shop.Judge", kind, own.clone());
        judge["keyword"] = json!(keyword);
        let mut project = with(
            "/rest_framework/classes",
            json!([
                judge,
                stock("rest_framework.authentication.SessionAuthentication", "session"),
                stock("rest_framework.authentication.BasicAuthentication", "basic"),
            ]),
        );
        if kind == "drf-token" {
            project["simplejwt"] = Value::Null;
        }
        let view = |path: &str, judges: &Value| {
            let mut view = endpoint(path, "");
            (view["judged_by"], view["exact"]) = (judges.clone(), json!(!path.contains('*')));
            view
        };
        let (judged, others) = (json!(["shop.Judge"]), json!(["other.Class"]));
        project["urls"]["endpoints"] = json!([
            view("/api/orders/", &judged),
            view("/api/orders/*/", &judged),
            view("/api/mine/", &others)
        ]);
        let (plan, config, said) = planned(project);
        says(&said, Weight::Note, "shop.Judge has its own authenticate_credentials");
        let route = |path: &str| config.routes.iter().find(|one| one.path.as_str() == path);
        for path in ["/api/orders/", "/api/orders/*/"] {
            let route = route(path).unwrap_or_else(|| panic!("{path} in {}", plan.toml));
            assert_eq!(
                (route.access, route.methods.len()),
                (Access::Optional, 0),
                "{keyword} {path}"
            );
        }
        assert!(route("/api/mine/").is_none(), "{}", plan.toml);
        let written = plan.toml.lines().find(|line| line.starts_with("credentials = "));
        let written = written.map(|line| line.split(" #").next().unwrap().trim().to_owned());
        let wanted =
            credentials.map(|all| format!("credentials = {}", json!(all)).replace(',', ", "));
        assert_eq!(written, wanted, "{kind} {keyword}");
    }
}

#[test]
fn who_counts_by_address_is_told_the_setting() {
    let reader = |is_right: bool| json!([{"package": "axes", "seen": "127.0.0.1", "is_right": is_right, "line": "AXES_IPWARE_PROXY_COUNT = 1"}]);
    let (_, _, said) = planned(with("/proof/address_readers", reader(false)));
    says(&said, Weight::Failure, "axes would see 127.0.0.1 for every client");
    let (_, _, said) = planned(with("/proof/address_readers", reader(true)));
    says(&said, Weight::Fine, "axes sees the client's address");
}
