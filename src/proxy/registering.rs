//! Decides which requests are in the register of [open exchanges](super::open), and which are checked again there.
//!
//! A request of a session is registered from its permit on. One without a session costs nothing as long as it is short;
//! one that may last long (a WebSocket, an upload or an answer of unknown length or of more than [`LONG`]) is
//! registered too, so that a block of its address cuts it.

use std::sync::Arc;

use http::header::{CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING};
use http::{HeaderMap, StatusCode};

use super::open::{ExchangeOwner, OpenExchanges};
use super::stage::{Ctx, Stage};
use crate::caller::Known;
use crate::gate::{Passage, Permit};

/// The length in bytes from which a body counts as long.
const LONG: u64 = 1 << 20;

impl Ctx {
    /// Registers the request, after the gate has let it pass.
    pub(super) async fn enter(&mut self, permit: &Permit, exchanges: &Arc<OpenExchanges>) {
        let known = permit.caller().known();
        let headers = self.arrival.as_ref().map(|arrival| &arrival.headers);
        let is_long = self.arrival.as_ref().is_some_and(|arrival| arrival.websocket)
            || headers.is_some_and(|headers| may_be_long(headers, true));
        let session = known.and_then(|known| known.session.as_ref());
        if session.is_none() && !is_long {
            return;
        }
        let is_checked = matches!(permit.passage(), Passage::Checked);
        let client = self.arrival.as_ref().map(|arrival| arrival.client_ip());
        let whose = ExchangeOwner {
            session: session.cloned(),
            client: client.filter(|_| is_checked),
            is_checked,
        };
        self.open = Some(exchanges.enter(whose, &self.request_id));
        // A session has ended since the request arrived, or somebody was blocked: this checks whether it concerns this
        // request.
        if exchanges.ends() != self.ends
            && self.is_over(known, is_checked).await
            && let Some(open) = &self.open
        {
            open.ended();
        }
    }

    /// Registers an exchange that may last long, when the head of its answer has come.
    pub(super) fn answers(
        &mut self,
        status: StatusCode,
        headers: &HeaderMap,
        exchanges: &Arc<OpenExchanges>,
    ) {
        let Stage::Permitted(forwarding) = &self.stage else { return };
        let is_checked = matches!(forwarding.permit.passage(), Passage::Checked);
        let has_body = !matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        if self.open.is_some() || !is_checked || !has_body || !may_be_long(headers, false) {
            return;
        }
        let Some(client) = self.arrival.as_ref().map(|arrival| arrival.client_ip()) else { return };
        let whose = ExchangeOwner { session: None, client: Some(client), is_checked };
        let open = self.open.insert(exchanges.enter(whose, &self.request_id));
        let blocks = self.generation.sessions().blocks().list();
        if exchanges.ends() != self.ends && blocks.of_address(client, self.at).is_some() {
            open.ended();
        }
    }

    async fn is_over(&self, known: Option<&Known>, is_checked: bool) -> bool {
        let sessions = self.generation.sessions();
        let client = self.arrival.as_ref().map(|arrival| arrival.client_ip());
        if is_checked {
            let blocks = sessions.blocks().list();
            let of_address = client.and_then(|client| blocks.of_address(client, self.at));
            let of_caller = known.and_then(|known| {
                blocks.of_caller(&known.identity.key, known.session.as_ref(), self.at)
            });
            if of_address.is_some() || of_caller.is_some() {
                return true;
            }
        }
        match known.and_then(|known| known.session.as_ref()) {
            Some(session) => sessions.has_ended(session, self.at).await,
            None => false,
        }
    }
}

/// Whether the body has an unknown length or a large one.
fn may_be_long(headers: &HeaderMap, is_request: bool) -> bool {
    let length: Option<u64> =
        headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
    match length {
        Some(length) => length > LONG,
        // Without a length a request has a body only if it is chunked.
        None if is_request => headers.contains_key(TRANSFER_ENCODING),
        None => headers.contains_key(CONTENT_TYPE) || headers.contains_key(TRANSFER_ENCODING),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_end_or_a_distant_one_may_last_long() {
        for (name, value, request, answer) in [
            ("content-length", "0", false, false),
            ("content-length", "1048576", false, false),
            ("content-length", "1048577", true, true),
            ("transfer-encoding", "chunked", true, true),
            ("content-type", "text/event-stream", false, true),
            ("accept", "*/*", false, false),
        ] {
            let headers = HeaderMap::from_iter([(
                http::HeaderName::from_static(name),
                http::HeaderValue::from_static(value),
            )]);
            assert_eq!(may_be_long(&headers, true), request, "{name}: {value}");
            assert_eq!(may_be_long(&headers, false), answer, "{name}: {value}");
        }
    }
}
