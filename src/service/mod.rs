//! What do the services behind keep, and how is it asked? Their databases, their caches, and the tokens that they have taken
//! back. Who is in a service's tables is for `directory`; what it has issued, for `issuer`.

pub mod blacklist;
pub mod cache;
pub mod database;
