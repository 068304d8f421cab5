//! Tests of the store in a file alone: durability, a failing disk, the file itself, copies.

mod disk;
mod file;
mod model;
mod retention;
mod versions;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::super::contract::{
    ABSOLUTE, GRACE, IDLE, T0, after, at, digest, identity, new_session, rotate,
};
use super::super::{
    Backup, Keep, NewStamp, RefreshState, RefreshTokens, RotationOutcome, Session, SessionBy,
    SessionSelection, Sessions, Stamps,
};
use super::{Embedded, Tuning};
use crate::caller::{Identity, SessionId, UserKey};
use crate::clock::Timestamp;
use crate::event::EndReason;

fn fresh() -> (Arc<Embedded>, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (open(&folder), folder)
}

crate::store::contract::mount!(fresh);

fn open(folder: &tempfile::TempDir) -> Arc<Embedded> {
    Embedded::open(&file_in(folder)).unwrap()
}

fn file_in(folder: &tempfile::TempDir) -> std::path::PathBuf {
    folder.path().join("store.db")
}

/// Opens the file again, bypassing the store.
fn raw(path: &Path) -> rusqlite::Connection {
    rusqlite::Connection::open(path).unwrap()
}

fn count(path: &Path, query: &str) -> i64 {
    raw(path).query_row(query, [], |row| row.get(0)).unwrap()
}

async fn find(store: &Embedded, id: &str, now: Timestamp) -> Option<Arc<Session>> {
    store.find(SessionBy::Id(&SessionId::new(id)), now).await.unwrap()
}

async fn end(store: &Embedded, id: &str) -> usize {
    let which = SessionSelection::Session(SessionId::new(id));
    store.end(&which, EndReason::SignedOut, at(1)).await.unwrap().len()
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_reopening() {
    let (store, folder) = fresh();
    let made = new_session("a", "1");
    store.create(made.clone()).await.unwrap();
    let mut bare = new_session("bare", "2");
    (bare.cookie, bare.refresh, bare.client) = (None, None, None);
    store.create(bare).await.unwrap();
    store.create(new_session("ended", "1")).await.unwrap();
    store.create(new_session("reused", "1")).await.unwrap();
    store.rotate(rotate("a", "a-0", "a-1", at(5))).await.unwrap();
    store.rotate(rotate("reused", "reused-0", "reused-1", at(5))).await.unwrap();
    store.rotate(rotate("reused", "reused-0", "x", after(GRACE * 2))).await.unwrap();
    assert_eq!(end(&store, "ended").await, 1);
    drop(store);

    let store = open(&folder);
    let found = store.find(SessionBy::Cookie(&digest("cookie-a")), at(6)).await.unwrap().unwrap();
    assert_eq!(**found.identity.load(), *made.identity);
    assert_eq!((found.password_mark, found.cookie), (made.password_mark, made.cookie));
    assert_eq!((found.signed_in_at, found.last_used()), (T0, T0));
    assert_eq!((found.expires_at, found.idle_timeout), (T0.plus(ABSOLUTE), IDLE));
    assert_eq!((found.client, &*found.agent), (made.client, &*made.agent));
    assert_eq!(found.assurance, made.assurance);
    assert!(find(&store, "bare", at(6)).await.unwrap().cookie.is_none());
    assert!(find(&store, "ended", at(6)).await.is_none());
    assert!(find(&store, "reused", at(6)).await.is_none());
    assert_eq!(store.list(None, at(6)).await.unwrap().len(), 2);

    let replayed = store.rotate(rotate("a", "a-0", "x", at(6))).await.unwrap();
    assert!(
        matches!(&replayed, RotationOutcome::Replayed(_, sealed) if sealed == b"a-1"),
        "{replayed:?}"
    );
    let dead = store.rotate(rotate("ended", "ended-0", "x", at(6))).await.unwrap();
    assert!(matches!(dead, RotationOutcome::Unknown), "{dead:?}");
    assert!(store.create(new_session("ended", "3")).await.is_err(), "no id is used twice");
    assert_eq!(end(&store, "ended").await, 0, "its end was told before");
    let next = store.rotate(rotate("a", "a-1", "a-2", at(7))).await.unwrap();
    assert!(matches!(next, RotationOutcome::Rotated(_)), "{next:?}");
}

#[tokio::test]
async fn the_file_says_when_and_why_a_session_ended_until_its_absolute_end() {
    let (store, folder) = fresh();
    store.create(new_session("a", "1")).await.unwrap();
    end(&store, "a").await;
    let kept = "SELECT count(*) FROM sessions WHERE end_reason = 'signed_out' AND ended_at > 0";
    store.upkeep(after(ABSOLUTE).minus(Duration::from_millis(1))).await.unwrap();
    assert_eq!(count(&file_in(&folder), kept), 1);
    store.upkeep(after(ABSOLUTE)).await.unwrap();
    assert_eq!(count(&file_in(&folder), "SELECT count(*) FROM sessions"), 0);
}

#[tokio::test]
async fn upkeep_makes_last_uses_and_identities_durable() {
    let (store, folder) = fresh();
    for id in ["used", "changed", "unused"] {
        store.create(new_session(id, "1")).await.unwrap();
    }
    store.upkeep(T0).await.unwrap();
    find(&store, "used", T0).await.unwrap().touch(after(IDLE / 2));
    let staff = Identity { staff: false, ..(*identity("1")).clone() };
    find(&store, "changed", T0).await.unwrap().identity.store(Arc::new(staff));
    store.upkeep(at(1)).await.unwrap();
    drop(store);

    let store = open(&folder);
    assert_eq!(find(&store, "used", after(IDLE)).await.unwrap().last_used(), after(IDLE / 2));
    assert!(!find(&store, "changed", T0).await.unwrap().identity.load().staff);
    assert!(find(&store, "unused", T0).await.unwrap().identity.load().staff);
    let expired = store.upkeep(after(IDLE)).await.unwrap().expired;
    assert_eq!(expired.len(), 2, "what timed out while nobody looked is told at the first upkeep");
}

#[tokio::test]
async fn sessions_of_one_user_share_what_is_the_same_of_them() {
    let (store, folder) = fresh();
    for (id, user) in [("a", "1"), ("b", "1"), ("other", "2"), ("changed", "1"), ("c", "1")] {
        let mut new = new_session(id, user);
        if id == "changed" {
            new.identity = Arc::new(Identity { staff: false, ..(*new.identity).clone() });
        }
        store.create(new).await.unwrap();
    }
    drop(store);
    let store = open(&folder);
    let mut read = Vec::new();
    for id in ["a", "b", "other", "changed"] {
        read.push(find(&store, id, T0).await.unwrap().identity.load_full());
    }
    assert!(Arc::ptr_eq(&read[0], &read[1]));
    assert_eq!(*read[0], *identity("1"));
    assert_eq!(*read[2], *identity("2"));
    assert!(!read[3].staff && read[3].key == read[0].key);
    assert!(Arc::ptr_eq(&read[0].key.directory, &read[2].key.directory));
    // An identity that changes is no longer shared.
    let staff = Identity { staff: false, ..(*identity("1")).clone() };
    find(&store, "a", T0).await.unwrap().identity.store(Arc::new(staff));
    assert!(find(&store, "b", T0).await.unwrap().identity.load().staff);
}

#[tokio::test]
async fn upkeep_writes_only_what_changed() {
    let (store, folder) = fresh();
    store.create(new_session("a", "1")).await.unwrap();
    store.upkeep(at(1)).await.unwrap();
    drop(store);
    let store = open(&folder);
    // Anything written by upkeep would overwrite this mark.
    raw(&file_in(&folder)).execute("UPDATE sessions SET last_used = 7", []).unwrap();
    store.upkeep(at(2)).await.unwrap();
    assert_eq!(count(&file_in(&folder), "SELECT last_used FROM sessions"), 7);
    find(&store, "a", at(3)).await.unwrap().touch(at(3));
    store.upkeep(at(4)).await.unwrap();
    let last_used = count(&file_in(&folder), "SELECT last_used FROM sessions");
    assert_eq!(last_used, i64::try_from(at(3).as_millis()).unwrap());
}

#[tokio::test]
async fn a_sealed_answer_goes_soon_after_its_window() {
    let (store, folder) = fresh();
    store.create(new_session("a", "1")).await.unwrap();
    store.rotate(rotate("a", "a-0", "a-1", T0)).await.unwrap();
    let sealed = "SELECT count(*) FROM refresh_tokens WHERE sealed_answer IS NOT NULL";
    store.upkeep(after(GRACE)).await.unwrap();
    assert_eq!(count(&file_in(&folder), sealed), 1);
    store.upkeep(after(GRACE + Duration::from_secs(61))).await.unwrap();
    assert_eq!(count(&file_in(&folder), sealed), 0);
    assert_eq!(count(&file_in(&folder), "SELECT count(*) FROM refresh_tokens"), 2);
}

#[tokio::test]
async fn a_round_of_upkeep_does_more_than_one_chunk() {
    let (store, folder) = fresh();
    let made: Vec<_> = (0..1100)
        .map(|number| {
            let store = Arc::clone(&store);
            let new = new_session(&format!("s{number}"), "1");
            async move { store.create(new).await.unwrap() }
        })
        .collect();
    // The calls at a time are fewer than the queue takes.
    let mut sessions = Vec::new();
    let mut made = made.into_iter();
    loop {
        let some: Vec<_> = made.by_ref().take(500).collect();
        if some.is_empty() {
            break;
        }
        sessions.extend(futures_util::future::join_all(some).await);
    }
    for session in sessions.iter().take(600) {
        session.touch(at(9));
    }
    assert_eq!(store.upkeep(at(9)).await.unwrap().active, 1100);
    let saved = format!("SELECT count(*) FROM sessions WHERE last_used = {}", at(9).as_millis());
    assert_eq!(count(&file_in(&folder), &saved), 600);
    assert_eq!(store.upkeep(after(IDLE)).await.unwrap().expired.len(), 500);
    assert_eq!(count(&file_in(&folder), "SELECT count(*) FROM refresh_tokens"), 600);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_copy_made_under_load_holds_what_was_acknowledged_before() {
    let (store, folder) = fresh();
    store.create(new_session("before", "1")).await.unwrap();
    store.rotate(rotate("before", "before-0", "before-1", at(5))).await.unwrap();
    let load = tokio::spawn({
        let store = Arc::clone(&store);
        async move {
            for number in 0..200 {
                store.create(new_session(&format!("during-{number}"), "2")).await.unwrap();
            }
        }
    });
    let copy = folder.path().join("copy.db");
    store.backup(&copy).await.unwrap();
    load.await.unwrap();
    assert!(store.backup(&copy).await.is_err(), "an existing file is never written over");

    let copied = Embedded::open(&copy).unwrap();
    let session = SessionId::new("before");
    assert!(find(&copied, "before", at(6)).await.is_some());
    let state = copied.look(&session, &digest("before-0"), at(6)).await.unwrap();
    assert!(matches!(state, RefreshState::Spent(..)), "{state:?}");
    assert_eq!(end(&copied, "before").await, 1);
    assert!(find(&store, "before", at(6)).await.is_some(), "the copy is a store of its own");
}

#[tokio::test]
async fn a_user_of_another_process_is_ended_in_memory_too() {
    let (store, folder) = fresh();
    store.create(new_session("a", "1")).await.unwrap();
    raw(&file_in(&folder))
        .execute("UPDATE sessions SET ended_at = 1, end_reason = 'operator'", [])
        .unwrap();
    let rotation = store.rotate(rotate("a", "a-0", "a-1", at(1))).await.unwrap();
    assert!(matches!(rotation, RotationOutcome::Unknown), "the tables decide: {rotation:?}");
    let user = SessionSelection::User(UserKey::new("django", "1"));
    assert_eq!(store.end(&user, EndReason::Operator, at(2)).await.unwrap().len(), 1);
    assert!(find(&store, "a", at(2)).await.is_none());
}

#[tokio::test]
async fn a_stamp_is_there_after_reopening_and_gone_after_its_time() {
    let (store, folder) = fresh();
    let new = NewStamp { key: digest("a"), at: at(7), keep: Keep::First, kept_until: at(1000) };
    store.put(new.clone()).await.unwrap();
    drop(store);
    let store = open(&folder);
    assert_eq!(store.stamp(&digest("a")), Some(at(7)));
    assert_eq!(store.put(NewStamp { at: at(9), ..new }).await, Ok(at(7)));
    store.upkeep(at(1000)).await.unwrap();
    assert_eq!(count(&file_in(&folder), "SELECT count(*) FROM stamps"), 0);
}
