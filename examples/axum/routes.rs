//! To copy: the routes.

use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use password_grant::Endpoint;

use crate::adapter::endpoint;
use crate::demo::app::{App, Me, Orders};
use crate::token::{Required, Token};

pub fn routes(app: App) -> Router {
    Router::new()
        .route("/oauth/token", endpoint(Endpoint::Token))
        .route("/oauth/revoke", endpoint(Endpoint::Revocation))
        .route("/oauth/introspect", endpoint(Endpoint::Introspection))
        .route("/.well-known/oauth-authorization-server", endpoint(Endpoint::Metadata))
        .route("/.well-known/jwks.json", endpoint(Endpoint::Jwks))
        .route("/api/me", get(me))
        .route("/api/orders", get(orders))
        // axum's own answers HEAD without a length.
        .fallback(async || StatusCode::NOT_FOUND)
        .with_state(app)
}

struct Anything;
struct OrdersRead;

impl Required for Anything {
    const SCOPE: Option<&'static str> = None;
}

impl Required for OrdersRead {
    const SCOPE: Option<&'static str> = Some("orders:read");
}

async fn me(token: Token<Anything>) -> Json<Me> {
    Json(token.0.into())
}

async fn orders(token: Token<OrdersRead>) -> Json<Orders> {
    Json(token.0.into())
}
