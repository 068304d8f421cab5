//! Every signature of a token: made and verified here, whoever the token is for (RFC 7515, 7517, 7518).
//!
//! The gateway's own tokens, those that services issue and those that are made for services have rules of their own, which
//! stay with them (`session`, `django::jws`). What they share is here: the compact form, keys, and one set of algorithms.
//!
//! - **A key carries its one algorithm**, as a type. A token's own `alg` is compared with it and chooses nothing, so that no
//!   public key is ever taken for a shared secret.
//! - **`jsonwebtoken` signs and verifies**, over aws-lc-rs. Its own `decode` is not used: it reads the wall clock, has a
//!   minute of leeway, and skips `aud` and `iss` of a wrong type. aws-lc-rs makes keys, and says what kind a key in a file is.
//! - **Strict**: base64url without padding, stray bits or another alphabet, so a token has one spelling; and its length is
//!   looked at before anything is taken apart.

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
