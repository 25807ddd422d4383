//! The tower service on poem 3.

use std::process::ExitCode;
use std::time::Duration;

use example_tower::demo::app::App;
use example_tower::demo::settings::{Demo, GRACE, Problem, announce, ended, log_events, wrong};
use example_tower::{api, asked_to_stop, oauth, shared};
use password_grant::tower::GrantService;
use poem::endpoint::TowerCompatExt;
use poem::listener::TcpAcceptor;
use poem::{Endpoint, EndpointExt, Request, Route, Server};

/// `at` keeps the path of a request.
fn endpoints(oauth: &GrantService) -> Route {
    let paths: Vec<_> = oauth.paths().map(str::to_owned).collect();
    paths.iter().fold(Route::new(), |route, path| route.at(path, oauth.clone().compat()))
}

/// poem has the caller's address in a field of its own.
async fn with_peer(mut request: Request) -> poem::Result<Request> {
    let peer = request.remote_addr().as_socket_addr().map(|peer| peer.ip());
    if let Some(peer) = peer {
        request.extensions_mut().insert(peer);
    }
    Ok(request)
}

fn mount(app: &App) -> impl Endpoint + use<> {
    let endpoints = endpoints(&oauth(app));
    endpoints.nest_no_strip("/", shared(api(app)).compat()).before(with_peer)
}

#[tokio::main]
async fn main() -> ExitCode {
    log_events();
    ended(serve().await)
}

async fn serve() -> Result<(), Problem> {
    let demo = Demo::from_environment().await?;
    let routes = mount(&demo.app);
    let acceptor = TcpAcceptor::from_std(demo.listener);
    let acceptor = acceptor.map_err(|error| wrong("LISTEN_ADDR", error))?;
    announce(demo.address);
    Server::new_with_acceptor(acceptor)
        .run_with_graceful_shutdown(routes, asked_to_stop(), Some(Duration::from_secs(GRACE)))
        .await
        .map_err(|error| wrong("LISTEN_ADDR", error))
}
