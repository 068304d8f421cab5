//! Detects whether a new row looks like the one that Django writes when it raises its hasher's cost.
//!
//! Django does that at a sign-in: the password is the same, and salt and digest are new. After a change of the password, salt
//! and digest are new too, and so is the cost if the row was an old one, so the two can be distinguished only with the
//! password itself. But a row of the **same** cost under another salt is certainly no upgrade.

use super::encoded::{Encoded, HashScheme, Hashed};
use super::{PasswordHasher, Reason};

/// The length of Django's salts since 3.2; Django rewrites rows with a shorter one.
const SALT: usize = 22;

/// Whether Django may have made `now` of `before` at a sign-in, if it prefers this algorithm. A change of an outdated
/// password looks the same.
#[must_use]
pub fn looks_upgraded(before: &str, now: &str, preferred: PasswordHasher) -> bool {
    let (Ok(before), Ok(now)) = (hashed(before), hashed(now)) else { return false };
    if now.algorithm() != preferred {
        return false;
    }
    if before.algorithm() != preferred {
        return true;
    }
    now.cost() > before.cost() || (now.cost() == before.cost() && now.has_longer_salt(&before))
}

fn hashed(text: &str) -> Result<Hashed, Reason> {
    match Encoded::parse(text) {
        Ok(Encoded::Hashed(hashed)) => Ok(hashed),
        Ok(Encoded::Unusable) => Err(Reason::Unusable),
        Err(malformed) => Err(Reason::Malformed(malformed)),
    }
}

impl Hashed {
    /// Returns the cost of one guess, to be compared only with rows of the same algorithm.
    fn cost(&self) -> u64 {
        match &self.scheme {
            HashScheme::Pbkdf2 { iterations, .. } => u64::from(*iterations),
            HashScheme::Argon2 { params, .. } => {
                u64::from(params.m_cost()).saturating_mul(u64::from(params.t_cost()))
            }
            HashScheme::Bcrypt { cost, .. } => u64::from(*cost),
            HashScheme::Scrypt { log_n, block_size, parallelism, .. } => (1_u64 << (log_n & 63))
                .saturating_mul(u64::from(*block_size))
                .saturating_mul(u64::from(*parallelism)),
            HashScheme::Round { .. } => 0,
        }
    }

    fn has_longer_salt(&self, before: &Self) -> bool {
        match (&self.scheme, &before.scheme) {
            (HashScheme::Pbkdf2 { salt, .. }, HashScheme::Pbkdf2 { salt: before, .. }) => {
                before.len() < SALT && SALT <= salt.len()
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_higher_cost_or_the_preferred_algorithm_looks_like_an_upgrade() {
        let pbkdf2 = |iterations: u32, salt: &str| {
            format!(
                "pbkdf2_sha256${iterations}${salt}$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
            )
        };
        let argon2 = |memory: u32| {
            format!(
                "argon2$argon2id$v=19$m={memory},t=2,p=8$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
            )
        };
        let (long, other) = ("a".repeat(22), "b".repeat(22));
        let sha256 = PasswordHasher::Pbkdf2Sha256;
        for (before, now, preferred, expected) in [
            (pbkdf2(870_000, &long), pbkdf2(1_000_000, &other), sha256, true),
            // Another salt with the same cost or a lower one, for the same password or another: never an upgrade.
            (pbkdf2(1_000_000, &long), pbkdf2(1_000_000, &other), sha256, false),
            (pbkdf2(1_000_000, &long), pbkdf2(870_000, &other), sha256, false),
            (pbkdf2(1_000_000, "shortsalt012"), pbkdf2(1_000_000, &other), sha256, true),
            (pbkdf2(1_000_000, &long), argon2(102_400), PasswordHasher::Argon2, true),
            (argon2(102_400), argon2(204_800), PasswordHasher::Argon2, true),
            (argon2(102_400), argon2(102_400), PasswordHasher::Argon2, false),
            // The service upgrades only to the algorithm that it prefers.
            (argon2(102_400), pbkdf2(1_000_000, &long), PasswordHasher::Argon2, false),
            (pbkdf2(870_000, &long), "!unusable".into(), sha256, false),
            ("!unusable".into(), pbkdf2(1_000_000, &long), sha256, false),
            ("gibberish".into(), pbkdf2(1_000_000, &long), sha256, false),
        ] {
            assert_eq!(looks_upgraded(&before, &now, preferred), expected, "{before} {now}");
        }
    }
}
