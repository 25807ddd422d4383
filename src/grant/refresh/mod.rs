//! Refresh tokens (RFC 6749 section 6): the engine's side of the [families](crate::state::family).

mod config;
mod families;

use crate::client::AuthenticatedClient;
use crate::grant::log_out::Beginning;
pub use crate::grant::refresh::config::RefreshTokens;
pub(crate) use crate::grant::refresh::families::{Families, Found, NewSession, Session, expires_at, holder, log_out};
use crate::grant::refresh::families::{Intent, Used};
use crate::grant::token_id::TokenIds;
use crate::grant::{Engine, Granted, answer, rules};
use crate::request::TokenRequest;
use crate::response::TokenResponse;
use crate::state::family::{Contention, Family, Step};
use crate::user::Accepted;
use crate::vocabulary::error::{BoxError, Reason, RequestFault, TokenError, TokenFault, Trouble};
use crate::vocabulary::event::Event;
use crate::vocabulary::identifier::Subject;
use crate::vocabulary::report::Report;

impl Engine {
    /// What a family begins with, if what was granted is to have a refresh token.
    pub(crate) fn new_session(
        &self,
        granted: &Granted<'_>,
        report: Report<'_>,
    ) -> Result<Option<(&Families, NewSession)>, TokenError> {
        let families = self.families.as_ref().filter(|families| families.are_for(granted.client, &granted.scope));
        let Some(families) = families else { return Ok(None) };
        // Without randomness there is no token.
        let new = families.new_session().map_err(|cause| report.failed(Trouble::TokenIssuer, &cause))?;
        Ok(Some((families, new)))
    }

    /// Begins a family for what was granted. Whoever was logged out since the login began is refused, since the password may
    /// have been the former one; or, over a shared store, gets a family that is over from its beginning.
    pub(crate) async fn begin_session(
        &self,
        beginning: Beginning,
        (families, new): (&Families, NewSession),
        granted: &Granted<'_>,
        report: Report<'_>,
    ) -> Result<Session, TokenError> {
        let Granted { client, scope, accepted, .. } = granted;
        let failed = |cause: BoxError| report.failed(Trouble::StateStore, &cause);
        let holder = holder(client, report.context());
        let what = (scope.clone(), granted.audiences.to_vec());
        let began_after = beginning.number();
        let created =
            Box::pin(families.create(new, holder, &accepted.subject, began_after, what, granted.lifetime)).await;
        let Some((session, replaced)) = created.map_err(failed)? else {
            return Err(report.refused(Trouble::LoggedOutMeanwhile));
        };
        if let Some(session_id) = replaced.as_deref() {
            let (client_id, subject, context) = (client.id(), &accepted.subject, report.context());
            report.tell(&Event::SessionReplaced { client_id, subject, session_id, context });
        }
        Ok(session)
    }

    /// The refresh grant (RFC 6749 section 6). The token is looked at first, without using it up; it is used up last, once
    /// nothing else can say no or fail.
    pub(crate) async fn refresh(
        &self,
        families: &Families,
        request: &mut TokenRequest<'_>,
        client: &AuthenticatedClient,
        report: Report<'_>,
    ) -> Result<TokenResponse, TokenError> {
        let refused = |reason: Reason| report.refused(reason);
        let failed = |cause: BoxError| report.failed(Trouble::StateStore, &cause);
        let presented = request.refresh_token.take();
        let presented = presented.ok_or(RequestFault::RefreshTokenMissing).map_err(|fault| report.refused(fault))?;
        let lifetime = rules::lifetime_for(client, self.settings.access_token_lifetime).map_err(refused)?;

        let used = families.read(presented.expose()).ok_or_else(|| report.token(TokenFault::NotOurs, None))?;
        let (holder, treatment) = (holder(client, report.context()), (client.registration().rotates(), lifetime));
        let good = |(step, family): (Step, Option<Family>)| {
            let fault = |fault| Err(report.token(fault, Some(&used.session_id)));
            match (step, family) {
                (Step::Rotated | Step::Repeated(_) | Step::Kept, Some(family)) => Ok((step, family)),
                (Step::Refused(refusal), _) => fault(refusal),
                (Step::Reused, _) => fault(TokenFault::Reused),
                (Step::Busy(Contention::ForeignSuccessor), _) => Err(report.refused(Trouble::RefreshKeyMissing)),
                _ => Err(report.refused(Trouble::RefreshContended)),
            }
        };
        let looked_at = families.step(&used, &holder, treatment, Intent::Look).await.map_err(failed)?;
        let (_, family) = good(looked_at)?;

        let scope = rules::refreshed_scope(request, &family.scope, client, self.settings.scopes.as_ref());
        let scope = scope.map_err(refused)?;
        let own_audience = self.settings.tokens.default_audience();
        let audiences =
            rules::refreshed_audiences(request, &family.audiences, client, own_audience).map_err(refused)?;
        let accepted = self.admit(families, &family.subject.as_str().into(), client, &used, report).await?;
        let scope = rules::final_scope(scope, &accepted).map_err(refused)?;
        rules::check_what_the_host_said(&accepted).map_err(refused)?;

        let granted = Granted { client, username: None, audiences: &audiences, lifetime, scope, accepted };
        let mut id = [0; TokenIds::LENGTH];
        let token_id = self.token_ids.next(&mut id);
        let access_token = self.make_token(&granted, token_id, Some(&used.session_id), report).await?;

        let taking = Intent::Take { subject: &family.subject, patience: families.patience() };
        let taken = families.step(&used, &holder, treatment, taking).await.map_err(failed)?;
        let token = match good(taken)?.0 {
            Step::Kept => Some(presented.into_owned()),
            Step::Repeated(index) => families.successor(&used, index),
            _ => families.successor(&used, 0),
        };
        let token = token.ok_or_else(|| report.refused(Trouble::RefreshKeyMissing))?;
        let session = Session { id: used.session_id, token };
        Ok(answer(granted, access_token, token_id, Some(session), report))
    }

    /// Asks the gate, as the login was asked.
    async fn admit(
        &self,
        families: &Families,
        subject: &Subject,
        client: &AuthenticatedClient,
        used: &Used,
        report: Report<'_>,
    ) -> Result<Accepted, TokenError> {
        let admission = families.gate().admit(subject, client, report.context()).await;
        let admission = admission.map_err(|cause| report.failed(Trouble::AccountGate, &cause))?;
        let accepted = admission.into_accepted(subject.clone());
        accepted.map_err(|rejection| report.token(TokenFault::Account(rejection), Some(&used.session_id)))
    }
}
