//! The last step of every grant: it makes the access token, begins the session and makes the answer
//! (RFC 6749 section 5.1).

use std::time::Duration;

use crate::client::AuthenticatedClient;
use crate::error::{BoxError, ServerFault};
use crate::event::{Event, EventKind};
use crate::grant::engine::Engine;
use crate::limiter::{Attempt, Judged, Reservation, Settled};
use crate::refusal::{OrFault, Refusal};
use crate::response::TokenResponse;
use crate::session::{
    AlongWith, Created, IssuedSession, NewSession, SessionGrant, Sessions, holder,
};
use crate::state::transaction::{HeldRows, Transaction};
use crate::time::Timestamp;
use crate::token::Authorization;
use crate::token::jti::TokenIds;
use crate::types::context::RequestContext;
use crate::types::identifier::SessionId;
use crate::types::scope::Scope;
use crate::types::token::AccessToken;
use crate::user::Accepted;

/// A login whose attempt is counted, before the user is looked up.
pub(super) struct BegunLogin<'a> {
    pub(super) attempt: Attempt<'a>,
    /// `None` if the host has switched the limits off.
    pub(super) reservation: Option<Reservation<'a>>,
    /// The number of the last log-out everywhere, of any subject.
    pub(super) login_epoch: u64,
}

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

/// What else an access token is revoked with.
#[derive(Clone, Copy)]
pub(super) enum RevokedWith<'a> {
    /// Its session, which a log-out everywhere ends too.
    Session(&'a SessionId),
    /// It has no session. The log-outs everywhere of its subject that have a greater number revoke
    /// it. It is issued even if its subject was logged out meanwhile, and then counts as revoked
    /// from the start.
    LogOutAfter(u64),
}

/// What a login yields, before anything of it is written.
pub(super) struct Prepared<'g> {
    granted: Granted<'g>,
    access_token: AccessToken,
    token_id: &'g str,
    /// The session that is to begin, if the client and the granted scope get a refresh token.
    session: Option<(&'g Sessions, NewSession)>,
}

impl Engine {
    /// Makes what a login yields: the access token and, if there is to be a refresh token, the
    /// session that is to begin. Nothing is written yet, so that no session begins or is replaced
    /// for a token that could not be made. `id` takes the token's identifier.
    pub(super) async fn prepare<'g>(
        &'g self,
        granted: Granted<'g>,
        login_epoch: u64,
        id: &'g mut [u8; TokenIds::LENGTH],
    ) -> Result<Prepared<'g>, Refusal> {
        let session = self.new_session(&granted)?;
        let revoked_with = match &session {
            Some((_, new)) => RevokedWith::Session(&new.session_id),
            None => RevokedWith::LogOutAfter(login_epoch),
        };
        let token_id = self.token_ids.next(id).or_fault(ServerFault::TokenIssuer)?;
        let access_token = self.make_token(&granted, token_id, revoked_with).await?;
        Ok(Prepared { granted, access_token, token_id, session })
    }

    /// Settles the attempt of an accepted login, begins its session in the same commit, and makes
    /// the answer.
    pub(super) async fn issue(
        &self,
        prepared: Prepared<'_>,
        begun: BegunLogin<'_>,
        judged: Judged,
        held: &mut HeldRows,
    ) -> Result<TokenResponse, Refusal> {
        let Prepared { granted, access_token, token_id, session: new } = prepared;
        let session = match new {
            None => {
                self.settle(begun, judged, held).await?;
                None
            }
            Some((sessions, new)) => {
                let created =
                    self.begin_session(sessions, new, &granted, &begun, &judged, held).await;
                let (created, settled) = match created {
                    // It is no fault of the login that its session cannot begin, for want of room
                    // in memory or another reason. A shared store that fails is not asked again.
                    Err(cause) if self.state.is_local() => {
                        let fault = Refusal::fault(ServerFault::StateStore, cause);
                        return self.refuse_login(fault, begun, judged, held).await;
                    }
                    created => created.or_fault(ServerFault::StateStore)?,
                };
                if let (Some(limiter), Some(reservation)) = (&self.limiter, begun.reservation) {
                    limiter.settled(reservation, &judged, &settled);
                }
                self.observe_accepted(&judged, &begun.attempt);
                Some(self.begun_session(created, &granted)?)
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
        revoked_with: RevokedWith<'_>,
    ) -> Result<AccessToken, Refusal> {
        let (session_id, login_epoch) = match revoked_with {
            RevokedWith::Session(session_id) => (Some(session_id), None),
            RevokedWith::LogOutAfter(login_epoch) => (None, Some(login_epoch)),
        };
        let authorization = Authorization {
            issuer: &self.settings.issuer,
            subject: &granted.accepted.subject,
            client: granted.client,
            scope: &granted.scope,
            audiences: granted.audiences,
            claims: &granted.accepted.claims,
            token_id,
            session_id,
            login_epoch,
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
        let new = sessions.new_session(&granted.accepted.subject);
        Ok(Some((sessions, new.or_fault(ServerFault::TokenIssuer)?)))
    }

    /// Begins a session, and settles the attempt of its login in the same commit.
    async fn begin_session(
        &self,
        sessions: &Sessions,
        new: NewSession,
        granted: &Granted<'_>,
        begun: &BegunLogin<'_>,
        judged: &Judged,
        held: &mut HeldRows,
    ) -> Result<(Created, Settled), BoxError> {
        let Granted { client, scope, accepted, context, .. } = granted;
        let attempted = self.limiter.as_ref().zip(begun.reservation.as_ref());
        let rows = attempted.map(|(_, reservation)| reservation.rows_to_settle(judged));
        let settle = |tx: &mut Transaction<'_>| match attempted {
            Some((limiter, reservation)) => limiter.settle_in(tx, reservation, judged),
            None => Ok(Settled::default()),
        };
        let session = SessionGrant {
            holder: holder(client, context),
            subject: &accepted.subject,
            epoch: begun.login_epoch,
            scope: scope.clone(),
            audiences: granted.audiences.to_vec(),
            access_token_lifetime: granted.lifetime,
        };
        let along = AlongWith {
            in_turn_over: attempted.map(|(_, reservation)| reservation.account_row()),
            rows: &rows.unwrap_or_default(),
            step: settle,
        };
        Box::pin(sessions.create(new, session, held, along)).await
    }

    /// The session that was begun. If the subject was logged out after the login began, the login
    /// is refused, since the password may have been the former one. Over a shared store it may
    /// instead have got a session that has already ended.
    fn begun_session(
        &self,
        created: Created,
        granted: &Granted<'_>,
    ) -> Result<IssuedSession, Refusal> {
        let Created::Session { issued, replaced } = created else {
            return Err(ServerFault::LoggedOutMeanwhile.into());
        };
        if let Some(session_id) = &replaced {
            let event = Event::in_context(EventKind::SessionReplaced, granted.context)
                .with_client(granted.client.id())
                .with_subject(&granted.accepted.subject);
            self.observe(&event.with_session(session_id));
        }
        Ok(issued)
    }
}
