//! Log-outs that the host asks for: of one token, one session, or everything of a subject.

use crate::endpoint::RevocationError;
use crate::error::BoxError;
use crate::event::{Event, EventKind};
use crate::grant::PasswordGrant;
use crate::grant::engine::Engine;
use crate::resource::VerifiedToken;
use crate::session::{self, Ending, Found, Revocations};
use crate::types::context::RequestContext;
use crate::types::identifier::{SessionId, Subject};

impl PasswordGrant {
    /// Logs out whoever presents this access token: ends its session, with the refresh tokens and
    /// all access tokens of the session, or revokes the token if it has no session. Use it for a
    /// log-out route of your own, at which no client authenticates, so that
    /// [`revoke`](Self::revoke) cannot be used. The token is refused from then on wherever
    /// [`revocations`](Self::revocations) are looked at, and by [`introspect`](Self::introspect).
    /// `context` only reaches the observer. An engine without refresh tokens ends no sessions, so it
    /// revokes the token alone, also if another engine over the same store has begun its session.
    ///
    /// ```
    /// use std::net::IpAddr;
    ///
    /// use password_grant::{BoxError, PasswordGrant, RequestContext, VerifiedToken};
    ///
    /// # async fn log_out(
    /// #     grant: PasswordGrant, token: VerifiedToken, peer: IpAddr,
    /// # ) -> Result<(), BoxError> {
    /// let context = RequestContext::new().with_peer(peer); // the address in the event
    /// grant.log_out(&token, &context).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// If the state store fails, if the token is another issuer's or has no identifier, or if so
    /// many tokens of the subject have been revoked that there is no room for another one. The
    /// token may still be valid then.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the log-out may or may not have happened.
    pub async fn log_out(
        &self,
        token: &VerifiedToken,
        context: &RequestContext,
    ) -> Result<(), BoxError> {
        if token.issuer != self.0.settings.issuer {
            return Err(RevocationError::OtherIssuer.into());
        }
        match &token.session_id {
            Some(session_id) if self.0.sessions.is_some() => {
                self.end_session(session_id, context).await?;
            }
            _ => {
                self.0.revoke_details(token).await?;
                self.0.observe_revocation(token, context);
            }
        }
        Ok(())
    }

    /// Ends one session, with its refresh tokens and access tokens, and returns whether there was
    /// such a session; that there was none is not an error. `session_id` is the one that the access
    /// token names ([`TokenDetails::session_id`](crate::token::TokenDetails::session_id)). A route
    /// at which users log out calls [`log_out`](Self::log_out), which also revokes tokens that have
    /// no session.
    ///
    /// # Errors
    ///
    /// If the state store fails. The session may not have ended then, so call it again.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the session may or may not have ended.
    pub async fn end_session(
        &self,
        session_id: &SessionId,
        context: &RequestContext,
    ) -> Result<bool, BoxError> {
        let Some(sessions) = &self.0.sessions else { return Ok(false) };
        let Ending::Ended(Found { session, .. }) = sessions.end(session_id, None).await? else {
            return Ok(false);
        };
        let (client_id, subject) =
            (&session.holder.client.as_str().into(), &session.subject.as_str().into());
        let event = Event::in_context(EventKind::TokenRevoked, context)
            .with_client(client_id)
            .with_subject(subject);
        self.0.observe(&event.with_session(session_id));
        Ok(true)
    }

    /// Ends every session of this subject, on every device and in every tenant that has this
    /// subject, with the access tokens. Call it when a password was changed, an account was
    /// disabled or a device was lost. It is one commit, however many sessions there are.
    ///
    /// All [known origins](crate::AttemptLimits::known_origins) of the subject, under each of its
    /// user names, are unknown from then on: attempts from there count on the user name like any
    /// other, until the next login from there.
    ///
    /// A login that runs at the same time, and may have seen the former password, is answered 503
    /// if it was to begin a session. Over a shared store, such a login may instead be answered with
    /// tokens of a session that has already ended; and a login without a session is answered with
    /// an access token that is revoked from the start. [`introspect`](Self::introspect),
    /// [`revocations`](Self::revocations) and refresh refuse all of these tokens; a verifier that
    /// only checks signatures accepts the access token until it expires.
    ///
    /// Log-outs are numbered, and sessions and access tokens carry the number of the last log-out
    /// before their login, so that no clock decides which tokens a log-out ends. The exception are
    /// tokens that carry no number; see
    /// [`TokenDetails::login_epoch`](crate::token::TokenDetails::login_epoch).
    ///
    /// Change the password first, then call this. The user who asked for it is logged out too.
    /// `context` only reaches the observer.
    ///
    /// ```
    /// use std::net::IpAddr;
    ///
    /// use password_grant::{BoxError, PasswordGrant, RequestContext, VerifiedToken};
    ///
    /// # async fn changed(
    /// #     grant: PasswordGrant, token: VerifiedToken, peer: IpAddr,
    /// # ) -> Result<(), BoxError> {
    /// // UPDATE users SET password_hash = …, and then
    /// let context = RequestContext::new().with_peer(peer); // the address in the event
    /// grant.log_out_everywhere(&token.subject, &context).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// If the state store fails. The subject may still be logged in then, so call it again.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, the log-out may or may not have happened.
    pub async fn log_out_everywhere(
        &self,
        subject: &Subject,
        context: &RequestContext,
    ) -> Result<(), BoxError> {
        let Engine { revocations, settings, .. } = &*self.0;
        session::log_out(revocations, subject, &*settings.environment.clock).await?;
        self.0.observe(&Event::in_context(EventKind::LoggedOut, context).with_subject(subject));
        Ok(())
    }

    /// The revocation status of this engine's access tokens. With it, an
    /// [`AccessTokenVerifier`](crate::AccessTokenVerifier::revocations) in this process refuses
    /// tokens that were revoked before they expired.
    #[must_use]
    pub fn revocations(&self) -> Revocations {
        self.0.revocations.clone()
    }
}
