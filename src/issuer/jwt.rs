//! `kind = "jwt"`: checks tokens that a service makes by hand, which name a user and may contain nothing else.

use std::time::Duration;

use super::{Issuer, JudgedCredential, Password, TokenContent};
use crate::caller::SessionId;
use crate::clock::Timestamp;
use crate::config::IssuerSignature;
use crate::django::jws::{Expected, NotAccepted};
use crate::django::simplejwt::verify_hand_made;
use crate::jose::VerifyingKey;

/// A service that makes its tokens by hand.
pub(super) struct HandMade {
    key: VerifyingKey,
    claim: String,
    max_age: Duration,
    expected: Expected,
}

impl HandMade {
    pub(super) fn new(
        key: VerifyingKey,
        claim: &str,
        max_age: Duration,
        signature: &IssuerSignature,
    ) -> Self {
        let expected = Expected {
            leeway: signature.leeway,
            takes_numeric_ids: signature.numeric_ids,
            ..Expected::default()
        };
        Self { key, claim: claim.to_owned(), max_age, expected }
    }
}

impl Issuer for HandMade {
    fn judge(&self, token: &str, at: Timestamp) -> Result<TokenContent, NotAccepted> {
        let made = verify_hand_made(&self.key, &self.claim, &self.expected, token, at)?;
        let expires_at = made.expires_at.map(|end| end.plus(self.expected.leeway));
        if let Some(session) = made.session {
            let session = SessionId::new(&session);
            return Ok(TokenContent::Session { session, user: made.user, expires_at });
        }
        Ok(TokenContent::All(JudgedCredential {
            user: made.user,
            issued_at: made.issued_at,
            expires_at,
            token_id: made.token_id,
            deny_for: Duration::ZERO,
            password: Password::Unsaid,
            max_age: Some(self.max_age),
        }))
    }
}
