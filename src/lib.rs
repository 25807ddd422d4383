//! The server side of the OAuth 2.0 password grant ([RFC 6749 section 4.3]): a token endpoint for the web application
//! you have, over the user table you have.
//!
//! **[RFC 9700] says that this grant must not be used for new designs**: the program sees the user's password. It is for
//! your own programs where a browser is no option, and for migration. What the library promises, and what stays with
//! you, is in `SECURITY.md`.
//!
//! # A complete host
//!
//! ```no_run
#![doc = include_str!("../examples/minimal.rs")]
//! ```
//!
//! # How a request goes
//!
//! ```text
//! bytes ─> HttpRequest ─> TokenRequest ─> AuthenticatedClient ─> LoginAttempt ─> Authorization ─> TokenResponse ─> bytes
//! ```
//!
//! 1. Size, method, headers, query and content type; then the strict parse of the body: what is malformed fails before
//!    anybody is looked up ([`TokenRequest`]).
//! 2. The client authenticates, by exactly one method ([`ClientStore`], [`ClientAuthentication`]).
//! 3. Grant, scope and audience must be registered for it ([`Client`]); user name and password must be there.
//! 4. The attempt is counted, or has to wait ([`AttemptLimits`]); then the resource owner is judged, the password first, then
//!    the account ([`UserAuthenticator`], [`HashedPasswords`]); then what was counted is taken back, or stays.
//! 5. The scope is narrowed to what the owner may grant, and a token is issued ([`TokenIssuer`]).
//!
//! [`PasswordGrant::token`] does all of it and always has an answer. [`AccessTokenVerifier`] is the other end: it protects
//! your routes.
//!
//! # Clients that sign
//!
//! In the place of a secret a client can send a JWT that it has signed ([RFC 7523 section 2.2]). Register it by its public
//! keys, or by a secret that both know:
//!
//! ```
//! # use password_grant::*;
//! # fn registered(public_keys: &[u8], shared_secret: &[u8]) -> Result<[ClientBuilder; 2], BoxError> {
//! let registered = JwkSet::from_json(public_keys)?; // {"keys": […]}, which the client's owner has sent
//! let backend = Client::confidential("backend", ClientAuthentication::private_key_jwt(&registered)?);
//! let secret = ClientAuthentication::client_secret_jwt(shared_secret)?; // 32 random bytes or more
//! let partner = Client::confidential("partner", secret.algorithms([Algorithm::Hs256])?);
//! # Ok([backend, partner])
//! # }
//! # registered(br#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#, &[7; 32])?;
//! # Ok::<(), BoxError>(())
//! ```
//!
//! Such an assertion is for the issuer alone, valid for an hour at most, and good for one request;
//! [`AssertionCompatibility`] is for clients that cannot be changed. A client makes one anew for every attempt, also after a
//! 503, as with [`ClientAssertion`]:
//!
//! ```
//! # use password_grant::*;
//! # fn form(private_key: &[u8], username: String, password: String) -> Result<Vec<(&'static str, String)>, BoxError> {
//! let key = AssertionKey::from_pem(private_key)?.kid("backend-1");
//! let assertions = ClientAssertion::new("backend", "https://id.example.com", key); // the server's issuer identifier
//! let mut form = vec![("grant_type", "password".to_owned()), ("username", username), ("password", password)];
//! form.extend(assertions.parameters()?); // client_assertion_type and client_assertion: anew for every attempt
//! # Ok(form)
//! # }
//! # form(&std::fs::read("examples/keys/backend-es256.pem")?, String::new(), String::new())?;
//! # Ok::<(), BoxError>(())
//! ```
//!
//! # Staying logged in
//!
//! With [`RefreshTokens`] a login can yield a refresh token; [`PasswordGrant::revoke`] and
//! [`PasswordGrant::log_out_everywhere`] end what it began, [`PasswordGrant::introspect`] and [`Revocations`] tell resource
//! servers:
//!
//! ```
//! # use std::sync::Arc;
//! # use password_grant::*;
//! # fn host(
//! #     issuer: &str, secret: [u8; 32], shop: Arc<impl ClientStore + AccountGate>, users: impl UserAuthenticator,
//! #     tokens: JwtIssuer, verifier: AccessTokenVerifier,
//! # ) -> Result<(PasswordGrant, AccessTokenVerifier), BoxError> {
//! let refresh = RefreshTokens::new(RefreshKeys::new(secret)?, shop.clone()); // 32 random bytes; shop: AccountGate
//! let grant = PasswordGrant::builder(issuer, shop, users, tokens)
//!     .refresh_tokens(refresh)
//!     .revocation_endpoint("https://id.example.com/oauth/revoke")         // where you route grant.revoke
//!     .introspection_endpoint("https://id.example.com/oauth/introspect")  // where you route grant.introspect
//!     .build()?;
//! let verifier = verifier.revocations(grant.revocations());
//! # Ok((grant, verifier))
//! # }
//! ```
//!
//! # What comes out when something fails
//!
//! Every refusal is a [`TokenError`]: a status, a code and a fixed sentence for the caller, and a [`Reason`] for you. The
//! [`Observer`] is told of each, with the client, the name that was typed, and the host's error where there is one. No
//! answer holds anything of the request; no event holds a secret.
//!
//! | what | becomes |
//! | --- | --- |
//! | a malformed or incomplete request | 400 `invalid_request`, `invalid_scope`, `unsupported_grant_type`; 405; 413 |
//! | a client that did not authenticate | 401 `invalid_client`, always the same bytes |
//! | what a client is not registered for | 400 `unauthorized_client`, `invalid_scope`, `invalid_target` |
//! | a login that failed, for whatever reason | 400 `invalid_grant`, always the same bytes |
//! | a refresh token that is not valid, for whatever reason; revoking another client's token | 400 `invalid_grant`, always the same bytes |
//! | a token that may not be used, or not be told of, at introspection | 200 `{"active":false}` |
//! | a login that needs another step | 403 with the host's code |
//! | too many attempts | 429 `temporarily_unavailable` with `Retry-After` |
//! | a store, the hashing or a client's key set that cannot be had; a log-out during a login | 503 `temporarily_unavailable` with `Retry-After` |
//! | a protected route without token, with a bad one, with too little scope | 401, 401 `invalid_token`, 403 `insufficient_scope`, with a Bearer challenge |
//! | an issuer that fails, a bug | 500 `server_error` |
//!
//! # Features
//!
//! | feature | default | what |
//! | --- | --- | --- |
//! | `http` | yes | from `http::request::Parts` and `http::HeaderMap`, into `http::Response` |
//! | `tracing` | yes | [`TracingObserver`], which is then the default observer |
//! | `argon2` | yes | [`HashedPasswords`] and what belongs to it |
//! | `conformance` | no | the suite that proves a [`StateStore`], for the tests of its implementation |
//!
//! [RFC 6749 section 4.3]: https://www.rfc-editor.org/rfc/rfc6749#section-4.3
//! [RFC 7523 section 2.2]: https://www.rfc-editor.org/rfc/rfc7523#section-2.2
//! [RFC 9700]: https://www.rfc-editor.org/rfc/rfc9700#section-2.4

#![forbid(unsafe_code)]
#![warn(missing_docs, missing_debug_implementations, unreachable_pub)]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, clippy::string_slice)
)]

mod client;
#[cfg(feature = "conformance")]
pub mod conformance;
mod endpoint;
mod environment;
mod error;
mod event;
mod future;
mod grant;
mod http;
mod jose;
mod limiter;
mod refusal;
mod request;
mod resource;
mod response;
mod session;
mod state;
mod time;
mod token;
mod types;
mod user;

/// The JSON values of claims and members.
pub use serde_json;

/// For implementing the traits: `#[async_trait] impl ClientStore for …`.
pub use async_trait::async_trait;

pub use crate::client::{
    AssertionCompatibility, AssertionError, AssertionKey, AuthenticatedClient, AuthenticationMethod, Client,
    ClientAssertion, ClientAuthentication, ClientBuilder, ClientSecret, ClientStore, Grant, InMemoryClients,
    InvalidDigest, JwksSource,
};
pub use crate::environment::{Environment, RandomnessError, SecureRandom, SystemRandom};
pub use crate::error::{
    BoxError, ClientFault, ErrorCode, LimitKind, NotAllowed, Overloaded, Reason, Rejection, RequestFault, ServerFault,
    TokenError, TokenFault,
};
pub use crate::event::{AccessFault, Alarm, Event, EventKind, EventLevel, Observer};
pub use crate::grant::{BuildError, PasswordGrant, PasswordGrantBuilder};
pub use crate::http::{HttpRequest, HttpResponse};
pub use crate::jose::{Algorithm, Jwk, JwkSet, KeyError, SigningKey, SigningKeys, UnusableKey, VerificationKeys};
pub use crate::limiter::{AccountNames, AttemptCount, AttemptLimits, LimitKey};
pub use crate::request::TokenRequest;
pub use crate::resource::{
    AccessTokenVerifier, BearerRequest, IntrospectedTokens, IntrospectionTransport, TokenLookup, VerifiedToken,
};
pub use crate::response::TokenResponse;
pub use crate::session::{RefreshKeys, RefreshTokens, Revocations};
pub use crate::state::{
    Change, Commit, Expected, InMemoryState, InvalidStateSecret, Loaded, Row, StateKey, StateSecret, StateStore,
    StoreFull, Version, Write,
};
pub use crate::time::{BoxFuture, Clock, ManualClock, SystemClock, Timestamp};
pub use crate::token::{Authorization, InMemoryTokens, JwtIssuer, OpaqueIssuer, TokenDigest, TokenIssuer, TokenStore};
pub use crate::types::context::RequestContext;
pub use crate::types::identifier::{ClientId, SessionId, Subject};
pub use crate::types::limits::RequestLimits;
pub use crate::types::scope::{InvalidScope, Scope};
pub use crate::types::secret::Secret;
pub use crate::types::token::{AccessToken, InvalidToken, TokenDetails};
pub use crate::user::{AccountGate, Admission, Login, LoginAttempt, UserAuthenticator};

#[cfg(feature = "tracing")]
pub use crate::event::TracingObserver;
#[cfg(feature = "argon2")]
pub use crate::user::password::{
    AccountState, Argon2Parameters, HashError, HashedPasswords, HashedPasswordsBuilder, HashingConfigError, User,
    UserStore,
};
