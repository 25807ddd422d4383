//! To copy: the adapter between Rocket 0.5 and the engine. Attach `method::KeepPost` with it.
//! `crate::context` says what is known about a request.

use std::io::Cursor;

use password_grant::{Endpoint, HttpRequest, HttpResponse};
use rocket::data::ToByteUnit;
use rocket::http::{Method, Status};
use rocket::response::Responder;
use rocket::route::{Handler, Outcome};
use rocket::{Data, Request, Response, Route, async_trait};

use crate::{App, context};

#[derive(Clone)]
struct Answering(Endpoint);

/// Every method that Rocket knows goes to the engine.
pub fn endpoint(path: &str, endpoint: Endpoint) -> impl Iterator<Item = Route> {
    use Method::{Connect, Delete, Get, Head, Options, Patch, Post, Put, Trace};
    [Get, Put, Post, Delete, Options, Head, Trace, Connect, Patch]
        .into_iter()
        .map(move |method| Route::new(method, path, Answering(endpoint)))
}

#[async_trait]
impl Handler for Answering {
    async fn handle<'r>(&self, request: &'r Request<'_>, data: Data<'r>) -> Outcome<'r> {
        let app = request.rocket().state::<App>().expect("it is managed");
        let limit = app.grant.body_limit();
        let announced =
            request.headers().get_one("content-length").and_then(|value| value.parse().ok());
        let too_large = announced.is_some_and(|length: u64| length > limit as u64);
        // Not a data guard, whose limit for forms is 32 KiB and whose errors are Rocket's own.
        let body = if too_large { None } else { Some(data.open(limit.bytes()).into_bytes().await) };
        let headers: Vec<_> = request.headers().iter().collect();
        let pairs = headers.iter().map(|header| (header.name.as_str(), header.value.as_bytes()));
        let query = request.uri().query().map(|query| query.as_str());
        let new = |body| HttpRequest::new(request.method().as_str(), query, pairs.clone(), body);
        let http = match &body {
            Some(Ok(body)) if body.is_complete() => new(body),
            Some(Err(_)) => new(&[]).body_incomplete(),
            Some(Ok(_)) | None => new(&[]).body_too_large(),
        };
        let answer = app.grant.answer(self.0, http.context(context(request))).await;
        Outcome::from(request, Answer(answer))
    }
}

/// The engine's answer, as it is.
pub struct Answer(pub HttpResponse);

impl<'r> Responder<'r, 'static> for Answer {
    fn respond_to(self, _: &'r Request<'_>) -> rocket::response::Result<'static> {
        let mut response = Response::build();
        response.status(Status::new(self.0.status()));
        for (name, value) in self.0.headers() {
            response.raw_header(name, value.to_owned());
        }
        let body = self.0.into_body();
        response.sized_body(body.len(), Cursor::new(body)).ok()
    }
}
