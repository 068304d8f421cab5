//! Who is calling? What a request brought to prove it, and whether that holds.
//!
//! Four places can hold a credential: `Authorization: Bearer`, a header in which an `[[issuer]]`'s come (which can be
//! `Authorization` too), the session cookie, and a cookie of an `[[issuer]]`'s. A bad token never falls back to another
//! credential (R20); good ones that name two users are refused; of several that name one user a token counts before a
//! cookie, since a browser cannot send it unasked and so needs no cross-site check. The session cookie has several names
//! where an alias stands in for a service's own sign-in (`cookies`); under two of them it names one session. Beside it an
//! issuer's is not looked at: it may lie in the browser from before its user signed in here. Tokens in the query or a form
//! are never credentials (RFC 6750 sections 2.2 and 2.3 are not served). A scheme in `Authorization` that no issuer has
//! proves nothing. Our own access token is one in each header and after each scheme where an issuer's come: that is where
//! the front end of its service sends what it got. In a cookie (`shape = "dj-rest-auth"`) it is a cookie. What a route does not look at (`route.credentials`) is not there at all.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use super::Issuers;
use super::{IssuedCredential, PresentedCredential, Unreadable};
use crate::caller::{Identity, Known, Proof, UserKey};
use crate::clock::Timestamp;
use crate::config::CredentialSelection;
use crate::context::Events;
use crate::refusal::Refusal;
use crate::session::looks_like_ours;
use crate::session::personal_token::{PersonalTokenUse, says_token};
use crate::store::Session;
use crate::wire::arrival::Arrival;
use crate::wire::authorization::{self, Authorization};

/// Nobody's address: a credential by itself comes from nowhere.
const NOWHERE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// What a request brought.
#[derive(Debug)]
pub enum Presented {
    /// Nothing of ours.
    Nothing,
    /// A credential that holds.
    Good(Credential),
    /// One that does not, and which one.
    Bad(Refusal, Proof),
    /// Something that cannot be read at all, or two credentials of two people.
    Malformed(Refusal),
}

/// A credential that holds.
#[derive(Clone, Debug)]
pub enum Credential {
    /// One of a session's.
    Session(Arc<Session>, Proof),
    /// What an `[[issuer]]` issued, its user, and the session that it was adopted as, if it was.
    Issued(Arc<IssuedCredential>, Arc<Identity>, Option<Arc<Session>>),
}

impl Issuers {
    /// Checks what the request brought, of the credentials that are looked at.
    pub async fn presented(
        &self,
        arrival: &Arrival,
        looks_at: &CredentialSelection,
        personal: PersonalTokenUse<'_>,
    ) -> Presented {
        let cookies = self.registry.readings.cookies(
            self.sessions.cookie_names(),
            &arrival.headers,
            looks_at,
        );
        let tokens = match self.tokens(arrival, looks_at, personal).await {
            Ok(tokens) => tokens,
            Err(presented) => return presented,
        };
        let cookies = match cookies {
            Ok(cookies) => cookies,
            Err(refusal) => return Presented::Malformed(refusal),
        };
        let mut all: Vec<Credential> = match tokens.into_iter().collect() {
            Ok(all) => all,
            Err((refusal, proof)) => return Presented::Bad(refusal, proof),
        };
        let (proof, has_token) = (Proof::SessionCookie, !all.is_empty());
        let mut named: Option<Arc<Session>> = None;
        let is_own = !cookies.own.is_empty();
        for value in cookies.own {
            let (client, at) = (arrival.client_ip(), arrival.at);
            match self.sessions.cookie(value, client, at, &arrival.events).await {
                Ok(session) => match &named {
                    Some(other) if other.id != session.id => {
                        return Presented::Malformed(Refusal::ConflictingCredentials);
                    }
                    Some(_) => {}
                    None => named = Some(session),
                },
                Err(refusal) if !has_token => return Presented::Bad(refusal, proof),
                Err(_) => {}
            }
        }
        all.extend(named.map(|session| Credential::Session(session, proof)));
        let mut bad = None;
        for token in cookies.tokens {
            // Found as in a header, and yet a cookie: browsers send it unasked.
            match self
                .sessions
                .bearer(token, arrival.client_ip(), arrival.at, &arrival.events)
                .await
            {
                Ok(session) => all.push(Credential::Session(session, proof)),
                Err(refusal) => bad = bad.or(Some((refusal, proof))),
            }
        }
        if is_own {
            return Presented::of(all);
        }
        for (_, shown) in &cookies.issued {
            match self.own_of(shown, arrival).await {
                Ok(credential) => all.push(credential),
                // A session in which nobody is signed in.
                Err((Refusal::NotAuthenticated, _)) => {}
                // Services keep a token in a cookie beside their session, and each ends in its own time.
                Err(why) => bad = bad.or(Some(why)),
            }
        }
        match bad {
            Some((refusal, proof)) if all.is_empty() => Presented::Bad(refusal, proof),
            Some(_) | None => Presented::of(all),
        }
    }

    /// Every cookie that the request brought and that is a session's, each checked, where these are looked at.
    ///
    /// # Errors
    /// A [`Refusal`] if one cannot be read.
    pub async fn cookies(
        &self,
        arrival: &Arrival,
        looks_at: &CredentialSelection,
    ) -> Result<Vec<Result<Credential, Refusal>>, Refusal> {
        let cookies = self.registry.readings.cookies(
            self.sessions.cookie_names(),
            &arrival.headers,
            looks_at,
        )?;
        let mut all = Vec::new();
        for value in cookies.own {
            let session =
                self.sessions.cookie(value, arrival.client_ip(), arrival.at, &arrival.events).await;
            all.push(session.map(|session| Credential::Session(session, Proof::SessionCookie)));
        }
        for token in cookies.tokens {
            let session =
                self.sessions.bearer(token, arrival.client_ip(), arrival.at, &arrival.events).await;
            all.push(session.map(|session| Credential::Session(session, Proof::SessionCookie)));
        }
        for (_, shown) in &cookies.issued {
            match self.own_of(shown, arrival).await {
                Ok(credential) => all.push(Ok(credential)),
                Err((Refusal::NotAuthenticated, _)) => {}
                Err((refusal, _)) => all.push(Err(refusal)),
            }
        }
        Ok(all)
    }

    /// A credential as if each issuer in turn were shown it, whatever it looks like; issuers and verdicts.
    pub async fn shown_to_issuers(
        &self,
        credential: &str,
        at: Timestamp,
        events: &Events,
    ) -> Vec<(Arc<str>, Result<Credential, Refusal>)> {
        let names: Vec<Arc<str>> = self.registry.names().map(Arc::clone).collect();
        let mut all = Vec::with_capacity(names.len());
        for (index, name) in names.into_iter().enumerate() {
            let shown = PresentedCredential::alone(credential, std::slice::from_ref(&index));
            let judged = match self.issued(&shown, None, at, events).await {
                Ok(found) => Ok(found.used(NOWHERE, at, events)),
                Err((refusal, _)) => Err(refusal),
            };
            all.push((name, judged));
        }
        all
    }

    /// A credential of an issuer's as its caller's.
    async fn own_of(
        &self,
        shown: &PresentedCredential<'_>,
        arrival: &Arrival,
    ) -> Result<Credential, (Refusal, Proof)> {
        let found =
            self.issued(shown, Some(arrival.client_ip()), arrival.at, &arrival.events).await?;
        Box::pin(self.brought(found, arrival)).await
    }

    /// The names of services' cookies that go on to them: sessions in which nobody is signed in, whoever is calling; such a
    /// one is no credential. And those that hold, are `caller`'s and of an issuer that `forwards`.
    ///
    /// # Errors
    /// A [`Refusal`] if that cannot be found out now.
    pub async fn passing_cookies(
        &self,
        arrival: &Arrival,
        looks_at: &CredentialSelection,
        caller: Option<&UserKey>,
        forwards: impl Fn(Proof) -> bool + Send + Sync,
    ) -> Result<Vec<String>, Refusal> {
        let cookies = self.registry.readings.cookies(
            self.sessions.cookie_names(),
            &arrival.headers,
            looks_at,
        )?;
        let mut passing = Vec::new();
        for (name, shown) in &cookies.issued {
            // Whether it is good is nobody's question here.
            let passes = match self.issued(shown, None, arrival.at, &Events::default()).await {
                Err((Refusal::NotAuthenticated, _)) => true,
                Err((refusal, _)) if refusal.status().is_server_error() => return Err(refusal),
                Err(_) => false,
                Ok(found) => {
                    let (key, proof) = found.whose();
                    Some(&key) == caller && forwards(proof)
                }
            };
            if passes {
                passing.push((*name).to_owned());
            }
        }
        Ok(passing)
    }

    /// Every token that the request brought, each checked, where these are looked at; a cookie is none.
    ///
    /// # Errors
    /// [`Presented::Malformed`] or [`Presented::Bad`], if something cannot be read as one.
    pub async fn tokens(
        &self,
        arrival: &Arrival,
        looks_at: &CredentialSelection,
        personal: PersonalTokenUse<'_>,
    ) -> Result<Vec<Result<Credential, (Refusal, Proof)>>, Presented> {
        let read_bearer = self.registry.readings.read_bearer(looks_at);
        let mut machines = None;
        let own = match authorization::read(&arrival.headers) {
            Authorization::Repeated => return Err(Presented::Malformed(Refusal::BadHeader)),
            Authorization::NotAToken if looks_at.bearer() || read_bearer => {
                return Err(Presented::Bad(Refusal::BadAuthorization, Proof::AccessToken));
            }
            Authorization::Bearer(token)
                if says_token(token.as_bytes()) && (looks_at.bearer() || personal.is_taken()) =>
            {
                machines = Some(token);
                None
            }
            Authorization::Bearer(token)
                if looks_at.bearer() && (!read_bearer || looks_like_ours(token)) =>
            {
                Some(token)
            }
            Authorization::Bearer(_)
            | Authorization::NotAToken
            | Authorization::Absent
            | Authorization::Foreign => None,
        };
        let has_own = own.is_some() || machines.is_some();
        let shown = self.registry.readings.shown(&arrival.headers, has_own, looks_at);
        let shown = shown.map_err(|unreadable| match unreadable {
            Unreadable::Repeated => Presented::Malformed(Refusal::BadHeader),
            Unreadable::NotAToken(issuer) => {
                let (refusal, proof) = self.not_a_token(issuer, &arrival.events);
                Presented::Bad(refusal, proof)
            }
        })?;
        let mut all = Vec::with_capacity(shown.len() + usize::from(has_own));
        if let Some(token) = machines {
            let (client, at, proof) = (arrival.client_ip(), arrival.at, Proof::PersonalToken);
            let session = self
                .sessions
                .personal_tokens()
                .session_of(token, personal, client, at, &arrival.events)
                .await;
            all.push(match session {
                Ok(session) => Ok(Credential::Session(session, proof)),
                Err(refusal) => Err((refusal, proof)),
            });
        }
        // A front end sends the token that it got where its service reads tokens, whatever is in it.
        let is_own =
            |shown: &&PresentedCredential<'_>| looks_at.bearer() && looks_like_ours(shown.token);
        let among = shown.iter().filter(is_own).map(|shown| shown.token);
        for token in own.into_iter().chain(among) {
            let (client, at) = (arrival.client_ip(), arrival.at);
            let session = self.sessions.bearer(token, client, at, &arrival.events).await;
            let proof = Proof::AccessToken;
            all.push(match session {
                Ok(session) => Ok(Credential::Session(session, proof)),
                Err(refusal) => Err((refusal, proof)),
            });
        }
        for shown in shown.iter().filter(|shown| !is_own(shown)) {
            all.push(self.own_of(shown, arrival).await);
        }
        Ok(all)
    }
}

impl Presented {
    /// Of good credentials the first, if all are one person's.
    fn of(all: Vec<Credential>) -> Self {
        let mut all = all.into_iter();
        let Some(first) = all.next() else { return Self::Nothing };
        if all.any(|other| other.identity().key != first.identity().key) {
            return Self::Malformed(Refusal::ConflictingCredentials);
        }
        Self::Good(first)
    }
}

impl Credential {
    /// Whose it is.
    pub fn identity(&self) -> Arc<Identity> {
        match self {
            Self::Session(session, _) => session.identity.load_full(),
            Self::Issued(_, identity, _) => Arc::clone(identity),
        }
    }

    /// What was presented.
    pub fn proof(&self) -> Proof {
        match self {
            Self::Session(_, proof) => *proof,
            Self::Issued(issued, ..) => issued.proof(),
        }
    }

    /// The caller that it makes known.
    pub fn known(&self) -> Known {
        let identity = self.identity();
        match self {
            Self::Session(session, proof) => Known {
                identity,
                session: Some(session.id.clone()),
                proof: *proof,
                assurance: session.assurance,
            },
            Self::Issued(issued, _, session) => Known {
                identity,
                session: session.as_ref().map(|session| session.id.clone()),
                proof: issued.proof(),
                assurance: session
                    .as_ref()
                    .map_or_else(|| issued.assurance(), |session| session.assurance),
            },
        }
    }
}
