//! Refuses tokens that the service itself has revoked: those in its blacklist.
//!
//! The blacklist is asked when a token is first seen, and again every `refresh_interval` of the directory (a minute at most)
//! while the token is in use. A token that was found there is ended for good, even after the service removes its row
//! (`flushexpiredtokens` goes by the `exp` that a sliding token had then, and it may have a later one by now). A blacklist
//! that cannot be asked changes nothing for a token that was valid before; for others it is 503.

use super::Issuers;
use super::key::{IssuerKeyError, IssuerKeyProblem};
use super::{IssuedCredential, IssuerRegistry, JudgedCredential, OneIssuer, keyed};
use crate::clock::Timestamp;
use crate::config::{IssuerKind, IssuerSettings};
use crate::event::IssuedRefusal;
use crate::secret::Digest;
use crate::service::blacklist::TokenBlacklist;
use crate::service::database::{DatabaseAccess, Databases};

/// Opens the blacklist of an issuer's service, if one is configured.
pub(super) fn blacklist(
    settings: &IssuerSettings,
    databases: &Databases,
) -> Result<Option<TokenBlacklist>, IssuerKeyError> {
    let IssuerKind::SimpleJwt(kind) = &settings.kind else { return Ok(None) };
    let Some(database) = &kind.blacklist else { return Ok(None) };
    let database = databases.open(database, DatabaseAccess::Read);
    TokenBlacklist::new(&settings.directory, database)
        .map(Some)
        .map_err(|why| IssuerKeyError::of(settings, IssuerKeyProblem::Database(why)))
}

impl OneIssuer {
    /// Whether the service has revoked the token with this `jti`, by a query now.
    pub(super) async fn has_taken_back(&self, token_id: &str) -> Result<bool, IssuedRefusal> {
        let Some(blacklist) = &self.blacklist else { return Ok(false) };
        blacklist.holds(token_id).await.map_err(|error| {
            tracing::warn!(%error, "a service's blacklist cannot be asked");
            IssuedRefusal::Unavailable
        })
    }

    /// Returns the store's key for the date at which the token was found in the blacklist.
    fn found_there(&self, token_id: &str) -> Digest {
        keyed(&["blacklisted", &self.name, token_id])
    }
}

impl IssuerRegistry {
    /// Refuses a token that is seen for the first time, if the service has revoked it.
    pub(super) async fn refuse_taken_back(
        &self,
        one: &OneIssuer,
        judged: &JudgedCredential,
        at: Timestamp,
    ) -> Result<(), IssuedRefusal> {
        let (Some(_), Some(token_id)) = (&one.blacklist, &judged.token_id) else { return Ok(()) };
        let found_there = one.found_there(token_id);
        if self.stamps.stamp(&found_there).is_some() {
            return Err(IssuedRefusal::Blacklisted);
        }
        if !one.has_taken_back(token_id).await? {
            return Ok(());
        }
        let until = judged.expires_at.unwrap_or(at).max(at.plus(judged.deny_for));
        // A failure of the store is logged, and the blacklist is asked again next time.
        let _ = self.put(found_there, at, until).await;
        Err(IssuedRefusal::Blacklisted)
    }
}

impl Issuers {
    /// Asks again about a token that was valid before, if that is due.
    pub(super) async fn refuse_taken_back_since(
        &self,
        one: &OneIssuer,
        issued: &IssuedCredential,
        credential: &str,
        at: Timestamp,
    ) -> Result<(), IssuedRefusal> {
        let (Some(_), Some(token_id)) = (&one.blacklist, &issued.token_id) else { return Ok(()) };
        let every = one.directory.every;
        let Some(turn) = issued.look.turn(every, at) else { return Ok(()) };
        match one.has_taken_back(token_id).await {
            Ok(false) => {
                turn.done(at);
                Ok(())
            }
            Ok(true) => {
                let until = issued.expires_at.max(at.plus(issued.deny_for));
                let _ = self.registry.put(one.found_there(token_id), at, until).await;
                self.verified.forget(issued.space, credential);
                Err(IssuedRefusal::Blacklisted)
            }
            Err(_) => {
                turn.failed(every, at);
                Ok(())
            }
        }
    }
}
