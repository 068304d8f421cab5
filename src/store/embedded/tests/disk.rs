//! A disk that fails: what could not be made durable did not happen, and reads go on.

use super::*;

/// A store whose file counts as full at `pages`, and which does not wait for other processes.
fn tuned(folder: &tempfile::TempDir, max_pages: Option<u32>) -> Arc<Embedded> {
    let tuning = Tuning { busy_timeout: Duration::from_millis(20), max_pages };
    Embedded::open_tuned(&file_in(folder), tuning).unwrap()
}

#[tokio::test]
async fn a_locked_file_fails_changes_and_leaves_reads_working() {
    let folder = tempfile::tempdir().unwrap();
    let store = tuned(&folder, None);
    let held = store.create(new_session("a", "1")).await.unwrap();
    let other = raw(&file_in(&folder));
    other.execute_batch("BEGIN IMMEDIATE").unwrap();

    let user = Which::User(UserKey::new("django", "1"));
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
    assert!(matches!(rotation, Rotation::Rotated(_)), "it heals by itself: {rotation:?}");
    assert_eq!(end(&store, "a").await, 1);
}

#[tokio::test]
async fn a_full_disk_loses_nothing_that_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let store = tuned(&folder, Some(30));
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
    // To end a session needs no room, and gives some back.
    assert_eq!(end(&store, "s0").await, 1);
    drop(store);

    let store = open(&folder);
    assert_eq!(store.list(None, at(1)).await.unwrap().len(), made.len() - 1);
}

#[tokio::test]
async fn on_a_full_disk_sessions_can_still_be_ended_in_company() {
    let folder = tempfile::tempdir().unwrap();
    let store = tuned(&folder, Some(30));
    let create = |number: usize| store.create(new_session(&format!("s{number}"), "1"));
    let mut made = 0;
    while create(made).await.is_ok() {
        made += 1;
    }
    // All three are in the queue before the writer can have committed the first.
    let which = Which::Session(SessionId::new("s0"));
    let (before, ended, after) = tokio::join!(
        create(made),
        store.end(&which, EndReason::SignedOut, at(1)),
        create(made + 1)
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
    let other = raw(&file_in(&folder));
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    // The first waits for the lock; the others gather behind it and become one batch.
    let all = futures_util::future::join_all(
        ["a", "b", "b", "c", "a"].map(|id| store.create(new_session(id, "1"))),
    );
    let (made, ()) = tokio::join!(all, async {
        tokio::task::yield_now().await;
        other.execute_batch("ROLLBACK").unwrap();
    });
    let made: Vec<_> = made.iter().map(Result::is_ok).collect();
    assert_eq!(made, [true, true, false, true, false]);
    drop(store);
    assert_eq!(open(&folder).list(None, T0).await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_full_queue_is_an_error_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = Embedded::open(&file_in(&folder)).unwrap();
    let other = raw(&file_in(&folder));
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let many = (0..3000).map(|number| store.create(new_session(&format!("s{number}"), "1")));
    let many = futures_util::future::join_all(many);
    let (made, ()) = tokio::join!(many, async {
        tokio::task::yield_now().await;
        other.execute_batch("ROLLBACK").unwrap();
    });
    let full = made.iter().filter(|made| matches!(made, Err(e) if e.0.contains("queue is full")));
    assert!(full.count() >= 1);
    let acknowledged = made.iter().filter(|made| made.is_ok()).count();
    assert_eq!(store.list(None, T0).await.unwrap().len(), acknowledged);
}

#[tokio::test]
async fn a_caller_that_goes_away_leaves_memory_and_file_agreeing() {
    let folder = tempfile::tempdir().unwrap();
    let store = Embedded::open(&file_in(&folder)).unwrap();
    let abandoned = store.create(new_session("a", "1"));
    // Polled once, so that it is in the queue, and dropped.
    assert!(futures_util::FutureExt::now_or_never(abandoned).is_none());
    store.create(new_session("b", "1")).await.unwrap();
    assert!(find(&store, "a", T0).await.is_some());
    drop(store);
    assert!(find(&open(&folder), "a", T0).await.is_some());
}
