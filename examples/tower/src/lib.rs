//! The rig of the mounts: the demo behind one tower service for its endpoints, and one for its own
//! routes, which each file in `bin` mounts in a framework.

#[path = "../../demo/mod.rs"]
pub mod demo;

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Request, Response, StatusCode};
use axum::routing::get;
use axum::{Extension, Json, Router};
use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use password_grant::tower::{GrantService, RequireTokenLayer};
use password_grant::{BoxError, Endpoint, RequestContext, VerifiedToken};
use tokio::signal::unix::{SignalKind, signal};
use tower::{Service, ServiceExt};

use demo::app::{App, Me, Orders, TENANT_HEADER, tenant};
use demo::page::{HEADERS, PAGE};
use demo::settings::{Demo, GRACE, Problem, announce, wrong};

/// All endpoints. The paths are named because the demo's issuer may have another one.
pub fn oauth(app: &App) -> GrantService {
    GrantService::new(app.grant.clone(), context)
        .at(Endpoint::Token, "/oauth/token")
        .at(Endpoint::Revocation, "/oauth/revoke")
        .at(Endpoint::Introspection, "/oauth/introspect")
        .at(Endpoint::Metadata, "/.well-known/oauth-authorization-server")
        .at(Endpoint::Jwks, "/.well-known/jwks.json")
}

/// The caller's address, which each mount puts into the extensions as an `IpAddr`, and the tenant.
fn context(parts: &Parts) -> RequestContext {
    let peer = parts.extensions.get::<IpAddr>().copied();
    let named = parts.headers.get_all(TENANT_HEADER).iter().map(HeaderValue::as_bytes);
    RequestContext::from(peer).with_tenant(tenant(named))
}

/// The demo's own routes, each with its guard. For another framework than axum this is a service
/// like any other.
pub fn api(app: &App) -> Router {
    let guard = RequireTokenLayer::new(app.verifier.clone());
    Router::new()
        .route("/", get(async || (HEADERS, PAGE)))
        .route("/api/me", get(me).route_layer(guard.clone()))
        .route("/api/orders", get(orders).route_layer(guard.scope("orders:read")))
        // axum's own answers HEAD without a length.
        .fallback(async || StatusCode::NOT_FOUND)
}

async fn me(Extension(token): Extension<VerifiedToken>) -> Json<Me> {
    Json(token.into())
}

async fn orders(Extension(token): Extension<VerifiedToken>) -> Json<Orders> {
    Json(token.into())
}

/// The same for poem and salvo, whose bodies are shared between threads, which axum's are not: the
/// answer is read first.
pub fn shared<B>(
    api: Router,
) -> impl Service<
    Request<B>,
    Response = Response<Full<Bytes>>,
    Error = Infallible,
    Future = impl Future<Output = Result<Response<Full<Bytes>>, Infallible>> + Send + use<B>,
> + Clone
+ Send
+ Sync
+ use<B>
where
    B: hyper::body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    tower::service_fn(move |request: Request<B>| {
        let api = api.clone();
        async move {
            let (parts, body) = api.oneshot(request.map(Body::new)).await?.into_parts();
            let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
            Ok(Response::from_parts(parts, Full::new(body)))
        }
    })
}

/// Ends once the process was asked to stop.
pub async fn asked_to_stop() {
    let signals = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    let (Ok(mut terminated), Ok(mut interrupted)) = signals else { return };
    tokio::select! { _ = terminated.recv() => {} _ = interrupted.recv() => {} }
}

/// Serves a tower service with plain hyper, HTTP/1 and HTTP/2 in cleartext.
pub async fn serve<S>(demo: Demo, service: S) -> Result<(), Problem>
where
    S: Service<
            Request<hyper::body::Incoming>,
            Response = Response<Body>,
            Error = Infallible,
            Future: Send,
        > + Clone
        + Send
        + 'static,
{
    let listener = tokio::net::TcpListener::from_std(demo.listener);
    let listener = listener.map_err(|error| wrong("LISTEN_ADDR", error))?;
    let (builder, graceful) = (Builder::new(TokioExecutor::new()), GracefulShutdown::new());
    let mut stop = std::pin::pin!(asked_to_stop());
    announce(demo.address);
    loop {
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                // Such as too many open connections, which ends by itself.
                Err(_) => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
            () = &mut stop => break,
        };
        let service = tower::util::MapRequest::new(service.clone(), with_peer(peer));
        let service = TowerToHyperService::new(service);
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection.into_owned());
        tokio::spawn(async move { drop(connection.await) });
    }
    drop(listener);
    drop(tokio::time::timeout(Duration::from_secs(GRACE), graceful.shutdown()).await);
    Ok(())
}

/// Puts the caller's address into the extensions of each request.
fn with_peer<B>(peer: SocketAddr) -> impl Fn(Request<B>) -> Request<B> + Clone {
    move |mut request| {
        request.extensions_mut().insert(peer.ip());
        request
    }
}
