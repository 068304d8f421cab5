//! The ports through which sessions are kept, and their values.
//!
//! One [`Session`] is the root of everything issued: its cookie, its refresh-token family and its access tokens carry its
//! id, and ending it ends them all. A store hands out `Arc<Session>`s that are shared with the gate's memory of verified
//! tokens: the end of a session is seen there at once, because it sets a flag in the very same record.
//!
//! What *absent* and *down* mean is said at each method. "The store is down" is never "there is no session".
//!
//! An adapter must hold the contract in `contract/`; it is mounted once for each.
//!
//! The grace window belongs to each rotation by itself: a token that was spent within *its* window gets *its* sealed
//! answer again, even when the successor in that answer has been spent meanwhile (the caller then presents the
//! successor, and is within that one's window or not). Every token spent longer ago is reuse, whatever its generation.
//! A token past its own `exp` is neither: it could do nothing, so it raises nothing.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use async_trait::async_trait;

pub use self::blocks::{BlockList, Blocked, Blocks};
use self::counters::Counters;
use self::counters::memory::CountersInMemory;
use self::factors::FactorStore;
use self::outbox::{Outbox, Questions};
use self::passkeys::PasskeyStore;
use self::records::AccountRecords;
use self::saved_use::SavedUse;
use crate::caller::{Assurance, Identity, SessionId, TokenGrant, UserKey};
use crate::clock::Timestamp;
use crate::event::EndReason;
use crate::secret::Digest;

mod live;
mod saved_use;

pub mod blocks;
pub mod counters;
pub mod embedded;
pub mod factors;
pub mod memory;
pub mod notifying;
pub mod outbox;
pub mod passkeys;
pub mod read_only;
pub mod records;

#[cfg(test)]
mod contract;

/// One sign-in of one user on one device; or, if it has a [`TokenGrant`], one personal access token.
#[derive(Debug)]
pub struct Session {
    /// Its id.
    pub id: SessionId,
    /// Whose it is. Replaced when the directory says that groups or names changed.
    pub identity: ArcSwap<Identity>,
    /// What the directory said of the password when it was checked; another mark later ends the session.
    pub password_mark: Digest,
    /// SHA-256 of the session cookie's value, if a cookie was issued; of an adopted session the digest that stands for its
    /// credential.
    pub cookie: Option<Digest>,
    /// The `[[issuer]]` whose credential it is, if the session was adopted: see [`Sessions::adopt`].
    pub issuer: Option<Arc<str>>,
    /// When the user signed in.
    pub signed_in_at: Timestamp,
    /// The absolute end; nothing extends it.
    pub expires_at: Timestamp,
    /// Without a use for this long, it is over.
    pub idle_timeout: Duration,
    /// The address at sign-in.
    pub client: Option<IpAddr>,
    /// The `User-Agent` at sign-in, cut to 256 bytes.
    pub agent: Box<str>,
    /// How its user was authenticated, and when.
    pub assurance: Assurance,
    /// What it is for, if it is a personal access token; `cookie` is the SHA-256 of the token then.
    pub grant: Option<Arc<TokenGrant>>,
    /// What is kept for it beside: see [`SessionAttachments`]. Replaced through that port alone.
    pub kept: ArcSwapOption<Vec<u8>>,
    last_used: AtomicU64,
    ended: AtomicBool,
    /// What the store's file says of it, so that only differences are written.
    saved: SavedUse,
}

/// With the two counts of its `Arc`, a record fits an allocation of 256 bytes; the allocator's next size is 320, and a gateway
/// may hold hundreds of thousands.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Session>() + 2 * size_of::<usize>() <= 256);

/// A session to begin.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// A fresh random id.
    pub id: SessionId,
    /// Whose it is.
    pub identity: Arc<Identity>,
    /// See [`Session::password_mark`].
    pub password_mark: Digest,
    /// See [`Session::cookie`].
    pub cookie: Option<Digest>,
    /// See [`Session::issuer`].
    pub issuer: Option<Arc<str>>,
    /// When it begins.
    pub at: Timestamp,
    /// See [`Session::expires_at`].
    pub expires_at: Timestamp,
    /// See [`Session::idle_timeout`].
    pub idle_timeout: Duration,
    /// See [`Session::client`].
    pub client: Option<IpAddr>,
    /// See [`Session::agent`].
    pub agent: String,
    /// See [`Session::assurance`].
    pub assurance: Assurance,
    /// See [`Session::grant`].
    pub grant: Option<Arc<TokenGrant>>,
    /// The first refresh token of its family, if tokens were issued.
    pub refresh: Option<NewRefreshToken>,
    /// What is kept for it from the beginning: see [`SessionAttachments`].
    pub kept: Option<Arc<Vec<u8>>>,
}

/// A refresh token to remember. Only the hash of its `jti` is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRefreshToken {
    /// SHA-256 of the token's `jti` text.
    pub digest: Digest,
    /// Its `exp`.
    pub expires_at: Timestamp,
}

/// One rotation: spend `presented`, remember `successor`.
#[derive(Clone, Debug)]
pub struct Rotate {
    /// The session that the presented token names.
    pub session: SessionId,
    /// SHA-256 of the presented token's `jti`.
    pub presented: Digest,
    /// What is to follow it.
    pub successor: NewRefreshToken,
    /// The answer, sealed under a key that only a holder of the presented token can derive; kept for the grace window.
    pub sealed_answer: Vec<u8>,
    /// For how long after the rotation the same answer is given again.
    pub grace: Duration,
    /// Now.
    pub at: Timestamp,
}

/// What came of a presented refresh token.
#[derive(Clone, Debug)]
pub enum RotationOutcome {
    /// It was good and is now spent; its successor is stored, durably.
    Rotated(Arc<Session>),
    /// It was spent within the grace window: here is the sealed answer of that rotation.
    Replayed(Arc<Session>, Vec<u8>),
    /// It was spent longer ago. The session has been ended by this very call, durably.
    Reused(Arc<Session>),
    /// It has expired.
    Expired,
    /// The store has never seen it in this session, or has forgotten it; or the session has ended.
    Unknown,
}

/// What is known of a refresh token that is looked at and not spent.
#[derive(Clone, Debug)]
pub enum RefreshState {
    /// Good and not spent.
    Fresh(Arc<Session>),
    /// Spent at the given time; its session lives.
    Spent(Arc<Session>, Timestamp),
    /// It has expired.
    Expired,
    /// Never seen, forgotten, or its session has ended.
    Unknown,
}

/// What came of a session that can begin only once.
#[derive(Clone, Debug)]
pub enum BeginOutcome {
    /// It has begun, durably, and cannot begin again.
    Begun(Arc<Session>),
    /// It had begun before, or was never to begin: here it is if it lives.
    Before(Option<Arc<Session>>),
}

/// What proves a session from now on.
#[derive(Clone, Debug)]
pub struct Renewal {
    /// Which.
    pub session: SessionId,
    /// The digest of its new credential; `None`: it stays.
    pub cookie: Option<Digest>,
    /// See [`Session::password_mark`].
    pub password_mark: Digest,
    /// What the user has proved by now; `None`: it stays as it was.
    pub assurance: Option<Assurance>,
    /// Now.
    pub at: Timestamp,
}

/// How to find a session.
#[derive(Clone, Copy, Debug)]
pub enum SessionBy<'a> {
    /// By its id.
    Id(&'a SessionId),
    /// By the SHA-256 of its cookie's value.
    Cookie(&'a Digest),
}

/// Which sessions to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionSelection {
    /// One.
    Session(SessionId),
    /// All of a user, personal access tokens among them.
    User(UserKey),
    /// All of a user but one, personal access tokens among them.
    OthersOf {
        /// Whose.
        user: UserKey,
        /// The one that goes on.
        kept: SessionId,
    },
    /// All of a user that began with a sign-in, but one; personal access tokens stay.
    SignIns {
        /// Whose.
        user: UserKey,
        /// The one that goes on, if one does.
        kept: Option<SessionId>,
    },
}

/// What a round of upkeep did.
#[derive(Clone, Debug, Default)]
pub struct Upkeep {
    /// Sessions that passed their idle or absolute end and were removed.
    pub expired: Vec<Arc<Session>>,
    /// Sessions that live, without personal access tokens.
    pub active: u64,
    /// Personal access tokens that are good.
    pub tokens: u64,
}

/// The store could not do it. The text is for the log; a client gets 503.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store failed: {0}")]
pub struct StoreError(pub String);

/// Keeps sessions.
#[async_trait]
pub trait Sessions: Send + Sync {
    /// Begins a session, and with it its first refresh token; durable when this returns.
    async fn create(&self, new: NewSession) -> Result<Arc<Session>, StoreError>;

    /// Begins the session of a personal access token; `None`: its user has `most` that are good already. Of many parallel
    /// calls no more than there is room for succeed. Durable when this returns.
    async fn create_token(
        &self,
        new: NewSession,
        most: usize,
    ) -> Result<Option<Arc<Session>>, StoreError>;

    /// Begins a session unless there is a date under the key of `mark`, and puts that date, in one step: of many parallel
    /// calls with one mark exactly one is [`BeginOutcome::Begun`], and whatever ends that session, none is again while the mark is
    /// kept. Who sees the date finds the session, if it has not ended. Durable when this returns.
    async fn create_once(
        &self,
        new: NewSession,
        mark: NewStamp,
    ) -> Result<BeginOutcome, StoreError>;

    /// Begins a session for a credential that a service issued, whose digest is `new.cookie`, in one step: unless one lives
    /// by it, or there is a date under that digest, which is its end. [`Sessions::end`] puts that date, so that a credential
    /// whose session was ended adopts none again while the service may still take it (`idle_timeout` from the end on); time
    /// that runs out puts none. Durable when this returns.
    async fn adopt(&self, new: NewSession) -> Result<BeginOutcome, StoreError>;

    /// Gives a live session another proof: the same session in a new record, and whoever holds the old one finds it ended
    /// and looks again. `None`: the session has ended. Durable when this returns.
    async fn renew(&self, renewal: Renewal) -> Result<Option<Arc<Session>>, StoreError>;

    /// Finds a live session. `None`: never seen, ended, or past its idle or absolute end at `now`.
    async fn find(
        &self,
        by: SessionBy<'_>,
        now: Timestamp,
    ) -> Result<Option<Arc<Session>>, StoreError>;

    /// Ends sessions; durable when this returns, and seen by every holder of the records. Those that had ended before are
    /// not in the answer, so the caller tells each end once.
    async fn end(
        &self,
        which: &SessionSelection,
        why: EndReason,
        at: Timestamp,
    ) -> Result<Vec<Arc<Session>>, StoreError>;

    /// The live sessions, of one user or of all, newest first.
    async fn list(
        &self,
        user: Option<&UserKey>,
        now: Timestamp,
    ) -> Result<Vec<Arc<Session>>, StoreError>;

    /// Removes what has expired, forgets what is past use, and makes last uses and changed identities durable.
    async fn upkeep(&self, now: Timestamp) -> Result<Upkeep, StoreError>;
}

/// Keeps refresh tokens. An adapter implements both ports over the same data.
#[async_trait]
pub trait RefreshTokens: Send + Sync {
    /// Spends one token and remembers its successor, atomically: of many parallel calls with one token exactly one is
    /// [`RotationOutcome::Rotated`]. Durable when this returns.
    async fn rotate(&self, rotate: Rotate) -> Result<RotationOutcome, StoreError>;

    /// Looks at a token without spending it.
    async fn look(
        &self,
        session: &SessionId,
        presented: &Digest,
        now: Timestamp,
    ) -> Result<RefreshState, StoreError>;
}

/// What becomes of a stamp that is there already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keep {
    /// The one that is there stays.
    First,
    /// The later one counts.
    Latest,
}

/// A date to keep under a key.
#[derive(Clone, Debug)]
pub struct NewStamp {
    /// The hash of what it is about.
    pub key: Digest,
    /// The date.
    pub at: Timestamp,
    /// What becomes of one that is there already.
    pub keep: Keep,
    /// From then on it may be forgotten; of two, the later counts.
    pub kept_until: Timestamp,
}

/// Keeps dates about what others have issued (from when on a user's tokens count, until when one is denied, when it was
/// first seen). An adapter implements this port over the same data as the others.
#[async_trait]
pub trait Stamps: Send + Sync {
    /// The date under a key. Looked up in memory for each request, so it neither waits nor fails.
    fn stamp(&self, key: &Digest) -> Option<Timestamp>;

    /// Keeps a date; durable when this returns, and seen by every reader. Gives the date that holds.
    async fn put(&self, stamp: NewStamp) -> Result<Timestamp, StoreError>;
}

/// Keeps a small sealed thing with a session (the cookies that a service gave it). The store does not know what it is; it
/// is in the session's record, so that reading it does no I/O, and goes with the session.
#[async_trait]
pub trait SessionAttachments: Send + Sync {
    /// Replaces what is kept for a session; durable when this returns, and seen by every holder of the record. `false`:
    /// the session has ended, and nothing is kept for it.
    async fn keep(&self, session: &SessionId, kept: Arc<Vec<u8>>) -> Result<bool, StoreError>;
}

/// Forgets where people were.
#[async_trait]
pub trait StoredPlaces: Send + Sync {
    /// Forgets the addresses and `User-Agent`s of sessions that began before this time, live or ended, and what was to be
    /// told before it. When this returns, no file of the store has a byte of them, unless a reader of the file holds that up:
    /// then it is false, and the next call tries again.
    async fn forget_places(&self, before: Timestamp) -> Result<bool, StoreError>;
}

/// Knows who a user was, as the directory said at the last sign-in that is still on record.
#[async_trait]
pub trait Former: Send + Sync {
    /// Of sessions that began since then, ended ones too. `None`: there was none, or it is forgotten.
    async fn last_identity(
        &self,
        user: &UserKey,
        since: Timestamp,
    ) -> Result<Option<Identity>, StoreError>;
}

/// Copies a store while it is in use.
#[async_trait]
pub trait Backup: Send + Sync {
    /// Writes a consistent copy to a new file (mode 0600). An existing file is an error.
    async fn backup(&self, to: &Path) -> Result<(), StoreError>;
}

/// One store behind its ports.
#[derive(Clone)]
pub struct Store {
    /// The sessions.
    pub sessions: Arc<dyn Sessions>,
    /// The refresh tokens of these sessions.
    pub refresh_tokens: Arc<dyn RefreshTokens>,
    /// Dates about what others have issued.
    pub stamps: Arc<dyn Stamps>,
    /// What is kept with these sessions.
    pub kept: Arc<dyn SessionAttachments>,
    /// What is to be told.
    pub outbox: Arc<dyn Outbox>,
    /// What people are asked.
    pub questions: Arc<dyn Questions>,
    /// Who is refused for a time.
    pub blocks: Arc<dyn Blocks>,
    /// Second factors.
    pub factors: Arc<dyn FactorStore>,
    /// What people are shown of their account.
    pub records: Arc<dyn AccountRecords>,
    /// The use of passkeys, which are among them.
    pub passkeys: Arc<dyn PasskeyStore>,
    /// Where people were, to be forgotten.
    pub places: Arc<dyn StoredPlaces>,
    /// Who they were.
    pub former: Arc<dyn Former>,
    /// What is counted for a time.
    pub counters: Arc<dyn Counters>,
    /// A copy of all of it.
    pub backup: Arc<dyn Backup>,
}

impl Store {
    /// The ports of one adapter, for one process: what is counted is counted in memory.
    pub fn of<A>(adapter: Arc<A>) -> Self
    where
        A: Sessions
            + RefreshTokens
            + Stamps
            + SessionAttachments
            + Outbox
            + Questions
            + Blocks
            + FactorStore
            + AccountRecords
            + PasskeyStore
            + StoredPlaces
            + Former
            + Backup
            + 'static,
    {
        Self {
            sessions: Arc::<A>::clone(&adapter),
            refresh_tokens: Arc::<A>::clone(&adapter),
            stamps: Arc::<A>::clone(&adapter),
            kept: Arc::<A>::clone(&adapter),
            outbox: Arc::<A>::clone(&adapter),
            questions: Arc::<A>::clone(&adapter),
            blocks: Arc::<A>::clone(&adapter),
            factors: Arc::<A>::clone(&adapter),
            records: Arc::<A>::clone(&adapter),
            passkeys: Arc::<A>::clone(&adapter),
            places: Arc::<A>::clone(&adapter),
            former: Arc::<A>::clone(&adapter),
            counters: CountersInMemory::new(),
            backup: adapter,
        }
    }
}

impl Session {
    /// A session as it begins.
    pub fn begin(new: &NewSession) -> Arc<Self> {
        Self::new(new, new.at, SavedUse::default())
    }

    /// A session read back from disk, with its last use.
    fn restore(new: &NewSession, last_used: Timestamp) -> Arc<Self> {
        Self::new(new, last_used, SavedUse::new(last_used, Some(Arc::clone(&new.identity))))
    }

    fn new(new: &NewSession, last_used: Timestamp, saved: SavedUse) -> Arc<Self> {
        Arc::new(Self {
            id: new.id.clone(),
            identity: ArcSwap::from(Arc::clone(&new.identity)),
            password_mark: new.password_mark,
            cookie: new.cookie,
            issuer: new.issuer.clone(),
            signed_in_at: new.at,
            expires_at: new.expires_at,
            idle_timeout: new.idle_timeout,
            client: new.client,
            agent: new.agent.as_str().into(),
            assurance: new.assurance,
            grant: new.grant.clone(),
            kept: ArcSwapOption::new(new.kept.clone()),
            last_used: AtomicU64::new(last_used.as_millis()),
            ended: AtomicBool::new(false),
            saved,
        })
    }

    /// The same session as it is now, and apart from it from now on.
    #[must_use]
    pub fn copy(&self) -> Arc<Self> {
        Arc::new(self.with(self.cookie, self.password_mark, self.assurance))
    }

    /// The same session with what proves it from now on.
    fn renewed(&self, renewal: &Renewal) -> Arc<Self> {
        let assurance = renewal.assurance.unwrap_or(self.assurance);
        Arc::new(self.with(renewal.cookie.or(self.cookie), renewal.password_mark, assurance))
    }

    /// The same session, of which nobody knows any more where it began.
    fn without_place(&self) -> Arc<Self> {
        let mut session = self.with(self.cookie, self.password_mark, self.assurance);
        (session.client, session.agent) = (None, Box::default());
        Arc::new(session)
    }

    /// Is it to be forgotten where it began?
    fn has_place_before(&self, before: Timestamp) -> bool {
        self.signed_in_at < before && (self.client.is_some() || !self.agent.is_empty())
    }

    /// Until when the end of its credential must be known, if it was adopted and ends at `at`.
    fn end_of_credential(&self, at: Timestamp) -> Option<NewStamp> {
        let key = self.issuer.as_ref().and(self.cookie)?;
        Some(NewStamp { key, at, keep: Keep::Latest, kept_until: at.plus(self.idle_timeout) })
    }

    fn with(&self, cookie: Option<Digest>, password_mark: Digest, assurance: Assurance) -> Self {
        Self {
            id: self.id.clone(),
            identity: ArcSwap::from(self.identity.load_full()),
            password_mark,
            cookie,
            issuer: self.issuer.clone(),
            signed_in_at: self.signed_in_at,
            expires_at: self.expires_at,
            idle_timeout: self.idle_timeout,
            client: self.client,
            agent: self.agent.clone(),
            assurance,
            grant: self.grant.clone(),
            kept: ArcSwapOption::new(self.kept.load_full()),
            last_used: AtomicU64::new(self.last_used.load(Ordering::Relaxed)),
            ended: AtomicBool::new(self.ended.load(Ordering::Acquire)),
            saved: self.saved.copy(),
        }
    }

    /// Is it a personal access token's?
    pub const fn is_token(&self) -> bool {
        self.grant.is_some()
    }

    /// Whether a credential of this session is good at `now`: not ended, and within both timeouts.
    pub fn is_live(&self, now: Timestamp) -> bool {
        !self.ended.load(Ordering::Acquire)
            && now < self.expires_at
            && now.since(self.last_used()) < self.idle_timeout
    }

    /// Notes a use. Kept in memory at once; made durable by the next upkeep.
    pub fn touch(&self, now: Timestamp) {
        self.last_used.fetch_max(now.as_millis(), Ordering::Relaxed);
    }

    /// The last use.
    pub fn last_used(&self) -> Timestamp {
        Timestamp::from_millis(self.last_used.load(Ordering::Relaxed))
    }

    /// Marks it as ended, for a store only, after the end is durable. True for the first caller.
    pub fn mark_ended(&self) -> bool {
        !self.ended.swap(true, Ordering::AcqRel)
    }
}
