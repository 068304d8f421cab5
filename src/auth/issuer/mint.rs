//! Tokens under an issuer's key, for the alias that stands in for the service's own sign-in.
//!
//! The service's reader accepts them, and so do front ends that look into them. What the originals lack makes them better
//! ones: `exp`, `iat`, `jti`, and `sid`, by which each is a credential of one session of the gateway and ends with it.

use crate::auth::Mint;
use crate::caller::{SessionId, UserKey};
use crate::clock::Timestamp;
use crate::config::{IssuerKind, IssuerSettings};
use crate::django::jws::SigningKey;
use crate::django::simplejwt::{NewHandMade, mint_hand_made};
use crate::refusal::Refusal;
use crate::secret::{Secret, random_id};
use crate::store::Session;

use super::{IssuerKeyError, key};

/// The keys of the issuers under which tokens can be made, by the issuers' indexes.
pub(in crate::auth) struct Mints(Vec<Option<One>>);

struct One {
    /// Whose ids its claim holds.
    directory: String,
    key: SigningKey,
    claim: String,
}

impl Mints {
    /// Reads the keys.
    pub(in crate::auth) fn open(settings: &[IssuerSettings]) -> Result<Self, IssuerKeyError> {
        let one = |settings: &IssuerSettings| {
            let IssuerKind::Jwt { signature, claim, .. } = &settings.kind else { return Ok(None) };
            let key = key::signing(settings, signature)?;
            Ok(key.map(|key| One {
                directory: settings.directory.clone(),
                key,
                claim: claim.clone(),
            }))
        };
        settings.iter().map(one).collect::<Result<_, _>>().map(Self)
    }

    /// Can a token be made for this user? One of another directory would be somebody else by their id.
    pub(in crate::auth) fn can_mint(&self, mint: &Mint, user: &UserKey) -> Result<(), Refusal> {
        let one = self.0.get(mint.issuer).and_then(Option::as_ref).ok_or(Refusal::Internal)?;
        if *one.directory == *user.directory { Ok(()) } else { Err(Refusal::OtherDirectory) }
    }

    /// A token of the session's user, good for as long as was asked, and no longer than the session.
    pub(in crate::auth) fn mint(
        &self,
        mint: &Mint,
        session: &Session,
        at: Timestamp,
    ) -> Result<Secret, Refusal> {
        let one = self.0.get(mint.issuer).and_then(Option::as_ref).ok_or(Refusal::Internal)?;
        let token_id = random_id().map_err(|_| Refusal::Internal)?;
        let identity = session.identity.load();
        let new = NewHandMade {
            claim: &one.claim,
            user: &identity.key.id,
            name: &identity.name,
            expires_at: at.plus(mint.lifetime).min(session.expires_at),
            issued_at: at,
            token_id: &token_id,
            session: Some(SessionId::as_str(&session.id)),
        };
        mint_hand_made(&one.key, &new).map_err(|error| {
            tracing::error!(%error, "a token under an issuer's key could not be made");
            Refusal::Internal
        })
    }
}
