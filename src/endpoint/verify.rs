//! `POST /verify`: checks whether a token, access or refresh, is valid.
//!
//! The answer is `{}` or 401, as in SimpleJWT. One differs: for a token whose session has ended, SimpleJWT answers 400 with
//! `non_field_errors` here and 401 at refresh; the gateway answers 401 at both, because a code has one status.

use bytes::Bytes;
use http::StatusCode;
use serde_json::json;

use super::Endpoints;
use super::refused::Refused;
use crate::wire::arrival::Arrival;
use crate::wire::reply::Reply;

impl Endpoints {
    /// Answers `POST /verify`.
    pub(super) async fn verify(&self, arrival: &Arrival, body: &Bytes) -> Result<Reply, Refused> {
        let token = self.token(arrival, body, "token")?;
        self.issuers.verify(token.expose(), arrival.at).await?;
        Ok(Reply::json(StatusCode::OK, &json!({})))
    }
}
