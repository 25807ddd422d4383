//! State in the memory of one process: small tables, each with a bound of its own.
//!
//! `memory/room.rs` says which rows belong together and how many there may be, `memory/table.rs`
//! holds those of one room, and this file makes the reads and writes of a step one.

#[cfg(test)]
mod exploration;
mod room;
mod table;

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use crate::environment::{Environment, RandomnessError, SecureRandom};
use crate::error::BoxError;
use crate::state::codec::{Stored, from_bytes};
use crate::state::key::{Keys, StateKey};
use crate::state::memory::room::{Capacity, PerRoom, Room};
pub(crate) use crate::state::memory::room::{KEPT, KNOWN};
use crate::state::memory::table::{Entry, Rank, Table};
use crate::state::transaction::{Opened, RowKey, Transaction, Writes, Written};
use crate::state::{Change, Commit, Expected, Loaded, Row, StateStore, Version, Write};
use crate::time::{Clock, SystemClock, Timestamp};

/// State in the memory of one process. It is bounded, and lost when the process ends.
///
/// Clones share their rows, also as the state of several engines. Each row belongs to a room by
/// what it is for, and each room has a bound of its own, so that what fills one room takes nothing
/// from another. The bounds are shares of the [capacity](Self::capacity):
///
/// | room | share | rows by default | bytes a row | when it is full |
/// | --- | ---: | ---: | ---: | --- |
/// | attempts on user names, and known origins | 24/64 | 196,608 | 160 to 210 | see below |
/// | counts that user names share (overflow rows) | 1/64 | 8,192 | 210 | has a row for every name |
/// | attempts from addresses and networks | 4/64 | 32,768 | 190 | the least is displaced |
/// | failed authentications of clients | 2/64 | 16,384 | 190 | the least is displaced |
/// | sessions and the lists of them | 16/64 | 131,072 | 240 | new ones fail with [`StoreFull`] |
/// | used client assertions | 16/64 | 131,072 | 190 | new ones fail with [`StoreFull`] |
/// | revoked access tokens | 1/64 | 8,192 | 160 | new ones fail with [`StoreFull`] |
/// | log-outs everywhere | no bound | one for each user logged out | 170 | never |
///
/// For a new user name in a full room, rows of names are displaced that have more than their share:
///
/// * names with known origins, which have logged in, if they take more than half of the room: those
///   with the fewest failures first, and of these the one whose origins expire first;
/// * or else names without, if more than a quarter of the room has fewer failures than make them
///   wait: those with one failure first, then with two, and so on, the oldest first.
///
/// Names with as many failures as [`AttemptLimits::burst`](crate::AttemptLimits::burst) (10 by
/// default) or more stay, since they make somebody wait. So names that an attacker invents take no
/// origins of those who log in, and clear no failures on a name. If nothing is over its share, new
/// names share overflow rows, each name always the same one. The attempts on all names that share a
/// row are counted together, so a name may have to wait for the failures of others. It leaves the
/// row as soon as there is room. Of addresses and clients, the rows with the fewest failures are
/// displaced, however many these are.
///
/// Log-outs are never refused, so their room has no bound of its own. It holds a row for each user
/// who was logged out everywhere in the last 401 days: 17 MB for 100,000 of them. Only the host's
/// calls of [`log_out_everywhere`](crate::PasswordGrant::log_out_everywhere) add to it.
///
/// The bytes were measured in full rooms with short names and one failure each; those of overflow
/// rows and of addresses are the figures for names and clients, whose rows have the same form. A
/// name takes a byte or two more for each failure.
///
/// In every room, expired rows go first. A write that replaces or deletes a row needs no room, so
/// sessions can be refreshed, revoked and ended however full the state is. One client may have a
/// quarter of the room for used assertions at most, whatever
/// [`max_assertions_per_client`](crate::PasswordGrantBuilder::max_assertions_per_client) says.
///
/// Given to [`shared_state`](crate::PasswordGrantBuilder::shared_state), as tests do, it is not
/// told how many failures a row holds, and does not keep the promise of a [`StateStore`] that no
/// row is evicted: when their room is full, the counts of attempts are displaced by their age
/// alone, also those that make somebody wait. No counts are shared then, and the quarter for one
/// client does not apply. Use [`state`](crate::PasswordGrantBuilder::state) in production.
///
/// ```
/// use password_grant::state::InMemoryState;
///
/// let state = InMemoryState::new().capacity(50_000);
/// ```
#[derive(Clone)]
pub struct InMemoryState {
    clock: Arc<dyn Clock>,
    capacity: Capacity,
    rows: Arc<Mutex<Rows>>,
    /// How keys are made for these rows: in the same way by all engines that share the state.
    keys: Arc<OnceLock<Keys>>,
}

/// The error of an in-memory state whose room for such rows is full; see [`InMemoryState`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the in-memory state is full")]
#[non_exhaustive]
pub struct StoreFull;

impl InMemoryState {
    /// An empty state with a capacity of 524,288 rows, which take about 105 MiB when every room is
    /// full, besides log-outs. A flood of user names alone takes 40 MiB.
    #[must_use]
    pub fn new() -> Self {
        Self {
            clock: Arc::new(SystemClock::new()),
            capacity: Capacity::DEFAULT,
            rows: Arc::default(),
            keys: Arc::default(),
        }
    }

    /// Sets the capacity in rows, of all rooms but that for log-outs. This is how long rows live by
    /// default:
    ///
    /// * a user name: up to two days after a failure (two windows of
    ///   [`rolling`](crate::AttemptLimits::rolling)), and 90 days after a login, for its known
    ///   origins ([`known_origins`](crate::AttemptLimits::known_origins));
    /// * an address, a network or a client with a failure: up to 20 minutes (two windows of
    ///   [`source`](crate::AttemptLimits::source), [`network`](crate::AttemptLimits::network) or
    ///   [`client`](crate::AttemptLimits::client));
    /// * a session: until it ends and its access tokens have expired. Each user with sessions takes
    ///   one more row for each client.
    ///
    /// The rooms for addresses and for clients have 16 rows at least, and there is at least one
    /// overflow row.
    #[must_use]
    pub fn capacity(self, rows: usize) -> Self {
        Self { capacity: Capacity(rows), ..self }
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
        let rows = self.lock();
        Room::ALL.into_iter().map(|room| rows.tables.get(room).count()).sum()
    }

    /// Whether there are no rows.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The most used assertions of one client, so that no client takes the room of all.
    pub(crate) fn max_assertions_per_client(&self) -> u64 {
        u64::try_from(self.capacity.of(Room::Assertions) / 4).unwrap_or(u64::MAX)
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
            let open = |place: &StateKey| Opened {
                value: rows.get(*place, now).map(|row| &*row.value),
                stored_at: *place,
            };
            let mut tx = Transaction::new(now, keys, places.iter().map(open).collect());
            (step(&mut tx)?, tx.into_writes())
        };
        rows.write(keys, &places, writes, now, self.capacity)?;
        Ok(output)
    }

    /// The row under one key. The clock is read only if there is a row.
    pub(crate) fn get<R: Stored>(&self, key: RowKey<R>) -> Result<Option<R>, BoxError> {
        let rows = self.lock();
        let row = rows.find(key.into()).filter(|row| self.clock.now() < row.rank.end);
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

/// The weight of a row that was written without one: it is displaced before rows that stay.
const UNWEIGHED: u8 = KEPT - 1;

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
        let places: Vec<_> = keys.to_vec();
        let written = |(index, change): (usize, &Change)| Written {
            index,
            write: change.write.clone(),
            weight: UNWEIGHED,
        };
        let writes = changes.iter().enumerate().map(written).collect();
        rows.write(&keys, &places, writes, now, self.capacity)?;
        // `find` and not `get`, because a row with a TTL of zero has expired already.
        let versions = keys.iter().map(|key| rows.find(*key).map(|row| row.version)).collect();
        Ok(Commit::Committed { versions })
    }
}

#[derive(Default)]
struct Rows {
    tables: PerRoom<Table>,
    last_version: u64,
}

impl Rows {
    fn get(&self, key: StateKey, now: Timestamp) -> Option<&Entry> {
        self.find(key).filter(|row| now < row.rank.end)
    }

    fn copies(&self, keys: &[StateKey], now: Timestamp) -> Vec<Option<Row>> {
        let copy = |row: &Entry| Row { version: row.version, value: row.value.to_vec() };
        keys.iter().map(|key| self.get(*key, now).map(copy)).collect()
    }

    /// The row, expired or not.
    fn find(&self, key: StateKey) -> Option<&Entry> {
        self.tables.get(Room::of(key)).find(key)
    }

    fn places(&mut self, keys: &[StateKey], now: Timestamp, capacity: Capacity) -> Vec<StateKey> {
        let mut taken = 0;
        let mut place = |key: &StateKey| {
            let own = *key;
            let Some(overflow) = key.overflow_row(capacity.overflow_rows()) else { return own };
            if self.find(*key).is_some() {
                return own;
            }
            // Whatever the overflow row holds: otherwise every name that has ever shared it would
            // wait for the attempts on all the others.
            if self.make_room(Room::of(*key), taken + 1, now, capacity, keys) {
                taken += 1;
                return own;
            }
            overflow
        };
        keys.iter().map(&mut place).collect()
    }

    /// Whether there is room for so many new rows, after rows that may go have made room. Those
    /// under these keys stay.
    fn make_room(
        &mut self,
        room: Room,
        more: usize,
        now: Timestamp,
        capacity: Capacity,
        keys: &[StateKey],
    ) -> bool {
        self.tables.get_mut(room).make_room(more, capacity.of(room), room.displaced(), now, keys)
    }

    /// Makes all writes or none. Each has the index of its key and its place.
    fn write(
        &mut self,
        keys: &[StateKey],
        places: &[StateKey],
        writes: Writes,
        now: Timestamp,
        capacity: Capacity,
    ) -> Result<(), StoreFull> {
        let mut more = PerRoom::<isize>::default();
        for Written { index, write, .. } in &writes {
            let Some(place) = places.get(*index) else { continue };
            match (write, self.find(*place)) {
                (Write::Put { .. }, None) => *more.get_mut(Room::of(*place)) += 1,
                (Write::Delete, Some(_)) => *more.get_mut(Room::of(*place)) -= 1,
                _ => {}
            }
        }
        for room in Room::ALL {
            let more = usize::try_from(*more.get(room)).unwrap_or(0);
            if more > 0 && !self.make_room(room, more, now, capacity, keys) {
                return Err(StoreFull);
            }
        }
        for Written { index, write, weight } in writes {
            let Some(key) = places.get(index) else { continue };
            match write {
                Write::Put { value, ttl } => self.put(*key, value, now, ttl, weight),
                Write::Delete => self.tables.get_mut(Room::of(*key)).delete(*key),
            }
        }
        Ok(())
    }

    fn put(&mut self, key: StateKey, value: Vec<u8>, now: Timestamp, ttl: Duration, weight: u8) {
        self.last_version += 1;
        let entry = Entry {
            version: Version::new(self.last_version),
            rank: Rank { weight, end: now.plus(ttl) },
            value: value.into_boxed_slice(),
        };
        self.tables.get_mut(Room::of(key)).put(key, entry, now);
    }
}
