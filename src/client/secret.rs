use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::{Choice, ConstantTimeEq};
use zeroize::Zeroizing;

use crate::environment::{RandomnessError, SecureRandom, SystemRandom};
use crate::error::InvalidDigest;
use crate::time::Timestamp;
use crate::types::digest::sha256;
use crate::types::secret::Secret;

/// A client secret as the host keeps it: its SHA-256 digest, and until when it is valid.
///
/// A digest this fast is right for secrets of high entropy, such as [`generate`](Self::generate) makes: nobody can
/// try 2²⁵⁶ of them. It is wrong for a secret that a person thought up; such a one is stored as a slow hash
/// ([`ClientAuthentication::or_slow_hash`](crate::ClientAuthentication::or_slow_hash)) until it is replaced.
///
/// ```
/// use password_grant::ClientSecret;
///
/// let (plain, stored) = ClientSecret::generate()?;   // show `plain` to the client's owner once,
/// let row: [u8; 32] = *stored.sha256();              // keep this
/// let loaded = ClientSecret::from_sha256(row);
/// # Ok::<(), password_grant::environment::RandomnessError>(())
/// ```
#[derive(Clone)]
pub struct ClientSecret {
    sha256: [u8; 32],
    expires_at: Option<Timestamp>,
}

impl ClientSecret {
    /// A new secret of 256 random bits in base64url, and what to store of it.
    ///
    /// # Errors
    ///
    /// When the system's random generator fails.
    pub fn generate() -> Result<(Secret<'static>, Self), RandomnessError> {
        Self::generate_with(&SystemRandom::new())
    }

    /// As [`generate`](Self::generate), from another source of randomness.
    ///
    /// # Errors
    ///
    /// When the source fails.
    pub fn generate_with(
        randomness: &dyn SecureRandom,
    ) -> Result<(Secret<'static>, Self), RandomnessError> {
        let mut bytes = Zeroizing::new([0; 32]);
        randomness.fill(&mut *bytes)?;
        let plain = URL_SAFE_NO_PAD.encode(bytes.as_slice());
        let stored = Self::digest_of(&plain);
        Ok((Secret::new(plain), stored))
    }

    /// What to store of a secret that exists already and has at least 128 bits of entropy.
    #[must_use]
    pub fn digest_of(secret: &str) -> Self {
        Self::from_sha256(sha256(secret.as_bytes()))
    }

    /// A secret whose SHA-256 digest this is.
    #[must_use]
    pub const fn from_sha256(sha256: [u8; 32]) -> Self {
        Self { sha256, expires_at: None }
    }

    /// A secret whose SHA-256 digest this is, for columns that hold bytes of any length.
    ///
    /// # Errors
    ///
    /// When there are not 32 bytes.
    pub fn from_sha256_slice(sha256: &[u8]) -> Result<Self, InvalidDigest> {
        sha256.try_into().map(Self::from_sha256).map_err(|_| InvalidDigest)
    }

    /// The secret is refused from this moment on. For rotation: the old secret, with an end, beside the new one.
    #[must_use]
    pub fn expires_at(mut self, end: Timestamp) -> Self {
        self.expires_at = Some(end);
        self
    }

    /// The digest to store.
    #[must_use]
    pub fn sha256(&self) -> &[u8; 32] {
        &self.sha256
    }

    /// Whether a secret with this digest is this one, and has not expired.
    pub(crate) fn matches(&self, presented: &[u8; 32], now: Timestamp) -> Choice {
        let live = self.expires_at.is_none_or(|end| now < end);
        self.sha256.ct_eq(presented) & Choice::from(u8::from(live))
    }
}

impl fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientSecret").field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}
