//! Implements codes by mail, the weakest second factor: for users who have no other, where the operator allows it.
//!
//! A code has eight digits and works once, until it expires, and **only in the place for which it was requested** (the sign-in
//! of one ticket, or one session), so a code that a user is talked into reading out opens nothing else. Each place has [`FREE`]
//! attempts, and then none until the code has expired. The store has a hash of the code under a key that is not in the store.
//!
//! A mailed code is nothing that a user *has*: it is accepted only while they have set up nothing else, and never from a user
//! whose factors an operator has removed (they set up a new one).

use std::time::Duration;

use async_trait::async_trait;

use super::{CeremonyPlace, CodeRefused, FREE, Factors, failed, refused, written};
use crate::caller::{Identity, UserKey};
use crate::clock::Timestamp;
use crate::config::FactorMode;
use crate::event::FactorRefusal;
use crate::notify::IssueCodes;
use crate::refusal::Refusal;
use crate::secret::{Digest, Secret, random_bytes};
use crate::store::factors::{FactorAttempt, UsedCode};
use crate::store::outbox::NewQuestion;

/// How long a mailed code works, and the sign-in in which it was requested.
pub const MAILED_CODE: Duration = Duration::from_secs(600);

const DIGITS: usize = 8;

/// An attempt with a mailed code.
#[derive(Clone, Copy, Debug)]
pub struct MailedCodeAttempt<'a> {
    /// The user who makes the attempt.
    pub user: &'a UserKey,
    /// The place of the attempt, for which the code must have been requested.
    pub place: &'a CeremonyPlace,
    /// The code as typed.
    pub code: &'a Secret,
    /// The current time.
    pub at: Timestamp,
}

/// Decides who may use a mailed code, and checks codes.
#[derive(Clone, Copy)]
pub struct MailedCodeProofs<'f>(pub(super) &'f Factors);

impl MailedCodeProofs<'_> {
    /// Whether this user may use a mailed code, according to their factors and the settings.
    ///
    /// # Errors
    /// [`Refusal::SecondFactorElsewhere`], [`Refusal::StoreUnavailable`], [`Refusal::DirectoryUnavailable`]
    pub async fn may_use(self, user: &Identity, at: Timestamp) -> Result<bool, Refusal> {
        let takes = self.0.settings.mode_of(user) != FactorMode::Off
            && self.0.settings.takes_mailed_codes(user);
        if !takes {
            return Ok(false);
        }
        let all = self.0.all_of(&user.key, at).await?;
        Ok(!all.has_any() && all.own.reset_at.is_none())
    }

    /// Uses a mailed code if it was mailed to this user, was requested for this place, and was not used before.
    ///
    /// # Errors
    /// [`CodeRefused`]
    pub async fn check(self, attempt: MailedCodeAttempt<'_>) -> Result<(), CodeRefused> {
        let MailedCodeAttempt { user, place, code, at } = attempt;
        let owner = owner(user, place.as_str());
        let source = self.0.key.hash("mailed code attempts", &owner, b"");
        let count = FactorAttempt {
            source,
            at,
            free: FREE,
            first_wait: MAILED_CODE,
            longest_wait: MAILED_CODE,
            remembered: MAILED_CODE,
        };
        if let Some(wait) = self.0.store.count_factor_attempt(count).await.map_err(refused)? {
            return Err(CodeRefused::Wait(wait));
        }
        let digits = written::digits(code.expose());
        let Some(digits) = digits.filter(|digits| digits.expose().len() == DIGITS) else {
            return Err(CodeRefused::Not(FactorRefusal::WrongCode));
        };
        let digest = self.0.mailed_code_hash(&owner, &digits);
        match self.0.questions.answer(&digest, at).await.map_err(refused)? {
            Some(_) => {
                self.0.use_code(user, UsedCode::Elsewhere, source, at).await?;
                Ok(())
            }
            None => Err(CodeRefused::Not(FactorRefusal::WrongCode)),
        }
    }
}

impl Factors {
    fn mailed_code_hash(&self, owner: &str, digits: &Secret) -> Digest {
        self.key.hash("mailed code", owner, digits.expose().as_bytes())
    }
}

#[async_trait]
impl IssueCodes for Factors {
    async fn issue_code(
        &self,
        user: &UserKey,
        place: &str,
        until: Timestamp,
    ) -> Result<Secret, String> {
        let random = random_bytes::<8>().map_err(|error| error.to_string())?;
        // The remainder makes no code more likely than another by more than one in a hundred thousand million.
        let digits = format!("{:08}", u64::from_be_bytes(random) % 100_000_000);
        let owner = owner(user, place);
        let new = NewQuestion {
            digest: self.mailed_code_hash(&owner, &Secret::new(digits.as_str())),
            // Using one code also uses up the others of its place.
            about: self.key.hash("mailed codes", &owner, b""),
            body: Vec::new(),
            expires_at: until,
        };
        self.questions.ask(new).await.map_err(|error| failed(error).detail().to_owned())?;
        let (first, second) = digits.split_at(DIGITS / 2);
        Ok(Secret::new(format!("{first} {second}")))
    }
}

fn owner(user: &UserKey, place: &str) -> String {
    format!("{user}\n{place}")
}

#[cfg(test)]
mod tests {
    use super::super::testkit::factors;
    use super::*;
    use crate::store::memory::Memory;

    const NOW: Timestamp = Timestamp::from_secs(1_795_422_879);

    fn later(secs: u64) -> Timestamp {
        NOW.plus(Duration::from_secs(secs))
    }

    struct Scene {
        factors: std::sync::Arc<Factors>,
        kim: UserKey,
        here: CeremonyPlace,
        code: Secret,
    }

    async fn scene() -> Scene {
        let factors = factors(&Memory::new(), FactorMode::Required, |_| {});
        let (kim, here) = (UserKey::new("django", "7"), CeremonyPlace::new("ticket", b"one"));
        let code = factors.issue_code(&kim, here.as_str(), later(600)).await.unwrap();
        Scene { factors, kim, here, code }
    }

    impl Scene {
        async fn check(
            &self,
            user: &UserKey,
            place: &CeremonyPlace,
            code: &str,
            at: Timestamp,
        ) -> Result<(), CodeRefused> {
            let code = &Secret::new(code);
            self.factors.mailed_codes().check(MailedCodeAttempt { user, place, code, at }).await
        }
    }

    const WRONG: Result<(), CodeRefused> = Err(CodeRefused::Not(FactorRefusal::WrongCode));

    #[tokio::test]
    async fn a_mailed_code_is_good_once_for_its_user_in_its_place_and_time() {
        let scene = scene().await;
        let (kim, here) = (&scene.kim, &scene.here);
        let code = scene.code.expose();
        assert_eq!(code.len(), 9, "{code}");
        let wrong = if code.starts_with('1') { "2234 5678" } else { "1234 5678" };
        let (lee, there) = (UserKey::new("django", "8"), CeremonyPlace::new("session", b"one"));
        assert_eq!(scene.check(&lee, here, code, NOW).await, WRONG);
        assert_eq!(scene.check(kim, &there, code, NOW).await, WRONG);
        assert_eq!(scene.check(kim, here, wrong, NOW).await, WRONG);
        for none in ["", "123", "1234 5678 9", "abcd efgh"] {
            let elsewhere = CeremonyPlace::new("ticket", none.as_bytes());
            assert_eq!(scene.check(kim, &elsewhere, none, NOW).await, WRONG, "{none}");
        }
        assert_eq!(scene.check(kim, here, code, later(600)).await, WRONG, "too late");
        let plain = code.replace(' ', "");
        assert_eq!(scene.check(kim, here, &plain, later(599)).await, Ok(()));
        assert_eq!(scene.check(kim, here, code, later(599)).await, WRONG, "twice");
    }

    #[tokio::test]
    async fn a_second_letter_leaves_the_first_code_good_until_one_is_used() {
        let scene = scene().await;
        let again = scene.factors.issue_code(&scene.kim, scene.here.as_str(), later(600));
        let again = again.await.unwrap();
        let (kim, here, first) = (&scene.kim, &scene.here, scene.code.expose());
        assert_eq!(scene.check(kim, here, first, NOW).await, Ok(()));
        assert_eq!(scene.check(kim, here, again.expose(), NOW).await, WRONG);
    }

    #[tokio::test]
    async fn five_tries_a_place_and_then_none_until_the_code_is_over() {
        let scene = scene().await;
        let (kim, here, code) = (&scene.kim, &scene.here, scene.code.expose());
        for n in 0..FREE {
            assert_eq!(scene.check(kim, here, "0", NOW).await, WRONG, "{n}");
        }
        for at in [NOW, later(599)] {
            let waits = scene.check(kim, here, code, at).await;
            assert!(matches!(waits, Err(CodeRefused::Wait(_))), "{waits:?}");
        }
        let there = CeremonyPlace::new("ticket", b"two");
        let other = scene.factors.issue_code(kim, there.as_str(), later(600)).await.unwrap();
        assert_eq!(scene.check(kim, &there, other.expose(), NOW).await, Ok(()), "by place");
    }

    #[tokio::test]
    async fn of_parallel_uses_one_goes_on() {
        let scene = scene().await;
        let (kim, here, code) = (&scene.kim, &scene.here, scene.code.expose());
        let (one, other) =
            tokio::join!(scene.check(kim, here, code, NOW), scene.check(kim, here, code, NOW));
        assert_eq!([one, other].iter().filter(|result| result.is_ok()).count(), 1);
    }
}
