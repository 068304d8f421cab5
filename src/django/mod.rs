//! Reads and writes the formats in which Django stores credentials.
//!
//! These are pure codecs for the formats in which a Django service stores its users' credentials.
//! They do no I/O, read no clock and do not know the gateway's configuration: each takes a text and
//! returns a result, so that each format can be tested against results recorded from Django itself
//! (`tests/vectors/django.json`).

pub mod allauth;
pub mod hashers;
pub mod jws;
pub mod otp;
pub mod session;
pub mod signing;
pub mod simplejwt;
