//! What an administrator sees of a limit, and resetting it.

use std::time::Duration;

use crate::error::{BoxError, LimitKind};
use crate::limiter::{AttemptLimiter, LimitKey};
use crate::state::transaction::Transaction;
use crate::types::context::RequestContext;

/// The current count under a [`LimitKey`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AttemptCount {
    /// Failures in a row, including attempts that are still being judged. Counted only for accounts
    /// and known origins.
    pub failures: u32,
    /// Failures in the current window and the one before it, including attempts that are still
    /// being judged.
    pub in_window: u32,
    /// Whether so many attempts in a row have failed that none is admitted for a whole window.
    pub locked: bool,
    /// How long until the next attempt is admitted. `None` if it is admitted at once.
    pub wait: Option<Duration>,
}

impl AttemptLimiter {
    pub(crate) async fn look(
        &self,
        on: LimitKey<'_>,
        context: &RequestContext,
    ) -> Result<Option<AttemptCount>, BoxError> {
        let Some((counted, key)) = self.key_of(on, context).await? else { return Ok(None) };
        let rule = self.rule(counted);
        let look = |tx: &Transaction<'_>| {
            let Some(mut bucket) = tx.get(key)? else { return Ok(AttemptCount::default()) };
            let now = tx.now().unix_millis();
            let _ = bucket.catch_up(rule, now);
            Ok(AttemptCount {
                failures: bucket.failures(),
                in_window: bucket.in_window(),
                locked: bucket.is_locked(),
                wait: bucket.wait(rule, now).map(Duration::from_millis),
            })
        };
        self.state.read(&[key.into()], look).await.map(Some)
    }

    pub(crate) async fn reset(
        &self,
        on: LimitKey<'_>,
        context: &RequestContext,
    ) -> Result<Option<LimitKind>, BoxError> {
        let Some((counted, key)) = self.key_of(on, context).await? else { return Ok(None) };
        self.state.run(&[key.into()], |tx| tx.delete(key)).await.map(|()| Some(counted))
    }
}
