//! Reports on a pool to operators, and carries out their orders.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::Pool;
use super::endpoint::EndpointState;

impl Pool {
    /// Returns the pool's state, for people and programs.
    pub(in crate::proxy) fn report(&self) -> Value {
        let table = self.table.load();
        let servers: Vec<Value> = self
            .members
            .iter()
            .map(|member| {
                let of_it =
                    table.endpoints.iter().filter(|one| one.server.name == member.state.name);
                let addresses: Vec<Value> = of_it
                    .map(|one| {
                        let condition = &one.condition;
                        let back = condition.comes_back_in().map(|time| time.as_secs_f64());
                        json!({
                            "address": &*one.address,
                            "state": one.standing().name(),
                            "in_flight": condition.in_flight(),
                            "failures": condition.failures(),
                            "ejections": condition.ejections(),
                            "back_in_seconds": back,
                            "is_backup": one.is_backup,
                        })
                    })
                    .collect();
                json!({
                    "name": member.state.name,
                    "weight": member.settings.weight,
                    "drained": member.state.drained.load(Ordering::Relaxed),
                    "addresses": addresses,
                })
            })
            .collect();
        json!({"name": self.settings.name, "waiting": self.waiting(), "servers": servers})
    }

    /// Takes a server out of service, or puts it back, and returns whether that changed anything; `None` if there is no such
    /// server.
    pub(in crate::proxy) fn drain(&self, server: &str, drained: bool) -> Option<bool> {
        let member = self.members.iter().find(|member| member.state.name == server)?;
        let changes = member.state.drained.swap(drained, Ordering::Relaxed) != drained;
        if changes {
            if !drained {
                let table = self.table.load();
                let of_it = table.endpoints.iter().filter(|one| one.server.name == server);
                of_it.for_each(|one| one.condition.returns());
            }
            tracing::info!(
                upstream = %self.settings.name,
                server,
                state = if drained { "drained" } else { "in_service" },
                "an operator changed a server's state"
            );
        }
        Some(changes)
    }

    /// Updates the metrics: how many addresses of each server are in which state, and the requests in flight there.
    pub(in crate::proxy) fn measure(&self) {
        let table = self.table.load();
        for member in &self.members {
            let mut counts = [0; EndpointState::ALL.len()];
            let mut in_flight = 0;
            for one in table.endpoints.iter().filter(|one| one.server.name == member.state.name) {
                in_flight += one.condition.in_flight();
                let standing = one.standing();
                for (count, other) in counts.iter_mut().zip(EndpointState::ALL) {
                    *count += i64::from(other == standing);
                }
            }
            let metrics = &member.state.metrics;
            for (count, standing) in counts.into_iter().zip(EndpointState::ALL) {
                metrics.stands(standing.name(), count);
            }
            metrics.in_flight(in_flight);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::pool;
    use super::*;
    use crate::config::Upstream;

    #[test]
    fn an_operator_takes_a_server_out_and_puts_it_back() {
        let pool = pool(Upstream::new("app", &["127.0.0.1:1", "127.0.0.1:2"]));
        let states = |pool: &Pool| {
            let report = pool.report();
            [0, 1]
                .map(|n| report["servers"][n]["addresses"][0]["state"].as_str().unwrap().to_owned())
        };
        assert_eq!(states(&pool), ["in_service", "in_service"]);
        assert_eq!(pool.drain("127.0.0.1:2", true), Some(true));
        assert_eq!(pool.drain("127.0.0.1:2", true), Some(false));
        assert_eq!(states(&pool), ["in_service", "drained"]);
        assert_eq!(pool.drain("127.0.0.1:2", false), Some(true));
        assert_eq!(states(&pool), ["in_service", "in_service"]);
        assert_eq!(pool.drain("127.0.0.1:3", true), None);
    }
}
