//! Tests that repeat themselves: shortly in `make test`, long in `make soak`.

/// How often, or how long.
pub(crate) fn times<T>(short: T, long: T) -> T {
    if is_long() { long } else { short }
}

/// Is this the long run?
pub(crate) fn is_long() -> bool {
    std::env::var_os("DOORWARDEN_SOAK").is_some()
}

/// What a long run prints.
pub(crate) fn report(line: &str) {
    if is_long() {
        eprintln!("soak: {line}");
    }
}
