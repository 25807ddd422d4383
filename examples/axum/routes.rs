//! To copy: the engine, and one handler for each route.

use std::net::SocketAddr;

use axum::body::{Body, Bytes, HttpBody, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use axum::routing::{any, get};
use axum::{Json, Router};
use password_grant::{
    AccessTokenVerifier, AttemptLimits, BoxError, HashedPasswords, HttpRequest, JwtIssuer,
    PasswordGrant, RefreshTokens, SigningKeys,
};
use serde_json::{Value, json};

use crate::shop::{DOMAIN, Shop};

/// The resource server that access tokens are for: this application.
const AUDIENCE: &str = "https://api.example.com";

/// All scopes. The metadata document lists them.
const SCOPES: &str = "profile orders:read offline_access";

#[derive(Clone)]
pub struct App {
    grant: PasswordGrant,
    verifier: AccessTokenVerifier,
}

impl App {
    /// `limits` are [`AttemptLimits::default`] in a real server.
    pub fn new(
        issuer: &str,
        shop: Shop,
        signing: SigningKeys,
        refresh: RefreshTokens,
        limits: AttemptLimits,
    ) -> Result<Self, BoxError> {
        let users = HashedPasswords::new(shop.clone())?;
        let grant = PasswordGrant::builder(issuer, shop, users, JwtIssuer::new(signing, AUDIENCE))
            .scopes(SCOPES.parse()?)
            .attempt_limits(limits)
            .refresh_tokens(refresh)
            .revocation_endpoint(format!("{issuer}/oauth/revoke"))
            .introspection_endpoint(format!("{issuer}/oauth/introspect"))
            .build()?;
        let verifier = grant.verifier(AUDIENCE)?;
        Ok(Self { grant, verifier })
    }

    pub fn routes(self) -> Router {
        // `any`, so that a wrong method gets its OAuth answer too.
        Router::new()
            .route("/oauth/token", any(token))
            .route("/oauth/revoke", any(revoke))
            .route("/oauth/introspect", any(introspect))
            .route("/.well-known/oauth-authorization-server", get(metadata))
            .route("/.well-known/jwks.json", get(jwks))
            .route("/api/me", get(me))
            .route("/api/orders", get(orders))
            .with_state(self)
    }
}

type Peer = ConnectInfo<SocketAddr>;

async fn token(State(app): State<App>, peer: Peer, request: Request) -> Response {
    let (parts, body) = read(request, &app).await;
    app.grant.token(http(&parts, body.as_ref(), peer)).await.into()
}

async fn revoke(State(app): State<App>, peer: Peer, request: Request) -> Response {
    let (parts, body) = read(request, &app).await;
    app.grant.revoke(http(&parts, body.as_ref(), peer)).await.into()
}

async fn introspect(State(app): State<App>, peer: Peer, request: Request) -> Response {
    let (parts, body) = read(request, &app).await;
    app.grant.introspect(http(&parts, body.as_ref(), peer)).await.into()
}

/// Reads the body; `None` if it is larger than the limit. A body whose `Content-Length` is over the
/// limit is not waited for.
async fn read(request: Request, app: &App) -> (Parts, Option<Bytes>) {
    let (parts, body) = request.into_parts();
    let limit = app.grant.body_limit();
    let body: Option<Body> = (body.size_hint().lower() <= limit as u64).then_some(body);
    match body {
        Some(body) => (parts, to_bytes(body, limit).await.ok()),
        None => (parts, None),
    }
}

/// Behind a proxy, `peer` would be the proxy's address: take the caller's from the header that your
/// own proxy sets.
fn http<'a>(parts: &'a Parts, body: Option<&'a Bytes>, ConnectInfo(peer): Peer) -> HttpRequest<'a> {
    let request = match body {
        Some(body) => HttpRequest::from_parts(parts, body),
        None => HttpRequest::from_parts(parts, &[]).body_too_large(),
    };
    request.peer(peer.ip()).tenant(&tenant(&parts.headers))
}

/// The identity domain (tenant) that the request names, or else the only one there is. Attempts are
/// counted within a domain, so each domain must have one name. Two headers are one list, which is
/// the name of no domain.
fn tenant(headers: &HeaderMap) -> String {
    let named: Vec<_> = headers.get_all("x-user-identity-domain-name").iter().collect();
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    if named.is_empty() {
        DOMAIN.to_owned()
    } else {
        named.into_iter().map(text).collect::<Vec<_>>().join(", ")
    }
}

async fn metadata(State(app): State<App>) -> Response {
    app.grant.metadata().into()
}

async fn jwks(State(app): State<App>) -> Response {
    app.grant.jwks().into()
}

async fn me(State(app): State<App>, request: Request) -> Result<Json<Value>, Response> {
    let (parts, _) = request.into_parts();
    let token = app.verifier.authenticate(&parts).await?;
    Ok(Json(json!({ "sub": token.subject, "client_id": token.client_id, "scope": token.scope })))
}

async fn orders(State(app): State<App>, request: Request) -> Result<Json<Value>, Response> {
    let (parts, _) = request.into_parts();
    let token = app.verifier.authorize(&parts, "orders:read").await?;
    Ok(Json(json!({ "sub": token.subject, "orders": [{ "id": 1, "item": "teapot" }] })))
}
