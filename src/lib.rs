//! Doorwarden: a reverse-proxy authentication gateway.
//!
//! It signs people in, checks every request, tells an unchanged application who is calling, and notices when a
//! credential is being misused. A request travels through the modules in the order in which they are listed here,
//! and a module imports only from those above it (`tests/gateway/layers.rs` holds it to that).

