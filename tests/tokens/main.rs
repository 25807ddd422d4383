//! Access tokens: what is issued (RFC 9068), and which resource server accepts it (RFC 6750).

#[path = "../common/mod.rs"]
mod common;

mod challenge;
mod issued;
mod keys;
mod opaque;
mod support;
mod verified;
