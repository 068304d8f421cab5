//! The ports that store sessions, and their values.
//!
//! One [`Session`] is the root of everything issued: its cookie, its refresh-token family and its access tokens carry its id,
//! and ending it ends them all. A store returns `Arc<Session>`s that are shared with the gate's cache of verified tokens: the
//! cache sees the end of a session at once, because it sets a flag in the same record.
//!
//! Each method documents what *absent* and *down* mean. "The store is down" is never "there is no session".
//!
//! An adapter must fulfil the contract in `contract/`, whose tests run once for each adapter.
//!
//! Each rotation has a grace window of its own: a token that was spent within *its* window gets *its* sealed answer again, even
//! if the successor in that answer has been spent meanwhile (the caller then presents the successor, within that one's window
//! or not). Every token spent longer ago is reuse, whatever its generation. A token past its own `exp` is neither, because it
//! is worthless anyway.

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

/// One sign-in of one user on one device, or one personal access token if it has a [`TokenGrant`].
#[derive(Debug)]
pub struct Session {
    /// The session's id.
    pub id: SessionId,
    /// The user that the session belongs to. Replaced when the directory reports other groups or names.
    pub identity: ArcSwap<Identity>,
    /// The directory's mark of the password when it was checked; a different mark later ends the session.
    pub password_mark: Digest,
    /// The SHA-256 of the session cookie's value, if a cookie was issued; for an adopted session, the digest that stands for
    /// its credential.
    pub cookie: Option<Digest>,
    /// The `[[issuer]]` of the credential, if the session was adopted: see [`Sessions::adopt`].
    pub issuer: Option<Arc<str>>,
    /// When the user signed in.
    pub signed_in_at: Timestamp,
    /// The absolute timeout; nothing extends it.
    pub expires_at: Timestamp,
    /// The idle timeout: the session ends after this time without a use.
    pub idle_timeout: Duration,
    /// The address at sign-in.
    pub client: Option<IpAddr>,
    /// The `User-Agent` at sign-in, cut to 256 bytes.
    pub agent: Box<str>,
    /// How the user was authenticated, and when.
    pub assurance: Assurance,
    /// The scope of a personal access token, if it is one; `cookie` is then the SHA-256 of the token.
    pub grant: Option<Arc<TokenGrant>>,
    /// The attachment of the session: see [`SessionAttachments`]. Replaced through that port alone.
    pub kept: ArcSwapOption<Vec<u8>>,
    last_used: AtomicU64,
    ended: AtomicBool,
    /// What the store's file has of the session, so that only differences are written.
    saved: SavedUse,
}

/// With the two counts of its `Arc`, a record fits an allocation of 256 bytes; the allocator's next size is 320, and a gateway
/// may have hundreds of thousands of sessions.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<Session>() + 2 * size_of::<usize>() <= 256);

/// A session to begin.
#[derive(Clone, Debug)]
pub struct NewSession {
    /// The session's id: new and random.
    pub id: SessionId,
    /// The user that the session belongs to.
    pub identity: Arc<Identity>,
    /// See [`Session::password_mark`].
    pub password_mark: Digest,
    /// See [`Session::cookie`].
    pub cookie: Option<Digest>,
    /// See [`Session::issuer`].
    pub issuer: Option<Arc<str>>,
    /// When the session begins.
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
    /// The first refresh token of the session's family, if tokens were issued.
    pub refresh: Option<NewRefreshToken>,
    /// The first attachment of the session: see [`SessionAttachments`].
    pub kept: Option<Arc<Vec<u8>>>,
}

/// A refresh token to store. Only the hash of its `jti` is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRefreshToken {
    /// The SHA-256 of the token's `jti` text.
    pub digest: Digest,
    /// The token's `exp`.
    pub expires_at: Timestamp,
}

/// One rotation: spend `presented`, store `successor`.
#[derive(Clone, Debug)]
pub struct Rotate {
    /// The session that the presented token names.
    pub session: SessionId,
    /// The SHA-256 of the presented token's `jti`.
    pub presented: Digest,
    /// The token that replaces the presented one.
    pub successor: NewRefreshToken,
    /// The answer, sealed under a key that only a holder of the presented token can derive; stored for the grace window.
    pub sealed_answer: Vec<u8>,
    /// How long after the rotation the same answer is given again.
    pub grace: Duration,
    /// The current time.
    pub at: Timestamp,
}

/// The result of presenting a refresh token.
#[derive(Clone, Debug)]
pub enum RotationOutcome {
    /// The token was valid and is now spent; its successor is stored, durably.
    Rotated(Arc<Session>),
    /// The token was spent within the grace window; this is the sealed answer of that rotation.
    Replayed(Arc<Session>, Vec<u8>),
    /// The token was spent longer ago. This call has ended the session, durably.
    Reused(Arc<Session>),
    /// The token has expired.
    Expired,
    /// The store has never seen the token in this session, or has forgotten it; or the session has ended.
    Unknown,
}

/// The state of a refresh token that is not spent by the lookup.
#[derive(Clone, Debug)]
pub enum RefreshState {
    /// The token is valid and unspent.
    Fresh(Arc<Session>),
    /// The token was spent at this time; its session is live.
    Spent(Arc<Session>, Timestamp),
    /// The token has expired.
    Expired,
    /// The token was never seen or is forgotten, or its session has ended.
    Unknown,
}

/// The result of beginning a session that can begin only once.
#[derive(Clone, Debug)]
pub enum BeginOutcome {
    /// The session has begun, durably, and cannot begin again.
    Begun(Arc<Session>),
    /// The session had begun before, or must not begin; this is the session if it is live.
    Before(Option<Arc<Session>>),
}

/// A change of a session's credential or assurance.
#[derive(Clone, Debug)]
pub struct Renewal {
    /// The session to renew.
    pub session: SessionId,
    /// The digest of the new credential; `None` keeps the current one.
    pub cookie: Option<Digest>,
    /// See [`Session::password_mark`].
    pub password_mark: Digest,
    /// The new assurance; `None` keeps the current one.
    pub assurance: Option<Assurance>,
    /// The current time.
    pub at: Timestamp,
}

/// The key by which a session is found.
#[derive(Clone, Copy, Debug)]
pub enum SessionBy<'a> {
    /// The session's id.
    Id(&'a SessionId),
    /// The SHA-256 of the cookie's value.
    Cookie(&'a Digest),
}

/// The sessions to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SessionSelection {
    /// One session.
    Session(SessionId),
    /// All sessions of a user, including personal access tokens.
    User(UserKey),
    /// All sessions of a user except one, including personal access tokens.
    OthersOf {
        /// The user that the sessions belong to.
        user: UserKey,
        /// The session that goes on.
        kept: SessionId,
    },
    /// All sessions of a user that began with a sign-in, except one; personal access tokens go on.
    SignIns {
        /// The user that the sessions belong to.
        user: UserKey,
        /// The session that goes on, if any.
        kept: Option<SessionId>,
    },
}

/// The result of a round of upkeep.
#[derive(Clone, Debug, Default)]
pub struct Upkeep {
    /// Sessions that passed their idle or absolute timeout and were removed.
    pub expired: Vec<Arc<Session>>,
    /// The number of live sessions, without personal access tokens.
    pub active: u64,
    /// The number of valid personal access tokens.
    pub tokens: u64,
}

/// A failure of the store. The text is for the log; a client gets 503.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store failed: {0}")]
pub struct StoreError(pub String);

/// The port that stores sessions.
#[async_trait]
pub trait Sessions: Send + Sync {
    /// Begins a session, together with its first refresh token; durable when this returns.
    async fn create(&self, new: NewSession) -> Result<Arc<Session>, StoreError>;

    /// Begins the session of a personal access token; `None` if its user has `most` valid ones already. Parallel calls cannot
    /// exceed the limit. Durable when this returns.
    async fn create_token(
        &self,
        new: NewSession,
        most: usize,
    ) -> Result<Option<Arc<Session>>, StoreError>;

    /// Begins a session unless a stamp exists under the key of `mark`, and puts that stamp, in one step: of many parallel calls
    /// with one mark exactly one is [`BeginOutcome::Begun`]. Even after that session has ended, none begins again while the
    /// mark is stored. Whoever sees the stamp finds the session, if it has not ended. Durable when this returns.
    async fn create_once(
        &self,
        new: NewSession,
        mark: NewStamp,
    ) -> Result<BeginOutcome, StoreError>;

    /// Begins a session for a credential that a service issued, whose digest is `new.cookie`, in one step: unless it already
    /// has a live session, or a stamp exists under that digest, which is its end. [`Sessions::end`] puts that stamp, so that a
    /// credential whose session was ended is not adopted again while the service may still accept it (`idle_timeout` from the
    /// end on); a timeout puts none. Durable when this returns.
    async fn adopt(&self, new: NewSession) -> Result<BeginOutcome, StoreError>;

    /// Renews a live session: the same session gets a new record, and holders of the old record find it ended and look it up
    /// again. `None` if the session has ended. Durable when this returns.
    async fn renew(&self, renewal: Renewal) -> Result<Option<Arc<Session>>, StoreError>;

    /// Finds a live session. `None` if it was never seen, has ended, or is past its idle or absolute timeout at `now`.
    async fn find(
        &self,
        by: SessionBy<'_>,
        now: Timestamp,
    ) -> Result<Option<Arc<Session>>, StoreError>;

    /// Ends sessions; durable when this returns, and visible to every holder of the records. Sessions that had ended before are
    /// not returned, so that the caller reports each end once.
    async fn end(
        &self,
        which: &SessionSelection,
        why: EndReason,
        at: Timestamp,
    ) -> Result<Vec<Arc<Session>>, StoreError>;

    /// Returns the live sessions, of one user or of all, newest first.
    async fn list(
        &self,
        user: Option<&UserKey>,
        now: Timestamp,
    ) -> Result<Vec<Arc<Session>>, StoreError>;

    /// Removes expired sessions and expired data, and makes last uses and changed identities durable.
    async fn upkeep(&self, now: Timestamp) -> Result<Upkeep, StoreError>;
}

/// The port that stores refresh tokens. An adapter implements both ports over the same data.
#[async_trait]
pub trait RefreshTokens: Send + Sync {
    /// Spends one token and stores its successor, atomically: of many parallel calls with one token exactly one is
    /// [`RotationOutcome::Rotated`]. Durable when this returns.
    async fn rotate(&self, rotate: Rotate) -> Result<RotationOutcome, StoreError>;

    /// Returns the state of a token without spending it.
    async fn look(
        &self,
        session: &SessionId,
        presented: &Digest,
        now: Timestamp,
    ) -> Result<RefreshState, StoreError>;
}

/// How a new stamp is merged with an existing one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keep {
    /// The existing date stays.
    First,
    /// The later date is stored.
    Latest,
}

/// A stamp to store: a date under a key.
#[derive(Clone, Debug)]
pub struct NewStamp {
    /// The hash of what the stamp is about.
    pub key: Digest,
    /// The date of the stamp.
    pub at: Timestamp,
    /// How the stamp is merged with an existing one.
    pub keep: Keep,
    /// When the stamp may be forgotten; of two stamps, the later time counts.
    pub kept_until: Timestamp,
}

/// The port that stores stamps: dates about what others have issued (since when a user's tokens are valid, until when one is
/// denied, when it was first seen). An adapter implements it over the same data as the other ports.
#[async_trait]
pub trait Stamps: Send + Sync {
    /// Returns the date under a key. It is looked up in memory for each request, so it neither waits nor fails.
    fn stamp(&self, key: &Digest) -> Option<Timestamp>;

    /// Stores a stamp; durable when this returns, and visible to every reader. Returns the resulting date.
    async fn put(&self, stamp: NewStamp) -> Result<Timestamp, StoreError>;
}

/// The port that stores a small sealed attachment with a session (the cookies that a service gave it). The store does not know
/// its content. It is in the session's record, so that reading it does no I/O, and is removed with the session.
#[async_trait]
pub trait SessionAttachments: Send + Sync {
    /// Replaces the attachment of a session; durable when this returns, and visible to every holder of the record. `false` if
    /// the session has ended, and nothing is stored.
    async fn keep(&self, session: &SessionId, kept: Arc<Vec<u8>>) -> Result<bool, StoreError>;
}

/// The port that erases where users were.
#[async_trait]
pub trait StoredPlaces: Send + Sync {
    /// Erases the addresses and `User-Agent`s of sessions that began before this time, live or ended, and messages that have
    /// been waiting since before it. When this returns `true`, no file of the store has a byte of them. `false` means that a
    /// reader of the file prevents this, and the next call tries again.
    async fn forget_places(&self, before: Timestamp) -> Result<bool, StoreError>;
}

/// The port that knows a user's former identity, as the directory reported it at the last sign-in on record.
#[async_trait]
pub trait Former: Send + Sync {
    /// Returns the identity from the user's sessions, live or ended, that began since then. `None` if there is none or it is
    /// forgotten.
    async fn last_identity(
        &self,
        user: &UserKey,
        since: Timestamp,
    ) -> Result<Option<Identity>, StoreError>;
}

/// The port that copies a store while it is in use.
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
    /// The stamps about what others have issued.
    pub stamps: Arc<dyn Stamps>,
    /// The attachments of these sessions.
    pub kept: Arc<dyn SessionAttachments>,
    /// The messages to send.
    pub outbox: Arc<dyn Outbox>,
    /// The questions that users are asked by mail.
    pub questions: Arc<dyn Questions>,
    /// The blocks.
    pub blocks: Arc<dyn Blocks>,
    /// The second factors.
    pub factors: Arc<dyn FactorStore>,
    /// The account activity and devices that users see.
    pub records: Arc<dyn AccountRecords>,
    /// The use of passkeys, which are among the second factors.
    pub passkeys: Arc<dyn PasskeyStore>,
    /// The erasure of where users were.
    pub places: Arc<dyn StoredPlaces>,
    /// The former identities of users.
    pub former: Arc<dyn Former>,
    /// The temporary counters.
    pub counters: Arc<dyn Counters>,
    /// The copy of the whole store.
    pub backup: Arc<dyn Backup>,
}

impl Store {
    /// Creates a store from one adapter, for one process: counters are in memory.
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
    /// Creates a session that begins now.
    pub fn begin(new: &NewSession) -> Arc<Self> {
        Self::new(new, new.at, SavedUse::default())
    }

    /// Creates a session that was read from disk, with its last use.
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

    /// Returns an independent copy of the session as it is now.
    #[must_use]
    pub fn copy(&self) -> Arc<Self> {
        Arc::new(self.with(self.cookie, self.password_mark, self.assurance))
    }

    /// Returns the session with its new credential and assurance.
    fn renewed(&self, renewal: &Renewal) -> Arc<Self> {
        let assurance = renewal.assurance.unwrap_or(self.assurance);
        Arc::new(self.with(renewal.cookie.or(self.cookie), renewal.password_mark, assurance))
    }

    /// Returns the session without the place where it began.
    fn without_place(&self) -> Arc<Self> {
        let mut session = self.with(self.cookie, self.password_mark, self.assurance);
        (session.client, session.agent) = (None, Box::default());
        Arc::new(session)
    }

    /// Whether the session began before this time and its place is still stored.
    fn has_place_before(&self, before: Timestamp) -> bool {
        self.signed_in_at < before && (self.client.is_some() || !self.agent.is_empty())
    }

    /// Returns the stamp for the end of the session's credential, if the session was adopted and ends at `at`.
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

    /// Whether the session is a personal access token.
    pub const fn is_token(&self) -> bool {
        self.grant.is_some()
    }

    /// Whether a credential of this session is valid at `now`: it has not ended and is within both timeouts.
    pub fn is_live(&self, now: Timestamp) -> bool {
        !self.ended.load(Ordering::Acquire)
            && now < self.expires_at
            && now.since(self.last_used()) < self.idle_timeout
    }

    /// Notes a use, in memory at once; the next upkeep makes it durable.
    pub fn touch(&self, now: Timestamp) {
        self.last_used.fetch_max(now.as_millis(), Ordering::Relaxed);
    }

    /// Returns the time of the last use.
    pub fn last_used(&self) -> Timestamp {
        Timestamp::from_millis(self.last_used.load(Ordering::Relaxed))
    }

    /// Marks the session as ended. Only for a store, after the end is durable. Returns `true` for the first caller.
    pub fn mark_ended(&self) -> bool {
        !self.ended.swap(true, Ordering::AcqRel)
    }
}
