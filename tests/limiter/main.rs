//! The limiter: protection against guessing passwords and client secrets (RFC 6749 sections 4.3.2
//! and 2.3.1).

#[path = "../common/mod.rs"]
mod common;

mod administration;
mod backoff;
mod capacity;
mod clients;
mod concurrency;
mod devices;
mod events;
mod faults;
mod names;
mod round_trips;
mod support;
