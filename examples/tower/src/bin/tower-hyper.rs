//! The tower service on plain hyper 1.

use std::convert::Infallible;
use std::process::ExitCode;

use axum::body::Body;
use example_tower::demo::settings::{Demo, Problem, ended, log_events};
use example_tower::{api, oauth};
use hyper::body::Incoming;
use hyper::{Request, Response};
use tower::{ServiceExt, service_fn};

#[tokio::main]
async fn main() -> ExitCode {
    log_events();
    ended(serve().await)
}

async fn serve() -> Result<(), Problem> {
    let demo = Demo::from_environment().await?;
    let (oauth, api) = (oauth(&demo.app), api(&demo.app));
    // The mount: what is no endpoint goes to the application.
    let service = service_fn(move |request: Request<Incoming>| {
        let (oauth, api) = (oauth.clone(), api.clone());
        async move {
            let answer: Response<Body> = if oauth.paths().any(|path| path == request.uri().path()) {
                oauth.answer(request).await.map(Body::new)
            } else {
                api.oneshot(request).await?
            };
            Ok::<_, Infallible>(answer)
        }
    });
    example_tower::serve(demo, service).await
}
