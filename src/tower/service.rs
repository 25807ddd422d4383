//! The service that answers the requests to all endpoints.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use tower_service::Service;

use crate::error::BoxError;
use crate::grant::PasswordGrant;
use crate::http::{HttpRequest, HttpResponse};
use crate::tower::sized;
use crate::types::context::RequestContext;
use crate::types::endpoint::Endpoint;

/// A service that answers the requests to all endpoints of a [`PasswordGrant`], for any body that
/// `http-body` describes. Cheap to clone.
///
/// Each endpoint is served at the path of its URL in the metadata document. The metadata document
/// itself is served at `/.well-known/oauth-authorization-server`, followed by the path of the
/// issuer if it has one ([RFC 8414 section 3.1]). Revocation and introspection are served if the
/// builder was given their URLs, or [`at`](Self::at) names a path for them. Where a proxy in front, or `nest_service`, changes the path of a
/// request, name the path that arrives here with [`at`](Self::at). A request to any other path is
/// answered 404, without a body.
///
/// A body whose `Content-Length` is over the [limit](PasswordGrant::body_limit) is answered 413
/// before any of it is read, and a longer one as soon as the limit is reached. The time that a body
/// takes to arrive is not limited here: set a timeout in the HTTP server or in a layer.
///
/// [RFC 8414 section 3.1]: https://www.rfc-editor.org/rfc/rfc8414#section-3.1
///
/// # Cancel safety
///
/// The future of an answer may be dropped, with the effects that [`PasswordGrant::answer`] lists.
#[derive(Clone)]
pub struct GrantService {
    grant: PasswordGrant,
    paths: Arc<[(Endpoint, String)]>,
    context: Arc<dyn Fn(&Parts) -> RequestContext + Send + Sync>,
}

impl GrantService {
    /// `context` says what the host knows about a request: the caller's address, without which
    /// there is no limit on guessing by address, and the tenant where there are several. It gets
    /// the raw parts of the request, and returns an address or a whole [`RequestContext`]. Behind a
    /// proxy, see [`TrustedProxies`](crate::TrustedProxies).
    pub fn new<C: Into<RequestContext>>(
        grant: PasswordGrant,
        context: impl Fn(&Parts) -> C + Send + Sync + 'static,
    ) -> Self {
        let paths = grant.paths().collect();
        Self { grant, paths, context: Arc::new(move |parts| context(parts).into()) }
    }

    /// Serves an endpoint at this path instead, such as `/token` under `nest_service("/oauth", …)`.
    /// It is compared byte for byte.
    #[must_use]
    pub fn at(mut self, endpoint: Endpoint, path: impl Into<String>) -> Self {
        let others = self.paths.iter().filter(|(other, _)| *other != endpoint).cloned();
        self.paths = others.chain([(endpoint, path.into())]).collect();
        self
    }

    /// The paths that are served, for a router to route to this service.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.paths.iter().map(|(_, path)| &**path)
    }

    /// The answer to a request, for a handler that a framework calls with an `http::Request`.
    ///
    /// # Cancel safety
    ///
    /// The same as that of [`PasswordGrant::answer`].
    pub async fn answer<B>(&self, request: Request<B>) -> Response<Full<Bytes>>
    where
        B: Body<Error: Into<BoxError>>,
    {
        let (parts, body) = request.into_parts();
        let endpoint = self.paths.iter().find(|(_, path)| path == parts.uri.path());
        let Some((endpoint, _)) = endpoint else { return sized(HttpResponse::empty(404)) };
        let body = match endpoint {
            Endpoint::Metadata | Endpoint::Jwks => Ok(Bytes::new()),
            _ => read(body, self.grant.body_limit()).await,
        };
        let request = match &body {
            Ok(body) => HttpRequest::from_parts(&parts, body),
            Err(BodyFault::TooLarge) => HttpRequest::from_parts(&parts, &[]).body_too_large(),
            Err(BodyFault::Incomplete) => HttpRequest::from_parts(&parts, &[]).body_incomplete(),
        };
        let request = request.context((self.context)(&parts));
        sized(self.grant.answer(*endpoint, request).await)
    }
}

/// Why a body was not read to its end.
enum BodyFault {
    TooLarge,
    Incomplete,
}

/// Reads a body of at most `limit` bytes.
async fn read<B>(body: B, limit: usize) -> Result<Bytes, BodyFault>
where
    B: Body<Error: Into<BoxError>>,
{
    // The lower bound is the `Content-Length`, if there is one.
    if body.size_hint().lower() > limit as u64 {
        return Err(BodyFault::TooLarge);
    }
    match Limited::new(body, limit).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(BodyFault::TooLarge),
        Err(_) => Err(BodyFault::Incomplete),
    }
}

impl<B> Service<Request<B>> for GrantService
where
    B: Body<Data: Send, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move { Ok(service.answer(request).await) })
    }
}

impl fmt::Debug for GrantService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrantService").field("paths", &self.paths).finish_non_exhaustive()
    }
}
