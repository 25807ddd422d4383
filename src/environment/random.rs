use std::sync::Arc;

/// Where the engine takes unguessable bytes from.
///
/// The default is [`SystemRandom`]. An implementation of your own must be a cryptographically secure generator:
/// token identifiers, opaque tokens and salts are only as good as it is.
pub trait SecureRandom: Send + Sync + 'static {
    /// Fills all of `bytes`.
    ///
    /// # Errors
    ///
    /// When it cannot: then no engine is built, no opaque token issued and no password hashed. It must never fill with
    /// anything weaker instead.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomnessError>;
}

impl<T: SecureRandom + ?Sized> SecureRandom for Arc<T> {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomnessError> {
        (**self).fill(bytes)
    }
}

/// The random generator could not give what was asked of it.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the random generator failed")]
#[non_exhaustive]
pub struct RandomnessError;

impl RandomnessError {
    /// For implementations of [`SecureRandom`].
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

/// The AWS-LC generator, seeded by the operating system.
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct SystemRandom;

impl SystemRandom {
    /// The AWS-LC generator, seeded by the operating system.
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
