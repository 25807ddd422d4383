//! The numbers of a limit, and how an attempt can end.

/// The limits of an account, from known origins and from elsewhere. Times are in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rule {
    /// Failures in a row before the first wait.
    pub(super) burst: u32,
    /// The first wait; each further failure doubles it.
    pub(super) base: u64,
    /// The longest wait.
    pub(super) cap: u64,
    /// Failures in a row that lock the key. If `None`, the failures in the window count as those in
    /// a row, whatever succeeds in between, and nothing is locked.
    pub(super) consecutive_limit: Option<u32>,
    /// Failures in a window from which only one attempt per `cap` is admitted.
    pub(super) rolling_limit: u32,
    /// The window of `rolling_limit`, and how long a locked key stays locked.
    pub(super) window: u64,
    /// How long an attempt may stay open. An attempt that is settled later takes back less.
    pub(super) attempt_timeout: u64,
}

impl Rule {
    /// The wait after `beyond` failures more than the burst. Saturates.
    pub(super) fn backoff(&self, beyond: u32) -> u64 {
        self.base.saturating_mul(1_u64.checked_shl(beyond).unwrap_or(u64::MAX)).min(self.cap)
    }

    /// The rule for a row that several names share. A success of one name must not clear the
    /// failures of another, so failures leave such a row only with their window.
    pub(super) fn of_shared_row(&self) -> Self {
        Self { consecutive_limit: None, ..self.clone() }
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum AttemptOutcome {
    /// The login was accepted.
    Success,
    /// The credentials were wrong, or the login was rejected for another reason.
    Failure,
    /// The attempt could not be judged, through no fault of the caller, or needs another step.
    Inconclusive,
}
