//! The attempt limiter: a pure machine over rows, one [`Bucket`] a key.
//!
//! An attempt is **reserved** on all its keys at once before anything is verified, and **settled** afterwards. The
//! reservation is the record of the failure: whatever is not settled (a crash, a panic, a caller who went away) has
//! failed. An attempt that succeeds takes back what was counted against the name since its owner last logged in; one
//! that could not be judged takes back itself.
//!
//! What it promises, on each key, in the order of admissions:
//!
//! * Between two successes at most `burst` attempts are admitted, and one more for each wait that passes.
//! * In any span of one window at most `rolling_limit + window / cap` are admitted that are not taken back.
//! * Never more than `consecutive_limit` without a success; then none for a whole window.
//!
//! `exploration.rs` holds it against a naive reference through all short histories and many long ones.

use std::cmp::Reverse;

use crate::limiter::bucket::{Bucket, KeyReservation};

/// How attempts on one kind of key are limited. Times are in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rule {
    /// Failures in a row before the first wait.
    pub(crate) burst: u32,
    /// The first wait; each further failure doubles it.
    pub(crate) base: u64,
    /// The longest wait.
    pub(crate) cap: u64,
    /// Failures in a row before the key is locked. Without it failures in a row are not counted, only all of a window.
    pub(crate) consecutive_limit: Option<u32>,
    /// Failures in a window before there is only one a `cap`.
    pub(crate) rolling_limit: u32,
    /// The window of `rolling_limit`, and how long a locked key stays so.
    pub(crate) window: u64,
    /// How long an attempt may be open. What is settled later takes back less.
    pub(crate) attempt_timeout: u64,
}

impl Rule {
    /// The wait behind so many failures beyond the burst. Saturates.
    pub(super) fn backoff(&self, beyond: u32) -> u64 {
        self.base.saturating_mul(1_u64.checked_shl(beyond).unwrap_or(u64::MAX)).min(self.cap)
    }
}

/// What is said to an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Reserved, on every bucket in its order.
    Admitted(Vec<KeyReservation>),
    /// Not now. Nothing was changed.
    Denied {
        /// Milliseconds until every bucket that denies would admit.
        wait: u64,
        /// The bucket whose wait it is.
        bucket: usize,
    },
    /// Not now, but only because attempts are open that may yet turn out right. Nothing was changed.
    Contended {
        /// The bucket that has them.
        bucket: usize,
    },
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Outcome {
    /// The credentials were right.
    Success,
    /// They were not.
    Failure,
    /// They could not be judged, and not because of the caller.
    Inconclusive,
}

/// A bucket that an attempt would be charged to.
#[derive(Debug, Clone)]
pub(crate) struct ChargedKey<'a> {
    pub(crate) rule: &'a Rule,
    pub(crate) bucket: Bucket,
    /// It is to be stored, though the attempt is not admitted: the clock was set back.
    pub(crate) set_back: bool,
}

impl<'a> ChargedKey<'a> {
    pub(crate) fn new(rule: &'a Rule, bucket: Bucket) -> Self {
        Self { rule, bucket, set_back: false }
    }
}

/// Reserves an attempt on all of these buckets, or on none.
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
