#[path = "../../../demo/minimal.rs"]
mod app;

use std::convert::Infallible;
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Request, Response, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use password_grant::tower::GrantService;
use password_grant::{BoxError, HttpResponse};
use tokio::net::TcpListener;

async fn route(
    app: app::App,
    oauth: GrantService,
    peer: IpAddr,
    mut request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    request.extensions_mut().insert(peer);
    Ok(match request.uri().path() {
        "/orders" => orders(&app, request).await.unwrap_or_else(Into::into),
        _ => oauth.answer(request).await,
    })
}

async fn orders(
    app: &app::App,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, HttpResponse> {
    let token = app.verifier.authorize(&request.into_parts().0, "orders:read").await?;
    Ok(Response::new(Full::from(format!("the orders of {}\n", token.subject))))
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let app = app::app("http://127.0.0.1:8080")?;
    let oauth =
        GrantService::new(app.grant.clone(), |parts| parts.extensions.get::<IpAddr>().copied());
    let listener = TcpListener::bind("127.0.0.1:8080").await?;
    loop {
        let Ok((stream, peer)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(100)).await; // too many open connections
            continue;
        };
        let (app, oauth) = (app.clone(), oauth.clone());
        let service =
            service_fn(move |request| route(app.clone(), oauth.clone(), peer.ip(), request));
        tokio::spawn(async move {
            let mut server = Builder::new(TokioExecutor::new());
            server.http1().timer(TokioTimer::new()); // limits the time that headers take
            let served = server.serve_connection(TokioIo::new(stream), service);
            drop(tokio::time::timeout(Duration::from_secs(60), served).await);
        });
    }
}
