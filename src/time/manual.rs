//! A clock for tests that is moved by hand.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_channel::oneshot;

use crate::time::{BoxFuture, Clock, Timestamp};

/// A clock for tests. It stands still until it is moved by hand.
///
/// ```
/// use password_grant::testing::ManualClock;
/// use password_grant::time::Timestamp;
/// use password_grant::Clock;
/// use std::time::Duration;
///
/// let clock = ManualClock::at(Timestamp::from_unix_seconds(1_700_000_000));
/// clock.advance(Duration::from_secs(5));
/// assert_eq!(clock.now().unix_seconds(), 1_700_000_005);
/// ```
#[derive(Clone)]
pub struct ManualClock(Arc<Mutex<Manual>>);

struct Manual {
    now: Timestamp,
    sleepers: Vec<(Timestamp, oneshot::Sender<()>)>,
}

impl ManualClock {
    /// A clock that shows `now`.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        Self(Arc::new(Mutex::new(Manual { now, sleepers: Vec::new() })))
    }

    /// Moves the clock forward, and wakes every sleep whose time has come.
    pub fn advance(&self, span: Duration) {
        self.change(|now| now.plus(span));
    }

    /// Moves the clock to `now`, which may be earlier, and wakes every sleep whose time has come.
    pub fn set(&self, now: Timestamp) {
        self.change(|_| now);
    }

    fn change(&self, change: impl FnOnce(Timestamp) -> Timestamp) {
        let mut clock = self.lock();
        let now = change(clock.now);
        clock.now = now;
        let (due, waiting) =
            std::mem::take(&mut clock.sleepers).into_iter().partition(|(until, _)| *until <= now);
        clock.sleepers = waiting;
        drop(clock);
        for (_, wake) in Vec::<(Timestamp, oneshot::Sender<()>)>::into_iter(due) {
            let _ = wake.send(());
        }
    }

    /// The number of sleeps that have not ended yet. Dropped ones do not count.
    #[must_use]
    pub fn sleepers(&self) -> usize {
        self.lock().sleepers.iter().filter(|(_, wake)| !wake.is_canceled()).count()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Manual> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        self.lock().now
    }

    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        let mut clock = self.lock();
        if span.is_zero() {
            return Box::pin(std::future::ready(()));
        }
        let (wake, woken) = oneshot::channel();
        let until = clock.now.plus(span);
        clock.sleepers.push((until, wake));
        Box::pin(async { woken.await.unwrap_or_default() })
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ManualClock({:?})", self.now())
    }
}
