//! State in the memory of one process: a bounded table in shards, from which expired rows are
//! removed as new ones come in.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use crate::environment::{Environment, RandomnessError, SecureRandom};
use crate::error::BoxError;
use crate::state::codec::{Stored, from_bytes};
use crate::state::key::{Keys, StateKey};
use crate::state::transaction::{Opened, RowKey, Transaction, Writes};
use crate::state::{Change, Commit, Expected, Loaded, Row, StateStore, Version, Write};
use crate::time::{Clock, SystemClock, Timestamp};

/// State in the memory of one process. It is bounded, and lost when the process ends.
///
/// Clones share their rows, also as the state of several engines. No row is removed before its TTL
/// has passed to make room for another. When three quarters of the capacity are taken, new counters
/// of attempts share rows, so that they count too much rather than too little. The last quarter is
/// for everything else, and writes fail with [`StoreFull`] when it is taken too. An attacker who
/// guesses at any number of user names can therefore keep nobody from logging out.
///
/// ```
/// use password_grant::state::InMemoryState;
///
/// let state = InMemoryState::new().capacity(50_000);
/// ```
#[derive(Clone)]
pub struct InMemoryState {
    clock: Arc<dyn Clock>,
    capacity: usize,
    rows: Arc<Mutex<Rows>>,
    /// How keys are made for these rows: in the same way by all engines that share the state.
    keys: Arc<OnceLock<Keys>>,
}

/// The error of an in-memory state that has no room for another row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the in-memory state is full")]
#[non_exhaustive]
pub struct StoreFull;

impl InMemoryState {
    /// An empty state with a capacity of 262,144 rows, which are about 64 MiB.
    #[must_use]
    pub fn new() -> Self {
        Self {
            clock: Arc::new(SystemClock::new()),
            capacity: 1 << 18,
            rows: Arc::default(),
            keys: Arc::default(),
        }
    }

    /// Sets the capacity in rows; a few more may be shared by counters. A row takes about 250
    /// bytes. A user name that was tried in vain takes a row for up to two days, and so does an
    /// address from which it was tried.
    #[must_use]
    pub fn capacity(self, rows: usize) -> Self {
        Self { capacity: rows, ..self }
    }

    /// Sets the clock, which counts the TTLs of rows; nothing else of the environment is used. See
    /// [`Environment`](crate::Environment). Default: the system clock.
    #[must_use]
    pub fn environment(self, environment: &Environment) -> Self {
        Self { clock: environment.clock.clone(), ..self }
    }

    /// The number of rows, including expired rows that have not been removed yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().count
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How keys are made for this state. The first engine that uses it decides.
    pub(crate) fn keys(&self, randomness: &dyn SecureRandom) -> Result<Keys, RandomnessError> {
        let new = Keys::local(randomness)?;
        Ok(self.keys.get_or_init(|| new).clone())
    }

    /// Runs a step over the rows under these keys. The lock makes the load and the commit one.
    pub(crate) fn run<T>(
        &self,
        keys: &[StateKey],
        step: impl FnOnce(&mut Transaction<'_>) -> Result<T, BoxError>,
    ) -> Result<T, BoxError> {
        let now = self.clock.now();
        let mut rows = self.lock();
        let places = rows.places(keys, now, self.capacity);
        let (output, writes) = {
            let open = |place: &Place| Opened {
                value: rows.get(place.key, now).map(|row| &*row.value),
                shared: place.shared,
            };
            let mut tx = Transaction::new(now, keys, places.iter().map(open).collect());
            (step(&mut tx)?, tx.into_writes())
        };
        rows.write(&places, writes, now, self.capacity)?;
        Ok(output)
    }

    /// The row under one key. The clock is read only if there is a row.
    pub(crate) fn get<R: Stored>(&self, key: RowKey<R>) -> Result<Option<R>, BoxError> {
        let rows = self.lock();
        let row = rows.find(key.into()).filter(|row| self.clock.now() < row.end);
        Ok(row.map(|row| from_bytes(&row.value)).transpose()?)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Rows> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for InMemoryState {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for InMemoryState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InMemoryState").field("rows", &self.len()).finish_non_exhaustive()
    }
}

#[async_trait]
impl StateStore for InMemoryState {
    async fn load(&self, keys: &[StateKey]) -> Result<Loaded, BoxError> {
        let now = self.clock.now();
        Ok(Loaded { now, rows: self.lock().copies(keys, now) })
    }

    async fn commit(&self, changes: &[Change]) -> Result<Commit, BoxError> {
        if !changes.is_sorted_by(|one, next| one.key < next.key) {
            return Err("the keys of a commit are not in ascending order".into());
        }
        let (now, keys) =
            (self.clock.now(), changes.iter().map(|change| change.key).collect::<Vec<_>>());
        let mut rows = self.lock();
        let before = rows.copies(&keys, now);
        if !changes
            .iter()
            .zip(&before)
            .all(|(change, row)| change.expected == Expected::of(row.as_ref()))
        {
            return Ok(Commit::Conflict { fresh: Some(Loaded { now, rows: before }) });
        }
        let places: Vec<_> = keys.iter().map(|key| Place { key: *key, shared: false }).collect();
        let writes = changes.iter().map(|change| change.write.clone()).enumerate();
        rows.write(&places, writes.collect(), now, self.capacity)?;
        // `find` and not `get`, because a row with a TTL of zero has expired already.
        let versions = keys.iter().map(|key| rows.find(*key).map(|row| row.version)).collect();
        Ok(Commit::Committed { versions })
    }
}

/// Number of shards. Expired rows are removed shard by shard, so that nobody waits long.
const SHARDS: usize = 64;

struct Rows {
    shards: Vec<Shard>,
    /// Number of rows in all shards.
    count: usize,
    last_version: u64,
}

#[derive(Default)]
struct Shard {
    rows: HashMap<StateKey, Entry, BuildHasherDefault<Spread>>,
    /// Number of rows that came in, or found no room, since expired rows were last removed.
    newcomers: usize,
}

struct Entry {
    version: Version,
    /// The first moment at which the row is absent.
    end: Timestamp,
    value: Box<[u8]>,
}

/// Where the row of a key is stored, or would be.
#[derive(Clone, Copy)]
struct Place {
    /// The key itself, or that of a shared row.
    key: StateKey,
    /// Whether other keys are counted in this row too.
    shared: bool,
}

impl Default for Rows {
    fn default() -> Self {
        Self { shards: (0..SHARDS).map(|_| Shard::default()).collect(), count: 0, last_version: 0 }
    }
}

impl Rows {
    fn shard(&mut self, key: StateKey) -> Option<&mut Shard> {
        self.shards.get_mut(shard_of(key))
    }

    fn get(&self, key: StateKey, now: Timestamp) -> Option<&Entry> {
        self.find(key).filter(|row| now < row.end)
    }

    fn copies(&self, keys: &[StateKey], now: Timestamp) -> Vec<Option<Row>> {
        let copy = |row: &Entry| Row { version: row.version, value: row.value.to_vec() };
        keys.iter().map(|key| self.get(*key, now).map(copy)).collect()
    }

    /// The row, expired or not.
    fn find(&self, key: StateKey) -> Option<&Entry> {
        self.shards.get(shard_of(key))?.rows.get(&key)
    }

    fn places(&mut self, keys: &[StateKey], now: Timestamp, capacity: usize) -> Vec<Place> {
        let mut taken = 0;
        let mut place = |key: &StateKey| {
            let place = self.place(*key, now, capacity, taken);
            taken += usize::from(!place.shared && self.get(place.key, now).is_none());
            place
        };
        keys.iter().map(&mut place).collect()
    }

    /// A row of the key's own if there is one. A key that shares a row continues to do so until
    /// that row has expired, because its count would otherwise be lost. `taken` is the number of
    /// new rows for the keys before it.
    fn place(&mut self, key: StateKey, now: Timestamp, capacity: usize, taken: usize) -> Place {
        let own = Place { key, shared: false };
        if self.get(key, now).is_some() {
            return own;
        }
        let shared_rows = u16::try_from(capacity / 32).unwrap_or(u16::MAX);
        let Some(shared) = key.shared_row(shared_rows) else { return own };
        let for_counters = capacity - capacity / 4;
        if self.get(shared, now).is_some()
            || !self.has_room(key, now, for_counters.saturating_sub(taken))
        {
            return Place { key: shared, shared: true };
        }
        own
    }

    fn has_room(&mut self, newcomer: StateKey, now: Timestamp, capacity: usize) -> bool {
        if self.count >= capacity {
            self.clear_a_little(newcomer, now, LOOKS_WHEN_FULL);
        }
        self.count < capacity
    }

    /// Makes all writes or none. Each has the index of its place.
    fn write(
        &mut self,
        places: &[Place],
        writes: Writes,
        now: Timestamp,
        capacity: usize,
    ) -> Result<(), StoreFull> {
        let (mut more, mut fewer) = (0, 0);
        for (index, write) in &writes {
            let Some(place) = places.get(*index) else { continue };
            let is_there = self.get(place.key, now).is_some();
            match write {
                Write::Put { .. } if !is_there && !place.shared => {
                    more += 1;
                    self.has_room(place.key, now, capacity);
                }
                Write::Delete if is_there => fewer += 1,
                _ => {}
            }
        }
        if more > 0 && self.count.saturating_add(more) > capacity.saturating_add(fewer) {
            return Err(StoreFull);
        }
        for (index, write) in writes {
            let Some(place) = places.get(index) else { continue };
            match write {
                Write::Put { value, ttl } => self.put(place.key, value, now, ttl),
                Write::Delete => self.delete(place.key),
            }
        }
        Ok(())
    }

    fn put(&mut self, key: StateKey, value: Vec<u8>, now: Timestamp, ttl: Duration) {
        self.last_version += 1;
        let entry = Entry {
            version: Version::new(self.last_version),
            end: now.plus(ttl),
            value: value.into_boxed_slice(),
        };
        let replaced = self.shard(key).and_then(|shard| shard.rows.insert(key, entry));
        if replaced.is_none() {
            self.count += 1;
            self.clear_a_little(key, now, LOOKS);
        }
    }

    fn delete(&mut self, key: StateKey) {
        if self.shard(key).and_then(|shard| shard.rows.remove(&key)).is_some() {
            self.count -= 1;
        }
    }

    /// Counts a row that comes in or finds no room, and now and then removes the expired rows of
    /// its shard. On average a new row costs `looks` visits to other rows, however many there are.
    fn clear_a_little(&mut self, newcomer: StateKey, now: Timestamp, looks: usize) {
        let Some(shard) = self.shard(newcomer) else { return };
        shard.newcomers += 1;
        let before = shard.rows.len();
        if shard.newcomers * looks >= before {
            shard.newcomers = 0;
            shard.rows.retain(|_, row| now < row.end);
            let cleared = before - shard.rows.len();
            self.count -= cleared;
        }
    }
}

/// Visits to other rows that a new row costs on average while the store has room: a shard of `n`
/// rows is cleared after `n / 4` new ones.
const LOOKS: usize = 4;
/// The same while the store is full, and a new row needs the place of an expired one.
const LOOKS_WHEN_FULL: usize = 256;

fn shard_of(key: StateKey) -> usize {
    usize::from(key.group()) % SHARDS
}

/// A hasher that takes the hash of a [`StateKey`] as it is.
#[derive(Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
