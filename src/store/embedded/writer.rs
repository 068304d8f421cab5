//! The thread that writes to the file.
//!
//! ```text
//!  submit -> bounded queue -> [ BEGIN  savepoint(op) savepoint(op) ...  COMMIT+fsync ] -> apply to memory -> answer
//! ```
//!
//! While one batch is being written, the next one gathers in the queue, so that batches grow with the load and no change waits
//! for others to join it. An [`Op`] has two halves: `run` decides and writes inside its savepoint, and `apply` makes the result
//! visible in memory once the batch is durable. If the commit fails, no `apply` runs and every caller gets an error; `run` may
//! be called again after its effects were rolled back.

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use rusqlite::{Connection, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::super::StoreError;
use super::super::live::LiveSessions;

/// The most changes that may wait. The queue fills up only when the disk does not respond; callers then get an error at once.
const QUEUE: usize = 1024;

/// The most changes that share a commit, so that the first of them does not wait too long.
const BATCH: usize = 256;

/// A change of the store.
pub(super) trait Op: Send + 'static {
    /// The result of `run`, which is passed to `apply`.
    type Found: Send;
    /// The result for the caller.
    type Answer: Send;

    /// Decides, and changes the tables. An error undoes this op alone.
    fn run(&self, sql: &Connection, live: &LiveSessions) -> rusqlite::Result<Self::Found>;

    /// Applies the change to memory. Called when it is durable.
    fn apply(self, found: Self::Found, live: &LiveSessions) -> Self::Answer;
}

/// Sends changes to the thread. Dropping it waits until the thread has finished its queue.
pub(super) struct Writer {
    queue: Option<mpsc::Sender<Box<dyn WriterJob>>>,
    thread: Option<JoinHandle<()>>,
}

/// An [`Op`] together with its caller, with its types erased.
trait WriterJob: Send {
    fn run(&mut self, sql: &Connection, live: &LiveSessions) -> Result<(), StoreError>;
    fn finish(self: Box<Self>, committed: &Result<(), StoreError>, live: &LiveSessions);
}

struct WaitingJob<O: Op> {
    op: O,
    found: Result<O::Found, StoreError>,
    caller: oneshot::Sender<Result<O::Answer, StoreError>>,
}

impl Writer {
    /// Starts the thread, which owns the connection from now on.
    pub(super) fn start(connection: Connection, live: Arc<LiveSessions>) -> io::Result<Self> {
        let (queue, jobs) = mpsc::channel(QUEUE);
        let thread = thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || write_all(connection, &live, jobs))?;
        Ok(Self { queue: Some(queue), thread: Some(thread) })
    }

    /// Submits a change; returns when it is durable and visible, or has failed.
    pub(super) async fn submit<O: Op>(&self, op: O) -> Result<O::Answer, StoreError> {
        let (caller, answer) = oneshot::channel();
        let found = Err(StoreError("the change was not attempted".to_owned()));
        let stopped = || StoreError("the writer has stopped".to_owned());
        let queue = self.queue.as_ref().ok_or_else(stopped)?;
        queue.try_send(Box::new(WaitingJob { op, found, caller })).map_err(
            |error| match error {
                mpsc::error::TrySendError::Full(_) => {
                    StoreError("the write queue is full".to_owned())
                }
                mpsc::error::TrySendError::Closed(_) => stopped(),
            },
        )?;
        answer.await.map_err(|_| stopped())?
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(thread) = self.thread.take() {
            // A panic in the thread was already reported by the panic hook.
            thread.join().unwrap_or_default();
        }
    }
}

impl<O: Op> WriterJob for WaitingJob<O> {
    fn run(&mut self, sql: &Connection, live: &LiveSessions) -> Result<(), StoreError> {
        self.found = self.op.run(sql, live).map_err(StoreError::from);
        self.found.as_ref().map(drop).map_err(StoreError::clone)
    }

    fn finish(self: Box<Self>, committed: &Result<(), StoreError>, live: &LiveSessions) {
        let Self { op, found, caller } = *self;
        let answer = committed.clone().and(found).map(|found| op.apply(found, live));
        // If the caller is gone, the change still stands and nobody needs the answer.
        drop(caller.send(answer));
    }
}

/// Why nothing of a batch was committed.
enum BatchFailure {
    /// The transaction could not begin or commit.
    Commit(StoreError),
    /// One op made SQLite roll back the whole transaction, as a full disk does.
    RolledBack(StoreError),
}

impl From<rusqlite::Error> for BatchFailure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Commit(error.into())
    }
}

fn write_all(
    mut connection: Connection,
    live: &LiveSessions,
    mut jobs: mpsc::Receiver<Box<dyn WriterJob>>,
) {
    let mut batch = Vec::with_capacity(BATCH);
    while jobs.blocking_recv_many(&mut batch, BATCH) > 0 {
        match commit(&mut connection, live, &mut batch) {
            Ok(()) => finish(&mut batch, &Ok(()), live),
            Err(BatchFailure::Commit(error)) => finish(&mut batch, &Err(error), live),
            // The other ops may still have room: ending a session needs none.
            Err(BatchFailure::RolledBack(_)) => {
                for job in batch.drain(..) {
                    alone(&mut connection, live, job);
                }
            }
        }
    }
}

fn finish(
    batch: &mut Vec<Box<dyn WriterJob>>,
    committed: &Result<(), StoreError>,
    live: &LiveSessions,
) {
    for job in batch.drain(..) {
        job.finish(committed, live);
    }
}

fn alone(connection: &mut Connection, live: &LiveSessions, mut job: Box<dyn WriterJob>) {
    let committed = match commit(connection, live, std::slice::from_mut(&mut job)) {
        Ok(()) => Ok(()),
        Err(BatchFailure::Commit(error) | BatchFailure::RolledBack(error)) => Err(error),
    };
    job.finish(&committed, live);
}

fn commit(
    connection: &mut Connection,
    live: &LiveSessions,
    batch: &mut [Box<dyn WriterJob>],
) -> Result<(), BatchFailure> {
    let mut transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for job in batch {
        let savepoint = transaction.savepoint()?;
        match job.run(&savepoint, live) {
            Ok(()) => savepoint.commit()?,
            // Continuing here would commit each op separately, and then report all of them as failed.
            Err(error) if savepoint.is_autocommit() => return Err(BatchFailure::RolledBack(error)),
            Err(_) => savepoint.finish()?,
        }
    }
    Ok(transaction.commit()?)
}
