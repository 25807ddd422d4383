//! The server side of the OAuth 2.0 password grant ([RFC 6749 section 4.3]): a token endpoint for
//! the web application you have, over the user table you have.
//!
//! **[RFC 9700] says that this grant must not be used for new designs**, because the client program
//! sees the user's password. It is for your own programs where a browser is not an option, and for
//! migration. `SECURITY.md` says what the library promises and what remains your responsibility.
//!
//! # A complete host
//!
//! It uses axum and the feature `tower`.
//!
//! ```no_run
#![cfg_attr(feature = "tower", doc = include_str!("../examples/minimal.rs"))]
//! ```
//!
//! # The traits you implement
//!
//! | trait | required methods | what it is for | needed |
//! | --- | ---: | --- | --- |
//! | [`ClientStore`] | 1 | finds a registered client | yes, or [`InMemoryClients`](testing::InMemoryClients) |
//! | [`UserStore`] | 2 | finds a user and stores a new password hash, under [`HashedPasswords`] | this one |
//! | [`UserAuthenticator`] | 1 | judges user name and password in your own way | or this one |
//! | [`TokenIssuer`] | 1 | makes access tokens | no: [`JwtIssuer`], [`OpaqueIssuer`](token::OpaqueIssuer) |
//! | [`AccountGate`] | 1 | says at refresh and introspection whether the account may be used | with [`RefreshTokens`] |
//! | [`Observer`] | 1 | receives [`Event`]s, for an audit log and metrics | no |
//! | [`StateStore`](state::StateStore) | 2 | shares state between several instances | no |
//! | [`AccountNames`](limiter::AccountNames) | 1 | names an account whose user has several names | no |
//! | [`JwksSource`](assertion::JwksSource) | 1 | fetches the keys that clients publish | no |
//! | [`TokenStore`](token::TokenStore) | 2 | keeps opaque access tokens | no |
//! | [`TokenLookup`](resource::TokenLookup), [`IntrospectionTransport`](resource::IntrospectionTransport) | 1, 1 | tell a verifier what a token says | no |
//! | [`SigningKey`](jose::SigningKey) | 3 | signs elsewhere, such as in a hardware module | no |
//! | [`Clock`], [`SecureRandom`](environment::SecureRandom) | 2, 1 | replace the system's, in an [`Environment`] | no |
//!
//! Each but `SigningKey` is implemented for an `Arc` of itself. "Not found" is a value; an error is
//! your own, with `?`.
//!
//! # How a request is answered
//!
//! ```text
//! bytes ─> HttpRequest ─> TokenRequest ─> AuthenticatedClient ─> LoginAttempt ─> Authorization ─> TokenResponse ─> bytes
//! ```
//!
//! 1. The size, method, headers, query and content type are checked, and the body is parsed
//!    strictly. A malformed request fails before anybody is looked up ([`TokenRequest`]).
//! 2. The client authenticates by exactly one method ([`ClientStore`], [`ClientAuthentication`]).
//! 3. Grant, scope and audience must be registered for the client ([`Client`]), and user name and
//!    password must be present.
//! 4. The attempt is counted on the user name as if it had failed, or is refused or has to wait
//!    ([`AttemptLimits`]). Then the password is judged, and after it the account
//!    ([`UserAuthenticator`], [`HashedPasswords`]). Then the attempt is settled.
//! 5. The scope is narrowed to what the user may grant, and a token is issued ([`TokenIssuer`]).
//!
//! [`PasswordGrant::token`] does all of this and always has an answer. [`AccessTokenVerifier`]
//! protects your routes.
//!
//! # What comes out when something fails
//!
//! Every refusal is a [`TokenError`]: a status, a code and a fixed sentence for the caller, and a
//! [`Reason`] for you. The [`Observer`] receives each with the client, the user name that was
//! typed, and your error where there is one. No answer holds anything of the request, and no event
//! holds a secret.
//!
//! | what failed | answer |
//! | --- | --- |
//! | a malformed or incomplete request | 400 `invalid_request`, `invalid_scope`, `unsupported_grant_type`; 405; 413 |
//! | client authentication | 401 `invalid_client`, always the same bytes |
//! | something the client is not registered for | 400 `unauthorized_client`, `invalid_scope`, `invalid_target` |
//! | a login, for whatever reason | 400 `invalid_grant`, always the same bytes |
//! | a refresh token, or revoking another client's token | 400 `invalid_grant`, always the same bytes |
//! | introspection of a token that may not be used or seen | 200 `{"active":false}` |
//! | a login that needs another step | 403 with your code |
//! | too many attempts | 429 `temporarily_unavailable` with `Retry-After` |
//! | a store, the hashing, a client's key set; a log-out during a login | 503 `temporarily_unavailable` with `Retry-After` |
//! | a protected route: no token, a bad one, too little scope | 401; 401 `invalid_token`; 403 `insufficient_scope` |
//! | a token issuer, or a bug | 500 `server_error` |
//!
//! # Guides
//!
//! The [`guide`] has a page on each longer subject: mounting it in a framework, limits on guessing,
//! clients that sign, refresh tokens and log-out, keys, fitting the library into a host, and leaving
//! this grant.
//!
//! # Features
//!
//! | feature | default | what |
//! | --- | --- | --- |
//! | `http` | yes | conversions from `http::request::Parts` and `http::HeaderMap`, and into `http::Response` |
//! | `tower` | no | the module `tower`: a service for all endpoints, and a layer that guards routes |
//! | `tracing` | yes | [`TracingObserver`](event::TracingObserver), which is then the default observer |
//! | `argon2` | yes | [`HashedPasswords`] and the module [`password`] |
//! | `conformance` | no | a test suite for implementations of [`StateStore`](state::StateStore) |
//!
//! [RFC 6749 section 4.3]: https://www.rfc-editor.org/rfc/rfc6749#section-4.3
//! [RFC 9700]: https://www.rfc-editor.org/rfc/rfc9700#section-2.4

#![forbid(unsafe_code)]
#![warn(missing_docs, missing_debug_implementations, unreachable_pub)]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(
    not(test),
    warn(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice
    )
)]

pub mod assertion;
mod client;
#[cfg(feature = "conformance")]
pub mod conformance;
mod endpoint;
pub mod environment;
pub mod error;
pub mod event;
mod future;
mod grant;
pub mod guide;
mod http;
pub mod jose;
pub mod limiter;
#[cfg(feature = "argon2")]
pub mod password;
mod refusal;
mod request;
pub mod resource;
mod response;
mod session;
pub mod state;
pub mod testing;
pub mod time;
pub mod token;
#[cfg(feature = "tower")]
pub mod tower;
mod types;
mod user;

/// For implementing the traits: `#[async_trait] impl ClientStore for …`.
pub use async_trait::async_trait;

pub use crate::client::{
    AuthenticatedClient, AuthenticationMethod, Client, ClientAuthentication, ClientBuilder,
    ClientSecret, ClientStore, Grant, RegistrationError,
};
#[doc(inline)]
pub use crate::environment::Environment;
#[doc(inline)]
pub use crate::error::{BoxError, Reason, Rejection, TokenError};
#[doc(inline)]
pub use crate::event::{Event, Observer};
pub use crate::grant::{BuildError, PasswordGrant, PasswordGrantBuilder};
pub use crate::http::forwarded::{ProxyNetworkError, TrustedProxies};
pub use crate::http::{HttpRequest, HttpResponse};
#[doc(inline)]
pub use crate::jose::{Algorithm, SigningKeys};
#[doc(inline)]
pub use crate::limiter::AttemptLimits;
pub use crate::request::TokenRequest;
#[doc(inline)]
pub use crate::resource::{AccessTokenVerifier, VerifiedToken};
pub use crate::response::TokenResponse;
pub use crate::session::{RefreshKeys, RefreshTokens};
#[doc(inline)]
pub use crate::time::Clock;
#[doc(inline)]
pub use crate::token::{AccessToken, Authorization, JwtIssuer, TokenIssuer};
pub use crate::types::context::RequestContext;
pub use crate::types::endpoint::Endpoint;
pub use crate::types::identifier::{ClientId, SessionId, Subject};
pub use crate::types::limits::RequestLimits;
pub use crate::types::scope::Scope;
pub use crate::types::secret::Secret;
#[cfg(feature = "argon2")]
pub use crate::user::password::{HashedPasswords, User, UserStore};
pub use crate::user::{AccountGate, Admission, Login, LoginAttempt, UserAuthenticator};
