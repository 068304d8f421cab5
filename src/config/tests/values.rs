//! Tests that every value reaches its field, with a file in which nothing has its default.

use std::path::PathBuf;
use std::time::Duration;

use super::super::*;
use super::{config, detect, kept, parse};
use crate::jose::Algorithm;
use crate::wire::cookie::SameSite;
use crate::wire::path::{Ambiguity, CanonicalPath, PathMatch, PathPattern, Tolerance};

const EVERYTHING: &str = r#"
[listen]
http = ["127.0.0.1:1", "[::1]:2"]
https = ["0.0.0.0:3"]
certificate_file = "cert.pem"
private_key_file = "/keys/key.pem"
admin = "10.0.0.1:4"
threads = 5
head_timeout = "5s"
keepalive_timeout = "6s"
read_timeout = "7s"
write_timeout = "8s"
shutdown_timeout = "9s"
max_head_bytes = "10KiB"
max_connections = 16
max_connections_per_address = 17
http2_stream_window = "128KiB"
http2_connection_window = "256KiB"
max_headers = 11
max_target_bytes = "2KiB"
max_body_bytes = "13KiB"
own_body_timeout = "14s"
hsts_max_age = "15s"

[trusted_proxies]
networks = ["10.0.0.0/8", "192.0.2.1"]
reserved_headers = ["X-Edge-*", "X-Zone"]

[[upstream]]
name = "one"
servers = ["App.internal:1", "[::1]:2"]
connect_timeout = "1s"
read_timeout = "2s"
write_timeout = "3s"
idle_timeout = "4s"
buffer_chunked = true
buffer_limit = "5KiB"
websocket_timeout = "6s"
[[upstream]]
name = "two"
servers = ["192.0.2.1:80"]

[[route]]
name = "root"
path = "/"
upstream = "one"
[[route]]
name = "api"
path = "/api/v1"
upstream = "two"
access = "optional"
hosts = ["API.example.com", "*.example.org"]
methods = ["GET", "PROPFIND"]
strip_prefix = "/api"
rewrite_location = true
allow_ambiguous_path = ["semicolon"]
allow_headers = ["my_header"]
forward_preflight = true
websocket = true
credentials = ["cookie"]
[[route]]
name = "staff"
path = "/staff"
upstream = "one"
groups = ["staff", "ops"]

[paths]
login = "/in"
logout_all = false
jwks = false
blacklist = "/blacklist"
[[paths.alias]]
path = "/again"
endpoint = "refresh"
rotation = "single-use"
[[paths.alias]]
path = "/token"
username_field = "mail"
endpoint = "login"
extra = { user_id = "{user.id:int}" }

[tokens]
algorithm = "HS256"
access_lifetime = "10m"
refresh_lifetime = "7d"
rotation = "none"
refresh_grace = "0s"
bind = "country"
bind_unknown = "refuse"
issuer = "https://app.example"
audience = "app"
user_id_claim = "sub"
claims = { name = "{user.name}" }

[session]
cookie = "sid"
idle_timeout = "1h"
absolute_timeout = "8d"
trusted_origins = ["https://front.example"]
same_site = "strict"
danger_plain_http_cookies = true

[[directory]]
kind = "django"
name = "legacy"
refresh_interval = "30s"
database = "sqlite://app/db.sqlite3"
user_table = "users_user"
username_field = "email"
groups = false
hashers = ["argon2"]
columns.username = "email"
columns.is_staff = ""
username_case = "fold"
danger_keep_at_password_upgrade = true
condition = [{ column = "deleted_at", is = "null" }, { column = "is_deleted", equals = false }]
[[directory.second_factor]]
table = "otp_totp_totpdevice"
user_column = "owner_id"
condition = [{ column = "kind", equals = "totp" }]
[identity]
user_id = "Remote-User"
user_name = ""
groups = "X-Groups"
session_id = "X-Sid"
auth_methods = "X-Amr"
[identity.attributes]
X-User-Email = "email"
[login]
token_delivery = "tokens"
title = "Acme"
links = [{ label = "Help", href = "https://help.example/?a=b" }]
hash_threads = 1
hash_queue = 2
account_failures = 3
address_failures = 4
network_failures = 5
guesses_per_day = 6
backoff_initial = "6s"
backoff_max = "7s"
reset_after = "8s"
[cors]
allowed_origins = ["https://front.example", "http://localhost:3000"]
allowed_headers = ["X-One"]
exposed_headers = ["X-Two"]
max_age = "3s"
[detect]
queue = 1
actions_per_hour = 2
[detect.refresh_reuse]
threshold = 2
window = "2s"
action = ["step_up", "notify"]
duration = "3s"
cooldown = "0s"
exempt = ["10.0.0.0/8", "::1", "user:django/7", "group:ops", "agent:curl/", "asn:64512", "vpn"]
dry_run = true
[detect.token_countries]
threshold = 3
action = "end_session"
[privacy]
retention = "60d"
[detect.impossible_travel]
kilometers_per_hour = 800
[geo]
country_database = "/geo.mmdb"
city_database = "/city.mmdb"
asn_database = "/asn.mmdb"
[store]
kind = "memory"
path = "/var/lib/doorwarden/db"

[log]
format = "json"
level = "debug"
access = false
audit_file = "audit.log"
audit_rotate_size = "1MiB"
audit_rotate_after = "1h"
audit_retention = "90d"
"#;

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn path(text: &str) -> CanonicalPath {
    CanonicalPath::parse(text).unwrap()
}

fn prefix(text: &str) -> PathPattern {
    PathPattern::parse(text, PathMatch::Prefix).unwrap()
}

fn texts(all: &[&str]) -> Vec<String> {
    all.iter().map(ToString::to_string).collect()
}

fn everything() -> Config {
    let (config, report) = parse(EVERYTHING).unwrap();
    let keys: Vec<&str> = report.problems().iter().map(|one| one.key.as_str()).collect();
    assert_eq!(keys, ["session.danger_plain_http_cookies"], "and nothing else: {report}");
    config
}

#[test]
fn a_former_name_is_read_with_a_warning() {
    const ISSUER: &str =
        "[[issuer]]\nkind = \"simplejwt\"\nkey_file = \"key\"\nadopt_refresh_tokens = true\n";
    let now = format!("{EVERYTHING}{ISSUER}");
    let (expected, _) = parse(&now).unwrap();
    for (old, new) in raw::former_names() {
        let (_, name) = new.rsplit_once('.').unwrap();
        let (section, former) = old.rsplit_once('.').unwrap();
        let text = now.replace(&format!("\n{name} = "), &format!("\n{former} = "));
        assert!(text != now, "{new} is missing from the file above");
        let (config, report) = parse(&text).unwrap();
        assert_eq!(config, expected, "{old}");
        let said = report.to_string();
        assert!(
            said.contains(&format!("{section}.{former}: this key is called {new} now")),
            "{said}"
        );
    }
}

#[test]
fn traffic() {
    let config = everything();
    assert_eq!(
        config.listen,
        Listen {
            http: vec!["127.0.0.1:1".parse().unwrap(), "[::1]:2".parse().unwrap()],
            https: vec!["0.0.0.0:3".parse().unwrap()],
            tls: vec![TlsFiles {
                certificate: "/etc/doorwarden/cert.pem".into(),
                private_key: "/keys/key.pem".into(),
            }],
            proxy_protocol: ProxyProtocol::default(),
            admin: "10.0.0.1:4".parse().unwrap(),
            danger_public_admin: false,
            threads: 5,
            head_timeout: secs(5),
            keepalive_timeout: secs(6),
            read_timeout: secs(7),
            write_timeout: secs(8),
            shutdown_timeout: secs(9),
            max_head_bytes: 10 * 1024,
            max_connections: 16,
            max_connections_per_address: 17,
            http2_stream_window: 128 * 1024,
            http2_connection_window: 256 * 1024,
            max_headers: 11,
            max_target_bytes: 2 * 1024,
            max_body_bytes: 13 * 1024,
            own_body_timeout: secs(14),
            hsts_max_age: secs(15),
        }
    );
    let networks: Vec<String> = config.trusted_proxies.iter().map(ToString::to_string).collect();
    assert_eq!(networks, ["10.0.0.0/8", "192.0.2.1/32"]);
    assert_eq!(config.reserved_headers, ["X-Edge-*", "X-Zone"]);
    assert_eq!(
        config.upstreams[0],
        Upstream {
            name: "one".into(),
            connect_timeout: secs(1),
            read_timeout: secs(2),
            write_timeout: secs(3),
            idle_timeout: secs(4),
            buffer_chunked: true,
            buffer_limit: 5 * 1024,
            websocket_timeout: secs(6),
            ..Upstream::new("", &["app.internal:1", "[::1]:2"])
        }
    );
    assert_eq!(
        config.routes[1],
        Route {
            index: 1,
            name: "api".into(),
            hosts: texts(&["api.example.com", "*.example.org"]),
            path: prefix("/api/v1"),
            methods: vec![http::Method::GET, http::Method::from_bytes(b"PROPFIND").unwrap()],
            upstream: 1,
            access: Access::Optional,
            groups: vec![],
            asks: AssuranceRequirement::default(),
            strip_prefix: Some(path("/api")),
            rewrite_location: true,
            allow_ambiguous_path: Tolerance::NONE.with(Ambiguity::Semicolon),
            allow_headers: texts(&["my_header"]),
            forward_preflight: true,
            websocket: true,
            identity: RouteForms::default(),
            credentials: CredentialSelection::Only { cookie: true, bearer: false, issuers: vec![] },
            personal_tokens: false,
            sign_in_redirect: SignInRedirect::Gateway,
            refusals: RouteRefusals::Gateway,
            handling: RouteHandling::default(),
        }
    );
    assert_eq!(
        config.routes[2],
        Route {
            index: 2,
            groups: texts(&["staff", "ops"]),
            ..Route::new("staff", prefix("/staff"), 0)
        }
    );
}

#[test]
fn own_paths_are_moved_turned_off_and_aliased() {
    let entry = |path: &str, own, rotation| OwnPathEntry {
        path: PathPattern::parse(path, PathMatch::Exact).unwrap(),
        own,
        rotation,
        shape: Shape::SimpleJwt,
        is_alias: false,
        extra: Members::default(),
        username_fields: if own == OwnPath::Login { texts(&["email"]) } else { vec![] },
    };
    assert_eq!(
        everything().paths,
        [
            entry("/in", OwnPath::Login, RotationPolicy::None),
            entry("/refresh", OwnPath::Refresh, RotationPolicy::None),
            entry("/verify", OwnPath::Verify, RotationPolicy::None),
            entry("/logout", OwnPath::Logout, RotationPolicy::None),
            entry("/blacklist", OwnPath::Blacklist, RotationPolicy::None),
            entry("/session", OwnPath::Session, RotationPolicy::None),
            entry("/account", OwnPath::Account, RotationPolicy::None),
            entry("/account/sessions", OwnPath::AccountSessions, RotationPolicy::None),
            entry("/account/activity", OwnPath::AccountActivity, RotationPolicy::None),
            entry("/account/devices", OwnPath::AccountDevices, RotationPolicy::None),
            entry("/account/password", OwnPath::AccountPassword, RotationPolicy::None),
            entry("/login/second-factor", OwnPath::SecondFactor, RotationPolicy::None),
            OwnPathEntry {
                is_alias: true,
                ..entry("/again", OwnPath::Refresh, RotationPolicy::SingleUse)
            },
            OwnPathEntry {
                is_alias: true,
                extra: Members::new(vec![("user_id".into(), Template::for_test("{user.id:int}"))]),
                username_fields: texts(&["mail"]),
                ..entry("/token", OwnPath::Login, RotationPolicy::None)
            },
        ]
    );
}

#[test]
fn credentials() {
    let config = everything();
    assert_eq!(
        config.tokens,
        Tokens {
            algorithm: Algorithm::Hs256,
            signing_key_file: "/var/lib/doorwarden/signing-key.key".into(),
            access_lifetime: secs(600),
            refresh_lifetime: secs(7 * 86_400),
            rotation: RotationPolicy::None,
            refresh_grace: secs(0),
            bind: Binding::Country,
            refuse_unknown: true,
            issuer: "https://app.example".into(),
            audience: "app".into(),
            user_id_claim: "sub".into(),
            claims: Members::new(vec![("name".into(), Template::for_test("{user.name}"))]),
        }
    );
    assert_eq!(
        config.session,
        SessionSettings {
            cookie: "sid".into(),
            idle_timeout: secs(3600),
            absolute_timeout: secs(8 * 86_400),
            trusted_origins: texts(&["https://front.example"]),
            same_site: SameSite::Strict,
            danger_plain_http_cookies: true,
        }
    );
    assert_eq!(
        config.directories,
        [DirectorySettings {
            name: "legacy".into(),
            refresh_interval: secs(30),
            username_field: "email".into(),
            danger_same_users: false,
            kind: DirectoryKind::Django(Box::new(DjangoDirectorySettings {
                database: Database::Sqlite("/etc/doorwarden/app/db.sqlite3".into()),
                user_table: "users_user".into(),
                columns: DjangoColumns {
                    username: "email".into(),
                    is_staff: String::new(),
                    ..DjangoColumns::default()
                },
                groups: None,
                username_case: UsernameCase::Fold,
                conditions: vec![
                    Condition { column: "deleted_at".into(), holds: ColumnTest::Null },
                    Condition {
                        column: "is_deleted".into(),
                        holds: ColumnTest::Equal(Constant::Flag(false)),
                    },
                ],
                second_factors: vec![SecondFactorTable {
                    table: "otp_totp_totpdevice".into(),
                    user_column: "owner_id".into(),
                    user_key: UserKeyColumn::Id,
                    conditions: vec![Condition {
                        column: "kind".into(),
                        holds: ColumnTest::Equal(Constant::Text("totp".into())),
                    }],
                }],
                taken_over: Vec::new(),
                danger_keep_at_password_upgrade: true,
                hashers: texts(&["argon2"]),
            })),
        }]
    );
    assert_eq!(
        config.login,
        Login {
            token_delivery: Issues::Tokens,
            title: "Acme".into(),
            links: vec![("Help".into(), "https://help.example/?a=b".into())],
            hash_threads: 1,
            hash_queue: 2,
            account_failures: 3,
            address_failures: 4,
            network_failures: 5,
            guesses_per_day: 6,
            backoff_initial: secs(6),
            backoff_max: secs(7),
            reset_after: secs(8),
        }
    );
}

#[test]
fn what_is_told_and_kept() {
    let config = everything();
    assert_eq!(
        config.identity,
        IdentityHeaderNames {
            user_id: "Remote-User".into(),
            user_name: String::new(),
            groups: "X-Groups".into(),
            session_id: "X-Sid".into(),
            auth_methods: "X-Amr".into(),
            attributes: vec![("X-User-Email".into(), "email".into())],
        }
    );
    assert_eq!(
        config.cors,
        Cors {
            allowed_origins: texts(&["https://front.example", "http://localhost:3000"]),
            allowed_headers: texts(&["X-One"]),
            exposed_headers: texts(&["X-Two"]),
            allow_credentials: false,
            max_age: secs(3),
        }
    );
    detect::reaches_its_fields(&config.detect);
    kept::reaches_its_fields(&config);
    detect::places_reach_their_fields(&config.geo);
}

#[test]
fn the_signing_key_lies_beside_the_store_unless_it_is_named() {
    let key = |text: &str| config(text).tokens.signing_key_file;
    assert_eq!(key(""), PathBuf::from("/etc/doorwarden/doorwarden/signing-key.pem"));
    assert_eq!(key("[store]\npath = \"/data/x.db\""), PathBuf::from("/data/signing-key.pem"));
    let named = "[store]\npath = \"/data/x.db\"\n[tokens]\nsigning_key_file = \"k.pem\"";
    assert_eq!(key(named), PathBuf::from("/etc/doorwarden/k.pem"));
}

#[test]
fn a_cookie_over_plain_http_has_no_prefix() {
    let cookie = |text: &str| config(text).session.cookie;
    assert_eq!(cookie(""), "__Host-doorwarden");
    assert_eq!(cookie("[session]\ndanger_plain_http_cookies = true"), "doorwarden");
}

#[test]
fn two_methods_or_two_hosts_of_one_path_are_no_conflict() {
    let routes = r#"
        [[route]]
        name = "read"
        path = "/x"
        methods = ["GET"]
        upstream = "app"
        [[route]]
        name = "write"
        path = "/x"
        methods = ["POST"]
        upstream = "app"
        [[route]]
        name = "other"
        path = "/x"
        hosts = ["other.example"]
        upstream = "app"
    "#;
    assert_eq!(config(routes).routes.len(), 3);
}
