//! What is done now and then: make last uses durable, remove what timed out, forget what is past use.
//!
//! It goes in small transactions through the same queue as everything else, so that a rotation waits for one of them at
//! most, not for the whole round. A crash between two rounds loses last uses of that time (a session may then seem idle
//! for longer than it was), and nothing else.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::super::{Session, StoreError, Upkeep};
use super::blocking::Forget;
use super::ops::{Expire, Save, Sweep, Unsaved};
use super::{Embedded, blocking};
use crate::caller::{Identity, SessionId};
use crate::clock::Timestamp;

/// How many sessions or rows one transaction of upkeep touches.
const CHUNK: usize = 500;

/// For how long after its window a sealed answer stays, in case the clock is set back.
const SEALED_FOR: Duration = Duration::from_secs(60);

/// The last use of a personal access token is written no more often than this.
const TOKEN_USE_EVERY: Duration = Duration::from_secs(60);

/// What the file says of each session's last use and identity, so that only differences are written.
#[derive(Clone, Default)]
pub(super) struct Marks(Arc<Mutex<HashMap<SessionId, UpkeepMark>>>);

struct UpkeepMark {
    last_used: Timestamp,
    identity: Arc<Identity>,
}

/// What a look at all sessions found.
struct Survey {
    unsaved: Vec<Unsaved>,
    due: Vec<Arc<Session>>,
}

impl Marks {
    /// Notes what the file says now.
    pub(super) fn saved(&self, session: &Session, last_used: Timestamp, identity: Arc<Identity>) {
        self.0.lock().insert(session.id.clone(), UpkeepMark { last_used, identity });
    }

    /// Splits sessions into those to save and those to remove, and drops the marks of all others that are gone.
    fn survey(&self, sessions: Vec<Arc<Session>>, now: Timestamp) -> Survey {
        let mut marks = self.0.lock();
        let mut kept = HashMap::with_capacity(sessions.len());
        let mut survey = Survey { unsaved: Vec::new(), due: Vec::new() };
        for session in sessions {
            if !session.is_live(now) {
                survey.due.push(session);
                continue;
            }
            let (last_used, identity) = (session.last_used(), session.identity.load_full());
            let mark = marks.remove(&session.id);
            let same_identity =
                mark.as_ref().is_some_and(|mark| Arc::ptr_eq(&mark.identity, &identity));
            // A program may come every second for months, and nobody needs to know to the second when it did last.
            let may_wait = |mark: &UpkeepMark| {
                session.is_token() && last_used.since(mark.last_used) < TOKEN_USE_EVERY
            };
            let same_use =
                mark.as_ref().is_some_and(|mark| mark.last_used == last_used || may_wait(mark));
            if let Some(mark) = mark {
                kept.insert(session.id.clone(), mark);
            }
            if !same_identity || !same_use {
                let identity = (!same_identity).then_some(identity);
                survey.unsaved.push(Unsaved { session, last_used, identity });
            }
        }
        *marks = kept;
        survey
    }

    /// Notes what a commit has just made durable.
    fn note(&self, saved: &[Unsaved]) {
        let mut marks = self.0.lock();
        for unsaved in saved {
            let identity = unsaved.identity.as_ref().map(Arc::clone);
            match (marks.get_mut(&unsaved.session.id), identity) {
                (Some(mark), identity) => {
                    mark.last_used = unsaved.last_used;
                    mark.identity = identity.unwrap_or_else(|| Arc::clone(&mark.identity));
                }
                (None, Some(identity)) => {
                    let mark = UpkeepMark { last_used: unsaved.last_used, identity };
                    marks.insert(unsaved.session.id.clone(), mark);
                }
                // Without a mark the identity is always written, so this is a session that ended meanwhile.
                (None, None) => {}
            }
        }
    }
}

/// One round.
pub(super) async fn run(store: &Embedded, now: Timestamp) -> Result<Upkeep, StoreError> {
    let (live, marks) = (Arc::clone(&store.live), store.marks.clone());
    let Survey { unsaved, due } = blocking(move || Ok(marks.survey(live.all(), now))).await?;

    let mut unsaved = unsaved.into_iter();
    loop {
        let chunk: Arc<[Unsaved]> = unsaved.by_ref().take(CHUNK).collect();
        if chunk.is_empty() {
            break;
        }
        store.writer.submit(Save(Arc::clone(&chunk))).await?;
        store.marks.note(&chunk);
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
