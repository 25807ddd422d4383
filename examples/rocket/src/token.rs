//! To copy: the request guard of a verified access token, for routes that require one.

use std::marker::PhantomData;
use std::sync::Mutex;

use password_grant::resource::BearerRequest;
use password_grant::{HttpResponse, RequestContext, VerifiedToken};
use rocket::Request;
use rocket::http::Status;
use rocket::request::{FromRequest, Outcome};

use crate::{App, context};

/// A verified access token with the scope that `S` names: `async fn orders(token: Token<Orders>)`.
/// Without one, the route is not called, and the [`refusal`] is the engine's.
pub struct Token<S> {
    pub verified: VerifiedToken,
    #[allow(dead_code)] // for routes that log out
    pub context: RequestContext,
    scope: PhantomData<S>,
}

/// A scope that a route requires; `None` lets every valid token pass.
pub trait Required {
    const SCOPE: Option<&'static str>;
}

/// No scope: every valid token passes.
pub struct Any;

impl Required for Any {
    const SCOPE: Option<&'static str> = None;
}

#[rocket::async_trait]
impl<'r, S: Required> FromRequest<'r> for Token<S> {
    type Error = &'static str;

    async fn from_request(request: &'r Request<'_>) -> Outcome<Self, &'static str> {
        let app = request.rocket().state::<App>().expect("it is managed");
        let headers: Vec<_> = request.headers().iter().collect();
        let headers = headers.iter().map(|header| (header.name.as_str(), header.value.as_bytes()));
        let bearer = BearerRequest::new(headers, request.uri().query().map(|query| query.as_str()));
        let context = context(request);
        let bearer = match context.peer() {
            Some(peer) => bearer.peer(peer),
            None => bearer,
        };
        let verified = match S::SCOPE {
            Some(scope) => app.verifier.authorize(bearer, scope).await,
            None => app.verifier.authenticate(bearer).await,
        };
        match verified {
            Ok(verified) => Outcome::Success(Self { verified, context, scope: PhantomData }),
            Err(answer) => {
                let status = Status::new(answer.status());
                *request.local_cache(refused).lock().expect("nobody panics with it") = Some(answer);
                Outcome::Error((status, "see the event access_refused"))
            }
        }
    }
}

fn refused() -> Mutex<Option<HttpResponse>> {
    Mutex::new(None)
}

/// The refusal of a request's guard, for the catcher of this status: a guard of Rocket's cannot answer
/// itself. A route that takes `Option<Token<S>>` answers the rest itself, with other statuses.
pub fn refusal(status: Status, request: &Request<'_>) -> Option<HttpResponse> {
    let refused = request.local_cache(refused).lock().expect("nobody panics with it").take();
    refused.filter(|answer| answer.status() == status.code)
}
