//! The password grant (RFC 6749 section 4.3): it checks the request, reserves the attempt, has the
//! user authenticated, and issues the token.

use crate::client::AuthenticatedClient;
use crate::error::{Reason, ServerFault};
use crate::event::{Event, EventKind};
use crate::grant::engine::Engine;
use crate::grant::issue::{BegunLogin, Granted};
use crate::grant::policy;
use crate::limiter::{Attempt, Judged, judged};
use crate::refusal::{OrFault, Refusal};
use crate::request::{Parameter, TokenRequest};
use crate::response::TokenResponse;
use crate::state::transaction::HeldRows;
use crate::time::Timestamp;
use crate::token::jti::TokenIds;
use crate::user::{Accepted, Login, LoginAttempt, Outcome, PasswordUse};

impl Engine {
    /// The whole grant. Each step uses what the steps before have established, or refuses. The
    /// password is verified only after every check of the request.
    pub(super) async fn password(
        &self,
        request: &mut TokenRequest<'_>,
        client: &AuthenticatedClient,
        held: &mut HeldRows,
        started: Timestamp,
    ) -> Result<TokenResponse, Refusal> {
        let password = request.take(Parameter::Password);
        let (request, context) = (&*request, &request.context);

        let scope = policy::scope_for(request, client, self.settings.scopes.as_ref())?;
        let audiences =
            policy::audiences_for(request, client, self.settings.tokens.default_audience())?;
        let lifetime = policy::lifetime_for(client, self.settings.access_token_lifetime);
        let (username, password) = policy::credentials_in(request, password)?;

        let attempt = Attempt { username, client: client.registration(), context };
        let password_use = &PasswordUse::new();
        let begun = self.begin_login(attempt, password_use, held).await?;
        let login = LoginAttempt {
            username,
            password,
            others: &request.others,
            scope: &scope,
            client,
            context,
            password_use,
        };
        let login = self.settings.users.authenticate(login).await;
        let login = login.map_err(|cause| Refusal::fault(policy::fault_of(&cause), cause));
        let judged = judged(&login);
        let accepted = match login.and_then(accept) {
            Ok(accepted) => accepted,
            Err(refusal) => return self.refuse_login(refusal, begun, judged, held).await,
        };
        let granted = policy::final_scope(scope, &accepted).and_then(|scope| {
            policy::check_host_values(&accepted)?;
            let (username, audiences) = (Some(username), &*audiences);
            Ok(Granted { client, username, audiences, lifetime, scope, accepted, context, started })
        });
        let mut id = [0; TokenIds::LENGTH];
        let prepared = match granted {
            Ok(granted) => self.prepare(granted, begun.login_epoch, &mut id).await,
            Err(reason) => Err(reason.into()),
        };
        match prepared {
            Ok(prepared) => self.issue(prepared, begun, judged, held).await,
            Err(refusal) => self.refuse_login(refusal, begun, judged, held).await,
        }
    }

    /// Counts the attempt in the limiter before the user is looked up, and notes the last log-out.
    async fn begin_login<'a>(
        &'a self,
        attempt: Attempt<'a>,
        password_use: &'a PasswordUse,
        held: &mut HeldRows,
    ) -> Result<BegunLogin<'a>, Refusal> {
        match &self.limiter {
            Some(limiter) => {
                let reservation = limiter.reserve(attempt, password_use, held).await?;
                let login_epoch = reservation.login_epoch();
                Ok(BegunLogin { attempt, reservation: Some(reservation), login_epoch })
            }
            None => {
                let last = self.revocations.last_log_out().await;
                let login_epoch = last.or_fault(ServerFault::StateStore)?.number;
                Ok(BegunLogin { attempt, reservation: None, login_epoch })
            }
        }
    }

    /// Takes the attempt back or leaves it counted, as it was judged.
    pub(super) async fn settle(
        &self,
        begun: BegunLogin<'_>,
        judged: Judged,
        held: &mut HeldRows,
    ) -> Result<(), Refusal> {
        if let (Some(limiter), Some(reservation)) = (&self.limiter, begun.reservation) {
            limiter.settle(reservation, &judged, held).await?;
        }
        self.observe_accepted(&judged, &begun.attempt);
        Ok(())
    }

    /// Reports a login that was accepted and settled.
    pub(super) fn observe_accepted(&self, judged: &Judged, attempt: &Attempt<'_>) {
        if let Judged::Accepted(subject) = judged {
            self.observe(&attempt.event(EventKind::LoginAccepted).with_subject(subject));
        }
    }

    /// Settles an attempt that yields no token, and refuses it.
    pub(super) async fn refuse_login<T>(
        &self,
        refusal: Refusal,
        begun: BegunLogin<'_>,
        judged: Judged,
        held: &mut HeldRows,
    ) -> Result<T, Refusal> {
        let attempt = begun.attempt;
        let Err(unsettled) = self.settle(begun, judged, held).await else {
            return Err(refusal);
        };
        // The observer gets to know both. The caller learns of a server fault, and nothing about
        // the login: the attempt stays counted as a failure, whether or not the password is right.
        let is_fault = matches!(refusal.reason(), Reason::ServerFault(_));
        let (told, kept) = if is_fault { (refusal, unsettled) } else { (unsettled, refusal) };
        self.observe(&Event {
            context: Some(attempt.context),
            client_id: Some(attempt.client.id()),
            username: Some(attempt.username).filter(|_| !is_fault),
            ..kept.event()
        });
        Err(told)
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
