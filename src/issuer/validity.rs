//! Checks what ends an issued credential: its own expiry, the issuer's end, and dates in the store.

use std::sync::Arc;

use async_trait::async_trait;

use super::{IssuedCredential, IssuerRegistry, Issuers, OneIssuer, Password, User, user};
use crate::caller::UserKey;
use crate::clock::Timestamp;
use crate::context::Events;
use crate::event::{EventKind, IssuedRefusal};
use crate::refusal::Refusal;
use crate::secret::Digest;
use crate::session::EndIssued;
use crate::session::store_failed;
use crate::store::{Keep, NewStamp, Session, StoreError};

/// The date until which something is stored that is stored for good.
pub(super) const FOR_GOOD: Timestamp = Timestamp::from_secs(253_402_300_799);

impl IssuerRegistry {
    /// Checks that nothing has ended the credential, and that neither it nor its issuer's period has expired.
    pub(super) fn holds(
        &self,
        issued: &IssuedCredential,
        at: Timestamp,
    ) -> Result<(), IssuedRefusal> {
        if self.of(issued).is_none_or(|one| one.is_over(at)) {
            return Err(IssuedRefusal::NoLongerAccepted);
        }
        let is_before = |end: Timestamp| {
            issued.issued_at.is_none_or(|issued_at| issued_at.as_secs() <= end.as_secs())
        };
        let own_end = issued.own_end.as_ref().and_then(|key| self.stamps.stamp(key));
        if own_end.is_some_and(|end| issued.has_id || is_before(end))
            || issued.ends.iter().filter_map(|key| self.stamps.stamp(key)).any(is_before)
        {
            return Err(IssuedRefusal::Ended);
        }
        if at >= issued.expires_at {
            let is_old = issued.is_too_old_after;
            return Err(if is_old { IssuedRefusal::TooOld } else { IssuedRefusal::Expired });
        }
        Ok(())
    }

    /// Keeps a session that a date has ended from coming back when its service saves it again: a late request may do so, and
    /// the session then seems younger than its end. A failure of the store is logged; the next use tries again.
    pub(super) async fn keep_ended(&self, issued: &IssuedCredential, at: Timestamp) {
        let Password::Noted(_) = issued.password else { return };
        let Some(key) = issued.own_end.filter(|key| self.stamps.stamp(key).is_none()) else {
            return;
        };
        let kept_until = issued.own_end_kept_until.max(at.plus(issued.deny_for));
        let _ = self.put(key, at, kept_until).await;
    }

    pub(super) async fn put(
        &self,
        key: Digest,
        at: Timestamp,
        kept_until: Timestamp,
    ) -> Result<(), IssuedRefusal> {
        let stamp = NewStamp { key, at, keep: Keep::Latest, kept_until };
        self.stamps.put(stamp).await.map(|_| ()).map_err(|error| unavailable(&error))
    }

    pub(super) async fn first_seen(
        &self,
        one: &OneIssuer,
        user: &User,
        at: Timestamp,
    ) -> Result<Timestamp, IssuedRefusal> {
        let key = keyed(&["seen", &one.name, &user.key.directory, &user.key.id]);
        if let Some(seen) = self.stamps.stamp(&key) {
            return Ok(seen);
        }
        let stamp = NewStamp { key, at, keep: Keep::First, kept_until: FOR_GOOD };
        self.stamps.put(stamp).await.map_err(|error| unavailable(&error))
    }
}

#[async_trait]
impl EndIssued for IssuerRegistry {
    async fn end_user(&self, user: &UserKey, at: Timestamp) -> Result<(), StoreError> {
        if !self.all.iter().any(|one| one.directory.directory.name() == &*user.directory) {
            return Ok(());
        }
        self.stamps.put(end_of_user(user, at)).await.map(|_| ())
    }

    async fn end_of_session(&self, session: &Session, at: Timestamp) {
        let Some(cookie) = session.cookie.filter(|_| session.issuer.is_some()) else { return };
        let is_its = |digest: &Digest| {
            *digest == cookie || self.seen.former.get(digest).is_some_and(|id| id == session.id)
        };
        let all: Vec<(Digest, Timestamp)> = self
            .seen
            .given
            .iter()
            .filter(|(digest, given)| is_its(&given.session) || is_its(digest))
            .map(|(digest, given)| (digest, given.expires_at))
            .collect();
        for (digest, until) in all {
            let _ = self.put(digest, at, until.max(at)).await;
        }
    }
}

impl OneIssuer {
    /// Whether the period in which its credentials are accepted has ended.
    pub(super) fn is_over(&self, at: Timestamp) -> bool {
        self.accept_until.is_some_and(|until| at >= until)
    }
}

impl Issuers {
    /// Revokes a credential. A name and a password cannot be revoked; a credential without an id is revoked together with all
    /// others without one that its issuer has given its user.
    ///
    /// # Errors
    /// [`Refusal::StoreUnavailable`]
    pub async fn end_issued(
        &self,
        issued: &IssuedCredential,
        at: Timestamp,
        events: &Events,
    ) -> Result<(), Refusal> {
        let Some(key) = issued.own_end else { return Ok(()) };
        // The token has ended, whatever age it claims.
        let end = issued.issued_at.map_or(at, |issued_at| at.max(issued_at));
        let stamp = NewStamp {
            key,
            at: end,
            keep: Keep::Latest,
            kept_until: issued.own_end_kept_until.max(at.plus(issued.deny_for)),
        };
        self.registry.stamps.put(stamp).await.map_err(store_failed)?;
        let (issuer, user) = (Arc::clone(&issued.issuer), issued.user.key.clone());
        events.note(EventKind::IssuedEnded { issuer, user });
        Ok(())
    }
}

fn unavailable(error: &StoreError) -> IssuedRefusal {
    tracing::warn!(%error, "the store failed");
    IssuedRefusal::Unavailable
}

/// Returns the date that ends all that issuers have given a user, for a store that no gateway has open.
pub fn end_of_user(user: &UserKey, at: Timestamp) -> NewStamp {
    NewStamp { key: user::end_of(user), at, keep: Keep::Latest, kept_until: FOR_GOOD }
}

/// Returns a key of the store, from parts without NUL.
pub(super) fn keyed(parts: &[&str]) -> Digest {
    Digest::of(parts.join("\0").as_bytes())
}
