//! What an administrator sees of a limit, and resetting it.

use std::time::Duration;

use crate::client::WebBackend;
use crate::error::{BoxError, LimitKind};
use crate::limiter::keys::CountKey;
use crate::limiter::{AttemptLimiter, LimitKey, write_account};
use crate::state::transaction::Transaction;
use crate::types::context::RequestContext;

/// The current count under a [`LimitKey`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AttemptCount {
    /// Failures in a row, including attempts that are still being judged. Counted only for accounts
    /// and known origins.
    pub failures: u32,
    /// Failures in the current window and the one before it. For accounts and known origins this
    /// includes attempts that are still being judged.
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
        backend: Option<WebBackend>,
        context: &RequestContext,
    ) -> Result<Option<AttemptCount>, BoxError> {
        match self.key_of(on, backend, context).await? {
            None => Ok(None),
            Some((_, CountKey::Account(key, charged))) => {
                let look = |tx: &Transaction<'_>| {
                    let rule = self.account_rule(tx.is_shared(key)?);
                    let mut row = tx.get(key)?.unwrap_or_default();
                    let Some(mut bucket) = row.take_bucket(charged) else {
                        return Ok(AttemptCount::default());
                    };
                    let now = tx.now().unix_millis();
                    let _ = bucket.catch_up(rule, now);
                    Ok(AttemptCount {
                        failures: bucket.failures(rule),
                        in_window: bucket.in_window(),
                        locked: bucket.is_locked(),
                        wait: bucket.wait(rule, now).map(Duration::from_millis),
                    })
                };
                self.state.read(&[key.into()], look).await.map(Some)
            }
            Some((_, CountKey::Failures(key, rule))) => {
                let look = |tx: &Transaction<'_>| {
                    let Some(mut windows) = tx.get(key)? else {
                        return Ok(AttemptCount::default());
                    };
                    let now = tx.now().unix_millis();
                    let _ = windows.catch_up(&rule, now);
                    Ok(AttemptCount {
                        in_window: windows.failures(),
                        wait: windows.wait(&rule, now).map(Duration::from_millis),
                        ..AttemptCount::default()
                    })
                };
                self.state.read(&[key.into()], look).await.map(Some)
            }
        }
    }

    pub(crate) async fn reset(
        &self,
        on: LimitKey<'_>,
        backend: Option<WebBackend>,
        context: &RequestContext,
    ) -> Result<Option<LimitKind>, BoxError> {
        let Some((kind, key)) = self.key_of(on, backend, context).await? else { return Ok(None) };
        match key {
            CountKey::Account(key, charged) => {
                let reset = |tx: &mut Transaction<'_>| {
                    // The failures of other names in a shared row are not this name's to clear.
                    if tx.is_shared(key)? {
                        return Ok(false);
                    }
                    if let Some(mut row) = tx.get(key)? {
                        row.reset(charged);
                        write_account(tx, key, row, &self.account)?;
                    }
                    Ok(true)
                };
                if !self.state.run(&[key.into()], reset).await? {
                    return Ok(None);
                }
            }
            CountKey::Failures(key, _) => {
                self.state.run(&[key.into()], |tx| tx.delete(key)).await?;
            }
        }
        Ok(Some(kind))
    }
}
