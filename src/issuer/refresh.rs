//! Exchanges refresh tokens, the gateway's or taken over, and answers `/verify`.

use super::take_over::VerifiedRefreshToken;
use super::{IssuedRefusal, Issuers};
use crate::clock::Timestamp;
use crate::config::RotationPolicy;
use crate::context::{Events, RequestContext};
use crate::refusal::Refusal;
use crate::session::refresh::not_taken;
use crate::session::{TokenPair, looks_like_ours};

impl Issuers {
    /// Gives new tokens for a refresh token of the gateway, or for one that a service issued, which begins a session here
    /// when it is presented for the first time.
    ///
    /// # Errors
    /// A [`Refusal`] of the token, or [`Refusal::StoreUnavailable`].
    pub async fn refresh(
        &self,
        token: &str,
        rotation: RotationPolicy,
        context: &RequestContext<'_>,
    ) -> Result<TokenPair, Refusal> {
        let verified = match self.verified_refresh(token, context.at, context.events).await {
            Ok(verified) => verified,
            Err(refusal) => return Err(not_taken(refusal, context.events)),
        };
        let (presented, session) = match verified {
            VerifiedRefreshToken::Own(presented) => {
                let session =
                    self.sessions.refresh_tokens().session_of(&presented, context.at).await?;
                (presented, session)
            }
            VerifiedRefreshToken::Outstanding(token, presented) => {
                match self.taken_over(&token, context).await {
                    Ok(session) => (presented, session),
                    Err(refusal) => return Err(not_taken(refusal, context.events)),
                }
            }
        };
        self.sessions.refresh_tokens().exchange(&presented, session, rotation, context).await
    }

    /// Whether a token of the gateway (access or refresh, unspent), or one of an issuer's in `Authorization: Bearer`, is
    /// valid. This does not count as a use of the session.
    ///
    /// # Errors
    /// A [`Refusal`] of the token, or [`Refusal::StoreUnavailable`].
    pub async fn verify(&self, token: &str, at: Timestamp) -> Result<(), Refusal> {
        if !looks_like_ours(token) {
            let is_one_or_unknown = match self.registry.outstanding(token, at).await {
                Ok(_) => true,
                Err(refused) => refused.iter().any(|(_, why)| *why == IssuedRefusal::Unavailable),
            };
            if is_one_or_unknown {
                return self.verify_refresh(token, at).await;
            }
            if let Some(shown) = self.registry.as_posted(token) {
                // No request is refused here: the caller only wants to know the result.
                let issued = self.issued(&shown, None, at, &Events::default()).await;
                return issued.map(|_| ()).map_err(|(refusal, _)| refusal);
            }
        }
        self.sessions.verify(token, at).await
    }
}
