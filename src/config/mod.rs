//! Defines the checked configuration, on which the program may rely.
//!
//! It is read in two stages, like all input: `raw` reads the file's shape with the place of every value; `check` turns that
//! into a [`Config`] and collects all problems, so that an operator sees them at once, each with key, line, column and what is
//! allowed ([`ProblemReport`]).
//!
//! **A section of the file is one file here**, which contains its type, its defaults and how it is read and checked. A new key
//! is a field, its default and one line of reading in that file, and one line in `gateway.toml`, which documents each default;
//! the compiler and a test that compares the two point out what is missing. `check` reads the sections in order and checks what
//! concerns several of them.
//!
//! All durations and sizes are values with units in the file ("15m", "64KiB"); switches that weaken security start with
//! `danger_`.

use ipnet::IpNet;

mod account;
mod alias;
mod check;
mod condition;
mod cors;
mod credentials;
mod database;
mod detect;
mod directory;
mod error_page;
mod form_jwt;
mod form_session;
mod forms;
mod geo;
mod guard;
mod header_edits;
mod http_directory;
mod identity;
pub mod init;
mod issuer;
mod issuer_jwt;
mod issuer_session;
mod listen;
mod load;
mod log;
mod login;
mod notify;
mod passkeys;
mod paths;
mod personal_tokens;
mod pool;
mod privacy;
mod proxy_protocol;
mod raw;
mod reload;
mod report;
mod route;
mod route_handling;
mod second_factor;
mod server;
mod service_factors;
mod session;
mod shadow;
mod sign_in;
mod store;
mod template;
mod tokens;
mod units;
mod upstream;
mod values;
mod vpn;

#[cfg(test)]
mod sample_tests;
#[cfg(test)]
mod tests;

pub use self::account::AccountSettings;
pub use self::alias::{
    AliasAnswer, AliasAnswers, DjRestAuthShape, JwtShape, SessionShape, Shape, SlidingShape,
};
pub use self::condition::{ColumnTest, Condition, Constant};
pub use self::cors::Cors;
pub use self::credentials::CredentialSelection;
pub use self::database::{Database, DatabaseServer, DatabaseTls, Engine};
pub use self::detect::{Action, Detect, DetectorSettings, Exempt};
pub use self::directory::{
    DirectoryKind, DirectorySettings, DjangoColumns, DjangoDirectorySettings, DjangoGroups,
    UsernameCase,
};
pub use self::error_page::ErrorPage;
pub use self::form_jwt::{FormKey, HandMadeJwt, SimpleJwtFormSettings};
pub use self::form_session::{DjangoSession, DrfToken, FormEngine, LastLogin, MissingToken};
pub use self::forms::{
    CookiesForm, FormKind, IdentityForm, RemoteUserSettings, RouteForms, UserValue,
};
pub use self::geo::Geo;
pub use self::guard::{LimitedBy, MaintenanceSettings, RateLimit};
pub use self::header_edits::HeaderEdits;
pub use self::http_directory::{
    AnswerRules, Csrf, CsrfToken, HttpDirectorySettings, HttpUser, LoginEncoding, Logout,
};
pub use self::identity::IdentityHeaderNames;
pub use self::issuer::{CredentialPlace, IssuerKind, IssuerSettings, KnoxVersion, Refusals};
pub use self::issuer_jwt::{IssuerKey, IssuerSignature, SimpleJwtIssuer};
pub use self::issuer_session::{DjangoSessionIssuer, ServiceCacheSettings, SessionEngine};
pub use self::listen::{Listen, TlsFiles};
pub use self::load::LoadError;
pub use self::log::{Log, LogFormat};
pub use self::login::{Issues, Login};
pub use self::notify::{
    MAIL, MAILED_CODES, MAILED_LINKS, MailSettings, MailTls, Notify, SecretSource,
    SecurityEventsSettings, WebhookSettings,
};
pub use self::passkeys::PasskeySettings;
pub use self::paths::{OwnPath, OwnPathEntry};
pub use self::personal_tokens::PersonalTokenSettings;
pub use self::pool::{
    AddressPreference, Balance, Circuit, Ejection, HealthCheck, HealthKind, HttpVersion, Retry,
    ServerTls,
};
pub use self::privacy::Privacy;
pub use self::proxy_protocol::ProxyProtocol;
pub use self::reload::ReloadSettings;
pub use self::report::{Problem, ProblemReport, Severity};
pub use self::route::{Access, AssuranceRequirement, Route, RouteRefusals};
pub use self::route_handling::{RouteHandling, RouteTimeouts, ServiceHost};
pub use self::second_factor::{FactorMode, FactorRule, SecondFactorSettings};
pub use self::server::{ServerTarget, UpstreamServer};
pub use self::service_factors::{
    AllauthSettings, DjangoOtpSettings, SecondFactorTable, TakenOver, UserKeyColumn,
};
pub use self::session::SessionSettings;
pub use self::shadow::Shadow;
pub use self::sign_in::{Observed, ObservedKind, SignInMode, SignInRedirect, SignInSettings};
pub use self::store::{StoreKind, StoreSettings};
pub use self::template::{Members, Template};
pub use self::tokens::{Binding, RotationPolicy, Tokens};
pub use self::upstream::Upstream;

/// Parses a duration as in the file: a whole number and one unit. `None` if it is not one.
pub fn duration(text: &str) -> Option<std::time::Duration> {
    raw::parse_duration(text)
}

/// The gateway's whole configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// `[listen]`
    pub listen: Listen,
    /// `[trusted_proxies]`: networks whose forwarding headers are trusted.
    pub trusted_proxies: Vec<IpNet>,
    /// `trusted_proxies.reserved_headers`: names besides the known ones that only a trusted proxy may send; a final `*` stands
    /// for any rest.
    pub reserved_headers: Vec<String>,
    /// `[[upstream]]`, at least one.
    pub upstreams: Vec<Upstream>,
    /// `[[route]]`, at least one.
    pub routes: Vec<Route>,
    /// `[[error_page]]`
    pub error_pages: Vec<ErrorPage>,
    /// `[shadow]`
    pub shadow: Shadow,
    /// `[paths]`: the paths that the gateway answers itself.
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
    pub identity: IdentityHeaderNames,
    /// `[[identity.form]]`
    pub forms: Vec<IdentityForm>,
    /// `[login]`
    pub login: Login,
    /// `[sign_in]`
    pub sign_in: SignInSettings,
    /// `[second_factor]`
    pub second_factor: SecondFactorSettings,
    /// `[personal_tokens]`
    pub personal_tokens: PersonalTokenSettings,
    /// `[cors]`
    pub cors: Cors,
    /// `[detect]`
    pub detect: Detect,
    /// `[notify]`
    pub notify: Notify,
    /// `[geo]`
    pub geo: Geo,
    /// `[account]`
    pub account: AccountSettings,
    /// `[privacy]`
    pub privacy: Privacy,
    /// `[store]`
    pub store: StoreSettings,
    /// `[log]`
    pub log: Log,
    /// `[reload]`
    pub reload: ReloadSettings,
}

impl Config {
    /// Returns the routes that take personal access tokens.
    pub fn token_routes(&self) -> impl Iterator<Item = &Route> {
        self.routes.iter().filter(|route| route.personal_tokens)
    }
}
