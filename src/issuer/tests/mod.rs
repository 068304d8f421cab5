mod blacklisted;
mod reasons;
mod rotation;
mod take_over;

use std::sync::atomic::{AtomicBool, Ordering};

use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};

use super::verify::VerifiedCredential;
use super::*;
use crate::config::{CredentialSelection, IssuerKey, IssuerSignature, SimpleJwtIssuer};
use crate::context::Events;
use crate::django::simplejwt::{
    NewHandMade, NewToken, TokenType, mint, mint_hand_made, password_print,
};
use crate::event::EndReason;
use crate::event::EventKind;
use crate::issuer::testkit::Kit;
use crate::jose::{Algorithm, SigningKey};
use crate::refusal::Refusal;
use crate::secret::Secret;
use crate::session::testkit::{NOW, account, cheap, hashed};
use crate::store::{NewStamp, SessionSelection, StoreError};

const SECRET: &str = "the service's own secret, which is long enough";
const MINUTE: Duration = Duration::from_secs(60);

fn later(secs: u64) -> Timestamp {
    NOW.plus(Duration::from_secs(secs))
}

fn write_key(folder: &std::path::Path, secret: &str) -> IssuerKey {
    use std::os::unix::fs::OpenOptionsExt as _;
    let path = folder.join("key");
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).mode(0o600).open(&path);
    std::io::Write::write_all(&mut file.unwrap(), secret.as_bytes()).unwrap();
    IssuerKey::Private(path)
}

fn signature(key: IssuerKey) -> IssuerSignature {
    IssuerSignature {
        algorithm: Algorithm::Hs256,
        key,
        leeway: Duration::ZERO,
        numeric_ids: false,
        danger_weak_key: false,
    }
}

fn settings(kind: IssuerKind, header: &str, schemes: &[&str]) -> IssuerSettings {
    IssuerSettings {
        name: if header == "jwt-auth" { "by-hand".into() } else { "service".into() },
        directory: "django".into(),
        place: CredentialPlace::Header {
            name: header.into(),
            schemes: schemes.iter().map(|scheme| (*scheme).to_owned()).collect(),
        },
        cookie_domain: None,
        upstreams: Vec::new(),
        danger_mint: false,
        forward: None,
        accept_until: None,
        kind,
    }
}

fn simplejwt(key: IssuerKey) -> SimpleJwtIssuer {
    SimpleJwtIssuer {
        signature: signature(key),
        token_types: vec![TokenType::Access],
        user_id_claim: "user_id".into(),
        audience: Vec::new(),
        issuer: None,
        check_revoke_token: false,
        adopt_refresh_tokens: false,
        blacklist: None,
    }
}

/// A kit in which kim is user 7, with both issuers of the tutorial, changed as a test needs.
fn kit(change: impl FnOnce(&mut [IssuerSettings])) -> Kit {
    kit_with(change, |_| {})
}

fn kit_with(
    change: impl FnOnce(&mut [IssuerSettings]),
    change_parts: impl FnOnce(&mut crate::issuer::testkit::KitParts),
) -> Kit {
    let folder = tempfile::tempdir().unwrap();
    let key = write_key(folder.path(), &format!("{SECRET}\n"));
    let jwt = IssuerKind::Jwt {
        signature: signature(key.clone()),
        claim: "id".into(),
        max_age: 10 * MINUTE,
        refusals: crate::config::Refusals::Gateway,
    };
    let mut issuers = [
        settings(IssuerKind::SimpleJwt(simplejwt(key)), "Authorization", &["Bearer"]),
        settings(jwt, "jwt-auth", &[]),
    ];
    change(&mut issuers);
    Kit::with(|parts| {
        parts.issuers = issuers.into();
        change_parts(parts);
    })
}

/// A store that stores no dates while it `is_full`.
struct Full {
    store: Arc<dyn Stamps>,
    is_full: Arc<AtomicBool>,
}

#[async_trait::async_trait]
impl Stamps for Full {
    fn stamp(&self, key: &Digest) -> Option<Timestamp> {
        self.store.stamp(key)
    }

    async fn put(&self, stamp: NewStamp) -> Result<Timestamp, StoreError> {
        if self.is_full.load(Ordering::SeqCst) {
            return Err(StoreError("full".into()));
        }
        self.store.put(stamp).await
    }
}

fn signing() -> SigningKey {
    SigningKey::read(Algorithm::Hs256, SECRET.as_bytes()).unwrap()
}

/// Returns an access token of `user` from `issued_at`, valid for an hour.
fn access(user: &str, issued_at: Timestamp, password: Option<&str>) -> Secret {
    let new = NewToken {
        token_type: TokenType::Access,
        expires_at: issued_at.plus(60 * MINUTE),
        issued_at,
        token_id: &format!("jti-{user}-{}", issued_at.as_secs()),
        user_id_claim: "user_id",
        user,
        password,
        audience: None,
        issuer: None,
    };
    mint(&signing(), &new).unwrap()
}

/// Returns a hand-made token as the service makes it: without `iat`, `exp` and `jti`.
fn by_hand(id: &Value) -> Secret {
    let claims = [("id", id.clone()), ("username", json!("kim"))];
    crate::django::jws::sign_for_tests(&signing(), &claims)
}

async fn present(
    kit: &Kit,
    header: &'static str,
    value: &str,
    at: Timestamp,
) -> (Result<String, Refusal>, Vec<&'static str>) {
    let mut headers = HeaderMap::new();
    headers.append(header, HeaderValue::from_str(value).unwrap());
    let shown =
        kit.issuers.registry.readings.shown(&headers, false, &CredentialSelection::All).unwrap();
    let events = Events::default();
    let [shown] = &shown[..] else { panic!("{} tokens were shown", shown.len()) };
    let found = kit.issuers.issued(shown, Some(crate::session::testkit::CLIENT), at, &events).await;
    let happened = events.take();
    let why = happened.iter().map(|what| match what {
        EventKind::IssuedRefused { why, .. } => why.name(),
        other => panic!("{other:?}"),
    });
    let user = found.map(|found| {
        let credential = found.used(crate::session::testkit::CLIENT, at, &Events::default());
        credential.identity().key.id.to_string()
    });
    (user.map_err(|(refusal, _)| refusal), why.collect())
}

async fn bearer(kit: &Kit, token: &Secret, at: Timestamp) -> Result<(), &'static str> {
    let (found, why) =
        present(kit, "authorization", &format!("Bearer {}", token.expose()), at).await;
    found.map(drop).map_err(|_| why[0])
}

async fn jwt_auth(kit: &Kit, token: &Secret, at: Timestamp) -> Result<(), &'static str> {
    let (found, why) = present(kit, "jwt-auth", token.expose(), at).await;
    found.map(drop).map_err(|_| why[0])
}

async fn end_user(kit: &Kit, at: Timestamp) {
    let which = SessionSelection::User(UserKey::new("django", "7"));
    kit.sessions.end(&which, EndReason::Operator, at, &Events::default()).await.unwrap();
}

#[tokio::test]
async fn what_the_service_issued_is_its_users_until_it_expires() {
    let kit = kit(|_| {});
    let token = access("7", NOW, None);
    for (at, expected) in [(later(1), Ok(())), (later(3599), Ok(())), (later(3600), Err("expired"))]
    {
        assert_eq!(bearer(&kit, &token, at).await, expected);
    }
    assert_eq!(jwt_auth(&kit, &by_hand(&json!(7)), NOW).await, Ok(()));
    assert_eq!(jwt_auth(&kit, &by_hand(&json!("7")), NOW).await, Ok(()));
}

#[tokio::test]
async fn a_refusal_says_why_to_the_operator_and_little_to_the_client() {
    let kit = kit(|_| {});
    kit.directory.accounts.lock().push({
        let mut idle = account("8", "idle", "right");
        idle.active = false;
        idle
    });
    for (user, why) in [("8", "inactive_user"), ("9", "unknown_user"), ("07", "unknown_user")] {
        let value = format!("Bearer {}", access(user, NOW, None).expose());
        let refused = present(&kit, "authorization", &value, NOW).await;
        assert_eq!(refused, (Err(Refusal::TokenNotValid), vec![why]), "{user}");
    }
    let refused = present(&kit, "authorization", "Bearer a.b.c", NOW).await;
    assert_eq!(refused, (Err(Refusal::TokenNotValid), vec!["malformed"]));
}

/// There are two issuers for one header, and the second one's key signed the token.
#[tokio::test]
async fn whoever_knows_a_token_is_asked_first_and_nothing_else_changes_by_it() {
    let folder = tempfile::tempdir().unwrap();
    let other = write_key(folder.path(), "another service's secret, which is long enough");
    let kit = kit(|issuers| {
        issuers[1] = IssuerSettings { name: "second".into(), ..issuers[0].clone() };
        issuers[1].accept_until = Some(later(100));
        let IssuerKind::SimpleJwt(first) = &mut issuers[0].kind else { panic!("simplejwt") };
        first.signature.key = other;
    });
    let (warm, cold) = (access("7", NOW, None), access("7", later(1), None));
    for at in [1, 2] {
        assert_eq!(bearer(&kit, &warm, later(at)).await, Ok(()));
    }
    for token in [&warm, &cold] {
        let value = format!("Bearer {}", token.expose());
        let (found, why) = present(&kit, "authorization", &value, later(100)).await;
        assert_eq!(found, Err(Refusal::TokenNotValid));
        assert_eq!(why, ["bad_signature", "no_longer_accepted"]);
    }
    end_user(&kit, later(50)).await;
    assert_eq!(bearer(&kit, &warm, later(51)).await, Err("ended"));
}

#[tokio::test]
async fn a_changed_user_is_noticed_within_the_recheck() {
    let kit = kit(|_| {});
    let token = access("7", NOW, None);
    assert_eq!(bearer(&kit, &token, NOW).await, Ok(()));
    kit.directory.accounts.lock()[0].active = false;
    assert_eq!(bearer(&kit, &token, later(59)).await, Ok(()), "not asked yet");
    assert_eq!(bearer(&kit, &token, later(60)).await, Err("inactive_user"));
    kit.directory.accounts.lock()[0].active = true;
    assert_eq!(bearer(&kit, &token, later(120)).await, Err("ended"), "it does not come back");
    let new = access("7", later(121), None);
    assert_eq!(bearer(&kit, &new, later(121)).await, Ok(()));
    kit.directory.accounts.lock().clear();
    assert_eq!(bearer(&kit, &new, later(181)).await, Err("unknown_user"));
}

#[tokio::test]
async fn a_changed_password_ends_what_was_issued_before_it_was_last_seen() {
    let kit = kit(|_| {});
    let (old, new) = (access("7", NOW, None), access("7", later(30), None));
    let undated = by_hand(&json!(7));
    for token in [&old, &new] {
        assert_eq!(bearer(&kit, token, later(30)).await, Ok(()));
    }
    assert_eq!(jwt_auth(&kit, &undated, later(30)).await, Ok(()));
    kit.directory.accounts.lock()[0].password = cheap("another");
    assert_eq!(bearer(&kit, &old, later(90)).await, Err("ended"));
    assert_eq!(bearer(&kit, &new, later(90)).await, Err("ended"), "in the same second");
    let between = access("7", later(31), None);
    assert_eq!(bearer(&kit, &between, later(90)).await, Ok(()), "may be from after the change");
    assert_eq!(jwt_auth(&kit, &undated, later(90)).await, Ok(()), "as with Django");
}

#[tokio::test]
async fn an_upgraded_hash_ends_tokens_unless_the_operator_keeps_them() {
    let rounds = |rounds: u32| std::num::NonZeroU32::new(rounds).unwrap();
    for (keeps, after_upgrade) in [(false, Err("ended")), (true, Ok(()))] {
        let kit = kit(|_| {});
        kit.directory.keeps_at_upgrade.store(keeps, Ordering::SeqCst);
        let token = access("7", NOW, None);
        assert_eq!(bearer(&kit, &token, NOW).await, Ok(()));
        kit.directory.accounts.lock()[0].password = hashed("right", rounds(2), "newsalt");
        assert_eq!(bearer(&kit, &token, later(60)).await, after_upgrade);
        kit.directory.accounts.lock()[0].password = hashed("other", rounds(2), "thirdsalt");
        assert_eq!(bearer(&kit, &token, later(120)).await, Err("ended"), "a change");
    }
}

#[tokio::test]
async fn an_end_that_the_store_could_not_take_is_not_forgotten() {
    for switched_off in [true, false] {
        let is_full = Arc::new(AtomicBool::new(false));
        let kit = kit_with(
            |_| {},
            |parts| {
                let (store, is_full) = (Arc::clone(&parts.stamps), Arc::clone(&is_full));
                parts.stamps = Arc::new(Full { store, is_full });
            },
        );
        let token = access("7", NOW, None);
        assert_eq!(bearer(&kit, &token, NOW).await, Ok(()));
        is_full.store(true, Ordering::SeqCst);
        if switched_off {
            kit.directory.accounts.lock()[0].active = false;
        } else {
            kit.directory.accounts.lock()[0].password = cheap("another");
        }
        for at in [60, 61] {
            assert_eq!(bearer(&kit, &token, later(at)).await, Err("unavailable"));
        }
        kit.directory.accounts.lock()[0].active = true;
        is_full.store(false, Ordering::SeqCst);
        assert_eq!(bearer(&kit, &token, later(120)).await, Err("ended"), "{switched_off}");
    }
}

#[tokio::test]
async fn with_check_revoke_token_a_token_has_the_print_of_the_present_password() {
    let kit = kit(|issuers| {
        let IssuerKind::SimpleJwt(settings) = &mut issuers[0].kind else { panic!("simplejwt") };
        settings.check_revoke_token = true;
    });
    let print = password_print(&kit.directory.accounts.lock()[0].password);
    let good = access("7", later(1), Some(&print));
    assert_eq!(bearer(&kit, &good, later(1)).await, Ok(()));
    let other = password_print(&cheap("another"));
    let bare = access("7", NOW, None);
    assert_eq!(bearer(&kit, &bare, later(1)).await, Err("password_changed"));
    let wrong = access("7", later(2), Some(&other));
    assert_eq!(bearer(&kit, &wrong, later(2)).await, Err("password_changed"));
    kit.directory.accounts.lock()[0].password = cheap("another");
    assert_eq!(bearer(&kit, &good, later(62)).await, Err("password_changed"));
    // The password of tokens from before the last look-up is unknown, unless the token itself says
    // it.
    assert_eq!(bearer(&kit, &wrong, later(62)).await, Err("ended"));
    assert_eq!(bearer(&kit, &access("7", later(61), Some(&other)), later(62)).await, Ok(()));
}

#[tokio::test]
async fn ending_a_user_ends_what_has_no_session_too() {
    let kit = kit(|_| {});
    let (token, undated) = (access("7", NOW, None), by_hand(&json!(7)));
    assert_eq!(bearer(&kit, &token, NOW).await, Ok(()));
    assert_eq!(jwt_auth(&kit, &undated, NOW).await, Ok(()));
    end_user(&kit, later(10)).await;
    assert_eq!(bearer(&kit, &token, later(10)).await, Err("ended"));
    assert_eq!(jwt_auth(&kit, &undated, later(10)).await, Err("ended"));
    let cold = access("7", later(10), None);
    assert_eq!(bearer(&kit, &cold, later(10)).await, Err("ended"), "in the same second");
    let after = access("7", later(11), None);
    assert_eq!(bearer(&kit, &after, later(11)).await, Ok(()));
    assert_eq!(jwt_auth(&kit, &undated, later(11)).await, Err("ended"), "it stays ended");
}

#[tokio::test]
async fn a_token_that_was_signed_out_is_over_and_others_are_not() {
    let kit = kit(|_| {});
    let (one, two) = (access("7", NOW, None), access("7", later(1), None));
    let undated = by_hand(&json!(7));
    let end = async |header: &'static str, value: String| {
        let mut headers = HeaderMap::new();
        headers.append(header, HeaderValue::from_str(&value).unwrap());
        let shown = kit
            .issuers
            .registry
            .readings
            .shown(&headers, false, &CredentialSelection::All)
            .unwrap();
        let found = kit.issuers.issued(&shown[0], None, later(2), &Events::default()).await;
        let Ok(VerifiedCredential::Itself(issued, _)) = found else { panic!("it holds") };
        let events = Events::default();
        kit.issuers.end_issued(&issued, later(2), &events).await.unwrap();
        assert!(matches!(&events.take()[..], [EventKind::IssuedEnded { .. }]));
    };
    end("authorization", format!("Bearer {}", one.expose())).await;
    assert_eq!(bearer(&kit, &one, later(2)).await, Err("ended"));
    assert_eq!(bearer(&kit, &two, later(2)).await, Ok(()));
    assert_eq!(jwt_auth(&kit, &undated, later(2)).await, Ok(()));
    end("jwt-auth", undated.expose().into()).await;
    assert_eq!(jwt_auth(&kit, &undated, later(2)).await, Err("ended"));
    assert_eq!(bearer(&kit, &two, later(2)).await, Ok(()));
}

#[tokio::test]
async fn a_token_without_times_ages_from_its_users_first_sight() {
    let kit = kit(|_| {});
    let token = by_hand(&json!(7));
    assert_eq!(jwt_auth(&kit, &token, NOW).await, Ok(()));
    assert_eq!(jwt_auth(&kit, &token, later(599)).await, Ok(()));
    let other = by_hand(&json!("7"));
    assert_eq!(jwt_auth(&kit, &other, later(599)).await, Ok(()));
    assert_eq!(jwt_auth(&kit, &token, later(600)).await, Err("too_old"));
    assert_eq!(jwt_auth(&kit, &other, later(600)).await, Err("too_old"), "the user's, not its own");
    let new = NewHandMade {
        claim: "id",
        user: "7",
        name: "kim",
        expires_at: later(700),
        issued_at: later(600),
        token_id: "t",
        session: None,
    };
    let timed = mint_hand_made(&signing(), &new).unwrap();
    assert_eq!(jwt_auth(&kit, &timed, later(699)).await, Ok(()), "says itself until when");
    assert_eq!(jwt_auth(&kit, &timed, later(700)).await, Err("expired"));
}

#[tokio::test]
async fn an_issuers_time_can_be_over() {
    let kit = kit(|issuers| issuers[0].accept_until = Some(later(10)));
    let token = access("7", NOW, None);
    assert_eq!(bearer(&kit, &token, later(9)).await, Ok(()));
    assert_eq!(bearer(&kit, &token, later(10)).await, Err("no_longer_accepted"));
    assert_eq!(
        bearer(&kit, &access("7", later(1), None), later(10)).await,
        Err("no_longer_accepted")
    );
}

#[tokio::test]
async fn a_directory_that_is_down_stops_strangers_and_not_whom_it_has_known() {
    let kit = kit(|_| {});
    let token = access("7", NOW, None);
    assert_eq!(bearer(&kit, &token, NOW).await, Ok(()));
    kit.directory.is_down.store(true, Ordering::SeqCst);
    assert_eq!(bearer(&kit, &token, later(60)).await, Ok(()));
    let value = format!("Bearer {}", access("8", NOW, None).expose());
    let refused = present(&kit, "authorization", &value, NOW).await;
    assert_eq!(refused, (Err(Refusal::DirectoryUnavailable), vec!["unavailable"]));
    kit.directory.is_down.store(false, Ordering::SeqCst);
    kit.directory.accounts.lock()[0].active = false;
    assert_eq!(bearer(&kit, &token, later(61)).await, Err("inactive_user"), "asked again soon");
}

#[test]
fn a_key_that_can_be_guessed_needs_to_be_wanted() {
    let folder = tempfile::tempdir().unwrap();
    for (secret, danger, problem) in [
        ("SECRET\n", false, Some("has 6 bytes")),
        ("SECRET\n", true, None),
        ("\n", true, Some("empty")),
        (SECRET, false, None),
        ("-----BEGIN PUBLIC KEY-----\nAAAAAAAAAAAAAAAAAAAA\n", false, Some("another kind")),
    ] {
        let mut kind = simplejwt(write_key(folder.path(), secret));
        kind.signature.danger_weak_key = danger;
        let settings = settings(IssuerKind::SimpleJwt(kind), "Authorization", &["Bearer"]);
        let opened =
            open(&settings, &Databases::default()).map(drop).map_err(|error| error.to_string());
        match problem {
            None => assert_eq!(opened, Ok(())),
            Some(text) => assert!(opened.as_ref().is_err_and(|e| e.contains(text)), "{opened:?}"),
        }
    }
}
