//! Access tokens that were revoked before they expired: tokens that were revoked one by one, tokens
//! of a session that has ended, and tokens of a subject that was logged out everywhere. RFC 7009
//! defines revocation.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::environment::SystemRandom;
use crate::error::{BoxError, TokenFault};
use crate::session::epoch::{LogOuts, SubjectEpoch, SubjectEpochKeys};
use crate::session::index::SessionIndex;
use crate::session::rotation::Session;
use crate::state::codec::{Reader, Stored};
use crate::state::key::{Keys, Purpose};
use crate::state::transaction::{Backend, RowKey, State, Transaction};
use crate::state::{StateKey, StateSecret, StateStore};
use crate::time::{SystemClock, Timestamp};
use crate::types::identifier::SessionId;
use crate::types::token::TokenDetails;

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
        let (subject_key, token_key) =
            (self.epoch_keys(details.subject.as_str()).own, self.token_key(&details.token_id));
        let session_key =
            details.session_id.as_ref().map(|session_id| self.session_key(session_id));
        let mut keys = vec![subject_key.into(), token_key.into()];
        keys.extend(session_key.map(StateKey::from));
        let look = |tx: &Transaction<'_>| {
            let session = session_key.map(|key| tx.get(key)).transpose()?;
            let logged_out = tx.get(subject_key)?.unwrap_or_default();
            let is_before = logged_out.is_after(details.login_epoch, details.issued_at);
            let fault = match &session {
                _ if tx.contains(token_key)? => Some(TokenFault::Revoked),
                Some(Some(session)) => session.end(logged_out.number),
                // A session whose row is gone may have been revoked, so its tokens are refused.
                Some(None) => Some(TokenFault::Unknown),
                None => is_before.then_some(TokenFault::LoggedOut),
            };
            Ok(RevocationStatus {
                fault,
                tenant: session.flatten().map(|session| session.holder.tenant),
            })
        };
        self.state.read(&keys, look).await
    }

    /// The last log-out everywhere, of any subject.
    pub(crate) async fn last_log_out(&self) -> Result<SubjectEpoch, BoxError> {
        Ok(self.state.get(self.log_outs.last()).await?.unwrap_or_default())
    }

    /// Revokes an access token by its `jti`. The row is kept until a margin after the token has
    /// expired.
    pub(crate) async fn revoke(&self, details: &TokenDetails) -> Result<(), BoxError> {
        if details.token_id.is_empty() {
            return Err("a token without an identifier cannot be revoked".into());
        }
        let end = Timestamp::from_unix_seconds(details.expires_at).plus(Self::MARGIN);
        let key = self.token_key(&details.token_id);
        let remember = |tx: &mut Transaction<'_>| {
            let life = end.since(tx.now());
            if !tx.contains(key)? && !life.is_zero() {
                tx.put(key, &RevokedToken, life)?;
            }
            Ok(())
        };
        self.state.run(&[key.into()], remember).await
    }

    fn token_key(&self, token_id: &str) -> RowKey<RevokedToken> {
        self.key(Purpose::RevokedToken, token_id)
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

/// An access token that was revoked on its own. The row's presence is the revocation.
struct RevokedToken;

impl Stored for RevokedToken {
    const NAME: &'static str = "a revoked token";

    fn encode(&self, _: &mut Vec<u8>) {}

    fn decode(_: &mut Reader<'_>) -> Option<Self> {
        Some(Self)
    }
}

impl fmt::Debug for Revocations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revocations").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_bytes_stay_the_same_from_version_to_version() {
        assert_eq!(crate::state::test_support::hex(&RevokedToken), "01");
    }
}
