use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;

use crate::caller::{Proof, UserKey};
use crate::clock::Timestamp;
use crate::config::RotationPolicy;
use crate::context::Events;
use crate::event::{EndReason, EventKind};
use crate::refusal::Refusal;
use crate::session::testkit::{CLIENT, Kit, NOW, context_at};
use crate::store::{
    BeginOutcome, NewSession, NewStamp, Renewal, Session, SessionBy, SessionSelection, Sessions,
    StoreError, Upkeep,
};

#[tokio::test]
async fn a_session_that_has_ended_is_over_at_the_next_request() {
    for which in [true, false] {
        let kit = Kit::new();
        let signed_in = kit.signed_in().await;
        let access = signed_in.tokens.as_ref().unwrap().access.expose();
        let cookie = signed_in.cookie.as_ref().unwrap().expose();
        let none = Events::default();
        // Both are cached now, so that the cache has to notice the end.
        assert!(kit.sessions.bearer(access, CLIENT, NOW, &none).await.is_ok());
        assert!(kit.sessions.cookie(cookie, CLIENT, NOW, &none).await.is_ok());
        let which = if which {
            SessionSelection::Session(signed_in.session.id.clone())
        } else {
            SessionSelection::User(UserKey::new("django", "7"))
        };
        let events = Events::default();
        let count = kit.sessions.end(&which, EndReason::SignedOut, NOW, &events).await;
        assert_eq!(count, Ok(1));
        assert!(matches!(
            events.take()[..],
            [EventKind::SessionEnded { why: EndReason::SignedOut, .. }]
        ));
        let bearer = kit.sessions.bearer(access, CLIENT, NOW, &none).await;
        assert_eq!(bearer.unwrap_err(), Refusal::SessionEnded);
        let cookie = kit.sessions.cookie(cookie, CLIENT, NOW, &none).await;
        assert_eq!(cookie.unwrap_err(), Refusal::SessionEnded);
        let again = kit.sessions.end(&which, EndReason::SignedOut, NOW, &none).await;
        assert_eq!(again, Ok(0), "an end is told once");
    }
}

#[tokio::test]
async fn a_cookie_is_43_characters_of_its_alphabet_or_nothing() {
    let kit = Kit::new();
    let signed_in = kit.signed_in().await;
    let good = signed_in.cookie.as_ref().unwrap().expose();
    for value in [
        "",
        &good[..42],
        &format!("{good}A"),
        &format!("{good}="),
        &format!(" {}", &good[1..]),
        &format!("{}%", &good[..42]),
        &format!("{}\0", &good[..42]),
        &"A".repeat(43),
        signed_in.session.id.as_str(),
    ] {
        let refused =
            kit.sessions.cookie(value, CLIENT, NOW, &Events::default()).await.unwrap_err();
        assert_eq!(refused, Refusal::SessionEnded, "{value:?}");
    }
}

#[tokio::test]
async fn one_kind_of_credential_is_never_taken_for_another() {
    let kit = Kit::new();
    let signed_in = kit.signed_in().await;
    let tokens = signed_in.tokens.as_ref().unwrap();
    let (access, cookie) = (tokens.access.expose(), signed_in.cookie.as_ref().unwrap().expose());
    let refresh = tokens.refresh.as_ref().unwrap().expose();
    let none = Events::default();
    assert!(kit.sessions.bearer(access, CLIENT, NOW, &none).await.is_ok());
    assert!(kit.sessions.cookie(cookie, CLIENT, NOW, &none).await.is_ok());
    let refused = kit.sessions.bearer(refresh, CLIENT, NOW, &none).await.unwrap_err();
    assert_eq!(refused, Refusal::TokenWrongType);
    assert!(kit.sessions.bearer(cookie, CLIENT, NOW, &none).await.is_err());
    assert!(kit.sessions.cookie(access, CLIENT, NOW, &none).await.is_err());
    assert!(kit.sessions.cookie(refresh, CLIENT, NOW, &none).await.is_err());
}

#[tokio::test]
async fn a_use_is_told_with_its_proof_and_keeps_the_session_alive() {
    let kit = Kit::new();
    let signed_in = kit.signed_in().await;
    let cookie = signed_in.cookie.as_ref().unwrap().expose();
    let events = Events::default();
    let almost_idle = NOW.plus(Duration::from_secs(86_399));
    kit.sessions.cookie(cookie, CLIENT, almost_idle, &events).await.unwrap();
    assert!(matches!(
        &events.take()[..],
        [EventKind::SessionUsed { session, proof: Proof::SessionCookie, .. }] if *session == signed_in.session.id
    ));
    let later = almost_idle.plus(Duration::from_secs(86_399));
    assert!(kit.sessions.cookie(cookie, CLIENT, later, &events).await.is_ok());
    let idle = later.plus(Duration::from_secs(86_400));
    assert!(kit.sessions.cookie(cookie, CLIENT, idle, &events).await.is_err());
}

#[tokio::test]
async fn a_cookie_may_be_idle_for_a_day_and_a_refresh_token_for_as_long_as_it_says() {
    let kit = Kit::new();
    let signed_in = kit.signed_in().await;
    let later = NOW.plus(Duration::from_secs(3 * 86_400));
    let events = Events::default();
    let cookie = signed_in.cookie.as_ref().unwrap().expose();
    assert!(kit.sessions.cookie(cookie, CLIENT, later, &events).await.is_err());
    let refresh = signed_in.tokens.as_ref().unwrap().refresh.as_ref().unwrap().expose();
    let rotation = RotationPolicy::SingleUse;
    assert!(
        kit.sessions
            .refresh_tokens()
            .refresh(refresh, rotation, &context_at(later, &events))
            .await
            .is_ok()
    );
}

/// A store that can be made to fail.
struct Unplugged {
    inner: Arc<dyn Sessions>,
    is_down: Arc<AtomicBool>,
}

impl Kit {
    /// Creates a manager with a store that fails while `is_down`.
    pub(super) fn unplugged(is_down: &Arc<AtomicBool>) -> Self {
        let is_down = Arc::clone(is_down);
        Self::with(move |parts| {
            let inner = Arc::clone(&parts.store);
            parts.store = Arc::new(Unplugged { inner, is_down });
        })
    }
}

impl Unplugged {
    fn up(&self) -> Result<(), StoreError> {
        if self.is_down.load(Ordering::SeqCst) { Err(StoreError("down".into())) } else { Ok(()) }
    }
}

#[async_trait]
impl Sessions for Unplugged {
    async fn create(&self, new: NewSession) -> Result<Arc<Session>, StoreError> {
        self.up()?;
        self.inner.create(new).await
    }

    async fn create_token(
        &self,
        new: NewSession,
        most: usize,
    ) -> Result<Option<Arc<Session>>, StoreError> {
        self.up()?;
        self.inner.create_token(new, most).await
    }

    async fn create_once(
        &self,
        new: NewSession,
        mark: NewStamp,
    ) -> Result<BeginOutcome, StoreError> {
        self.up()?;
        self.inner.create_once(new, mark).await
    }

    async fn adopt(&self, new: NewSession) -> Result<BeginOutcome, StoreError> {
        self.up()?;
        self.inner.adopt(new).await
    }

    async fn renew(&self, renewal: Renewal) -> Result<Option<Arc<Session>>, StoreError> {
        self.up()?;
        self.inner.renew(renewal).await
    }

    async fn find(
        &self,
        by: SessionBy<'_>,
        now: Timestamp,
    ) -> Result<Option<Arc<Session>>, StoreError> {
        self.up()?;
        // As in a store that does I/O, other tasks get their turn.
        tokio::task::yield_now().await;
        self.inner.find(by, now).await
    }

    async fn end(
        &self,
        which: &SessionSelection,
        why: EndReason,
        at: Timestamp,
    ) -> Result<Vec<Arc<Session>>, StoreError> {
        self.up()?;
        self.inner.end(which, why, at).await
    }

    async fn list(
        &self,
        user: Option<&UserKey>,
        now: Timestamp,
    ) -> Result<Vec<Arc<Session>>, StoreError> {
        self.up()?;
        self.inner.list(user, now).await
    }

    async fn upkeep(&self, now: Timestamp) -> Result<Upkeep, StoreError> {
        self.up()?;
        self.inner.upkeep(now).await
    }
}

#[tokio::test]
async fn a_store_that_is_down_is_never_no_session_and_known_tokens_go_on() {
    let is_down = Arc::new(AtomicBool::new(false));
    let kit = Kit::unplugged(&is_down);
    let (warm, cold) = (kit.signed_in().await, kit.signed_in().await);
    let access = |signed_in: &crate::session::SignedIn| {
        signed_in.tokens.as_ref().unwrap().access.expose().to_owned()
    };
    let bearer =
        async |token: &str| kit.sessions.bearer(token, CLIENT, NOW, &Events::default()).await;
    assert!(bearer(&access(&warm)).await.is_ok());
    is_down.store(true, Ordering::SeqCst);

    let down = Refusal::StoreUnavailable;
    assert!(bearer(&access(&warm)).await.is_ok());
    assert_eq!(bearer(&access(&cold)).await.unwrap_err(), down);
    assert_eq!(bearer("a.b.c").await.unwrap_err(), Refusal::TokenNotValid, "needs no store");
    let cookie = warm.cookie.as_ref().unwrap();
    let cookie = kit.sessions.cookie(cookie.expose(), CLIENT, NOW, &Events::default()).await;
    assert_eq!(cookie.unwrap_err(), down);
    let refused = kit.sign_in("kim", "right", &Events::default()).await.unwrap_err();
    assert_eq!(refused.refusal, down);
    let which = SessionSelection::Session(warm.session.id.clone());
    let end = kit.sessions.end(&which, EndReason::SignedOut, NOW, &Events::default()).await;
    assert_eq!(end, Err(down));
}
