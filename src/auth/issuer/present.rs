//! A request's credential, from first sight to an answer.

use std::sync::Arc;

use super::refused::{is_anothers, public};
use super::{Issued, One, Shown, Way};
use crate::auth::Auth;
use crate::caller::{Identity, Proof};
use crate::clock::Timestamp;
use crate::event::{IssuedRefusal, What};
use crate::refusal::Refusal;

/// A credential that holds, and whose it is.
type Found = (Arc<Issued>, Arc<Identity>);

impl Auth {
    /// The issuers whose the credential can be, one after another, until one knows it.
    ///
    /// # Errors
    /// A [`Refusal`]; [`Refusal::NotAuthenticated`] for a session in which nobody is signed in, which is no credential.
    pub(in crate::auth) async fn issued(
        &self,
        shown: &Shown<'_>,
        at: Timestamp,
        happened: &mut Vec<What>,
    ) -> Result<Found, (Refusal, Proof)> {
        let mut refused: Vec<(&One, IssuedRefusal)> = Vec::new();
        for index in shown.issuers {
            let Some(one) = self.issuers.all.get(*index) else { continue };
            match self.issued_by(one, *index, shown.token, at).await {
                Ok(found) => return Ok(found),
                Err(why) => {
                    refused.push((one, why));
                    if !is_anothers(why) {
                        break;
                    }
                }
            }
        }
        // The last is the one that knew the credential, if any did.
        let Some((one, why)) = refused.last().copied() else {
            return Err((Refusal::TokenNotValid, Proof::Issued(0)));
        };
        if one.proof.is_cookie() && why == IssuedRefusal::NoUser {
            return Err((Refusal::NotAuthenticated, one.proof));
        }
        for (one, why) in refused {
            happened.push(What::IssuedRefused { issuer: Arc::clone(&one.name), why });
        }
        Err((public(why, one.proof), one.proof))
    }

    async fn issued_by(
        &self,
        one: &One,
        index: usize,
        credential: &str,
        at: Timestamp,
    ) -> Result<Found, IssuedRefusal> {
        if one.is_over(at) {
            return Err(IssuedRefusal::NoLongerAccepted);
        }
        let Some(issued) = self.memory.recall_issued(index, credential) else {
            let judged = match &one.way {
                Way::Said(issuer) => issuer.judge(credential, at)?,
                Way::Asked(issuer) => issuer.ask(credential, at).await?,
            };
            let issued = Arc::new(self.issuers.settle(index, judged, at).await?);
            let identity = self.holds(one, &issued, at).await?;
            self.memory.remember_issued(index, credential, Arc::clone(&issued));
            return Ok((issued, identity));
        };
        match (&one.way, self.holds(one, &issued, at).await) {
            (Way::Said(_), held) => held.map(|identity| (issued, identity)),
            (Way::Asked(_), Ok(identity)) => {
                let every = one.directory.every;
                let Some(turn) = issued.look.turn(every, at) else { return Ok((issued, identity)) };
                match self.again(one, index, credential, &issued, at).await {
                    Ok(found) => Ok(found),
                    Err(IssuedRefusal::Unavailable) => {
                        turn.failed(every, at);
                        Ok((Arc::clone(&issued), identity))
                    }
                    Err(why) => {
                        self.memory.forget_issued(index, credential);
                        Err(why)
                    }
                }
            }
            // The service may have given it more time.
            (Way::Asked(_), Err(IssuedRefusal::Expired)) => {
                self.again(one, index, credential, &issued, at).await
            }
            (Way::Asked(_), Err(why)) => Err(why),
        }
    }

    /// Judges anew what was known before.
    async fn again(
        &self,
        one: &One,
        index: usize,
        credential: &str,
        before: &Issued,
        at: Timestamp,
    ) -> Result<Found, IssuedRefusal> {
        let Way::Asked(issuer) = &one.way else { return Err(IssuedRefusal::Malformed) };
        let mut judged = issuer.ask(credential, at).await?;
        // A service that keeps it anew makes it no younger: what ended it before ends it still.
        judged.issued_at = judged.issued_at.zip(before.issued_at).map(|(now, then)| now.min(then));
        let issued = Arc::new(self.issuers.settle(index, judged, at).await?);
        let identity = self.holds(one, &issued, at).await?;
        self.memory.remember_issued(index, credential, Arc::clone(&issued));
        Ok((issued, identity))
    }

    /// Whether it counts now, and for whom.
    async fn holds(
        &self,
        one: &One,
        issued: &Issued,
        at: Timestamp,
    ) -> Result<Arc<Identity>, IssuedRefusal> {
        let known = self.issuers.known(&one.directory, &issued.user, at).await?;
        if !issued.password.is_that_of(&known) {
            return Err(IssuedRefusal::PasswordChanged);
        }
        // After the user was looked at: that look may have ended it.
        self.issuers.holds(issued, at)?;
        Ok(Arc::clone(&known.identity))
    }
}
