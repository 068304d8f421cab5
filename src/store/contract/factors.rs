//! The contract for second factors.

use std::sync::Arc;
use std::time::Duration;

use super::{at, digest};
use crate::caller::UserKey;
use crate::clock::Timestamp;
use crate::store::Sessions;
use crate::store::factors::{
    FactorAttempt, FactorChange, FactorChanged, FactorStore, FactorUse, MOST_FACTORS, StoredFactor,
    StoredFactors, UsedCode,
};

fn kim() -> UserKey {
    UserKey::new("django", "7")
}

fn lee() -> UserKey {
    UserKey::new("django", "8")
}

fn factor(id: &str) -> StoredFactor {
    StoredFactor {
        id: id.into(),
        kind: "totp".into(),
        name: "전화".into(),
        sealed: id.as_bytes().to_vec(),
        last_step: 100,
        created_at: at(0),
        last_used: None,
        passkey: None,
    }
}

fn add(id: &str, recovery: &[&str]) -> FactorChange {
    let recovery = recovery.iter().map(|code| digest(code)).collect();
    FactorChange::Add { factor: factor(id), recovery }
}

fn step(user: &UserKey, id: &str, step: u64) -> FactorUse {
    use_of(user, UsedCode::Step { id: id.into(), step })
}

fn recovery(user: &UserKey, code: &str) -> FactorUse {
    use_of(user, UsedCode::Recovery(digest(code)))
}

fn use_of(user: &UserKey, what: UsedCode) -> FactorUse {
    FactorUse { user: user.clone(), what, source: digest("source"), at: at(9) }
}

fn attempt(source: &str, at: Timestamp) -> FactorAttempt {
    FactorAttempt {
        source: digest(source),
        at,
        free: 2,
        first_wait: Duration::from_millis(10),
        longest_wait: Duration::from_millis(25),
        remembered: Duration::from_millis(1000),
    }
}

pub(in crate::store) async fn a_factor_is_kept_as_it_was_set_up(store: &Arc<impl FactorStore>) {
    assert_eq!(store.factors_of(&kim()).await, Ok(StoredFactors::default()));
    let made = store.change_factors(&kim(), add("a", &["one", "two"])).await;
    assert_eq!(made, Ok(FactorChanged::MadeWithRecovery));
    let made = store.change_factors(&kim(), add("b", &["three"])).await;
    assert_eq!(made, Ok(FactorChanged::Made), "the codes that are there stay");
    let kept = store.factors_of(&kim()).await.unwrap();
    assert_eq!((kept.factors, kept.recovery_left), (vec![factor("a"), factor("b")], 2));
    assert_eq!(store.factors_of(&lee()).await, Ok(StoredFactors::default()));
    assert_eq!(store.use_factor(recovery(&kim(), "three")).await, Ok(false));
}

pub(in crate::store) async fn one_secret_is_one_factor_and_there_is_a_most(
    store: &Arc<impl FactorStore>,
) {
    store.change_factors(&kim(), add("a", &[])).await.unwrap();
    for user in [kim(), lee()] {
        assert_eq!(store.change_factors(&user, add("a", &["x"])).await, Ok(FactorChanged::Not));
    }
    for n in 1..MOST_FACTORS {
        let made = store.change_factors(&kim(), add(&n.to_string(), &[])).await;
        assert_eq!(made, Ok(FactorChanged::Made), "{n}");
    }
    assert_eq!(store.change_factors(&kim(), add("more", &[])).await, Ok(FactorChanged::Not));
    assert_eq!(store.factors_of(&kim()).await.unwrap().factors.len(), MOST_FACTORS);
}

pub(in crate::store) async fn a_step_is_used_once_and_none_before_it_again(
    store: &Arc<impl FactorStore>,
) {
    store.change_factors(&kim(), add("a", &[])).await.unwrap();
    store.change_factors(&kim(), add("b", &[])).await.unwrap();
    for (id, number, is_used) in [
        ("a", 100, false),
        ("a", 102, true),
        ("a", 102, false),
        ("a", 101, false),
        ("a", 103, true),
        ("b", 102, true),
        ("none", 104, false),
    ] {
        let used = store.use_factor(step(&kim(), id, number)).await;
        assert_eq!(used, Ok(is_used), "{id} {number}");
    }
    assert_eq!(store.use_factor(step(&lee(), "a", 200)).await, Ok(false), "another's");
    let kept = store.factors_of(&kim()).await.unwrap();
    assert_eq!((kept.factors[0].last_step, kept.factors[0].last_used), (103, Some(at(9))));
}

pub(in crate::store) async fn of_parallel_uses_one_succeeds<S>(store: &Arc<S>)
where
    S: FactorStore + 'static,
{
    store.change_factors(&kim(), add("a", &["one"])).await.unwrap();
    for used in [step(&kim(), "a", 101), recovery(&kim(), "one")] {
        let tasks: Vec<_> = (0..20)
            .map(|_| {
                let (store, used) = (Arc::clone(store), used.clone());
                tokio::spawn(async move { store.use_factor(used).await.unwrap() })
            })
            .collect();
        let mut succeeded = 0;
        for task in tasks {
            succeeded += usize::from(task.await.unwrap());
        }
        assert_eq!(succeeded, 1, "{used:?}");
    }
}

pub(in crate::store) async fn a_code_that_is_used_elsewhere_takes_the_count_away(
    store: &Arc<impl FactorStore>,
) {
    for user in [kim(), lee()] {
        for _ in 0..3 {
            store.count_factor_attempt(attempt("source", at(9))).await.unwrap();
        }
        let waits = store.count_factor_attempt(attempt("source", at(9))).await.unwrap();
        assert!(waits.is_some());
        assert_eq!(store.use_factor(use_of(&user, UsedCode::Elsewhere)).await, Ok(true));
        let counted = store.count_factor_attempt(attempt("source", at(9))).await;
        assert_eq!(counted, Ok(None), "and nothing need be kept of the user");
        assert_eq!(store.use_factor(use_of(&user, UsedCode::Elsewhere)).await, Ok(true));
        assert_eq!(store.factors_of(&user).await, Ok(StoredFactors::default()));
    }
}

pub(in crate::store) async fn a_recovery_code_is_used_once_by_its_user(
    store: &Arc<impl FactorStore>,
) {
    store.change_factors(&kim(), add("a", &["one", "two"])).await.unwrap();
    assert_eq!(store.use_factor(recovery(&lee(), "one")).await, Ok(false));
    assert_eq!(store.use_factor(recovery(&kim(), "one")).await, Ok(true));
    assert_eq!(store.use_factor(recovery(&kim(), "one")).await, Ok(false));
    assert_eq!(store.factors_of(&kim()).await.unwrap().recovery_left, 1);
    let new = FactorChange::Recovery(vec![digest("three")]);
    assert_eq!(store.change_factors(&kim(), new).await, Ok(FactorChanged::MadeWithRecovery));
    assert_eq!(store.use_factor(recovery(&kim(), "two")).await, Ok(false), "replaced");
    assert_eq!(store.use_factor(recovery(&kim(), "three")).await, Ok(true));
}

pub(in crate::store) async fn with_the_last_factor_the_recovery_codes_go(
    store: &Arc<impl FactorStore>,
) {
    store.change_factors(&kim(), add("a", &["one"])).await.unwrap();
    store.change_factors(&kim(), add("b", &[])).await.unwrap();
    let remove = |id: &str| FactorChange::Remove { id: id.into() };
    assert_eq!(
        store.change_factors(&lee(), remove("a")).await,
        Ok(FactorChanged::Not),
        "another's"
    );
    assert_eq!(store.change_factors(&kim(), remove("a")).await, Ok(FactorChanged::Made));
    assert_eq!(store.change_factors(&kim(), remove("a")).await, Ok(FactorChanged::Not));
    assert_eq!(store.factors_of(&kim()).await.unwrap().recovery_left, 1);
    let rename = |id: &str| FactorChange::Rename { id: id.into(), name: "new".into() };
    assert_eq!(store.change_factors(&kim(), rename("a")).await, Ok(FactorChanged::Not));
    assert_eq!(store.change_factors(&lee(), rename("b")).await, Ok(FactorChanged::Not));
    assert_eq!(store.change_factors(&kim(), rename("b")).await, Ok(FactorChanged::Made));
    assert_eq!(store.factors_of(&kim()).await.unwrap().factors[0].name, "new");
    assert_eq!(store.change_factors(&kim(), remove("b")).await, Ok(FactorChanged::Made));
    assert_eq!(store.factors_of(&kim()).await, Ok(StoredFactors::default()));
    assert_eq!(store.use_factor(recovery(&kim(), "one")).await, Ok(false));
}

pub(in crate::store) async fn a_reset_takes_all_away_until_one_is_set_up(
    store: &Arc<impl FactorStore>,
) {
    store.change_factors(&kim(), FactorChange::Asked(at(1))).await.unwrap();
    store.change_factors(&kim(), FactorChange::Asked(at(2))).await.unwrap();
    assert_eq!(store.factors_of(&kim()).await.unwrap().asked_at, Some(at(1)), "the first time");
    store.change_factors(&kim(), add("a", &["one"])).await.unwrap();
    assert_eq!(store.factors_of(&kim()).await.unwrap().asked_at, None);
    assert_eq!(
        store.change_factors(&kim(), FactorChange::Reset(at(5))).await,
        Ok(FactorChanged::Made)
    );
    let expected = StoredFactors { reset_at: Some(at(5)), ..StoredFactors::default() };
    assert_eq!(store.factors_of(&kim()).await, Ok(expected));
    assert_eq!(store.use_factor(step(&kim(), "a", 200)).await, Ok(false));
    assert_eq!(store.use_factor(recovery(&kim(), "one")).await, Ok(false));
    store.change_factors(&kim(), add("b", &[])).await.unwrap();
    assert_eq!(store.factors_of(&kim()).await.unwrap().reset_at, None);
}

pub(in crate::store) async fn attempts_are_slowed_until_one_is_right(
    store: &Arc<impl FactorStore + Sessions>,
) {
    store.change_factors(&kim(), add("a", &[])).await.unwrap();
    let wait = |millis| Some(Duration::from_millis(millis));
    for (time, expected) in [
        (0, None),
        (0, None),
        (0, wait(10)),
        (9, wait(1)),
        (10, None),
        (11, wait(19)),
        (30, None),
        (30, wait(25)),
    ] {
        let counted = store.count_factor_attempt(attempt("source", at(time))).await;
        assert_eq!(counted, Ok(expected), "at {time}");
    }
    let other = store.count_factor_attempt(attempt("other", at(30))).await;
    assert_eq!(other, Ok(None), "who comes from elsewhere is not in the way");
    let earlier = store.count_factor_attempt(attempt("other", at(29))).await;
    assert_eq!(earlier, Ok(None), "a free one that arrived first may be counted second");
    assert_eq!(store.use_factor(step(&kim(), "a", 101)).await, Ok(true));
    let after = store.count_factor_attempt(attempt("source", at(31))).await;
    assert_eq!(after, Ok(None), "a right code takes the count away");
    for time in [31, 32] {
        store.count_factor_attempt(attempt("source", at(time))).await.unwrap();
    }
    store.upkeep(at(3000)).await.unwrap();
    let forgotten = store.count_factor_attempt(attempt("source", at(3000))).await;
    assert_eq!(forgotten, Ok(None));
}

pub(in crate::store) async fn of_parallel_attempts_no_more_pass_than_may<S>(store: &Arc<S>)
where
    S: FactorStore + 'static,
{
    let tasks: Vec<_> = (0..30)
        .map(|_| {
            let store = Arc::clone(store);
            tokio::spawn(async move {
                store.count_factor_attempt(attempt("source", at(0))).await.unwrap().is_none()
            })
        })
        .collect();
    let mut passed = 0;
    for task in tasks {
        passed += usize::from(task.await.unwrap());
    }
    assert_eq!(passed, 2);
}
