//! Tests a route's settings for proxying, and for requests that the gateway answers itself.

mod headers;
mod limits;
mod maintenance;
mod pages;
mod times;
