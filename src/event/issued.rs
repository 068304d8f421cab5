//! Why tokens of other issuers are refused.

/// Why a token that was presented as one of an `[[issuer]]` was refused.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum IssuedRefusal {
    /// The text does not have the form of a token.
    Malformed,
    /// The algorithm is not the one that this issuer signs with.
    BadAlgorithm,
    /// The signature does not verify with the issuer's key.
    BadSignature,
    /// A claim has a type or value that it cannot have, or names another audience or issuer.
    BadClaim,
    /// The token is not valid yet.
    NotYetValid,
    /// The token has expired.
    Expired,
    /// The token has no `exp`.
    NoExpiry,
    /// The token has no `jti`.
    NoTokenId,
    /// The token is of another type.
    WrongType,
    /// The token names no user.
    NoUser,
    /// The directory knows no such user.
    UnknownUser,
    /// The user exists but is not active.
    InactiveUser,
    /// The token is older than the user's present password.
    PasswordChanged,
    /// The token, or everything that its user had, was revoked here.
    Ended,
    /// The token was first seen too long ago (`issuer.max_age`).
    TooOld,
    /// The token is on the service's own blacklist.
    Blacklisted,
    /// The issuer is no longer accepted (`issuer.accept_until`).
    NoLongerAccepted,
    /// The service has no such session or token.
    NotFound,
    /// The session was begun by an authentication backend that is not configured.
    UnknownBackend,
    /// The name or the password is wrong.
    BadCredentials,
    /// The name and the password are of a user whom the service asks for a second factor.
    SecondFactorRequired,
    /// Too many wrong passwords came before; this one was not checked.
    LockedOut,
    /// Too many passwords are waiting to be checked.
    Busy,
    /// The directory, store or service cannot be reached.
    Unavailable,
}

impl IssuedRefusal {
    /// All reasons.
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

    /// Returns the stable name for metrics and the audit trail.
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
