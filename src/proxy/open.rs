//! The register of open exchanges, by session: it cuts them when their session ends, or when their user, their session
//! or their client's address is blocked.
//!
//! A WebSocket, an event stream or a long download is decided on once, at its head, and runs for hours. When its session ends,
//! it must end too. The store reports every end ([`SessionEnded`]); each request that is forwarded for a session is in this
//! register while it lives; if it still runs [`GRACE`] after the end, it is cut. Cutting drops the future in which the
//! framework serves the request, and with it both its connections (HTTP/1, tunnels) or its stream (HTTP/2, which is reset).
//!
//! - An answer that is nearly complete is completed: a sign-out in one tab does not break the upload that ends in another.
//! - An exchange does not cut itself: by the service's own sign-out the session ends while its answer is under way.
//! - An end between the decision and the registration changes the number of ends ([`OpenExchanges::ends`]); then the store is
//!   asked.
//! - A request costs one lock of one shard when it begins and when it ends; a short one without a session costs nothing.
//! - A block is checked in the same way; an exchange that it cuts does not continue because its session lives. On a
//!   shadowed route nothing is enforced, so no block cuts there.
//! - A cut exchange has no access line, because the framework reports only requests that end by themselves; it is
//!   logged in a line of its own.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasher as _, BuildHasherDefault, Hasher};
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::task::AtomicWaker;
use ipnet::IpNet;
use parking_lot::Mutex;

use super::deadline::{Countdown, ExpiredTimeout, ServiceTimes, Tick};
use crate::block::{Block, BlockSubject};
use crate::caller::SessionId;
use crate::store::Session;
use crate::store::notifying::{BlockListener, SessionEnded};

/// An answer that is complete within this time after the end of its session is delivered.
const GRACE: Duration = Duration::from_millis(800);

/// The number of shards, so that requests of different sessions seldom wait for each other.
const SHARDS: usize = 16;

tokio::task_local! {
    /// The reasons that can end the exchange that this task serves.
    static CURRENT: ExchangeEnds;
}

/// The reasons that can end an exchange before it ends by itself.
#[derive(Default)]
struct ExchangeEnds {
    /// The registered exchange, which is told of its session's end, once there is one.
    exchange: RefCell<Option<Arc<Exchange>>>,
    /// The clock of its route's timeouts, if there are any.
    clock: RefCell<Option<Box<Countdown>>>,
}

type Shard = Mutex<HashMap<SessionId, Vec<Arc<Exchange>>, BuildHasherDefault<IdHasher>>>;

/// The register of open exchanges.
pub struct OpenExchanges {
    shards: [Shard; SHARDS],
    /// The number of sessions that have ended.
    ends: AtomicU64,
}

/// An odd number with as many ones as zeros, without a pattern.
const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

/// Hashes session ids. They are random, and made by the gateway: nobody can choose one that collides with another.
#[derive(Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        let mut last = [0; 8];
        last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
        for word in words.iter().chain([&last]) {
            self.0 = (self.0.rotate_left(5) ^ u64::from_le_bytes(*word)).wrapping_mul(MIX);
        }
    }

    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }
}

/// The owner of an exchange.
#[derive(Clone, Debug)]
pub(super) struct ExchangeOwner {
    /// The session, if there is one.
    pub(super) session: Option<SessionId>,
    /// The client's address. `None`: a block of an address does not cut the exchange.
    pub(super) client: Option<IpAddr>,
    /// Whether the route enforces anything.
    pub(super) is_checked: bool,
}

/// An open exchange.
struct Exchange {
    request_id: Arc<str>,
    client: Option<IpAddr>,
    is_checked: bool,
    ended: AtomicBool,
    waker: AtomicWaker,
}

/// Keeps an exchange in the register until it is dropped.
pub(super) struct Registered {
    register: Arc<OpenExchanges>,
    /// The session, or the request's own id if there is none.
    key: SessionId,
    exchange: Arc<Exchange>,
}

impl OpenExchanges {
    /// Creates an empty register.
    #[must_use]
    pub fn new() -> Self {
        Self { shards: std::array::from_fn(|_| Shard::default()), ends: AtomicU64::new(0) }
    }

    /// Returns how many sessions have ended so far. A request that sees the same number when it arrives and after it
    /// was registered has missed no end between its decision and its registration.
    pub(super) fn ends(&self) -> u64 {
        self.ends.load(Ordering::SeqCst)
    }

    /// Registers the request that this task serves as open.
    pub(super) fn enter(
        self: &Arc<Self>,
        whose: ExchangeOwner,
        request_id: &Arc<str>,
    ) -> Registered {
        let key = whose.session.unwrap_or_else(|| SessionId::new(request_id));
        let exchange = Arc::new(Exchange {
            request_id: Arc::clone(request_id),
            client: whose.client,
            is_checked: whose.is_checked,
            ended: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        });
        self.shard(&key).lock().entry(key.clone()).or_default().push(Arc::clone(&exchange));
        // Outside a task that serves requests (unit tests) nothing can be cut.
        let _ = CURRENT.try_with(|current| current.exchange.replace(Some(Arc::clone(&exchange))));
        Registered { register: Arc::clone(self), key, exchange }
    }

    fn end(&self, session: &SessionId) {
        self.end_those(session, |_| true);
    }

    fn end_those(&self, session: &SessionId, is_meant: impl Fn(&Exchange) -> bool) {
        // This comes before the search: a request that registers after it sees the number.
        self.ends.fetch_add(1, Ordering::SeqCst);
        let open = self.shard(session).lock().get(session).cloned().unwrap_or_default();
        cut(open.iter().filter(|exchange| is_meant(exchange)));
    }

    fn end_from(&self, network: &IpNet) {
        self.ends.fetch_add(1, Ordering::SeqCst);
        for shard in &self.shards {
            let open: Vec<Arc<Exchange>> =
                shard.lock().values().flatten().map(Arc::clone).collect();
            let is_from = |exchange: &&Arc<Exchange>| {
                exchange.client.is_some_and(|client| network.contains(&client.to_canonical()))
            };
            cut(open.iter().filter(is_from));
        }
    }

    fn shard(&self, session: &SessionId) -> &Shard {
        let hash = BuildHasherDefault::<IdHasher>::default().hash_one(session);
        // These bits differ from those that the table below uses.
        let index = usize::try_from((hash >> 40) % SHARDS as u64).unwrap_or(0);
        // There are `SHARDS` shards, and the index is a remainder.
        self.shards.get(index).unwrap_or(&self.shards[0])
    }
}

/// Ends these exchanges, except the one that asks for it.
fn cut<'e>(open: impl Iterator<Item = &'e Arc<Exchange>>) {
    let own = CURRENT.try_with(|current| current.exchange.borrow().clone()).ok().flatten();
    for exchange in open {
        if own.as_ref().is_none_or(|own| !Arc::ptr_eq(own, exchange)) {
            exchange.end();
        }
    }
}

impl Default for OpenExchanges {
    fn default() -> Self {
        Self::new()
    }
}

impl SessionEnded for OpenExchanges {
    fn session_ended(&self, session: &Session) {
        self.end(&session.id);
    }
}

impl BlockListener for OpenExchanges {
    fn blocked(&self, block: &Block, sessions: &[SessionId]) {
        match &block.subject {
            BlockSubject::Address(network) => self.end_from(network),
            BlockSubject::User(_) | BlockSubject::Session(_) => {
                for session in sessions {
                    self.end_those(session, |exchange| exchange.is_checked);
                }
            }
        }
    }
}

impl Registered {
    /// Ends the exchange: its session ended before it was registered.
    pub(super) fn ended(&self) {
        self.exchange.end();
    }
}

impl Exchange {
    fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.waker.wake();
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut shard = self.register.shard(&self.key).lock();
        if let Some(open) = shard.get_mut(&self.key) {
            open.retain(|exchange| !Arc::ptr_eq(exchange, &self.exchange));
            if open.is_empty() {
                shard.remove(&self.key);
            }
        }
    }
}

/// Sets or removes the clock of the request that this task serves.
pub(super) fn set_clock(clock: Option<Countdown>) {
    // Outside a task that serves requests nothing can be cut.
    let _ = CURRENT.try_with(|current| current.clock.replace(clock.map(Box::new)));
}

/// Restarts the clock, if the request has one, because a part of its answer came.
pub(super) fn a_part_came(limits: &ServiceTimes) {
    let _ = CURRENT.try_with(|current| {
        if let Some(clock) = &mut *current.clock.borrow_mut() {
            clock.came(limits);
        }
    });
}

/// Returns the timeout that has expired for the request that this task serves, if any.
pub(super) fn late() -> Option<ExpiredTimeout> {
    let late =
        |current: &ExchangeEnds| current.clock.borrow().as_ref().and_then(|clock| clock.late());
    CURRENT.try_with(late).ok().flatten()
}

impl ExchangeEnds {
    /// Checks whether anything ends the exchange now.
    fn poll(&self, cx: &mut Context<'_>) -> Poll<Interruption> {
        if let Some(clock) = &mut *self.clock.borrow_mut() {
            match clock.poll(cx) {
                Tick::Goes => {}
                Tick::RunsOut => return Poll::Ready(Interruption::Again),
                Tick::Over => return Poll::Ready(Interruption::Late),
            }
        }
        let exchange = self.exchange.borrow();
        let Some(exchange) = exchange.as_ref() else { return Poll::Pending };
        exchange.waker.register(cx.waker());
        match exchange.ended.load(Ordering::Acquire) {
            true => Poll::Ready(Interruption::SessionEnded),
            false => Poll::Pending,
        }
    }
}

/// The reason for interrupting an exchange.
enum Interruption {
    /// The request is polled again, to see whether it can continue.
    Again,
    Late,
    SessionEnded,
}

/// Serves a request until it, its session or its time ends. `None`: it was cut.
pub(super) async fn until_its_session_ends<T>(served: impl Future<Output = T>) -> Option<T> {
    CURRENT
        .scope(ExchangeEnds::default(), async {
            let mut served = pin!(served);
            // The end of the session is checked whenever the request is polled, and when the end wakes this task.
            let first = std::future::poll_fn(|cx| {
                loop {
                    if let Poll::Ready(done) = served.as_mut().poll(cx) {
                        return Poll::Ready(Ok(done));
                    }
                    match CURRENT.with(|current| current.poll(cx)) {
                        Poll::Pending => return Poll::Pending,
                        Poll::Ready(Interruption::Again) => {}
                        Poll::Ready(Interruption::Late) => {
                            return Poll::Ready(Err("its route's time limit was reached"));
                        }
                        Poll::Ready(Interruption::SessionEnded) => {
                            return Poll::Ready(Err(
                                "its session ended, or its caller was blocked",
                            ));
                        }
                    }
                }
            });
            let why = match first.await {
                Ok(done) => return Some(done),
                Err(why) => why,
            };
            let last = match late() {
                None => tokio::time::timeout(GRACE, served).await.ok(),
                Some(_) => None,
            };
            if last.is_none() {
                let id = CURRENT.with(|current| {
                    let exchange = current.exchange.borrow();
                    exchange.as_ref().map(|exchange| Arc::clone(&exchange.request_id))
                });
                tracing::info!(
                    request_id = id.as_deref().unwrap_or_default(),
                    "an open request was cut off, because {why}"
                );
            }
            last
        })
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(session: &SessionId) -> ExchangeOwner {
        let client = Some("192.0.2.7".parse().unwrap());
        ExchangeOwner { session: Some(session.clone()), client, is_checked: true }
    }

    #[test]
    fn a_block_ends_whom_it_is_of() {
        let register = Arc::new(OpenExchanges::new());
        let session = SessionId::new("s-1");
        let shadowed = ExchangeOwner { client: None, is_checked: false, ..of(&session) };
        let anonymous = ExchangeOwner { session: None, ..of(&session) };
        for (kind, subject, ended) in [
            ("address", "192.0.2.0/24", [true, false, true]),
            ("address", "192.0.3.0/24", [false; 3]),
            ("session", "s-1", [true, false, false]),
            ("user", "django/7", [true, false, false]),
        ] {
            let open = [of(&session), shadowed.clone(), anonymous.clone()]
                .map(|whose| register.enter(whose, &"r-1".into()));
            let block = Block {
                subject: BlockSubject::parse(kind, subject).unwrap(),
                demand: crate::block::Demand::StayAway,
                by: crate::block::BlockedBy::Operator,
                reason: "".into(),
                at: crate::clock::Timestamp::from_secs(0),
                until: crate::clock::Timestamp::from_secs(60),
            };
            let before = register.ends();
            register.blocked(&block, std::slice::from_ref(&session));
            assert!(register.ends() > before, "whoever enters now is looked at again");
            let flags = open.each_ref().map(|one| one.exchange.ended.load(Ordering::Acquire));
            assert_eq!(flags, ended, "{kind} {subject}");
        }
    }

    /// Serves a request whose session ends meanwhile, by this request or by another, and whose answer is complete after
    /// `more`.
    async fn ends_while_open(by_itself: bool, more: Duration) -> Option<&'static str> {
        let register = Arc::new(OpenExchanges::new());
        let session = SessionId::new("s-1");
        let served = async {
            let _registered = register.enter(of(&session), &"r-1".into());
            if by_itself {
                register.end(&session);
            } else {
                let (register, session) = (Arc::clone(&register), session.clone());
                tokio::spawn(async move { register.end(&session) }).await.unwrap();
            }
            tokio::time::sleep(more).await;
            "answered"
        };
        let done = until_its_session_ends(served).await;
        assert!(register.shard(&session).lock().is_empty(), "nothing stays behind");
        done
    }

    #[tokio::test]
    async fn what_is_open_when_its_session_ends_is_cut_after_the_grace() {
        let begun = tokio::time::Instant::now();
        assert_eq!(ends_while_open(false, Duration::from_secs(3600)).await, None);
        assert!(begun.elapsed() >= GRACE, "{:?}", begun.elapsed());
        assert_eq!(ends_while_open(false, GRACE / 8).await, Some("answered"), "within the grace");
        assert_eq!(ends_while_open(true, GRACE * 5 / 4).await, Some("answered"), "never itself");
    }

    #[tokio::test]
    async fn the_end_of_another_session_is_nothing_to_it() {
        let register = Arc::new(OpenExchanges::new());
        let (mine, other) = (SessionId::new("s-1"), SessionId::new("s-2"));
        let served = async {
            let _registered = register.enter(of(&mine), &"r-1".into());
            let register = Arc::clone(&register);
            tokio::spawn(async move { register.end(&other) }).await.unwrap();
            tokio::time::sleep(GRACE * 5 / 4).await;
            "answered"
        };
        assert_eq!(until_its_session_ends(served).await, Some("answered"));
    }
}
