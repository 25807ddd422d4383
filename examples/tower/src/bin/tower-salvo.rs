//! The tower service on salvo 1.

use std::process::ExitCode;
use std::time::Duration;

use example_tower::demo::app::App;
use example_tower::demo::settings::{Demo, GRACE, Problem, announce, ended, log_events, wrong};
use example_tower::{api, asked_to_stop, oauth, shared};
use password_grant::tower::GrantService;
use salvo::conn::tcp::TcpAcceptor;
use salvo::http::ReqBody;
use salvo::prelude::{Request, Router, Server, TowerServiceCompat};

fn endpoints(oauth: &GrantService) -> Router {
    let paths: Vec<_> = oauth.paths().map(|path| path.trim_start_matches('/').to_owned()).collect();
    paths.iter().fold(Router::new().hoop(with_peer), |router, path| {
        let oauth = TowerServiceCompat::<ReqBody, _, _, _>::compat(oauth.clone());
        router.push(Router::with_path(path).goal(oauth))
    })
}

fn mount(app: &App) -> Router {
    let api = TowerServiceCompat::<ReqBody, _, _, _>::compat(shared(api(app)));
    endpoints(&oauth(app)).push(Router::with_path("{**rest}").goal(api))
}

/// salvo has the caller's address in a field of its own.
#[salvo::handler]
async fn with_peer(request: &mut Request) {
    if let Some(peer) = request.remote_addr().clone().into_std() {
        request.extensions_mut().insert(peer.ip());
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
