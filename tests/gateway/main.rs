//! The gateway as a process, in front of real servers, seen through a socket.
//!
//! One binary, because linking the gateway's dependencies once is what the build time is spent on. Each module says in one
//! line what belongs in it. No test sleeps, takes a fixed port or needs another one to have run: each starts what it needs
//! through `support`, and waits for conditions with a deadline.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "test helpers may fail loudly, wait in short steps and read the environment"
)]

mod browser;
mod carry;
mod databases;
mod django;
mod forwarding;
mod layers;
mod refresh;
mod sessions;
mod sign_in;
mod support;
mod targets;
