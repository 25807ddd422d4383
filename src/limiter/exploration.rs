//! Tests of the limiter's state machine against a naive reference, over every history up to a
//! length and many long ones. The reference keeps the whole history and counts anew at each
//! question, as the rules are worded; the machine keeps a few numbers.

use std::collections::HashSet;

use proptest::collection::vec;
use proptest::prelude::*;

use crate::state::codec::{from_bytes, to_bytes};

use crate::limiter::account_row::{AccountRow, ChargedTo};
use crate::limiter::bucket::{Bucket, KeyReservation};
use crate::limiter::failures::{FailureWindows, WindowRule};
use crate::limiter::reservation::{ChargedBucket, Decision, Place, reserve};
use crate::limiter::rule::{AttemptOutcome, Rule};

/// Small numbers, so that short histories reach every limit.
fn small() -> Rule {
    Rule {
        burst: 2,
        base: 1,
        cap: 4,
        consecutive_limit: Some(4),
        rolling_limit: 5,
        window: 8,
        attempt_timeout: 3,
    }
}

/// The rule for a row that several names share: the failures in the window count as those in a row.
fn shared() -> Rule {
    small().of_shared_row()
}

/// One attempt that was admitted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Attempt {
    /// The window in which it was admitted.
    window: u64,
    deadline: u64,
    /// Neither settled nor past its deadline.
    open: bool,
    /// Counts as a failure in a row.
    stands: bool,
    /// Counts in its window.
    counts: bool,
}

/// The naive reference: it applies the rules by counting.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Reference {
    attempts: Vec<Attempt>,
    window: u64,
    window_start: u64,
    last_admitted: u64,
    locked_at: Option<u64>,
}

impl Reference {
    fn new(now: u64) -> Self {
        Self {
            attempts: Vec::new(),
            window: 0,
            window_start: now,
            last_admitted: 0,
            locked_at: None,
        }
    }

    fn failures(&self, rule: &Rule) -> u32 {
        match rule.consecutive_limit {
            Some(_) => self.attempts.iter().filter(|attempt| attempt.stands).count() as u32,
            None => self.rolling(),
        }
    }

    fn in_window(&self, attempt: &Attempt) -> bool {
        attempt.counts && attempt.window + 1 >= self.window
    }

    fn rolling(&self) -> u32 {
        self.attempts.iter().filter(|attempt| self.in_window(attempt)).count() as u32
    }

    /// Caps times that lie after `now`, then does the same steps as the machine, in the same order.
    fn catch_up(&mut self, rule: &Rule, now: u64) {
        self.window_start = self.window_start.min(now);
        self.last_admitted = self.last_admitted.min(now);
        self.locked_at = self.locked_at.map(|at| at.min(now));
        for attempt in &mut self.attempts {
            attempt.deadline = attempt.deadline.min(now + rule.attempt_timeout);
            attempt.open &= now < attempt.deadline;
        }
        while self.window_start + rule.window <= now {
            self.window_start += rule.window;
            self.window += 1;
        }
        let since = self.locked_at.unwrap_or(self.last_admitted);
        if since + rule.window <= now {
            self.attempts.iter_mut().for_each(|attempt| attempt.stands = false);
            self.locked_at = None;
        }
    }

    /// Only an admitted attempt, or a clock that was set back, changes the state.
    fn reserve(&mut self, rule: &Rule, now: u64) -> &'static str {
        let ahead = self
            .attempts
            .iter()
            .any(|attempt| attempt.open && attempt.deadline > now + rule.attempt_timeout);
        let set_back = ahead
            || self.window_start.max(self.last_admitted).max(self.locked_at.unwrap_or(0)) > now;
        let mut next = self.clone();
        let said = next.reserve_caught_up(rule, now);
        if said == "admitted" || set_back {
            *self = next;
        }
        said
    }

    fn reserve_caught_up(&mut self, rule: &Rule, now: u64) -> &'static str {
        self.catch_up(rule, now);
        let (failures, rolling) = (self.failures(rule), self.rolling());
        let backoff = |beyond: u32| {
            (0..beyond).fold(rule.base, |wait, _| (wait * 2).min(rule.cap)).min(rule.cap)
        };
        let locked = rule.consecutive_limit.is_some_and(|limit| failures >= limit);
        let waits =
            failures >= rule.burst && now < self.last_admitted + backoff(failures - rule.burst);
        let full = rolling >= rule.rolling_limit && now < self.last_admitted + rule.cap;
        if locked || waits || full {
            let open =
                self.attempts.iter().filter(|a| a.open && a.window + 1 >= self.window).count()
                    as u32;
            let settled = match rule.consecutive_limit {
                Some(_) => self.attempts.iter().filter(|a| a.stands && !a.open).count() as u32,
                None => rolling.saturating_sub(open),
            };
            let any_open = self.attempts.iter().any(|attempt| attempt.open);
            let contended = any_open
                && settled < rule.burst
                && rolling.saturating_sub(open) < rule.rolling_limit;
            return if contended { "contended" } else { "denied" };
        }
        self.attempts.push(Attempt {
            window: self.window,
            deadline: now + rule.attempt_timeout,
            open: true,
            stands: rule.consecutive_limit.is_some(),
            counts: true,
        });
        self.last_admitted = now;
        if rule.consecutive_limit.is_some_and(|limit| self.failures(rule) >= limit) {
            self.locked_at = Some(now);
        }
        "admitted"
    }

    fn settle(&mut self, rule: &Rule, number: usize, outcome: AttemptOutcome) {
        let was_open = std::mem::replace(&mut self.attempts[number].open, false);
        match outcome {
            AttemptOutcome::Success => {
                self.attempts[..=number].iter_mut().for_each(|attempt| attempt.stands = false)
            }
            AttemptOutcome::Inconclusive if was_open => self.attempts[number].stands = false,
            _ => {}
        }
        if was_open && outcome != AttemptOutcome::Failure {
            self.attempts[number].counts = false;
        }
        if rule.consecutive_limit.is_some_and(|limit| self.failures(rule) < limit) {
            self.locked_at = None;
        }
    }
}

/// One step of a history.
#[derive(Debug, Clone, Copy)]
enum Happens {
    Attempt,
    /// Settles the attempt that was admitted this many before the last one, possibly again.
    Settle(usize, AttemptOutcome),
    Passes(u64),
    /// The clock is set back.
    SetBack(u64),
}

/// The machine and the reference, which go through the same history.
#[derive(Clone)]
struct Both {
    rule: Rule,
    now: u64,
    machine: Bucket,
    reserved: Vec<KeyReservation>,
    reference: Reference,
    /// When each attempt was admitted. `None` once the clock was set back, since the bounds only
    /// hold for a clock that moves forward.
    admitted: Option<Vec<u64>>,
    /// The outcome of each attempt, if it was settled.
    ended: Vec<Option<AttemptOutcome>>,
}

impl Both {
    fn new(rule: Rule) -> Self {
        let now = 100;
        Self {
            rule,
            now,
            machine: Bucket::new(7, now),
            reserved: Vec::new(),
            reference: Reference::new(now),
            admitted: Some(Vec::new()),
            ended: Vec::new(),
        }
    }

    fn go(&mut self, happens: Happens) {
        match happens {
            Happens::Passes(span) => self.now += span,
            Happens::SetBack(span) => {
                self.now -= span;
                self.admitted = None;
            }
            Happens::Attempt => self.attempt(),
            Happens::Settle(before, outcome) => {
                let Some(number) = self.reserved.len().checked_sub(1 + before) else { return };
                self.machine.settle(self.reserved[number], outcome, &self.rule);
                self.reference.settle(&self.rule, number, outcome);
                // The first settlement counts, except that a success counts whenever it comes.
                if outcome == AttemptOutcome::Success || self.ended[number].is_none() {
                    self.ended[number] = Some(outcome);
                }
            }
        }
        assert_eq!(self.machine.failures(&self.rule), self.reference.failures(&self.rule));
        // The stored row holds the whole state. A row past its TTL says the same as an absent row.
        let mut row = AccountRow::default();
        row.set_bucket(ChargedTo::Account, self.machine.clone());
        let stored = from_bytes::<AccountRow>(&to_bytes(&row)).unwrap();
        assert_eq!(stored, row);
        if self.machine.ttl(&self.rule, self.now).is_none() {
            let mut caught_up = self.machine.clone();
            let _ = caught_up.catch_up(&self.rule, self.now);
            assert_eq!(
                (
                    caught_up.failures(&self.rule),
                    caught_up.in_window(),
                    caught_up.wait(&self.rule, self.now)
                ),
                (0, 0, None)
            );
        }
    }

    fn attempt(&mut self) {
        let mut charged = ChargedBucket::new((), &self.rule, self.machine.clone());
        let decision = reserve(self.now, &mut charged, [], false);
        let ChargedBucket { bucket: caught_up, set_back, .. } = charged;
        if set_back {
            self.machine = caught_up.clone();
        }
        let expected = self.reference.reserve(&self.rule, self.now);
        match decision {
            Decision::Admitted(reserved) => {
                assert_eq!(expected, "admitted");
                self.machine = caught_up;
                self.reserved.push(reserved);
                self.ended.push(None);
                if let Some(admitted) = &mut self.admitted {
                    admitted.push(self.now);
                }
                self.check_bounds();
            }
            Decision::Contended => assert_eq!(expected, "contended"),
            Decision::Denied { wait, .. } => {
                assert_eq!(expected, "denied");
                self.check_wait(&caught_up, wait);
            }
        }
    }

    /// Checks that the next attempt is admitted after exactly this wait, and not sooner.
    fn check_wait(&self, bucket: &Bucket, wait: u64) {
        assert!(wait > 0);
        let admitted_after = |span: u64| {
            let now = self.now + span;
            matches!(
                reserve(now, &mut ChargedBucket::new((), &self.rule, bucket.clone()), [], false),
                Decision::Admitted(_)
            )
        };
        assert!(admitted_after(wait), "{wait} {bucket:?}");
        // A wait for the window may end sooner if an open attempt succeeds, but never by itself.
        assert!((1..wait).all(|span| !admitted_after(span)), "{wait} {bucket:?}");
    }

    /// Checks the guarantees in the documentation of `reservation.rs`, from the history alone.
    fn check_bounds(&self) {
        let Some(admitted) = &self.admitted else { return };
        let rule = &self.rule;
        let (Some(last), Some(limit)) = (admitted.len().checked_sub(1), rule.consecutive_limit)
        else {
            return self.check_window(admitted);
        };
        // The attempts since the last known success, in the order of admissions.
        let first = self
            .ended
            .iter()
            .rposition(|ended| *ended == Some(AttemptOutcome::Success))
            .map_or(0, |right| right + 1);
        let taken_back = |number: usize| self.ended[number] == Some(AttemptOutcome::Inconclusive);
        let standing: Vec<usize> = (first..=last).filter(|number| !taken_back(*number)).collect();
        // Failures in a row are forgotten once a whole window has passed without an attempt.
        let forgotten = |pair: &[usize]| admitted[pair[1]] - admitted[pair[0]] >= rule.window;
        let from = standing.windows(2).rposition(forgotten).map_or(0, |gap| gap + 1);
        let row = &standing[from..];
        assert!(row.len() <= limit as usize, "{row:?} {admitted:?}");
        for (index, number) in row.iter().enumerate().skip(rule.burst as usize) {
            let waited = admitted[*number] - admitted[*number - 1];
            let beyond = index as u32 - rule.burst;
            // The count at the time of admission may have been higher than the count now, never
            // lower.
            assert!(waited >= rule.backoff(beyond), "{row:?} {admitted:?}");
        }
        self.check_window(admitted);
    }

    /// Checks the bound on any span of one window, for the attempts that were not taken back.
    fn check_window(&self, admitted: &[u64]) {
        let rule = &self.rule;
        let kept =
            |number: &usize| matches!(self.ended[*number], None | Some(AttemptOutcome::Failure));
        let kept: Vec<u64> =
            (0..admitted.len()).filter(kept).map(|number| admitted[number]).collect();
        for start in &kept {
            let within =
                kept.iter().filter(|at| (*start..start + rule.window).contains(at)).count() as u64;
            assert!(within <= u64::from(rule.rolling_limit) + rule.window / rule.cap, "{kept:?}");
        }
    }
}

/// All steps of the short histories. Settlements are of the last two attempts, including late and
/// repeated ones.
fn choices() -> Vec<Happens> {
    let outcomes = [AttemptOutcome::Success, AttemptOutcome::Failure, AttemptOutcome::Inconclusive];
    let settle = |before: usize| outcomes.map(|outcome| Happens::Settle(before, outcome));
    let mut choices =
        vec![Happens::Attempt, Happens::Passes(1), Happens::Passes(4), Happens::SetBack(2)];
    choices.extend((0..2).flat_map(settle));
    choices
}

fn explore(rule: Rule, depth: usize) -> usize {
    let choices = choices();
    let mut seen = HashSet::new();
    let mut frontier = vec![Both::new(rule)];
    for _ in 0..depth {
        let mut next = Vec::new();
        for state in &frontier {
            for happens in &choices {
                let mut state = state.clone();
                state.go(*happens);
                // Two histories are the same if they agree in what matters for later steps and for
                // the bounds.
                let key = (
                    state.now,
                    format!("{:?}", state.machine),
                    state.reference.clone(),
                    state.admitted.clone(),
                );
                if seen.insert((key, state.ended.clone())) {
                    next.push(state);
                }
            }
        }
        frontier = next;
    }
    seen.len()
}

#[test]
fn every_short_history_goes_as_the_rules_say() {
    assert!(explore(small(), 9) > 100_000);
    assert!(explore(shared(), 9) > 50_000);
}

fn histories() -> impl Strategy<Value = Vec<Happens>> {
    let outcome = prop_oneof![
        1 => Just(AttemptOutcome::Success),
        6 => Just(AttemptOutcome::Failure),
        1 => Just(AttemptOutcome::Inconclusive)
    ];
    let happens = prop_oneof![
        8 => Just(Happens::Attempt),
        6 => (0_usize..4, outcome).prop_map(|(before, outcome)| Happens::Settle(before, outcome)),
        4 => (0_u64..6).prop_map(Happens::Passes),
        1 => (6_u64..40).prop_map(Happens::Passes),
    ];
    let with_clock = prop_oneof![30 => happens, 1 => (0_u64..9).prop_map(Happens::SetBack)];
    vec(with_clock, 1..200)
}

fn rules() -> impl Strategy<Value = Rule> {
    let wide = (1_u32..5, 1_u64..4, 1_u64..9, 0_u32..8, 1_u32..12, 1_u64..30, 1_u64..9);
    let in_a_row =
        wide.prop_map(|(burst, base, cap, more, rolling_limit, window, attempt_timeout)| Rule {
            burst,
            base: base.min(cap),
            cap,
            consecutive_limit: Some(burst + more),
            rolling_limit,
            window: window.max(cap),
            attempt_timeout,
        });
    prop_oneof![3 => in_a_row, 1 => Just(small()), 1 => Just(shared())]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn every_long_history_goes_as_the_rules_say(rule in rules(), history in histories()) {
        let mut both = Both::new(rule);
        // The clock is never set back to before zero.
        both.now = 10_000;
        both.machine = Bucket::new(7, both.now);
        both.reference = Reference::new(both.now);
        history.into_iter().for_each(|happens| both.go(happens));
    }

    /// An attempt that its address or network denies is not charged to the account, and what denies
    /// for longest is told.
    #[test]
    fn whoever_is_not_admitted_is_charged_nowhere(
        spent in 0_usize..8, at_source in 0_usize..5, at_network in 0_usize..5, apart in 0_u64..9,
    ) {
        let (rule, now) = (small(), 100);
        let mut bucket = Bucket::new(1, now);
        for _ in 0..spent {
            let reserved = bucket.charge(&rule, now);
            bucket.settle(reserved, AttemptOutcome::Failure, &rule);
        }
        let limit = WindowRule { limit: 3, window: 10 };
        let place = |kind, since, failed| {
            let mut failures = FailureWindows::new(since);
            (0..failed).for_each(|_| failures.fail());
            Place::new(kind, limit, failures)
        };
        let mut places = [place("source", now, at_source), place("network", now - apart, at_network)];
        let mut charged = ChargedBucket::new("account", &rule, bucket);
        let before = charged.bucket.in_window();
        let expected = [
            charged.bucket.wait(&rule, now).map(|wait| (wait, "account")),
            places[0].failures.wait(&limit, now).map(|wait| (wait, "source")),
            places[1].failures.wait(&limit, now).map(|wait| (wait, "network")),
        ];
        let longest = expected.into_iter().flatten().map(|(wait, _)| wait).max();
        match reserve(now, &mut charged, &mut places, false) {
            Decision::Denied { wait, by } => {
                prop_assert_eq!(Some(wait), longest);
                prop_assert!(expected.contains(&Some((wait, by))));
                prop_assert_eq!(charged.bucket.in_window(), before);
            }
            decision => {
                prop_assert_eq!(longest, None);
                prop_assert!(matches!(decision, Decision::Admitted(_)));
                prop_assert_eq!(charged.bucket.in_window(), before + 1);
            }
        }
        prop_assert_eq!(places.map(|place| place.failures.failures() as usize), [at_source, at_network]);
    }
}

/// One case for each rule about what a settlement takes back.
#[test]
fn what_is_taken_back_and_what_is_not() {
    let rule = small();
    let mut bucket = Bucket::new(1, 0);
    let first = bucket.charge(&rule, 0);
    let second = bucket.charge(&rule, 0);
    assert_eq!((bucket.failures(&rule), bucket.in_window()), (2, 2), "not settled is failed");

    bucket.settle(first, AttemptOutcome::Success, &rule);
    assert_eq!(
        (bucket.failures(&rule), bucket.in_window()),
        (1, 1),
        "the second began after the first"
    );
    bucket.settle(first, AttemptOutcome::Success, &rule);
    assert_eq!((bucket.failures(&rule), bucket.in_window()), (1, 1), "taken back once");

    bucket.settle(second, AttemptOutcome::Inconclusive, &rule);
    assert_eq!(
        (bucket.failures(&rule), bucket.in_window()),
        (0, 0),
        "a server fault is nobody's failure"
    );

    let third = bucket.charge(&rule, 0);
    bucket.settle(third, AttemptOutcome::Failure, &rule);
    bucket.settle(third, AttemptOutcome::Inconclusive, &rule);
    assert_eq!(
        (bucket.failures(&rule), bucket.in_window()),
        (1, 1),
        "a failure cannot be taken back any more"
    );

    let mut another_row = Bucket::new(2, 0);
    let [.., of_another_row] = [(); 5].map(|()| another_row.charge(&rule, 0));
    assert!(!bucket.settle(of_another_row, AttemptOutcome::Success, &rule));
    assert_eq!(
        bucket.failures(&rule),
        1,
        "a reservation counts for its own row, however late it is there"
    );
}
