//! The environment: the clock, the source of randomness and the observer that the crate works with.

mod random;

use std::fmt;
use std::sync::Arc;

pub use crate::environment::random::{RandomnessError, SecureRandom, SystemRandom};
use crate::event::{Observer, default_observer};
use crate::time::{Clock, SystemClock};

/// The clock, the source of randomness and the observer. Make one value and give it to the engine,
/// the password hashing and the verifier alike. Cheap to clone.
///
/// ```
/// use password_grant::{Environment, Event, Observer};
///
/// struct Audit;
///
/// impl Observer for Audit {
///     fn observe(&self, event: &Event<'_>) {
///         println!("{event}");
///     }
/// }
///
/// let environment = Environment::new().observer(Audit);
/// // PasswordGrant::builder(…).environment(&environment)
/// ```
#[derive(Clone)]
#[must_use]
pub struct Environment {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) randomness: Arc<dyn SecureRandom>,
    pub(crate) observer: Arc<dyn Observer>,
}

impl Environment {
    /// The system's clock and random generator, and the `tracing` observer if that feature is on.
    pub fn new() -> Self {
        Self {
            clock: Arc::new(SystemClock::new()),
            randomness: Arc::new(SystemRandom::new()),
            observer: default_observer(),
        }
    }

    /// Sets the clock. It dates tokens and measures every wait and timeout.
    pub fn clock(self, clock: impl Clock) -> Self {
        Self { clock: Arc::new(clock), ..self }
    }

    /// Sets the source of randomness for tokens, identifiers, salts and keys.
    pub fn randomness(self, randomness: impl SecureRandom) -> Self {
        Self { randomness: Arc::new(randomness), ..self }
    }

    /// Sets the receiver of events.
    pub fn observer(self, observer: impl Observer) -> Self {
        Self { observer: Arc::new(observer), ..self }
    }
}

impl Default for Environment {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Environment")
    }
}
