//! To copy: the extractor of a verified access token, for routes that require one.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;

use actix_web::error::InternalError;
use actix_web::{Error, FromRequest, HttpRequest, dev, web};
use password_grant::resource::BearerRequest;
use password_grant::{RequestContext, VerifiedToken};

use crate::adapter::response;
use crate::{App, context};

/// A verified access token with the scope that `S` names: `async fn orders(token: Token<Orders>)`.
/// Without one, the route is not called, and the caller gets the engine's refusal.
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

impl<S: Required> FromRequest for Token<S> {
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Error>>>>;

    fn from_request(request: &HttpRequest, _: &mut dev::Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            let app = request.app_data::<web::Data<App>>().expect("the routes register it");
            let headers = request.headers().iter();
            let headers = headers.map(|(name, value)| (name.as_str(), value.as_bytes()));
            let bearer = BearerRequest::new(headers, request.uri().query());
            let context = context(&request);
            let bearer = match context.peer() {
                Some(peer) => bearer.peer(peer),
                None => bearer,
            };
            let verified = match S::SCOPE {
                Some(scope) => app.verifier.authorize(bearer, scope).await,
                None => app.verifier.authenticate(bearer).await,
            };
            let refused = |answer| InternalError::from_response("refused", response(answer));
            Ok(Self { verified: verified.map_err(refused)?, context, scope: PhantomData })
        })
    }
}
