//! The activity that users see on their account pages: a bounded queue in memory, and a task that writes it to the store.
//! Adding an entry never waits, and a store that fails slows nobody down: entries that are lost are counted.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::{self, Receiver, Sender};

use crate::caller::UserKey;
use crate::clock::Timestamp;
use crate::event::{Adoption, EndReason, Event, EventKind, FactorRefusal, MailedLinkEvent};
use crate::secret::Digest;
use crate::store::records::{AccountRecords, DeviceUse, NewEntry, RecordNote};
use crate::wire::client_ip::network_24_or_48;

/// The most entries that wait in the queue; it fills up only while the store does not respond.
const CAPACITY: usize = 4096;

/// The most entries that are written to the store in one batch.
const AT_ONCE: usize = 256;

/// Refused sign-ins of one kind within this time are merged into one entry.
const HOURLY: Duration = Duration::from_secs(3600);

/// Sessions that end within this time are merged into one entry.
const TOGETHER: Duration = Duration::from_secs(60);

/// The sending end of the queue: takes the entries that users see of their account. Cheap to clone.
#[derive(Clone, Debug)]
pub struct AccountNotes {
    queue: Sender<RecordNote>,
    lost: Arc<AtomicU64>,
}

/// The receiving end of the queue.
#[derive(Debug)]
pub struct AccountNoteQueue {
    queue: Receiver<RecordNote>,
    lost: Arc<AtomicU64>,
}

/// Creates the queue and returns both ends.
pub fn account_notes() -> (AccountNotes, AccountNoteQueue) {
    let (sender, receiver) = mpsc::channel(CAPACITY);
    let lost = Arc::new(AtomicU64::default());
    let notes = AccountNotes { queue: sender, lost: Arc::clone(&lost) };
    (notes, AccountNoteQueue { queue: receiver, lost })
}

/// An account entry without the time and the client of its event.
struct NotedEvent<'e> {
    user: &'e UserKey,
    what: &'static str,
    detail: &'static str,
    is_refused: bool,
    merges: Duration,
}

impl AccountNotes {
    /// Queues an event for the user that it concerns; an event that concerns no account is ignored.
    pub fn event(&self, event: &Event) {
        let Some(noted) = noted(&event.what) else { return };
        self.put(RecordNote::Happened(NewEntry {
            user: noted.user.clone(),
            what: noted.what,
            detail: noted.detail,
            at: event.at,
            network: event.client.map(network),
            agent: event.agent.as_deref().unwrap_or_default().to_owned(),
            is_refused: noted.is_refused,
            merges: noted.merges,
        }));
    }

    /// Queues a finding of this detector about this user.
    pub fn finding(
        &self,
        user: &UserKey,
        detector: &'static str,
        client: Option<IpAddr>,
        agent: &str,
        at: Timestamp,
    ) {
        self.put(RecordNote::Happened(NewEntry {
            user: user.clone(),
            what: "finding",
            detail: detector,
            at,
            network: client.map(network),
            agent: agent.to_owned(),
            // An attacker who guesses a password causes findings as well.
            is_refused: true,
            merges: HOURLY,
        }));
    }

    /// Queues that a user signed in with a known device.
    pub(super) fn device_used(
        &self,
        user: &UserKey,
        device: Digest,
        client: IpAddr,
        agent: &str,
        at: Timestamp,
    ) {
        self.put(RecordNote::DeviceUsed(DeviceUse {
            user: user.clone(),
            device,
            at,
            network: Some(network(client)),
            agent: agent.to_owned(),
        }));
    }

    /// Returns the number of entries lost since the start.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    fn put(&self, note: RecordNote) {
        if self.queue.try_send(note).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl AccountNoteQueue {
    /// Writes entries to the store until every sending end is gone.
    pub async fn keep(mut self, records: Arc<dyn AccountRecords>) {
        let mut notes = Vec::with_capacity(AT_ONCE);
        while self.queue.recv_many(&mut notes, AT_ONCE).await > 0 {
            let count = u64::try_from(notes.len()).unwrap_or(u64::MAX);
            if let Err(error) = records.note(std::mem::take(&mut notes)).await {
                tracing::warn!(%error, count, "entries of the account records are lost: the store failed");
                self.lost.fetch_add(count, Ordering::Relaxed);
            }
        }
    }
}

/// Returns the entry that the user sees for this event, if there is one.
fn noted(what: &EventKind) -> Option<NotedEvent<'_>> {
    let lately = |user, what, detail| {
        Some(NotedEvent { user, what, detail, is_refused: false, merges: Duration::ZERO })
    };
    let refused = |user, detail| {
        let what = "sign_in_refused";
        Some(NotedEvent { user, what, detail, is_refused: true, merges: HOURLY })
    };
    match what {
        EventKind::SignedIn { user, known_device, .. } => {
            lately(user, "signed_in", if *known_device { "known_device" } else { "new_device" })
        }
        EventKind::TakenOver { user, .. } => lately(user, "signed_in", "taken_over"),
        EventKind::Adopted { user, how: Adoption::FirstUse | Adoption::Answer, .. } => {
            lately(user, "signed_in", "service")
        }
        EventKind::SignInFailed { user: Some(user), why, .. } => refused(user, why.name()),
        EventKind::FactorRefused { user, why } => match why {
            FactorRefusal::WrongCode | FactorRefusal::UsedCode | FactorRefusal::Throttled => {
                refused(user, why.name())
            }
            FactorRefusal::NoProof
            | FactorRefusal::BadPasskey
            | FactorRefusal::UsedChallenge
            | FactorRefusal::ClonedPasskey => refused(user, why.name()),
            // The ticket or the proof is too old because the page waited too long.
            FactorRefusal::Ticket | FactorRefusal::NotFresh => None,
        },
        EventKind::FactorChanged { user, change } => lately(user, "second_factor", change.name()),
        EventKind::MailedLink { user: Some(user), what: MailedLinkEvent::Opened, .. } => {
            lately(user, "mailed_link", "opened")
        }
        EventKind::PersonalTokenMade { user, .. } => lately(user, "personal_token", "made"),
        EventKind::PersonalTokenEnded { user, why, .. } if *why != EndReason::Expired => {
            let (what, detail) = ("personal_token", "ended");
            Some(NotedEvent { user, what, detail, is_refused: false, merges: TOGETHER })
        }
        EventKind::PasswordChanged { user, .. } => {
            let (what, detail) = ("password_changed", "");
            Some(NotedEvent { user, what, detail, is_refused: false, merges: TOGETHER })
        }
        EventKind::DevicesForgotten { user, all } => {
            lately(user, "devices_forgotten", if *all { "all" } else { "one" })
        }
        EventKind::IncidentAnswered { user, was_me, .. } => {
            lately(user, "answered", if *was_me { "me" } else { "not_me" })
        }
        EventKind::SessionEnded { user, why, .. } => match why {
            // The user did this a moment ago, or the session expired.
            EndReason::SignedOut
            | EndReason::Replaced
            | EndReason::Superseded
            | EndReason::Revoked
            | EndReason::Expired => None,
            EndReason::SignedOutEverywhere
            | EndReason::Account
            | EndReason::PasswordChanged
            | EndReason::RefreshReused
            | EndReason::Detected
            | EndReason::Operator
            | EndReason::NotMe
            | EndReason::DirectoryChanged => {
                let (what, detail) = ("session_ended", why.name());
                Some(NotedEvent { user, what, detail, is_refused: false, merges: TOGETHER })
            }
        },
        _ => None,
    }
}

fn network(client: IpAddr) -> IpAddr {
    network_24_or_48(client).network()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::caller::SessionId;
    use crate::event::{FactorEvent, SignInFailure};
    use crate::store::StoreError;
    use crate::store::memory::Memory;

    fn kim() -> UserKey {
        UserKey::new("file", "kim")
    }

    fn event(what: EventKind) -> Event {
        Event {
            at: Timestamp::from_secs(1_800_000_000),
            request_id: None,
            client: Some("203.0.113.77".parse().unwrap()),
            agent: Some("curl/8".into()),
            what,
        }
    }

    fn ended(why: EndReason) -> EventKind {
        EventKind::SessionEnded { session: SessionId::new("s"), user: kim(), why }
    }

    fn signed_in(known_device: bool) -> EventKind {
        EventKind::SignedIn {
            session: SessionId::new("s"),
            user: kim(),
            account: "kim".into(),
            tokens: true,
            cookie: true,
            known_device,
            methods: crate::caller::AuthMethods::default(),
        }
    }

    #[tokio::test]
    async fn what_concerns_an_account_is_kept_without_its_address() {
        let failed = |user| EventKind::SignInFailed {
            account: "kim".into(),
            user,
            why: SignInFailure::WrongPassword,
        };
        let table = [
            (signed_in(true), Some(("signed_in", "known_device"))),
            (signed_in(false), Some(("signed_in", "new_device"))),
            (failed(Some(kim())), Some(("sign_in_refused", "wrong_password"))),
            (failed(None), None),
            (
                EventKind::FactorRefused { user: kim(), why: FactorRefusal::WrongCode },
                Some(("sign_in_refused", "wrong_code")),
            ),
            (EventKind::FactorRefused { user: kim(), why: FactorRefusal::NotFresh }, None),
            (
                EventKind::FactorChanged { user: kim(), change: FactorEvent::Removed },
                Some(("second_factor", "removed")),
            ),
            (
                EventKind::PasswordChanged { user: kim(), is_own: true },
                Some(("password_changed", "")),
            ),
            (
                EventKind::DevicesForgotten { user: kim(), all: true },
                Some(("devices_forgotten", "all")),
            ),
            (ended(EndReason::SignedOut), None),
            (ended(EndReason::Expired), None),
            (ended(EndReason::Operator), Some(("session_ended", "operator"))),
        ];
        for (what, expected) in table {
            let said = format!("{what:?}");
            let (notes, queue) = account_notes();
            notes.event(&event(what));
            drop(notes);
            let store = Memory::new();
            queue.keep(Arc::clone(&store) as Arc<dyn AccountRecords>).await;
            let found = store.entries_of(&kim(), None, 9).await.unwrap();
            let told = found.first().map(|one| (&*one.what, &*one.detail));
            assert_eq!(told, expected, "{said}");
            if let Some(one) = found.first() {
                assert_eq!(one.network, Some("203.0.113.0".parse().unwrap()));
            }
        }
    }

    #[tokio::test]
    async fn handing_in_never_waits_and_counts_what_is_lost() {
        let (notes, queue) = account_notes();
        for _ in 0..CAPACITY + 3 {
            notes.event(&event(signed_in(true)));
        }
        assert_eq!(notes.lost(), 3);
        drop(queue);
        notes.event(&event(signed_in(true)));
        assert_eq!(notes.lost(), 4, "nobody reads it any more");
    }

    #[tokio::test]
    async fn a_store_that_fails_loses_what_it_was_given_and_no_more() {
        struct Fails;
        #[async_trait::async_trait]
        impl AccountRecords for Fails {
            async fn note(&self, _: Vec<RecordNote>) -> Result<(), StoreError> {
                Err(StoreError("disk full".into()))
            }
            async fn entries_of(
                &self,
                _: &UserKey,
                _: Option<(Timestamp, u64)>,
                _: usize,
            ) -> Result<Vec<crate::store::records::StoredEntry>, StoreError> {
                Ok(Vec::new())
            }
            async fn devices_of(
                &self,
                _: &UserKey,
            ) -> Result<Vec<crate::store::records::StoredDevice>, StoreError> {
                Ok(Vec::new())
            }
            async fn drop_devices(
                &self,
                _: &UserKey,
                _: Option<&Digest>,
            ) -> Result<usize, StoreError> {
                Ok(0)
            }
        }
        let (notes, queue) = account_notes();
        notes.event(&event(signed_in(true)));
        notes.event(&event(ended(EndReason::Operator)));
        let counting = notes.clone();
        let counted = Arc::clone(&counting.lost);
        drop((notes, counting));
        queue.keep(Arc::new(Fails)).await;
        assert_eq!(counted.load(Ordering::Relaxed), 2);
    }
}
