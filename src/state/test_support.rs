//! State for unit tests: in memory, with a clock that the test sets.

use crate::Environment;
use crate::environment::SystemRandom;
use crate::state::InMemoryState;
use crate::state::codec::{Stored, to_bytes};
use crate::state::key::Keys;
use crate::testing::ManualClock;
use crate::time::Timestamp;

/// The stored bytes of a row, which a test compares with those of every version before.
pub(crate) fn hex<R: Stored>(row: &R) -> String {
    to_bytes(row).iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) struct TestState {
    pub(crate) state: InMemoryState,
    pub(crate) clock: ManualClock,
    pub(crate) keys: Keys,
}

impl TestState {
    pub(crate) fn new() -> Self {
        let clock = ManualClock::at(Timestamp::from_unix_seconds(1_800_000_000));
        let state = InMemoryState::new().environment(&Environment::new().clock(clock.clone()));
        Self { state, clock, keys: Keys::local(&SystemRandom::new()).unwrap() }
    }
}
