//! The engine. [`PasswordGrant`] answers the requests to all endpoints. Each grant (RFC 6749
//! sections 4.3 and 6) is a file of its own; `policy` holds the decisions and `issue` the last
//! step.

mod builder;
mod client;
pub(crate) mod engine;
mod issue;
mod log_out;
mod password;
mod policy;
mod refresh;
mod registration;
mod verifier;

use std::fmt;
use std::pin::pin;
use std::sync::Arc;

use crate::client::{AuthenticatedClient, ClientStore, Grant, WebBackend};
use crate::error::{BoxError, ServerFault, TokenError};
use crate::event::{Event, EventKind};
pub use crate::grant::builder::{BuildError, PasswordGrantBuilder};
use crate::grant::engine::Engine;
use crate::grant::registration::check_at_request;
use crate::http::{HttpRequest, HttpResponse};
use crate::limiter::{AttemptCount, LimitKey};
use crate::refusal::{OrFault, Refusal};
use crate::request::TokenRequest;
use crate::response::TokenResponse;
use crate::state::transaction::HeldRows;
use crate::time::Timestamp;
use crate::token::TokenIssuer;
use crate::types::context::RequestContext;
use crate::types::endpoint::Endpoint;
use crate::user::UserAuthenticator;

/// The server side of the password grant ([RFC 6749 section 4.3]): its token endpoint, and the
/// endpoints for revocation, introspection, metadata and keys.
///
/// Cheap to clone. It has no type parameters, so any framework's state can hold it. It needs no
/// particular async runtime.
///
/// ```
/// use password_grant::testing::InMemoryClients;
/// use password_grant::{
///     BoxError, Client, Grant, HttpRequest, JwtIssuer, Login, LoginAttempt, PasswordGrant,
///     Rejection, SigningKeys, UserAuthenticator, async_trait,
/// };
///
/// struct OneUser;
///
/// #[async_trait]
/// impl UserAuthenticator for OneUser {
///     async fn authenticate(&self, attempt: LoginAttempt<'_>) -> Result<Login, BoxError> {
///         // An example only: see `HashedPasswords`.
///         Ok(match (attempt.username(), attempt.password().expose()) {
///             ("alice", "wonderland") => Login::accepted("user-1"),
///             ("alice", _) => Login::rejected(Rejection::WrongPassword),
///             _ => Login::rejected(Rejection::UnknownUser),
///         })
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let mobile = Client::public("mobile").grants([Grant::Password]).scope("profile".parse()?);
/// let tokens = JwtIssuer::new(SigningKeys::generate()?, "https://api.example.com");
/// let grant = PasswordGrant::builder(
///     "https://id.example.com",
///     InMemoryClients::new([mobile]),
///     OneUser,
///     tokens,
/// )
/// .build()?;
///
/// let headers = [("content-type", &b"application/x-www-form-urlencoded"[..])];
/// let body =
///     b"grant_type=password&client_id=mobile&username=alice&password=wonderland&scope=profile";
/// let answer = grant.token(HttpRequest::new("POST", None, headers, body)).await;
/// assert_eq!(answer.status(), 200);
/// # Ok::<(), BoxError>(()) })?;
/// # Ok::<(), BoxError>(())
/// ```
///
/// [RFC 6749 section 4.3]: https://www.rfc-editor.org/rfc/rfc6749#section-4.3
#[derive(Clone)]
pub struct PasswordGrant(Arc<Engine>);

impl PasswordGrant {
    /// Starts the configuration with what is required: the issuer identifier, the client store, the
    /// user authenticator and the token issuer. Everything else is a method of the builder and has
    /// a safe default.
    ///
    /// `issuer` is an `https` URL (or `http` on a loopback address) without query and fragment;
    /// [`build`](PasswordGrantBuilder::build) checks it. It is configuration: never take it from a
    /// request.
    pub fn builder(
        issuer: &str,
        clients: impl ClientStore,
        users: impl UserAuthenticator,
        tokens: impl TokenIssuer,
    ) -> PasswordGrantBuilder {
        PasswordGrantBuilder::new(issuer, Arc::new(clients), Arc::new(users), Arc::new(tokens))
    }

    /// The endpoints and the paths of their URLs, as the metadata document tells them, for a router.
    /// Revocation and introspection are among them if the builder was given their URLs, and the
    /// keys if there are any. Behind a proxy that changes paths, route the paths that arrive
    /// instead.
    pub fn paths(&self) -> impl Iterator<Item = (Endpoint, String)> {
        self.0.endpoints.paths(&self.0.settings.issuer)
    }

    /// Answers a request to one of the endpoints, so that one adapter serves all of them:
    /// [`token`](Self::token), [`revoke`](Self::revoke) or [`introspect`](Self::introspect), or
    /// `GET` and `HEAD` of the documents ([`metadata`](Self::metadata), [`jwks`](Self::jwks)), for
    /// which any other method is answered 405.
    ///
    /// Route every HTTP method here. An answer to `HEAD` has the body that `GET` would get, since
    /// HTTP servers leave it out themselves.
    ///
    /// # Cancel safety
    ///
    /// The same as that of the method which answers.
    pub async fn answer(&self, endpoint: Endpoint, request: HttpRequest<'_>) -> HttpResponse {
        match endpoint {
            Endpoint::Token => self.token(request).await,
            Endpoint::Revocation => self.revoke(request).await,
            Endpoint::Introspection => self.introspect(request).await,
            Endpoint::Metadata | Endpoint::Jwks if !matches!(request.method, "GET" | "HEAD") => {
                HttpResponse::empty(405).with("allow", "GET, HEAD")
            }
            Endpoint::Metadata => self.metadata(),
            Endpoint::Jwks => self.jwks(),
        }
    }

    /// Answers a request to the token endpoint. Every error is an OAuth error response with
    /// `no-store`, and a panic in the host's code becomes 500 `server_error`.
    ///
    /// Route every HTTP method here, so that a wrong one gets its 405 from the engine too.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped at any await. The caller then has no token, but what was committed
    /// stays: a session may have begun and have replaced the oldest one, a refresh token may have
    /// been used (it yields its successor again within the retry window), and a client assertion
    /// may be used up. A password that is being hashed is hashed to the end on its thread.
    ///
    /// A login attempt that was admitted and is dropped before it is settled counts as failed,
    /// whether or not the password was right:
    ///
    /// * With state in memory, it counts like a wrong password. It does not count at all if
    ///   [`HashedPasswords`](crate::HashedPasswords) judges it and its hash had not begun.
    /// * Over a shared store, it counts even if its hash had not begun, because a drop cannot wait
    ///   for the store: on its user name (or known origin), and not on address and network. An
    ///   attempt that is dropped while it is being settled may be settled or not.
    pub async fn token(&self, request: HttpRequest<'_>) -> HttpResponse {
        let mut parsed = TokenRequest::empty();
        match self.0.parse(&mut parsed, &request, Endpoint::Token) {
            Ok(()) => self.0.answered(&request.context, pin!(self.0.handle(&mut parsed))).await,
            Err(error) => error.into(),
        }
    }

    /// Answers a request to the revocation endpoint ([RFC 7009]), for `POST /oauth/revoke`. The
    /// client authenticates as at the token endpoint. The answer is 200 with `{}`, also if there
    /// was nothing to revoke. A refresh token is revoked with its session and the session's access
    /// tokens; an access token is revoked alone. `token_type_hint` is not needed.
    ///
    /// Another client's token is refused with 400 `invalid_grant` and is not revoked. All other
    /// errors are those of the token endpoint. If a store fails, the answer is 503, and the token
    /// may still be valid.
    ///
    /// What can be revoked takes bounded room. If more than eight unexpired access tokens of a
    /// session are revoked one by one, all of the session's tokens that were issued in the second
    /// of the oldest of them, or before, are revoked too. Access tokens without a session are
    /// remembered for each client and subject: if 64 of them are revoked and have not expired, the
    /// answer for another one is 503, and the token is still valid.
    ///
    /// A revoked access token is refused by [`introspect`](Self::introspect) and by a verifier with
    /// [`revocations`](Self::revocations). A verifier that only checks signatures accepts it until
    /// it expires. If the state was in memory and the process has restarted, all of them accept it
    /// until it expires, unless the token has a session.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the token may or may not have been revoked.
    ///
    /// [RFC 7009]: https://www.rfc-editor.org/rfc/rfc7009
    pub async fn revoke(&self, request: HttpRequest<'_>) -> HttpResponse {
        let mut parsed = TokenRequest::empty();
        match self.0.parse(&mut parsed, &request, Endpoint::Revocation) {
            Ok(()) => self.0.answered(&request.context, pin!(self.0.revoke(&parsed))).await,
            Err(error) => error.into(),
        }
    }

    /// Answers a request to the introspection endpoint ([RFC 7662]), for `POST /oauth/introspect`.
    ///
    /// A confidential client may introspect its own tokens. A client that is registered as a
    /// [`resource_server`](crate::ClientBuilder::resource_server) may also introspect the access
    /// tokens of other clients. The answer is `{"active":false}` and nothing else for any other
    /// token, and for a token that has expired, was revoked, or whose client may no longer be used.
    /// With [refresh tokens](crate::RefreshTokens) on, it is the same if their account gate refuses
    /// the account. A public client, or a client that does not authenticate, gets 401. If a store
    /// fails, the answer is 503 and never an introspection response.
    ///
    /// # Cancel safety
    ///
    /// No token and no session is changed, so the future may be dropped at any await. A client
    /// assertion may be used up then, and a failed authentication may or may not be counted.
    ///
    /// [RFC 7662]: https://www.rfc-editor.org/rfc/rfc7662
    pub async fn introspect(&self, request: HttpRequest<'_>) -> HttpResponse {
        let mut parsed = TokenRequest::empty();
        match self.0.parse(&mut parsed, &request, Endpoint::Introspection) {
            Ok(()) => self.0.answered(&request.context, pin!(self.0.introspect(&parsed))).await,
            Err(error) => error.into(),
        }
    }

    /// Answers a request that the host has parsed; otherwise the same as [`token`](Self::token).
    ///
    /// # Errors
    ///
    /// The refusal. It converts into an [`HttpResponse`] with the status of its error code.
    ///
    /// A panic in the host's code is not caught.
    ///
    /// # Cancel safety
    ///
    /// The same as that of [`token`](Self::token).
    pub async fn handle(&self, mut request: TokenRequest<'_>) -> Result<TokenResponse, TokenError> {
        self.0.handle(&mut request).await
    }

    /// The maximum size of a request body, in bytes. Stop reading there, and do not start to read
    /// if `Content-Length` is larger. In both cases call
    /// [`HttpRequest::body_too_large`](crate::HttpRequest::body_too_large).
    #[must_use]
    pub fn body_limit(&self) -> usize {
        self.0.settings.limits.body
    }

    /// The attempts that are counted for a limiter key at the moment, for an administrator to look
    /// at. `None` if nothing is counted under the key:
    ///
    /// * the limits are off, or for `KnownOrigin` known origins are;
    /// * for `WebBackend`, the client is not registered as one;
    /// * `context` lacks what the key needs: for `KnownOrigin` a device or an address, for
    ///   `Network` and `ClientNetwork` an IPv6 address, for the others but `Account` an address.
    ///
    /// ```
    /// # use password_grant::limiter::LimitKey;
    /// # use password_grant::{BoxError, PasswordGrant, RequestContext};
    /// # async fn example(grant: PasswordGrant) -> Result<(), BoxError> {
    /// let alice = LimitKey::Account { username: "alice" };
    /// let context = RequestContext::new(); // or with the tenant
    /// if grant.attempts(alice, &context).await?.is_some_and(|count| count.locked) {
    ///     grant.reset_attempts(alice, &context).await?;
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// If the state store fails, your [`AccountNames`](crate::limiter::AccountNames), or for
    /// `WebBackend` the client store.
    ///
    /// # Cancel safety
    ///
    /// Nothing is changed, so the future may be dropped at any time.
    pub async fn attempts(
        &self,
        on: LimitKey<'_>,
        context: &RequestContext,
    ) -> Result<Option<AttemptCount>, BoxError> {
        match &self.0.limiter {
            Some(limiter) => {
                limiter.look(on, self.0.web_backend(on, context).await?, context).await
            }
            None => Ok(None),
        }
    }

    /// Sets the count of a limiter key back to zero, and no other. `context` has the tenant, the
    /// address and the device that are meant.
    ///
    /// | key | what a reset does |
    /// | --- | --- |
    /// | `Account` | unlocks the user name everywhere but at its known origins, which stay known and keep their counts |
    /// | `KnownOrigin` | the origin (the device of `context`, or its address if it has none) is no longer known: attempts from there count on the user name. Spell the user name as at the login: case and white space do not matter, accents do |
    /// | `Source` | the address (IPv6: its /64) has no failures any more, in any tenant |
    /// | `Network` | the IPv6 network (/48) has none any more, in any tenant; the counts of its addresses stay |
    /// | `WebBackend` | this web backend has none any more at this address, in this tenant |
    /// | `Client` | the client has no failed authentications any more from this address (IPv6: its /64). An address has 256 such counts, so a reset includes other clients that share this one |
    /// | `ClientNetwork` | the client has none any more from the IPv6 network (/48); the counts of its addresses stay. A network has 256 such counts too |
    ///
    /// So an account is unlocked by `Account`, for instance after its owner has proved their
    /// identity in another way. Attempts on a name that are being judged at the reset are not
    /// counted on it again. No reset changes what raises an [`Alarm`](crate::event::Alarm).
    ///
    /// A reset has no effect, and no event reports it, where [`attempts`](Self::attempts) returns
    /// `None`, and while the name shares a row with others because an
    /// [`InMemoryState`](crate::state::InMemoryState) has no room for one of its own.
    ///
    /// # Errors
    ///
    /// If the state store fails, your [`AccountNames`](crate::limiter::AccountNames), or for
    /// `WebBackend` the client store.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the reset may or may not have happened.
    pub async fn reset_attempts(
        &self,
        on: LimitKey<'_>,
        context: &RequestContext,
    ) -> Result<(), BoxError> {
        if let Some(limiter) = &self.0.limiter
            && let backend = self.0.web_backend(on, context).await?
            && let Some(counted) = limiter.reset(on, backend, context).await?
        {
            self.0.observe(&Event::in_context(EventKind::AttemptsReset(counted), context));
        }
        Ok(())
    }

    /// The authorization server metadata document ([RFC 8414]), for
    /// `GET /.well-known/oauth-authorization-server`. It lists what is switched on, and nothing
    /// else. It may be cached for five minutes.
    ///
    /// [RFC 8414]: https://www.rfc-editor.org/rfc/rfc8414
    #[must_use]
    pub fn metadata(&self) -> HttpResponse {
        HttpResponse::public_json(&self.0.metadata)
    }

    /// The public signing keys as a JWK set ([RFC 7517 section 5]), for
    /// `GET /.well-known/jwks.json`. They may be cached for five minutes, so publish a key for
    /// longer than that before it signs.
    ///
    /// [RFC 7517 section 5]: https://www.rfc-editor.org/rfc/rfc7517#section-5
    #[must_use]
    pub fn jwks(&self) -> HttpResponse {
        HttpResponse::public_json(&self.0.settings.tokens.public_keys())
    }
}

impl Engine {
    /// How the client is registered whose count as a web backend is meant.
    async fn web_backend(
        &self,
        on: LimitKey<'_>,
        context: &RequestContext,
    ) -> Result<Option<WebBackend>, BoxError> {
        let LimitKey::WebBackend { client_id } = on else { return Ok(None) };
        let client = self.settings.clients.find(client_id, context).await?;
        Ok(client.and_then(|client| client.web_backend()))
    }

    /// Authenticates the client, and passes the request to the grant that it names.
    async fn grant(
        &self,
        request: &mut TokenRequest<'_>,
        started: Timestamp,
    ) -> Result<TokenResponse, Refusal> {
        policy::check_request(request, &self.settings.limits)?;
        let mut held = HeldRows::default();
        let client = self.client_of(request, &self.endpoints.token, &mut held, started).await?;
        let grant = policy::grant_for(request, &self.grants, &client)
            .map_err(Refusal::from)
            .and_then(|grant| self.check_registration(&client).map(|()| grant));
        let granted = match grant {
            Ok(Grant::Password) => self.password(request, &client, &mut held, started).await,
            // Boxed, because every login's future would otherwise be as large as a refresh's.
            Ok(Grant::RefreshToken) => {
                Box::pin(self.refresh(request, &client, &mut held, started)).await
            }
            Err(refusal) => Err(refusal),
        };
        granted.map_err(|refusal| refusal.of_client(client.id()))
    }

    fn check_registration(&self, client: &AuthenticatedClient) -> Result<(), Refusal> {
        let checked = check_at_request(client.registration(), self.sessions.is_some());
        checked.or_fault(ServerFault::ClientRegistration)
    }
}

/// The grants that are switched on.
fn grants_on(refresh_tokens: bool) -> Vec<Grant> {
    let is_on = |grant: &Grant| match grant {
        Grant::Password => true,
        Grant::RefreshToken => refresh_tokens,
    };
    Grant::ALL.into_iter().filter(is_on).collect()
}

impl fmt::Debug for PasswordGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordGrant")
            .field("issuer", &self.0.settings.issuer)
            .finish_non_exhaustive()
    }
}
