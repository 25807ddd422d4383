//! Clients as the host registers them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::client::ClientAuthentication;
use crate::vocabulary::clock::Timestamp;
use crate::vocabulary::identifier::ClientId;
use crate::vocabulary::scope::Scope;

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
///     .access_token_lifetime(Duration::from_secs(300));
/// # Ok::<(), password_grant::InvalidScope>(())
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
    keeps_refresh_tokens: bool,
    sees: Sees,
    disabled: bool,
    expires_at: Option<Timestamp>,
}

/// Of whose tokens introspection tells a client, besides its own.
#[derive(Clone)]
pub(crate) enum Sees {
    Nobodys,
    All,
    /// Those meant for one of these audiences.
    For(Vec<String>),
}

impl Client {
    /// A client that keeps a secret and proves it at every request. A [`ClientSecret`](crate::ClientSecret) alone means
    /// `client_secret_basic`.
    #[must_use]
    pub fn confidential(id: impl Into<ClientId>, authentication: impl Into<ClientAuthentication>) -> Self {
        Self::new(id.into(), authentication.into())
    }

    /// A client that can keep no secret, such as an app on its user's device ([RFC 6749 section 2.1]): whoever names
    /// it is it. RFC 9700 wants such a client to use this grant only where nothing else is possible, so give it
    /// [`Grant::Password`] on purpose or not at all.
    ///
    /// [RFC 6749 section 2.1]: https://www.rfc-editor.org/rfc/rfc6749#section-2.1
    #[must_use]
    pub fn public(id: impl Into<ClientId>) -> Self {
        Self::new(id.into(), ClientAuthentication::none())
    }

    fn new(id: ClientId, authentication: ClientAuthentication) -> Self {
        Self(Arc::new(Registration {
            id,
            authentication,
            grants: Vec::new(),
            scope: Scope::empty(),
            default_scope: Scope::empty(),
            audiences: Vec::new(),
            access_token_lifetime: None,
            keeps_refresh_tokens: false,
            sees: Sees::Nobodys,
            disabled: false,
            expires_at: None,
        }))
    }

    fn with(mut self, change: impl FnOnce(&mut Registration)) -> Self {
        change(Arc::make_mut(&mut self.0));
        self
    }

    /// The grants the client may use. None unless given.
    #[must_use]
    pub fn grants(self, grants: impl IntoIterator<Item = Grant>) -> Self {
        self.with(|client| client.grants = grants.into_iter().collect())
    }

    /// The scope the client may ask for. Anything beyond it is `invalid_scope`, never silently left out.
    #[must_use]
    pub fn scope(self, scope: Scope) -> Self {
        self.with(|client| client.scope = scope)
    }

    /// The scope a request means that names none; must lie within [`scope`](Self::scope). Where there is none, a
    /// request has to name its scope, unless the client has no scope at all.
    #[must_use]
    pub fn default_scope(self, scope: Scope) -> Self {
        self.with(|client| client.default_scope = scope)
    }

    /// The audiences (resource servers) the client may ask tokens for with `audience` or `resource` (RFC 8707). The
    /// first is the one meant when a request names none. Where there are none, tokens are for the issuer's own
    /// audience, and a request that names one is `invalid_target`.
    #[must_use]
    pub fn audiences<A: Into<String>>(self, audiences: impl IntoIterator<Item = A>) -> Self {
        self.with(|client| client.audiences = audiences.into_iter().map(Into::into).collect())
    }

    /// How long this client's access tokens are valid, in whole seconds, in the place of the engine's default. From one
    /// second to 366 days; another value is a mistake in the registration and becomes 503.
    #[must_use]
    pub fn access_token_lifetime(self, lifetime: Duration) -> Self {
        self.with(|client| client.access_token_lifetime = Some(lifetime))
    }

    /// The client's refresh tokens stay the same when they are used, instead of being followed by others. For confidential
    /// clients that cannot store another one: whoever has copied the token goes unnoticed. Of no effect on public clients,
    /// whose tokens always change ([RFC 9700 section 4.14.2]).
    ///
    /// [RFC 9700 section 4.14.2]: https://www.rfc-editor.org/rfc/rfc9700#section-4.14.2
    #[must_use]
    pub fn keeps_refresh_tokens(self) -> Self {
        self.with(|client| client.keeps_refresh_tokens = true)
    }

    /// A resource server: introspection tells it of every client's access tokens, not only of its own
    /// ([RFC 7662 section 2]). It needs no grant.
    ///
    /// [RFC 7662 section 2]: https://www.rfc-editor.org/rfc/rfc7662#section-2
    #[must_use]
    pub fn resource_server(self) -> Self {
        self.with(|client| client.sees = Sees::All)
    }

    /// A resource server that is told only of access tokens meant for one of these audiences.
    #[must_use]
    pub fn resource_server_for<A: Into<String>>(self, audiences: impl IntoIterator<Item = A>) -> Self {
        self.with(|client| client.sees = Sees::For(audiences.into_iter().map(Into::into).collect()))
    }

    /// The client is refused everywhere, in the same words as one that does not exist.
    #[must_use]
    pub fn disabled(self) -> Self {
        self.with(|client| client.disabled = true)
    }

    /// The registration ends: from this moment on the client is refused as a disabled one is.
    #[must_use]
    pub fn expires_at(self, end: Timestamp) -> Self {
        self.with(|client| client.expires_at = Some(end))
    }

    /// The identifier.
    #[must_use]
    pub fn id(&self) -> &ClientId {
        &self.0.id
    }

    /// Whether it can keep no secret.
    #[must_use]
    pub fn is_public(&self) -> bool {
        self.0.authentication.is_none()
    }

    /// Whether it is registered for this grant.
    #[must_use]
    pub fn may_use(&self, grant: Grant) -> bool {
        self.0.grants.contains(&grant)
    }

    /// What [`scope`](Self::scope) was given.
    #[must_use]
    pub fn registered_scope(&self) -> &Scope {
        &self.0.scope
    }

    pub(crate) fn scope_when_none_is_asked(&self) -> &Scope {
        &self.0.default_scope
    }

    pub(crate) fn registered_audiences(&self) -> &[String] {
        &self.0.audiences
    }

    pub(crate) fn lifetime_of_access_tokens(&self) -> Option<Duration> {
        self.0.access_token_lifetime
    }

    /// Whether its refresh tokens are followed by others.
    pub(crate) fn rotates(&self) -> bool {
        self.is_public() || !self.0.keeps_refresh_tokens
    }

    pub(crate) fn sees(&self) -> &Sees {
        &self.0.sees
    }

    pub(crate) fn authentication(&self) -> &ClientAuthentication {
        &self.0.authentication
    }

    pub(crate) fn is_disabled(&self) -> bool {
        self.0.disabled
    }

    pub(crate) fn has_expired(&self, now: Timestamp) -> bool {
        self.0.expires_at.is_some_and(|end| now >= end)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("id", &self.0.id)
            .field("authentication", &self.0.authentication)
            .field("grants", &self.0.grants)
            .field("scope", &self.0.scope)
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
    /// [`Builder::refresh_tokens`](crate::Builder::refresh_tokens) has switched them on.
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
