//! The endpoints as a [tower](https://docs.rs/tower) service, and a layer that guards routes, for
//! every framework that is built on `http` 1: axum, hyper, poem, salvo, warp and others.
//!
//! [`GrantService`] reads bodies within the limit and answers all endpoints. [`RequireTokenLayer`]
//! refuses requests without a valid access token.
//!
//! ```
//! use std::net::SocketAddr;
//!
//! use axum::extract::ConnectInfo;
//! use axum::routing::get;
//! use axum::{Extension, Router};
//! use password_grant::tower::{GrantService, RequireTokenLayer};
//! use password_grant::{BoxError, PasswordGrant, VerifiedToken};
//!
//! fn routes(grant: PasswordGrant) -> Result<Router, BoxError> {
//!     let verifier = grant.verifier("https://api.example.com")?;
//!     let service = GrantService::new(grant, |parts| {
//!         // Serve with `into_make_service_with_connect_info::<SocketAddr>()`.
//!         parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|peer| peer.ip())
//!     });
//!     Ok(Router::new()
//!         .route("/orders", get(orders))
//!         .route_layer(RequireTokenLayer::new(verifier).scope("orders:read"))
//!         .fallback_service(service))
//! }
//!
//! async fn orders(Extension(token): Extension<VerifiedToken>) -> String {
//!     format!("the orders of {}", token.subject)
//! }
//! ```

mod require_token;
mod service;

use http::header::CONTENT_LENGTH;
use http::{HeaderValue, Response};

use crate::http::HttpResponse;

pub use require_token::{RequireToken, RequireTokenLayer};
pub use service::GrantService;

/// The answer with its `Content-Length`, which poem and salvo would leave out, because they map the
/// frames of a body and lose its size.
fn sized<B: From<Vec<u8>>>(answer: HttpResponse) -> Response<B> {
    let length = HeaderValue::from(answer.body().len());
    let mut response = Response::from(answer);
    response.headers_mut().insert(CONTENT_LENGTH, length);
    response
}
