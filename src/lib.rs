//! The server side of the OAuth 2.0 password grant.

#![forbid(unsafe_code)]
#![warn(missing_docs, missing_debug_implementations, unreachable_pub)]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::string_slice)
)]

mod client;
mod endpoint;
mod grant;
mod http;
mod jose;
mod request;
mod resource;
mod response;
mod token;
mod user;
mod vocabulary;

/// For implementing the traits: `#[async_trait] impl ClientStore for …`.
pub use async_trait::async_trait;

pub use crate::client::{
    AuthenticatedClient, AuthenticationMethod, Client, ClientAuthentication, ClientSecret, ClientStore, Grant,
    InMemoryClients, InvalidDigest,
};
pub use crate::grant::{BuildError, Builder, PasswordGrant};
pub use crate::http::{HttpRequest, HttpResponse};
pub use crate::jose::{Algorithm, Jwk, JwkSet, KeyError, SigningKey, SigningKeys, VerificationKeys};
pub use crate::request::TokenRequest;
pub use crate::resource::{AccessTokenVerifier, BearerRequest, TokenLookup, VerifiedToken};
pub use crate::response::TokenResponse;
pub use crate::token::{Authorization, InMemoryTokens, JwtIssuer, OpaqueIssuer, TokenDigest, TokenIssuer, TokenStore};
pub use crate::user::{Login, LoginAttempt, UserAuthenticator};
pub use crate::vocabulary::clock::{BoxFuture, Clock, ManualClock, SystemClock, Timestamp};
pub use crate::vocabulary::context::RequestContext;
pub use crate::vocabulary::error::{
    BoxError, ClientFault, ErrorCode, NotAllowed, Overloaded, Reason, Rejection, RequestFault, TokenError, Trouble,
};
pub use crate::vocabulary::event::{AccessFault, Event, Observer};
pub use crate::vocabulary::identifier::{ClientId, Subject};
pub use crate::vocabulary::limits::Limits;
pub use crate::vocabulary::random::{Randomness, RandomnessError, SystemRandomness};
pub use crate::vocabulary::scope::{InvalidScope, Scope};
pub use crate::vocabulary::secret::Secret;
pub use crate::vocabulary::token::{AccessToken, TokenDetails};

#[cfg(feature = "argon2")]
pub use crate::user::{
    AccountState, Argon2Parameters, HashError, HashedPasswords, HashedPasswordsBuilder, HashingConfigError, User,
    UserStore,
};
#[cfg(feature = "tracing")]
pub use crate::vocabulary::tracing::TracingObserver;
