//! Replaces the configuration without stopping.
//!
//! The file is read and checked whole and all that it names is opened; only then does it replace the served configuration, in
//! one step. After any problem all stays as it was, and all problems that can be found are reported at once.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;

use super::examine;
use super::generation::Built;
use super::notices::NoticeWorker;
use super::passkeys;
use super::privacy::Retention;
use super::respond::rules;
use super::state::State;
use super::supervisor::Supervisor;
use crate::admin::reload::{Reload, Reloaded};
use crate::clock::Clock;
use crate::config::{Config, DirectorySettings, LoadError};
use crate::detect::watch::DetectorRules;
use crate::proxy::{Current, Listening};
use crate::telemetry::{Filter, Telemetry};

/// Reads the configuration again.
pub(super) struct Reloader {
    pub(super) source: PathBuf,
    pub(super) state: Arc<State>,
    pub(super) current: Arc<Current>,
    pub(super) listening: Arc<Listening>,
    pub(super) rules: Arc<ArcSwap<DetectorRules>>,
    pub(super) retention: Arc<Retention>,
    pub(super) telemetry: Arc<Telemetry>,
    pub(super) telling: Arc<NoticeWorker>,
    pub(super) log: Filter,
    pub(super) supervisor: Arc<Supervisor>,
    pub(super) clock: Arc<dyn Clock>,
    /// Whether it watches the file for changes.
    pub(super) watches: AtomicBool,
    /// Locked while one configuration replaces another.
    pub(super) built: tokio::sync::Mutex<Built>,
}

/// How often the file is checked for changes (`reload.watch`).
const TICK: Duration = Duration::from_secs(1);

/// Why a configuration is refused.
struct RefusedConfiguration(Vec<String>);

impl From<String> for RefusedConfiguration {
    fn from(problem: String) -> Self {
        Self(vec![problem])
    }
}

#[async_trait]
impl Reload for Reloader {
    async fn reload(&self) -> Reloaded {
        let mut built = self.built.lock().await;
        self.supervisor.is_reloading();
        let now = self.clock.now();
        let reloaded = self.replace(&mut built).await;
        self.state.metrics.reloaded(reloaded.is_ok(), now);
        self.supervisor.is_ready();
        let generation = self.current.load().number();
        match reloaded {
            Ok((mut warnings, at_restart)) => {
                let (current, settings) = (self.current.load(), &built.config.second_factor);
                let told = passkeys::useless(current.sessions(), settings.passkeys.as_ref()).await;
                if let Some(told) = told {
                    tracing::warn!("{told}");
                    warnings.push(told);
                }
                for key in &at_restart {
                    tracing::warn!(key, "a changed setting takes effect at the next start");
                }
                tracing::info!(generation, "the new configuration is in use");
                Reloaded { generation, problems: Vec::new(), warnings, at_restart }
            }
            Err(RefusedConfiguration(problems)) => {
                for problem in &problems {
                    tracing::error!(
                        problem,
                        "the configuration was read again and cannot be served; nothing has changed"
                    );
                }
                let (warnings, at_restart) = (Vec::new(), Vec::new());
                Reloaded { generation, problems, warnings, at_restart }
            }
        }
    }
}

impl Reloader {
    async fn replace(
        &self,
        built: &mut Built,
    ) -> Result<(Vec<String>, Vec<String>), RefusedConfiguration> {
        let source = self.source.clone();
        let read = tokio::task::spawn_blocking(move || Config::load(&source)).await;
        let read = read.map_err(|error| format!("the configuration could not be read: {error}"))?;
        let (mut config, report) = read.map_err(|error| match error {
            LoadError::Invalid(report) => RefusedConfiguration(report.to_lines()),
            other => RefusedConfiguration(vec![other.to_string()]),
        })?;
        let others = other_users(&built.config.directories, &config.directories);
        if !others.is_empty() {
            return Err(RefusedConfiguration(others));
        }
        let at_restart = keep_what_cannot_change(&built.config, &mut config);
        let serving = self.current.load();
        let opened = {
            // Files are read and keys are checked: that does not take long, but must not block a thread that handles requests.
            let (state, now) = (Arc::clone(&self.state), self.clock.now());
            tokio::task::block_in_place(|| {
                Built::open(config.clone(), &state, now, Some((built, &serving)))
            })
        };
        let (next, generation) = match opened {
            Ok(opened) => opened,
            Err(first) => return Err(all_reasons(config, first.to_string()).await),
        };
        let audit = self.telemetry.audit().prepare(&next.config.log);
        let audit = audit.map_err(|error| error.to_string())?;
        // This is the last step that can fail for a reason outside the file: sockets that were handed over are taken here.
        let listening = self.listening.prepare(&next.config.listen);
        let listening = listening.map_err(|error| error.to_string())?;
        self.log.change(&next.config.log).map_err(|error| error.to_string())?;
        generation.look_up().await;

        // From here on nothing can fail.
        if let Some(audit) = audit {
            self.telemetry.audit().serve(audit);
        }
        self.state.ended.now(next.hooks());
        self.telling.replace(next.channels());
        self.watches.store(next.config.reload.watch, Ordering::Relaxed);
        self.rules.store(Arc::new(rules(&next)));
        self.retention.set(&next.config.privacy);
        self.state.metrics.serves(generation.number(), generation.labels());
        self.current.serve(generation);
        self.listening.serve(listening);
        *built = next;
        Ok((report.to_lines(), at_restart))
    }
}

/// Returns all reasons why something cannot be opened: opening itself stops at the first one, and an operator wants all.
async fn all_reasons(config: Config, first: String) -> RefusedConfiguration {
    let found = tokio::task::spawn_blocking(move || examine::files(&config)).await;
    let found = found.ok().and_then(Result::ok).unwrap_or_default();
    let mut all: Vec<String> =
        found.into_iter().filter(|found| found.stops).map(|found| found.what).collect();
    if !all.contains(&first) {
        all.insert(0, first);
    }
    RefusedConfiguration(all)
}

/// Reads the configuration again whenever its file has changed and is no longer being written.
pub(super) async fn watch(reloader: Arc<Reloader>) {
    let mut read = state_of(&reloader.source).await;
    let mut last = read;
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let now = state_of(&reloader.source).await;
        let is_settled = now == last && now.is_some();
        last = now;
        if now == read || !is_settled {
            continue;
        }
        read = now;
        if reloader.watches.load(Ordering::Relaxed) {
            reloader.reload().await;
        }
    }
}

/// What distinguishes a file from the one that it replaced.
type ConfigurationFileState = Option<(u64, i64, i64, u64)>;

async fn state_of(path: &Path) -> ConfigurationFileState {
    let state = |found: Metadata| (found.ino(), found.mtime(), found.mtime_nsec(), found.size());
    tokio::fs::metadata(path).await.ok().map(state)
}

/// Names directories that keep their name but have other users: somebody signed in as user 7 would become another person.
fn other_users(now: &[DirectorySettings], next: &[DirectorySettings]) -> Vec<String> {
    let other = |next: &&DirectorySettings| {
        let before = now.iter().find(|now| now.name == next.name);
        before.is_some_and(|before| before.place_of_users() != next.place_of_users())
            && !next.danger_same_users
    };
    let text = |next: &DirectorySettings| {
        format!(
            "the directory {:?} has other users than the directory of that name that is in use, so people who are signed in \
             would become other users: give it another name, which ends their sessions; or, if these are the same people with \
             the same ids in another place, set danger_same_users = true",
            next.name
        )
    };
    next.iter().filter(other).map(text).collect()
}

/// Takes over from the served configuration what only a restart can change, and names what differs.
fn keep_what_cannot_change(now: &Config, next: &mut Config) -> Vec<String> {
    let mut differs = Vec::new();
    macro_rules! keep {
        ($($key:literal $($field:ident).+;)+) => {$(
            if next.$($field).+ != now.$($field).+ {
                differs.push($key.to_owned());
                next.$($field).+ = now.$($field).+.clone();
            }
        )+};
    }
    keep! {
        "listen.admin" listen.admin;
        "listen.threads" listen.threads;
        "listen.http2_stream_window" listen.http2_stream_window;
        "listen.http2_connection_window" listen.http2_connection_window;
        "store" store;
        "log.format" log.format;
        "detect.queue" detect.queue;
    }
    // The framework takes these once, for all connections of HTTP/2.
    if next.listen.keepalive_timeout != now.listen.keepalive_timeout {
        differs.push("listen.keepalive_timeout (of HTTP/2)".to_owned());
    }
    if next.listen.max_head_bytes != now.listen.max_head_bytes {
        differs.push("listen.max_head_bytes (of HTTP/2)".to_owned());
    }
    differs
}
