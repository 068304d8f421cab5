//! Doorwarden: a reverse-proxy authentication gateway.
//!
//! It signs people in, checks every request, tells an unchanged application who is calling, and detects the misuse of
//! credentials. A request passes through the modules in the order in which they are listed here, and a module imports only from
//! those above it (`tests/gateway/layers.rs` checks this).

pub mod clock;

pub mod block;
pub mod caller;
pub mod context;
pub mod event;
pub mod hotp;
pub mod private_file;
pub mod refusal;
pub mod secret;

pub mod jose;
pub mod wire;

pub mod django;

pub mod config;

pub mod geo;
pub mod service;
pub mod store;

pub mod directory;

pub mod notify;

pub mod factor;

pub mod session;

pub mod issuer;

pub mod identity;

pub mod detect;

pub mod gate;

pub mod endpoint;

pub mod admin;

pub mod telemetry;

pub mod proxy;

pub mod app;

mod command;

mod doctor;

pub mod cli;
