//! Client secrets as they are stored (RFC 6749 section 2.3.1).

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

/// A client secret as the host stores it: its SHA-256 digest, and optionally when it expires.
///
/// A fast digest is right for secrets of high entropy, such as those that
/// [`generate`](Self::generate) makes: nobody can try 2²⁵⁶ of them. It is wrong for a secret that a
/// person has chosen. Store such a secret as a slow hash
/// ([`ClientAuthentication::or_slow_hash`](crate::ClientAuthentication::or_slow_hash)) until it is
/// replaced.
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
    /// Generates a secret of 256 random bits in base64url. Returns the secret, and what to store.
    ///
    /// # Errors
    ///
    /// [`RandomnessError`] if the system's random generator fails.
    pub fn generate() -> Result<(Secret<'static>, Self), RandomnessError> {
        Self::generate_with(&SystemRandom::new())
    }

    /// Like [`generate`](Self::generate), with another source of randomness.
    ///
    /// # Errors
    ///
    /// [`RandomnessError`] if the source fails.
    pub fn generate_with(
        randomness: &dyn SecureRandom,
    ) -> Result<(Secret<'static>, Self), RandomnessError> {
        let mut bytes = Zeroizing::new([0; 32]);
        randomness.fill(&mut *bytes)?;
        let plain = URL_SAFE_NO_PAD.encode(bytes.as_slice());
        let stored = Self::digest_of(&plain);
        Ok((Secret::new(plain), stored))
    }

    /// What to store for an existing secret, which must have at least 128 bits of entropy.
    #[must_use]
    pub fn digest_of(secret: &str) -> Self {
        Self::from_sha256(sha256(secret.as_bytes()))
    }

    /// The secret with this SHA-256 digest.
    #[must_use]
    pub const fn from_sha256(sha256: [u8; 32]) -> Self {
        Self { sha256, expires_at: None }
    }

    /// The secret with this SHA-256 digest, for database columns that hold bytes of any length.
    ///
    /// # Errors
    ///
    /// [`InvalidDigest`] if there are not exactly 32 bytes.
    pub fn from_sha256_slice(sha256: &[u8]) -> Result<Self, InvalidDigest> {
        sha256.try_into().map(Self::from_sha256).map_err(|_| InvalidDigest)
    }

    /// The secret with this SHA-256 digest in hexadecimal digits, for configuration files and for
    /// columns of text. [`to_hex`](Self::to_hex) writes it.
    ///
    /// # Errors
    ///
    /// [`InvalidDigest`] if there are not exactly 64 hexadecimal digits.
    pub fn from_sha256_hex(sha256: &str) -> Result<Self, InvalidDigest> {
        let (pairs, rest) = sha256.as_bytes().as_chunks::<2>();
        let digit =
            |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let byte = |[high, low]: &[u8; 2]| Some(digit(*high)? << 4 | digit(*low)?);
        let bytes: Option<Vec<u8>> = pairs.iter().map(byte).collect();
        match bytes {
            Some(bytes) if rest.is_empty() => Self::from_sha256_slice(&bytes),
            _ => Err(InvalidDigest),
        }
    }

    /// The digest to store, in 64 hexadecimal digits.
    #[must_use]
    pub fn to_hex(&self) -> String {
        self.sha256.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Sets when the secret expires; from that time on it is refused. Use it for rotation: give the
    /// old secret an expiry and register it next to the new one.
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

    /// Whether the digest is that of this secret, and the secret has not expired. In constant time.
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
