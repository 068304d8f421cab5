//! `GET /.well-known/jwks.json`: the public keys that verify our access tokens (RFC 7517).
//!
//! Empty with HS256, whose key is no public one. Like every answer of our own it may not be stored, so a service that
//! verifies tokens itself keeps the set for as long as it likes; a rotated key verifies until its last token has expired.

use http::StatusCode;

use super::Endpoints;
use crate::wire::reply::Reply;

impl Endpoints {
    /// `GET /.well-known/jwks.json`
    pub(super) fn jwks(&self) -> Reply {
        Reply::json(StatusCode::OK, &self.issuers.sessions().keys().jwks())
    }
}
