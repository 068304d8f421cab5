//! Everything that decides about requests and carries them, from one checked configuration.
//!
//! A [`Generation`] never changes. Each request pins the one that was served when it arrived and uses it to its end, so
//! that no request sees half of one configuration and half of another; a WebSocket may use one that was replaced long
//! ago. State that outlives generations is in the parts of which they are made.

use std::sync::Arc;

use arc_swap::ArcSwap;
use futures_util::future::join_all;
use http::HeaderValue;

use super::accept::ConnectionLimits;
use super::convert::HeadRules;
use super::edit::{EditRules, UnchangedRules};
use super::guard::RouteGuard;
use super::left;
use super::redirect_loop::RedirectLoops;
use super::upstream::{Pool, ServerTlsError};
use crate::config::{Config, IssuerSettings, Listen, Observed, OwnPath};
use crate::endpoint::Endpoints;
use crate::endpoint::error_pages::ErrorPages;
use crate::gate::Gate;
use crate::gate::maintenance::Maintenance;
use crate::identity::{IdentityForms, IdentityHeaders};
use crate::issuer::Issuers;
use crate::notify::{IncidentQuestions, RequestedLetters};
use crate::session::SessionManager;
use crate::telemetry::Labels;
use crate::wire::client_ip::TrustedProxies;
use crate::wire::forward::ProtectedNames;
use crate::wire::framing::{HeadLimits, Methods};

/// One configuration, ready to decide.
pub struct Generation {
    pub(super) number: u64,
    pub(super) gate: Gate,
    pub(super) endpoints: Endpoints,
    pub(super) issuers: Arc<Issuers>,
    pub(super) head: HeadRules,
    pub(super) edit: EditRules,
    pub(super) pools: Vec<Arc<Pool>>,
    /// The settings of `[[sign_in.observe]]`.
    pub(super) observed: Vec<Arc<Observed>>,
    /// Detects callers whom the service's login page sends to and fro.
    pub(super) redirect_loops: RedirectLoops,
    pub(super) listen: Listen,
    pub(super) limits: ConnectionLimits,
    /// Maintenance and rate limits, which can stop requests that may pass.
    pub(super) guard: RouteGuard,
    pub(super) error_pages: ErrorPages,
    /// The HSTS header of answers over TLS (R61).
    pub(super) hsts: Option<HeaderValue>,
    pub(super) labels: Labels,
}

/// The parts of a [`Generation`].
pub struct GenerationParts<'a> {
    /// The checked configuration.
    pub config: &'a Config,
    /// Finds out who is calling.
    pub issuers: Arc<Issuers>,
    /// Handles people's answers to letters about incidents.
    pub answers: IncidentQuestions,
    /// Handles requests for mailed links and codes.
    pub letters: RequestedLetters,
    /// Tells the upstream who is calling, in headers.
    pub identity: IdentityHeaders,
    /// Tells the upstream who is calling, in the service's own forms.
    pub forms: Arc<IdentityForms>,
    /// The operator's own error pages.
    pub error_pages: ErrorPages,
    /// The metric labels of its routes and upstreams.
    pub labels: Labels,
    /// The generation that this one replaces. Upstreams that are in both keep their addresses and their turn.
    pub before: Option<&'a Generation>,
}

/// The generation that is served now.
pub struct Current(ArcSwap<Generation>);

impl Generation {
    /// Builds the generation from its parts.
    ///
    /// # Errors
    /// If a file for TLS to servers cannot be used.
    pub fn new(parts: GenerationParts<'_>) -> Result<Self, ServerTlsError> {
        let GenerationParts {
            config,
            issuers,
            answers,
            letters,
            identity,
            forms,
            error_pages,
            labels,
            before,
        } = parts;
        let remembered = before.map(|one| one.guard.remembered.clone()).unwrap_or_default();
        let maintenance = Maintenance::new(config, &remembered.switches);
        let names = identity.names().chain(forms.names()).map(http::HeaderName::as_str);
        let protected = ProtectedNames::new(names)
            .and_reserved(config.reserved_headers.iter().map(String::as_str))
            .and_credentials(config.issuers.iter().filter_map(IssuerSettings::header));
        let unchanged = UnchangedRules {
            believed: ProtectedNames::new(config.believed_headers()),
            shares_upstream: config
                .routes
                .iter()
                .map(|route| config.shares_upstream(route))
                .collect(),
        };
        let head = HeadRules {
            limits: HeadLimits {
                head_bytes: config.listen.max_head_bytes,
                headers: config.listen.max_headers,
                target_bytes: config.listen.max_target_bytes,
            },
            login_paths: config
                .paths
                .iter()
                .filter(|entry| entry.own == OwnPath::Login && entry.path.is_literal())
                .map(|entry| entry.path.as_str().to_owned())
                .collect(),
            methods: Methods::with(config.routes.iter().flat_map(|route| route.methods.clone())),
            trusted: TrustedProxies::new(config.trusted_proxies.iter().copied()),
            protected: protected.clone(),
        };
        let edit = EditRules {
            identity,
            forms,
            protected,
            cookies: issuers.sessions().cookie_names().clone(),
            issued_cookies: config
                .issuers
                .iter()
                .filter_map(|issuer| issuer.cookie().map(str::to_owned))
                .collect(),
            left: config
                .routes
                .iter()
                .map(|route| left::UnreadCredentials::of(route, config))
                .collect(),
            unchanged,
        };
        let pools_before: &[Arc<Pool>] = before.map_or(&[], |one| &one.pools);
        let pool =
            |(index, settings)| Pool::in_place_of(settings, labels.servers_of(index), pools_before);
        let pools = config.upstreams.iter().enumerate().map(pool).collect::<Result<_, _>>()?;
        Ok(Self {
            number: before.map_or(1, |before| before.number.saturating_add(1)),
            gate: Gate::new(config, Arc::clone(&issuers)),
            endpoints: Endpoints::new(Arc::clone(&issuers), answers, letters, config),
            issuers,
            head,
            edit,
            pools,
            observed: config.sign_in.observe.iter().cloned().map(Arc::new).collect(),
            redirect_loops: RedirectLoops::new(&config.sign_in),
            listen: config.listen.clone(),
            limits: ConnectionLimits {
                most: config.listen.max_connections,
                most_of_address: config.listen.max_connections_per_address,
                shared: TrustedProxies::new(config.trusted_proxies.iter().copied()),
            },
            guard: RouteGuard { remembered, maintenance },
            error_pages,
            hsts: hsts(config.listen.hsts_max_age),
            labels,
        })
    }

    /// Looks up the names of all upstreams' servers.
    pub async fn look_up(&self) {
        join_all(self.pools.iter().map(|pool| pool.look_up())).await;
    }

    /// Updates the metrics of all upstreams' servers, and of routes in maintenance.
    pub fn measure_servers(&self) {
        self.pools.iter().for_each(|pool| pool.measure());
        for route in self.guard.maintenance.list() {
            self.labels.maintenance(route.route, route.is_on);
        }
    }

    /// Returns the generation's number: 1 at the start, and one more for each replacement.
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// Returns the issuers, which find out who is calling.
    pub const fn issuers(&self) -> &Arc<Issuers> {
        &self.issuers
    }

    /// Returns the gateway's own sessions.
    pub fn sessions(&self) -> &SessionManager {
        self.issuers.sessions()
    }

    /// Returns the metric labels of its routes and upstreams.
    pub const fn labels(&self) -> &Labels {
        &self.labels
    }
}

impl Current {
    /// Starts with this generation.
    pub fn new(generation: Generation) -> Arc<Self> {
        Arc::new(Self(ArcSwap::from_pointee(generation)))
    }

    /// Returns the generation that is served now.
    pub fn load(&self) -> Arc<Generation> {
        self.0.load_full()
    }

    /// Serves this generation from now on. Requests that have begun keep the one that they began with.
    pub fn serve(&self, generation: Generation) {
        self.0.store(Arc::new(generation));
    }
}

/// Returns the HSTS header of answers over TLS. It leaves out subdomains, which may not belong to the gateway.
fn hsts(max_age: std::time::Duration) -> Option<HeaderValue> {
    if max_age.is_zero() {
        return None;
    }
    HeaderValue::from_str(&format!("max-age={}", max_age.as_secs())).ok()
}
