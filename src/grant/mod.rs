//! The engine: from a request to a token.

mod builder;
mod client;
mod issue;
mod login_epoch;
mod password;
mod policy;
mod refresh;

use std::fmt;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use crate::client::authenticate::UsedAssertions;
use crate::client::jwks::PublishedKeys;
use crate::client::{ClientStore, Grant};
use crate::endpoint::{Endpoints, Introspection, Metadata, Revoked};
use crate::error::{BoxError, Reason, ServerFault, TokenError};
use crate::event::{self, Event, EventKind};
use crate::future::catch_panic;
use crate::grant::builder::Settings;
pub use crate::grant::builder::{BuildError, PasswordGrantBuilder};
use crate::http::{HttpRequest, HttpResponse};
use crate::limiter::AttemptLimiter;
use crate::limiter::{AttemptCount, LimitKey};
use crate::refusal::Refusal;
use crate::request::{Endpoint, TokenRequest};
use crate::response::TokenResponse;
use crate::session::{self, Revocations, Sessions};
use crate::time::Timestamp;
use crate::token::TokenIssuer;
use crate::token::jti::TokenIds;
use crate::types::context::RequestContext;
use crate::types::identifier::{SessionId, Subject};
use crate::user::UserAuthenticator;

/// The token endpoint of the password grant ([RFC 6749 section 4.3]).
///
/// Cheap to clone, without type parameters, so it sits in any framework's state. It needs no particular async runtime.
///
/// ```
/// use password_grant::testing::InMemoryClients;
/// use password_grant::{BoxError, Client, Grant, HttpRequest, JwtIssuer, Login, LoginAttempt, PasswordGrant, Rejection, SigningKeys, UserAuthenticator, async_trait};
///
/// struct OneUser;
///
/// #[async_trait]
/// impl UserAuthenticator for OneUser {
///     async fn authenticate(&self, attempt: LoginAttempt<'_>) -> Result<Login, BoxError> {
///         let right = attempt.username() == "alice" && attempt.password().expose() == "wonderland"; // an example only
///         Ok(if right { Login::accepted("user-1") } else { Login::rejected(Rejection::WrongPassword) })
///     }
/// }
///
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// let mobile = Client::public("mobile").grants([Grant::Password]).scope("profile".parse()?);
/// let tokens = JwtIssuer::new(SigningKeys::generate()?, "https://api.example.com");
/// let grant =
///     PasswordGrant::builder("https://id.example.com", InMemoryClients::new([mobile]), OneUser, tokens).build()?;
///
/// let headers = [("content-type", &b"application/x-www-form-urlencoded"[..])];
/// let body = b"grant_type=password&client_id=mobile&username=alice&password=wonderland&scope=profile";
/// let answer = grant.token(HttpRequest::new("POST", None, headers, body)).await;
/// assert_eq!(answer.status(), 200);
/// # Ok::<(), BoxError>(()) })?;
/// # Ok::<(), BoxError>(())
/// ```
///
/// [RFC 6749 section 4.3]: https://www.rfc-editor.org/rfc/rfc6749#section-4.3
#[derive(Clone)]
pub struct PasswordGrant(Arc<Engine>);

pub(crate) struct Engine {
    pub(crate) settings: Settings,
    pub(crate) realm: Arc<str>,
    /// None: the host has switched it off.
    pub(crate) attempts: Option<AttemptLimiter>,
    pub(crate) used_assertions: UsedAssertions,
    published: Option<PublishedKeys>,
    /// None: there are no refresh tokens.
    pub(crate) families: Option<Sessions>,
    pub(crate) grants: Vec<Grant>,
    pub(crate) revocations: Revocations,
    pub(crate) token_ids: TokenIds,
    pub(crate) endpoints: Endpoints,
    pub(crate) metadata: Metadata,
    /// How many requests came without their caller's address.
    pub(crate) missing_addresses: AtomicU64,
}

impl PasswordGrant {
    /// What it cannot do without: the issuer identifier, the clients, the users, and what makes the tokens. All else
    /// is a method of the builder, with a safe default.
    ///
    /// The issuer is a URL, `https` (or `http` on a loopback address), without query and fragment. It is
    /// configuration: never take it from a request.
    pub fn builder(
        issuer: &str,
        clients: impl ClientStore,
        users: impl UserAuthenticator,
        tokens: impl TokenIssuer,
    ) -> PasswordGrantBuilder {
        PasswordGrantBuilder::new(issuer, Arc::new(clients), Arc::new(users), Arc::new(tokens))
    }

    /// Answers a request to the token endpoint, whatever it is: every error is an OAuth answer, with `no-store`. A
    /// panic in the host's code becomes 500 `server_error`.
    ///
    /// Route every method here, so that a wrong one gets its 405 from us too.
    ///
    /// # Cancel safety
    ///
    /// It may be dropped at any await. Nothing is granted then; a password that is being hashed is hashed to its end
    /// on its thread.
    pub async fn token(&self, request: HttpRequest<'_>) -> HttpResponse {
        let mut parsed = TokenRequest::empty();
        match self.0.parse(&mut parsed, &request, Endpoint::Token) {
            Ok(()) => self.0.answered(&request.context, pin!(self.0.handle(&mut parsed))).await,
            Err(error) => error.into(),
        }
    }

    /// Answers a request to the revocation endpoint ([RFC 7009]), for `POST /oauth/revoke`: the client authenticates as at
    /// the token endpoint, and is answered 200 with `{}` also where there was nothing to revoke. A refresh token is revoked
    /// with its family and the access tokens of that; an access token alone. `token_type_hint` is not needed.
    ///
    /// Another client's token is refused with 400 `invalid_grant`, and stays what it is. All other errors are those of the
    /// token endpoint; a store that fails is 503, and then the token may be good still.
    ///
    /// Who then refuses the access token: [`introspect`](Self::introspect), and a verifier with
    /// [`revocations`](Self::revocations). One that only checks signatures takes it until it expires; and so do all where the
    /// state was in memory and the process has restarted, unless the token has a family.
    ///
    /// # Cancel safety
    ///
    /// Dropped, the token is revoked or not.
    ///
    /// [RFC 7009]: https://www.rfc-editor.org/rfc/rfc7009
    pub async fn revoke(&self, request: HttpRequest<'_>) -> HttpResponse {
        let mut parsed = TokenRequest::empty();
        match self.0.parse(&mut parsed, &request, Endpoint::AboutToken) {
            Ok(()) => self.0.answered(&request.context, pin!(self.0.revoke(&mut parsed))).await,
            Err(error) => error.into(),
        }
    }

    /// Answers a request to the introspection endpoint ([RFC 7662]), for `POST /oauth/introspect`.
    ///
    /// A confidential client is told of its own tokens; one that is registered as a
    /// [`resource_server`](crate::ClientBuilder::resource_server) of other clients' access tokens too. Of any other token, and of
    /// one that has expired, was revoked, or whose client may not be used any more, it is told `{"active":false}` and nothing
    /// else; with [refresh tokens](crate::RefreshTokens) on, so it is where their gate refuses the account. A public client, and whoever does not authenticate, gets 401. A store that
    /// fails is 503, never an answer.
    ///
    /// # Cancel safety
    ///
    /// Nothing is changed, so it can be dropped at any time.
    ///
    /// [RFC 7662]: https://www.rfc-editor.org/rfc/rfc7662
    pub async fn introspect(&self, request: HttpRequest<'_>) -> HttpResponse {
        let mut parsed = TokenRequest::empty();
        match self.0.parse(&mut parsed, &request, Endpoint::AboutToken) {
            Ok(()) => self.0.answered(&request.context, pin!(self.0.introspect(&mut parsed))).await,
            Err(error) => error.into(),
        }
    }

    /// Ends one session: the family of refresh tokens that an access token names
    /// ([`TokenDetails::session_id`](crate::token::TokenDetails::session_id)), with its access tokens. For a log-out route of your
    /// own, at which the user shows an access token, and there is no client to [`revoke`](Self::revoke) by. Whether there was
    /// such a session; none is no error.
    ///
    /// ```
    /// # use password_grant::{assertion::*, error::*, event::*, jose::*, resource::*, state::*, *};
    /// # async fn log_out(grant: PasswordGrant, token: VerifiedToken) -> Result<(), BoxError> {
    /// if let Some(session) = &token.session_id {
    ///     grant.end_session(session, &RequestContext::new()).await?;
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// When the state store fails; the session may go on then, so ask again.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it has happened or not.
    pub async fn end_session(
        &self,
        session_id: &SessionId,
        context: &RequestContext,
    ) -> Result<bool, BoxError> {
        let Some(families) = &self.0.families else { return Ok(false) };
        let Some((_, family)) = families.end(session_id, None).await? else { return Ok(false) };
        let (client_id, subject) =
            (&family.holder.client.as_str().into(), &family.subject.as_str().into());
        let event = Event::in_context(EventKind::TokenRevoked, context)
            .with_client(client_id)
            .with_subject(subject);
        self.0.observe(&Event { session_id: Some(session_id), ..event });
        Ok(true)
    }

    /// Ends every family of refresh tokens that this subject has, on whatever device, with their access tokens: for a
    /// password that was changed, an account that was disabled, a device that was lost. One commit, however many there
    /// are, and in every tenant that has this subject. A login that is under way meanwhile, and may have seen the former
    /// password, is answered 503. Over a shared store it may also be answered with tokens of a session that is over already:
    /// introspection, [`revocations`](Self::revocations) and refresh refuse them, and a verifier by signature alone takes the
    /// access token until it expires.
    ///
    /// Access tokens without a family are refused by [`introspect`](Self::introspect) and
    /// [`revocations`](Self::revocations) if they were issued in or before the second of the log-out, by the engine's clock. A
    /// login without a refresh token waits for that second to pass, and is answered 503 with `Retry-After` if the log-out is
    /// dated more than two seconds ahead.
    ///
    /// Change the password first, then call this. Whoever asked is logged out too. The context only reaches the observer.
    ///
    /// ```
    /// # use password_grant::{assertion::*, error::*, event::*, jose::*, resource::*, state::*, *};
    /// # async fn changed(grant: PasswordGrant, token: VerifiedToken) -> Result<(), BoxError> {
    /// // UPDATE users SET password_hash = …, and then
    /// grant.log_out_everywhere(&token.subject, &RequestContext::new()).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// When the state store fails; the subject may be logged in still, so ask again.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it has happened or not.
    pub async fn log_out_everywhere(
        &self,
        subject: &Subject,
        context: &RequestContext,
    ) -> Result<(), BoxError> {
        session::log_out(&self.0.revocations, subject, &*self.0.settings.environment.clock).await?;
        self.0.observe(&Event::in_context(EventKind::LoggedOut, context).with_subject(subject));
        Ok(())
    }

    /// Tells an [`AccessTokenVerifier`](crate::AccessTokenVerifier::revocations) in this process which tokens were revoked
    /// before they expired.
    #[must_use]
    pub fn revocations(&self) -> Revocations {
        self.0.revocations.clone()
    }

    /// Answers a parsed request: [`token`](Self::token) without HTTP.
    ///
    /// # Errors
    ///
    /// The refusal, ready to be sent: it converts into an [`HttpResponse`] with the status of its code.
    ///
    /// A panic in the host's code passes through.
    ///
    /// # Cancel safety
    ///
    /// As [`token`](Self::token).
    pub async fn handle(&self, mut request: TokenRequest<'_>) -> Result<TokenResponse, TokenError> {
        self.0.handle(&mut request).await
    }

    /// Bytes of a request body that are read. Stop there, and do not begin where `Content-Length` says that there are more:
    /// call [`HttpRequest::body_too_large`](crate::HttpRequest::body_too_large) then.
    #[must_use]
    pub fn body_limit(&self) -> usize {
        self.0.settings.limits.body
    }

    /// What is counted at the moment, for an administrator to look at. `None` where nothing is: the limits are off, or the
    /// context lacks the address that is asked about.
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
    /// When the state store fails.
    ///
    /// # Cancel safety
    ///
    /// Nothing is changed, so it can be dropped at any time.
    pub async fn attempts(
        &self,
        on: LimitKey<'_>,
        context: &RequestContext,
    ) -> Result<Option<AttemptCount>, BoxError> {
        match &self.0.attempts {
            Some(attempts) => attempts.look(on, context).await,
            None => Ok(None),
        }
    }

    /// Sets a count back to zero: unlocks an account, for instance when its owner has proved who they are in another
    /// way. A known origin is then known no more. Attempts that are being judged meanwhile are not counted again.
    ///
    /// # Errors
    ///
    /// When the state store fails.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it has happened or not.
    pub async fn reset_attempts(
        &self,
        on: LimitKey<'_>,
        context: &RequestContext,
    ) -> Result<(), BoxError> {
        if let Some(attempts) = &self.0.attempts
            && let Some(counted) = attempts.reset(on, context).await?
        {
            self.0.observe(&Event::in_context(EventKind::AttemptsReset(counted), context));
        }
        Ok(())
    }

    /// The authorization server metadata document ([RFC 8414]), for `GET
    /// /.well-known/oauth-authorization-server`. It tells what is switched on, and nothing else. It may be cached for five
    /// minutes.
    ///
    /// [RFC 8414]: https://www.rfc-editor.org/rfc/rfc8414
    #[must_use]
    pub fn metadata(&self) -> HttpResponse {
        HttpResponse::public_json(&self.0.metadata)
    }

    /// The public signing keys ([RFC 7517 section 5]), for `GET /.well-known/jwks.json`. They may be cached for five
    /// minutes: publish a key for longer than that before it signs.
    ///
    /// [RFC 7517 section 5]: https://www.rfc-editor.org/rfc/rfc7517#section-5
    #[must_use]
    pub fn jwks(&self) -> HttpResponse {
        HttpResponse::public_json(&self.0.settings.tokens.public_keys())
    }
}

/// The edge: what a request ends with is reported to the observer and converted, here and nowhere
/// else.
impl Engine {
    fn parse<'a>(
        &self,
        parsed: &mut TokenRequest<'a>,
        request: &HttpRequest<'a>,
        endpoint: Endpoint,
    ) -> Result<(), TokenError> {
        let parsed = parsed.parse(request, endpoint, &self.settings.limits);
        parsed.map_err(|fault| self.refuse(fault.into(), &request.context, None, None))
    }

    /// The answer to a request, also where the host's code panics.
    async fn answered<T: Into<HttpResponse>>(
        &self,
        context: &RequestContext,
        future: Pin<&mut impl Future<Output = Result<T, TokenError>>>,
    ) -> HttpResponse {
        match catch_panic(future).await {
            Some(answer) => answer.map_or_else(Into::into, Into::into),
            None => self.refuse(ServerFault::Panic.into(), context, None, None).into(),
        }
    }

    async fn handle(&self, request: &mut TokenRequest<'_>) -> Result<TokenResponse, TokenError> {
        let started = self.settings.environment.clock.now();
        match self.grant(request, started).await {
            Ok(response) => Ok(response),
            Err(refusal) => {
                let username = request.username();
                let refusal = self.with_wait_for_refresh(refusal, request);
                let error = self.refuse(refusal, &request.context, username, Some(started));
                self.hold_back(&error, started).await;
                Err(error)
            }
        }
    }

    async fn revoke(&self, request: &mut TokenRequest<'_>) -> Result<Revoked, TokenError> {
        let started = self.settings.environment.clock.now();
        let revoked = self.revoke_token(request, started).await;
        revoked.map_err(|refusal| self.refuse(refusal, &request.context, None, Some(started)))
    }

    async fn introspect(
        &self,
        request: &mut TokenRequest<'_>,
    ) -> Result<Introspection, TokenError> {
        let started = self.settings.environment.clock.now();
        let introspected = self.introspect_token(request, started).await;
        introspected.map_err(|refusal| self.refuse(refusal, &request.context, None, Some(started)))
    }

    /// Reports a refusal and makes the answer of it, which tells the caller only what it may know.
    fn refuse(
        &self,
        refusal: Refusal,
        context: &RequestContext,
        username: Option<&str>,
        started: Option<Timestamp>,
    ) -> TokenError {
        let event = refusal.event();
        let concerns_login = matches!(
            event.kind,
            EventKind::LoginRejected(_) | EventKind::MoreNeeded | EventKind::AttemptDenied(_)
        );
        self.observe(&Event {
            username: username.filter(|_| concerns_login),
            elapsed: started.map(|started| self.settings.environment.clock.now().since(started)),
            context: Some(context),
            ..event
        });
        refusal.into_error(&self.realm)
    }

    pub(crate) fn observe(&self, event: &Event<'_>) {
        event::observe(&*self.settings.environment.observer, event);
    }

    /// Answers a failed login no sooner than the failure floor after its start, so that the time
    /// does not tell its cause; also a failed client authentication, where that can cost a slow
    /// hash.
    async fn hold_back(&self, error: &TokenError, started: Timestamp) {
        let held_back = match error.reason() {
            Reason::Login(_) => true,
            Reason::Client(_) => self.settings.slow_secrets.is_some(),
            _ => false,
        };
        if let Some(floor) = self.settings.min_failure_time.filter(|_| held_back) {
            let passed = self.settings.environment.clock.now().since(started);
            self.settings.environment.clock.sleep(floor.saturating_sub(passed)).await;
        }
    }
}

impl Engine {
    /// Authenticates the client, and hands the request to the grant that it names.
    async fn grant(
        &self,
        request: &mut TokenRequest<'_>,
        started: Timestamp,
    ) -> Result<TokenResponse, Refusal> {
        policy::check_request(request, &self.settings.limits)?;
        let client = self.client_of(request, &self.endpoints.token, started).await?;
        let granted = match policy::grant_for(request, &self.grants, &client) {
            Ok(Grant::Password) => self.password(request, &client, started).await,
            // In memory of its own, or every login's future would be as large as this one.
            Ok(Grant::RefreshToken) => Box::pin(self.refresh(request, &client, started)).await,
            Err(reason) => Err(reason.into()),
        };
        granted.map_err(|refusal| refusal.of_client(client.id()))
    }
}

/// The grants that are on.
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
