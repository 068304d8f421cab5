//! Verifies passwords against the rows that Django's password hashers wrote.
//!
//! [`verify`] gives the same result as Django's `check_password`, and is stricter in the few places
//! where Django fails, leaves the decision to a library, or does more work than a gateway should do
//! for one sign-in:
//!
//! * **A row is accepted only in Django's own spelling.** Django encodes the password again and
//!   compares the whole text, so `$01000$`, missing padding or an upper-case digest never match.
//!   Here a row is parsed, written again and refused if the two texts differ; then the decoded
//!   digests are compared in constant time.
//! * **A malformed row has a result and is not a failure.** Where Django raises (status 500 for the
//!   client), the row is [`Refused`](Verdict::Refused). bcrypt raises for a password of more than
//!   72 bytes and its older versions cut it silently; here that is a
//!   [`Mismatch`](Verdict::Mismatch) after the same work as for any other password.
//! * **A password with a NUL byte never matches.** HMAC and bcrypt confuse some of these with other
//!   passwords (`"pw\0"` and `"pw"`, `"pw\0pw"` and `"pw"`), and nobody can type one.
//! * **An Argon2 digest has 128 bits or more.** The library would accept 32, which can be guessed.
//! * **The work is bounded**, because a row is data: see the caps in `derive.rs`.
//!
//! # Which algorithms
//!
//! An algorithm that a service has not listed in `PASSWORD_HASHERS` never verifies there, whatever
//! the row says, and the caller of [`verify`] lists the allowed algorithms in the same way.
//! [`PasswordHasher::DEFAULT`] is Django's default list and plain bcrypt. Django leaves bcrypt out
//! because it ignores what follows the 72nd byte; here such a password is refused. A bcrypt row
//! exists only where the service listed the hasher, and it is no weaker than the others. MD5, SHA-1
//! and the unsalted forms can be guessed billions of times per second, so they must be allowed by
//! name.
//!
//! # Time
//!
//! A refused row and an unknown user take no time here, which would distinguish them from a wrong
//! password. The caller prevents that by verifying against [`DEFAULT_DUMMY`], or [`dummy_like`] a
//! row of the same table, and ignoring the result.

mod derive;
mod dummy;
mod encoded;
#[cfg(test)]
mod tests;
mod upgrade;

use subtle::ConstantTimeEq;

pub use dummy::{DEFAULT_DUMMY, dummy_like};
pub use encoded::{Encoded, Hashed, Malformed};
pub use upgrade::looks_upgraded;

/// A password hasher of Django's, named as in the first field of the rows that it writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PasswordHasher {
    /// PBKDF2 with HMAC-SHA-256, Django's preferred hasher.
    Pbkdf2Sha256,
    /// PBKDF2 with HMAC-SHA-1.
    Pbkdf2Sha1,
    /// Argon2 in any of its three variants.
    Argon2,
    /// bcrypt of the hexadecimal SHA-256 of the password.
    BcryptSha256,
    /// bcrypt of the password itself.
    Bcrypt,
    /// scrypt.
    Scrypt,
    /// One round of MD5 over salt and password.
    Md5,
    /// One round of SHA-1 over salt and password; gone from Django 5.1.
    Sha1,
    /// One round of MD5 over the password alone; gone from Django 5.1.
    UnsaltedMd5,
    /// One round of SHA-1 over the password alone; gone from Django 5.1.
    UnsaltedSha1,
}

/// The result of checking a password against a row.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The password is the row's.
    Match,
    /// The password is another one.
    Mismatch,
    /// No password can be checked against the row, and no work was done.
    Refused(Reason),
}

/// Why a row is not checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The user has no password: the row is empty or begins with `!`.
    Unusable,
    /// The row names an algorithm that the caller does not allow.
    NotAllowed(PasswordHasher),
    /// Django would not write such a row.
    Malformed(Malformed),
    /// The row asks for more time or memory than one sign-in may take.
    TooCostly,
}

/// Checks a password, as the UTF-8 bytes that were sent, against the text of Django's `password`
/// column.
///
/// This takes as long as the row demands, within the caps: milliseconds for an old row, some
/// seconds for an extreme one. Run it where blocking is allowed.
pub fn verify(password: &[u8], encoded: &str, allowed: &[PasswordHasher]) -> Verdict {
    let hashed = match Encoded::parse(encoded) {
        Ok(Encoded::Hashed(hashed)) => hashed,
        Ok(Encoded::Unusable) => return Verdict::Refused(Reason::Unusable),
        Err(malformed) => return Verdict::Refused(Reason::Malformed(malformed)),
    };
    if !allowed.contains(&hashed.algorithm()) {
        return Verdict::Refused(Reason::NotAllowed(hashed.algorithm()));
    }
    let Ok(derived) = hashed.derive(password) else {
        return Verdict::Refused(Reason::TooCostly);
    };
    // The password's own form is checked only after the work, so that the time does not reveal
    // which kind of row it was checked against.
    let same = bool::from(derived.as_slice().ct_eq(&hashed.digest));
    if same && hashed.takes(password) { Verdict::Match } else { Verdict::Mismatch }
}

impl PasswordHasher {
    /// Every algorithm.
    pub const ALL: &[Self] = &[
        Self::Pbkdf2Sha256,
        Self::Pbkdf2Sha1,
        Self::Argon2,
        Self::BcryptSha256,
        Self::Bcrypt,
        Self::Scrypt,
        Self::Md5,
        Self::Sha1,
        Self::UnsaltedMd5,
        Self::UnsaltedSha1,
    ];

    /// The algorithms that are allowed by default: Django's default list and bcrypt.
    pub const DEFAULT: &[Self] = &[
        Self::Pbkdf2Sha256,
        Self::Pbkdf2Sha1,
        Self::Argon2,
        Self::BcryptSha256,
        Self::Bcrypt,
        Self::Scrypt,
    ];

    /// Returns Django's name of the hasher (its `algorithm` attribute).
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pbkdf2Sha256 => "pbkdf2_sha256",
            Self::Pbkdf2Sha1 => "pbkdf2_sha1",
            Self::Argon2 => "argon2",
            Self::BcryptSha256 => "bcrypt_sha256",
            Self::Bcrypt => "bcrypt",
            Self::Scrypt => "scrypt",
            Self::Md5 => "md5",
            Self::Sha1 => "sha1",
            Self::UnsaltedMd5 => "unsalted_md5",
            Self::UnsaltedSha1 => "unsalted_sha1",
        }
    }

    /// Returns the algorithm of that name, as [`name`](Self::name) spells it.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|algorithm| algorithm.name() == name)
    }
}

impl Verdict {
    /// Whether the password is the right one.
    #[must_use]
    pub const fn is_match(self) -> bool {
        matches!(self, Self::Match)
    }
}

impl Reason {
    /// Returns a stable word for logs and metrics.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Unusable => "unusable",
            Self::NotAllowed(_) => "not_allowed",
            Self::Malformed(_) => "malformed",
            Self::TooCostly => "too_costly",
        }
    }
}
