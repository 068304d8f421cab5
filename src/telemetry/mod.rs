//! The data for operators: metrics, the access log, the audit trail.
//!
//! No code below this folder counts or logs. It returns what happened as [`Event`]s and, when a request is complete, one
//! [`Record`]; the caller passes each to [`Telemetry`] in one call, and this folder distributes them:
//! ```text
//! Record  -> Telemetry::request -> metrics, access log; audit trail where a shadowed route disagrees
//! Event   -> Telemetry::event   -> metrics, audit trail, the detectors' queue
//! Finding -> Findings           -> metrics, audit trail
//! ```
//!
//! None of these calls waits: metrics are atomic additions, lines go to a queue with a thread of its own, events to the
//! detectors' queue; what does not fit is dropped, and counted.

use std::fmt;
use std::sync::Arc;

use crate::admin::rates::Totals;
use crate::caller::UserKey;
use crate::detect::Finding;
use crate::detect::respond::TakenAction;
use crate::detect::watch::{EventSink, FindingSink, NotDone};
use crate::event::{EndReason, Event, EventKind, FactorEvent, FactorRefusal};
use crate::notify::{AssuranceNews, Incident, NewsSink, Notices as _, Person};
use crate::session::account_notes::AccountNotes;

mod access_log;
mod audit;
mod json_lines;
mod lines;
mod metrics;
mod record;
mod subscriber;
mod timed;

pub use audit::{Alarm, Audit, AuditError, AuditFile, ExaminedTrail, examine};
pub use metrics::{CountedConnection, Labels, Metrics, Names, ServerMetrics};
pub use record::{
    ConnectionFailure, Decided, Destination, Record, RecordedCaller, Retried, Shadowed,
    UpstreamCall, UpstreamFailure,
};
pub use subscriber::{Filter, LogError, Logging, init as init_log};
pub use timed::{TimedStore, timed_directory};

/// Updates metrics that another part of the program counts.
type AtScrape = Box<dyn Fn(&Metrics) + Send + Sync>;

/// Receives what happened, and distributes it.
pub struct Telemetry {
    metrics: Arc<Metrics>,
    audit: Arc<Audit>,
    detectors: EventSink,
    log_dropped: Box<dyn Fn() -> u64 + Send + Sync>,
    at_scrape: Vec<AtScrape>,
    /// Where other systems and users are notified.
    news: Option<NewsSink>,
    /// Where the records for users' account pages are stored.
    account: Option<AccountNotes>,
}

/// Receives the detectors' findings. It holds no [`EventSink`], so that the detectors' task can end.
#[derive(Debug)]
pub struct Findings {
    metrics: Arc<Metrics>,
    audit: Arc<Audit>,
}

impl Telemetry {
    /// Creates the telemetry from its parts. `log_dropped`: [`Logging::dropped`], or a constant 0 without a log.
    pub fn new(
        metrics: Arc<Metrics>,
        audit: Audit,
        detectors: EventSink,
        log_dropped: impl Fn() -> u64 + Send + Sync + 'static,
    ) -> Self {
        Self {
            metrics,
            audit: Arc::new(audit),
            detectors,
            log_dropped: Box::new(log_dropped),
            at_scrape: Vec::new(),
            news: None,
            account: None,
        }
    }

    /// Calls `update` before every scrape.
    #[must_use]
    pub fn at_scrape(mut self, update: impl Fn(&Metrics) + Send + Sync + 'static) -> Self {
        self.at_scrape.push(Box::new(update));
        self
    }

    /// Also notifies other systems and users, of ended sessions and changed passwords for example.
    #[must_use]
    pub fn with_news(mut self, news: NewsSink) -> Self {
        self.news = Some(news);
        self
    }

    /// Also stores the records for users' account pages.
    #[must_use]
    pub fn with_account(mut self, notes: AccountNotes) -> Self {
        self.account = Some(notes);
        self
    }

    /// Records a completed request. `labels` are those of the configuration by which it was decided.
    pub fn request(&self, record: &Record<'_>, labels: &Labels) {
        self.metrics.request(record, labels);
        access_log::write(record, labels.names());
        self.audit.shadowed(record, labels.names());
    }

    /// Records an event.
    pub fn event(&self, event: Event) {
        self.metrics.event(&event);
        self.audit.event(&event);
        if let Some(news) = &self.news {
            tell(news, &event);
        }
        if let Some(account) = &self.account {
            account.event(&event);
        }
        self.detectors.tell(event);
    }

    /// Returns the counts since the start for the operator's page, except those of findings.
    pub fn totals(&self) -> Totals {
        let counted = self.metrics.sum(&[
            ("doorwarden_decisions_total", &[]),
            ("doorwarden_refusals_total", &[]),
            ("doorwarden_signins_total", &["success"]),
            ("doorwarden_signins_total", &[]),
            ("doorwarden_refreshes_total", &[]),
        ]);
        let [requests, refused, failed_sign_ins, all_sign_ins, refreshes] = counted[..] else {
            return Totals::default();
        };
        let sign_ins = all_sign_ins.saturating_sub(failed_sign_ins);
        Totals { requests, refused, sign_ins, failed_sign_ins, refreshes, findings: 0 }
    }

    /// Returns the receiver of findings.
    pub fn findings(&self) -> Findings {
        Findings { metrics: Arc::clone(&self.metrics), audit: Arc::clone(&self.audit) }
    }

    /// Returns the metrics, for what is neither a request nor an event (connections, for example).
    pub const fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Returns the audit trail.
    pub fn audit(&self) -> &Audit {
        &self.audit
    }

    /// Reopens the audit trail's file, because it was moved away. Returns false if the queue is full.
    pub fn reopen_audit(&self) -> bool {
        self.audit.reopen()
    }

    /// Returns the answer to `GET /metrics`: Prometheus' text format, `text/plain; version=0.0.4`.
    ///
    /// # Errors
    /// If a metric cannot be written, which only a mistake in the code can cause. The text is for the log.
    pub fn scrape(&self) -> Result<String, String> {
        self.metrics.dropped(self.detectors.dropped(), self.audit.dropped(), (self.log_dropped)());
        for update in &self.at_scrape {
            update(&self.metrics);
        }
        self.metrics.render().map_err(|error| error.to_string())
    }
}

/// Reports what other systems and users may need to know. Expiry is not reported, because other systems see it themselves.
fn tell(news: &NewsSink, event: &Event) {
    match &event.what {
        EventKind::SessionEnded { session, user, why } if *why != EndReason::Expired => {
            news.session_ended(session, user, *why, event.at);
        }
        EventKind::PersonalTokenMade { user, .. } => tell_of_token(news, event, user, true),
        EventKind::PersonalTokenEnded { user, why, .. } if *why != EndReason::Expired => {
            tell_of_token(news, event, user, false);
        }
        EventKind::PasswordChanged { user, is_own } => {
            news.password_changed(user, event.at);
            // A user who changed it elsewhere is notified there.
            if *is_own {
                news.tell(change_of("password_changed", user, event));
            }
        }
        EventKind::FactorChanged { user, change } => {
            news.factor_changed(user, *change, event.at);
            if let Some(name) = told_as(*change) {
                news.tell(change_of(name, user, event));
            }
        }
        EventKind::AssuranceChanged { session, user, from, to, methods } => {
            news.assurance_changed(&AssuranceNews {
                session: session.to_string(),
                user: Person::of(user),
                from: from.map(|level| level.name().to_owned()),
                to: to.name().to_owned(),
                methods: methods.to_string(),
                at: event.at.as_millis(),
            });
        }
        EventKind::FactorRefused { user, why: FactorRefusal::ClonedPasskey } => {
            news.tell(change_of("passkey_cloned", user, event));
        }
        _ => {}
    }
}

/// Reports a personal access token that was created, or ended before its time. The end of everything that a user had is
/// reported separately.
fn tell_of_token(news: &NewsSink, event: &Event, user: &UserKey, is_made: bool) {
    news.token_changed(user, is_made, event.at);
    let is_revoked =
        matches!(&event.what, EventKind::PersonalTokenEnded { why: EndReason::Revoked, .. });
    let name = match (is_made, is_revoked) {
        (true, _) => "personal_token_made",
        (false, true) => "personal_token_revoked",
        (false, false) => return,
    };
    news.tell(change_of(name, user, event));
}

/// Returns the incident for a user's own change, in case it was not the user.
fn change_of(name: &'static str, user: &UserKey, event: &Event) -> Incident {
    Incident {
        detector: name,
        at: event.at,
        user: Some(user.clone()),
        session: None,
        // Every change is reported: two within a cool-down are two incidents.
        about: Some(event.at.as_millis().to_string().into()),
        client: event.client,
        country: None,
        agent: event.agent.clone().unwrap_or_default(),
        actions: Vec::new(),
    }
}

/// Returns the name under which users are notified of a change of their second factors. An invitation changes nothing yet.
const fn told_as(change: FactorEvent) -> Option<&'static str> {
    match change {
        FactorEvent::Added => Some("second_factor_added"),
        FactorEvent::Removed => Some("second_factor_removed"),
        FactorEvent::PasskeyAdded => Some("passkey_added"),
        FactorEvent::PasskeyRemoved => Some("passkey_removed"),
        FactorEvent::Renamed => Some("second_factor_renamed"),
        FactorEvent::RecoveryRenewed => Some("recovery_codes_renewed"),
        FactorEvent::RecoveryUsed => Some("recovery_code_used"),
        FactorEvent::Reset => Some("second_factor_reset"),
        FactorEvent::DeviceTrusted => Some("device_trusted"),
        FactorEvent::Invited | FactorEvent::DevicesDistrusted => None,
    }
}

impl FindingSink for Findings {
    fn finding(&self, finding: &Finding, taken: &[TakenAction], failure: Option<&NotDone>) {
        for one in taken {
            self.metrics.finding(finding.detector, *one);
        }
        self.audit.finding(finding, taken, failure);
        if let Some(failure) = failure {
            tracing::error!(
                detector = finding.detector.name(),
                session = finding.session.as_ref().map(|session| session.as_str()),
                error = failure.0.as_str(),
                "a detector's action failed"
            );
        }
    }
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod testing;

#[cfg(test)]
mod tests {
    use super::testing::{names, record};
    use super::*;
    use crate::caller::SessionId;
    use crate::clock::{SystemClock, Timestamp};
    use crate::config;
    use crate::detect::watch::queue;
    use crate::detect::{DetectorName, Evidence, Subject};

    fn log(audit_file: Option<std::path::PathBuf>) -> config::Log {
        let beside = audit_file.clone().unwrap_or_default().with_file_name("audit-key");
        config::Log { audit_file, audit_key_file: beside, ..config::Log::default() }
    }

    fn reuse() -> Event {
        Event {
            at: Timestamp::from_secs(1),
            request_id: None,
            client: None,
            agent: None,
            what: EventKind::RefreshReused {
                session: SessionId::new("s-1"),
                user: UserKey::new("django", "7"),
            },
        }
    }

    #[track_caller]
    fn assert_sample(telemetry: &Telemetry, line: &str) {
        let text = telemetry.scrape().unwrap();
        assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
    }

    #[test]
    fn what_is_told_once_reaches_metrics_audit_trail_and_detectors() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.jsonl");
        let metrics = Arc::new(Metrics::new().unwrap());
        let labels = metrics.labels(names());
        let audit = Audit::open(&log(Some(path.clone())), Arc::new(SystemClock)).unwrap();
        // There is room for one event, so that the second is dropped: one scrape shows that both destinations get events.
        let (sink, _queue) = queue(1);
        let telemetry =
            Telemetry::new(metrics, audit, sink, || 3).at_scrape(|metrics| metrics.hash_pool(4, 5));

        telemetry.request(&record(), &labels);
        telemetry.event(reuse());
        telemetry.event(reuse());
        let findings = telemetry.findings();
        let finding = Finding {
            detector: DetectorName::RefreshReuse,
            at: Timestamp::from_secs(1),
            request_id: None,
            client: None,
            agent: None,
            subject: Subject::Session(SessionId::new("s-1")),
            session: Some(SessionId::new("s-1")),
            user: None,
            is_doubtful: false,
            evidence: Evidence {
                count: 1,
                window: std::time::Duration::from_secs(60),
                countries: Vec::new(),
            },
        };
        findings.finding(&finding, &[TakenAction::EndSession], None);

        for line in [
            "doorwarden_requests_total{code=\"200\",method=\"GET\",route=\"app\"} 1",
            "doorwarden_refreshes_total{result=\"reuse\"} 2",
            "doorwarden_events_dropped_total 1",
            "doorwarden_log_lines_dropped_total 3",
            "doorwarden_hash_queue_length 4",
            "doorwarden_abnormal_access_total{action=\"end_session\",detector=\"refresh_reuse\"} 1",
            "doorwarden_abnormal_access_total{action=\"dry_run\",detector=\"refresh_reuse\"} 0",
        ] {
            assert_sample(&telemetry, line);
        }
        drop((telemetry, findings));
        let trail = std::fs::read_to_string(path).unwrap();
        let told: Vec<_> = trail
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["event"].clone())
            .collect();
        assert_eq!(told, ["trail_segment", "refresh_reused", "refresh_reused", "abnormal_access"]);
    }

    /// All data for operators is made of these values. None has a field for a secret, or for headers, query or body, which may
    /// contain one.
    #[test]
    fn no_value_that_is_shown_has_a_place_for_a_secret() {
        let values = [
            ("event/mod.rs", include_str!("../event/mod.rs")),
            ("event/factor.rs", include_str!("../event/factor.rs")),
            ("event/issued.rs", include_str!("../event/issued.rs")),
            ("event/personal_token.rs", include_str!("../event/personal_token.rs")),
            ("caller/mod.rs", include_str!("../caller/mod.rs")),
            ("telemetry/record.rs", include_str!("record.rs")),
            ("detect/mod.rs", include_str!("../detect/mod.rs")),
        ];
        for (file, text) in values {
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            for line in code.take_while(|line| !line.contains("mod tests")) {
                for word in ["Secret", "TokenPair", "HeaderMap", "Arrival", "Uri", "query", "Bytes"]
                {
                    assert!(!line.contains(word), "{file}: {line}");
                }
            }
        }
    }
}
