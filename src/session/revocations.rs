//! Access tokens that were revoked before their time: those that are remembered one by one, those of a family that has
//! ended, and those of a subject that was logged out.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::environment::SystemRandom;
use crate::error::{BoxError, TokenFault};
use crate::session::epoch::{SubjectEpoch, SubjectEpochKeys};
use crate::session::index::SessionIndex;
use crate::session::rotation::Session;
use crate::state::codec::{Reader, Stored};
use crate::state::key::{Keys, Purpose};
use crate::state::transaction::{Backend, RowKey, State, Transaction};
use crate::state::{StateKey, StateSecret, StateStore};
use crate::time::{SystemClock, Timestamp};
use crate::types::identifier::SessionId;
use crate::types::token::TokenDetails;

/// Tells which access tokens were revoked before they expired: for an
/// [`AccessTokenVerifier`](crate::AccessTokenVerifier::revocations) in the same process as the engine, from
/// [`PasswordGrant::revocations`](crate::PasswordGrant::revocations), or over the same [`StateStore`](crate::state::StateStore), by
/// [`shared`](Self::shared). Each token that is verified costs one read of the store. Cheap to clone.
#[derive(Clone)]
pub struct Revocations {
    pub(crate) state: Arc<State>,
    pub(crate) issuer: Arc<str>,
    /// Of the row that numbers log-outs, which every login looks at.
    log_outs: RowKey<SubjectEpoch>,
}

/// Why a token that was signed is good no more, and the tenant in which its family was created.
pub(crate) struct RevocationStatus {
    pub(crate) fault: Option<TokenFault>,
    pub(crate) tenant: Option<String>,
}

impl Revocations {
    /// Those of this issuer, for a resource server in another process that shares the engine's store. The secret is the
    /// engine's too: with another one, nothing is found that was revoked. Whoever has it and can write to the store can end any
    /// session.
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
        let log_outs = state.keys.row(Purpose::LastEpoch, &[issuer.as_bytes(), b""]);
        Self { state, issuer, log_outs }
    }

    /// For how long beyond its end a revoked token is remembered: a verifier takes it for as long as its skew is, by a
    /// clock that may be a minute behind.
    const MARGIN: Duration = Duration::from_secs(180);
    /// For how long beyond its end a token can be revoked: a minute, as verifiers may still take it.
    pub(crate) const GRACE: Duration = Duration::from_secs(60);

    /// How a token stands of which `details` are true.
    pub(crate) async fn status(
        &self,
        details: &TokenDetails,
    ) -> Result<RevocationStatus, BoxError> {
        let (subject_key, token_key) =
            (self.epoch_keys(details.subject.as_str()).own, self.token_key(&details.token_id));
        let family_key = details.session_id.as_ref().map(|session_id| self.family_key(session_id));
        let mut keys = vec![subject_key.into(), token_key.into()];
        keys.extend(family_key.map(StateKey::from));
        let look = |tx: &Transaction<'_>| {
            let family = family_key.map(|key| tx.get(key)).transpose()?;
            let logged_out = tx.get(subject_key)?.unwrap_or_default();
            // A token without a session has only its time, in whole seconds: of a token and a log-out in the same second,
            // the log-out is later.
            let is_before = logged_out.number > 0 && details.issued_at <= logged_out.at / 1000;
            let fault = match &family {
                _ if tx.contains(token_key)? => Some(TokenFault::Revoked),
                Some(Some(family)) => family.end(logged_out.number),
                // What nobody remembers may have been revoked.
                Some(None) => Some(TokenFault::Unknown),
                None => is_before.then_some(TokenFault::LoggedOut),
            };
            Ok(RevocationStatus {
                fault,
                tenant: family.flatten().map(|family| family.holder.tenant),
            })
        };
        self.state.read(&keys, look).await
    }

    /// The last log-out of anybody.
    pub(crate) async fn last_log_out(&self) -> Result<SubjectEpoch, BoxError> {
        Ok(self.state.get(self.log_outs).await?.unwrap_or_default())
    }

    /// The last log-out of this subject.
    pub(crate) async fn last_log_out_of(&self, subject: &str) -> Result<SubjectEpoch, BoxError> {
        Ok(self.state.get(self.epoch_keys(subject).own).await?.unwrap_or_default())
    }

    /// Remembers that this token is revoked.
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

    pub(crate) fn family_key(&self, session_id: &SessionId) -> RowKey<Session> {
        self.key(Purpose::Session, session_id.as_str())
    }

    pub(crate) fn epoch_keys(&self, subject: &str) -> SubjectEpochKeys {
        SubjectEpochKeys { all: self.log_outs, own: self.key(Purpose::SubjectEpoch, subject) }
    }

    /// Of the row that lists a subject's sessions through a client.
    pub(crate) fn sessions_key(
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

/// A token that was revoked on its own.
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
