//! Tests of the second step of a sign-in, and of confirming the identity again later.

use std::sync::Arc;
use std::time::Duration;

use crate::caller::AssuranceLevel::{self, One, Two};
use crate::caller::UserKey;
use crate::config::FactorMode;
use crate::context::{Events, RequestContext};
use crate::event::{EndReason, EventKind, FactorRefusal};
use crate::factor::testkit::{code, factors};
use crate::factor::{Confirmed, Enrolment, Factors};
use crate::refusal::Refusal;
use crate::secret::Secret;
use crate::session::step_up::Confirmation;
use crate::session::testkit::{Kit, NOW, account, context, context_at};
use crate::session::{
    EnrolmentStep, Grants, PendingStep, SecondStep, SignIn, SignInRefused, SignInTicket, SignedIn,
};
use crate::store::SessionSelection;
use crate::store::memory::Memory;

const GRANTS: Grants = Grants { tokens: true, cookie: true, issued: None };

fn kit(mode: FactorMode) -> (Kit, Arc<Factors>) {
    let factors = factors(&Memory::new(), mode, |_| {});
    let shared = Arc::clone(&factors);
    (Kit::with(move |parts| parts.factors = shared), factors)
}

/// Sets up a factor for Kim, confirmed by the code of the previous time step.
async fn enrolled(factors: &Factors) -> Enrolment {
    let kim = UserKey::new("django", "7");
    let enrolment = factors.enrolments().begin(&kim, "kim", NOW).unwrap();
    let code = code(&enrolment, NOW, -1);
    let confirmed = confirmed(&enrolment, &code);
    factors.enrolments().enrol(&kim, confirmed, NOW).await.unwrap().unwrap();
    enrolment
}

fn confirmed<'a>(enrolment: &'a Enrolment, code: &'a Secret) -> Confirmed<'a> {
    Confirmed { token: &enrolment.token, code, name: "phone", invitation: None }
}

async fn ticket(kit: &Kit, device: &str) -> SignInTicket {
    let request = SignIn {
        is_typed: false,
        username: "kim",
        password: &Secret::new("right"),
        grants: GRANTS,
        device,
        otp: None,
    };
    let events = Events::default();
    let refused = kit.sessions.sign_in(request, &context(&events)).await.unwrap_err();
    refused.ticket.unwrap()
}

async fn finish(
    kit: &Kit,
    ticket: &SignInTicket,
    code: &Secret,
    context: &RequestContext<'_>,
) -> Result<SignedIn, SignInRefused> {
    let step = SecondStep { ticket: &ticket.ticket, code, grants: GRANTS, trusts: false };
    kit.sessions.second_factors().finish_sign_in(step, context).await
}

/// Returns why a factor was refused, from the latest events.
fn why(events: &Events) -> Option<FactorRefusal> {
    events.take().iter().find_map(|what| match what {
        EventKind::FactorRefused { why, .. } => Some(*why),
        _ => None,
    })
}

#[tokio::test]
async fn a_code_ends_the_sign_in_that_its_ticket_began() {
    let (kit, factors) = kit(FactorMode::Optional);
    let enrolment = enrolled(&factors).await;
    let ticket = ticket(&kit, "").await;
    assert_eq!((ticket.due, &*ticket.name), (PendingStep::Code, "kim"));
    let events = Events::default();
    let wrong = finish(&kit, &ticket, &Secret::new("000000"), &context(&events)).await;
    assert_eq!(wrong.unwrap_err().refusal, Refusal::BadCode);
    assert_eq!(why(&events), Some(FactorRefusal::WrongCode));
    let right = code(&enrolment, NOW, 0);
    let signed_in = finish(&kit, &ticket, &right, &context(&events)).await.unwrap();
    assert_eq!(signed_in.session.assurance.methods.to_string(), "pwd otp mfa");
    assert_eq!(&*signed_in.session.identity.load().name, "kim");
    let later = code(&enrolment, NOW, 1);
    let spent = finish(&kit, &ticket, &later, &context(&events)).await;
    assert_eq!(spent.unwrap_err().refusal, Refusal::TicketNotValid);
}

#[tokio::test]
async fn a_ticket_is_of_its_network_its_time_and_the_account_as_it_was() {
    let (kit, factors) = kit(FactorMode::Optional);
    let enrolment = enrolled(&factors).await;
    let right = code(&enrolment, NOW, 0);
    let ticket = ticket(&kit, "").await;
    let refused = async |context: &RequestContext<'_>| {
        finish(&kit, &ticket, &right, context).await.unwrap_err().refusal
    };
    let events = Events::default();
    let elsewhere = "198.51.100.9".parse().unwrap();
    let other = RequestContext { client: elsewhere, ..context(&events) };
    assert_eq!(refused(&other).await, Refusal::TicketNotValid);
    assert_eq!(why(&events), Some(FactorRefusal::Ticket));
    let late = NOW.plus(Duration::from_secs(300));
    assert_eq!(refused(&context_at(late, &events)).await, Refusal::TicketNotValid);
    for change in [
        crate::directory::Account { active: false, ..account("7", "kim", "right") },
        account("7", "kim", "another"),
        account("8", "kim", "right"),
    ] {
        let before = std::mem::replace(&mut *kit.directory.accounts.lock(), vec![change]);
        assert_eq!(refused(&context(&events)).await, Refusal::TicketNotValid);
        *kit.directory.accounts.lock() = before;
    }
    finish(&kit, &ticket, &right, &context(&events)).await.unwrap();
}

#[tokio::test]
async fn the_first_one_takes_a_known_device_or_an_operators_code() {
    let device = Kit::new().signed_in().await.device.unwrap();
    for (known, invited, refusal) in [
        ("", false, Some(Refusal::EnrolmentProofRequired)),
        ("", true, None),
        (device.expose(), false, None),
    ] {
        let (kit, factors) = kit(FactorMode::Required);
        let ticket = ticket(&kit, known).await;
        let takes_invitation = known.is_empty();
        assert_eq!(ticket.due, PendingStep::Enrolment { takes_invitation });
        let events = Events::default();
        let (enrolment, takes) = kit
            .sessions
            .second_factors()
            .enrolment_of(&ticket.ticket, None, &context(&events))
            .await
            .unwrap();
        assert_eq!(takes, takes_invitation);
        let invitation =
            factors.administration().invite(&UserKey::new("django", "7"), NOW).await.unwrap();
        let code = code(&enrolment, NOW, 0);
        let confirmed = Confirmed {
            invitation: invited.then_some(&invitation),
            ..confirmed(&enrolment, &code)
        };
        let step = EnrolmentStep { ticket: &ticket.ticket, confirmed, grants: GRANTS };
        let made = kit.sessions.second_factors().enrol_and_sign_in(step, &context(&events)).await;
        match refusal {
            Some(refusal) => {
                assert_eq!(made.unwrap_err().refusal, refusal);
                assert_eq!(why(&events), Some(FactorRefusal::NoProof));
            }
            None => {
                let (signed_in, codes) = made.unwrap();
                assert_eq!(codes.len(), 10);
                assert_eq!(signed_in.session.assurance.acr(), Some("aal2"));
            }
        }
    }
}

#[tokio::test]
async fn only_another_proof_raises_what_a_session_proves() {
    let (kit, factors) = kit(FactorMode::Optional);
    let session = kit.signed_in().await.session;
    let later = NOW.plus(Duration::from_secs(700));
    let events = Events::default();
    let (right, wrong) = (Secret::new("right"), Secret::new("wrong"));
    let stale = kit.sessions.step_up().is_fresh(&session, later).await;
    assert_eq!(stale, Err(Refusal::InsufficientAuthentication));
    let by_wrong = kit
        .sessions
        .step_up()
        .confirm(&session, Confirmation::Password(&wrong), "", &context_at(later, &events))
        .await;
    assert_eq!(by_wrong.unwrap_err().refusal, Refusal::BadCredentials);
    let raised = kit
        .sessions
        .step_up()
        .confirm(&session, Confirmation::Password(&right), "", &context_at(later, &events))
        .await
        .unwrap();
    assert_eq!(kit.sessions.step_up().is_fresh(&raised, later).await, Ok(()));
    let enrolment = enrolled(&factors).await;
    assert!(
        kit.sessions.step_up().is_fresh(&raised, later).await.is_err(),
        "a password is not all any more"
    );
    let by_password = kit
        .sessions
        .step_up()
        .confirm(&raised, Confirmation::Password(&right), "", &context_at(later, &events))
        .await;
    assert_eq!(by_password.unwrap_err().refusal, Refusal::SecondFactorRequired);
    let app = code(&enrolment, later, 0);
    let raised = kit
        .sessions
        .step_up()
        .confirm(&raised, Confirmation::Code(&app), "", &context_at(later, &events))
        .await
        .unwrap();
    assert_eq!(raised.id, session.id);
    assert_eq!(raised.assurance.methods.to_string(), "pwd otp mfa");
    assert_eq!(kit.sessions.step_up().is_fresh(&raised, later).await, Ok(()));
    assert_eq!(levels(&events), [(Some(One), Two)], "a wrong password, the right one, the code");
}

/// Returns the changes of the assurance level, from the latest events.
fn levels(events: &Events) -> Vec<(Option<AssuranceLevel>, AssuranceLevel)> {
    let of = |what: &EventKind| match what {
        EventKind::AssuranceChanged { from, to, .. } => Some((*from, *to)),
        _ => None,
    };
    events.take().iter().filter_map(of).collect()
}

#[tokio::test]
async fn another_level_of_assurance_is_said_once_and_of_a_session_that_lives() {
    let (kit, factors) = kit(FactorMode::Optional);
    let session = kit.signed_in().await.session;
    let enrolment = enrolled(&factors).await;
    let confirm = async |session: &_, how, events: &Events| {
        kit.sessions.step_up().confirm(session, how, "", &context(events)).await
    };
    let events = Events::default();
    let [first, second] = [0, 1].map(|step| code(&enrolment, NOW, step));
    let raised = confirm(&session, Confirmation::Code(&first), &events).await.unwrap();
    assert_eq!(levels(&events), [(Some(One), Two)]);
    // Proving again what the session already proved changes nothing.
    let raised = confirm(&raised, Confirmation::Code(&second), &events).await.unwrap();
    assert_eq!(levels(&events), []);
    // The user has removed the factor, and confirms their identity with the password that is left.
    let kim = UserKey::new("django", "7");
    let id = factors.of(&kim).await.unwrap().factors[0].id.clone();
    assert!(factors.administration().remove(&kim, &id).await.unwrap());
    let right = Secret::new("right");
    let lowered = confirm(&raised, Confirmation::Password(&right), &events).await.unwrap();
    assert_eq!(lowered.assurance.acr(), None);
    assert_eq!(levels(&events), [(Some(Two), One)]);
    let which = SessionSelection::Session(session.id.clone());
    kit.sessions.end(&which, EndReason::Operator, NOW, &Events::default()).await.unwrap();
    let ended = confirm(&raised, Confirmation::Password(&right), &events).await;
    assert_eq!(ended.unwrap_err().refusal, Refusal::SessionEnded);
    assert_eq!(levels(&events), []);
}
