//! The contract for messages and questions.

use std::sync::Arc;
use std::time::Duration;

use super::{after, at, digest};
use crate::clock::Timestamp;
use crate::store::Sessions;
use crate::store::outbox::{
    Claim, NewMessage, NewQuestion, Outbox, OutboxMessage, Questions, Queued, Settled,
};

const QUIET: Duration = Duration::from_secs(600);

/// Returns a message `id` about `key`, with its id as its body.
fn message(id: &str, channel: &str, key: &str, at: Timestamp) -> NewMessage {
    NewMessage {
        id: id.to_owned(),
        channel: channel.into(),
        key: digest(key),
        body: id.as_bytes().to_vec(),
        at,
        quiet_until: at.plus(QUIET),
    }
}

async fn put(store: &impl Outbox, new: NewMessage) -> Queued {
    store.put_messages(vec![new], 3).await.unwrap()[0]
}

/// Claims messages for a minute.
async fn claim(
    store: &impl Outbox,
    channel: &str,
    limit: u32,
    now: Timestamp,
) -> Vec<OutboxMessage> {
    let until = now.plus(Duration::from_secs(60));
    store.claim_messages(Claim { channel: channel.into(), limit, now, until }).await.unwrap()
}

fn ids(messages: &[OutboxMessage]) -> Vec<&str> {
    messages.iter().map(|message| message.id.as_str()).collect()
}

pub(in crate::store) async fn a_message_is_claimed_as_it_was_put_in(store: &Arc<impl Outbox>) {
    assert_eq!(put(&**store, message("a", "mail", "k", at(5))).await, Queued::Waits);
    assert_eq!(store.waiting_messages("mail").await, Ok(1));
    assert_eq!(store.waiting_messages("hook").await, Ok(0));
    assert_eq!(claim(&**store, "hook", 9, at(5)).await, []);
    let expected = OutboxMessage { id: "a".into(), body: b"a".to_vec(), at: at(5), attempts: 1 };
    assert_eq!(claim(&**store, "mail", 9, at(5)).await, [expected]);
}

pub(in crate::store) async fn a_claimed_message_is_nobody_elses_for_its_time(
    store: &Arc<impl Outbox>,
) {
    put(&**store, message("a", "mail", "k", at(0))).await;
    claim(&**store, "mail", 9, at(0)).await;
    assert_eq!(claim(&**store, "mail", 9, at(59_999)).await, []);
    let again = claim(&**store, "mail", 9, at(60_000)).await;
    assert_eq!(again.iter().map(|message| message.attempts).collect::<Vec<_>>(), [2]);
}

pub(in crate::store) async fn messages_are_claimed_oldest_first(store: &Arc<impl Outbox>) {
    for (id, time) in [("c", 9), ("a", 5), ("b", 7)] {
        put(&**store, message(id, "mail", id, at(time))).await;
    }
    assert_eq!(ids(&claim(&**store, "mail", 2, at(9)).await), ["c", "a"]);
    assert_eq!(ids(&claim(&**store, "mail", 2, at(9)).await), ["b"]);
}

pub(in crate::store) async fn a_message_that_failed_is_due_again_when_it_was_said(
    store: &Arc<impl Outbox>,
) {
    put(&**store, message("a", "mail", "k", at(0))).await;
    claim(&**store, "mail", 9, at(0)).await;
    store.settle_message("a", Settled::Again(at(500))).await.unwrap();
    assert_eq!(claim(&**store, "mail", 9, at(499)).await, []);
    assert_eq!(ids(&claim(&**store, "mail", 9, at(500)).await), ["a"]);
}

pub(in crate::store) async fn a_message_that_is_done_waits_no_longer(store: &Arc<impl Outbox>) {
    put(&**store, message("a", "mail", "k", at(0))).await;
    claim(&**store, "mail", 9, at(0)).await;
    store.settle_message("a", Settled::Done).await.unwrap();
    store.settle_message("never-put-in", Settled::Done).await.unwrap();
    assert_eq!(store.waiting_messages("mail").await, Ok(0));
    assert_eq!(claim(&**store, "mail", 9, after(QUIET * 9)).await, []);
}

pub(in crate::store) async fn one_incident_is_one_message(store: &Arc<impl Outbox>) {
    assert_eq!(put(&**store, message("a", "mail", "k", at(0))).await, Queued::Waits);
    for (id, time) in [("b", at(1)), ("c", after(QUIET * 2))] {
        assert_eq!(put(&**store, message(id, "mail", "k", time)).await, Queued::Repeats, "{id}");
    }
    assert_eq!(put(&**store, message("d", "hook", "k", at(1))).await, Queued::Waits);
    assert_eq!(store.waiting_messages("mail").await, Ok(1));
}

pub(in crate::store) async fn a_message_that_is_done_keeps_quiet_for_its_cool_down(
    store: &Arc<impl Outbox + Sessions>,
) {
    put(&**store, message("a", "mail", "k", at(0))).await;
    store.settle_message("a", Settled::Done).await.unwrap();
    let last = after(QUIET).minus(Duration::from_millis(1));
    store.upkeep(last).await.unwrap();
    assert_eq!(put(&**store, message("b", "mail", "k", last)).await, Queued::Repeats);
    assert_eq!(put(&**store, message("c", "mail", "k", after(QUIET))).await, Queued::Waits);
    assert_eq!(ids(&claim(&**store, "mail", 9, after(QUIET)).await), ["c"]);
}

pub(in crate::store) async fn past_its_bound_a_channel_loses_its_oldest(store: &Arc<impl Outbox>) {
    put(&**store, message("other", "hook", "k", at(0))).await;
    let news = (0..5).map(|n| message(&format!("m{n}"), "mail", &format!("k{n}"), at(n))).collect();
    let (waits, in_place) = (Queued::Waits, Queued::InPlaceOfOldest);
    assert_eq!(
        store.put_messages(news, 3).await.unwrap(),
        [waits, waits, waits, in_place, in_place]
    );
    assert_eq!(ids(&claim(&**store, "mail", 9, at(9)).await), ["m2", "m3", "m4"]);
    assert_eq!(ids(&claim(&**store, "hook", 9, at(9)).await), ["other"]);
}

pub(in crate::store) async fn of_parallel_claims_each_message_goes_to_one<S>(store: &Arc<S>)
where
    S: Outbox + 'static,
{
    for n in 0..3 {
        put(&**store, message(&format!("m{n}"), "mail", &format!("k{n}"), at(0))).await;
    }
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let store = Arc::clone(store);
            tokio::spawn(async move { claim(&*store, "mail", 1, at(1)).await.len() })
        })
        .collect();
    let mut claimed = 0;
    for task in tasks {
        claimed += task.await.unwrap();
    }
    assert_eq!(claimed, 3);
}

/// Returns the question `name` about `about`, with its name as its body, for a minute.
fn question(name: &str, about: &str) -> NewQuestion {
    NewQuestion {
        digest: digest(name),
        about: digest(about),
        body: name.as_bytes().to_vec(),
        expires_at: at(60_000),
    }
}

pub(in crate::store) async fn a_question_is_looked_at_often_and_answered_once(
    store: &Arc<impl Questions>,
) {
    store.ask(question("a", "x")).await.unwrap();
    for _ in 0..2 {
        assert_eq!(store.question(&digest("a"), at(1)).await, Ok(Some(b"a".to_vec())));
    }
    assert_eq!(store.question(&digest("b"), at(1)).await, Ok(None));
    assert_eq!(store.answer(&digest("b"), at(1)).await, Ok(None));
    assert_eq!(store.answer(&digest("a"), at(1)).await, Ok(Some(b"a".to_vec())));
    assert_eq!(store.answer(&digest("a"), at(1)).await, Ok(None));
    assert_eq!(store.question(&digest("a"), at(1)).await, Ok(None));
}

pub(in crate::store) async fn an_answer_answers_all_that_is_about_the_same(
    store: &Arc<impl Questions>,
) {
    for (name, about) in [("a", "x"), ("b", "x"), ("c", "y")] {
        store.ask(question(name, about)).await.unwrap();
    }
    assert_eq!(store.answer(&digest("b"), at(1)).await, Ok(Some(b"b".to_vec())));
    assert_eq!(store.answer(&digest("a"), at(1)).await, Ok(None));
    assert_eq!(store.answer(&digest("c"), at(1)).await, Ok(Some(b"c".to_vec())));
}

pub(in crate::store) async fn a_question_expires(store: &Arc<impl Questions + Sessions>) {
    store.ask(question("a", "x")).await.unwrap();
    assert!(store.question(&digest("a"), at(59_999)).await.unwrap().is_some());
    assert_eq!(store.question(&digest("a"), at(60_000)).await, Ok(None));
    assert_eq!(store.answer(&digest("a"), at(60_000)).await, Ok(None));
    store.upkeep(at(60_000)).await.unwrap();
    assert_eq!(store.question(&digest("a"), at(0)).await, Ok(None), "upkeep has removed it");
}
