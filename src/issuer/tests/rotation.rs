//! Tests refresh tokens in a service's answers, in whatever order the store records them.

use std::sync::Arc;

use super::*;
use crate::event::Adoption;
use crate::issuer::{Adopting, AnswerRecipient, PresentedRefresh};
use crate::session::testkit::{CLIENT, context};
use crate::store::{SessionBy, Sessions};

/// A gateway in front of a service that gives tokens.
struct Given {
    kit: Kit,
    _folder: tempfile::TempDir,
}

fn given() -> Given {
    let folder = tempfile::tempdir().unwrap();
    let key = write_key(folder.path(), SECRET);
    let issuer = settings(IssuerKind::SimpleJwt(simplejwt(key)), "Authorization", &["Bearer"]);
    Given { kit: Kit::with(|parts| parts.issuers = vec![issuer]), _folder: folder }
}

fn signed(token_type: TokenType, token_id: &str) -> String {
    let new = NewToken {
        token_type,
        expires_at: later(86_400),
        issued_at: NOW,
        token_id,
        user_id_claim: "user_id",
        user: "7",
        password: None,
        audience: None,
        issuer: None,
    };
    let key = SigningKey::read(Algorithm::Hs256, SECRET.as_bytes()).unwrap();
    mint(&key, &new).unwrap().expose().to_owned()
}

impl Given {
    /// Sends a refresh token to the service.
    async fn presents(&self, refresh: &str) -> Option<PresentedRefresh> {
        let body = json!({"refresh": signed(TokenType::Refresh, refresh)}).to_string();
        let json = HeaderValue::from_static("application/json");
        let events = Events::default();
        let issuers = &self.kit.issuers;
        issuers.refresh_begins(0, Some(&json), body.as_bytes(), &context(&events)).await.unwrap()
    }

    /// Lets the service answer with another refresh token.
    fn answers(&self, presented: Option<PresentedRefresh>, refresh: &str) -> Adopting {
        let access = signed(TokenType::Access, &format!("access with {refresh}"));
        let refresh = signed(TokenType::Refresh, refresh);
        let body = json!({"access": access, "refresh": refresh}).to_string();
        let request_id: Arc<str> = "r1".into();
        let to = AnswerRecipient {
            issuer: 0,
            upstream: 0,
            client: CLIENT,
            agent: "test",
            request_id: &request_id,
            at: NOW,
        };
        let json = HeaderValue::from_static("application/json");
        self.kit.issuers.tokens_given(to, presented, Some(&json), body.as_bytes()).unwrap()
    }

    async fn adopts(&self, adopting: Adopting) -> usize {
        let events = Events::default();
        self.kit.issuers.adopt_given(adopting, &events).await;
        let rotated =
            |event: &&EventKind| matches!(event, EventKind::Adopted { how: Adoption::Rotated, .. });
        events.take().iter().filter(rotated).count()
    }

    /// Whether the store has a session under this refresh token. After a crash nothing else is
    /// known.
    async fn is_stored(&self, refresh: &str) -> bool {
        let digest = keyed(&["token", "service", refresh]);
        self.kit.store.find(SessionBy::Cookie(&digest), NOW).await.unwrap().is_some()
    }
}

#[tokio::test]
async fn the_last_of_several_rotations_is_the_one_that_is_stored() {
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let given = given();
        given.adopts(given.answers(None, "t0")).await;
        // The client is faster than the store.
        let mut waiting = Vec::new();
        for (before, now) in [("t0", "t1"), ("t1", "t2"), ("t2", "t3")] {
            let presented = given.presents(before).await;
            assert!(presented.is_some(), "{order:?}");
            waiting.push(Some(given.answers(presented, now)));
        }
        let mut rotated = 0;
        for which in order {
            rotated += given.adopts(waiting[which].take().unwrap()).await;
        }
        assert!(rotated >= 1, "{order:?}");
        for (refresh, is_stored) in [("t0", false), ("t1", false), ("t2", false), ("t3", true)] {
            assert_eq!(given.is_stored(refresh).await, is_stored, "{order:?} {refresh}");
            assert!(
                given.presents(refresh).await.is_some(),
                "{order:?} {refresh} is the session's"
            );
        }
    }
}

#[tokio::test]
async fn the_successor_of_a_token_that_was_rotated_away_takes_no_ones_place() {
    let given = given();
    given.adopts(given.answers(None, "t0")).await;
    let presented = given.presents("t0").await;
    assert_eq!(given.adopts(given.answers(presented, "t1")).await, 1);
    for (before, now) in [("t0", "another"), ("another", "one more")] {
        let presented = given.presents(before).await;
        assert_eq!(given.adopts(given.answers(presented, now)).await, 0, "{before}");
        assert!(given.is_stored("t1").await, "{before}");
    }
}
