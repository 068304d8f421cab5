use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::caller::UserKey;
use crate::clock::Timestamp;
use crate::config::{
    CredentialPlace, Database, IssuerKey, IssuerKind, IssuerSettings, IssuerSignature,
    RotationPolicy, SimpleJwtIssuer,
};
use crate::context::Events;
use crate::django::simplejwt::{NewToken, TokenType, mint, password_print};
use crate::event::{EndReason, EventKind, Refresh};
use crate::issuer::RefreshSubject;
use crate::issuer::testkit::Kit;
use crate::jose::{Algorithm, SigningKey};
use crate::refusal::Refusal;
use crate::secret::Secret;
use crate::session::TokenPair;
use crate::session::testkit::{CLIENT, NOW, account, cheap, context_at};
use crate::store::SessionSelection;

const SECRET: &str = "the service's own secret, which is long enough";
const DAY: u64 = 86_400;

fn later(secs: u64) -> Timestamp {
    NOW.plus(Duration::from_secs(secs))
}

/// A kit whose directory's service has issued tokens, and the folder that must outlive it.
struct Service {
    kit: Arc<Kit>,
    folder: tempfile::TempDir,
}

fn service(change: impl FnOnce(&mut IssuerSettings)) -> Service {
    service_with(false, change)
}

/// Makes a service whose blacklist is asked, or not.
fn service_with(is_asked: bool, change: impl FnOnce(&mut IssuerSettings)) -> Service {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    crate::private_file::create(&path, SECRET.as_bytes()).unwrap();
    let mut issuer = IssuerSettings {
        name: "simplejwt".into(),
        directory: "django".into(),
        place: CredentialPlace::Header {
            name: "Authorization".into(),
            schemes: vec!["JWT".into()],
        },
        cookie_domain: None,
        upstreams: Vec::new(),
        danger_mint: false,
        forward: None,
        accept_until: None,
        kind: simplejwt(path),
    };
    change(&mut issuer);
    if is_asked {
        of(&mut issuer).blacklist = Some(Database::Sqlite(folder.path().join("db.sqlite3")));
    }
    let kit = Kit::with(|parts| parts.issuers = vec![issuer]);
    Service { kit: Arc::new(kit), folder }
}

fn simplejwt(key: std::path::PathBuf) -> IssuerKind {
    IssuerKind::SimpleJwt(SimpleJwtIssuer {
        signature: IssuerSignature {
            algorithm: Algorithm::Hs256,
            key: IssuerKey::Private(key),
            leeway: Duration::ZERO,
            numeric_ids: false,
            danger_weak_key: false,
        },
        token_types: vec![TokenType::Access],
        user_id_claim: "user_id".into(),
        audience: Vec::new(),
        issuer: None,
        check_revoke_token: false,
        adopt_refresh_tokens: true,
        blacklist: None,
    })
}

/// Returns the settings that only this kind has.
fn of(issuer: &mut IssuerSettings) -> &mut SimpleJwtIssuer {
    let IssuerKind::SimpleJwt(simplejwt) = &mut issuer.kind else { unreachable!() };
    simplejwt
}

fn blacklist_tables(folder: &Path, taken_back: &[&str]) {
    let file = rusqlite::Connection::open(folder.join("db.sqlite3")).unwrap();
    file.execute_batch(
        "CREATE TABLE token_blacklist_outstandingtoken (id INTEGER PRIMARY KEY, jti varchar(255));
         CREATE TABLE token_blacklist_blacklistedtoken (id INTEGER PRIMARY KEY, token_id bigint);",
    )
    .unwrap();
    for jti in taken_back {
        let outstanding = "INSERT INTO token_blacklist_outstandingtoken (jti) VALUES (?1)";
        file.execute(outstanding, [jti]).unwrap();
        let token = file.last_insert_rowid();
        let blacklisted = "INSERT INTO token_blacklist_blacklistedtoken (token_id) VALUES (?1)";
        file.execute(blacklisted, [token]).unwrap();
    }
}

/// Returns a token that Django gave user 7 before, valid for a day.
fn issued(jti: &str) -> String {
    token(TokenType::Refresh, jti, "7", None)
}

fn token(token_type: TokenType, jti: &str, user: &str, password: Option<&str>) -> String {
    let new = NewToken {
        token_type,
        expires_at: later(DAY),
        issued_at: NOW,
        token_id: jti,
        user_id_claim: "user_id",
        user,
        password,
        audience: None,
        issuer: None,
    };
    let key = SigningKey::read(Algorithm::Hs256, SECRET.as_bytes()).unwrap();
    mint(&key, &new).unwrap().expose().to_owned()
}

impl Service {
    async fn refresh(
        &self,
        token: &str,
        rotation: RotationPolicy,
        at: Timestamp,
    ) -> (Result<TokenPair, Refusal>, Vec<EventKind>) {
        let events = Events::default();
        let result = self.kit.issuers.refresh(token, rotation, &context_at(at, &events)).await;
        (result, events.take())
    }

    async fn refused(&self, token: &str, at: Timestamp) -> Refusal {
        self.refresh(token, RotationPolicy::None, at).await.0.unwrap_err()
    }

    async fn opens(&self, pair: &TokenPair, at: Timestamp) -> bool {
        self.kit.sessions.bearer(pair.access.expose(), CLIENT, at, &Events::default()).await.is_ok()
    }

    async fn end_user(&self, at: Timestamp) {
        let which = SessionSelection::User(UserKey::new("django", "7"));
        let why = EndReason::SignedOutEverywhere;
        self.kit.sessions.end(&which, why, at, &Events::default()).await.unwrap();
    }
}

#[tokio::test]
async fn without_rotation_it_stays_good_until_its_own_end() {
    let service = service(|_| {});
    let token = issued("a");
    let mut sessions = std::collections::BTreeSet::new();
    for round in 0..4 {
        let at = later(2000 + round * 100);
        let (pair, happened) = service.refresh(&token, RotationPolicy::None, at).await;
        let pair = pair.unwrap();
        assert_eq!(pair.refresh, None);
        assert!(service.opens(&pair, at).await);
        let began = matches!(happened.first(), Some(EventKind::TakenOver { .. }));
        assert_eq!(began, round == 0, "{happened:?}");
        let Some(EventKind::Refreshed { session, how: Refresh::Kept, .. }) = happened.last() else {
            panic!("{happened:?}");
        };
        sessions.insert(session.to_string());
    }
    assert_eq!(sessions.len(), 1);
    assert_eq!(service.kit.issuers.verify(&token, later(DAY - 1)).await, Ok(()));
    let last = later(DAY).minus(Duration::from_millis(1));
    assert!(service.refresh(&token, RotationPolicy::None, last).await.0.is_ok());
    assert_eq!(service.refused(&token, later(DAY)).await, Refusal::TokenExpired);
}

#[tokio::test]
async fn with_rotation_its_successors_are_ours_and_its_reuse_ends_them() {
    let service = service(|_| {});
    let token = issued("a");
    let pair = service.refresh(&token, RotationPolicy::SingleUse, later(10)).await.0.unwrap();
    let (again, happened) = service.refresh(&token, RotationPolicy::SingleUse, later(19)).await;
    assert_eq!(again.unwrap(), pair, "within the grace window");
    assert!(matches!(&happened[..], [EventKind::Refreshed { how: Refresh::ReplayedInGrace, .. }]));
    let successor = pair.refresh.as_ref().unwrap().expose().to_owned();
    assert!(crate::session::looks_like_ours(&successor));
    let next = service.refresh(&successor, RotationPolicy::SingleUse, later(15)).await.0.unwrap();

    let (reused, happened) = service.refresh(&token, RotationPolicy::SingleUse, later(20)).await;
    assert_eq!(reused, Err(Refusal::TokenBlacklisted));
    assert!(matches!(
        &happened[..],
        [
            EventKind::RefreshReused { .. },
            EventKind::SessionEnded { why: EndReason::RefreshReused, .. }
        ]
    ));
    assert!(!service.opens(&next, later(20)).await);
    assert_eq!(service.refused(&token, later(21)).await, Refusal::TokenBlacklisted, "for good");
}

#[tokio::test]
async fn of_twenty_that_race_one_takes_over_one_rotates_and_all_get_one_answer() {
    let service = Arc::new(service(|_| {}));
    let token: Arc<str> = issued("a").into();
    let racing: Vec<_> = (0..20)
        .map(|_| {
            let (service, token) = (Arc::clone(&service), Arc::clone(&token));
            tokio::spawn(
                async move { service.refresh(&token, RotationPolicy::SingleUse, NOW).await },
            )
        })
        .collect();
    let (mut pairs, mut all) = (Vec::new(), Vec::new());
    for race in racing {
        let (pair, happened) = race.await.unwrap();
        pairs.push(pair.unwrap());
        all.extend(happened);
    }
    assert!(pairs.iter().all(|pair| *pair == pairs[0]));
    let count = |is: fn(&EventKind) -> bool| all.iter().filter(|what| is(what)).count();
    assert_eq!(count(|what| matches!(what, EventKind::TakenOver { .. })), 1);
    assert_eq!(count(|what| matches!(what, EventKind::Refreshed { how: Refresh::Rotated, .. })), 1);
}

#[tokio::test]
async fn whatever_ended_its_session_it_begins_no_other() {
    for ends in ["signed out", "blacklisted", "everything"] {
        let service = service(|_| {});
        let token = issued("a");
        let pair = service.refresh(&token, RotationPolicy::None, NOW).await.0.unwrap();
        let at = later(10);
        let events = Events::default();
        match ends {
            "signed out" => {
                let held = service.kit.issuers.held_by_refresh(&token, at, &events).await;
                let Ok(RefreshSubject::Session { session, .. }) = held else { panic!("{held:?}") };
                let which = SessionSelection::Session(session.id.clone());
                service.kit.sessions.end(&which, EndReason::SignedOut, at, &events).await.unwrap();
            }
            "blacklisted" => {
                assert_eq!(service.kit.issuers.blacklist(&token, at, &events).await, Ok(()));
            }
            "everything" => service.end_user(at).await,
            other => panic!("{other}"),
        }
        assert!(!service.opens(&pair, at).await, "{ends}");
        assert_eq!(service.refused(&token, at).await, Refusal::TokenBlacklisted, "{ends}");
        let verified = service.kit.issuers.verify(&token, at).await;
        assert_eq!(verified, Err(Refusal::TokenBlacklisted), "{ends}");
        let again = service.kit.issuers.blacklist(&token, at, &events).await;
        assert_eq!(again, Err(Refusal::TokenBlacklisted), "{ends}");
    }
}

#[tokio::test]
async fn one_that_was_ended_before_it_was_presented_begins_nothing() {
    let service = service(|_| {});
    let auth = &service.kit.issuers;
    let events = Events::default();
    assert_eq!(auth.blacklist(&issued("a"), later(1), &events).await, Ok(()));
    let happened = events.take();
    assert!(matches!(&happened[..], [EventKind::IssuedEnded { .. }]), "{happened:?}");
    assert_eq!(service.refused(&issued("a"), later(2)).await, Refusal::TokenBlacklisted);
    let other = service.refresh(&issued("b"), RotationPolicy::None, later(2)).await.0;
    assert!(other.is_ok(), "others of its user are not meant");

    service.end_user(later(3)).await;
    assert_eq!(service.refused(&issued("c"), later(4)).await, Refusal::TokenBlacklisted);
    let verified = auth.verify(&issued("c"), later(4)).await;
    assert_eq!(verified, Err(Refusal::TokenBlacklisted));
}

#[tokio::test]
async fn what_is_no_good_refresh_token_of_the_services_is_refused() {
    let strict = service(|issuer| of(issuer).check_revoke_token = true);
    {
        let mut accounts = strict.kit.directory.accounts.lock();
        accounts.push(crate::directory::Account { active: false, ..account("8", "idle", "right") });
    }
    let print = password_print(&cheap("right"));
    let old = password_print(&cheap("another"));
    let refresh = |user, print: Option<&str>| token(TokenType::Refresh, "x", user, print);
    let good = refresh("7", Some(&print));
    for (what, token, refusal) in [
        ("garbage", "a.b.c".into(), Refusal::TokenNotValid),
        ("an access token", token(TokenType::Access, "x", "7", None), Refusal::TokenWrongType),
        ("a sliding token", token(TokenType::Sliding, "x", "7", None), Refusal::TokenWrongType),
        ("another key's", format!("{}A", &good[..good.len() - 1]), Refusal::TokenNotValid),
        ("an inactive user's", refresh("8", Some(&print)), Refusal::NoActiveAccount),
        ("nobody's", refresh("9", Some(&print)), Refusal::NoActiveAccount),
        ("an older password's", refresh("7", Some(&old)), Refusal::TokenNotValid),
        ("one that names no password", refresh("7", None), Refusal::TokenNotValid),
    ] {
        assert_eq!(strict.refused(&token, NOW).await, refusal, "{what}");
    }
    assert!(strict.refresh(&good, RotationPolicy::None, NOW).await.0.is_ok());
    strict.kit.directory.accounts.lock()[0].password = cheap("another");
    strict.kit.sessions.recheck(later(60), &Events::default()).await;
    assert_eq!(strict.refused(&good, later(60)).await, Refusal::TokenBlacklisted);

    let none = service(|issuer| of(issuer).adopt_refresh_tokens = false);
    assert_eq!(none.refused(&issued("a"), NOW).await, Refusal::TokenNotValid);
    let over = service(|issuer| issuer.accept_until = Some(later(10)));
    assert!(over.refresh(&issued("a"), RotationPolicy::None, later(9)).await.0.is_ok());
    assert_eq!(over.refused(&issued("a"), later(10)).await, Refusal::TokenNotValid);
    assert_eq!(over.refused(&issued("b"), later(10)).await, Refusal::TokenNotValid);
}

#[tokio::test]
async fn what_cannot_be_asked_is_neither_yes_nor_no() {
    let service = service_with(true, |_| {});
    let (token, known) = (issued("a"), issued("known"));
    // The database does not exist yet.
    assert_eq!(service.refused(&known, NOW).await, Refusal::DirectoryUnavailable);
    blacklist_tables(service.folder.path(), &["b", "c"]);
    let again = service.kit.issuers.blacklist(&issued("b"), NOW, &Events::default()).await;
    assert_eq!(again, Err(Refusal::TokenBlacklisted));
    let held = service.kit.issuers.held_by_refresh(&issued("c"), NOW, &Events::default()).await;
    let Ok(RefreshSubject::Nothing(held)) = held else { panic!("{held:?}") };
    let taken_back = service.kit.issuers.may_begin(&held, NOW).await;
    assert_eq!(taken_back, Err(Refusal::TokenBlacklisted), "it ends nothing of its user's");
    let blacklisted = service.refresh(&issued("c"), RotationPolicy::None, NOW).await;
    assert_eq!(blacklisted.0, Err(Refusal::TokenBlacklisted));
    assert_eq!(service.kit.issuers.verify(&issued("c"), NOW).await, Err(Refusal::TokenBlacklisted));
    assert!(service.refresh(&known, RotationPolicy::None, NOW).await.0.is_ok());

    service.kit.directory.is_down.store(true, Ordering::SeqCst);
    assert_eq!(service.refused(&token, NOW).await, Refusal::DirectoryUnavailable);
    std::fs::remove_file(service.folder.path().join("db.sqlite3")).unwrap();
    let events = Events::default();
    let ended = service.kit.issuers.blacklist(&issued("ended"), NOW, &events).await;
    assert_eq!(ended, Ok(()), "to end one nobody needs to be asked");
    assert!(
        service.refresh(&known, RotationPolicy::None, later(1)).await.0.is_ok(),
        "it has a session"
    );
    service.kit.directory.is_down.store(false, Ordering::SeqCst);
    assert_eq!(service.refused(&token, NOW).await, Refusal::DirectoryUnavailable);
}

#[tokio::test]
async fn one_that_has_begun_nothing_shows_its_user_and_nothing_of_the_token() {
    let service = service(|_| {});
    let held = service.kit.issuers.held_by_refresh(&issued("a"), NOW, &Events::default()).await;
    let Ok(RefreshSubject::Nothing(held)) = held else { panic!("{held:?}") };
    let user = UserKey::new("django", "7");
    assert_eq!(held.user(), &user);
    assert_eq!(format!("{held:?}"), format!("NotTakenOver({user:?})"));
}

#[tokio::test]
async fn one_that_could_begin_nothing_ends_nothing_else_of_its_users() {
    let service = service(|issuer| of(issuer).check_revoke_token = true);
    let held = async |jti: &str, password: &str| {
        let print = password_print(&cheap(password));
        let token = token(TokenType::Refresh, jti, "7", Some(&print));
        match service.kit.issuers.held_by_refresh(&token, NOW, &Events::default()).await {
            Ok(RefreshSubject::Nothing(held)) => service.kit.issuers.may_begin(&held, NOW).await,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(held("a", "right").await, Ok(()));
    assert_eq!(held("b", "the one before").await, Err(Refusal::TokenNotValid));
    service.kit.directory.is_down.store(true, Ordering::SeqCst);
    assert_eq!(held("a", "right").await, Err(Refusal::DirectoryUnavailable));
    service.kit.directory.is_down.store(false, Ordering::SeqCst);
    service.kit.directory.accounts.lock()[0].active = false;
    assert_eq!(held("a", "right").await, Err(Refusal::NoActiveAccount));
}

#[tokio::test]
async fn verify_takes_what_the_service_issued_whatever_its_header() {
    let service = service(|_| {});
    let auth = &service.kit.issuers;
    let access = token(TokenType::Access, "x", "7", None);
    assert_eq!(auth.verify(&access, NOW).await, Ok(()));
    assert_eq!(auth.verify(&access, later(DAY)).await, Err(Refusal::TokenExpired));
    for _ in 0..2 {
        assert_eq!(auth.verify(&issued("a"), NOW).await, Ok(()), "it begins nothing");
    }
    let (_, happened) = service.refresh(&issued("a"), RotationPolicy::SingleUse, NOW).await;
    assert!(matches!(happened.first(), Some(EventKind::TakenOver { .. })));
    assert_eq!(auth.verify(&issued("a"), NOW).await, Err(Refusal::TokenBlacklisted), "spent");
    assert_eq!(auth.verify("a.b.c", NOW).await, Err(Refusal::TokenNotValid));
    let ours = service.kit.signed_in().await.tokens.unwrap();
    assert_eq!(auth.verify(ours.access.expose(), NOW).await, Ok(()));
    assert_eq!(auth.verify(ours.refresh.as_ref().map_or("", Secret::expose), NOW).await, Ok(()));
}

#[tokio::test]
async fn blacklisting_ends_ours_too_and_a_spent_one_says_so() {
    let service = service(|_| {});
    let auth = &service.kit.issuers;
    let ours = service.kit.signed_in().await.tokens.unwrap();
    let refresh = ours.refresh.as_ref().unwrap().expose();
    let wrong = auth.blacklist(ours.access.expose(), NOW, &Events::default()).await;
    assert_eq!(wrong, Err(Refusal::TokenWrongType));
    assert_eq!(auth.blacklist(refresh, NOW, &Events::default()).await, Ok(()));
    assert!(!service.opens(&ours, NOW).await);
    let again = auth.blacklist(refresh, NOW, &Events::default()).await;
    assert_eq!(again, Err(Refusal::TokenBlacklisted));

    let pair = service.refresh(&issued("a"), RotationPolicy::SingleUse, NOW).await.0.unwrap();
    let spent = auth.blacklist(&issued("a"), NOW, &Events::default()).await;
    assert_eq!(spent, Err(Refusal::TokenBlacklisted));
    assert!(!service.opens(&pair, NOW).await, "its session ends all the same");
}
