//! Refresh tokens (RFC 6749 section 6): the engine's side of the [families](crate::state::family).

mod config;
mod families;

use crate::client::AuthenticatedClient;
use crate::event::{Event, EventKind};
use crate::grant::log_out::Beginning;
pub use crate::grant::refresh::config::RefreshTokens;
use crate::grant::refresh::families::Intent;
pub(crate) use crate::grant::refresh::families::{Families, Found, NewSession, Session, expires_at, holder, log_out};
use crate::grant::token_id::TokenIds;
use crate::grant::{Engine, Granted, rules};
use crate::refusal::{OrFault, Refusal};
use crate::request::TokenRequest;
use crate::response::TokenResponse;
use crate::state::family::{Contention, Family, Step};
use crate::user::Accepted;
use crate::vocabulary::clock::Timestamp;
use crate::vocabulary::context::RequestContext;
use crate::vocabulary::error::{Reason, RequestFault, ServerFault, TokenFault};
use crate::vocabulary::identifier::Subject;

impl Engine {
    /// What a family begins with, if what was granted is to have a refresh token.
    pub(crate) fn new_session(&self, granted: &Granted<'_>) -> Result<Option<(&Families, NewSession)>, Refusal> {
        let families = self.families.as_ref().filter(|families| families.are_for(granted.client, &granted.scope));
        let Some(families) = families else { return Ok(None) };
        // Without randomness there is no token.
        let new = families.new_session().or_fault(ServerFault::TokenIssuer)?;
        Ok(Some((families, new)))
    }

    /// Begins a family for what was granted. Whoever was logged out since the login began is refused, since the password may
    /// have been the former one; or, over a shared store, gets a family that is over from its beginning.
    pub(crate) async fn begin_session(
        &self,
        beginning: Beginning,
        (families, new): (&Families, NewSession),
        granted: &Granted<'_>,
        context: &RequestContext,
    ) -> Result<Session, Refusal> {
        let Granted { client, scope, accepted, .. } = granted;
        let holder = holder(client, context);
        let what = (scope.clone(), granted.audiences.to_vec());
        let began_after = beginning.number();
        let created =
            Box::pin(families.create(new, holder, &accepted.subject, began_after, what, granted.lifetime)).await;
        let Some((session, replaced)) = created.or_fault(ServerFault::StateStore)? else {
            return Err(ServerFault::LoggedOutMeanwhile.into());
        };
        if let Some(session_id) = replaced.as_deref() {
            let event = Event::in_context(EventKind::SessionReplaced, context).with_client(client.id());
            self.observe(&Event { session_id: Some(session_id), ..event.with_subject(&accepted.subject) });
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
        started: Timestamp,
    ) -> Result<TokenResponse, Refusal> {
        let presented = request.refresh_token.take().ok_or(RequestFault::RefreshTokenMissing)?;
        let (request, context) = (&*request, &request.context);
        let lifetime = rules::lifetime_for(client, self.settings.access_token_lifetime)?;

        let used = families.read(presented.expose()).ok_or(TokenFault::NotOurs)?;
        let (holder, treatment) = (holder(client, context), (client.registration().rotates(), lifetime));
        let refused = |reason: Reason| Refusal::new(reason).of_session(&used.session_id);
        let good = |(step, family): (Step, Option<Family>)| match (step, family) {
            (Step::Rotated | Step::Repeated(_) | Step::Kept, Some(family)) => Ok((step, family)),
            (Step::Refused(fault), _) => Err(refused(fault.into())),
            (Step::Reused, _) => Err(refused(TokenFault::Reused.into())),
            (Step::Busy(Contention::ForeignSuccessor), _) => Err(refused(ServerFault::RefreshKeyMissing.into())),
            _ => Err(refused(ServerFault::RefreshContended.into())),
        };
        let looked_at = families.step(&used, &holder, treatment, Intent::Look).await;
        let (_, family) = good(looked_at.or_fault(ServerFault::StateStore)?)?;

        let scope = rules::refreshed_scope(request, &family.scope, client, self.settings.scopes.as_ref())?;
        let own_audience = self.settings.tokens.default_audience();
        let audiences = rules::refreshed_audiences(request, &family.audiences, client, own_audience)?;
        let accepted = self.admit(families, &family.subject.as_str().into(), client, context).await;
        let accepted = accepted.map_err(|refusal| refusal.of_session(&used.session_id))?;
        let scope = rules::final_scope(scope, &accepted)?;
        rules::check_what_the_host_said(&accepted)?;

        let granted = Granted { client, username: None, audiences: &audiences, lifetime, scope, accepted };
        let mut id = [0; TokenIds::LENGTH];
        let token_id = self.token_ids.next(&mut id);
        let access_token = self.make_token(&granted, token_id, Some(&used.session_id)).await?;

        let taking = Intent::Take { subject: &family.subject, patience: families.patience() };
        let taken = families.step(&used, &holder, treatment, taking).await;
        let token = match good(taken.or_fault(ServerFault::StateStore)?)?.0 {
            Step::Kept => Some(presented.into_owned()),
            Step::Repeated(index) => families.successor(&used, index),
            _ => families.successor(&used, 0),
        };
        let token = token.ok_or(ServerFault::RefreshKeyMissing)?;
        let session = Session { id: used.session_id, token };
        Ok(self.answer(granted, access_token, token_id, Some(session), (context, started)))
    }

    /// Asks the gate, as the login was asked.
    async fn admit(
        &self,
        families: &Families,
        subject: &Subject,
        client: &AuthenticatedClient,
        context: &RequestContext,
    ) -> Result<Accepted, Refusal> {
        let admission = families.gate().admit(subject, client, context).await;
        let accepted = admission.or_fault(ServerFault::AccountGate)?.into_accepted(subject.clone());
        accepted.map_err(|rejection| TokenFault::Account(rejection).into())
    }
}
