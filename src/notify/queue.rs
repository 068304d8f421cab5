//! Hands news to the worker through a bounded queue in memory. Sending never waits: what does not fit is dropped and counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};

use tokio::sync::mpsc::{self, Receiver, Sender};

use super::channel::Channels;
use super::news::{
    AssuranceNews, FactorNews, News, NewsKind, PasswordChangeNews, Person, PersonalTokenNews,
    SessionEndNews, ToldIncident,
};
use super::{Incident, IncidentReply, Notices};
use crate::caller::{SessionId, UserKey};
use crate::clock::Timestamp;
use crate::event::{EndReason, FactorEvent};

/// The capacity. More wait only while the store is down, or when thousands of sessions end at once.
const CAPACITY: usize = 8192;

/// The sending half of the queue. Cheap to clone.
#[derive(Clone, Debug)]
pub struct NewsSink {
    queue: Sender<News>,
    dropped: Arc<AtomicU64>,
    /// One bit for each kind that some channel sends; other kinds are not queued.
    wanted: Arc<AtomicU16>,
}

/// The receiving half, for the worker.
#[derive(Debug)]
pub struct NewsQueue(pub(super) Receiver<News>);

/// Returns both halves of a queue.
pub fn queue() -> (NewsSink, NewsQueue) {
    let (sender, receiver) = mpsc::channel(CAPACITY);
    let wanted = Arc::new(AtomicU16::new(u16::MAX));
    (NewsSink { queue: sender, dropped: Arc::default(), wanted }, NewsQueue(receiver))
}

impl NewsSink {
    /// Queues news for these channels from now on.
    pub fn serve(&self, channels: &Channels) {
        let kinds = channels.all.iter().flat_map(|channel| &channel.kinds);
        self.wanted.store(kinds.fold(0, |all, kind| all | bit(*kind)), Ordering::Relaxed);
    }

    /// Reports a user's answer.
    pub fn answered(&self, answered: IncidentReply) {
        self.put(News::Answered(answered));
    }

    /// Reports that a session was ended.
    pub fn session_ended(
        &self,
        session: &SessionId,
        user: &UserKey,
        why: EndReason,
        at: Timestamp,
    ) {
        self.put(News::SessionEnded(SessionEndNews {
            session: session.to_string(),
            user: Person::of(user),
            why: why.name().to_owned(),
            at: at.as_millis(),
        }));
    }

    /// Reports that the password of this user in the directory has changed.
    pub fn password_changed(&self, user: &UserKey, at: Timestamp) {
        self.put(News::PasswordChanged(PasswordChangeNews {
            user: Person::of(user),
            at: at.as_millis(),
        }));
    }

    /// Reports that a user's second factors changed.
    pub fn factor_changed(&self, user: &UserKey, change: FactorEvent, at: Timestamp) {
        let (user, change) = (Person::of(user), change.name().to_owned());
        self.put(News::FactorChanged(FactorNews { user, change, at: at.as_millis() }));
    }

    /// Reports that a personal access token was created, or ended before its time.
    pub fn token_changed(&self, user: &UserKey, is_made: bool, at: Timestamp) {
        let change = if is_made { "made" } else { "ended" }.to_owned();
        let user = Person::of(user);
        self.put(News::PersonalTokenChanged(PersonalTokenNews {
            user,
            change,
            at: at.as_millis(),
        }));
    }

    /// Reports that a session's level of assurance changed.
    pub fn assurance_changed(&self, changed: &AssuranceNews) {
        self.put(News::AssuranceChanged(changed.clone()));
    }

    /// Returns how many items were dropped since the start.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn put(&self, news: News) {
        if self.wanted.load(Ordering::Relaxed) & bit(news.kind()) == 0 {
            return;
        }
        if self.queue.try_send(news).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

const fn bit(kind: NewsKind) -> u16 {
    1 << kind as u8
}

impl Notices for NewsSink {
    fn tell(&self, incident: Incident) {
        // The worker sets the id, because creating one here could fail for lack of randomness.
        self.put(News::Incident(ToldIncident::new(String::new(), &incident)));
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{PACE, incident};
    use super::*;

    #[test]
    fn what_nobody_is_told_takes_no_room() {
        let (sink, queue) = queue();
        sink.serve(&Channels { all: Vec::new(), pace: PACE });
        sink.tell(incident("refresh_reuse", Some("s"), None));
        sink.password_changed(&UserKey::new("django", "7"), Timestamp::from_secs(1));
        assert_eq!((sink.dropped(), queue.0.len()), (0, 0));
    }

    #[test]
    fn handing_in_never_waits_and_counts_what_it_drops() {
        let (sink, queue) = queue();
        for _ in 0..CAPACITY + 3 {
            sink.tell(incident("refresh_reuse", Some("s"), None));
        }
        assert_eq!((sink.dropped(), queue.0.len()), (3, CAPACITY));
        drop(queue);
        sink.clone().tell(incident("refresh_reuse", Some("s"), None));
        assert_eq!(sink.dropped(), 4, "nobody reads it any more");
    }
}
