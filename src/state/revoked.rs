//! Access tokens that were revoked before their time: those that are remembered one by one, those of a family that has
//! ended, and those of a subject that was logged out.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::state::driver::{Driver, Snapshot, State};
use crate::state::family::Family;
use crate::state::key::{Keys, Purpose};
use crate::state::log_out::LogOut;
use crate::state::{Remembered, StateKey, StateSecret, StateStore};
use crate::vocabulary::clock::{SystemClock, Timestamp};
use crate::vocabulary::error::{BoxError, TokenFault};
use crate::vocabulary::random::SystemRandomness;
use crate::vocabulary::token::TokenDetails;

/// Tells which access tokens were revoked before they expired: for an
/// [`AccessTokenVerifier`](crate::AccessTokenVerifier::revocations) in the same process as the engine, from
/// [`PasswordGrant::revocations`](crate::PasswordGrant::revocations), or over the same [`StateStore`](crate::StateStore), by
/// [`shared`](Self::shared). Each token that is verified costs one read of the store. Cheap to clone.
#[derive(Clone)]
pub struct Revocations {
    pub(crate) memory: Arc<Remembered>,
    pub(crate) issuer: Arc<str>,
    /// Of the row that numbers log-outs, which every login looks at.
    pub(crate) log_outs: StateKey,
}

/// Why a token that was signed is good no more, and the tenant in which its family was created.
pub(crate) struct Standing {
    pub(crate) fault: Option<TokenFault>,
    pub(crate) tenant: Option<String>,
}

impl Revocations {
    /// Those of this issuer, for a resource server in another process that shares the engine's store. The secret is the
    /// engine's too: with another one, nothing is found that was revoked. Whoever has it and can write to the store can end any
    /// session.
    #[must_use]
    pub fn shared(issuer: impl Into<Arc<str>>, store: impl StateStore, secret: StateSecret) -> Self {
        let memory = Remembered {
            keys: Keys::Shared(secret),
            rows: Driver {
                state: State::Shared(Arc::new(store)),
                clock: Arc::new(SystemClock::new()),
                randomness: Arc::new(SystemRandomness::new()),
                patience: Duration::from_secs(10),
            },
        };
        Self::new(Arc::new(memory), issuer.into())
    }

    pub(crate) fn new(memory: Arc<Remembered>, issuer: Arc<str>) -> Self {
        let log_outs = memory.keys.key(Purpose::LogOuts, &[issuer.as_bytes(), b""]);
        Self { memory, issuer, log_outs }
    }

    /// For how long beyond its end a revoked token is remembered: a verifier takes it for as long as its skew is, by a
    /// clock that may be a minute behind.
    const MARGIN: Duration = Duration::from_secs(180);
    /// For how long beyond its end a token can be revoked: a minute, as verifiers may still take it.
    pub(crate) const GRACE: Duration = Duration::from_secs(60);

    /// How a token stands of which `details` are true.
    pub(crate) async fn standing(&self, details: &TokenDetails) -> Result<Standing, BoxError> {
        let mut keys = vec![self.subject_key(&details.subject), self.token_key(&details.token_id)];
        keys.extend(details.session_id.as_deref().map(|family| self.family_key(family)));
        let look = self.memory.rows.change(&keys, |rows, _| {
            let tenant = Family::stored(rows, 2)?.map(|family| family.holder.tenant);
            Ok(Standing { fault: fault(rows, details)?, tenant })
        });
        look.await
    }

    /// The last log-out of anybody.
    pub(crate) async fn last_log_out(&self) -> Result<LogOut, BoxError> {
        self.memory.rows.look(self.log_outs, |row| Ok(LogOut::stored(row)?)).await
    }

    /// The last log-out of this subject.
    pub(crate) async fn last_log_out_of(&self, subject: &str) -> Result<LogOut, BoxError> {
        self.memory.rows.look(self.subject_key(subject), |row| Ok(LogOut::stored(row)?)).await
    }

    /// Remembers that this token is revoked.
    pub(crate) async fn revoke(&self, details: &TokenDetails) -> Result<(), BoxError> {
        if details.token_id.is_empty() {
            return Err("a token without an identifier cannot be revoked".into());
        }
        let end = Timestamp::from_unix_seconds(details.expires_at).plus(Self::MARGIN);
        let key = [self.token_key(&details.token_id)];
        let remember = self.memory.rows.change(&key, |rows, changes| {
            let life = end.since(rows.now);
            if rows.row(0).is_none() && !life.is_zero() {
                changes.put(0, vec![1], life);
            }
            Ok(())
        });
        remember.await
    }

    fn token_key(&self, token_id: &str) -> StateKey {
        self.key(Purpose::RevokedToken, token_id)
    }

    pub(crate) fn family_key(&self, family: &str) -> StateKey {
        self.key(Purpose::Family, family)
    }

    pub(crate) fn subject_key(&self, subject: &str) -> StateKey {
        self.key(Purpose::Subject, subject)
    }

    /// Of the row that lists a subject's sessions through a client.
    pub(crate) fn sessions_key(&self, tenant: &str, client: &str, subject: &str) -> StateKey {
        let parts = [&*self.issuer, tenant, client, subject].map(str::as_bytes);
        self.memory.keys.key(Purpose::Sessions, &parts)
    }

    fn key(&self, purpose: Purpose, what: &str) -> StateKey {
        self.memory.keys.key(purpose, &[self.issuer.as_bytes(), what.as_bytes()])
    }
}

/// Over the rows of the subject, of the token, and of its family if it has one.
fn fault(rows: &Snapshot<'_>, details: &TokenDetails) -> Result<Option<TokenFault>, BoxError> {
    let logged_out = LogOut::read(rows, 0)?;
    if rows.row(1).is_some() {
        return Ok(Some(TokenFault::Revoked));
    }
    if details.session_id.is_some() {
        // What nobody remembers may have been revoked.
        return Ok(Family::stored(rows, 2)?.map_or(Some(TokenFault::Unknown), |family| family.end(logged_out.number)));
    }
    // A token alone has only its time, in whole seconds: of a token and a log-out in the same second, the log-out is later.
    let before = logged_out.number > 0 && details.issued_at <= logged_out.at / 1000;
    Ok(before.then_some(TokenFault::LoggedOut))
}

impl fmt::Debug for Revocations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Revocations").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}
