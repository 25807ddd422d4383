//! The password grant (RFC 6749 section 4.3): it checks the request, reserves the attempt, has the
//! user authenticated, and issues the token.

use crate::client::AuthenticatedClient;
use crate::error::Reason;
use crate::event::{Event, EventKind};
use crate::grant::engine::Engine;
use crate::grant::issue::Granted;
use crate::grant::policy;
use crate::limiter::{Attempt, Judged, Reservation, judged};
use crate::refusal::Refusal;
use crate::request::{Parameter, TokenRequest};
use crate::response::TokenResponse;
use crate::time::Timestamp;
use crate::user::{Accepted, Login, LoginAttempt, Outcome};

impl Engine {
    /// The whole grant. Each step uses what the steps before have established, or refuses. The
    /// password is verified only after every check of the request.
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

        let login_epoch = self.login_epoch().await?;
        let attempt = Attempt { username, client_id: client.id(), context };
        let reservation = self.reserve(&attempt).await?;
        let login = LoginAttempt { username, password, scope: &scope, client, context };
        let login = self.settings.users.authenticate(login).await;
        let login = login.map_err(|cause| Refusal::fault(policy::fault_of(&cause), cause));
        let settled = self.settle(reservation, judged(&login), &attempt).await;
        let login = match (login, settled) {
            (Ok(login), Ok(())) => login,
            (Ok(login), Err(unsettled)) => {
                // The caller learns nothing about the login, and the observer still does.
                if let Some(rejection) = login.rejection() {
                    self.observe(&attempt.event(EventKind::LoginRejected(rejection)));
                }
                return Err(unsettled);
            }
            (Err(failed), Ok(())) => return Err(failed),
            (Err(failed), Err(unsettled)) => {
                // The attempt stays counted as a failure, which the observer should know too.
                self.observe(&Event { context: Some(context), ..unsettled.event() });
                return Err(failed);
            }
        };
        let accepted = accept(login)?;
        self.observe(&attempt.event(EventKind::LoginAccepted).with_subject(&accepted.subject));

        let scope = policy::final_scope(scope, &accepted)?;
        policy::check_host_values(&accepted)?;
        let (username, audiences) = (Some(username), &*audiences);
        let granted =
            Granted { client, username, audiences, lifetime, scope, accepted, context, started };
        self.issue(granted, login_epoch).await
    }

    /// Counts the attempt in the limiter before the user is looked up.
    async fn reserve(&self, attempt: &Attempt<'_>) -> Result<Option<Reservation>, Refusal> {
        match &self.limiter {
            Some(limiter) => limiter.reserve(attempt).await.map(Some),
            None => Ok(None),
        }
    }

    /// Takes the reservation back or leaves it counted, as the attempt was judged.
    async fn settle(
        &self,
        reservation: Option<Reservation>,
        judged: Judged,
        attempt: &Attempt<'_>,
    ) -> Result<(), Refusal> {
        match (&self.limiter, reservation) {
            (Some(limiter), Some(reservation)) => {
                limiter.settle(reservation, judged, attempt).await
            }
            _ => Ok(()),
        }
    }
}

/// Lets only an accepted login continue.
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
