//! The contract of [`Sessions`].

use std::sync::Arc;
use std::time::Duration;

use super::{ABSOLUTE, IDLE, T0, after, at, digest, identity, new_session};
use crate::caller::{Identity, SessionId, UserKey};
use crate::clock::Timestamp;
use crate::event::EndReason;
use crate::store::{RefreshState, RefreshTokens, Session, SessionBy, SessionSelection, Sessions};

async fn by_id(store: &Arc<impl Sessions>, id: &str, now: Timestamp) -> Option<Arc<Session>> {
    store.find(SessionBy::Id(&SessionId::new(id)), now).await.unwrap()
}

async fn by_cookie(store: &Arc<impl Sessions>, id: &str, now: Timestamp) -> Option<Arc<Session>> {
    store.find(SessionBy::Cookie(&digest(&format!("cookie-{id}"))), now).await.unwrap()
}

async fn end(store: &Arc<impl Sessions>, which: SessionSelection) -> Vec<String> {
    let ended = store.end(&which, EndReason::SignedOut, at(1)).await.unwrap();
    let mut ids: Vec<_> = ended.iter().map(|session| session.id.to_string()).collect();
    ids.sort();
    ids
}

fn one(id: &str) -> SessionSelection {
    SessionSelection::Session(SessionId::new(id))
}

fn ids(sessions: &[Arc<Session>]) -> Vec<&str> {
    sessions.iter().map(|session| session.id.as_str()).collect()
}

pub(in crate::store) async fn a_session_is_found_by_id_and_by_cookie_as_it_was_made(
    store: &Arc<impl Sessions>,
) {
    let new = new_session("a", "1");
    let made = store.create(new.clone()).await.unwrap();
    for found in [by_id(store, "a", T0).await, by_cookie(store, "a", T0).await] {
        let found = found.unwrap();
        assert!(Arc::ptr_eq(&found, &made), "one record is shared by all");
        assert_eq!(**found.identity.load(), *new.identity);
        assert_eq!(found.password_mark, new.password_mark);
        assert_eq!(found.cookie, new.cookie);
        assert_eq!((found.signed_in_at, found.last_used()), (T0, T0));
        assert_eq!((found.expires_at, found.idle_timeout), (new.expires_at, IDLE));
        assert_eq!((found.client, &*found.agent), (new.client, &*new.agent));
        assert_eq!(found.assurance, new.assurance);
    }
}

pub(in crate::store) async fn an_unknown_session_is_absent(store: &Arc<impl Sessions>) {
    store.create(new_session("a", "1")).await.unwrap();
    assert!(by_id(store, "b", T0).await.is_none());
    assert!(by_cookie(store, "b", T0).await.is_none());
}

pub(in crate::store) async fn a_session_without_cookie_and_token_is_found_by_id(
    store: &Arc<impl Sessions>,
) {
    for id in ["a", "b"] {
        let mut new = new_session(id, "1");
        (new.cookie, new.refresh, new.client) = (None, None, None);
        store.create(new).await.unwrap();
    }
    assert!(by_id(store, "a", T0).await.is_some());
    assert!(by_id(store, "b", T0).await.is_some());
    assert_eq!(end(store, one("a")).await, ["a"]);
    assert!(by_id(store, "b", T0).await.is_some());
}

pub(in crate::store) async fn a_taken_id_cookie_or_token_is_an_error_and_changes_nothing(
    store: &Arc<impl Sessions>,
) {
    let first = store.create(new_session("a", "1")).await.unwrap();
    let mut same_id = new_session("b", "2");
    same_id.id = SessionId::new("a");
    let mut same_cookie = new_session("b", "2");
    same_cookie.cookie = first.cookie;
    let mut same_token = new_session("b", "2");
    same_token.refresh = new_session("a", "1").refresh;
    for taken in [same_id, same_cookie, same_token] {
        assert!(store.create(taken).await.is_err());
    }
    assert!(by_id(store, "b", T0).await.is_none());
    assert!(Arc::ptr_eq(&by_id(store, "a", T0).await.unwrap(), &first));
    assert!(Arc::ptr_eq(&by_cookie(store, "a", T0).await.unwrap(), &first));
    store.create(new_session("b", "2")).await.unwrap();
}

pub(in crate::store) async fn the_idle_end_is_exact(store: &Arc<impl Sessions>) {
    store.create(new_session("a", "1")).await.unwrap();
    let end = after(IDLE);
    assert!(by_id(store, "a", end.minus(Duration::from_millis(1))).await.is_some());
    assert!(by_id(store, "a", end).await.is_none());
    assert!(by_cookie(store, "a", end).await.is_none());
}

pub(in crate::store) async fn a_use_moves_the_idle_end(store: &Arc<impl Sessions>) {
    let session = store.create(new_session("a", "1")).await.unwrap();
    session.touch(after(IDLE / 2));
    assert!(by_id(store, "a", after(IDLE)).await.is_some());
    assert!(by_id(store, "a", after(IDLE + IDLE / 2)).await.is_none());
    // A clock that was set back does not shorten the session.
    session.touch(T0);
    assert!(by_id(store, "a", after(IDLE)).await.is_some());
}

pub(in crate::store) async fn no_use_moves_the_absolute_end(store: &Arc<impl Sessions>) {
    let session = store.create(new_session("a", "1")).await.unwrap();
    let end = after(ABSOLUTE);
    session.touch(end);
    assert!(by_id(store, "a", end.minus(Duration::from_millis(1))).await.is_some());
    assert!(by_id(store, "a", end).await.is_none());
    assert!(store.list(None, end).await.unwrap().is_empty());
}

pub(in crate::store) async fn an_end_is_seen_everywhere_and_told_once(store: &Arc<impl Sessions>) {
    let held = store.create(new_session("a", "1")).await.unwrap();
    store.create(new_session("b", "1")).await.unwrap();
    assert_eq!(end(store, one("a")).await, ["a"]);
    assert!(!held.is_live(T0), "the record that was handed out before says so");
    assert!(by_id(store, "a", T0).await.is_none());
    assert!(by_cookie(store, "a", T0).await.is_none());
    assert!(by_id(store, "b", T0).await.is_some());
    assert!(end(store, one("a")).await.is_empty());
    assert_eq!(end(store, SessionSelection::User(UserKey::new("django", "1"))).await, ["b"]);
}

pub(in crate::store) async fn ending_a_user_ends_exactly_theirs(store: &Arc<impl Sessions>) {
    for (id, user) in [("a", "1"), ("b", "1"), ("c", "2")] {
        store.create(new_session(id, user)).await.unwrap();
    }
    let mut elsewhere = new_session("d", "1");
    let key = UserKey::new("file", "1");
    elsewhere.identity = Arc::new(Identity { key: key.clone(), ..(*elsewhere.identity).clone() });
    store.create(elsewhere).await.unwrap();

    let user = UserKey::new("django", "1");
    assert_eq!(end(store, SessionSelection::User(user.clone())).await, ["a", "b"]);
    assert!(end(store, SessionSelection::User(user.clone())).await.is_empty());
    assert!(store.list(Some(&user), T0).await.unwrap().is_empty());
    assert_eq!(ids(&store.list(Some(&key), T0).await.unwrap()), ["d"]);
    assert!(by_id(store, "c", T0).await.is_some());
}

pub(in crate::store) async fn ending_the_others_keeps_one(store: &Arc<impl Sessions>) {
    for (id, user) in [("a", "1"), ("b", "1"), ("c", "2"), ("d", "1")] {
        store.create(new_session(id, user)).await.unwrap();
    }
    let user = UserKey::new("django", "1");
    let others =
        |kept| SessionSelection::OthersOf { user: user.clone(), kept: SessionId::new(kept) };
    assert_eq!(end(store, others("b")).await, ["a", "d"]);
    assert!(end(store, others("b")).await.is_empty());
    assert!(by_cookie(store, "b", T0).await.is_some() && by_cookie(store, "a", T0).await.is_none());
    assert!(by_id(store, "c", T0).await.is_some(), "another user's");
    // Sparing a session of another user spares none of this user's.
    assert_eq!(end(store, others("c")).await, ["b"]);
    assert!(by_id(store, "c", T0).await.is_some());
}

pub(in crate::store) async fn ending_what_is_not_there_tells_nothing(store: &Arc<impl Sessions>) {
    assert!(end(store, one("a")).await.is_empty());
    assert!(end(store, SessionSelection::User(UserKey::new("django", "1"))).await.is_empty());
}

pub(in crate::store) async fn the_list_has_live_sessions_newest_first(store: &Arc<impl Sessions>) {
    for (id, user, begins) in [("old", "1", 0), ("new", "1", 9), ("mid", "2", 5), ("gone", "1", 7)]
    {
        let mut new = new_session(id, user);
        new.at = at(begins);
        store.create(new).await.unwrap();
    }
    end(store, one("gone")).await;
    assert_eq!(ids(&store.list(None, at(9)).await.unwrap()), ["new", "mid", "old"]);
    let first = UserKey::new("django", "1");
    assert_eq!(ids(&store.list(Some(&first), at(9)).await.unwrap()), ["new", "old"]);
    assert_eq!(ids(&store.list(None, after(IDLE)).await.unwrap()), ["new", "mid"], "idle");
}

pub(in crate::store) async fn upkeep_removes_what_timed_out_and_tells_it_once(
    store: &Arc<impl Sessions>,
) {
    assert_eq!(store.upkeep(T0).await.unwrap().active, 0);
    let idle = store.create(new_session("idle", "1")).await.unwrap();
    store.create(new_session("used", "1")).await.unwrap().touch(after(IDLE / 2));
    store.create(new_session("ended", "1")).await.unwrap();
    end(store, one("ended")).await;

    let early = store.upkeep(after(IDLE / 2)).await.unwrap();
    assert_eq!((early.expired.len(), early.active), (0, 2));
    let due = store.upkeep(after(IDLE)).await.unwrap();
    assert_eq!((ids(&due.expired), due.active), (vec!["idle"], 1));
    assert!(Arc::ptr_eq(&due.expired[0], &idle));
    let again = store.upkeep(after(IDLE)).await.unwrap();
    assert_eq!((again.expired.len(), again.active), (0, 1));
    assert!(end(store, one("idle")).await.is_empty(), "it was told as expired");
}

pub(in crate::store) async fn a_removed_session_does_not_come_back(
    store: &Arc<impl Sessions + RefreshTokens>,
) {
    let session = store.create(new_session("a", "1")).await.unwrap();
    store.upkeep(after(IDLE)).await.unwrap();
    session.touch(after(IDLE));
    assert!(!session.is_live(after(IDLE)), "not for the holder of the record");
    assert!(by_id(store, "a", T0).await.is_none(), "nor if the clock is set back");
    let look = store.look(&session.id, &digest("a-0"), T0).await.unwrap();
    assert!(matches!(look, RefreshState::Unknown), "{look:?}");
}

pub(in crate::store) async fn a_changed_identity_is_seen_and_stays(store: &Arc<impl Sessions>) {
    let session = store.create(new_session("a", "1")).await.unwrap();
    let changed = Identity { groups: vec!["admins".to_owned()], ..(*identity("1")).clone() };
    session.identity.store(Arc::new(changed));
    store.upkeep(at(1)).await.unwrap();
    let found = by_id(store, "a", at(1)).await.unwrap();
    assert_eq!(found.identity.load().groups, ["admins"]);
    assert_eq!(end(store, SessionSelection::User(UserKey::new("django", "1"))).await, ["a"]);
}
