//! Making client assertions (RFC 7523), for programs that are clients;
//! [`authenticate`](crate::client::authenticate) verifies them. Nothing here needs an engine.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use crate::client::authenticate::{ASSERTION_TYPE, JWT_BEARER};
use crate::environment::{Environment, RandomnessError};
use crate::error::BoxError;
use crate::http::form;
use crate::jose::{
    Algorithm, Hmac, Jwk, KeyError, PrivateJwk, SigningKey, Thumbprints, private_key_from_jwk,
    private_key_from_pem,
};
use crate::types::secret::Secret;

/// Makes client assertions ([RFC 7523 section 2.2]), by which a client authenticates to a token
/// endpoint without sending a secret. It is for programs that call such an endpoint, and needs no
/// other part of this crate.
///
/// One value makes any number of assertions. Each assertion is valid for one request, so make a new
/// one for every attempt, including a retry after a 503.
///
/// ```
/// use password_grant::assertion::{AssertionKey, ClientAssertion};
///
/// # let pem = std::fs::read("examples/keys/backend-es256.pem")?;
/// let key = AssertionKey::from_pem(pem)?.with_kid("backend-1");
/// let assertions = ClientAssertion::new("backend", "https://id.example.com", key);
///
/// let parameters =
///     [("grant_type", "password"), ("username", "alice"), ("password", "wonderland")];
/// let body = assertions.form(parameters)?; // with client_assertion_type and client_assertion
/// # Ok::<(), password_grant::BoxError>(())
/// ```
///
/// [RFC 7523 section 2.2]: https://www.rfc-editor.org/rfc/rfc7523#section-2.2
#[derive(Clone)]
pub struct ClientAssertion {
    client_id: String,
    audience: Value,
    key: AssertionKey,
    typ: String,
    lifetime: Duration,
    claims: Map<String, Value>,
    environment: Environment,
}

/// The key that a client signs its assertions with, and the name that it is registered under.
#[derive(Clone)]
pub struct AssertionKey {
    key: Arc<dyn SigningKey>,
    kid: Option<String>,
    thumbprints: Thumbprints,
    fully_specified: bool,
}

/// Why an assertion could not be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AssertionError {
    /// A further claim has the name of one that every assertion has.
    #[error("the claim {0:?} is set by the assertion itself")]
    Claim(String),
    /// The random generator failed.
    #[error(transparent)]
    Randomness(#[from] RandomnessError),
    /// The key failed to sign.
    #[error("the key could not sign the assertion")]
    Signature(#[source] BoxError),
    /// The form could not be encoded.
    #[error("the form could not be encoded")]
    Form(#[source] BoxError),
}

impl AssertionKey {
    /// The private key in a PEM text: EC P-256 (ES256), P-384 (ES384) or P-521 (ES512), Ed25519
    /// (EdDSA), or RSA of at least 2,048 bits (RS256), as PKCS#8, SEC1 or PKCS#1.
    ///
    /// # Errors
    ///
    /// Fails if the text contains no private key, or one of another kind; see
    /// [`SigningKeys::from_pem`](crate::SigningKeys::from_pem).
    pub fn from_pem(pem: impl AsRef<[u8]>) -> Result<Self, KeyError> {
        Ok(Self::from_key(private_key_from_pem(pem.as_ref(), None)?))
    }

    /// The private key in a PEM text, for one algorithm. An RSA key can sign by RS256 to RS512 or
    /// PS256 to PS512; every other key has exactly one algorithm.
    ///
    /// # Errors
    ///
    /// As [`from_pem`](Self::from_pem), and [`KeyError::Algorithm`] if the key is not for this
    /// algorithm.
    pub fn from_pem_for(algorithm: Algorithm, pem: impl AsRef<[u8]>) -> Result<Self, KeyError> {
        Ok(Self::from_key(private_key_from_pem(pem.as_ref(), Some(algorithm))?))
    }

    /// A private JSON Web Key (RFC 7517) of the kinds that [`from_pem`](Self::from_pem) takes. Its
    /// `alg` (as it is spelt there), `kid`, `x5t` and `x5t#S256` are kept.
    ///
    /// # Errors
    ///
    /// Fails if the JWK is malformed, has no private members, or is of another kind.
    pub fn from_jwk(json: impl AsRef<[u8]>) -> Result<Self, KeyError> {
        let PrivateJwk { key, kid, thumbprints, fully_specified } =
            private_key_from_jwk(json.as_ref())?;
        Ok(Self { key, kid, thumbprints, fully_specified })
    }

    /// A secret that client and server share, of at least 32 bytes, for HS256.
    ///
    /// # Errors
    ///
    /// Fails if the secret is shorter.
    pub fn from_secret(secret: impl AsRef<[u8]>) -> Result<Self, KeyError> {
        Self::from_secret_for(Algorithm::Hs256, secret)
    }

    /// A secret that client and server share, for HS256 (at least 32 bytes), HS384 (48) or HS512
    /// (64).
    ///
    /// # Errors
    ///
    /// Fails if the secret is shorter (RFC 7518 section 3.2), or for any other algorithm.
    pub fn from_secret_for(
        algorithm: Algorithm,
        secret: impl AsRef<[u8]>,
    ) -> Result<Self, KeyError> {
        Ok(Self::from_key(Arc::new(Hmac::new(secret.as_ref(), algorithm)?)))
    }

    /// A key that is kept elsewhere, such as in a security module.
    #[must_use]
    pub fn from_key(key: Arc<dyn SigningKey>) -> Self {
        let fully_specified = key.public_jwk().is_some_and(|jwk| jwk.is_fully_specified());
        Self { key, kid: None, thumbprints: Thumbprints::default(), fully_specified }
    }

    /// Names the algorithm of an Ed25519 key `Ed25519`, as [RFC 9864] does, instead of `EdDSA`: for
    /// servers that know only that name. It has no effect on other keys.
    ///
    /// [RFC 9864]: https://www.rfc-editor.org/rfc/rfc9864#section-2.2
    #[must_use]
    pub fn with_ed25519_name(self) -> Self {
        Self { fully_specified: true, ..self }
    }

    /// The `kid` under which the server knows the key. If an assertion names no key, the server
    /// uses the only key that fits.
    #[must_use]
    pub fn with_kid(mut self, kid: impl Into<String>) -> Self {
        self.kid = Some(kid.into());
        self
    }

    /// Names the key by the SHA-256 thumbprint of its certificate (DER): `x5t#S256`.
    #[must_use]
    pub fn certificate(mut self, der: &[u8]) -> Self {
        self.thumbprints.sha256 = Thumbprints::of(der).sha256;
        self
    }

    /// Names the key by the SHA-1 thumbprint of its certificate (DER): `x5t`, for servers that
    /// support no other thumbprint.
    #[must_use]
    pub fn certificate_by_sha1(mut self, der: &[u8]) -> Self {
        self.thumbprints.sha1 = Thumbprints::of(der).sha1;
        self
    }

    /// The public half, to be registered at the server, with this key's `kid` if it has one. A
    /// shared secret has no public half.
    #[must_use]
    pub fn public_jwk(&self) -> Option<Jwk> {
        let jwk = self
            .key
            .public_jwk()?
            .with_thumbprints(self.thumbprints.clone())
            .named_fully(self.fully_specified);
        Some(match &self.kid {
            Some(kid) => jwk.with_kid(kid),
            None => jwk,
        })
    }

    /// The algorithm that the key signs by.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.key.algorithm()
    }
}

impl ClientAssertion {
    /// Assertions of this client for one server. The audience is the server's issuer identifier or,
    /// if the server requires it, the URL of its token endpoint. They are valid for five minutes.
    #[must_use]
    pub fn new(
        client_id: impl Into<String>,
        audience: impl Into<String>,
        key: AssertionKey,
    ) -> Self {
        Self {
            client_id: client_id.into(),
            audience: Value::String(audience.into()),
            key,
            typ: ASSERTION_TYPE.to_owned(),
            lifetime: Duration::from_secs(300),
            claims: Map::new(),
            environment: Environment::new(),
        }
    }

    /// Sets the audience as an array, for servers that require one. Every server that is named can
    /// use the assertion at the others.
    #[must_use]
    pub fn audiences<A: Into<String>>(mut self, audiences: impl IntoIterator<Item = A>) -> Self {
        self.audience =
            audiences.into_iter().map(|audience| Value::String(audience.into())).collect();
        self
    }

    /// The lifetime of each assertion, in whole seconds. This crate's server refuses more than an
    /// hour, and many servers refuse less than that.
    #[must_use]
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// Adds a further claim.
    #[must_use]
    pub fn claim(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.claims.insert(name.into(), value.into());
        self
    }

    /// Sets the `typ` in the header, such as `JWT`, for servers that do not know
    /// `client-authentication+jwt`.
    #[must_use]
    pub fn header_type(mut self, typ: impl Into<String>) -> Self {
        self.typ = typ.into();
        self
    }

    /// Sets the clock and the source of randomness for the `jti`. The observer is not used; see
    /// [`Environment`](crate::Environment).
    #[must_use]
    pub fn environment(mut self, environment: &Environment) -> Self {
        self.environment = environment.clone();
        self
    }

    /// Makes a new assertion with a unique identifier (`jti`).
    ///
    /// # Errors
    ///
    /// Fails if a further claim has the name of one that every assertion has, or if the random
    /// generator or the key fails.
    pub fn sign(&self) -> Result<String, AssertionError> {
        let mut id = [0; 16];
        self.environment.randomness.fill(&mut id)?;
        let now = self.environment.clock.now();
        let own = [
            ("iss", Value::from(self.client_id.as_str())),
            ("sub", self.client_id.as_str().into()),
            ("aud", self.audience.clone()),
            ("iat", now.unix_seconds().into()),
            ("exp", now.plus(self.lifetime).unix_seconds().into()),
            ("jti", URL_SAFE_NO_PAD.encode(id).into()),
        ];
        let mut claims = self.claims.clone();
        for (name, value) in own {
            if claims.insert(name.to_owned(), value).is_some() {
                return Err(AssertionError::Claim(name.to_owned()));
            }
        }
        let mut token = format!("{}.{}", segment(self.header()), segment(claims));
        let mut signature = Vec::new();
        self.key.key.sign(token.as_bytes(), &mut signature).map_err(AssertionError::Signature)?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }

    /// Makes a new assertion and returns the form parameters that carry it, `client_assertion_type`
    /// and `client_assertion`. Form-encode them with the other parameters, and send no
    /// `Authorization` header.
    ///
    /// # Errors
    ///
    /// As [`sign`](Self::sign).
    pub fn parameters(&self) -> Result<[(&'static str, String); 2], AssertionError> {
        Ok([("client_assertion_type", JWT_BEARER.to_owned()), ("client_assertion", self.sign()?)])
    }

    /// Makes a new assertion and returns the body of a token request: the assertion and these
    /// parameters, form-encoded. The body is a secret, because the parameters may contain a
    /// password. Send no `Authorization` header with it.
    ///
    /// # Errors
    ///
    /// As [`sign`](Self::sign), or if the form cannot be encoded.
    pub fn form<'p>(
        &self,
        parameters: impl IntoIterator<Item = (&'p str, &'p str)>,
    ) -> Result<Secret<'static>, AssertionError> {
        let own = self.parameters()?;
        let mut pairs: Vec<(&str, &str)> =
            own.iter().map(|(name, value)| (*name, value.as_str())).collect();
        for (name, value) in parameters {
            pairs.push((name, value));
        }
        form::encode_pairs(&pairs)
            .map(Secret::new)
            .map_err(|cause| AssertionError::Form(cause.into()))
    }

    fn header(&self) -> Map<String, Value> {
        let AssertionKey { key, kid, thumbprints, fully_specified } = &self.key;
        let members = [
            ("typ", Some(&*self.typ)),
            ("alg", Some(key.algorithm().name(*fully_specified))),
            ("kid", kid.as_deref()),
            ("x5t", thumbprints.sha1.as_deref()),
            ("x5t#S256", thumbprints.sha256.as_deref()),
        ];
        let given =
            members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.into())));
        given.collect()
    }
}

fn segment(object: Map<String, Value>) -> String {
    URL_SAFE_NO_PAD.encode(Value::Object(object).to_string())
}

impl fmt::Debug for AssertionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AssertionKey")
            .field("algorithm", &self.algorithm())
            .field("kid", &self.kid)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for ClientAssertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientAssertion")
            .field("client_id", &self.client_id)
            .field("audience", &self.audience)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}
