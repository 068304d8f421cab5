//! `GET /maintenance` and `POST /maintenance` on the admin listener: which routes are down.
//!
//! `{"route": NAME, "maintenance": "on"}` takes a route down, `"off"` puts it up, and `"as-configured"` withdraws the
//! override; without a route, this applies to all of them. An override survives reloads, until it is withdrawn or the gateway
//! restarts.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::generation::Generation;
use crate::gate::maintenance::{RouteMaintenance, Switch};
use crate::refusal::Refusal;
use crate::wire::reply::Reply;

const SWITCHES: [(&str, Switch); 3] =
    [("on", Switch::On), ("off", Switch::Off), ("as-configured", Switch::AsConfigured)];

/// Answers an operator who has been authenticated.
pub(super) fn serve(generation: &Generation, method: &Method, body: &[u8]) -> Reply {
    match *method {
        Method::GET => list(generation),
        Method::POST => match change(generation, body) {
            Ok(reply) => reply,
            Err(refusal) => Reply::refusal(refusal, ""),
        },
        _ => Reply::refusal(Refusal::MethodNotAllowed, ""),
    }
}

fn list(generation: &Generation) -> Reply {
    let routes = generation.guard.maintenance.list().map(|one| {
        let RouteMaintenance { route, is_on, configured, said } = one;
        let said = SWITCHES.iter().find(|(_, switch)| *switch == said).map(|(name, _)| *name);
        json!({"route": route, "maintenance": is_on, "configured": configured, "operator": said})
    });
    Reply::json(StatusCode::OK, &json!({"routes": routes.collect::<Vec<_>>()}))
}

fn change(generation: &Generation, body: &[u8]) -> Result<Reply, Refusal> {
    let asked: Value = serde_json::from_slice(body).map_err(|_| Refusal::BadBody)?;
    let text = |name: &str| asked.get(name).and_then(Value::as_str);
    let word = text("maintenance").ok_or(Refusal::BadBody)?;
    let switch = SWITCHES.iter().find(|(name, _)| *name == word).ok_or(Refusal::BadBody)?.1;
    let maintenance = &generation.guard.maintenance;
    let names: Vec<&str> = match (asked.get("route"), text("route")) {
        (None, _) => maintenance.list().map(|one| one.route).collect(),
        (Some(_), Some(name)) => vec![name],
        (Some(_), None) => return Err(Refusal::BadBody),
    };
    let mut changed: Vec<&str> = Vec::new();
    for name in names {
        let was_on = maintenance.say(name, switch).ok_or(Refusal::NoRoute)?;
        let is_on = maintenance.list().any(|one| one.route == name && one.is_on);
        if was_on != is_on {
            changed.push(name);
            tracing::info!(
                route = name,
                maintenance = is_on,
                "an operator switches a route's maintenance"
            );
        }
    }
    Ok(Reply::json(StatusCode::OK, &json!({"changed": changed})))
}
