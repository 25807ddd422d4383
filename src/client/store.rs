//! The host's store of clients, and one in memory.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use async_trait::async_trait;

use crate::client::registered::Client;
use crate::error::BoxError;
use crate::time::BoxFuture;
use crate::types::context::RequestContext;
use crate::types::identifier::ClientId;

/// The host's store of registered clients.
///
/// ```
/// use password_grant::{
///     BoxError, Client, ClientSecret, ClientStore, Grant, RequestContext, async_trait,
/// };
///
/// struct OneClient { secret_sha256: [u8; 32] }
///
/// #[async_trait]
/// impl ClientStore for OneClient {
///     async fn find(
///         &self,
///         client_id: &str,
///         _: &RequestContext,
///     ) -> Result<Option<Client>, BoxError> {
///         if client_id != "web" {
///             return Ok(None);
///         }
///         let secret = ClientSecret::from_sha256(self.secret_sha256);
///         Ok(Some(
///             Client::confidential("web", secret)
///                 .grants([Grant::Password])
///                 .scope("profile".parse()?)
///                 .build(),
///         ))
///     }
/// }
/// ```
#[async_trait]
pub trait ClientStore: Send + Sync + 'static {
    /// Finds the client that is registered under this identifier, in the tenant that the context
    /// names.
    ///
    /// The length of `client_id` is checked, and it consists of printable ASCII. Otherwise it is
    /// raw: it is what the caller sent, and nobody has authenticated. Compare it byte for byte: a
    /// client whose [`id`](Client::id) differs counts as not found.
    ///
    /// It is called once for each request that names a client. It is called up to three times, once
    /// for each reading, if the identifier in a Basic header contains a `%` or a `+` and so has
    /// several readings. At introspection it is also called for the client that the token was
    /// issued to.
    ///
    /// # Errors
    ///
    /// Fails if the answer is not available now. The caller gets 503 `temporarily_unavailable`. A
    /// client that does not exist is `Ok(None)`, not an error.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped at any await.
    async fn find(
        &self,
        client_id: &str,
        context: &RequestContext,
    ) -> Result<Option<Client>, BoxError>;

    /// The clients that are known already when the engine is built, such as those of a configuration
    /// file, so that a registration that cannot work is an error then
    /// ([`BuildError::Client`](crate::BuildError::Client)). Default: none.
    fn known_clients(&self) -> Vec<Client> {
        Vec::new()
    }
}

impl<T: ClientStore + ?Sized> ClientStore for Arc<T> {
    fn find<'a, 'b, 'c, 'd>(
        &'a self,
        client_id: &'b str,
        context: &'c RequestContext,
    ) -> BoxFuture<'d, Result<Option<Client>, BoxError>>
    where
        'a: 'd,
        'b: 'd,
        'c: 'd,
        Self: 'd,
    {
        (**self).find(client_id, context)
    }

    fn known_clients(&self) -> Vec<Client> {
        (**self).known_clients()
    }
}

/// A client store in memory, for tests and for hosts whose few clients are in a configuration file.
///
/// It ignores tenants. Clones share their clients. The engine checks them when it is built: two with
/// one identifier, or a registration that cannot work, are an error then.
///
/// ```
/// use password_grant::testing::InMemoryClients;
/// use password_grant::{Client, Grant};
///
/// let mobile = Client::public("mobile").grants([Grant::Password]).scope("profile".parse()?);
/// let clients = InMemoryClients::new([mobile]);
/// # Ok::<(), password_grant::error::InvalidScope>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct InMemoryClients(Arc<RwLock<Clients>>);

#[derive(Debug, Default)]
struct Clients {
    by_id: HashMap<ClientId, Client>,
    /// Clients of [`new`](InMemoryClients::new) whose identifier another one has too.
    repeated: Vec<Client>,
}

impl Clients {
    /// Whatever had this identifier goes, also if several had it.
    fn replace(&mut self, id: ClientId, client: Option<Client>) {
        self.repeated.retain(|other| *other.id() != id);
        match client {
            Some(client) => drop(self.by_id.insert(id, client)),
            None => drop(self.by_id.remove(&id)),
        }
    }
}

impl InMemoryClients {
    /// A store with these clients.
    #[must_use]
    pub fn new<C: Into<Client>>(clients: impl IntoIterator<Item = C>) -> Self {
        let mut store = Clients::default();
        for client in clients.into_iter().map(Into::into) {
            if let Some(other) = store.by_id.insert(client.id().clone(), client) {
                store.repeated.push(other);
            }
        }
        Self(Arc::new(RwLock::new(store)))
    }

    /// Adds a client, and replaces one with the same identifier.
    pub fn insert(&self, client: impl Into<Client>) {
        let client = client.into();
        self.write().replace(client.id().clone(), Some(client));
    }

    /// Removes a client.
    pub fn remove(&self, client_id: &str) {
        self.write().replace(client_id.into(), None);
    }

    fn read(&self) -> RwLockReadGuard<'_, Clients> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Clients> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl ClientStore for InMemoryClients {
    async fn find(&self, client_id: &str, _: &RequestContext) -> Result<Option<Client>, BoxError> {
        Ok(self.read().by_id.get(client_id).cloned())
    }

    fn known_clients(&self) -> Vec<Client> {
        let clients = self.read();
        clients.by_id.values().chain(&clients.repeated).cloned().collect()
    }
}
