//! The second factors of the store in memory.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;

use super::super::StoreError;
use super::super::memory::Memory;
use super::super::passkeys::{PasskeyUse, PasskeyUsed, SpentChallenge, goes_on};
use super::{
    FactorAttempt, FactorChange, FactorChanged, FactorStore, FactorUse, MOST_FACTORS, StoredFactor,
    StoredFactors, UsedCode,
};
use crate::caller::UserKey;
use crate::clock::Timestamp;
use crate::secret::Digest;

/// All users' factors, behind one lock.
#[derive(Debug, Default)]
pub(in crate::store) struct FactorTables {
    users: HashMap<UserKey, UserFactorRows>,
    attempts: HashMap<Digest, Attempts>,
    /// Challenges that were answered, and how long each is remembered.
    challenges: HashMap<Digest, Timestamp>,
}

#[derive(Debug, Default)]
struct UserFactorRows {
    kept: StoredFactors,
    /// The recovery codes, and whether each was used.
    recovery: HashMap<Digest, bool>,
}

#[derive(Debug)]
struct Attempts {
    failures: u32,
    next_at: Timestamp,
    kept_until: Timestamp,
}

impl FactorTables {
    /// Removes expired data.
    pub(in crate::store) fn forget(&mut self, now: Timestamp) {
        self.attempts.retain(|_, attempts| now < attempts.kept_until);
        self.challenges.retain(|_, kept_until| now < *kept_until);
    }

    pub(in crate::store) fn owner_of(&self, id: &str) -> Option<(UserKey, StoredFactor)> {
        self.users.iter().find_map(|(user, one)| {
            let found = one.kept.factors.iter().find(|factor| factor.id == id)?;
            Some((user.clone(), found.clone()))
        })
    }

    pub(in crate::store) fn spend_challenge(&mut self, challenge: SpentChallenge) -> bool {
        self.challenges.insert(challenge.digest, challenge.kept_until).is_none()
    }

    pub(in crate::store) fn use_passkey(&mut self, used: &PasskeyUse) -> PasskeyUsed {
        if !self.spend_challenge(used.challenge) {
            return PasskeyUsed::Replayed;
        }
        let factors = self.users.get_mut(&used.user).map(|one| &mut one.kept.factors);
        let found = factors.and_then(|all| all.iter_mut().find(|factor| factor.id == used.id));
        let Some(StoredFactor { last_step, last_used, passkey: Some(passkey), .. }) = found else {
            return PasskeyUsed::Gone;
        };
        if !goes_on(*last_step, used.counter) {
            return PasskeyUsed::CounterBehind;
        }
        (*last_step, *last_used) = (u64::from(used.counter), Some(used.at));
        passkey.backed_up = used.backed_up;
        self.attempts.remove(&used.source);
        PasskeyUsed::Yes
    }

    pub(in crate::store) fn passkeys_elsewhere(&self, rp_id: &str) -> u64 {
        let all = self.users.values().flat_map(|one| &one.kept.factors);
        let elsewhere = all.filter_map(|factor| factor.passkey.as_ref());
        elsewhere.filter(|passkey| passkey.rp_id != rp_id).count() as u64
    }

    fn change(&mut self, user: &UserKey, change: FactorChange) -> FactorChanged {
        let taken = |id: &str| {
            self.users.values().any(|one| one.kept.factors.iter().any(|factor| factor.id == id))
        };
        if let FactorChange::Add { factor, .. } = &change
            && taken(&factor.id)
        {
            return FactorChanged::Not;
        }
        self.users.entry(user.clone()).or_default().change(change)
    }
}

impl UserFactorRows {
    fn left(&self) -> u32 {
        let left = self.recovery.values().filter(|used| !**used).count();
        u32::try_from(left).unwrap_or(u32::MAX)
    }

    fn change(&mut self, change: FactorChange) -> FactorChanged {
        match change {
            FactorChange::Add { factor, recovery } => {
                if self.kept.factors.len() >= MOST_FACTORS {
                    return FactorChanged::Not;
                }
                self.kept.factors.push(factor);
                (self.kept.asked_at, self.kept.reset_at) = (None, None);
                if recovery.is_empty() || self.left() > 0 {
                    return FactorChanged::Made;
                }
                self.replace(recovery);
                FactorChanged::MadeWithRecovery
            }
            FactorChange::Remove { id } => {
                let before = self.kept.factors.len();
                self.kept.factors.retain(|factor| factor.id != id);
                if self.kept.factors.is_empty() {
                    self.recovery.clear();
                }
                made(self.kept.factors.len() < before)
            }
            FactorChange::Rename { id, name } => {
                let found = self.kept.factors.iter_mut().find(|factor| factor.id == id);
                made(found.map(|factor| factor.name = name).is_some())
            }
            FactorChange::Recovery(digests) => {
                self.replace(digests);
                FactorChanged::MadeWithRecovery
            }
            FactorChange::Asked(at) => {
                self.kept.asked_at.get_or_insert(at);
                FactorChanged::Made
            }
            FactorChange::Reset(at) => {
                self.recovery.clear();
                self.kept = StoredFactors { reset_at: Some(at), ..StoredFactors::default() };
                FactorChanged::Made
            }
        }
    }

    fn replace(&mut self, digests: Vec<Digest>) {
        self.recovery = digests.into_iter().map(|digest| (digest, false)).collect();
    }

    fn uses(&mut self, what: &UsedCode, at: Timestamp) -> bool {
        match what {
            UsedCode::Step { id, step } => {
                let mut factors = self.kept.factors.iter_mut();
                let found = factors.find(|factor| factor.id == *id && factor.last_step < *step);
                let Some(factor) = found else { return false };
                (factor.last_step, factor.last_used) = (*step, Some(at));
                true
            }
            UsedCode::Recovery(digest) => match self.recovery.get_mut(digest) {
                Some(used) if !*used => {
                    *used = true;
                    true
                }
                Some(_) | None => false,
            },
            UsedCode::Elsewhere => true,
        }
    }
}

const fn made(is_made: bool) -> FactorChanged {
    if is_made { FactorChanged::Made } else { FactorChanged::Not }
}

#[async_trait]
impl FactorStore for Memory {
    async fn factors_of(&self, user: &UserKey) -> Result<StoredFactors, StoreError> {
        let tables = self.factors.lock();
        let found = tables.users.get(user);
        Ok(found.map_or_else(StoredFactors::default, |found| StoredFactors {
            recovery_left: found.left(),
            ..found.kept.clone()
        }))
    }

    async fn change_factors(
        &self,
        user: &UserKey,
        change: FactorChange,
    ) -> Result<FactorChanged, StoreError> {
        Ok(self.factors.lock().change(user, change))
    }

    async fn count_factor_attempt(
        &self,
        attempt: FactorAttempt,
    ) -> Result<Option<Duration>, StoreError> {
        let mut tables = self.factors.lock();
        let before = tables.attempts.get(&attempt.source);
        let before = before.filter(|before| attempt.at < before.kept_until);
        if let Some(before) = before.filter(|before| attempt.at < before.next_at) {
            return Ok(Some(before.next_at.since(attempt.at)));
        }
        let failures = before.map_or(0, |before| before.failures).saturating_add(1);
        let counted = Attempts {
            failures,
            next_at: attempt.next_after(failures),
            kept_until: attempt.at.plus(attempt.remembered),
        };
        tables.attempts.insert(attempt.source, counted);
        Ok(None)
    }

    async fn use_factor(&self, used: FactorUse) -> Result<bool, StoreError> {
        let mut tables = self.factors.lock();
        let is_used = match tables.users.get_mut(&used.user) {
            Some(user) => user.uses(&used.what, used.at),
            None => used.what == UsedCode::Elsewhere,
        };
        if is_used {
            tables.attempts.remove(&used.source);
        }
        Ok(is_used)
    }
}
