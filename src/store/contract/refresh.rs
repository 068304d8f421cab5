//! The contract of [`RefreshTokens`].

use std::sync::Arc;
use std::time::Duration;

use super::{GRACE, IDLE, T0, after, at, digest, new_session, rotate, token};
use crate::caller::SessionId;
use crate::clock::Timestamp;
use crate::event::EndReason;
use crate::store::{
    RefreshState, RefreshTokens, Rotate, RotationOutcome, SessionBy, SessionSelection, Sessions,
};

async fn spend(store: &Arc<impl RefreshTokens>, rotate: Rotate) -> String {
    told(&store.rotate(rotate).await.unwrap())
}

/// Returns a rotation's result as a word, with the answer of a replay.
fn told(rotation: &RotationOutcome) -> String {
    match rotation {
        RotationOutcome::Rotated(_) => "rotated".to_owned(),
        RotationOutcome::Replayed(_, sealed) => {
            format!("replayed {}", String::from_utf8_lossy(sealed))
        }
        RotationOutcome::Reused(_) => "reused".to_owned(),
        RotationOutcome::Expired => "expired".to_owned(),
        RotationOutcome::Unknown => "unknown".to_owned(),
    }
}

async fn look(
    store: &Arc<impl RefreshTokens>,
    session: &str,
    name: &str,
    now: Timestamp,
) -> &'static str {
    match store.look(&SessionId::new(session), &digest(name), now).await.unwrap() {
        RefreshState::Fresh(_) => "fresh",
        RefreshState::Spent(..) => "spent",
        RefreshState::Expired => "expired",
        RefreshState::Unknown => "unknown",
    }
}

async fn lives(store: &Arc<impl Sessions>, id: &str, now: Timestamp) -> bool {
    store.find(SessionBy::Id(&SessionId::new(id)), now).await.unwrap().is_some()
}

async fn end(store: &Arc<impl Sessions>, id: &str) {
    let which = SessionSelection::Session(SessionId::new(id));
    store.end(&which, EndReason::SignedOut, at(1)).await.unwrap();
}

pub(in crate::store) async fn a_rotation_spends_the_token_and_remembers_its_successor(
    store: &Arc<impl Sessions + RefreshTokens>,
) {
    let session = store.create(new_session("a", "1")).await.unwrap();
    let rotated = store.rotate(rotate("a", "a-0", "a-1", at(5))).await.unwrap();
    assert!(
        matches!(&rotated, RotationOutcome::Rotated(of) if Arc::ptr_eq(of, &session)),
        "{rotated:?}"
    );
    let state = store.look(&session.id, &digest("a-0"), at(6)).await.unwrap();
    assert!(matches!(state, RefreshState::Spent(_, when) if when == at(5)), "{state:?}");
    assert_eq!(look(store, "a", "a-1", at(6)).await, "fresh");
    assert_eq!(spend(store, rotate("a", "a-1", "a-2", at(7))).await, "rotated");
    assert_eq!(session.last_used(), T0, "a use is the caller's to note");
}

pub(in crate::store) async fn looking_spends_nothing(store: &Arc<impl Sessions + RefreshTokens>) {
    store.create(new_session("a", "1")).await.unwrap();
    for _ in 0..3 {
        assert_eq!(look(store, "a", "a-0", at(1)).await, "fresh");
    }
    assert_eq!(look(store, "a", "never", at(1)).await, "unknown");
    assert_eq!(look(store, "b", "a-0", at(1)).await, "unknown");
    assert_eq!(spend(store, rotate("a", "a-0", "a-1", at(2))).await, "rotated");
}

pub(in crate::store) async fn within_its_window_a_spent_token_gets_the_same_answer(
    store: &Arc<impl Sessions + RefreshTokens>,
) {
    store.create(new_session("a", "1")).await.unwrap();
    assert_eq!(spend(store, rotate("a", "a-0", "a-1", at(0))).await, "rotated");
    let last = after(GRACE).minus(Duration::from_millis(1));
    for (number, now) in [at(0), at(1), last].into_iter().enumerate() {
        // Each call brings a successor of its own, and none of these is stored.
        let other = format!("other-{number}");
        assert_eq!(spend(store, rotate("a", "a-0", &other, now)).await, "replayed a-1");
        assert_eq!(look(store, "a", &other, now).await, "unknown");
    }
    assert_eq!(look(store, "a", "a-1", last).await, "fresh");
    assert_eq!(spend(store, rotate("a", "a-0", "other", after(GRACE))).await, "reused");
}

pub(in crate::store) async fn without_a_window_the_second_use_is_reuse(
    store: &Arc<impl Sessions + RefreshTokens>,
) {
    store.create(new_session("a", "1")).await.unwrap();
    let strict = |successor| Rotate { grace: Duration::ZERO, ..rotate("a", "a-0", successor, T0) };
    assert_eq!(spend(store, strict("a-1")).await, "rotated");
    assert_eq!(spend(store, strict("x")).await, "reused");
}

pub(in crate::store) async fn reuse_after_the_window_ends_the_session_once(
    store: &Arc<impl Sessions + RefreshTokens>,
) {
    let held = store.create(new_session("a", "1")).await.unwrap();
    store.create(new_session("b", "1")).await.unwrap();
    spend(store, rotate("a", "a-0", "a-1", at(0))).await;
    let reused = store.rotate(rotate("a", "a-0", "x", after(GRACE))).await.unwrap();
    assert!(matches!(&reused, RotationOutcome::Reused(of) if Arc::ptr_eq(of, &held)), "{reused:?}");
    assert!(!held.is_live(T0), "the record that was handed out before says so");
    assert!(!lives(store, "a", T0).await);
    for name in ["a-0", "a-1", "x"] {
        assert_eq!(look(store, "a", name, after(GRACE)).await, "unknown", "{name}");
        assert_eq!(spend(store, rotate("a", name, "y", after(GRACE))).await, "unknown", "{name}");
    }
    let which = SessionSelection::Session(held.id.clone());
    let ended = store.end(&which, EndReason::SignedOut, after(GRACE)).await.unwrap();
    assert!(ended.is_empty(), "its end was told by the rotation");
    assert!(lives(store, "b", T0).await, "the user's other sessions live");
    assert_eq!(spend(store, rotate("b", "b-0", "b-1", after(GRACE))).await, "rotated");
}

pub(in crate::store) async fn an_older_token_within_its_own_window_is_replayed(
    store: &Arc<impl Sessions + RefreshTokens>,
) {
    store.create(new_session("a", "1")).await.unwrap();
    spend(store, rotate("a", "a-0", "a-1", at(0))).await;
    spend(store, rotate("a", "a-1", "a-2", at(2000))).await;
    assert_eq!(spend(store, rotate("a", "a-0", "x", at(5000))).await, "replayed a-1");
    assert_eq!(spend(store, rotate("a", "a-1", "x", at(6000))).await, "replayed a-2");
}

pub(in crate::store) async fn an_older_token_after_its_window_is_reuse_though_its_successor_is_fresh(
    store: &Arc<impl Sessions + RefreshTokens>,
) {
    store.create(new_session("a", "1")).await.unwrap();
    spend(store, rotate("a", "a-0", "a-1", at(0))).await;
    spend(store, rotate("a", "a-1", "a-2", at(9000))).await;
    assert_eq!(spend(store, rotate("a", "a-0", "x", after(GRACE))).await, "reused");
    assert_eq!(spend(store, rotate("a", "a-2", "a-3", after(GRACE))).await, "unknown");
}

pub(in crate::store) async fn an_expired_token_is_expired_spent_or_not(
    store: &Arc<impl Sessions + RefreshTokens>,
) {
    let held = store.create(new_session("a", "1")).await.unwrap();
    let mut first = rotate("a", "a-0", "a-1", at(0));
    first.successor.expires_at = at(1000);
    spend(store, first).await;
    assert_eq!(look(store, "a", "a-1", at(999)).await, "fresh");
    assert_eq!(look(store, "a", "a-1", at(1000)).await, "expired");
    assert_eq!(spend(store, rotate("a", "a-1", "x", at(1000))).await, "expired");
    assert_eq!(spend(store, rotate("a", "a-1", "a-2", at(999))).await, "rotated");
    assert_eq!(spend(store, rotate("a", "a-1", "x", at(1000))).await, "expired");
    assert_eq!(look(store, "a", "a-1", at(1000)).await, "expired");
    assert!(held.is_live(at(1000)), "an expired token raises no alarm");
}

pub(in crate::store) async fn a_token_of_another_session_is_unknown(
    store: &Arc<impl Sessions + RefreshTokens>,
) {
    for id in ["a", "b"] {
        store.create(new_session(id, "1")).await.unwrap();
    }
    assert_eq!(spend(store, rotate("b", "a-0", "x", at(0))).await, "unknown");
    assert_eq!(look(store, "a", "a-0", at(0)).await, "fresh");
    spend(store, rotate("a", "a-0", "a-1", at(0))).await;
    assert_eq!(spend(store, rotate("b", "a-0", "x", after(GRACE))).await, "unknown");
    assert!(lives(store, "a", T0).await && lives(store, "b", T0).await);
}

pub(in crate::store) async fn a_token_of_a_session_that_is_over_is_unknown(
    store: &Arc<impl Sessions + RefreshTokens>,
) {
    for id in ["ended", "idle"] {
        store.create(new_session(id, "1")).await.unwrap();
    }
    end(store, "ended").await;
    assert_eq!(spend(store, rotate("ended", "ended-0", "x", at(2))).await, "unknown");
    assert_eq!(look(store, "ended", "ended-0", at(2)).await, "unknown");
    assert_eq!(spend(store, rotate("idle", "idle-0", "x", after(IDLE))).await, "unknown");
    assert_eq!(look(store, "idle", "idle-0", after(IDLE)).await, "unknown");
    assert_eq!(spend(store, rotate("never", "never-0", "x", at(2))).await, "unknown");
}

pub(in crate::store) async fn a_taken_successor_is_an_error_and_spends_nothing(
    store: &Arc<impl Sessions + RefreshTokens>,
) {
    for id in ["a", "b"] {
        store.create(new_session(id, "1")).await.unwrap();
    }
    assert!(store.rotate(rotate("a", "a-0", "b-0", at(0))).await.is_err());
    assert!(store.rotate(rotate("a", "a-0", "a-0", at(0))).await.is_err());
    assert_eq!(look(store, "a", "a-0", at(0)).await, "fresh");
    assert_eq!(look(store, "b", "b-0", at(0)).await, "fresh");
    assert_eq!(spend(store, rotate("a", "a-0", "a-1", at(0))).await, "rotated");
}

pub(in crate::store) async fn of_fifty_parallel_rotations_one_wins_and_all_get_its_answer(
    store: &Arc<impl Sessions + RefreshTokens + 'static>,
) {
    store.create(new_session("a", "1")).await.unwrap();
    let start = Arc::new(tokio::sync::Barrier::new(50));
    let racers: Vec<_> = (0..50)
        .map(|number| {
            let (store, start) = (Arc::clone(store), Arc::clone(&start));
            tokio::spawn(async move {
                let successor = format!("successor-{number}");
                start.wait().await;
                let told = spend(&store, rotate("a", "a-0", &successor, at(number))).await;
                (successor, told)
            })
        })
        .collect();
    let mut told = Vec::new();
    for racer in racers {
        told.push(racer.await.unwrap());
    }
    let winners: Vec<_> = told.iter().filter(|(_, told)| told == "rotated").collect();
    let [(winner, _)] = winners[..] else { panic!("{} won", winners.len()) };
    let replay = format!("replayed {winner}");
    assert_eq!(told.iter().filter(|(_, told)| *told == replay).count(), 49);
    for (successor, _) in &told {
        let state = look(store, "a", successor, at(60)).await;
        assert_eq!(state == "fresh", successor == winner, "{successor} is {state}");
    }
}

pub(in crate::store) async fn a_rotation_that_races_an_end_leaves_no_live_successor(
    store: &Arc<impl Sessions + RefreshTokens + 'static>,
) {
    for round in 0..40 {
        let id = format!("s{round}");
        store.create(new_session(&id, "1")).await.unwrap();
        let start = Arc::new(tokio::sync::Barrier::new(2));
        let rotation = tokio::spawn({
            let (store, start, id) = (Arc::clone(store), Arc::clone(&start), id.clone());
            async move {
                start.wait().await;
                spend(&store, rotate(&id, &format!("{id}-0"), &format!("{id}-1"), at(1))).await
            }
        });
        let ending = tokio::spawn({
            let (store, start, id) = (Arc::clone(store), Arc::clone(&start), id.clone());
            async move {
                start.wait().await;
                end(&store, &id).await;
            }
        });
        ending.await.unwrap();
        let told = rotation.await.unwrap();
        assert!(["rotated", "unknown"].contains(&told.as_str()), "{told}");
        for name in [format!("{id}-0"), format!("{id}-1")] {
            assert_eq!(look(store, &id, &name, at(2)).await, "unknown");
            assert_eq!(spend(store, rotate(&id, &name, "x", at(2))).await, "unknown");
        }
    }
}

pub(in crate::store) async fn upkeep_keeps_what_reuse_is_noticed_by(
    store: &Arc<impl Sessions + RefreshTokens>,
) {
    let session = store.create(new_session("a", "1")).await.unwrap();
    spend(store, rotate("a", "a-0", "a-1", at(0))).await;
    store.upkeep(at(1)).await.unwrap();
    assert_eq!(spend(store, rotate("a", "a-0", "x", at(2))).await, "replayed a-1");
    let later = after(Duration::from_secs(600));
    session.touch(later);
    store.upkeep(later).await.unwrap();
    assert_eq!(look(store, "a", "a-0", later).await, "spent");
    assert_eq!(spend(store, rotate("a", "a-0", "x", later)).await, "reused");
}

pub(in crate::store) async fn upkeep_forgets_expired_tokens(
    store: &Arc<impl Sessions + RefreshTokens>,
) {
    let mut new = new_session("a", "1");
    let mut short = token("a-0");
    short.expires_at = at(1000);
    new.refresh = Some(short);
    store.create(new).await.unwrap();
    store.upkeep(at(999)).await.unwrap();
    assert_eq!(look(store, "a", "a-0", at(999)).await, "fresh");
    store.upkeep(at(1000)).await.unwrap();
    assert_eq!(look(store, "a", "a-0", at(999)).await, "unknown");
    assert!(lives(store, "a", at(1000)).await);
}
