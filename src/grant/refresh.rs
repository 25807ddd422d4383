//! The refresh grant (RFC 6749 section 6).

use crate::client::{AuthenticatedClient, Grant};
use crate::error::{Reason, RequestFault, ServerFault, TokenFault};
use crate::event::EventKind;
use crate::grant::issue::Granted;
use crate::grant::{Engine, policy};
use crate::refusal::{OrFault, Refusal};
use crate::request::{Parameter, TokenRequest};
use crate::response::TokenResponse;
use crate::session::rotation::{Contention, Session, Step};
use crate::session::{Intent, IssuedSession, Sessions, holder};
use crate::time::Timestamp;
use crate::token::jti::TokenIds;
use crate::types::context::RequestContext;
use crate::types::identifier::Subject;
use crate::user::Accepted;

impl Engine {
    /// The refresh grant (RFC 6749 section 6). The token is looked at first, without using it up; it is used up last, once
    /// nothing else can say no or fail.
    pub(super) async fn refresh(
        &self,
        request: &mut TokenRequest<'_>,
        client: &AuthenticatedClient,
        started: Timestamp,
    ) -> Result<TokenResponse, Refusal> {
        // Where there are no refresh tokens, the grant is not on.
        let families = self.families.as_ref().ok_or(RequestFault::GrantTypeUnknown)?;
        let presented =
            request.take(Parameter::RefreshToken).ok_or(RequestFault::RefreshTokenMissing)?;
        let (request, context) = (&*request, &request.context);
        let lifetime = policy::lifetime_for(client, self.settings.access_token_lifetime)?;

        let used = families.read(presented.expose()).ok_or(TokenFault::NotOurs)?;
        let (holder, treatment) =
            (holder(client, context), (client.registration().rotates_refresh_tokens(), lifetime));
        let refused = |reason: Reason| Refusal::new(reason).of_session(&used.session_id);
        let good = |(step, family): (Step, Option<Session>)| match (step, family) {
            (Step::Rotated | Step::Repeated(_) | Step::Kept, Some(family)) => Ok((step, family)),
            (Step::Refused(fault), _) => Err(refused(fault.into())),
            (Step::Reused, _) => Err(refused(TokenFault::Reused.into())),
            (Step::Busy(Contention::ForeignSuccessor), _) => {
                Err(refused(ServerFault::RefreshKeyMissing.into()))
            }
            _ => Err(refused(ServerFault::RefreshContended.into())),
        };
        let looked_at = families.step(&used, &holder, treatment, Intent::Look).await;
        let (_, family) = good(looked_at.or_fault(ServerFault::StateStore)?)?;

        let scope =
            policy::refreshed_scope(request, &family.scope, client, self.settings.scopes.as_ref())?;
        let own_audience = self.settings.tokens.default_audience();
        let audiences =
            policy::refreshed_audiences(request, &family.audiences, client, own_audience)?;
        let accepted = self.admit(families, &family.subject.as_str().into(), client, context).await;
        let accepted = accepted.map_err(|refusal| refusal.of_session(&used.session_id))?;
        let scope = policy::final_scope(scope, &accepted)?;
        policy::check_what_the_host_said(&accepted)?;

        let (username, audiences) = (None, &*audiences);
        let granted =
            Granted { client, username, audiences, lifetime, scope, accepted, context, started };
        let mut id = [0; TokenIds::LENGTH];
        let token_id = self.token_ids.next(&mut id);
        let access_token = self.make_token(&granted, token_id, Some(&used.session_id)).await?;

        let taking = Intent::Take { subject: &family.subject, timeout: families.timeout() };
        let taken = families.step(&used, &holder, treatment, taking).await;
        let token = match good(taken.or_fault(ServerFault::StateStore)?)?.0 {
            Step::Kept => Some(presented.into_owned()),
            Step::Repeated(index) => families.successor(&used, index),
            _ => families.successor(&used, 0),
        };
        let token = token.ok_or(ServerFault::RefreshKeyMissing)?;
        let session = IssuedSession { id: used.session_id, token };
        Ok(self.answer(EventKind::TokenRefreshed, granted, access_token, token_id, Some(session)))
    }

    /// Shortens the wait that a refused refresh is told, so that the retry comes within the window
    /// in which a used token is repeated instead of taken for a theft.
    pub(super) fn with_wait_for_refresh(
        &self,
        refusal: Refusal,
        request: &TokenRequest<'_>,
    ) -> Refusal {
        match &self.families {
            Some(families) if request.grant_type() == Some(Grant::RefreshToken.as_str()) => {
                refusal.retry_at_most_after(families.longest_wait())
            }
            _ => refusal,
        }
    }

    /// Asks the gate, as the login was asked.
    async fn admit(
        &self,
        families: &Sessions,
        subject: &Subject,
        client: &AuthenticatedClient,
        context: &RequestContext,
    ) -> Result<Accepted, Refusal> {
        let admission = families.gate().admit(subject, client, context).await;
        let accepted = admission.or_fault(ServerFault::AccountGate)?.into_accepted(subject.clone());
        accepted.map_err(|rejection| TokenFault::Account(rejection).into())
    }
}
