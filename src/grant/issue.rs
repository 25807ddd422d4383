//! The last step of every grant: it makes the access token, begins the session and makes the answer
//! (RFC 6749 section 5.1).

use std::time::Duration;

use crate::client::AuthenticatedClient;
use crate::error::ServerFault;
use crate::event::{Event, EventKind};
use crate::grant::engine::Engine;
use crate::grant::login_epoch::LoginEpoch;
use crate::refusal::{OrFault, Refusal};
use crate::response::TokenResponse;
use crate::session::{Created, IssuedSession, NewSession, SessionGrant, Sessions, holder};
use crate::time::Timestamp;
use crate::token::Authorization;
use crate::token::jti::TokenIds;
use crate::types::context::RequestContext;
use crate::types::identifier::SessionId;
use crate::types::scope::Scope;
use crate::types::token::AccessToken;
use crate::user::Accepted;

/// What a token is issued for. Every check has passed.
pub(super) struct Granted<'a> {
    pub(super) client: &'a AuthenticatedClient,
    /// The user name as it was typed; `None` at a refresh.
    pub(super) username: Option<&'a str>,
    pub(super) audiences: &'a [String],
    pub(super) lifetime: Duration,
    pub(super) scope: Scope,
    pub(super) accepted: Accepted,
    pub(super) context: &'a RequestContext,
    pub(super) started: Timestamp,
}

impl Engine {
    /// Issues an access token, and begins a session if there is to be a refresh token.
    /// `login_epoch` was read before the credentials were judged.
    ///
    /// The session comes last, so that no session begins or is replaced for a token that could not
    /// be made. A token without a session is dated before the engine checks whether its subject was
    /// logged out meanwhile.
    pub(super) async fn issue(
        &self,
        granted: Granted<'_>,
        login_epoch: LoginEpoch,
    ) -> Result<TokenResponse, Refusal> {
        let new = self.new_session(&granted)?;
        if new.is_none() {
            self.outlast_log_out(login_epoch, &granted.accepted.subject).await?;
        }
        let session_id = new.as_ref().map(|(_, new)| &new.session_id);
        let mut id = [0; TokenIds::LENGTH];
        let token_id = self.token_ids.next(&mut id).or_fault(ServerFault::TokenIssuer)?;
        let access_token = self.make_token(&granted, token_id, session_id).await?;
        let session = match new {
            Some((sessions, new)) => {
                Some(self.begin_session(sessions, new, &granted, login_epoch).await?)
            }
            None => {
                self.not_logged_out_since(login_epoch, &granted.accepted.subject).await?;
                None
            }
        };
        Ok(self.answer(EventKind::TokenIssued, granted, access_token, token_id, session))
    }

    /// Makes the access token. It is dated now and not when the request came, because judging the
    /// password takes time.
    pub(super) async fn make_token(
        &self,
        granted: &Granted<'_>,
        token_id: &str,
        session_id: Option<&SessionId>,
    ) -> Result<AccessToken, Refusal> {
        let authorization = Authorization {
            issuer: &self.settings.issuer,
            subject: &granted.accepted.subject,
            client: granted.client,
            scope: &granted.scope,
            audiences: granted.audiences,
            claims: &granted.accepted.claims,
            token_id,
            session_id,
            issued_at: self.settings.environment.clock.now(),
            lifetime: granted.lifetime,
        };
        self.settings.tokens.issue(&authorization).await.or_fault(ServerFault::TokenIssuer)
    }

    /// Reports the grant to the observer and makes the answer.
    pub(super) fn answer(
        &self,
        kind: EventKind,
        granted: Granted<'_>,
        access_token: AccessToken,
        token_id: &str,
        session: Option<IssuedSession>,
    ) -> TokenResponse {
        let Granted { client, username, lifetime, scope, accepted, context, started, .. } = granted;
        self.observe(&Event {
            username,
            session_id: session.as_ref().map(|session| &session.id),
            token_id: Some(token_id),
            scope: Some(&scope),
            elapsed: Some(self.settings.environment.clock.now().since(started)),
            ..Event::in_context(kind, context)
                .with_client(client.id())
                .with_subject(&accepted.subject)
        });
        let refresh_token = session.map(|session| session.token);
        TokenResponse {
            access_token,
            expires_in: lifetime,
            scope,
            refresh_token,
            members: accepted.members,
        }
    }

    /// The session that is to begin, if the client and the granted scope get a refresh token.
    fn new_session(
        &self,
        granted: &Granted<'_>,
    ) -> Result<Option<(&Sessions, NewSession)>, Refusal> {
        let sessions = self
            .sessions
            .as_ref()
            .filter(|sessions| sessions.are_for(granted.client, &granted.scope));
        let Some(sessions) = sessions else { return Ok(None) };
        let new = sessions.new_session().or_fault(ServerFault::TokenIssuer)?;
        Ok(Some((sessions, new)))
    }

    /// Begins a session. If the subject was logged out after `login_epoch`, the login is refused,
    /// since the password may have been the former one. Over a shared store it may instead get a
    /// session that has already ended.
    async fn begin_session(
        &self,
        sessions: &Sessions,
        new: NewSession,
        granted: &Granted<'_>,
        login_epoch: LoginEpoch,
    ) -> Result<IssuedSession, Refusal> {
        let Granted { client, scope, accepted, context, .. } = granted;
        let created = sessions.create(
            new,
            SessionGrant {
                holder: holder(client, context),
                subject: &accepted.subject,
                epoch: login_epoch.number(),
                scope: scope.clone(),
                audiences: granted.audiences.to_vec(),
                access_token_lifetime: granted.lifetime,
            },
        );
        let (issued, replaced) = match Box::pin(created).await.or_fault(ServerFault::StateStore)? {
            Created::Session { issued, replaced } => (issued, replaced),
            Created::LoggedOut => return Err(ServerFault::LoggedOutMeanwhile.into()),
        };
        if let Some(session_id) = &replaced {
            let event =
                Event::in_context(EventKind::SessionReplaced, context).with_client(client.id());
            self.observe(&event.with_session(session_id).with_subject(&accepted.subject));
        }
        Ok(issued)
    }
}
