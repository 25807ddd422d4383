//! The keys under which attempts are counted: the account, known origins, the address and its
//! network, and a client at an address.

use crate::error::{BoxError, LimitKind};
use crate::limiter::account::{folded, network, source};
use crate::limiter::bucket::Bucket;
use crate::limiter::{Attempt, AttemptLimiter};
use crate::state::key::Purpose;
use crate::state::transaction::RowKey;
use crate::types::context::RequestContext;

pub(super) type BucketKey = RowKey<Bucket>;

/// The limiter keys of an attempt, each with its kind: the account first, then origins, then
/// addresses.
pub(super) type LimiterKeys = Vec<(LimitKind, BucketKey)>;

/// A count of the limiter, for [`PasswordGrant::attempts`](crate::PasswordGrant::attempts) and
/// [`reset_attempts`](crate::PasswordGrant::reset_attempts). The tenant, the address and the device
/// are those of the [`RequestContext`] passed with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LimitKey<'a> {
    /// Attempts on a user name, from all places that are no known origin.
    Account {
        /// The user name, in any of its spellings. Raw.
        username: &'a str,
    },
    /// Attempts on a user name from a known origin: the context's device, or its address if it has
    /// no device.
    KnownOrigin {
        /// The user name, in any of its spellings. Raw.
        username: &'a str,
        /// The client through which the attempts come.
        client_id: &'a str,
    },
    /// Attempts from the context's address (IPv6: its /64).
    Source,
    /// Attempts from the IPv6 network (/48) of the context's address.
    Network,
    /// Failed authentications of a client from the context's address (IPv6: its /64). Identifiers
    /// share 256 counts for each address, so the count may include other clients, and a reset also
    /// resets theirs.
    Client {
        /// The client's identifier. Raw.
        client_id: &'a str,
    },
}

impl AttemptLimiter {
    /// The keys under which an attempt is counted.
    pub(super) async fn keys_of(&self, attempt: &Attempt<'_>) -> Result<LimiterKeys, BoxError> {
        let Attempt { username, client_id, context } = *attempt;
        let named = match &self.names {
            Some(names) => names.account(username, context).await?.into(),
            None => folded(username),
        };
        let (account, peer) = (self.account_key(&named, context), context.peer());
        let mut keys = Vec::with_capacity(4);
        keys.push((LimitKind::Account, account));
        if self.known_origin_ttl > 0 {
            let origins = self.origin_keys(&named, client_id.as_str(), context);
            keys.extend(origins.into_iter().flatten().map(|key| (LimitKind::KnownOrigin, key)));
        }
        if let Some(peer) = peer {
            keys.push((LimitKind::Source, self.state.keys.row(Purpose::Source, &[&source(peer)])));
            let network =
                network(peer).map(|network| self.state.keys.row(Purpose::Network, &[&network]));
            keys.extend(network.map(|key| (LimitKind::Network, key)));
        }
        Ok(keys)
    }

    fn account_key(&self, named: &str, context: &RequestContext) -> BucketKey {
        self.state.keys.row(Purpose::Account, &[tenant(context), named.as_bytes()])
    }

    /// The keys of the attempt's origins: the device that the host has identified, then the
    /// address.
    fn origin_keys(
        &self,
        named: &str,
        client_id: &str,
        context: &RequestContext,
    ) -> [Option<BucketKey>; 2] {
        let key = |kind: &[u8], origin: &[u8]| {
            let parts = [tenant(context), named.as_bytes(), client_id.as_bytes(), kind, origin];
            self.state.keys.row(Purpose::Origin, &parts)
        };
        [
            context.device().map(|device| key(b"host", device.as_bytes())),
            context.peer().map(|peer| key(b"address", &source(peer))),
        ]
    }

    /// `None` without an address: a count of the client alone would let anybody lock it out.
    ///
    /// Client identifiers share 256 groups for each address. Otherwise one caller could fill the
    /// memory with invented identifiers. A caller who can use up a group could equally use up the
    /// client's own count.
    pub(super) fn client_key(&self, claimed: &str, context: &RequestContext) -> Option<BucketKey> {
        let peer = source(context.peer()?);
        let group = self
            .state
            .keys
            .key(Purpose::ClientAtSource, &[tenant(context), claimed.as_bytes()])
            .group();
        Some(self.state.keys.row(Purpose::ClientAtSource, &[&[group], &peer]))
    }

    pub(super) async fn key_of(
        &self,
        on: LimitKey<'_>,
        context: &RequestContext,
    ) -> Result<Option<(LimitKind, BucketKey)>, BoxError> {
        let named = match (on, &self.names) {
            (
                LimitKey::Account { username } | LimitKey::KnownOrigin { username, .. },
                Some(names),
            ) => names.account(username, context).await?,
            (LimitKey::Account { username } | LimitKey::KnownOrigin { username, .. }, None) => {
                folded(username).into_owned()
            }
            _ => String::new(),
        };
        let peer = context.peer();
        Ok(match on {
            LimitKey::Account { .. } => {
                Some((LimitKind::Account, self.account_key(&named, context)))
            }
            LimitKey::KnownOrigin { client_id, .. } => {
                let key = self.origin_keys(&named, client_id, context).into_iter().flatten().next();
                key.map(|key| (LimitKind::KnownOrigin, key))
            }
            LimitKey::Source => peer.map(|peer| {
                (LimitKind::Source, self.state.keys.row(Purpose::Source, &[&source(peer)]))
            }),
            LimitKey::Network => {
                let network = peer.and_then(network);
                network.map(|network| {
                    (LimitKind::Network, self.state.keys.row(Purpose::Network, &[&network]))
                })
            }
            LimitKey::Client { client_id } => {
                self.client_key(client_id, context).map(|key| (LimitKind::Client, key))
            }
        })
    }
}

fn tenant(context: &RequestContext) -> &[u8] {
    context.tenant_or_default().as_bytes()
}
