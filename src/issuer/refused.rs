//! Why a token is refused: what is told to the operator, and the little that is told to the client.

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

/// Could the token be another issuer's?
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

/// What a client learns from an issuer whose refusals are those of a service that reads hand-made tokens. Only who has the
/// service's key, or a token of it, can learn from the last that a user is not there.
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
        // Of other kinds, or no fault of the token's.
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

/// What a client learns of a token that its service keeps in a table: those classes have one text for all of it.
pub(super) const fn in_words_of_tables(why: IssuedRefusal, proof: Proof) -> Refusal {
    match public(why, proof) {
        Refusal::TokenNotValid | Refusal::TokenExpired => Refusal::OpaqueTokenNotValid,
        other => other,
    }
}

/// What a client learns: whether to come with another credential, and nothing of user or issuer.
pub(crate) const fn public(why: IssuedRefusal, proof: Proof) -> Refusal {
    match why {
        IssuedRefusal::Unavailable => Refusal::DirectoryUnavailable,
        IssuedRefusal::Busy => Refusal::Busy,
        IssuedRefusal::LockedOut => Refusal::TooManyAttempts,
        IssuedRefusal::BadCredentials => Refusal::BadCredentials,
        IssuedRefusal::SecondFactorRequired => Refusal::SecondFactorElsewhere,
        IssuedRefusal::Ended => Refusal::SessionEnded,
        IssuedRefusal::Blacklisted => Refusal::TokenBlacklisted,
        // Whatever is wrong with a cookie, its browser should drop it.
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
