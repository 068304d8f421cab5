//! Why tokens of others are refused.

/// Why a token was refused that was presented as an `[[issuer]]`'s.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum IssuedRefusal {
    /// It has not the form of a token.
    Malformed,
    /// It is signed otherwise than that issuer signs.
    BadAlgorithm,
    /// The issuer's key did not sign it.
    BadSignature,
    /// A claim has a type or value that it cannot have, or is for somebody else.
    BadClaim,
    /// It is from the future.
    NotYetValid,
    /// It has expired.
    Expired,
    /// It has no `exp`.
    NoExpiry,
    /// It has no `jti`.
    NoTokenId,
    /// It is a token of another kind.
    WrongType,
    /// It names no user.
    NoUser,
    /// The directory knows no such user.
    UnknownUser,
    /// The user is there and not active.
    InactiveUser,
    /// It is from before the user's present password.
    PasswordChanged,
    /// It, or everything that its user had, was ended here.
    Ended,
    /// It was first seen too long ago (`issuer.max_age`).
    TooOld,
    /// The service's own blacklist has it.
    Blacklisted,
    /// The issuer's time is over (`issuer.accept_until`).
    NoLongerAccepted,
    /// The service has no such session or token.
    NotFound,
    /// The session was begun by an authentication backend that is not configured.
    UnknownBackend,
    /// It is no name with its password.
    BadCredentials,
    /// A name with its password, of a user whom the service asks for a second factor.
    SecondFactorRequired,
    /// Too many wrong passwords before; this one was not looked at.
    LockedOut,
    /// Too many passwords wait to be checked.
    Busy,
    /// Directory, store or service cannot be asked.
    Unavailable,
}

impl IssuedRefusal {
    /// Every one.
    pub const ALL: &'static [Self] = &[
        Self::Malformed,
        Self::BadAlgorithm,
        Self::BadSignature,
        Self::BadClaim,
        Self::NotYetValid,
        Self::Expired,
        Self::NoExpiry,
        Self::NoTokenId,
        Self::WrongType,
        Self::NoUser,
        Self::UnknownUser,
        Self::InactiveUser,
        Self::PasswordChanged,
        Self::Ended,
        Self::TooOld,
        Self::Blacklisted,
        Self::NoLongerAccepted,
        Self::NotFound,
        Self::UnknownBackend,
        Self::BadCredentials,
        Self::SecondFactorRequired,
        Self::LockedOut,
        Self::Busy,
        Self::Unavailable,
    ];

    /// Stable name for metrics and the audit trail.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::BadAlgorithm => "bad_algorithm",
            Self::BadSignature => "bad_signature",
            Self::BadClaim => "bad_claim",
            Self::NotYetValid => "not_yet_valid",
            Self::Expired => "expired",
            Self::NoExpiry => "no_exp",
            Self::NoTokenId => "no_jti",
            Self::WrongType => "wrong_type",
            Self::NoUser => "no_user",
            Self::UnknownUser => "unknown_user",
            Self::InactiveUser => "inactive_user",
            Self::PasswordChanged => "password_changed",
            Self::Ended => "ended",
            Self::TooOld => "too_old",
            Self::Blacklisted => "blacklisted",
            Self::NoLongerAccepted => "no_longer_accepted",
            Self::NotFound => "not_found",
            Self::UnknownBackend => "unknown_backend",
            Self::BadCredentials => "bad_credentials",
            Self::SecondFactorRequired => "second_factor_required",
            Self::LockedOut => "locked_out",
            Self::Busy => "busy",
            Self::Unavailable => "unavailable",
        }
    }
}
