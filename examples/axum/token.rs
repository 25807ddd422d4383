//! To copy: the extractor of a verified access token, for routes that require one. With the feature
//! `tower`, `RequireTokenLayer` guards routes without it.

use std::marker::PhantomData;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::response::Response;
use password_grant::resource::BearerRequest;
use password_grant::{RequestContext, VerifiedToken};

use crate::{App, context};

/// A verified access token with the scope that `S` names: `async fn orders(token: Token<Orders>)`.
/// Without one, the route is not called, and the caller gets the engine's refusal.
pub struct Token<S> {
    pub verified: VerifiedToken,
    #[allow(dead_code)] // for routes that log out
    pub context: RequestContext,
    scope: PhantomData<S>,
}

/// A scope that a route requires; `None` lets every valid token pass.
pub trait Required {
    const SCOPE: Option<&'static str>;
}

/// No scope: every valid token passes.
pub struct Any;

impl Required for Any {
    const SCOPE: Option<&'static str> = None;
}

impl<S: Required> FromRequestParts<App> for Token<S> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Response> {
        let bearer = BearerRequest::from(&*parts);
        let context = context(parts);
        let bearer = match context.peer() {
            Some(peer) => bearer.peer(peer),
            None => bearer,
        };
        let verified = match S::SCOPE {
            Some(scope) => app.verifier.authorize(bearer, scope).await?,
            None => app.verifier.authenticate(bearer).await?,
        };
        Ok(Self { verified, context, scope: PhantomData })
    }
}
