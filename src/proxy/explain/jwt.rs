//! Describes the content of a JWT, without its signature.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use crate::clock::Timestamp;

/// Returns the header and claims of a token, verified or not, without its signature.
pub(super) fn said(text: &str, at: Timestamp) -> String {
    let Some((header, claims)) = header(text).zip(claims(text)) else {
        return format!("no JWT; {} characters", text.chars().count());
    };
    let mut said = "a JWT".to_owned();
    for name in ["alg", "typ", "kid"] {
        if let Some(value) = header.get(name) {
            said += &format!(", {name} {value}");
        }
    }
    for name in ["iss", "sub", "user_id", "sid", "token_type"] {
        if let Some(value) = claims.get(name) {
            said += &format!(", {name} {value}");
        }
    }
    if let Some(exp) = claims.get("exp").and_then(Value::as_u64) {
        let exp = Timestamp::from_secs(exp);
        said += &if exp > at {
            format!(", expires {exp} (in {} s)", exp.since(at).as_secs())
        } else {
            format!(", expired {exp} ({} s ago)", at.since(exp).as_secs())
        };
    } else {
        said += ", without exp";
    }
    said + &format!("; claims {}", names(&claims))
}

/// Describes a token for a service, without the token itself.
pub(super) fn shown(value: &str, at: Timestamp) -> String {
    let word = value.rsplit(' ').next().unwrap_or_default();
    let Some((header, claims)) = header(word).zip(claims(word)) else {
        return format!("<secret, {} characters>", word.chars().count());
    };
    let alg = header.get("alg").and_then(Value::as_str).unwrap_or("?");
    let exp = claims.get("exp").and_then(Value::as_u64).map(Timestamp::from_secs);
    let exp = exp.map_or_else(String::new, |exp| format!(", exp in {} s", exp.since(at).as_secs()));
    format!("<a token: {alg}{exp}, claims {}>", names(&claims))
}

fn names(claims: &Map<String, Value>) -> String {
    claims.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
}

pub(super) fn header(token: &str) -> Option<Map<String, Value>> {
    part(token, 0)
}

fn claims(token: &str) -> Option<Map<String, Value>> {
    part(token, 1)
}

fn part(token: &str, index: usize) -> Option<Map<String, Value>> {
    let mut parts = token.split('.');
    if parts.clone().count() != 3 {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(parts.nth(index)?).ok()?;
    serde_json::from_slice(&bytes).ok()
}
