//! Checks second factors that the user's service stores, through [`FactorsAtService`].

use std::sync::Arc;

use super::{CodeKind, CodeRefused, Factors, REMEMBERED, refused, written};
use crate::caller::UserKey;
use crate::clock::Timestamp;
use crate::directory::DirectoryError;
use crate::directory::second_factors::{
    FactorsAtService, ServiceCode, ServiceFactorKind, ServiceFactors, ServiceVerdict,
};
use crate::event::FactorRefusal;
use crate::refusal::Refusal;
use crate::secret::{Digest, Secret};
use crate::store::factors::{FactorAttempt, UsedCode};

impl Factors {
    fn services_of(&self, user: &UserKey) -> impl Iterator<Item = &dyn FactorsAtService> {
        let directory = Arc::clone(&user.directory);
        let theirs = move |one: &&Arc<dyn FactorsAtService>| one.directory() == &*directory;
        self.at_services.iter().filter(theirs).map(|one| &**one)
    }

    /// Returns the second factors of a user from all packages of their service.
    pub(super) async fn at_service(
        &self,
        user: &UserKey,
        at: Timestamp,
    ) -> Result<ServiceFactors, Refusal> {
        let mut all = ServiceFactors::default();
        for service in self.services_of(user) {
            let one = service.of(user, at).await.map_err(not_asked)?;
            if !one.usable.is_empty() {
                // If one package checks codes now, the user need not wait.
                all.wait = match all.usable.is_empty() {
                    true => one.wait,
                    false => all.wait.and_then(|wait| Some(wait.min(one.wait?))),
                };
            }
            all.usable.extend(one.usable);
            all.is_elsewhere |= one.is_elsewhere;
        }
        all.is_elsewhere &= all.usable.is_empty();
        Ok(all)
    }

    /// Lets the user's service check a code.
    pub(super) async fn check_at_service(
        &self,
        user: &UserKey,
        code: &Secret,
        source: Digest,
        at: Timestamp,
    ) -> Result<CodeKind, CodeRefused> {
        let typed = Secret::new(code.expose().trim());
        let digits = written::digits(code.expose());
        let tried = ServiceCode { typed: &typed, digits: digits.as_ref(), at };
        let mut refused = CodeRefused::Not(FactorRefusal::WrongCode);
        for service in self.services_of(user) {
            let looked = service.use_code(user, tried).await;
            let kind = match looked.map_err(|error| CodeRefused::Failed(not_asked(error)))? {
                ServiceVerdict::Used(kind) => kind,
                ServiceVerdict::UsedOnce { kind, once } => {
                    if !self.is_first_use(user, &once, at).await? {
                        return Err(CodeRefused::Not(FactorRefusal::UsedCode));
                    }
                    kind
                }
                ServiceVerdict::Wrong => continue,
                ServiceVerdict::Replayed => {
                    refused = CodeRefused::Not(FactorRefusal::UsedCode);
                    continue;
                }
                ServiceVerdict::Wait(wait) => {
                    refused = CodeRefused::Wait(wait);
                    continue;
                }
            };
            self.use_code(user, UsedCode::Elsewhere, source, at).await?;
            return Ok(match kind {
                ServiceFactorKind::App => CodeKind::App,
                ServiceFactorKind::WrittenCodes { left } => CodeKind::Recovery { left },
            });
        }
        Err(refused)
    }

    /// Records the use of a code that the service itself does not record; `false` if it was used before. The record is an
    /// attempt that is allowed once for as long as any code is right.
    async fn is_first_use(
        &self,
        user: &UserKey,
        once: &str,
        at: Timestamp,
    ) -> Result<bool, CodeRefused> {
        let attempt = FactorAttempt {
            source: self.key.hash("used at a service", &user.to_string(), once.as_bytes()),
            at,
            free: 0,
            first_wait: REMEMBERED,
            longest_wait: REMEMBERED,
            remembered: REMEMBERED,
        };
        Ok(self.store.count_factor_attempt(attempt).await.map_err(refused)?.is_none())
    }

    /// Returns what prevents a directory's users from using the factors at their service, a line each.
    ///
    /// # Errors
    /// [`DirectoryError`]
    pub async fn missing_at_service(&self, directory: &str) -> Result<Vec<String>, DirectoryError> {
        let mut missing = Vec::new();
        for one in self.at_services.iter().filter(|one| one.directory() == directory) {
            missing.extend(one.missing().await?);
        }
        Ok(missing)
    }
}

fn not_asked(error: DirectoryError) -> Refusal {
    tracing::warn!(%error, "a service's second factors cannot be looked at");
    Refusal::DirectoryUnavailable
}
