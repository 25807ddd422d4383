//! The conformance suite for implementations of [`StateStore`].
//!
//! Describe in a [`Fixture`] how the suite reaches your store, and call [`check_all`] in a test.
//! The suite uses random keys of its own, so it needs no empty store; it leaves rows behind. A call
//! that takes longer than ten seconds counts as failed.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use password_grant::conformance::{Fixture, check_all};
//! use password_grant::state::{InMemoryState, StateStore};
//! use password_grant::testing::ManualClock;
//! use password_grant::time::{BoxFuture, Timestamp};
//! use password_grant::Environment;
//!
//! struct InMemory {
//!     clock: ManualClock,
//!     state: InMemoryState,
//! }
//!
//! impl Fixture for InMemory {
//!     fn connect(&self) -> Arc<dyn StateStore> {
//!         Arc::new(self.state.clone()) // a database: a pool of its own each time
//!     }
//!
//!     fn run(&self, future: BoxFuture<'_, ()>) {
//!         tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future);
//!     }
//!
//!     fn pass(&self, span: Duration) {
//!         self.clock.advance(span); // a database: std::thread::sleep(span)
//!     }
//! }
//!
//! let clock = ManualClock::at(Timestamp::from_unix_seconds(1_800_000_000));
//! let state = InMemoryState::new().environment(&Environment::new().clock(clock.clone()));
//! check_all(&InMemory { clock, state });
//! ```

mod engine;
mod faults;
mod harness;
mod limits;
mod parallel;
mod rows;
mod sessions;
mod time;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::state::StateStore;
use crate::time::BoxFuture;

/// Gives the suite access to the store under test.
pub trait Fixture: Sync {
    /// Connects to the store as one more instance of the application does: over the same rows, with
    /// a connection of its own.
    ///
    /// If the store reads a clock that can be set for each instance, set it some minutes ahead of
    /// the last instance's. The suite then finds TTLs that are counted by the clock of the caller
    /// and not by that of the store.
    fn connect(&self) -> Arc<dyn StateStore>;

    /// Runs a future to its end on the calling thread, in the runtime that the store needs. It is
    /// called on several threads at once. It also drives timers, if the store needs them.
    fn run(&self, future: BoxFuture<'_, ()>);

    /// Lets this much time pass by the clock of the store. The suite asks for about fifteen seconds
    /// in all.
    fn pass(&self, span: Duration);

    /// Deletes rows past their TTL, as the store's sweeper does, if the store has a sweeper that
    /// must be called. It is called while others write. By default it does nothing.
    fn sweep(&self) {}

    /// Stops the store as a power cut would, starts it again, and returns true. Instances that were
    /// connected before are not used again. The default returns false: nothing is promised to
    /// outlive the process.
    fn restart(&self) -> bool {
        false
    }

    /// Lets a replica take over that has not yet received the last few commits, as after the loss
    /// of the primary, and returns true. Instances that were connected before are not used again.
    /// The default returns false: there is no replica, or none that may lag behind.
    fn fail_over(&self) -> bool {
        false
    }
}

/// A property that a store promises, or that the engine builds on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Check {
    /// A value is read back as it was written, byte for byte, and rows come in the order of the
    /// requested keys.
    RoundTrip,
    /// Keys are compared byte for byte: a letter's case, a space or a zero at the end, and a byte
    /// that is no text make another key.
    DistinctKeys,
    /// A refused commit has changed nothing, wherever in it the conflict was, and wherever the
    /// store keeps its rows.
    AllOrNothing,
    /// A commit returns the versions that it has made; a conflict returns only the rows that are
    /// there, whoever has written them.
    Answers,
    /// What one instance has committed, another reads at once, whatever it has read or written
    /// before.
    ReadsAtOnce,
    /// Each value has a version that no other value of the same key ever had, whichever instance
    /// has written it, and that is compared in all its bits.
    Versions,
    /// A row lives for its TTL, counted by the store from the commit, and is absent from then on.
    /// The TTL may be zero or a hundred years.
    Lives,
    /// One clock, which is the store's, tells the time and counts the TTLs for all instances.
    Clocks,
    /// Keys that are not in ascending order are refused, and nothing is written.
    OrderedKeys,
    /// Of several commits over the same version, or over the same absent row, exactly one succeeds.
    OneWinner,
    /// No committed value is overwritten unseen.
    LostUpdates,
    /// A sweeper that runs at the same time deletes no row that was written again, and none before
    /// its end.
    Sweeping,
    /// Several rows are read as they were at one moment, and concurrent commits whose rows overlap
    /// return no error.
    Snapshots,
    /// A call that is dropped before its end takes effect completely or not at all, and breaks no
    /// later call.
    DroppedCalls,
    /// A commit whose caller has gone takes effect within three seconds or never, and not over what
    /// was written after it.
    LateCommits,
    /// Committed rows outlive a restart of the store. Passes where [`Fixture::restart`] returns
    /// false.
    Restart,
    /// After a failover no version is used again, also none of a commit that was lost. Passes where
    /// [`Fixture::fail_over`] returns false.
    Failover,
    /// With this store the limiter verifies exactly the burst, however many guesses come at once,
    /// and admits correct logins.
    AttemptLimiter,
    /// With this store the limiter grants nothing and forgets nothing when calls fail, before or
    /// after they took effect.
    AttemptLimiterUnderFaults,
    /// Failures on one instance count on every other: those of a user name, of an address, and of a
    /// client that fails to authenticate.
    SharedLimits,
    /// Of several simultaneous uses of one client assertion, one is accepted.
    AssertionsUsedOnce,
    /// Of several simultaneous uses of one refresh token, one is accepted, and the others end its
    /// session.
    RefreshRotation,
    /// Simultaneous logins of a user leave exactly as many sessions alive as are allowed.
    SessionLimit,
    /// After a log-out no session continues on any instance that existed before it, was refreshed
    /// meanwhile, or came from a login in progress.
    LogOuts,
    /// What one instance has revoked, introspection and verifiers of every other refuse at once,
    /// however often they have found it valid.
    Revocations,
    /// A row that cannot be decoded denies what depends on it with 503, and is not overwritten.
    MalformedRows,
    /// If each transaction meets several conflicts in a row, it still ends in time, and every
    /// guarantee holds.
    ConflictStorms,
}

impl Check {
    /// Every check.
    pub const ALL: &[Self] = &[
        Self::RoundTrip,
        Self::DistinctKeys,
        Self::AllOrNothing,
        Self::Answers,
        Self::ReadsAtOnce,
        Self::Versions,
        Self::Lives,
        Self::Clocks,
        Self::OrderedKeys,
        Self::OneWinner,
        Self::LostUpdates,
        Self::Sweeping,
        Self::Snapshots,
        Self::DroppedCalls,
        Self::LateCommits,
        Self::Restart,
        Self::Failover,
        Self::AttemptLimiter,
        Self::AttemptLimiterUnderFaults,
        Self::SharedLimits,
        Self::AssertionsUsedOnce,
        Self::RefreshRotation,
        Self::SessionLimit,
        Self::LogOuts,
        Self::Revocations,
        Self::MalformedRows,
        Self::ConflictStorms,
    ];
}

/// A failed check.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{check:?}: {what}")]
#[non_exhaustive]
pub struct Violation {
    /// The check that failed.
    pub check: Check,
    /// What was observed.
    pub what: String,
}

/// Runs one check.
///
/// # Errors
///
/// If the store does not pass it.
pub fn check(fixture: &impl Fixture, check: Check) -> Result<(), Violation> {
    let outcome = match check {
        Check::RoundTrip => rows::round_trip(fixture),
        Check::DistinctKeys => rows::distinct_keys(fixture),
        Check::AllOrNothing => rows::all_or_nothing(fixture),
        Check::Answers => rows::answers(fixture),
        Check::ReadsAtOnce => rows::reads_at_once(fixture),
        Check::Versions => rows::versions(fixture),
        Check::Lives => time::lives(fixture),
        Check::Clocks => time::clocks(fixture),
        Check::OrderedKeys => rows::ordered_keys(fixture),
        Check::OneWinner => parallel::one_winner(fixture),
        Check::LostUpdates => parallel::lost_updates(fixture),
        Check::Sweeping => parallel::sweeping(fixture),
        Check::Snapshots => parallel::snapshots(fixture),
        Check::DroppedCalls => parallel::dropped_calls(fixture),
        Check::LateCommits => parallel::late_commits(fixture),
        Check::Restart => rows::restart(fixture),
        Check::Failover => rows::failover(fixture),
        Check::AttemptLimiter => limits::attempt_limiter(fixture),
        Check::AttemptLimiterUnderFaults => faults::attempt_limiter_under_faults(fixture),
        Check::SharedLimits => limits::shared_limits(fixture),
        Check::AssertionsUsedOnce => limits::assertions_used_once(fixture),
        Check::RefreshRotation => sessions::refresh_rotation(fixture),
        Check::SessionLimit => sessions::session_limit(fixture),
        Check::LogOuts => sessions::log_outs(fixture),
        Check::Revocations => sessions::revocations(fixture),
        Check::MalformedRows => faults::malformed_rows(fixture),
        Check::ConflictStorms => faults::conflict_storms(fixture),
    };
    outcome.map_err(|what| Violation { check, what })
}

/// Runs every check.
///
/// # Panics
///
/// If the store fails a check; the message names all failed checks.
pub fn check_all(fixture: &impl Fixture) {
    let violations: Vec<_> =
        Check::ALL.iter().filter_map(|one| check(fixture, *one).err()).collect();
    assert!(
        violations.is_empty(),
        "the store does not keep what it promises:\n{}",
        Lines(&violations)
    );
}

struct Lines<'a>(&'a [Violation]);

impl fmt::Display for Lines<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|violation| writeln!(f, "{violation}"))
    }
}
