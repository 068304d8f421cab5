//! `/account/sessions`: lists and ends a user's own sessions.
//!
//! | request | does |
//! |---|---|
//! | `GET /account/sessions?limit=COUNT&cursor=CURSOR` | lists them in pages, newest first; the calling one is marked |
//! | `POST` with `action` `end` and `id` | ends that one |
//! | `POST` with `action` `end_others` | ends all but the calling one |
//! | `POST` with `action` `end_all` | ends every one, and all of the service's own tokens that the user holds |
//!
//! Ending sessions takes no fresh proof: nothing must delay a user who finds a stranger among their sessions, and a thief
//! gains nothing by it.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::account::AccountOwner;
use super::account_page::{PageSection, device_heading};
use super::paging::Page;
use super::paging::{comes_after, cursor_of, position};
use super::refused::Refused;
use super::session::amr;
use super::{Endpoints, Served, input};
use crate::caller::SessionId;
use crate::event::EndReason;
use crate::notify::{device, time};
use crate::refusal::Refusal;
use crate::store::{Session, SessionSelection};
use crate::wire::accept::Language;
use crate::wire::arrival::Arrival;
use crate::wire::body::Fields;
use crate::wire::client_ip::network_24_or_48;
use crate::wire::reply::Reply;

/// How many of the other sessions the page shows at once.
const SHOWN: usize = 10;

/// A session in the words of the page.
pub(super) struct ShownSession {
    pub(super) id: String,
    pub(super) device: String,
    /// City and country, or else the network, shortened so that it is no full address.
    pub(super) place: Option<String>,
    pub(super) began: String,
    pub(super) last_used: String,
}

/// The sessions of a page: the calling one, and some of the others.
pub(super) struct ListedSessions {
    pub(super) own: ShownSession,
    pub(super) others: Vec<ShownSession>,
    /// How many other sessions there are in all.
    pub(super) count: usize,
    /// The cursor of the next page of the others.
    pub(super) next: Option<String>,
    /// Whether this is not the first page.
    pub(super) is_later: bool,
}

/// The action that a `POST` asks for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum SessionAction {
    End,
    EndOthers,
    EndAll,
}

impl SessionAction {
    const ALL: [Self; 3] = [Self::End, Self::EndOthers, Self::EndAll];

    const fn name(self) -> &'static str {
        match self {
            Self::End => "end",
            Self::EndOthers => "end_others",
            Self::EndAll => "end_all",
        }
    }

    fn read(fields: &Fields) -> Result<Self, Refused> {
        input::action(fields, &Self::ALL, Self::name)
    }
}

impl ListedSessions {
    /// Returns the page of the other sessions after the cursor, or the first page without one.
    pub(super) fn of_page(
        all: &[Arc<Session>],
        own: &Session,
        cursor: Option<&str>,
        show: &dyn Fn(&Session) -> ShownSession,
    ) -> Result<Self, Refusal> {
        let after = cursor.map(position).transpose()?;
        let others = || all.iter().filter(|session| session.id != own.id);
        let page = Page { limit: SHOWN, cursor: None };
        let listed = others()
            .filter(|session| after.as_ref().is_none_or(|after| comes_after(session, after)));
        let (listed, next) = page.cut(listed, |session| cursor_of(session));
        Ok(Self {
            own: show(own),
            others: listed.into_iter().map(|session| show(session)).collect(),
            count: others().count(),
            next,
            is_later: after.is_some(),
        })
    }
}

impl Endpoints {
    /// Answers `GET` and `POST /account/sessions`.
    pub(super) async fn account_sessions(&self, arrival: &Arrival, body: &Bytes) -> Served {
        let is_post = arrival.method == Method::POST;
        let wants_page = input::wants_page(arrival);
        let made = match self.account_owner(arrival).await {
            Ok(owner) if is_post => self.end_own(arrival, body, &owner, wants_page).await,
            // A browser finds the list on the page; the JSON list is for programs.
            Ok(_) if wants_page => Ok(self.back_to_account(PageSection::Sessions)),
            Ok(owner) => self.list_own(arrival, &owner).await,
            Err(refused) => Err(refused),
        };
        self.account_answer(arrival, wants_page, made)
    }

    async fn list_own(&self, arrival: &Arrival, owner: &AccountOwner) -> Result<Reply, Refused> {
        let query = arrival.target.query().unwrap_or_default();
        let page = Page::read(query, |_, _| Err(Refusal::BadBody))?;
        let after = page.cursor.as_deref().map(position).transpose()?;
        let all = self.issuers.sessions().own_account().sessions(&owner.user, arrival.at).await?;
        let listed =
            all.iter().filter(|one| after.as_ref().is_none_or(|after| comes_after(one, after)));
        let (listed, next) = page.cut(listed, |session| cursor_of(session));
        let language = Language::negotiate(&arrival.headers);
        let described: Vec<Value> =
            listed.iter().map(|one| self.describe_own(one, owner, language)).collect();
        Ok(Reply::json(StatusCode::OK, &json!({"sessions": described, "next": next})))
    }

    async fn end_own(
        &self,
        arrival: &Arrival,
        body: &Bytes,
        owner: &AccountOwner,
        wants_page: bool,
    ) -> Result<Reply, Refused> {
        self.is_from_here(arrival, owner.proof)?;
        let fields = input::fields(arrival, body)?;
        let sessions = self.issuers.sessions();
        let own = &owner.session.id;
        let (which, why, done) = match SessionAction::read(&fields)? {
            SessionAction::End => {
                let id = fields.trimmed("id").map_err(|why| Refused::field("id", why))?;
                let id = SessionId::new(id);
                let found = match sessions.own_account().session(&owner.user, &id, arrival.at).await
                {
                    // The page listed the session a moment ago, and it has ended now, as the user asked.
                    Err(Refusal::NotOnAccount) if wants_page => {
                        return Ok(self.back_to_account(PageSection::Ended));
                    }
                    found => found?,
                };
                let why = if found.id == *own { EndReason::SignedOut } else { EndReason::Account };
                (SessionSelection::Session(found.id.clone()), why, PageSection::Ended)
            }
            SessionAction::EndOthers => {
                let (user, kept) = (owner.user.clone(), own.clone());
                let which = SessionSelection::SignIns { user, kept: Some(kept) };
                (which, EndReason::Account, PageSection::OthersEnded)
            }
            SessionAction::EndAll => {
                let which = SessionSelection::SignIns { user: owner.user.clone(), kept: None };
                (which, EndReason::SignedOutEverywhere, PageSection::Ended)
            }
        };
        let ended = sessions.end(&which, why, arrival.at, &arrival.events).await?;
        let ends_own = match &which {
            SessionSelection::Session(id) => id == own,
            SessionSelection::User(_) => true,
            SessionSelection::SignIns { kept, .. } => kept.is_none(),
            SessionSelection::OthersOf { .. } => false,
        };
        let reply = match wants_page {
            true if ends_own => self.landing(),
            true => self.back_to_account(done),
            false => Reply::json(StatusCode::OK, &json!({"ended": ended})),
        };
        Ok(if ends_own { self.remove_cookies(arrival, reply) } else { reply })
    }

    /// Returns a session as the page shows it.
    pub(super) fn shown_session(
        &self,
        session: &Session,
        owner: &AccountOwner,
        language: Language,
    ) -> ShownSession {
        let zone = &self.incidents.time_zone;
        // The record against which the credential was checked may be older than the one in the list.
        let last_used = match session.id == owner.session.id {
            true => owner.session.last_used().max(session.last_used()),
            false => session.last_used(),
        };
        ShownSession {
            id: session.id.to_string(),
            device: device_heading(&session.agent, language),
            place: self.place_of(session, language).or_else(|| network_of(session)),
            began: time(session.signed_in_at, zone),
            last_used: time(last_used, zone),
        }
    }

    fn place_of(&self, session: &Session, language: Language) -> Option<String> {
        session.client.and_then(|client| self.issuers.sessions().places().place(client, language))
    }

    fn describe_own(&self, session: &Session, owner: &AccountOwner, language: Language) -> Value {
        let idle_end = session.last_used().plus(session.idle_timeout);
        let country =
            session.client.and_then(|client| self.issuers.sessions().places().country(client));
        json!({
            "id": session.id.as_str(),
            "current": session.id == owner.session.id,
            "device": device(&session.agent, language),
            "place": self.place_of(session, language),
            "country": country.as_ref().map(crate::geo::Country::as_str),
            "network": network_of(session),
            "amr": amr(session.assurance),
            "issuer": session.issuer.as_deref(),
            "signed_in_at": session.signed_in_at.to_string(),
            "last_used_at": session.last_used().to_string(),
            "idle_expires_at": idle_end.min(session.expires_at).to_string(),
            "expires_at": session.expires_at.to_string(),
        })
    }
}

/// Returns `203.0.113.0/24`: enough for users to recognise their own network, and no full address.
fn network_of(session: &Session) -> Option<String> {
    session.client.map(|client| network_24_or_48(client).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::tests::session;

    fn shown(session: &Session) -> ShownSession {
        ShownSession {
            id: session.id.to_string(),
            device: String::new(),
            place: None,
            began: String::new(),
            last_used: String::new(),
        }
    }

    #[test]
    fn the_others_come_in_pages_and_each_once() {
        let all: Vec<_> = (0..25).map(|at| session(&format!("s{at:02}"), "2")).collect();
        let own = &all[7];
        let (mut seen, mut cursor, mut pages) = (Vec::new(), None::<String>, Vec::new());
        loop {
            let page = ListedSessions::of_page(&all, own, cursor.as_deref(), &shown).unwrap();
            assert_eq!((page.own.id.as_str(), page.count), ("s07", 24));
            assert_eq!(page.is_later, cursor.is_some());
            pages.push(page.others.len());
            seen.extend(page.others.into_iter().map(|one| one.id));
            cursor = page.next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(pages, [10, 10, 4]);
        let expected: Vec<String> =
            (0..25).filter(|at| *at != 7).map(|at| format!("s{at:02}")).collect();
        assert_eq!(seen, expected);
        for wrong in ["x", "", "1", "x.y"] {
            let page = ListedSessions::of_page(&all, own, Some(wrong), &shown);
            assert_eq!(page.err(), Some(Refusal::BadBody), "{wrong}");
        }
    }
}
