//! Wraps ports to time and count their operations; the wrappers change nothing else.

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;

use super::metrics::{DirectoryMetrics, Metrics, StoreOperation};
use crate::block::{Block, BlockSubject};
use crate::caller::{SessionId, UserKey};
use crate::clock::Timestamp;
use crate::directory::{
    Account, Directory, DirectoryError, LoginService, PasswordAttempt, PasswordStore,
    PasswordVerdict, Users,
};
use crate::django::hashers::PasswordHasher;
use crate::event::EndReason;
use crate::secret::{Digest, Secret};
use crate::store::factors::{
    FactorAttempt, FactorChange, FactorChanged, FactorStore, FactorUse, StoredFactor, StoredFactors,
};
use crate::store::outbox::{
    Claim, NewMessage, NewQuestion, Outbox, OutboxMessage, Questions, Queued, Settled,
};
use crate::store::passkeys::{PasskeyStore, PasskeyUse, PasskeyUsed, SpentChallenge};
use crate::store::records::{AccountRecords, RecordNote, StoredDevice, StoredEntry};
use crate::store::{
    Backup, BeginOutcome, BlockList, Blocked, Blocks, NewSession, NewStamp, RefreshState,
    RefreshTokens, Renewal, Rotate, RotationOutcome, Session, SessionAttachments, SessionBy,
    SessionSelection, Sessions, Stamps, StoreError, Upkeep,
};
use crate::wire::jar::Jar;

/// A store whose operations are timed. It implements each port that the wrapped store implements.
#[derive(Clone, Debug)]
pub struct TimedStore<S: ?Sized> {
    store: Arc<S>,
    metrics: Arc<Metrics>,
}

/// A directory whose look-ups are timed.
struct TimedDirectory<D: ?Sized> {
    directory: Arc<D>,
    metrics: DirectoryMetrics,
}

impl<S: ?Sized> TimedStore<S> {
    /// Wraps `store`.
    pub const fn new(store: Arc<S>, metrics: Arc<Metrics>) -> Self {
        Self { store, metrics }
    }

    async fn timed<T>(
        &self,
        operation: StoreOperation,
        work: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let began = Instant::now();
        let result = work.await;
        self.metrics.store_operation(operation, began.elapsed(), result.is_err());
        result
    }
}

#[async_trait]
impl<S: Sessions + ?Sized> Sessions for TimedStore<S> {
    async fn create(&self, new: NewSession) -> Result<Arc<Session>, StoreError> {
        self.timed(StoreOperation::Create, self.store.create(new)).await
    }

    async fn create_token(
        &self,
        new: NewSession,
        most: usize,
    ) -> Result<Option<Arc<Session>>, StoreError> {
        self.timed(StoreOperation::Create, self.store.create_token(new, most)).await
    }

    async fn create_once(
        &self,
        new: NewSession,
        mark: NewStamp,
    ) -> Result<BeginOutcome, StoreError> {
        self.timed(StoreOperation::Create, self.store.create_once(new, mark)).await
    }

    async fn adopt(&self, new: NewSession) -> Result<BeginOutcome, StoreError> {
        self.timed(StoreOperation::Create, self.store.adopt(new)).await
    }

    async fn renew(&self, renewal: Renewal) -> Result<Option<Arc<Session>>, StoreError> {
        self.timed(StoreOperation::Renew, self.store.renew(renewal)).await
    }

    async fn find(
        &self,
        by: SessionBy<'_>,
        now: Timestamp,
    ) -> Result<Option<Arc<Session>>, StoreError> {
        self.timed(StoreOperation::Find, self.store.find(by, now)).await
    }

    async fn end(
        &self,
        which: &SessionSelection,
        why: EndReason,
        at: Timestamp,
    ) -> Result<Vec<Arc<Session>>, StoreError> {
        self.timed(StoreOperation::End, self.store.end(which, why, at)).await
    }

    async fn list(
        &self,
        user: Option<&UserKey>,
        now: Timestamp,
    ) -> Result<Vec<Arc<Session>>, StoreError> {
        self.timed(StoreOperation::List, self.store.list(user, now)).await
    }

    async fn upkeep(&self, now: Timestamp) -> Result<Upkeep, StoreError> {
        let upkeep = self.timed(StoreOperation::Upkeep, self.store.upkeep(now)).await?;
        self.metrics.sessions_active(upkeep.active);
        self.metrics.personal_tokens_active(upkeep.tokens);
        Ok(upkeep)
    }
}

#[async_trait]
impl<S: RefreshTokens + ?Sized> RefreshTokens for TimedStore<S> {
    async fn rotate(&self, rotate: Rotate) -> Result<RotationOutcome, StoreError> {
        self.timed(StoreOperation::Rotate, self.store.rotate(rotate)).await
    }

    async fn look(
        &self,
        session: &SessionId,
        presented: &Digest,
        now: Timestamp,
    ) -> Result<RefreshState, StoreError> {
        self.timed(StoreOperation::Look, self.store.look(session, presented, now)).await
    }
}

#[async_trait]
impl<S: Stamps + ?Sized> Stamps for TimedStore<S> {
    /// Not timed, because it is a look-up in memory for each request.
    fn stamp(&self, key: &Digest) -> Option<Timestamp> {
        self.store.stamp(key)
    }

    async fn put(&self, stamp: NewStamp) -> Result<Timestamp, StoreError> {
        self.timed(StoreOperation::Stamp, self.store.put(stamp)).await
    }
}

#[async_trait]
impl<S: SessionAttachments + ?Sized> SessionAttachments for TimedStore<S> {
    async fn keep(&self, session: &SessionId, kept: Arc<Vec<u8>>) -> Result<bool, StoreError> {
        self.timed(StoreOperation::Keep, self.store.keep(session, kept)).await
    }
}

#[async_trait]
impl<S: Outbox + ?Sized> Outbox for TimedStore<S> {
    async fn put_messages(
        &self,
        messages: Vec<NewMessage>,
        bound: u32,
    ) -> Result<Vec<Queued>, StoreError> {
        self.timed(StoreOperation::Outbox, self.store.put_messages(messages, bound)).await
    }

    async fn claim_messages(&self, claim: Claim) -> Result<Vec<OutboxMessage>, StoreError> {
        self.timed(StoreOperation::Outbox, self.store.claim_messages(claim)).await
    }

    async fn settle_message(&self, id: &str, settled: Settled) -> Result<(), StoreError> {
        self.timed(StoreOperation::Outbox, self.store.settle_message(id, settled)).await
    }

    async fn waiting_messages(&self, channel: &str) -> Result<u64, StoreError> {
        self.timed(StoreOperation::Outbox, self.store.waiting_messages(channel)).await
    }
}

#[async_trait]
impl<S: Questions + ?Sized> Questions for TimedStore<S> {
    async fn ask(&self, question: NewQuestion) -> Result<(), StoreError> {
        self.timed(StoreOperation::Question, self.store.ask(question)).await
    }

    async fn question(
        &self,
        digest: &Digest,
        now: Timestamp,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        self.timed(StoreOperation::Question, self.store.question(digest, now)).await
    }

    async fn answer(&self, digest: &Digest, now: Timestamp) -> Result<Option<Vec<u8>>, StoreError> {
        self.timed(StoreOperation::Question, self.store.answer(digest, now)).await
    }
}

#[async_trait]
impl<S: Blocks + ?Sized> Blocks for TimedStore<S> {
    /// Not timed, because it is the list in memory.
    fn list(&self) -> Arc<BlockList> {
        self.store.list()
    }

    async fn block(&self, new: Block) -> Result<Blocked, StoreError> {
        self.timed(StoreOperation::Block, self.store.block(new)).await
    }

    async fn lift(&self, subject: &BlockSubject) -> Result<Option<Arc<Block>>, StoreError> {
        self.timed(StoreOperation::Block, self.store.lift(subject)).await
    }
}

#[async_trait]
impl<S: FactorStore + ?Sized> FactorStore for TimedStore<S> {
    async fn factors_of(&self, user: &UserKey) -> Result<StoredFactors, StoreError> {
        self.timed(StoreOperation::Factor, self.store.factors_of(user)).await
    }

    async fn change_factors(
        &self,
        user: &UserKey,
        change: FactorChange,
    ) -> Result<FactorChanged, StoreError> {
        self.timed(StoreOperation::Factor, self.store.change_factors(user, change)).await
    }

    async fn count_factor_attempt(
        &self,
        attempt: FactorAttempt,
    ) -> Result<Option<Duration>, StoreError> {
        self.timed(StoreOperation::Factor, self.store.count_factor_attempt(attempt)).await
    }

    async fn use_factor(&self, used: FactorUse) -> Result<bool, StoreError> {
        self.timed(StoreOperation::Factor, self.store.use_factor(used)).await
    }
}

#[async_trait]
impl<S: AccountRecords + ?Sized> AccountRecords for TimedStore<S> {
    async fn note(&self, notes: Vec<RecordNote>) -> Result<(), StoreError> {
        self.timed(StoreOperation::Record, self.store.note(notes)).await
    }

    async fn entries_of(
        &self,
        user: &UserKey,
        before: Option<(Timestamp, u64)>,
        limit: usize,
    ) -> Result<Vec<StoredEntry>, StoreError> {
        self.timed(StoreOperation::Record, self.store.entries_of(user, before, limit)).await
    }

    async fn devices_of(&self, user: &UserKey) -> Result<Vec<StoredDevice>, StoreError> {
        self.timed(StoreOperation::Record, self.store.devices_of(user)).await
    }

    async fn drop_devices(
        &self,
        user: &UserKey,
        which: Option<&Digest>,
    ) -> Result<usize, StoreError> {
        self.timed(StoreOperation::Record, self.store.drop_devices(user, which)).await
    }
}

#[async_trait]
impl<S: PasskeyStore + ?Sized> PasskeyStore for TimedStore<S> {
    async fn owner_of(&self, id: &str) -> Result<Option<(UserKey, StoredFactor)>, StoreError> {
        self.timed(StoreOperation::Factor, self.store.owner_of(id)).await
    }

    async fn use_passkey(&self, used: PasskeyUse) -> Result<PasskeyUsed, StoreError> {
        self.timed(StoreOperation::Factor, self.store.use_passkey(used)).await
    }

    async fn spend_challenge(&self, challenge: SpentChallenge) -> Result<bool, StoreError> {
        self.timed(StoreOperation::Factor, self.store.spend_challenge(challenge)).await
    }

    async fn passkeys_elsewhere(&self, rp_id: &str) -> Result<u64, StoreError> {
        self.timed(StoreOperation::Factor, self.store.passkeys_elsewhere(rp_id)).await
    }
}

#[async_trait]
impl<S: Backup + ?Sized> Backup for TimedStore<S> {
    async fn backup(&self, to: &Path) -> Result<(), StoreError> {
        self.timed(StoreOperation::Backup, self.store.backup(to)).await
    }
}

/// Wraps a directory, so that its look-ups and sign-ins are counted under its name.
pub fn timed_directory(directory: Directory, metrics: &Metrics) -> Directory {
    let metrics = metrics.directory(directory.name());
    match directory {
        Directory::Users(directory) => {
            Directory::Users(Arc::new(TimedDirectory { directory, metrics }))
        }
        Directory::Service(directory) => {
            Directory::Service(Arc::new(TimedDirectory { directory, metrics }))
        }
    }
}

impl<D: ?Sized> TimedDirectory<D> {
    async fn timed<T>(
        &self,
        work: impl Future<Output = Result<T, DirectoryError>> + Send,
    ) -> Result<T, DirectoryError> {
        let began = Instant::now();
        let result = work.await;
        self.metrics.lookup(began.elapsed(), result.is_err());
        result
    }
}

#[async_trait]
impl Users for TimedDirectory<dyn Users> {
    fn name(&self) -> &str {
        self.directory.name()
    }

    fn hashers(&self) -> Arc<[PasswordHasher]> {
        self.directory.hashers()
    }

    fn decoy(&self) -> Secret {
        self.directory.decoy()
    }

    fn as_typed<'n>(&self, name: &'n str) -> Cow<'n, str> {
        self.directory.as_typed(name)
    }

    // Not timed, because the directory makes at most one query for all calls.
    async fn key(&self, id: &str) -> Result<UserKey, DirectoryError> {
        self.directory.key(id).await
    }

    async fn find(&self, name: &str) -> Result<Option<Account>, DirectoryError> {
        self.timed(self.directory.find(name)).await
    }

    async fn by_id(&self, user: &UserKey) -> Result<Option<Account>, DirectoryError> {
        self.timed(self.directory.by_id(user)).await
    }

    async fn with_address(&self, address: &str) -> Result<usize, DirectoryError> {
        self.timed(self.directory.with_address(address)).await
    }

    fn upgrades_to(&self) -> Option<PasswordHasher> {
        self.directory.upgrades_to()
    }

    fn password_store(&self) -> Option<&dyn PasswordStore> {
        self.directory.password_store()
    }

    async fn missing(&self) -> Result<Vec<String>, DirectoryError> {
        self.directory.missing().await
    }
}

#[async_trait]
impl LoginService for TimedDirectory<dyn LoginService> {
    fn name(&self) -> &str {
        self.directory.name()
    }

    async fn sign_in(
        &self,
        attempt: PasswordAttempt<'_>,
    ) -> Result<PasswordVerdict, DirectoryError> {
        self.timed(self.directory.sign_in(attempt)).await
    }

    async fn sign_out(&self, cookies: Jar, at: Timestamp) -> Result<(), DirectoryError> {
        self.directory.sign_out(cookies, at).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory that fails if it is down, and otherwise knows nobody.
    struct Empty {
        down: bool,
    }

    impl Empty {
        fn answer<T>(&self, value: T) -> Result<T, StoreError> {
            if self.down { Err(StoreError("down".into())) } else { Ok(value) }
        }
    }

    #[async_trait]
    impl RefreshTokens for Empty {
        async fn rotate(&self, _: Rotate) -> Result<RotationOutcome, StoreError> {
            self.answer(RotationOutcome::Unknown)
        }

        async fn look(
            &self,
            _: &SessionId,
            _: &Digest,
            _: Timestamp,
        ) -> Result<RefreshState, StoreError> {
            self.answer(RefreshState::Unknown)
        }
    }

    #[async_trait]
    impl Sessions for Empty {
        async fn create(&self, new: NewSession) -> Result<Arc<Session>, StoreError> {
            self.answer(Session::begin(&new))
        }

        async fn create_token(
            &self,
            new: NewSession,
            _: usize,
        ) -> Result<Option<Arc<Session>>, StoreError> {
            self.answer(Some(Session::begin(&new)))
        }

        async fn create_once(
            &self,
            new: NewSession,
            _: NewStamp,
        ) -> Result<BeginOutcome, StoreError> {
            self.answer(BeginOutcome::Begun(Session::begin(&new)))
        }

        async fn adopt(&self, new: NewSession) -> Result<BeginOutcome, StoreError> {
            self.answer(BeginOutcome::Begun(Session::begin(&new)))
        }

        async fn renew(&self, _: Renewal) -> Result<Option<Arc<Session>>, StoreError> {
            self.answer(None)
        }

        async fn find(
            &self,
            _: SessionBy<'_>,
            _: Timestamp,
        ) -> Result<Option<Arc<Session>>, StoreError> {
            self.answer(None)
        }

        async fn end(
            &self,
            _: &SessionSelection,
            _: EndReason,
            _: Timestamp,
        ) -> Result<Vec<Arc<Session>>, StoreError> {
            self.answer(Vec::new())
        }

        async fn list(
            &self,
            _: Option<&UserKey>,
            _: Timestamp,
        ) -> Result<Vec<Arc<Session>>, StoreError> {
            self.answer(Vec::new())
        }

        async fn upkeep(&self, _: Timestamp) -> Result<Upkeep, StoreError> {
            self.answer(Upkeep { expired: Vec::new(), active: 42, tokens: 7 })
        }
    }

    #[async_trait]
    impl Users for Empty {
        fn name(&self) -> &str {
            "django"
        }

        fn hashers(&self) -> Arc<[PasswordHasher]> {
            Arc::from(PasswordHasher::DEFAULT)
        }

        fn decoy(&self) -> Secret {
            Secret::new("")
        }

        async fn find(&self, _: &str) -> Result<Option<Account>, DirectoryError> {
            let error = || DirectoryError { directory: "django".into(), reason: "down".into() };
            if self.down { Err(error()) } else { Ok(None) }
        }

        async fn by_id(&self, _: &UserKey) -> Result<Option<Account>, DirectoryError> {
            Users::find(self, "").await
        }

        fn as_typed<'n>(&self, name: &'n str) -> Cow<'n, str> {
            Cow::Borrowed(name)
        }

        async fn key(&self, id: &str) -> Result<UserKey, DirectoryError> {
            Ok(UserKey::new(self.name(), id))
        }

        async fn with_address(&self, _: &str) -> Result<usize, DirectoryError> {
            Ok(0)
        }

        fn upgrades_to(&self) -> Option<PasswordHasher> {
            None
        }

        fn password_store(&self) -> Option<&dyn PasswordStore> {
            None
        }

        async fn missing(&self) -> Result<Vec<String>, DirectoryError> {
            Ok(Vec::new())
        }
    }

    fn assert_line(metrics: &Metrics, line: &str) {
        let text = metrics.render().unwrap();
        assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
    }

    #[tokio::test]
    async fn the_answer_is_that_of_the_store_and_each_call_counts() {
        let metrics = Arc::new(Metrics::new().unwrap());
        let (now, session) = (Timestamp::from_secs(1), SessionId::new("s"));
        for down in [false, true] {
            let store = TimedStore::new(Arc::new(Empty { down }), Arc::clone(&metrics));
            let found = store.find(SessionBy::Id(&session), now).await;
            assert_eq!(found.map(|found| found.is_none()), Empty { down }.answer(true));
            let looked = store.look(&session, &Digest::of(b""), now).await;
            assert_eq!(looked.is_err(), down);
            assert_eq!(store.upkeep(now).await.is_err(), down);
        }
        for operation in ["find", "look", "upkeep"] {
            let count = "doorwarden_store_operation_duration_seconds_count";
            assert_line(&metrics, &format!("{count}{{operation=\"{operation}\"}} 2"));
            let errors = "doorwarden_store_errors_total";
            assert_line(&metrics, &format!("{errors}{{operation=\"{operation}\"}} 1"));
        }
        assert_line(&metrics, "doorwarden_sessions_active 42");
    }

    #[tokio::test]
    async fn a_directory_is_timed_by_its_name() {
        let metrics = Metrics::new().unwrap();
        for down in [false, true] {
            let directory = Directory::Users(Arc::new(Empty { down }));
            let timed = timed_directory(directory, &metrics);
            assert_eq!(timed.name(), "django");
            let timed = timed.users().unwrap();
            assert_eq!(timed.find("ada").await.is_err(), down);
            assert_eq!(timed.by_id(&UserKey::new("django", "1")).await.is_err(), down);
        }
        let count = "doorwarden_directory_duration_seconds_count";
        assert_line(&metrics, &format!("{count}{{directory=\"django\"}} 4"));
        assert_line(&metrics, "doorwarden_directory_errors_total{directory=\"django\"} 2");
    }
}
