//! The contract for attachments of sessions.

use std::sync::Arc;

use super::{ABSOLUTE, IDLE, after, at, new_session};
use crate::caller::{SessionId, UserKey};
use crate::event::EndReason;
use crate::store::{
    NewSession, Session, SessionAttachments, SessionBy, SessionSelection, Sessions,
};

fn sealed(text: &str) -> Arc<Vec<u8>> {
    Arc::new(text.as_bytes().to_vec())
}

fn text(session: &Session) -> Option<String> {
    session.kept.load().as_ref().map(|kept| String::from_utf8(kept.to_vec()).unwrap())
}

pub(in crate::store) async fn what_is_kept_is_in_the_record_from_the_beginning(
    store: &Arc<impl Sessions>,
) {
    let with = NewSession { kept: Some(sealed("one")), ..new_session("a", "1") };
    assert_eq!(text(&store.create(with).await.unwrap()).as_deref(), Some("one"));
    assert_eq!(text(&store.create(new_session("b", "1")).await.unwrap()), None);
    let id = SessionId::new("a");
    let found = store.find(SessionBy::Id(&id), at(1)).await.unwrap().unwrap();
    assert_eq!(text(&found).as_deref(), Some("one"));
}

pub(in crate::store) async fn the_last_that_was_kept_is_there(
    store: &Arc<impl Sessions + SessionAttachments>,
) {
    let session = store.create(new_session("a", "1")).await.unwrap();
    let other = store.create(new_session("b", "1")).await.unwrap();
    for kept in ["one", "two", ""] {
        assert_eq!(store.keep(&session.id, sealed(kept)).await, Ok(true));
        assert_eq!(text(&session).as_deref(), Some(kept), "in the very record that was handed out");
    }
    assert_eq!(text(&other), None);
}

pub(in crate::store) async fn nothing_is_kept_for_a_session_that_has_ended(
    store: &Arc<impl Sessions + SessionAttachments>,
) {
    for (id, user) in [("a", "1"), ("b", "2"), ("c", "3")] {
        let with = NewSession { kept: Some(sealed("one")), ..new_session(id, user) };
        store.create(with).await.unwrap();
    }
    let (a, user) = (SessionId::new("a"), UserKey::new("django", "2"));
    for which in [SessionSelection::Session(a), SessionSelection::User(user)] {
        assert_eq!(store.end(&which, EndReason::SignedOut, at(1)).await.unwrap().len(), 1);
    }
    store.upkeep(after(IDLE.max(ABSOLUTE))).await.unwrap();
    for id in ["a", "b", "c", "never"] {
        assert_eq!(store.keep(&SessionId::new(id), sealed("two")).await, Ok(false), "{id}");
    }
}
