//! How does the application see the caller?
//!
//! One form today: header fields ([`headers::IdentityHeaders`]). Another form is another file here, with the same
//! question: a caller in, what the upstream gets out. The fields that a form sets are also the fields that are removed
//! from every request, in every spelling, whoever calls (`wire::forward`); so nothing here ever trusts or keeps what a
//! client sent.

pub mod headers;

pub use headers::IdentityHeaders;
