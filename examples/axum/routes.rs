//! To copy: the routes, and what is known about a request.

use std::net::SocketAddr;

use axum::extract::ConnectInfo;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::routing::get;
use axum::{Json, Router};
use password_grant::{Endpoint, RequestContext};

use crate::adapter::endpoint;
use crate::demo::app::{App, Me, Orders, TENANT_HEADER, tenant};
use crate::demo::page::{HEADERS, PAGE};
use crate::token::{Any, Required, Token};

/// What is known about a request: the address of the connection, which the server puts there
/// (`into_make_service_with_connect_info`), and the tenant. Behind a proxy, see `TrustedProxies`.
pub fn context(parts: &Parts) -> RequestContext {
    let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|peer| peer.ip());
    let named = parts.headers.get_all(TENANT_HEADER).iter().map(HeaderValue::as_bytes);
    RequestContext::from(peer).with_tenant(tenant(named))
}

pub fn routes(app: App) -> Router {
    Router::new()
        .route("/oauth/token", endpoint(Endpoint::Token))
        .route("/oauth/revoke", endpoint(Endpoint::Revocation))
        .route("/oauth/introspect", endpoint(Endpoint::Introspection))
        .route("/.well-known/oauth-authorization-server", endpoint(Endpoint::Metadata))
        .route("/.well-known/jwks.json", endpoint(Endpoint::Jwks))
        .route("/", get(page))
        .route("/api/me", get(me))
        .route("/api/orders", get(orders))
        // axum's own answers HEAD without a length.
        .fallback(async || StatusCode::NOT_FOUND)
        .with_state(app)
}

struct OrdersRead;

impl Required for OrdersRead {
    const SCOPE: Option<&'static str> = Some("orders:read");
}

async fn page() -> ([(&'static str, &'static str); 5], &'static str) {
    (HEADERS, PAGE)
}

async fn me(token: Token<Any>) -> Json<Me> {
    Json(token.verified.into())
}

async fn orders(token: Token<OrdersRead>) -> Json<Orders> {
    Json(token.verified.into())
}
