//! Writes log lines to standard error, as JSON or as text, through a queue and a separate thread.
//!
//! `log.level` applies to the gateway itself. Libraries log at `warn` or above only: below it the proxy framework logs whole
//! request heads, credentials included. The access log and the audit trail do not depend on the level: `log.access` and
//! `log.audit_file` switch them.
//!
//! The proxy framework and rustls log through the `log` crate; a bridge passes their records on to this log.

use std::io::{self, Write};

use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::{self, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::{Layer, Registry};

use super::json_lines::JsonLines;
use super::lines::{LineSink, LineWriter};
use crate::config::{self, LogFormat};

/// Owns the log's thread; when it is dropped, the queued lines are written.
#[derive(Debug)]
pub struct Logging {
    writer: LineWriter,
    filter: Filter,
}

/// The filter of the log. Cheap to clone; another configuration can change it.
#[derive(Clone, Debug)]
pub struct Filter(reload::Handle<Targets, Registry>);

/// The log cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The level does not exist.
    #[error("log.level {0:?} is none of error, warn, info, debug")]
    Level(String),
    /// The thread could not be started.
    #[error("the log's thread could not be started: {0}")]
    Thread(#[from] io::Error),
    /// A log is already set up.
    #[error("a log is set up already")]
    Twice,
}

/// One line that is being formatted for the queue.
#[derive(Debug)]
pub(super) struct PendingLine<'a> {
    sink: &'a LineSink,
    line: Vec<u8>,
}

/// Sets up the log of this process.
///
/// # Errors
/// If the level does not exist, the thread does not start, or a log is already set up.
pub fn init(log: &config::Log) -> Result<Logging, LogError> {
    let filter = filter(log)?;
    let writer = LineWriter::start("log", || Ok(io::stderr()))?;
    let (filter, handle) = reload::Layer::new(filter);
    let subscriber = subscriber(log.format, filter, writer.sink().clone());
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LogError::Twice)?;
    tracing_log::LogTracer::builder()
        .with_max_level(records(log)?)
        .init()
        .map_err(|_| LogError::Twice)?;
    Ok(Logging { writer, filter: Filter(handle) })
}

impl Logging {
    /// Returns a function that returns the number of lines lost since the start.
    pub fn dropped(&self) -> impl Fn() -> u64 + Send + Sync + 'static {
        let sink = self.writer.sink().clone();
        move || sink.dropped()
    }

    /// Returns the filter of the log.
    pub fn filter(&self) -> Filter {
        self.filter.clone()
    }
}

impl Filter {
    /// Changes the filter to that of this configuration.
    ///
    /// # Errors
    /// [`LogError::Level`]
    pub fn change(&self, log: &config::Log) -> Result<(), LogError> {
        let filter = filter(log)?;
        // It fails only if the log is gone, when the process ends.
        let _ = self.0.reload(filter);
        tracing_log::log::set_max_level(records(log)?);
        Ok(())
    }
}

/// Returns the level below which records of the `log` crate are not even created; the filter then selects by target.
fn records(log: &config::Log) -> Result<tracing_log::log::LevelFilter, LogError> {
    let level: LevelFilter = log.level.parse().map_err(|_| LogError::Level(log.level.clone()))?;
    Ok(match level.min(LevelFilter::WARN) {
        LevelFilter::ERROR => tracing_log::log::LevelFilter::Error,
        _ => tracing_log::log::LevelFilter::Warn,
    })
}

fn filter(log: &config::Log) -> Result<Targets, LogError> {
    let level: LevelFilter = log.level.parse().map_err(|_| LogError::Level(log.level.clone()))?;
    let access = if log.access { LevelFilter::INFO } else { LevelFilter::OFF };
    Ok(Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_target(env!("CARGO_CRATE_NAME"), level)
        .with_target("access", access)
        .with_target("audit", LevelFilter::INFO))
}

fn subscriber<F>(format: LogFormat, filter: F, sink: LineSink) -> impl Subscriber + Send + Sync
where
    F: Layer<Registry> + Send + Sync + 'static,
{
    let lines = match format {
        LogFormat::Json => JsonLines::to(sink).boxed(),
        LogFormat::Text => fmt::layer().with_writer(sink).with_ansi(false).boxed(),
    };
    tracing_subscriber::registry().with(filter).with(lines)
}

impl<'w> MakeWriter<'w> for LineSink {
    type Writer = PendingLine<'w>;

    fn make_writer(&'w self) -> Self::Writer {
        PendingLine { sink: self, line: Vec::new() }
    }
}

impl Write for PendingLine<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for PendingLine<'_> {
    /// A writer is created for each line, so the line ends with it.
    fn drop(&mut self) {
        if !self.line.is_empty() {
            self.sink.line(std::mem::take(&mut self.line));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::audit::Audit;
    use super::super::lines::tests::Page;
    use super::super::record::Record;
    use super::super::testing::{names, record};
    use super::super::{access_log, record as records};
    use super::*;
    use crate::clock::{SystemClock, Timestamp};
    use crate::event::{Event, EventKind, SignInFailure};

    fn log(format: LogFormat, level: &str, access: bool) -> config::Log {
        config::Log { format, level: level.into(), access, ..config::Log::default() }
    }

    /// Returns what is written while `work` runs.
    fn written(log: &config::Log, work: impl FnOnce()) -> String {
        let page = Page::default();
        let target = page.clone();
        let writer = LineWriter::start("log", move || Ok(target.clone())).unwrap();
        let subscriber = subscriber(log.format, filter(log).unwrap(), writer.sink().clone());
        tracing::subscriber::with_default(subscriber, work);
        drop(writer);
        page.text()
    }

    #[test]
    fn an_access_line_in_json_has_every_field_and_nothing_else() {
        let text = written(&log(LogFormat::Json, "info", true), || {
            access_log::write(&record(), &names());
        });
        let mut line: Value = serde_json::from_str(&text).unwrap();
        assert!(line.as_object_mut().unwrap().remove("timestamp").is_some());
        let expected = serde_json::json!({
            "level": "INFO", "target": "access", "at": "2026-11-23T08:34:39.042Z", "request_id": "r-1",
            "client": "192.0.2.1", "protocol": "HTTP/1.1", "scheme": "https", "method": "GET",
            "host": "app.example", "path": "/notes/7", "route": "app", "decision": "forward", "status": 200,
            "user": "django/7", "session": "s-1", "proof": "access_token", "bytes_in": 0, "bytes_out": 1234,
            "duration_us": 12345, "own_us": 85, "upstream": "django", "upstream_server": "127.0.0.1:8000",
            "upstream_us": 12000, "spoofed_headers": 2,
        });
        assert_eq!(line, expected);
    }

    #[test]
    fn what_a_client_wrote_cannot_begin_a_line_in_either_format() {
        let forged = Record {
            path: Some("/a\nINFO access: forged\u{1b}[31m"),
            place: records::Destination::Nowhere,
            ..record()
        };
        for format in [LogFormat::Json, LogFormat::Text] {
            let text = written(&log(format, "info", true), || access_log::write(&forged, &names()));
            assert_eq!(text.lines().count(), 1, "{text}");
            assert!(!text.contains('\u{1b}'), "{text}");
        }
    }

    #[test]
    fn the_audit_trail_without_a_file_is_among_the_lines_at_every_level() {
        let event = Event {
            at: Timestamp::from_secs(0),
            request_id: None,
            client: None,
            agent: None,
            what: EventKind::SignInFailed {
                account: "a\nb".into(),
                user: None,
                why: SignInFailure::WrongPassword,
            },
        };
        for format in [LogFormat::Json, LogFormat::Text] {
            let log = log(format, "error", false);
            let text = written(&log, || {
                Audit::open(&log, std::sync::Arc::new(SystemClock)).unwrap().event(&event)
            });
            assert_eq!(text.lines().count(), 1, "{text}");
            assert!(text.contains("sign_in_failed") && text.contains("wrong_password"), "{text}");
            assert!(text.contains("a\\nb"), "{text}");
        }
    }

    #[test]
    fn the_level_is_our_own_and_libraries_are_heard_from_warn_on() {
        let lines = |level: &str, access| {
            written(&log(LogFormat::Text, level, access), || {
                tracing::debug!(target: "doorwarden::gate", "ours debug");
                tracing::warn!(target: "doorwarden::gate", "ours warn");
                tracing::debug!(target: "framework_core::protocols", "theirs debug");
                tracing::info!(target: "framework_core::protocols", "theirs info");
                tracing::warn!(target: "framework_core::protocols", "theirs warn");
                access_log::write(&record(), &names());
            })
        };
        for (level, access, expected) in [
            ("debug", true, &["ours debug", "ours warn", "theirs warn", "access"][..]),
            ("info", false, &["ours warn", "theirs warn"]),
            ("error", true, &["access"]),
            ("error", false, &[]),
        ] {
            let text = lines(level, access);
            let words =
                ["ours debug", "ours warn", "theirs debug", "theirs info", "theirs warn", "access"];
            let heard: Vec<_> = words.into_iter().filter(|word| text.contains(word)).collect();
            assert_eq!(heard, expected, "{level}");
        }
    }

    #[test]
    fn records_of_the_log_crate_arrive() {
        let text = written(&log(LogFormat::Text, "info", false), || {
            let record = tracing_log::log::Record::builder()
                .level(tracing_log::log::Level::Warn)
                .target("framework_proxy")
                .args(format_args!("upstream is gone"))
                .build();
            tracing_log::format_trace(&record).unwrap();
        });
        assert!(text.contains("framework_proxy") && text.contains("upstream is gone"), "{text}");
    }

    #[test]
    fn a_level_that_is_none_is_an_error() {
        let error = filter(&log(LogFormat::Text, "loud", true)).unwrap_err();
        assert_eq!(error.to_string(), "log.level \"loud\" is none of error, warn, info, debug");
    }
}
