//! How does Django write it?
//!
//! Pure codecs for the formats in which a Django service keeps its users' credentials. Nothing here
//! does I/O, reads the clock or knows the gateway's configuration: text comes in as an argument and
//! an answer goes out, so that each format can be held against answers recorded from Django itself
//! (`tests/vectors/django.json`).

pub mod allauth;
pub mod hashers;
pub mod jws;
pub mod otp;
pub mod session;
pub mod signing;
pub mod simplejwt;
