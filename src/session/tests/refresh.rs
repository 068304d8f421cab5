use std::sync::Arc;
use std::time::Duration;

use crate::clock::Timestamp;
use crate::config::RotationPolicy;
use crate::context::Events;
use crate::event::{EndReason, EventKind, Refresh, RefreshRefusal};
use crate::refusal::Refusal;
use crate::session::testkit::{CLIENT, Kit, NOW, context_at};
use crate::session::{SignedIn, TokenPair};
use crate::store::SessionSelection;

fn later(secs: u64) -> Timestamp {
    NOW.plus(Duration::from_secs(secs))
}

fn refresh_of(signed_in: &SignedIn) -> String {
    next(signed_in.tokens.as_ref().unwrap())
}

fn next(pair: &TokenPair) -> String {
    pair.refresh.as_ref().unwrap().expose().to_owned()
}

impl Kit {
    async fn refresh(
        &self,
        token: &str,
        rotation: RotationPolicy,
        at: Timestamp,
    ) -> (Result<TokenPair, Refusal>, Vec<EventKind>) {
        let events = Events::default();
        let result =
            self.sessions.refresh_tokens().refresh(token, rotation, &context_at(at, &events)).await;
        (result, events.take())
    }

    async fn is_live(&self, access: &str, at: Timestamp) -> bool {
        self.sessions.bearer(access, CLIENT, at, &Events::default()).await.is_ok()
    }
}

#[tokio::test]
async fn a_token_gives_its_successor_once_and_that_one_the_next() {
    let kit = Kit::new();
    let mut token = refresh_of(&kit.signed_in().await);
    for round in 1..5 {
        let at = later(round * 100);
        let (pair, happened) = kit.refresh(&token, RotationPolicy::SingleUse, at).await;
        let pair = pair.unwrap();
        assert!(matches!(happened[..], [EventKind::Refreshed { how: Refresh::Rotated, .. }]));
        assert!(kit.is_live(pair.access.expose(), at).await);
        assert_ne!(next(&pair), token);
        assert_eq!(pair.access_expires_in, Duration::from_secs(300));
        token = next(&pair);
    }
}

#[tokio::test]
async fn racing_callers_get_one_answer() {
    let kit = Arc::new(Kit::new());
    let token: Arc<str> = refresh_of(&kit.signed_in().await).into();
    let racing: Vec<_> = (0..50)
        .map(|_| {
            let (kit, token) = (Arc::clone(&kit), Arc::clone(&token));
            tokio::spawn(async move { kit.refresh(&token, RotationPolicy::SingleUse, NOW).await })
        })
        .collect();
    let mut pairs = Vec::new();
    let mut rotated = 0;
    for race in racing {
        let (pair, happened) = race.await.unwrap();
        pairs.push(pair.unwrap());
        rotated += usize::from(matches!(
            happened[..],
            [EventKind::Refreshed { how: Refresh::Rotated, .. }]
        ));
    }
    assert_eq!(rotated, 1);
    assert!(pairs.iter().all(|pair| *pair == pairs[0]));
}

#[tokio::test]
async fn a_spent_token_after_the_grace_ends_the_session_and_all_that_is_its() {
    let kit = Kit::new();
    let other = kit.signed_in().await;
    let signed_in = kit.signed_in().await;
    let spent = refresh_of(&signed_in);
    let pair = kit.refresh(&spent, RotationPolicy::SingleUse, NOW).await.0.unwrap();
    let (replayed, _) = kit
        .refresh(&spent, RotationPolicy::SingleUse, later(10).minus(Duration::from_millis(1)))
        .await;
    assert_eq!(replayed.unwrap(), pair);

    let (reused, happened) = kit.refresh(&spent, RotationPolicy::SingleUse, later(11)).await;
    assert_eq!(reused.unwrap_err(), Refusal::TokenBlacklisted);
    assert!(matches!(
        &happened[..],
        [EventKind::RefreshReused { session: a, .. }, EventKind::SessionEnded { session: b, why: EndReason::RefreshReused, .. }]
            if *a == signed_in.session.id && *b == signed_in.session.id
    ));
    assert!(!kit.is_live(pair.access.expose(), later(11)).await);
    let cookie = signed_in.cookie.unwrap();
    assert!(
        kit.sessions.cookie(cookie.expose(), CLIENT, later(11), &Events::default()).await.is_err()
    );
    let (successor, happened) =
        kit.refresh(&next(&pair), RotationPolicy::SingleUse, later(11)).await;
    assert_eq!(successor.unwrap_err(), Refusal::TokenBlacklisted);
    assert!(matches!(
        happened[..],
        [EventKind::RefreshRefused { why: RefreshRefusal::SessionEnded }]
    ));
    assert!(
        kit.refresh(&refresh_of(&other), RotationPolicy::SingleUse, later(11)).await.0.is_ok(),
        "other sessions live"
    );
}

#[tokio::test]
async fn without_rotation_a_token_stays_good_until_its_session_ends() {
    let kit = Kit::new();
    let signed_in = kit.signed_in().await;
    let token = refresh_of(&signed_in);
    for round in 0..4 {
        let at = later(round * 15);
        let (pair, happened) = kit.refresh(&token, RotationPolicy::None, at).await;
        let pair = pair.unwrap();
        assert_eq!(pair.refresh, None);
        assert!(matches!(happened[..], [EventKind::Refreshed { how: Refresh::Kept, .. }]));
        assert!(kit.is_live(pair.access.expose(), at).await);
    }
    let which = SessionSelection::Session(signed_in.session.id.clone());
    kit.sessions.end(&which, EndReason::SignedOut, later(60), &Events::default()).await.unwrap();
    let (after, _) = kit.refresh(&token, RotationPolicy::None, later(61)).await;
    assert_eq!(after.unwrap_err(), Refusal::TokenBlacklisted);
}

#[tokio::test]
async fn a_spent_token_is_a_reuse_where_there_is_no_rotation_too() {
    let kit = Kit::new();
    let token = refresh_of(&kit.signed_in().await);
    let pair = kit.refresh(&token, RotationPolicy::SingleUse, NOW).await.0.unwrap();
    let (reused, happened) = kit.refresh(&token, RotationPolicy::None, later(1)).await;
    assert_eq!(reused.unwrap_err(), Refusal::TokenBlacklisted);
    assert!(matches!(
        happened[..],
        [EventKind::RefreshReused { .. }, EventKind::SessionEnded { .. }]
    ));
    assert!(!kit.is_live(pair.access.expose(), later(1)).await);
}

#[tokio::test]
async fn what_is_no_refresh_token_of_ours_is_refused_and_told() {
    let kit = Kit::new();
    let signed_in = kit.signed_in().await;
    let tokens = signed_in.tokens.as_ref().unwrap();
    let foreign = refresh_of(&Kit::new().signed_in().await);
    let expired = later(14 * 86_400);
    let table = [
        ("garbage", NOW, Refusal::TokenNotValid, RefreshRefusal::Unknown),
        (foreign.as_str(), NOW, Refusal::TokenNotValid, RefreshRefusal::Unknown),
        (tokens.access.expose(), NOW, Refusal::TokenWrongType, RefreshRefusal::Unknown),
        (&next(tokens), expired, Refusal::TokenExpired, RefreshRefusal::Expired),
    ];
    for (token, at, refusal, told) in table {
        for rotation in [RotationPolicy::SingleUse, RotationPolicy::None] {
            let (result, happened) = kit.refresh(token, rotation, at).await;
            assert_eq!(result.unwrap_err(), refusal);
            assert!(matches!(happened[..], [EventKind::RefreshRefused { why }] if why == told));
        }
    }
}

#[tokio::test]
async fn verify_says_what_holds_and_spends_nothing() {
    let kit = Kit::new();
    let signed_in = kit.signed_in().await;
    let tokens = signed_in.tokens.as_ref().unwrap();
    let (access, refresh) = (tokens.access.expose().to_owned(), next(tokens));
    for _ in 0..2 {
        assert_eq!(kit.sessions.verify(&access, NOW).await, Ok(()));
        assert_eq!(kit.sessions.verify(&refresh, NOW).await, Ok(()));
    }
    assert_eq!(kit.sessions.verify("a.b.c", NOW).await, Err(Refusal::TokenNotValid));
    assert_eq!(kit.sessions.verify(&access, later(300)).await, Err(Refusal::TokenExpired));
    kit.refresh(&refresh, RotationPolicy::SingleUse, NOW).await.0.unwrap();
    assert_eq!(kit.sessions.verify(&refresh, NOW).await, Err(Refusal::TokenBlacklisted));
    assert!(
        kit.sessions.refresh_tokens().look(&refresh, NOW).await.is_ok(),
        "good enough to sign out"
    );
    let which = SessionSelection::Session(signed_in.session.id.clone());
    kit.sessions.end(&which, EndReason::SignedOut, NOW, &Events::default()).await.unwrap();
    assert_eq!(kit.sessions.verify(&access, NOW).await, Err(Refusal::SessionEnded));
    assert_eq!(kit.sessions.verify(&refresh, NOW).await, Err(Refusal::TokenBlacklisted));
    assert!(kit.sessions.refresh_tokens().look(&refresh, NOW).await.is_err());
}
