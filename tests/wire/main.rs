//! Requests and answers on the wire (RFC 6749 sections 4.3.2, 5.1 and 5.2, and appendix B).

#[path = "../common/mod.rs"]
mod common;

mod answers;
mod entrances;
mod envelope;
mod parameters;
mod support;
