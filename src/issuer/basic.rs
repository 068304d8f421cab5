//! `kind = "basic"`: checks a name and a password in each request (HTTP Basic, RFC 7617).
//!
//! Each request is a sign-in without a session: with the same lockout, the same pool of threads and the same decoy as at
//! `/login`, so that Basic is neither an oracle nor a cheaper place to guess. A right password is cached for `cache_for`
//! under its keyed hash, as long as the directory has the same password; of concurrent requests with the same one, one is
//! checked and the others wait for it. Signing out has no effect: the next request brings the password again.

use std::net::IpAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::{Issuers, JudgedCredential, OneIssuer, Password};
use crate::clock::Timestamp;
use crate::context::Events;
use crate::directory::PasswordAttempt;
use crate::event::IssuedRefusal;
use crate::factor::FactorRequirement;
use crate::refusal::Refusal;
use crate::secret::Secret;
use crate::session::SignInRefused;
use crate::session::sign_in::VerifiedPassword;

/// The name and password of a request.
struct UserPass {
    name: String,
    password: Secret,
}

impl UserPass {
    /// Parses what follows `Basic `: base64 of `name:password`, in UTF-8, or else in Latin-1.
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

impl Issuers {
    /// Checks the password, as at a sign-in.
    pub(super) async fn basic(
        &self,
        one: &OneIssuer,
        credential: &str,
        cache_for: Duration,
        client: IpAddr,
        at: Timestamp,
        events: &Events,
    ) -> Result<JudgedCredential, IssuedRefusal> {
        let UserPass { name, password } =
            UserPass::read(credential).ok_or(IssuedRefusal::Malformed)?;
        let only = Some(one.directory.directory.name());
        let asked =
            PasswordAttempt { name: &name, password: &password, client, at, is_typed: false };
        match self.sessions.check_password(asked, only, "", events).await {
            Ok(VerifiedPassword { checked, attempt }) => {
                // If a second factor is due, a password in each request must not bypass it.
                match self.sessions.second_factors().duty(&checked, at).await {
                    Ok(FactorRequirement::Nothing) => {}
                    Ok(
                        FactorRequirement::Prove
                        | FactorRequirement::Enrol
                        | FactorRequirement::MailOrEnrol,
                    )
                    | Err(Refusal::SecondFactorElsewhere) => {
                        attempt.take_back();
                        return Err(IssuedRefusal::SecondFactorRequired);
                    }
                    Err(_) => {
                        attempt.take_back();
                        return Err(IssuedRefusal::Unavailable);
                    }
                }
                let account = checked.account();
                attempt.succeeded();
                Ok(JudgedCredential {
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
                Refusal::SecondFactorElsewhere => IssuedRefusal::SecondFactorRequired,
                Refusal::Busy => IssuedRefusal::Busy,
                refusal if refusal.status().is_server_error() => IssuedRefusal::Unavailable,
                _ => IssuedRefusal::BadCredentials,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use futures_util::future::join_all;

    use super::*;
    use crate::config::{CredentialPlace, IssuerKind, IssuerSettings};
    use crate::issuer::PresentedCredential;
    use crate::issuer::testkit::Kit;
    use crate::session::testkit::{CLIENT, NOW, cheap};

    /// A kit in which kim's password is `right`.
    fn kit() -> Kit {
        Kit::with(|parts| {
            parts.issuers = vec![IssuerSettings {
                name: "basic".into(),
                directory: "django".into(),
                place: CredentialPlace::Header {
                    name: "Authorization".into(),
                    schemes: vec!["Basic".into()],
                },
                cookie_domain: None,
                upstreams: Vec::new(),
                danger_mint: false,
                forward: None,
                accept_until: None,
                kind: IssuerKind::Basic { cache_for: Duration::from_secs(60), challenge: false },
            }];
        })
    }

    /// Presents a name and a password; returns the user, or the refusal.
    async fn present(kit: &Kit, user_pass: &str, after: u64) -> Result<Arc<str>, Refusal> {
        let credential = STANDARD.encode(user_pass);
        let shown = PresentedCredential::alone(&credential, &[0]);
        let at = NOW.plus(Duration::from_secs(after));
        let events = Events::default();
        let found = kit.issuers.issued(&shown, Some(CLIENT), at, &events).await;
        let found = found.map_err(|(refusal, _)| refusal)?;
        let credential = found.used(CLIENT, at, &events);
        Ok(Arc::clone(&credential.identity().key.id))
    }

    #[tokio::test]
    async fn of_the_same_at_once_one_is_checked() {
        let kit = kit();
        // This is more than the allowed failures: if each counted as an attempt, some would be refused.
        let found = join_all((0..20).map(|_| present(&kit, "kim:right", 0))).await;
        assert!(found.iter().all(Result::is_ok), "{found:?}");
        // Each wrong password is an attempt.
        let found = join_all((0..20).map(|_| present(&kit, "kim:wrong", 0))).await;
        let tried = found.iter().filter(|one| **one == Err(Refusal::BadCredentials)).count();
        assert!((1..20).contains(&tried), "{found:?}");
        assert!(found.contains(&Err(Refusal::TooManyAttempts)));
    }

    #[tokio::test]
    async fn one_that_was_right_is_remembered_for_a_while_and_no_longer_than_its_password() {
        let kit = kit();
        assert!(present(&kit, "kim:right", 0).await.is_ok());
        kit.directory.accounts.lock()[0].password = cheap("another");
        assert!(present(&kit, "kim:right", 59).await.is_ok(), "nobody was asked yet");
        assert_eq!(present(&kit, "kim:right", 61).await, Err(Refusal::BadCredentials));
        assert!(present(&kit, "kim:another", 61).await.is_ok());
    }

    #[tokio::test]
    async fn nobody_is_let_in_who_is_switched_off_or_only_asked_about() {
        let kit = kit();
        assert!(present(&kit, "kim:right", 0).await.is_ok());
        kit.directory.accounts.lock()[0].active = false;
        assert_eq!(present(&kit, "kim:right", 60).await, Err(Refusal::TokenNotValid));
        let credential = STANDARD.encode("kim:other");
        let shown = PresentedCredential::alone(&credential, &[0]);
        let found = kit.issuers.issued(&shown, None, NOW, &Events::default()).await;
        assert_eq!(found.map(drop).map_err(|(refusal, _)| refusal), Err(Refusal::TokenNotValid));
    }

    #[tokio::test]
    async fn a_password_alone_does_not_do_for_whom_the_service_asks_more() {
        let kit = kit();
        assert!(present(&kit, "kim:right", 0).await.is_ok());
        kit.directory.accounts.lock()[0].has_second_factor = true;
        let refused = Err(Refusal::SecondFactorElsewhere);
        assert_eq!(present(&kit, "kim:right", 59).await.map(drop), Ok(()), "nobody was asked yet");
        for (user_pass, expected) in
            [("kim:right", refused.clone()), ("kim:wrong", Err(Refusal::BadCredentials))]
        {
            assert_eq!(present(&kit, user_pass, 61).await, expected, "{user_pass}");
        }
        kit.directory.accounts.lock()[0].has_second_factor = false;
        assert!(present(&kit, "kim:right", 200).await.is_ok());
    }

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
