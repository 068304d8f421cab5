//! Replays a recorded audit trail to the detectors, and reports what they would have found with the given settings.
//!
//! Detectors, restraint and choice of actions are those of the running gateway; only no action is taken. So a session that
//! would have been ended continues in the recording, and what came after is found too, unless its cool-down prevents it.
//!
//! A recording contains neither the groups of users nor what was known of them before it begins: `exempt = ["group:..."]` has
//! no effect, and a user's first country or device in it is not new.

mod reading;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, BufRead};
use std::sync::Arc;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use parking_lot::Mutex;

use self::reading::Reading;
use super::history::History;
use super::respond::TakenAction;
use super::watch::{Detection, DetectionParts, DetectorRules, FindingSink, NotDone, Respond};
use super::{DetectorName, Finding};
use crate::block::Block;
use crate::caller::{SessionId, UserKey};
use crate::clock::Timestamp;
use crate::event::EventKind;
use crate::notify::Incident;
use crate::store::counters::Counters;
use crate::store::{SessionSelection, Stamps};

/// The result of a replay.
#[derive(Debug, Default)]
pub struct Replayed {
    /// The number of events that were read.
    pub events: u64,
    /// The number of lines that are no lines of an audit trail.
    pub unread: u64,
    /// The times of the first and the last event.
    pub span: Option<(Timestamp, Timestamp)>,
    /// The results of all detectors.
    pub detectors: Vec<(DetectorName, Tally)>,
}

/// The findings of one detector.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// The number of findings.
    pub findings: u64,
    /// The findings that would only have been reported, because it may well have been the same person.
    pub doubtful: u64,
    /// The users concerned.
    pub users: BTreeSet<String>,
    /// How often each action would have been taken, by its name.
    pub actions: BTreeMap<&'static str, u64>,
}

/// Replays a recording to the detectors. `stamps` stores the history of users meanwhile.
///
/// # Errors
/// If the recording cannot be read.
pub async fn replay(
    rules: DetectorRules,
    stamps: Arc<dyn Stamps>,
    counters: Arc<dyn Counters>,
    lines: impl BufRead,
) -> io::Result<Replayed> {
    let recorded = Arc::new(Recorded::default());
    let mut watching = Detection::new(DetectionParts {
        rules: Arc::new(ArcSwap::from_pointee(rules)),
        history: Arc::new(History::new(stamps)),
        counters,
        // An operator's silences belong to their time, and are no rule.
        silences: Arc::default(),
        respond: Arc::clone(&recorded) as Arc<dyn Respond>,
        report: Arc::clone(&recorded) as Arc<dyn FindingSink>,
    });
    let (mut replayed, mut reading) = (Replayed::default(), Reading::default());
    for line in lines.lines() {
        let Some(events) = reading.line(&line?) else {
            replayed.unread += 1;
            continue;
        };
        for event in events {
            replayed.events += 1;
            let first = replayed.span.map_or(event.at, |(first, _)| first.min(event.at));
            let last = replayed.span.map_or(event.at, |(_, last)| last.max(event.at));
            replayed.span = Some((first, last));
            recorded.sessions.lock().see(&event.what);
            watching.show(&event).await;
        }
    }
    let tallies = recorded.tallies.lock();
    let tally = |name: &DetectorName| (*name, tallies.get(name).cloned().unwrap_or_default());
    replayed.detectors = DetectorName::ALL.iter().map(tally).collect();
    Ok(replayed)
}

/// Takes no action, and counts the actions that would have been taken.
#[derive(Default)]
struct Recorded {
    sessions: Mutex<Live>,
    tallies: Mutex<HashMap<DetectorName, Tally>>,
}

/// The live sessions by user, oldest first.
#[derive(Default)]
struct Live(HashMap<UserKey, Vec<SessionId>>);

impl Live {
    fn see(&mut self, what: &EventKind) {
        match what {
            EventKind::SignedIn { session, user, .. }
            | EventKind::TakenOver { session, user, .. }
            | EventKind::Adopted { session, user, .. } => {
                let sessions = self.0.entry(user.clone()).or_default();
                if !sessions.contains(session) {
                    sessions.push(session.clone());
                }
            }
            EventKind::SessionEnded { session, user, .. }
            | EventKind::RefreshReused { session, user } => {
                if let Some(sessions) = self.0.get_mut(user) {
                    sessions.retain(|one| one != session);
                }
            }
            _ => {}
        }
    }
}

#[async_trait]
impl Respond for Recorded {
    async fn end(&self, _: &SessionSelection, _: Timestamp) -> Result<(), NotDone> {
        Ok(())
    }

    async fn block(&self, _: Block) -> Result<bool, NotDone> {
        Ok(true)
    }

    async fn sessions(&self, user: &UserKey, _: Timestamp) -> Vec<SessionId> {
        let sessions = self.sessions.lock();
        sessions.0.get(user).map(|all| all.iter().rev().cloned().collect()).unwrap_or_default()
    }

    async fn groups(&self, _: &UserKey, _: Timestamp) -> Vec<String> {
        Vec::new()
    }

    async fn has_second_factor(&self, _: &UserKey, _: Timestamp) -> bool {
        false
    }

    fn notify(&self, _: Incident) {}
}

impl FindingSink for Recorded {
    fn finding(&self, finding: &Finding, taken: &[TakenAction], _: Option<&NotDone>) {
        let mut tallies = self.tallies.lock();
        let tally = tallies.entry(finding.detector).or_default();
        tally.findings += 1;
        tally.doubtful += u64::from(finding.is_doubtful);
        tally.users.extend(finding.user.as_ref().map(ToString::to_string));
        for one in taken {
            *tally.actions.entry(one.name()).or_default() += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{FewCountries, settings};
    use super::*;
    use crate::store::counters::memory::CountersInMemory;
    use crate::store::memory::Memory;
    use crate::wire::client_ip::TrustedProxies;

    async fn replayed(text: &str, set: impl FnOnce(&mut crate::config::Detect)) -> Replayed {
        let mut settings = settings(100);
        set(&mut settings);
        let rules = DetectorRules {
            settings,
            places: Arc::new(FewCountries),
            trusted: TrustedProxies::default(),
        };
        replay(rules, Memory::new(), CountersInMemory::new(), text.as_bytes()).await.unwrap()
    }

    fn tally(replayed: &Replayed, name: &str) -> Tally {
        let mut all = replayed.detectors.iter();
        all.find(|(detector, _)| detector.name() == name).unwrap().1.clone()
    }

    #[tokio::test]
    async fn other_settings_find_other_things_in_the_same_trail() {
        let miss = |second: u32| {
            format!(
                "{{\"at\":\"2026-11-23T08:34:{second:02}.000Z\",\"event\":\"sign_in_failed\",\"client\":\"1.0.0.1\",\
                 \"account\":\"ada\",\"user\":\"django/7\",\"reason\":\"wrong_password\"}}\n"
            )
        };
        let text: String = (0..6).map(miss).chain(["no line\n".into()]).collect();
        for (threshold, findings) in [(3, 1), (6, 1), (7, 0)] {
            let replayed = replayed(&text, |detect| {
                detect.password_guessing.threshold = threshold;
                detect.password_guessing.actions = vec![crate::config::Action::Notify];
            })
            .await;
            assert_eq!((replayed.events, replayed.unread), (6, 1));
            let tally = tally(&replayed, "password_guessing");
            assert_eq!(tally.findings, findings, "{threshold}");
            assert_eq!(tally.users.len() as u64, findings);
            assert_eq!(tally.actions.get("notify").copied().unwrap_or_default(), findings);
        }
    }

    #[tokio::test]
    async fn a_move_is_as_fast_as_it_was() {
        // The session was in Seoul until a minute before it was in Berlin, although its line about Seoul is ten hours old.
        let line = |at: &str, client: &str, agent: &str, previous: &str| {
            format!(
                "{{\"at\":\"2026-11-23T{at}.000Z\",\"event\":\"session_used\",\"client\":\"{client}\",\"agent\":\"{agent}\",\
                 \"session\":\"s\",\"user\":\"django/7\"{previous}}}\n"
            )
        };
        let first = line("08:00:00", "1.0.0.1", "a", "");
        for (previous, findings) in [(",\"previous\":\"2026-11-23T17:59:00.000Z\"", 1), ("", 0)] {
            let text = format!("{first}{}", line("18:00:00", "3.0.0.1", "b", previous));
            let replayed = replayed(&text, |detect| detect.impossible_travel.threshold = 1).await;
            assert_eq!(tally(&replayed, "impossible_travel").findings, findings);
        }
    }

    #[tokio::test]
    async fn too_many_sessions_are_counted_from_the_trail() {
        let sign_in = |n: u32| {
            format!(
                "{{\"at\":\"2026-11-23T08:34:{n:02}.000Z\",\"event\":\"sign_in\",\"client\":\"1.0.0.1\",\"account\":\"ada\",\
                 \"session\":\"s-{n}\",\"user\":\"django/7\",\"issued\":\"tokens,cookie\"}}\n"
            )
        };
        let ended = "{\"at\":\"2026-11-23T08:34:10.000Z\",\"event\":\"session_ended\",\"session\":\"s-1\",\
                     \"user\":\"django/7\",\"reason\":\"signed_out\"}\n";
        let text = [sign_in(1), sign_in(2), ended.into(), sign_in(11), sign_in(12)].concat();
        let replayed = replayed(&text, |detect| detect.session_count.threshold = 2).await;
        assert_eq!(tally(&replayed, "session_count").findings, 1, "of the third that lived");
    }
}
