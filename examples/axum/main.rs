//! The demo server: an existing web application with its own user table, to which the password grant
//! was added.
//!
//! `cargo run --example axum`, then
//!
//! ```text
//! curl -u web:web-secret -d grant_type=password -d username=alice -d password=wonderland \
//!      http://127.0.0.1:8080/oauth/token
//! ```
//!
//! `shop.rs` and `routes.rs` are what you copy. `rig.rs` and `demo.rs` are what makes a demo of it:
//! settings, shutdown, and data that everybody knows.

mod demo;
mod rig;
mod routes;
mod shop;

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    let filter =
        tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match rig::serve().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            eprintln!("{problem}");
            ExitCode::FAILURE
        }
    }
}
