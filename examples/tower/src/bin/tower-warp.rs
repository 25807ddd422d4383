//! The tower service beside warp 0.4, whose own body filters answer chunked bodies with 411 and know
//! no limit of ours.

use std::convert::Infallible;
use std::process::ExitCode;

use axum::body::Body;
use example_tower::demo::settings::{Demo, Problem, ended, log_events};
use example_tower::{api, oauth};
use hyper::body::Incoming;
use hyper::{Request, Response};
use password_grant::tower::GrantService;
use tower::{Service, ServiceExt, service_fn};
use warp::Filter;

/// Answers the requests to the endpoints, and hands all others on.
fn mount<S>(
    oauth: GrantService,
    rest: S,
) -> impl Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future: Send> + Clone
where
    S: Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future: Send>,
    S: Clone + Send + 'static,
{
    service_fn(move |request: Request<Incoming>| {
        let (oauth, rest) = (oauth.clone(), rest.clone());
        async move {
            if oauth.paths().any(|path| path == request.uri().path()) {
                Ok(oauth.answer(request).await.map(Body::new))
            } else {
                rest.oneshot(request).await
            }
        }
    })
}

#[tokio::main]
async fn main() -> ExitCode {
    log_events();
    ended(serve().await)
}

async fn serve() -> Result<(), Problem> {
    let demo = Demo::from_environment().await?;
    let filters = warp::path!("warp").map(|| "an answer of warp's".to_owned());
    let filters = warp::service(filters);
    let api = api(&demo.app);
    let rest = service_fn(move |request: Request<Incoming>| {
        let (filters, api) = (filters, api.clone());
        async move {
            match request.uri().path() {
                "/warp" => Ok(filters.oneshot(request).await?.map(Body::new)),
                _ => api.oneshot(request).await,
            }
        }
    });
    let service = mount(oauth(&demo.app), rest);
    example_tower::serve(demo, service).await
}
