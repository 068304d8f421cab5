//! Runs the channels of a configuration, which send notices, and the worker that serves them.

use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::state::State;
use super::{StartError, start_error};
use crate::clock::Clock;
use crate::config::{
    Config, MAIL, MAILED_CODES, MAILED_LINKS, OwnPath, OwnPathEntry, SecretSource,
};
use crate::directory::Directory;
use crate::notify::{
    Channel, Channels, CodeMail, Deliver, LinkMail, Mail, MailParts, NewsKind, NewsSink, Pace,
    SecurityEvents, SignEvents, Webhook, Worker,
};
use crate::private_file;
use crate::secret::Secret;
use crate::session::SessionManager;
use crate::store::Store;
use crate::telemetry::Metrics;

/// The worker that sends notices, and the sender of its channels.
pub(super) struct NoticeWorker {
    news: NewsSink,
    channels: watch::Sender<Arc<Channels>>,
    stop: watch::Sender<bool>,
    ended: Mutex<mpsc::Receiver<()>>,
}

impl NoticeWorker {
    /// Starts the worker, on a thread and a runtime of its own, so that slow receivers take no time from requests.
    pub(super) fn start(
        state: &State,
        clock: Arc<dyn Clock>,
        channels: Arc<Channels>,
    ) -> Result<Self, StartError> {
        let taken = || StartError("the message worker is already running".to_owned());
        let queue = state.news_queue.lock().take().ok_or_else(taken)?;
        state.news.serve(&channels);
        let (channels, watched) = watch::channel(channels);
        let (stop, stopped) = watch::channel(false);
        let (end, ended) = mpsc::channel();
        let worker = Worker {
            outbox: Arc::clone(&state.store.outbox),
            channels: watched,
            counting: Arc::clone(&state.metrics) as Arc<_>,
            clock,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(2)
            .thread_name("notices")
            .build()
            .map_err(start_error)?;
        std::thread::Builder::new()
            .name("notices".to_owned())
            .spawn(move || {
                runtime.block_on(worker.run(queue, stopped));
                // The receiver may be gone already.
                let _ = end.send(());
            })
            .map_err(start_error)?;
        Ok(Self { news: state.news.clone(), channels, stop, ended: Mutex::new(ended) })
    }

    /// Replaces the channels.
    pub(super) fn replace(&self, channels: Arc<Channels>) {
        self.news.serve(&channels);
        self.channels.send_replace(channels);
    }

    /// Has what is in memory written to the store, and pending attempts finished, for at most this long.
    pub(super) fn stop(&self, within: Duration) {
        self.stop.send_replace(true);
        if self.ended.lock().recv_timeout(within).is_err() {
            tracing::warn!(
                "messages under way were not finished; they are sent again after the next start"
            );
        }
    }
}

/// Opens the channels that a configuration names.
pub(super) fn channels(
    config: &Config,
    directories: &[Directory],
    sessions: &Arc<SessionManager>,
    store: &Store,
    metrics: &Metrics,
) -> Result<Channels, StartError> {
    let notify = &config.notify;
    let mut all = Vec::new();
    for settings in &notify.webhooks {
        let failed = |reason: String| start_error(format!("webhook {:?}: {reason}", settings.name));
        let secrets = secret(&settings.secret).map_err(failed)?;
        let webhook = Webhook::new(settings, &secrets).map_err(failed)?;
        let kinds = vec![NewsKind::Incident, NewsKind::Answered];
        let deliver: Arc<dyn Deliver> = Arc::new(webhook);
        all.push(Channel::new(&settings.name, kinds, settings.timeout, deliver));
    }
    if let Some(settings) = &notify.mail {
        let failed = |reason: String| start_error(format!("mail: {reason}"));
        let is_page = |entry: &&OwnPathEntry| entry.own == OwnPath::Incident && !entry.is_alias;
        let page = config.paths.iter().find(is_page);
        let page =
            page.ok_or_else(|| failed("paths.incident is off, but its links lead there".into()))?;
        let mail = Mail::new(MailParts {
            password: settings
                .password_file
                .as_deref()
                .map(secret_file)
                .transpose()
                .map_err(failed)?,
            settings: settings.clone(),
            service: config.login.title.clone(),
            path: page.path.to_string(),
            account_path: config
                .paths
                .iter()
                .find(|entry| entry.own == OwnPath::Account && !entry.is_alias)
                .map(|entry| entry.path.to_string()),
            directories: directories.to_vec(),
            sessions: Arc::clone(&store.sessions),
            former: Arc::clone(&store.former),
            retention: config.privacy.retention,
            questions: Arc::clone(&store.questions),
        });
        let mail = Arc::new(mail.map_err(failed)?);
        let is_links = |entry: &&OwnPathEntry| entry.own == OwnPath::MailedLink && !entry.is_alias;
        if let Some(entry) = config.paths.iter().find(is_links) {
            let links = LinkMail::new(Arc::clone(&mail), entry.path.to_string());
            let deliver: Arc<dyn Deliver> = Arc::new(links);
            let kinds = vec![NewsKind::LinkAsked];
            all.push(Channel::new(MAILED_LINKS, kinds, settings.timeout, deliver));
        }
        if config.second_factor.mails_codes() {
            let codes = Arc::clone(sessions.factors()) as Arc<_>;
            let deliver: Arc<dyn Deliver> = Arc::new(CodeMail::new(Arc::clone(&mail), codes));
            let kinds = vec![NewsKind::CodeAsked];
            all.push(Channel::new(MAILED_CODES, kinds, settings.timeout, deliver));
        }
        let deliver: Arc<dyn Deliver> = mail;
        all.push(Channel::new(MAIL, vec![NewsKind::Incident], settings.timeout, deliver));
    }
    for settings in &notify.security_events {
        let failed =
            |reason: String| start_error(format!("security events {:?}: {reason}", settings.name));
        let token = settings.token_file.as_deref().map(secret_file).transpose().map_err(failed)?;
        let (issuer, keys) = (&config.tokens.issuer, Arc::new(NoticeKeys(Arc::clone(sessions))));
        let events = SecurityEvents::new(settings, token.as_ref(), issuer, keys).map_err(failed)?;
        let kinds = vec![
            NewsKind::SessionEnded,
            NewsKind::PasswordChanged,
            NewsKind::FactorChanged,
            NewsKind::PersonalTokenChanged,
            NewsKind::AssuranceChanged,
        ];
        let deliver: Arc<dyn Deliver> = Arc::new(events);
        all.push(Channel::new(&settings.name, kinds, settings.timeout, deliver));
    }
    metrics.channels(all.iter().map(|channel| &*channel.name));
    let pace = Pace {
        queue: notify.queue,
        cool_down: notify.cooldown,
        first_retry: notify.backoff_initial,
        longest_retry: notify.backoff_max,
        give_up_after: notify.give_up_after,
    };
    Ok(Channels { all, pace })
}

/// Returns the problems of the files that channels need. An environment variable need not exist yet.
pub(super) fn problems(config: &Config) -> Vec<String> {
    let notify = &config.notify;
    let mut wrong = Vec::new();
    for settings in &notify.webhooks {
        let SecretSource::File(path) = &settings.secret else { continue };
        let webhook = secret_file(path).and_then(|secret| Webhook::new(settings, &secret));
        wrong.extend(webhook.err().map(|reason| format!("webhook {:?}: {reason}", settings.name)));
    }
    for settings in &notify.security_events {
        let token = settings.token_file.as_deref().map(secret_file).transpose();
        let events = token.and_then(|token| {
            let issuer = &config.tokens.issuer;
            SecurityEvents::new(settings, token.as_ref(), issuer, Arc::new(NoKeys))
        });
        let failed = |reason| format!("security events {:?}: {reason}", settings.name);
        wrong.extend(events.err().map(failed));
    }
    if let Some(settings) = &notify.mail {
        let password = settings.password_file.as_deref().map(secret_file).transpose();
        let mail = password.and_then(|password| Mail::check(settings, password));
        wrong.extend(mail.err().map(|reason| format!("mail: {reason}")));
    }
    wrong
}

/// Stands in for the keys while the rest is checked.
struct NoKeys;

impl SignEvents for NoKeys {
    fn sign_event(&self, _: &serde_json::Value) -> Result<String, String> {
        Err("a check has no signing key".to_owned())
    }
}

/// The keys that sign access tokens.
struct NoticeKeys(Arc<SessionManager>);

impl SignEvents for NoticeKeys {
    fn sign_event(&self, claims: &serde_json::Value) -> Result<String, String> {
        self.0.keys().sign_event(claims)
    }
}

/// Reads a secret now, so that a missing one is reported at the start and not during an attack.
fn secret(source: &SecretSource) -> Result<Secret, String> {
    let text = match source {
        SecretSource::File(path) => return secret_file(path),
        SecretSource::Environment(name) => {
            #[expect(
                clippy::disallowed_methods,
                reason = "the configuration file names this variable, which holds a secret, not a setting"
            )]
            let value = std::env::var(name);
            Secret::new(value.map_err(|_| format!("the variable {name} is not set"))?)
        }
    };
    if text.expose().trim().is_empty() { Err(format!("{source:?} is empty")) } else { Ok(text) }
}

fn secret_file(path: &Path) -> Result<Secret, String> {
    let (bytes, _) = private_file::read(path).map_err(|error| error.to_string())?;
    let text =
        std::str::from_utf8(&bytes).map_err(|_| format!("{}: it is not UTF-8", path.display()))?;
    match text.trim().is_empty() {
        true => Err(format!("{}: it is empty", path.display())),
        false => Ok(Secret::new(text)),
    }
}
