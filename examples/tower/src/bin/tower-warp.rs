//! The tower service beside warp 0.4, whose own body filters answer chunked bodies with 411 and know
//! no limit of ours.

use std::convert::Infallible;
use std::process::ExitCode;

use axum::body::Body;
use example_tower::demo::app::App;
use example_tower::demo::settings::{Demo, Problem, ended, log_events};
use example_tower::{api, oauth};
use hyper::body::Incoming;
use hyper::{Request, Response};
use tower::{Service, ServiceExt, service_fn};
use warp::Filter;

/// The mount: what is no endpoint goes to the filters, and what they do not know to the demo's routes.
fn mount(
    app: &App,
) -> impl Service<Request<Incoming>, Response = Response<Body>, Error = Infallible, Future: Send>
+ Clone
+ use<> {
    let (oauth, api) = (oauth(app), api(app));
    let filters = warp::service(warp::path!("warp").map(|| "an answer of warp's".to_owned()));
    service_fn(move |request: Request<Incoming>| {
        let (oauth, api, filters) = (oauth.clone(), api.clone(), filters);
        async move {
            let path = request.uri().path();
            if oauth.paths().any(|endpoint| endpoint == path) {
                Ok(oauth.answer(request).await.map(Body::new))
            } else if path == "/warp" {
                Ok(filters.oneshot(request).await?.map(Body::new))
            } else {
                api.oneshot(request).await
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
    let service = mount(&demo.app);
    example_tower::serve(demo, service).await
}
