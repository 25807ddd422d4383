//! Clients as the host registers them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::client::ClientAuthentication;
use crate::time::Timestamp;
use crate::types::identifier::ClientId;
use crate::types::scope::Scope;

/// A client as the host has registered it ([RFC 6749 section 2]).
///
/// A new one may do nothing: grants and scopes are given to it one by one. Cheap to clone and to cache: the data is
/// shared.
///
/// ```
/// use password_grant::{Client, ClientAuthentication, ClientSecret, Grant};
/// use std::time::Duration;
///
/// # let digest = [0; 32];
/// let web = Client::confidential("web", ClientSecret::from_sha256(digest))    // client_secret_basic
///     .grants([Grant::Password])
///     .scope("profile orders:read".parse()?)
///     .default_scope("profile".parse()?)
///     .access_token_lifetime(Duration::from_secs(300))
///     .build();
/// # Ok::<(), password_grant::error::InvalidScope>(())
/// ```
///
/// [RFC 6749 section 2]: https://www.rfc-editor.org/rfc/rfc6749#section-2
#[derive(Clone)]
pub struct Client(Arc<Registration>);

#[derive(Clone)]
struct Registration {
    id: ClientId,
    authentication: ClientAuthentication,
    grants: Vec<Grant>,
    scope: Scope,
    default_scope: Scope,
    audiences: Vec<String>,
    access_token_lifetime: Option<Duration>,
    rotates: bool,
    introspection: IntrospectionAccess,
    disabled: bool,
    expires_at: Option<Timestamp>,
}

/// LimiterKeys access tokens a client may introspect (RFC 7662).
#[derive(Clone)]
pub(crate) enum IntrospectionAccess {
    Own,
    All,
    /// Its own, and those for one of these audiences.
    Audiences(Vec<String>),
}

impl Client {
    /// Registers a client that keeps a secret or a key, and proves it at every request. A
    /// [`ClientSecret`](crate::ClientSecret) alone means `client_secret_basic`.
    pub fn confidential(
        id: impl Into<ClientId>,
        authentication: impl Into<ClientAuthentication>,
    ) -> ClientBuilder {
        ClientBuilder::new(id.into(), authentication.into())
    }

    /// Registers a client that cannot keep a secret, such as an app on its user's device ([RFC 6749
    /// section 2.1]): whoever sends its identifier counts as this client. RFC 9700 wants such a
    /// client to use this grant only where nothing else is possible, so give it [`Grant::Password`]
    /// on purpose or not at all.
    ///
    /// [RFC 6749 section 2.1]: https://www.rfc-editor.org/rfc/rfc6749#section-2.1
    pub fn public(id: impl Into<ClientId>) -> ClientBuilder {
        ClientBuilder::new(id.into(), ClientAuthentication::none())
    }

    /// The identifier.
    #[must_use]
    pub fn id(&self) -> &ClientId {
        &self.0.id
    }

    /// Whether it is a public client, which cannot keep a secret.
    #[must_use]
    pub fn is_public(&self) -> bool {
        self.0.authentication.is_none()
    }

    /// How it is registered to authenticate.
    #[must_use]
    pub fn authentication(&self) -> &ClientAuthentication {
        &self.0.authentication
    }

    /// The grants that it may use.
    #[must_use]
    pub fn grants(&self) -> &[Grant] {
        &self.0.grants
    }

    /// The scope that it may ask for.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.0.scope
    }

    /// The scope of a request that names none.
    #[must_use]
    pub fn default_scope(&self) -> &Scope {
        &self.0.default_scope
    }

    /// The audiences that it may ask for.
    #[must_use]
    pub fn audiences(&self) -> &[String] {
        &self.0.audiences
    }

    /// How long its access tokens are valid, if that differs from the engine's default.
    #[must_use]
    pub fn access_token_lifetime(&self) -> Option<Duration> {
        self.0.access_token_lifetime
    }

    /// Whether each use of one of its refresh tokens yields another one.
    #[must_use]
    pub fn rotates_refresh_tokens(&self) -> bool {
        self.is_public() || self.0.rotates
    }

    /// Whether it is refused everywhere.
    #[must_use]
    pub fn is_disabled(&self) -> bool {
        self.0.disabled
    }

    /// When the registration ends, if it does.
    #[must_use]
    pub fn expires_at(&self) -> Option<Timestamp> {
        self.0.expires_at
    }

    pub(crate) fn may_use(&self, grant: Grant) -> bool {
        self.0.grants.contains(&grant)
    }

    pub(crate) fn introspection(&self) -> &IntrospectionAccess {
        &self.0.introspection
    }

    pub(crate) fn has_expired(&self, now: Timestamp) -> bool {
        self.0.expires_at.is_some_and(|end| now >= end)
    }
}

/// Registers a [`Client`]: begun by [`Client::confidential`] and [`Client::public`].
#[derive(Clone)]
#[must_use]
pub struct ClientBuilder(Registration);

impl ClientBuilder {
    fn new(id: ClientId, authentication: ClientAuthentication) -> Self {
        Self(Registration {
            id,
            authentication,
            grants: Vec::new(),
            scope: Scope::empty(),
            default_scope: Scope::empty(),
            audiences: Vec::new(),
            access_token_lifetime: None,
            rotates: true,
            introspection: IntrospectionAccess::Own,
            disabled: false,
            expires_at: None,
        })
    }

    /// The grants the client may use. None unless given.
    pub fn grants(mut self, grants: impl IntoIterator<Item = Grant>) -> Self {
        self.0.grants = grants.into_iter().collect();
        self
    }

    /// The scope the client may ask for. Anything beyond it is `invalid_scope`, never silently left out.
    pub fn scope(mut self, scope: Scope) -> Self {
        self.0.scope = scope;
        self
    }

    /// The scope a request means that names none; must lie within [`scope`](Self::scope). Where there is none, a
    /// request has to name its scope, unless the client has no scope at all.
    pub fn default_scope(mut self, scope: Scope) -> Self {
        self.0.default_scope = scope;
        self
    }

    /// The audiences (resource servers) the client may ask tokens for with `audience` or `resource` (RFC 8707). The
    /// first is the one meant when a request names none. Where there are none, tokens are for the issuer's own
    /// audience, and a request that names one is `invalid_target`.
    pub fn audiences<A: Into<String>>(mut self, audiences: impl IntoIterator<Item = A>) -> Self {
        self.0.audiences = audiences.into_iter().map(Into::into).collect();
        self
    }

    /// How long this client's access tokens are valid, in whole seconds, in the place of the engine's default. From one
    /// second to 366 days; another value is a mistake in the registration and becomes 503.
    pub fn access_token_lifetime(mut self, lifetime: Duration) -> Self {
        self.0.access_token_lifetime = Some(lifetime);
        self
    }

    /// The client's refresh tokens stay the same when they are used, instead of being followed by others. For confidential
    /// clients that cannot store another one: whoever has copied the token goes unnoticed. Of no effect on public clients,
    /// whose tokens always change ([RFC 9700 section 4.14.2]).
    ///
    /// [RFC 9700 section 4.14.2]: https://www.rfc-editor.org/rfc/rfc9700#section-4.14.2
    pub fn without_rotation(mut self) -> Self {
        self.0.rotates = false;
        self
    }

    /// A resource server: introspection tells it of every client's access tokens, not only of its own
    /// ([RFC 7662 section 2]). It needs no grant.
    ///
    /// [RFC 7662 section 2]: https://www.rfc-editor.org/rfc/rfc7662#section-2
    pub fn resource_server(mut self) -> Self {
        self.0.introspection = IntrospectionAccess::All;
        self
    }

    /// A resource server that is told only of access tokens meant for one of these audiences.
    pub fn resource_server_for<A: Into<String>>(
        mut self,
        audiences: impl IntoIterator<Item = A>,
    ) -> Self {
        self.0.introspection =
            IntrospectionAccess::Audiences(audiences.into_iter().map(Into::into).collect());
        self
    }

    /// The client is refused everywhere, in the same words as one that does not exist.
    pub fn disabled(mut self) -> Self {
        self.0.disabled = true;
        self
    }

    /// The registration ends: from this moment on the client is refused as a disabled one is.
    pub fn expires_at(mut self, end: Timestamp) -> Self {
        self.0.expires_at = Some(end);
        self
    }

    /// The client. `into()` does the same.
    #[must_use]
    pub fn build(self) -> Client {
        Client(Arc::new(self.0))
    }
}

impl From<ClientBuilder> for Client {
    fn from(builder: ClientBuilder) -> Self {
        builder.build()
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("id", &self.id)
            .field("authentication", &self.authentication)
            .field("grants", &self.grants)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

/// A way to a token that a client can be registered for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Grant {
    /// `grant_type=password` (RFC 6749 section 4.3).
    Password,
    /// `grant_type=refresh_token` (RFC 6749 section 6): the client may be given refresh tokens, and use them. Only where
    /// [`PasswordGrantBuilder::refresh_tokens`](crate::PasswordGrantBuilder::refresh_tokens) has switched them on.
    RefreshToken,
}

impl Grant {
    pub(crate) const ALL: [Self; 2] = [Self::Password, Self::RefreshToken];

    /// The value of `grant_type`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Password => "password",
            Self::RefreshToken => "refresh_token",
        }
    }

    /// The grant with this name, if there is one.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|grant| grant.as_str() == name)
    }
}
