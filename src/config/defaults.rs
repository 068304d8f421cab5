//! What holds where the file says nothing.
//!
//! Paths here are relative; checking resolves them against the configuration's folder.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::{
    Access, Action, Algorithm, Cors, Credentials, Database, Detect, Detector, DjangoColumns,
    DjangoDirectory, DjangoGroups, IdentityHeaders, Issues, Listen, Log, LogFormat, Login, Members,
    OwnPath, Rotation, Route, RouteForms, SessionSettings, Shadow, SignInRedirect, StoreKind,
    StoreSettings, Tokens, Upstream, UsernameCase,
};
use crate::django::hashers;
use crate::wire::cookie::SameSite;
use crate::wire::path::{PathMatch, PathPattern, Tolerance};

const KIB: usize = 1024;

/// `directory.recheck`: how long a change in the directory may go unseen.
pub(super) const RECHECK: Duration = secs(60);
/// `session.cookie` where `danger_plain_http_cookies` forbids the prefix.
pub(super) const PLAIN_COOKIE: &str = "doorwarden";

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

const fn mins(mins: u64) -> Duration {
    secs(60 * mins)
}

const fn hours(hours: u64) -> Duration {
    mins(60 * hours)
}

const fn days(days: u64) -> Duration {
    hours(24 * days)
}

impl Default for Shadow {
    fn default() -> Self {
        Self {
            routes: Vec::new(),
            // Django's LOGIN_URL, and its admin's own.
            login_paths: ["/accounts/login/", "/admin/login/"]
                .into_iter()
                .filter_map(|path| PathPattern::parse(path, PathMatch::Exact).ok())
                .collect(),
        }
    }
}

impl Default for Listen {
    fn default() -> Self {
        Self {
            http: Vec::new(),
            https: Vec::new(),
            tls: Vec::new(),
            admin: SocketAddr::from((Ipv4Addr::LOCALHOST, 9090)),
            danger_public_admin: false,
            threads: 0,
            head_timeout: secs(10),
            keepalive_timeout: secs(60),
            read_timeout: secs(60),
            write_timeout: secs(60),
            max_connections: 10_000,
            max_connections_per_address: 1000,
            http2_stream_window: 2 << 20,
            http2_connection_window: 4 << 20,
            max_head_bytes: 64 * KIB,
            max_headers: 100,
            max_target_bytes: 8 * KIB,
            max_own_body_bytes: 16 * KIB,
            own_body_timeout: secs(10),
            shutdown_timeout: secs(30),
            hsts_max_age: days(365),
        }
    }
}

impl Upstream {
    /// An upstream with the defaults of everything else.
    pub fn new(name: &str, servers: &[&str]) -> Self {
        Self {
            name: name.to_owned(),
            servers: servers.iter().map(ToString::to_string).collect(),
            connect_timeout: secs(2),
            read_timeout: secs(60),
            write_timeout: secs(60),
            // gunicorn closes a kept connection after 2 s, without a word.
            idle_timeout: Duration::from_millis(1500),
            buffer_chunked: false,
            buffer_limit: 64 * KIB,
            websocket_timeout: hours(1),
        }
    }
}

impl Route {
    /// A route to the upstream of this index, with the defaults of everything else.
    pub fn new(name: &str, path: PathPattern, upstream: usize) -> Self {
        Self {
            index: 0,
            name: name.to_owned(),
            hosts: Vec::new(),
            path,
            methods: Vec::new(),
            upstream,
            access: Access::SignedIn,
            groups: Vec::new(),
            strip_prefix: None,
            rewrite_location: false,
            tolerate: Tolerance::NONE,
            allow_headers: Vec::new(),
            forward_preflight: false,
            websocket: false,
            sign_in_redirect: SignInRedirect::default(),
            identity: RouteForms::default(),
            credentials: Credentials::All,
        }
    }
}

impl Algorithm {
    /// As in the file, and in a token's `alg`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hs256 => "HS256",
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
        }
    }
}

impl OwnPath {
    /// Where it is answered unless `[paths]` moves it; none: nowhere.
    pub const fn default_path(self) -> Option<&'static str> {
        match self {
            Self::Login => Some("/login"),
            Self::Refresh => Some("/refresh"),
            Self::Verify => Some("/verify"),
            Self::Logout => Some("/logout"),
            Self::LogoutAll => Some("/logout/all"),
            Self::Blacklist => None,
            Self::Session => Some("/session"),
            Self::Jwks => Some("/.well-known/jwks.json"),
        }
    }
}

impl Default for Tokens {
    fn default() -> Self {
        let algorithm = Algorithm::default();
        Self {
            algorithm,
            signing_key_file: StoreSettings::default().path.with_file_name(algorithm.key_file()),
            access_lifetime: mins(5),
            refresh_lifetime: days(14),
            rotation: Rotation::SingleUse,
            refresh_grace: secs(10),
            issuer: "doorwarden".into(),
            audience: "doorwarden".into(),
            user_id_claim: "user_id".into(),
            claims: Members::default(),
        }
    }
}

impl Algorithm {
    /// The name of the signing key's file, beside the store: PEM, but for HS256, whose file is the key's bytes.
    pub(super) const fn key_file(self) -> &'static str {
        match self {
            Self::Hs256 => "signing-key.key",
            Self::Rs256 | Self::Es256 | Self::EdDsa => "signing-key.pem",
        }
    }
}

impl Default for SessionSettings {
    fn default() -> Self {
        Self {
            cookie: "__Host-doorwarden".into(),
            idle_timeout: hours(24),
            absolute_timeout: days(30),
            trusted_origins: Vec::new(),
            same_site: SameSite::Lax,
            danger_plain_http_cookies: false,
        }
    }
}

impl DjangoDirectory {
    /// Django's own tables in this database.
    pub fn new(database: Database) -> Self {
        Self {
            database,
            user_table: "auth_user".into(),
            columns: DjangoColumns::default(),
            groups: Some(DjangoGroups::of("auth_user")),
            username_case: UsernameCase::Exact,
            conditions: Vec::new(),
            second_factors: Vec::new(),
            danger_keep_at_password_upgrade: false,
            hashers: hashers::Algorithm::DEFAULT.iter().map(|one| one.name().to_owned()).collect(),
        }
    }
}

impl Default for DjangoColumns {
    fn default() -> Self {
        Self {
            id: "id".into(),
            username: "username".into(),
            password: "password".into(),
            is_active: "is_active".into(),
            is_staff: "is_staff".into(),
            is_superuser: "is_superuser".into(),
            email: "email".into(),
        }
    }
}

impl DjangoGroups {
    /// Where Django keeps the groups of this user table: the membership table is called after it, and its column after the
    /// model, which is what stands behind the app's label in a table's name.
    pub fn of(user_table: &str) -> Self {
        let bare = user_table.trim_matches(['"', '`']);
        let model = bare.rsplit_once('_').map_or("user", |(_, model)| model);
        Self {
            group_table: "auth_group".into(),
            membership_table: format!("{bare}_groups"),
            user_column: format!("{model}_id"),
            group_column: "group_id".into(),
        }
    }
}

impl Default for IdentityHeaders {
    fn default() -> Self {
        Self {
            user_id: "X-User-Id".into(),
            user_name: "X-User-Name".into(),
            groups: "X-User-Groups".into(),
            session_id: "X-Session-Id".into(),
            attributes: Vec::new(),
        }
    }
}

impl Default for Login {
    /// The limits leave a person who mistypes a few times alone, and an office or mobile network whose users share an
    /// address; a guesser gets 5 tries at full speed, then 1 s, 2 s, 4 s ... up to 15 minutes apart: about 100 a day for
    /// one account from one network. What waits is a pair of account and network, an address or a network, never an
    /// account as such, so nobody can lock a user out from elsewhere.
    fn default() -> Self {
        Self {
            issues: Issues::Both,
            title: "Doorwarden".into(),
            links: Vec::new(),
            hash_threads: 0,
            hash_queue: 64,
            account_failures: 5,
            address_failures: 20,
            network_failures: 100,
            first_wait: secs(1),
            longest_wait: mins(15),
            forget_after: hours(1),
        }
    }
}

impl Default for Cors {
    fn default() -> Self {
        Self {
            allowed_origins: Vec::new(),
            allowed_headers: ["Authorization", "Content-Type", "X-CSRFToken", "X-Requested-With"]
                .map(str::to_owned)
                .to_vec(),
            exposed_headers: Vec::new(),
            allow_credentials: false,
            max_age: mins(10),
        }
    }
}

impl Default for Detect {
    fn default() -> Self {
        let observe = |threshold, window| Detector {
            threshold,
            window,
            action: Action::Observe,
            dry_run: false,
        };
        Self {
            // The refresh endpoint has ended the session already; nothing is lost by saying so here.
            refresh_reuse: Detector { action: Action::EndSession, ..observe(1, mins(1)) },
            refresh_burst: observe(10, mins(1)),
            password_guessing: observe(10, mins(10)),
            password_spraying: observe(10, mins(10)),
            token_countries: observe(2, hours(1)),
            queue: 4096,
        }
    }
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self { kind: StoreKind::Embedded, path: PathBuf::from("doorwarden/store.db") }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: "info".into(), access: true, audit_file: None }
    }
}
