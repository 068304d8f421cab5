//! Supports tests that repeat themselves: few times in `make test`, many times in `make soak`.

/// Returns how often, or how long, to repeat.
pub(crate) fn times<T>(short: T, long: T) -> T {
    if is_long() { long } else { short }
}

/// Whether this is the long run.
pub(crate) fn is_long() -> bool {
    std::env::var_os("DOORWARDEN_SOAK").is_some()
}

/// Prints a line in a long run.
pub(crate) fn report(line: &str) {
    if is_long() {
        eprintln!("soak: {line}");
    }
}
