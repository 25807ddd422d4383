//! The password grant (RFC 6749 section 4.3).

use crate::client::AuthenticatedClient;
use crate::error::Reason;
use crate::event::EventKind;
use crate::grant::issue::Granted;
use crate::grant::{Engine, policy};
use crate::limiter::{Attempt, Judged, Reservation, judged};
use crate::refusal::Refusal;
use crate::request::{Parameter, TokenRequest};
use crate::response::TokenResponse;
use crate::time::Timestamp;
use crate::user::{Accepted, Login, LoginAttempt, Outcome};

impl Engine {
    /// The whole grant. Each step takes what the one before has established, or refuses; the
    /// password is looked at last.
    pub(super) async fn password(
        &self,
        request: &mut TokenRequest<'_>,
        client: &AuthenticatedClient,
        started: Timestamp,
    ) -> Result<TokenResponse, Refusal> {
        let password = request.take(Parameter::Password);
        let (request, context) = (&*request, &request.context);

        let scope = policy::scope_for(request, client, self.settings.scopes.as_ref())?;
        let audiences =
            policy::audiences_for(request, client, self.settings.tokens.default_audience())?;
        let lifetime = policy::lifetime_for(client, self.settings.access_token_lifetime)?;
        let (username, password) = policy::credentials_in(request, password)?;

        let beginning = self.beginning().await?;
        let attempt = Attempt { username, client_id: client.id(), context };
        let reservation = self.reserve(&attempt).await?;
        let login = LoginAttempt { username, password, scope: &scope, client, context };
        let login = self.settings.users.authenticate(login).await;
        let login = login.map_err(|cause| Refusal::fault(policy::fault_of(&cause), cause));
        let settled = self.settle(reservation, judged(&login), &attempt).await;
        let login = login?;
        settled?;
        let accepted = accept(login)?;
        self.observe(&attempt.event(EventKind::LoginAccepted).with_subject(&accepted.subject));

        let scope = policy::final_scope(scope, &accepted)?;
        policy::check_what_the_host_said(&accepted)?;
        let (username, audiences) = (Some(username), &*audiences);
        let granted =
            Granted { client, username, audiences, lifetime, scope, accepted, context, started };
        self.issue(granted, beginning).await
    }

    /// Counts the attempt, before anything is looked up for it.
    async fn reserve(&self, attempt: &Attempt<'_>) -> Result<Option<Reservation>, Refusal> {
        match &self.attempts {
            Some(attempts) => attempts.reserve(attempt).await.map(Some),
            None => Ok(None),
        }
    }

    /// Takes back what was counted, or leaves it.
    async fn settle(
        &self,
        reservation: Option<Reservation>,
        judged: Judged,
        attempt: &Attempt<'_>,
    ) -> Result<(), Refusal> {
        match (&self.attempts, reservation) {
            (Some(attempts), Some(reservation)) => {
                attempts.settle(reservation, judged, attempt).await
            }
            _ => Ok(()),
        }
    }
}

/// Only an accepted login goes on.
fn accept(login: Login) -> Result<Accepted, Refusal> {
    match login.into_outcome() {
        Outcome::Accepted(accepted) => Ok(accepted),
        Outcome::Rejected(rejection) => Err(Reason::Login(rejection).into()),
        Outcome::MoreNeeded { code, members } => {
            policy::check_more_needed(&code, &members)?;
            Err(Refusal::new(Reason::MoreNeeded(code)).with_members(members))
        }
    }
}
