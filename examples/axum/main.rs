//! The demo server on axum: an existing web application with its own user table, to which the
//! password grant was added.
//!
//! `cargo run --example axum`, then
//!
//! ```text
//! curl -u web:web-secret -d grant_type=password -d username=alice -d password=wonderland \
//!      http://127.0.0.1:8080/oauth/token
//! ```
//!
//! `adapter.rs`, `token.rs` and `routes.rs` are what you copy, with `app.rs` and `shop.rs` in the folder `demo`,
//! which the demo servers of all frameworks share.

mod adapter;
#[path = "../demo/mod.rs"]
mod demo;
mod routes;
mod token;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use demo::app::App;
use demo::settings::{Demo, GRACE, Problem, announce, ended, log_events, wrong};
use routes::context;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

#[tokio::main]
async fn main() -> ExitCode {
    log_events();
    ended(serve().await)
}

async fn serve() -> Result<(), Problem> {
    let Demo { listener, address, app } = Demo::from_environment().await?;
    let listener = TcpListener::from_std(listener);
    let listener = listener.map_err(|error| wrong("LISTEN_ADDR", error))?;
    let on = |kind| signal(kind).map_err(|error| wrong("signals", error));
    let (mut terminated, mut interrupted) =
        (on(SignalKind::terminate())?, on(SignalKind::interrupt())?);
    let (stop, mut stopping) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! { _ = terminated.recv() => {} _ = interrupted.recv() => {} }
        stop.send_replace(true);
    });
    let mut asked = stopping.clone();
    let asked_to_stop = async move { drop(asked.wait_for(|stop| *stop).await) };
    let routes = routes::routes(app).into_make_service_with_connect_info::<SocketAddr>();
    announce(address);
    let server = axum::serve(listener, routes).with_graceful_shutdown(asked_to_stop);
    // Requests in flight are finished, but one that never ends must not keep the process alive.
    let timeout = async {
        drop(stopping.wait_for(|stop| *stop).await);
        tokio::time::sleep(Duration::from_secs(GRACE)).await;
    };
    tokio::select! {
        ended = server => ended.map_err(|error| wrong("LISTEN_ADDR", error)),
        () = timeout => Ok(()),
    }
}
