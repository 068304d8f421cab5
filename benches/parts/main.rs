//! Measures the time that the pure parts of handling one request take.
//!
//! The order is that in which a request meets them. Measuring times are short: `make bench` is meant to be run often, to
//! find factors and allocations. Use `benches/whole` for differences of a few percent.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a measurement that meets anything unexpected has to stop"
)]

mod gate;
mod request;
mod wire;

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};

/// The same allocator as in `src/main.rs`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn short() -> Criterion {
    Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
}

criterion_group! {
    name = parts;
    config = short();
    targets = wire::framing, wire::target, wire::cookie, gate::decision, wire::headers
}
criterion_main!(parts);
