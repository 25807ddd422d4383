//! How a client is registered to authenticate: its method, and its secrets or keys (RFC 6749
//! section 2.3).

use std::fmt;
use std::sync::Arc;

use crate::client::ClientSecret;
use crate::jose::{Algorithm, Hmac, JwkSet, KeyError, VerificationKeys};

/// A client authentication method, under its registered name ([RFC 7591 section 2]).
///
/// [RFC 7591 section 2]: https://www.rfc-editor.org/rfc/rfc7591#section-2
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AuthenticationMethod {
    /// The secret is sent in the `Authorization` header.
    ClientSecretBasic,
    /// The secret is sent in the body.
    ClientSecretPost,
    /// The client sends a JWT that it signs with its private key (RFC 7523).
    PrivateKeyJwt,
    /// The client sends a JWT that it signs with its secret (RFC 7523).
    ClientSecretJwt,
    /// The client does not authenticate: a public client.
    None,
}

impl AuthenticationMethod {
    pub(crate) const ALL: [Self; 5] = [
        Self::ClientSecretBasic,
        Self::ClientSecretPost,
        Self::PrivateKeyJwt,
        Self::ClientSecretJwt,
        Self::None,
    ];

    /// Whether the client signs with a shared secret; `None` if it does not sign.
    pub(crate) fn symmetric(self) -> Option<bool> {
        match self {
            Self::PrivateKeyJwt => Some(false),
            Self::ClientSecretJwt => Some(true),
            Self::ClientSecretBasic | Self::ClientSecretPost | Self::None => None,
        }
    }

    /// The name of the method in metadata and registrations.
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

/// How a client is registered to authenticate: its method, and its secrets or keys.
#[derive(Clone)]
pub struct ClientAuthentication(Credentials);

#[derive(Clone)]
enum Credentials {
    None,
    Secret(SecretRegistration),
    Assertion(AssertionRegistration),
}

/// What a client's assertions are verified against.
#[derive(Clone)]
pub(crate) struct AssertionRegistration {
    keys: AssertionKeys,
    /// The algorithms that the client may sign with. They are never both symmetric and asymmetric:
    /// a public key is not a secret, so it must never be taken for an HMAC key.
    algorithms: Vec<Algorithm>,
    compatibility: Vec<AssertionCompatibility>,
}

#[derive(Clone)]
pub(crate) enum AssertionKeys {
    Known(Arc<VerificationKeys>),
    /// The keys that the client publishes at this URI.
    At(Arc<str>),
}

impl AssertionRegistration {
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

/// A deviation from the specifications, for a client that cannot be changed. Each is off unless it
/// is given to that client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AssertionCompatibility {
    /// The `aud` of its assertions may be the URL of the token endpoint, or of the endpoint that
    /// was called, instead of this server's issuer. It may also be an array with other audiences if
    /// one of these three is in it. Many deployed clients send the token endpoint. Any other
    /// audience of such an assertion could use it at this server. The observer learns of each
    /// ([`EventKind::LenientAudience`](crate::event::EventKind)).
    EndpointAudience,
    /// It may send `jwt_bearer` as the `client_assertion_type`.
    JwtBearerAlias,
    /// It may send an `Authorization: Basic` header that names the same client, in addition to the
    /// assertion. The secret in the header is ignored.
    BasicAlongside,
}

#[derive(Clone, Default)]
struct SecretRegistration {
    basic: bool,
    post: bool,
    secrets: Vec<ClientSecret>,
    slow_hash: Option<String>,
}

impl ClientAuthentication {
    /// `client_secret_basic`: HTTP Basic only. Identifier and secret are read in each of the ways
    /// in which clients write them: form-encoded (RFC 6749 section 2.3.1), unencoded, and
    /// percent-encoded with `+` kept. Prefer identifiers without `%`, `+` and spaces, because they
    /// have only one reading.
    #[must_use]
    pub fn basic(secret: ClientSecret) -> Self {
        Self::by_secret(true, false).or_secret(secret)
    }

    /// `client_secret_post`: the secret in the body only.
    #[must_use]
    pub fn post(secret: ClientSecret) -> Self {
        Self::by_secret(false, true).or_secret(secret)
    }

    /// `client_secret_basic` or `client_secret_post`, one of them in each request: for clients
    /// whose method is not known.
    #[must_use]
    pub fn basic_or_post(secret: ClientSecret) -> Self {
        Self::by_secret(true, true).or_secret(secret)
    }

    /// The registration of a public client.
    pub(crate) fn none() -> Self {
        Self(Credentials::None)
    }

    pub(crate) fn is_none(&self) -> bool {
        matches!(self.0, Credentials::None)
    }

    fn by_secret(basic: bool, post: bool) -> Self {
        Self(Credentials::Secret(SecretRegistration {
            basic,
            post,
            ..SecretRegistration::default()
        }))
    }

    /// Adds a secret that is also accepted, so that the client can change from one to the other.
    #[must_use]
    pub fn or_secret(mut self, secret: ClientSecret) -> Self {
        if let Credentials::Secret(own) = &mut self.0 {
            own.secrets.push(secret);
        }
        self
    }

    /// Adds a secret that is also accepted and is stored as an Argon2id PHC string: for a secret of
    /// low entropy that was imported from elsewhere. A client has at most one such secret; a second
    /// call replaces it. This needs
    /// [`slow_client_secrets`](crate::PasswordGrantBuilder::slow_client_secrets) of the engine's
    /// builder. Without it the secret is refused, and the observer receives
    /// [`ServerFault::ClientRegistration`](crate::error::ServerFault::ClientRegistration).
    #[cfg(feature = "argon2")]
    #[must_use]
    pub fn or_slow_hash(mut self, phc: impl Into<String>) -> Self {
        if let Credentials::Secret(own) = &mut self.0 {
            own.slow_hash = Some(phc.into());
        }
        self
    }

    /// `client_secret_basic` with a secret that is stored only as a slow hash; see
    /// [`or_slow_hash`](Self::or_slow_hash).
    #[cfg(feature = "argon2")]
    #[must_use]
    pub fn basic_by_slow_hash(phc: impl Into<String>) -> Self {
        Self::by_secret(true, false).or_slow_hash(phc)
    }

    /// `private_key_jwt`: a JWT that the client signs with the private half of one of these keys,
    /// by any algorithm that the key is for; see [`algorithms`](Self::algorithms).
    ///
    /// A key without a `kid` is named by its thumbprint (RFC 7638). If the client's assertions name
    /// it differently, give the key that name ([`Jwk::with_kid`](crate::jose::Jwk::with_kid));
    /// otherwise they are refused. An assertion that names no key is verified with the only key
    /// that fits.
    ///
    /// # Errors
    ///
    /// Fails if there is no key, if a key is invalid, or if two keys have the same name; see
    /// [`VerificationKeys::from_jwks`].
    pub fn private_key_jwt(keys: &JwkSet) -> Result<Self, KeyError> {
        let keys = VerificationKeys::from_jwks(keys)?;
        let algorithms = keys.algorithms();
        Ok(Self::by_assertion(AssertionKeys::Known(Arc::new(keys)), &algorithms))
    }

    /// `private_key_jwt` with the keys that the client publishes at this URI. The
    /// [`PasswordGrantBuilder::jwks_source`](crate::PasswordGrantBuilder::jwks_source) fetches
    /// them; without one, the client cannot authenticate.
    #[must_use]
    pub fn private_key_jwt_uri(jwks_uri: impl Into<Arc<str>>) -> Self {
        Self::by_assertion(AssertionKeys::At(jwks_uri.into()), &Algorithm::ASYMMETRIC)
    }

    /// `client_secret_jwt`: a JWT that the client signs with a shared secret, by HS256 (32 bytes or
    /// more), HS384 (48) or HS512 (64). The server stores the secret itself, and anybody who reads
    /// it can sign with it. Prefer a private key.
    ///
    /// # Errors
    ///
    /// Fails if the secret has fewer than 32 bytes (RFC 7518 section 3.2).
    pub fn client_secret_jwt(secret: impl AsRef<[u8]>) -> Result<Self, KeyError> {
        let secret = secret.as_ref();
        let shared = |algorithm| {
            Some(VerificationKeys::shared(None, algorithm, Hmac::new(secret, algorithm).ok()?.key))
        };
        let keys =
            Algorithm::SYMMETRIC.into_iter().filter_map(shared).reduce(VerificationKeys::and);
        let keys = keys.ok_or(KeyError::ShortSecret { found: secret.len(), needed: 32 })?;
        let algorithms = keys.algorithms();
        Ok(Self::by_assertion(AssertionKeys::Known(Arc::new(keys)), &algorithms))
    }

    fn by_assertion(keys: AssertionKeys, algorithms: &[Algorithm]) -> Self {
        let (algorithms, compatibility) = (algorithms.to_vec(), Vec::new());
        Self(Credentials::Assertion(AssertionRegistration { keys, algorithms, compatibility }))
    }

    /// The algorithms that the client is registered to sign its assertions with
    /// (`token_endpoint_auth_signing_alg`). Those that none of its keys is for are ignored.
    /// Default: all that its keys are for. It has no effect on other methods.
    ///
    /// # Errors
    ///
    /// [`KeyError::Algorithm`] if the client's keys are for none of these algorithms, so that it
    /// could never authenticate: for example an RSA key and ES256, or a secret of 32 bytes and
    /// HS512. Of keys that are published at a URI only one thing is known in advance, that they are
    /// public. Check for the error when the client is registered: an error in
    /// [`ClientStore::find`](crate::ClientStore::find) is a 503 at each of its requests.
    pub fn algorithms(
        mut self,
        algorithms: impl IntoIterator<Item = Algorithm>,
    ) -> Result<Self, KeyError> {
        if let Credentials::Assertion(own) = &mut self.0 {
            let registered: Vec<Algorithm> = algorithms.into_iter().collect();
            own.algorithms.retain(|algorithm| registered.contains(algorithm));
            if own.algorithms.is_empty() {
                return Err(KeyError::Algorithm);
            }
        }
        Ok(self)
    }

    /// The deviations from the specifications that this client is allowed. It has no effect on
    /// other methods.
    #[must_use]
    pub fn compatibility(
        mut self,
        allowed: impl IntoIterator<Item = AssertionCompatibility>,
    ) -> Self {
        if let Credentials::Assertion(own) = &mut self.0 {
            own.compatibility.extend(allowed);
        }
        self
    }

    pub(crate) fn assertion(&self) -> Option<&AssertionRegistration> {
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
        f.debug_set()
            .entries(AuthenticationMethod::ALL.into_iter().filter(|method| self.allows(*method)))
            .finish()
    }
}
