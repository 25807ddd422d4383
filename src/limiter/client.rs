//! The limit on failed client authentications.

use std::time::Duration;

use crate::error::{BoxError, LimitKind, Reason, ServerFault};
use crate::event::Alarm;
use crate::limiter::failures::{FailureWindows, WindowRule};
use crate::limiter::keys::ClientKeys;
use crate::limiter::{AttemptLimiter, write_failures};
use crate::refusal::{OrFault, Refusal};
use crate::state::StateKey;
use crate::state::transaction::{HeldRows, RowKey, Transaction};
use crate::types::context::RequestContext;
use crate::types::identifier::ClientId;

/// A client that a request may mean, and the rows in which its failures are counted.
pub(crate) struct ClaimedClient<'a> {
    /// Raw, as the request names it.
    id: &'a str,
    keys: ClientKeys,
}

impl ClaimedClient<'_> {
    /// The keys of the rows that [`AttemptLimiter::check_client`] reads.
    pub(crate) fn rows(&self) -> impl Iterator<Item = StateKey> + use<> {
        self.keys.all()
    }
}

impl AttemptLimiter {
    /// The clients that a request may mean, by their identifiers. None if the caller's address is
    /// not known: nothing is counted then.
    pub(crate) fn claimed_clients<'a>(
        &self,
        ids: impl Iterator<Item = &'a str>,
        context: &RequestContext,
    ) -> Vec<ClaimedClient<'a>> {
        let claimed = |id| Some(ClaimedClient { id, keys: self.client_keys(id, context)? });
        ids.filter_map(claimed).collect()
    }

    /// Refuses a client that has failed to authenticate too often from this address, or that has
    /// failed from it at all while too many have failed from its network. A client that has not
    /// failed from the address is never refused.
    ///
    /// # Errors
    ///
    /// 429 if there were too many failures, 503 if the state store fails.
    ///
    /// # Cancel safety
    ///
    /// Nothing is counted.
    pub(crate) async fn check_client(
        &self,
        claimed: &[ClaimedClient<'_>],
        held: &mut HeldRows,
    ) -> Result<(), Refusal> {
        if claimed.is_empty() {
            return Ok(());
        }
        let check = |tx: &mut Transaction<'_>| {
            let mut longest = None;
            for client in claimed {
                let wait = self.client_wait(tx, client.keys)?;
                longest = longest.max(wait.map(|wait| (wait, client.id)));
            }
            Ok(longest)
        };
        let rows: Vec<StateKey> = claimed.iter().flat_map(ClaimedClient::rows).collect();
        let denied = self.state.run_held(held, Duration::MAX, &rows, check).await;
        match denied.or_fault(ServerFault::StateStore)? {
            Some((wait, id)) => Err(Refusal::new(Reason::TooManyAttempts(LimitKind::Client))
                .of_client(&id.into())
                .retry_after(Duration::from_millis(wait))),
            None => Ok(()),
        }
    }

    /// How long a client has to wait at this address, in milliseconds. The failures from its
    /// network only matter if some are its own.
    fn client_wait(
        &self,
        tx: &mut Transaction<'_>,
        keys: ClientKeys,
    ) -> Result<Option<u64>, BoxError> {
        let now = tx.now().unix_millis();
        let mut failures = |key, rule| -> Result<Option<FailureWindows>, BoxError> {
            let Some(mut failures): Option<FailureWindows> = tx.get(key)? else { return Ok(None) };
            if failures.catch_up(rule, now) {
                write_failures(tx, key, &failures, rule)?;
            }
            Ok(Some(failures))
        };
        let Some(own) = failures(keys.at_source, &self.client)? else { return Ok(None) };
        let at_network = match keys.at_network.filter(|_| own.failures() > 0) {
            Some(key) => failures(key, &self.client_network)?,
            None => None,
        };
        let network_wait = at_network.and_then(|failures| failures.wait(&self.client_network, now));
        Ok(own.wait(&self.client, now).max(network_wait))
    }

    /// Counts a failed authentication of these clients from their address and its network.
    ///
    /// # Errors
    ///
    /// 503 if the state store fails.
    ///
    /// # Cancel safety
    ///
    /// The failure is counted or not.
    pub(crate) async fn client_failed(
        &self,
        claimed: &[ClaimedClient<'_>],
        held: &mut HeldRows,
    ) -> Result<(), Refusal> {
        if claimed.is_empty() {
            return Ok(());
        }
        let mut counted: Vec<(RowKey<FailureWindows>, WindowRule)> = Vec::new();
        for ClaimedClient { keys, .. } in claimed {
            let at_network = keys.at_network.map(|key| (key, self.client_network));
            for row in [Some((keys.at_source, self.client)), at_network].into_iter().flatten() {
                // Two identifiers may share a row.
                if !counted.iter().any(|(key, _)| *key == row.0) {
                    counted.push(row);
                }
            }
        }
        let rows: Vec<StateKey> = counted.iter().map(|(key, _)| (*key).into()).collect();
        let count = |tx: &mut Transaction<'_>| {
            counted.iter().try_for_each(|(key, rule)| self.count_failure(tx, *key, rule))
        };
        let failed = self.state.run_held(held, Duration::MAX, &rows, count).await;
        failed.or_fault(ServerFault::StateStore)
    }

    /// Counts a wrong secret of a registered client, from any address. The count can only raise an
    /// alarm.
    pub(crate) fn wrong_secret(&self, registered: &ClientId, context: &RequestContext) {
        self.raise(Alarm::ManySecrets, Some(registered), context);
    }
}
