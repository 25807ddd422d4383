//! The demo server on actix-web: `cargo run -p example-actix`. `adapter.rs`, `token.rs` and
//! `routes.rs` are what you copy, with `app.rs` and `shop.rs` in the folder `examples/demo`.

mod adapter;
#[path = "../../demo/mod.rs"]
mod demo;
mod routes;
mod token;

use std::process::ExitCode;

use actix_web::HttpServer;
use demo::app::App;
use demo::settings::{Demo, GRACE, Problem, announce, ended, log_events, wrong};
use routes::context;
use tokio::signal::unix::{SignalKind, signal};

#[actix_web::main]
async fn main() -> ExitCode {
    log_events();
    ended(serve().await)
}

async fn serve() -> Result<(), Problem> {
    let Demo { listener, address, app } = Demo::from_environment().await?;
    let on = |kind| signal(kind).map_err(|error| wrong("signals", error));
    let (mut terminated, mut interrupted) =
        (on(SignalKind::terminate())?, on(SignalKind::interrupt())?);
    let server =
        HttpServer::new(move || actix_web::App::new().configure(routes::routes(app.clone())))
            // actix-web itself drops the requests in flight at SIGINT.
            .disable_signals()
            .shutdown_timeout(GRACE)
            .listen_auto_h2c(listener)
            .map_err(|error| wrong("LISTEN_ADDR", error))?
            .run();
    let handle = server.handle();
    tokio::spawn(async move {
        tokio::select! { _ = terminated.recv() => {} _ = interrupted.recv() => {} }
        handle.stop(true).await;
    });
    announce(address);
    server.await.map_err(|error| wrong("LISTEN_ADDR", error))
}
