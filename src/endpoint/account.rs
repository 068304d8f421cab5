//! `GET /account`: people see to what is theirs. A browser gets the page, a program a summary in JSON.
//!
//! Everything here and below is about the user of the session that asks, and about nobody else: what a request names is
//! looked up among that user's alone, so an id of somebody else's is as one that there never was. The answers have no
//! credential in them and no full address, and cannot be framed or kept by a cache.
//!
//! What a request changes has to come from this site, where its credential is one that browsers send unasked. A credential
//! that a program keeps for long (a password in each request) sees and changes nothing.

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

/// Where the page and its parts are; none: they are off.
#[derive(Default)]
pub(super) struct AccountPaths {
    pub(super) page: Option<String>,
    pub(super) sessions: Option<String>,
    pub(super) devices: Option<String>,
    pub(super) password: Option<String>,
    pub(super) settings: AccountSettings,
}

/// Who asks, and by what.
pub(super) struct AccountOwner {
    pub(super) session: Arc<Session>,
    pub(super) proof: Proof,
    pub(super) user: UserKey,
}

impl Endpoints {
    /// `GET /account`
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

    /// Whose account a request is about.
    ///
    /// # Errors
    /// Whoever is not signed in, or by something that no person has in hand.
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

    /// The answer of the page and its parts: whoever is not signed in and has a browser is led to sign in, and whose proof is
    /// too old to where they prove it again.
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
        // What was posted is posted again by hand; what was asked for is shown then.
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

    /// Back to the page, which says what was done.
    pub(super) fn back_to_account(&self, done: PageSection) -> Reply {
        let page = self.account.page.as_deref().unwrap_or("/");
        navigation::to(&format!("{page}?done={}#{}", done.name(), done.anchor()))
    }

    /// For a browser whose proof is too old: to where its user proves that it is still them, and back. `None`: it is refused for
    /// something else, or there is no such page.
    pub(super) fn to_confirmation(&self, refused: &Refused, back: &str) -> Option<Reply> {
        let is_stale = refused.refusal == Refusal::InsufficientAuthentication;
        let path = self.second_factor_path.as_deref().filter(|_| is_stale)?;
        Some(navigation::to(&navigation::with_next(path, back)))
    }
}
