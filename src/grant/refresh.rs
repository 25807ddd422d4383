//! The refresh grant (RFC 6749 section 6): it checks the refresh token, asks the account gate, and
//! issues the tokens.

use crate::client::{AuthenticatedClient, Grant};
use crate::error::{Reason, RequestFault, ServerFault, TokenFault};
use crate::event::EventKind;
use crate::grant::engine::Engine;
use crate::grant::issue::{Granted, RevokedWith};
use crate::grant::policy;
use crate::refusal::{OrFault, Refusal};
use crate::request::{Parameter, TokenRequest};
use crate::response::TokenResponse;
use crate::session::rotation::{Contention, Session, Step};
use crate::session::{Intent, IssuedSession, RefreshTerms, Sessions, holder};
use crate::state::transaction::HeldRows;
use crate::time::Timestamp;
use crate::token::jti::TokenIds;
use crate::types::context::RequestContext;
use crate::types::identifier::{SessionId, Subject};
use crate::user::Accepted;

impl Engine {
    /// The whole grant. The refresh token is checked first without being used up. It is used up
    /// last, when no other step can refuse or fail any more.
    pub(super) async fn refresh(
        &self,
        request: &mut TokenRequest<'_>,
        client: &AuthenticatedClient,
        held: &mut HeldRows,
        started: Timestamp,
    ) -> Result<TokenResponse, Refusal> {
        // Without refresh tokens, this grant is not switched on.
        let sessions = self.sessions.as_ref().ok_or(RequestFault::GrantTypeUnknown)?;
        let presented =
            request.take(Parameter::RefreshToken).ok_or(RequestFault::RefreshTokenMissing)?;
        let (request, context) = (&*request, &request.context);
        let lifetime = policy::lifetime_for(client, self.settings.access_token_lifetime);

        let used = sessions.read(presented.expose()).ok_or(TokenFault::NotOurs)?;
        let holder = holder(client, context);
        let terms = RefreshTerms {
            rotates: client.registration().rotates_refresh_tokens(),
            access_token_lifetime: lifetime,
        };
        let looked_at = sessions.step(&used, &holder, terms, Intent::Look, held).await;
        let looked_at = looked_at.or_fault(ServerFault::StateStore)?;
        let (_, session) = usable(looked_at, &used.session_id)?;

        let scope = policy::refreshed_scope(
            request,
            &session.scope,
            client,
            self.settings.scopes.as_ref(),
        )?;
        let own_audience = self.settings.tokens.default_audience();
        let audiences =
            policy::refreshed_audiences(request, &session.audiences, client, own_audience)?;
        let accepted =
            self.admit(sessions, &session.subject.as_str().into(), client, context).await;
        let accepted = accepted
            .map_err(|refusal| refusal.of_session(&used.session_id).of_subject(&session.subject))?;
        let scope = policy::final_scope(scope, &accepted)?;
        policy::check_host_values(&accepted)?;

        let (username, audiences) = (None, &*audiences);
        let granted =
            Granted { client, username, audiences, lifetime, scope, accepted, context, started };
        let mut id = [0; TokenIds::LENGTH];
        let token_id = self.token_ids.next(&mut id).or_fault(ServerFault::TokenIssuer)?;
        let revoked_with = RevokedWith::Session(&used.session_id);
        let access_token = self.make_token(&granted, token_id, revoked_with).await?;

        let taking = Intent::Take { timeout: sessions.timeout() };
        let taken = sessions.step(&used, &holder, terms, taking, held).await;
        let token = match usable(taken.or_fault(ServerFault::StateStore)?, &used.session_id)?.0 {
            Step::Kept => Some(presented.into_owned()),
            Step::Repeated(index) => sessions.successor(&used, index),
            _ => sessions.successor(&used, 0),
        };
        let token = token.ok_or(ServerFault::RefreshKeyMissing)?;
        let session = IssuedSession { id: used.session_id, token };
        Ok(self.answer(EventKind::TokenRefreshed, granted, access_token, token_id, Some(session)))
    }

    /// Shortens the `Retry-After` of a refused refresh, so that the retry comes within the window
    /// in which a used token yields its successor again and is not taken for a theft.
    pub(super) fn with_wait_for_refresh(
        &self,
        refusal: Refusal,
        request: &TokenRequest<'_>,
    ) -> Refusal {
        match &self.sessions {
            Some(sessions) if request.grant_type() == Some(Grant::RefreshToken.as_str()) => {
                refusal.retry_at_most_after(sessions.longest_wait())
            }
            _ => refusal,
        }
    }

    /// Asks the account gate for its decision, which is treated like that of a login.
    async fn admit(
        &self,
        sessions: &Sessions,
        subject: &Subject,
        client: &AuthenticatedClient,
        context: &RequestContext,
    ) -> Result<Accepted, Refusal> {
        let admission = sessions.gate().admit(subject, client, context).await;
        let accepted = admission.or_fault(ServerFault::AccountGate)?.into_accepted(subject.clone());
        accepted.map_err(|rejection| TokenFault::Account(rejection).into())
    }
}

/// The step and its session, if the token may be used.
fn usable(
    (step, session): (Step, Option<Session>),
    session_id: &SessionId,
) -> Result<(Step, Session), Refusal> {
    let (reason, session): (Reason, _) = match (step, session) {
        (step @ (Step::Rotated | Step::Repeated(_) | Step::Kept), Some(session)) => {
            return Ok((step, session));
        }
        (Step::Refused(fault), session) => (fault.into(), session),
        (Step::Reused, session) => (TokenFault::Reused.into(), session),
        (Step::Busy(Contention::ForeignSuccessor), session) => {
            (ServerFault::RefreshKeyMissing.into(), session)
        }
        (_, session) => (ServerFault::RefreshContended.into(), session),
    };
    let refusal = Refusal::new(reason).of_session(session_id);
    Err(match session {
        Some(session) => refusal.of_subject(&session.subject),
        None => refusal,
    })
}
