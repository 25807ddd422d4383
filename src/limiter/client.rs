//! The limit on failed client authentications.

use std::time::Duration;

use crate::error::{LimitKind, Reason, ServerFault};
use crate::event::Alarm;
use crate::limiter::rule::AttemptOutcome;
use crate::limiter::{AttemptLimiter, write};
use crate::refusal::{OrFault, Refusal};
use crate::state::transaction::Transaction;
use crate::types::context::RequestContext;
use crate::types::identifier::ClientId;

impl AttemptLimiter {
    /// Refuses a client that has failed to authenticate too often from this address. `claimed` is
    /// raw.
    ///
    /// # Errors
    ///
    /// 429 if there were too many failures, 503 if the state store fails.
    pub(crate) async fn check_client(
        &self,
        claimed: &str,
        context: &RequestContext,
    ) -> Result<(), Refusal> {
        let Some(key) = self.client_key(claimed, context) else { return Ok(()) };
        let step = |tx: &mut Transaction<'_>| {
            let (Some(mut bucket), now) = (tx.get(key)?, tx.now().unix_millis()) else {
                return Ok(None);
            };
            if bucket.catch_up(&self.client, now) {
                write(tx, key, &bucket, &self.client)?;
            }
            Ok(bucket.wait(&self.client, now))
        };
        let wait = self.state.run(&[key.into()], step).await;
        match wait.or_fault(ServerFault::StateStore)? {
            Some(wait) => Err(Refusal::new(Reason::TooManyAttempts(LimitKind::Client))
                .of_client(&claimed.into())
                .retry_after(Duration::from_millis(wait))),
            None => Ok(()),
        }
    }

    /// Counts a failed authentication of a client from this address. `claimed` is raw.
    ///
    /// # Errors
    ///
    /// 503 if the state store fails.
    pub(crate) async fn client_failed(
        &self,
        claimed: &str,
        context: &RequestContext,
    ) -> Result<(), Refusal> {
        let Some(key) = self.client_key(claimed, context) else { return Ok(()) };
        let step = |tx: &mut Transaction<'_>| {
            let (mut bucket, now) = (self.bucket(tx, key)?, tx.now().unix_millis());
            let _ = bucket.catch_up(&self.client, now);
            let reserved = bucket.charge(&self.client, now);
            bucket.settle(reserved, AttemptOutcome::Failure, &self.client);
            write(tx, key, &bucket, &self.client)
        };
        self.state.run(&[key.into()], step).await.or_fault(ServerFault::StateStore)
    }

    /// Counts a wrong secret of a registered client, from any address. The count can only raise an
    /// alarm.
    pub(crate) fn wrong_secret(&self, registered: &ClientId, context: &RequestContext) {
        self.raise(Alarm::ManySecrets, Some(registered), context);
    }
}
