//! Tests of [`SessionManager`](super::SessionManager) through its public interface, with everything else in memory.

mod credentials;
mod mailed_code;
mod recheck;
mod refresh;
mod second_factor;
mod service_cookies;
mod sign_in;
