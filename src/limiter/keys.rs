//! The keys under which attempts are counted: the account, known origins, the address and its
//! network, and a client at an address.

use std::borrow::Cow;
use std::net::IpAddr;

use crate::client::WebBackend;
use crate::error::{BoxError, LimitKind};
use crate::limiter::account::{folded, folded_for_origins};
use crate::limiter::account_row::{AccountRow, ChargedTo, OriginDigest};
use crate::limiter::failures::{FailureWindows, WindowRule};
use crate::limiter::{Attempt, AttemptLimiter};
use crate::state::StateKey;
use crate::state::key::Purpose;
use crate::state::transaction::RowKey;
use crate::types::address::{network, source};
use crate::types::context::RequestContext;

/// What an attempt is counted on.
pub(super) struct AttemptKeys {
    pub(super) account: RowKey<AccountRow>,
    /// The attempt's origins: the device that the host has identified, and the address.
    pub(super) origins: Origins,
    /// The address, and its network.
    pub(super) places: [Option<PlaceKey>; 2],
}

pub(super) type Origins = [Option<OriginDigest>; 2];

/// The row of an address or a network, and its limit.
#[derive(Clone, Copy)]
pub(super) struct PlaceKey {
    pub(super) kind: LimitKind,
    pub(super) key: RowKey<FailureWindows>,
    pub(super) rule: WindowRule,
}

impl AttemptKeys {
    pub(super) fn places(&self) -> impl Iterator<Item = PlaceKey> {
        self.places.into_iter().flatten()
    }

    /// The keys of all rows.
    pub(super) fn all(&self) -> impl Iterator<Item = StateKey> {
        let places = self.places().map(|place| place.key.into());
        std::iter::once(self.account.into()).chain(places)
    }
}

/// The names under which a user name is counted.
struct CountedNames<'u> {
    account: Cow<'u, str>,
    /// The name for which a place is known.
    origin: Cow<'u, str>,
}

/// The rows in which failed authentications of a client are counted.
#[derive(Clone, Copy)]
pub(super) struct ClientKeys {
    pub(super) at_source: RowKey<FailureWindows>,
    pub(super) at_network: Option<RowKey<FailureWindows>>,
}

impl ClientKeys {
    pub(super) fn all(self) -> impl Iterator<Item = StateKey> {
        let at_network = self.at_network.map(StateKey::from);
        std::iter::once(self.at_source.into()).chain(at_network)
    }
}

/// A count of the limiter, as an administrator names it.
pub(super) enum CountKey {
    Account(RowKey<AccountRow>, ChargedTo),
    Failures(RowKey<FailureWindows>, WindowRule),
}

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
        /// The user name, in the spelling of the login or in another case. Raw.
        username: &'a str,
        /// The client through which the attempts come.
        client_id: &'a str,
    },
    /// Failed logins from the context's address (IPv6: its /64), in all tenants, except those
    /// through [web backends](crate::ClientBuilder::web_backend).
    Source,
    /// Failed logins from the IPv6 network (/48) of the context's address, in all tenants, except
    /// those through web backends.
    Network,
    /// Failed logins through a [web backend](crate::ClientBuilder::web_backend) from the context's
    /// address.
    WebBackend {
        /// The client's identifier. Raw: it is looked up in the client store.
        client_id: &'a str,
    },
    /// Failed authentications of a client from the context's address (IPv6: its /64). Identifiers
    /// share 256 counts for each address, so the count may include other clients, and a reset also
    /// resets theirs.
    Client {
        /// The client's identifier. Raw.
        client_id: &'a str,
    },
    /// Failed authentications of a client from the IPv6 network (/48) of the context's address.
    /// Identifiers share 256 counts for each network.
    ClientNetwork {
        /// The client's identifier. Raw.
        client_id: &'a str,
    },
}

impl AttemptLimiter {
    /// The keys under which an attempt is counted.
    pub(super) async fn keys_of(&self, attempt: &Attempt<'_>) -> Result<AttemptKeys, BoxError> {
        let Attempt { username, client, context } = *attempt;
        let names = self.names_of(username, context).await?;
        let places = match (context.peer(), client.web_backend()) {
            (None, _) => [None, None],
            (Some(peer), Some(backend)) => {
                let key = self.backend_key(client.id().as_str(), peer, context);
                let rule = WindowRule::new(backend.failures, backend.window);
                [Some(PlaceKey { kind: LimitKind::WebBackend, key, rule }), None]
            }
            (Some(peer), None) => [
                Some(PlaceKey {
                    kind: LimitKind::Source,
                    key: self.source_key(peer),
                    rule: self.source,
                }),
                self.network_key(peer).map(|key| PlaceKey {
                    kind: LimitKind::Network,
                    key,
                    rule: self.network,
                }),
            ],
        };
        Ok(AttemptKeys {
            account: self.account_key(&names.account, context),
            origins: self.origins(&names.origin, client.id().as_str(), context),
            places,
        })
    }

    /// The names under which a user name is counted: the host's, if it has any.
    async fn names_of<'u>(
        &self,
        username: &'u str,
        context: &RequestContext,
    ) -> Result<CountedNames<'u>, BoxError> {
        Ok(match &self.names {
            Some(names) => {
                let account: Cow<'_, str> = names.account(username, context).await?.into();
                CountedNames { origin: account.clone(), account }
            }
            None => {
                CountedNames { account: folded(username), origin: folded_for_origins(username) }
            }
        })
    }

    /// The keys of the rows that a reservation for this user name will read, as far as they are
    /// known without asking the host: all, unless it has [`AccountNames`] or the client is a web
    /// backend.
    ///
    /// [`AccountNames`]: crate::limiter::AccountNames
    pub(crate) fn rows_ahead(&self, username: &str, context: &RequestContext) -> Vec<StateKey> {
        let mut rows = vec![self.log_outs.last().into()];
        if self.names.is_none() {
            rows.push(self.account_key(&folded(username), context).into());
        }
        if let Some(peer) = context.peer() {
            rows.push(self.source_key(peer).into());
            rows.extend(self.network_key(peer).map(StateKey::from));
        }
        rows
    }

    fn account_key(&self, named: &str, context: &RequestContext) -> RowKey<AccountRow> {
        self.state.keys.row(Purpose::Account, &[tenant(context), named.as_bytes()])
    }

    fn source_key(&self, peer: IpAddr) -> RowKey<FailureWindows> {
        self.state.keys.row(Purpose::Source, &[&source(peer)])
    }

    fn backend_key(
        &self,
        client_id: &str,
        peer: IpAddr,
        context: &RequestContext,
    ) -> RowKey<FailureWindows> {
        let parts = [tenant(context), client_id.as_bytes(), &source(peer)];
        self.state.keys.row(Purpose::Source, &parts)
    }

    fn network_key(&self, peer: IpAddr) -> Option<RowKey<FailureWindows>> {
        network(peer).map(|network| self.state.keys.row(Purpose::Network, &[&network]))
    }

    /// The attempt's origins: the device that the host has identified, then the address. None if
    /// known origins are off.
    fn origins(&self, named: &str, client_id: &str, context: &RequestContext) -> Origins {
        if self.known_origin_ttl == 0 {
            return [None, None];
        }
        let digest = |kind: &[u8], place: &[u8]| {
            let issuer = self.log_outs.issuer().as_bytes();
            let (named, client_id) = (named.as_bytes(), client_id.as_bytes());
            let parts = [issuer, tenant(context), named, client_id, kind, place];
            self.state.keys.key(Purpose::Origin, &parts).short_digest()
        };
        [
            context.device().map(|device| digest(b"host", device.as_bytes())),
            context.peer().map(|peer| digest(b"address", &source(peer))),
        ]
    }

    /// `None` without an address: a count of the client alone would let anybody lock it out.
    ///
    /// Client identifiers share 256 groups for each address and for each network. Otherwise one
    /// caller could fill the store with invented identifiers. A caller who can use up a group could
    /// equally use up the client's own count.
    pub(super) fn client_keys(
        &self,
        claimed: &str,
        context: &RequestContext,
    ) -> Option<ClientKeys> {
        let (peer, keys) = (context.peer()?, &self.state.keys);
        let group =
            keys.key(Purpose::ClientAtSource, &[tenant(context), claimed.as_bytes()]).group();
        let at_network =
            network(peer).map(|network| keys.row(Purpose::ClientAtNetwork, &[&[group], &network]));
        let at_source = keys.row(Purpose::ClientAtSource, &[&[group], &source(peer)]);
        Some(ClientKeys { at_source, at_network })
    }

    /// The kind and the key of the count that an administrator names; `None` if there is none, for
    /// want of an address or of a registration as a web backend.
    pub(super) async fn key_of(
        &self,
        on: LimitKey<'_>,
        backend: Option<WebBackend>,
        context: &RequestContext,
    ) -> Result<Option<(LimitKind, CountKey)>, BoxError> {
        let username = match on {
            LimitKey::Account { username } | LimitKey::KnownOrigin { username, .. } => username,
            _ => "",
        };
        let names = match username {
            "" => CountedNames { account: "".into(), origin: "".into() },
            username => self.names_of(username, context).await?,
        };
        let peer = context.peer();
        let failures = |kind, key: Option<RowKey<FailureWindows>>, rule| {
            key.map(|key| (kind, CountKey::Failures(key, rule)))
        };
        let account = |kind, charged| {
            (kind, CountKey::Account(self.account_key(&names.account, context), charged))
        };
        Ok(match on {
            LimitKey::Account { .. } => Some(account(LimitKind::Account, ChargedTo::Account)),
            LimitKey::KnownOrigin { client_id, .. } => {
                let origins = self.origins(&names.origin, client_id, context);
                let origin = origins.into_iter().flatten().next();
                origin.map(|origin| account(LimitKind::KnownOrigin, ChargedTo::Origin(origin)))
            }
            LimitKey::Source => {
                failures(LimitKind::Source, peer.map(|peer| self.source_key(peer)), self.source)
            }
            LimitKey::Network => failures(
                LimitKind::Network,
                peer.and_then(|peer| self.network_key(peer)),
                self.network,
            ),
            LimitKey::WebBackend { client_id } => peer.zip(backend).map(|(peer, backend)| {
                let rule = WindowRule::new(backend.failures, backend.window);
                let key = self.backend_key(client_id, peer, context);
                (LimitKind::WebBackend, CountKey::Failures(key, rule))
            }),
            LimitKey::Client { client_id } => {
                let keys = self.client_keys(client_id, context);
                failures(LimitKind::Client, keys.map(|keys| keys.at_source), self.client)
            }
            LimitKey::ClientNetwork { client_id } => {
                let keys = self.client_keys(client_id, context);
                let key = keys.and_then(|keys| keys.at_network);
                failures(LimitKind::ClientNetwork, key, self.client_network)
            }
        })
    }
}

fn tenant(context: &RequestContext) -> &[u8] {
    context.tenant_or_default().as_bytes()
}
