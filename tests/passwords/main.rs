//! Password hashes at an equal and bounded cost (`HashedPasswords`).

#![cfg(feature = "argon2")]

#[path = "../common/mod.rs"]
mod common;

mod account_state;
mod configuration;
mod equal_cost;
mod stored_hashes;
mod support;
mod threads;
mod turns;
