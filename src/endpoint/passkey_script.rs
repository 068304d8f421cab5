//! `GET /login/passkey.js`: the one script of the pages that use passkeys. Everything else works without it.

use http::StatusCode;

use crate::wire::reply::Reply;

const SCRIPT: &str = include_str!("../../templates/passkey.js");

/// The script. Like every answer of the gateway's own it is not stored, so that a new version has its own.
pub(super) fn reply() -> Reply {
    Reply::empty(StatusCode::OK).with_body("text/javascript; charset=utf-8", SCRIPT)
}
