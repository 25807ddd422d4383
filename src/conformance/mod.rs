//! The suite that proves a [`StateStore`].
//!
//! Say in a [`Fixture`] how your store is reached, and call [`check_all`] in a test. The suite brings keys of its own,
//! chosen at random: it needs no empty store, and leaves rows behind. A call that takes ten seconds has failed.
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
mod harness;
mod parallel;
mod rows;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::state::StateStore;
use crate::time::BoxFuture;

/// How the suite reaches the store that it proves.
pub trait Fixture: Sync {
    /// The store as one more instance of the application has it: over the same rows, by a connection of its own.
    fn connect(&self) -> Arc<dyn StateStore>;

    /// Runs a future to its end on the thread that calls, in the runtime that the store needs. Called on several
    /// threads at once. It drives timers too, if the store needs them.
    fn run(&self, future: BoxFuture<'_, ()>);

    /// Lets so much time pass by the clock of the store. The suite asks for some fifteen seconds in all.
    fn pass(&self, span: Duration);

    /// Deletes rows past their life, as the store's sweeper does, where it has one that is called. It is called while others
    /// write. By default there is nothing to call.
    fn sweep(&self) {}

    /// Ends the store and starts it again, as a power cut would, and returns true. Those that were connected before are
    /// not used again. False, the default, where nothing is promised to outlive the process.
    fn restart(&self) -> bool {
        false
    }
}

/// One thing that a store promises, or that the engine makes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Check {
    /// What was written is read, byte for byte, in the order that was asked for.
    RoundTrip,
    /// A commit that is refused has changed nothing, wherever in it the conflict was.
    AllOrNothing,
    /// A commit tells the versions that it has made, and a conflict no other rows than those that are there.
    Answers,
    /// What one instance has committed, another reads at once, whatever it has read before.
    ReadsAtOnce,
    /// Each value has a version that no other value of that key ever had.
    Versions,
    /// A row lives as long as was said, counted by the store from the commit, and is absent from then on.
    Lives,
    /// Keys that are not in ascending order are refused, and nothing is written.
    OrderedKeys,
    /// Of several commits over the same version, or the same absence, exactly one is made.
    OneWinner,
    /// Nothing that was committed is written over unseen.
    LostUpdates,
    /// A sweeper that comes meanwhile takes nothing away that was written anew.
    Sweeping,
    /// Several rows are read as they were at one moment, and commits that cross do not fail.
    Snapshots,
    /// A call that is dropped on its way does everything or nothing, and breaks nothing that comes after it.
    DroppedCalls,
    /// What was committed outlives the store. Passes where [`Fixture::restart`] has nothing to restart.
    Restart,
    /// Over this store the limiter verifies exactly the burst, however many guess at once, and lets the honest in.
    AttemptLimiter,
    /// The limiter grants nothing and forgets nothing when calls fail, before or after they took effect.
    AttemptLimiterUnderFaults,
    /// Of several uses of one client assertion at once, one is accepted.
    AssertionsUsedOnce,
    /// Of several uses of one refresh token at once, one is good, and the others end its family.
    RefreshFamilies,
    /// Once a log-out is done, no session goes on that was there before it or came from a login under way, on any instance.
    LogOuts,
}

impl Check {
    /// All there are.
    pub const ALL: &[Self] = &[
        Self::RoundTrip,
        Self::AllOrNothing,
        Self::Answers,
        Self::ReadsAtOnce,
        Self::Versions,
        Self::Lives,
        Self::OrderedKeys,
        Self::OneWinner,
        Self::LostUpdates,
        Self::Sweeping,
        Self::Snapshots,
        Self::DroppedCalls,
        Self::Restart,
        Self::AttemptLimiter,
        Self::AttemptLimiterUnderFaults,
        Self::AssertionsUsedOnce,
        Self::RefreshFamilies,
        Self::LogOuts,
    ];
}

/// A promise that was not kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{check:?}: {what}")]
#[non_exhaustive]
pub struct Violation {
    /// Which.
    pub check: Check,
    /// How it showed.
    pub what: String,
}

/// Makes one check.
///
/// # Errors
///
/// When the store does not pass it.
pub fn check(fixture: &impl Fixture, check: Check) -> Result<(), Violation> {
    let outcome = match check {
        Check::RoundTrip => rows::round_trip(fixture),
        Check::AllOrNothing => rows::all_or_nothing(fixture),
        Check::Answers => rows::answers(fixture),
        Check::ReadsAtOnce => rows::reads_at_once(fixture),
        Check::Versions => rows::versions(fixture),
        Check::Lives => rows::lives(fixture),
        Check::OrderedKeys => rows::ordered_keys(fixture),
        Check::OneWinner => parallel::one_winner(fixture),
        Check::LostUpdates => parallel::lost_updates(fixture),
        Check::Sweeping => parallel::sweeping(fixture),
        Check::Snapshots => parallel::snapshots(fixture),
        Check::DroppedCalls => parallel::dropped_calls(fixture),
        Check::Restart => rows::restart(fixture),
        Check::AttemptLimiter => engine::attempt_limiter(fixture),
        Check::AttemptLimiterUnderFaults => engine::attempt_limiter_under_faults(fixture),
        Check::AssertionsUsedOnce => engine::assertions_used_once(fixture),
        Check::RefreshFamilies => engine::refresh_families(fixture),
        Check::LogOuts => engine::log_outs(fixture),
    };
    outcome.map_err(|what| Violation { check, what })
}

/// Makes every check.
///
/// # Panics
///
/// When there is one that the store does not pass; the message names all of them.
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
