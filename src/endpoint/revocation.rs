//! The revocation endpoint (RFC 7009): a client revokes one of its own tokens.

use crate::client::AuthenticatedClient;
use crate::endpoint::{is_own, token_in};
use crate::error::{BoxError, ServerFault, TokenError, TokenFault};
use crate::event::{Event, EventKind};
use crate::grant::engine::Engine;
use crate::http::HttpResponse;
use crate::refusal::{OrFault, Refusal};
use crate::request::TokenRequest;
use crate::session::{self, Ending, RefreshKeys, Revocation, Revocations, Sessions};
use crate::state::transaction::HeldRows;
use crate::time::Timestamp;
use crate::types::context::RequestContext;
use crate::types::token::TokenDetails;

/// The answer of the revocation endpoint (RFC 7009 section 2.2), whether or not there was something
/// to revoke. Deployed clients expect a content type and a JSON body.
pub(crate) struct Revoked;

impl From<Revoked> for HttpResponse {
    fn from(Revoked: Revoked) -> Self {
        Self::private_json(200, b"{}".to_vec())
    }
}

impl Engine {
    pub(crate) async fn revoke(&self, request: &TokenRequest<'_>) -> Result<Revoked, TokenError> {
        let started = self.settings.environment.clock.now();
        let revoked = self.revoke_token(request, started).await;
        self.conclude(revoked, &request.context, started).await
    }

    async fn revoke_token(
        &self,
        request: &TokenRequest<'_>,
        now: Timestamp,
    ) -> Result<Revoked, Refusal> {
        let (context, mut held) = (&request.context, HeldRows::default());
        let client = self.client_of(request, self.endpoints.revocation(), &mut held, now).await?;
        let revoked = match (token_in(request), &self.sessions) {
            (Err(fault), _) => Err(fault.into()),
            (Ok(token), Some(sessions)) if RefreshKeys::is_refresh_token(token) => {
                self.revoke_session(sessions, token, &client, context).await
            }
            (Ok(token), _) => self.revoke_access_token(token, &client, now, context).await,
        };
        revoked.map_err(|refusal| refusal.of_client(client.id()))
    }

    async fn revoke_session(
        &self,
        sessions: &Sessions,
        token: &str,
        client: &AuthenticatedClient,
        context: &RequestContext,
    ) -> Result<Revoked, Refusal> {
        let holder = session::holder(client, context);
        let found = sessions.revoke(token, &holder).await;
        match found.or_fault(ServerFault::StateStore)? {
            Ending::NoSuchSession => Ok(Revoked),
            Ending::OtherHolder(found) => {
                Err(Refusal::new(TokenFault::OtherClient).of_session(&found.session_id))
            }
            Ending::Ended(found) => {
                let subject = &found.session.subject.as_str().into();
                let event =
                    Event::in_context(EventKind::TokenRevoked, context).with_client(client.id());
                self.observe(&event.with_session(&found.session_id).with_subject(subject));
                Ok(Revoked)
            }
        }
    }

    async fn revoke_access_token(
        &self,
        token: &str,
        client: &AuthenticatedClient,
        now: Timestamp,
        context: &RequestContext,
    ) -> Result<Revoked, Refusal> {
        let Some(details) = self.inspect(token, now.minus(Revocations::GRACE)).await? else {
            return Ok(Revoked);
        };
        let status = self.revocations.status(&details).await.or_fault(ServerFault::StateStore)?;
        if !is_own(&details, status.tenant.as_deref(), client, context) {
            let refusal = Refusal::new(TokenFault::OtherClient);
            return Err(match &details.session_id {
                Some(session_id) => refusal.of_session(session_id),
                None => refusal,
            });
        }
        self.revoke_details(&details).await.map_err(|error| match error {
            RevocationError::Full => {
                Refusal::new(ServerFault::TooManyRevocations).of_subject(details.subject.as_str())
            }
            RevocationError::Store(cause) => Refusal::fault(ServerFault::StateStore, cause),
            RevocationError::NoIdentifier | RevocationError::OtherIssuer => {
                Refusal::fault(ServerFault::TokenLookup, error)
            }
        })?;
        self.observe_revocation(&details, context);
        Ok(Revoked)
    }

    /// Revokes an access token that this engine has issued.
    pub(crate) async fn revoke_details(
        &self,
        details: &TokenDetails,
    ) -> Result<(), RevocationError> {
        if details.token_id.is_empty() {
            return Err(RevocationError::NoIdentifier);
        }
        match self.revocations.revoke(details).await.map_err(RevocationError::Store)? {
            Revocation::Full => Err(RevocationError::Full),
            Revocation::Done => Ok(()),
        }
    }

    pub(crate) fn observe_revocation(&self, details: &TokenDetails, context: &RequestContext) {
        self.observe(&Event {
            token_id: Some(&details.token_id),
            session_id: details.session_id.as_ref(),
            ..Event::in_context(EventKind::TokenRevoked, context)
                .with_client(&details.client_id)
                .with_subject(&details.subject)
        });
    }
}

/// Why an access token could not be revoked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RevocationError {
    #[error("the token was issued by another issuer")]
    OtherIssuer,
    #[error("a token without an identifier cannot be revoked")]
    NoIdentifier,
    #[error("too many tokens of this subject have been revoked and have not expired")]
    Full,
    #[error(transparent)]
    Store(BoxError),
}
