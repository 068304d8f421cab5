//! The servers behind the gateway: what they are reached by, and what becomes of requests when some of them fail.

mod pool;
mod proxied;
mod refused;
mod servers;
mod sharing;
mod switched;
