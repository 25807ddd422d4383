//! The rooms held against a naive reference: random writes, deletions, expiries and displacements.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::state::StateSecret;
use crate::state::key::Purpose;
use crate::state::memory::room::{Displaced, Room};
use crate::state::transaction::NEVER_DISPLACED;

const PURPOSES: [Purpose; 9] = [
    Purpose::Account,
    Purpose::Source,
    Purpose::Network,
    Purpose::ClientAtSource,
    Purpose::Session,
    Purpose::SessionIndex,
    Purpose::Assertion,
    Purpose::RevokedTokens,
    Purpose::SubjectEpoch,
];

#[derive(Debug, Clone)]
enum Action {
    /// A transaction over these keys; without a write, a key is only read.
    Run(Vec<((usize, u8), Option<Put>)>),
    Delete(usize, u8),
    Pass(u16),
}

/// The weight, the TTL in milliseconds and the value of a row that is written.
type Put = (u8, u16, u8);

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let key = (0..PURPOSES.len(), any::<u8>());
    let weight = prop_oneof![0..12_u8, 126..132_u8, Just(255)];
    let put = prop::option::weighted(0.8, (weight, 0..2_000_u16, any::<u8>()));
    let action = prop_oneof![
        12 => vec((key.clone(), put), 1..5).prop_map(Action::Run),
        2 => key.prop_map(|(purpose, id)| Action::Delete(purpose, id)),
        1 => (0..800_u16).prop_map(Action::Pass),
    ];
    vec(action, 0..600)
}

fn key_of(keys: &Keys, (purpose, id): (usize, u8)) -> StateKey {
    keys.key(PURPOSES[purpose], &[&[id]])
}

/// A row as the reference knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Known {
    weight: u8,
    end: Timestamp,
    value: u8,
}

/// All rows there are, whatever the bounds.
struct Reference(BTreeMap<StateKey, Known>);

impl Reference {
    fn alive(&self, key: StateKey, now: Timestamp) -> Option<&Known> {
        self.0.get(&key).filter(|row| now < row.end)
    }

    /// Takes out what was displaced, and checks that it could be: not while it was written or read,
    /// only for a new row of its room, and no row that is kept.
    fn follow(&mut self, rows: &Rows, touched: &[StateKey], new: &[Room], now: Timestamp) {
        self.0.retain(|key, known| {
            let is_there = rows.find(*key).is_some();
            if !is_there && now < known.end {
                let room = Room::of(*key);
                assert!(!touched.contains(key), "{known:?} was displaced by itself");
                assert!(new.contains(&room), "{known:?} of {room:?} was displaced for {new:?}");
                let may_go = match room.displaced() {
                    Displaced::Nothing => false,
                    Displaced::Lightest => known.weight < NEVER_DISPLACED,
                    Displaced::OverTheirShare => {
                        known.weight < KEPT || (KNOWN..NEVER_DISPLACED).contains(&known.weight)
                    }
                };
                assert!(may_go, "{known:?} of {room:?} was displaced");
            }
            is_there
        });
    }

    /// Every row is known with its value, every room is counted, and none is over its bound.
    fn check(&self, rows: &Rows, capacity: Capacity) {
        for room in Room::ALL {
            let table = rows.tables.get(room);
            assert_eq!(table.count(), table.rows().count(), "{room:?}");
            let most = match room {
                Room::Overflow => usize::from(capacity.overflow_rows()),
                _ => capacity.of(room),
            };
            assert!(table.count() <= most, "{} rows in {room:?}", table.count());
            for (key, row) in table.rows() {
                assert_eq!(Room::of(*key), room);
                if room != Room::Overflow {
                    let known = self.0.get(key).expect("a row that was written");
                    assert_eq!((row.rank.weight, row.rank.end), (known.weight, known.end));
                    assert_eq!(*row.value, [known.value]);
                }
            }
        }
    }
}

fn explore(capacity: usize, actions: Vec<Action>) {
    let keys = Keys::Shared(StateSecret::new([7; 32]).unwrap());
    let capacity = Capacity(capacity);
    let (mut rows, mut reference) = (Rows::default(), Reference(BTreeMap::new()));
    let mut now = Timestamp::from_unix_seconds(1_800_000_000);
    for action in actions {
        match action {
            Action::Pass(span) => now = now.plus(Duration::from_millis(span.into())),
            Action::Delete(purpose, id) => {
                let key = key_of(&keys, (purpose, id));
                reference.0.remove(&key);
                let places = [key];
                let delete = Written { index: 0, write: Write::Delete, weight: 0 };
                rows.write(&[key], &places, vec![delete], now, capacity).unwrap();
            }
            Action::Run(asked) => {
                let mut named = BTreeMap::new();
                for (key, put) in asked {
                    let key = key_of(&keys, key);
                    // Counts that are never kept have no weight that would keep them.
                    let most =
                        if Room::of(key).displaced() == Displaced::Lightest { 254 } else { 255 };
                    named.insert(
                        key,
                        put.map(|(weight, ttl, value)| (weight.min(most), ttl, value)),
                    );
                }
                let (keys, puts): (Vec<_>, Vec<_>) = named.into_iter().unzip();
                let places = rows.places(&keys, now, capacity);
                let accounts = [Room::Accounts];
                reference.follow(&rows, &keys, &accounts, now);
                for (key, place) in keys.iter().zip(&places) {
                    assert!(place == key || place.is_overflow_row());
                    let is_there = reference.alive(*key, now).is_some();
                    assert_eq!(rows.get(*key, now).is_some(), is_there);
                    assert!(!place.is_overflow_row() || !is_there, "a row of its own is read");
                }
                let write = |(index, put): (usize, &Option<Put>)| {
                    let (weight, ttl, value) = (*put)?;
                    let ttl = Duration::from_millis(ttl.into());
                    Some(Written { index, write: Write::Put { value: vec![value], ttl }, weight })
                };
                let writes: Vec<_> = puts.iter().enumerate().filter_map(write).collect();
                let is_new = |place: &StateKey| rows.find(*place).is_none();
                let written = places.iter().zip(&puts).filter(|(_, put)| put.is_some());
                let new: Vec<Room> = written
                    .filter(|(place, _)| is_new(place))
                    .map(|(place, _)| Room::of(*place))
                    .collect();
                if rows.write(&keys, &places, writes, now, capacity).is_ok() {
                    for ((key, place), put) in keys.iter().zip(&places).zip(&puts) {
                        let Some((weight, ttl, value)) = put.filter(|_| !place.is_overflow_row())
                        else {
                            continue;
                        };
                        let end = now.plus(Duration::from_millis(ttl.into()));
                        reference.0.insert(*key, Known { weight, end, value });
                    }
                } else {
                    // A room that refuses is full. `check` sees that nothing was written.
                    assert!(Room::ALL.into_iter().any(|room| {
                        let more = new.iter().filter(|other| **other == room).count();
                        let count = rows.tables.get(room).count() + more;
                        room.displaced() != Displaced::Lightest && count > capacity.of(room)
                    }));
                }
                reference.follow(&rows, &keys, &new, now);
            }
        }
        reference.check(&rows, capacity);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn no_room_takes_anything_from_another_or_more_than_its_bound(
        capacity in prop_oneof![Just(0_usize), 1..64_usize, 64..600_usize],
        actions in actions(),
    ) {
        explore(capacity, actions);
    }
}

fn entry(version: u64, weight: u8, end: Timestamp) -> Entry {
    Entry { version: Version::new(version), rank: Rank { weight, end }, value: Box::default() }
}

/// A table that was filled with rows of these weights, to its bound.
fn filled(weights: impl Iterator<Item = u8>, now: Timestamp) -> (Table, usize) {
    let keys = Keys::Shared(StateSecret::new([7; 32]).unwrap());
    let mut table = Table::default();
    for (number, weight) in weights.enumerate() {
        let number = number as u64;
        let key = keys.key(Purpose::Account, &[&number.to_le_bytes()]);
        let end = now.plus(Duration::from_secs(3_600 + number));
        table.put(key, entry(number, weight, end), now);
    }
    let bound = table.count();
    (table, bound)
}

/// The rows that hold least go first, and of equal ones the oldest: among all rows of a small room,
/// and among those of one shard of a large one.
#[test]
fn what_is_displaced_holds_no_more_than_what_stays_beside_it() {
    let now = Timestamp::from_unix_seconds(1_800_000_000);
    for (count, shards) in [(1, 1), (800, 1), (96_000, 64)] {
        let (mut table, bound) = filled((0..count).map(|number: u32| (number % 7) as u8), now);
        let ranks = |table: &Table| {
            let shard = |key: &StateKey| usize::from(key.group()) % shards;
            let mut ranks: Vec<_> = table.rows().map(|(key, row)| (shard(key), row.rank)).collect();
            ranks.sort_unstable();
            ranks
        };
        let before = ranks(&table);
        assert!(table.make_room(1, bound, Displaced::OverTheirShare, now, &[]));
        let after = ranks(&table);
        let gone: Vec<_> = before.iter().filter(|row| after.binary_search(row).is_err()).collect();
        let (shard, greatest) = **gone.last().unwrap();
        assert!(gone.iter().all(|(other, _)| *other == shard));
        let beside = before.iter().filter(|(other, _)| *other == shard).count();
        assert_eq!(gone.len(), (beside / 16).max(1));
        let least = after.iter().find(|(other, _)| *other == shard);
        assert!(least.is_none_or(|(_, least)| greatest < *least), "{greatest:?} < {least:?}");
    }
}

/// What a transaction reads and writes is neither displaced nor, if it has expired, removed by it.
#[test]
fn the_rows_of_a_transaction_do_not_make_room_for_it() {
    let now = Timestamp::from_unix_seconds(1_800_000_000);
    for later in [now, now.plus(Duration::from_secs(86_400))] {
        let (mut table, bound) = filled(0..3, now);
        let mut keys: Vec<_> = table.rows().map(|(key, row)| (row.rank, *key)).collect();
        keys.sort_unstable();
        let keys: Vec<_> = keys.into_iter().map(|(_, key)| key).collect();
        assert!(!table.make_room(1, bound, Displaced::OverTheirShare, later, &keys));
        assert_eq!(table.count(), 3);
        assert!(table.make_room(1, bound, Displaced::OverTheirShare, later, &keys[..2]));
        assert!(keys[..2].iter().all(|key| table.find(*key).is_some()));
        assert!(table.find(keys[2]).is_none());
    }
}

fn write(rows: &mut Rows, writes: &[(StateKey, Write)], capacity: Capacity) -> bool {
    let keys: Vec<_> = writes.iter().map(|(key, _)| *key).collect();
    let places = keys.clone();
    let written = writes.iter().enumerate().map(|(index, (_, write))| Written {
        index,
        write: write.clone(),
        weight: NEVER_DISPLACED,
    });
    let now = Timestamp::from_unix_seconds(1_800_000_000);
    rows.write(&keys, &places, written.collect(), now, capacity).is_ok()
}

fn put() -> Write {
    Write::Put { value: Vec::new(), ttl: Duration::from_secs(60) }
}

/// A login that ends an older session is possible in a full room.
#[test]
fn a_row_that_is_deleted_makes_room_for_another_of_the_same_commit() {
    let keys = Keys::Shared(StateSecret::new([7; 32]).unwrap());
    let key = |number: u8| keys.key(Purpose::Session, &[&[number]]);
    // Room for one session.
    let (mut rows, capacity) = (Rows::default(), Capacity(4));
    assert!(write(&mut rows, &[(key(1), put())], capacity));
    assert!(!write(&mut rows, &[(key(2), put())], capacity));
    assert!(write(&mut rows, &[(key(1), Write::Delete), (key(2), put())], capacity));
    assert!(rows.find(key(1)).is_none() && rows.find(key(2)).is_some());
}

/// Of several new names in one transaction, only those for which there is room have rows of their
/// own.
#[test]
fn several_new_names_at_once_do_not_exceed_the_room() {
    let keys = Keys::Shared(StateSecret::new([7; 32]).unwrap());
    let names = [1, 2, 3].map(|number: u8| keys.key(Purpose::Account, &[&[number]]));
    // Room for two names.
    let now = Timestamp::from_unix_seconds(1_800_000_000);
    let places = Rows::default().places(&names, now, Capacity(6));
    let shared: Vec<_> = places.iter().map(StateKey::is_overflow_row).collect();
    assert_eq!(shared, [false, false, true]);
}

/// Newcomers to a full room cost a bounded number of visits to other rows, whether the rows there
/// may go or not.
#[test]
fn a_newcomer_to_a_full_room_costs_few_visits() {
    let now = Timestamp::from_unix_seconds(1_800_000_000);
    for (weight, found) in [(1, 20_000), (KEPT, 0)] {
        let (mut table, bound) = filled(std::iter::repeat_n(weight, 64 * 1_024), now);
        let mut in_room = 0_u64;
        for newcomer in 0..20_000_u64 {
            if table.make_room(1, bound, Displaced::OverTheirShare, now, &[]) {
                in_room += 1;
                let keys = Keys::Shared(StateSecret::new([9; 32]).unwrap());
                let key = keys.key(Purpose::Account, &[&newcomer.to_le_bytes()]);
                table.put(key, entry(newcomer, 1, now.plus(Duration::from_secs(60))), now);
            }
        }
        let visits = table.visits as f64 / 20_000.0;
        println!("weight {weight}: {visits:.1} visits a newcomer, {in_room} found room");
        assert_eq!(in_room, found);
        assert!(visits <= 65.0, "{visits}");
    }
}
