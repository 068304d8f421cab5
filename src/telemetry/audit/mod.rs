//! The audit trail: who signed in, refreshed, was refused or signed out, and what detectors found. One JSON object per line.
//!
//! With `log.audit_file` the trail has a file of its own, appended to and created with mode 0600, which rotates and in which
//! every line carries a MAC ([`seal`], [`trail`], [`verify`]); without, its lines are among the log's, with the target `audit`.
//! Field names are stable; empty fields are absent rather than null. Lines hold no secrets, because events and findings hold
//! none. A name that a client chose is escaped as in JSON and cut to 256 characters, so it can neither begin a line of its own
//! nor fill the disk.
//!
//! The trail also records what detectors need, so that `doorwarden detect replay` can show what other settings would have
//! found: the uses of a session from another address or agent than before (`uses`), and the hashes of paths that do not exist.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use serde::Serialize;

use self::trail::Trail;
use super::lines::LineWriter;
use crate::block::{Block, BlockSubject};
use crate::caller::{SessionId, UserKey};
use crate::clock::Clock;
use crate::config;
use crate::detect::respond::TakenAction;
use crate::detect::watch::NotDone;
use crate::detect::{Finding, Subject};
use crate::event::{Event, EventKind};
use crate::geo::Country;
use crate::secret::Digest;
use crate::wire::client_ip::ip_text;

mod anchors;
mod seal;
mod shadow;
mod trail;
mod uses;
mod verify;

pub use verify::{Alarm, ExaminedTrail, examine};

const LONGEST_NAME: usize = 256;

/// Writes the audit trail.
pub struct Audit {
    clock: Arc<dyn Clock>,
    file: ArcSwapOption<AuditFile>,
    /// The lines that were lost in files of earlier configurations.
    lost_before: AtomicU64,
    told: shadow::ToldVerdicts,
    uses: uses::Uses,
}

/// An open file for the trail.
#[derive(Debug)]
pub struct AuditFile {
    settings: config::Log,
    writer: LineWriter,
}

/// The audit file is unusable.
#[derive(Debug, thiserror::Error)]
#[error("the audit file {} cannot be used: {reason}", path.display())]
pub struct AuditError {
    path: PathBuf,
    reason: String,
}

/// One line, with every possible field.
#[derive(Debug, Default, Serialize)]
struct AuditLine<'a> {
    at: String,
    event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    route: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    left_out: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issued: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    amr: Option<String>,
    /// At a sign-in: whether the user had signed in from this browser before.
    #[serde(skip_serializing_if = "Option::is_none")]
    known_device: Option<bool>,
    /// At a use: when the session was last used by the previous client.
    #[serde(skip_serializing_if = "Option::is_none")]
    previous: Option<String>,
    /// The hash of a path.
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detector: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    action: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    network: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    window_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    countries: Option<String>,
    /// Whether it may well be the same person, so that no action was taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    doubtful: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<String>,
    /// The detector whose finding was answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    about: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<u64>,
}

impl Audit {
    /// Opens the trail as configured.
    ///
    /// # Errors
    /// If the file or its key cannot be used, or others may read or write it.
    pub fn open(log: &config::Log, clock: Arc<dyn Clock>) -> Result<Self, AuditError> {
        let file = AuditFile::open(log, &clock)?.map(Arc::new);
        let (told, uses) = (shadow::ToldVerdicts::default(), uses::Uses::default());
        let (file, lost_before) = (ArcSwapOption::from(file), AtomicU64::new(0));
        Ok(Self { clock, file, lost_before, told, uses })
    }

    /// Opens the file of another configuration; `None` if it is the one in use.
    ///
    /// # Errors
    /// As [`Self::open`]; then nothing has changed.
    pub fn prepare(&self, log: &config::Log) -> Result<Option<Option<AuditFile>>, AuditError> {
        let in_use = self.file.load();
        let is_same = match &*in_use {
            Some(file) => file.is_of(log),
            None => log.audit_file.is_none(),
        };
        if is_same { Ok(None) } else { AuditFile::open(log, &self.clock).map(Some) }
    }

    /// Writes to this file from now on.
    pub fn serve(&self, file: Option<AuditFile>) {
        let old = self.file.swap(file.map(Arc::new));
        let Some(old) = old else { return };
        self.lost_before.fetch_add(old.writer.sink().dropped(), Ordering::Relaxed);
        // Dropping it waits until the queued lines are written.
        std::thread::spawn(move || drop(old));
    }

    /// Writes an event.
    pub fn event(&self, event: &Event) {
        let previous = match &event.what {
            EventKind::SessionUsed { session, .. } => match self.uses.admit(session, event) {
                Some(previous) => previous,
                None => return,
            },
            _ => None,
        };
        let previous = previous.map(|at| at.to_string());
        self.write(&AuditLine { previous, ..event_line(event) });
    }

    /// Writes a finding.
    pub fn finding(&self, finding: &Finding, taken: &[TakenAction], failure: Option<&NotDone>) {
        self.write(&finding_line(finding, taken, failure));
    }

    /// Reopens the file after a log rotation moved it away. Returns false if the queue is full.
    pub fn reopen(&self) -> bool {
        self.file.load().as_ref().is_none_or(|file| file.writer.sink().reopen())
    }

    /// Returns the number of lines that were lost since the start.
    pub fn dropped(&self) -> u64 {
        let now = self.file.load().as_ref().map_or(0, |file| file.writer.sink().dropped());
        self.lost_before.load(Ordering::Relaxed).saturating_add(now)
    }

    fn write(&self, line: &AuditLine<'_>) {
        let file = self.file.load();
        let Some(file) = &*file else { return line.log() };
        // Serializing a struct of texts and numbers cannot fail.
        let mut bytes = serde_json::to_vec(line).unwrap_or_default();
        bytes.push(b'\n');
        file.writer.sink().line(bytes);
    }
}

impl AuditFile {
    fn open(log: &config::Log, clock: &Arc<dyn Clock>) -> Result<Option<Self>, AuditError> {
        let Some(path) = log.audit_file.clone() else { return Ok(None) };
        let failed = |reason| AuditError { path: path.clone(), reason };
        let trail = Trail::open(log, path.clone(), Arc::clone(clock)).map_err(failed)?;
        let writer =
            LineWriter::start_on("audit", trail).map_err(|error| failed(error.to_string()))?;
        Ok(Some(Self { settings: log.clone(), writer }))
    }

    /// Whether the file is written as these settings require.
    fn is_of(&self, log: &config::Log) -> bool {
        let mut other = log.clone();
        // These settings concern other lines.
        (other.format, other.access) = (self.settings.format, self.settings.access);
        other.level.clone_from(&self.settings.level);
        other == self.settings
    }
}

impl AuditLine<'_> {
    /// Writes the line to the log, with the same fields under the same names.
    fn log(&self) {
        tracing::info!(
            target: "audit",
            at = self.at.as_str(),
            event = self.event,
            request_id = self.request_id,
            client = self.client.as_deref(),
            agent = self.agent.as_deref(),
            session = self.session,
            user = self.user.as_deref(),
            account = self.account.as_deref(),
            route = self.route,
            verdict = self.verdict,
            status = self.status,
            left_out = self.left_out,
            issuer = self.issuer,
            reason = self.reason,
            issued = self.issued,
            amr = self.amr.as_deref(),
            known_device = self.known_device,
            previous = self.previous.as_deref(),
            path = self.path.as_deref(),
            detector = self.detector,
            action = self.action.as_deref(),
            subject = self.subject,
            network = self.network.as_deref(),
            count = self.count,
            window_seconds = self.window_seconds,
            countries = self.countries.as_deref(),
            doubtful = self.doubtful,
            by = self.by,
            why = self.why.as_deref(),
            until = self.until.as_deref(),
            failure = self.failure.as_deref(),
            about = self.about,
            answer = self.answer,
            ended = self.ended,
        );
    }
}

impl<'a> AuditLine<'a> {
    fn of(self, session: &'a SessionId, user: &UserKey) -> Self {
        Self { session: Some(session.as_str()), user: Some(cut(&user.to_string())), ..self }
    }
}

fn event_line(event: &Event) -> AuditLine<'_> {
    let line = AuditLine {
        at: event.at.to_string(),
        request_id: event.request_id.as_deref(),
        client: event.client.map(ip_text),
        agent: event.agent.as_deref().map(cut),
        ..AuditLine::default()
    };
    match &event.what {
        EventKind::SignedIn { session, user, account, tokens, cookie, known_device, methods } => {
            AuditLine {
                event: "sign_in",
                amr: Some(methods.to_string()),
                known_device: known_device.then_some(true),
                account: Some(cut(account)),
                issued: match (tokens, cookie) {
                    (true, true) => Some("tokens,cookie"),
                    (true, false) => Some("tokens"),
                    (false, true) => Some("cookie"),
                    (false, false) => None,
                },
                ..line.of(session, user)
            }
        }
        EventKind::SignInObserved { account, user, session } => {
            let line = AuditLine { event: "sign_in_observed", account: Some(cut(account)), ..line };
            match (session, user) {
                (Some(session), Some(user)) => line.of(session, user),
                _ => line,
            }
        }
        EventKind::TakenOver { session, user, issuer } => {
            AuditLine { event: "taken_over", issuer: Some(issuer), ..line.of(session, user) }
        }
        EventKind::Adopted { session, user, issuer, how } => AuditLine {
            event: "adopted",
            issuer: Some(issuer),
            reason: Some(how.name()),
            ..line.of(session, user)
        },
        EventKind::SignInFailed { account, user, why } => AuditLine {
            event: "sign_in_failed",
            user: user.as_ref().map(|user| cut(&user.to_string())),
            account: Some(cut(account)),
            reason: Some(why.name()),
            ..line
        },
        EventKind::Refreshed { session, user, how } => {
            AuditLine { event: "refresh", reason: Some(how.name()), ..line.of(session, user) }
        }
        EventKind::RefreshReused { session, user } => {
            AuditLine { event: "refresh_reused", ..line.of(session, user) }
        }
        EventKind::RefreshRefused { why } => {
            AuditLine { event: "refresh_refused", reason: Some(why.name()), ..line }
        }
        EventKind::SessionEnded { session, user, why } => {
            AuditLine { event: "session_ended", reason: Some(why.name()), ..line.of(session, user) }
        }
        EventKind::PersonalTokenMade { token, user } => {
            AuditLine { event: "personal_token_made", ..line.of(token, user) }
        }
        EventKind::PersonalTokenEnded { token, user, why } => AuditLine {
            event: "personal_token_ended",
            reason: Some(why.name()),
            ..line.of(token, user)
        },
        EventKind::PersonalTokenRefused { token, why } => {
            let event = "personal_token_refused";
            let line = AuditLine { event, reason: Some(why.name()), ..line };
            match token {
                Some((token, user)) => line.of(token, user),
                None => line,
            }
        }
        EventKind::IssuedRefused { issuer, why } => AuditLine {
            event: "issued_refused",
            issuer: Some(issuer),
            reason: Some(why.name()),
            ..line
        },
        EventKind::IncidentAnswered { user, detector, was_me, ended } => AuditLine {
            event: "incident_answered",
            user: Some(cut(&user.to_string())),
            about: Some(detector),
            answer: Some(if *was_me { "me" } else { "not_me" }),
            ended: Some(*ended),
            ..line
        },
        EventKind::PasswordChanged { user, .. } => {
            AuditLine { event: "password_changed", user: Some(cut(&user.to_string())), ..line }
        }
        EventKind::IssuedEnded { issuer, user } => AuditLine {
            event: "issued_ended",
            issuer: Some(issuer),
            user: Some(cut(&user.to_string())),
            ..line
        },
        EventKind::Refused { refusal, user } => AuditLine {
            event: "refused",
            reason: Some(refusal.reason()),
            user: user.as_ref().map(|user| cut(&user.to_string())),
            ..line
        },
        EventKind::OutsideBinding { session, user } => {
            AuditLine { event: "outside_binding", ..line.of(session, user) }
        }
        EventKind::FactorChanged { user, change } => AuditLine {
            event: "second_factor_changed",
            user: Some(cut(&user.to_string())),
            reason: Some(change.name()),
            ..line
        },
        EventKind::AssuranceChanged { session, user, to, methods, .. } => AuditLine {
            event: "assurance_changed",
            amr: Some(methods.to_string()),
            reason: Some(to.name()),
            ..line.of(session, user)
        },
        EventKind::DevicesForgotten { user, all } => AuditLine {
            event: "devices_forgotten",
            user: Some(cut(&user.to_string())),
            reason: Some(if *all { "all" } else { "one" }),
            ..line
        },
        EventKind::FactorRefused { user, why } => AuditLine {
            event: "second_factor_refused",
            user: Some(cut(&user.to_string())),
            reason: Some(why.name()),
            ..line
        },
        EventKind::MailedCode { user, what } => AuditLine {
            event: "mailed_code",
            user: Some(cut(&user.to_string())),
            reason: Some(what.name()),
            ..line
        },
        EventKind::MailedLink { account, user, what } => AuditLine {
            event: "mailed_link",
            account: Some(cut(account)),
            user: user.as_ref().map(|user| cut(&user.to_string())),
            reason: Some(what.name()),
            ..line
        },
        EventKind::Blocked(block) => AuditLine { event: "blocked", ..block_line(line, block) },
        EventKind::BlockLifted(block) => {
            AuditLine { event: "block_lifted", ..block_line(line, block) }
        }
        EventKind::SessionUsed { session, user, .. } => {
            AuditLine { event: "session_used", ..line.of(session, user) }
        }
        EventKind::NotFound { path } => {
            AuditLine { event: "not_found", path: Some(hex(path)), ..line }
        }
    }
}

/// Returns enough of the hash to distinguish paths.
fn hex(digest: &Digest) -> String {
    digest.as_bytes().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// Adds the subject of a block and its reason.
fn block_line<'a>(line: AuditLine<'a>, block: &'a Block) -> AuditLine<'a> {
    let line = AuditLine {
        subject: Some(block.subject.kind()),
        by: Some(block.by.name()),
        why: Some(cut(&block.reason)),
        until: Some(block.until.to_string()),
        ..line
    };
    match &block.subject {
        BlockSubject::Address(_) => AuditLine { network: Some(block.subject.to_string()), ..line },
        BlockSubject::User(user) => AuditLine { user: Some(cut(&user.to_string())), ..line },
        BlockSubject::Session(session) => AuditLine { session: Some(session.as_str()), ..line },
    }
}

fn finding_line<'a>(
    finding: &'a Finding,
    taken: &[TakenAction],
    failure: Option<&NotDone>,
) -> AuditLine<'a> {
    let evidence = &finding.evidence;
    let countries = evidence.countries.iter().map(Country::as_str).collect::<Vec<_>>().join(",");
    AuditLine {
        at: finding.at.to_string(),
        event: "abnormal_access",
        request_id: finding.request_id.as_deref(),
        client: finding.client.map(ip_text),
        agent: finding.agent.as_deref().map(cut),
        doubtful: finding.is_doubtful.then_some(true),
        session: finding.session.as_ref().map(SessionId::as_str),
        user: finding.user.as_ref().map(|user| cut(&user.to_string())),
        account: match &finding.subject {
            Subject::Account(account) => Some(cut(account)),
            Subject::Session(_) | Subject::User(_) | Subject::Address(_) | Subject::Network(_) => {
                None
            }
        },
        detector: Some(finding.detector.name()),
        action: Some(taken.iter().map(|one| one.name()).collect::<Vec<_>>().join(",")),
        subject: Some(finding.subject.kind()),
        network: match &finding.subject {
            Subject::Address(_) | Subject::Network(_) => Some(finding.subject.to_string()),
            Subject::Session(_) | Subject::User(_) | Subject::Account(_) => None,
        },
        count: u64::try_from(evidence.count).ok(),
        window_seconds: Some(evidence.window.as_secs()),
        countries: (!countries.is_empty()).then_some(countries),
        failure: failure.map(|failure| failure.0.clone()),
        ..AuditLine::default()
    }
}

impl std::fmt::Debug for Audit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Audit").field("file", &self.file).finish_non_exhaustive()
    }
}

fn cut(text: &str) -> String {
    // A text has at most as many characters as bytes.
    if text.len() <= LONGEST_NAME {
        return text.to_owned();
    }
    text.chars().take(LONGEST_NAME).collect()
}

/// Opens a file for appending; a new file gets mode 0600, and one that others may read or write is refused.
fn open_private(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)?;
    let mode = file.metadata()?.permissions().mode();
    if mode & 0o027 != 0 {
        let mode = mode & 0o777;
        return Err(io::Error::other(format!(
            "its mode is {mode:o}; make it 600, or 640 for a group that may read it"
        )));
    }
    Ok(file)
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod trail_tests;
