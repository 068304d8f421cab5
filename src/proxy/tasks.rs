//! Runs background tasks on the same runtime as the requests, until the gateway stops.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::generation::Current;
use super::listening::Listening;
use super::observe::Observer;
use super::upstream::{LOOKUP_INTERVAL, health};
use crate::clock::Clock;
use crate::context::Events;
use crate::event::{EndReason, EventKind};
use crate::store::Sessions;

/// How often expired sessions are removed and last uses are stored.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(30);

/// How often to check whether a directory is due.
const RECHECK_TICK: Duration = Duration::from_secs(1);

/// How often to check whether the certificates' files have changed.
const CERTIFICATE_TICK: Duration = Duration::from_secs(5);

/// Reads certificates again when their files change.
pub(super) fn reread_certificates(
    listening: Arc<Listening>,
    stop: watch::Receiver<bool>,
) -> JoinHandle<()> {
    every(CERTIFICATE_TICK, stop, move || {
        let listening = Arc::clone(&listening);
        async move {
            // The files may be on a network disk.
            let _ = tokio::task::spawn_blocking(move || listening.reread_certificates()).await;
        }
    })
}

/// Keeps the upstreams' addresses up to date.
pub(super) fn look_up(current: Arc<Current>, stop: watch::Receiver<bool>) -> JoinHandle<()> {
    every(LOOKUP_INTERVAL, stop, move || {
        let generation = current.load();
        async move { generation.look_up().await }
    })
}

/// Checks the health of the upstreams' servers.
pub(super) fn check_health(current: Arc<Current>, stop: watch::Receiver<bool>) -> JoinHandle<()> {
    let checker = std::sync::LazyLock::new(health::Checker::new);
    every(health::TICK, stop, move || {
        let generation = current.load();
        for pool in generation.pools.iter().filter(|pool| pool.settings().health.is_some()) {
            let (pool, checker) = (Arc::clone(pool), Arc::clone(&checker));
            // A slow server must not delay the checks of other pools.
            tokio::spawn(async move { pool.check_health(&checker).await });
        }
        std::future::ready(())
    })
}

/// Removes expired entries from the store.
pub(super) fn upkeep(
    sessions: Arc<dyn Sessions>,
    clock: Arc<dyn Clock>,
    observer: Observer,
    stop: watch::Receiver<bool>,
) -> JoinHandle<()> {
    every(UPKEEP_INTERVAL, stop, move || {
        let (sessions, clock, observer) =
            (Arc::clone(&sessions), Arc::clone(&clock), observer.clone());
        async move {
            let now = clock.now();
            match sessions.upkeep(now).await {
                Ok(done) => {
                    let ended = done.expired.iter().map(|session| {
                        let (id, why) = (session.id.clone(), EndReason::Expired);
                        let user = session.identity.load().key.clone();
                        match session.is_token() {
                            true => EventKind::PersonalTokenEnded { token: id, user, why },
                            false => EventKind::SessionEnded { session: id, user, why },
                        }
                    });
                    observer.tell_background(now, ended.collect());
                    observer.sessions_active(done.active);
                }
                Err(error) => tracing::error!(%error, "the store's upkeep failed"),
            }
        }
    })
}

/// Asks the directories that are due again about every signed-in user.
pub(super) fn recheck(
    current: Arc<Current>,
    clock: Arc<dyn Clock>,
    observer: Observer,
    stop: watch::Receiver<bool>,
) -> JoinHandle<()> {
    every(RECHECK_TICK, stop, move || {
        let issuers = Arc::clone(current.load().issuers());
        let (clock, observer) = (Arc::clone(&clock), observer.clone());
        async move {
            let now = clock.now();
            let events = Events::default();
            issuers.sessions().recheck(now, &events).await;
            observer.tell_background(now, events.take());
        }
    })
}

/// Does something now and again at every tick, never twice at a time.
fn every<F, W>(interval: Duration, mut stop: watch::Receiver<bool>, mut work: W) -> JoinHandle<()>
where
    W: FnMut() -> F + Send + 'static,
    F: Future<Output = ()> + Send,
{
    tokio::spawn(async move {
        let mut ticks = tokio::time::interval(interval);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => work().await,
                _ = stop.changed() => return,
            }
        }
    })
}
