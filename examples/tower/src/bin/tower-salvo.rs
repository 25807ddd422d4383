//! The tower service on salvo 1.

use std::process::ExitCode;
use std::time::Duration;

use example_tower::demo::app::App;
use example_tower::demo::settings::{Demo, GRACE, Problem, announce, ended, log_events, wrong};
use example_tower::{api, asked_to_stop, oauth, shared};
use salvo::conn::tcp::TcpAcceptor;
use salvo::http::ReqBody;
use salvo::prelude::{Request, Router, Server, TowerServiceCompat};

/// The mount. salvo passes a socket address of its own.
fn mount(app: &App) -> Router {
    let oauth = oauth(app);
    let paths: Vec<_> = oauth.paths().map(|path| path.trim_start_matches('/').to_owned()).collect();
    let endpoints = paths.iter().fold(Router::new().hoop(with_peer), |router, path| {
        router.push(
            Router::with_path(path)
                .goal(TowerServiceCompat::<ReqBody, _, _, _>::compat(oauth.clone())),
        )
    });
    endpoints.push(
        Router::with_path("{**rest}")
            .goal(TowerServiceCompat::<ReqBody, _, _, _>::compat(shared(api(app)))),
    )
}

#[salvo::handler]
async fn with_peer(request: &mut Request) {
    if let Some(peer) = request.remote_addr().clone().into_std() {
        request.extensions_mut().insert(peer);
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    log_events();
    ended(serve().await)
}

async fn serve() -> Result<(), Problem> {
    let demo = Demo::from_environment().await?;
    let listener = tokio::net::TcpListener::from_std(demo.listener);
    let acceptor = listener.and_then(TcpAcceptor::try_from);
    let acceptor = acceptor.map_err(|error| wrong("LISTEN_ADDR", error))?;
    let server = Server::new(acceptor);
    let handle = server.handle();
    tokio::spawn(async move {
        asked_to_stop().await;
        handle.stop_graceful(Duration::from_secs(GRACE));
    });
    announce(demo.address);
    server.serve(mount(&demo.app)).await;
    Ok(())
}
