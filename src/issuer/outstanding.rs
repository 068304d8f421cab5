//! A refresh token that a service issued before the gateway stood in front of it: what is known of one without a store.
//!
//! Everything that it becomes here has its name from the issuer's and its `jti`, and so one name only: the session, the
//! token in the store, and the mark that says that this session has begun. Callers that race with one token race for one
//! session, and a token whose session is over finds its mark and nothing else, until it expires.

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

/// A mark outlives its token by as much, so that no two clocks can disagree about it.
const MARK_SPARE: std::time::Duration = std::time::Duration::from_secs(60);

/// A good refresh token of an issuer's.
pub(crate) struct Outstanding {
    index: usize,
    pub(crate) issuer: Arc<str>,
    pub(crate) user: UserKey,
    pub(crate) session: SessionId,
    /// What the store knows it by.
    pub(crate) digest: Digest,
    /// `exp` and the leeway.
    pub(crate) expires_at: Timestamp,
    issued_at: Option<Timestamp>,
    token_id: String,
    password: Password,
    mark: Digest,
}

impl IssuerRegistry {
    /// Are there any whose refresh tokens are taken over?
    pub(crate) fn take_over(&self) -> bool {
        self.all.iter().any(|one| one.take_over.is_some())
    }

    /// Everything about a refresh token but its user; or what each issuer has against it, the one that knew it last.
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

    /// Whether its session has begun before, or was never to.
    pub(crate) fn is_marked(&self, token: &Outstanding) -> bool {
        self.stamps.stamp(&token.mark).is_some()
    }

    /// Sees to it that it is not taken over from now on.
    pub(crate) async fn mark(&self, token: &Outstanding, at: Timestamp) -> Result<(), StoreError> {
        self.stamps.put(token.new_mark(at)).await.map(|_| ())
    }

    /// Whether something has ended all that its user had from there before it was presented. Of dates in memory alone.
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

    /// Whether the service itself has taken it back, where that can be asked.
    pub(crate) async fn is_blacklisted(&self, token: &Outstanding) -> Result<(), IssuedRefusal> {
        let one = self.all.get(token.index).ok_or(IssuedRefusal::NoLongerAccepted)?;
        if one.has_taken_back(&token.token_id).await? {
            return Err(IssuedRefusal::Blacklisted);
        }
        Ok(())
    }

    /// Its user, as the directory says at this moment. A session is going to begin, so nothing that was known before will
    /// do.
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
        // After the user was looked at: that look may have ended it.
        self.is_ended(token)?;
        Ok(known)
    }
}

impl Outstanding {
    /// The mark to put when its session begins.
    pub(crate) fn new_mark(&self, at: Timestamp) -> NewStamp {
        let kept_until = self.expires_at.plus(MARK_SPARE);
        NewStamp { key: self.mark, at, keep: Keep::First, kept_until }
    }

    /// What names it, for keys that are derived from it.
    pub(crate) fn names(&self) -> [&str; 2] {
        [&self.issuer, &self.token_id]
    }
}

/// In the form of the random ones, 128 bits: it is no secret, and names one session.
fn session_of(issuer: &str, token_id: &str) -> SessionId {
    let digest = keyed(&["taken-over session", issuer, token_id]);
    let half = digest.as_bytes().first_chunk::<16>().copied().unwrap_or_default();
    SessionId::new(&URL_SAFE_NO_PAD.encode(half))
}
