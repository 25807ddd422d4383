//! To copy: the routes, what is known about a request, and what is answered where there is none.

use std::io::Cursor;

use password_grant::{Endpoint, HttpRequest, RequestContext};
use rocket::http::{Header, Status};
use rocket::response::{self, Responder, Response};
use rocket::serde::json::Json;
use rocket::{Build, Request, Rocket, catch, catchers, get, routes};

use crate::adapter::{Answer, endpoint};
use crate::demo::app::{App, Me, Orders, TENANT_HEADER, tenant};
use crate::demo::page::{HEADERS, PAGE};
use crate::method::KeepPost;
use crate::token::{Any, Required, Token, refusal};

const ENDPOINTS: [(&str, Endpoint); 5] = [
    ("/oauth/token", Endpoint::Token),
    ("/oauth/revoke", Endpoint::Revocation),
    ("/oauth/introspect", Endpoint::Introspection),
    ("/.well-known/oauth-authorization-server", Endpoint::Metadata),
    ("/.well-known/jwks.json", Endpoint::Jwks),
];

/// What is known about a request: the address of the connection, and not `client_ip()`, which is
/// what the caller wrote into `X-Real-IP`; and the tenant. Behind a proxy, see `TrustedProxies`.
pub fn context(request: &Request<'_>) -> RequestContext {
    let peer = request.remote().map(|peer| peer.ip());
    let named = request.headers().get(TENANT_HEADER).map(str::as_bytes);
    RequestContext::from(peer).with_tenant(tenant(named))
}

pub fn mount(rocket: Rocket<Build>, app: App) -> Rocket<Build> {
    let endpoints = ENDPOINTS.into_iter().flat_map(|(path, at)| endpoint(path, at));
    rocket
        .manage(app)
        .attach(KeepPost)
        .mount("/", endpoints.collect::<Vec<_>>())
        .mount("/", routes![page, me, orders])
        .register("/", catchers![uncaught])
}

struct OrdersRead;

impl Required for OrdersRead {
    const SCOPE: Option<&'static str> = Some("orders:read");
}

struct Page;

impl<'r> Responder<'r, 'static> for Page {
    fn respond_to(self, _: &'r Request<'_>) -> response::Result<'static> {
        let mut response = Response::build();
        for (name, value) in HEADERS {
            response.raw_header(name, value);
        }
        response.sized_body(PAGE.len(), Cursor::new(PAGE)).ok()
    }
}

#[get("/")]
async fn page() -> Page {
    Page
}

#[get("/api/me")]
async fn me(token: Token<Any>) -> Json<Me> {
    Json(token.verified.into())
}

#[get("/api/orders")]
async fn orders(token: Token<OrdersRead>) -> Json<Orders> {
    Json(token.verified.into())
}

#[derive(rocket::Responder)]
enum Uncaught {
    Refused(Box<Answer>),
    #[response(status = 405)]
    Method((), Header<'static>),
    Bare((Status, ())),
}

/// Without this, Rocket answers with pages of its own. It gets a method that Rocket does not know
/// too, as a bad request.
#[catch(default)]
async fn uncaught(status: Status, request: &Request<'_>) -> Uncaught {
    if let Some(answer) = refusal(status, request) {
        return Uncaught::Refused(Box::new(Answer(answer)));
    }
    if status != Status::NotFound && status != Status::BadRequest {
        return Uncaught::Bare((status, ()));
    }
    let path = request.uri().path();
    if let Some((_, endpoint)) = ENDPOINTS.iter().find(|(known, _)| path == *known)
        && let Some(app) = request.rocket().state::<App>()
    {
        let unknown = HttpRequest::new("unknown", None, [], &[]);
        return Uncaught::Refused(Box::new(Answer(app.grant.answer(*endpoint, unknown).await)));
    }
    match path.as_str() {
        "/" | "/api/me" | "/api/orders" => Uncaught::Method((), Header::new("allow", "GET,HEAD")),
        _ => Uncaught::Bare((Status::NotFound, ())),
    }
}
