//! Explains the request that an upstream would get: the names of removed fields, and the fields that are set.
//!
//! A value is shown only where it is known to be no secret: the identity headers, the forwarding headers, and a form's
//! header that holds only the user's name or id. Everything else is described without its value, so that a new form is
//! hidden by default.

use std::collections::BTreeSet;

use http::header::{CONTENT_LENGTH, COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue};
use pingora::http::RequestHeader;
use serde_json::{Value, json};

use super::super::edit::EditRules;
use super::super::stage::ForwardPlan;
use super::{REQUEST_ID, jwt};
use crate::caller::Caller;
use crate::wire::arrival::Arrival;
use crate::wire::forward::fold;
use crate::wire::header_value;

/// Describes the changes that the gateway makes.
pub(super) fn describe(
    edit: &EditRules,
    arrival: &Arrival,
    request: &RequestHeader,
    forwarding: &ForwardPlan,
) -> Value {
    let (before, after) = (&arrival.headers, &request.headers);
    let removed: Vec<&str> = before
        .keys()
        .filter(|name| **name != COOKIE && !after.contains_key(*name))
        .map(HeaderName::as_str)
        .collect();
    let is_set = |name: &&HeaderName| {
        **name != COOKIE && !before.get_all(*name).iter().eq(after.get_all(*name).iter())
    };
    let caller = forwarding.permit.caller();
    let set: Vec<Value> = after
        .keys()
        .filter(is_set)
        .flat_map(|name| after.get_all(name).iter().map(move |value| (name, value)))
        .map(|(name, value)| {
            let value = if is_clear(edit, caller, name, value) {
                clear(value)
            } else {
                jwt::shown(&clear(value), arrival.at)
            };
            let replaces = before.contains_key(name);
            json!({"name": name.as_str(), "value": value, "replaces": replaces})
        })
        .collect();
    let given = &forwarding.given.cookies;
    let mut kept = cookies(after);
    for cookie in given {
        kept.remove(&cookie.name);
    }
    let gone: Vec<String> = cookies(before).difference(&kept).cloned().collect();
    let given: Vec<Value> = given
        .iter()
        .map(|cookie| {
            json!({"name": cookie.name, "value": jwt::shown(cookie.value.expose(), arrival.at)})
        })
        .collect();
    let path = String::from_utf8_lossy(request.raw_path()).into_owned();
    let (path, query) = match path.split_once('?') {
        Some((path, query)) => (path.to_owned(), Some(query.len())),
        None => (path, None),
    };
    json!({
        "name": forwarding.pool.settings().name,
        "method": request.method.as_str(),
        "path": path,
        "query_bytes": query,
        "headers_removed": removed,
        "headers_set": set,
        "cookies_kept": kept,
        "cookies_removed": gone,
        "cookies_set": given,
    })
}

fn is_clear(edit: &EditRules, caller: &Caller, name: &HeaderName, value: &HeaderValue) -> bool {
    let is_plain = edit.identity.names().any(|one| one == name)
        || edit.protected.is_forwarding(&fold(name.as_str()))
        || [CONTENT_LENGTH.as_str(), "x-forwarded-prefix", "x-request-id"].contains(&name.as_str());
    is_plain
        || caller.known().is_some_and(|known| {
            let identity = &known.identity;
            let texts = [identity.name.as_str(), &identity.key.id];
            texts.iter().any(|text| header_value::value(text) == *value)
        })
}

fn clear(value: &HeaderValue) -> String {
    match value.to_str() {
        Ok(REQUEST_ID) => "<a new id>".into(),
        Ok(text) => text.into(),
        Err(_) => "<not ASCII>".into(),
    }
}

/// Returns the names of all cookies.
fn cookies(headers: &HeaderMap) -> BTreeSet<String> {
    let pairs =
        headers.get_all(COOKIE).iter().flat_map(|line| line.as_bytes().split(|b| *b == b';'));
    pairs
        .filter_map(|pair| pair.split(|byte| *byte == b'=').next())
        .map(|name| String::from_utf8_lossy(name.trim_ascii()).into_owned())
        .filter(|name| !name.is_empty())
        .collect()
}
