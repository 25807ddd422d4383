//! The decision of the attempt limiter: a state machine without I/O, over one [`Bucket`] a key.
//!
//! An attempt is **reserved** on all its keys at once before anything is verified, and **settled**
//! afterwards. The reservation itself records the failure: an attempt that is never settled (a
//! crash, a panic, a caller who disconnected) has failed. A successful attempt takes back itself
//! and the failures in a row before it; an attempt that could not be judged takes back only itself.
//!
//! On each key, in the order of admissions, it guarantees:
//!
//! * Between two successes at most `burst` attempts are admitted, and one more for each wait that
//!   passes.
//! * In any span of one window at most `rolling_limit + window / cap` attempts are admitted that
//!   are not taken back.
//! * Never more than `consecutive_limit` attempts are admitted without a success; then none for a
//!   whole window.
//!
//! The tests in `exploration.rs` compare it with a naive reference, over all short histories and
//! many long ones.

use std::cmp::Reverse;

use crate::limiter::bucket::{Bucket, KeyReservation};
use crate::limiter::rule::Rule;

/// Whether an attempt is admitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// The attempt is reserved on every bucket: one reservation for each, in their order.
    Admitted(Vec<KeyReservation>),
    /// The attempt is over a limit. No bucket was charged.
    Denied {
        /// Milliseconds until every bucket that denies would admit the attempt.
        wait: u64,
        /// The index of the bucket with the longest wait.
        bucket: usize,
    },
    /// The attempt is over a limit only because of open attempts, which may still succeed. No
    /// bucket was charged.
    Contended {
        /// The index of the first bucket with such attempts.
        bucket: usize,
    },
}

/// A bucket that an attempt is about to be charged to.
#[derive(Debug, Clone)]
pub(crate) struct ChargedKey<'a> {
    pub(crate) rule: &'a Rule,
    pub(crate) bucket: Bucket,
    /// The clock was set back, so the bucket must be stored even if the attempt is not admitted.
    pub(crate) set_back: bool,
}

impl<'a> ChargedKey<'a> {
    pub(crate) fn new(rule: &'a Rule, bucket: Bucket) -> Self {
        Self { rule, bucket, set_back: false }
    }
}

/// Reserves an attempt on all of these buckets, or on none. `now` is in milliseconds since 1970.
pub(crate) fn reserve(now: u64, charged: &mut [ChargedKey<'_>]) -> Decision {
    let (mut denied, mut contended) = (None, None);
    for (index, ChargedKey { rule, bucket, set_back }) in charged.iter_mut().enumerate() {
        *set_back = bucket.catch_up(rule, now);
        match bucket.wait(rule, now) {
            None => {}
            Some(_) if bucket.is_contended(rule) => {
                contended.get_or_insert(index);
            }
            Some(wait) => denied = denied.max(Some((wait, Reverse(index)))),
        }
    }
    if let Some((wait, Reverse(bucket))) = denied {
        return Decision::Denied { wait, bucket };
    }
    if let Some(bucket) = contended {
        return Decision::Contended { bucket };
    }
    Decision::Admitted(
        charged
            .iter_mut()
            .map(|ChargedKey { rule, bucket, .. }| bucket.charge(rule, now))
            .collect(),
    )
}
