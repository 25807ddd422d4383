use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;

use crate::client::registered::Client;
use crate::error::BoxError;
use crate::time::BoxFuture;
use crate::types::context::RequestContext;
use crate::types::identifier::ClientId;

/// Where the host keeps its clients.
///
/// ```
/// use password_grant::{BoxError, Client, ClientSecret, ClientStore, Grant, RequestContext, async_trait};
///
/// struct OneClient { secret_sha256: [u8; 32] }
///
/// #[async_trait]
/// impl ClientStore for OneClient {
///     async fn find(&self, client_id: &str, _: &RequestContext) -> Result<Option<Client>, BoxError> {
///         if client_id != "web" {
///             return Ok(None);
///         }
///         let secret = ClientSecret::from_sha256(self.secret_sha256);
///         Ok(Some(Client::confidential("web", secret).grants([Grant::Password]).scope("profile".parse()?).build()))
///     }
/// }
/// ```
#[async_trait]
pub trait ClientStore: Send + Sync + 'static {
    /// The client registered under this identifier, in the tenant that the context names.
    ///
    /// `client_id` is within its length and made of printable ASCII; beyond that it is whatever the caller sent, not
    /// authenticated. Compare it byte for byte: a client whose [`id`](Client::id) differs is taken as not found.
    /// Called once for each request that names a client, but up to three times where the identifier in a Basic header can be
    /// read in several ways, since it holds a `%` or a `+`: once for each. At introspection it is called for the token's
    /// client too. May be cancelled at any await.
    ///
    /// # Errors
    ///
    /// When the answer cannot be told now; the caller gets 503 `temporarily_unavailable`. A client that does not exist
    /// is `Ok(None)`.
    async fn find(
        &self,
        client_id: &str,
        context: &RequestContext,
    ) -> Result<Option<Client>, BoxError>;
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
}

/// A client store in memory: for tests, and for hosts whose few clients stand in a configuration file.
///
/// It knows no tenants. Clones share their clients.
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
pub struct InMemoryClients(Arc<RwLock<HashMap<ClientId, Client>>>);

impl InMemoryClients {
    /// A store of these clients.
    #[must_use]
    pub fn new<C: Into<Client>>(clients: impl IntoIterator<Item = C>) -> Self {
        let store = Self::default();
        clients.into_iter().for_each(|client| store.insert(client));
        store
    }

    /// Adds a client, in the place of one with the same identifier.
    pub fn insert(&self, client: impl Into<Client>) {
        let client = client.into();
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(client.id().clone(), client);
    }

    /// Takes a client away.
    pub fn remove(&self, client_id: &str) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(client_id);
    }
}

#[async_trait]
impl ClientStore for InMemoryClients {
    async fn find(&self, client_id: &str, _: &RequestContext) -> Result<Option<Client>, BoxError> {
        Ok(self.0.read().unwrap_or_else(PoisonError::into_inner).get(client_id).cloned())
    }
}
