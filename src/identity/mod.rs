//! Passes the caller's identity to the application.
//!
//! It does so with header fields ([`headers::IdentityHeaders`]) on every route, and with what else a route's service
//! understands ([`forms::IdentityForms`]); each form is a file there, and turns a caller into what the upstream gets. The
//! fields that are set are also removed from every request, in every spelling, whoever calls (`wire::forward`); so nothing
//! here ever trusts or forwards what a client sent.

pub mod forms;
pub mod headers;

pub use forms::IdentityForms;
pub use headers::IdentityHeaders;
