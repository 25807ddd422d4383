//! Client authentication (RFC 6749 section 2.3): one method a request, and one answer for every
//! failure.

#[path = "../common/mod.rs"]
mod common;

mod basic;
mod methods;
mod registration;
mod secrets;
mod support;
