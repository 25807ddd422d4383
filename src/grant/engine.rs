//! The engine behind [`PasswordGrant`](crate::PasswordGrant): its parts, and the edge at which a
//! refusal is observed and converted.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use crate::client::authenticate::{SlowSecrets, UsedAssertions};
use crate::client::jwks::PublishedKeys;
use crate::client::{AuthenticationMethod, ClientStore, Grant};
use crate::endpoint::metadata::{EndpointUrls, Metadata};
use crate::environment::Environment;
use crate::error::{ClientFault, Reason, ServerFault, TokenError};
use crate::event::{self, Event, EventKind};
use crate::future::catch_panic;
use crate::http::{HttpRequest, HttpResponse};
use crate::jose::Algorithm;
use crate::limiter::AttemptLimiter;
use crate::refusal::Refusal;
use crate::request::TokenRequest;
use crate::response::TokenResponse;
use crate::session::{Revocations, Sessions};
use crate::state::transaction::State;
use crate::time::Timestamp;
use crate::token::TokenIssuer;
use crate::token::jti::TokenIds;
use crate::types::context::RequestContext;
use crate::types::endpoint::Endpoint;
use crate::types::limits::RequestLimits;
use crate::types::scope::Scope;
use crate::user::UserAuthenticator;

pub(crate) struct Engine {
    pub(crate) settings: Settings,
    pub(crate) realm: Arc<str>,
    /// `None` if the host has switched the limits off.
    pub(crate) limiter: Option<AttemptLimiter>,
    pub(crate) state: Arc<State>,
    pub(crate) used_assertions: UsedAssertions,
    pub(crate) published: Option<PublishedKeys>,
    /// `None` if refresh tokens are off.
    pub(crate) sessions: Option<Sessions>,
    pub(crate) grants: Vec<Grant>,
    pub(crate) revocations: Revocations,
    pub(crate) token_ids: TokenIds,
    pub(crate) endpoints: EndpointUrls,
    pub(crate) metadata: Metadata,
    /// Number of requests that came without their caller's address.
    pub(crate) missing_addresses: AtomicU64,
}

/// The host's settings that the engine uses as they are.
pub(crate) struct Settings {
    pub(crate) issuer: String,
    pub(crate) clients: Arc<dyn ClientStore>,
    pub(crate) users: Arc<dyn UserAuthenticator>,
    pub(crate) tokens: Arc<dyn TokenIssuer>,
    pub(crate) environment: Environment,
    pub(crate) limits: RequestLimits,
    pub(crate) authentication_methods: Vec<AuthenticationMethod>,
    pub(crate) assertion_algorithms: Vec<Algorithm>,
    pub(crate) max_assertion_lifetime: Duration,
    pub(crate) slow_secrets: Option<Arc<dyn SlowSecrets>>,
    pub(crate) scopes: Option<Scope>,
    pub(crate) access_token_lifetime: Duration,
    pub(crate) min_failure_time: Option<Duration>,
}

/// Where refusals are reported to the observer and converted into answers.
impl Engine {
    pub(super) fn parse<'a>(
        &self,
        parsed: &mut TokenRequest<'a>,
        request: &HttpRequest<'a>,
        endpoint: Endpoint,
    ) -> Result<(), TokenError> {
        let parsed = parsed.parse(request, endpoint, &self.settings.limits);
        parsed.map_err(|fault| self.refuse(fault.into(), &request.context, None, None))
    }

    /// The answer to a request. A panic in the host's code becomes a server fault.
    pub(super) async fn answered<T: Into<HttpResponse>>(
        &self,
        context: &RequestContext,
        future: Pin<&mut impl Future<Output = Result<T, TokenError>>>,
    ) -> HttpResponse {
        match catch_panic(future).await {
            Some(answer) => answer.map_or_else(Into::into, Into::into),
            None => self.refuse(ServerFault::Panic.into(), context, None, None).into(),
        }
    }

    pub(super) async fn handle(
        &self,
        request: &mut TokenRequest<'_>,
    ) -> Result<TokenResponse, TokenError> {
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

    /// Reports a refusal of an endpoint that has no grants, and converts it.
    pub(crate) async fn conclude<T>(
        &self,
        outcome: Result<T, Refusal>,
        context: &RequestContext,
        started: Timestamp,
    ) -> Result<T, TokenError> {
        match outcome {
            Ok(answer) => Ok(answer),
            Err(refusal) => {
                let error = self.refuse(refusal, context, None, Some(started));
                self.hold_back(&error, started).await;
                Err(error)
            }
        }
    }

    /// Reports a refusal to the observer and converts it into the answer, which tells the caller
    /// only what it may know.
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

    /// Delays the answer to a failed authentication of a user or a client until the minimum failure
    /// time after its start, so that the response time does not tell the cause.
    async fn hold_back(&self, error: &TokenError, started: Timestamp) {
        let floor = self.settings.min_failure_time;
        if let Some(floor) = floor.filter(|_| could_tell_cause_by_its_time(error.reason())) {
            let passed = self.settings.environment.clock.now().since(started);
            self.settings.environment.clock.sleep(floor.saturating_sub(passed)).await;
        }
    }
}

/// Whether the time until this refusal depends on what a user or a client was looked up or verified
/// with.
fn could_tell_cause_by_its_time(reason: &Reason) -> bool {
    match reason {
        Reason::Login(_) => true,
        // The request itself is at fault, and nobody was looked up.
        Reason::Client(ClientFault::Unidentified | ClientFault::MalformedAuthorization) => false,
        Reason::Client(_) => true,
        // The store may have failed when a login or a client's failure was to be counted, which
        // hides the outcome from the caller.
        Reason::ServerFault(ServerFault::StateStore) => true,
        // These are told apart by their answers anyway, or nothing was looked at before them.
        Reason::Request(_)
        | Reason::NotAllowed(_)
        | Reason::Token(_)
        | Reason::MoreNeeded(_)
        | Reason::TooManyAttempts(_)
        | Reason::ServerFault(_) => false,
    }
}
