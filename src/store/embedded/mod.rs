//! The default store: one SQLite file, and every live session in memory.
//!
//! - **Durable.** Write-ahead log with `synchronous = FULL`: a commit returns after its `fsync`. With `NORMAL` a power loss
//!   could undo rotations that had been acknowledged, and a spent refresh token would be valid again.
//! - **One writer.** A dedicated thread holds the only connection that writes (`writer.rs`). It takes all waiting changes and
//!   commits them in one transaction, so that many rotations share one `fsync`; each has a savepoint of its own, so that a
//!   failing one does not affect the others. No async thread ever waits for the disk.
//! - **Memory follows the disk.** A change becomes visible in memory after its commit and before its acknowledgement. When the
//!   disk fails, the caller gets a [`StoreError`], memory stays as it was, and reads continue.
//! - **The database decides.** Whether a refresh token is still unspent is decided by an `UPDATE` that changes one row or none,
//!   inside the transaction (`ops.rs`).
//!
//! There is one gateway per file: another process may read it (`session list`, a backup), but if it ends sessions in the file
//! of a running gateway, that gateway's memory does not see it. Commands therefore use the admin listener then.
//!
//! A spent refresh token is stored until it expires, because otherwise its reuse would go unnoticed: some 150 bytes per
//! rotation.

mod blocking;
mod copy;
mod factors;
mod file;
mod ops;
mod outbox;
mod passkeys;
mod places;
mod records;
mod rows;
mod schema;
mod upkeep;
mod writer;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use rusqlite::Connection;

pub use self::file::OpenError;
pub use self::passkeys::passkeys_elsewhere_in;
use self::writer::Writer;
use super::live::LiveSessions;
use super::{
    BeginOutcome, BlockList, Blocked, Blocks, NewSession, NewStamp, RefreshState, RefreshTokens,
    Renewal, Rotate, RotationOutcome, Session, SessionAttachments, SessionBy, SessionSelection,
    Sessions, Stamps, StoreError, Upkeep,
};
use crate::block::{Block, BlockSubject};
use crate::caller::{SessionId, UserKey};
use crate::clock::Timestamp;
use crate::event::EndReason;
use crate::secret::Digest;

/// The store in one SQLite file. Dropping it waits until all submitted changes are written.
pub struct Embedded {
    /// The canonical path of the file, from which copies are made.
    path: PathBuf,
    live: Arc<LiveSessions>,
    writer: Writer,
    /// The connection for looking up refresh tokens, which are not in memory.
    reader: Arc<Mutex<Connection>>,
    /// Whether data was erased since the file was last rewritten, so that copies of it may remain.
    has_copies: Arc<AtomicBool>,
}

/// Settings that tests change.
#[derive(Clone, Copy, Debug)]
struct Tuning {
    /// How long a statement waits for another process's lock.
    busy_timeout: Duration,
    /// The size in pages at which the file counts as full.
    max_pages: Option<u32>,
}

impl Default for Tuning {
    fn default() -> Self {
        Self { busy_timeout: Duration::from_secs(5), max_pages: None }
    }
}

impl Embedded {
    /// Opens the file, or creates it (mode 0600), and reads every live session. Blocks the thread; for the start of a process.
    ///
    /// # Errors
    /// [`OpenError`] if the file cannot be trusted or read; nothing in it has been changed then.
    pub fn open(path: &Path) -> Result<Arc<Self>, OpenError> {
        Self::open_tuned(path, Tuning::default())
    }

    fn open_tuned(path: &Path, tuning: Tuning) -> Result<Arc<Self>, OpenError> {
        let path = file::prepare(path)?;
        let in_file = |source| OpenError::sqlite(&path, source);

        let mut connection = file::connect(&path, tuning).map_err(in_file)?;
        schema::prepare(&mut connection, &path)?;
        let live = LiveSessions::default();
        rows::load(&connection, |session| live.insert(session)).map_err(in_file)?;
        for (key, stamp) in rows::stamps(&connection).map_err(in_file)? {
            live.put_stamp(key, stamp);
        }
        live.blocks().fill(blocking::load(&connection).map_err(in_file)?);
        let live = Arc::new(live);

        let reader = file::connect_read_only(&path, tuning).map_err(in_file)?;
        let writer = Writer::start(connection, Arc::clone(&live))
            .map_err(|source| OpenError::Io { path: path.clone(), source })?;
        let reader = Arc::new(Mutex::new(reader));
        let has_copies = Arc::default();
        Ok(Arc::new(Self { path, live, writer, reader, has_copies }))
    }
}

#[async_trait]
impl Sessions for Embedded {
    async fn create(&self, new: NewSession) -> Result<Arc<Session>, StoreError> {
        self.writer.submit(ops::Create(new)).await
    }

    async fn create_token(
        &self,
        new: NewSession,
        most: usize,
    ) -> Result<Option<Arc<Session>>, StoreError> {
        self.writer.submit(ops::CreateToken(ops::Create(new), most)).await
    }

    async fn create_once(
        &self,
        new: NewSession,
        mark: NewStamp,
    ) -> Result<BeginOutcome, StoreError> {
        self.writer.submit(ops::CreateOnce(ops::Create(new), ops::Put(mark))).await
    }

    async fn adopt(&self, new: NewSession) -> Result<BeginOutcome, StoreError> {
        self.writer.submit(ops::Adopt(ops::Create(new))).await
    }

    async fn renew(&self, renewal: Renewal) -> Result<Option<Arc<Session>>, StoreError> {
        self.writer.submit(ops::Renew(renewal)).await
    }

    async fn find(
        &self,
        by: SessionBy<'_>,
        now: Timestamp,
    ) -> Result<Option<Arc<Session>>, StoreError> {
        Ok(self.live.find(by, now))
    }

    async fn end(
        &self,
        which: &SessionSelection,
        why: EndReason,
        at: Timestamp,
    ) -> Result<Vec<Arc<Session>>, StoreError> {
        self.writer.submit(ops::EndSessions { which: which.clone(), why, at }).await
    }

    async fn list(
        &self,
        user: Option<&UserKey>,
        now: Timestamp,
    ) -> Result<Vec<Arc<Session>>, StoreError> {
        Ok(self.live.list(user, now))
    }

    async fn upkeep(&self, now: Timestamp) -> Result<Upkeep, StoreError> {
        upkeep::run(self, now).await
    }
}

#[async_trait]
impl Stamps for Embedded {
    fn stamp(&self, key: &Digest) -> Option<Timestamp> {
        self.live.stamp(key)
    }

    async fn put(&self, stamp: NewStamp) -> Result<Timestamp, StoreError> {
        self.writer.submit(ops::Put(stamp)).await
    }
}

#[async_trait]
impl SessionAttachments for Embedded {
    async fn keep(&self, session: &SessionId, kept: Arc<Vec<u8>>) -> Result<bool, StoreError> {
        self.writer.submit(ops::Keeping { session: session.clone(), kept }).await
    }
}

#[async_trait]
impl Blocks for Embedded {
    fn list(&self) -> Arc<BlockList> {
        Arc::clone(self.live.blocks())
    }

    async fn block(&self, new: Block) -> Result<Blocked, StoreError> {
        self.writer.submit(blocking::Add(new)).await
    }

    async fn lift(&self, subject: &BlockSubject) -> Result<Option<Arc<Block>>, StoreError> {
        self.writer.submit(blocking::Lift(subject.clone())).await
    }
}

#[async_trait]
impl RefreshTokens for Embedded {
    async fn rotate(&self, rotate: Rotate) -> Result<RotationOutcome, StoreError> {
        self.writer.submit(ops::Spend(rotate)).await
    }

    async fn look(
        &self,
        session: &SessionId,
        presented: &Digest,
        now: Timestamp,
    ) -> Result<RefreshState, StoreError> {
        let Some(live) = self.live.find(SessionBy::Id(session), now) else {
            return Ok(RefreshState::Unknown);
        };
        let (session, presented) = (session.clone(), *presented);
        let reader = Arc::clone(&self.reader);
        let token =
            blocking(move || Ok(rows::token(&reader.lock(), &session, &presented)?)).await?;
        Ok(match token {
            None => RefreshState::Unknown,
            Some(token) if token.expires_at <= now => RefreshState::Expired,
            Some(token) => match token.spent {
                Some(spent) => RefreshState::Spent(live, spent.at),
                None => RefreshState::Fresh(live),
            },
        })
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self(error.to_string())
    }
}

/// Runs blocking work on a thread where it may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(stopped) => Err(StoreError(format!("a task of the store stopped: {stopped}"))),
    }
}
