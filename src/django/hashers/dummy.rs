//! Makes encoded passwords that belong to nobody, so that checking an unknown user takes as long as
//! checking a known one.

use aws_lc_rs::digest;

use super::encoded::{Encoded, HashScheme, Hashed, lower_hex};

/// An encoded password that no password matches and that costs what Django 5.2's default hasher
/// costs.
pub const DEFAULT_DUMMY: &str =
    "pbkdf2_sha256$1000000$0F95lBoZ1rv6XcasQ7kJVL$kziEM93JY3s9F7xGJ4amTJqOq8buv0SM2kI81rzzGso=";

/// Returns an encoded password that no password matches and that costs what the given one costs,
/// for a user who does not exist.
///
/// Salt and digest are replaced by fixed bytes of the same lengths, so the result may be stored and
/// compared. For a row that cannot be checked, this is [`DEFAULT_DUMMY`].
#[must_use]
pub fn dummy_like(encoded: &str) -> String {
    match Encoded::parse(encoded) {
        Ok(Encoded::Hashed(hashed)) if !hashed.is_too_costly() => hashed.decoy().encode(),
        _ => DEFAULT_DUMMY.to_owned(),
    }
}

impl Hashed {
    /// Returns the same scheme and parameters with a salt and a digest that belong to nobody.
    pub(super) fn decoy(&self) -> Self {
        let text = |salt: &str| {
            let mut text = lower_hex(&filler(b"salt", salt.len()));
            text.truncate(salt.len());
            text
        };
        let mut scheme = self.scheme.clone();
        match &mut scheme {
            HashScheme::Pbkdf2 { salt, .. }
            | HashScheme::Scrypt { salt, .. }
            | HashScheme::Round { salt: Some(salt), .. } => *salt = text(salt),
            HashScheme::Argon2 { salt, .. } => *salt = filler(b"salt", salt.len()),
            HashScheme::Bcrypt { salt, .. } => {
                let filler = filler(b"salt", salt.len());
                salt.iter_mut().zip(filler).for_each(|(byte, filler)| *byte = filler);
            }
            HashScheme::Round { salt: None, .. } => {}
        }
        Self { scheme, digest: filler(b"digest", self.digest.len()) }
    }
}

/// Returns fixed bytes that are the digest of no password that anybody knows.
fn filler(label: &[u8], len: usize) -> Vec<u8> {
    let blocks = (0_u32..).flat_map(|block| {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(b"doorwarden decoy ");
        context.update(label);
        context.update(&block.to_be_bytes());
        context.finish().as_ref().to_vec()
    });
    blocks.take(len).collect()
}
