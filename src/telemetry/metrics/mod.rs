//! The metrics for operators. The registry is created here and passed on; nothing is global.
//!
//! A call site reports what happened ([`Metrics::request`], [`Metrics::event`], ...), and only this folder knows which counters
//! that changes. Names have the prefix `doorwarden_`, base units, and `_total` if they only grow; labels are closed sets and
//! never a user, address, path, token or agent. `tests/golden/metrics.txt` lists every name, type and closed label, and
//! `docs/metrics.md` explains each; tests compare both with this registry.

use std::time::Duration;

use parking_lot::Mutex;
use prometheus::process_collector::ProcessCollector;
use prometheus::{
    Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, Registry, Result, TextEncoder,
};

use self::blocks::BlockMetrics;
use self::family::{BACKEND, Families};
use self::labels::{Label, MetricsByLabel, TokenKind};
pub use self::names::{Labels, Names};
use self::notices::NoticeMetrics;
use self::personal_tokens::PersonalTokenMetrics;
use self::reload::ReloadMetrics;
use self::requests::RequestMetrics;
pub use self::servers::ServerMetrics;
use self::servers::Servers;
use self::shadow::ShadowMetrics;
use crate::caller::{AssuranceLevel, AuthMethod};
use crate::clock::Timestamp;
use crate::detect::DetectorName;
use crate::detect::respond::TakenAction;
use crate::event::{
    Adoption, EndReason, Event, EventKind, FactorEvent, FactorRefusal, IssuedRefusal,
    MailedCodeEvent, MailedLinkEvent, Refresh, RefreshRefusal, SignInFailure,
};
use crate::store::blocks::BlockCounts;
use crate::telemetry::record::{ConnectionFailure, Record};

mod blocks;
mod family;
mod labels;
mod names;
mod notices;
mod personal_tokens;
mod reload;
mod requests;
mod servers;
mod shadow;

pub(super) use labels::StoreOperation;

/// All metrics of the gateway.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: RequestMetrics,
    servers: Servers,
    shadow: ShadowMetrics,
    signed_in: IntCounter,
    sign_in_failures: MetricsByLabel<SignInFailure, IntCounter>,
    refreshes: MetricsByLabel<Refresh, IntCounter>,
    refresh_reuses: IntCounter,
    refresh_refusals: MetricsByLabel<RefreshRefusal, IntCounter>,
    issued_refusals: MetricsByLabel<IssuedRefusal, IntCounter>,
    tokens_issued: MetricsByLabel<TokenKind, IntCounter>,
    sessions_active: IntGauge,
    sessions_taken_over: IntCounter,
    sessions_adopted: MetricsByLabel<Adoption, IntCounter>,
    sessions_ended: MetricsByLabel<EndReason, IntCounter>,
    store_durations: MetricsByLabel<StoreOperation, Histogram>,
    store_errors: MetricsByLabel<StoreOperation, IntCounter>,
    directory_durations: HistogramVec,
    directory_errors: IntCounterVec,
    reload: ReloadMetrics,
    notices: NoticeMetrics,
    blocks: BlockMetrics,
    factor_changes: MetricsByLabel<FactorEvent, IntCounter>,
    mailed_codes: MetricsByLabel<MailedCodeEvent, IntCounter>,
    mailed_links: MetricsByLabel<MailedLinkEvent, IntCounter>,
    factor_refusals: MetricsByLabel<FactorRefusal, IntCounter>,
    assurance_changes: MetricsByLabel<AssuranceLevel, IntCounter>,
    sign_in_methods: MetricsByLabel<AuthMethod, IntCounter>,
    personal_tokens: PersonalTokenMetrics,
    abnormal_access: MetricsByLabel<DetectorName, MetricsByLabel<TakenAction, IntCounter>>,
    events_dropped: IntCounter,
    audit_lines_dropped: IntCounter,
    log_lines_dropped: IntCounter,
    hash_queue: IntGauge,
    hash_rejected: IntCounter,
    connections: IntGauge,
    connection_failures: MetricsByLabel<ConnectionFailure, IntCounter>,
    /// Held while a counter is raised to its owner's total, so that two concurrent scrapes do not raise it twice.
    raising: Mutex<()>,
}

/// The metrics of one directory. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct DirectoryMetrics {
    duration: Histogram,
    errors: IntCounter,
}

/// A client's connection, counted until this is dropped.
#[derive(Debug)]
pub struct CountedConnection(IntGauge);

impl Metrics {
    /// Creates a registry with all metrics.
    ///
    /// # Errors
    /// If two families or labels collide, which only a mistake in the code can cause.
    pub fn new() -> Result<Self> {
        let registry = Registry::new();
        let families = Families(&registry);
        registry.register(Box::new(ProcessCollector::for_self()))?;
        families
            .gauges("doorwarden_build_info", "Always 1; the label is the version.", &["version"])?
            .with_label_values(&[env!("CARGO_PKG_VERSION")])
            .set(1);
        let sign_ins = families.counters(
            "doorwarden_signins_total",
            "Sign-ins, by success or the reason of the failure.",
            &["result"],
        )?;
        let refreshes = families.counters(
            "doorwarden_refreshes_total",
            "Presented refresh tokens, by result.",
            &["result"],
        )?;
        let abnormal_access = families.counters(
            "doorwarden_abnormal_access_total",
            "Findings of the detectors, by the action taken.",
            &["detector", "action"],
        )?;
        let directory_durations = families.histograms(
            "doorwarden_directory_duration_seconds",
            "Look-ups in a directory.",
            "directory",
            BACKEND,
        )?;
        let directory_errors = families.counters(
            "doorwarden_directory_errors_total",
            "Look-ups that failed because the directory could not answer.",
            &["directory"],
        )?;
        Ok(Self {
            requests: RequestMetrics::new(&families)?,
            servers: Servers::new(&families)?,
            shadow: ShadowMetrics::new(&families)?,
            reload: ReloadMetrics::new(&families)?,
            notices: NoticeMetrics::new(&families)?,
            blocks: BlockMetrics::new(&families)?,
            signed_in: sign_ins.with_label_values(&["success"]),
            sign_in_failures: MetricsByLabel::new(|why: SignInFailure| {
                sign_ins.with_label_values(&[why.label()])
            }),
            refreshes: MetricsByLabel::new(|how: Refresh| {
                refreshes.with_label_values(&[how.label()])
            }),
            refresh_reuses: refreshes.with_label_values(&["reuse"]),
            refresh_refusals: MetricsByLabel::new(|why: RefreshRefusal| {
                refreshes.with_label_values(&[why.label()])
            }),
            issued_refusals: families.each_counter(
                "doorwarden_issued_refusals_total",
                "Tokens of issuers that were refused.",
                "reason",
            )?,
            tokens_issued: families.each_counter(
                "doorwarden_tokens_issued_total",
                "Credentials issued.",
                "kind",
            )?,
            sessions_active: families
                .gauge("doorwarden_sessions_active", "Live sessions in the store.")?,
            sessions_taken_over: families.counter(
                "doorwarden_sessions_taken_over_total",
                "Sessions that began with an issuer's refresh token.",
            )?,
            sessions_adopted: families.each_counter(
                "doorwarden_sessions_adopted_total",
                "Sessions of services that were adopted.",
                "how",
            )?,
            sessions_ended: families.each_counter(
                "doorwarden_sessions_ended_total",
                "Sessions that ended.",
                "reason",
            )?,
            store_durations: families.each_histogram(
                "doorwarden_store_operation_duration_seconds",
                "Operations of the store.",
                "operation",
                BACKEND,
            )?,
            store_errors: families.each_counter(
                "doorwarden_store_errors_total",
                "Store operations that failed.",
                "operation",
            )?,
            factor_changes: families.each_counter(
                "doorwarden_second_factor_changes_total",
                "Changes of second factors, and uses of recovery codes.",
                "change",
            )?,
            mailed_codes: families.each_counter(
                "doorwarden_mailed_codes_total",
                "Codes requested by mail as a second factor.",
                "event",
            )?,
            mailed_links: families.each_counter(
                "doorwarden_mailed_links_total",
                "Links mailed for sign-in, by what happened to them.",
                "event",
            )?,
            factor_refusals: families.each_counter(
                "doorwarden_second_factor_refusals_total",
                "Attempts with a second factor that were refused.",
                "reason",
            )?,
            assurance_changes: families.each_counter(
                "doorwarden_assurance_changes_total",
                "Sessions whose assurance level changed, by the new level.",
                "level",
            )?,
            sign_in_methods: families.each_counter(
                "doorwarden_signin_methods_total",
                "Sign-ins, by each authentication method used.",
                "method",
            )?,
            personal_tokens: PersonalTokenMetrics::new(&families)?,
            directory_durations,
            directory_errors,
            abnormal_access: MetricsByLabel::new(|detector: DetectorName| {
                MetricsByLabel::new(|taken: TakenAction| {
                    abnormal_access.with_label_values(&[detector.label(), taken.label()])
                })
            }),
            events_dropped: families.counter(
                "doorwarden_events_dropped_total",
                "Events that the detectors missed because their queue was full.",
            )?,
            audit_lines_dropped: families.counter(
                "doorwarden_audit_lines_dropped_total",
                "Audit lines that could not be written.",
            )?,
            log_lines_dropped: families.counter(
                "doorwarden_log_lines_dropped_total",
                "Log lines that could not be written.",
            )?,
            hash_queue: families.gauge(
                "doorwarden_hash_queue_length",
                "Sign-ins that wait for a thread of the hashing pool.",
            )?,
            hash_rejected: families.counter(
                "doorwarden_hash_rejected_total",
                "Sign-ins turned away because the hashing pool's queue was full.",
            )?,
            connections: families
                .gauge("doorwarden_connections_active", "Open connections of clients.")?,
            connection_failures: families.each_counter(
                "doorwarden_connection_failures_total",
                "Connections of clients that failed.",
                "reason",
            )?,
            raising: Mutex::default(),
            registry,
        })
    }

    /// Counts a completed request.
    pub fn request(&self, record: &Record<'_>, labels: &Labels) {
        self.requests.observe(record, labels);
        labels.shadow.observe(record);
    }

    /// Returns the metrics for the names in a configuration. A name that an earlier configuration had continues its counters.
    pub fn labels(&self, names: Names) -> Labels {
        Labels::new(&self.requests, &self.servers, &self.shadow, names)
    }

    /// Records that requests are decided by this configuration from now on.
    pub fn serves(&self, generation: u64, labels: &Labels) {
        self.shadow.serves(labels.names());
        self.servers.forget();
        self.requests.maintenance().reset();
        labels.names().routes.iter().for_each(|route| labels.maintenance(route, false));
        self.reload.serves(generation);
    }

    /// Records a reload, and whether its configuration is served now.
    pub fn reloaded(&self, successful: bool, at: Timestamp) {
        self.reload.reloaded(successful, at);
    }

    /// Counts an event. Refusals are counted with their request, so that each counts once.
    pub fn event(&self, event: &Event) {
        match &event.what {
            EventKind::SignedIn { tokens, cookie, methods, .. } => {
                self.signed_in.inc();
                for method in AuthMethod::ALL.into_iter().filter(|method| methods.has(*method)) {
                    self.sign_in_methods.inc(method);
                }
                self.sessions_active.inc();
                if *tokens {
                    self.tokens_issued.inc(TokenKind::Access);
                    self.tokens_issued.inc(TokenKind::Refresh);
                }
                if *cookie {
                    self.tokens_issued.inc(TokenKind::Cookie);
                }
            }
            EventKind::TakenOver { .. } => {
                self.sessions_active.inc();
                self.sessions_taken_over.inc();
            }
            EventKind::SignInObserved { .. } => self.signed_in.inc(),
            EventKind::Adopted { how, .. } => {
                if *how != Adoption::Rotated {
                    self.sessions_active.inc();
                }
                self.sessions_adopted.inc(*how);
            }
            EventKind::SignInFailed { why, .. } => self.sign_in_failures.inc(*why),
            EventKind::Refreshed { how, .. } => {
                self.refreshes.inc(*how);
                match how {
                    Refresh::Rotated => {
                        self.tokens_issued.inc(TokenKind::Access);
                        self.tokens_issued.inc(TokenKind::Refresh);
                    }
                    Refresh::Kept => self.tokens_issued.inc(TokenKind::Access),
                    Refresh::ReplayedInGrace => {}
                }
            }
            EventKind::RefreshReused { .. } => self.refresh_reuses.inc(),
            EventKind::RefreshRefused { why } => self.refresh_refusals.inc(*why),
            EventKind::SessionEnded { why, .. } => {
                self.sessions_ended.inc(*why);
                // Upkeep's own number of live sessions already excludes those that it found expired.
                if *why != EndReason::Expired {
                    self.sessions_active.dec();
                }
            }
            EventKind::IssuedRefused { why, .. } => self.issued_refusals.inc(*why),
            EventKind::IncidentAnswered { was_me, .. } => self.notices.answered(*was_me),
            EventKind::Blocked(block) => self.blocks.blocked(block),
            EventKind::FactorChanged { change, .. } => self.factor_changes.inc(*change),
            EventKind::FactorRefused { why, .. } => self.factor_refusals.inc(*why),
            EventKind::AssuranceChanged { to, .. } => self.assurance_changes.inc(*to),
            EventKind::MailedCode { what, .. } => self.mailed_codes.inc(*what),
            EventKind::MailedLink { what, .. } => self.mailed_links.inc(*what),
            EventKind::PersonalTokenMade { .. } => self.personal_tokens.made(),
            EventKind::PersonalTokenEnded { why, .. } => self.personal_tokens.ended(*why),
            EventKind::PersonalTokenRefused { why, .. } => self.personal_tokens.refused(*why),
            EventKind::SessionUsed { .. }
            | EventKind::IssuedEnded { .. }
            | EventKind::PasswordChanged { .. }
            | EventKind::DevicesForgotten { .. }
            | EventKind::BlockLifted(_)
            | EventKind::NotFound { .. }
            | EventKind::OutsideBinding { .. }
            | EventKind::Refused { .. } => {}
        }
    }

    /// Counts a finding with one action taken.
    pub fn finding(&self, detector: DetectorName, taken: TakenAction) {
        if let Some(by_action) = self.abnormal_access.of(detector) {
            by_action.inc(taken);
        }
    }

    /// Sets the number of blocks in force.
    pub fn blocks_active(&self, counts: BlockCounts) {
        self.blocks.active(counts);
    }

    /// Sets the number of live sessions that the store counted.
    pub fn sessions_active(&self, active: u64) {
        self.sessions_active.set(i64::try_from(active).unwrap_or(i64::MAX));
    }

    /// Sets the number of valid personal access tokens that the store counted.
    pub fn personal_tokens_active(&self, active: u64) {
        self.personal_tokens.active(active);
    }

    /// Counts a client's connection as open until the returned value is dropped.
    pub fn connection(&self) -> CountedConnection {
        self.connections.inc();
        CountedConnection(self.connections.clone())
    }

    /// Counts a client's connection that failed before a request.
    pub fn connection_failed(&self, failure: ConnectionFailure) {
        self.connection_failures.inc(failure);
    }

    /// Sets how many jobs wait for the hashing pool now, and how many it rejected since the start.
    pub fn hash_pool(&self, waiting: u64, rejected: u64) {
        self.hash_queue.set(i64::try_from(waiting).unwrap_or(i64::MAX));
        self.raise(&self.hash_rejected, rejected);
    }

    /// Sets how many events, audit lines and log lines were dropped since the start.
    pub(super) fn dropped(&self, events: u64, audit_lines: u64, log_lines: u64) {
        self.raise(&self.events_dropped, events);
        self.raise(&self.audit_lines_dropped, audit_lines);
        self.raise(&self.log_lines_dropped, log_lines);
    }

    pub(super) fn store_operation(&self, operation: StoreOperation, took: Duration, failed: bool) {
        self.store_durations.observe(operation, took);
        if failed {
            self.store_errors.inc(operation);
        }
    }

    /// Returns the metrics of the directory with this name.
    pub(super) fn directory(&self, name: &str) -> DirectoryMetrics {
        DirectoryMetrics {
            duration: self.directory_durations.with_label_values(&[name]),
            errors: self.directory_errors.with_label_values(&[name]),
        }
    }

    /// Raises a counter to the total of its owner.
    fn raise(&self, counter: &IntCounter, total: u64) {
        let _raising = self.raising.lock();
        counter.inc_by(total.saturating_sub(counter.get()));
    }

    /// Returns all metrics in Prometheus' text format.
    ///
    /// # Errors
    /// If a family cannot be written, which only a mistake in the code can cause.
    pub fn render(&self) -> Result<String> {
        TextEncoder::new().encode_to_string(&self.registry.gather())
    }
}

impl Metrics {
    /// Returns the sum of each family over all of its labels except the excluded ones.
    pub(super) fn sum(&self, families: &[(&str, &[&str])]) -> Vec<u64> {
        let gathered = self.registry.gather();
        let sum = |(name, without): &(&str, &[&str])| {
            let family = gathered.iter().find(|family| family.name() == *name);
            let counts = family.into_iter().flat_map(|family| family.get_metric());
            let counts = counts.filter(|one| {
                !one.get_label().iter().any(|label| without.contains(&label.value()))
            });
            // The counters hold whole numbers.
            counts.map(|one| one.get_counter().get_value() as u64).sum()
        };
        families.iter().map(sum).collect()
    }
}

impl DirectoryMetrics {
    pub(super) fn lookup(&self, took: Duration, failed: bool) {
        self.duration.observe(took.as_secs_f64());
        if failed {
            self.errors.inc();
        }
    }
}

impl Drop for CountedConnection {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests;
