use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use futures_channel::oneshot;

/// A boxed future that may move between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A moment: the time since 1970-01-01T00:00:00Z, without leap seconds.
///
/// All arithmetic saturates, so no value that a token or a table holds can make it overflow.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(Duration);

impl Timestamp {
    /// The moment that many whole seconds after 1970, as JWT claims count them (`NumericDate`, RFC 7519).
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
        let millis = self.0.as_millis();
        if millis > u64::MAX as u128 { u64::MAX } else { millis as u64 }
    }

    /// The moment that many whole milliseconds after 1970.
    #[must_use]
    pub const fn from_unix_millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    /// This moment, later by `span`; the latest moment there is if that lies beyond it.
    #[must_use]
    pub const fn plus(self, span: Duration) -> Self {
        Self(self.0.saturating_add(span))
    }

    /// This moment, earlier by `span`; 1970 if that lies before it.
    #[must_use]
    pub const fn minus(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(span))
    }

    /// The time that passed from `earlier` until this moment; nothing if `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
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

/// Where the engine takes the time from, and how it waits.
///
/// [`SystemClock`] is the default; [`ManualClock`] is for tests.
pub trait Clock: Send + Sync + 'static {
    /// The time now. Should be within a minute of the true one, and may step backwards.
    fn now(&self) -> Timestamp;

    /// Completes once `span` has passed. Must not block the thread that polls it.
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

/// The system's clock. It waits on one thread of its own, started at the first wait, so it needs no async runtime.
#[derive(Clone, Default)]
pub struct SystemClock {
    timer: Arc<Mutex<Option<mpsc::Sender<Alarm>>>>,
}

impl SystemClock {
    /// The system's clock; starts nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn set(&self, alarm: Alarm) {
        let mut timer = self.timer.lock().unwrap_or_else(PoisonError::into_inner);
        if timer.is_none() {
            let (sender, receiver) = mpsc::channel();
            let started =
                std::thread::Builder::new().name("password-grant-timer".into()).spawn(move || ring_alarms(&receiver));
            *timer = started.ok().map(|_| sender);
        }
        if let Some(timer) = timer.as_ref() {
            // The thread ends only after this sender is gone. Should it have died all the same, the alarm is
            // dropped, and the wait with it ends at once.
            let _ = timer.send(alarm);
        }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        SystemTime::now().into()
    }

    /// Should the system refuse to start the one thread, the wait ends at once.
    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        let (ring, rung) = oneshot::channel();
        if let Some(at) = Instant::now().checked_add(span) {
            self.set(Alarm { at, ring });
            Box::pin(async { rung.await.unwrap_or_default() })
        } else {
            Box::pin(std::future::pending())
        }
    }
}

impl fmt::Debug for SystemClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SystemClock")
    }
}

struct Alarm {
    at: Instant,
    ring: oneshot::Sender<()>,
}

/// Ordered so that the earliest alarm is the greatest: a `BinaryHeap` hands out its greatest element first.
impl Ord for Alarm {
    fn cmp(&self, other: &Self) -> Ordering {
        other.at.cmp(&self.at)
    }
}

impl PartialOrd for Alarm {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Alarm {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Alarm {}

/// Runs until every clock that could set an alarm is gone; the waits still open then end.
fn ring_alarms(incoming: &mpsc::Receiver<Alarm>) {
    const FEW: usize = 1024;
    let (mut alarms, mut full) = (BinaryHeap::<Alarm>::new(), FEW);
    loop {
        let now = Instant::now();
        while alarms.peek().is_some_and(|next| next.at <= now) {
            if let Some(due) = alarms.pop() {
                // Nobody waits any more: the request was cancelled.
                let _ = due.ring.send(());
            }
        }
        let received = match alarms.peek() {
            Some(next) => incoming.recv_timeout(next.at.saturating_duration_since(now)),
            None => incoming.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match received {
            Ok(alarm) => {
                alarms.push(alarm);
                // Whoever went away leaves an alarm behind, and how many do is up to the callers.
                if alarms.len() >= full {
                    alarms.retain(|alarm| !alarm.ring.is_canceled());
                    full = FEW.max(2 * alarms.len());
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// A clock for tests, which stands still until it is moved by hand.
///
/// ```
/// use password_grant::{Clock, ManualClock, Timestamp};
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
    /// A clock that stands at `now`.
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        Self(Arc::new(Mutex::new(Manual { now, sleepers: Vec::new() })))
    }

    /// Moves the clock forward and wakes whoever has then slept long enough.
    pub fn advance(&self, span: Duration) {
        self.change(|now| now.plus(span));
    }

    /// Moves the clock to `now`, backwards too, and wakes whoever has then slept long enough.
    pub fn set(&self, now: Timestamp) {
        self.change(|_| now);
    }

    fn change(&self, change: impl FnOnce(Timestamp) -> Timestamp) {
        let mut clock = self.lock();
        let now = change(clock.now);
        clock.now = now;
        let (due, waiting) = std::mem::take(&mut clock.sleepers).into_iter().partition(|(until, _)| *until <= now);
        clock.sleepers = waiting;
        drop(clock);
        for (_, wake) in Vec::<(Timestamp, oneshot::Sender<()>)>::into_iter(due) {
            let _ = wake.send(());
        }
    }

    /// How many sleeps have not ended yet.
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
