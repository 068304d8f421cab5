//! Tests of a failing disk: what could not be made durable did not happen, and reads continue.

use super::super::super::live::LiveSessions;
use super::super::writer::Op;
use super::*;

/// An op that succeeds by itself and makes the commit of its batch fail.
struct FailsAtCommit;

impl Op for FailsAtCommit {
    type Found = ();
    type Answer = ();

    fn run(&self, sql: &rusqlite::Connection, _live: &LiveSessions) -> rusqlite::Result<()> {
        sql.execute_batch(
            "PRAGMA defer_foreign_keys = ON;
             INSERT INTO refresh_tokens (digest, session, expires_at) VALUES (zeroblob(32), 0, 0);",
        )
    }

    fn apply(self, (): (), _live: &LiveSessions) {
        panic!("shown in memory, and not committed");
    }
}

/// An op that keeps the writer busy until it is released, so that what is submitted meanwhile becomes one batch.
struct Held {
    running: tokio::sync::mpsc::UnboundedSender<()>,
    release: std::sync::mpsc::Receiver<()>,
}

impl Op for Held {
    type Found = ();
    type Answer = ();

    fn run(&self, _sql: &rusqlite::Connection, _live: &LiveSessions) -> rusqlite::Result<()> {
        self.running.send(()).unwrap();
        // Dropping the other end releases the writer, too.
        self.release.recv().unwrap_or_default();
        Ok(())
    }

    fn apply(self, (): (), _live: &LiveSessions) {}
}

/// Holds the writer of `store`; dropping the returned sender releases it.
async fn hold(store: &Arc<Embedded>) -> std::sync::mpsc::Sender<()> {
    let (running, mut is_running) = tokio::sync::mpsc::unbounded_channel();
    let (held, release) = std::sync::mpsc::channel();
    let store = Arc::clone(store);
    tokio::spawn(async move { store.writer.submit(Held { running, release }).await });
    is_running.recv().await.unwrap();
    held
}

#[tokio::test]
async fn a_commit_that_fails_fails_all_of_its_batch_and_shows_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = Embedded::open(&file_in(&folder)).unwrap();
    let held = store.create(new_session("a", "1")).await.unwrap();
    let which = SessionSelection::Session(held.id.clone());
    let held_writer = hold(&store).await;
    let (ended, created, rotated, failed, ()) = tokio::join!(
        store.end(&which, EndReason::SignedOut, at(1)),
        store.create(new_session("b", "1")),
        store.rotate(rotate("a", "a-0", "a-1", at(1))),
        store.writer.submit(FailsAtCommit),
        async { drop(held_writer) }
    );
    assert!(ended.is_err() && created.is_err() && rotated.is_err() && failed.is_err());
    assert!(held.is_live(at(1)));
    assert!(find(&store, "b", at(1)).await.is_none());
    let rotated = store.rotate(rotate("a", "a-0", "a-2", at(2))).await.unwrap();
    assert!(matches!(rotated, RotationOutcome::Rotated(_)), "{rotated:?}");
}

/// Opens a store whose file counts as full at `pages`, and which does not wait for other processes.
fn tuned(folder: &tempfile::TempDir, max_pages: Option<u32>) -> Arc<Embedded> {
    let tuning = Tuning { busy_timeout: Duration::from_millis(20), max_pages };
    Embedded::open_tuned(&file_in(folder), tuning).unwrap()
}

/// Returns the number of pages of an empty store, and a few more.
fn nearly_full() -> u32 {
    let folder = tempfile::tempdir().unwrap();
    let _store = Embedded::open(&file_in(&folder)).unwrap();
    let pages =
        raw(&file_in(&folder)).query_row("PRAGMA page_count", (), |row| row.get::<_, u32>(0));
    pages.unwrap() + 12
}

#[tokio::test]
async fn a_locked_file_fails_changes_and_leaves_reads_working() {
    let folder = tempfile::tempdir().unwrap();
    let store = tuned(&folder, None);
    let held = store.create(new_session("a", "1")).await.unwrap();
    let other = raw(&file_in(&folder));
    other.execute_batch("BEGIN IMMEDIATE").unwrap();

    let user = SessionSelection::User(UserKey::new("django", "1"));
    assert!(store.create(new_session("b", "1")).await.is_err());
    assert!(store.rotate(rotate("a", "a-0", "a-1", at(1))).await.is_err());
    assert!(store.end(&user, EndReason::SignedOut, at(1)).await.is_err());
    assert!(store.upkeep(after(IDLE)).await.is_err(), "what has timed out cannot be removed");

    assert!(find(&store, "b", at(2)).await.is_none());
    assert!(Arc::ptr_eq(&find(&store, "a", at(2)).await.unwrap(), &held));
    assert!(held.is_live(at(2)));
    assert_eq!(store.list(None, at(2)).await.unwrap().len(), 1);
    let state = store.look(&held.id, &digest("a-0"), at(2)).await.unwrap();
    assert!(matches!(state, RefreshState::Fresh(_)), "{state:?}");

    other.execute_batch("ROLLBACK").unwrap();
    let rotation = store.rotate(rotate("a", "a-0", "a-1", at(3))).await.unwrap();
    assert!(matches!(rotation, RotationOutcome::Rotated(_)), "it heals by itself: {rotation:?}");
    assert_eq!(end(&store, "a").await, 1);
}

#[tokio::test]
async fn a_full_disk_loses_nothing_that_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let store = tuned(&folder, Some(nearly_full()));
    let mut made = Vec::new();
    let failed = loop {
        let number = made.len();
        match store.create(new_session(&format!("s{number}"), "1")).await {
            Ok(session) => made.push(session),
            Err(error) => break error,
        }
        assert!(number < 10_000, "the file never gets full");
    };
    assert!(failed.0.contains("full"), "{failed}");

    assert!(find(&store, &format!("s{}", made.len()), at(1)).await.is_none());
    assert_eq!(store.list(None, at(1)).await.unwrap().len(), made.len());
    // Ending a session needs no room, and frees some.
    assert_eq!(end(&store, "s0").await, 1);
    drop(store);

    let store = open(&folder);
    assert_eq!(store.list(None, at(1)).await.unwrap().len(), made.len() - 1);
}

#[tokio::test]
async fn on_a_full_disk_sessions_can_still_be_ended_in_company() {
    let folder = tempfile::tempdir().unwrap();
    let store = tuned(&folder, Some(nearly_full()));
    let create = |number: usize| store.create(new_session(&format!("s{number}"), "1"));
    let mut made = 0;
    while create(made).await.is_ok() {
        made += 1;
    }
    let which = SessionSelection::Session(SessionId::new("s0"));
    let held_writer = hold(&store).await;
    let (before, ended, after, ()) = tokio::join!(
        create(made),
        store.end(&which, EndReason::SignedOut, at(1)),
        create(made + 1),
        async { drop(held_writer) }
    );
    assert_eq!(ended.unwrap().len(), 1);
    assert!(before.is_err(), "there was no room yet");
    drop(after);
    let listed = store.list(None, at(1)).await.unwrap().len();
    drop(store);
    assert_eq!(open(&folder).list(None, at(1)).await.unwrap().len(), listed);
}

#[tokio::test]
async fn a_change_that_fails_takes_no_other_of_its_batch_down() {
    let folder = tempfile::tempdir().unwrap();
    let store = Embedded::open(&file_in(&folder)).unwrap();
    let held_writer = hold(&store).await;
    let all = futures_util::future::join_all(
        ["a", "b", "b", "c", "a"].map(|id| store.create(new_session(id, "1"))),
    );
    let (made, ()) = tokio::join!(all, async { drop(held_writer) });
    let made: Vec<_> = made.iter().map(Result::is_ok).collect();
    assert_eq!(made, [true, true, false, true, false]);
    drop(store);
    assert_eq!(open(&folder).list(None, T0).await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_full_queue_is_an_error_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = Embedded::open(&file_in(&folder)).unwrap();
    let held_writer = hold(&store).await;
    let many = (0..3000).map(|number| store.create(new_session(&format!("s{number}"), "1")));
    let many = futures_util::future::join_all(many);
    let (made, ()) = tokio::join!(many, async { drop(held_writer) });
    let full = made.iter().filter(|made| matches!(made, Err(e) if e.0.contains("queue is full")));
    assert_eq!(full.count(), 3000 - 1024);
    let acknowledged = made.iter().filter(|made| made.is_ok()).count();
    assert_eq!(store.list(None, T0).await.unwrap().len(), acknowledged);
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_memory_and_file_agreeing() {
    let folder = tempfile::tempdir().unwrap();
    let store = Embedded::open(&file_in(&folder)).unwrap();
    let abandoned = store.create(new_session("a", "1"));
    // The call was polled once, so that it is in the queue, and then dropped.
    assert!(futures_util::FutureExt::now_or_never(abandoned).is_none());
    store.create(new_session("b", "1")).await.unwrap();
    assert!(find(&store, "a", T0).await.is_some());
    drop(store);
    assert!(find(&open(&folder), "a", T0).await.is_some());
}
