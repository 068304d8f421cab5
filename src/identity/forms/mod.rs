//! Makes the forms of identity other than the headers of `[identity]`, for services that are not changed for the gateway.
//!
//! - A form is made *before* the request is forwarded ([`IdentityForms::give`]), because it may have to query a database or
//!   sign. If it cannot be made, the request is refused: a service never gets a known caller without the identity that its
//!   route promises, since it would treat that caller as not signed in, or as whoever the client claims to be.
//! - What a form sets is first removed from the client's request, on every route that uses the form and for every caller,
//!   whatever they came with ([`IdentityForms::clears`]): a Bearer caller gets a token, and their own `sessionid` is still
//!   removed. Names of headers that only a form sets are removed on all routes, as those of `[identity]` are.
//! - A session of the service in which nobody is signed in is not an identity. It stays with whoever has it, unless a form
//!   gives them another ([`FormIdentity::passing`]), because it may hold a basket, a CSRF token or an unfinished password
//!   reset. So does a cookie that the service sets in an answer, unless it replaces one that a form has given.
//! - A caller who came with a session of the service itself (`[[issuer]] kind = "django-session"`) keeps it on a route that
//!   would give them one ([`IdentityForms::own_session`]). They get no other credential, unless `issuer.danger_mint` allows
//!   it; on a route where nothing else would identify them, they are refused.
//! - If an issuer has `forward = true`, the service's views expect its credential in `Authorization`, and no form replaces it
//!   ([`FormIdentity::keeps_authorization`]): a view may accept one kind of token and not another.
//! - Ids belong to a directory. A form that contains an id is for the users of one directory, and a caller from another is
//!   refused: user 1 of a users' file must not become user 1 of the service.

mod cookies;
mod django_session;
mod drf_token;
mod guard;
mod kept_authorization;
mod minted;
mod remote_user;
mod removed;

use std::path::Path;
use std::sync::Arc;

use http::header::{AUTHORIZATION, COOKIE, HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode};

use self::cookies::FormCookies;
use self::django_session::DjangoSessionForm;
use self::drf_token::DrfTokenForm;
use self::guard::Guard;
use self::kept_authorization::KeptAuthorization;
use self::minted::Minted;
use self::remote_user::RemoteUserForm;
pub use self::removed::RemovedCredentials;
use crate::caller::{Caller, IssuerName, Known, Proof, SessionId};
use crate::clock::Timestamp;
use crate::config::{Config, FormKind, IdentityForm, IssuerSettings, Route, SignInMode};
use crate::directory::{Account, Directory};
use crate::private_file;
use crate::refusal::Refusal;
use crate::secret::{Digest, Secret};
use crate::service::database::Databases;
use crate::session::cookies::CookieNames;
use crate::session::service_cookies::ServiceCookies;
use crate::store::Session;
use crate::store::notifying::SessionEnded;
use crate::wire::cookie::last_set;

/// All identity forms of the configuration.
pub struct IdentityForms {
    forms: Vec<Form>,
    clears: Arc<[RemovedCredentials]>,
    guard: Arc<Guard>,
    /// The issuers whose credential is a cookie, with the properties of their sessions.
    issued: Arc<[IssuedSessions]>,
    /// The issuers whose credentials in `Authorization` are forwarded because their configuration says so (`issuer.forward`).
    kept: Arc<KeptAuthorization>,
    /// Whether the service signs people in itself.
    follows: bool,
}

/// The sessions of an issuer.
struct IssuedSessions {
    issuer: IssuerName,
    /// The issuer's index, by which routes name the credentials that they check.
    index: usize,
    cookie: String,
    /// Whether the cookie is a token rather than a session.
    is_token: bool,
    /// The directory of the issuer's users.
    directory: String,
    /// Whether other credentials may be made for a caller who has such a session.
    mints: bool,
    /// Whether the cookie is forwarded to its service.
    goes_on: bool,
    /// The upstreams whose sessions these are, as indexes in the configuration; none means all.
    upstreams: Vec<usize>,
}

/// The result of reading the service's answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum FormOutcome {
    /// The caller's session continues.
    GoesOn,
    /// The service has replaced the session that it was given; the new one is for the password with this mark.
    Proved(Digest),
    /// The service has ended the caller's session.
    Ended,
}

#[derive(Clone)]
struct Form {
    settings: IdentityForm,
    /// The digest of the form's key file.
    key: Option<Digest>,
    /// The directory whose ids the form contains; `None` if it contains only names.
    directory: Option<Directory>,
    made: MadeForm,
}

#[derive(Clone)]
enum MadeForm {
    RemoteUser(Arc<RemoteUserForm>),
    Minted(Arc<Minted>),
    DjangoSession(Arc<DjangoSessionForm>),
    DrfToken(Arc<DrfTokenForm>),
    Cookies(Arc<FormCookies>),
}

/// What the forms add to one request.
#[derive(Debug, Default)]
pub struct FormIdentity {
    /// Header fields to set.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Cookies to send in addition to those of the client that stay.
    pub cookies: Vec<GivenCookie>,
    /// Whether nothing was given to this session before.
    pub is_first: bool,
    /// Cookies of the client that the route's forms clear, but that are forwarded, because no user is signed in with them.
    pub passing: Vec<String>,
    /// Whether `Authorization` has the caller's own credential, which the service's views expect, so that no form replaces
    /// it.
    pub keeps_authorization: bool,
}

/// A cookie that only the upstream sees.
#[derive(Clone, Debug)]
pub struct GivenCookie {
    /// The cookie's name.
    pub name: String,
    /// The cookie's value.
    pub value: Secret,
    form: usize,
}

/// A form that cannot be used as configured.
#[derive(Debug, thiserror::Error)]
#[error("the identity form {form:?}: {reason}")]
pub struct FormError {
    /// The form's name.
    pub form: String,
    /// What is wrong with the form.
    pub reason: String,
}

impl IdentityForms {
    /// Opens the forms of a configuration.
    ///
    /// An unchanged form of `before` is used again, with what it has made. `secret` is the file of the secret under which the
    /// gateway names what it makes in services; the file is made when a form first needs it.
    ///
    /// # Errors
    /// [`FormError`] for the first form that cannot be used.
    pub fn open(
        config: &Config,
        directories: &[Directory],
        databases: &Databases,
        kept: &Arc<ServiceCookies>,
        secret: &Path,
        before: Option<&Self>,
    ) -> Result<Self, FormError> {
        let same = |settings: &IdentityForm| {
            let same = before?.forms.iter().find(|form| form.settings == *settings)?;
            same.can_go_on(directories).then(|| same.clone())
        };
        let forms = config
            .forms
            .iter()
            .map(|form| match same(form) {
                Some(same) => Ok(same),
                None => Form::open(form, directories, databases, kept, secret)
                    .map_err(|reason| FormError { form: form.name.clone(), reason }),
            })
            .collect::<Result<_, _>>()?;
        let clears = config
            .routes
            .iter()
            .map(|route| RemovedCredentials::of(route, &config.forms))
            .collect();
        let issued = |(index, issuer): (usize, &IssuerSettings)| {
            issuer.cookie().map(|cookie| IssuedSessions {
                issuer: IssuerName::new(&issuer.name),
                index,
                cookie: cookie.to_owned(),
                is_token: issuer.is_token_in_cookie(),
                directory: issuer.directory.clone(),
                // A token contains all that its service ever requires.
                mints: issuer.danger_mint || issuer.is_token_in_cookie(),
                goes_on: config.forwards(issuer),
                upstreams: issuer.upstreams.clone(),
            })
        };
        let guard = before.map_or_else(|| Arc::new(Guard::new()), |one| Arc::clone(&one.guard));
        let issued = config.issuers.iter().enumerate().filter_map(issued).collect();
        let kept_authorization = Arc::new(KeptAuthorization::of(config));
        let follows = config.sign_in.mode == SignInMode::Follow;
        Ok(Self { forms, clears, guard, issued, kept: kept_authorization, follows })
    }

    /// Returns a copy of the forms that reports what this caller would get. Nothing is written in any service.
    #[must_use]
    pub fn read_only(&self, caller: &Caller) -> Self {
        let nobody = SessionId::new("");
        let session = caller.known().and_then(|known| known.session.as_ref()).unwrap_or(&nobody);
        let aside = |form: &Form| Form {
            settings: form.settings.clone(),
            key: form.key,
            directory: form.directory.clone(),
            made: match &form.made {
                // A token that is minted and not sent has no effect.
                MadeForm::RemoteUser(form) => MadeForm::RemoteUser(Arc::clone(form)),
                MadeForm::Minted(form) => MadeForm::Minted(Arc::clone(form)),
                MadeForm::DjangoSession(form) => {
                    MadeForm::DjangoSession(Arc::new(form.read_only(session)))
                }
                // These forms only read.
                MadeForm::DrfToken(form) => MadeForm::DrfToken(Arc::clone(form)),
                MadeForm::Cookies(form) => MadeForm::Cookies(Arc::clone(form)),
            },
        };
        Self {
            forms: self.forms.iter().map(aside).collect(),
            clears: Arc::clone(&self.clears),
            guard: Arc::new(Guard::new()),
            issued: Arc::clone(&self.issued),
            kept: Arc::clone(&self.kept),
            follows: self.follows,
        }
    }

    /// Returns the names of the headers that only forms set: a client must not send them.
    pub fn names(&self) -> impl Iterator<Item = &HeaderName> {
        self.forms.iter().filter_map(Form::header).filter(|name| **name != AUTHORIZATION)
    }

    /// Returns what is removed from the requests of a route.
    pub fn clears(&self, route: &Route) -> Option<&RemovedCredentials> {
        self.clears.get(route.index)
    }

    /// Returns what the forms add for this caller on this route; nothing for an anonymous caller.
    ///
    /// # Errors
    /// A [`Refusal`] if a form cannot be made.
    pub async fn give(
        &self,
        caller: &Caller,
        route: &Route,
        headers: &HeaderMap,
        at: Timestamp,
    ) -> Result<FormIdentity, Refusal> {
        let mut given = FormIdentity::default();
        if let Some(known) = caller.known() {
            self.give_to(known, route, at, &mut given).await?;
        }
        if headers.contains_key(COOKIE) {
            Box::pin(self.let_pass(route, headers, at, &mut given)).await?;
        }
        Ok(given)
    }

    /// Finds the service's sessions in which nobody is signed in. The gate checks those that an issuer reads here.
    async fn let_pass(
        &self,
        route: &Route,
        headers: &HeaderMap,
        at: Timestamp,
        given: &mut FormIdentity,
    ) -> Result<(), Refusal> {
        let forms = route.identity.all().filter_map(|index| self.forms.get(index));
        for form in forms {
            let MadeForm::DjangoSession(form) = &form.made else { continue };
            let name = form.cookie();
            // Nobody else checks a session that the route leaves to its service.
            let looks_at = |index: usize| route.credentials.issuer(index);
            let is_read = self.issued.iter().any(|one| looks_at(one.index) && one.cookie == name);
            if is_read || given.cookies.iter().any(|cookie| cookie.name == name) {
                continue;
            }
            let Some(value) = CookieNames::theirs(headers, name) else { continue };
            if form.is_nobodys(value, at).await? {
                given.passing.push(name.to_owned());
            }
        }
        Ok(())
    }

    async fn give_to(
        &self,
        known: &Known,
        route: &Route,
        at: Timestamp,
        given: &mut FormIdentity,
    ) -> Result<(), Refusal> {
        let (mut is_told, mut is_left_out) = (false, false);
        given.keeps_authorization = self.kept.holds(known.proof, route);
        for index in self.of(route, known.proof) {
            let form = self.forms.get(*index).ok_or(Refusal::Internal)?;
            if self.is_theirs(form, known.proof).is_some() {
                is_told = true;
                continue;
            }
            if given.keeps_authorization && form.header() == Some(&AUTHORIZATION) {
                is_told = true;
                continue;
            }
            if form.mints() && !self.may_mint(known) {
                is_left_out = true;
                continue;
            }
            is_told = true;
            // This future is large, so it is boxed: otherwise callers on routes without a form would pay for its size too.
            Box::pin(form.give(known, *index, at, given)).await?;
        }
        let has_session = !given.cookies.is_empty();
        if has_session && let Some(session) = &known.session {
            if self.guard.is_in_vain(&known.identity.key, at) {
                return Err(Refusal::SessionNotKept);
            }
            given.is_first = self.guard.is_first(session);
        }
        // Without any form the service would treat the caller as not signed in.
        if is_left_out && !is_told { Err(Refusal::MintNotAllowed) } else { Ok(()) }
    }

    /// Returns the forms of a caller with this proof. A caller with a service's token in a cookie counts as a caller with a
    /// token: they have no session from which another could be made.
    fn of<'r>(&self, route: &'r Route, proof: Proof) -> &'r [usize] {
        match proof {
            Proof::IssuedCookie(issuer)
                if self.issued(issuer).is_some_and(|issued| issued.is_token) =>
            {
                &route.identity.bearer
            }
            _ => route.identity.of(proof),
        }
    }

    fn issued(&self, issuer: IssuerName) -> Option<&IssuedSessions> {
        self.issued.iter().find(|issued| issued.issuer == issuer)
    }

    /// Whether a caller with this proof may get another credential than the one they came with. The service may require more
    /// than its session shows, such as a second factor, and a credential made here would not have it.
    fn may_mint(&self, known: &Known) -> bool {
        let issuer = match known.proof {
            Proof::IssuedCookie(issuer) => issuer,
            // A token from the service's sign-in is a session here, and is forwarded to the service itself.
            Proof::Issued(_) => return known.session.is_none() || !self.follows,
            Proof::AccessToken | Proof::PersonalToken => return true,
            Proof::SessionCookie | Proof::Password(_) => return true,
        };
        self.issued(issuer).is_some_and(|issued| issued.mints)
    }

    /// Returns the cookie of a caller's own session in the service, on a route that would give them one: it stays as it is,
    /// and what the service sets in its place is for the client. If the service signs people in itself
    /// (`sign_in.mode = "follow"`), its cookie is the credential, and is forwarded to that service without a form.
    pub fn own_session(&self, caller: &Caller, route: &Route) -> Option<&str> {
        let proof = caller.known()?.proof;
        if let Proof::IssuedCookie(issuer) = proof
            && let Some(issued) = self.issued(issuer)
            && issued.goes_on
            && (issued.upstreams.is_empty() || issued.upstreams.contains(&route.upstream))
        {
            return Some(&issued.cookie);
        }
        let forms = self.of(route, proof).iter().filter_map(|index| self.forms.get(*index));
        forms.filter_map(|form| self.is_theirs(form, proof)).next()
    }

    /// Returns the cookie, if a caller with this proof already has what the form would give.
    fn is_theirs(&self, form: &Form, proof: Proof) -> Option<&str> {
        let Proof::IssuedCookie(issuer) = proof else { return None };
        let IssuedSessions { cookie, directory, .. } = self.issued(issuer)?;
        let MadeForm::DjangoSession(made) = &form.made else { return None };
        let is_same = made.cookie() == cookie
            && form.directory.as_ref().is_some_and(|theirs| theirs.name() == directory);
        is_same.then_some(cookie)
    }

    /// Reads the service's answer for changes to the cookies that it was given.
    pub async fn answered(
        &self,
        caller: &Caller,
        given: &FormIdentity,
        status: StatusCode,
        answer: &HeaderMap,
        at: Timestamp,
    ) -> FormOutcome {
        let Some(known) = caller.known() else { return FormOutcome::GoesOn };
        let answered = self.read_answer(known, given, status, answer, at).await;
        if given.is_first {
            let user = &known.identity.key;
            if answered != FormOutcome::Ended {
                self.guard.kept(user);
            } else if self.guard.thrown_away(user, at) {
                tracing::error!(
                    %user,
                    %status,
                    "the service throws away each session that is made for this user, in its answer to the first \
                     request: it does not take what the identity form makes (another session hash or secret key, or \
                     something that only its own sign-in leaves in the session). Leave the sign-in to the service"
                );
            }
        }
        answered
    }

    async fn read_answer(
        &self,
        known: &Known,
        given: &FormIdentity,
        status: StatusCode,
        answer: &HeaderMap,
        at: Timestamp,
    ) -> FormOutcome {
        for (index, form) in self.forms.iter().enumerate() {
            if let MadeForm::Cookies(form) = &form.made {
                let sent = given.cookies.iter().filter(|cookie| cookie.form == index);
                let sent: Vec<_> =
                    sent.map(|cookie| (cookie.name.clone(), cookie.value.clone())).collect();
                if !sent.is_empty()
                    && Box::pin(form.ended_by(known, &sent, status, answer, at)).await
                {
                    return FormOutcome::Ended;
                }
            }
        }
        for cookie in &given.cookies {
            let Some(form) = self.forms.get(cookie.form) else { continue };
            let MadeForm::DjangoSession(made) = &form.made else { continue };
            let Some(set) = last_set(answer, &cookie.name) else { continue };
            let directory = form.directory.as_ref();
            match Box::pin(made.answered(known, directory, &cookie.value, set, at)).await {
                FormOutcome::GoesOn => {}
                answered @ (FormOutcome::Proved(_) | FormOutcome::Ended) => return answered,
            }
        }
        FormOutcome::GoesOn
    }
}

impl Form {
    fn open(
        form: &IdentityForm,
        directories: &[Directory],
        databases: &Databases,
        kept: &Arc<ServiceCookies>,
        secret: &Path,
    ) -> Result<Self, String> {
        let directory = match &form.directory {
            Some(name) => {
                let found = directories.iter().find(|directory| directory.name() == name);
                Some(found.ok_or_else(|| format!("there is no directory {name:?}"))?.clone())
            }
            None => None,
        };
        let made = match &form.kind {
            FormKind::RemoteUser(settings) => {
                MadeForm::RemoteUser(Arc::new(RemoteUserForm::new(settings)?))
            }
            FormKind::SimpleJwt(settings) => {
                MadeForm::Minted(Arc::new(Minted::simplejwt(settings)?))
            }
            FormKind::Jwt(settings) => MadeForm::Minted(Arc::new(Minted::hand_made(settings)?)),
            FormKind::DjangoSession(settings) => {
                let secret = private_file::own_secret(secret)?;
                MadeForm::DjangoSession(Arc::new(DjangoSessionForm::new(
                    settings, &secret, databases,
                )?))
            }
            FormKind::DrfToken(settings) => {
                MadeForm::DrfToken(Arc::new(DrfTokenForm::new(settings, databases)?))
            }
            FormKind::Cookies(settings) => {
                MadeForm::Cookies(Arc::new(FormCookies::new(settings, kept)))
            }
        };
        let key = private_file::contents(form.key_file()).ok();
        Ok(Self { settings: form.clone(), key, directory, made })
    }

    /// Whether the form can be used again with these directories: its own directory must be one of them, and its key
    /// unchanged. (`Cookies` uses a store that belongs to one configuration.)
    fn can_go_on(&self, directories: &[Directory]) -> bool {
        let is_there = |own: &Directory| directories.iter().any(|one| one.is(own));
        let has_same_key = private_file::contents(self.settings.key_file()).ok() == self.key;
        !matches!(self.made, MadeForm::Cookies(_))
            && has_same_key
            && self.directory.as_ref().is_none_or(is_there)
    }

    fn header(&self) -> Option<&HeaderName> {
        match &self.made {
            MadeForm::RemoteUser(form) => Some(form.header()),
            MadeForm::Minted(form) => Some(form.header()),
            MadeForm::DrfToken(form) => Some(form.header()),
            MadeForm::DjangoSession(_) | MadeForm::Cookies(_) => None,
        }
    }

    /// Whether the form makes a credential. A name in a header is not a credential.
    const fn mints(&self) -> bool {
        match &self.made {
            MadeForm::RemoteUser(_) => false,
            MadeForm::Minted(_)
            | MadeForm::DjangoSession(_)
            | MadeForm::DrfToken(_)
            | MadeForm::Cookies(_) => true,
        }
    }

    async fn give(
        &self,
        known: &Known,
        index: usize,
        at: Timestamp,
        given: &mut FormIdentity,
    ) -> Result<(), Refusal> {
        let theirs = &*known.identity.key.directory;
        if self.directory.as_ref().is_some_and(|ours| ours.name() != theirs) {
            return Err(Refusal::OtherDirectory);
        }
        match &self.made {
            MadeForm::RemoteUser(form) => given.headers.push(form.field(known)?),
            MadeForm::Minted(form) => {
                given.headers.push(form.field(known, self.directory.as_ref(), at).await?);
            }
            MadeForm::DrfToken(form) => given.headers.extend(form.field(known, at).await?),
            MadeForm::DjangoSession(form) => {
                let value = form.value(known, self.directory.as_ref(), at).await?;
                let name = form.cookie().to_owned();
                given.cookies.push(GivenCookie { name, value, form: index });
            }
            MadeForm::Cookies(form) => {
                let all = form.cookies(known, at).await?;
                let all = all.into_iter();
                given.cookies.extend(all.map(|(name, value)| GivenCookie {
                    name,
                    value,
                    form: index,
                }));
            }
        }
        Ok(())
    }
}

impl SessionEnded for IdentityForms {
    fn session_ended(&self, session: &Session) {
        for form in &self.forms {
            if let MadeForm::DjangoSession(form) = &form.made {
                form.session_ended(&session.id);
            }
        }
    }
}

/// Returns the account of a caller, for forms that need its password's encoding.
async fn account(known: &Known, directory: Option<&Directory>) -> Result<Account, Refusal> {
    // The configuration allows such a form only with a directory whose users can be looked up.
    let users = directory.and_then(Directory::users).ok_or(Refusal::Internal)?;
    match users.by_id(&known.identity.key).await {
        Ok(Some(account)) if account.active => Ok(account),
        // The next round of rechecks ends the session.
        Ok(_) => Err(Refusal::SessionEnded),
        Err(error) => {
            tracing::warn!(%error, "an identity form needs a directory that cannot be asked");
            Err(Refusal::IdentityUnavailable)
        }
    }
}

#[cfg(test)]
mod tests;
