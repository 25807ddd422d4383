//! Clients as the host registers them (RFC 6749 section 2): identifier, grants, scope, audiences.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::client::ClientAuthentication;
use crate::error::UnknownGrant;
use crate::time::Timestamp;
use crate::types::identifier::ClientId;
use crate::types::scope::Scope;

/// A client as the host has registered it ([RFC 6749 section 2]).
///
/// A new client may do nothing: each grant and scope must be given to it. Cheap to clone and to
/// cache, because the data is shared.
///
/// ```
/// use password_grant::{Client, ClientAuthentication, ClientSecret, Grant};
/// use std::time::Duration;
///
/// # let digest = [0; 32];
/// let web = Client::confidential("web", ClientSecret::from_sha256(digest)) // client_secret_basic
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
    web_backend: Option<WebBackend>,
}

/// Whose access tokens a client may introspect (RFC 7662).
#[derive(Clone)]
pub(crate) enum IntrospectionAccess {
    Own,
    All,
    /// Its own, and those that are for one of these audiences.
    Audiences(Vec<String>),
}

/// The registration of a client through which many people log in from one address: how many failed
/// logins one address may have in a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct WebBackend {
    pub(crate) failures: u32,
    pub(crate) window: Duration,
}

impl Client {
    /// Registers a client that keeps a secret or a key, and proves at every request that it has it.
    /// A [`ClientSecret`](crate::ClientSecret) alone means `client_secret_basic`.
    pub fn confidential(
        id: impl Into<ClientId>,
        authentication: impl Into<ClientAuthentication>,
    ) -> ClientBuilder {
        ClientBuilder::new(id.into(), authentication.into())
    }

    /// Registers a client that cannot keep a secret, such as an app on its user's device ([RFC 6749
    /// section 2.1]). Anybody who sends its identifier counts as this client. According to RFC 9700
    /// such a client should use this grant only where nothing else is possible, so give it
    /// [`Grant::Password`] deliberately or not at all.
    ///
    /// [RFC 6749 section 2.1]: https://www.rfc-editor.org/rfc/rfc6749#section-2.1
    pub fn public(id: impl Into<ClientId>) -> ClientBuilder {
        ClientBuilder::new(id.into(), ClientAuthentication::none())
    }

    /// The client's identifier.
    #[must_use]
    pub fn id(&self) -> &ClientId {
        &self.0.id
    }

    /// Whether this is a public client, which cannot keep a secret.
    #[must_use]
    pub fn is_public(&self) -> bool {
        self.0.authentication.is_none()
    }

    /// How the client is registered to authenticate.
    #[must_use]
    pub fn authentication(&self) -> &ClientAuthentication {
        &self.0.authentication
    }

    /// The grants that the client may use.
    #[must_use]
    pub fn grants(&self) -> &[Grant] {
        &self.0.grants
    }

    /// The scope that the client may ask for.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.0.scope
    }

    /// The scope of a request that names none.
    #[must_use]
    pub fn default_scope(&self) -> &Scope {
        &self.0.default_scope
    }

    /// The audiences that the client may ask for.
    #[must_use]
    pub fn audiences(&self) -> &[String] {
        &self.0.audiences
    }

    /// The lifetime of the client's access tokens, if it differs from the engine's default.
    #[must_use]
    pub fn access_token_lifetime(&self) -> Option<Duration> {
        self.0.access_token_lifetime
    }

    /// Whether each use of one of the client's refresh tokens yields a new one (rotation).
    #[must_use]
    pub fn rotates_refresh_tokens(&self) -> bool {
        self.is_public() || self.0.rotates
    }

    /// Whether the client is refused everywhere.
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

    /// How the client is registered as a [web backend](ClientBuilder::web_backend). `None` for a
    /// public client, whatever its registration says.
    pub(crate) fn web_backend(&self) -> Option<WebBackend> {
        self.0.web_backend.filter(|_| !self.is_public())
    }

    pub(crate) fn has_expired(&self, now: Timestamp) -> bool {
        self.0.expires_at.is_some_and(|end| now >= end)
    }
}

/// Registers a [`Client`]. Start with [`Client::confidential`] or [`Client::public`].
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
            web_backend: None,
        })
    }

    /// The grants that the client may use. Default: none.
    pub fn grants(mut self, grants: impl IntoIterator<Item = Grant>) -> Self {
        self.0.grants = grants.into_iter().collect();
        self
    }

    /// The scope that the client may ask for. A request for anything beyond it is `invalid_scope`;
    /// nothing is silently left out.
    pub fn scope(mut self, scope: Scope) -> Self {
        self.0.scope = scope;
        self
    }

    /// The scope of a request that names none. It must lie within [`scope`](Self::scope). Without a
    /// default scope, every request must name its scope, unless the client has no scope at all.
    pub fn default_scope(mut self, scope: Scope) -> Self {
        self.0.default_scope = scope;
        self
    }

    /// The audiences (resource servers) that the client may ask tokens for, with `audience` or
    /// `resource` (RFC 8707). A request that names none is for the first one. If the client has no
    /// audiences, its tokens are for the token issuer's default audience, and a request that names
    /// any other audience is `invalid_target`.
    pub fn audiences<A: Into<String>>(mut self, audiences: impl IntoIterator<Item = A>) -> Self {
        self.0.audiences = audiences.into_iter().map(Into::into).collect();
        self
    }

    /// The lifetime of this client's access tokens, in whole seconds, instead of the engine's
    /// default. It must be between one second and 366 days; any other value is a mistake in the
    /// registration, and requests of the client get 503.
    pub fn access_token_lifetime(mut self, lifetime: Duration) -> Self {
        self.0.access_token_lifetime = Some(lifetime);
        self
    }

    /// Turns refresh token rotation off: the client's refresh tokens stay the same when they are
    /// used. This is for confidential clients that cannot store a new token; a copied token then
    /// goes unnoticed. It has no effect on public clients, whose tokens always rotate ([RFC 9700
    /// section 4.14.2]).
    ///
    /// [RFC 9700 section 4.14.2]: https://www.rfc-editor.org/rfc/rfc9700#section-4.14.2
    pub fn without_rotation(mut self) -> Self {
        self.0.rotates = false;
        self
    }

    /// Makes the client a resource server: it may introspect the access tokens of all clients, not
    /// only its own ([RFC 7662 section 2]). It needs no grant.
    ///
    /// [RFC 7662 section 2]: https://www.rfc-editor.org/rfc/rfc7662#section-2
    pub fn resource_server(mut self) -> Self {
        self.0.introspection = IntrospectionAccess::All;
        self
    }

    /// Makes the client a resource server that may introspect its own access tokens and those for
    /// one of these audiences.
    pub fn resource_server_for<A: Into<String>>(
        mut self,
        audiences: impl IntoIterator<Item = A>,
    ) -> Self {
        self.0.introspection =
            IntrospectionAccess::Audiences(audiences.into_iter().map(Into::into).collect());
        self
    }

    /// Registers the client as one through which many people log in from the same address: the
    /// server of a web application (a backend for frontend), or a gateway.
    ///
    /// Register nothing here if the client passes its users' addresses on and your host trusts it:
    /// give them to the engine as [`HttpRequest::peer`](crate::HttpRequest::peer), and all limits
    /// hold for each user's own address.
    ///
    /// Otherwise the engine sees the client's address instead of its users', and the client itself
    /// has to limit its users by their addresses. The registration changes this:
    ///
    /// * **The limit.** Failed logins are counted for each tenant, client and address (IPv6: /64):
    ///   `failures` (at least one) in the current `window` and the one before it (from a minute to
    ///   30 days; anything else counts as the nearest). This replaces
    ///   [`AttemptLimits::source`](crate::AttemptLimits::source) and
    ///   [`network`](crate::AttemptLimits::network) for logins through the client. While it is
    ///   reached, logins are answered 429 `temporarily_unavailable` with `Retry-After`.
    /// * **The hashing queue.** While passwords wait to be hashed, web backends are served
    ///   alternately with all other callers, and within the client one user name after the other
    ///   ([`HashedPasswords`](crate::HashedPasswords)). Otherwise all passwords from one address wait
    ///   in one line.
    ///
    /// The limits on user names are unchanged, and so is the number of attempts that may wait for
    /// others of the same name ([`AttemptLimits`](crate::AttemptLimits)): 64 for each name, and 64
    /// from the client's address, so of all its users together. An attempt waits only if it would
    /// be admitted without others of its name that are being judged.
    ///
    /// **Names that have logged in before.** A login makes the client's address a
    /// [known origin](crate::AttemptLimits::known_origins) of its name. Attempts on that name
    /// through the client then count on that origin alone. So the client's limit neither counts nor
    /// refuses them, and nobody who guesses at other names through the client keeps the owner out.
    /// Guesses at that name are bounded by the name's own limit there, and make its owner wait. To
    /// tell the owner from others, pass users' addresses on as above, or give the engine a device
    /// that your host has verified ([`HttpRequest::device`](crate::HttpRequest::device)): attempts
    /// from a device on which the owner has logged in before count on that device alone.
    ///
    /// It has no effect on [public clients](Client::public), because anybody could claim to be one.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use password_grant::{Client, ClientSecret, Grant};
    ///
    /// # let digest = [0; 32];
    /// let shop = Client::confidential("shop", ClientSecret::from_sha256(digest))
    ///     .grants([Grant::Password])
    ///     .web_backend(5_000, Duration::from_secs(600))
    ///     .build();
    /// ```
    pub fn web_backend(mut self, failures: u32, window: Duration) -> Self {
        let (shortest, longest) = (Duration::from_secs(60), Duration::from_secs(30 * 86_400));
        let window = window.clamp(shortest, longest);
        self.0.web_backend = Some(WebBackend { failures: failures.max(1), window });
        self
    }

    /// Refuses the client everywhere, with the same response as for a client that does not exist.
    pub fn disabled(mut self) -> Self {
        self.0.disabled = true;
        self
    }

    /// Ends the registration: from this time on the client is refused like a disabled one.
    pub fn expires_at(mut self, end: Timestamp) -> Self {
        self.0.expires_at = Some(end);
        self
    }

    /// The registered client. `into()` does the same.
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

/// A grant that a client can be registered for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Grant {
    /// `grant_type=password` (RFC 6749 section 4.3).
    Password,
    /// `grant_type=refresh_token` (RFC 6749 section 6): the client may be given refresh tokens, and
    /// may use them. It works only if
    /// [`PasswordGrantBuilder::refresh_tokens`](crate::PasswordGrantBuilder::refresh_tokens) has
    /// switched them on.
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

    /// The grant with this name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|grant| grant.as_str() == name)
    }
}

/// The name as `grant_type` has it.
impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The grant with this name, as `grant_type` has it. Case matters.
impl FromStr for Grant {
    type Err = UnknownGrant;

    fn from_str(name: &str) -> Result<Self, UnknownGrant> {
        Self::named(name).ok_or_else(|| UnknownGrant(name.chars().take(64).collect()))
    }
}

impl Serialize for Grant {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Grant {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::ClientSecret;

    #[test]
    fn only_a_confidential_client_is_a_web_backend() {
        let (failures, window) = (5_000, Duration::from_secs(600));
        let shop = Client::confidential("shop", ClientSecret::digest_of("a secret"));
        assert_eq!(shop.clone().build().web_backend(), None);
        let shop = shop.web_backend(failures, window).build();
        assert_eq!(shop.web_backend(), Some(WebBackend { failures, window }));
        let app = Client::public("app").web_backend(failures, window).build();
        assert_eq!(app.web_backend(), None, "anybody could claim to be it");
    }
}
