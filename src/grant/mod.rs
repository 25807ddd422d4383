//! The engine: from a request to a token.

mod about_token;
mod attempts;
mod builder;
mod log_out;
mod refresh;
mod rules;
mod token_id;

use std::fmt;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::client::assertion::Expectations;
use crate::client::authentication::{Presented, Registry, UsedAssertions, authenticate};
use crate::client::jwks::PublishedKeys;
use crate::client::{AuthenticatedClient, ClientStore, Grant};
use crate::endpoint::{Endpoints, Metadata};
pub use crate::grant::attempts::{AccountNames, AttemptCount, AttemptLimits, AttemptsOn};
use crate::grant::attempts::{AttemptLimiter, Ticket, outcome_of};
use crate::grant::builder::Settings;
pub use crate::grant::builder::{BuildError, Builder};
pub use crate::grant::refresh::RefreshTokens;
use crate::grant::refresh::{Families, Session};
use crate::grant::token_id::TokenIds;
use crate::http::{HttpRequest, HttpResponse};
use crate::request::{Endpoint, TokenRequest};
use crate::response::TokenResponse;
use crate::state::Revocations;
use crate::state::limiter::Outcome as AttemptOutcome;
use crate::token::{Authorization, TokenIssuer};
use crate::user::{Accepted, Login, LoginAttempt, Outcome, UserAuthenticator};
use crate::vocabulary::clock::Timestamp;
use crate::vocabulary::context::RequestContext;
use crate::vocabulary::error::{BoxError, Reason, TokenError, Trouble};
use crate::vocabulary::event::Event;
use crate::vocabulary::future::catch_panic;
use crate::vocabulary::identifier::Subject;
use crate::vocabulary::report::Report;
use crate::vocabulary::scope::Scope;
use crate::vocabulary::token::AccessToken;

/// The token endpoint of the password grant ([RFC 6749 section 4.3]).
///
/// Cheap to clone, without type parameters, so it sits in any framework's state. It needs no particular async runtime.
///
/// ```
/// use password_grant::{
///     async_trait, BoxError, Client, Grant, HttpRequest, InMemoryClients, JwtIssuer, Login, LoginAttempt, PasswordGrant,
///     Rejection, SigningKeys, UserAuthenticator,
/// };
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

struct Engine {
    settings: Settings,
    realm: Arc<str>,
    /// None: the host has switched it off.
    attempts: Option<AttemptLimiter>,
    used_assertions: UsedAssertions,
    published: Option<PublishedKeys>,
    /// None: there are no refresh tokens.
    families: Option<Families>,
    grants: Vec<Grant>,
    revocations: Revocations,
    token_ids: TokenIds,
    endpoints: Endpoints,
    metadata: Metadata,
    missing_address_told: AtomicBool,
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
    ) -> Builder {
        Builder::new(issuer, Arc::new(clients), Arc::new(users), Arc::new(tokens))
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
            Err(refusal) => refusal.into(),
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
            Err(refusal) => refusal.into(),
        }
    }

    /// Answers a request to the introspection endpoint ([RFC 7662]), for `POST /oauth/introspect`.
    ///
    /// A confidential client is told of its own tokens; one that is registered as a
    /// [`resource_server`](crate::Client::resource_server) of other clients' access tokens too. Of any other token, and of
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
            Err(refusal) => refusal.into(),
        }
    }

    /// Ends one session: the family of refresh tokens that an access token names
    /// ([`TokenDetails::session_id`](crate::TokenDetails::session_id)), with its access tokens. For a log-out route of your
    /// own, at which the user shows an access token, and there is no client to [`revoke`](Self::revoke) by. Whether there was
    /// such a session; none is no error.
    ///
    /// ```
    /// # use password_grant::*;
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
    pub async fn end_session(&self, session_id: &str, context: &RequestContext) -> Result<bool, BoxError> {
        let Some(families) = &self.0.families else { return Ok(false) };
        let Some((_, family)) = families.end(session_id, None).await? else { return Ok(false) };
        let (client_id, subject) = (&family.holder.client.as_str().into(), &family.subject.as_str().into());
        let event = Event::TokenRevoked { client_id, subject, token_id: None, session_id: Some(session_id), context };
        self.0.report(context).tell(&event);
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
    /// # use password_grant::*;
    /// # async fn changed(grant: PasswordGrant, token: VerifiedToken) -> Result<(), BoxError> {
    /// // UPDATE users SET password_hash = …, and then
    /// grant.log_out_everywhere(&token.subject.as_str().into(), &RequestContext::new()).await?;
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
    pub async fn log_out_everywhere(&self, subject: &Subject, context: &RequestContext) -> Result<(), BoxError> {
        refresh::log_out(&self.0.revocations, subject, &*self.0.settings.clock).await?;
        self.0.report(context).tell(&Event::LoggedOut { subject, context });
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
    /// # use password_grant::{AttemptsOn, BoxError, PasswordGrant, RequestContext};
    /// # async fn example(grant: PasswordGrant) -> Result<(), BoxError> {
    /// let alice = AttemptsOn::Account { username: "alice" };
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
        on: AttemptsOn<'_>,
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
    pub async fn reset_attempts(&self, on: AttemptsOn<'_>, context: &RequestContext) -> Result<(), BoxError> {
        if let Some(attempts) = &self.0.attempts
            && let Some(counted) = attempts.reset(on, context).await?
        {
            self.0.report(context).tell(&Event::AttemptsReset { counted, context });
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

impl Engine {
    fn parse<'a>(
        &self,
        parsed: &mut TokenRequest<'a>,
        request: &HttpRequest<'a>,
        endpoint: Endpoint,
    ) -> Result<(), TokenError> {
        let fault = parsed.parse(request, endpoint, &self.settings.limits);
        fault.map_err(|fault| self.report(&request.context).refused(fault))
    }

    /// The answer that the future comes to, whatever it does.
    async fn answered<T: Into<HttpResponse>>(
        &self,
        context: &RequestContext,
        future: Pin<&mut impl Future<Output = Result<T, TokenError>>>,
    ) -> HttpResponse {
        match catch_panic(future).await {
            Some(answer) => answer.map_or_else(Into::into, Into::into),
            None => self.report(context).refused(Trouble::Panic).into(),
        }
    }

    async fn handle(&self, request: &mut TokenRequest<'_>) -> Result<TokenResponse, TokenError> {
        let started = self.settings.clock.now();
        let families = self.families.as_ref().filter(|_| request.grant_type() == Some(Grant::RefreshToken.as_str()));
        let answer = self.answer(request, started).await;
        let answer = match families {
            Some(families) => answer.map_err(|refusal| refusal.waiting_at_most(families.longest_wait())),
            None => answer,
        };
        if let (Err(refusal), Some(floor)) = (&answer, self.settings.failure_floor) {
            self.hold_back(refusal, floor, started).await;
        }
        answer
    }

    /// What is malformed fails before anybody is looked up; then the client authenticates, and what it asks for is
    /// looked at.
    async fn answer(&self, request: &mut TokenRequest<'_>, now: Timestamp) -> Result<TokenResponse, TokenError> {
        let context = std::mem::take(&mut request.context);
        let report = self.report(&context);
        rules::check_limits(request, &self.settings.limits).map_err(|fault| report.refused(fault))?;
        let client = self.client_of(request, &self.endpoints.token, now, report).await?;
        let report = report.about(client.id());
        let grant = rules::grant_for(request, &self.grants, &client).map_err(|reason| report.refused(reason))?;
        match (grant, &self.families) {
            // In memory of its own, or every login's future would be as large as this one.
            (Grant::RefreshToken, Some(families)) => Box::pin(self.refresh(families, request, &client, report)).await,
            _ => self.password(request, &client, report).await,
        }
    }

    /// The whole grant (RFC 6749 section 4.3). Each step takes what the one before has established, or says no; the
    /// password is looked at last.
    async fn password(
        &self,
        request: &mut TokenRequest<'_>,
        client: &AuthenticatedClient,
        report: Report<'_>,
    ) -> Result<TokenResponse, TokenError> {
        let refused = |reason: Reason| report.refused(reason);
        let password = request.password.take();

        let scope = rules::scope_for(request, client, self.settings.scopes.as_ref()).map_err(refused)?;
        let own_audience = self.settings.tokens.default_audience();
        let audiences = rules::audiences_for(request, client, own_audience).map_err(refused)?;
        let lifetime = rules::lifetime_for(client, self.settings.access_token_lifetime).map_err(refused)?;
        let (username, password) = rules::credentials_in(request, password).map_err(refused)?;

        let beginning = self.beginning(report).await?;
        let ticket = self.reserve(username, client, report).await?;
        let attempt = LoginAttempt { username, password, scope: &scope, client, context: report.context() };
        let login = self.settings.users.authenticate(attempt).await;
        let login = login.map_err(|cause| report.failed(rules::trouble_of(&cause), &cause));
        self.settle(ticket, outcome_of(&login), username, client, report).await?;
        let accepted = accept(login?, username, report)?;
        let (client_id, subject, context) = (client.id(), &accepted.subject, report.context());
        report.tell(&Event::LoginAccepted { client_id, subject, username, context });

        let scope = rules::final_scope(scope, &accepted).map_err(refused)?;
        rules::check_what_the_host_said(&accepted).map_err(refused)?;
        let granted = Granted { client, username: Some(username), audiences: &audiences, lifetime, scope, accepted };
        let new = self.new_session(&granted, report)?;
        if new.is_none() {
            self.outlast_log_out(beginning, &granted.accepted.subject, report).await?;
        }
        let session_id = new.as_ref().map(|(_, new)| &*new.session_id);
        let mut id = [0; TokenIds::LENGTH];
        let token_id = self.token_ids.next(&mut id);
        let access_token = self.make_token(&granted, token_id, session_id, report).await?;
        // Last, so that nothing is begun or replaced for a token that could not be made; and dated before it is asked who was
        // logged out meanwhile.
        let session = match new {
            Some(new) => Some(self.begin_session(beginning, new, &granted, report).await?),
            None => {
                self.not_logged_out_since(beginning, &granted.accepted.subject, report).await?;
                None
            }
        };
        Ok(answer(granted, access_token, token_id, session, report))
    }

    /// Makes the access token for what has been granted.
    async fn make_token(
        &self,
        granted: &Granted<'_>,
        token_id: &str,
        session_id: Option<&str>,
        report: Report<'_>,
    ) -> Result<AccessToken, TokenError> {
        let authorization = Authorization {
            issuer: &self.settings.issuer,
            subject: &granted.accepted.subject,
            client: granted.client,
            scope: &granted.scope,
            audiences: granted.audiences,
            claims: &granted.accepted.claims,
            token_id,
            session_id,
            issued_at: self.settings.clock.now(), // the password took its time
            lifetime: granted.lifetime,
        };
        let token = self.settings.tokens.issue(&authorization).await;
        token.map_err(|cause| report.failed(Trouble::TokenIssuer, &cause))
    }

    /// The client that sends a request to this endpoint, once it has proved who it is.
    async fn client_of(
        &self,
        request: &TokenRequest<'_>,
        endpoint: &str,
        now: Timestamp,
        report: Report<'_>,
    ) -> Result<AuthenticatedClient, TokenError> {
        self.tell_of_missing_address(report);
        let presented = Presented::by(request).map_err(|reason| report.refused(reason))?;
        self.authenticate(&presented, endpoint, now, report).await
    }

    /// Tells the observer, once per engine, that a request has no caller address.
    fn tell_of_missing_address(&self, report: Report<'_>) {
        let context = report.context();
        let is_missing = self.attempts.is_some() && context.peer().is_none();
        if is_missing && !self.missing_address_told.swap(true, Ordering::Relaxed) {
            report.tell(&Event::NoPeerAddress { context });
        }
    }

    /// Who has failed too often from where it is may not try. What could have been guessed and was not right counts.
    async fn authenticate(
        &self,
        presented: &Presented<'_>,
        endpoint: &str,
        now: Timestamp,
        report: Report<'_>,
    ) -> Result<AuthenticatedClient, TokenError> {
        let Some(attempts) = self.attempts.as_ref().filter(|_| presented.has_proof()) else {
            let client = authenticate(presented, self.registry(endpoint, now), report).await;
            return client.map_err(|refused| refused.error);
        };
        for claimed in presented.client_ids() {
            attempts.check_client(claimed, report).await?;
        }
        match authenticate(presented, self.registry(endpoint, now), report).await {
            Ok(client) => Ok(client),
            Err(refused) => {
                refused.wrong_secret_of.into_iter().for_each(|registered| attempts.wrong_secret(registered, report));
                if let Reason::Client(_) = refused.error.reason() {
                    for claimed in presented.client_ids() {
                        attempts.client_failed(claimed, report).await?;
                    }
                }
                Err(refused.error)
            }
        }
    }

    /// Counts the attempt, before anything is looked up for it.
    async fn reserve(
        &self,
        username: &str,
        client: &AuthenticatedClient,
        report: Report<'_>,
    ) -> Result<Option<Ticket>, TokenError> {
        match &self.attempts {
            Some(attempts) => attempts.reserve(username, client.id(), report).await.map(Some),
            None => Ok(None),
        }
    }

    /// Takes back what was counted, or leaves it.
    async fn settle(
        &self,
        ticket: Option<Ticket>,
        outcome: AttemptOutcome,
        username: &str,
        client: &AuthenticatedClient,
        report: Report<'_>,
    ) -> Result<(), TokenError> {
        match (&self.attempts, ticket) {
            (Some(attempts), Some(ticket)) => attempts.settle(ticket, outcome, username, client.id(), report).await,
            _ => Ok(()),
        }
    }

    fn registry<'a>(&'a self, endpoint: &'a str, now: Timestamp) -> Registry<'a> {
        Registry {
            clients: &*self.settings.clients,
            switched_on: &self.settings.authentication_methods,
            slow: self.settings.slow_secrets.as_deref(),
            published: self.published.as_ref(),
            assertions: Expectations {
                issuer: &self.settings.issuer,
                token_endpoint: &self.endpoints.token,
                endpoint,
                algorithms: &self.settings.assertion_algorithms,
                longest_life: self.settings.longest_assertion,
                now,
            },
            used: &self.used_assertions,
        }
    }

    fn report<'a>(&'a self, context: &'a RequestContext) -> Report<'a> {
        Report::new(&*self.settings.observer, &self.realm, context)
    }

    /// A failed login is answered no sooner than this after its start, so that its cause does not show in its time; so is
    /// a client that did not authenticate, where that can cost a slow hash.
    async fn hold_back(&self, refusal: &TokenError, floor: Duration, started: Timestamp) {
        let held_back = match refusal.reason() {
            Reason::Login(_) => true,
            Reason::Client(_) => self.settings.slow_secrets.is_some(),
            _ => false,
        };
        if held_back {
            let passed = self.settings.clock.now().since(started);
            self.settings.clock.sleep(floor.saturating_sub(passed)).await;
        }
    }
}

/// What a token is issued for.
struct Granted<'a> {
    client: &'a AuthenticatedClient,
    /// The name that was typed, at a login.
    username: Option<&'a str>,
    audiences: &'a [String],
    lifetime: Duration,
    scope: Scope,
    accepted: Accepted,
}

/// The answer that carries what was made.
fn answer(
    granted: Granted<'_>,
    access_token: AccessToken,
    token_id: &str,
    session: Option<Session>,
    report: Report<'_>,
) -> TokenResponse {
    let Granted { client, username, lifetime, scope, accepted, .. } = granted;
    let (client_id, subject, context) = (client.id(), &accepted.subject, report.context());
    let session_id = session.as_ref().map(|session| &*session.id);
    report.tell(&match (username, session_id) {
        (None, Some(session_id)) => {
            Event::TokenRefreshed { client_id, subject, scope: &scope, token_id, session_id, context }
        }
        _ => {
            let username = username.unwrap_or_default();
            Event::TokenIssued { client_id, subject, username, scope: &scope, token_id, session_id, context }
        }
    });
    let refresh_token = session.map(|session| session.token);
    TokenResponse { access_token, expires_in: lifetime, scope, refresh_token, members: accepted.members }
}

/// Only an accepted login goes on.
fn accept(login: Login, username: &str, report: Report<'_>) -> Result<Accepted, TokenError> {
    match login.into_outcome() {
        Outcome::Accepted(accepted) => Ok(accepted),
        Outcome::Rejected(rejection) => Err(report.rejected(username, rejection)),
        Outcome::MoreNeeded { code, members } => {
            rules::check_more_needed(&code, &members).map_err(|reason| report.refused(reason))?;
            Err(report.more_needed(username, code, members))
        }
    }
}

impl fmt::Debug for PasswordGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordGrant").field("issuer", &self.0.settings.issuer).finish_non_exhaustive()
    }
}
