use std::path::Path;

use serde_json::{Value, json};

use super::super::ServiceAddresses;
use super::super::facts::ProjectFacts;
use super::{Plan, plan};
use crate::config::{
    Access, Config, Database, DatabaseTls, DirectoryKind, FormKind, IssuerKind, OwnPath,
    RotationPolicy, Shape,
};
use crate::doctor::finding::{DoctorReport, Weight};
use crate::jose::Algorithm;
use crate::wire::path::CanonicalPath;

const KEY: &str = "a-random-key-that-somebody-made-for-a-service-of-theirs";

/// Returns a project with Django's own user, the admin and REST framework with SimpleJWT.
pub(super) fn project() -> Value {
    let class =
        |name: &str, kind: &str| json!({"name": name, "kind": kind, "header": "", "keyword": ""});
    json!({
        "django": "5.2.19", "settings_module": "shop.settings", "secret_key": KEY, "fallbacks": [],
        "databases": [{
            "alias": "default", "engine": "django.db.backends.sqlite3", "kind": "sqlite", "name": "/srv/shop/db.sqlite3",
            "host": "", "port": "", "user": "", "password": "", "socket": "", "sslmode": "", "sslrootcert": "",
        }],
        "user": {
            "label": "auth.User", "table": "auth_user", "pk": "id", "id": "id", "username_field": "username",
            "username": "username", "password": "password", "is_active": "is_active", "is_staff": "is_staff",
            "is_superuser": "is_superuser", "email": "email", "database": "default",
            "groups": {
                "group_table": "auth_group", "membership_table": "auth_user_groups", "user_column": "user_id",
                "group_column": "group_id",
            },
        },
        "hashers": ["pbkdf2_sha256", "argon2"],
        "backends": ["django.contrib.auth.backends.ModelBackend"],
        "sessions": {
            "middleware": true, "authentication_middleware": true, "engine": "db", "built_in": true,
            "cookie": "sessionid", "age": 1_209_600, "serializer": "django.contrib.sessions.serializers.JSONSerializer",
            "table": "django_session", "database": "default", "cache": null,
        },
        "rest_framework": {"written": true, "classes": [
            class("rest_framework.authentication.SessionAuthentication", "session"),
            class("rest_framework_simplejwt.authentication.JWTAuthentication", "simplejwt"),
        ]},
        "simplejwt": {
            "algorithm": "HS256", "signing_key": KEY, "verifying_key": "", "jwk_url": "", "access_lifetime": 300,
            "refresh_lifetime": 86_400, "rotate": false, "update_last_login": false, "audience": [], "issuer": "",
            "leeway": 0, "header": "Authorization", "schemes": ["Bearer"], "user_id_field": "id",
            "user_id_claim": "user_id", "token_type_claim": "token_type", "jti_claim": "jti", "token_types": ["access"],
            "check_revoke_token": false, "revoke_claim": "hash_password", "custom_obtain": false, "blacklist": false,
        },
        "numeric_ids": false, "authtoken_table": "", "remote_user": [],
        "urls": {
            "endpoints": [
                endpoint("/api/token/", "simplejwt-obtain"),
                endpoint("/api/token/refresh/", "simplejwt-refresh"),
                endpoint("/accounts/password_reset/", "password-reset"),
            ],
            "admins": ["/admin/"], "view_classes": [], "paths": ["/api/token/", "/api/token/refresh/"], "asked": 3,
        },
        "taken": [], "static_url": "/static/", "media_url": "/media/", "debug": false, "allowed_hosts": ["shop.example", "127.0.0.1"],
        "trusted_origins": [], "csrf_cookie": "csrftoken", "proxy_ssl_header": ["HTTP_X_FORWARDED_PROTO", "https"], "ssl_redirect": false,
        "use_tz": true, "cors": false, "wsgi": "shop.wsgi.application", "asgi": "", "problems": [], "proof": proof(),
    })
}

/// Returns a proof that Django decides as the gateway does.
fn proof() -> Value {
    json!({
        "obstacles": [], "conditions": [], "username_case": "exact", "second_factors": [], "asked": 11, "users": 11,
        "session_backend": "django.contrib.auth.backends.ModelBackend", "schema": "", "tables": {},
        "hashes": {"pbkdf2_sha256": 11}, "address_readers": [],
    })
}

pub(super) fn endpoint(path: &str, kind: &str) -> Value {
    json!({"path": path, "exact": true, "kind": kind, "view": "shop.views.View", "custom": false})
}

/// Returns a view of the project's own that seems to do what `kind` says, and lets anonymous callers POST.
fn guessed(path: &str, kind: &str) -> Value {
    let mut endpoint = endpoint(path, kind);
    endpoint["guessed"] = json!(true);
    endpoint["served"] = json!({"POST": "its own checks let strangers pass"});
    endpoint
}

/// Returns the project with one value at a path of keys changed.
pub(super) fn with(pointer: &str, value: Value) -> Value {
    let mut project = project();
    *project.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer}")) = value;
    project
}

/// Returns the plan, its configuration, and the findings.
pub(super) fn planned(project: Value) -> (Plan, Config, Vec<(Weight, String)>) {
    let (plan, said) = written(project);
    let config = Config::parse(&plan.toml, Path::new("/etc/doorwarden"), "gateway.toml");
    let config = config.unwrap_or_else(|errors| panic!("{}\n{}", errors.render(false), plan.toml));
    (plan, config.0, said)
}

/// Returns the plan and the findings.
pub(super) fn written(project: Value) -> (Plan, Vec<(Weight, String)>) {
    let facts: ProjectFacts = serde_json::from_value(project).unwrap();
    let addresses = ServiceAddresses {
        listen: "127.0.0.1:8080".into(),
        admin: "127.0.0.1:9090".into(),
        upstream: "127.0.0.1:8000".into(),
    };
    let mut report = DoctorReport::default();
    let plan = plan(&facts, &addresses, &mut report);
    let said =
        report.findings().iter().map(|one| (one.mark, format!("{}: {}", one.about, one.says)));
    (plan, said.collect())
}

pub(super) fn says(said: &[(Weight, String)], mark: Weight, words: &str) {
    let found = said.iter().any(|(own, text)| *own == mark && text.contains(words));
    assert!(found, "{mark:?} {words:?} is missing in {said:#?}");
}

fn aliases(config: &Config) -> Vec<(&str, OwnPath, RotationPolicy)> {
    let default = |path: &str| OwnPath::ALL.iter().any(|own| own.default_path() == Some(path));
    let is_own = |path: &str| default(path) || path == ADMIN_PAGE;
    let all = config.paths.iter().filter(|entry| !is_own(entry.path.as_str()));
    all.map(|entry| (entry.path.as_str(), entry.own, entry.rotation)).collect()
}

/// The gateway's page replaces the admin's; nothing else of the gateway's own replaces a view.
const ADMIN_PAGE: &str = "/admin/login/";

/// Returns the configuration with its comments as blocks, without their "#". Words for the operator follow "# ".
pub(super) fn uncommented(plan: &Plan) -> Config {
    let lines = plan.toml.lines().map(|line| match line.strip_prefix('#') {
        Some(rest) if !rest.starts_with(' ') => rest,
        _ => line,
    });
    let toml = lines.collect::<Vec<_>>().join("\n");
    let config = Config::parse(&toml, Path::new("/etc/doorwarden"), "gateway.toml");
    config.unwrap_or_else(|errors| panic!("{}\n{toml}", errors.render(false))).0
}

/// Returns how many issuers of JWTs there are.
fn of_jwts(config: &Config) -> usize {
    let is_jwt =
        |kind: &IssuerKind| matches!(kind, IssuerKind::SimpleJwt(_) | IssuerKind::Jwt { .. });
    config.issuers.iter().filter(|issuer| is_jwt(&issuer.kind)).count()
}

pub(super) fn route<'c>(config: &'c Config, path: &str) -> &'c crate::config::Route {
    config
        .routes
        .iter()
        .find(|route| route.path.as_str() == path)
        .unwrap_or_else(|| panic!("{path}"))
}

#[test]
fn a_usual_project_is_told_nothing_bad() {
    let (plan, config, said) = planned(project());
    assert!(said.iter().all(|(mark, _)| matches!(mark, Weight::Fine | Weight::Note)), "{said:#?}");
    assert!(!plan.toml.contains(KEY) && !plan.toml.contains("danger_"), "{}", plan.toml);
    let files: Vec<&str> = plan.files.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(files, ["django-secret-key"]);
    let page = config.paths.iter().find(|entry| entry.path == ADMIN_PAGE);
    assert_eq!(page.map(|page| page.own), Some(OwnPath::Login));
    assert_eq!(config.sign_in.login_path.as_ref().map(CanonicalPath::as_str), Some(ADMIN_PAGE));
    assert_eq!(
        aliases(&config),
        [
            ("/api/token/", OwnPath::Login, RotationPolicy::None),
            ("/api/token/refresh/", OwnPath::Refresh, RotationPolicy::None),
        ]
        .map(|(path, own, rotation)| (
            path,
            own,
            if own == OwnPath::Refresh { rotation } else { RotationPolicy::SingleUse }
        ))
    );
    for (path, access) in [
        ("/static/", Access::Public),
        ("/accounts/password_reset/", Access::Public),
        ("/admin/", Access::SignedIn),
        ("/", Access::SignedIn),
    ] {
        assert_eq!(route(&config, path).access, access, "{path}");
    }
    assert!(config.upstreams[0].buffer_chunked);
    let app = &route(&config, "/").identity;
    let kind = |index: usize| &config.forms[index].kind;
    assert!(matches!(kind(app.bearer[0]), FormKind::SimpleJwt(_)));
    assert!(matches!(kind(app.cookie[0]), FormKind::DjangoSession(_)));
    let admin = &route(&config, "/admin/").identity;
    assert!(admin.bearer.is_empty() && admin.cookie == app.cookie);
}

#[test]
fn tokens_behave_as_the_settings_say() {
    let (_, config, _) = planned(with("/simplejwt/rotate", json!(true)));
    let refresh = config.paths.iter().find(|entry| entry.path == "/api/token/refresh/").unwrap();
    assert_eq!(refresh.rotation, RotationPolicy::SingleUse);

    let mut project = with("/simplejwt/audience", json!(["api", "web"]));
    for (name, value) in [
        ("issuer", json!("shop")),
        ("leeway", json!(30)),
        ("header", json!("X-Access-Token")),
        ("schemes", json!(["JWT", "Bearer"])),
        ("user_id_claim", json!("uid")),
        ("token_types", json!(["access", "sliding"])),
        ("check_revoke_token", json!(true)),
        ("access_lifetime", json!(3)),
        ("refresh_lifetime", json!(1_209_600)),
        ("signing_key", json!("another-key-than-secret-key-for-tokens-alone")),
        ("blacklist", json!(true)),
    ] {
        project["simplejwt"][name] = value;
    }
    let (plan, config, said) = planned(project);
    let issuer = &config.issuers[0];
    let IssuerKind::SimpleJwt(jwt) = &issuer.kind else { panic!("{issuer:?}") };
    assert_eq!((jwt.audience.len(), jwt.issuer.as_deref()), (2, Some("shop")));
    assert_eq!((jwt.user_id_claim.as_str(), jwt.token_types.len()), ("uid", 2));
    assert!(jwt.check_revoke_token);
    let FormKind::SimpleJwt(form) = &config.forms[0].kind else { panic!("{:?}", config.forms) };
    assert_eq!((form.header.as_str(), form.scheme.as_str()), ("X-Access-Token", "JWT"));
    assert_eq!(form.audience.as_deref(), Some("api"));
    assert_eq!(config.tokens.access_lifetime.as_secs(), 10);
    assert_eq!(config.tokens.user_id_claim, "uid");
    says(&said, Weight::Note, "ACCESS_TOKEN_LIFETIME");
    let names: Vec<&str> = plan.files.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["simplejwt-signing-key", "django-secret-key"]);
    for takes in [false, true] {
        let (_, config, _) = planned(with("/numeric_ids", json!(takes)));
        let IssuerKind::SimpleJwt(jwt) = &config.issuers[0].kind else { panic!() };
        assert_eq!(jwt.signature.numeric_ids, takes, "as the installed PyJWT does");
    }
}

#[test]
fn what_cannot_be_taken_over_is_left_to_the_service_and_told() {
    for (pointer, value, words) in [
        ("/simplejwt/algorithm", json!("PS256"), "ALGORITHM"),
        ("/simplejwt/user_id_field", json!("uuid"), "USER_ID_FIELD"),
        ("/simplejwt/token_type_claim", json!(""), "TOKEN_TYPE_CLAIM"),
        ("/simplejwt/signing_key", json!(""), "the key"),
        ("/user/password", json!(""), "no password column"),
    ] {
        let (_, config, said) = planned(with(pointer, value));
        says(&said, Weight::Failure, words);
        assert!(of_jwts(&config) == 0 && aliases(&config).is_empty(), "{pointer}");
        assert_eq!(route(&config, "/api/token/").access, Access::Public, "{pointer}");
    }
    for (pointer, value) in
        [("/simplejwt/custom_obtain", json!(true)), ("/urls/endpoints/0/custom", json!(true))]
    {
        let (_, config, said) = planned(with(pointer, value));
        says(&said, Weight::Warning, "left to the service");
        assert!(of_jwts(&config) == 1 && aliases(&config).is_empty(), "{pointer}");
        assert_eq!(route(&config, "/api/token/").access, Access::Public, "{pointer}");
    }
}

#[test]
fn weak_keys_are_taken_with_a_warning() {
    for key in ["hunter2-of-ours", "django-insecure-development-key-of-the-legacy-service"] {
        let (plan, _, said) = planned(with("/simplejwt/signing_key", json!(key)));
        assert!(plan.toml.contains("danger_weak_key = true"), "{key}");
        assert!(!plan.toml.contains(key));
        assert!(
            said.iter().any(|(mark, text)| *mark == Weight::Warning && text.starts_with("key:"))
        );
    }
}

#[test]
fn a_user_model_of_the_projects_own_is_found() {
    let mut project = with("/user/table", json!("people_person"));
    project["user"]["username"] = json!("email");
    project["user"]["is_staff"] = json!("");
    project["user"]["groups"] = Value::Null;
    project["hashers"] = json!(["argon2", "homemade"]);
    let (_, config, said) = planned(project);
    let DirectoryKind::Django(django) = &config.directories[0].kind else { panic!() };
    assert_eq!(
        (django.user_table.as_str(), django.columns.username.as_str()),
        ("people_person", "email")
    );
    assert_eq!((&django.columns.is_staff, &django.groups), (&String::new(), &None));
    assert_eq!(django.hashers, ["argon2"]);
    says(&said, Weight::Warning, "homemade");
}

#[test]
fn database_servers_are_written_without_their_password() {
    let server = |kind: &str, changes: Value| {
        let mut project = project();
        let database = &mut project["databases"][0];
        for (name, value) in [
            ("kind", json!(kind)),
            ("name", json!("shop db")),
            ("user", json!("shop@x")),
            ("password", json!("p:a/s@s")),
        ] {
            database[name] = value;
        }
        for (name, value) in changes.as_object().unwrap() {
            database[name] = value.clone();
        }
        let (plan, config, said) = planned(project);
        assert!(!plan.toml.contains("p:a/s@s"), "{}", plan.toml);
        assert!(plan.files.iter().any(|(name, _)| name == "database-password"));
        let DirectoryKind::Django(django) = config.directories[0].kind.clone() else { panic!() };
        let Database::Server(server) = django.database else { panic!("{:?}", django.database) };
        assert_eq!((server.user.as_str(), server.name.as_str()), ("shop@x", "shop db"));
        (*server, said)
    };
    let (db, _) =
        server("postgres", json!({"host": "db.internal", "port": "5433", "sslmode": "require"}));
    assert_eq!((db.host.as_str(), db.port, db.tls), ("db.internal", 5433, DatabaseTls::Require));
    let (plan, ..) = planned({
        let mut project = with("/user/database", json!("../eu"));
        let database = project.pointer_mut("/databases/0").unwrap();
        for (name, value) in [
            ("alias", "../eu"),
            ("kind", "postgres"),
            ("user", "x"),
            ("name", "x"),
            ("password", "x"),
        ] {
            database[name] = json!(value);
        }
        project["sessions"]["database"] = json!("../eu");
        project
    });
    let names: Vec<_> = plan.files.iter().map(|(name, _)| name.as_str()).collect();
    assert!(names.contains(&"database-password-..%2Feu"), "a file beside the others: {names:?}");

    let (db, _) = server("postgres", json!({"host": "/run/postgresql"}));
    assert_eq!(db.socket.as_deref(), Some(Path::new("/run/postgresql")));
    let (db, _) = server("mysql", json!({"socket": "/run/mysqld/mysqld.sock"}));
    assert_eq!(db.socket.as_deref(), Some(Path::new("/run/mysqld/mysqld.sock")));
    let (db, said) = server("mysql", json!({"host": "localhost", "port": "3306"}));
    assert_eq!(db.host, "127.0.0.1");
    says(&said, Weight::Warning, "Unix socket");
    let (db, _) = server(
        "postgres",
        json!({"host": "::1", "sslrootcert": "/etc/ca.pem", "sslmode": "verify-full"}),
    );
    assert_eq!((db.host.as_str(), db.ca_file.as_deref()), ("::1", Some(Path::new("/etc/ca.pem"))));
}

#[test]
fn the_projects_own_paths_come_first() {
    let mut project = with("/taken", json!(["/login", "/session"]));
    project["urls"]["endpoints"] = json!([
        endpoint("/login", "simplejwt-obtain"),
        endpoint("/accounts/login/", "login"),
        endpoint("/accounts/password_reset/", ""),
        endpoint("/signup/", "sign-up"),
        endpoint("/signup/done/", "sign-up"),
        endpoint("/", ""),
    ]);
    project["urls"]["paths"] = json!(["/login", "/login/history", "/signup/"]);
    let (_, config, said) = planned(project);
    let at =
        |path: &str| config.paths.iter().find(|entry| entry.path == path).map(|entry| entry.own);
    assert_eq!(at("/login"), Some(OwnPath::Login), "the alias");
    assert_eq!(at("/doorwarden/login"), Some(OwnPath::Login));
    assert_eq!(at("/doorwarden/session"), Some(OwnPath::Session));
    says(&said, Weight::Note, "below /login lie paths that go on to the service: /login/history");
    // The service's own sign-in keeps the cookie that it sets.
    let sign_in = route(&config, "/accounts/login/");
    assert!(sign_in.access == Access::Public && sign_in.identity.cookie.is_empty());
    let public = config.routes.iter().filter(|route| route.access == Access::Public).count();
    assert_eq!(public, 4, "static, sign-in and twice sign-up: by class, and by no word in a path");
    assert_eq!(route(&config, "/").access, Access::SignedIn);
}

#[test]
fn a_service_that_takes_the_caller_from_a_header_gets_it() {
    let middleware = |header: &str| json!([{"name": "shop.middleware.Remote", "header": header, "persistent": true}]);
    let (_, config, said) = planned(with("/remote_user", middleware("HTTP_X_USER_NAME")));
    let FormKind::RemoteUser(form) = &config.forms[0].kind else { panic!("{:?}", config.forms) };
    assert_eq!(form.header, "X-User-Name");
    assert_eq!(config.identity.user_name, "", "it is set once");
    assert_eq!(route(&config, "/admin/").identity.bearer, [0]);
    says(&said, Weight::Warning, "keeps a session when the header is missing");
    says(&said, Weight::Warning, "believes whoever sends X-User-Name");
    let (_, config, said) = planned(with("/remote_user", middleware("REMOTE_USER")));
    assert!(!config.forms.iter().any(|form| matches!(form.kind, FormKind::RemoteUser(_))));
    says(&said, Weight::Failure, "no request header can set");
}

#[test]
fn sessions_that_cannot_be_made_leave_the_admin_to_the_service() {
    for (pointer, value) in [
        ("/sessions/engine", json!("file")),
        ("/sessions/serializer", json!("shop.PickleSerializer")),
        ("/use_tz", json!(false)),
    ] {
        let (_, config, said) = planned(with(pointer, value));
        says(&said, Weight::Warning, "no Django sessions can be made");
        assert_eq!(route(&config, "/admin/").access, Access::Public, "{pointer}");
    }
}

#[test]
fn who_is_signed_in_stays_so_wherever_sessions_are() {
    let redis = |changes: Value| {
        let mut cache = json!({
            "backend": "django.core.cache.backends.redis.RedisCache", "url": "redis://cache.internal:6379/1", "user": "",
            "password": "hush-cache", "prefix": "shop", "version": 2, "default_key_function": true, "servers": 1,
        });
        for (name, value) in changes.as_object().unwrap() {
            cache[name] = value.clone();
        }
        let mut project = with("/sessions/engine", json!("cache"));
        project["sessions"]["cache"] = cache;
        project
    };
    let mut rotated =
        with("/fallbacks", json!(["an-older-key-of-the-same-service-as-before", "older"]));
    rotated["sessions"]["cookie"] = json!("shop_sid");
    let mut signed = with("/sessions/engine", json!("signed_cookies"));
    signed["sessions"]["table"] = json!("");
    for (project, files) in [
        (
            rotated,
            &["django-secret-key", "django-secret-key-fallback-1", "django-secret-key-fallback-2"]
                [..],
        ),
        (redis(json!({})), &["django-secret-key", "cache-password"]),
        (signed, &["django-secret-key"]),
    ] {
        let (plan, config, said) = planned(project);
        says(&said, Weight::Fine, "sessions that people have now stay good");
        let is_session = |kind: &IssuerKind| matches!(kind, IssuerKind::DjangoSession(_));
        assert!(config.issuers.iter().any(|issuer| is_session(&issuer.kind)), "{}", plan.toml);
        let names: Vec<&str> = plan.files.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, files);
        assert!(!plan.toml.contains("hush-cache") && !plan.toml.contains("an-older-key"));
    }
    for project in [
        redis(json!({"backend": "django_redis.cache.RedisCache"})),
        redis(json!({"url": ""})),
        redis(json!({"default_key_function": false})),
        with("/sessions/serializer", json!("shop.PickleSerializer")),
        with("/sessions/built_in", json!(false)),
    ] {
        let (_, config, said) = planned(project);
        says(&said, Weight::Failure, "sessions that people have now are not accepted");
        assert_eq!(config.issuers.len(), 1);
    }
}

#[test]
fn tokens_and_basic_stay_good_where_the_project_asks_for_them() {
    let class = |kind: &str, keyword: &str| json!({"name": format!("shop.{kind}"), "kind": kind, "header": "", "keyword": keyword});
    let project = |classes: Value, written: bool| {
        let mut project = with("/rest_framework/classes", classes);
        project["rest_framework"]["written"] = json!(written);
        project["authtoken_table"] = json!("authtoken_token");
        project
    };
    let kinds = |config: &Config| -> Vec<String> {
        config.issuers.iter().map(|one| one.name.clone()).collect()
    };
    let classes = json!([class("basic", ""), class("drf-token", "Key"), class("simplejwt", "")]);
    let (_, config, _) = planned(project(classes.clone(), true));
    assert_eq!(kinds(&config), ["simplejwt", "django-session", "drf-token", "basic"]);
    let (_, config, said) = planned(project(classes, false));
    assert_eq!(kinds(&config), ["simplejwt", "django-session", "drf-token"]);
    says(&said, Weight::Note, "REST framework's own default alone");
    let (_, config, said) =
        planned(project(json!([class("drf-token", "Bearer"), class("simplejwt", "")]), true));
    assert_eq!(kinds(&config), ["simplejwt", "django-session", "drf-token"]);
    assert_eq!(config.issuers[2].forward, Some(true), "its views take no token of the gateway's");
    assert!(said.iter().all(|(mark, _)| *mark != Weight::Failure), "{said:#?}");
    // Nothing would end a Django session for these callers, so none is made: the service gets their token.
    let (_, config, said) =
        planned(project(json!([class("drf-token", "Key"), class("session", "")]), true));
    let app = &route(&config, "/").identity;
    let [token, session] = [app.bearer[0], app.cookie[0]].map(|index| &config.forms[index].kind);
    assert!(matches!(token, FormKind::DrfToken(form) if form.scheme == "Key"), "{token:?}");
    assert!(matches!(session, FormKind::DjangoSession(_)), "{session:?}");
    says(&said, Weight::Note, "their own token, which the gateway never makes");
    let (_, config, said) =
        planned(project(json!([class("basic", ""), class("session", "")]), true));
    assert!(route(&config, "/").identity.bearer.is_empty());
    says(&said, Weight::Failure, "callers with a token or HTTP Basic");
}

#[test]
fn what_a_proxy_breaks_is_told() {
    for (pointer, value, mark, words) in [
        (
            "/proxy_ssl_header",
            json!(["HTTP_X_SCHEME", "https"]),
            Weight::Failure,
            "which the gateway does not set",
        ),
        ("/proxy_ssl_header", json!([]), Weight::Note, "is not set"),
        ("/ssl_redirect", json!(true), Weight::Warning, "SECURE_SSL_REDIRECT"),
        ("/debug", json!(true), Weight::Warning, "DEBUG"),
        ("/trusted_origins", json!(["https://*.shop.example"]), Weight::Warning, "wildcards"),
        ("/problems", json!(["URLS: broken"]), Weight::Warning, "URLS: broken"),
        ("/allowed_hosts", json!(["shop.example"]), Weight::Warning, "shop.example: to any other"),
        ("/allowed_hosts", json!([]), Weight::Failure, "400 to every request"),
    ] {
        says(&planned(with(pointer, value)).2, mark, words);
    }
    let (_, config, _) = planned(with("/trusted_origins", json!(["https://Front.example"])));
    assert_eq!(config.session.trusted_origins, ["https://front.example"]);
    let (_, config, _) = planned(with("/cors", json!(true)));
    assert!(config.routes.iter().all(|route| route.forward_preflight));
    let (_, config, _) = planned(with("/wsgi", json!("")));
    assert!(!config.upstreams[0].buffer_chunked);
}

#[test]
fn a_sign_in_of_the_projects_own_is_a_comment() {
    let endpoints = json!([
        guessed("/api/login", "login"),
        guessed("/api/logout", "logout"),
        {"path": "/accounts/login/", "exact": true, "kind": "login", "view": "django.contrib.auth.views.LoginView", "custom": false},
    ]);
    let (plan, config, _) = planned(with("/urls/endpoints", endpoints));
    assert!(config.paths.iter().all(|entry| entry.path != "/api/login"));
    assert_eq!(route(&config, "/api/login").access, Access::Public);
    assert!(!plan.toml.contains("#path = \"/accounts/login/\""));
    let config = uncommented(&plan);
    let at =
        |path: &str| config.paths.iter().find(|entry| entry.path == path).map(|entry| entry.own);
    assert_eq!(
        (at("/api/login"), at("/api/logout")),
        (Some(OwnPath::Login), Some(OwnPath::Logout))
    );
}

#[test]
fn a_hand_made_class_is_a_comment() {
    let made = |key: &str| {
        json!([{
            "name": "shop.auth.Jwt", "kind": "other", "header": "", "keyword": "",
            "hand_made": {"header": "jwt-auth", "claim": "uid", "key": key, "algorithms": ["HS256"]},
            "alone_at": ["/api/login/jwt/info"],
        }])
    };
    let mut project = with("/urls/view_classes", made(KEY));
    project["urls"]["endpoints"] = json!([guessed("/api/login/jwt", "hand-made-obtain")]);
    let (plan, config, said) = planned(project);
    says(&said, Weight::Note, "looks like a hand-made JWT in the header jwt-auth");
    assert_eq!(of_jwts(&config), 1, "only SimpleJWT");
    let config = uncommented(&plan);
    let issuer = config.issuers.iter().find(|issuer| matches!(issuer.kind, IssuerKind::Jwt { .. }));
    assert!(matches!(&issuer.unwrap().kind, IssuerKind::Jwt { claim, .. } if claim == "uid"));
    let obtain = config.paths.iter().find(|entry| entry.path == "/api/login/jwt").unwrap();
    assert!(matches!(obtain.shape, Shape::Jwt(_)), "{obtain:?}");
    let by_hand = route(&config, "/api/login/jwt/info").identity.bearer[0];
    let FormKind::Jwt(form) = &config.forms[by_hand].kind else { panic!("{:?}", config.forms) };
    assert_eq!((form.header.as_str(), form.user_id_claim.as_str()), ("jwt-auth", "uid"));
    let (plan, ..) = planned(with("/urls/view_classes", made("SECRET")));
    assert!(plan.toml.contains("#danger_weak_key = true") && !plan.toml.contains("\"SECRET\""));
    assert!(!plan.files.iter().any(|(name, _)| name == "hand-made-jwt-key"));
}

#[test]
fn key_pairs_are_told_apart() {
    let pem = |text: &str| text.to_owned();
    let pair = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let mut project = with("/simplejwt/algorithm", json!("ES256"));
    project["simplejwt"]["signing_key"] = json!(pem(&pair.serialize_pem()));
    project["simplejwt"]["verifying_key"] = json!(pair.public_key_pem());
    let (plan, config, _) = planned(project.clone());
    let FormKind::SimpleJwt(form) = &config.forms[0].kind else { panic!("{:?}", config.forms) };
    assert_eq!(form.key.algorithm, Algorithm::Es256);
    assert_eq!(plan.files.len(), 3, "public key, private key, SECRET_KEY");
    assert!(!plan.toml.contains("PRIVATE KEY"));
    project["simplejwt"]["signing_key"] =
        json!("-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n");
    let (_, config, said) = planned(project);
    assert_eq!(of_jwts(&config), 1, "what was issued is accepted all the same");
    assert!(matches!(config.forms[0].kind, FormKind::DjangoSession(_)));
    says(&said, Weight::Failure, "no tokens can be minted");
}
