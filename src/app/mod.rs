//! The composition root: the only place that names concrete adapters.
//!
//! From a checked configuration to a running gateway, in an order in which every failure is a clear line and happens before
//! anything is served: keys, certificate, databases and store are opened, the sockets are bound, and only then does the
//! first request come in.

pub mod examine;
pub mod offline;
mod state;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};

use self::state::{StateFolder, claim_store};
use crate::auth::cookies::CookieNames;
use crate::auth::kept::KeptCookies;
use crate::auth::keys::KeyRing;
use crate::auth::refresh_token::RefreshKey;
use crate::auth::{self, Auth, Watched};
use crate::caller::SessionId;
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::config::{Config, DirectoryKind, DirectorySettings, StoreKind};
use crate::detect::Detectors;
use crate::detect::watch::{self, NotDone, Respond, Watch};
use crate::directory::Directory;
use crate::directory::database::{Access, Databases};
use crate::directory::django::DjangoDirectory;
use crate::directory::file::FileDirectory;
use crate::directory::http::HttpDirectory;
use crate::directory::password::PasswordPool;
use crate::directory::private_file;
use crate::endpoint::Endpoints;
use crate::endpoint::operator::Operator;
use crate::event::EndReason;
use crate::gate::Gate;
use crate::geo::{Countries, Mmdb, NoCountries};
use crate::identity::{IdentityForms, IdentityHeaders};
use crate::proxy::{self, Bound, Observer, Parts, Sockets, Tls};
use crate::secret::random_bytes;
use crate::store::embedded::Embedded;
use crate::store::memory::Memory;
use crate::store::telling::{SessionEnded, Telling};
use crate::store::{Store, Which};
use crate::telemetry::{self, Audit, Metrics, Names, Telemetry, TimedDirectory, TimedStore};

/// Why the gateway did not start.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StartError(String);

/// How long the runtime's own tasks may take to end after the last request.
const LAST_TASKS: Duration = Duration::from_secs(1);

/// Runs the gateway until it is told to stop.
///
/// # Errors
/// The first thing that keeps it from starting.
pub fn run(config: Config) -> Result<(), StartError> {
    let logging = telemetry::init_log(&config.log).map_err(start_error)?;
    warn_of_shadow(&config);
    install_crypto();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let now = clock.now();

    let state = StateFolder::of(&config);
    state.make().map_err(start_error)?;
    let _store_is_ours = claim_store(&config).map_err(start_error)?;
    let operator_token = state.operator_token().map_err(start_error)?;
    let tls = config.listen.tls.as_ref().map(Tls::load).transpose().map_err(start_error)?;
    let countries: Arc<dyn Countries> = match &config.geo.country_database {
        Some(path) => Arc::new(Mmdb::open(path).map_err(start_error)?),
        None => Arc::new(NoCountries),
    };
    let store = open_store(&config)?;
    let sockets = Sockets {
        http: Bound::bind(&config.listen.http).map_err(start_error)?,
        https: Bound::bind(&config.listen.https).map_err(start_error)?,
        tls,
        admin: Bound::bind(&[config.listen.admin]).map_err(start_error)?,
    };

    let metrics = Arc::new(Metrics::new(&Names::of(&config)).map_err(start_error)?);
    let audit = Audit::open(&config.log).map_err(start_error)?;
    let store = Store {
        sessions: Arc::new(TimedStore::new(store.sessions, Arc::clone(&metrics))),
        refresh_tokens: Arc::new(TimedStore::new(store.refresh_tokens, Arc::clone(&metrics))),
        stamps: Arc::new(TimedStore::new(store.stamps, Arc::clone(&metrics))),
        kept: Arc::new(TimedStore::new(store.kept, Arc::clone(&metrics))),
        backup: store.backup,
    };
    let pool = PasswordPool::start(config.login.hash_threads, config.login.hash_queue)
        .map_err(start_error)?;
    let databases = Arc::new(Databases::default());
    let directories = directories(&config, &databases, &metrics)?;
    let asked: Vec<_> = directories.iter().map(|one| Arc::clone(one.directory())).collect();
    let kept = Arc::new(kept_cookies(&store, &asked, &state).map_err(start_error)?);
    let forms = IdentityForms::open(&config, &asked, &databases, &kept, &state.forms_secret());
    let forms = Arc::new(forms.map_err(start_error)?);
    let ended: Arc<dyn SessionEnded> = Arc::new(vec![
        Arc::<IdentityForms>::clone(&forms) as Arc<dyn SessionEnded>,
        Arc::<KeptCookies>::clone(&kept) as Arc<dyn SessionEnded>,
    ]);
    let store = Store {
        sessions: Arc::new(Telling::new(store.sessions, Arc::clone(&ended))),
        refresh_tokens: Arc::new(Telling::new(store.refresh_tokens, ended)),
        stamps: store.stamps,
        kept: store.kept,
        backup: store.backup,
    };
    let refresh_key = RefreshKey::open(&state.refresh_key()).map_err(start_error)?;
    let auth = auth::Parts {
        sessions: Arc::clone(&store.sessions),
        refresh_tokens: Arc::clone(&store.refresh_tokens),
        stamps: Arc::clone(&store.stamps),
        kept,
        databases,
        issuers: config.issuers.clone(),
        directories,
        passwords: pool.clone(),
        keys: KeyRing::open(&config.tokens, now).map_err(start_error)?,
        refresh_key,
        tokens: config.tokens.clone(),
        session: config.session.clone(),
        cookies: CookieNames::of(&config),
        login: config.login.clone(),
    };
    let auth = Arc::new(Auth::new(auth).map_err(start_error)?);

    let (sink, queue) = watch::queue(config.detect.queue);
    let telemetry = Arc::new(
        Telemetry::new(Names::of(&config), Arc::clone(&metrics), audit, sink, logging.dropped())
            .at_scrape(move |metrics| metrics.hash_pool(pool.waiting(), pool.rejected())),
    );
    let detecting = Watch {
        detectors: Detectors::new(&config.detect),
        settings: config.detect.clone(),
        countries,
        respond: Arc::new(EndSessions {
            auth: Arc::clone(&auth),
            telemetry: Arc::clone(&telemetry),
        }),
        report: Arc::new(telemetry.findings()),
    };

    let identity = IdentityHeaders::new(&config.identity).map_err(start_error)?;
    let operator = Operator::new(&operator_token, Arc::clone(&auth), Arc::clone(&store.sessions));
    let shutdown_timeout = config.listen.shutdown_timeout;
    let threads = config.listen.threads;
    let parts = Parts {
        gate: Arc::new(Gate::new(&config, Arc::clone(&auth))),
        endpoints: Arc::new(Endpoints::new(Arc::clone(&auth), &config)),
        identity,
        forms,
        auth: Arc::clone(&auth),
        sessions: Arc::clone(&store.sessions),
        operator,
        observer: Observer::new(Arc::clone(&telemetry)),
        clock: Arc::clone(&clock),
        config,
    };

    let runtime = runtime(threads).map_err(start_error)?;
    runtime.block_on(async move {
        tokio::spawn(detecting.run(queue));
        tokio::spawn(ask_once(asked));
        let addresses = Addresses::of(&sockets);
        let mut stop = Signals::listen().map_err(start_error)?;
        let serving = proxy::serve(parts, sockets).await.map_err(start_error)?;
        state.write_admin_address(addresses.admin).map_err(start_error)?;
        addresses.tell();
        stop.received(|| hang_up(&telemetry, &auth, clock.now())).await;
        tracing::info!("stopping");
        tokio::select! {
            () = serving.stop(shutdown_timeout) => {}
            () = stop.received(|| {}) => tracing::warn!("told to stop twice: not waiting"),
        }
        // Last uses since the last sweep.
        if let Err(error) = store.sessions.upkeep(clock.now()).await {
            tracing::error!(%error, "the store's last upkeep failed");
        }
        tracing::info!("stopped");
        Ok(())
    })?;
    runtime.shutdown_timeout(LAST_TASKS);
    drop(logging);
    Ok(())
}

/// A wrong table or path is told at the start, and not by the first who cannot sign in. A service may come up later, so it
/// keeps nothing from starting.
async fn ask_once(directories: Vec<Arc<dyn Directory>>) {
    for directory in directories.iter().filter(|directory| !directory.checks_passwords()) {
        for missing in directory.missing().await.unwrap_or_default() {
            tracing::warn!(
                directory = directory.name(),
                missing,
                "a directory lacks something in its database"
            );
        }
        if let Err(error) = directory.find("").await {
            tracing::warn!(%error, "a directory cannot be asked; its users cannot sign in yet");
        }
    }
}

/// Loudly, because whoever reads the log later may take the gateway for a protection that it is not there.
fn warn_of_shadow(config: &Config) {
    for route in config.routes.iter().filter(|route| config.shadow.covers(route.index)) {
        tracing::warn!(
            route = route.name.as_str(),
            path = route.path.as_str(),
            "this route is shadowed: everything is let through unchecked, and only compared"
        );
    }
}

/// One provider for TLS and for signatures, before anything asks for one.
fn install_crypto() {
    // Both fail only if a provider is installed already, which is then this one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let _ = jsonwebtoken::crypto::aws_lc::DEFAULT_PROVIDER.install_default();
}

fn open_store(config: &Config) -> Result<Store, StartError> {
    match config.store.kind {
        StoreKind::Memory => Ok(Store::of(Memory::new())),
        StoreKind::Embedded => {
            Ok(Store::of(Embedded::open(&config.store.path).map_err(start_error)?))
        }
    }
}

/// Sealed under the gateway's own secret, if there is a directory that gives any.
fn kept_cookies(
    store: &Store,
    directories: &[Arc<dyn Directory>],
    state: &StateFolder,
) -> Result<KeptCookies, String> {
    let secret = if directories.iter().any(|directory| directory.checks_passwords()) {
        private_file::own_secret(&state.forms_secret())?
    } else {
        random_bytes::<32>().map_err(|error| error.to_string())?.to_vec().into()
    };
    let directories = directories.iter().map(Arc::clone).collect();
    KeptCookies::new(&secret, Arc::clone(&store.sessions), Arc::clone(&store.kept), directories)
}

fn directories(
    config: &Config,
    databases: &Databases,
    metrics: &Metrics,
) -> Result<Vec<Watched>, StartError> {
    config.directories.iter().map(|settings| directory(settings, databases, metrics)).collect()
}

fn directory(
    settings: &DirectorySettings,
    databases: &Databases,
    metrics: &Metrics,
) -> Result<Watched, StartError> {
    let found: Arc<dyn Directory> = match &settings.kind {
        DirectoryKind::File { path } => {
            Arc::new(FileDirectory::open(&settings.name, path).map_err(start_error)?)
        }
        DirectoryKind::Http(http) => {
            Arc::new(HttpDirectory::new(&settings.name, http).map_err(start_error)?)
        }
        DirectoryKind::Django(django) => {
            let database = databases.open(&django.database, Access::Read);
            let opened = DjangoDirectory::new(&settings.name, django, database);
            Arc::new(opened.map_err(start_error)?)
        }
    };
    let timed = Arc::new(TimedDirectory::new(found, metrics));
    Ok(Watched::new(timed, settings.recheck))
}

fn runtime(threads: usize) -> std::io::Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if threads > 0 {
        builder.worker_threads(threads);
    }
    // Blocking work is rare here (a directory's look-up, a backup): a flood of it must not become a flood of threads.
    builder.max_blocking_threads(16).thread_name("doorwarden").enable_all().build()
}

fn start_error(error: impl std::fmt::Display) -> StartError {
    StartError(error.to_string())
}

/// What a detector does about a session.
struct EndSessions {
    auth: Arc<Auth>,
    telemetry: Arc<Telemetry>,
}

#[async_trait::async_trait]
impl Respond for EndSessions {
    async fn end_session(&self, session: &SessionId, at: Timestamp) -> Result<(), NotDone> {
        let mut happened = Vec::new();
        let which = Which::Session(session.clone());
        let ended = self.auth.end(&which, EndReason::Detected, at, &mut happened).await;
        for what in happened {
            let event = crate::event::Event { at, request_id: None, client: None, what };
            self.telemetry.event(event);
        }
        ended.map(|_| ()).map_err(|refusal| NotDone(refusal.code().to_owned()))
    }
}

/// Where the gateway really listens, with the ports that were given where 0 was asked for.
struct Addresses {
    http: Vec<SocketAddr>,
    https: Vec<SocketAddr>,
    admin: Option<SocketAddr>,
}

impl Addresses {
    fn of(sockets: &Sockets) -> Self {
        Self {
            http: sockets.http.addresses(),
            https: sockets.https.addresses(),
            admin: sockets.admin.addresses().first().copied(),
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

/// SIGHUP: the audit file was moved away, or keys were changed in their files.
fn hang_up(telemetry: &Telemetry, auth: &Auth, now: Timestamp) {
    telemetry.reopen_audit();
    match auth.reload_keys(now) {
        Ok(()) => tracing::info!(
            "reopened the audit file and read the signing keys again; certificates are read when their files change, the \
             configuration at a restart"
        ),
        Err(error) => tracing::error!(%error, "the signing keys cannot be read; those in use stay"),
    }
}

/// SIGTERM and SIGINT, and SIGHUP meanwhile.
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
