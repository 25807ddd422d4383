#[path = "../../../demo/minimal.rs"]
mod app;

use std::convert::Infallible;
use std::net::IpAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use password_grant::resource::BearerRequest;
use password_grant::tower::GrantService;
use password_grant::{BoxError, HttpResponse};
use tokio::net::TcpListener;
use tokio::time::timeout;

type Answer = Response<Full<Bytes>>;

async fn route(
    app: app::App,
    oauth: GrantService,
    peer: IpAddr,
    mut request: Request<Incoming>,
) -> Result<Answer, Infallible> {
    request.extensions_mut().insert(peer);
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    Ok(match (method.as_str(), &*path) {
        ("GET", "/orders") => orders(&app, peer, request).await.unwrap_or_else(Into::into),
        ("DELETE", "/session") => log_out(&app, peer, request).await.unwrap_or_else(Into::into),
        // A body that takes longer than this to arrive is given up.
        _ => match timeout(Duration::from_secs(30), oauth.answer(request)).await {
            Ok(answer) => answer,
            Err(_) => empty(StatusCode::REQUEST_TIMEOUT),
        },
    })
}

async fn orders(
    app: &app::App,
    peer: IpAddr,
    request: Request<Incoming>,
) -> Result<Answer, HttpResponse> {
    let (parts, _) = request.into_parts();
    let bearer = BearerRequest::from(&parts).peer(peer);
    let token = app.verifier.authorize(bearer, "orders:read").await?;
    Ok(Response::new(Full::from(format!("the orders of {}\n", token.subject))))
}

async fn log_out(
    app: &app::App,
    peer: IpAddr,
    request: Request<Incoming>,
) -> Result<Answer, HttpResponse> {
    let (parts, _) = request.into_parts();
    let token = app.verifier.authenticate(BearerRequest::from(&parts).peer(peer)).await?;
    Ok(match app.grant.log_out(&token, &peer.into()).await {
        Ok(()) => empty(StatusCode::NO_CONTENT),
        Err(_) => empty(StatusCode::SERVICE_UNAVAILABLE),
    })
}

fn empty(status: StatusCode) -> Answer {
    let mut answer = Answer::default();
    *answer.status_mut() = status;
    answer
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
            drop(server.serve_connection(TokioIo::new(stream), service).await);
        });
    }
}
