//! Guides: one page a subject, with code that is compiled.

#[doc = include_str!("frameworks.md")]
pub mod frameworks {}

#[doc = include_str!("axum.md")]
pub mod axum {}

#[doc = include_str!("actix.md")]
pub mod actix {}

#[doc = include_str!("rocket.md")]
pub mod rocket {}

#[doc = include_str!("tower.md")]
pub mod tower {}

#[doc = include_str!("guessing.md")]
pub mod guessing {}

#[doc = include_str!("signing_clients.md")]
pub mod signing_clients {}

#[doc = include_str!("staying_logged_in.md")]
pub mod staying_logged_in {}

#[doc = include_str!("keys.md")]
pub mod keys {}

#[doc = include_str!("hosting.md")]
pub mod hosting {}

#[doc = include_str!("leaving.md")]
pub mod leaving {}
