//! The `doorwarden` binary.

fn main() {}
