//! `POST /refresh`: new tokens for a refresh token.
//!
//! Bodies are SimpleJWT's, and at an alias they have no other member. With rotation the answer has the next refresh token
//! too; at an alias that stands in for a service without rotation it is `{"access"}` alone. The cookie and `Authorization`
//! are ignored: the token suffices. A form from another site is refused all the same: it could spend a token its sender knows.

use bytes::Bytes;
use http::StatusCode;

use super::login::tokens;
use super::refused::Refused;
use super::{Endpoints, input};
use crate::config::OwnPathEntry;
use crate::secret::Secret;
use crate::wire::arrival::Arrival;
use crate::wire::reply::Reply;

impl Endpoints {
    /// Answers `POST /refresh`.
    pub(super) async fn refresh(
        &self,
        own: &OwnPathEntry,
        arrival: &Arrival,
        body: &Bytes,
    ) -> Result<Reply, Refused> {
        let token = self.token(arrival, body, "refresh")?;
        let context = &arrival.context();
        let pair = self.issuers.refresh(token.expose(), own.rotation, context).await?;
        Ok(Reply::json(StatusCode::OK, &tokens(Some(&pair), own.is_alias)))
    }

    /// Returns the one token of a body.
    pub(super) fn token(
        &self,
        arrival: &Arrival,
        body: &Bytes,
        field: &'static str,
    ) -> Result<Secret, Refused> {
        if input::is_form(arrival) {
            input::same_site(arrival, &self.trusted_origins)?;
        }
        let fields = input::fields(arrival, body)?;
        match fields.trimmed(field) {
            Ok(token) => Ok(Secret::new(token)),
            Err(problem) => Err(Refused::field(field, problem)),
        }
    }
}
