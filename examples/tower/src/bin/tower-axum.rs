//! The tower service on axum 0.8.

use std::net::SocketAddr;
use std::process::ExitCode;

use axum::Router;
use axum::extract::{ConnectInfo, Request};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use example_tower::demo::app::App;
use example_tower::demo::settings::{Demo, Problem, announce, ended, log_events, wrong};
use example_tower::{api, asked_to_stop, oauth};

/// The mount. `oauth` could look for `ConnectInfo` itself; here it expects the address, as it does in
/// every framework.
fn mount(app: &App) -> Router {
    let oauth = oauth(app);
    let paths: Vec<_> = oauth.paths().map(str::to_owned).collect();
    let endpoints =
        paths.iter().fold(Router::new(), |router, path| router.route_service(path, oauth.clone()));
    endpoints.merge(api(app)).layer(from_fn(with_peer))
}

async fn with_peer(
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    mut request: Request,
    next: Next,
) -> Response {
    request.extensions_mut().insert(peer.ip());
    next.run(request).await
}

#[tokio::main]
async fn main() -> ExitCode {
    log_events();
    ended(serve().await)
}

async fn serve() -> Result<(), Problem> {
    let demo = Demo::from_environment().await?;
    let listener = tokio::net::TcpListener::from_std(demo.listener);
    let listener = listener.map_err(|error| wrong("LISTEN_ADDR", error))?;
    let routes = mount(&demo.app).into_make_service_with_connect_info::<SocketAddr>();
    announce(demo.address);
    let server = axum::serve(listener, routes).with_graceful_shutdown(asked_to_stop());
    server.await.map_err(|error| wrong("LISTEN_ADDR", error))
}
