//! What one route says of how its requests are carried, and who of them is answered here.

mod headers;
mod limits;
mod maintenance;
mod pages;
mod times;
