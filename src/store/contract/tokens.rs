//! The contract for personal access tokens.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use super::super::{NewSession, SessionBy, SessionSelection, Sessions};
use super::{T0, at, digest, new_session};
use crate::caller::{Assurance, SessionId, TokenGrant, UserKey};
use crate::event::EndReason;

fn token(id: &str, user: &str) -> NewSession {
    let grant = TokenGrant {
        name: "빌드".to_owned(),
        routes: vec!["api".to_owned()],
        methods: vec!["GET".to_owned(), "POST".to_owned()],
    };
    NewSession {
        grant: Some(Arc::new(grant)),
        assurance: Assurance::BY_TOKEN,
        refresh: None,
        ..new_session(id, user)
    }
}

pub(in crate::store) async fn a_token_is_found_by_its_digest_with_what_it_is_for(
    store: &Arc<impl Sessions>,
) {
    let made = store.create_token(token("t", "1"), 1).await.unwrap().unwrap();
    let cookie = digest("cookie-t");
    let found = store.find(SessionBy::Cookie(&cookie), at(1)).await.unwrap().unwrap();
    assert!(found.is_token() && Arc::ptr_eq(&made, &found));
    assert_eq!(found.grant, token("t", "1").grant);
    assert_eq!(found.assurance, Assurance::BY_TOKEN);
    assert_eq!(found.copy().grant, found.grant, "a copy is a token's as well");
}

pub(in crate::store) async fn no_more_tokens_than_there_is_room_for(store: &Arc<impl Sessions>) {
    // Sign-ins and other users' tokens do not count.
    store.create(new_session("sign-in", "1")).await.unwrap();
    store.create_token(token("other", "2"), 1).await.unwrap().unwrap();
    let ids: Vec<String> = (0..9).map(|index| format!("t{index}")).collect();
    let made = join_all(ids.iter().map(|id| store.create_token(token(id, "1"), 3))).await;
    let made = made.into_iter().filter_map(Result::unwrap).collect::<Vec<_>>();
    assert_eq!(made.len(), 3);
    assert!(store.create_token(token("more", "1"), 3).await.unwrap().is_none());
    let which = SessionSelection::Session(made[0].id.clone());
    store.end(&which, EndReason::Revoked, at(1)).await.unwrap();
    assert!(store.create_token(token("more", "1"), 3).await.unwrap().is_some());
    // An expired token does not count either, even before upkeep.
    let late = T0.plus(2 * super::ABSOLUTE);
    let later =
        NewSession { at: late, expires_at: late.plus(super::ABSOLUTE), ..token("late", "1") };
    assert!(store.create_token(later, 1).await.unwrap().is_some());
}

pub(in crate::store) async fn what_ends_sign_ins_leaves_tokens_and_what_ends_a_user_does_not(
    store: &Arc<impl Sessions>,
) {
    let user = UserKey::new("django", "1");
    store.create(new_session("sign-in", "1")).await.unwrap();
    store.create_token(token("t", "1"), 9).await.unwrap().unwrap();
    for id in ["another", "kept"] {
        store.create(new_session(id, "1")).await.unwrap();
    }
    for (kept, expected) in [(Some("kept"), &["another", "sign-in"][..]), (None, &["kept"])] {
        let which =
            SessionSelection::SignIns { user: user.clone(), kept: kept.map(SessionId::new) };
        let ended = store.end(&which, EndReason::SignedOutEverywhere, at(1)).await.unwrap();
        let mut ended: Vec<_> = ended.iter().map(|one| one.id.as_str()).collect();
        ended.sort_unstable();
        assert_eq!(ended, expected);
    }
    let left = store.list(Some(&user), at(1)).await.unwrap();
    assert_eq!(left.iter().map(|one| one.id.as_str()).collect::<Vec<_>>(), ["t"]);
    let upkeep = store.upkeep(at(2)).await.unwrap();
    assert_eq!((upkeep.active, upkeep.tokens), (0, 1));
    let which = SessionSelection::User(user.clone());
    let ended = store.end(&which, EndReason::NotMe, at(3)).await.unwrap();
    assert_eq!(ended.len(), 1);
    let after = at(3).plus(Duration::from_secs(1));
    assert!(store.list(Some(&user), after).await.unwrap().is_empty());
}
