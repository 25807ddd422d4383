//! Transactions: a step reads and writes rows by typed keys, whichever store holds them.

use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use crate::environment::SecureRandom;
use crate::error::BoxError;
use crate::future::before;
use crate::state::codec::{Stored, from_bytes, to_bytes};
use crate::state::key::{Keys, Purpose, StateKey};
use crate::state::turns::{LeftRow, Turns};
use crate::state::{
    Change, Commit, Expected, InMemoryState, Loaded, Row, StateStore, Version, Write,
};
use crate::time::{Clock, Timestamp};

/// The key of a row, with the type of the value that is stored under it.
pub(crate) struct RowKey<R> {
    key: StateKey,
    row: PhantomData<fn() -> R>,
}

impl Keys {
    /// The key of the row for this purpose and these parts.
    pub(crate) fn row<R: Stored>(&self, purpose: Purpose, parts: &[&[u8]]) -> RowKey<R> {
        RowKey { key: self.key(purpose, parts), row: PhantomData }
    }
}

impl<R> Clone for RowKey<R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R> Copy for RowKey<R> {}

impl<R> PartialEq for RowKey<R> {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl<R> From<RowKey<R>> for StateKey {
    fn from(key: RowKey<R>) -> Self {
        key.key
    }
}

/// The rows that a step may read and write: those whose keys were named when it began.
pub(crate) struct Transaction<'a> {
    now: Timestamp,
    keys: &'a [StateKey],
    /// In the order of `keys`.
    rows: Vec<Opened<'a>>,
    writes: Writes,
}

pub(crate) type Writes = Vec<Written>;

/// What a step writes to one row.
pub(crate) struct Written {
    /// The index of the row's key in `keys`.
    pub(crate) index: usize,
    pub(crate) write: Write,
    /// How much the row holds; see [`put_weighed`](Transaction::put_weighed).
    pub(crate) weight: u8,
}

/// The weight of a row that is never displaced.
pub(crate) const NEVER_DISPLACED: u8 = u8::MAX;

/// A row as a step sees it.
pub(crate) struct Opened<'a> {
    /// The stored value, if there is a row.
    pub(crate) value: Option<&'a [u8]>,
    /// The key under which it is stored: the row's own, or that of a row which several keys share.
    pub(crate) stored_at: StateKey,
}

impl<'a> Transaction<'a> {
    /// The longest value in bytes that every store accepts.
    const LONGEST_VALUE: usize = 16 * 1024;

    pub(crate) fn new(now: Timestamp, keys: &'a [StateKey], rows: Vec<Opened<'a>>) -> Self {
        Self { now, keys, rows, writes: Writes::new() }
    }

    /// The time by the store's clock.
    pub(crate) fn now(&self) -> Timestamp {
        self.now
    }

    /// The row under this key, if there is one. A step does not see its own writes.
    ///
    /// # Errors
    ///
    /// If the row cannot be decoded, or its key was not named.
    pub(crate) fn get<R: Stored>(&self, key: RowKey<R>) -> Result<Option<R>, BoxError> {
        Ok(self.find(key)?.value.map(from_bytes).transpose()?)
    }

    /// Whether there is a row, decodable or not.
    pub(crate) fn contains<R>(&self, key: RowKey<R>) -> Result<bool, BoxError> {
        Ok(self.find(key)?.value.is_some())
    }

    /// Whether other keys are counted in the row of this key too.
    pub(crate) fn is_shared<R>(&self, key: RowKey<R>) -> Result<bool, BoxError> {
        Ok(self.stored_at(key)? != key)
    }

    /// The key under which the row is stored, which may be that of a shared row. A later
    /// transaction over it meets the same row, also if there is room for one of the first key's own by then.
    pub(crate) fn stored_at<R>(&self, key: RowKey<R>) -> Result<RowKey<R>, BoxError> {
        Ok(RowKey { key: self.find(key)?.stored_at, row: PhantomData })
    }

    /// Writes a row with this TTL, which counts from the commit. Of several writes of one row, the
    /// last one is made.
    ///
    /// # Errors
    ///
    /// If the row is longer than every store accepts, or its key was not named.
    pub(crate) fn put<R: Stored>(
        &mut self,
        key: RowKey<R>,
        row: &R,
        ttl: Duration,
    ) -> Result<(), BoxError> {
        self.put_weighed(key, row, ttl, NEVER_DISPLACED)
    }

    /// The same as [`put`](Self::put), for a counter. When the room of an [`InMemoryState`] for
    /// such counters is full, rows of the least weight are displaced first. A shared store ignores
    /// the weight.
    pub(crate) fn put_weighed<R: Stored>(
        &mut self,
        key: RowKey<R>,
        row: &R,
        ttl: Duration,
        weight: u8,
    ) -> Result<(), BoxError> {
        let value = to_bytes(row);
        if value.len() > Self::LONGEST_VALUE {
            return Err(format!("the row of {} is too long to be remembered", R::NAME).into());
        }
        self.write(key, Write::Put { value, ttl }, weight)
    }

    /// Deletes the row under this key, if there is one.
    pub(crate) fn delete<R>(&mut self, key: RowKey<R>) -> Result<(), BoxError> {
        if self.contains(key)? { self.write(key, Write::Delete, 0) } else { Ok(()) }
    }

    fn write<R>(&mut self, key: RowKey<R>, write: Write, weight: u8) -> Result<(), BoxError> {
        let index = self.index(key)?;
        self.writes.retain(|earlier| earlier.index != index);
        self.writes.push(Written { index, write, weight });
        Ok(())
    }

    fn find<R>(&self, key: RowKey<R>) -> Result<&Opened<'a>, BoxError> {
        self.rows.get(self.index(key)?).ok_or_else(|| NOT_NAMED.into())
    }

    fn index<R>(&self, key: RowKey<R>) -> Result<usize, BoxError> {
        self.keys.iter().position(|own| *own == key.key).ok_or_else(|| NOT_NAMED.into())
    }

    pub(crate) fn into_writes(self) -> Writes {
        self.writes
    }
}

/// The engine's state: how keys are made, where rows are stored, and how long to try.
pub(crate) struct State {
    pub(crate) keys: Keys,
    pub(crate) backend: Backend,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) randomness: Arc<dyn SecureRandom>,
    /// The longest time that a transaction may take in all.
    pub(crate) timeout: Duration,
    pub(crate) turns: Turns,
}

/// Where the rows are stored.
pub(crate) enum Backend {
    Local(InMemoryState),
    Shared(Arc<dyn StateStore>),
}

impl State {
    pub(crate) fn is_local(&self) -> bool {
        matches!(self.backend, Backend::Local(_))
    }

    /// Runs a step over the rows under these keys, and commits what it wrote. The step runs again
    /// if a row that it writes has changed since it was loaded, so it must depend on nothing but
    /// its transaction.
    ///
    /// A row that the step only reads is not checked at the commit, and may be older than the other
    /// rows after a conflict. Decide by such a row only what the next use decides again. For
    /// instance, every use of a session compares its epoch with its subject's.
    ///
    /// # Errors
    ///
    /// If the step fails, or the store fails or does not answer in time. Whether anything was
    /// written is unknown then.
    ///
    /// # Cancel safety
    ///
    /// If the future is dropped, everything or nothing was written.
    pub(crate) async fn run<T>(
        &self,
        keys: &[StateKey],
        step: impl FnMut(&mut Transaction<'_>) -> Result<T, BoxError>,
    ) -> Result<T, BoxError> {
        self.run_held(&mut HeldRows::default(), self.timeout, keys, step).await
    }

    /// The same as [`run`](Self::run), over rows that the request holds already: only rows that it
    /// does not hold are loaded, and what was written is held afterwards. `timeout` bounds how long
    /// it may take, if it is shorter than the store's.
    pub(crate) async fn run_held<T>(
        &self,
        held: &mut HeldRows,
        timeout: Duration,
        keys: &[StateKey],
        step: impl FnMut(&mut Transaction<'_>) -> Result<T, BoxError>,
    ) -> Result<T, BoxError> {
        match &self.backend {
            Backend::Local(state) => state.run(keys, step),
            Backend::Shared(store) => {
                // Boxed because the future is large, and a host with state in memory never needs
                // it.
                let run = Box::pin(self.run_shared(&**store, held, keys, step));
                self.in_time(timeout.min(self.timeout), run).await
            }
        }
    }

    /// The same as [`run_held`](Self::run_held), in turn with the other transactions of this
    /// process that write the row under `row`, which many requests write at once. None of them
    /// conflicts with another then, and each goes on from what the one before it has written. Rows are loaded
    /// before the turn begins, so it lasts as long as a commit.
    pub(crate) async fn run_in_turn<T>(
        &self,
        held: &mut HeldRows,
        row: StateKey,
        keys: &[StateKey],
        step: impl FnMut(&mut Transaction<'_>) -> Result<T, BoxError>,
    ) -> Result<T, BoxError> {
        match &self.backend {
            Backend::Local(state) => state.run(keys, step),
            Backend::Shared(store) => {
                let run = Box::pin(async {
                    held.load(&**store, &sorted(keys), self).await?;
                    let turn = self.turns.join(row);
                    let mut left = turn.begin().await;
                    held.take_over(row, left.take());
                    let output = self.run_shared(&**store, held, keys, step).await;
                    *left = held.leave(&row);
                    output
                });
                self.in_time(self.timeout, run).await
            }
        }
    }

    /// Loads the rows under these keys in one call, for the steps that will run over them. State in
    /// memory has nothing to load ahead, so `keys` is not even called for it.
    ///
    /// # Errors
    ///
    /// If the store fails or does not answer in time.
    ///
    /// # Cancel safety
    ///
    /// Nothing is changed.
    pub(crate) async fn hold(
        &self,
        held: &mut HeldRows,
        keys: impl FnOnce() -> Vec<StateKey>,
    ) -> Result<(), BoxError> {
        match &self.backend {
            Backend::Local(_) => Ok(()),
            Backend::Shared(store) => {
                let keys = sorted(&keys());
                if keys.is_empty() {
                    return Ok(());
                }
                let load = Box::pin(async { held.load(&**store, &keys, self).await });
                self.in_time(self.timeout, load).await
            }
        }
    }

    /// Reads the rows under these keys, as they were at one moment.
    ///
    /// # Errors
    ///
    /// The same as those of [`run`](Self::run).
    ///
    /// # Cancel safety
    ///
    /// Nothing is changed.
    pub(crate) async fn read<T>(
        &self,
        keys: &[StateKey],
        look: impl Fn(&Transaction<'_>) -> Result<T, BoxError>,
    ) -> Result<T, BoxError> {
        self.run(keys, |tx| look(tx)).await
    }

    /// Reads the row under one key; the cheapest way to read one.
    ///
    /// # Errors
    ///
    /// If the store fails or does not answer in time, or the row cannot be decoded.
    ///
    /// # Cancel safety
    ///
    /// Nothing is changed.
    pub(crate) async fn get<R: Stored>(&self, key: RowKey<R>) -> Result<Option<R>, BoxError> {
        match &self.backend {
            Backend::Local(state) => state.get(key),
            Backend::Shared(store) => {
                let key = [key.key];
                let load = Box::pin(async move { load(&**store, &key).await });
                let row = self.in_time(self.timeout, load).await?.rows.pop().flatten();
                Ok(row.map(|row| from_bytes(&row.value)).transpose()?)
            }
        }
    }

    /// The store's answer, or an error if it does not come within this time.
    async fn in_time<T>(
        &self,
        span: Duration,
        answer: Pin<Box<impl Future<Output = Result<T, BoxError>>>>,
    ) -> Result<T, BoxError> {
        let answer = before(answer, self.clock.sleep(span)).await;
        answer.unwrap_or_else(|| Err("the state store did not answer in time".into()))
    }

    async fn run_shared<T>(
        &self,
        store: &dyn StateStore,
        held: &mut HeldRows,
        keys: &[StateKey],
        mut step: impl FnMut(&mut Transaction<'_>) -> Result<T, BoxError>,
    ) -> Result<T, BoxError> {
        let keys = sorted(keys);
        let mut round = 0_u32;
        loop {
            held.load(store, &keys, self).await?;
            let rows: Vec<Option<&Row>> = keys.iter().map(|key| held.row(key)).collect();
            let (output, mut writes) = {
                let opened = keys.iter().zip(&rows).map(|(key, row)| Opened {
                    value: row.map(|row| &*row.value),
                    stored_at: *key,
                });
                let mut tx = Transaction::new(held.now(&*self.clock), &keys, opened.collect());
                (step(&mut tx)?, tx.into_writes())
            };
            if writes.is_empty() {
                return Ok(output);
            }
            writes.sort_unstable_by_key(|written| written.index);
            let change = |Written { index, write, .. }: Written| {
                let (key, row) = (keys.get(index)?, rows.get(index)?);
                Some(Change { key: *key, expected: Expected::of(*row), write })
            };
            let changes =
                writes.into_iter().map(change).collect::<Option<Vec<_>>>().ok_or(NOT_NAMED)?;
            match store.commit(&changes).await? {
                Commit::Committed { versions } => {
                    held.committed(changes, versions, self.turns.number());
                    return Ok(output);
                }
                // After the first conflict, try again at once with the rows that came with it,
                // before they get older. After that, back off.
                Commit::Conflict { fresh: Some(fresh) } if round == 0 => {
                    held.renew(&changes, fresh, self)?;
                }
                Commit::Conflict { .. } => {
                    self.pause(Duration::from_millis(1), round, Duration::from_millis(50)).await;
                    held.release(&keys);
                }
            }
            round = round.saturating_add(1);
        }
    }

    /// Waits for a random part of `first`, doubled `round` times, up to `longest`.
    pub(crate) async fn pause(&self, first: Duration, round: u32, longest: Duration) {
        self.clock.sleep(self.jitter(first, round, longest)).await;
    }

    /// A random part of `first`, doubled `round` times, up to `longest`.
    pub(crate) fn jitter(&self, first: Duration, round: u32, longest: Duration) -> Duration {
        let span = first.saturating_mul(1_u32.checked_shl(round).unwrap_or(u32::MAX)).min(longest);
        let mut part = [u8::MAX / 2];
        // Without randomness every caller waits for half of the span, which is also correct.
        let _ = self.randomness.fill(&mut part);
        let [part] = part;
        span * (u32::from(part) + 1) / 256
    }
}

const NOT_NAMED: &str = "a step has asked for a row that was not named when it began";
const NOT_EACH: &str = "the state store did not return a row for each key";

async fn load(store: &dyn StateStore, keys: &[StateKey]) -> Result<Loaded, BoxError> {
    let loaded = store.load(keys).await?;
    if loaded.rows.len() == keys.len() { Ok(loaded) } else { Err(NOT_EACH.into()) }
}

/// These keys in ascending order, each once.
fn sorted(keys: &[StateKey]) -> Vec<StateKey> {
    let mut keys = keys.to_vec();
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// The rows of a shared store that a request has loaded or written, with their versions, so that
/// its next transaction over them needs no load. They may be out of date: what is written is
/// checked at the commit, and what is only read may be as old as the request.
#[derive(Default)]
pub(crate) struct HeldRows {
    rows: Vec<HeldRow>,
    /// The store's clock and the engine's at the last load.
    clocks: Option<(Timestamp, Timestamp)>,
}

struct HeldRow {
    key: StateKey,
    /// `None` is a row that is known to be absent.
    row: Option<Row>,
    /// The number of the load or commit that it is from; see [`Turns::number`].
    number: u64,
}

impl HeldRows {
    fn row(&self, key: &StateKey) -> Option<&Row> {
        self.find(key)?.row.as_ref()
    }

    fn find(&self, key: &StateKey) -> Option<&HeldRow> {
        self.rows.iter().find(|held| held.key == *key)
    }

    fn hold(&mut self, key: StateKey, row: Option<Row>, number: u64) {
        self.rows.retain(|held| held.key != key);
        self.rows.push(HeldRow { key, row, number });
    }

    /// The time by the store's clock: that of the last load, and what has passed since by the
    /// engine's.
    fn now(&self, clock: &dyn Clock) -> Timestamp {
        let now = clock.now();
        self.clocks.map_or(now, |(stores, own)| stores.plus(now.since(own)))
    }

    /// Loads those of these rows that are not held.
    async fn load(
        &mut self,
        store: &dyn StateStore,
        keys: &[StateKey],
        state: &State,
    ) -> Result<(), BoxError> {
        let missing: Vec<StateKey> =
            keys.iter().filter(|key| self.find(key).is_none()).copied().collect();
        if missing.is_empty() && self.clocks.is_some() {
            return Ok(());
        }
        // Taken before the load: what is written meanwhile may not be among the loaded rows.
        let number = state.turns.number();
        let Loaded { now, rows } = load(store, &missing).await?;
        self.clocks = Some((now, state.clock.now()));
        missing.into_iter().zip(rows).for_each(|(key, row)| self.hold(key, row, number));
        Ok(())
    }

    /// What these changes have written.
    fn committed(&mut self, changes: Vec<Change>, versions: Vec<Option<Version>>, number: u64) {
        let known = versions.len() == changes.len();
        let versions = versions.into_iter().chain(std::iter::repeat(None));
        for (Change { key, write, .. }, version) in changes.into_iter().zip(versions) {
            match (write, version) {
                (Write::Put { value, .. }, Some(version)) if known => {
                    self.hold(key, Some(Row { version, value }), number);
                }
                (Write::Delete, None) if known => self.hold(key, None, number),
                // Not held: the next transaction loads the row.
                _ => self.release(&[key]),
            }
        }
    }

    /// Replaces the rows of a conflict by its fresh ones.
    fn renew(&mut self, changes: &[Change], fresh: Loaded, state: &State) -> Result<(), BoxError> {
        if fresh.rows.len() != changes.len() {
            return Err(NOT_EACH.into());
        }
        self.clocks = Some((fresh.now, state.clock.now()));
        let number = state.turns.number();
        changes.iter().zip(fresh.rows).for_each(|(change, row)| self.hold(change.key, row, number));
        Ok(())
    }

    /// Takes over the row that the transaction before this one has left, if that is newer.
    fn take_over(&mut self, key: StateKey, left: Option<LeftRow>) {
        let is_newer =
            |left: &LeftRow| self.find(&key).is_none_or(|held| held.number < left.number);
        if let Some(LeftRow { row, number }) = left.filter(is_newer) {
            self.hold(key, row, number);
        }
    }

    /// The row as the next transaction may take it over; `None` if it is not known.
    fn leave(&self, key: &StateKey) -> Option<LeftRow> {
        self.find(key).map(|held| LeftRow { row: held.row.clone(), number: held.number })
    }

    /// Holds these rows no longer, so that they are loaded again.
    pub(crate) fn release(&mut self, keys: &[StateKey]) {
        self.rows.retain(|held| !keys.contains(&held.key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::epoch::SubjectEpoch;
    use crate::session::index::SessionIndex;
    use crate::state::test_support::TestState;

    const LIFE: Duration = Duration::from_secs(60);

    fn subject(memory: &TestState, name: &str) -> RowKey<SubjectEpoch> {
        memory.keys.row(Purpose::SubjectEpoch, &[name.as_bytes()])
    }

    #[test]
    fn a_step_that_fails_writes_nothing() {
        let memory = TestState::new();
        let key = subject(&memory, "alice");
        let failed: Result<(), _> = memory.state.run(&[key.into()], |tx| {
            tx.put(key, &SubjectEpoch { number: 1, at: 1 }, LIFE)?;
            Err("afterwards".into())
        });
        assert_eq!(failed.unwrap_err().to_string(), "afterwards");
        assert_eq!(memory.state.get(key).unwrap(), None);
    }

    #[test]
    fn what_was_written_or_came_with_a_conflict_is_held() {
        let memory = TestState::new();
        let state = State {
            keys: memory.keys.clone(),
            backend: Backend::Local(memory.state.clone()),
            clock: Arc::new(memory.clock.clone()),
            randomness: Arc::new(crate::environment::SystemRandom::new()),
            timeout: LIFE,
            turns: Turns::default(),
        };
        let [a, b, c] = ["a", "b", "c"].map(|name| StateKey::from(subject(&memory, name)));
        let row = |number| Row { version: Version::new(number), value: vec![number as u8] };
        let change = |key, write| Change { key, expected: Expected::Absent, write };
        let put = |number| Write::Put { value: vec![number], ttl: LIFE };
        let rows = |held: &HeldRows| [a, b, c].map(|key| held.row(&key).cloned());
        let at = Timestamp::from_unix_seconds;
        let mut held = HeldRows { rows: Vec::new(), clocks: Some((at(1), state.clock.now())) };
        for (key, own) in [(a, Some(row(1))), (b, Some(row(2))), (c, None)] {
            held.hold(key, own, state.turns.number());
        }
        memory.clock.advance(LIFE);
        assert_eq!(held.now(&*state.clock), at(61));

        let changes = [change(a, Write::Delete), change(c, put(3))];
        let fresh = Loaded { now: at(5), rows: vec![None, Some(row(3))] };
        held.renew(&changes, fresh.clone(), &state).unwrap();
        assert_eq!(rows(&held), [None, Some(row(2)), Some(row(3))]);
        assert_eq!(held.now(&*state.clock), at(5));
        assert!(held.renew(&changes[..1], fresh, &state).is_err());

        let changes = vec![change(a, put(7)), change(b, Write::Delete)];
        let versions = vec![Some(Version::new(7)), None];
        held.committed(changes.clone(), versions, state.turns.number());
        assert_eq!(rows(&held), [Some(row(7)), None, Some(row(3))]);
        assert!(held.find(&b).is_some(), "known to be absent");
        // A store that does not tell each version: the rows are loaded again.
        held.committed(changes, vec![Some(Version::new(8))], state.turns.number());
        assert_eq!(rows(&held), [None, None, Some(row(3))]);
        assert!(held.find(&a).is_none() && held.find(&b).is_none());

        // The row that another transaction has left is taken over only if it is newer.
        let left = held.leave(&c).unwrap();
        let older = LeftRow { row: Some(row(1)), number: left.number };
        held.take_over(c, Some(older));
        assert_eq!(held.row(&c), Some(&row(3)));
        held.take_over(c, Some(LeftRow { row: Some(row(4)), number: state.turns.number() }));
        assert_eq!(held.row(&c), Some(&row(4)));
        held.release(&[c]);
        assert!(held.find(&c).is_none());
    }

    /// Stores rely on it: a deletion always expects a version.
    #[test]
    fn a_row_that_is_not_there_is_not_deleted() {
        let memory = TestState::new();
        let (key, now) = (subject(&memory, "alice"), Timestamp::from_unix_seconds(0));
        for (value, writes) in [(None, 0), (Some(&b"value"[..]), 1)] {
            let keys = [key.into()];
            let mut tx =
                Transaction::new(now, &keys, vec![Opened { value, stored_at: key.into() }]);
            tx.delete(key).unwrap();
            assert_eq!(tx.into_writes().len(), writes);
        }
    }

    #[test]
    fn a_row_that_was_not_named_is_neither_read_nor_written() {
        let memory = TestState::new();
        let (named, other) = (subject(&memory, "alice"), subject(&memory, "bob"));
        memory
            .state
            .run(&[other.into()], |tx| tx.put(other, &SubjectEpoch { number: 1, at: 1 }, LIFE))
            .unwrap();
        memory
            .state
            .run(&[named.into()], |tx| {
                assert!(tx.get(other).is_err());
                assert!(tx.contains(other).is_err());
                assert!(tx.put(other, &SubjectEpoch { number: 2, at: 2 }, LIFE).is_err());
                assert!(tx.delete(other).is_err());
                tx.put(named, &SubjectEpoch { number: 3, at: 3 }, LIFE)
            })
            .unwrap();
        assert_eq!(memory.state.get(other).unwrap(), Some(SubjectEpoch { number: 1, at: 1 }));
        assert_eq!(memory.state.get(named).unwrap(), Some(SubjectEpoch { number: 3, at: 3 }));
    }

    #[test]
    fn a_value_that_is_longer_than_a_store_has_to_take_is_refused() {
        let memory = TestState::new();
        let key: RowKey<SessionIndex> = memory.keys.row(Purpose::SessionIndex, &[]);
        let put = |length: u16| {
            let mut list = SessionIndex::default();
            (0..length).for_each(|number| list.add([number as u8; 16], usize::MAX));
            memory.state.run(&[key.into()], |tx| tx.put(key, &list, LIFE))
        };
        put(1_023).unwrap();
        let error = put(1_024).unwrap_err();
        assert_eq!(error.to_string(), "the row of a user's sessions is too long to be remembered");
    }

    #[test]
    fn a_row_that_cannot_be_read_is_an_error_and_never_one_that_is_not_there() {
        let memory = TestState::new();
        let key = subject(&memory, "alice");
        let wrong: RowKey<SessionIndex> = memory.keys.row(Purpose::SubjectEpoch, &[b"alice"]);
        let garbage = SessionIndex::default();
        memory.state.run(&[wrong.into()], |tx| tx.put(wrong, &garbage, LIFE)).unwrap();
        let expected = "the row of a log-out cannot be read";
        assert_eq!(memory.state.get(key).unwrap_err().to_string(), expected);
        memory
            .state
            .run(&[key.into()], |tx| {
                assert_eq!(tx.get(key).unwrap_err().to_string(), expected);
                assert!(tx.contains(key).unwrap());
                Ok(())
            })
            .unwrap();
    }
}
