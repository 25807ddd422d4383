//! To copy: the adapter between axum 0.8 and the engine. With the feature `tower`, `GrantService` does
//! the same without it. `crate::context` says what is known about a request.

use std::error::Error;

use axum::body::{HttpBody, to_bytes};
use axum::extract::{Request, State};
use axum::routing::{MethodRouter, any};
use http_body_util::LengthLimitError;
use password_grant::{Endpoint, HttpRequest};

use crate::{App, context};

/// Every method goes to the engine, so that a wrong one gets its OAuth answer. No extractor touches
/// the body: axum's own would answer in plain text.
pub fn endpoint(endpoint: Endpoint) -> MethodRouter<App> {
    any(async move |State(app): State<App>, request: Request| {
        let (parts, body) = request.into_parts();
        let limit = app.grant.body_limit();
        // The lower bound is the `Content-Length`: a body that is too large is not waited for.
        let too_large = body.size_hint().lower() > limit as u64;
        let body = if too_large { Ok(None) } else { to_bytes(body, limit).await.map(Some) };
        let http = match &body {
            Ok(Some(body)) => HttpRequest::from_parts(&parts, body),
            Ok(None) => HttpRequest::from_parts(&parts, &[]).body_too_large(),
            Err(error) if error.source().is_some_and(<dyn Error>::is::<LengthLimitError>) => {
                HttpRequest::from_parts(&parts, &[]).body_too_large()
            }
            Err(_) => HttpRequest::from_parts(&parts, &[]).body_incomplete(),
        };
        app.grant.answer(endpoint, http.context(context(&parts))).await.into_http()
    })
}
