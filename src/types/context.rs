use std::any::Any;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

/// What surrounds a request: facts the host knows and the engine only passes on to the host's own stores.
///
/// The engine reads none of this from a header. A host behind a proxy decides itself which forwarding header it
/// trusts, and hands over the result.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct RequestContext {
    peer: Option<IpAddr>,
    tenant: Option<Arc<str>>,
    device: Option<Arc<str>>,
    extension: Option<Arc<dyn Any + Send + Sync>>,
}

impl RequestContext {
    /// A context in which nothing is known.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The address the request came from, as the host determined it.
    #[must_use]
    pub fn with_peer(mut self, peer: IpAddr) -> Self {
        self.peer = Some(peer);
        self
    }

    /// The identity domain (tenant) in which client and user are to be looked up. It is passed on as given: a host
    /// that takes it from a header passes on what the caller sent, unvalidated.
    ///
    /// Attempts are counted within a tenant, whatever the issuer: engines over one state that have different users need
    /// tenants of their own. So give one only if your look-ups heed it, and the same one for every
    /// spelling of it: each further spelling that finds the same user gives whoever guesses another full allowance.
    #[must_use]
    pub fn with_tenant(mut self, tenant: impl Into<Arc<str>>) -> Self {
        self.tenant = Some(tenant.into());
        self
    }

    /// The same in this tenant, or in none.
    pub(crate) fn in_tenant(&self, tenant: &str) -> Self {
        let tenant = (!tenant.is_empty()).then(|| tenant.into());
        Self { tenant, ..self.clone() }
    }

    /// What the host knows the caller's device by, and has verified: the subject of a client certificate, the identifier
    /// in a device token that it has signed. Logins from an origin where the user has logged in before are counted apart
    /// from all others, as they are from a known address. Never anything that a caller can choose.
    #[must_use]
    pub fn with_device(mut self, device: impl Into<Arc<str>>) -> Self {
        self.device = Some(device.into());
        self
    }

    /// Any value of the host's, such as a request id or a device attestation. There is one: a second call replaces it,
    /// whatever its type.
    #[must_use]
    pub fn with_extension<T: Any + Send + Sync>(mut self, value: Arc<T>) -> Self {
        self.extension = Some(value);
        self
    }

    /// The address the request came from.
    #[must_use]
    pub fn peer(&self) -> Option<IpAddr> {
        self.peer
    }

    /// The identity domain (tenant) the request named. Raw: validate it by looking it up.
    #[must_use]
    pub fn tenant(&self) -> Option<&str> {
        self.tenant.as_deref()
    }

    /// What the host knows the caller's device by.
    #[must_use]
    pub fn device(&self) -> Option<&str> {
        self.device.as_deref()
    }

    /// The host's value, if one of this type was given.
    #[must_use]
    pub fn extension<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.extension.as_deref()?.downcast_ref()
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
