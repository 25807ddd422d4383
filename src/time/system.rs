//! The system's clock, and the thread that wakes its sleeps.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::fmt;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use futures_channel::oneshot;

use crate::time::{BoxFuture, Clock, Timestamp};

/// The system's clock. It needs no async runtime: sleeps are woken by one thread of its own, which
/// starts at the first sleep.
#[derive(Clone, Default)]
pub struct SystemClock {
    timer: Arc<Mutex<Option<mpsc::Sender<Wake>>>>,
}

impl SystemClock {
    /// The system's clock. It does not start the thread yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn set(&self, alarm: Wake) {
        let mut timer = self.timer.lock().unwrap_or_else(PoisonError::into_inner);
        if timer.is_none() {
            let (sender, receiver) = mpsc::channel();
            let started = std::thread::Builder::new()
                .name("password-grant-timer".into())
                .spawn(move || ring_alarms(&receiver));
            *timer = started.ok().map(|_| sender);
        }
        if let Some(timer) = timer.as_ref() {
            // The thread ends only after this sender is dropped. If it has died nevertheless, the
            // alarm is dropped and the sleep ends at once.
            let _ = timer.send(alarm);
        }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        SystemTime::now().into()
    }

    /// If the system refuses to start the thread, the sleep ends at once.
    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        let (ring, rung) = oneshot::channel();
        if let Some(at) = Instant::now().checked_add(span) {
            self.set(Wake { at, ring });
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

struct Wake {
    at: Instant,
    ring: oneshot::Sender<()>,
}

/// The earliest alarm is the greatest, because a `BinaryHeap` returns its greatest element first.
impl Ord for Wake {
    fn cmp(&self, other: &Self) -> Ordering {
        other.at.cmp(&self.at)
    }
}

impl PartialOrd for Wake {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Wake {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
    }
}

impl Eq for Wake {}

/// Runs until every clock that could set an alarm is dropped. Sleeps that are still open end then.
fn ring_alarms(incoming: &mpsc::Receiver<Wake>) {
    const FEW: usize = 1024;
    let (mut alarms, mut full) = (BinaryHeap::<Wake>::new(), FEW);
    loop {
        let now = Instant::now();
        while alarms.peek().is_some_and(|next| next.at <= now) {
            if let Some(due) = alarms.pop() {
                // Sending fails if the request was cancelled and nothing waits any more.
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
                // A cancelled request leaves its alarm behind. Callers decide how many requests
                // they cancel, so such alarms are removed.
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
