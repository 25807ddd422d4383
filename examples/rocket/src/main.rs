//! The demo server on Rocket: `cargo run -p example-rocket`. `adapter.rs`, `method.rs`, `token.rs`
//! and `routes.rs` are what you copy, with `app.rs` and `shop.rs` in the folder `examples/demo`.

mod adapter;
#[path = "../../demo/mod.rs"]
mod demo;
mod method;
mod routes;
mod token;

use std::collections::HashSet;
use std::process::ExitCode;

use demo::app::App;
use demo::settings::{Demo, GRACE, Problem, announce, ended, log_events, wrong};
use rocket::config::{Ident, LogLevel, Shutdown, Sig};
use rocket::fairing::AdHoc;
use rocket::shield::Shield;
use rocket::{Config, Rocket};
use routes::context;

#[rocket::main]
async fn main() -> ExitCode {
    log_events();
    ended(serve().await)
}

async fn serve() -> Result<(), Problem> {
    let Demo { listener, address, app } = Demo::from_environment().await?;
    // Rocket binds the address itself.
    drop(listener);
    let config = Config {
        address: address.ip(),
        port: address.port(),
        // Its log would be on standard output.
        log_level: LogLevel::Off,
        // No `Server`.
        ident: Ident::none(),
        // By default, requests in flight have two seconds.
        shutdown: Shutdown {
            ctrlc: true,
            signals: HashSet::from([Sig::Term]),
            grace: u32::try_from(GRACE).unwrap_or(u32::MAX),
            mercy: 1,
            ..Shutdown::default()
        },
        ..Config::release_default()
    };
    let rocket = Rocket::custom(config)
        .attach(Shield::new()) // no security headers of Rocket's own
        .attach(AdHoc::on_liftoff("announce", move |_| Box::pin(async move { announce(address) })));
    let launched = routes::mount(rocket, app).launch().await;
    launched.map(drop).map_err(|error| wrong("LISTEN_ADDR", error))
}
