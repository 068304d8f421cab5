//! A form that was posted where its caller has to confirm first that it is them.
//!
//! It is kept, sealed, for its session, for five minutes and once, after the gate's check of its sender: forms of up to 64 KiB in
//! `application/x-www-form-urlencoded`. The page that asks for the proof has its ticket; after the proof the person sends the same
//! fields to the same place by one more click, so that the service gets them from the browser as it ever does, with its own token
//! against forgery in them. Whatever else was posted (files, scripts' requests, longer forms) is asked for again.
//!
//! **Once.** That click's address has a ticket of its own as the last parameter of its query. The store spends it in one step before the
//! request goes on, without the parameter; a second click finds it spent, and nothing is sent again.

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderValue, Method};
use serde::{Deserialize, Serialize};

use super::factor_page::{HeldPage, SentPage};
use super::{Endpoints, Served};
use crate::caller::Caller;
use crate::factor::ticket::TICKET;
use crate::gate::Denial;
use crate::refusal::Refusal;
use crate::secret::Secret;
use crate::store::Session;
use crate::wire::accept::{self, Language};
use crate::wire::arrival::Arrival;
use crate::wire::next::Next;
use crate::wire::path::Target;
use crate::wire::reply::Reply;

/// The longest form that is kept.
pub const LONGEST_HELD: usize = 64 * 1024;

const PURPOSE: &str = "held form";

/// Of the ticket with which a kept form is sent on.
const SENT: &str = "held form sent";

/// The parameter that has it.
const PARAMETER: &str = "doorwarden-held";

/// A form, as it is kept.
#[derive(Serialize, Deserialize)]
struct HeldForm {
    session: String,
    target: String,
    fields: Vec<(String, String)>,
}

impl Endpoints {
    /// Can this request be kept until its caller has confirmed that it is them?
    pub fn can_hold(&self, arrival: &Arrival, denied: &Denial) -> bool {
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        denied.refusal == Refusal::InsufficientAuthentication
            && self.second_factor_path.is_some()
            && arrival.method == Method::POST
            && arrival.has_body
            && accept::is_navigation(&arrival.method, &arrival.headers)
            && arrival.headers.get_all(CONTENT_TYPE).iter().eq([&form])
            && !arrival.headers.contains_key(CONTENT_ENCODING)
            && denied.caller.as_ref().is_some_and(|known| known.session.is_some())
    }

    /// Keeps it, and answers with the page that asks for the proof. None: it cannot be kept after all.
    pub async fn hold(&self, arrival: &Arrival, denied: &Denial, body: &Bytes) -> Option<Served> {
        let id = denied.caller.as_ref()?.session.as_ref()?;
        let sessions = self.issuers.sessions();
        let session = sessions.session(id, arrival.at).await?;
        let text = std::str::from_utf8(body).ok()?;
        let target = arrival.target.forwarded(None)?;
        let form = HeldForm {
            session: id.to_string(),
            target: Next::parse(&target)?.as_str().to_owned(),
            fields: form_urlencoded::parse(text.as_bytes()).into_owned().collect(),
        };
        let bytes = serde_json::to_vec(&form).ok()?;
        let ticket =
            sessions.factors().give_ticket(PURPOSE, &bytes, TICKET, arrival.at).await.ok()?;
        let (next, path) = (Next::default(), self.second_factor_path.as_deref()?);
        Some(self.asks_again(arrival, &session, (path, &next, Some(ticket.expose())), None).await)
    }

    /// The page with which a kept form goes on, once. None: there is none of this session's.
    pub(super) async fn held(
        &self,
        arrival: &Arrival,
        session: &Session,
        ticket: &Secret,
    ) -> Result<Option<Reply>, Refusal> {
        let factors = self.issuers.sessions().factors();
        let Some(bytes) = factors.look_at_ticket(PURPOSE, ticket, arrival.at).await? else {
            return Ok(None);
        };
        let form = serde_json::from_slice::<HeldForm>(&bytes).ok();
        let Some(form) = form.filter(|form| form.session == session.id.as_str()) else {
            return Ok(None);
        };
        if !factors.spend_ticket(ticket, arrival.at).await? {
            return Ok(None);
        }
        let bytes = session.id.as_str().as_bytes();
        let sent = factors.give_ticket(SENT, bytes, TICKET, arrival.at).await?;
        let joint = if form.target.contains('?') { '&' } else { '?' };
        let action = format!("{}{joint}{PARAMETER}={}", form.target, sent.expose());
        let page = HeldPage {
            service: &self.title,
            action: &action,
            fields: &form.fields,
            language: Language::negotiate(&arrival.headers),
        };
        Ok(Some(page.reply()))
    }

    /// Takes the ticket of a kept form that is sent on: the target without it, or the answer to whoever sends it again. `None`: the
    /// request is no such form.
    pub async fn sends_held(
        &self,
        arrival: &Arrival,
        caller: &Caller,
    ) -> Option<Result<Target, Served>> {
        if arrival.method != Method::POST {
            return None;
        }
        let (ticket, target) = arrival.target.split_last_parameter(PARAMETER)?;
        let ticket = Secret::new(ticket);
        let factors = self.issuers.sessions().factors();
        let session = caller.known().and_then(|known| known.session.as_ref());
        let spent = async {
            let kept = factors.look_at_ticket(SENT, &ticket, arrival.at).await?;
            let is_theirs = kept
                .zip(session)
                .is_some_and(|(bytes, session)| bytes.as_slice() == session.as_str().as_bytes());
            Ok::<_, Refusal>(is_theirs && factors.spend_ticket(&ticket, arrival.at).await?)
        };
        match spent.await {
            Ok(true) => Some(Ok(target)),
            Ok(false) => {
                let page = SentPage {
                    service: &self.title,
                    target: target.to_string(),
                    language: Language::negotiate(&arrival.headers),
                };
                let refusal = Some(Refusal::TicketNotValid);
                Some(Err(Served { reply: page.reply(), refusal }))
            }
            Err(refusal) => {
                let denied = Denial::new(refusal, None);
                let reply = self.refuse(Some(arrival), &arrival.request_id, &denied);
                Some(Err(Served { reply, refusal: Some(refusal) }))
            }
        }
    }
}
