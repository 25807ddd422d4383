//! Brings rows and machines together: load, step, commit, and again where another was quicker.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::state::key::StateKey;
use crate::state::{Commit, Expected, InMemoryState, StateStore, Version, Write};
use crate::vocabulary::clock::{Clock, Timestamp};
use crate::vocabulary::error::BoxError;
use crate::vocabulary::future::before;
use crate::vocabulary::random::Randomness;

/// What a step looks at.
pub(crate) struct Snapshot<'a> {
    /// By the clock of the store.
    pub(crate) now: Timestamp,
    /// In the order of the keys.
    pub(crate) rows: &'a [Option<Seen<'a>>],
}

impl Snapshot<'_> {
    pub(crate) fn row(&self, index: usize) -> Option<Seen<'_>> {
        self.rows.get(index).copied().flatten()
    }
}

/// A row that is there.
#[derive(Clone, Copy)]
pub(crate) struct Seen<'a> {
    pub(crate) value: &'a [u8],
    /// It counts for other keys too.
    pub(crate) shared: bool,
}

/// What a step wants changed: by the position of the key, each at most once.
#[derive(Default)]
pub(crate) struct Changes {
    writes: Vec<(usize, Write)>,
    relied_on: Vec<usize>,
}

impl Changes {
    pub(crate) fn put(&mut self, index: usize, value: Vec<u8>, life: Duration) {
        self.writes.push((index, Write::Put { value, life }));
    }

    pub(crate) fn delete(&mut self, index: usize) {
        self.writes.push((index, Write::Delete));
    }

    /// What is written stands only if this row, which is not written, has not changed either.
    pub(crate) fn rely_on(&mut self, index: usize) {
        self.relied_on.push(index);
    }

    pub(crate) fn into_writes(self) -> impl Iterator<Item = (usize, Write)> {
        self.writes.into_iter()
    }
}

/// The rows, and how long to try.
pub(crate) struct Driver {
    pub(crate) state: State,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) randomness: Arc<dyn Randomness>,
    /// How long a change may take in all.
    pub(crate) patience: Duration,
}

pub(crate) enum State {
    Local(InMemoryState),
    Shared(Arc<dyn StateStore>),
}

impl Driver {
    /// Makes one step over the rows under these keys, and what it changed lasting. Only the rows that it writes, or
    /// relies on, must not have changed meanwhile. A step may run several times, and must depend on nothing but its snapshot.
    ///
    /// # Errors
    ///
    /// When the store fails or does not answer in time, or the step cannot read a row. Whether anything was written is
    /// open then.
    ///
    /// # Cancel safety
    ///
    /// Dropped, it has written everything or nothing.
    pub(crate) async fn change<T>(
        &self,
        keys: &[StateKey],
        step: impl FnMut(&Snapshot<'_>, &mut Changes) -> Result<T, BoxError>,
    ) -> Result<T, BoxError> {
        self.change_within(self.patience, keys, step).await
    }

    /// The same in less time.
    pub(crate) async fn change_within<T>(
        &self,
        patience: Duration,
        keys: &[StateKey],
        step: impl FnMut(&Snapshot<'_>, &mut Changes) -> Result<T, BoxError>,
    ) -> Result<T, BoxError> {
        match &self.state {
            State::Local(state) => state.change(keys, step),
            State::Shared(store) => {
                // In memory of its own: it is large, and whoever keeps state in the process never needs it.
                let change = Box::pin(self.change_shared(&**store, keys, step));
                self.in_time(patience.min(self.patience), change).await
            }
        }
    }

    /// Reads one row without a transaction, for decisions that a later version of the row cannot make wrong.
    ///
    /// # Errors
    ///
    /// When the store fails or does not answer in time.
    ///
    /// # Cancel safety
    ///
    /// Nothing is changed.
    pub(crate) async fn look<T>(
        &self,
        key: StateKey,
        read: impl FnOnce(Option<&[u8]>) -> Result<T, BoxError>,
    ) -> Result<T, BoxError> {
        match &self.state {
            State::Local(state) => state.look(key, read),
            State::Shared(store) => {
                let load = Box::pin(async move { store.load(&[key]).await });
                let loaded = self.in_time(self.patience, load).await?;
                match &*loaded.rows {
                    [row] => read(row.as_ref().map(|row| &*row.value)),
                    _ => Err("the state store did not return a row for each key".into()),
                }
            }
        }
    }

    /// What the store's future comes to, if it does so within this span.
    async fn in_time<T>(
        &self,
        span: Duration,
        answer: Pin<Box<impl Future<Output = Result<T, BoxError>>>>,
    ) -> Result<T, BoxError> {
        let answer = before(answer, self.clock.sleep(span)).await;
        answer.unwrap_or_else(|| Err("the state store did not answer in time".into()))
    }

    async fn change_shared<T>(
        &self,
        store: &dyn StateStore,
        keys: &[StateKey],
        mut step: impl FnMut(&Snapshot<'_>, &mut Changes) -> Result<T, BoxError>,
    ) -> Result<T, BoxError> {
        let mut sorted: Vec<StateKey> = keys.to_vec();
        sorted.sort_unstable();
        let place = |key: &StateKey| sorted.binary_search(key).ok();
        for round in 0.. {
            let loaded = store.load(&sorted).await?;
            if loaded.rows.len() != sorted.len() {
                return Err("the state store did not return a row for each key".into());
            }
            let row = |key: &StateKey| loaded.rows.get(place(key)?)?.as_ref();
            let mut changes = Changes::default();
            let output = {
                let see = |key| row(key).map(|row| Seen { value: &row.value, shared: false });
                let seen: Vec<_> = keys.iter().map(see).collect();
                step(&Snapshot { now: loaded.now, rows: &seen }, &mut changes)?
            };
            let relied_on: Vec<_> = changes.relied_on.iter().filter_map(|index| keys.get(*index).copied()).collect();
            let mut write: Vec<(StateKey, Write)> =
                changes.into_writes().filter_map(|(index, write)| Some((*keys.get(index)?, write))).collect();
            if write.is_empty() {
                return Ok(output);
            }
            write.sort_unstable_by_key(|(key, _)| *key);
            let expected = |version: Option<Version>| version.map_or(Expected::Absent, Expected::Version);
            let mut read: Vec<StateKey> = write.iter().map(|(key, _)| *key).chain(relied_on).collect();
            read.sort_unstable();
            read.dedup();
            let read: Vec<_> = read.into_iter().map(|key| (key, expected(row(&key).map(|row| row.version)))).collect();
            match store.commit(&read, &write).await? {
                Commit::Committed => return Ok(output),
                Commit::Conflict => self.pause(Duration::from_millis(1), round, Duration::from_millis(50)).await,
            }
        }
        Err("the state store never stopped being in conflict".into())
    }

    /// Waits for a random part of `first`, doubled `round` times, up to `longest`.
    pub(crate) async fn pause(&self, first: Duration, round: u32, longest: Duration) {
        let span = first.saturating_mul(1_u32.checked_shl(round).unwrap_or(u32::MAX)).min(longest);
        let mut part = [u8::MAX / 2];
        // Without randomness everybody waits for half of it, which is as correct.
        let _ = self.randomness.fill(&mut part);
        let [part] = part;
        self.clock.sleep(span * (u32::from(part) + 1) / 256).await;
    }
}
