use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::caller::{Identity, SessionId, UserKey};
use crate::context::Events;
use crate::directory::Account;
use crate::event::{EndReason, EventKind};
use crate::session::testkit::{Kit, NOW, cheap, hashed, identity, session};
use crate::store::{NewSession, Session, SessionBy, Sessions};

/// Runs a round after the directory has changed, and returns the events and whether the session lives.
async fn after(change: impl FnOnce(&mut Vec<Account>)) -> (Kit, Vec<EventKind>, bool) {
    let kit = Kit::new();
    let session = kit.signed_in().await.session;
    change(&mut kit.directory.accounts.lock());
    let events = Events::default();
    kit.sessions.recheck(NOW, &events).await;
    let lives = session.is_live(NOW);
    (kit, events.take(), lives)
}

fn is_an_end(happened: &[EventKind]) -> bool {
    matches!(happened, [EventKind::SessionEnded { why: EndReason::DirectoryChanged, .. }])
}

/// Whether these events are the end of sessions because of a new password, and name the new password once for the user.
fn is_an_end_by_password(happened: &[EventKind]) -> bool {
    let (password, ends): (Vec<&EventKind>, Vec<&EventKind>) =
        happened.iter().partition(|what| matches!(what, EventKind::PasswordChanged { .. }));
    let ends: Vec<EventKind> = ends.into_iter().cloned().collect();
    password.len() == 1 && is_an_end(&ends)
}

#[tokio::test]
async fn a_user_who_may_no_longer_sign_in_is_signed_out() {
    let (_, happened, lives) = after(|accounts| accounts[0].active = false).await;
    assert!(is_an_end(&happened) && !lives, "inactive");
    let (_, happened, lives) = after(Vec::clear).await;
    assert!(is_an_end(&happened) && !lives, "gone");
    let (_, happened, lives) = after(|accounts| accounts[0].password = cheap("new")).await;
    assert!(is_an_end_by_password(&happened) && !lives, "another password");
    let (_, happened, lives) = after(|_| {}).await;
    assert!(happened.is_empty() && lives, "nothing has changed");
}

#[tokio::test]
async fn an_upgraded_hash_ends_sessions_unless_the_operator_keeps_them() {
    let rounds = |rounds: u32| NonZeroU32::new(rounds).unwrap();
    for keeps in [false, true] {
        let kit = Kit::new();
        kit.directory.keeps_at_upgrade.store(keeps, Ordering::SeqCst);
        let session = kit.signed_in().await.session;
        let mut minute = 0;
        let mut sees = async |password| {
            kit.directory.accounts.lock()[0].password = password;
            minute += 1;
            kit.sessions
                .recheck(NOW.plus(Duration::from_secs(60 * minute)), &Events::default())
                .await;
            session.is_live(NOW)
        };
        assert_eq!(sees(hashed("right", rounds(2), "newsalt")).await, keeps, "once");
        assert_eq!(sees(hashed("right", rounds(3), "newersalt")).await, keeps, "and again");
        // Another row of the same cost is no upgrade, whatever came before.
        assert!(!sees(hashed("right", rounds(3), "othersalt")).await, "a change");
    }
    let kit = Kit::new();
    kit.directory.keeps_at_upgrade.store(true, Ordering::SeqCst);
    let session = kit.signed_in().await.session;
    kit.directory.accounts.lock()[0].password = cheap("another");
    kit.sessions.recheck(NOW, &Events::default()).await;
    assert!(!session.is_live(NOW), "a change of a hash that is up to date");
}

#[tokio::test]
async fn another_password_is_told_once_for_all_sessions_of_a_user() {
    let kit = Kit::new();
    for _ in 0..3 {
        kit.signed_in().await;
    }
    kit.directory.accounts.lock()[0].password = cheap("new");
    let events = Events::default();
    kit.sessions.recheck(NOW, &events).await;
    let happened = events.take();
    let told = happened.iter().filter(|what| matches!(what, EventKind::PasswordChanged { .. }));
    assert_eq!((told.count(), happened.len()), (1, 4), "{happened:?}");
}

#[tokio::test]
async fn another_name_or_group_is_in_the_session_at_once() {
    let (kit, happened, lives) = after(|accounts| {
        let identity =
            Identity { groups: vec!["admins".into()], ..(*accounts[0].identity).clone() };
        accounts[0].identity = Arc::new(identity);
    })
    .await;
    assert!(happened.is_empty() && lives);
    let sessions = kit.store.list(None, NOW).await.unwrap();
    assert_eq!(sessions[0].identity.load().groups, ["admins"]);
}

#[tokio::test]
async fn a_directory_that_is_down_changes_nothing() {
    let kit = Kit::new();
    let session = kit.signed_in().await.session;
    kit.directory.accounts.lock().clear();
    kit.directory.is_down.store(true, Ordering::SeqCst);
    let events = Events::default();
    kit.sessions.recheck(NOW, &events).await;
    assert!(events.take().is_empty() && session.is_live(NOW));
}

#[tokio::test]
async fn a_directory_is_asked_when_it_is_due() {
    let kit = Kit::new();
    let session = kit.signed_in().await.session;
    let events = Events::default();
    kit.sessions.recheck(NOW, &events).await;
    kit.directory.accounts.lock().clear();
    kit.sessions.recheck(NOW.plus(Duration::from_secs(59)), &events).await;
    assert!(session.is_live(NOW));
    kit.sessions.recheck(NOW.plus(Duration::from_secs(60)), &events).await;
    assert!(is_an_end(&events.take()) && !session.is_live(NOW));
}

#[tokio::test]
async fn a_store_that_failed_does_not_cost_the_directory_its_turn() {
    let is_down = Arc::new(AtomicBool::new(false));
    let kit = Kit::unplugged(&is_down);
    let session = kit.signed_in().await.session;
    kit.directory.accounts.lock().clear();
    is_down.store(true, Ordering::SeqCst);
    kit.sessions.recheck(NOW, &Events::default()).await;
    is_down.store(false, Ordering::SeqCst);
    kit.sessions.recheck(NOW.plus(Duration::from_secs(1)), &Events::default()).await;
    assert!(!session.is_live(NOW));
}

/// Returns a session of a user in a directory that is not configured.
async fn of_a_removed_directory(kit: &Kit) -> Arc<Session> {
    let identity = Identity { key: UserKey::new("removed", "7"), ..(*identity("7")).clone() };
    let like = session("other", "7");
    let new = NewSession {
        id: SessionId::new("other"),
        identity: Arc::new(identity),
        password_mark: like.password_mark,
        cookie: None,
        issuer: None,
        at: NOW,
        expires_at: like.expires_at,
        idle_timeout: like.idle_timeout,
        client: None,
        agent: String::new(),
        assurance: crate::caller::Assurance::default(),
        grant: None,
        refresh: None,
        kept: None,
    };
    kit.store.create(new).await.unwrap()
}

#[tokio::test]
async fn users_of_a_directory_that_was_taken_away_are_signed_out() {
    let kit = Kit::new();
    let kept = kit.signed_in().await.session;
    let removed = of_a_removed_directory(&kit).await;
    let events = Events::default();
    kit.sessions.recheck(NOW, &events).await;
    assert!(is_an_end(&events.take()));
    assert!(kept.is_live(NOW) && !removed.is_live(NOW));
}

#[tokio::test]
async fn so_they_are_where_no_directory_is_left_that_can_be_asked() {
    let kit = Kit::with(|parts| parts.directories.clear());
    let removed = of_a_removed_directory(&kit).await;
    kit.sessions.recheck(NOW, &Events::default()).await;
    assert!(!removed.is_live(NOW));
}

#[tokio::test]
async fn the_session_whose_request_changes_the_password_waits_for_the_answer() {
    let later = |secs| NOW.plus(Duration::from_secs(secs));
    for (case, lives_at_last) in [("proved", true), ("not proved", false), ("no answer", false)] {
        let kit = Kit::new();
        let (session, other) = (kit.signed_in().await.session, kit.signed_in().await.session);
        let id = &session.id;
        let under_way = kit.sessions.goes(id, &http::Method::POST, NOW).unwrap();
        kit.directory.accounts.lock()[0].password = cheap("new");
        let mark = kit.directory.accounts.lock()[0].password_mark();
        let events = Events::default();
        kit.sessions.recheck(NOW, &events).await;
        let happened = events.take();
        assert!(is_an_end_by_password(&happened), "{case}: {happened:?}");
        assert!(!other.is_live(NOW), "{case}: others end at once");
        kit.sessions.recheck(later(1), &events).await;
        assert!(session.is_live(NOW), "{case}");
        let mut kept = Some(under_way);
        match case {
            "proved" => {
                kit.sessions.password_proved(id, mark, later(2)).await;
                kept = None;
            }
            "not proved" => kept = None,
            _ => {}
        }
        let at = if kept.is_some() { later(10) } else { later(2) };
        kit.sessions.recheck(at, &events).await;
        let found = kit.store.find(SessionBy::Id(id), at).await.unwrap();
        assert_eq!(found.is_some(), lives_at_last, "{case}");
        // The next recheck of the directory gives the same result.
        kit.sessions.recheck(later(61), &events).await;
        let found = kit.store.find(SessionBy::Id(id), later(61)).await.unwrap();
        assert_eq!(found.is_some(), lives_at_last, "{case}");
    }
}
