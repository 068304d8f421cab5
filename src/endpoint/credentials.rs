//! The caller of an own path, where that matters: `session`, `logout` and `logout/all`.

use super::Endpoints;
use crate::issuer::credential::{Credential, Presented};
use crate::refusal::Refusal;
use crate::session::personal_token::PersonalTokenUse;
use crate::wire::arrival::Arrival;

impl Endpoints {
    /// Returns the caller's credential; a personal access token only if it is valid for this use.
    pub(super) async fn caller(
        &self,
        arrival: &Arrival,
        personal: PersonalTokenUse<'_>,
    ) -> Result<Credential, Refusal> {
        let (credential, refusal) = self.caller_to_confirm(arrival, personal).await?;
        refusal.map_or(Ok(credential), Err)
    }

    /// Returns the caller's credential also if they first have to confirm that it is still them: then with that refusal.
    pub(super) async fn caller_to_confirm(
        &self,
        arrival: &Arrival,
        personal: PersonalTokenUse<'_>,
    ) -> Result<(Credential, Option<Refusal>), Refusal> {
        match self
            .issuers
            .presented(arrival, &crate::config::CredentialSelection::All, personal)
            .await
        {
            Presented::Good(credential) => {
                let known = credential.known();
                let (user, session) = (&known.identity.key, known.session.as_ref());
                match self.issuers.sessions().blocks().refusal_for(user, session, arrival.at) {
                    asked @ (Some(Refusal::InsufficientAuthentication) | None) => {
                        Ok((credential, asked))
                    }
                    Some(refusal) => Err(refusal),
                }
            }
            Presented::Nothing => Err(Refusal::NotAuthenticated),
            Presented::Bad(refusal, _) | Presented::Malformed(refusal) => Err(refusal),
        }
    }
}

/// Returns the session, or `None` if the credential has none. A failure that leaves this unknown stays an error.
pub(super) fn live<S>(found: Result<S, Refusal>) -> Result<Option<S>, Refusal> {
    match found {
        Ok(session) => Ok(Some(session)),
        Err(refusal) if refusal.status().is_server_error() => Err(refusal),
        Err(_) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn not_knowing_is_not_the_same_as_no_session() {
        assert_eq!(live(Ok(1)), Ok(Some(1)));
        for gone in [Refusal::SessionEnded, Refusal::TokenExpired, Refusal::TokenNotValid] {
            assert_eq!(live::<()>(Err(gone)), Ok(None));
        }
        assert_eq!(live::<()>(Err(Refusal::StoreUnavailable)), Err(Refusal::StoreUnavailable));
    }
}
