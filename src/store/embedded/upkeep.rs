//! Periodic upkeep: makes last uses durable, removes timed-out sessions, and removes expired rows.
//!
//! It uses small transactions through the same queue as all other changes, so that a rotation waits for at most one of them,
//! not for the whole round. A crash between two rounds loses the last uses of that time (a session may then seem idle for
//! longer than it was), and nothing else.

use std::sync::Arc;
use std::time::Duration;

use super::super::{Session, StoreError, Upkeep};
use super::blocking::Forget;
use super::ops::{Expire, Save, Sweep, Unsaved};
use super::{Embedded, blocking};
use crate::clock::Timestamp;

/// The most sessions or rows that one transaction of upkeep changes.
const CHUNK: usize = 500;

/// How long a sealed answer is stored after its window, in case the clock is set back.
const SEALED_FOR: Duration = Duration::from_secs(60);

/// The least time between two writes of a personal access token's last use.
const TOKEN_USE_EVERY: Duration = Duration::from_secs(60);

/// The result of checking all sessions.
struct Survey {
    unsaved: Vec<Unsaved>,
    due: Vec<Arc<Session>>,
}

/// Splits sessions into those to save and those to remove.
fn survey(sessions: Vec<Arc<Session>>, now: Timestamp) -> Survey {
    let (live, due): (Vec<_>, Vec<_>) =
        sessions.into_iter().partition(|session| session.is_live(now));
    Survey { unsaved: live.into_iter().filter_map(unsaved).collect(), due }
}

/// Returns the changes of a session that are not in the file yet.
fn unsaved(session: Arc<Session>) -> Option<Unsaved> {
    let (last_used, identity) = (session.last_used(), session.identity.load_full());
    let (saved_use, saved) = (session.saved.last_used(), session.saved.identity());
    // A program may make a request every second for months, and nobody needs its last use to the second.
    let may_wait = session.is_token() && last_used.since(saved_use) < TOKEN_USE_EVERY;
    let same_use = saved.is_some() && (saved_use == last_used || may_wait);
    let same_identity = saved.is_some_and(|saved| Arc::ptr_eq(&saved, &identity));
    let identity = (!same_identity).then_some(identity);
    (!same_use || !same_identity).then_some(Unsaved { session, last_used, identity })
}

/// Notes that a commit has made these changes durable.
fn note(saved: &[Unsaved]) {
    for Unsaved { session, last_used, identity } in saved {
        session.saved.note(*last_used, identity.as_ref());
    }
}

/// Runs one round of upkeep.
pub(super) async fn run(store: &Embedded, now: Timestamp) -> Result<Upkeep, StoreError> {
    let live = Arc::clone(&store.live);
    let Survey { unsaved, due } = blocking(move || Ok(survey(live.all(), now))).await?;

    let mut unsaved = unsaved.into_iter();
    loop {
        let chunk: Arc<[Unsaved]> = unsaved.by_ref().take(CHUNK).collect();
        if chunk.is_empty() {
            break;
        }
        store.writer.submit(Save(Arc::clone(&chunk))).await?;
        note(&chunk);
    }

    let mut upkeep = Upkeep::default();
    for chunk in due.chunks(CHUNK) {
        let expire = Expire { due: chunk.to_vec(), now };
        upkeep.expired.extend(store.writer.submit(expire).await?);
    }

    let limit = u32::try_from(CHUNK).unwrap_or(u32::MAX);
    let sealed_before = now.minus(SEALED_FOR);
    while store.writer.submit(Sweep { now, sealed_before, limit }).await? > 0 {}
    store.live.forget_stamps(now);
    store.writer.submit(Forget(now)).await?;

    let live = Arc::clone(&store.live);
    let counted = blocking(move || {
        let live = live.all().into_iter().filter(|session| session.is_live(now));
        Ok(live.fold([0, 0], |[active, tokens], session| match session.is_token() {
            true => [active, tokens + 1],
            false => [active + 1, tokens],
        }))
    });
    [upkeep.active, upkeep.tokens] = counted.await?;
    Ok(upkeep)
}
