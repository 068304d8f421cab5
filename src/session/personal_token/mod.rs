//! Personal access tokens: sessions for programs.
//!
//! A token is a session that began without a sign-in (`Session::grant`). So it ends immediately when its user is disabled or
//! gone, when their password changes, or when they report "this was not me"; it is looked up in memory; its groups are the
//! user's current ones; and blocks, detectors and the access log know it by its session's id. Only the SHA-256 of the token is
//! stored.
//!
//! It does not prove that anybody is present. It never satisfies `fresh` or `second_factor = "required"`. It is valid only on
//! routes that accept such tokens ([`PersonalTokenUse`]), and on none of the gateway's own paths except those that report who
//! is calling: no token can create another token, a session or a factor. Signing out everywhere does not end it, as is usual: a
//! script does not fail because its owner signed out of a browser. Whatever responds to an incident (an operator who ends
//! everything of a user, a detector's `end_user_sessions`, "this was not me") ends it too.
//!
//! `tokens.bind` does not apply to it, because it is created in one place and used in another.

mod format;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Method;

pub(crate) use self::format::says_token;
use super::credential_cache::{Remembered, Space};
use super::{SessionManager, store_failed};
use crate::caller::{Assurance, Proof, SessionId, TokenGrant, UserKey};
use crate::clock::Timestamp;
use crate::config::{Config, PersonalTokenSettings};
use crate::context::Events;
use crate::event::{EndReason, EventKind, TokenRefusal};
use crate::refusal::Refusal;
use crate::secret::{Digest, Secret, random_id};
use crate::store::{NewSession, Session, SessionBy, SessionSelection};

/// The longest name, in characters.
const LONGEST_NAME: usize = 64;

/// Personal access tokens: creating, using, listing and revoking them.
#[derive(Clone, Copy)]
pub struct PersonalTokens<'s>(pub(super) &'s SessionManager);

/// The settings of personal access tokens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PersonalTokenRules {
    /// `[personal_tokens]`
    pub settings: PersonalTokenSettings,
    /// The names of the routes that accept them.
    pub routes: Vec<String>,
}

/// The purpose for which a personal access token is presented.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PersonalTokenUse<'a> {
    /// A purpose for which no personal access token is accepted.
    Refused,
    /// To report whom the token belongs to.
    Identification,
    /// A route that accepts personal access tokens.
    Route {
        /// The name of the route.
        name: &'a str,
        /// The method of the request.
        method: &'a Method,
    },
}

/// A token that somebody asks for, before it was checked.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct WantedToken {
    /// The name of the token.
    pub name: String,
    /// The routes that the token is for; empty for all that accept such tokens.
    pub routes: Vec<String>,
    /// The methods that the token is for; empty for all.
    pub methods: Vec<String>,
    /// How long the token is valid; `None` for the longest allowed lifetime.
    pub lifetime: Option<Duration>,
}

/// What is wrong with a requested token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TokenProblem {
    /// The field.
    pub field: &'static str,
    /// What is wrong with the field, and what is allowed.
    pub text: String,
}

/// A requested token that was checked and may be created.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CheckedToken {
    grant: TokenGrant,
    lifetime: Duration,
}

/// Who creates a token.
#[derive(Clone, Copy, Debug)]
pub enum TokenMaker<'a> {
    /// The owner of the token, in this session.
    Owner(&'a Session),
    /// An operator, for this user.
    Operator(&'a UserKey),
}

impl PersonalTokenRules {
    /// Returns the rules of this configuration.
    pub fn of(config: &Config) -> Self {
        Self {
            settings: config.personal_tokens.clone(),
            routes: config.token_routes().map(|route| route.name.clone()).collect(),
        }
    }

    /// Checks a requested token.
    ///
    /// # Errors
    /// The first [`TokenProblem`].
    pub fn check(&self, wanted: WantedToken) -> Result<CheckedToken, TokenProblem> {
        let wrong = |field, text: String| Err(TokenProblem { field, text });
        let name = wanted.name.trim().to_owned();
        let length = name.chars().count();
        if length == 0 || length > LONGEST_NAME || name.chars().any(char::is_control) {
            let text = format!("A name of 1 to {LONGEST_NAME} characters is needed.");
            return wrong("name", text);
        }
        if let Some(other) = wanted.routes.iter().find(|name| !self.routes.contains(name)) {
            let text = match self.routes.as_slice() {
                [] => "No route takes personal access tokens.".to_owned(),
                routes => format!(
                    "No route {other:?} takes personal access tokens. Allowed: {}.",
                    routes.join(", ")
                ),
            };
            return wrong("routes", text);
        }
        let is_method = |text: &String| {
            !text.is_empty()
                && text.len() <= 32
                && text.bytes().all(|byte| byte.is_ascii_uppercase())
        };
        if let Some(other) = wanted.methods.iter().find(|text| !is_method(text)) {
            return wrong("methods", format!("{other:?} is no method in capitals."));
        }
        let longest = self.settings.max_lifetime;
        let lifetime = wanted.lifetime.unwrap_or(longest);
        if lifetime < Duration::from_secs(60) || lifetime > longest {
            let days = longest.as_secs() / 86_400;
            let text = format!("It is good for one minute at least and {days} days at most.");
            return wrong("expires", text);
        }
        let list = |mut names: Vec<String>| {
            names.sort_unstable();
            names.dedup();
            names
        };
        let (routes, methods) = (list(wanted.routes), list(wanted.methods));
        Ok(CheckedToken { grant: TokenGrant { name, routes, methods }, lifetime })
    }
}

impl PersonalTokenUse<'_> {
    /// Whether a token in that scope is accepted for this purpose.
    pub const fn is_taken(self) -> bool {
        match self {
            Self::Refused => false,
            Self::Identification | Self::Route { .. } => true,
        }
    }

    fn judge(self, grant: &TokenGrant) -> Result<(), TokenRefusal> {
        match self {
            Self::Refused => Err(TokenRefusal::NotTaken),
            Self::Identification => Ok(()),
            Self::Route { name, method } if grant.allows(name, method) => Ok(()),
            Self::Route { .. } => Err(TokenRefusal::OutOfScope),
        }
    }
}

impl<'s> PersonalTokens<'s> {
    /// Returns the settings of personal access tokens.
    pub const fn rules(self) -> &'s PersonalTokenRules {
        &self.0.personal_tokens
    }

    /// Returns the session of a personal access token that is valid for its purpose, without I/O while it is cached.
    ///
    /// # Errors
    /// [`Refusal::TokenNotValid`], [`Refusal::PersonalTokenNotTaken`], [`Refusal::PersonalTokenScope`],
    /// [`Refusal::StoreUnavailable`]
    pub async fn session_of(
        self,
        token: &str,
        presented_for: PersonalTokenUse<'_>,
        client: IpAddr,
        at: Timestamp,
        events: &Events,
    ) -> Result<Arc<Session>, Refusal> {
        let live = match self.live(token, at).await? {
            Ok(live) => live,
            Err(why) => {
                events.note(EventKind::PersonalTokenRefused { token: None, why });
                return Err(refusal_of(why));
            }
        };
        let grant = live.session.grant.clone().unwrap_or_default();
        if let Err(why) = presented_for.judge(&grant) {
            let token = Some((live.session.id.clone(), live.session.identity.load().key.clone()));
            events.note(EventKind::PersonalTokenRefused { token, why });
            return Err(refusal_of(why));
        }
        Ok(live.used(Proof::PersonalToken, client, at, events))
    }

    /// Checks that a personal access token is valid. This is no use of it.
    ///
    /// # Errors
    /// [`Refusal::TokenNotValid`], [`Refusal::StoreUnavailable`], or the refusal of a block
    pub(crate) async fn verify(self, token: &str, at: Timestamp) -> Result<(), Refusal> {
        let live = self.live(token, at).await?.map_err(refusal_of)?;
        self.0.blocks().may_use(&live.session, at)
    }

    async fn live(
        self,
        token: &str,
        at: Timestamp,
    ) -> Result<Result<Remembered, TokenRefusal>, Refusal> {
        if let Some(live) = self.0.verified.recall(Space::PERSONAL_TOKEN, token, at) {
            return Ok(Ok(live));
        }
        if !format::is_well_formed(token) {
            return Ok(Err(TokenRefusal::Malformed));
        }
        let digest = Digest::of(token.as_bytes());
        let by = SessionBy::Cookie(&digest);
        let session = self.0.store.find(by, at).await.map_err(store_failed)?;
        let Some(session) = session.filter(|session| session.is_token()) else {
            return Ok(Err(TokenRefusal::Unknown));
        };
        let expires_at = session.expires_at;
        Ok(Ok(self.0.verified.remember(Space::PERSONAL_TOKEN, token, session, expires_at)))
    }

    /// Creates a personal access token, and returns its session and the token itself, which is not stored anywhere.
    ///
    /// # Errors
    /// [`Refusal::TooManyTokens`]; [`Refusal::NoActiveAccount`] if the directory has no such user, or they may not sign in;
    /// [`Refusal::DirectoryUnavailable`], [`Refusal::StoreUnavailable`]
    pub async fn make(
        self,
        maker: TokenMaker<'_>,
        checked: CheckedToken,
        client: Option<IpAddr>,
        at: Timestamp,
        events: &Events,
    ) -> Result<(Arc<Session>, Secret), Refusal> {
        let (identity, password_mark) = match maker {
            TokenMaker::Owner(session) => (session.identity.load_full(), session.password_mark),
            TokenMaker::Operator(user) => {
                let watched = self.0.directory(&user.directory).ok_or(Refusal::NoActiveAccount)?;
                // A directory that says nothing about users without their password cannot tell when the token has to end
                // either.
                let users = watched.directory.users().ok_or(Refusal::NoActiveAccount)?;
                let account = users.by_id(user).await.map_err(super::sign_in::not_asked)?;
                let account = account.filter(|account| account.active);
                let account = account.ok_or(Refusal::NoActiveAccount)?;
                watched.upgrades.note(users, &account);
                (Arc::clone(&account.identity), account.password_mark())
            }
        };
        let no_randomness = |_| Refusal::Internal;
        let token = format::random().map_err(no_randomness)?;
        let CheckedToken { grant, lifetime } = checked;
        let new = NewSession {
            id: SessionId::new(&random_id().map_err(no_randomness)?),
            identity,
            password_mark,
            cookie: Some(token.digest()),
            issuer: None,
            at,
            expires_at: at.plus(lifetime),
            idle_timeout: lifetime,
            client,
            agent: String::new(),
            assurance: Assurance::BY_TOKEN,
            grant: Some(Arc::new(grant)),
            refresh: None,
            kept: None,
        };
        let most = self.0.personal_tokens.settings.max_per_user;
        let made = self.0.store.create_token(new, most).await.map_err(store_failed)?;
        let session = made.ok_or(Refusal::TooManyTokens)?;
        let user = session.identity.load().key.clone();
        events.note(EventKind::PersonalTokenMade { token: session.id.clone(), user });
        Ok((session, token))
    }

    /// Returns the personal access tokens of a user, or of all users, newest first.
    ///
    /// # Errors
    /// [`Refusal::StoreUnavailable`]
    pub async fn list(
        self,
        user: Option<&UserKey>,
        at: Timestamp,
    ) -> Result<Vec<Arc<Session>>, Refusal> {
        let mut sessions = self.0.store.list(user, at).await.map_err(store_failed)?;
        sessions.retain(|session| session.is_token());
        Ok(sessions)
    }

    /// Ends one personal access token, of this user if one is given. Returns `false` if there is no such token.
    ///
    /// # Errors
    /// [`Refusal::StoreUnavailable`]
    pub async fn revoke(
        self,
        token: &SessionId,
        owner: Option<&UserKey>,
        at: Timestamp,
        events: &Events,
    ) -> Result<bool, Refusal> {
        let found = self.0.store.find(SessionBy::Id(token), at).await.map_err(store_failed)?;
        let is_theirs = |session: &Arc<Session>| {
            session.is_token() && owner.is_none_or(|owner| session.identity.load().key == *owner)
        };
        if !found.as_ref().is_some_and(is_theirs) {
            return Ok(false);
        }
        let which = SessionSelection::Session(token.clone());
        Ok(self.0.end(&which, EndReason::Revoked, at, events).await? > 0)
    }
}

/// Returns the refusal that a client gets.
const fn refusal_of(why: TokenRefusal) -> Refusal {
    match why {
        TokenRefusal::Malformed | TokenRefusal::Unknown => Refusal::TokenNotValid,
        TokenRefusal::NotTaken => Refusal::PersonalTokenNotTaken,
        TokenRefusal::OutOfScope => Refusal::PersonalTokenScope,
    }
}

#[cfg(test)]
mod tests;
