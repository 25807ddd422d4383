//! The counts of attempts on one account, from elsewhere or from one known origin.

use crate::limiter::rule::{AttemptOutcome, Rule};
use crate::state::codec::{Reader, write_number, write_optional};

/// The counts of attempts. Times are in milliseconds since 1970, by the clock of the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bucket {
    /// A number from a random start, which distinguishes this bucket from an earlier one of the
    /// same account or origin: a reservation of another generation is ignored.
    generation: u64,
    /// The sequence number of the next attempt.
    next: u64,
    /// The sequence numbers of the attempts that count as failures in a row, ascending.
    consecutive: Vec<u64>,
    /// The attempts that are not settled yet, by ascending sequence number.
    open: Vec<Open>,
    window_no: u64,
    window_start: u64,
    /// Attempts admitted in this window and not taken back, and those in the window before it.
    rolling: u32,
    rolling_before: u32,
    last_admitted: u64,
    locked_at: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Open {
    seq: u64,
    deadline: u64,
    window_no: u64,
}

/// One attempt's charge to one bucket, which is needed to settle it there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct KeyReservation {
    generation: u64,
    seq: u64,
    window_no: u64,
}

impl Bucket {
    /// The most open attempts that a bucket records.
    pub(super) const OPEN: usize = 512;

    pub(super) fn new(generation: u64, now: u64) -> Self {
        Self {
            generation,
            next: 0,
            consecutive: Vec::new(),
            open: Vec::new(),
            window_no: 0,
            window_start: now,
            rolling: 0,
            rolling_before: 0,
            last_admitted: 0,
            locked_at: None,
        }
    }

    /// Failures in a row, including open attempts.
    pub(super) fn failures(&self, rule: &Rule) -> u32 {
        match rule.consecutive_limit {
            Some(_) => u32::try_from(self.consecutive.len()).unwrap_or(u32::MAX),
            None => self.in_window(),
        }
    }

    /// Attempts in this window and the one before it.
    pub(super) fn in_window(&self) -> u32 {
        self.rolling.saturating_add(self.rolling_before)
    }

    pub(super) fn is_locked(&self) -> bool {
        self.locked_at.is_some()
    }

    /// Brings the bucket up to `now`: closes overdue attempts, advances the window, and forgets old
    /// failures in a row.
    ///
    /// Returns true if the clock was set back since the bucket was stored. All times are then
    /// capped, so that the key neither unlocks early nor stays locked for ever. The caller must
    /// store the bucket in that case, whatever it decides, or every wait would begin again at each
    /// attempt.
    #[must_use]
    pub(super) fn catch_up(&mut self, rule: &Rule, now: u64) -> bool {
        let latest = now.saturating_add(rule.attempt_timeout);
        let stored = [self.window_start, self.last_admitted, self.locked_at.unwrap_or(0)];
        let set_back = stored.into_iter().any(|time| time > now)
            || self.open.iter().any(|open| open.deadline > latest);
        self.window_start = self.window_start.min(now);
        self.last_admitted = self.last_admitted.min(now);
        self.locked_at = self.locked_at.map(|locked_at| locked_at.min(now));
        self.open.retain_mut(|open| {
            open.deadline = open.deadline.min(latest);
            now < open.deadline
        });
        match (now - self.window_start) / rule.window.max(1) {
            0 => {}
            windows => {
                self.rolling_before = if windows == 1 { self.rolling } else { 0 };
                self.rolling = 0;
                self.window_no = self.window_no.saturating_add(windows);
                self.window_start += windows * rule.window.max(1);
            }
        }
        let forgotten_from =
            self.locked_at.unwrap_or(self.last_admitted).saturating_add(rule.window);
        if forgotten_from <= now {
            self.consecutive.clear();
            self.locked_at = None;
        }
        set_back
    }

    /// How long until the next attempt is admitted, in milliseconds; `None` if it is admitted at
    /// once. Call [`catch_up`](Self::catch_up) first.
    pub(super) fn wait(&self, rule: &Rule, now: u64) -> Option<u64> {
        let backoff = |failures: u32| match failures.checked_sub(rule.burst) {
            Some(beyond) => self.last_admitted.saturating_add(rule.backoff(beyond)),
            None => 0,
        };
        let failures = self.failures(rule);
        let mut until = match rule.consecutive_limit {
            Some(limit) if failures >= limit => {
                self.locked_at.unwrap_or(self.last_admitted).saturating_add(rule.window)
            }
            Some(_) => backoff(failures),
            // The wait ends sooner if enough attempts leave the window.
            None => [(0, failures), (1, self.rolling), (2, 0)]
                .map(|(windows, failures)| match windows {
                    0 => backoff(failures),
                    _ => backoff(failures).max(self.end_of_window(rule, windows)),
                })
                .into_iter()
                .min()
                .unwrap_or(0),
        };
        if self.in_window() >= rule.rolling_limit {
            // One attempt is admitted per `cap`, or sooner if enough attempts leave the window.
            let windows = if self.rolling < rule.rolling_limit { 1 } else { 2 };
            let fewer = self.end_of_window(rule, windows);
            until = until.max(fewer.min(self.last_admitted.saturating_add(rule.cap)));
        }
        until.checked_sub(now).filter(|wait| *wait > 0)
    }

    /// When the current window has passed, or that many.
    fn end_of_window(&self, rule: &Rule, windows: u64) -> u64 {
        self.window_start.saturating_add(rule.window.saturating_mul(windows))
    }

    /// Whether only open attempts, which may still succeed, keep the bucket from admitting another.
    pub(super) fn is_contended(&self, rule: &Rule) -> bool {
        let is_open = |seq: &u64| self.open.binary_search_by_key(seq, |open| open.seq).is_ok();
        let open_in_window = self
            .open
            .iter()
            .filter(|open| open.window_no.saturating_add(1) >= self.window_no)
            .count();
        let few = |count: usize, limit: u32| u32::try_from(count).is_ok_and(|count| count < limit);
        let rolling = (self.in_window() as usize).saturating_sub(open_in_window);
        let settled = match rule.consecutive_limit {
            Some(_) => self.consecutive.iter().filter(|seq| !is_open(seq)).count(),
            None => rolling,
        };
        !self.open.is_empty() && few(settled, rule.burst) && few(rolling, rule.rolling_limit)
    }

    /// Counts one attempt, as open and as a failure.
    pub(super) fn charge(&mut self, rule: &Rule, now: u64) -> KeyReservation {
        let reserved = KeyReservation {
            generation: self.generation,
            seq: self.next,
            window_no: self.window_no,
        };
        self.next = self.next.saturating_add(1);
        if self.open.len() >= Self::OPEN {
            self.close_oldest();
        }
        self.open.push(Open {
            seq: reserved.seq,
            deadline: now.saturating_add(rule.attempt_timeout),
            window_no: reserved.window_no,
        });
        self.rolling = self.rolling.saturating_add(1);
        self.last_admitted = now;
        if let Some(limit) = rule.consecutive_limit {
            self.consecutive.push(reserved.seq);
            if self.failures(rule) >= limit {
                self.locked_at = Some(now);
            }
        }
        reserved
    }

    pub(super) fn open_attempts(&self) -> usize {
        self.open.len()
    }

    /// Closes the oldest open attempt, since the row must not grow without bound. An attempt that
    /// no longer counts as a failure in a row, because a later one has succeeded, counts as right;
    /// any other counts as failed.
    pub(super) fn close_oldest(&mut self) {
        if self.open.is_empty() {
            return;
        }
        let cleared = |open: &Open| self.consecutive.binary_search(&open.seq).is_err();
        match self.open.iter().position(cleared) {
            Some(index) => {
                let open = self.open.remove(index);
                self.take_back(open.window_no);
            }
            None => drop(self.open.remove(0)),
        }
    }

    /// Takes back one attempt that was counted in this window.
    fn take_back(&mut self, window_no: u64) {
        match self.window_no.checked_sub(window_no) {
            Some(0) => self.rolling = self.rolling.saturating_sub(1),
            Some(1) => self.rolling_before = self.rolling_before.saturating_sub(1),
            _ => {}
        }
    }

    /// Settles an attempt. Returns whether the bucket changed.
    ///
    /// Only the first settlement takes back what the attempt has counted in its window.
    pub(super) fn settle(
        &mut self,
        reserved: KeyReservation,
        outcome: AttemptOutcome,
        rule: &Rule,
    ) -> bool {
        if self.generation != reserved.generation {
            return false;
        }
        let before = (self.open.len(), self.consecutive.len());
        self.open.retain(|open| open.seq != reserved.seq);
        let was_open = self.open.len() < before.0;
        match outcome {
            // Attempts that were reserved after this one may be somebody else's, so they still
            // count.
            AttemptOutcome::Success => self.consecutive.retain(|seq| *seq > reserved.seq),
            AttemptOutcome::Inconclusive if was_open => {
                self.consecutive.retain(|seq| *seq != reserved.seq)
            }
            AttemptOutcome::Inconclusive | AttemptOutcome::Failure => {}
        }
        if was_open && outcome != AttemptOutcome::Failure {
            self.take_back(reserved.window_no);
        }
        if rule.consecutive_limit.is_some_and(|limit| self.failures(rule) < limit) {
            self.locked_at = None;
        }
        before != (self.open.len(), self.consecutive.len())
    }

    /// How long the bucket still differs from a new one, in milliseconds; `None` if it does not.
    pub(super) fn ttl(&self, rule: &Rule, now: u64) -> Option<u64> {
        let mut end = 0;
        if !self.consecutive.is_empty() {
            end = end.max(self.locked_at.unwrap_or(self.last_admitted).saturating_add(rule.window));
        }
        if self.rolling_before > 0 {
            end = end.max(self.end_of_window(rule, 1));
        }
        if self.rolling > 0 {
            end = end.max(self.end_of_window(rule, 2));
        }
        if let Some(deadline) = self.open.iter().map(|open| open.deadline).max() {
            end = end.max(deadline);
        }
        end.checked_sub(now).filter(|life| *life > 0)
    }
}

/// The stored form, a part of the account's row: the generation, then numbers of variable length.
impl Bucket {
    pub(super) fn size_hint(&self) -> usize {
        48 + 3 * self.consecutive.len() + 10 * self.open.len()
    }

    pub(super) fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend(self.generation.to_le_bytes());
        for number in [
            self.next,
            self.window_no,
            self.window_start,
            self.rolling.into(),
            self.rolling_before.into(),
            self.last_admitted,
        ] {
            write_number(bytes, number);
        }
        write_optional(bytes, self.locked_at);
        write_number(bytes, self.consecutive.len() as u64);
        let mut last = 0;
        for seq in &self.consecutive {
            write_number(bytes, seq - last);
            last = *seq;
        }
        write_number(bytes, self.open.len() as u64);
        let mut last = 0;
        for open in &self.open {
            for number in [open.seq - last, open.deadline, open.window_no] {
                write_number(bytes, number);
            }
            last = open.seq;
        }
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        Self::decode_after(reader, |_| Some(()))
    }

    /// Reads the first form, in which the bucket was a row of its own. It also held until when its
    /// key was a known origin, which origins now hold themselves.
    pub(super) fn decode_first_form(reader: &mut Reader<'_>) -> Option<Self> {
        Self::decode_after(reader, |reader| reader.number().map(drop))
    }

    /// The start of the window, and the attempts in it and in the window before it.
    pub(super) fn windows(&self) -> (u64, u32, u32) {
        (self.window_start, self.rolling, self.rolling_before)
    }

    fn decode_after(
        reader: &mut Reader<'_>,
        former_field: impl FnOnce(&mut Reader<'_>) -> Option<()>,
    ) -> Option<Self> {
        let mut bucket = Self {
            generation: u64::from_le_bytes(reader.array()?),
            next: reader.number()?,
            window_no: reader.number()?,
            window_start: reader.number()?,
            rolling: reader.number()?.try_into().ok()?,
            rolling_before: reader.number()?.try_into().ok()?,
            last_admitted: reader.number()?,
            locked_at: reader.optional()?,
            consecutive: Vec::new(),
            open: Vec::new(),
        };
        former_field(reader)?;
        for _ in 0..reader.number()? {
            let seq = reader.next_of(bucket.consecutive.last().copied(), bucket.next)?;
            bucket.consecutive.push(seq);
        }
        for _ in 0..reader.number()? {
            let seq = reader.next_of(bucket.open.last().map(|open| open.seq), bucket.next)?;
            bucket.open.push(Open { seq, deadline: reader.number()?, window_no: reader.number()? });
        }
        Some(bucket)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::collection::{btree_set, vec};
    use proptest::prelude::*;

    use super::*;

    pub(in crate::limiter) fn buckets() -> impl Strategy<Value = Bucket> {
        let numbers = (any::<[u64; 5]>(), any::<[u32; 2]>(), any::<Option<u32>>());
        let lists = (btree_set(0..1_u64 << 40, 0..120), btree_set(0..1_u64 << 40, 0..40));
        (numbers, lists, vec(any::<(u64, u64)>(), 40)).prop_map(
            |((n, rolling, locked), (consecutive, open), more)| Bucket {
                generation: n[0],
                next: (1 << 40) + n[1] % 1000,
                consecutive: consecutive.into_iter().collect(),
                open: open
                    .into_iter()
                    .zip(more)
                    .map(|(seq, (deadline, window_no))| Open { seq, deadline, window_no })
                    .collect(),
                window_no: n[2],
                window_start: n[3],
                rolling: rolling[0],
                rolling_before: rolling[1],
                last_admitted: n[4],
                locked_at: locked.map(u64::from),
            },
        )
    }

    /// A bucket with something in every field.
    pub(in crate::limiter) fn full_bucket() -> Bucket {
        Bucket {
            generation: 0x0123_4567_89ab_cdef,
            next: 300,
            consecutive: vec![1, 5, 290],
            open: vec![
                Open { seq: 290, deadline: 1_800_000_060_000, window_no: 2 },
                Open { seq: 299, deadline: 1_800_000_061_000, window_no: 3 },
            ],
            window_no: 3,
            window_start: 1_800_000_000_000,
            rolling: 7,
            rolling_before: 200,
            last_admitted: 1_800_000_001_234,
            locked_at: Some(1_800_000_001_000),
        }
    }

    /// However many attempts are open at once, a bucket stays below a bound. Attempts that a later
    /// success has cleared count as right then, and not as failed.
    #[test]
    fn so_many_attempts_at_once_make_no_bucket_too_long() {
        let rule = crate::AttemptLimits::default().account_rule();
        let now = 1_800_000_000_000;
        let mut bucket = Bucket::new(7, now);
        let mut reserved = Vec::new();
        for _ in 0..300 {
            reserved.extend((0..9).map(|_| bucket.charge(&rule, now)));
            let right = bucket.charge(&rule, now);
            bucket.settle(right, AttemptOutcome::Success, &rule);
        }
        let mut bytes = Vec::new();
        bucket.encode(&mut bytes);
        assert!(bytes.len() < 8 * 1024, "{}", bytes.len());
        // The last of 512 open attempts has been settled, and all others count as right.
        assert_eq!((bucket.in_window(), bucket.failures(&rule)), (511, 0));
        let newest = *reserved.last().unwrap();
        bucket.settle(newest, AttemptOutcome::Success, &rule);
        assert_eq!(bucket.in_window(), 510);
        bucket.settle(reserved[0], AttemptOutcome::Success, &rule);
        assert_eq!(bucket.in_window(), 510, "closed before");
    }
}
