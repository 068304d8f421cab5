//! Has what tests here and in the modules above need to present credentials.

use std::sync::Arc;

use super::{IssuerParts, IssuerState, Issuers};
use crate::config::IssuerSettings;
use crate::context::Events;
use crate::service::database::Databases;
use crate::session::testkit::{Base, FakeDirectory, enter};
use crate::session::{SessionManager, SessionParts, SignInRefused, SignedIn};
use crate::store::Stamps;
use crate::store::memory::Memory;

/// All that [`Issuers`] need, in memory: user 7 is called `kim` and has the password `right`.
pub(crate) struct Kit {
    pub(crate) issuers: Issuers,
    pub(crate) sessions: Arc<SessionManager>,
    pub(crate) store: Arc<Memory>,
    pub(crate) directory: Arc<FakeDirectory>,
    _keep: tempfile::TempDir,
}

/// The parts that a test can change.
pub(crate) struct KitParts {
    pub(crate) issuers: Vec<IssuerSettings>,
    pub(crate) stamps: Arc<dyn Stamps>,
    pub(crate) session: SessionParts,
}

impl Kit {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    /// Makes a kit with some parts changed.
    pub(crate) fn with(change: impl FnOnce(&mut KitParts)) -> Self {
        let Base { store, directory, keep, parts } = Base::new();
        let stamps = Arc::clone(&store) as Arc<dyn Stamps>;
        let mut parts = KitParts { issuers: Vec::new(), stamps, session: parts };
        change(&mut parts);
        let KitParts { issuers, stamps, mut session } = parts;
        let (databases, state) = (Databases::default(), IssuerState::new().unwrap());
        let opened =
            IssuerParts::open(&issuers, &session.directories, &databases, stamps, &state).unwrap();
        session.ends = opened.ends();
        session.mints = opened.mints();
        let kept_in = Arc::clone(&session.store);
        let sessions = Arc::new(SessionManager::new(session));
        let issuers = Issuers::new(opened, Arc::clone(&sessions), kept_in);
        Self { issuers, sessions, store, directory, _keep: keep }
    }

    /// Signs a user in for tokens and a cookie.
    pub(crate) async fn sign_in(
        &self,
        username: &str,
        password: &str,
        events: &Events,
    ) -> Result<SignedIn, SignInRefused> {
        enter(&self.sessions, username, password, events).await
    }

    /// Signs kim in.
    pub(crate) async fn signed_in(&self) -> SignedIn {
        self.sign_in("kim", "right", &Events::default()).await.unwrap()
    }
}
