//! Public keys of clients and issuers: algorithms, names and key sets (RFC 7517, RFC 7518, RFC
//! 7638).

#[path = "../common/mod.rs"]
mod common;

mod algorithms;
mod events;
mod jsonwebtoken;
mod key_sets;
mod names;
mod registrations;
mod support;
