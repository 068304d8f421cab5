//! `POST /verify`: is this token, access or refresh, good?
//!
//! `{}` or 401, as SimpleJWT. One answer differs: for a token whose session is over SimpleJWT says 400 and
//! `non_field_errors` here and 401 at refresh; here it is 401 at both, because a code has one status.

use bytes::Bytes;
use http::StatusCode;
use serde_json::json;

use super::Endpoints;
use super::refused::Refused;
use crate::wire::arrival::Arrival;
use crate::wire::reply::Reply;

impl Endpoints {
    /// `POST /verify`
    pub(super) async fn verify(&self, arrival: &Arrival, body: &Bytes) -> Result<Reply, Refused> {
        let token = self.token(arrival, body, "token")?;
        self.issuers.verify(token.expose(), arrival.at).await?;
        Ok(Reply::json(StatusCode::OK, &json!({})))
    }
}
