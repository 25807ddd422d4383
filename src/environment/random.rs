//! Sources of randomness.

use std::sync::Arc;

/// The source of unguessable bytes.
///
/// The default is [`SystemRandom`]. Your own implementation must be a cryptographically secure
/// generator: token identifiers, opaque tokens and salts are only as unguessable as its output.
pub trait SecureRandom: Send + Sync + 'static {
    /// Fills all of `bytes`.
    ///
    /// # Errors
    ///
    /// [`RandomnessError`] if it cannot. Then no engine is built, no session begins, and no opaque
    /// token, client secret, assertion or password hash is made. It must never use anything weaker
    /// instead.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomnessError>;
}

impl<T: SecureRandom + ?Sized> SecureRandom for Arc<T> {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomnessError> {
        (**self).fill(bytes)
    }
}

/// The random generator failed.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the random generator failed")]
#[non_exhaustive]
pub struct RandomnessError;

impl RandomnessError {
    /// An error for implementations of [`SecureRandom`] to return.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

impl Default for RandomnessError {
    fn default() -> Self {
        Self::new()
    }
}

/// The AWS-LC generator, which the operating system seeds.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct SystemRandom;

impl SystemRandom {
    /// The AWS-LC generator, which the operating system seeds.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

impl SecureRandom for SystemRandom {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomnessError> {
        aws_lc_rs::rand::fill(bytes).map_err(|_| RandomnessError)
    }
}
