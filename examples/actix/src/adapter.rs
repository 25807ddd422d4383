//! To copy: the adapter between actix-web 4 and the engine. `crate::context` says what is known about
//! a request.

use actix_web::http::StatusCode;
use actix_web::http::header::CONTENT_LENGTH;
use actix_web::{HttpRequest, HttpResponse, Route, web};
use password_grant::{Endpoint, HttpRequest as GrantRequest};

use crate::{App, context};

/// Every method goes to the engine: `web::post()` would leave others to a bare 404 or 405. The body is
/// read from `Payload`: `Bytes` and `Form` decompress it and answer errors in plain text.
pub fn endpoint(endpoint: Endpoint) -> Route {
    web::route().to(
        move |app: web::Data<App>, request: HttpRequest, body: web::Payload| async move {
            let limit = app.grant.body_limit();
            let announced =
                request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
            let announced = announced.and_then(|value| value.parse::<u64>().ok());
            // A body that is announced as too large is not waited for.
            let too_large = announced.is_some_and(|length| length > limit as u64);
            let body = if too_large { None } else { body.to_bytes_limited(limit).await.ok() };
            let headers =
                request.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
            let new = |body| {
                GrantRequest::new(request.method().as_str(), request.uri().query(), headers, body)
            };
            let http = match &body {
                Some(Ok(body)) => new(body),
                Some(Err(_)) => new(&[]).body_incomplete(),
                None => new(&[]).body_too_large(),
            };
            response(app.grant.answer(endpoint, http.context(context(&request))).await)
        },
    )
}

/// The engine's answer, as it is.
pub fn response(answer: password_grant::HttpResponse) -> HttpResponse {
    let status = StatusCode::from_u16(answer.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponse::build(status);
    for header in answer.headers() {
        response.insert_header(header);
    }
    response.body(answer.into_body())
}
