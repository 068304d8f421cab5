//! `GET /upstreams`, `POST /upstreams/drain` and `/upstreams/undrain` on the admin listener: the servers behind the gateway.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::generation::Generation;
use crate::refusal::Refusal;
use crate::wire::reply::Reply;

/// Answers an operator who has been authenticated; `None` if the path is another one.
pub(super) fn serve(
    generation: &Generation,
    method: &Method,
    path: &str,
    body: &[u8],
) -> Option<Reply> {
    let drains = match path {
        "/upstreams" => {
            let pools: Vec<Value> = generation.pools.iter().map(|pool| pool.report()).collect();
            return Some(match *method {
                Method::GET => Reply::json(StatusCode::OK, &json!({"upstreams": pools})),
                _ => Reply::refusal(Refusal::MethodNotAllowed, ""),
            });
        }
        "/upstreams/drain" => true,
        "/upstreams/undrain" => false,
        _ => return None,
    };
    if method != Method::POST {
        return Some(Reply::refusal(Refusal::MethodNotAllowed, ""));
    }
    let which: Option<Value> = serde_json::from_slice(body).ok();
    let text = |name: &str| which.as_ref()?.get(name)?.as_str();
    let (Some(upstream), Some(server)) = (text("upstream"), text("server")) else {
        return Some(Reply::refusal(Refusal::BadBody, ""));
    };
    let pool = generation.pools.iter().find(|pool| pool.settings().name == upstream);
    Some(match pool.and_then(|pool| pool.drain(server, drains)) {
        Some(changed) => Reply::json(StatusCode::OK, &json!({"changed": changed})),
        None => Reply::refusal(Refusal::NoRoute, ""),
    })
}
