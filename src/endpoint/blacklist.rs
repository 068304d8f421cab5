//! `POST /blacklist`, where it is turned on: SimpleJWT's way to sign out.
//!
//! Its answers: `{}`; 401 for an invalid refresh token, and for one whose session has ended; 400 without a token. The
//! session ends, with everything that belongs to it. A token that a service issued before the gateway stood in front of
//! it, and that nobody has presented since, has no session yet and never gets one. A spent token ends its session too,
//! although the answer says that it was blacklisted: SimpleJWT blacklists tokens when it rotates them.

use bytes::Bytes;
use http::StatusCode;
use serde_json::json;

use super::Endpoints;
use super::refused::Refused;
use crate::wire::arrival::Arrival;
use crate::wire::reply::Reply;

impl Endpoints {
    /// Answers `POST /blacklist`.
    pub(super) async fn blacklist(
        &self,
        arrival: &Arrival,
        body: &Bytes,
    ) -> Result<Reply, Refused> {
        let token = self.token(arrival, body, "refresh")?;
        self.issuers.blacklist(token.expose(), arrival.at, &arrival.events).await?;
        Ok(Reply::json(StatusCode::OK, &json!({})))
    }
}
