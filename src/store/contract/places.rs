//! The contract for erasing where users were, which leaves them signed in.

use std::sync::Arc;

use super::super::outbox::{Claim, NewMessage, Outbox};
use super::super::{SessionBy, Sessions, StoredPlaces};
use super::{IDLE, T0, after, at, digest, new_session};
use crate::caller::SessionId;

pub(in crate::store) async fn places_are_forgotten_and_sessions_live(
    store: &Arc<impl Sessions + Outbox + StoredPlaces>,
) {
    let find = async |id: &str| {
        let id = SessionId::new(id);
        store.find(SessionBy::Id(&id), after(IDLE / 2)).await.unwrap().unwrap()
    };
    store.create(new_session("old", "1")).await.unwrap();
    store.create(super::super::NewSession { at: at(10), ..new_session("new", "1") }).await.unwrap();
    let message = |id: &str, millis| NewMessage {
        id: id.into(),
        channel: "mail".into(),
        key: digest(id),
        body: id.into(),
        at: at(millis),
        quiet_until: at(millis),
    };
    store.put_messages(vec![message("old", 0), message("new", 10)], 9).await.unwrap();
    let held = find("old").await;
    assert!(store.forget_places(at(10)).await.unwrap());
    let (old, new) = (find("old").await, find("new").await);
    assert_eq!((old.client, &*old.agent), (None, ""));
    assert!(new.client.is_some() && &*new.agent == "Mozilla/5.0");
    // Holders of the old record look it up again, and find the same session.
    assert!(!held.is_live(at(10)));
    assert_eq!((&old.id, old.signed_in_at, old.cookie), (&held.id, T0, held.cookie));
    let by_cookie = store.find(SessionBy::Cookie(&old.cookie.unwrap()), at(10)).await.unwrap();
    assert!(Arc::ptr_eq(&by_cookie.unwrap(), &old));
    assert_eq!(store.list(None, at(10)).await.unwrap().len(), 2);
    let claim = Claim { channel: "mail".into(), now: at(20), until: at(30), limit: 9 };
    let waiting = store.claim_messages(claim).await.unwrap();
    assert_eq!(waiting.iter().map(|one| &*one.id).collect::<Vec<_>>(), ["new"]);
    assert!(store.forget_places(at(10)).await.unwrap(), "again");
}
