//! Alarms about guesses that are spread so that no limit covers them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::event::Alarm;
use crate::time::Timestamp;
use crate::types::identifier::ClientId;

/// Counts failures that no single limiter key shows: guesses spread over many accounts or many
/// addresses. It raises an alarm and blocks nothing, since it could only block everybody. Each
/// instance of the engine counts for itself.
pub(super) struct Alarms {
    threshold: u32,
    counts: Mutex<HashMap<(Alarm, Option<ClientId>), Count>>,
}

struct Count {
    since: Timestamp,
    failures: u32,
}

impl Alarms {
    const WINDOW: Duration = Duration::from_secs(600);

    pub(super) fn new(threshold: u32) -> Self {
        Self { threshold, counts: Mutex::default() }
    }

    /// Counts one failure. Returns the number of failures if this one raises the alarm, which
    /// happens at most once a window.
    ///
    /// Only pass registered clients: each has a count of its own, which is never removed.
    pub(super) fn count(
        &self,
        alarm: Alarm,
        client: Option<&ClientId>,
        now: Timestamp,
    ) -> Option<u32> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count =
            counts.entry((alarm, client.cloned())).or_insert(Count { since: now, failures: 0 });
        if now.since(count.since) >= Self::WINDOW || now < count.since {
            *count = Count { since: now, failures: 0 };
        }
        count.failures = count.failures.saturating_add(1);
        (count.failures == self.threshold).then_some(count.failures)
    }
}
