//! The contract for passkeys.

use std::sync::Arc;

use super::{at, digest};
use crate::caller::UserKey;
use crate::secret::Digest;
use crate::store::Sessions;
use crate::store::factors::{FactorChange, FactorChanged, FactorStore, StoredFactor};
use crate::store::passkeys::{
    PasskeyStore, PasskeyUse, PasskeyUsed, SpentChallenge, StoredPasskey,
};

fn kim() -> UserKey {
    UserKey::new("django", "7")
}

fn lee() -> UserKey {
    UserKey::new("django", "8")
}

fn passkey(id: &str, rp_id: &str) -> StoredFactor {
    StoredFactor {
        id: id.into(),
        kind: "passkey".into(),
        name: "노트북".into(),
        sealed: id.as_bytes().to_vec(),
        last_step: 0,
        created_at: at(0),
        last_used: None,
        passkey: Some(StoredPasskey {
            rp_id: rp_id.into(),
            backed_up: false,
            is_discoverable: true,
        }),
    }
}

fn challenge(name: &str) -> SpentChallenge {
    SpentChallenge { digest: digest(name), kept_until: at(300) }
}

fn used(user: &UserKey, id: &str, counter: u32, name: &str) -> PasskeyUse {
    PasskeyUse {
        user: user.clone(),
        id: id.into(),
        counter,
        backed_up: true,
        challenge: challenge(name),
        source: Digest::of(b"source"),
        at: at(9),
    }
}

async fn add<S: FactorStore>(store: &Arc<S>, user: &UserKey, factor: StoredFactor) {
    let change = FactorChange::Add { factor, recovery: Vec::new() };
    assert_eq!(store.change_factors(user, change).await, Ok(FactorChanged::Made));
}

pub(in crate::store) async fn a_passkey_is_kept_and_found_by_its_id(
    store: &Arc<impl FactorStore + PasskeyStore>,
) {
    assert_eq!(store.owner_of("a").await, Ok(None));
    add(store, &kim(), passkey("a", "a.example")).await;
    assert_eq!(store.owner_of("a").await, Ok(Some((kim(), passkey("a", "a.example")))));
    let kept = store.factors_of(&kim()).await.unwrap();
    assert_eq!(kept.factors, vec![passkey("a", "a.example")]);
}

pub(in crate::store) async fn a_counter_goes_on_and_a_challenge_is_answered_once(
    store: &Arc<impl FactorStore + PasskeyStore>,
) {
    add(store, &kim(), passkey("a", "a.example")).await;
    add(store, &kim(), passkey("none", "a.example")).await;
    for (user, id, counter, name, expected) in [
        (kim(), "a", 5, "1", PasskeyUsed::Yes),
        (kim(), "a", 6, "1", PasskeyUsed::Replayed),
        (kim(), "a", 5, "2", PasskeyUsed::CounterBehind),
        (kim(), "a", 6, "2", PasskeyUsed::Replayed),
        (kim(), "a", 0, "3", PasskeyUsed::CounterBehind),
        (kim(), "a", 6, "4", PasskeyUsed::Yes),
        (kim(), "none", 0, "5", PasskeyUsed::Yes),
        (kim(), "none", 0, "6", PasskeyUsed::Yes),
        (lee(), "a", 9, "7", PasskeyUsed::Gone),
        (kim(), "b", 9, "8", PasskeyUsed::Gone),
    ] {
        let use_of = used(&user, id, counter, name);
        assert_eq!(store.use_passkey(use_of).await, Ok(expected), "{id} {counter} {name}");
    }
    let (_, kept) = store.owner_of("a").await.unwrap().unwrap();
    assert_eq!((kept.last_step, kept.last_used), (6, Some(at(9))));
    assert!(kept.passkey.unwrap().backed_up, "as it said last");
}

pub(in crate::store) async fn of_parallel_answers_one_succeeds<S>(store: &Arc<S>)
where
    S: FactorStore + PasskeyStore + 'static,
{
    add(store, &kim(), passkey("a", "a.example")).await;
    for same_challenge in [true, false] {
        let tasks: Vec<_> = (0..20)
            .map(|n| {
                let store = Arc::clone(store);
                let name = if same_challenge { "one".to_owned() } else { format!("other {n}") };
                let counter = if same_challenge { 1 } else { 2 };
                let use_of = used(&kim(), "a", counter, &name);
                tokio::spawn(async move { store.use_passkey(use_of).await.unwrap() })
            })
            .collect();
        let mut succeeded = 0;
        for task in tasks {
            succeeded += usize::from(task.await.unwrap() == PasskeyUsed::Yes);
        }
        assert_eq!(succeeded, 1, "the same challenge: {same_challenge}");
    }
}

pub(in crate::store) async fn a_challenge_is_spent_once_and_forgotten_after_its_time(
    store: &Arc<impl PasskeyStore + Sessions>,
) {
    assert_eq!(store.spend_challenge(challenge("a")).await, Ok(true));
    store.upkeep(at(299)).await.unwrap();
    assert_eq!(store.spend_challenge(challenge("a")).await, Ok(false));
    store.upkeep(at(300)).await.unwrap();
    assert_eq!(store.spend_challenge(challenge("a")).await, Ok(true), "it could not be answered");
}

pub(in crate::store) async fn passkeys_of_another_rp_id_are_counted(
    store: &Arc<impl FactorStore + PasskeyStore>,
) {
    for (id, rp_id) in [("a", "a.example"), ("b", "a.example"), ("c", "b.example")] {
        add(store, &kim(), passkey(id, rp_id)).await;
    }
    add(store, &lee(), StoredFactor { passkey: None, ..passkey("d", "") }).await;
    for (rp_id, count) in [("a.example", 1), ("b.example", 2), ("c.example", 3)] {
        assert_eq!(store.passkeys_elsewhere(rp_id).await, Ok(count), "{rp_id}");
    }
}
