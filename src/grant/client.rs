//! Client authentication (RFC 6749 section 2.3) as the first step at every endpoint, within the
//! limit on failed authentications.

use std::sync::atomic::Ordering;

use crate::client::authenticate::{Authenticator, Credential, Expectations};
use crate::client::{AuthenticatedClient, Grant};
use crate::error::{ClientFault, Reason, ServerFault};
use crate::event::{Event, EventKind};
use crate::grant::engine::Engine;
use crate::limiter::ClaimedClient;
use crate::refusal::{OrFault, Refusal};
use crate::request::{Parameter, TokenRequest};
use crate::state::StateKey;
use crate::state::transaction::HeldRows;
use crate::time::Timestamp;
use crate::types::context::RequestContext;

impl Engine {
    /// Authenticates the client of a request to the endpoint with this URL. Refuses clients over
    /// their failure limit, and counts a failure if the request held a credential that can be
    /// guessed.
    pub(crate) async fn client_of(
        &self,
        request: &TokenRequest<'_>,
        endpoint: &str,
        held: &mut HeldRows,
        now: Timestamp,
    ) -> Result<AuthenticatedClient, Refusal> {
        let context = &request.context;
        self.count_missing_address(context);
        let credential = Credential::of(request)?;
        let authenticator = self.authenticator(endpoint, now, context);
        let Some(limiter) = self.limiter.as_ref().filter(|_| credential.can_be_guessed()) else {
            return authenticator.authenticate(&credential).await;
        };
        let claimed = limiter.claimed_clients(credential.client_ids(), context);
        let ahead = || {
            let rows = claimed.iter().flat_map(ClaimedClient::rows);
            rows.chain(self.rows_ahead(request)).collect()
        };
        self.state.hold(held, ahead).await.or_fault(ServerFault::StateStore)?;
        limiter.check_client(&claimed, held).await?;
        let authenticated = authenticator.authenticate(&credential).await;
        if let Err(refusal) = &authenticated
            && let Reason::Client(fault) = refusal.reason()
        {
            if let (ClientFault::Secret, Some(registered)) = (fault, refusal.client_id()) {
                limiter.wrong_secret(registered, context);
            }
            let counted = limiter.client_failed(&claimed, held).await;
            if let Err(uncounted) = counted {
                // The answer is the server fault, which must not hide what was refused.
                self.observe(&Event { context: Some(context), ..refusal.event() });
                return Err(match refusal.client_id() {
                    Some(claimed) => uncounted.of_client(claimed),
                    None => uncounted,
                });
            }
        }
        authenticated
    }

    /// The keys of rows that the grant will read once the client is authenticated, so that one call
    /// of a shared store loads them together with the client's. Nothing of the request has been
    /// checked yet but its form.
    fn rows_ahead(&self, request: &TokenRequest<'_>) -> Vec<StateKey> {
        let grant = request.grant_type().and_then(Grant::named);
        match (grant, &self.limiter, &self.sessions) {
            (Some(Grant::Password), Some(limiter), _) => {
                let username = request.get(Parameter::Username);
                username.map(|username| limiter.rows_ahead(username, &request.context))
            }
            (Some(Grant::RefreshToken), _, Some(sessions)) => {
                request.get(Parameter::RefreshToken).map(|token| sessions.rows_of(token))
            }
            _ => None,
        }
        .unwrap_or_default()
    }

    fn authenticator<'a>(
        &'a self,
        endpoint: &'a str,
        now: Timestamp,
        context: &'a RequestContext,
    ) -> Authenticator<'a> {
        Authenticator {
            clients: &*self.settings.clients,
            methods: &self.settings.authentication_methods,
            slow: self.settings.slow_secrets.as_deref(),
            published: self.published.as_ref(),
            assertions: Expectations {
                issuer: &self.settings.issuer,
                token_endpoint: &self.endpoints.token,
                endpoint,
                algorithms: &self.settings.assertion_algorithms,
                max_lifetime: self.settings.max_assertion_lifetime,
                now,
            },
            used: &self.used_assertions,
            observer: &*self.settings.environment.observer,
            context,
        }
    }

    /// Reports once that many requests came without their caller's address. A few may be the host's
    /// own health checks.
    fn count_missing_address(&self, context: &RequestContext) {
        const MANY: u64 = 100;
        let is_missing = self.limiter.is_some() && context.peer().is_none();
        if is_missing && self.missing_addresses.fetch_add(1, Ordering::Relaxed) + 1 == MANY {
            self.observe(&Event::in_context(EventKind::NoPeerAddress, context));
        }
    }
}
