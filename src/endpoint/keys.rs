//! `GET /.well-known/jwks.json`: the public keys that verify our access tokens (RFC 7517).
//!
//! The set is empty with HS256, whose key is not public. Like every answer of our own it is `no-store`, so a service that
//! verifies tokens itself decides how long it keeps the set; a rotated key verifies until its last token has expired.

use http::StatusCode;

use super::Endpoints;
use crate::wire::reply::Reply;

impl Endpoints {
    /// Answers `GET /.well-known/jwks.json`.
    pub(super) fn jwks(&self) -> Reply {
        Reply::json(StatusCode::OK, &self.issuers.sessions().keys().jwks())
    }
}
