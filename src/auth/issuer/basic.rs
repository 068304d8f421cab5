//! `kind = "basic"`: a name and a password in each request (HTTP Basic, RFC 7617).
//!
//! Each is a sign-in without a session: the same lockout, the same pool of threads and the same decoy as at `/login`, so
//! that Basic is neither an oracle nor a cheaper place to guess. One that was right is remembered for `cache_for` under
//! its keyed hash, as long as the directory has the same password; of the same one at once, one is checked and the others
//! wait for it. Signing out has nothing to end: the next request brings the password again.

use std::net::IpAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::{Judged, One, Password};
use crate::auth::{Auth, SignInRefused};
use crate::clock::Timestamp;
use crate::event::{IssuedRefusal, What};
use crate::refusal::Refusal;
use crate::secret::Secret;

/// Who comes, by their own word.
struct UserPass {
    name: String,
    password: Secret,
}

impl UserPass {
    /// What stands behind `Basic `: base64 of `name:password`, in UTF-8, or else in Latin-1.
    fn read(credential: &str) -> Option<Self> {
        let bytes = Zeroizing::new(STANDARD.decode(credential).ok()?);
        let text = Zeroizing::new(match std::str::from_utf8(&bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => bytes.iter().copied().map(char::from).collect(),
        });
        let (name, password) = text.split_once(':')?;
        Some(Self { name: name.to_owned(), password: Secret::new(password) })
    }
}

impl Auth {
    /// Checks the password, as at a sign-in.
    pub(super) async fn basic(
        &self,
        one: &One,
        credential: &str,
        cache_for: Duration,
        client: IpAddr,
        at: Timestamp,
        happened: &mut Vec<What>,
    ) -> Result<Judged, IssuedRefusal> {
        let UserPass { name, password } =
            UserPass::read(credential).ok_or(IssuedRefusal::Malformed)?;
        let only = Some(one.directory.directory.name());
        match self.check_password(&name, &password, client, at, only, happened).await {
            Ok((account, _, attempt)) => {
                attempt.succeeded();
                Ok(Judged {
                    user: account.identity.key.id.to_string(),
                    issued_at: Some(at),
                    expires_at: Some(at.plus(cache_for)),
                    token_id: None,
                    deny_for: Duration::ZERO,
                    password: Password::Checked(account.password_mark()),
                    max_age: None,
                })
            }
            Err(SignInRefused { refusal, .. }) => Err(match refusal {
                Refusal::TooManyAttempts => IssuedRefusal::LockedOut,
                Refusal::Busy => IssuedRefusal::Busy,
                refusal if refusal.status().is_server_error() => IssuedRefusal::Unavailable,
                _ => IssuedRefusal::BadCredentials,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(credential: &str) -> Option<(String, String)> {
        let read = UserPass::read(credential)?;
        Some((read.name, read.password.expose().to_owned()))
    }

    #[test]
    fn a_name_and_a_password_are_read_as_rest_framework_reads_them() {
        for (bytes, name, password) in [
            (&b"kim:kim-pass"[..], "kim", "kim-pass"),
            (b"kim:a:b", "kim", "a:b"),
            (b"kim:", "kim", ""),
            (b":", "", ""),
            ("김:비밀".as_bytes(), "김", "비밀"),
            (b"m\xfcller:gr\xfc\xdf", "müller", "grüß"),
        ] {
            let read = read(&STANDARD.encode(bytes));
            assert_eq!(read, Some((name.to_owned(), password.to_owned())));
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for credential in
            ["", "a2lt", "a2lt%", "a2ltOmtpbQ", "a2ltOmtpbR==", "a2lt OmtpbQ==", "a2ltOmtpbQ==="]
        {
            assert_eq!(read(credential), None, "{credential}");
        }
    }
}
