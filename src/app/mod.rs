//! The composition root: the only place that names concrete adapters.
//!
//! It turns a checked configuration into a running gateway, in an order in which every failure is a clear line and happens
//! before anything is served: keys, certificate, databases and store are opened, the sockets are bound, and only then is the
//! first request accepted.

pub mod examine;
mod folder;
mod generation;
mod notices;
pub mod offline;
mod passkeys;
mod places;
mod privacy;
mod rates;
mod reload;
pub mod replay;
mod respond;
mod service_factors;
mod state;
mod supervisor;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::signal::unix::{Signal, SignalKind, signal};

use self::folder::{StateFolder, claim_store};
use self::generation::{Built, directories};
use self::notices::NoticeWorker;
use self::privacy::Retention;
use self::reload::Reloader;
use self::respond::Responder;
use self::state::State;
use self::supervisor::Supervisor;
use crate::admin::rates::Rates;
use crate::admin::reload::Reload;
use crate::admin::{Operator, OperatorParts};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, PasskeySettings};
use crate::detect::history::History;
use crate::detect::recent::Recent;
use crate::detect::silence::Silences;
use crate::detect::watch::{self, DetectionParts, FindingSink};
use crate::directory::Directory;
use crate::factor::Factors;
use crate::proxy::{self, Bound, Current, Listening, Observer, ProxyParts};
use crate::telemetry::{self, Audit, Telemetry};

/// Why the gateway did not start.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StartError(String);

/// How long the runtime's own tasks may take to finish after the last request.
const LAST_TASKS: Duration = Duration::from_secs(1);

/// Runs the gateway until it is told to stop. `source` is the configuration file, which is read again at a reload.
///
/// # Errors
/// The first thing that keeps it from starting.
pub fn run(config: Config, source: PathBuf) -> Result<(), StartError> {
    let logging = telemetry::init_log(&config.log).map_err(start_error)?;
    warn_of_shadow(&config);
    install_crypto();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);

    let folder = StateFolder::of(&config);
    folder.make().map_err(start_error)?;
    let _store_is_ours = claim_store(&config).map_err(start_error)?;
    let operator_token = folder.operator_token().map_err(start_error)?;
    let kept = config.store.kind.survives_restarts().then(|| folder.silences());
    let silences = Arc::new(Silences::open(kept).map_err(start_error)?);
    let state = Arc::new(State::open(&config, folder)?);
    let supervisor = Arc::new(Supervisor::new().map_err(start_error)?);
    let mut inherited = supervisor::sockets().map_err(start_error)?;
    let admin = Bound::bind(&[config.listen.admin], &mut inherited).map_err(start_error)?;
    let listening = Listening::open(&config.listen, inherited).map_err(start_error)?;
    let audit = Audit::open(&config.log, Arc::clone(&clock)).map_err(start_error)?;
    let (built, generation) = Built::open(config, &state, clock.now(), None)?;
    state.ended.now(built.hooks());
    state.metrics.serves(generation.number(), generation.labels());
    state.metrics.reloaded(true, clock.now());
    let asked_for_factors = Arc::clone(generation.sessions().factors());
    let current = Current::new(generation);

    let (sink, queue) = watch::queue(built.config.detect.queue);
    let telling = Arc::new(NoticeWorker::start(&state, Arc::clone(&clock), built.channels())?);
    let asked = Arc::clone(&current);
    let lost = state.news.clone();
    let not_kept = state.account_notes.clone();
    let (blocks, at_scrape) = (state.store.blocks.list(), Arc::clone(&clock));
    let telemetry = Arc::new(
        Telemetry::new(Arc::clone(&state.metrics), audit, sink, logging.dropped())
            .with_news(state.news.clone())
            .with_account(state.account_notes.clone())
            .at_scrape(move |metrics| {
                let generation = asked.load();
                let pool = generation.sessions().passwords();
                metrics.hash_pool(pool.waiting(), pool.rejected());
                metrics.news_lost(lost.dropped());
                metrics.account_records_lost(not_kept.lost());
                metrics.blocks_active(blocks.counts(at_scrape.now()));
                generation.measure_servers();
            }),
    );
    let recent = Arc::new(Recent::default());
    let reports: Vec<Arc<dyn FindingSink>> = vec![
        Arc::new(telemetry.findings()),
        Arc::clone(&recent) as Arc<dyn FindingSink>,
        Arc::new(state.account_notes.clone()),
    ];
    let taken = || StartError("the account records are being written already".to_owned());
    let account_queue = state.account_queue.lock().take().ok_or_else(taken)?;
    let keeping = account_queue.keep(Arc::clone(&state.store.records));
    let retention = Arc::new(Retention::new(&built.config.privacy));
    let forgetting = privacy::forget(
        Arc::clone(&state.store.places),
        Arc::clone(&recent),
        Arc::clone(&retention),
        Arc::clone(&clock),
    );
    let rules = Arc::new(ArcSwap::from_pointee(respond::rules(&built)));
    let rates = Arc::new(Rates::default());
    let sampling = rates::sample(Arc::clone(&rates), Arc::clone(&telemetry), Arc::clone(&recent));
    let detecting = DetectionParts {
        rules: Arc::clone(&rules),
        silences: Arc::clone(&silences),
        history: Arc::new(History::new(Arc::clone(&state.store.stamps))),
        counters: Arc::clone(&state.store.counters),
        respond: Arc::new(Responder {
            current: Arc::clone(&current),
            sessions: Arc::clone(&state.store.sessions),
            blocks: Arc::clone(&state.store.blocks),
            notices: Arc::new(state.news.clone()),
            telemetry: Arc::clone(&telemetry),
        }),
        report: Arc::new(reports),
    };
    let shutdown_timeout = built.config.listen.shutdown_timeout;
    let runtime = runtime(built.config.listen.threads).map_err(start_error)?;
    let directories = built.directories.iter().map(|(_, one)| one.clone()).collect();
    let has_passkeys = built.config.second_factor.passkeys.clone();
    let reload = Arc::new(Reloader {
        source,
        state: Arc::clone(&state),
        current: Arc::clone(&current),
        listening: Arc::clone(&listening),
        telemetry: Arc::clone(&telemetry),
        telling: Arc::clone(&telling),
        log: logging.filter(),
        supervisor: Arc::clone(&supervisor),
        rules,
        retention,
        clock: Arc::clone(&clock),
        watches: AtomicBool::new(built.config.reload.watch),
        built: tokio::sync::Mutex::new(built),
    });
    let parts = ProxyParts {
        current,
        sessions: Arc::clone(&state.store.sessions),
        operator: Operator::new(
            &operator_token,
            OperatorParts {
                sessions: Arc::clone(&state.store.sessions),
                blocks: Arc::clone(&state.store.blocks),
                recent,
                silences,
                rates,
            },
        ),
        reload: Arc::clone(&reload) as Arc<dyn Reload>,
        listening: Arc::clone(&listening),
        admin,
        observer: Observer::new(Arc::clone(&telemetry)),
        open: Arc::clone(&state.ended.open),
        clock: Arc::clone(&clock),
    };
    let addresses = BoundAddresses::of(&listening, &parts.admin);
    runtime.block_on(async move {
        tokio::spawn(detecting.run(queue));
        tokio::spawn(ask_once(directories, asked_for_factors));
        tokio::spawn(warn_of_useless_passkeys(Arc::clone(&parts.current), has_passkeys));
        tokio::spawn(forgetting);
        tokio::spawn(keeping);
        tokio::spawn(sampling);
        tokio::spawn(reload::watch(Arc::clone(&reload)));
        tokio::spawn(places::watch(Arc::clone(&reload)));
        let mut stop = Signals::listen().map_err(start_error)?;
        let serving = proxy::serve(parts).await.map_err(start_error)?;
        state.folder.write_admin_address(addresses.admin).map_err(start_error)?;
        addresses.tell();
        supervisor.is_ready();
        stop.received(|| {
            // The audit file may have been moved away, so it is reopened even if the configuration cannot be reloaded.
            telemetry.reopen_audit();
            let reload = Arc::clone(&reload);
            tokio::spawn(async move { reload.reload().await });
        })
        .await;
        tracing::info!("stopping");
        supervisor.is_stopping();
        tokio::select! {
            () = serving.stop(shutdown_timeout) => {}
            () = stop.received(|| {}) => tracing::warn!("a second stop signal came: not waiting"),
        }
        // Writes the last uses since the last sweep.
        if let Err(error) = state.store.sessions.upkeep(clock.now()).await {
            tracing::error!(%error, "the store's last upkeep failed");
        }
        tracing::info!("stopped");
        Ok(())
    })?;
    telling.stop(LAST_TASKS);
    runtime.shutdown_timeout(LAST_TASKS);
    drop(logging);
    Ok(())
}

/// Reports a wrong table or path at the start, and not when the first user cannot sign in. A service may come up later, so this
/// does not keep the gateway from starting.
async fn ask_once(directories: Vec<Directory>, factors: Arc<Factors>) {
    for directory in directories.iter().filter_map(Directory::users) {
        let at_service = factors.missing_at_service(directory.name()).await.unwrap_or_default();
        for missing in directory.missing().await.unwrap_or_default().into_iter().chain(at_service) {
            tracing::warn!(
                directory = directory.name(),
                missing,
                "a directory's database lacks something that the gateway needs"
            );
        }
        if let Err(error) = directory.find("").await {
            tracing::warn!(%error, "a directory cannot be asked; its users cannot sign in yet");
        }
    }
}

/// Warns the operator, because the users would only see that their passkeys do not work.
async fn warn_of_useless_passkeys(current: Arc<Current>, settings: Option<PasskeySettings>) {
    let generation = current.load();
    if let Some(told) = passkeys::useless(generation.sessions(), settings.as_ref()).await {
        tracing::warn!("{told}");
    }
}

/// Warns prominently, because a reader of the log might otherwise rely on a protection that does not exist.
fn warn_of_shadow(config: &Config) {
    for route in config.routes.iter().filter(|route| config.shadow.covers(route.index)) {
        tracing::warn!(
            route = route.name.as_str(),
            path = route.path.as_str(),
            "this route is shadowed: everything is let through unchecked, and only compared"
        );
    }
}

/// Installs one provider for TLS and for signatures, before anything needs it.
fn install_crypto() {
    // Both fail only if a provider is installed already, and that can only be this one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
}

fn runtime(threads: usize) -> std::io::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if threads > 0 {
        builder.worker_threads(threads);
    }
    // Blocking work is rare here (a directory's look-up, a backup); many such calls must not cause as many threads.
    builder.max_blocking_threads(16).thread_name("doorwarden").enable_all().build()
}

fn start_error(error: impl std::fmt::Display) -> StartError {
    StartError(error.to_string())
}

/// The addresses on which the gateway listens, with the ports that the system chose where 0 was configured.
struct BoundAddresses {
    http: Vec<SocketAddr>,
    https: Vec<SocketAddr>,
    admin: Option<SocketAddr>,
}

impl BoundAddresses {
    fn of(listening: &Listening, admin: &Bound) -> Self {
        Self {
            http: listening.addresses(false),
            https: listening.addresses(true),
            admin: admin.addresses().first().copied(),
        }
    }

    fn tell(&self) {
        let list = |addresses: &[SocketAddr]| -> String {
            addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
        };
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            http = list(&self.http),
            https = list(&self.https),
            admin = self.admin.map(|admin| admin.to_string()),
            "listening"
        );
    }
}

/// The signals SIGTERM and SIGINT, and SIGHUP.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits until the gateway is told to stop.
    async fn received(&mut self, hang_up: impl Fn()) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hang_up.recv() => hang_up(),
            }
        }
    }
}
