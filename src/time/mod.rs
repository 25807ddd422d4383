//! Time: the clock that the whole crate reads, and points in time. No other module reads the
//! system's clock.

pub(crate) mod manual;
mod system;

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use crate::time::system::SystemClock;

/// A boxed future that may move between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A point in time: the time since 1970-01-01T00:00:00Z, without leap seconds.
///
/// All arithmetic saturates, so no value from a token or a table can make it overflow.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(Duration);

impl Timestamp {
    /// The time this many whole seconds after 1970, as JWT claims count them (`NumericDate`, RFC
    /// 7519).
    #[must_use]
    pub const fn from_unix_seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// Whole seconds since 1970, rounded down.
    #[must_use]
    pub const fn unix_seconds(self) -> u64 {
        self.0.as_secs()
    }

    /// Whole milliseconds since 1970, rounded down.
    #[must_use]
    pub const fn unix_millis(self) -> u64 {
        millis(self.0)
    }

    /// The time this many whole milliseconds after 1970.
    #[must_use]
    pub const fn from_unix_millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    /// This time plus `span`, or the latest time that can be represented.
    #[must_use]
    pub const fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span))
    }

    /// This time minus `span`, or 1970 if that would be earlier.
    #[must_use]
    pub const fn minus(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(span))
    }

    /// The time from `earlier` to this one; zero if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// The whole milliseconds of this span.
pub(crate) const fn millis(span: Duration) -> u64 {
    let millis = span.as_millis();
    if millis > u64::MAX as u128 { u64::MAX } else { millis as u64 }
}

impl From<SystemTime> for Timestamp {
    /// A time before 1970 becomes 1970.
    fn from(time: SystemTime) -> Self {
        Self(time.duration_since(UNIX_EPOCH).unwrap_or_default())
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}s", self.0.as_secs(), self.0.subsec_millis())
    }
}

/// The source of time: what time it is, and how to wait.
///
/// [`SystemClock`] is the default; [`ManualClock`](crate::testing::ManualClock) is for tests.
pub trait Clock: Send + Sync + 'static {
    /// The current time. It should be within a minute of the true time, and may step backwards.
    fn now(&self) -> Timestamp;

    /// Completes once `span` has passed. It must not block the thread that polls it.
    ///
    /// # Cancel safety
    ///
    /// The engine drops the future if it no longer needs to wait.
    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()>;
}

impl<T: Clock + ?Sized> Clock for Arc<T> {
    fn now(&self) -> Timestamp {
        (**self).now()
    }

    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        (**self).sleep(span)
    }
}

/// The most by which the clocks of the instances and stores of one deployment may differ.
pub(crate) const DEPLOYMENT_SKEW: Duration = Duration::from_secs(60);

/// The most by which the clocks of a client and this server may differ.
pub(crate) const CLIENT_SKEW: Duration = Duration::from_secs(30);
