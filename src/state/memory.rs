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

/// The state of one process, in its memory: bounded, and gone when the process ends.
///
/// Clones share their rows, also as the state of several engines. What is still alive is never thrown away to make room.
/// When three quarters of the room are taken, counters of attempts that come anew share rows, so that they count too much
/// rather than too little; the last quarter is for everything else, which is [`StoreFull`] when that is taken too. So
/// whoever guesses at names without number keeps nobody from logging out.
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
    /// How keys are made for it: by all engines alike that have it for their state.
    keys: Arc<OnceLock<Keys>>,
}

/// An in-memory store has no room for one more row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the in-memory state is full")]
#[non_exhaustive]
pub struct StoreFull;

impl InMemoryState {
    /// An empty one, with room for 262,144 rows: some 64 MiB when it is full.
    #[must_use]
    pub fn new() -> Self {
        Self {
            clock: Arc::new(SystemClock::new()),
            capacity: 1 << 18,
            rows: Arc::default(),
            keys: Arc::default(),
        }
    }

    /// With room for so many rows, and a few more that counters share. A row is some 250 bytes. A user
    /// name that was tried in vain takes one for up to two days, and so does an address that it was tried from.
    #[must_use]
    pub fn capacity(self, rows: usize) -> Self {
        Self { capacity: rows, ..self }
    }

    /// Of it only the clock is used, which counts how long rows live; see
    /// [`Environment`](crate::Environment). Default that of the engine.
    #[must_use]
    pub fn environment(self, environment: &Environment) -> Self {
        Self { clock: environment.clock.clone(), ..self }
    }

    /// How many rows there are, those past their life included that were not cleared away yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lock().count
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How its keys are made; decided by the first engine that has it for its state.
    pub(crate) fn keys(&self, randomness: &dyn SecureRandom) -> Result<Keys, RandomnessError> {
        let new = Keys::local(randomness)?;
        Ok(self.keys.get_or_init(|| new).clone())
    }

    /// One step over the rows under these keys, which nobody else sees or changes meanwhile: load and commit in one.
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

    /// The row under one key. The clock is read only if there is one.
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
        // `find` and not `get`: the life of a row may be over at once.
        let versions = keys.iter().map(|key| rows.find(*key).map(|row| row.version)).collect();
        Ok(Commit::Committed { versions })
    }
}

/// In this many parts, each of which is cleared of what has expired on its own, so that nobody waits for long.
const SHARDS: usize = 64;

struct Rows {
    shards: Vec<Shard>,
    /// Rows in all shards.
    count: usize,
    last_version: u64,
}

#[derive(Default)]
struct Shard {
    rows: HashMap<StateKey, Entry, BuildHasherDefault<Spread>>,
    /// Rows that came in, or found no room, since the last clearing.
    newcomers: usize,
}

struct Entry {
    version: Version,
    /// The first moment at which it is gone.
    end: Timestamp,
    value: Box<[u8]>,
}

/// Where the row of a key is, or would be.
#[derive(Clone, Copy)]
struct Place {
    /// The key itself, or another one in whose row it is counted.
    key: StateKey,
    /// Other keys are counted here too.
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

    /// The row, past its life or not.
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

    /// A row of its own where there is one. A key that has shared a row goes on doing so until that row is gone:
    /// otherwise what was counted there would be forgotten. So many rows are `taken` by the keys before it.
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

    /// All of them, or none; each by the index of its place.
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
                Write::Put { value, life } => self.put(place.key, value, now, life),
                Write::Delete => self.delete(place.key),
            }
        }
        Ok(())
    }

    fn put(&mut self, key: StateKey, value: Vec<u8>, now: Timestamp, life: Duration) {
        self.last_version += 1;
        let entry = Entry {
            version: Version::new(self.last_version),
            end: now.plus(life),
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

    /// Counts a row that comes in, or finds no room. Every so many of them, what has expired in its shard is cleared
    /// away, so that a newcomer costs that many looks at a row, however many there are.
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

const LOOKS: usize = 4;
const LOOKS_WHEN_FULL: usize = 256;

fn shard_of(key: StateKey) -> usize {
    usize::from(key.group()) % SHARDS
}

/// Takes the hash of a [`StateKey`] as it is.
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
