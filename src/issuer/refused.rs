//! Maps the reason for which a token is refused, which the operator sees, to the little that the client sees.

use crate::caller::Proof;
use crate::django::jws::NotAccepted;
use crate::event::IssuedRefusal;
use crate::refusal::Refusal;

impl From<NotAccepted> for IssuedRefusal {
    fn from(why: NotAccepted) -> Self {
        match why {
            NotAccepted::Malformed => Self::Malformed,
            NotAccepted::BadAlgorithm => Self::BadAlgorithm,
            NotAccepted::BadSignature => Self::BadSignature,
            NotAccepted::BadClaim => Self::BadClaim,
            NotAccepted::NotYetValid => Self::NotYetValid,
            NotAccepted::Expired => Self::Expired,
            NotAccepted::NoExpiry => Self::NoExpiry,
            NotAccepted::NoTokenId => Self::NoTokenId,
            NotAccepted::WrongType => Self::WrongType,
            NotAccepted::NoUser => Self::NoUser,
        }
    }
}

/// Whether the token could be another issuer's.
pub(crate) const fn is_anothers(why: IssuedRefusal) -> bool {
    matches!(
        why,
        IssuedRefusal::Malformed
            | IssuedRefusal::BadAlgorithm
            | IssuedRefusal::BadSignature
            | IssuedRefusal::BadClaim
            | IssuedRefusal::WrongType
            | IssuedRefusal::NoUser
            | IssuedRefusal::NoLongerAccepted
            | IssuedRefusal::NotFound
            | IssuedRefusal::UnknownBackend
    )
}

/// Returns what a client sees from an issuer whose refusals are those of a service that reads hand-made tokens. The last
/// refusal reveals that a user does not exist, but only to somebody who has the service's key or one of its tokens.
pub(super) const fn in_words_of_jwt(why: IssuedRefusal, proof: Proof) -> Refusal {
    match why {
        IssuedRefusal::Malformed | IssuedRefusal::BadAlgorithm | IssuedRefusal::BadSignature => {
            Refusal::JwtUndecodable
        }
        IssuedRefusal::Expired | IssuedRefusal::TooOld | IssuedRefusal::NoLongerAccepted => {
            Refusal::JwtExpired
        }
        IssuedRefusal::Ended | IssuedRefusal::PasswordChanged => Refusal::JwtEnded,
        IssuedRefusal::UnknownUser | IssuedRefusal::InactiveUser => Refusal::JwtUserNotFound,
        IssuedRefusal::BadClaim
        | IssuedRefusal::NotYetValid
        | IssuedRefusal::NoExpiry
        | IssuedRefusal::NoTokenId
        | IssuedRefusal::WrongType
        | IssuedRefusal::NoUser => Refusal::JwtInvalid,
        // These are of other kinds, or not the token's fault.
        IssuedRefusal::Unavailable
        | IssuedRefusal::Blacklisted
        | IssuedRefusal::NotFound
        | IssuedRefusal::UnknownBackend
        | IssuedRefusal::BadCredentials
        | IssuedRefusal::SecondFactorRequired
        | IssuedRefusal::LockedOut
        | IssuedRefusal::Busy => public(why, proof),
    }
}

/// Returns what a client sees for a token that its service has in a table: such services have one text for every reason.
pub(super) const fn in_words_of_tables(why: IssuedRefusal, proof: Proof) -> Refusal {
    match public(why, proof) {
        Refusal::TokenNotValid | Refusal::TokenExpired => Refusal::OpaqueTokenNotValid,
        other => other,
    }
}

/// Returns what a client sees: whether to come with another credential, and nothing about the user or the issuer.
pub(crate) const fn public(why: IssuedRefusal, proof: Proof) -> Refusal {
    match why {
        IssuedRefusal::Unavailable => Refusal::DirectoryUnavailable,
        IssuedRefusal::Busy => Refusal::Busy,
        IssuedRefusal::LockedOut => Refusal::TooManyAttempts,
        IssuedRefusal::BadCredentials => Refusal::BadCredentials,
        IssuedRefusal::SecondFactorRequired => Refusal::SecondFactorElsewhere,
        IssuedRefusal::Ended => Refusal::SessionEnded,
        IssuedRefusal::Blacklisted => Refusal::TokenBlacklisted,
        // Whatever is wrong with a cookie, its browser should delete it.
        _ if proof.is_cookie() => Refusal::SessionEnded,
        IssuedRefusal::Expired => Refusal::TokenExpired,
        IssuedRefusal::WrongType => Refusal::TokenWrongType,
        IssuedRefusal::Malformed
        | IssuedRefusal::BadAlgorithm
        | IssuedRefusal::BadSignature
        | IssuedRefusal::BadClaim
        | IssuedRefusal::NotYetValid
        | IssuedRefusal::NoExpiry
        | IssuedRefusal::NoTokenId
        | IssuedRefusal::NoUser
        | IssuedRefusal::UnknownUser
        | IssuedRefusal::InactiveUser
        | IssuedRefusal::PasswordChanged
        | IssuedRefusal::TooOld
        | IssuedRefusal::NotFound
        | IssuedRefusal::UnknownBackend
        | IssuedRefusal::NoLongerAccepted => Refusal::TokenNotValid,
    }
}
