//! Tests of mailed codes: from whom they are accepted, and what they prove.

use std::sync::Arc;
use std::time::Duration;

use crate::block::{Block, BlockSubject, BlockedBy, Demand};
use crate::caller::{Assurance, AuthMethods, Identity, UserKey};
use crate::config::FactorMode::{self, Off, Optional, Required};
use crate::context::{Events, RequestContext};
use crate::directory::Account;
use crate::event::{EventKind, FactorRefusal};
use crate::factor::testkit::{code, factors};
use crate::factor::{Confirmed, Factors};
use crate::notify::IssueCodes as _;
use crate::refusal::Refusal;
use crate::secret::Secret;
use crate::session::mailed_code::CodeOrder;
use crate::session::step_up::Confirmation;
use crate::session::testkit::{Kit, NOW, account, context, context_at};
use crate::session::{
    Grants, PendingStep, SecondStep, SignIn, SignInRefused, SignInTicket, SignedIn,
};
use crate::store::Blocks as _;
use crate::store::memory::Memory;

const GRANTS: Grants = Grants { tokens: true, cookie: true, issued: None };

fn kim() -> UserKey {
    UserKey::new("django", "7")
}

fn with_address(account: Account, email: &str) -> Account {
    let attributes = [("email".to_owned(), email.to_owned())].into();
    let identity = Identity { attributes, ..(*account.identity).clone() };
    Account { identity: Arc::new(identity), ..account }
}

/// Creates a kit in which Kim has this mail address; Lee has it too if it is the shared one.
fn kit(mode: FactorMode, mailed_codes: bool, email: &str) -> (Kit, Arc<Factors>) {
    let factors = factors(&Memory::new(), mode, |settings| settings.mailed_codes = mailed_codes);
    let shared = Arc::clone(&factors);
    let kit = Kit::with(move |parts| parts.factors = shared);
    *kit.directory.accounts.lock() = vec![
        with_address(account("7", "kim", "right"), email),
        with_address(account("8", "lee", "other"), "family@example.org"),
    ];
    (kit, factors)
}

async fn sign_in(
    kit: &Kit,
    otp: Option<&Secret>,
    context: &RequestContext<'_>,
) -> Result<SignedIn, SignInRefused> {
    let request = SignIn {
        is_typed: false,
        username: "kim",
        password: &Secret::new("right"),
        grants: GRANTS,
        device: "",
        otp,
    };
    kit.sessions.sign_in(request, context).await
}

async fn ticket(kit: &Kit) -> SignInTicket {
    sign_in(kit, None, &context(&Events::default())).await.unwrap_err().ticket.unwrap()
}

async fn finish(kit: &Kit, ticket: &Secret, code: &Secret) -> Result<SignedIn, Refusal> {
    let step = SecondStep { ticket, code, grants: GRANTS, trusts: true };
    let finished =
        kit.sessions.second_factors().finish_sign_in(step, &context(&Events::default())).await;
    finished.map_err(|refused| refused.refusal)
}

/// Returns the code that would be mailed.
async fn mailed(factors: &Factors, order: &CodeOrder) -> Secret {
    factors.issue_code(&order.user, &order.place, order.until).await.unwrap()
}

async fn order(kit: &Kit, ticket: &Secret) -> Result<CodeOrder, Refusal> {
    let ordered =
        kit.sessions.mailed_codes().for_sign_in(ticket, &context(&Events::default())).await;
    ordered.map_err(|refused| refused.refusal)
}

/// Sets up an app for Kim.
async fn enrol(factors: &Factors) -> Secret {
    let enrolment = factors.enrolments().begin(&kim(), "kim", NOW).unwrap();
    let first = code(&enrolment, NOW, -1);
    let confirmed =
        Confirmed { token: &enrolment.token, code: &first, name: "phone", invitation: None };
    factors.enrolments().enrol(&kim(), confirmed, NOW).await.unwrap().unwrap();
    code(&enrolment, NOW, 0)
}

#[tokio::test]
async fn a_code_is_mailed_to_whoever_has_nothing_else_and_an_address_of_their_own() {
    let enrols = Some(PendingStep::Enrolment { takes_invitation: true });
    for (mode, mails, email, has_app, is_reset, due) in [
        (Required, true, "kim@example.org", false, false, Some(PendingStep::MailedCode)),
        (Required, true, " kim@example.org ", false, false, Some(PendingStep::MailedCode)),
        (Required, false, "kim@example.org", false, false, enrols),
        (Required, true, "family@example.org", false, false, enrols),
        (Required, true, "", false, false, enrols),
        (Required, true, "kim", false, false, enrols),
        (Required, true, "kim@example.org", true, false, Some(PendingStep::Code)),
        (Required, true, "kim@example.org", false, true, enrols),
        (Optional, true, "kim@example.org", false, true, enrols),
        (Optional, true, "kim@example.org", false, false, None),
        (Off, true, "kim@example.org", false, false, None),
    ] {
        let (kit, factors) = kit(mode, mails, email.trim());
        *kit.directory.accounts.lock() = vec![
            with_address(account("7", "kim", "right"), email.trim()),
            with_address(account("8", "lee", "other"), "family@example.org"),
        ];
        if has_app {
            enrol(&factors).await;
        }
        if is_reset {
            factors.administration().reset(&kim(), NOW).await.unwrap();
        }
        let said = format!("{mode:?} {mails} {email:?} app {has_app} reset {is_reset}");
        let got = sign_in(&kit, None, &context(&Events::default())).await;
        let got = got.err().and_then(|refused| refused.ticket);
        assert_eq!(got.as_ref().map(|ticket| ticket.due), due, "{said}");
        let Some(got) = got else { continue };
        let is_mailed = due == Some(PendingStep::MailedCode);
        assert_eq!(got.offered.mail, is_mailed, "{said}");
        let ordered = order(&kit, &got.ticket).await;
        assert_eq!(ordered.is_ok(), is_mailed, "{said}: {ordered:?}");
    }
}

#[tokio::test]
async fn it_ends_the_sign_in_for_which_it_was_asked_and_no_other() {
    let (kit, factors) = kit(Required, true, "kim@example.org");
    let (one, other) = (ticket(&kit).await.ticket, ticket(&kit).await.ticket);
    let code = mailed(&factors, &order(&kit, &one).await.unwrap()).await;
    assert_eq!(finish(&kit, &other, &code).await.unwrap_err(), Refusal::BadCode);
    let signed_in = finish(&kit, &one, &code).await.unwrap();
    let assurance = signed_in.session.assurance;
    assert_eq!(assurance.methods.to_string(), "pwd mail");
    assert_eq!(assurance.acr(), None, "it is no factor of NIST SP 800-63B");
    assert_eq!(finish(&kit, &one, &code).await.unwrap_err(), Refusal::TicketNotValid);
    // A mailed code makes no browser trusted, even if the box was ticked.
    let refused = sign_in(&kit, None, &context(&Events::default())).await.unwrap_err();
    assert_eq!(refused.refusal, Refusal::SecondFactorRequired);
}

#[tokio::test]
async fn the_sign_in_waits_for_its_letter_ten_minutes() {
    let (kit, factors) = kit(Required, true, "kim@example.org");
    let given = ticket(&kit).await.ticket;
    let late = |secs| NOW.plus(Duration::from_secs(secs));
    let events = Events::default();
    let at_last = context_at(late(599), &events);
    let order = kit.sessions.mailed_codes().for_sign_in(&given, &at_last).await.unwrap();
    assert_eq!(order.until, late(600), "no longer than its ticket");
    let code = mailed(&factors, &order).await;
    for (secs, refusal) in [(600, Some(Refusal::TicketNotValid)), (599, None)] {
        let step = SecondStep { ticket: &given, code: &code, grants: GRANTS, trusts: false };
        let then = context_at(late(secs), &events);
        let done = kit.sessions.second_factors().finish_sign_in(step, &then).await;
        assert_eq!(done.err().map(|refused| refused.refusal), refusal, "{secs}");
    }
}

#[tokio::test]
async fn whoever_sets_up_another_factor_meanwhile_is_asked_for_that_one() {
    let (kit, factors) = kit(Required, true, "kim@example.org");
    let given = ticket(&kit).await.ticket;
    let code = mailed(&factors, &order(&kit, &given).await.unwrap()).await;
    let app = enrol(&factors).await;
    assert_eq!(finish(&kit, &given, &code).await.unwrap_err(), Refusal::BadCode);
    assert_eq!(order(&kit, &given).await, Err(Refusal::BadBody));
    assert_eq!(finish(&kit, &given, &app).await.unwrap().session.assurance.acr(), Some("aal2"));
}

#[tokio::test]
async fn guesses_at_it_are_five_and_are_noted() {
    let (kit, factors) = kit(Required, true, "kim@example.org");
    let given = ticket(&kit).await.ticket;
    let code = mailed(&factors, &order(&kit, &given).await.unwrap()).await;
    let events = Events::default();
    for n in 0..7 {
        let wrong = Secret::new(format!("0000000{n}").as_str());
        let step = SecondStep { ticket: &given, code: &wrong, grants: GRANTS, trusts: false };
        let refused = kit.sessions.second_factors().finish_sign_in(step, &context(&events)).await;
        let expected = if n < 5 { Refusal::BadCode } else { Refusal::TooManyAttempts };
        assert_eq!(refused.unwrap_err().refusal, expected, "{n}");
    }
    assert_eq!(finish(&kit, &given, &code).await.unwrap_err(), Refusal::TooManyAttempts);
    let happened = events.take();
    let count = |wanted| {
        let is = |what: &&EventKind| matches!(what, EventKind::FactorRefused { why, .. } if *why == wanted);
        happened.iter().filter(is).count()
    };
    assert_eq!((count(FactorRefusal::WrongCode), count(FactorRefusal::Throttled)), (5, 2));
}

#[tokio::test]
async fn who_posts_the_same_again_gives_it_beside_the_password() {
    let (kit, factors) = kit(Required, true, "kim@example.org");
    let given = ticket(&kit).await.ticket;
    let events = Events::default();
    let order =
        kit.sessions.mailed_codes().for_another_try(&given, &context(&events)).await.unwrap();
    let code = mailed(&factors, &order).await;
    let elsewhere = RequestContext { client: "203.0.113.9".parse().unwrap(), ..context(&events) };
    let refused = sign_in(&kit, Some(&code), &elsewhere).await.unwrap_err();
    assert_eq!(refused.refusal, Refusal::BadCode, "from another network");
    let signed_in = sign_in(&kit, Some(&code), &context(&events)).await.unwrap();
    assert_eq!(signed_in.session.assurance.methods.to_string(), "pwd mail");
    let twice = sign_in(&kit, Some(&code), &context(&events)).await.unwrap_err();
    assert_eq!(twice.refusal, Refusal::BadCode);
}

#[tokio::test]
async fn a_session_is_raised_by_one_of_its_own_to_what_it_proves() {
    let (kit, factors) = kit(Optional, true, "kim@example.org");
    let (session, other) = (kit.signed_in().await.session, kit.signed_in().await.session);
    let events = Events::default();
    let order =
        kit.sessions.mailed_codes().for_session(&session, "", &context(&events)).await.unwrap();
    let code = mailed(&factors, &order).await;
    let confirm = async |session: &_, code: &Secret| {
        let how = Confirmation::Code(code);
        kit.sessions.step_up().confirm(session, how, "", &context(&Events::default())).await
    };
    assert_eq!(confirm(&other, &code).await.unwrap_err().refusal, Refusal::BadCode);
    let raised = confirm(&session, &code).await.unwrap();
    assert_eq!(raised.assurance, Assurance::now(AuthMethods::read("pwd mail"), NOW));
    assert_eq!(kit.sessions.step_up().is_fresh(&raised, NOW).await, Ok(()));
    // With an app, a mailed code is no longer enough, neither for changing factors nor for the next proof.
    let app = enrol(&factors).await;
    let stale = kit.sessions.step_up().is_fresh(&raised, NOW).await;
    assert_eq!(stale, Err(Refusal::InsufficientAuthentication));
    let none = kit.sessions.mailed_codes().for_session(&raised, "", &context(&events)).await;
    assert_eq!(none.unwrap_err().refusal, Refusal::BadBody);
    // What the app proved is not proved again by a mailed code after the app was removed.
    let by_app = confirm(&raised, &app).await.unwrap();
    assert_eq!(by_app.assurance.acr(), Some("aal2"));
    let id = factors.of(&kim()).await.unwrap().factors[0].id.clone();
    assert!(factors.administration().remove(&kim(), &id).await.unwrap());
    let order =
        kit.sessions.mailed_codes().for_session(&by_app, "", &context(&events)).await.unwrap();
    let lowered = confirm(&by_app, &mailed(&factors, &order).await).await.unwrap();
    assert_eq!(lowered.assurance.methods.to_string(), "pwd mail");
}

#[tokio::test]
async fn it_lifts_nothing_that_a_detector_asked_for() {
    let (kit, factors) = kit(Optional, true, "kim@example.org");
    let session = kit.signed_in().await.session;
    let events = Events::default();
    let order =
        kit.sessions.mailed_codes().for_session(&session, "", &context(&events)).await.unwrap();
    let code = mailed(&factors, &order).await;
    let asked = Block {
        subject: BlockSubject::Session(session.id.clone()),
        demand: Demand::Confirm,
        by: BlockedBy::Detector,
        reason: "client_change".into(),
        at: NOW,
        until: NOW.plus(Duration::from_secs(600)),
    };
    kit.store.block(asked).await.unwrap();
    let none = kit.sessions.mailed_codes().for_session(&session, "", &context(&events)).await;
    assert_eq!(none.unwrap_err().refusal, Refusal::BadBody);
    let how = Confirmation::Code(&code);
    let refused = kit.sessions.step_up().confirm(&session, how, "", &context(&events)).await;
    assert_eq!(refused.unwrap_err().refusal, Refusal::SignInAgain);
    assert!(kit.sessions.step_up().is_asked(&session, NOW));
}
