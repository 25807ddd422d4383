//! Access tokens that were revoked before they expired: tokens that were revoked one by one, tokens
//! of a session that has ended, and tokens of a subject that was logged out everywhere. RFC 7009
//! defines revocation.
//!
//! What can be revoked takes bounded room: a token of a session is remembered in the session's row,
//! and a token without one in a row for its client and subject, which is the quota.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::environment::SystemRandom;
use crate::error::{BoxError, TokenFault};
use crate::session::epoch::{LogOuts, SubjectEpoch, SubjectEpochKeys};
use crate::session::index::SessionIndex;
use crate::session::revoked_tokens::{Full, RevokedAlone, Token};
use crate::session::rotation::Session;
use crate::session::ttl;
use crate::state::codec::Stored;
use crate::state::key::{Keys, Purpose};
use crate::state::transaction::{Backend, RowKey, State, Transaction};
use crate::state::turns::Turns;
use crate::state::{StateKey, StateSecret, StateStore};
use crate::time::{SystemClock, Timestamp};
use crate::types::identifier::SessionId;
use crate::types::token::{LIFETIMES, TokenDetails};

/// Tells which access tokens were revoked before they expired. Cheap to clone.
///
/// An [`AccessTokenVerifier`](crate::AccessTokenVerifier::revocations) uses it. In the same process
/// as the engine it comes from [`PasswordGrant::revocations`](crate::PasswordGrant::revocations),
/// in another process from [`shared`](Self::shared), over the same
/// [`StateStore`](crate::state::StateStore). Each verified token costs one read of the store.
#[derive(Clone)]
pub struct Revocations {
    pub(crate) state: Arc<State>,
    pub(crate) issuer: Arc<str>,
    /// The keys of log-outs.
    pub(crate) log_outs: LogOuts,
}

/// The revocation status of an access token: why it was revoked, if it was, and the tenant in which
/// its session was created.
pub(crate) struct RevocationStatus {
    pub(crate) fault: Option<TokenFault>,
    pub(crate) tenant: Option<String>,
}

/// What came of revoking an access token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Revocation {
    /// The token is revoked, or was already.
    Done,
    /// The client has revoked so many unexpired tokens of this subject that there is no room for
    /// another one.
    Full,
}

/// Keys of the rows that tell whether an access token was revoked. Both are read at once.
#[derive(Clone, Copy)]
struct StatusKeys {
    log_out: RowKey<SubjectEpoch>,
    token: TokenKey,
}

/// Key of the row that remembers an access token if it was revoked on its own.
#[derive(Clone, Copy)]
enum TokenKey {
    Session(RowKey<Session>),
    Alone(RowKey<RevokedAlone>),
}

impl StatusKeys {
    fn both(self) -> [StateKey; 2] {
        let token = match self.token {
            TokenKey::Session(key) => key.into(),
            TokenKey::Alone(key) => key.into(),
        };
        [self.log_out.into(), token]
    }
}

impl Revocations {
    /// The revocations of `issuer`, for a resource server in another process that shares the
    /// engine's store.
    ///
    /// `secret` is the engine's secret too: with another one, no revocation is found. Anybody who
    /// has it and can write to the store can end any session. A read that takes longer than 10
    /// seconds fails.
    #[must_use]
    pub fn shared(
        issuer: impl Into<Arc<str>>,
        store: impl StateStore,
        secret: StateSecret,
    ) -> Self {
        let state = State {
            keys: Keys::Shared(secret),
            backend: Backend::Shared(Arc::new(store)),
            clock: Arc::new(SystemClock::new()),
            randomness: Arc::new(SystemRandom::new()),
            timeout: Duration::from_secs(10),
            turns: Turns::default(),
        };
        Self::new(Arc::new(state), issuer.into())
    }

    pub(crate) fn new(state: Arc<State>, issuer: Arc<str>) -> Self {
        let log_outs = LogOuts::new(issuer.clone(), state.keys.clone());
        Self { state, issuer, log_outs }
    }

    /// How long a revocation is kept after the token has expired: a verifier accepts a token for
    /// its skew longer, by a clock that may be a minute behind.
    const MARGIN: Duration = Duration::from_secs(180);
    /// How long after its expiry a token can still be revoked: a minute, since verifiers may still
    /// accept it.
    pub(crate) const GRACE: Duration = Duration::from_secs(60);

    /// Revocation status of an access token whose claims have been verified.
    pub(crate) async fn status(
        &self,
        details: &TokenDetails,
    ) -> Result<RevocationStatus, BoxError> {
        let (keys, token) = (self.status_keys(details), token(details));
        let look = |tx: &Transaction<'_>| {
            let logged_out = tx.get(keys.log_out)?.unwrap_or_default();
            match keys.token {
                TokenKey::Session(key) => Ok(match tx.get(key)? {
                    Some(session) => {
                        let revoked = session.has_revoked(&token).then_some(TokenFault::Revoked);
                        let fault = session.end(logged_out.number).or(revoked);
                        RevocationStatus { fault, tenant: Some(session.holder.tenant) }
                    }
                    // A session whose row is gone may have been revoked, so its tokens are refused.
                    None => RevocationStatus { fault: Some(TokenFault::Unknown), tenant: None },
                }),
                TokenKey::Alone(key) => {
                    let fault = if tx.get(key)?.unwrap_or_default().contains(&token) {
                        Some(TokenFault::Revoked)
                    } else {
                        let ended = logged_out.is_after(details.login_epoch, details.issued_at);
                        ended.then_some(TokenFault::LoggedOut)
                    };
                    Ok(RevocationStatus { fault, tenant: None })
                }
            }
        };
        self.state.read(&keys.both(), look).await
    }

    /// The last log-out everywhere, of any subject.
    pub(crate) async fn last_log_out(&self) -> Result<SubjectEpoch, BoxError> {
        Ok(self.state.get(self.log_outs.last()).await?.unwrap_or_default())
    }

    /// Revokes an access token by its `jti`. It is remembered until a margin after the token has
    /// expired.
    pub(crate) async fn revoke(&self, details: &TokenDetails) -> Result<Revocation, BoxError> {
        debug_assert!(!details.token_id.is_empty(), "it would be revoked with others like it");
        let (keys, token) = (self.status_keys(details), token(details));
        let remember = |tx: &mut Transaction<'_>| match keys.token {
            TokenKey::Session(key) => {
                let logged_out = tx.get(keys.log_out)?.unwrap_or_default();
                revoke_in_session(tx, key, token, logged_out, lifetime(details))
            }
            TokenKey::Alone(key) => revoke_alone(tx, key, token),
        };
        self.state.run(&keys.both(), remember).await
    }

    fn status_keys(&self, details: &TokenDetails) -> StatusKeys {
        let (client, subject) = (details.client_id.as_str(), details.subject.as_str());
        let token = match &details.session_id {
            Some(session_id) => TokenKey::Session(self.session_key(session_id)),
            // Such a token says nothing of its tenant.
            None => {
                let parts = [&*self.issuer, client, subject].map(str::as_bytes);
                TokenKey::Alone(self.state.keys.row(Purpose::RevokedTokens, &parts))
            }
        };
        StatusKeys { log_out: self.epoch_keys(subject).own, token }
    }

    pub(crate) fn session_key(&self, session_id: &SessionId) -> RowKey<Session> {
        self.key(Purpose::Session, session_id.as_str())
    }

    pub(crate) fn epoch_keys(&self, subject: &str) -> SubjectEpochKeys {
        let own = self.log_outs.of(self.log_outs.digest(subject));
        SubjectEpochKeys { all: self.log_outs.last(), own }
    }

    /// Key of the row that lists a subject's sessions through a client.
    pub(crate) fn index_key(
        &self,
        tenant: &str,
        client: &str,
        subject: &str,
    ) -> RowKey<SessionIndex> {
        let parts = [&*self.issuer, tenant, client, subject].map(str::as_bytes);
        self.state.keys.row(Purpose::SessionIndex, &parts)
    }

    fn key<R: Stored>(&self, purpose: Purpose, what: &str) -> RowKey<R> {
        self.state.keys.row(purpose, &[self.issuer.as_bytes(), what.as_bytes()])
    }
}

/// The token that has these details. It is remembered for a margin beyond its expiry.
fn token(details: &TokenDetails) -> Token {
    let end = Timestamp::from_unix_seconds(details.expires_at).plus(Revocations::MARGIN);
    Token::new(&details.token_id, details.issued_at, end.unix_seconds())
}

/// How long the token was to last when it was issued.
fn lifetime(details: &TokenDetails) -> Duration {
    let lifetime = Duration::from_secs(details.expires_at.saturating_sub(details.issued_at));
    lifetime.min(*LIFETIMES.end()) // an issuer may not tell when it issued a token
}

/// Revokes a token in its session's row, if the session has not ended, which has revoked the token
/// already: the row of an ended session stays as short-lived as it is.
fn revoke_in_session(
    tx: &mut Transaction<'_>,
    key: RowKey<Session>,
    token: Token,
    logged_out: SubjectEpoch,
    lifetime: Duration,
) -> Result<Revocation, BoxError> {
    let now = tx.now().unix_millis();
    if let Some(mut session) = tx.get(key)?
        && session.end(logged_out.number).is_none()
        && session.revoke_token(token, now)
    {
        // Its other access tokens usually last as long as this one. A token that lasts longer than
        // the row is refused as that of an unknown session.
        tx.put(key, &session, ttl(&session, now, lifetime))?;
    }
    Ok(Revocation::Done)
}

fn revoke_alone(
    tx: &mut Transaction<'_>,
    key: RowKey<RevokedAlone>,
    token: Token,
) -> Result<Revocation, BoxError> {
    let (mut revoked, now) = (tx.get(key)?.unwrap_or_default(), tx.now());
    match revoked.revoke(token, now.unix_seconds()) {
        Ok(true) => {
            let end = Timestamp::from_unix_seconds(revoked.end());
            tx.put(key, &revoked, end.since(now))?;
            Ok(Revocation::Done)
        }
        Ok(false) => Ok(Revocation::Done),
        Err(Full) => Ok(Revocation::Full),
    }
}

impl fmt::Debug for Revocations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revocations").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}
