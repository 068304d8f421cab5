//! Pools for tests.

use std::sync::Arc;

use super::Pool;
use super::endpoint::Endpoint;
use crate::config::{Upstream, UpstreamServer};

pub(super) fn pool(settings: Upstream) -> Pool {
    Pool::new(settings, None, &[], None)
}

/// Creates addresses with names and weights.
pub(super) fn endpoints(weights: &[(&str, u16)]) -> Vec<Arc<Endpoint>> {
    let mut settings = Upstream::new("app", &[]);
    settings.servers = weights
        .iter()
        .zip(1..)
        .map(|((name, weight), port)| {
            let [server] = Upstream::new("app", &[&format!("127.0.0.1:{port}")])
                .servers
                .try_into()
                .expect("one server");
            UpstreamServer { name: (*name).to_owned(), weight: *weight, ..server }
        })
        .collect();
    pool(settings).table.load().endpoints.clone()
}
