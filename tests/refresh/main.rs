//! Refresh tokens (RFC 6749 section 6): one session a login, which never forks and ends when one of
//! its tokens is stolen.

#[path = "../common/mod.rs"]
mod common;

mod account;
mod concurrency;
mod faults;
mod key_rotation;
mod lifetime;
mod log_out;
mod login;
mod rotation;
mod scope;
mod secrecy;
mod session_limit;
mod support;
mod theft;
