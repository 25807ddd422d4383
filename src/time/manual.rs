//! A clock for tests that is moved by hand.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use futures_channel::oneshot;

use crate::time::{BoxFuture, Clock, Timestamp};

/// A clock for tests. It stands still until it is moved by hand.
///
/// Whatever sleeps by it, such as the answer to a failed login with a
/// [`min_failure_time`](crate::PasswordGrantBuilder::min_failure_time), waits until then. If that
/// lasts for ten seconds of real time, a line on standard error says so, once for each clock.
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
    /// Whether a thread looks after the sleepers.
    is_watched: bool,
}

/// The real time for which a sleep may wait until it is said that nobody moves the clock.
const PATIENCE: Duration = Duration::from_secs(10);

impl ManualClock {
    /// A clock that shows `now`.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        Self(Arc::new(Mutex::new(Manual { now, sleepers: Vec::new(), is_watched: false })))
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

/// Waits until nobody sleeps, or until a sleep has waited for too long, which is the message then.
fn watch(clock: &Weak<Mutex<Manual>>, patience: Duration) -> Option<String> {
    let mut before = None;
    loop {
        thread::sleep(patience);
        let clock = clock.upgrade()?;
        let mut clock = clock.lock().unwrap_or_else(PoisonError::into_inner);
        clock.sleepers.retain(|(_, wake)| !wake.is_canceled());
        let Some(first) = clock.sleepers.iter().map(|(until, _)| *until).min() else {
            clock.is_watched = false;
            return None;
        };
        if before == Some((clock.now, first)) {
            return Some(format!(
                "ManualClock: {} sleeps wait for the clock to be moved: call advance({:?})",
                clock.sleepers.len(),
                first.since(clock.now)
            ));
        }
        before = Some((clock.now, first));
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
        if !std::mem::replace(&mut clock.is_watched, true) {
            let clock = Arc::downgrade(&self.0);
            thread::spawn(move || {
                if let Some(message) = watch(&clock, PATIENCE) {
                    eprintln!("{message}");
                }
            });
        }
        Box::pin(async { woken.await.unwrap_or_default() })
    }
}

impl fmt::Debug for ManualClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ManualClock({:?})", self.now())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sleep_that_nobody_ends_is_told_and_one_that_ends_is_not() {
        let clock = ManualClock::at(Timestamp::from_unix_seconds(0));
        let watched = Arc::downgrade(&clock.0);
        let waits = clock.sleep(Duration::from_secs(5));
        let told = watch(&watched, Duration::from_millis(1));
        assert!(told.is_some_and(|message| message.contains("advance(5s)")));
        drop(waits);
        assert_eq!(watch(&watched, Duration::from_millis(1)), None);
    }
}
