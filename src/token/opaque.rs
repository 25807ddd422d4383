//! Opaque access tokens: random texts whose details are kept in a table of the host's.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use crate::environment::Environment;
use crate::error::BoxError;
use crate::resource::TokenLookup;
use crate::time::{BoxFuture, Timestamp};
use crate::token::issuer::{Authorization, TokenIssuer, check_audience};
use crate::types::digest::sha256;
use crate::types::token::{AccessToken, TokenDetails};

/// Issues opaque access tokens: 256 random bits, whose details are kept in a table of the host's.
///
/// Unlike a JWT, such a token can be revoked by deleting its row, and its text discloses nothing;
/// but each use costs a look-up. The issuer is itself a [`TokenLookup`], so that an
/// [`AccessTokenVerifier`](crate::AccessTokenVerifier::by_lookup) can use it. Cheap to clone.
///
/// ```
/// use password_grant::testing::InMemoryTokens;
/// use password_grant::token::OpaqueIssuer;
/// use password_grant::AccessTokenVerifier;
///
/// let tokens = OpaqueIssuer::new(InMemoryTokens::new(), "https://api.example.com");
/// let verifier = AccessTokenVerifier::by_lookup(
///     "https://id.example.com",
///     "https://api.example.com",
///     tokens.clone(),
/// )?;
/// # Ok::<(), password_grant::BoxError>(())
/// ```
#[derive(Clone)]
pub struct OpaqueIssuer {
    tokens: Arc<dyn TokenStore>,
    audience: Arc<str>,
    environment: Environment,
}

/// The SHA-256 digest of an opaque token. It is stored instead of the token, so that a leaked table
/// yields no token.
pub type TokenDigest = [u8; 32];

/// The host's table of opaque tokens.
#[async_trait]
pub trait TokenStore: Send + Sync + 'static {
    /// Stores the details of a new token until it expires ([`TokenDetails::expires_at`]).
    ///
    /// # Errors
    ///
    /// If they cannot be stored. The token is then not issued.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped at any await. The token is then not issued, whether it was stored
    /// or not.
    async fn save(&self, digest: &TokenDigest, details: &TokenDetails) -> Result<(), BoxError>;

    /// The details that were stored under this digest. Expired tokens may be returned; the caller
    /// refuses them.
    ///
    /// # Errors
    ///
    /// If the answer is not known now. The token is then refused with 503.
    ///
    /// # Cancel safety
    ///
    /// The future may be dropped at any await.
    async fn find(&self, digest: &TokenDigest) -> Result<Option<TokenDetails>, BoxError>;
}

impl<T: TokenStore + ?Sized> TokenStore for Arc<T> {
    fn save<'a, 'b, 'c, 'd>(
        &'a self,
        digest: &'b TokenDigest,
        details: &'c TokenDetails,
    ) -> BoxFuture<'d, Result<(), BoxError>>
    where
        'a: 'd,
        'b: 'd,
        'c: 'd,
        Self: 'd,
    {
        (**self).save(digest, details)
    }

    fn find<'a, 'b, 'c>(
        &'a self,
        digest: &'b TokenDigest,
    ) -> BoxFuture<'c, Result<Option<TokenDetails>, BoxError>>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        (**self).find(digest)
    }
}

impl OpaqueIssuer {
    /// Keeps tokens in this store. `audience` is the resource server that tokens are for if the
    /// client is not registered for others.
    #[must_use]
    pub fn new(tokens: impl TokenStore, audience: impl Into<Arc<str>>) -> Self {
        Self {
            tokens: Arc::new(tokens),
            audience: audience.into(),
            environment: Environment::new(),
        }
    }

    /// Sets the source of randomness; nothing else of the environment is used. See
    /// [`Environment`](crate::Environment).
    #[must_use]
    pub fn environment(mut self, environment: &Environment) -> Self {
        self.environment = environment.clone();
        self
    }
}

#[async_trait]
impl TokenIssuer for OpaqueIssuer {
    async fn issue(&self, authorization: &Authorization<'_>) -> Result<AccessToken, BoxError> {
        let mut bytes = Zeroizing::new([0; 32]);
        self.environment.randomness.fill(&mut *bytes)?;
        let token =
            AccessToken::from_base64url(URL_SAFE_NO_PAD.encode(bytes.as_slice()).into_bytes());
        self.tokens.save(&sha256(token.as_bytes()), &authorization.details(&self.audience)).await?;
        Ok(token)
    }

    async fn inspect(&self, token: &str, now: Timestamp) -> Result<Option<TokenDetails>, BoxError> {
        let found = self.tokens.find(&sha256(token.as_bytes())).await?;
        Ok(found.filter(|details| now.unix_seconds() < details.expires_at))
    }

    fn check(&self) -> Result<(), BoxError> {
        check_audience(&self.audience)
    }

    fn default_audience(&self) -> Option<&str> {
        Some(&self.audience)
    }
}

#[async_trait]
impl TokenLookup for OpaqueIssuer {
    async fn look_up(&self, token: &str) -> Result<Option<TokenDetails>, BoxError> {
        self.tokens.find(&sha256(token.as_bytes())).await
    }
}

impl fmt::Debug for OpaqueIssuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpaqueIssuer").field("audience", &self.audience).finish_non_exhaustive()
    }
}

/// Opaque tokens in memory, for tests and for one short-lived process: nothing is ever removed.
/// Clones share their tokens.
#[derive(Clone, Default)]
pub struct InMemoryTokens(Arc<Mutex<HashMap<TokenDigest, TokenDetails>>>);

impl InMemoryTokens {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

#[async_trait]
impl TokenStore for InMemoryTokens {
    async fn save(&self, digest: &TokenDigest, details: &TokenDetails) -> Result<(), BoxError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(*digest, details.clone());
        Ok(())
    }

    async fn find(&self, digest: &TokenDigest) -> Result<Option<TokenDetails>, BoxError> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).get(digest).cloned())
    }
}

impl fmt::Debug for InMemoryTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InMemoryTokens")
    }
}
