//! How does the application see the caller?
//!
//! By header fields ([`headers::IdentityHeaders`]) on every route, and by what else a route's service understands
//! ([`forms::IdentityForms`]); each form is a file there, with the same question: a caller in, what the upstream gets out.
//! The fields that are set are also the fields that are removed from every request, in every spelling, whoever calls
//! (`wire::forward`); so nothing here ever trusts or keeps what a client sent.

pub mod forms;
pub mod headers;

pub use forms::IdentityForms;
pub use headers::IdentityHeaders;
