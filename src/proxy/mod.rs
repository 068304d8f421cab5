//! How does the framework carry it?
//!
//! The only folder in which the framework's name occurs. It converts at both ends (`convert`), asks the gate, and puts
//! into practice what the gate decided (`service`); it decides nothing itself.
//!
//! What the framework does by default and is changed here, with the reason beside each: connections without a limit on their
//! number (`accept`), kept ones without a time limit, one message read into the next (`connection`), a tunnel closed by a
//! fast upstream (`handshake`), header limits of a megabyte, 64 KiB of buffer for each idle connection, retries of binding a
//! port, a fixed wait at the end.

mod accept;
mod admin;
mod body;
mod bound;
mod certificate;
mod connection;
mod convert;
mod edit;
mod exchange;
mod explain;
mod handshake;
mod left;
mod observe;
mod server;
mod service;
mod sign_ins;
mod stage;
mod tasks;
mod unread;
mod upstream;

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use pingora::server::configuration::ServerConf;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

pub use self::certificate::Tls;
pub use self::observe::Observer;
pub use self::server::{Bound, ListenError};
use self::upstream::Pool;
use crate::auth::Auth;
use crate::clock::Clock;
use crate::config::{Config, IssuerSettings, OwnPath};
use crate::endpoint::Endpoints;
use crate::endpoint::operator::Operator;
use crate::gate::Gate;
use crate::identity::{IdentityForms, IdentityHeaders};
use crate::secret::{NoRandomness, random_bytes};
use crate::store::Sessions;
use crate::wire::client_ip::TrustedProxies;
use crate::wire::forward::ProtectedNames;
use crate::wire::framing::{HeadLimits, Methods};

/// All that the proxy is made of.
pub struct Parts {
    /// The checked configuration.
    pub config: Config,
    /// Decides.
    pub gate: Arc<Gate>,
    /// Answers our own paths.
    pub endpoints: Arc<Endpoints>,
    /// Tells the upstream who is calling.
    pub identity: IdentityHeaders,
    /// Tells it in the service's own forms.
    pub forms: Arc<IdentityForms>,
    /// For the directories' recheck.
    pub auth: Arc<Auth>,
    /// For upkeep and readiness.
    pub sessions: Arc<dyn Sessions>,
    /// Answers operators.
    pub operator: Operator,
    /// Tells what happened.
    pub observer: Observer,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
}

/// The sockets that the proxy serves.
pub struct Sockets {
    /// Plain HTTP.
    pub http: Bound,
    /// TLS.
    pub https: Bound,
    /// For `https`.
    pub tls: Option<Arc<Tls>>,
    /// The admin listener.
    pub admin: Bound,
}

/// A serving proxy.
pub struct Serving {
    stop: watch::Sender<bool>,
    in_flight: watch::Sender<usize>,
    open: watch::Sender<usize>,
    accepting: Vec<JoinHandle<()>>,
    tasks: Vec<JoinHandle<()>>,
}

/// Starts serving; must be called within a runtime.
///
/// # Errors
/// If TLS cannot be set up, or the system gives no randomness.
pub async fn serve(parts: Parts, sockets: Sockets) -> Result<Serving, ServeError> {
    let Parts {
        config,
        gate,
        endpoints,
        identity,
        forms,
        auth,
        sessions,
        operator,
        observer,
        clock,
    } = parts;
    let (stop, stopped) = watch::channel(false);
    let (in_flight, _) = watch::channel(0);
    let (open, _) = watch::channel(0);
    let lingering = Arc::new(Semaphore::new(connection::LINGERING));
    let names = identity.names().chain(forms.names()).map(http::HeaderName::as_str);
    let protected = ProtectedNames::new(names)
        .and_reserved(config.reserved_headers.iter().map(String::as_str))
        .and_credentials(config.issuers.iter().filter_map(IssuerSettings::header));
    let unchanged = edit::UnchangedRules {
        believed: ProtectedNames::new(config.believed_headers()),
        shares_upstream: config.routes.iter().map(|route| config.shares_upstream(route)).collect(),
    };
    let pools: Vec<Arc<Pool>> =
        config.upstreams.iter().map(|upstream| Arc::new(Pool::new(upstream.clone()))).collect();
    let listen = config.listen.clone();

    let head = Arc::new(convert::HeadRules {
        limits: HeadLimits {
            head_bytes: listen.max_head_bytes,
            headers: listen.max_headers,
            target_bytes: listen.max_target_bytes,
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
    });
    let edit = Arc::new(edit::EditRules {
        identity,
        forms,
        protected,
        cookies: auth.cookie_names().clone(),
        issued_cookies: config
            .issuers
            .iter()
            .filter_map(|issuer| issuer.cookie().map(str::to_owned))
            .collect(),
        left: config.routes.iter().map(|route| left::Left::of(route, &config)).collect(),
        unchanged,
    });
    let explainer = explain::Explainer {
        head: Arc::clone(&head),
        edit: Arc::clone(&edit),
        gate: Arc::clone(&gate),
        auth: Arc::clone(&auth),
        pools: pools.clone(),
    };
    let service = service::Service {
        gate,
        endpoints,
        auth: Arc::clone(&auth),
        head,
        edit,
        pools: pools.clone(),
        observed: config.sign_in.observe.iter().cloned().map(Arc::new).collect(),
        listen: listen.clone(),
        hsts: hsts(listen.hsts_max_age),
        clock: Arc::clone(&clock),
        ids: RequestIds::new()?,
        observer: observer.clone(),
        lingering: Arc::clone(&lingering),
        in_flight: in_flight.clone(),
        stopping: stopped.clone(),
    };
    let certificate = sockets.tls.clone();
    let most_servers = pools.iter().map(|pool| pool.settings().servers.len()).max().unwrap_or(1);
    let conf = ServerConf {
        // One attempt for each server, and one more for a kept connection that was just being closed.
        max_retries: most_servers.saturating_mul(4).saturating_add(1),
        ..ServerConf::default()
    };
    let accepting = server::serve_proxy(
        service,
        &Arc::new(conf),
        &observer,
        server::Listeners {
            http: sockets.http,
            https: sockets.https,
            tls: sockets.tls,
            head_timeout: listen.head_timeout,
            keepalive_timeout: listen.keepalive_timeout,
            max_head_bytes: u32::try_from(listen.max_head_bytes).unwrap_or(u32::MAX),
            open: open.clone(),
            lingering,
            stream_window: listen.http2_stream_window,
            connection_window: listen.http2_connection_window,
            limits: accept::Limits::new(
                listen.max_connections,
                listen.max_connections_per_address,
                TrustedProxies::new(config.trusted_proxies.iter().copied()),
            ),
        },
        stopped.clone(),
    )?;
    let mut tasks = vec![
        server::serve_app(
            admin::Admin {
                operator,
                explainer,
                observer: observer.clone(),
                sessions: Arc::clone(&sessions),
                clock: Arc::clone(&clock),
                stop: stopped.clone(),
            },
            sockets.admin,
            stopped.clone(),
        ),
        tasks::upkeep(sessions, Arc::clone(&clock), observer.clone(), stopped.clone()),
        tasks::look_up(pools, stopped.clone()),
        tasks::recheck(auth, clock, observer, stopped.clone()),
    ];
    if let Some(tls) = certificate {
        tasks.push(tasks::reread_certificate(tls, stopped));
    }
    Ok(Serving { stop, in_flight, open, accepting, tasks })
}

/// What answers over TLS tell browsers. Other hosts below this one are not ours to speak for, so they are left out.
fn hsts(max_age: std::time::Duration) -> Option<http::HeaderValue> {
    if max_age.is_zero() {
        return None;
    }
    http::HeaderValue::from_str(&format!("max-age={}", max_age.as_secs())).ok()
}

/// Why serving could not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A listener.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// Request ids need a random start.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

impl Serving {
    /// Takes no new connection, and waits until the last request in flight is answered, or `within` is over.
    pub async fn stop(self, within: std::time::Duration) {
        let (mut in_flight, mut open) = (self.in_flight.subscribe(), self.open.subscribe());
        self.stop.send_replace(true);
        let finished = async {
            // What clients have connected to is counted as open once it is accepted.
            for task in self.accepting {
                let _ = task.await;
            }
            // A client's next request may be under way: its connection is kept for a moment. HTTP/2 clients are told with
            // two GOAWAYs (RFC 9113 section 6.8), between which they have a round trip for what they have begun. Errors
            // would mean that nothing can be open or in flight any more.
            let closed = open.wait_for(|count| *count == 0);
            let _ = tokio::time::timeout(connection::LAST_REQUEST * 2, closed).await;
            let _ = in_flight.wait_for(|count| *count == 0).await;
            for task in self.tasks {
                let _ = task.await;
            }
        };
        if tokio::time::timeout(within, finished).await.is_err() {
            tracing::warn!(
                in_flight = *self.in_flight.borrow(),
                "requests were cut off at the end"
            );
        }
    }
}

/// Gives every request an id: a random start for each process, and a count.
struct RequestIds {
    start: String,
    next: AtomicU64,
}

impl RequestIds {
    fn new() -> Result<Self, NoRandomness> {
        let mut start = String::new();
        for byte in random_bytes::<8>()? {
            let _ = write!(start, "{byte:02x}");
        }
        Ok(Self { start, next: AtomicU64::new(0) })
    }

    fn next(&self) -> Arc<str> {
        let count = self.next.fetch_add(1, Ordering::Relaxed);
        Arc::from(format!("{}-{count:08x}", self.start))
    }
}
