//! Tests [`Factors`] over a store in memory.

use std::time::Duration;

use super::testkit::{code, factors};
use super::*;
use crate::store::memory::Memory;

const NOW: Timestamp = Timestamp::from_secs(1_795_422_870);

fn kim() -> UserKey {
    UserKey::new("django", "7")
}

fn identity(name: &str) -> Identity {
    Identity {
        key: kim(),
        name: name.into(),
        groups: Vec::new(),
        staff: false,
        superuser: false,
        attributes: std::collections::BTreeMap::new(),
    }
}

fn later(secs: u64) -> Timestamp {
    NOW.plus(Duration::from_secs(secs))
}

fn on(store: &Arc<Memory>) -> Arc<Factors> {
    factors(store, FactorMode::Optional, |_| {})
}

/// Sets up an app for kim, with the code of the step before.
async fn enrolled(factors: &Factors) -> (Enrolment, Vec<Secret>) {
    let enrolment = factors.enrolments().begin(&kim(), "kim", NOW).unwrap();
    let code = code(&enrolment, NOW, -1);
    let codes = factors.enrolments().enrol(&kim(), confirmed(&enrolment, &code), NOW).await;
    let codes = codes.unwrap().unwrap();
    (enrolment, codes)
}

fn confirmed<'a>(enrolment: &'a Enrolment, code: &'a Secret) -> Confirmed<'a> {
    Confirmed { token: &enrolment.token, code, name: "phone", invitation: None }
}

async fn check(factors: &Factors, code: &Secret, at: Timestamp) -> Result<CodeKind, CodeRefused> {
    factors.check(CodeAttempt { user: &kim(), code, device: None, at }).await
}

const WRONG: Result<CodeKind, CodeRefused> = Err(CodeRefused::Not(FactorRefusal::WrongCode));
const USED: Result<CodeKind, CodeRefused> = Err(CodeRefused::Not(FactorRefusal::UsedCode));

#[tokio::test]
async fn what_is_due_follows_from_the_policy_and_from_what_they_have() {
    use FactorMode::*;
    let grace = Duration::from_secs(60);
    for (mode, grace, after, due, enrolled_due) in [
        (Off, Duration::ZERO, 0, FactorRequirement::Nothing, FactorRequirement::Nothing),
        (Optional, Duration::ZERO, 0, FactorRequirement::Nothing, FactorRequirement::Prove),
        (Required, Duration::ZERO, 0, FactorRequirement::Enrol, FactorRequirement::Prove),
        (Required, grace, 0, FactorRequirement::Nothing, FactorRequirement::Prove),
        (Required, grace, 59, FactorRequirement::Nothing, FactorRequirement::Prove),
        (Required, grace, 60, FactorRequirement::Enrol, FactorRequirement::Prove),
    ] {
        let store = Memory::new();
        let factors = factors(&store, mode, |settings| settings.grace_period = grace);
        let said = format!("{mode:?} {grace:?} {after}");
        // The first request for a second factor starts the grace period.
        factors.duty(&identity("kim"), NOW).await.unwrap();
        assert_eq!(factors.duty(&identity("kim"), later(after)).await, Ok(due), "{said}");
        enrolled(&factors).await;
        let duty = factors.duty(&identity("kim"), later(after)).await;
        assert_eq!(duty, Ok(enrolled_due), "{said}");
        factors.administration().reset(&kim(), NOW).await.unwrap();
        let expected =
            if mode == Off { FactorRequirement::Nothing } else { FactorRequirement::Enrol };
        assert_eq!(factors.duty(&identity("kim"), NOW).await, Ok(expected), "{said}");
    }
}

#[tokio::test]
async fn a_code_is_right_once_and_none_before_it_again() {
    let factors = on(&Memory::new());
    let (enrolment, _) = enrolled(&factors).await;
    let at = later(3);
    let app = Ok(CodeKind::App);
    for (steps, expected) in
        [(-1, &USED), (0, &app), (0, &USED), (1, &app), (0, &USED), (1, &USED), (2, &WRONG)]
    {
        assert_eq!(check(&factors, &code(&enrolment, at, steps), at).await, *expected, "{steps}");
    }
}

#[tokio::test]
async fn of_parallel_codes_one_is_right() {
    let factors = on(&Memory::new());
    let (enrolment, _) = enrolled(&factors).await;
    let code = code(&enrolment, NOW, 0);
    let all = (0..FREE).map(|_| check(&factors, &code, NOW));
    let all = futures_util::future::join_all(all).await;
    assert_eq!(all.iter().filter(|one| one.is_ok()).count(), 1, "{all:?}");
}

#[tokio::test]
async fn guesses_are_slowed_whatever_they_are_and_a_known_device_is_not() {
    let factors = on(&Memory::new());
    let (enrolment, codes) = enrolled(&factors).await;
    let wrong: Vec<Secret> =
        ["", "abc", "000000", "0000-0000-0000", &"9".repeat(999)].map(Secret::new).into();
    for guess in &wrong {
        assert_eq!(check(&factors, guess, NOW).await, WRONG, "{:?}", guess.expose());
    }
    let right = code(&enrolment, NOW, 0);
    let wait = Err(CodeRefused::Wait(FIRST_WAIT));
    assert_eq!(check(&factors, &right, NOW).await, wait, "not even looked at");
    assert_eq!(check(&factors, &codes[0], NOW).await, wait);
    let device = Some(Digest::of(b"a device"));
    let known = CodeAttempt { user: &kim(), code: &right, device, at: NOW };
    assert_eq!(factors.check(known).await, Ok(CodeKind::App));
    // After a wait, one more attempt is allowed, and then a longer wait follows.
    assert_eq!(check(&factors, &wrong[0], later(30)).await, WRONG);
    let longer = Err(CodeRefused::Wait(Duration::from_secs(60)));
    assert_eq!(check(&factors, &codes[0], later(30)).await, longer);
    let app = code(&enrolment, later(90), 0);
    assert_eq!(check(&factors, &app, later(90)).await, Ok(CodeKind::App));
    assert_eq!(check(&factors, &wrong[0], later(90)).await, WRONG, "counted from nothing");
}

#[tokio::test]
async fn a_recovery_code_is_right_once_and_new_ones_replace_all() {
    let factors = on(&Memory::new());
    let (_, codes) = enrolled(&factors).await;
    assert_eq!(codes.len(), 10);
    let typed = Secret::new(codes[0].expose().to_uppercase().replace('-', " "));
    assert_eq!(check(&factors, &typed, NOW).await, Ok(CodeKind::Recovery { left: 9 }));
    assert_eq!(check(&factors, &codes[0], NOW).await, WRONG);
    let new = factors.administration().renew_recovery(&kim()).await.unwrap();
    assert_eq!(check(&factors, &codes[1], NOW).await, WRONG);
    assert_eq!(check(&factors, &new[1], NOW).await, Ok(CodeKind::Recovery { left: 9 }));
    let other =
        CodeAttempt { user: &UserKey::new("django", "8"), code: &new[2], device: None, at: NOW };
    assert_eq!(factors.check(other).await, WRONG, "another's");
}

#[tokio::test]
async fn a_factor_is_set_up_by_a_code_of_its_own_secret_in_time() {
    let store = Memory::new();
    let factors = on(&store);
    let enrolment = factors.enrolments().begin(&kim(), "kim", NOW).unwrap();
    let enrol = async |user: &UserKey, code: &Secret, at: Timestamp| {
        let enrolled = factors.enrolments().enrol(user, confirmed(&enrolment, code), at).await;
        enrolled.unwrap().map(|codes| codes.len())
    };
    let right = code(&enrolment, NOW, 0);
    let lee = UserKey::new("django", "8");
    assert_eq!(enrol(&kim(), &Secret::new("000000"), NOW).await, Err(FactorRefusal::WrongCode));
    assert_eq!(enrol(&lee, &right, NOW).await, Err(FactorRefusal::Ticket), "another's page");
    let late = code(&enrolment, later(900), 0);
    assert_eq!(enrol(&kim(), &late, later(900)).await, Err(FactorRefusal::Ticket), "too late");
    assert_eq!(factors.of(&kim()).await, Ok(StoredFactors::default()), "nothing is half there");
    assert!(factors.enrolments().again(&kim(), "kim", &enrolment.token, later(899)).is_some());
    assert!(factors.enrolments().again(&lee, "lee", &enrolment.token, NOW).is_none());
    assert_eq!(enrol(&kim(), &right, NOW).await, Ok(10));
    assert_eq!(check(&factors, &right, NOW).await, USED, "what confirmed it signs nobody in");
    let again = code(&enrolment, NOW, 1);
    assert_eq!(enrol(&kim(), &again, NOW).await, Err(FactorRefusal::Ticket), "one secret twice");
    let second = factors.enrolments().begin(&kim(), "kim", NOW).unwrap();
    let code = code(&second, NOW, 0);
    let codes =
        factors.enrolments().enrol(&kim(), confirmed(&second, &code), NOW).await.unwrap().unwrap();
    assert!(codes.is_empty(), "those that are there stay");
    let kept = factors.of(&kim()).await.unwrap();
    assert!(kept.factors.iter().all(|factor| factor.name == "phone"));
    let sealed = &kept.factors[0].sealed;
    let secret = data_encoding::BASE32_NOPAD.decode(enrolment.secret.expose().as_bytes()).unwrap();
    assert!(!sealed.windows(secret.len()).any(|part| part == secret), "not as it is");
}

#[tokio::test]
async fn the_code_of_an_operator_works_once_and_only_with_a_right_one() {
    let factors = on(&Memory::new());
    let invitation = factors.administration().invite(&kim(), NOW).await.unwrap();
    let other = factors.administration().invite(&kim(), NOW).await.unwrap();
    let enrolment = factors.enrolments().begin(&kim(), "kim", NOW).unwrap();
    let right = code(&enrolment, NOW, 0);
    let enrol = async |code: &Secret, invitation: &str| {
        let invitation = Secret::new(invitation);
        let confirmed = Confirmed { invitation: Some(&invitation), ..confirmed(&enrolment, code) };
        factors.enrolments().enrol(&kim(), confirmed, NOW).await.unwrap().map(|codes| codes.len())
    };
    let wrong = Secret::new("000000");
    assert_eq!(enrol(&wrong, invitation.expose()).await, Err(FactorRefusal::WrongCode));
    assert_eq!(enrol(&right, "0000-0000-0000").await, Err(FactorRefusal::NoProof));
    assert_eq!(enrol(&right, "").await, Err(FactorRefusal::NoProof));
    assert_eq!(enrol(&right, &invitation.expose().to_uppercase()).await, Ok(10));
    assert_eq!(enrol(&right, other.expose()).await, Err(FactorRefusal::NoProof), "used with it");
}

#[tokio::test]
async fn a_ticket_is_spent_once_and_opens_for_its_purpose_alone() {
    let factors = on(&Memory::new());
    let ticket =
        factors.tickets().give("sign-in", b"who", super::ticket::TICKET, NOW).await.unwrap();
    let look = async |purpose, at| {
        let found = factors.tickets().look_at(purpose, &ticket, at).await.unwrap();
        found.map(|bytes| bytes.to_vec())
    };
    for _ in 0..3 {
        assert_eq!(look("sign-in", later(299)).await, Some(b"who".to_vec()));
    }
    assert_eq!(look("other", NOW).await, None);
    assert_eq!(look("sign-in", later(300)).await, None);
    let foreign = factors.tickets().look_at("sign-in", &Secret::new("x"), NOW).await.unwrap();
    assert!(foreign.is_none());
    assert_eq!(factors.tickets().spend(&ticket, NOW).await, Ok(true));
    assert_eq!(factors.tickets().spend(&ticket, NOW).await, Ok(false));
    assert_eq!(look("sign-in", NOW).await, None);
}

#[test]
fn the_qr_code_says_what_the_page_says() {
    let factors = on(&Memory::new());
    let enrolment = factors.enrolments().begin(&kim(), "kim:a & b", NOW).unwrap();
    let uri = enrolment.uri.expose();
    assert!(uri.starts_with("otpauth://totp/Acme%20%20Sons:kim%20a%20%26%20b?secret="), "{uri}");
    assert!(uri.contains(&format!("secret={}&issuer=Acme%20%20Sons&", enrolment.secret.expose())));
    let qr = enrolment.qr().unwrap();
    assert!(qr.size > 30 && qr.path.starts_with("M4 4h1v1h-1z"), "a finder in the corner");
    let letters = qr.path.chars().all(|c| c.is_ascii_digit() || "Mhvz- ".contains(c));
    assert!(letters, "nothing that could be markup");
    let long = factors.enrolments().begin(&kim(), &"김".repeat(3000), NOW).unwrap();
    assert_eq!(long.qr(), None);
}
