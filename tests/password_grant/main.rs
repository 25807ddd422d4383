//! The password grant end to end (RFC 6749 section 4.3).

#[path = "../common/mod.rs"]
mod common;

mod audience;
mod building;
mod events;
mod issuing;
mod login;
mod scope;
mod support;
mod wrong_configurations;
