//! The context of a request: facts that only the host knows, such as the caller's address.

use std::any::Any;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// The context of a request: facts that the host knows about it. The engine counts attempts by some
/// of them and passes all of them on to the host's own stores.
///
/// The engine reads none of this from a header. A host behind a proxy decides which forwarding
/// header it trusts ([`TrustedProxies`](crate::TrustedProxies) reads it), and passes the result.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct RequestContext {
    peer: Option<IpAddr>,
    tenant: Option<Arc<str>>,
    device: Option<Arc<str>>,
    extension: Option<Arc<dyn Any + Send + Sync>>,
}

impl RequestContext {
    /// An empty context.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The address that the request came from, as the host determined it.
    #[must_use]
    pub fn with_peer(mut self, peer: IpAddr) -> Self {
        self.peer = Some(peer);
        self
    }

    /// The identity domain (tenant) in which client and user are looked up. The value is passed on
    /// as given: if the host takes it from a header, the stores receive what the caller sent,
    /// unvalidated.
    ///
    /// Attempts are counted within a tenant, whatever the issuer: engines that share one state
    /// store but have different users need different tenants. Set a tenant only if your look-ups
    /// use it, and use the same value for every spelling of it: each further spelling that finds
    /// the same user gives an attacker another full allowance of guesses.
    #[must_use]
    pub fn with_tenant(mut self, tenant: impl Into<Arc<str>>) -> Self {
        self.tenant = Some(tenant.into());
        self
    }

    /// The same context with this tenant; an empty tenant means none.
    pub(crate) fn in_tenant(&self, tenant: &str) -> Self {
        let tenant = (!tenant.is_empty()).then(|| tenant.into());
        Self { tenant, ..self.clone() }
    }

    /// An identifier of the caller's device that the host has verified: the subject of a client
    /// certificate, or the identifier in a device token that the host has signed. Logins from a
    /// device on which the user has logged in before are counted apart from all others, as logins
    /// from a known address are. It must never be a value that a caller can choose.
    #[must_use]
    pub fn with_device(mut self, device: impl Into<Arc<str>>) -> Self {
        self.device = Some(device.into());
        self
    }

    /// Any value of the host's, such as a request id or a device attestation. There is only one: a
    /// second call replaces the first value, whatever its type.
    #[must_use]
    pub fn with_extension<T: Any + Send + Sync>(mut self, value: Arc<T>) -> Self {
        self.extension = Some(value);
        self
    }

    /// The address that the request came from.
    #[must_use]
    pub fn peer(&self) -> Option<IpAddr> {
        self.peer
    }

    /// The identity domain (tenant) that the request named. Raw: validate it by looking it up.
    #[must_use]
    pub fn tenant(&self) -> Option<&str> {
        self.tenant.as_deref()
    }

    /// The tenant as keys and rows write it: the empty text stands for no tenant.
    pub(crate) fn tenant_or_default(&self) -> &str {
        self.tenant().unwrap_or_default()
    }

    /// The identifier of the caller's device, as the host has verified it.
    #[must_use]
    pub fn device(&self) -> Option<&str> {
        self.device.as_deref()
    }

    /// The host's value, if it has this type.
    #[must_use]
    pub fn extension<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.extension.as_deref()?.downcast_ref()
    }
}

/// The context of a request of which nothing but the caller's address is known.
impl From<IpAddr> for RequestContext {
    fn from(peer: IpAddr) -> Self {
        Self::new().with_peer(peer)
    }
}

/// The context of a request of which nothing but the caller's address is known, if it is.
impl From<Option<IpAddr>> for RequestContext {
    fn from(peer: Option<IpAddr>) -> Self {
        Self { peer, ..Self::new() }
    }
}

impl fmt::Debug for RequestContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestContext")
            .field("peer", &self.peer)
            .field("tenant", &self.tenant)
            .finish_non_exhaustive()
    }
}
