//! Failures in a window: the row of an address, of a network, and of a client there. It counts
//! failures when they happen and reserves nothing, so that a right login never writes the rows that
//! everybody behind one address shares.

use std::time::Duration;

use crate::limiter::bucket::Bucket;
use crate::state::codec::{Reader, Stored, write_number};
use crate::time::millis;

/// A limit on the failures in a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct WindowRule {
    /// Failures from which nothing is admitted any more.
    pub(super) limit: u32,
    /// The window in milliseconds.
    pub(super) window: u64,
}

impl WindowRule {
    pub(super) fn new(limit: u32, window: Duration) -> Self {
        Self { limit, window: millis(window) }
    }
}

/// The failures in the current window and in the one before it. Their sum is at least the number of
/// failures in any span of one window that ends now. Times are in milliseconds since 1970, by the
/// clock of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FailureWindows {
    window_start: u64,
    current: u32,
    previous: u32,
}

impl FailureWindows {
    pub(super) fn new(now: u64) -> Self {
        Self::since(now, 0, 0)
    }

    pub(super) fn since(window_start: u64, current: u32, previous: u32) -> Self {
        Self { window_start, current, previous }
    }

    /// The failures that count.
    pub(super) fn failures(&self) -> u32 {
        self.current.saturating_add(self.previous)
    }

    /// Advances the window. Returns true if the clock was set back since the row was stored: its
    /// time is then capped, and the caller must store it, or the wait would begin again at each
    /// attempt.
    #[must_use]
    pub(super) fn catch_up(&mut self, rule: &WindowRule, now: u64) -> bool {
        let window = rule.window.max(1);
        let set_back = self.window_start > now;
        self.window_start = self.window_start.min(now);
        match (now - self.window_start) / window {
            0 => {}
            windows => {
                self.previous = if windows == 1 { self.current } else { 0 };
                self.current = 0;
                self.window_start += windows * window;
            }
        }
        set_back
    }

    /// How long until an attempt is admitted, in milliseconds; `None` if it is admitted at once.
    /// Call [`catch_up`](Self::catch_up) first.
    pub(super) fn wait(&self, rule: &WindowRule, now: u64) -> Option<u64> {
        if self.failures() < rule.limit {
            return None;
        }
        let windows = if self.current < rule.limit { 1 } else { 2 };
        let fewer = self.window_start.saturating_add(rule.window.saturating_mul(windows));
        Some(fewer.saturating_sub(now).max(1))
    }

    /// Counts one failure. Call [`catch_up`](Self::catch_up) first.
    pub(super) fn fail(&mut self) {
        self.current = self.current.saturating_add(1);
    }

    /// How long the row still differs from an absent one, in milliseconds; `None` if it does not.
    pub(super) fn ttl(&self, rule: &WindowRule, now: u64) -> Option<u64> {
        let windows = match (self.current, self.previous) {
            (0, 0) => return None,
            (0, _) => 1,
            _ => 2,
        };
        let end = self.window_start.saturating_add(rule.window.saturating_mul(windows));
        end.checked_sub(now).filter(|ttl| *ttl > 0)
    }
}

impl Stored for FailureWindows {
    const NAME: &'static str = "a count of failures";
    const FORM: u8 = 2;

    fn size_hint(&self) -> usize {
        16
    }

    fn encode(&self, bytes: &mut Vec<u8>) {
        for number in [self.window_start, self.current.into(), self.previous.into()] {
            write_number(bytes, number);
        }
    }

    fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            window_start: reader.number()?,
            current: reader.number()?.try_into().ok()?,
            previous: reader.number()?.try_into().ok()?,
        })
    }

    /// In the first form such a row was a [`Bucket`], whose attempts count as failures.
    fn decode_form(form: u8, reader: &mut Reader<'_>) -> Option<Self> {
        match form {
            1 => {
                let (start, current, previous) = Bucket::decode_first_form(reader)?.windows();
                Some(Self::since(start, current, previous))
            }
            2 => Self::decode(reader),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::state::codec::{from_bytes, to_bytes};
    use crate::state::test_support::hex;

    #[test]
    fn the_stored_bytes_stay_the_same_from_version_to_version() {
        let windows = FailureWindows { window_start: 1_800_000_000_000, current: 300, previous: 7 };
        assert_eq!(hex(&windows), "0280a0f1c2b134ac0207");
    }

    /// A failure, or time that passes.
    #[derive(Debug, Clone, Copy)]
    enum Happens {
        Attempt,
        Passes(u64),
    }

    proptest! {
        /// The naive reference keeps the time of each failure. The machine never counts fewer than
        /// there were in the last window, and nothing older than two windows.
        #[test]
        fn no_span_of_one_window_has_more_failures_than_the_limit(
            history in vec(
                prop_oneof![
                    3 => Just(Happens::Attempt),
                    1 => (0_u64..9).prop_map(Happens::Passes),
                    1 => (9_u64..50).prop_map(Happens::Passes),
                ],
                1..200,
            )
        ) {
            let rule = WindowRule { limit: 4, window: 10 };
            let (mut now, mut row, mut failed) = (100, FailureWindows::new(100), Vec::new());
            for happens in history {
                match happens {
                    Happens::Passes(span) => now += span,
                    Happens::Attempt => {
                        prop_assert!(!row.catch_up(&rule, now));
                        let since = |span: u64| {
                            failed.iter().filter(|at| **at + span > now).count() as u32
                        };
                        prop_assert!(row.failures() >= since(rule.window));
                        prop_assert!(row.failures() <= since(2 * rule.window));
                        match row.wait(&rule, now) {
                            None => {
                                row.fail();
                                failed.push(now);
                                prop_assert!(since_all(&failed, now, rule.window) <= rule.limit);
                            }
                            Some(wait) => {
                                for (at, expected) in [(wait, None), (wait - 1, Some(1))] {
                                    let mut later = row;
                                    let _ = later.catch_up(&rule, now + at);
                                    prop_assert_eq!(later.wait(&rule, now + at), expected);
                                }
                            }
                        }
                    }
                }
                prop_assert_eq!(from_bytes(&to_bytes(&row)), Ok(row));
                let ttl = row.ttl(&rule, now);
                let mut end = row;
                let _ = end.catch_up(&rule, now + ttl.unwrap_or(0));
                prop_assert_eq!(end.failures(), 0, "a row past its TTL holds nothing");
            }
        }
    }

    fn since_all(failed: &[u64], now: u64, window: u64) -> u32 {
        failed.iter().filter(|at| **at + window > now).count() as u32
    }

    #[test]
    fn a_clock_that_was_set_back_neither_frees_nor_locks_for_ever() {
        let rule = WindowRule { limit: 1, window: 10 };
        let mut row = FailureWindows::new(1_000);
        row.fail();
        assert!(row.catch_up(&rule, 500));
        assert_eq!(row.wait(&rule, 500), Some(20));
        assert!(!row.catch_up(&rule, 519));
        assert_eq!(row.wait(&rule, 519), Some(1));
        assert!(!row.catch_up(&rule, 520));
        assert_eq!(row.wait(&rule, 520), None);
    }
}
