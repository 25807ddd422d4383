//! The counts under one limiter key, and their stored form: the row of the attempt limiter.

use crate::limiter::rule::{AttemptOutcome, Rule};
use crate::state::codec::{Reader, Stored, write_number, write_optional};

/// The counts under one limiter key. Times are in milliseconds since 1970, by the clock of the
/// store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bucket {
    /// A number from a random start, which distinguishes this row from an earlier one under the
    /// same key: a reservation of another epoch is ignored.
    epoch: u64,
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
    /// Until when this key is a known origin; 0 for a bucket that is not of an origin.
    known_until: u64,
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
    epoch: u64,
    seq: u64,
    window_no: u64,
}

impl Bucket {
    /// The most open attempts that a bucket records.
    const OPEN: usize = 512;

    pub(super) fn new(epoch: u64, now: u64) -> Self {
        Self {
            epoch,
            next: 0,
            consecutive: Vec::new(),
            open: Vec::new(),
            window_no: 0,
            window_start: now,
            rolling: 0,
            rolling_before: 0,
            last_admitted: 0,
            locked_at: None,
            known_until: 0,
        }
    }

    /// Failures in a row, including open attempts.
    pub(super) fn failures(&self) -> u32 {
        u32::try_from(self.consecutive.len()).unwrap_or(u32::MAX)
    }

    /// Attempts in this window and the one before it.
    pub(super) fn in_window(&self) -> u32 {
        self.rolling.saturating_add(self.rolling_before)
    }

    pub(super) fn is_locked(&self) -> bool {
        self.locked_at.is_some()
    }

    pub(super) fn is_known(&self, now: u64) -> bool {
        now < self.known_until
    }

    /// Makes this key a known origin for the next `span` milliseconds.
    pub(super) fn know(&mut self, now: u64, span: u64) {
        self.known_until = now.saturating_add(span);
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
        let mut until = 0;
        if rule.consecutive_limit.is_some_and(|limit| self.failures() >= limit) {
            until = self.locked_at.unwrap_or(self.last_admitted).saturating_add(rule.window);
        } else if let Some(beyond) = self.failures().checked_sub(rule.burst) {
            until = self.last_admitted.saturating_add(rule.backoff(beyond));
        }
        if self.in_window() >= rule.rolling_limit {
            // One attempt is admitted per `cap`, or sooner if enough attempts leave the window.
            let windows = if self.rolling < rule.rolling_limit { 1 } else { 2 };
            let fewer = self.window_start.saturating_add(rule.window.saturating_mul(windows));
            until = until.max(fewer.min(self.last_admitted.saturating_add(rule.cap)));
        }
        until.checked_sub(now).filter(|wait| *wait > 0)
    }

    /// Whether only open attempts, which may still succeed, keep the bucket from admitting another.
    pub(super) fn is_contended(&self, rule: &Rule) -> bool {
        let is_open = |seq: &u64| self.open.binary_search_by_key(seq, |open| open.seq).is_ok();
        let settled = self.consecutive.iter().filter(|seq| !is_open(seq)).count();
        let open_in_window = self
            .open
            .iter()
            .filter(|open| open.window_no.saturating_add(1) >= self.window_no)
            .count();
        let few = |count: usize, limit: u32| u32::try_from(count).is_ok_and(|count| count < limit);
        let rolling = (self.in_window() as usize).saturating_sub(open_in_window);
        !self.open.is_empty() && few(settled, rule.burst) && few(rolling, rule.rolling_limit)
    }

    /// Counts one attempt, as open and as a failure.
    pub(super) fn charge(&mut self, rule: &Rule, now: u64) -> KeyReservation {
        let reserved =
            KeyReservation { epoch: self.epoch, seq: self.next, window_no: self.window_no };
        self.next = self.next.saturating_add(1);
        // The row must not grow without bound, so the oldest open attempt counts as failed.
        if self.open.len() >= Self::OPEN {
            self.open.remove(0);
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
            if self.failures() >= limit {
                self.locked_at = Some(now);
            }
        }
        reserved
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
        if self.epoch != reserved.epoch {
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
            match self.window_no.checked_sub(reserved.window_no) {
                Some(0) => self.rolling = self.rolling.saturating_sub(1),
                Some(1) => self.rolling_before = self.rolling_before.saturating_sub(1),
                _ => {}
            }
        }
        if rule.consecutive_limit.is_some_and(|limit| self.failures() < limit) {
            self.locked_at = None;
        }
        before != (self.open.len(), self.consecutive.len())
    }

    /// How long the row still differs from an absent one, in milliseconds; `None` if it does not.
    pub(super) fn ttl(&self, rule: &Rule, now: u64) -> Option<u64> {
        let mut end = self.known_until;
        if !self.consecutive.is_empty() {
            end = end.max(self.locked_at.unwrap_or(self.last_admitted).saturating_add(rule.window));
        }
        if self.rolling_before > 0 {
            end = end.max(self.window_start.saturating_add(rule.window));
        }
        if self.rolling > 0 {
            end = end.max(self.window_start.saturating_add(rule.window.saturating_mul(2)));
        }
        if let Some(deadline) = self.open.iter().map(|open| open.deadline).max() {
            end = end.max(deadline);
        }
        end.checked_sub(now).filter(|life| *life > 0)
    }
}

/// The epoch comes first, then numbers of variable length.
impl Stored for Bucket {
    const NAME: &'static str = "an attempt count";

    fn size_hint(&self) -> usize {
        48 + 3 * self.consecutive.len() + 10 * self.open.len()
    }

    fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend(self.epoch.to_le_bytes());
        for number in [
            self.next,
            self.window_no,
            self.window_start,
            self.rolling.into(),
            self.rolling_before.into(),
        ] {
            write_number(bytes, number);
        }
        write_number(bytes, self.last_admitted);
        write_optional(bytes, self.locked_at);
        write_number(bytes, self.known_until);
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

    fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        let mut bucket = Self {
            epoch: u64::from_le_bytes(reader.array()?),
            next: reader.number()?,
            window_no: reader.number()?,
            window_start: reader.number()?,
            rolling: reader.number()?.try_into().ok()?,
            rolling_before: reader.number()?.try_into().ok()?,
            last_admitted: reader.number()?,
            locked_at: reader.optional()?,
            known_until: reader.number()?,
            consecutive: Vec::new(),
            open: Vec::new(),
        };
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
mod tests {
    use proptest::collection::{btree_set, vec};
    use proptest::prelude::*;

    use super::*;
    use crate::state::codec::{UnreadableRow, from_bytes, to_bytes};
    use crate::state::test_support::hex;

    const UNREADABLE: Result<Bucket, UnreadableRow> = Err(UnreadableRow(Bucket::NAME));

    fn buckets() -> impl Strategy<Value = Bucket> {
        let numbers = (any::<[u64; 7]>(), any::<[u32; 2]>(), any::<Option<u32>>());
        let lists = (btree_set(0..1_u64 << 40, 0..120), btree_set(0..1_u64 << 40, 0..40));
        (numbers, lists, vec(any::<(u64, u64)>(), 40)).prop_map(
            |((n, rolling, locked), (consecutive, open), more)| Bucket {
                epoch: n[0],
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
                known_until: n[5],
            },
        )
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(bucket in buckets()) {
            prop_assert_eq!(from_bytes(&to_bytes(&bucket)), Ok(bucket));
        }

        #[test]
        fn a_row_that_was_cut_or_prolonged_is_not_readable(
            bucket in buckets(),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut bytes = to_bytes(&bucket);
            prop_assert_eq!(from_bytes(&bytes[..cut.index(bytes.len())]), UNREADABLE);
            bytes.push(0);
            prop_assert_eq!(from_bytes(&bytes), UNREADABLE);
        }
    }

    /// Each bucket has exactly one encoding: bytes that can be decoded encode to the same bytes.
    #[test]
    fn a_row_with_another_byte_is_another_bucket_or_none() {
        let rule =
            Rule { consecutive_limit: Some(9), ..crate::AttemptLimits::default().account_rule() };
        let mut bucket = Bucket::new(7, 1_000);
        for now in [1_000, 1_000_000] {
            let reserved = bucket.charge(&rule, now);
            bucket.settle(reserved, AttemptOutcome::Failure, &rule);
            bucket.charge(&rule, now);
        }
        let bytes = to_bytes(&bucket);
        let mut readable = 0;
        for index in 0..bytes.len() {
            for byte in 0..=u8::MAX {
                let mut other = bytes.clone();
                other[index] = byte;
                if let Ok(bucket) = from_bytes::<Bucket>(&other) {
                    assert_eq!(to_bytes(&bucket), other);
                    readable += 1;
                }
            }
        }
        assert!((3_000..256 * bytes.len()).contains(&readable), "{readable}");
    }

    #[test]
    fn the_stored_bytes_stay_the_same_from_version_to_version() {
        let mut bucket = Bucket {
            epoch: 0x0123_4567_89ab_cdef,
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
            known_until: 1_807_776_000_000,
        };
        assert_eq!(
            hex(&bucket),
            "01efcdab8967452301ac020380a0f1c2b13407c801d2a9f1c2b134e9a7f1c2b13480d0e2bece340301049d0202a202e0f4f4c2b1340209c8fcf4c2b13403"
        );
        bucket.locked_at = None;
        bucket.consecutive.clear();
        bucket.open.clear();
        assert_eq!(
            hex(&bucket),
            "01efcdab8967452301ac020380a0f1c2b13407c801d2a9f1c2b1340080d0e2bece340000"
        );
    }

    /// However many attempts are open, a row stays below a bound: the oldest attempts then count as
    /// failed.
    #[test]
    fn so_many_attempts_at_once_make_no_row_too_long() {
        let rule = crate::AttemptLimits::default().network_rule();
        let mut bucket = Bucket::new(7, 1_800_000_000_000);
        let reserved: Vec<_> =
            (0..3_000).map(|_| bucket.charge(&rule, 1_800_000_000_000)).collect();
        assert!(to_bytes(&bucket).len() < 16 * 1024, "{}", to_bytes(&bucket).len());
        assert_eq!(bucket.in_window(), 3_000);
        bucket.settle(reserved[0], AttemptOutcome::Inconclusive, &rule);
        assert_eq!(bucket.in_window(), 3_000);
        bucket.settle(reserved[2_999], AttemptOutcome::Inconclusive, &rule);
        assert_eq!(bucket.in_window(), 2_999);
    }
}
