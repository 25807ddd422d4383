//! What all demo servers share, whatever their framework: an existing application with a user table,
//! its data, and its settings.
//!
//! `app.rs` and `shop.rs` are what you copy: the engine, and the traits over a database. `seed.rs`,
//! `settings.rs` and `page.rs` (the route `/`) are what makes a demo of it.

pub mod app;
pub mod page;
pub mod seed;
pub mod settings;
pub mod shop;
