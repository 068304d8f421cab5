//! Derives a digest from a password, a scheme and its parameters.
//!
//! A row names its own cost, so whoever can write one row could otherwise occupy the hashing pool
//! for hours. Each cap is well above what Django or a careful project sets, and limits the work to
//! between one and four seconds of one core:
//!
//! | scheme | Django 5.2's default | cap |
//! |---|---|---|
//! | PBKDF2 | 1 000 000 iterations (6.1: 1 500 000) | 10 000 000 |
//! | Argon2 | 100 MiB, 2 passes, 8 lanes | 1 GiB; 4 GiB over all passes; 64 passes; 64 lanes |
//! | bcrypt | cost 12 | cost 16 |
//! | scrypt | 16 MiB, 5 lanes | 256 MiB of table, and of lanes; 1 GiB through the table |
//!
//! For scrypt, Django itself stops at OpenSSL's 32 MiB; a project that raised that limit is not
//! limited to it here.

use std::num::NonZeroU32;

use argon2::Argon2;
use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use aws_lc_rs::pbkdf2;
use md5::{Digest as _, Md5};
use zeroize::Zeroizing;

use super::encoded::{BcryptInput, DigestAlgorithm, HashScheme, Hashed, Prf, lower_hex};

const MAX_PBKDF2_ITERATIONS: u32 = 10_000_000;
const MAX_ARGON2_MEMORY_KIB: u32 = 1 << 20;
const MAX_ARGON2_TOTAL_KIB: u64 = 4 << 20;
const MAX_ARGON2_PASSES: u32 = 64;
const MAX_ARGON2_LANES: u32 = 64;
const MAX_BCRYPT_COST: u32 = 16;
const MAX_SCRYPT_MEMORY: u64 = 256 << 20;
const MAX_SCRYPT_TOTAL: u64 = 1 << 30;

/// The length after which bcrypt ignores a password's bytes.
const BCRYPT_WINDOW: usize = 72;

/// The row asks for more than the caps allow, or than the machine has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooCostly;

impl Hashed {
    pub(super) fn is_too_costly(&self) -> bool {
        match &self.scheme {
            HashScheme::Pbkdf2 { iterations, .. } => *iterations > MAX_PBKDF2_ITERATIONS,
            HashScheme::Argon2 { params, .. } => {
                params.m_cost() > MAX_ARGON2_MEMORY_KIB
                    || params.t_cost() > MAX_ARGON2_PASSES
                    || params.p_cost() > MAX_ARGON2_LANES
                    || u64::from(params.m_cost()) * u64::from(params.t_cost())
                        > MAX_ARGON2_TOTAL_KIB
            }
            HashScheme::Bcrypt { cost, .. } => *cost > MAX_BCRYPT_COST,
            HashScheme::Scrypt { log_n, block_size, parallelism, .. } => {
                // The blocks of all lanes are in memory at once, together with the table of one
                // lane.
                let block = u64::from(*block_size) * 128;
                let table = block.saturating_mul(1 << log_n);
                let lanes = block.saturating_mul(u64::from(*parallelism));
                let total = table.saturating_mul(u64::from(*parallelism));
                table.max(lanes) > MAX_SCRYPT_MEMORY || total > MAX_SCRYPT_TOTAL
            }
            HashScheme::Round { .. } => false,
        }
    }

    /// Whether the scheme depends on every byte of this password and cannot confuse it with another
    /// (see the head of `hashers`).
    pub(super) fn takes(&self, password: &[u8]) -> bool {
        let whole = match &self.scheme {
            HashScheme::Bcrypt { input: BcryptInput::Password, .. } => {
                password.len() <= BCRYPT_WINDOW
            }
            HashScheme::Bcrypt { input: BcryptInput::HexSha256, .. }
            | HashScheme::Pbkdf2 { .. }
            | HashScheme::Argon2 { .. }
            | HashScheme::Scrypt { .. }
            | HashScheme::Round { .. } => true,
        };
        whole && !password.contains(&0)
    }

    /// Computes the digest of the password under this scheme.
    pub(super) fn derive(&self, password: &[u8]) -> Result<Zeroizing<Vec<u8>>, TooCostly> {
        if self.is_too_costly() {
            return Err(TooCostly);
        }
        let mut out = Zeroizing::new(vec![0; self.digest.len()]);
        match &self.scheme {
            HashScheme::Pbkdf2 { prf, iterations, salt } => {
                let iterations = NonZeroU32::new(*iterations).ok_or(TooCostly)?;
                pbkdf2::derive(prf.algorithm(), iterations, salt.as_bytes(), password, &mut out);
            }
            HashScheme::Argon2 { variant, version, params, salt } => {
                let version = version.unwrap_or(argon2::Version::V0x10);
                // The parameters were checked when the row was parsed; only the allocation can
                // still fail.
                Argon2::new(*variant, version, params.clone())
                    .hash_password_into(password, salt, &mut out)
                    .map_err(|_| TooCostly)?;
            }
            HashScheme::Bcrypt { input: BcryptInput::Password, cost, salt, .. } => {
                out = bcrypt(*cost, *salt, password);
            }
            HashScheme::Bcrypt { input: BcryptInput::HexSha256, cost, salt, .. } => {
                let hex = Zeroizing::new(lower_hex(digest(&SHA256, password).as_ref()));
                out = bcrypt(*cost, *salt, hex.as_bytes());
            }
            HashScheme::Scrypt { log_n, salt, block_size, parallelism } => {
                let params = scrypt::Params::new(*log_n, *block_size, *parallelism)
                    .map_err(|_| TooCostly)?;
                scrypt::scrypt(password, salt.as_bytes(), &params, &mut out)
                    .map_err(|_| TooCostly)?;
            }
            HashScheme::Round { digest, salt } => {
                let salt = salt.as_deref().unwrap_or_default().as_bytes();
                out = digest.of(&Zeroizing::new([salt, password].concat()));
            }
        }
        Ok(out)
    }
}

impl Prf {
    fn algorithm(self) -> pbkdf2::Algorithm {
        match self {
            Self::HmacSha256 => pbkdf2::PBKDF2_HMAC_SHA256,
            Self::HmacSha1 => pbkdf2::PBKDF2_HMAC_SHA1,
        }
    }
}

impl DigestAlgorithm {
    fn of(self, data: &[u8]) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(match self {
            Self::Md5 => Md5::digest(data).to_vec(),
            Self::Sha1 => digest(&SHA1_FOR_LEGACY_USE_ONLY, data).as_ref().to_vec(),
        })
    }
}

/// Computes bcrypt. Its key is the password and a NUL, cut off after 72 bytes; of the 24 bytes of
/// the result, rows store 23.
fn bcrypt(cost: u32, salt: [u8; 16], password: &[u8]) -> Zeroizing<Vec<u8>> {
    let key = password.iter().copied().chain([0]).take(BCRYPT_WINDOW);
    let key = Zeroizing::new(key.collect::<Vec<u8>>());
    let digest = Zeroizing::new(bcrypt::bcrypt(cost, salt, &key));
    Zeroizing::new(digest.iter().copied().take(23).collect())
}
