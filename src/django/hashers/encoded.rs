//! Parses the text of Django's `password` column and writes it again.
//!
//! Parsing is lenient about spelling and then decides with one comparison: [`Hashed::encode`] must
//! write the same text that was read. This rule refuses signs, leading zeros, other alphabets,
//! padding and stray bits in all formats at once, and Django's own check has the same effect.

use std::fmt;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD, STANDARD, STANDARD_NO_PAD};

use super::PasswordHasher;

/// The longest row that is read. Django's column holds 128 characters; a custom one could hold
/// more.
const MAX_TEXT: usize = 1024;

/// The shortest Argon2 digest that is accepted. The format allows four bytes, which 2^32 guesses
/// find.
const MIN_ARGON2_DIGEST: usize = 16;

/// bcrypt's base64, whose alphabet begins with `./`.
const BCRYPT_BASE64: GeneralPurpose = GeneralPurpose::new(&alphabet::BCRYPT, NO_PAD);

/// A parsed encoded password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Encoded {
    /// The user has no password: the text is empty or begins with `!`.
    Unusable,
    /// A digest of the password and how it was made.
    Hashed(Hashed),
}

/// How a password was hashed, and the digest. `Debug` shows the algorithm and nothing else.
#[derive(Clone, PartialEq, Eq)]
pub struct Hashed {
    pub(super) scheme: HashScheme,
    pub(super) digest: Vec<u8>,
}

/// The text is not an encoded password as Django writes it. The message says what is wrong with it
/// and never contains any of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an encoded password of Django's: {0}")]
pub struct Malformed(&'static str);

#[derive(Clone, PartialEq, Eq)]
pub(super) enum HashScheme {
    Pbkdf2 {
        prf: Prf,
        iterations: u32,
        salt: String,
    },
    Argon2 {
        variant: argon2::Algorithm,
        /// `None` for rows from before version 19, which do not name their version; it is 16.
        version: Option<argon2::Version>,
        params: argon2::Params,
        salt: Vec<u8>,
    },
    Bcrypt {
        input: BcryptInput,
        /// `2a`, `2b`, `2x` or `2y`: stored for the spelling only, since all are computed alike.
        revision: &'static str,
        cost: u32,
        salt: [u8; 16],
    },
    Scrypt {
        log_n: u8,
        salt: String,
        block_size: u32,
        parallelism: u32,
    },
    Round {
        digest: DigestAlgorithm,
        /// `None` if the row has neither an algorithm nor a salt, only a digest.
        salt: Option<String>,
    },
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Prf {
    HmacSha256,
    HmacSha1,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum BcryptInput {
    Password,
    HexSha256,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum DigestAlgorithm {
    Md5,
    Sha1,
}

impl Encoded {
    /// Parses an encoded password.
    ///
    /// # Errors
    /// [`Malformed`] for a text that no hasher of Django's writes, even if Django would accept it.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        if text.is_empty() || text.starts_with('!') {
            return Ok(Self::Unusable);
        }
        let hashed = Hashed::parse(text)?;
        if hashed.encode() != text {
            return Err(Malformed("not spelled as Django spells it"));
        }
        Ok(Self::Hashed(hashed))
    }
}

impl Hashed {
    fn parse(text: &str) -> Result<Self, Malformed> {
        if text.len() > MAX_TEXT {
            return Err(Malformed("too long"));
        }
        let fields: Vec<&str> = text.split('$').collect();
        match *fields.as_slice() {
            ["pbkdf2_sha256", iterations, salt, digest] => {
                pbkdf2(Prf::HmacSha256, iterations, salt, digest)
            }
            ["pbkdf2_sha1", iterations, salt, digest] => {
                pbkdf2(Prf::HmacSha1, iterations, salt, digest)
            }
            ["argon2", variant, version, params, salt, digest] => {
                argon2(variant, Some(version), params, salt, digest)
            }
            ["argon2", variant, params, salt, digest] => {
                argon2(variant, None, params, salt, digest)
            }
            ["bcrypt", "", revision, cost, rest] => {
                bcrypt(BcryptInput::Password, revision, cost, rest)
            }
            ["bcrypt_sha256", "", revision, cost, rest] => {
                bcrypt(BcryptInput::HexSha256, revision, cost, rest)
            }
            ["scrypt", n, salt, block_size, parallelism, digest] => {
                scrypt(n, salt, block_size, parallelism, digest)
            }
            ["md5", salt, digest] => round(DigestAlgorithm::Md5, Some(salt), digest),
            ["sha1", salt, digest] => round(DigestAlgorithm::Sha1, Some(salt), digest),
            [digest] if digest.len() == 2 * DigestAlgorithm::Md5.len() => {
                round(DigestAlgorithm::Md5, None, digest)
            }
            [algorithm, ..] if PasswordHasher::parse(algorithm).is_some() => {
                Err(Malformed("wrong number of fields"))
            }
            _ => Err(Malformed("unknown algorithm")),
        }
    }

    /// Returns the hasher that wrote the row.
    #[must_use]
    pub fn algorithm(&self) -> PasswordHasher {
        match &self.scheme {
            HashScheme::Pbkdf2 { prf: Prf::HmacSha256, .. } => PasswordHasher::Pbkdf2Sha256,
            HashScheme::Pbkdf2 { prf: Prf::HmacSha1, .. } => PasswordHasher::Pbkdf2Sha1,
            HashScheme::Argon2 { .. } => PasswordHasher::Argon2,
            HashScheme::Bcrypt { input: BcryptInput::HexSha256, .. } => {
                PasswordHasher::BcryptSha256
            }
            HashScheme::Bcrypt { input: BcryptInput::Password, .. } => PasswordHasher::Bcrypt,
            HashScheme::Scrypt { .. } => PasswordHasher::Scrypt,
            HashScheme::Round { digest, salt } => {
                let salted = salt.as_ref().is_some_and(|salt| !salt.is_empty());
                match (digest, salted) {
                    (DigestAlgorithm::Md5, true) => PasswordHasher::Md5,
                    (DigestAlgorithm::Md5, false) => PasswordHasher::UnsaltedMd5,
                    (DigestAlgorithm::Sha1, true) => PasswordHasher::Sha1,
                    (DigestAlgorithm::Sha1, false) => PasswordHasher::UnsaltedSha1,
                }
            }
        }
    }

    /// Returns the text that Django would write.
    pub(super) fn encode(&self) -> String {
        let digest = &self.digest;
        match &self.scheme {
            HashScheme::Pbkdf2 { prf, iterations, salt } => {
                format!("{}${iterations}${salt}${}", prf.name(), STANDARD.encode(digest))
            }
            HashScheme::Argon2 { variant, version, params, salt } => format!(
                "argon2${variant}{}$m={},t={},p={}${}${}",
                version.map(|version| format!("$v={}", u32::from(version))).unwrap_or_default(),
                params.m_cost(),
                params.t_cost(),
                params.p_cost(),
                STANDARD_NO_PAD.encode(salt),
                STANDARD_NO_PAD.encode(digest),
            ),
            HashScheme::Bcrypt { input, revision, cost, salt } => format!(
                "{}$${revision}${cost:02}${}{}",
                input.name(),
                BCRYPT_BASE64.encode(salt),
                BCRYPT_BASE64.encode(digest),
            ),
            HashScheme::Scrypt { log_n, salt, block_size, parallelism } => format!(
                "scrypt${}${salt}${block_size}${parallelism}${}",
                1_u64 << log_n,
                STANDARD.encode(digest),
            ),
            HashScheme::Round { digest: name, salt: Some(salt) } => {
                format!("{}${salt}${}", name.name(), lower_hex(digest))
            }
            HashScheme::Round { salt: None, .. } => lower_hex(digest),
        }
    }
}

impl fmt::Debug for Hashed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Hashed").field(&self.algorithm()).finish()
    }
}

impl Prf {
    const fn name(self) -> &'static str {
        match self {
            Self::HmacSha256 => "pbkdf2_sha256",
            Self::HmacSha1 => "pbkdf2_sha1",
        }
    }

    const fn len(self) -> usize {
        match self {
            Self::HmacSha256 => 32,
            Self::HmacSha1 => 20,
        }
    }
}

impl BcryptInput {
    const fn name(self) -> &'static str {
        match self {
            Self::Password => "bcrypt",
            Self::HexSha256 => "bcrypt_sha256",
        }
    }
}

impl DigestAlgorithm {
    const fn name(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            Self::Sha1 => "sha1",
        }
    }

    const fn len(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha1 => 20,
        }
    }
}

fn pbkdf2(prf: Prf, iterations: &str, salt: &str, digest: &str) -> Result<Hashed, Malformed> {
    let iterations = number(iterations)?;
    if iterations == 0 {
        return Err(Malformed("no iterations"));
    }
    let scheme = HashScheme::Pbkdf2 { prf, iterations, salt: text_salt(salt)? };
    Ok(Hashed { scheme, digest: exactly(prf.len(), base64(&STANDARD, digest)?)? })
}

fn argon2(
    variant: &str,
    version: Option<&str>,
    params: &str,
    salt: &str,
    digest: &str,
) -> Result<Hashed, Malformed> {
    let variant = variant.parse().map_err(|_| Malformed("unknown Argon2 variant"))?;
    let version = match version {
        None => None,
        Some("v=16") => Some(argon2::Version::V0x10),
        Some("v=19") => Some(argon2::Version::V0x13),
        Some(_) => return Err(Malformed("unknown Argon2 version")),
    };
    let (salt, digest) = (base64(&STANDARD_NO_PAD, salt)?, base64(&STANDARD_NO_PAD, digest)?);
    if salt.len() < argon2::MIN_SALT_LEN || digest.len() < MIN_ARGON2_DIGEST {
        return Err(Malformed("salt or digest too short"));
    }

    let mut params = params.split(',');
    let mut cost = |key| {
        let value = params.next().and_then(|param| param.strip_prefix(key));
        number(value.ok_or(Malformed("an Argon2 parameter is missing"))?)
    };
    let (memory, passes, lanes) = (cost("m=")?, cost("t=")?, cost("p=")?);
    // The crate multiplies the lanes without checking for overflow.
    if lanes > argon2::Params::MAX_P_COST {
        return Err(Malformed("Argon2 parameters out of range"));
    }
    let params = argon2::Params::new(memory, passes, lanes, Some(digest.len()))
        .map_err(|_| Malformed("Argon2 parameters out of range"))?;
    Ok(Hashed { scheme: HashScheme::Argon2 { variant, version, params, salt }, digest })
}

fn bcrypt(input: BcryptInput, revision: &str, cost: &str, rest: &str) -> Result<Hashed, Malformed> {
    let revision = ["2a", "2b", "2x", "2y"]
        .into_iter()
        .find(|known| *known == revision)
        .ok_or(Malformed("unknown bcrypt revision"))?;
    let cost = number(cost)?;
    if !(4..=31).contains(&cost) {
        return Err(Malformed("bcrypt cost out of range"));
    }
    let (salt, digest) = rest.split_at_checked(22).ok_or(Malformed("bcrypt salt too short"))?;
    let salt = base64(&BCRYPT_BASE64, salt)?;
    let salt = salt.try_into().map_err(|_| Malformed("wrong length"))?;
    let digest = exactly(23, base64(&BCRYPT_BASE64, digest)?)?;
    Ok(Hashed { scheme: HashScheme::Bcrypt { input, revision, cost, salt }, digest })
}

fn scrypt(
    n: &str,
    salt: &str,
    block_size: &str,
    parallelism: &str,
    digest: &str,
) -> Result<Hashed, Malformed> {
    let (n, block_size, parallelism) = (number(n)?, number(block_size)?, number(parallelism)?);
    if n < 2 || !n.is_power_of_two() || block_size == 0 || parallelism == 0 {
        return Err(Malformed("scrypt parameters out of range"));
    }
    let log_n = u8::try_from(n.ilog2()).map_err(|_| Malformed("scrypt parameters out of range"))?;
    let scheme = HashScheme::Scrypt { log_n, salt: text_salt(salt)?, block_size, parallelism };
    Ok(Hashed { scheme, digest: exactly(64, base64(&STANDARD, digest)?)? })
}

fn round(name: DigestAlgorithm, salt: Option<&str>, digest: &str) -> Result<Hashed, Malformed> {
    let scheme = HashScheme::Round { digest: name, salt: salt.map(str::to_owned) };
    Ok(Hashed { scheme, digest: exactly(name.len(), hex(digest)?)? })
}

fn text_salt(salt: &str) -> Result<String, Malformed> {
    if salt.is_empty() { Err(Malformed("no salt")) } else { Ok(salt.to_owned()) }
}

fn number(text: &str) -> Result<u32, Malformed> {
    text.parse().map_err(|_| Malformed("a number is malformed or out of range"))
}

fn base64(engine: &impl base64::Engine, text: &str) -> Result<Vec<u8>, Malformed> {
    engine.decode(text).map_err(|_| Malformed("not base64"))
}

fn hex(text: &str) -> Result<Vec<u8>, Malformed> {
    let pairs = text.as_bytes().chunks(2);
    let pairs = pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok());
    pairs.collect::<Option<_>>().ok_or(Malformed("not hexadecimal"))
}

fn exactly(len: usize, bytes: Vec<u8>) -> Result<Vec<u8>, Malformed> {
    if bytes.len() == len { Ok(bytes) } else { Err(Malformed("wrong length")) }
}

pub(super) fn lower_hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}
