#[path = "../adapter.rs"]
mod adapter;
#[path = "../../../demo/minimal.rs"]
mod app;
#[path = "../token.rs"]
mod token;

use actix_web::{HttpRequest, HttpResponse, HttpServer, web};
use password_grant::{BoxError, RequestContext};

use crate::app::App;
use crate::token::{Any, Required, Token};

/// The address of the connection, and not `realip_remote_addr()`, which is what the caller wrote.
fn context(request: &HttpRequest) -> RequestContext {
    request.peer_addr().map(|peer| peer.ip()).into()
}

struct Orders;

impl Required for Orders {
    const SCOPE: Option<&'static str> = Some("orders:read");
}

async fn orders(token: Token<Orders>) -> String {
    format!("the orders of {}\n", token.verified.subject)
}

async fn log_out(token: Token<Any>, app: web::Data<App>) -> HttpResponse {
    match app.grant.log_out(&token.verified, &token.context).await {
        Ok(()) => HttpResponse::NoContent().finish(),
        Err(_) => HttpResponse::ServiceUnavailable().insert_header(("retry-after", "1")).finish(),
    }
}

#[actix_web::main]
async fn main() -> Result<(), BoxError> {
    let app = app::app("http://127.0.0.1:8080")?;
    let server = HttpServer::new(move || {
        let paths = app.grant.paths();
        let routed = actix_web::App::new().app_data(web::Data::new(app.clone()));
        paths
            .fold(routed, |routed, (at, path)| routed.route(&path, adapter::endpoint(at)))
            .route("/orders", web::get().to(orders))
            .route("/session", web::delete().to(log_out))
    });
    Ok(server.bind("127.0.0.1:8080")?.run().await?)
}
