//! Reads what the services behind the gateway store: their databases, their caches, and the tokens that they have revoked.
//! `directory` reads the users of a service's tables, and `issuer` the tokens that it has issued.

pub mod blacklist;
pub mod cache;
pub mod database;
