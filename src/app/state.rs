//! Holds what outlives a configuration; it is made once, at the start.
//!
//! It contains the sessions, the counters and what was verified. A [`Generation`](super::generation::Built) is made of it and
//! of a checked configuration, and may be replaced by another one with the same state.

use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use zeroize::Zeroizing;

use super::folder::StateFolder;
use super::{StartError, start_error};
use crate::config::{Config, StoreKind};
use crate::issuer::IssuerState;
use crate::notify::{self, IncidentQuestions, NewsQueue, NewsSink, RequestedLetters};
use crate::private_file;
use crate::proxy::OpenExchanges;
use crate::secret::random_bytes;
use crate::service::database::Databases;
use crate::session::SessionState;
use crate::session::account_notes::{AccountNoteQueue, AccountNotes, account_notes};
use crate::session::devices::Devices;
use crate::session::refresh_token::RefreshKey;
use crate::session::service_cookies::ServiceCookies;
use crate::store::embedded::Embedded;
use crate::store::memory::Memory;
use crate::store::notifying::{NotifyingBlocks, NotifyingStore, SessionEnded};
use crate::store::{Sessions, Store};
use crate::telemetry::{Metrics, TimedStore};

/// The state; see the head of this module.
pub(super) struct State {
    pub(super) folder: StateFolder,
    pub(super) store: Store,
    pub(super) metrics: Arc<Metrics>,
    pub(super) databases: Arc<Databases>,
    /// The services' cookies, not bound to any directories yet.
    pub(super) kept: ServiceCookies,
    pub(super) devices: Arc<Devices>,
    /// A secret of the gateway itself.
    pub(super) secret: Zeroizing<Vec<u8>>,
    pub(super) refresh_key: Arc<RefreshKey>,
    pub(super) sessions: SessionState,
    pub(super) issuers: IssuerState,
    pub(super) ended: Arc<EndHooks>,
    /// The questions about incidents, which users answer.
    pub(super) answers: IncidentQuestions,
    /// The letters that users request in order to sign in.
    pub(super) letters: RequestedLetters,
    /// Receives the notes that users are shown about their account.
    pub(super) account_notes: AccountNotes,
    /// The receiving end of these notes, until the task that stores them takes it.
    pub(super) account_queue: Mutex<Option<AccountNoteQueue>>,
    /// Receives news for notices.
    pub(super) news: NewsSink,
    /// The receiving end of the news, until the worker takes it.
    pub(super) news_queue: Mutex<Option<NewsQueue>>,
}

/// Notifies everything that must know of the end of a session.
#[derive(Default)]
pub(super) struct EndHooks {
    /// The open exchanges, whichever generation they began with.
    pub(super) open: Arc<OpenExchanges>,
    /// What the served generation has made for the session elsewhere.
    made: ArcSwap<Vec<Arc<dyn SessionEnded>>>,
}

impl EndHooks {
    pub(super) fn now(&self, hooks: Vec<Arc<dyn SessionEnded>>) {
        self.made.store(Arc::new(hooks));
    }
}

impl SessionEnded for EndHooks {
    fn session_ended(&self, session: &crate::store::Session) {
        self.open.session_ended(session);
        self.made.load().session_ended(session);
    }
}

impl State {
    /// Opens the store and the keys.
    pub(super) fn open(config: &Config, folder: StateFolder) -> Result<Self, StartError> {
        let metrics = Arc::new(Metrics::new().map_err(start_error)?);
        let store = open_store(config)?;
        let ended = Arc::new(EndHooks::default());
        let told = || Arc::clone(&ended) as Arc<dyn SessionEnded>;
        let timed = Arc::new(TimedStore::new(store.sessions, Arc::clone(&metrics)));
        let sessions = Arc::new(NotifyingStore::new(timed, told()));
        let timed = Arc::new(TimedStore::new(store.refresh_tokens, Arc::clone(&metrics)));
        let blocks = Arc::new(TimedStore::new(store.blocks, Arc::clone(&metrics)));
        let open = Arc::clone(&ended.open);
        let blocks = Arc::new(NotifyingBlocks::new(
            blocks,
            Arc::clone(&sessions) as Arc<dyn Sessions>,
            open,
        ));
        let store = Store {
            sessions,
            refresh_tokens: Arc::new(NotifyingStore::new(timed, told())),
            stamps: Arc::new(TimedStore::new(store.stamps, Arc::clone(&metrics))),
            kept: Arc::new(TimedStore::new(store.kept, Arc::clone(&metrics))),
            outbox: Arc::new(TimedStore::new(store.outbox, Arc::clone(&metrics))),
            questions: Arc::new(TimedStore::new(store.questions, Arc::clone(&metrics))),
            blocks,
            factors: Arc::new(TimedStore::new(store.factors, Arc::clone(&metrics))),
            records: Arc::new(TimedStore::new(store.records, Arc::clone(&metrics))),
            passkeys: Arc::new(TimedStore::new(store.passkeys, Arc::clone(&metrics))),
            places: store.places,
            former: store.former,
            counters: store.counters,
            backup: store.backup,
        };
        let secret = own_secret(config, &folder).map_err(start_error)?;
        let (sessions, kept) = (Arc::clone(&store.sessions), Arc::clone(&store.kept));
        let kept = ServiceCookies::new(&secret, sessions, kept, Vec::new()).map_err(start_error)?;
        let devices = Arc::new(Devices::new(&secret, Arc::clone(&store.stamps)));
        let refresh_key = Arc::new(RefreshKey::open(&folder.refresh_key()).map_err(start_error)?);
        let sessions = SessionState::new(Arc::clone(&store.counters)).map_err(start_error)?;
        let issuers = IssuerState::new().map_err(start_error)?;
        let databases = Arc::default();
        let (account_notes, account_queue) = account_notes();
        let account_queue = Mutex::new(Some(account_queue));
        let (news, queue) = notify::queue();
        let answers = IncidentQuestions::new(
            Arc::clone(&store.questions),
            news.clone(),
            Arc::clone(&store.counters),
        );
        let letters = RequestedLetters::new(
            &store.outbox,
            Arc::clone(&store.questions),
            Arc::clone(&metrics) as Arc<_>,
            Arc::clone(&store.counters),
        );
        let news_queue = Mutex::new(Some(queue));
        Ok(Self {
            folder,
            store,
            metrics,
            databases,
            kept,
            devices,
            secret,
            refresh_key,
            sessions,
            issuers,
            ended,
            answers,
            letters,
            account_notes,
            account_queue,
            news,
            news_queue,
        })
    }
}

pub(super) fn open_store(config: &Config) -> Result<Store, StartError> {
    match config.store.kind {
        StoreKind::Memory => Ok(Store::of(Memory::new())),
        StoreKind::Embedded => {
            Ok(Store::of(Embedded::open(&config.store.path).map_err(start_error)?))
        }
    }
}

/// Returns the secret that seals and signs the gateway's own data. It is stored only where the store outlives a restart.
fn own_secret(config: &Config, folder: &StateFolder) -> Result<Zeroizing<Vec<u8>>, String> {
    if config.store.kind.survives_restarts() {
        private_file::own_secret(&folder.forms_secret())
    } else {
        Ok(random_bytes::<32>().map_err(|error| error.to_string())?.to_vec().into())
    }
}
