//! The revocation and introspection endpoints (RFC 7009, RFC 7662), and resource servers that
//! introspect.

#[path = "../common/mod.rs"]
mod common;

mod every;
#[cfg(feature = "argon2")]
mod failure_floor;
mod introspection;
mod issuers;
mod log_out;
mod requests;
mod resource_server;
mod revocation;
mod support;
