//! [`SessionManager`](super::SessionManager) as its callers see it, with everything behind it in memory.

mod credentials;
mod mailed_code;
mod recheck;
mod refresh;
mod second_factor;
mod service_cookies;
mod sign_in;
