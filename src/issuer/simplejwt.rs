//! `kind = "simplejwt"`: checks the tokens of djangorestframework-simplejwt, by the service's settings.

use std::time::Duration;

use super::key::{self, IssuerKeyError};
use super::{Issuer, JudgedCredential, Password, TokenContent};
use crate::caller::SessionId;
use crate::clock::Timestamp;
use crate::config::{IssuerKind, IssuerSettings, SimpleJwtIssuer};
use crate::django::jws::{Expected, NotAccepted};
use crate::django::simplejwt::{self, SimpleJwtRules, TokenType, VerifiedSimpleJwt};
use crate::jose::VerifyingKey;

/// A service's SimpleJWT, which verifies its tokens.
pub(super) struct SimpleJwt {
    key: VerifyingKey,
    rules: SimpleJwtRules,
    check_revoke_token: bool,
}

impl SimpleJwt {
    pub(super) fn new(key: VerifyingKey, settings: &SimpleJwtIssuer) -> Self {
        let rules = SimpleJwtRules {
            token_types: settings.token_types.clone(),
            user_id_claim: settings.user_id_claim.clone(),
            expected: Expected {
                audience: settings.audience.clone(),
                issuer: settings.issuer.clone(),
                leeway: settings.signature.leeway,
                takes_numeric_ids: settings.signature.numeric_ids,
            },
        };
        Self { key, rules, check_revoke_token: settings.check_revoke_token }
    }

    /// Returns the verifier of the same service's refresh tokens alone.
    pub(super) fn refresh(key: VerifyingKey, settings: &SimpleJwtIssuer) -> Self {
        let mut this = Self::new(key, settings);
        this.rules.token_types = vec![TokenType::Refresh];
        this
    }

    /// Checks everything about a token but its user.
    pub(super) fn verify(
        &self,
        token: &str,
        at: Timestamp,
    ) -> Result<JudgedCredential, NotAccepted> {
        self.judged(simplejwt::verify(&self.key, &self.rules, token, at)?, at)
    }

    fn judged(
        &self,
        verified: VerifiedSimpleJwt,
        at: Timestamp,
    ) -> Result<JudgedCredential, NotAccepted> {
        // The last token with the same `jti` expires one lifetime after the last moment at which it can be refreshed.
        let lifetime =
            verified.issued_at.map_or(Duration::ZERO, |iat| verified.expires_at.since(iat));
        let deny_for = verified
            .refresh_expires_at
            .map_or(Duration::ZERO, |until| until.since(at).saturating_add(lifetime));
        Ok(JudgedCredential {
            user: verified.user.ok_or(NotAccepted::NoUser)?,
            issued_at: verified.issued_at,
            expires_at: Some(verified.expires_at.plus(self.rules.expected.leeway)),
            token_id: Some(verified.token_id),
            deny_for,
            password: if self.check_revoke_token {
                Password::Print(verified.password)
            } else {
                Password::Unsaid
            },
            max_age: None,
        })
    }
}

/// Opens the verifier of an issuer's refresh tokens to take over, if that is configured.
pub(super) fn take_over(settings: &IssuerSettings) -> Result<Option<SimpleJwt>, IssuerKeyError> {
    match &settings.kind {
        IssuerKind::SimpleJwt(kind)
            if kind.adopt_refresh_tokens && !settings.is_token_in_cookie() =>
        {
            refresh_tokens(settings)
        }
        _ => Ok(None),
    }
}

/// Opens the verifier of an issuer's refresh tokens, if it has such.
pub(super) fn refresh_tokens(
    settings: &IssuerSettings,
) -> Result<Option<SimpleJwt>, IssuerKeyError> {
    let IssuerKind::SimpleJwt(kind) = &settings.kind else { return Ok(None) };
    Ok(Some(SimpleJwt::refresh(key::read(settings, &kind.signature)?, kind)))
}

impl Issuer for SimpleJwt {
    fn judge(&self, token: &str, at: Timestamp) -> Result<TokenContent, NotAccepted> {
        let verified = simplejwt::verify(&self.key, &self.rules, token, at)?;
        let leeway = self.rules.expected.leeway;
        match (&verified.session, &verified.user) {
            (Some(session), Some(user)) => Ok(TokenContent::Session {
                session: SessionId::new(session),
                user: user.clone(),
                expires_at: Some(verified.expires_at.plus(leeway)),
            }),
            (_, _) => self.judged(verified, at).map(TokenContent::All),
        }
    }
}
