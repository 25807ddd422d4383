//! How a client is registered to authenticate: by which method, with which secrets or keys.

use std::fmt;
use std::sync::Arc;

use crate::client::ClientSecret;
use crate::jose::{Algorithm, Hmac, JwkSet, KeyError, VerificationKeys};

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
    pub(crate) const ALL: [Self; 5] = [
        Self::ClientSecretBasic,
        Self::ClientSecretPost,
        Self::PrivateKeyJwt,
        Self::ClientSecretJwt,
        Self::None,
    ];

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
    Secret(SecretRegistration),
    Assertion(AssertionRegistration),
}

/// How a client's assertions are judged.
#[derive(Clone)]
pub(crate) struct AssertionRegistration {
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

/// What a client may do that the specifications do not want, because it cannot be changed: for each client, and off
/// unless given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum AssertionCompatibility {
    /// Its assertions may be for the token endpoint's URL, or that of the endpoint called, in the place of our issuer;
    /// or for one of these among others. Many deployed clients send the token endpoint. Whoever else such an assertion
    /// is for could use it here. The observer is told of each ([`EventKind::LenientAudience`](crate::event::EventKind)).
    EndpointAudience,
    /// It may write `jwt_bearer` for the assertion's type.
    JwtBearerAlias,
    /// It may send a Basic header that names the same client beside the assertion. The secret in it is not looked at.
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

    /// That of a public client.
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
    /// [`PasswordGrantBuilder::slow_client_secrets`](crate::PasswordGrantBuilder::slow_client_secrets); without it the secret is refused, and the
    /// observer told of [`ServerFault::ClientRegistration`](crate::error::ServerFault::ClientRegistration).
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
    /// give it that name ([`Jwk::with_kid`](crate::jose::Jwk::with_kid)), or they are refused; without a name in them, the only
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
    /// [`PasswordGrantBuilder::jwks_source`](crate::PasswordGrantBuilder::jwks_source); without one, the client cannot authenticate.
    #[must_use]
    pub fn private_key_jwt_uri(jwks_uri: impl Into<Arc<str>>) -> Self {
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
        let shared = |algorithm| {
            Some(VerificationKeys::shared(None, algorithm, Hmac::new(secret, algorithm).ok()?.key))
        };
        let keys =
            Algorithm::SYMMETRIC.into_iter().filter_map(shared).reduce(VerificationKeys::and);
        let keys = keys.ok_or(KeyError::TooShort)?;
        let algorithms = keys.algorithms();
        Ok(Self::by_assertion(AssertionKeys::Known(Arc::new(keys)), &algorithms))
    }

    fn by_assertion(keys: AssertionKeys, algorithms: &[Algorithm]) -> Self {
        let (algorithms, compatibility) = (algorithms.to_vec(), Vec::new());
        Self(Credentials::Assertion(AssertionRegistration { keys, algorithms, compatibility }))
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

    /// What this client may do although the specifications do not want it. Of no effect on other methods.
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
