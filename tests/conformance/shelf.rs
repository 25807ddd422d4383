//! A small store in memory that has one [`Defect`].

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use password_grant::conformance::Fixture;
use password_grant::state::{
    Change, Commit, Expected, Loaded, Row, StateKey, StateStore, Version, Write,
};
use password_grant::testing::ManualClock;
use password_grant::time::{BoxFuture, Timestamp};
use password_grant::{BoxError, Clock, async_trait};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;

use crate::defects::Defect::{self, *};
use crate::{noon, runtime};

/// A small store with a defect. Calls that race wait for each other at the place where the defect
/// shows.
pub struct Shelf {
    shared: Arc<Shared>,
    clock: ManualClock,
    runtime: Runtime,
}

struct Shared {
    defect: Defect,
    clock: ManualClock,
    table: Mutex<Table>,
    busy: AtomicBool,
    lock: Semaphore,
    /// How many calls have come to the place where another one may come in between.
    arrivals: AtomicUsize,
}

#[derive(Default)]
struct Table {
    rows: BTreeMap<StateKey, Stored>,
    last_version: u64,
}

#[derive(Clone)]
struct Stored {
    version: u64,
    value: Vec<u8>,
    end: Timestamp,
}

impl Shelf {
    pub fn with(defect: Defect) -> Self {
        let clock = noon();
        let shared = Shared {
            defect,
            clock: clock.clone(),
            table: Mutex::default(),
            busy: AtomicBool::new(false),
            lock: Semaphore::new(1),
            arrivals: AtomicUsize::new(0),
        };
        Self { shared: Arc::new(shared), clock, runtime: runtime() }
    }
}

impl Fixture for Shelf {
    fn connect(&self) -> Arc<dyn StateStore> {
        match self.shared.defect {
            RemembersWhatItRead => {
                Arc::new(Caching { shared: self.shared.clone(), read: Mutex::default() })
            }
            _ => self.shared.clone(),
        }
    }

    fn run(&self, future: BoxFuture<'_, ()>) {
        self.runtime.block_on(future);
    }

    fn pass(&self, span: Duration) {
        self.clock.advance(span);
    }

    fn sweep(&self) {
        let now = self.clock.now();
        let has_expired = |row: &Stored| row.end <= now && self.shared.defect != NeverEnds;
        let (rows, last_version) = {
            let table = self.shared.table.lock().unwrap();
            (table.rows.clone(), table.last_version)
        };
        if self.shared.defect == SweepsWhatWasWrittenAnew {
            // Waits until another call has written, or until it is clear that there is none.
            let is_alone = || self.shared.table.lock().unwrap().last_version == last_version;
            (0..10_000).take_while(|_| is_alone()).for_each(|_| std::thread::yield_now());
        }
        for (key, _) in rows.into_iter().filter(|(_, row)| has_expired(row)) {
            let mut table = self.shared.table.lock().unwrap();
            if self.shared.defect == SweepsWhatWasWrittenAnew
                || table.rows.get(&key).is_some_and(has_expired)
            {
                table.rows.remove(&key);
            }
        }
    }

    fn restart(&self) -> bool {
        let mut table = self.shared.table.lock().unwrap();
        match self.shared.defect {
            LosesRowsOnRestart => table.rows.clear(),
            BeginsVersionsAnewOnRestart => table.last_version = 0,
            ForgetsEndsOnRestart => {
                table
                    .rows
                    .values_mut()
                    .for_each(|row| row.end = row.end.plus(Duration::from_secs(3_600)));
            }
            _ => {}
        }
        true
    }
}

struct Caching {
    shared: Arc<Shared>,
    read: Mutex<BTreeMap<StateKey, Option<Row>>>,
}

#[async_trait]
impl StateStore for Caching {
    async fn load(&self, keys: &[StateKey]) -> Result<Loaded, BoxError> {
        let mut loaded = self.shared.load(keys).await?;
        let mut read = self.read.lock().unwrap();
        for (key, row) in keys.iter().zip(&mut loaded.rows) {
            *row = read.entry(*key).or_insert_with(|| row.take()).clone();
        }
        Ok(loaded)
    }

    async fn commit(&self, changes: &[Change]) -> Result<Commit, BoxError> {
        changes.iter().for_each(|change| drop(self.read.lock().unwrap().remove(&change.key)));
        self.shared.commit(changes).await
    }
}

#[async_trait]
impl StateStore for Shared {
    async fn load(&self, keys: &[StateKey]) -> Result<Loaded, BoxError> {
        let rows = match self.defect {
            LoadsRowsOneByOne => {
                let mut rows = Vec::new();
                for key in keys {
                    rows.extend(self.rows(&[*key]));
                    self.others_come_in_between().await;
                }
                rows
            }
            LeavesOutWhatIsAbsent => self.rows(keys).into_iter().filter(Option::is_some).collect(),
            _ => self.rows(keys),
        };
        Ok(Loaded { now: self.clock.now(), rows })
    }

    async fn commit(&self, changes: &[Change]) -> Result<Commit, BoxError> {
        let in_order = match self.defect {
            TakesKeysInAnyOrder => true,
            TakesAKeyTwice => changes.is_sorted_by(|one, next| one.key <= next.key),
            _ => changes.is_sorted_by(|one, next| one.key < next.key),
        };
        if !in_order {
            return Err("the keys of a commit are not in ascending order".into());
        }
        let is_made = self.is_made(changes).await?;
        let keys: Vec<_> = changes.iter().map(|change| change.key).collect();
        if is_made {
            let former = |change: &Change| match change.expected {
                Expected::Version(version) => Some(version),
                Expected::Absent => None,
            };
            let versions = self.rows(&keys).into_iter().map(|row| row.map(|row| row.version));
            let versions = match self.defect {
                TellsFormerVersions => changes.iter().map(former).collect(),
                TellsNothingOfDeletes => versions.filter(Option::is_some).collect(),
                _ => versions.collect(),
            };
            return Ok(Commit::Committed { versions });
        }
        let mut rows = self.rows(&keys);
        match self.defect {
            TellsRowsThatAreNotThere => {
                rows.iter_mut().flatten().for_each(|row| row.value = b"3".to_vec())
            }
            TellsOnlyWhatWasNotAsExpected => {
                let differs = |(row, change): (Option<Row>, &Change)| {
                    (Expected::of(row.as_ref()) != change.expected).then_some(row)
                };
                rows = rows.into_iter().zip(changes).filter_map(differs).collect();
            }
            _ => {}
        }
        Ok(Commit::Conflict { fresh: Some(Loaded { now: self.clock.now(), rows }) })
    }
}

impl Shared {
    async fn is_made(&self, changes: &[Change]) -> Result<bool, BoxError> {
        match self.defect {
            AlwaysInConflict => Ok(false),
            LosesUpdates if changes.iter().all(|change| change.expected != Expected::Absent) => {
                Ok(self.are_as_expected(changes))
            }
            ComparesBeforeItWrites => {
                if !self.are_as_expected(changes) {
                    return Ok(false);
                }
                self.others_come_in_between().await;
                changes.iter().for_each(|change| self.write(change));
                Ok(true)
            }
            InsertsOverWhatIsThere => {
                let compared: Vec<_> = changes
                    .iter()
                    .filter(|change| change.expected != Expected::Absent)
                    .cloned()
                    .collect();
                Ok(self.commit_at_once(&compared, changes))
            }
            WritesUpToTheConflict => {
                let one_by_one = |one: &Change| {
                    self.commit_at_once(std::slice::from_ref(one), std::slice::from_ref(one))
                };
                Ok(changes.iter().all(one_by_one))
            }
            WritesRowsOneByOne => {
                if !self.are_as_expected(changes) {
                    return Ok(false);
                }
                for one in changes {
                    self.write(one);
                    tokio::task::yield_now().await;
                }
                Ok(true)
            }
            IsBusyUntilDone => {
                if self.busy.swap(true, Ordering::SeqCst) {
                    return Err("busy".into());
                }
                self.others_come_in_between().await;
                let is_made = self.commit_at_once(changes, changes);
                self.busy.store(false, Ordering::SeqCst);
                Ok(is_made)
            }
            KeepsItsLockWhenDropped => {
                self.lock.acquire().await?.forget();
                tokio::task::yield_now().await;
                let is_made = self.commit_at_once(changes, changes);
                self.lock.add_permits(1);
                Ok(is_made)
            }
            _ => Ok(self.commit_at_once(changes, changes)),
        }
    }

    fn rows(&self, keys: &[StateKey]) -> Vec<Option<Row>> {
        let now = self.clock.now();
        let mut table = self.table.lock().unwrap();
        if self.defect == LivesLongerWhenRead {
            let read = |(key, row): (&StateKey, &mut Stored)| {
                if keys.contains(key) && now < row.end {
                    row.end = row.end.max(now.plus(Duration::from_secs(2)));
                }
            };
            table.rows.iter_mut().for_each(read);
        }
        let row = |key| {
            let row =
                table.rows.get(key).filter(|row| self.defect == NeverEnds || now < row.end)?;
            Some(Row { version: Version::new(row.version), value: row.value.clone() })
        };
        keys.iter().map(row).collect()
    }

    fn are_as_expected(&self, changes: &[Change]) -> bool {
        self.commit_at_once(changes, &[])
    }

    fn write(&self, change: &Change) {
        self.commit_at_once(&[], std::slice::from_ref(change));
    }

    /// Returns whether the rows of `compared` were as expected, and writes `written` if so.
    fn commit_at_once(&self, compared: &[Change], written: &[Change]) -> bool {
        let now = self.clock.now();
        let mut table = self.table.lock().unwrap();
        let is_there = |row: &&Stored| {
            matches!(self.defect, NeverEnds | ComparesWithWhatHasExpired) || now < row.end
        };
        let as_expected = |change: &Change| {
            let row = table.rows.get(&change.key).filter(is_there);
            row.map_or(Expected::Absent, |row| Expected::Version(Version::new(row.version)))
                == change.expected
        };
        if !compared.iter().all(as_expected) {
            return false;
        }
        for Change { key, write, .. } in written {
            let Write::Put { value, ttl } = write else {
                table.rows.remove(key);
                continue;
            };
            table.last_version += 1;
            let before = table.rows.get(key).cloned();
            let version = match self.defect {
                CountsVersionsByRow => before.as_ref().map_or(1, |row| row.version + 1),
                TakesTheValueForItsVersion => {
                    value.iter().fold(7, |sum, byte| sum * 31 % 65_521 + u64::from(*byte))
                }
                _ => table.last_version,
            };
            let end = match (self.defect, before) {
                (KeepsTheFirstEnd, Some(row)) => row.end,
                (RoundsLivesDown, _) => now.plus(Duration::from_secs(ttl.as_secs())),
                (EndsIn2038, _) if now.plus(*ttl).unix_seconds() > i32::MAX as u64 => {
                    Timestamp::from_unix_seconds(0)
                }
                _ => now.plus(*ttl),
            };
            let value = match self.defect {
                TurnsValuesIntoText => String::from_utf8_lossy(value).into_owned().into_bytes(),
                _ => value.clone(),
            };
            table.rows.insert(*key, Stored { version, value, end });
        }
        true
    }

    /// Waits until another call has come as far, or until it is clear that there is none.
    async fn others_come_in_between(&self) {
        let arrived = self.arrivals.fetch_add(1, Ordering::SeqCst) + 1;
        for _ in 0..500 {
            if self.arrivals.load(Ordering::SeqCst) != arrived {
                return;
            }
            std::thread::yield_now();
            tokio::task::yield_now().await;
        }
    }
}
