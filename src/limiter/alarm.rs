use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::event::Alarm;
use crate::time::Timestamp;
use crate::types::identifier::ClientId;

/// Counts what no single key shows: guesses spread over many accounts, or over many sources. It only tells, since what
/// it could block would be everybody. Each instance counts for itself.
pub(crate) struct Alarms {
    threshold: u32,
    counts: Mutex<HashMap<(Alarm, Option<ClientId>), Count>>,
}

struct Count {
    since: Timestamp,
    failures: u32,
}

impl Alarms {
    const WINDOW: Duration = Duration::from_secs(600);

    pub(crate) fn new(threshold: u32) -> Self {
        Self { threshold, counts: Mutex::default() }
    }

    /// Counts one failure, and says how many there are if this is the one that raises the alarm, which is one a window.
    /// Only for clients that are registered: there are as many counts.
    pub(crate) fn count(
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
