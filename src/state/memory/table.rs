//! The rows of one room: hash maps in shards, from which expired rows are removed as new ones come
//! in, and the rows of least weight if the room is full.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::state::Version;
use crate::state::key::StateKey;
use crate::state::memory::room::Displaced;
use crate::time::{Timestamp, millis};

/// Number of shards. Rows are removed shard by shard, so that nobody waits long.
const SHARDS: usize = 64;
/// Visits to other rows that a new row costs on average while the room has space: a shard of `n`
/// rows is cleared after `n / 4` new ones.
const LOOKS: usize = 4;
/// A search goes through as many shards as have this many rows. Among fewer rows, those that hold
/// least could hold much.
const SEARCHED: usize = 1_024;
/// Visits that a new row pays for while the room is full. A search visits each row twice and
/// displaces a sixteenth, which is 32 visits for each row that is displaced.
const LOOKS_WHEN_FULL: isize = 64;
/// The most visits that may be saved up, so that nobody waits for a search of all shards.
const MOST_CREDIT: isize = 4_096;

/// The rows of one room.
pub(super) struct Table {
    shards: Vec<Shard>,
    /// Number of rows in all shards.
    count: usize,
    /// Index of the shard that is searched next for rows that may go.
    next: usize,
    /// Visits that may be spent on such searches. Below zero, a search was longer than what was
    /// saved up, and nothing is searched until that is paid.
    credit: isize,
    /// When something was last added to the credit for the time that has passed.
    credited: Timestamp,
    /// Rows visited by all searches so far.
    #[cfg(test)]
    pub(super) visits: usize,
}

/// What came of a search for rows that may go.
struct Searched {
    shards: usize,
    freed: usize,
}

#[derive(Default)]
struct Shard {
    rows: HashMap<StateKey, Entry, BuildHasherDefault<Spread>>,
    /// Number of rows that came in since expired rows were last removed.
    newcomers: usize,
}

pub(super) struct Entry {
    pub(super) version: Version,
    pub(super) rank: Rank,
    pub(super) value: Box<[u8]>,
}

/// How soon a row is displaced from a full room: the smallest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    pub(super) weight: u8,
    /// The first moment at which the row is absent.
    pub(super) end: Timestamp,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            count: 0,
            next: 0,
            credit: 0,
            credited: Timestamp::from_unix_seconds(0),
            #[cfg(test)]
            visits: 0,
        }
    }
}

impl Table {
    /// Number of rows, expired or not.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// The row, expired or not.
    pub(super) fn find(&self, key: StateKey) -> Option<&Entry> {
        self.shards.get(shard_of(key))?.rows.get(&key)
    }

    /// Writes a row. If it is new, the caller has made room for it.
    pub(super) fn put(&mut self, key: StateKey, entry: Entry, now: Timestamp) {
        let Some(shard) = self.shards.get_mut(shard_of(key)) else { return };
        if shard.rows.insert(key, entry).is_none() {
            self.count = self.count + 1 - shard.clear_a_little(now);
            self.earn(LOOKS_WHEN_FULL);
        }
    }

    pub(super) fn delete(&mut self, key: StateKey) {
        let shard = self.shards.get_mut(shard_of(key));
        if shard.and_then(|shard| shard.rows.remove(&key)).is_some() {
            self.count -= 1;
        }
    }

    /// Makes room for so many new rows, and returns whether there is. Expired rows go first, then
    /// those that are `displaced`; rows under the keys in `spared` stay.
    ///
    /// If nearly all rows stay, it may give up before it has searched all of them. A new row then
    /// costs 64 visits to others on average, however many there are.
    pub(super) fn make_room(
        &mut self,
        more: usize,
        bound: usize,
        displaced: Displaced,
        now: Timestamp,
        spared: &[StateKey],
    ) -> bool {
        let fits = |count: usize| count.saturating_add(more) <= bound;
        if fits(self.count) {
            return true;
        }
        let passed = millis(now.since(self.credited));
        self.credited = now;
        self.earn(isize::try_from(passed).unwrap_or(MOST_CREDIT).saturating_add(LOOKS_WHEN_FULL));
        let mut left = SHARDS;
        let may_overdraw = displaced == Displaced::Lightest;
        while !fits(self.count) && left > 0 && (self.credit > 0 || may_overdraw) {
            let searched = self.search(displaced, now, spared);
            left = if searched.freed > 0 { SHARDS } else { left.saturating_sub(searched.shards) };
        }
        fits(self.count)
    }

    /// Removes what has expired in the next shards, and the rows of them that hold least: a
    /// sixteenth of all, if so many may go.
    fn search(&mut self, displaced: Displaced, now: Timestamp, spared: &[StateKey]) -> Searched {
        let (first, mut shards) = (self.next, 0);
        let (mut before, mut after, mut ranks) = (0, 0, Vec::new());
        while shards < SHARDS && before < SEARCHED {
            let Some(shard) = self.shards.get_mut((first + shards) % SHARDS) else { break };
            before += shard.rows.len();
            shard.rows.retain(|key, row| {
                let is_alive = now < row.rank.end;
                if is_alive && !spared.contains(key) {
                    ranks.push(row.rank);
                }
                is_alive || spared.contains(key)
            });
            after += shard.rows.len();
            shards += 1;
        }
        let may_go = displaced.of(ranks.iter().map(|rank| rank.weight), after);
        ranks.retain(|rank| may_go.weights.contains(&rank.weight));
        let mut visits = before;
        let batch = (before / 16).max(1).saturating_sub(before - after);
        let batch = batch.min(ranks.len()).min(may_go.rows);
        if let Some(last) = batch.checked_sub(1) {
            let (smaller, last, _) = ranks.select_nth_unstable(last);
            let last = *last;
            // Of rows that are equal to the last one, as many go as the batch has.
            let mut equal = 1 + smaller.iter().filter(|rank| **rank == last).count();
            visits += after;
            for shard in 0..shards {
                let Some(shard) = self.shards.get_mut((first + shard) % SHARDS) else { break };
                shard.rows.retain(|key, row| {
                    let stays = !may_go.weights.contains(&row.rank.weight) || row.rank > last;
                    if stays || spared.contains(key) {
                        return true;
                    }
                    let goes = row.rank < last || equal > 0;
                    equal -= usize::from(row.rank == last && goes);
                    !goes
                });
                // A map doubles when removed rows have left marks in all its free places. Given
                // back at once, that saves a quarter of the memory, and no time is lost by it.
                shard.rows.shrink_to_fit();
            }
        }
        let freed = before - after + batch;
        self.count -= freed;
        self.next = (first + shards) % SHARDS;
        self.credit = self.credit.saturating_sub_unsigned(visits);
        #[cfg(test)]
        {
            self.visits += visits;
        }
        Searched { shards, freed }
    }

    fn earn(&mut self, visits: isize) {
        self.credit = self.credit.saturating_add(visits).min(MOST_CREDIT);
    }

    /// All rows with their keys, expired or not.
    #[cfg(test)]
    pub(super) fn rows(&self) -> impl Iterator<Item = (&StateKey, &Entry)> {
        self.shards.iter().flat_map(|shard| &shard.rows)
    }
}

impl Shard {
    /// Counts a row that came in, and now and then removes the expired rows. Returns how many.
    fn clear_a_little(&mut self, now: Timestamp) -> usize {
        self.newcomers += 1;
        let before = self.rows.len();
        if self.newcomers * LOOKS >= before {
            self.newcomers = 0;
            self.rows.retain(|_, row| now < row.rank.end);
        }
        before - self.rows.len()
    }
}

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
