//! The decision of the attempt limiter: a state machine without I/O, over the [`Bucket`] that an
//! attempt is charged to and the [`FailureWindows`] of its address and network.
//!
//! An attempt is **reserved** on its bucket before anything is verified, and **settled**
//! afterwards. The reservation itself records the failure: an attempt that is never settled (a crash, a panic)
//! has failed. A successful attempt takes back itself and the failures in a row before it; an
//! attempt that could not be judged takes back only itself. Address and network only count failures
//! that have happened.
//!
//! For each account and for each known origin, in the order of admissions, it guarantees:
//!
//! * Between two successes at most `burst` attempts are admitted, and one more for each wait that
//!   passes.
//! * In any span of one window at most `rolling_limit + window / cap` attempts are admitted that
//!   are not taken back.
//! * Never more than `consecutive_limit` attempts are admitted without a success; then none for a
//!   whole window.
//!
//! In a row that several names share, failures in the window count as those in a row, which no
//! success clears; only the second guarantee holds there, for all of them together.
//!
//! The tests in `exploration.rs` compare it with a naive reference, over all short histories and
//! many long ones.

use crate::limiter::bucket::{Bucket, KeyReservation};
use crate::limiter::failures::{FailureWindows, WindowRule};
use crate::limiter::rule::Rule;

/// Whether an attempt is admitted. `K` names what denies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Decision<K> {
    /// The attempt is reserved on the bucket.
    Admitted(KeyReservation),
    /// The attempt is over a limit. The bucket was not charged.
    Denied {
        /// Milliseconds until nothing that denies now would deny the attempt.
        wait: u64,
        /// What has the longest wait.
        by: K,
    },
    /// The attempt is over a limit only because of open attempts on the same bucket, which may
    /// still succeed. The bucket was not charged.
    Contended,
}

/// The failures from an address or a network, and their limit.
#[derive(Debug, Clone)]
pub(super) struct Place<K> {
    pub(super) kind: K,
    pub(super) rule: WindowRule,
    pub(super) failures: FailureWindows,
    /// The clock was set back, so the row must be stored even if nothing is counted in it.
    pub(super) set_back: bool,
}

impl<K> Place<K> {
    pub(super) fn new(kind: K, rule: WindowRule, failures: FailureWindows) -> Self {
        Self { kind, rule, failures, set_back: false }
    }
}

/// A bucket that an attempt is about to be charged to.
#[derive(Debug, Clone)]
pub(super) struct ChargedBucket<'a, K> {
    pub(super) kind: K,
    pub(super) rule: &'a Rule,
    pub(super) bucket: Bucket,
    /// The clock was set back, so the bucket must be stored even if the attempt is not admitted.
    pub(super) set_back: bool,
}

impl<'a, K> ChargedBucket<'a, K> {
    pub(super) fn new(kind: K, rule: &'a Rule, bucket: Bucket) -> Self {
        Self { kind, rule, bucket, set_back: false }
    }
}

/// Reserves an attempt on this bucket, unless the bucket or one of the places denies it. `now` is
/// in milliseconds since 1970. An attempt that `must_queue`, because others came before it and
/// wait, is contended rather than admitted.
pub(super) fn reserve<'p, K: Copy + 'p>(
    now: u64,
    charged: &mut ChargedBucket<'_, K>,
    places: impl IntoIterator<Item = &'p mut Place<K>>,
    must_queue: bool,
) -> Decision<K> {
    let ChargedBucket { kind, rule, bucket, set_back } = charged;
    *set_back = bucket.catch_up(rule, now);
    let wait = bucket.wait(rule, now);
    let contended = wait.is_some() && bucket.is_contended(rule);
    let mut longest = wait.filter(|_| !contended).map(|wait| (wait, *kind));
    for place in places {
        place.set_back = place.failures.catch_up(&place.rule, now);
        let wait = place.failures.wait(&place.rule, now);
        if let Some(wait) = wait.filter(|wait| longest.is_none_or(|(longest, _)| *wait > longest)) {
            longest = Some((wait, place.kind));
        }
    }
    match longest {
        Some((wait, by)) => Decision::Denied { wait, by },
        None if contended || must_queue => Decision::Contended,
        None => Decision::Admitted(bucket.charge(rule, now)),
    }
}
