//! A form that was posted although its caller first has to confirm that it is still them.
//!
//! After the gate has checked the sender, the form is stored, sealed, for its session, for five minutes and one use. It has
//! to be an `application/x-www-form-urlencoded` form of at most 64 KiB. The page that asks for the proof contains its ticket.
//! After the proof, the user sends the same fields to the same place with one more click, so the service gets them from the
//! browser as usual, with its own CSRF token among them. Users have to repeat any other POST (files, scripts, longer forms).
//!
//! **Once.** The URL of that click has a ticket of its own as the last query parameter. The store spends it in one step
//! before the request is forwarded, without the parameter; a second click finds it spent, and nothing is sent again.

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

/// The longest form that is stored, in bytes.
pub const LONGEST_HELD: usize = 64 * 1024;

const PURPOSE: &str = "held form";

/// The purpose of the ticket with which a stored form is sent on.
const SENT: &str = "held form sent";

/// The query parameter that contains that ticket.
const PARAMETER: &str = "doorwarden-held";

/// A form, as it is stored.
#[derive(Serialize, Deserialize)]
struct HeldForm {
    session: String,
    target: String,
    fields: Vec<(String, String)>,
}

impl Endpoints {
    /// Whether this request can be stored until its caller has confirmed that it is still them.
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

    /// Stores the form, and returns the page that asks for the proof. `None` if the form cannot be stored after all.
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
            sessions.factors().tickets().give(PURPOSE, &bytes, TICKET, arrival.at).await.ok()?;
        let (next, path) = (Next::default(), self.second_factor_path.as_deref()?);
        Some(self.asks_again(arrival, &session, (path, &next, Some(ticket.expose())), None).await)
    }

    /// Returns the page that sends a stored form on, once. `None` if this session has no such form.
    pub(super) async fn held(
        &self,
        arrival: &Arrival,
        session: &Session,
        ticket: &Secret,
    ) -> Result<Option<Reply>, Refusal> {
        let tickets = self.issuers.sessions().factors().tickets();
        let Some(bytes) = tickets.look_at(PURPOSE, ticket, arrival.at).await? else {
            return Ok(None);
        };
        let form = serde_json::from_slice::<HeldForm>(&bytes).ok();
        let Some(form) = form.filter(|form| form.session == session.id.as_str()) else {
            return Ok(None);
        };
        if !tickets.spend(ticket, arrival.at).await? {
            return Ok(None);
        }
        let bytes = session.id.as_str().as_bytes();
        let sent = tickets.give(SENT, bytes, TICKET, arrival.at).await?;
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

    /// Spends the ticket of a stored form that is sent on. Returns the target without it, or the answer to a form that was sent
    /// before. `None` if the request is no such form.
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
        let tickets = self.issuers.sessions().factors().tickets();
        let session = caller.known().and_then(|known| known.session.as_ref());
        let spent = async {
            let kept = tickets.look_at(SENT, &ticket, arrival.at).await?;
            let is_theirs = kept
                .zip(session)
                .is_some_and(|(bytes, session)| bytes.as_slice() == session.as_str().as_bytes());
            Ok::<_, Refusal>(is_theirs && tickets.spend(&ticket, arrival.at).await?)
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
