//! The checked configuration: what the program may rely on.
//!
//! Two stages, as everywhere input enters: `raw` reads the file's shape with the place of every value; `check` turns that
//! into a [`Config`] and collects every problem on its way, so that an operator sees all of them at once, each with key,
//! line, column and what is allowed ([`Report`]). Defaults are in `defaults` and nowhere else; `gateway.toml` documents
//! each, and a test holds the two together. A new key is a field here, its default, one line in a check, and one line in
//! `gateway.toml`; the compiler and that test name what is missing.
//!
//! All durations and sizes are values with units in the file ("15m", "64KiB"); switches that weaken security start with
//! `danger_`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use crate::wire::cookie::SameSite;
use crate::wire::path::{CanonicalPath, PathPattern, Tolerance};

mod alias;
mod check;
mod credentials;
mod database;
mod defaults;
mod directory;
mod forms;
mod http_directory;
pub mod init;
mod issuer;
mod load;
mod raw;
mod report;
mod shadow;
mod sign_in;
mod template;

#[cfg(test)]
mod sample_tests;
#[cfg(test)]
mod tests;

pub use self::credentials::Credentials;
pub use self::database::{Database, DatabaseServer, DatabaseTls, Engine};
pub use alias::{Answer, Answers, DjRestAuthShape, JwtShape, SessionShape, Shape, SlidingShape};
pub use directory::{
    Condition, Constant, DirectoryKind, DirectorySettings, DjangoColumns, DjangoDirectory,
    DjangoGroups, Holds, SecondFactorTable, UserKeyColumn, UsernameCase,
};
pub use forms::{
    CookiesForm, DjangoSession, DrfToken, FormEngine, FormKey, FormKind, HandMadeJwt, IdentityForm,
    LastLogin, MissingToken, RemoteUser, RouteForms, SimpleJwt, UserValue,
};
pub use http_directory::{
    AnswerRules, Csrf, CsrfToken, HttpDirectory, HttpUser, LoginEncoding, Logout,
};
pub use issuer::{
    CredentialPlace, DjangoSessionIssuer, IssuerKey, IssuerKind, IssuerSettings, IssuerSignature,
    KnoxVersion, Refusals, ServiceCache, SessionEngine, SimpleJwtIssuer,
};
pub use load::LoadError;
pub use report::{Problem, Report, Severity};
pub use shadow::Shadow;
pub use sign_in::{Observed, ObservedKind, SignInMode, SignInRedirect, SignInSettings};
pub use template::{Members, Template};

/// Everything the gateway is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `[listen]`
    pub listen: Listen,
    /// `[trusted_proxies]`: networks whose forwarding headers are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// `trusted_proxies.reserved_headers`: names besides the known ones that only a trusted proxy may send; a final `*`
    /// stands for any rest.
    pub reserved_headers: Vec<String>,
    /// `[[upstream]]`, at least one.
    pub upstreams: Vec<Upstream>,
    /// `[[route]]`, at least one.
    pub routes: Vec<Route>,
    /// `[shadow]`
    pub shadow: Shadow,
    /// `[paths]`: what the gateway answers itself.
    pub paths: Vec<OwnPathEntry>,
    /// `[tokens]`
    pub tokens: Tokens,
    /// `[session]`
    pub session: SessionSettings,
    /// `[[directory]]`, asked in this order.
    pub directories: Vec<DirectorySettings>,
    /// `[[issuer]]`
    pub issuers: Vec<IssuerSettings>,
    /// `[identity]`
    pub identity: IdentityHeaders,
    /// `[[identity.form]]`
    pub forms: Vec<IdentityForm>,
    /// `[login]`
    pub login: Login,
    /// `[sign_in]`
    pub sign_in: SignInSettings,
    /// `[cors]`
    pub cors: Cors,
    /// `[detect]`
    pub detect: Detect,
    /// `[geo]`
    pub geo: Geo,
    /// `[store]`
    pub store: StoreSettings,
    /// `[log]`
    pub log: Log,
    /// `[reload]`
    pub reload: ReloadSettings,
}

/// `[listen]`: where the gateway listens, and the limits of what it takes.
#[derive(Clone, Debug, PartialEq)]
pub struct Listen {
    /// Plain HTTP listeners.
    pub http: Vec<SocketAddr>,
    /// TLS listeners (HTTP/1.1 and HTTP/2 by ALPN).
    pub https: Vec<SocketAddr>,
    /// Certificates for `https`, chosen by the name that the client asks for (SNI, RFC 6066 section 3). The first is for
    /// clients that ask for none, or for another.
    pub tls: Vec<TlsFiles>,
    /// `/metrics`, `/live`, `/ready` and the operator's API.
    pub admin: SocketAddr,
    /// Let `admin` be reached from other networks.
    pub danger_public_admin: bool,
    /// Worker threads of the proxy; 0 means one for each core.
    pub threads: usize,
    /// The longest that the head of a request may take as a whole.
    pub head_timeout: Duration,
    /// A kept client connection without a request is closed after this long.
    pub keepalive_timeout: Duration,
    /// The longest wait for the next byte of a request, its body included.
    pub read_timeout: Duration,
    /// The longest wait until a client takes the next byte.
    pub write_timeout: Duration,
    /// The most connections of clients at a time.
    pub max_connections: usize,
    /// The most connections of one address (IPv6: of one /64) that is no trusted proxy; zero is no limit.
    pub max_connections_per_address: usize,
    /// What a client may send on one stream of HTTP/2 before the upstream has taken it.
    pub http2_stream_window: u32,
    /// The same for all streams of a connection together.
    pub http2_connection_window: u32,
    /// The most bytes of a request head.
    pub max_head_bytes: usize,
    /// The most header fields.
    pub max_headers: usize,
    /// The most bytes of a request target.
    pub max_target_bytes: usize,
    /// The most bytes of a body that one of our own paths takes.
    pub max_own_body_bytes: usize,
    /// The longest a body for one of our own paths may take as a whole.
    pub own_body_timeout: Duration,
    /// How long requests may finish after SIGTERM.
    pub shutdown_timeout: Duration,
    /// How long browsers come back over TLS only, as answers on `https` tell them; zero tells nothing.
    pub hsts_max_age: Duration,
}

/// `listen.certificate_file` and `listen.private_key_file`, and those of a `[[listen.certificate]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM, leaf first.
    pub certificate: PathBuf,
    /// PEM, PKCS#8.
    pub private_key: PathBuf,
}

/// `[[upstream]]`: the servers of one application.
#[derive(Clone, Debug, PartialEq)]
pub struct Upstream {
    /// The name that routes use, and a metric label.
    pub name: String,
    /// `host:port`, asked in turn.
    pub servers: Vec<String>,
    /// The longest a connection may take to be made.
    pub connect_timeout: Duration,
    /// The longest wait for the next byte of an answer (504 before the first).
    pub read_timeout: Duration,
    /// The longest wait until the upstream takes the next byte.
    pub write_timeout: Duration,
    /// A kept connection is given up after this long without use; below the server's own limit (gunicorn: 2 s).
    pub idle_timeout: Duration,
    /// Give a chunked body of up to [`Self::buffer_limit`] a Content-Length, and answer 411 to a longer one. For WSGI
    /// servers, whose applications see a chunked body empty.
    pub buffer_chunked: bool,
    /// See [`Self::buffer_chunked`].
    pub buffer_limit: usize,
    /// A WebSocket that is silent in both directions for this long is closed.
    pub websocket_timeout: Duration,
}

/// `[[route]]`: host + path (+ methods) -> upstream, with what it asks of a caller.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// Its place in the file, counted from 0.
    pub index: usize,
    /// A metric label; unique.
    pub name: String,
    /// Hosts it takes: exact (`app.example`) or wildcard (`*.example`); empty: any.
    pub hosts: Vec<String>,
    /// Which paths it takes: a prefix on whole segments, or one path exactly.
    pub path: PathPattern,
    /// Methods it takes; empty: the usual seven.
    pub methods: Vec<http::Method>,
    /// Index into [`Config::upstreams`].
    pub upstream: usize,
    /// What it asks of a caller.
    pub access: Access,
    /// If not empty, the caller must be in one of these groups.
    pub groups: Vec<String>,
    /// Remove this much of the path before forwarding (`/api/` makes `/api/users` `/users`).
    pub strip_prefix: Option<CanonicalPath>,
    /// Put the stripped prefix in front of the paths in `Location`, `Content-Location` and cookies of answers.
    pub rewrite_location: bool,
    /// Harmless ambiguities that are let through: see `wire::path`.
    pub tolerate: Tolerance,
    /// Header names that are let through although they hold an underscore or other unusual character.
    pub allow_headers: Vec<String>,
    /// Forward real preflights, without identity, to a service that answers CORS itself.
    pub forward_preflight: bool,
    /// Let WebSocket upgrades through.
    pub websocket: bool,
    /// How its service is told who is calling, beside the headers.
    pub identity: RouteForms,
    /// Which credentials it looks at; the others are its service's.
    pub credentials: Credentials,
    /// Who says where a browser goes that has to sign in.
    pub sign_in_redirect: SignInRedirect,
}

/// What a route asks of a caller.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Access {
    /// Anybody; a credential is neither needed nor refused, and is checked only to tell the upstream who calls.
    Public,
    /// Anybody, but a bad credential is 401.
    Optional,
    /// Signed in. The default: nothing is public unless it says so.
    #[default]
    SignedIn,
}

/// What the gateway answers itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub enum OwnPath {
    /// `POST /login`, and `GET /login`, the page.
    Login,
    /// `POST /refresh`
    Refresh,
    /// `POST /verify`
    Verify,
    /// `POST /logout`
    Logout,
    /// `POST /logout/all`
    LogoutAll,
    /// `POST` where it is turned on: SimpleJWT's way to sign out.
    Blacklist,
    /// `GET /session`
    Session,
    /// `GET /.well-known/jwks.json`
    Jwks,
}

impl OwnPath {
    /// Every one.
    pub const ALL: [Self; 8] = [
        Self::Login,
        Self::Refresh,
        Self::Verify,
        Self::Logout,
        Self::LogoutAll,
        Self::Blacklist,
        Self::Session,
        Self::Jwks,
    ];

    /// Its key of `[paths]`, and its name in metrics and logs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Refresh => "refresh",
            Self::Verify => "verify",
            Self::Logout => "logout",
            Self::LogoutAll => "logout_all",
            Self::Blacklist => "blacklist",
            Self::Session => "session",
            Self::Jwks => "jwks",
        }
    }
}

/// One path of `[paths]`: an own path, or an alias of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnPathEntry {
    /// Where it is, exactly; an alias may have `*` in it.
    pub path: PathPattern,
    /// What is answered there.
    pub own: OwnPath,
    /// For refresh: how refresh tokens are treated here.
    pub rotation: Rotation,
    /// In whose words it answers.
    pub shape: Shape,
    /// Does it stand in for a path of a service's, whose front ends know that service's bodies and no more?
    pub is_alias: bool,
    /// For login: further members of the answer.
    pub extra: Members,
    /// For login: what the field with a user's name is called. The first that a body has is taken, and a body without any is
    /// told that the first of all is missing.
    pub username_fields: Vec<String>,
}

/// `tokens.rotation`, and that of an alias.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Rotation {
    /// `"single-use"`: using it gives the next one.
    #[default]
    SingleUse,
    /// `"none"`: answered with `{"access"}`; it stays good.
    None,
}

/// `[tokens]`
#[derive(Clone, Debug, PartialEq)]
pub struct Tokens {
    /// How access tokens are signed.
    pub algorithm: Algorithm,
    /// The signing key; made at the first start, beside the store.
    pub signing_key_file: PathBuf,
    /// How long an access token is good.
    pub access_lifetime: Duration,
    /// How long a refresh token is good.
    pub refresh_lifetime: Duration,
    /// Are refresh tokens single use?
    pub rotation: Rotation,
    /// How long racing callers get the same successor.
    pub refresh_grace: Duration,
    /// `iss`.
    pub issuer: String,
    /// `aud`.
    pub audience: String,
    /// The claim that holds the user's id (SimpleJWT: `user_id`).
    pub user_id_claim: String,
    /// Further claims of access tokens.
    pub claims: Members,
}

/// `tokens.algorithm`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Algorithm {
    /// HMAC with SHA-256.
    Hs256,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// ECDSA with P-256 and SHA-256.
    #[default]
    Es256,
    /// Ed25519.
    EdDsa,
}

/// `[session]`
#[derive(Clone, Debug, PartialEq)]
pub struct SessionSettings {
    /// The cookie's name.
    pub cookie: String,
    /// Without a use for this long, a session is over.
    pub idle_timeout: Duration,
    /// A session is over after this long, whatever happens.
    pub absolute_timeout: Duration,
    /// Origins besides our own whose unsafe requests the cookie may authenticate.
    pub trusted_origins: Vec<String>,
    /// With which requests from other sites it comes. `None` is set with `Partitioned`.
    pub same_site: SameSite,
    /// Issue the cookie without `Secure` and the `__Host-` prefix. Warns.
    pub danger_plain_http_cookies: bool,
}

/// `[reload]`
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ReloadSettings {
    /// Is the file read again when it changes?
    pub watch: bool,
}

/// `[identity]`: the headers that tell the upstream who is calling. An empty name turns one off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityHeaders {
    /// The user's id.
    pub user_id: String,
    /// The user's name.
    pub user_name: String,
    /// The user's groups, comma separated.
    pub groups: String,
    /// The session's id.
    pub session_id: String,
    /// Further headers: name -> attribute of the directory (`email`, ...).
    pub attributes: Vec<(String, String)>,
}

impl IdentityHeaders {
    /// The names that are not turned off.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        [&self.user_id, &self.user_name, &self.groups, &self.session_id]
            .into_iter()
            .chain(self.attributes.iter().map(|(name, _)| name))
            .map(String::as_str)
            .filter(|name| !name.is_empty())
    }
}

/// `[login]`
#[derive(Clone, Debug, PartialEq)]
pub struct Login {
    /// What a JSON sign-in gets.
    pub issues: Issues,
    /// Shown on the page.
    pub title: String,
    /// The operator's own links, shown on the page: label and address.
    pub links: Vec<(String, String)>,
    /// Threads that hash passwords; 0 means half the cores, at least one.
    pub hash_threads: usize,
    /// Sign-ins that may wait for one of them; beyond it 503.
    pub hash_queue: usize,
    /// Failures of one account from one network before it has to wait.
    pub account_failures: u32,
    /// Failures of one address (/32, /64) before it has to wait.
    pub address_failures: u32,
    /// Failures of one network (/24, /48) before it has to wait.
    pub network_failures: u32,
    /// The first wait; it doubles with each further failure.
    pub first_wait: Duration,
    /// The longest wait.
    pub longest_wait: Duration,
    /// Failures are forgotten after this long without another.
    pub forget_after: Duration,
}

/// `login.issues`: what a JSON sign-in gets. A form from the page gets the cookie only.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Issues {
    /// Tokens in the body and the session cookie.
    #[default]
    Both,
    /// Tokens only.
    Tokens,
    /// The cookie only.
    Cookie,
}

/// `[cors]`: front ends on other origins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    /// Origins (`scheme://host[:port]`) that get CORS headers.
    pub allowed_origins: Vec<String>,
    /// Request headers they may send besides the safelisted ones.
    pub allowed_headers: Vec<String>,
    /// Response headers they may read.
    pub exposed_headers: Vec<String>,
    /// May they send cookies?
    pub allow_credentials: bool,
    /// How long a browser may remember a preflight.
    pub max_age: Duration,
}

/// `[detect]`: one table for each detector.
#[derive(Clone, Debug, PartialEq)]
pub struct Detect {
    /// `[detect.refresh_reuse]`
    pub refresh_reuse: Detector,
    /// `[detect.refresh_burst]`
    pub refresh_burst: Detector,
    /// `[detect.password_guessing]`
    pub password_guessing: Detector,
    /// `[detect.password_spraying]`
    pub password_spraying: Detector,
    /// `[detect.token_countries]`
    pub token_countries: Detector,
    /// Events that may wait for the detectors; more are dropped and counted.
    pub queue: usize,
}

/// The settings of one detector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Detector {
    /// How much within the window is a finding.
    pub threshold: u32,
    /// The window.
    pub window: Duration,
    /// What is done about a finding.
    pub action: Action,
    /// Only tell; do nothing.
    pub dry_run: bool,
}

/// `detect.NAME.action`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Action {
    /// Audit line and metric only.
    #[default]
    Observe,
    /// End the session that the finding is about, where it is about one.
    EndSession,
}

/// `[geo]`
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Geo {
    /// A country database in MaxMind's format.
    pub country_database: Option<PathBuf>,
}

/// `[store]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreSettings {
    /// Which adapter.
    pub kind: StoreKind,
    /// The SQLite file of `embedded`; keys and the operator's token lie beside it.
    pub path: PathBuf,
}

/// `store.kind`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum StoreKind {
    /// One SQLite file.
    #[default]
    Embedded,
    /// Nothing survives a restart; for tests.
    Memory,
}

/// `[log]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// JSON lines, or readable text.
    pub format: LogFormat,
    /// The least severe level that is written (`error`, `warn`, `info`, `debug`).
    pub level: String,
    /// One line for each request?
    pub access: bool,
    /// A file for the audit trail (appended, 0600); none: with the other lines.
    pub audit_file: Option<PathBuf>,
}

/// `log.format`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    #[default]
    Text,
}
