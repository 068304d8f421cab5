//! Tests the servers behind the gateway: how they are reached, and what happens to requests when some of them fail.

mod pool;
mod proxied;
mod refused;
mod servers;
mod sharing;
mod switched;
