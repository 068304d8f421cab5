//! Checks a refresh token that a service issued before the gateway stood in front of it, as far as possible without a store.
//!
//! All that it becomes here has a name derived from the issuer's and its `jti`, and so exactly one: the session, the token in
//! the store, and the mark that this session has begun. Concurrent callers with one token get one session, and a token whose
//! session has ended finds only its mark, until it expires.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::user::{KnownUser, User};
use super::{IssuerRegistry, Password, is_anothers, keyed};
use crate::caller::{SessionId, UserKey};
use crate::clock::Timestamp;
use crate::event::IssuedRefusal;
use crate::secret::Digest;
use crate::store::{Keep, NewStamp, StoreError};

/// How much longer a mark is stored than its token is valid, so that clocks cannot disagree about it.
const MARK_SPARE: std::time::Duration = std::time::Duration::from_secs(60);

/// A valid refresh token of an issuer.
pub(crate) struct Outstanding {
    index: usize,
    pub(crate) issuer: Arc<str>,
    pub(crate) user: UserKey,
    pub(crate) session: SessionId,
    /// The digest by which the store knows the token.
    pub(crate) digest: Digest,
    /// `exp` and the leeway.
    pub(crate) expires_at: Timestamp,
    issued_at: Option<Timestamp>,
    token_id: String,
    password: Password,
    mark: Digest,
}

impl IssuerRegistry {
    /// Whether there are issuers whose refresh tokens are taken over.
    pub(crate) fn take_over(&self) -> bool {
        self.all.iter().any(|one| one.take_over.is_some())
    }

    /// Checks everything about a refresh token but its user. The error has each issuer's reason; the last is of the one that
    /// knew it.
    pub(crate) async fn outstanding(
        &self,
        token: &str,
        at: Timestamp,
    ) -> Result<Outstanding, Vec<(Arc<str>, IssuedRefusal)>> {
        let mut refused = Vec::new();
        for (index, one) in self.all.iter().enumerate() {
            let Some(take_over) = &one.take_over else { continue };
            let judged = match take_over.verify(token, at) {
                _ if one.is_over(at) => Err(IssuedRefusal::NoLongerAccepted),
                judged => judged.map_err(IssuedRefusal::from),
            };
            let judged = match judged {
                Ok(judged) => one.key_of(&judged.user).await.map(|user| (judged, user)),
                Err(why) => Err(why),
            };
            let judged =
                judged.and_then(|(judged, user)| match (judged.token_id, judged.expires_at) {
                    (Some(token_id), Some(expires_at)) => Ok(Outstanding {
                        index,
                        issuer: Arc::clone(&one.name),
                        user,
                        session: session_of(&one.name, &token_id),
                        digest: keyed(&["taken-over token", &one.name, &token_id]),
                        expires_at,
                        issued_at: judged.issued_at,
                        password: judged.password,
                        mark: keyed(&["taken over", &one.name, &token_id]),
                        token_id,
                    }),
                    (None, _) => Err(IssuedRefusal::NoTokenId),
                    (_, None) => Err(IssuedRefusal::NoExpiry),
                });
            match judged {
                Ok(outstanding) => return Ok(outstanding),
                Err(why) => {
                    refused.push((Arc::clone(&one.name), why));
                    if !is_anothers(why) {
                        break;
                    }
                }
            }
        }
        Err(refused)
    }

    /// Whether its session has begun before, or was prevented from beginning.
    pub(crate) fn is_marked(&self, token: &Outstanding) -> bool {
        self.stamps.stamp(&token.mark).is_some()
    }

    /// Prevents the token from being taken over from now on.
    pub(crate) async fn mark(&self, token: &Outstanding, at: Timestamp) -> Result<(), StoreError> {
        self.stamps.put(token.new_mark(at)).await.map(|_| ())
    }

    /// Checks that nothing has ended all of its user's tokens before it was presented. Uses only dates in memory.
    pub(crate) fn is_ended(&self, token: &Outstanding) -> Result<(), IssuedRefusal> {
        let user = User::new(token.user.clone());
        let is_before = |end: Timestamp| {
            token.issued_at.is_none_or(|issued_at| issued_at.as_secs() <= end.as_secs())
        };
        let of_password = token.issued_at.map(|_| user.password_end);
        let ends = [Some(user.end), of_password].into_iter().flatten();
        if ends.filter_map(|end| self.stamps.stamp(&end)).any(is_before) {
            return Err(IssuedRefusal::Ended);
        }
        Ok(())
    }

    /// Checks that the service itself has not revoked it, if that can be asked.
    pub(crate) async fn is_blacklisted(&self, token: &Outstanding) -> Result<(), IssuedRefusal> {
        let one = self.all.get(token.index).ok_or(IssuedRefusal::NoLongerAccepted)?;
        if one.has_taken_back(&token.token_id).await? {
            return Err(IssuedRefusal::Blacklisted);
        }
        Ok(())
    }

    /// Returns its user from the directory at this moment. Since a session is about to begin, cached data does not suffice.
    pub(crate) async fn user_of(
        &self,
        token: &Outstanding,
        at: Timestamp,
    ) -> Result<Arc<KnownUser>, IssuedRefusal> {
        let one = self.all.get(token.index).ok_or(IssuedRefusal::NoLongerAccepted)?;
        let remembered = self.seen.users.get(&one.directory, &token.user);
        let user = remembered.unwrap_or_else(|| Arc::new(User::new(token.user.clone())));
        let known = self.known_now(&one.directory, &user, at).await?;
        if !token.password.is_that_of(&known) {
            return Err(IssuedRefusal::PasswordChanged);
        }
        // This is checked last, because looking the user up may have ended the token.
        self.is_ended(token)?;
        Ok(known)
    }
}

impl Outstanding {
    /// Returns the mark to store when its session begins.
    pub(crate) fn new_mark(&self, at: Timestamp) -> NewStamp {
        let kept_until = self.expires_at.plus(MARK_SPARE);
        NewStamp { key: self.mark, at, keep: Keep::First, kept_until }
    }

    /// Returns the names from which its keys are derived.
    pub(crate) fn names(&self) -> [&str; 2] {
        [&self.issuer, &self.token_id]
    }
}

/// Derives the session's id, in the form of random ids: 128 bits. It is not a secret, and names exactly one session.
fn session_of(issuer: &str, token_id: &str) -> SessionId {
    let digest = keyed(&["taken-over session", issuer, token_id]);
    let half = digest.as_bytes().first_chunk::<16>().copied().unwrap_or_default();
    SessionId::new(&URL_SAFE_NO_PAD.encode(half))
}
