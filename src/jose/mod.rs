//! Makes and verifies every token signature, whoever the token is for (RFC 7515, 7517, 7518).
//!
//! The gateway's own tokens, the tokens that services issue and the tokens that are made for services have different rules,
//! which are in their own modules (`session`, `django::jws`). This module has what they share: the compact form, keys, and
//! one set of algorithms.
//!
//! - **A key has exactly one algorithm**, as a type. A token's `alg` is only compared with it and never selects one, so a
//!   public key is never used as a shared secret.
//! - **`jsonwebtoken` signs and verifies**, over aws-lc-rs. Its own `decode` is not used: it reads the wall clock, has a
//!   minute of leeway, and skips `aud` and `iss` of a wrong type. aws-lc-rs generates keys and detects the kind of a key in a
//!   file.
//! - **Strict**: base64url without padding, stray bits or another alphabet, so that a token has exactly one spelling. The
//!   length is checked before the token is split.

mod algorithm;
mod compact;
mod jwk;
mod key;

pub use self::algorithm::Algorithm;
pub use self::compact::{Compact, NotCompact};
pub use self::jwk::Jwk;
#[cfg(test)]
pub(crate) use self::key::random_key;
pub use self::key::{KeyProblem, SigningKey, VerifyingKey};
