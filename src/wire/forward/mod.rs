//! Cleans headers between client and upstream: which ones are removed, and which are set.
//!
//! An application behind the gateway trusts a few headers. So on every route, signed in or not, every copy of them that a
//! client sent is removed before the gateway's are set, in every spelling that some server folds into the same variable
//! ([`fold`]): CGI-style servers turn `X-User-Id`, `X_User_Id` and `X.User.Id` into one `HTTP_X_USER_ID`. Apart from those
//! ([`ProtectedNames`]) any name outside `[A-Za-z0-9-]` is dropped unless the route allows that very name.
//!
//! The proxy stores headers in a collection of its own; [`EditHeaders`] is the interface that these functions need.

use http::{HeaderMap, HeaderName, HeaderValue};

mod names;
mod prefix;
mod request;
mod response;
mod set;
mod table;

pub use names::{NameClasses, ProtectedNames, fold};
pub use prefix::{restore_host, restore_prefix};
pub use request::{Stripped, connection_nominates, strip_request, strip_respelled, strip_spoofed};
pub use response::{
    NoSingleLength, strip_hop_by_hop, strip_identity, strip_response, strip_set_cookies,
};
pub use set::{Forwarding, forwarding_headers, request_id};

/// A collection of header fields that can be edited.
pub trait EditHeaders {
    /// Returns the fields as they are.
    fn headers(&self) -> &HeaderMap;

    /// Removes all fields of this name.
    fn remove(&mut self, name: &HeaderName);

    /// Replaces all fields of this name by one.
    fn set(&mut self, name: HeaderName, value: HeaderValue);

    /// Does the same as `set` with a static name.
    fn set_static(&mut self, name: &'static HeaderName, value: HeaderValue) {
        self.set(name.clone(), value);
    }

    /// Adds a field beside the existing ones of this name.
    fn append(&mut self, name: HeaderName, value: HeaderValue);
}

impl EditHeaders for HeaderMap {
    fn headers(&self) -> &HeaderMap {
        self
    }

    fn remove(&mut self, name: &HeaderName) {
        Self::remove(self, name);
    }

    fn set(&mut self, name: HeaderName, value: HeaderValue) {
        self.insert(name, value);
    }

    fn append(&mut self, name: HeaderName, value: HeaderValue) {
        Self::append(self, name, value);
    }
}
