//! Checks an issuer's credential, from its first sight to the result.

use std::net::IpAddr;
use std::sync::Arc;

use super::Issuers;
use super::refused::{in_words_of_jwt, in_words_of_tables, is_anothers, public};
use super::{
    CheckMethod, CredentialCheck, IssuedCredential, JudgedCredential, OneIssuer, Password,
    PresentedCredential, TokenContent,
};
use crate::caller::{Identity, Proof, SessionId, UserKey};
use crate::clock::Timestamp;
use crate::config::Refusals;
use crate::context::Events;
use crate::event::{Adoption, EventKind, IssuedRefusal};
use crate::issuer::credential::Credential;
use crate::refusal::Refusal;
use crate::session::credential_cache::Remembered;
use crate::store::{Session, SessionBy};
use crate::wire::arrival::Arrival;

/// A credential, and the circumstances in which it is presented.
#[derive(Clone, Copy)]
struct Presenting<'a> {
    credential: &'a str,
    /// The client's address; `None` if a token is only asked about: a password is not checked then.
    client: Option<IpAddr>,
    at: Timestamp,
    events: &'a Events,
}

/// A valid credential.
pub(crate) enum VerifiedCredential {
    /// An issuer's credential, and its user.
    Itself(Arc<IssuedCredential>, Arc<Identity>),
    /// A session of the gateway's.
    Session(Remembered, Proof),
}

impl VerifiedCredential {
    /// Returns the user and the kind of the credential.
    pub(crate) fn whose(&self) -> (UserKey, Proof) {
        match self {
            Self::Itself(issued, identity) => (identity.key.clone(), issued.proof),
            Self::Session(live, proof) => (live.session.identity.load().key.clone(), *proof),
        }
    }

    /// Returns the credential as its caller's, which counts as a use of its session.
    pub(crate) fn used(self, client: IpAddr, at: Timestamp, events: &Events) -> Credential {
        match self {
            Self::Itself(issued, identity) => Credential::Issued(issued, identity, None),
            Self::Session(live, proof) => {
                Credential::Session(live.used(proof, client, at, events), proof)
            }
        }
    }
}

impl OneIssuer {
    /// Returns what a client sees.
    pub(super) const fn refusal(&self, why: IssuedRefusal) -> Refusal {
        let proof = match self.proof {
            // A token is replaced at the service, wherever it is stored, so it is not treated like a session cookie.
            Proof::IssuedCookie(issuer) if !self.is_session => Proof::Issued(issuer),
            proof => proof,
        };
        match self.refusals {
            Refusals::Gateway => public(why, proof),
            Refusals::Jwt => in_words_of_jwt(why, proof),
            Refusals::Opaque => in_words_of_tables(why, proof),
        }
    }
}

impl Issuers {
    /// Tries each issuer that may have issued the credential, until one knows it.
    ///
    /// # Errors
    /// A [`Refusal`]; [`Refusal::NotAuthenticated`] for a session in which nobody is signed in, which is not a credential.
    pub(crate) async fn issued(
        &self,
        shown: &PresentedCredential<'_>,
        client: Option<IpAddr>,
        at: Timestamp,
        events: &Events,
    ) -> Result<VerifiedCredential, (Refusal, Proof)> {
        let mut refused: Vec<(&OneIssuer, IssuedRefusal)> = Vec::new();
        let mut asked = shown.asked();
        if let Some(index) = self.who_remembers(shown)
            && let Some(one) = self.registry.all.get(index)
        {
            let presenting = Presenting { credential: shown.token, client, at, events };
            match Box::pin(self.issued_by(one, index, presenting)).await {
                Ok(found) => return Ok(found),
                // The credential may be another issuer's by now, so all are asked as if none had known it.
                Err(why) if is_anothers(why) => {}
                Err(why) => {
                    refused.push((one, why));
                    asked.by_ref().for_each(drop);
                }
            }
        }
        for index in asked {
            let Some(one) = self.registry.all.get(index) else { continue };
            let presenting = Presenting { credential: shown.token, client, at, events };
            // This future is large, so it is boxed: otherwise a request without an issuer's credential would pay for its
            // size.
            match Box::pin(self.issued_by(one, index, presenting)).await {
                Ok(found) => return Ok(found),
                Err(why) => {
                    refused.push((one, why));
                    if !is_anothers(why) {
                        break;
                    }
                }
            }
        }
        // The last issuer is the one that knew the credential, if any did.
        let Some((one, why)) = refused.last().copied() else {
            return Err((Refusal::TokenNotValid, Proof::AccessToken));
        };
        if one.is_session && why == IssuedRefusal::NoUser {
            return Err((Refusal::NotAuthenticated, one.proof));
        }
        for (one, why) in refused {
            events.note(EventKind::IssuedRefused { issuer: Arc::clone(&one.name), why });
        }
        Err((one.refusal(why), one.proof))
    }

    /// Returns which of several issuers has verified this credential before; it is asked first, since the others would verify
    /// it in vain. A single issuer is asked directly.
    fn who_remembers(&self, shown: &PresentedCredential<'_>) -> Option<usize> {
        shown.asked().nth(1)?;
        let spaces =
            shown.asked().filter_map(|index| Some((index, self.registry.all.get(index)?.space)));
        self.verified.who_remembers(spaces, shown.token)
    }

    /// Returns the credential of a request as its caller's, with the session that it is adopted as.
    pub(crate) async fn brought(
        &self,
        found: VerifiedCredential,
        arrival: &Arrival,
    ) -> Result<Credential, (Refusal, Proof)> {
        let (client, at) = (arrival.client_ip(), arrival.at);
        let (issued, identity) = match found {
            VerifiedCredential::Itself(issued, identity) => (issued, identity),
            session @ VerifiedCredential::Session(..) => {
                return Ok(session.used(client, at, &arrival.events));
            }
        };
        match self.adopted(&issued, Adoption::FirstUse, &arrival.context()).await {
            Ok(session) => {
                let session = session.map(|session| {
                    self.sessions.verified().used(
                        session,
                        issued.proof,
                        client,
                        at,
                        &arrival.events,
                    )
                });
                Ok(Credential::Issued(issued, identity, session))
            }
            Err(why) => {
                arrival.note(EventKind::IssuedRefused { issuer: Arc::clone(&issued.issuer), why });
                let one = self.registry.of(&issued);
                let refusal = one.map_or(Refusal::SessionEnded, |one| one.refusal(why));
                Err((refusal, issued.proof))
            }
        }
    }

    /// Handles a value that is not a credential, in a place for those of this issuer.
    pub(crate) fn not_a_token(&self, index: usize, events: &Events) -> (Refusal, Proof) {
        let Some(one) = self.registry.all.get(index) else {
            return (Refusal::TokenNotValid, Proof::AccessToken);
        };
        let (issuer, why) = (Arc::clone(&one.name), IssuedRefusal::Malformed);
        events.note(EventKind::IssuedRefused { issuer, why });
        (one.refusal(why), one.proof)
    }

    async fn issued_by(
        &self,
        one: &OneIssuer,
        index: usize,
        shown: Presenting<'_>,
    ) -> Result<VerifiedCredential, IssuedRefusal> {
        let Presenting { credential, at, events, .. } = shown;
        if one.is_over(at) {
            return Err(IssuedRefusal::NoLongerAccepted);
        }
        if one.has_sessions
            && let Some(live) = self.sessions.verified().recall(one.space, credential, at)
        {
            return Ok(VerifiedCredential::Session(live, one.proof));
        }
        let before = self.verified.recall(one.space, credential);
        match (&one.way, before) {
            (CheckMethod::Said(_), Some(issued)) => {
                let identity = self.holds_for(one, &issued, at).await?;
                self.refuse_taken_back_since(one, &issued, credential, at).await?;
                Ok(VerifiedCredential::Itself(issued, identity))
            }
            (CheckMethod::Said(issuer), None) => match issuer.judge(credential, at)? {
                TokenContent::All(judged) => {
                    self.registry.refuse_taken_back(one, &judged, at).await?;
                    self.remember(one, index, credential, judged, at).await
                }
                TokenContent::Session { session, user, expires_at } => {
                    let live = self.of_session(one, &session, &user, at).await?;
                    let expires_at = expires_at.unwrap_or(live.expires_at);
                    let live =
                        self.sessions.verified().remember(one.space, credential, live, expires_at);
                    Ok(VerifiedCredential::Session(live, one.proof))
                }
            },
            (CheckMethod::Asked(issuer), None) => {
                let judged = issuer.ask(credential, at).await?;
                self.remember(one, index, credential, judged, at).await
            }
            (CheckMethod::Asked(issuer), Some(issued)) => {
                self.asked_before(one, &**issuer, index, credential, issued, at).await
            }
            (CheckMethod::Password(cache_for), before) => {
                if let Some(issued) = before {
                    match self.holds_for(one, &issued, at).await {
                        Err(IssuedRefusal::PasswordChanged | IssuedRefusal::Expired) => {
                            self.verified.forget(one.space, credential);
                        }
                        held => {
                            return held
                                .map(|identity| VerifiedCredential::Itself(issued, identity));
                        }
                    }
                }
                let client = shown.client.ok_or(IssuedRefusal::Malformed)?;
                let check = async {
                    let judged =
                        self.basic(one, credential, *cache_for, client, at, events).await?;
                    self.registry.settle(index, judged, at).await.map(Arc::new)
                };
                let issued = self.verified.judge_once(one.space, credential, check).await?;
                let identity = self.holds_now(one, &issued, at).await?;
                Ok(VerifiedCredential::Itself(issued, identity))
            }
        }
    }

    /// Checks a credential that its service was asked about before, and asks again if that is due.
    async fn asked_before(
        &self,
        one: &OneIssuer,
        issuer: &dyn CredentialCheck,
        index: usize,
        credential: &str,
        issued: Arc<IssuedCredential>,
        at: Timestamp,
    ) -> Result<VerifiedCredential, IssuedRefusal> {
        let every = one.directory.every;
        let identity = match self.holds_for(one, &issued, at).await {
            Ok(identity) => identity,
            // The service may have extended its life.
            Err(IssuedRefusal::Expired) => {
                return self.again(one, issuer, index, credential, &issued, at).await;
            }
            Err(why) => return Err(why),
        };
        let Some(turn) = issued.look.turn(every, at) else {
            return Ok(VerifiedCredential::Itself(issued, identity));
        };
        match self.again(one, issuer, index, credential, &issued, at).await {
            Err(IssuedRefusal::Unavailable) => {
                turn.failed(every, at);
                Ok(VerifiedCredential::Itself(Arc::clone(&issued), identity))
            }
            Err(why) => {
                self.verified.forget(one.space, credential);
                Err(why)
            }
            Ok(found) => Ok(found),
        }
    }

    /// Returns the live session that a token names, if its user is the one that the token names.
    async fn of_session(
        &self,
        one: &OneIssuer,
        session: &SessionId,
        user: &str,
        at: Timestamp,
    ) -> Result<Arc<Session>, IssuedRefusal> {
        let found = self.store.find(SessionBy::Id(session), at).await.map_err(|error| {
            tracing::warn!(%error, "the store failed");
            IssuedRefusal::Unavailable
        })?;
        let session = found.ok_or(IssuedRefusal::Ended)?;
        let key = UserKey::new(one.directory.directory.name(), user);
        if session.identity.load().key == key { Ok(session) } else { Err(IssuedRefusal::BadClaim) }
    }

    /// Checks a known credential again.
    async fn again(
        &self,
        one: &OneIssuer,
        issuer: &dyn CredentialCheck,
        index: usize,
        credential: &str,
        before: &IssuedCredential,
        at: Timestamp,
    ) -> Result<VerifiedCredential, IssuedRefusal> {
        let mut judged = issuer.ask(credential, at).await?;
        // Saving a session again does not make it younger: what ended it before still ends it.
        judged.issued_at = judged.issued_at.zip(before.issued_at).map(|(now, then)| now.min(then));
        self.remember(one, index, credential, judged, at).await
    }

    /// Caches a credential that was just checked, if it is valid.
    async fn remember(
        &self,
        one: &OneIssuer,
        index: usize,
        credential: &str,
        judged: JudgedCredential,
        at: Timestamp,
    ) -> Result<VerifiedCredential, IssuedRefusal> {
        let issued = Arc::new(self.registry.settle(index, judged, at).await?);
        let identity = self.holds_now(one, &issued, at).await?;
        self.verified.remember(one.space, credential, Arc::clone(&issued));
        Ok(VerifiedCredential::Itself(issued, identity))
    }

    /// Like [`Self::holds_for`], but looks the user up again before it reports a changed password: the credential may be
    /// newer than what is known of its user.
    async fn holds_now(
        &self,
        one: &OneIssuer,
        issued: &IssuedCredential,
        at: Timestamp,
    ) -> Result<Arc<Identity>, IssuedRefusal> {
        match self.holds_for(one, issued, at).await {
            Err(IssuedRefusal::PasswordChanged) => {
                issued.user.ask_next();
                self.holds_for(one, issued, at).await
            }
            held => held,
        }
    }

    /// Checks whether the credential is valid now, and returns its user.
    async fn holds_for(
        &self,
        one: &OneIssuer,
        issued: &IssuedCredential,
        at: Timestamp,
    ) -> Result<Arc<Identity>, IssuedRefusal> {
        let known = self.registry.known(&one.directory, &issued.user, at).await?;
        if !issued.password.is_that_of(&known) {
            return Err(IssuedRefusal::PasswordChanged);
        }
        // When it was checked, the password was enough; now the user has a second factor.
        if known.has_second_factor && matches!(issued.password, Password::Checked(_)) {
            return Err(IssuedRefusal::SecondFactorRequired);
        }
        // This is checked last, because looking the user up may have ended the credential.
        let held = self.registry.holds(issued, at);
        if held == Err(IssuedRefusal::Ended) {
            self.registry.keep_ended(issued, at).await;
        }
        held.map(|()| Arc::clone(&known.identity))
    }
}
