//! Carries requests with the framework.
//!
//! This is the only folder in which the framework's name occurs. It converts at both ends (`convert`), asks the gate,
//! and carries out the gate's decision (`service`); it decides nothing itself.
//!
//! These defaults of the framework are changed here, with the reason at each place: connections without a limit on
//! their number (`accept`), persistent ones without a time limit, one message read into the next (`connection`), a
//! tunnel closed by a fast upstream (`upstream::dial`), header limits of a megabyte, 64 KiB of buffer for each idle
//! connection, retries of binding a port, a fixed wait at the end.

mod accept;
mod admin;
mod admin_maintenance;
mod admin_upstreams;
mod body;
mod bound;
mod certificate;
mod connection;
mod convert;
mod deadline;
mod deciding;
mod edit;
mod exchange;
mod explain;
mod generation;
mod guard;
mod in_flight;
mod left;
mod listening;
mod observe;
mod open;
mod proxied;
mod redirect_loop;
mod refusing;
mod registering;
mod request_id;
mod server;
mod service;
mod sign_ins;
mod stage;
mod tasks;
mod trying;
mod unread;
mod upstream;

use std::sync::Arc;

use pingora::server::configuration::ServerConf;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;

pub use self::certificate::Tls;
pub use self::generation::{Current, Generation, GenerationParts};
use self::in_flight::InFlight;
pub use self::listening::Listening;
pub use self::observe::Observer;
pub use self::open::OpenExchanges;
use self::request_id::RequestIds;
pub use self::server::{Bound, Inherited, ListenError};
pub use self::upstream::{ServerTlsError, server_tls_problems};
use crate::admin::Operator;
use crate::admin::reload::Reload;
use crate::clock::Clock;
use crate::secret::NoRandomness;
use crate::store::Sessions;

/// The parts that serving needs besides the generation.
pub struct ProxyParts {
    /// The generation that is served.
    pub current: Arc<Current>,
    /// The session store, for upkeep and readiness.
    pub sessions: Arc<dyn Sessions>,
    /// Answers operators.
    pub operator: Operator,
    /// Reads the configuration again.
    pub reload: Arc<dyn Reload>,
    /// The clients' listeners.
    pub listening: Arc<Listening>,
    /// The operators' listener.
    pub admin: Bound,
    /// Reports events.
    pub observer: Observer,
    /// The open exchanges, which are cut when their session ends.
    pub open: Arc<OpenExchanges>,
    /// The clock.
    pub clock: Arc<dyn Clock>,
}

/// How often the framework may choose a server for one request.
const MAX_RETRIES: usize = 1024;

/// A serving proxy.
pub struct Serving {
    stop: watch::Sender<bool>,
    in_flight: Arc<InFlight>,
    open: watch::Sender<usize>,
    listening: Arc<Listening>,
    tasks: Vec<JoinHandle<()>>,
}

/// Starts serving; must be called within a runtime.
///
/// # Errors
/// If the system provides no randomness.
pub async fn serve(parts: ProxyParts) -> Result<Serving, ServeError> {
    let ProxyParts {
        current,
        sessions,
        operator,
        reload,
        listening,
        admin,
        observer,
        open: exchanges,
        clock,
    } = parts;
    let (stop, stopped) = watch::channel(false);
    let in_flight = Arc::new(InFlight::default());
    let (open, _) = watch::channel(0);
    let lingering = Arc::new(Semaphore::new(connection::LINGERING));
    let service = service::ProxyService {
        current: Arc::clone(&current),
        clock: Arc::clone(&clock),
        ids: RequestIds::new()?,
        observer: observer.clone(),
        exchanges,
        lingering: Arc::clone(&lingering),
        in_flight: Arc::clone(&in_flight),
        stopping: stopped.clone(),
    };
    // Each server is tried once (`fail_to_connect`); the other retries are for kept connections that were just being closed.
    let conf = ServerConf { max_retries: MAX_RETRIES, ..ServerConf::default() };
    let accepted = server::Accepted {
        current: Arc::clone(&current),
        observer: observer.clone(),
        open: open.clone(),
        lingering,
        stop: stopped.clone(),
    };
    listening.start(server::accept_for(service, &Arc::new(conf), accepted));
    let tasks = vec![
        server::serve_app(
            admin::Admin {
                operator,
                current: Arc::clone(&current),
                reload,
                observer: observer.clone(),
                sessions: Arc::clone(&sessions),
                clock: Arc::clone(&clock),
                stop: stopped.clone(),
            },
            admin,
            stopped.clone(),
        ),
        tasks::upkeep(sessions, Arc::clone(&clock), observer.clone(), stopped.clone()),
        tasks::look_up(Arc::clone(&current), stopped.clone()),
        tasks::check_health(Arc::clone(&current), stopped.clone()),
        tasks::recheck(current, clock, observer, stopped.clone()),
        tasks::reread_certificates(Arc::clone(&listening), stopped),
    ];
    Ok(Serving { stop, in_flight, open, listening, tasks })
}

/// The reason why serving could not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Request ids need a random start.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

impl Serving {
    /// Accepts no new connections, and waits until the last request in flight is answered, or `within` is over.
    pub async fn stop(self, within: std::time::Duration) {
        let mut open = self.open.subscribe();
        self.stop.send_replace(true);
        let finished = async {
            // Connections that clients have made are counted as open once they are accepted.
            for task in self.listening.take_tasks() {
                let _ = task.await;
            }
            // A client's next request may be under way, so its connection stays open for a moment. HTTP/2 clients get
            // two GOAWAYs (RFC 9113 section 6.8), between which they have a round trip for requests that they have
            // begun. Errors would mean that nothing can be open or in flight any more.
            let closed = open.wait_for(|count| *count == 0);
            let _ = tokio::time::timeout(connection::LAST_REQUEST * 2, closed).await;
            self.in_flight.none().await;
            for task in self.tasks {
                let _ = task.await;
            }
        };
        if tokio::time::timeout(within, finished).await.is_err() {
            tracing::warn!(in_flight = self.in_flight.count(), "the shutdown cut off requests");
        }
    }
}
