//! The contract for sessions that can begin only once.

use std::sync::Arc;
use std::time::Duration;

use super::{ABSOLUTE, GRACE, IDLE, after, at, digest, new_session, rotate};
use crate::caller::SessionId;
use crate::clock::Timestamp;
use crate::event::EndReason;
use crate::store::{
    BeginOutcome, Keep, NewStamp, RefreshTokens, RotationOutcome, Session, SessionBy,
    SessionSelection, Sessions, Stamps,
};

fn mark(name: &str) -> NewStamp {
    NewStamp {
        key: digest(&format!("mark-{name}")),
        at: at(0),
        keep: Keep::First,
        kept_until: after(2 * ABSOLUTE),
    }
}

async fn begin(store: &Arc<impl Sessions>, id: &str, now: Timestamp) -> BeginOutcome {
    let new = crate::store::NewSession { at: now, ..new_session(id, "1") };
    store.create_once(new, mark(id)).await.unwrap()
}

fn one(id: &str) -> SessionSelection {
    SessionSelection::Session(SessionId::new(id))
}

fn begun(once: BeginOutcome) -> Arc<Session> {
    let BeginOutcome::Begun(session) = once else { panic!("{once:?}") };
    session
}

pub(in crate::store) async fn a_marked_session_begins_once(store: &Arc<impl Sessions + Stamps>) {
    let session = begun(begin(store, "a", at(0)).await);
    assert_eq!(store.stamp(&mark("a").key), Some(at(0)));
    for now in [at(0), at(1000)] {
        let again = begin(store, "a", now).await;
        assert!(matches!(&again, BeginOutcome::Before(Some(same)) if Arc::ptr_eq(same, &session)));
    }
    let by_id = SessionId::new("a");
    let found = store.find(SessionBy::Id(&by_id), at(1)).await.unwrap().unwrap();
    assert!(Arc::ptr_eq(&found, &session));
    begun(begin(store, "b", at(0)).await);
}

pub(in crate::store) async fn whatever_ended_it_a_marked_session_does_not_begin_again(
    store: &Arc<impl Sessions + RefreshTokens>,
) {
    for id in ["ended", "reused", "idle"] {
        begun(begin(store, id, at(0)).await);
    }
    store.end(&one("ended"), EndReason::SignedOut, at(1)).await.unwrap();
    store.rotate(rotate("reused", "reused-0", "reused-1", at(0))).await.unwrap();
    let reused = store.rotate(rotate("reused", "reused-0", "reused-2", after(GRACE))).await;
    assert!(matches!(reused, Ok(RotationOutcome::Reused(_))));
    store.upkeep(after(IDLE)).await.unwrap();
    for id in ["ended", "reused", "idle"] {
        for now in [at(2), after(IDLE)] {
            assert!(matches!(begin(store, id, now).await, BeginOutcome::Before(None)), "{id}");
        }
    }
}

pub(in crate::store) async fn a_mark_without_a_session_lets_none_begin(
    store: &Arc<impl Sessions + Stamps>,
) {
    store.put(mark("a")).await.unwrap();
    assert!(matches!(begin(store, "a", at(1)).await, BeginOutcome::Before(None)));
    store.create(new_session("a", "1")).await.unwrap();
}

pub(in crate::store) async fn of_fifty_parallel_beginnings_one_is_the_session_of_all(
    store: &Arc<impl Sessions + 'static>,
) {
    let racing: Vec<_> = (0..50)
        .map(|_| {
            let store = Arc::clone(store);
            tokio::spawn(async move { begin(&store, "a", at(0)).await })
        })
        .collect();
    let (mut first, mut others) = (Vec::new(), Vec::new());
    for one in racing {
        match one.await.unwrap() {
            BeginOutcome::Begun(session) => first.push(session),
            BeginOutcome::Before(session) => others.push(session.unwrap()),
        }
    }
    assert_eq!(first.len(), 1);
    assert!(others.iter().all(|session| Arc::ptr_eq(session, &first[0])));
}

pub(in crate::store) async fn what_could_not_begin_leaves_no_mark(
    store: &Arc<impl Sessions + Stamps>,
) {
    let session = store.create(new_session("a", "1")).await.unwrap();
    assert!(store.create_once(new_session("a", "1"), mark("a")).await.is_err());
    assert_eq!(store.stamp(&mark("a").key), None);
    let mut taken = new_session("b", "1");
    taken.cookie = session.cookie;
    assert!(store.create_once(taken, mark("b")).await.is_err());
    begun(begin(store, "b", at(0)).await);
}

pub(in crate::store) async fn a_session_may_begin_once_its_mark_is_forgotten(
    store: &Arc<impl Sessions + Stamps>,
) {
    let new = NewStamp { kept_until: after(Duration::from_secs(60)), ..mark("a") };
    store.put(new).await.unwrap();
    store.upkeep(after(Duration::from_secs(60))).await.unwrap();
    begun(begin(store, "a", after(Duration::from_secs(60))).await);
}

pub(in crate::store) async fn who_sees_the_mark_finds_the_session(
    store: &Arc<impl Sessions + Stamps + 'static>,
) {
    for number in 0..100 {
        let id = format!("s{number}");
        let (watching, watched) = (Arc::clone(store), id.clone());
        let watcher = std::thread::spawn(move || {
            while watching.stamp(&mark(&watched).key).is_none() {
                std::hint::spin_loop();
            }
            let id = SessionId::new(&watched);
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(watching.find(SessionBy::Id(&id), at(0))).unwrap().is_some()
        });
        begun(begin(store, &id, at(0)).await);
        assert!(watcher.join().unwrap(), "session {number}");
    }
}
