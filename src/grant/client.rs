//! Client authentication (RFC 6749 section 2.3) as the first step at every endpoint, within the
//! limit on failed authentications.

use std::sync::atomic::Ordering;

use crate::client::AuthenticatedClient;
use crate::client::authenticate::{Authenticator, Credential, Expectations};
use crate::error::{ClientFault, Reason};
use crate::event::{Event, EventKind};
use crate::grant::engine::Engine;
use crate::refusal::Refusal;
use crate::request::TokenRequest;
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
        now: Timestamp,
    ) -> Result<AuthenticatedClient, Refusal> {
        let context = &request.context;
        self.count_missing_address(context);
        let credential = Credential::of(request)?;
        let authenticator = self.authenticator(endpoint, now, context);
        let Some(limiter) = self.limiter.as_ref().filter(|_| credential.can_be_guessed()) else {
            return authenticator.authenticate(&credential).await;
        };
        for claimed in credential.client_ids() {
            limiter.check_client(claimed, context).await?;
        }
        let authenticated = authenticator.authenticate(&credential).await;
        if let Err(refusal) = &authenticated
            && let Reason::Client(fault) = refusal.reason()
        {
            if let (ClientFault::Secret, Some(registered)) = (fault, refusal.client_id()) {
                limiter.wrong_secret(registered, context);
            }
            for claimed in credential.client_ids() {
                if let Err(uncounted) = limiter.client_failed(claimed, context).await {
                    // The answer is the server fault, which must not hide what was refused.
                    self.observe(&Event { context: Some(context), ..refusal.event() });
                    return Err(uncounted.of_client(&claimed.into()));
                }
            }
        }
        authenticated
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
