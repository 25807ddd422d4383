//! To copy: the routes, and what is known about a request.

use actix_web::FromRequest;
use actix_web::guard::{self, Get, Head};
use actix_web::http::header::{ALLOW, HeaderValue};
use actix_web::web::{self, Json, ServiceConfig};
use actix_web::{Handler, HttpRequest, HttpResponse, Resource, Responder};
use password_grant::{Endpoint, RequestContext};

use crate::adapter::endpoint;
use crate::demo::app::{App, Me, Orders, TENANT_HEADER, tenant};
use crate::demo::page::{HEADERS, PAGE};
use crate::token::{Any, Required, Token};

/// What is known about a request: the address of the connection, and not `realip_remote_addr()`,
/// which is what the caller wrote; and the tenant. Behind a proxy, see `TrustedProxies`.
pub fn context(request: &HttpRequest) -> RequestContext {
    let peer = request.peer_addr().map(|peer| peer.ip());
    let named = request.headers().get_all(TENANT_HEADER).map(HeaderValue::as_bytes);
    RequestContext::from(peer).with_tenant(tenant(named))
}

pub fn routes(app: App) -> impl FnOnce(&mut ServiceConfig) {
    move |config| {
        config
            .app_data(web::Data::new(app))
            .route("/oauth/token", endpoint(Endpoint::Token))
            .route("/oauth/revoke", endpoint(Endpoint::Revocation))
            .route("/oauth/introspect", endpoint(Endpoint::Introspection))
            .route("/.well-known/oauth-authorization-server", endpoint(Endpoint::Metadata))
            .route("/.well-known/jwks.json", endpoint(Endpoint::Jwks))
            .service(get("/", page))
            .service(get("/api/me", me))
            .service(get("/api/orders", orders));
    }
}

/// A resource for GET and HEAD, which `web::get()` does not include, and a 405 with `Allow` for the
/// rest.
fn get<F, Args>(path: &str, handler: F) -> Resource
where
    F: Handler<Args>,
    F::Output: Responder + 'static,
    Args: FromRequest + 'static,
{
    web::resource(path)
        .route(web::route().guard(guard::Any(Get()).or(Head())).to(handler))
        .default_service(web::to(async || {
            HttpResponse::MethodNotAllowed().insert_header((ALLOW, "GET,HEAD")).finish()
        }))
}

struct OrdersRead;

impl Required for OrdersRead {
    const SCOPE: Option<&'static str> = Some("orders:read");
}

async fn page() -> HttpResponse {
    let mut response = HttpResponse::Ok();
    for header in HEADERS {
        response.insert_header(header);
    }
    response.body(PAGE)
}

async fn me(token: Token<Any>) -> Json<Me> {
    Json(token.verified.into())
}

async fn orders(token: Token<OrdersRead>) -> Json<Orders> {
    Json(token.verified.into())
}
