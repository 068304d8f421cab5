//! The contract for adopting and renewing sessions of services.

use std::sync::Arc;

use super::{ABSOLUTE, IDLE, after, at, digest, new_session};
use crate::caller::{Assurance, AuthMethod, AuthMethods, SessionId, UserKey};
use crate::clock::Timestamp;
use crate::event::EndReason;
use crate::store::{
    BeginOutcome, NewSession, Renewal, Session, SessionBy, SessionSelection, Sessions, Stamps,
};

fn adopted(id: &str, credential: &str, now: Timestamp) -> NewSession {
    NewSession {
        cookie: Some(digest(credential)),
        issuer: Some("django-session".into()),
        at: now,
        expires_at: now.plus(ABSOLUTE),
        refresh: None,
        ..new_session(id, "1")
    }
}

async fn adopt(
    store: &Arc<impl Sessions>,
    id: &str,
    credential: &str,
    now: Timestamp,
) -> BeginOutcome {
    store.adopt(adopted(id, credential, now)).await.unwrap()
}

fn begun(once: BeginOutcome) -> Arc<Session> {
    let BeginOutcome::Begun(session) = once else { panic!("{once:?}") };
    session
}

async fn by(store: &Arc<impl Sessions>, credential: &str, now: Timestamp) -> Option<Arc<Session>> {
    store.find(SessionBy::Cookie(&digest(credential)), now).await.unwrap()
}

fn one(id: &str) -> SessionSelection {
    SessionSelection::Session(SessionId::new(id))
}

fn renewal(id: &str, credential: Option<&str>, now: Timestamp) -> Renewal {
    Renewal {
        session: SessionId::new(id),
        cookie: credential.map(digest),
        password_mark: digest("another mark"),
        assurance: None,
        at: now,
    }
}

pub(in crate::store) async fn a_credential_is_adopted_once_while_its_session_lives(
    store: &Arc<impl Sessions>,
) {
    let session = begun(adopt(store, "a", "key", at(0)).await);
    assert_eq!(session.issuer.as_deref(), Some("django-session"));
    let again = adopt(store, "b", "key", at(1)).await;
    assert!(matches!(&again, BeginOutcome::Before(Some(same)) if Arc::ptr_eq(same, &session)));
    assert!(Arc::ptr_eq(&by(store, "key", at(1)).await.unwrap(), &session));
    begun(adopt(store, "b", "other", at(1)).await);
}

pub(in crate::store) async fn the_end_of_an_adopted_session_is_that_of_its_credential(
    store: &Arc<impl Sessions + Stamps>,
) {
    begun(adopt(store, "a", "key", at(0)).await);
    begun(adopt(store, "b", "other", at(0)).await);
    store.end(&one("a"), EndReason::Operator, at(5)).await.unwrap();
    assert_eq!(store.stamp(&digest("key")), Some(at(5)));
    assert!(matches!(adopt(store, "c", "key", at(6)).await, BeginOutcome::Before(None)));
    let user = SessionSelection::User(UserKey::new("django", "1"));
    store.end(&user, EndReason::SignedOutEverywhere, at(7)).await.unwrap();
    assert!(matches!(adopt(store, "c", "other", at(8)).await, BeginOutcome::Before(None)));
    // The end is stored as long as the service may accept the credential, and no longer.
    store.upkeep(at(5).plus(IDLE)).await.unwrap();
    begun(adopt(store, "c", "key", at(5).plus(IDLE)).await);
}

pub(in crate::store) async fn time_that_runs_out_denies_nothing(
    store: &Arc<impl Sessions + Stamps>,
) {
    begun(adopt(store, "a", "key", at(0)).await);
    // Both before upkeep and after it.
    begun(adopt(store, "b", "key", after(IDLE)).await);
    assert!(store.find(SessionBy::Id(&SessionId::new("a")), at(0)).await.unwrap().is_none());
    store.upkeep(after(2 * IDLE)).await.unwrap();
    begun(adopt(store, "c", "key", after(2 * IDLE)).await);
    assert_eq!(store.stamp(&digest("key")), None);
}

pub(in crate::store) async fn only_an_adopted_session_denies_its_cookie(
    store: &Arc<impl Sessions + Stamps>,
) {
    store.create(new_session("a", "1")).await.unwrap();
    store.end(&one("a"), EndReason::SignedOut, at(1)).await.unwrap();
    assert_eq!(store.stamp(&digest("cookie-a")), None);
}

pub(in crate::store) async fn a_renewed_session_goes_on_under_another_credential(
    store: &Arc<impl Sessions>,
) {
    let old = begun(adopt(store, "a", "key", at(0)).await);
    let new = store.renew(renewal("a", Some("new key"), at(1))).await.unwrap().unwrap();
    assert_eq!((&new.id, new.signed_in_at), (&old.id, old.signed_in_at));
    assert_eq!(new.password_mark, digest("another mark"));
    assert!(!old.is_live(at(1)) && new.is_live(at(1)));
    assert!(by(store, "key", at(1)).await.is_none());
    assert!(Arc::ptr_eq(&by(store, "new key", at(1)).await.unwrap(), &new));
    let id = SessionId::new("a");
    let by_id = store.find(SessionBy::Id(&id), at(1)).await.unwrap().unwrap();
    assert!(Arc::ptr_eq(&by_id, &new));
    assert_eq!(store.list(None, at(1)).await.unwrap().len(), 1);
    // What the renewal does not name stays.
    let again = store.renew(renewal("a", None, at(2))).await.unwrap().unwrap();
    assert_eq!(again.cookie, Some(digest("new key")));
    assert_eq!(store.end(&one("a"), EndReason::SignedOut, at(3)).await.unwrap().len(), 1);
    assert!(matches!(adopt(store, "b", "new key", at(4)).await, BeginOutcome::Before(None)));
}

pub(in crate::store) async fn what_a_user_proved_since_is_in_the_record_and_stays(
    store: &Arc<impl Sessions>,
) {
    begun(adopt(store, "a", "key", at(0)).await);
    let methods = AuthMethods::only(AuthMethod::OneTimePassword).and(AuthMethod::MultipleFactors);
    let proved = Assurance::now(methods, at(5000));
    let raise = Renewal { assurance: Some(proved), ..renewal("a", None, at(5000)) };
    assert_eq!(store.renew(raise).await.unwrap().unwrap().assurance, proved);
    let later = store.renew(renewal("a", None, at(6000))).await.unwrap().unwrap();
    assert_eq!(later.assurance, proved, "what says nothing of it leaves it");
}

pub(in crate::store) async fn a_session_that_has_ended_is_not_renewed(store: &Arc<impl Sessions>) {
    begun(adopt(store, "a", "key", at(0)).await);
    begun(adopt(store, "idle", "idle key", at(0)).await);
    store.end(&one("a"), EndReason::SignedOut, at(1)).await.unwrap();
    for (id, now) in [("a", at(2)), ("never", at(2)), ("idle", after(IDLE))] {
        assert!(store.renew(renewal(id, Some("new key"), now)).await.unwrap().is_none(), "{id}");
    }
    assert!(by(store, "new key", at(2)).await.is_none());
    begun(adopt(store, "b", "taken", at(2)).await);
    begun(adopt(store, "c", "mine", at(2)).await);
    assert!(store.renew(renewal("c", Some("taken"), at(3))).await.is_err());
    assert!(by(store, "mine", at(3)).await.is_some(), "and nothing has changed");
}

pub(in crate::store) async fn of_fifty_parallel_adoptions_one_begins(
    store: &Arc<impl Sessions + 'static>,
) {
    let racing: Vec<_> = (0..50)
        .map(|number| {
            let store = Arc::clone(store);
            tokio::spawn(async move { adopt(&store, &format!("s{number}"), "key", at(0)).await })
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

pub(in crate::store) async fn upkeep_leaves_a_renewed_session(store: &Arc<impl Sessions>) {
    begun(adopt(store, "a", "key", at(0)).await);
    store.renew(renewal("a", Some("new key"), at(1))).await.unwrap().unwrap();
    assert!(store.upkeep(at(2)).await.unwrap().expired.is_empty());
    assert!(by(store, "new key", at(2)).await.is_some());
}
