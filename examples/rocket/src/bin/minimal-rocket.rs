#[path = "../adapter.rs"]
mod adapter;
#[path = "../../../demo/minimal.rs"]
mod app;
#[path = "../method.rs"]
mod method;
#[path = "../token.rs"]
mod token;

use password_grant::{BoxError, RequestContext};
use rocket::http::Status;
use rocket::{Config, Request, State, catch, catchers, delete, get, routes};

use crate::adapter::Answer;
use crate::app::App;
use crate::token::{Any, Required, Token};

/// The address of the connection, and not `client_ip()`, which is what the caller wrote.
fn context(request: &Request<'_>) -> RequestContext {
    request.remote().map(|peer| peer.ip()).into()
}

struct Orders;

impl Required for Orders {
    const SCOPE: Option<&'static str> = Some("orders:read");
}

#[get("/orders")]
async fn orders(token: Token<Orders>) -> String {
    format!("the orders of {}\n", token.verified.subject)
}

#[delete("/session")]
async fn log_out(token: Token<Any>, app: &State<App>) -> Status {
    match app.grant.log_out(&token.verified, &token.context).await {
        Ok(()) => Status::NoContent,
        Err(_) => Status::ServiceUnavailable,
    }
}

/// The refusal of a token, or an empty answer with the status.
#[catch(default)]
async fn refused(status: Status, request: &Request<'_>) -> Result<Answer, (Status, ())> {
    token::refusal(status, request).map(Answer).ok_or((status, ()))
}

#[rocket::main]
async fn main() -> Result<(), BoxError> {
    let app = app::app("http://127.0.0.1:8080")?;
    let endpoints: Vec<_> = app
        .grant
        .paths()
        .flat_map(|(at, path)| adapter::endpoint(&path, at).collect::<Vec<_>>())
        .collect();
    let config = Config { port: 8080, ..Config::release_default() };
    let rocket = rocket::custom(config).manage(app).attach(method::KeepPost);
    let rocket = rocket.mount("/", endpoints).mount("/", routes![orders, log_out]);
    rocket.register("/", catchers![refused]).launch().await?;
    Ok(())
}
