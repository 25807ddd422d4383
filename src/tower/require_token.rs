//! The layer that guards routes by access token and scope.

use std::fmt;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::request::Parts;
use http::{Request, Response};
use tower_layer::Layer;
use tower_service::Service;

use crate::http::HttpResponse;
use crate::resource::{AccessTokenVerifier, BearerRequest, VerifiedToken};
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
///     .route("/me", get(|| async { "any valid token" }).route_layer(guard.clone()))
///     .route("/orders", get(|| async { "orders" }).route_layer(guard.scope("orders:read")))
/// # }
/// ```
///
/// A CORS preflight carries no token, so answer it in a layer outside of this one.
///
/// [RFC 6750 section 3]: https://www.rfc-editor.org/rfc/rfc6750#section-3
#[derive(Clone)]
pub struct RequireTokenLayer {
    verifier: AccessTokenVerifier,
    scope: Option<Arc<str>>,
    peer: Option<Arc<PeerOf>>,
}

type PeerOf = dyn Fn(&Parts) -> Option<IpAddr> + Send + Sync;

impl RequireTokenLayer {
    /// Lets every valid token pass, whatever its scope. A refusal is what
    /// [`AccessTokenVerifier::authenticate`] returns.
    #[must_use]
    pub fn new(verifier: AccessTokenVerifier) -> Self {
        Self { verifier, scope: None, peer: None }
    }

    /// Requires a scope: one scope token, or several with a space between them, of which the access
    /// token needs all. A refusal is what [`AccessTokenVerifier::authorize`] returns. If `scope` is
    /// not a valid scope, every token is refused.
    #[must_use]
    pub fn scope(mut self, scope: impl Into<Arc<str>>) -> Self {
        self.scope = Some(scope.into());
        self
    }

    /// Where the address of the caller is, for the event of a refusal.
    #[must_use]
    pub fn peer(mut self, peer: impl Fn(&Parts) -> Option<IpAddr> + Send + Sync + 'static) -> Self {
        self.peer = Some(Arc::new(peer));
        self
    }

    async fn verify(&self, parts: &Parts) -> Result<VerifiedToken, HttpResponse> {
        let bearer = BearerRequest::from(parts);
        let bearer = match self.peer.as_ref().and_then(|peer| peer(parts)) {
            Some(peer) => bearer.peer(peer),
            None => bearer,
        };
        match &self.scope {
            Some(scope) => self.verifier.authorize(bearer, scope).await,
            None => self.verifier.authenticate(bearer).await,
        }
    }
}

impl fmt::Debug for RequireTokenLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequireTokenLayer")
            .field("verifier", &self.verifier)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
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

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        let mut inner = self.inner.clone();
        let guard = self.guard.clone();
        Box::pin(async move {
            let (mut parts, body) = request.into_parts();
            match guard.verify(&parts).await {
                Ok(token) => {
                    parts.extensions.insert(token);
                    // Only now, so that a refused request takes no place in the inner service.
                    poll_fn(|context| inner.poll_ready(context)).await?;
                    inner.call(Request::from_parts(parts, body)).await
                }
                Err(refusal) => Ok(sized(refusal)),
            }
        })
    }
}
