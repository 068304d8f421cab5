//! Determines who is calling: finds the credentials of a request and checks them.
//!
//! Four places can hold a credential: `Authorization: Bearer`, a header for an `[[issuer]]`'s (which can be `Authorization`
//! too), the session cookie, and a cookie of an `[[issuer]]`. A bad token never falls back to another credential (R20); valid
//! ones that name two users are refused; of several that name one user a token counts before a cookie, since a browser does
//! not send it by itself and so needs no cross-site check. The session cookie has several names where an alias stands in for
//! a service's own sign-in (`cookies`); under two of them it must name one session. If it is present, an issuer's cookie is
//! not checked: it may be left over from before the user signed in here. Tokens in the query or a form are never credentials
//! (RFC 6750 sections 2.2 and 2.3 are not served). A scheme in `Authorization` that no issuer has proves nothing. The
//! gateway's own access token is accepted in each header and after each scheme that an issuer has, because the service's
//! front end sends it there. In a cookie (`shape = "dj-rest-auth"`) it counts as a cookie. Credentials that a route does not
//! accept (`route.credentials`) are ignored.

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

/// The client address for a credential that is checked without a request.
const NOWHERE: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);

/// The result of checking a request's credentials.
#[derive(Debug)]
pub enum Presented {
    /// There is no credential.
    Nothing,
    /// A valid credential.
    Good(Credential),
    /// An invalid credential, with its kind.
    Bad(Refusal, Proof),
    /// A credential that cannot be read at all, or credentials of two users.
    Malformed(Refusal),
}

/// A valid credential.
#[derive(Clone, Debug)]
pub enum Credential {
    /// A credential of a session.
    Session(Arc<Session>, Proof),
    /// A credential of an `[[issuer]]`, its user, and the session as which it was adopted, if it was.
    Issued(Arc<IssuedCredential>, Arc<Identity>, Option<Arc<Session>>),
}

impl Issuers {
    /// Checks the credentials of a request that the route accepts.
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
            // The token is read as in a header, but counts as a cookie, since browsers send it by themselves.
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
                // Nobody is signed in in this session.
                Err((Refusal::NotAuthenticated, _)) => {}
                // Services set a token in a cookie next to their session, and each expires at its own time.
                Err(why) => bad = bad.or(Some(why)),
            }
        }
        match bad {
            Some((refusal, proof)) if all.is_empty() => Presented::Bad(refusal, proof),
            Some(_) | None => Presented::of(all),
        }
    }

    /// Checks every session cookie of the request, if the route accepts them.
    ///
    /// # Errors
    /// A [`Refusal`] if a cookie cannot be read.
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

    /// Presents a credential to each issuer in turn, whatever it looks like; returns the issuers' names and results.
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

    /// Checks an issuer's credential and returns it as its caller's.
    async fn own_of(
        &self,
        shown: &PresentedCredential<'_>,
        arrival: &Arrival,
    ) -> Result<Credential, (Refusal, Proof)> {
        let found =
            self.issued(shown, Some(arrival.client_ip()), arrival.at, &arrival.events).await?;
        Box::pin(self.brought(found, arrival)).await
    }

    /// Returns the names of the services' cookies to forward: sessions in which nobody is signed in, which are not
    /// credentials, whoever is calling; and valid ones of `caller` and of an issuer that `forwards`.
    ///
    /// # Errors
    /// A [`Refusal`] if that cannot be determined now.
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
            // Here it does not matter whether the cookie is valid.
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

    /// Checks every token of the request that the route accepts, except those in cookies.
    ///
    /// # Errors
    /// [`Presented::Malformed`] or [`Presented::Bad`] if something cannot be read as a token.
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
        // A front end sends the token that it was given where its service reads tokens, even if it is the gateway's.
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
    /// Returns the first of valid credentials, if all are of one user.
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
    /// Returns the user that the credential belongs to.
    pub fn identity(&self) -> Arc<Identity> {
        match self {
            Self::Session(session, _) => session.identity.load_full(),
            Self::Issued(_, identity, _) => Arc::clone(identity),
        }
    }

    /// Returns the kind of credential.
    pub fn proof(&self) -> Proof {
        match self {
            Self::Session(_, proof) => *proof,
            Self::Issued(issued, ..) => issued.proof(),
        }
    }

    /// Returns the caller that the credential identifies.
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
