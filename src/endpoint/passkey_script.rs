//! `GET /login/passkey.js`: the one script of the pages that use passkeys. Everything else works without it.

use http::StatusCode;

use crate::wire::reply::Reply;

const SCRIPT: &str = include_str!("../../templates/passkey.js");

/// Returns the script. Like every answer of the gateway's own it is `no-store`, so that a new version serves its own.
pub(super) fn reply() -> Reply {
    Reply::empty(StatusCode::OK).with_body("text/javascript; charset=utf-8", SCRIPT)
}
