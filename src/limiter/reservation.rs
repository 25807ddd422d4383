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

use crate::limiter::bucket::{Bucket, KeyReservation};
use crate::limiter::rule::Rule;

/// Whether an attempt is admitted. `K` names a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Decision<K> {
    /// The attempt is reserved on every bucket, in their order.
    Admitted(Vec<(K, KeyReservation)>),
    /// The attempt is over a limit. No bucket was charged.
    Denied {
        /// Milliseconds until every bucket that denies would admit the attempt.
        wait: u64,
        /// The bucket with the longest wait.
        key: K,
    },
    /// The attempt is over a limit only because of open attempts, which may still succeed. No
    /// bucket was charged.
    Contended {
        /// The first bucket with such attempts.
        key: K,
    },
}

/// A bucket that an attempt is about to be charged to.
#[derive(Debug, Clone)]
pub(super) struct ChargedBucket<'a, K> {
    pub(super) key: K,
    pub(super) rule: &'a Rule,
    pub(super) bucket: Bucket,
    /// The clock was set back, so the bucket must be stored even if the attempt is not admitted.
    pub(super) set_back: bool,
}

impl<'a, K> ChargedBucket<'a, K> {
    pub(super) fn new(key: K, rule: &'a Rule, bucket: Bucket) -> Self {
        Self { key, rule, bucket, set_back: false }
    }
}

/// Reserves an attempt on all of these buckets, or on none. `now` is in milliseconds since 1970.
pub(super) fn reserve<K: Copy>(now: u64, charged: &mut [ChargedBucket<'_, K>]) -> Decision<K> {
    let (mut longest, mut contended) = (None, None);
    for ChargedBucket { key, rule, bucket, set_back } in charged.iter_mut() {
        *set_back = bucket.catch_up(rule, now);
        match bucket.wait(rule, now) {
            None => {}
            Some(_) if bucket.is_contended(rule) => {
                contended.get_or_insert(*key);
            }
            Some(wait) if longest.is_none_or(|(longest, _)| wait > longest) => {
                longest = Some((wait, *key));
            }
            Some(_) => {}
        }
    }
    if let Some((wait, key)) = longest {
        return Decision::Denied { wait, key };
    }
    if let Some(key) = contended {
        return Decision::Contended { key };
    }
    let reserved = charged.iter_mut().map(|charged| {
        let ChargedBucket { key, rule, bucket, .. } = charged;
        (*key, bucket.charge(rule, now))
    });
    Decision::Admitted(reserved.collect())
}
