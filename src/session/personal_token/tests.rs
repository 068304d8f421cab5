//! Tests of personal access tokens with a store in memory.

use std::sync::Arc;
use std::time::Duration;

use http::Method;

use super::*;
use crate::config::PersonalTokenSettings;
use crate::context::Events;
use crate::session::testkit::{CLIENT, Kit, NOW, cheap};
use crate::store::Sessions as _;

fn wanted(name: &str) -> WantedToken {
    WantedToken { name: name.to_owned(), ..WantedToken::default() }
}

fn kim() -> UserKey {
    UserKey::new("django", "7")
}

async fn made(kit: &Kit, wanted: WantedToken) -> Result<(Arc<Session>, Secret), Refusal> {
    let checked = kit.sessions.personal_tokens().rules().check(wanted).unwrap();
    let maker = kim();
    let maker = TokenMaker::Operator(&maker);
    kit.sessions.personal_tokens().make(maker, checked, None, NOW, &Events::default()).await
}

async fn presented(
    kit: &Kit,
    token: &str,
    presented_for: PersonalTokenUse<'_>,
    at: Timestamp,
) -> (Result<Arc<Session>, Refusal>, Option<TokenRefusal>) {
    let events = Events::default();
    let found =
        kit.sessions.personal_tokens().session_of(token, presented_for, CLIENT, at, &events).await;
    let why = events.take().iter().find_map(|what| match what {
        EventKind::PersonalTokenRefused { why, .. } => Some(*why),
        _ => None,
    });
    (found, why)
}

#[test]
fn what_is_wanted_is_checked_field_by_field() {
    let rules = PersonalTokenRules {
        settings: PersonalTokenSettings::default(),
        routes: vec!["api".into(), "files".into()],
    };
    let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let days = |days: u64| Some(Duration::from_secs(days * 86_400));
    for (name, routes, methods, lifetime, field) in [
        ("CI", &[][..], &[][..], None, None),
        (" 배포 ", &["files", "api", "api"], &["GET", "POST"], days(90), None),
        ("", &[], &[], None, Some("name")),
        ("  ", &[], &[], None, Some("name")),
        ("a\nb", &[], &[], None, Some("name")),
        ("CI", &["admin"], &[], None, Some("routes")),
        ("CI", &["API"], &[], None, Some("routes")),
        ("CI", &[], &["get"], None, Some("methods")),
        ("CI", &[], &["GET POST"], None, Some("methods")),
        ("CI", &[], &[""], None, Some("methods")),
        ("CI", &[], &[], days(91), Some("expires")),
        ("CI", &[], &[], Some(Duration::from_secs(59)), Some("expires")),
    ] {
        let (routes, methods) = (list(routes), list(methods));
        let asked = WantedToken { name: name.to_owned(), routes, methods, lifetime };
        let checked = rules.check(asked.clone());
        assert_eq!(checked.as_ref().err().map(|problem| problem.field), field, "{asked:?}");
        if let Ok(checked) = checked {
            assert_eq!(checked.grant.name, name.trim());
            assert!(checked.grant.routes.is_sorted() && checked.grant.routes.len() < 3);
        }
    }
    let long = rules.check(wanted(&"x".repeat(65))).unwrap_err();
    assert_eq!(long.field, "name");
}

#[tokio::test]
async fn a_token_is_good_where_it_was_made_for_and_nowhere_else() {
    let kit = Kit::new();
    let scoped = WantedToken {
        routes: vec!["api".to_owned()],
        methods: vec!["GET".to_owned()],
        ..wanted("CI")
    };
    let (session, token) = made(&kit, scoped).await.unwrap();
    assert_eq!(session.assurance.methods.to_string(), "pat");
    assert_eq!((session.assurance.auth_time, session.assurance.acr()), (None, None));
    let on = |name, method| PersonalTokenUse::Route { name, method };
    for (presented_for, refused) in [
        (on("api", &Method::GET), None),
        (on("api", &Method::HEAD), None),
        (PersonalTokenUse::Identification, None),
        (on("api", &Method::POST), Some((Refusal::PersonalTokenScope, TokenRefusal::OutOfScope))),
        (on("files", &Method::GET), Some((Refusal::PersonalTokenScope, TokenRefusal::OutOfScope))),
        (PersonalTokenUse::Refused, Some((Refusal::PersonalTokenNotTaken, TokenRefusal::NotTaken))),
    ] {
        // The first round is not cached, the second one is.
        for _ in 0..2 {
            let (found, why) = presented(&kit, token.expose(), presented_for, NOW).await;
            match refused {
                None => assert_eq!(found.unwrap().id, session.id, "{presented_for:?}"),
                Some((refusal, reason)) => {
                    assert_eq!((found.unwrap_err(), why), (refusal, Some(reason)));
                }
            }
        }
    }
}

#[tokio::test]
async fn what_is_no_token_of_anybodys_is_refused_and_a_malformed_one_asks_nobody() {
    let kit = Kit::new();
    let (session, token) = made(&kit, wanted("CI")).await.unwrap();
    let stranger = format::random().unwrap();
    let typo = format!("{}x", &token.expose()[..42]);
    for (text, reason) in [
        (stranger.expose(), TokenRefusal::Unknown),
        (typo.as_str(), TokenRefusal::Malformed),
        ("dwp_", TokenRefusal::Malformed),
    ] {
        let (found, why) = presented(&kit, text, PersonalTokenUse::Identification, NOW).await;
        assert_eq!((found.unwrap_err(), why), (Refusal::TokenNotValid, Some(reason)), "{text}");
    }
    // The token is neither a cookie nor an access token, even if the store knows its session.
    let none = Events::default();
    assert!(kit.sessions.cookie(token.expose(), CLIENT, NOW, &none).await.is_err());
    assert!(kit.sessions.bearer(token.expose(), CLIENT, NOW, &none).await.is_err());
    let late = session.expires_at;
    let (found, why) =
        presented(&kit, token.expose(), PersonalTokenUse::Identification, late).await;
    assert_eq!((found.unwrap_err(), why), (Refusal::TokenNotValid, Some(TokenRefusal::Unknown)));
}

#[tokio::test]
async fn a_token_ends_at_once_when_it_is_revoked_by_its_owner_alone() {
    let kit = Kit::new();
    let (session, token) = made(&kit, wanted("CI")).await.unwrap();
    let asked = PersonalTokenUse::Identification;
    assert!(presented(&kit, token.expose(), asked, NOW).await.0.is_ok());
    let events = Events::default();
    let other = UserKey::new("django", "8");
    let revoke = async |id: &SessionId, owner: Option<&UserKey>, events: &Events| {
        kit.sessions.personal_tokens().revoke(id, owner, NOW, events).await.unwrap()
    };
    assert!(!revoke(&session.id, Some(&other), &events).await);
    // The session of a sign-in is no personal access token, whoever asks to revoke it.
    let sign_in = kit.store.create(crate::session::testkit::new_session("s", "7")).await.unwrap();
    assert!(!revoke(&sign_in.id, Some(&kim()), &events).await);
    assert!(events.take().is_empty());
    assert!(revoke(&session.id, Some(&kim()), &events).await);
    assert!(!revoke(&session.id, Some(&kim()), &events).await);
    let happened = events.take();
    let ended = happened.iter().filter(|what| {
        matches!(what, EventKind::PersonalTokenEnded { why: EndReason::Revoked, .. })
    });
    assert_eq!((ended.count(), happened.len()), (1, 1));
    assert!(presented(&kit, token.expose(), asked, NOW).await.0.is_err(), "warm or not");
}

#[tokio::test]
async fn a_token_ends_with_its_users_password_and_account() {
    for change in ["password", "disabled", "gone"] {
        let kit = Kit::new();
        let (_, token) = made(&kit, wanted("CI")).await.unwrap();
        let asked = PersonalTokenUse::Identification;
        assert!(presented(&kit, token.expose(), asked, NOW).await.0.is_ok());
        {
            let mut accounts = kit.directory.accounts.lock();
            match change {
                "password" => accounts[0].password = cheap("another"),
                "disabled" => accounts[0].active = false,
                _ => accounts.clear(),
            }
        }
        let later = NOW.plus(Duration::from_secs(60));
        let events = Events::default();
        kit.sessions.recheck(later, &events).await;
        let happened = events.take();
        let ended = happened.iter().any(|what| {
            matches!(what, EventKind::PersonalTokenEnded { why: EndReason::DirectoryChanged, .. })
        });
        assert!(ended, "{change}: {happened:?}");
        assert!(presented(&kit, token.expose(), asked, later).await.0.is_err(), "{change}");
        if change != "password" {
            let refused = made(&kit, wanted("another")).await.map(drop);
            assert_eq!(refused, Err(Refusal::NoActiveAccount), "{change}");
        }
    }
}

#[tokio::test]
async fn signing_out_everywhere_leaves_a_token_and_not_me_does_not() {
    let kit = Kit::new();
    let (_, token) = made(&kit, wanted("CI")).await.unwrap();
    let asked = PersonalTokenUse::Identification;
    for (which, why, stays) in [
        (
            SessionSelection::SignIns { user: kim(), kept: None },
            EndReason::SignedOutEverywhere,
            true,
        ),
        (SessionSelection::User(kim()), EndReason::NotMe, false),
    ] {
        kit.sessions.end(&which, why, NOW, &Events::default()).await.unwrap();
        let (found, _) = presented(&kit, token.expose(), asked, NOW).await;
        assert_eq!(found.is_ok(), stays, "{why:?}");
    }
}

#[tokio::test]
async fn a_changed_password_that_a_tokens_own_request_proved_ends_it_all_the_same() {
    let kit = Kit::new();
    let (session, _) = made(&kit, wanted("CI")).await.unwrap();
    let mark = Digest::of(b"another");
    kit.sessions.password_proved(&session.id, mark, NOW).await;
    let by = SessionBy::Id(&session.id);
    let found = kit.store.find(by, NOW).await.unwrap().unwrap();
    assert_ne!(found.password_mark, mark);
}

#[tokio::test]
async fn its_use_is_told_as_a_sessions_is() {
    let kit = Kit::new();
    let (session, token) = made(&kit, wanted("CI")).await.unwrap();
    let asked = PersonalTokenUse::Identification;
    let elsewhere = "198.51.100.7".parse().unwrap();
    let mut told = Vec::new();
    for client in [CLIENT, CLIENT, elsewhere] {
        let events = Events::default();
        let text = token.expose();
        kit.sessions.personal_tokens().session_of(text, asked, client, NOW, &events).await.unwrap();
        told.push(events.has(|what| {
            matches!(what, EventKind::SessionUsed { session: used, proof: Proof::PersonalToken, .. }
                if *used == session.id)
        }));
    }
    assert_eq!(told, [true, false, true], "once a minute, and from elsewhere at once");
}

#[tokio::test]
async fn there_is_a_most() {
    let kit = Kit::new();
    let most = kit.sessions.personal_tokens().rules().settings.max_per_user;
    for index in 0..most {
        made(&kit, wanted(&index.to_string())).await.unwrap();
    }
    assert_eq!(made(&kit, wanted("more")).await.map(drop), Err(Refusal::TooManyTokens));
}
