//! `GET /account`: the page on which users manage their own account. A browser gets the page, a program a JSON summary.
//!
//! Every path under `/account` concerns only the user of the calling session. An id in a request is looked up among that
//! user's own records, so the id of another user's record is answered as if it did not exist. The answers contain no
//! credential and no full address, and can be neither framed nor cached.
//!
//! A request that changes something must come from this site if its credential is one that browsers send on their own.
//! A credential that a program stores for a long time (a password in each request) can neither read nor change anything.

use std::sync::Arc;

use http::{Method, StatusCode};
use serde_json::json;

use super::account_page::{AccountPage, FactorsPart, PageSection};
use super::account_sessions::ListedSessions;
use super::refused::Refused;
use super::{Endpoints, Served, navigation, page};
use crate::caller::{Proof, UserKey};
use crate::config::AccountSettings;
use crate::refusal::Refusal;
use crate::store::Session;
use crate::wire::accept::{self, Language};
use crate::wire::arrival::Arrival;
use crate::wire::reply::Reply;

/// The paths of the page and its parts; `None` where one is turned off.
#[derive(Default)]
pub(super) struct AccountPaths {
    pub(super) page: Option<String>,
    pub(super) sessions: Option<String>,
    pub(super) devices: Option<String>,
    pub(super) password: Option<String>,
    pub(super) settings: AccountSettings,
}

/// The user who calls, with the session and the proof of the request.
pub(super) struct AccountOwner {
    pub(super) session: Arc<Session>,
    pub(super) proof: Proof,
    pub(super) user: UserKey,
}

impl Endpoints {
    /// Answers `GET /account`.
    pub(super) async fn account(&self, arrival: &Arrival) -> Served {
        let wants_page = accept::is_navigation(&arrival.method, &arrival.headers);
        let made = match self.account_owner(arrival).await {
            Ok(owner) if wants_page => self.account_page(arrival, &owner).await,
            Ok(owner) => self.account_summary(arrival, &owner).await,
            Err(refused) => Err(refused),
        };
        self.account_answer(arrival, wants_page, made)
    }

    async fn account_page(
        &self,
        arrival: &Arrival,
        owner: &AccountOwner,
    ) -> Result<Reply, Refused> {
        let language = Language::negotiate(&arrival.headers);
        let query = arrival.target.query().unwrap_or_default();
        let parameter = |name: &str| {
            let mut all = form_urlencoded::parse(query.as_bytes());
            all.find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
        };
        let all = self.issuers.sessions().own_account().sessions(&owner.user, arrival.at).await?;
        let cursor = parameter("sessions");
        let sessions =
            ListedSessions::of_page(&all, &owner.session, cursor.as_deref(), &|session| {
                self.shown_session(session, owner, language)
            })?;
        let activity = self.shown_activity(owner, parameter("activity"), language).await?;
        let devices = self.shown_devices(arrival, owner, language).await?;
        let factors = match &self.factors_path {
            Some(path) => Some(FactorsPart {
                path,
                kept: self.issuers.sessions().factors().of(&owner.user).await?,
            }),
            None => None,
        };
        let identity = owner.session.identity.load_full();
        let page = AccountPage {
            service: &self.title,
            name: &identity.name,
            path: arrival.target.path().as_str(),
            sessions_path: self.account.sessions.as_deref(),
            devices_path: self.account.devices.as_deref(),
            tokens_path: self.tokens_path.as_deref(),
            sign_out_path: self.sign_out_path.as_deref(),
            sessions,
            activity,
            devices,
            factors,
            password_path: match self.changes_password(owner) {
                true => self.account.password.as_deref(),
                false => self.account.settings.password_change_url.as_deref(),
            },
            done: parameter("done").and_then(|done| PageSection::parse(&done)),
            language,
        };
        Ok(page.reply())
    }

    async fn account_summary(
        &self,
        arrival: &Arrival,
        owner: &AccountOwner,
    ) -> Result<Reply, Refused> {
        let all = self.issuers.sessions().own_account().sessions(&owner.user, arrival.at).await?;
        let sessions = self.issuers.sessions();
        let devices = sessions.own_account().devices(&owner.user).await?;
        let factors = sessions.factors().of(&owner.user).await?;
        let identity = owner.session.identity.load_full();
        let summary = json!({
            "user_id": &*owner.user.id,
            "username": identity.name,
            "directory": &*owner.user.directory,
            "session_id": owner.session.id.as_str(),
            "sessions": all.len(),
            "devices": devices.len(),
            "second_factors": factors.factors.len(),
            "recovery_codes_left": factors.recovery_left,
            "password": self.password_rules(owner),
        });
        Ok(Reply::json(StatusCode::OK, &summary))
    }

    /// Returns the user whose account a request is about.
    ///
    /// # Errors
    /// Refuses a caller who is not signed in, or whose credential is not one that a person has in hand.
    pub(super) async fn account_owner(&self, arrival: &Arrival) -> Result<AccountOwner, Refused> {
        let (session, proof) = self.session_of(arrival).await?;
        match proof {
            Proof::AccessToken
            | Proof::SessionCookie
            | Proof::Issued(_)
            | Proof::IssuedCookie(_) => {
                let user = session.identity.load().key.clone();
                Ok(AccountOwner { session, proof, user })
            }
            Proof::PersonalToken | Proof::Password(_) => {
                Err(Refusal::InsufficientAuthentication.into())
            }
        }
    }

    /// Returns the answer of the page and its parts. A browser is redirected to the login page if nobody is signed in, and to
    /// the page that asks for a new proof if the proof is too old.
    pub(super) fn account_answer(
        &self,
        arrival: &Arrival,
        wants_page: bool,
        made: Result<Reply, Refused>,
    ) -> Served {
        let refused = match made {
            Ok(reply) => return Served::reply(reply),
            Err(refused) if wants_page => refused,
            Err(refused) => return Served::refused(refused, &arrival.request_id),
        };
        let refusal = Some(refused.refusal);
        // After a POST, users return to the account page and repeat it there; a GET leads back to what was requested.
        let back = match arrival.method {
            Method::POST => self.account.page.as_deref().unwrap_or("/"),
            _ => arrival.target.path().as_str(),
        };
        if let Some(reply) = self.to_confirmation(&refused, back) {
            return Served { reply, refusal };
        }
        let is_signed_out = refused.refusal.status() == StatusCode::UNAUTHORIZED;
        match self.login_path.as_deref().filter(|_| is_signed_out) {
            Some(path) if arrival.method == Method::POST => {
                Served { reply: navigation::to(&navigation::with_next(path, back)), refusal }
            }
            Some(path) => Served { reply: navigation::to_login(path, arrival), refusal },
            None => {
                let language = Language::negotiate(&arrival.headers);
                let reply = page::of_refusal(&refused, &arrival.request_id, language, None);
                Served { reply, refusal }
            }
        }
    }

    /// Redirects back to the page, which says what was done.
    pub(super) fn back_to_account(&self, done: PageSection) -> Reply {
        let page = self.account.page.as_deref().unwrap_or("/");
        navigation::to(&format!("{page}?done={}#{}", done.name(), done.anchor()))
    }

    /// Redirects a browser whose proof is too old to the page that asks for a new one, and from there to `back`. `None` if the
    /// refusal has another reason, or if there is no such page.
    pub(super) fn to_confirmation(&self, refused: &Refused, back: &str) -> Option<Reply> {
        let is_stale = refused.refusal == Refusal::InsufficientAuthentication;
        let path = self.second_factor_path.as_deref().filter(|_| is_stale)?;
        Some(navigation::to(&navigation::with_next(path, back)))
    }
}
