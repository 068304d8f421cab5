//! Tests of services' cookies: where they are stored, what changes them, and when they are removed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use http::HeaderValue;
use parking_lot::Mutex;

use crate::caller::UserKey;
use crate::clock::Timestamp;
use crate::context::Events;
use crate::directory::{Directory, DirectoryError, LoginService, PasswordAttempt, PasswordVerdict};
use crate::event::{EndReason, EventKind, SignInFailure};
use crate::refusal::Refusal;
use crate::secret::Secret;
use crate::session::SignInRefused;
use crate::session::WatchedDirectory;
use crate::session::service_cookies::{ServiceCookies, TakenCookies};
use crate::session::testkit::{Kit, NOW, account, identity, kept_in, session as session_of};
use crate::store::memory::Memory;
use crate::store::notifying::SessionEnded;
use crate::store::{NewSession, Session, SessionSelection, Sessions};
use crate::wire::jar::{CookieChange, Jar};

/// A service with a login form: `lee` has the password `right`; whoever signs in gets the cookie `sid`.
#[derive(Default)]
struct Form {
    asked: Mutex<Vec<String>>,
    signed_out: Mutex<Vec<Option<String>>>,
    is_busy: AtomicBool,
    is_down: AtomicBool,
}

impl Form {
    fn failed(&self) -> DirectoryError {
        DirectoryError { directory: "form".into(), reason: "down".into() }
    }
}

#[async_trait]
impl LoginService for Form {
    fn name(&self) -> &str {
        "form"
    }

    async fn sign_in(
        &self,
        attempt: PasswordAttempt<'_>,
    ) -> Result<PasswordVerdict, DirectoryError> {
        self.asked.lock().push(attempt.name.to_owned());
        if self.is_down.load(Ordering::SeqCst) {
            return Err(self.failed());
        }
        if self.is_busy.load(Ordering::SeqCst) {
            return Ok(PasswordVerdict::Busy);
        }
        if (attempt.name, attempt.password.expose()) != ("lee", "right") {
            return Ok(PasswordVerdict::Refused);
        }
        let mut account = account("lee", "lee", "");
        let mut theirs = (*identity("lee")).clone();
        theirs.key = UserKey::new("form", "lee");
        account.identity = Arc::new(theirs);
        Ok(PasswordVerdict::Accepted(Box::new(account), jar("sid=1")))
    }

    async fn sign_out(&self, cookies: Jar, at: Timestamp) -> Result<(), DirectoryError> {
        let sid = cookies.get("sid", at).map(|value| value.expose().to_owned());
        self.signed_out.lock().push(sid);
        if self.is_down.load(Ordering::SeqCst) { Err(self.failed()) } else { Ok(()) }
    }
}

fn change(line: &'static str) -> CookieChange {
    CookieChange::parse(&HeaderValue::from_static(line), NOW).unwrap()
}

fn jar(line: &'static str) -> Jar {
    let mut jar = Jar::default();
    jar.apply(change(line));
    jar
}

fn watched(form: &Arc<Form>) -> WatchedDirectory {
    WatchedDirectory::new(
        Directory::Service(Arc::clone(form) as Arc<dyn LoginService>),
        Duration::from_secs(1),
    )
}

/// Returns a store with a session of that service's user, and the cookies stored there.
async fn keeping(form: &Arc<Form>) -> (Arc<Memory>, Arc<ServiceCookies>, Arc<Session>) {
    let store = Memory::new();
    let kept = kept_in(&store, vec![Directory::Service(Arc::clone(form) as Arc<dyn LoginService>)]);
    let like = session_of("s1", "lee");
    let mut theirs = (*identity("lee")).clone();
    theirs.key = UserKey::new("form", "lee");
    let new = NewSession {
        identity: Arc::new(theirs),
        kept: Some(kept.seal(&like.id, &jar("sid=1")).unwrap()),
        ..new_like(&like)
    };
    let session = store.create(new).await.unwrap();
    (store, kept, session)
}

fn sid(jar: Option<Jar>) -> Option<String> {
    jar?.get("sid", NOW).map(|value| value.expose().to_owned())
}

fn sent(value: &str) -> Vec<(String, Secret)> {
    vec![("sid".to_owned(), Secret::new(value))]
}

#[tokio::test]
async fn a_session_begins_with_the_cookies_that_its_sign_in_brought() {
    let form = Arc::<Form>::default();
    let kit = Kit::with(|parts| parts.directories.push(watched(&form)));
    for (name, expected) in [("lee", Some("1")), ("kim", None)] {
        let session = kit.sign_in(name, "right", &Events::default()).await.unwrap().session;
        let has_jar = session.kept.load().is_some();
        assert_eq!(has_jar, expected.is_some(), "{name}: no empty jar is stored");
        let jar = kit.sessions.kept.jar(&session.id, NOW).await.unwrap();
        assert_eq!(sid(jar).as_deref(), expected, "{name}");
    }
}

#[tokio::test]
async fn a_directory_that_checks_itself_takes_the_names_that_nobody_else_knows() {
    let (form, unasked) = (Arc::<Form>::default(), Arc::<Form>::default());
    let kit = Kit::with(|parts| parts.directories.extend([watched(&form), watched(&unasked)]));
    for (name, password, expected) in [
        ("kim", "right", None),
        ("kim", "wrong", Some(SignInFailure::WrongPassword)),
        ("lee", "right", None),
        ("lee", "wrong", Some(SignInFailure::WrongPassword)),
        ("nobody", "right", Some(SignInFailure::WrongPassword)),
    ] {
        let events = Events::default();
        let signed_in = kit.sign_in(name, password, &events).await;
        assert_eq!(signed_in.is_ok(), expected.is_none(), "{name} {password}");
        if let Some(why) = expected {
            assert!(
                matches!(events.take()[..], [EventKind::SignInFailed { why: told, .. }] if told == why)
            );
        }
    }
    assert_eq!(*form.asked.lock(), ["lee", "lee", "nobody"]);
    assert_eq!(kit.passwords.checks_done(), 2, "those of the first directory alone");
    assert!(unasked.asked.lock().is_empty());

    form.is_busy.store(true, Ordering::SeqCst);
    let busy = kit.sign_in("lee", "right", &Events::default()).await.unwrap_err();
    let retry_after = Some(Duration::from_secs(1));
    assert_eq!(busy, SignInRefused { retry_after, ..Refusal::Busy.into() });
    form.is_down.store(true, Ordering::SeqCst);
    for _ in 0..20 {
        let down = kit.sign_in("lee", "right", &Events::default()).await.unwrap_err();
        assert_eq!(down.refusal, Refusal::DirectoryUnavailable, "and it is no failure of theirs");
    }
}

#[tokio::test]
async fn its_users_stay_signed_in_although_nobody_can_be_asked_about_them() {
    let form = Arc::<Form>::default();
    let kit = Kit::with(|parts| parts.directories.push(watched(&form)));
    let session = kit.sign_in("lee", "right", &Events::default()).await.unwrap().session;
    let events = Events::default();
    let later = NOW.plus(Duration::from_secs(3600));
    kit.sessions.recheck(later, &events).await;
    let happened = events.take();
    assert!(happened.is_empty() && session.is_live(later), "{happened:?}");
}

#[tokio::test]
async fn a_jar_opens_for_its_session_and_under_its_secret_alone() {
    let form = Arc::default();
    let (store, kept, session) = keeping(&form).await;
    assert_eq!(sid(kept.jar(&session.id, NOW).await.unwrap()).as_deref(), Some("1"));
    let sealed = session.kept.load_full().unwrap();
    assert!(!String::from_utf8_lossy(&sealed).contains("sid"));

    let like = session_of("s2", "lee");
    let new = NewSession { kept: Some(sealed), ..new_like(&like) };
    let other = store.create(new).await.unwrap();
    assert_eq!(kept.jar(&other.id, NOW).await, Ok(None), "another session");
    let sessions = Arc::clone(&store) as Arc<dyn Sessions>;
    let stranger = ServiceCookies::new(b"another", sessions, store, Vec::new()).unwrap();
    assert_eq!(stranger.jar(&session.id, NOW).await, Ok(None), "another secret");
}

fn new_like(session: &Session) -> NewSession {
    NewSession {
        id: session.id.clone(),
        identity: session.identity.load_full(),
        password_mark: session.password_mark,
        cookie: None,
        issuer: None,
        at: NOW,
        expires_at: session.expires_at,
        idle_timeout: session.idle_timeout,
        client: None,
        agent: String::new(),
        assurance: crate::caller::Assurance::default(),
        grant: None,
        refresh: None,
        kept: None,
    }
}

#[tokio::test]
async fn what_an_answer_changes_is_in_the_store_before_it_goes_on() {
    let form = Arc::default();
    let (store, kept, session) = keeping(&form).await;
    for (was, line, taken, now) in [
        ("1", "sid=2; HttpOnly", TakenCookies::GoesOn, Some("2")),
        // In answer to a request that was in flight meanwhile, a new value counts and an end does not.
        ("1", "sid=; Max-Age=0", TakenCookies::GoesOn, Some("2")),
        ("1", "sid=3", TakenCookies::GoesOn, Some("3")),
        ("3", "theme=dark", TakenCookies::GoesOn, Some("3")),
        ("3", "theme=; Max-Age=0", TakenCookies::GoesOn, Some("3")),
        ("3", "sid=; Max-Age=0", TakenCookies::TakenAway, None),
    ] {
        let changes = vec![change(line)];
        let answered = kept.answered(&session.id, &sent(was), changes, "sid", NOW).await;
        assert_eq!(answered, taken, "{line}");
        assert_eq!(sid(kept.jar(&session.id, NOW).await.unwrap()).as_deref(), now, "{line}");
        let restarted = kept_in(&store, Vec::new());
        assert_eq!(sid(restarted.jar(&session.id, NOW).await.unwrap()).as_deref(), now, "{line}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_answers_at_once_the_store_has_what_memory_has() {
    let form = Arc::default();
    let (store, kept, session) = keeping(&form).await;
    let all = (0..50).map(|number| {
        let (kept, id) = (Arc::clone(&kept), session.id.clone());
        tokio::spawn(async move {
            let line = HeaderValue::try_from(format!("sid={number}")).unwrap();
            let changes = vec![CookieChange::parse(&line, NOW).unwrap()];
            kept.answered(&id, &sent("1"), changes, "sid", NOW).await
        })
    });
    for one in all.collect::<Vec<_>>() {
        assert_eq!(one.await.unwrap(), TakenCookies::GoesOn);
    }
    let restarted = kept_in(&store, Vec::new());
    let in_store = sid(restarted.jar(&session.id, NOW).await.unwrap());
    assert_eq!(in_store, sid(kept.jar(&session.id, NOW).await.unwrap()));
    assert!(in_store.is_some());
}

/// Waits until the service was asked this many times to sign out.
async fn told(form: &Form, times: usize) -> Vec<Option<String>> {
    let started = Instant::now();
    loop {
        let told = form.signed_out.lock().clone();
        if told.len() >= times {
            return told;
        }
        assert!(started.elapsed() < Duration::from_secs(20), "{told:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn the_end_is_told_to_the_service_until_it_has_heard() {
    for (is_warm, sid) in [(false, "1"), (true, "2")] {
        let form = Arc::<Form>::default();
        let (store, kept, session) = keeping(&form).await;
        if is_warm {
            kept.answered(&session.id, &sent("1"), vec![change("sid=2")], "sid", NOW).await;
        }
        form.is_down.store(true, Ordering::SeqCst);
        store
            .end(&SessionSelection::Session(session.id.clone()), EndReason::SignedOut, NOW)
            .await
            .unwrap();
        kept.session_ended(&session);
        assert_eq!(told(&form, 1).await, [Some(sid.to_owned())]);
        form.is_down.store(false, Ordering::SeqCst);
        assert_eq!(told(&form, 2).await.len(), 2);
        assert_eq!(kept.jar(&session.id, NOW).await, Err(Refusal::SessionEnded));
    }
}

#[tokio::test]
async fn what_the_service_makes_while_the_session_ends_goes_too() {
    let form = Arc::<Form>::default();
    let (store, kept, session) = keeping(&form).await;
    kept.jar(&session.id, NOW).await.unwrap();
    store
        .end(&SessionSelection::Session(session.id.clone()), EndReason::SignedOut, NOW)
        .await
        .unwrap();
    kept.answered(&session.id, &sent("1"), vec![change("sid=2")], "sid", NOW).await;
    assert_eq!(told(&form, 1).await, [Some("2".to_owned())]);
}
