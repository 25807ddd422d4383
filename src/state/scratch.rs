//! A memory for the tests of the machines, with a clock that is moved by hand.

use crate::state::InMemoryState;
use crate::state::key::Keys;
use crate::{ManualClock, SystemRandomness, Timestamp};

pub(crate) struct Memory {
    pub(crate) state: InMemoryState,
    pub(crate) clock: ManualClock,
    pub(crate) keys: Keys,
}

impl Memory {
    pub(crate) fn new() -> Self {
        let clock = ManualClock::at(Timestamp::from_unix_seconds(1_800_000_000));
        let state = InMemoryState::new().clock(clock.clone());
        Self { state, clock, keys: Keys::local(&SystemRandomness::new()).unwrap() }
    }
}
