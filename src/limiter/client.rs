//! The limit on failed client authentications.

use std::time::Duration;

use crate::error::{LimitKind, Reason, ServerFault};
use crate::event::Alarm;
use crate::limiter::failures::{FailureWindows, WindowRule};
use crate::limiter::keys::ClientKeys;
use crate::limiter::{AttemptLimiter, write_failures};
use crate::refusal::{OrFault, Refusal};
use crate::state::StateKey;
use crate::state::transaction::{HeldRows, RowKey, Transaction};
use crate::types::context::RequestContext;
use crate::types::identifier::ClientId;

impl AttemptLimiter {
    /// The keys of the rows that [`check_client`](Self::check_client) reads.
    pub(crate) fn client_rows<'c>(
        &self,
        claimed: impl Iterator<Item = &'c str>,
        context: &RequestContext,
    ) -> Vec<StateKey> {
        let keys = claimed.filter_map(|claimed| self.client_keys(claimed, context));
        keys.flat_map(ClientKeys::all).collect()
    }

    /// Refuses a client that has failed to authenticate too often from this address, or that has
    /// failed from it at all while too many have failed from its network. A client that has not
    /// failed from the address is never refused. `claimed` is raw: the identifiers that the request
    /// may mean.
    ///
    /// # Errors
    ///
    /// 429 if there were too many failures, 503 if the state store fails.
    pub(crate) async fn check_client<'c>(
        &self,
        claimed: impl Iterator<Item = &'c str> + Clone,
        context: &RequestContext,
        held: &mut HeldRows,
    ) -> Result<(), Refusal> {
        let check = |tx: &mut Transaction<'_>| {
            let now = tx.now().unix_millis();
            let failures = |tx: &mut Transaction<'_>, key, rule: &WindowRule| {
                let Some(mut failures) = tx.get(key)? else { return Ok(None) };
                if FailureWindows::catch_up(&mut failures, rule, now) {
                    write_failures(tx, key, &failures, rule)?;
                }
                Ok::<_, crate::BoxError>(Some(failures))
            };
            let mut longest = None;
            for claimed in claimed.clone() {
                let Some(keys) = self.client_keys(claimed, context) else { continue };
                let Some(own) = failures(tx, keys.at_source, &self.client)? else { continue };
                let at_network = match keys.at_network.filter(|_| own.failures() > 0) {
                    Some(key) => failures(tx, key, &self.client_network)?,
                    None => None,
                };
                let wait = own
                    .wait(&self.client, now)
                    .max(at_network.and_then(|failures| failures.wait(&self.client_network, now)));
                longest = longest.max(wait.map(|wait| (wait, claimed)));
            }
            Ok(longest)
        };
        let keys = self.client_rows(claimed.clone(), context);
        let denied = self.state.run_held(held, Duration::MAX, &keys, check).await;
        match denied.or_fault(ServerFault::StateStore)? {
            Some((wait, claimed)) => Err(Refusal::new(Reason::TooManyAttempts(LimitKind::Client))
                .of_client(&claimed.into())
                .retry_after(Duration::from_millis(wait))),
            None => Ok(()),
        }
    }

    /// Counts a failed authentication of a client from this address and its network. `claimed` is
    /// raw: the identifiers that the request may mean.
    ///
    /// # Errors
    ///
    /// 503 if the state store fails.
    pub(crate) async fn client_failed<'c>(
        &self,
        claimed: impl Iterator<Item = &'c str> + Clone,
        context: &RequestContext,
        held: &mut HeldRows,
    ) -> Result<(), Refusal> {
        let mut counted: Vec<(RowKey<FailureWindows>, WindowRule)> = Vec::new();
        for keys in claimed.filter_map(|claimed| self.client_keys(claimed, context)) {
            let at_network = keys.at_network.map(|key| (key, self.client_network));
            for row in [Some((keys.at_source, self.client)), at_network].into_iter().flatten() {
                // Two identifiers may share a row.
                if !counted.iter().any(|(key, _)| *key == row.0) {
                    counted.push(row);
                }
            }
        }
        let keys: Vec<StateKey> = counted.iter().map(|(key, _)| (*key).into()).collect();
        let count = |tx: &mut Transaction<'_>| {
            counted.iter().try_for_each(|(key, rule)| self.count_failure(tx, *key, rule))
        };
        let failed = self.state.run_held(held, Duration::MAX, &keys, count).await;
        failed.or_fault(ServerFault::StateStore)
    }

    /// Counts a wrong secret of a registered client, from any address. The count can only raise an
    /// alarm.
    pub(crate) fn wrong_secret(&self, registered: &ClientId, context: &RequestContext) {
        self.raise(Alarm::ManySecrets, Some(registered), context);
    }
}
