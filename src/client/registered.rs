//! Clients as the host registers them, and how they authenticate.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::client::secret::ClientSecret;
use crate::jose::{Algorithm, Hmac, JwkSet, KeyError, VerificationKeys};
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
    /// A client that keeps a secret and proves it at every request. A [`ClientSecret`] alone means
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
        Self::new(id.into(), ClientAuthentication(Credentials::None))
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
        matches!(self.0.authentication.0, Credentials::None)
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
        [Self::Password, Self::RefreshToken].into_iter().find(|grant| grant.as_str() == name)
    }
}

/// A client authentication method, by its registered name ([RFC 7591 section 2]).
///
/// [RFC 7591 section 2]: https://www.rfc-editor.org/rfc/rfc7591#section-2
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AuthenticationMethod {
    /// The secret in the `Authorization` header.
    ClientSecretBasic,
    /// The secret in the body.
    ClientSecretPost,
    /// A JWT that the client signs with its private key (RFC 7523).
    PrivateKeyJwt,
    /// A JWT that the client signs with its secret (RFC 7523).
    ClientSecretJwt,
    /// No authentication: a public client.
    None,
}

impl AuthenticationMethod {
    pub(crate) const ALL: [Self; 5] =
        [Self::ClientSecretBasic, Self::ClientSecretPost, Self::PrivateKeyJwt, Self::ClientSecretJwt, Self::None];

    /// The name, as metadata and registrations spell it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ClientSecretBasic => "client_secret_basic",
            Self::ClientSecretPost => "client_secret_post",
            Self::PrivateKeyJwt => "private_key_jwt",
            Self::ClientSecretJwt => "client_secret_jwt",
            Self::None => "none",
        }
    }
}

/// How a confidential client is registered to authenticate: by which method, with which secrets.
#[derive(Clone)]
pub struct ClientAuthentication(Credentials);

#[derive(Clone)]
enum Credentials {
    None,
    Secret(SecretCredentials),
    Assertion(AssertionCredentials),
}

/// How a client's assertions are judged.
#[derive(Clone)]
pub(crate) struct AssertionCredentials {
    keys: AssertionKeys,
    /// What the client is registered to sign with. Never both kinds: a public key is no secret.
    algorithms: Vec<Algorithm>,
    compatibility: Vec<AssertionCompatibility>,
}

#[derive(Clone)]
pub(crate) enum AssertionKeys {
    Known(Arc<VerificationKeys>),
    /// Published by the client, at this URI.
    At(Arc<str>),
}

impl AssertionCredentials {
    pub(crate) fn keys(&self) -> &AssertionKeys {
        &self.keys
    }

    pub(crate) fn takes(&self, algorithm: Algorithm) -> bool {
        self.algorithms.contains(&algorithm)
    }

    pub(crate) fn allows(&self, compatibility: AssertionCompatibility) -> bool {
        self.compatibility.contains(&compatibility)
    }

    fn method(&self) -> AuthenticationMethod {
        if self.algorithms.iter().all(|algorithm| algorithm.is_symmetric()) {
            AuthenticationMethod::ClientSecretJwt
        } else {
            AuthenticationMethod::PrivateKeyJwt
        }
    }
}

/// What a client may do that the specifications do not want, because it cannot be changed: for each client, and off
/// unless given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AssertionCompatibility {
    /// Its assertions may be for the token endpoint's URL, or that of the endpoint called, in the place of our issuer;
    /// or for one of these among others. Many deployed clients send the token endpoint. Whoever else such an assertion
    /// is for could use it here. The observer is told of each ([`EventKind::LenientAudience`](crate::EventKind)).
    EndpointAudience,
    /// It may write `jwt_bearer` for the assertion's type.
    JwtBearerAlias,
    /// It may send a Basic header that names the same client beside the assertion. The secret in it is not looked at.
    BasicBeside,
}

#[derive(Clone, Default)]
struct SecretCredentials {
    basic: bool,
    post: bool,
    secrets: Vec<ClientSecret>,
    slow_hash: Option<String>,
}

impl ClientAuthentication {
    /// `client_secret_basic`: HTTP Basic, and nothing else. Identifier and secret are read in each way that clients write them:
    /// form-encoded (RFC 6749 section 2.3.1), as they are, and percent-encoded with `+` kept. Identifiers without `%`, `+`
    /// and spaces have but one reading, and are best.
    #[must_use]
    pub fn basic(secret: ClientSecret) -> Self {
        Self::by_secret(true, false).or_secret(secret)
    }

    /// `client_secret_post`: the secret in the body, and nothing else.
    #[must_use]
    pub fn post(secret: ClientSecret) -> Self {
        Self::by_secret(false, true).or_secret(secret)
    }

    /// Either of the two, one in a request: for clients of which it is not known which they use.
    #[must_use]
    pub fn basic_or_post(secret: ClientSecret) -> Self {
        Self::by_secret(true, true).or_secret(secret)
    }

    fn by_secret(basic: bool, post: bool) -> Self {
        Self(Credentials::Secret(SecretCredentials { basic, post, ..SecretCredentials::default() }))
    }

    /// One more secret that is accepted, so that a client can change over from one to the other.
    #[must_use]
    pub fn or_secret(mut self, secret: ClientSecret) -> Self {
        if let Credentials::Secret(own) = &mut self.0 {
            own.secrets.push(secret);
        }
        self
    }

    /// One more secret that is accepted, stored as an Argon2id PHC string: for a secret of little entropy, imported from
    /// elsewhere. There is one such secret; a second call replaces it. Needs
    /// [`Builder::slow_client_secrets`](crate::Builder::slow_client_secrets); without it the secret is refused, and the
    /// observer told of [`ServerFault::ClientRegistration`](crate::ServerFault::ClientRegistration).
    #[cfg(feature = "argon2")]
    #[must_use]
    pub fn or_slow_hash(mut self, phc: impl Into<String>) -> Self {
        if let Credentials::Secret(own) = &mut self.0 {
            own.slow_hash = Some(phc.into());
        }
        self
    }

    /// `client_secret_basic` by a secret that is stored as a slow hash alone; see [`or_slow_hash`](Self::or_slow_hash).
    #[cfg(feature = "argon2")]
    #[must_use]
    pub fn basic_by_slow_hash(phc: impl Into<String>) -> Self {
        Self::by_secret(true, false).or_slow_hash(phc)
    }

    /// `private_key_jwt`: a JWT that the client signs with the private half of one of these keys, by any algorithm that the
    /// key is for; see [`algorithms`](Self::algorithms).
    ///
    /// A key that has no `kid` is known by its thumbprint (RFC 7638). If the client names it otherwise in its assertions,
    /// give it that name ([`Jwk::with_kid`](crate::Jwk::with_kid)), or they are refused; without a name in them, the only
    /// key that fits is taken.
    ///
    /// # Errors
    ///
    /// When there is no key, one that is not valid, or two that are named alike; as [`VerificationKeys::from_jwks`].
    pub fn private_key_jwt(keys: &JwkSet) -> Result<Self, KeyError> {
        let keys = VerificationKeys::from_jwks(keys)?;
        let algorithms = keys.algorithms();
        Ok(Self::by_assertion(AssertionKeys::Known(Arc::new(keys)), &algorithms))
    }

    /// The same with the keys that the client publishes at this URI. They are fetched by the
    /// [`Builder::jwks_source`](crate::Builder::jwks_source); without one, the client cannot authenticate.
    #[must_use]
    pub fn private_key_jwt_at(jwks_uri: impl Into<Arc<str>>) -> Self {
        Self::by_assertion(AssertionKeys::At(jwks_uri.into()), &Algorithm::ASYMMETRIC)
    }

    /// `client_secret_jwt`: a JWT that the client signs with a secret that both know, by HS256 (32 bytes or more), HS384
    /// (48) or HS512 (64). The secret itself is kept: whoever reads it can sign with it. Prefer a private key.
    ///
    /// # Errors
    ///
    /// When the secret has less than 32 bytes (RFC 7518 section 3.2).
    pub fn client_secret_jwt(secret: impl AsRef<[u8]>) -> Result<Self, KeyError> {
        let secret = secret.as_ref();
        let shared =
            |algorithm| Some(VerificationKeys::shared(None, algorithm, Hmac::new(secret, algorithm).ok()?.key));
        let keys = Algorithm::SYMMETRIC.into_iter().filter_map(shared).reduce(VerificationKeys::and);
        let keys = keys.ok_or(KeyError::TooShort)?;
        let algorithms = keys.algorithms();
        Ok(Self::by_assertion(AssertionKeys::Known(Arc::new(keys)), &algorithms))
    }

    fn by_assertion(keys: AssertionKeys, algorithms: &[Algorithm]) -> Self {
        let (algorithms, compatibility) = (algorithms.to_vec(), Vec::new());
        Self(Credentials::Assertion(AssertionCredentials { keys, algorithms, compatibility }))
    }

    /// The algorithms that the client is registered to sign its assertions with
    /// (`token_endpoint_auth_signing_alg`). Of those given, the ones that its keys are for count. Default all of them. Of no
    /// effect on other methods.
    ///
    /// # Errors
    ///
    /// [`KeyError::Algorithm`] when its keys are for none of these, so that it could never authenticate: an RSA key and
    /// ES256, a secret of 32 bytes and HS512. Of keys that are published elsewhere nothing is known but that they are public.
    /// Try it when the client is registered: an error in [`ClientStore::find`](crate::ClientStore::find) is a 503 at each
    /// of its requests.
    pub fn algorithms(mut self, algorithms: impl IntoIterator<Item = Algorithm>) -> Result<Self, KeyError> {
        if let Credentials::Assertion(own) = &mut self.0 {
            let registered: Vec<Algorithm> = algorithms.into_iter().collect();
            own.algorithms.retain(|algorithm| registered.contains(algorithm));
            if own.algorithms.is_empty() {
                return Err(KeyError::Algorithm);
            }
        }
        Ok(self)
    }

    /// What this client may do although the specifications do not want it. Of no effect on other methods.
    #[must_use]
    pub fn compatibility(mut self, allowed: impl IntoIterator<Item = AssertionCompatibility>) -> Self {
        if let Credentials::Assertion(own) = &mut self.0 {
            own.compatibility.extend(allowed);
        }
        self
    }

    pub(crate) fn assertion(&self) -> Option<&AssertionCredentials> {
        match &self.0 {
            Credentials::Assertion(own) => Some(own),
            _ => None,
        }
    }

    pub(crate) fn allows(&self, method: AuthenticationMethod) -> bool {
        match (&self.0, method) {
            (Credentials::Assertion(own), method) => own.method() == method,
            (Credentials::None, AuthenticationMethod::None) => true,
            (Credentials::Secret(own), AuthenticationMethod::ClientSecretBasic) => own.basic,
            (Credentials::Secret(own), AuthenticationMethod::ClientSecretPost) => own.post,
            _ => false,
        }
    }

    pub(crate) fn secrets(&self) -> &[ClientSecret] {
        match &self.0 {
            Credentials::Secret(own) => &own.secrets,
            Credentials::None | Credentials::Assertion(_) => &[],
        }
    }

    pub(crate) fn slow_hash(&self) -> Option<&str> {
        match &self.0 {
            Credentials::Secret(own) => own.slow_hash.as_deref(),
            Credentials::None | Credentials::Assertion(_) => None,
        }
    }
}

impl From<ClientSecret> for ClientAuthentication {
    fn from(secret: ClientSecret) -> Self {
        Self::basic(secret)
    }
}

impl fmt::Debug for ClientAuthentication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(AuthenticationMethod::ALL.into_iter().filter(|method| self.allows(*method))).finish()
    }
}
