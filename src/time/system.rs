//! The system's clock, and the thread on which it waits.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::fmt;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use futures_channel::oneshot;

use crate::time::{BoxFuture, Clock, Timestamp};

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
            let started = std::thread::Builder::new()
                .name("password-grant-timer".into())
                .spawn(move || ring_alarms(&receiver));
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
