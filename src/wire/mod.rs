//! Requests and answers, free of any framework.
//!
//! These are pure functions over bytes and `http` values: each reads one thing that a client controls, once, into a
//! smaller type, or returns a closed enum that says why it cannot. Time and randomness are arguments.

pub mod accept;
pub mod arrival;
pub mod authorization;
pub mod body;
pub mod chunks;
pub mod client_ip;
pub mod cookie;
pub mod cross_site;
pub mod forward;
pub mod frames;
pub mod framing;
pub mod header_value;
pub mod host;
pub mod html;
pub mod jar;
pub mod next;
pub mod path;
pub mod proxy_protocol;
pub mod reply;
pub mod scheme;
