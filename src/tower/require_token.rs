//! The layer that guards routes by access token and scope.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use crate::resource::AccessTokenVerifier;
use crate::tower::sized;

/// Guards routes: a request without a valid access token is refused with the challenge of
/// [RFC 6750 section 3], and for any other the [`VerifiedToken`](crate::VerifiedToken) is put into
/// the extensions of the request before the inner service gets it. Cheap to clone.
///
/// ```
/// # use axum::{Router, routing::get};
/// # use password_grant::{AccessTokenVerifier, tower::RequireTokenLayer};
/// # fn routes(verifier: AccessTokenVerifier) -> Router {
/// let guard = RequireTokenLayer::new(verifier);
/// Router::new()
///     .route("/me", get(|| async { "any valid token" }).layer(guard.clone()))
///     .route("/orders", get(|| async { "orders" }).layer(guard.scope("orders:read")))
/// # }
/// ```
///
/// A CORS preflight carries no token, so answer it in a layer outside of this one.
///
/// [RFC 6750 section 3]: https://www.rfc-editor.org/rfc/rfc6750#section-3
#[derive(Debug, Clone)]
pub struct RequireTokenLayer {
    verifier: AccessTokenVerifier,
    scope: Option<Arc<str>>,
}

impl RequireTokenLayer {
    /// Lets every valid token pass, whatever its scope. A refusal is what
    /// [`AccessTokenVerifier::authenticate`] returns.
    #[must_use]
    pub fn new(verifier: AccessTokenVerifier) -> Self {
        Self { verifier, scope: None }
    }

    /// Requires a scope: one scope token, or several with a space between them, of which the access
    /// token needs all. A refusal is what [`AccessTokenVerifier::authorize`] returns. If `scope` is
    /// not a valid scope, every token is refused.
    #[must_use]
    pub fn scope(mut self, scope: impl Into<Arc<str>>) -> Self {
        self.scope = Some(scope.into());
        self
    }
}

impl<S> Layer<S> for RequireTokenLayer {
    type Service = RequireToken<S>;

    fn layer(&self, inner: S) -> RequireToken<S> {
        RequireToken { inner, guard: self.clone() }
    }
}

/// The service that [`RequireTokenLayer`] makes of an inner one.
///
/// # Cancel safety
///
/// The future of an answer may be dropped at any time, as far as the inner service's may.
#[derive(Debug, Clone)]
pub struct RequireToken<S> {
    inner: S,
    guard: RequireTokenLayer,
}

impl<S, RequestBody, ResponseBody> Service<Request<RequestBody>> for RequireToken<S>
where
    S: Service<Request<RequestBody>, Response = Response<ResponseBody>, Future: Send>
        + Clone
        + Send
        + 'static,
    RequestBody: Send + 'static,
    ResponseBody: From<Vec<u8>>,
{
    type Response = Response<ResponseBody>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        // The service that was polled ready is the one to call; its clone takes its place.
        let next = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, next);
        let RequireTokenLayer { verifier, scope } = self.guard.clone();
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            let verified = match &scope {
                Some(scope) => verifier.authorize(&parts, scope).await,
                None => verifier.authenticate(&parts).await,
            };
            match verified {
                Ok(token) => {
                    parts.extensions.insert(token);
                    inner.call(Request::from_parts(parts, body)).await
                }
                Err(refusal) => Ok(sized(refusal)),
            }
        })
    }
}
