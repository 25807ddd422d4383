//! To copy: the extractor of a verified access token, for routes that require one.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;

use actix_web::error::InternalError;
use actix_web::{Error, FromRequest, HttpRequest, dev, web};
use password_grant::VerifiedToken;
use password_grant::resource::BearerRequest;

use crate::adapter::response;
use crate::{App, context};

/// A verified access token with the scope that `S` names: `async fn orders(token: Token<Orders>)`.
/// Without one, the route is not called, and the caller gets the engine's refusal.
pub struct Token<S>(pub VerifiedToken, PhantomData<S>);

/// A scope that a route requires; `None` lets every valid token pass.
pub trait Required {
    const SCOPE: Option<&'static str>;
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
            let bearer = match context(&request).peer() {
                Some(peer) => bearer.peer(peer),
                None => bearer,
            };
            let token = match S::SCOPE {
                Some(scope) => app.verifier.authorize(bearer, scope).await,
                None => app.verifier.authenticate(bearer).await,
            };
            let refused = |answer| InternalError::from_response("refused", response(answer));
            Ok(Self(token.map_err(refused)?, PhantomData))
        })
    }
}
