use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::block::{Block, BlockSubject, BlockedBy, Demand};
use crate::caller::{AuthMethod, AuthMethods};
use crate::config::RotationPolicy;
use crate::context::{Events, RequestContext};
use crate::directory::Directory;
use crate::directory::password::PasswordPool;
use crate::event::{EventKind, SignInFailure};
use crate::refusal::Refusal;
use crate::secret::Secret;
use crate::session::testkit::{
    CLIENT, FakeDirectory, Kit, NOW, account, cheap, context, context_at, enter_in_browser, hashed,
};
use crate::session::{Checked, Grants, SignInRefused, SignedIn, WatchedDirectory};
use crate::store::Blocks as _;

fn failure(happened: &[EventKind]) -> Option<SignInFailure> {
    match happened {
        [EventKind::SignInFailed { why, .. }] => Some(*why),
        _ => None,
    }
}

#[tokio::test]
async fn one_session_is_behind_everything_that_is_issued() {
    let kit = Kit::new();
    let events = Events::default();
    let signed_in = kit.sign_in("kim", "right", &events).await.unwrap();
    let id = &signed_in.session.id;
    assert!(matches!(&events.take()[..], [EventKind::SignedIn { session, .. }] if session == id));
    let tokens = signed_in.tokens.as_ref().unwrap();
    let none = Events::default();
    let client = crate::session::testkit::CLIENT;
    let bearer = kit.sessions.bearer(tokens.access.expose(), client, NOW, &none).await.unwrap();
    let cookie = signed_in.cookie.as_ref().unwrap();
    let cookie = kit.sessions.cookie(cookie.expose(), client, NOW, &none).await.unwrap();
    let refresh = tokens.refresh.as_ref().unwrap();
    let refresh = kit.sessions.refresh_tokens().look(refresh.expose(), NOW).await.unwrap();
    let crate::session::RefreshLook::Fresh(refresh) = refresh else {
        panic!("{refresh:?}");
    };
    for session in [bearer, cookie, refresh] {
        assert!(Arc::ptr_eq(&session, &signed_in.session));
    }
    let again = kit.signed_in().await;
    assert_ne!(&again.session.id, id, "each sign-in is a session of its own");
    assert_ne!(again.cookie, signed_in.cookie);
}

#[tokio::test]
async fn every_failure_is_one_password_check_and_one_answer() {
    let kit = Kit::new();
    let inactive = crate::directory::Account { active: false, ..account("8", "inactive", "right") };
    let with = |id, name, encoded: &str| crate::directory::Account {
        password: Secret::new(encoded),
        ..account(id, name, "")
    };
    kit.directory.accounts.lock().extend([
        inactive,
        with("9", "unusable", "!"),
        with("10", "empty", ""),
        with("11", "md5", "md5$salt$67a1e09bb1f83f5007dc119c14d663aa"),
        with("12", "malformed", "pbkdf2_sha256$1$salt"),
    ]);
    let table = [
        ("nobody", "right", SignInFailure::UnknownUser),
        ("Kim", "right", SignInFailure::UnknownUser),
        ("kim", "wrong", SignInFailure::WrongPassword),
        ("kim", "right ", SignInFailure::WrongPassword),
        ("kim", "Right", SignInFailure::WrongPassword),
        ("inactive", "right", SignInFailure::Inactive),
        ("inactive", "wrong", SignInFailure::WrongPassword),
        ("unusable", "!", SignInFailure::UnusablePassword),
        ("empty", "right", SignInFailure::UnusablePassword),
        ("md5", "password", SignInFailure::UnusablePassword),
        ("malformed", "right", SignInFailure::UnusablePassword),
    ];
    for (index, (name, password, why)) in table.into_iter().enumerate() {
        let events = Events::default();
        let refused = kit.sign_in(name, password, &events).await.unwrap_err();
        let one_answer = SignInRefused::from(Refusal::BadCredentials);
        assert_eq!(refused, one_answer, "{name}");
        assert_eq!(failure(&events.take()), Some(why), "{name}");
        assert_eq!(kit.passwords.checks_done(), index as u64 + 1, "{name}");
    }
    kit.signed_in().await;
    assert_eq!(kit.passwords.checks_done(), table.len() as u64 + 1, "a success is one, too");
}

#[tokio::test]
async fn a_second_factor_is_told_of_after_the_right_password_only() {
    let kit = Kit::new();
    let with_device = |id, name| crate::directory::Account {
        has_second_factor: true,
        ..account(id, name, "right")
    };
    let inactive = crate::directory::Account { active: false, ..with_device("10", "off") };
    kit.directory.accounts.lock().extend([with_device("9", "lee"), inactive]);
    for (index, (name, password, refusal, why)) in [
        ("lee", "right", Refusal::SecondFactorElsewhere, SignInFailure::SecondFactorRequired),
        ("lee", "wrong", Refusal::BadCredentials, SignInFailure::WrongPassword),
        ("off", "right", Refusal::BadCredentials, SignInFailure::Inactive),
    ]
    .into_iter()
    .enumerate()
    {
        let events = Events::default();
        let refused = kit.sign_in(name, password, &events).await.unwrap_err();
        assert_eq!(refused, SignInRefused::from(refusal), "{name} {password}");
        assert_eq!(failure(&events.take()), Some(why), "{name} {password}");
        assert_eq!(kit.passwords.checks_done(), index as u64 + 1, "{name} {password}");
    }
    // It is no guess: it locks nobody out, and clears no earlier guess either.
    for _ in 0..20 {
        let refused = kit.sign_in("lee", "right", &Events::default()).await.unwrap_err();
        assert_eq!(refused.refusal, Refusal::SecondFactorElsewhere);
    }
    for _ in 0..4 {
        kit.sign_in("lee", "wrong", &Events::default()).await.unwrap_err();
    }
    let refused = kit.sign_in("lee", "wrong", &Events::default()).await.unwrap_err();
    assert_eq!(refused.refusal, Refusal::TooManyAttempts, "one guess was made before");
}

#[tokio::test]
async fn what_nobody_can_have_typed_is_refused_without_work() {
    let kit = Kit::new();
    let long = "a".repeat(1025);
    let names = ["", "k\0im", "kim\n", "\u{85}kim", &long];
    let passwords = ["", "ri\0ght", "right\r\n", "\u{7f}", &long];
    let pairs = names
        .iter()
        .map(|name| (*name, "right"))
        .chain(passwords.iter().map(|password| ("kim", *password)));
    for (name, password) in pairs {
        let refused = kit.sign_in(name, password, &Events::default()).await.unwrap_err();
        assert_eq!(refused.refusal, Refusal::BadCredentials, "{name:?} {password:?}");
    }
    assert_eq!(kit.passwords.checks_done(), 0);
    let longest = "a".repeat(1024);
    kit.directory.accounts.lock().push(account("8", &longest, &longest));
    assert!(kit.sign_in(&longest, &longest, &Events::default()).await.is_ok());
}

#[tokio::test]
async fn the_first_directory_that_knows_the_name_decides() {
    let first = FakeDirectory::new("django", vec![account("1", "kim", "first")]);
    let down = Arc::clone(&first);
    let kit = Kit::with(move |parts| {
        parts
            .directories
            .insert(0, WatchedDirectory::new(Directory::Users(first), Duration::from_secs(60)));
    });
    let sign_in = async |password| kit.sign_in("kim", password, &Events::default()).await;
    assert_eq!(&*sign_in("first").await.unwrap().session.identity.load().key.id, "1");
    assert_eq!(sign_in("right").await.unwrap_err().refusal, Refusal::BadCredentials);
    kit.directory.accounts.lock().push(account("2", "lee", "right"));
    let lee = kit.sign_in("lee", "right", &Events::default()).await.unwrap();
    assert_eq!(&*lee.session.identity.load().key.id, "2", "a name that only the second knows");
    // The directory might have known the name, so the next one is not asked.
    down.is_down.store(true, Ordering::SeqCst);
    assert_eq!(sign_in("right").await.unwrap_err().refusal, Refusal::DirectoryUnavailable);
}

#[tokio::test]
async fn guessing_is_stopped_before_the_password_is_looked_at() {
    let kit = Kit::new();
    for _ in 0..5 {
        kit.sign_in("kim", "wrong", &Events::default()).await.unwrap_err();
    }
    let checks = kit.passwords.checks_done();
    for name in ["kim", "KIM", "ｋｉｍ"] {
        let events = Events::default();
        let refused = kit.sign_in(name, "right", &events).await.unwrap_err();
        assert_eq!(refused.refusal, Refusal::TooManyAttempts, "{name}");
        assert_eq!(refused.retry_after, Some(Duration::from_secs(1)));
        assert_eq!(failure(&events.take()), Some(SignInFailure::LockedOut));
    }
    assert_eq!(kit.passwords.checks_done(), checks);
}

#[tokio::test]
async fn a_slowed_address_signs_in_once_a_minute_and_is_told_so() {
    let kit = Kit::new();
    let new = Block {
        subject: BlockSubject::address(CLIENT.into()),
        demand: Demand::SlowDown,
        by: BlockedBy::Detector,
        reason: "scanning".into(),
        at: NOW,
        until: NOW.plus(Duration::from_secs(600)),
    };
    kit.store.block(new).await.unwrap();
    kit.signed_in().await;
    let refused = kit.sign_in("kim", "right", &Events::default()).await.unwrap_err();
    assert_eq!(refused.refusal, Refusal::SlowDown);
    assert_eq!(refused.retry_after, Some(Duration::from_secs(60)));
}

#[tokio::test]
async fn trouble_of_ours_counts_against_nobody() {
    let kit = Kit::new();
    kit.directory.is_down.store(true, Ordering::SeqCst);
    for _ in 0..20 {
        let refused = kit.sign_in("kim", "wrong", &Events::default()).await.unwrap_err();
        assert_eq!(refused.refusal, Refusal::DirectoryUnavailable);
    }
    kit.directory.is_down.store(false, Ordering::SeqCst);
    kit.signed_in().await;

    let kit = Kit::with(|parts| parts.passwords = PasswordPool::always_busy());
    for _ in 0..20 {
        let refused = kit.sign_in("kim", "right", &Events::default()).await.unwrap_err();
        assert_eq!(refused.refusal, Refusal::Busy);
        assert_eq!(refused.retry_after, Some(Duration::from_secs(1)));
    }
}

#[tokio::test]
async fn only_what_is_wanted_is_issued_and_an_agent_is_cut() {
    let kit = Kit::new();
    for (tokens, cookie) in [(true, false), (false, true)] {
        let password = Secret::new("right");
        let request = crate::session::SignIn {
            is_typed: false,
            username: "kim",
            password: &password,
            grants: Grants { tokens, cookie, issued: None },
            device: "",
            otp: None,
        };
        let (agent, events) = ("é".repeat(300), Events::default());
        let context = RequestContext { agent: &agent, ..context(&events) };
        let signed_in = kit.sessions.sign_in(request, &context).await.unwrap();
        assert_eq!((signed_in.tokens.is_some(), signed_in.cookie.is_some()), (tokens, cookie));
        assert_eq!(&*signed_in.session.agent, "é".repeat(128));
    }
    assert_ne!(cheap("a"), cheap("b"));
}

async fn begun(kit: &Kit, checked: Checked, events: &Events) -> Result<SignedIn, Refusal> {
    let grants = Grants { tokens: true, cookie: true, issued: None };
    kit.sessions.begin(checked, grants, &context(events)).await
}

#[tokio::test]
async fn who_is_proved_in_another_way_gets_a_session_that_says_how() {
    let kit = Kit::new();
    let methods = AuthMethods::only(AuthMethod::SoftwareKey);
    let events = Events::default();
    let kim = Checked::by(account("7", "Kim", "right"), methods);
    let signed_in = begun(&kit, kim, &events).await.unwrap();
    assert_eq!(signed_in.session.assurance.methods, methods);
    assert_eq!(signed_in.session.assurance.auth_time, Some(NOW));
    let happened = events.take();
    let [EventKind::SignedIn { account, tokens: true, cookie: true, .. }] = &happened[..] else {
        panic!("{happened:?}");
    };
    assert_eq!(&**account, "kim", "counted like a sign-in with a password");
    let cookie = signed_in.cookie.unwrap();
    assert!(kit.sessions.cookie(cookie.expose(), CLIENT, NOW, &Events::default()).await.is_ok());
}

#[tokio::test]
async fn a_browser_is_known_after_any_sign_in_and_stays_so_for_its_other_accounts() {
    let kit = Kit::new();
    let first = kit.signed_in().await.device.unwrap();
    let methods = AuthMethods::only(AuthMethod::SoftwareKey);
    let lee = Checked::by(account("8", "Lee", "right"), methods).in_browser(first.expose());
    let second = begun(&kit, lee, &Events::default()).await.unwrap().device.unwrap();
    let known = |device: &Secret| {
        ["kim", "lee"].map(|name| kit.sessions.devices.known(device.expose(), name, NOW).is_some())
    };
    assert_eq!((known(&first), known(&second)), ([true, false], [true, true]));
}

/// Signs Kim in, in the browser with this device cookie.
async fn in_browser(
    kit: &Kit,
    password: &str,
    device: &Secret,
    events: &Events,
) -> Result<SignedIn, SignInRefused> {
    let device = device.expose();
    enter_in_browser(&kit.sessions, ("kim", password), device, &context(events)).await
}

#[tokio::test]
async fn a_browser_is_known_and_no_stranger_while_its_password_stays() {
    let upgraded = || hashed("right", NonZeroU32::new(2).unwrap(), "newsalt");
    for (case, password, row, keeps, is_known) in [
        ("nothing has changed", "right", cheap("right"), false, true),
        ("another password", "new", cheap("new"), false, false),
        ("what looks like an upgrade", "right", upgraded(), false, false),
        ("an upgrade that the operator accepts", "right", upgraded(), true, true),
    ] {
        let kit = Kit::new();
        kit.directory.keeps_at_upgrade.store(keeps, Ordering::SeqCst);
        let device = kit.signed_in().await.device.unwrap();
        kit.directory.accounts.lock()[0].password = row;
        // A check of a session whose password changed would void all devices, but often nobody is signed in at the time.
        if keeps {
            kit.sessions.recheck(NOW, &Events::default()).await;
        }
        let events = Events::default();
        in_browser(&kit, password, &device, &events).await.unwrap();
        let told = events.take().iter().find_map(|what| match what {
            EventKind::SignedIn { known_device, .. } => Some(*known_device),
            _ => None,
        });
        assert_eq!(told, Some(is_known), "{case}");
        for _ in 0..5 {
            kit.sign_in("kim", "wrong", &Events::default()).await.unwrap_err();
        }
        let let_in = in_browser(&kit, password, &device, &events).await;
        let refusal = let_in.err().map(|refused| refused.refusal);
        assert_eq!(refusal, (!is_known).then_some(Refusal::TooManyAttempts), "{case}");
    }
}

#[tokio::test]
async fn a_browser_is_one_device_until_its_failures_use_it_up() {
    for (failures, stays) in [(0, true), (8, true), (10, false)] {
        let kit = Kit::new();
        let events = Events::default();
        let id =
            |device: &Secret| kit.sessions.devices.known(device.expose(), "kim", NOW).unwrap().id;
        let first = kit.signed_in().await.device.unwrap();
        for _ in 0..failures {
            in_browser(&kit, "wrong", &first, &events).await.unwrap_err();
        }
        let again = in_browser(&kit, "right", &first, &events).await.unwrap().device.unwrap();
        assert_eq!(id(&again) == id(&first), stays, "{failures}");
    }
}

#[tokio::test]
async fn a_sessions_browser_is_known_by_a_cookie_of_its_user_and_its_password() {
    let kit = Kit::new();
    let before = kit.signed_in().await.device.unwrap();
    kit.directory.accounts.lock()[0].password = cheap("new");
    kit.directory.accounts.lock().push(account("8", "lee", "right"));
    let kim = kit.sign_in("kim", "new", &Events::default()).await.unwrap();
    let lee = kit.sign_in("lee", "right", &Events::default()).await.unwrap();
    let [kims, lees] = [kim.device, lee.device].map(Option::unwrap);
    let known = kit.sessions.devices.known(kims.expose(), "kim", NOW).unwrap();
    for (case, cookie, expected) in [
        ("its own", kims.expose(), Some(known.id)),
        ("of the password before", before.expose(), None),
        ("of another user", lees.expose(), None),
        ("none", "", None),
    ] {
        let found = kit.sessions.device_of_session(cookie, &kim.session, NOW);
        assert_eq!(found, expected, "{case}");
    }
}

#[tokio::test]
async fn nothing_begins_for_whom_their_directory_has_switched_off() {
    let kit = Kit::new();
    let mut kim = account("7", "kim", "right");
    kim.active = false;
    let events = Events::default();
    let checked = Checked::by(kim, AuthMethods::only(AuthMethod::SoftwareKey));
    assert_eq!(begun(&kit, checked, &events).await.unwrap_err(), Refusal::NoActiveAccount);
    let happened = events.take();
    assert!(happened.is_empty(), "{happened:?}");
}

#[tokio::test]
async fn a_password_is_said_and_a_refresh_raises_nothing() {
    let kit = Kit::new();
    let signed_in = kit.signed_in().await;
    let before = signed_in.session.assurance;
    assert_eq!(before.methods.to_string(), "pwd");
    assert_eq!(before.auth_time, Some(NOW));
    let later = NOW.plus(Duration::from_secs(3600));
    let refresh = signed_in.tokens.unwrap().refresh.unwrap();
    let events = Events::default();
    let context = &context_at(later, &events);
    let pair = kit
        .sessions
        .refresh_tokens()
        .refresh(refresh.expose(), RotationPolicy::SingleUse, context)
        .await
        .unwrap();
    let access = pair.access;
    let session =
        kit.sessions.bearer(access.expose(), CLIENT, later, &Events::default()).await.unwrap();
    assert_eq!(session.assurance, before);
    let payload = access.expose().split('.').nth(1).unwrap();
    let payload =
        base64::Engine::decode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, payload).unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&payload).unwrap();
    assert_eq!(claims["auth_time"], NOW.as_secs());
    assert_eq!(claims["iat"], later.as_secs());
}
