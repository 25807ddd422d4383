//! Client assertions (RFC 7521, RFC 7523): a JWT that a client signs to authenticate, instead of a
//! secret that it sends.

#[path = "../common/mod.rs"]
mod common;

mod accepted;
mod algorithms;
mod building;
mod claims;
mod header;
mod jwks_uri;
mod jwks_uri_shared;
mod methods;
mod properties;
mod replay;
mod support;
