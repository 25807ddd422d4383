//! The store as one instance of the application sees it.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use password_grant::state::{
    Change, Commit, Expected, Loaded, Row, StateKey, StateStore, Version, Write,
};
use password_grant::time::Timestamp;
use password_grant::{BoxError, Clock, async_trait};

use crate::defects::Defect::*;
use crate::shelf::{MINUTE, Shared, Stored, Table};

/// The store as one instance of the application sees it.
pub(super) struct Instance {
    pub(super) number: u32,
    pub(super) shared: Arc<Shared>,
    pub(super) own: Mutex<Own>,
}

/// What an instance keeps to itself.
#[derive(Default)]
pub(super) struct Own {
    /// Rows that it has read or written.
    pub(super) rows: BTreeMap<StateKey, Option<Row>>,
    /// How often it has read each row since it has written it.
    pub(super) reads: BTreeMap<StateKey, usize>,
    /// How many conflicts over the same rows it has met in a row.
    pub(super) conflicts: BTreeMap<Vec<StateKey>, usize>,
    pub(super) last_version: u64,
}

#[async_trait]
impl StateStore for Instance {
    async fn load(&self, keys: &[StateKey]) -> Result<Loaded, BoxError> {
        let rows = match self.shared.defect {
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
        let remembered = |(key, row)| self.remembered(key, row);
        let rows = match self.shared.defect {
            LeavesOutWhatIsAbsent => rows,
            _ => keys.iter().zip(rows).map(remembered).collect(),
        };
        Ok(Loaded { now: self.told_time(), rows })
    }

    async fn commit(&self, changes: &[Change]) -> Result<Commit, BoxError> {
        let defect = self.shared.defect;
        let in_order = match defect {
            TakesKeysInAnyOrder => true,
            TakesAKeyTwice => changes.is_sorted_by(|one, next| one.key <= next.key),
            _ => changes.is_sorted_by(|one, next| one.key < next.key),
        };
        if !in_order {
            return Err("the keys of a commit are not in ascending order".into());
        }
        let ttl = |change: &Change| match change.write {
            Write::Put { ttl, .. } => ttl,
            Write::Delete => MINUTE,
        };
        if defect == RefusesTheShortestLives && changes.iter().any(|one| ttl(one).as_millis() < 1) {
            return Err("invalid expire time".into());
        }
        if defect == TakesTenRowsAtMost && changes.len() > 10 {
            return Err("too many operations in a transaction".into());
        }
        let keys: Vec<_> = changes.iter().map(|change| change.key).collect();
        let known = self.know(&keys);
        if let Some(rows) = self.written(changes, &keys).await? {
            let former = |change: &Change| match change.expected {
                Expected::Version(version) => Some(version),
                Expected::Absent => None,
            };
            self.own.lock().unwrap().conflicts.remove(&keys);
            if defect == RemembersWhatItWrote {
                self.own.lock().unwrap().rows.extend(keys.iter().copied().zip(rows.clone()));
            }
            let versions = rows.into_iter().map(|row| row.map(|row| row.version));
            let versions = match defect {
                TellsFormerVersions => changes.iter().map(former).collect(),
                TellsNothingOfDeletes => versions.filter(Option::is_some).collect(),
                _ => versions.collect(),
            };
            return Ok(Commit::Committed { versions });
        }
        if defect == GivesUpAfterConflicts && changes.len() > 1 {
            let mut own = self.own.lock().unwrap();
            let conflicts = own.conflicts.entry(keys.clone()).or_default();
            *conflicts += 1;
            if *conflicts > 5 {
                return Err("the transaction was tried too often".into());
            }
        }
        let mut rows = match defect {
            TellsExpiredRowsOfAConflict => self.rows_at(&keys, Timestamp::from_unix_seconds(0)),
            _ => self.rows(&keys),
        };
        match defect {
            TellsRowsThatAreNotThere => {
                rows.iter_mut().flatten().for_each(|row| row.value = b"3".to_vec())
            }
            TellsOnlyWhatWasNotAsExpected => {
                let differs = |(row, change): (Option<Row>, &Change)| {
                    (Expected::of(row.as_ref()) != change.expected).then_some(row)
                };
                rows = rows.into_iter().zip(changes).filter_map(differs).collect();
            }
            TellsAbsenceAsExpected => {
                for (row, change) in rows.iter_mut().zip(changes) {
                    *row = row.take().filter(|_| change.expected != Expected::Absent);
                }
            }
            TellsRowsAsItHasReadThem => {
                for (row, known) in rows.iter_mut().zip(known) {
                    *row = known.unwrap_or_else(|| row.take());
                }
            }
            _ => {}
        }
        Ok(Commit::Conflict { fresh: Some(Loaded { now: self.told_time(), rows }) })
    }
}

impl Instance {
    /// The row as the instance remembers it, or else as it was read, which it may remember.
    fn remembered(&self, key: &StateKey, row: Option<Row>) -> Option<Row> {
        let mut own = self.own.lock().unwrap();
        match self.shared.defect {
            RemembersWhatItRead => own.rows.entry(*key).or_insert(row).clone(),
            RemembersWhatItReadOften => {
                let reads = own.reads.entry(*key).or_default();
                *reads += 1;
                let often = *reads > 16;
                if often { own.rows.entry(*key).or_insert(row).clone() } else { row }
            }
            // The row that is there has another version, so it was written by another instance.
            RemembersWhatItWrote => {
                if row.is_some() {
                    own.rows.get(key).cloned().unwrap_or(row)
                } else {
                    row
                }
            }
            TellsRowsAsItHasReadThem => {
                own.rows.insert(*key, row.clone());
                row
            }
            _ => row,
        }
    }

    /// Returns what the instance remembers of rows that it is going to write, and forgets it.
    fn know(&self, keys: &[StateKey]) -> Vec<Option<Option<Row>>> {
        let mut own = self.own.lock().unwrap();
        keys.iter()
            .map(|key| {
                own.reads.remove(key);
                own.rows.remove(key)
            })
            .collect()
    }

    /// The caller's clock: that of each instance is two minutes ahead of the last one's.
    fn callers_time(&self) -> Timestamp {
        self.shared.clock.now().plus(2 * MINUTE * self.number)
    }

    fn told_time(&self) -> Timestamp {
        match self.shared.defect {
            TellsTheCallersTime => self.callers_time(),
            _ => self.shared.clock.now(),
        }
    }

    /// The time by which lives are counted.
    fn now(&self) -> Timestamp {
        match self.shared.defect {
            CountsLivesByTheCallersClock => self.callers_time(),
            _ => self.shared.clock.now(),
        }
    }

    /// The rows as a commit has written them; `None` if it is a conflict. Nobody else writes between
    /// the commit and the look at what it has written, unless the defect is of that kind.
    async fn written(
        &self,
        changes: &[Change],
        keys: &[StateKey],
    ) -> Result<Option<Vec<Option<Row>>>, BoxError> {
        // A row without any life has a version too.
        let any_time = Timestamp::from_unix_seconds(0);
        if let Some(is_made) = self.is_made_oddly(changes).await? {
            return Ok(is_made.then(|| self.rows_at(keys, any_time)));
        }
        let mut table = self.shared.table.lock().unwrap();
        let is_made = self.commit_in(&mut table, changes, changes);
        Ok(is_made.then(|| self.rows_in(&mut table, keys, any_time)))
    }

    /// Whether a commit was made, in the way of a defect that does not make it at once; `None` if it
    /// is to be made at once.
    async fn is_made_oddly(&self, changes: &[Change]) -> Result<Option<bool>, BoxError> {
        match self.shared.defect {
            AlwaysInConflict => Ok(Some(false)),
            LosesUpdates if changes.iter().all(|change| change.expected != Expected::Absent) => {
                Ok(Some(self.are_as_expected(changes)))
            }
            ComparesBeforeItWrites => {
                if !self.are_as_expected(changes) {
                    return Ok(Some(false));
                }
                self.others_come_in_between().await;
                changes.iter().for_each(|change| self.write(change));
                Ok(Some(true))
            }
            InsertsOverWhatIsThere => {
                let compared: Vec<_> = changes
                    .iter()
                    .filter(|change| change.expected != Expected::Absent)
                    .cloned()
                    .collect();
                Ok(Some(self.commit_at_once(&compared, changes)))
            }
            WritesUpToTheConflict => {
                let one_by_one = |one: &Change| {
                    self.commit_at_once(std::slice::from_ref(one), std::slice::from_ref(one))
                };
                Ok(Some(changes.iter().all(one_by_one)))
            }
            WritesRowsOneByOne => {
                if !self.are_as_expected(changes) {
                    return Ok(Some(false));
                }
                for one in changes {
                    self.write(one);
                    tokio::task::yield_now().await;
                }
                Ok(Some(true))
            }
            LooksVersionsUpLater => {
                let is_made = self.commit_at_once(changes, changes);
                self.others_come_in_between().await;
                Ok(Some(is_made))
            }
            IsBusyUntilDone => {
                if self.shared.busy.swap(true, Ordering::SeqCst) {
                    return Err("busy".into());
                }
                self.others_come_in_between().await;
                let is_made = self.commit_at_once(changes, changes);
                self.shared.busy.store(false, Ordering::SeqCst);
                Ok(Some(is_made))
            }
            KeepsItsLockWhenDropped => {
                self.shared.lock.acquire().await?.forget();
                tokio::task::yield_now().await;
                let is_made = self.commit_at_once(changes, changes);
                self.shared.lock.add_permits(1);
                Ok(Some(is_made))
            }
            WritesLateWhatWasDropped | WritesMuchLaterWhatWasDropped => {
                let mut unless_dropped = WhenDropped { shared: &self.shared, changes };
                tokio::task::yield_now().await;
                unless_dropped.changes = &[];
                Ok(None)
            }
            CommitsShardByShard => {
                let is_in = |shard: u8| move |one: &&Change| one.key.as_bytes()[1] % 2 == shard;
                let shard = |shard| changes.iter().filter(is_in(shard)).cloned().collect();
                let shards: [Vec<Change>; 2] = [shard(0), shard(1)];
                Ok(Some(shards.iter().all(|shard| self.commit_at_once(shard, shard))))
            }
            _ => Ok(None),
        }
    }

    /// The place of a key in the table.
    fn place(&self, key: &StateKey) -> Vec<u8> {
        let key = key.as_bytes();
        match self.shared.defect {
            IgnoresTheCaseOfKeys => key.to_ascii_lowercase(),
            TurnsKeysIntoText => String::from_utf8_lossy(key).into_owned().into_bytes(),
            TrimsKeys => {
                let end = key.iter().rposition(|byte| ![0, b' '].contains(byte));
                key[..end.map_or(0, |last| last + 1)].to_vec()
            }
            _ => key.to_vec(),
        }
    }

    fn rows(&self, keys: &[StateKey]) -> Vec<Option<Row>> {
        self.rows_at(keys, self.now())
    }

    fn rows_at(&self, keys: &[StateKey], now: Timestamp) -> Vec<Option<Row>> {
        self.rows_in(&mut self.shared.table.lock().unwrap(), keys, now)
    }

    fn rows_in(&self, table: &mut Table, keys: &[StateKey], now: Timestamp) -> Vec<Option<Row>> {
        if self.shared.defect == LivesLongerWhenRead {
            for key in keys {
                if let Some(row) = table.rows.get_mut(&self.place(key)).filter(|row| now < row.end)
                {
                    row.end = row.end.max(now.plus(Duration::from_secs(2)));
                }
            }
        }
        let is_there = |row: &&Stored| {
            (self.shared.defect == NeverEnds || now < row.end)
                && !row.deleted
                && self.knows(row)
                && (self.shared.defect != SkipsValuesThatItDoesNotKnow
                    || row.value.first() != Some(&0xee))
        };
        let is_behind = self.shared.defect == ReadsFromAReplica && table.last_writer != self.number;
        let rows = if is_behind { &table.replica } else { &table.rows };
        let row = |key| {
            let row = rows.get(&self.place(key)).filter(is_there)?;
            Some(Row { version: Version::new(row.version), value: row.value.clone() })
        };
        keys.iter().map(row).collect()
    }

    /// Whether a row is visible to this instance.
    fn knows(&self, row: &Stored) -> bool {
        self.shared.defect != KeepsBriefRowsToItself
            || row.ttl > MINUTE / 2
            || row.writer == self.number
    }

    fn are_as_expected(&self, changes: &[Change]) -> bool {
        self.commit_at_once(changes, &[])
    }

    pub(super) fn write(&self, change: &Change) {
        self.commit_at_once(&[], std::slice::from_ref(change));
    }

    /// Returns whether the rows of `compared` were as expected, and writes `written` if so.
    pub(super) fn commit_at_once(&self, compared: &[Change], written: &[Change]) -> bool {
        self.commit_in(&mut self.shared.table.lock().unwrap(), compared, written)
    }

    fn commit_in(&self, table: &mut Table, compared: &[Change], written: &[Change]) -> bool {
        let (now, defect) = (self.now(), self.shared.defect);
        let as_expected = |change: &Change| {
            let is_there = |row: &&Stored| {
                (matches!(defect, NeverEnds | ComparesWithWhatHasExpired) || now < row.end)
                    && self.knows(row)
                    && (!row.deleted
                        || change.expected != Expected::Absent && change.write != Write::Delete)
            };
            let row = table.rows.get(&self.place(&change.key)).filter(is_there);
            match (row, change.expected) {
                (None, Expected::Absent) => true,
                (Some(_), Expected::Version(_))
                    if defect == DeletesWhateverIsThere && change.write == Write::Delete =>
                {
                    true
                }
                (Some(row), Expected::Version(version))
                    if defect == TakesAnEqualValueForNoWrite =>
                {
                    let is_equal =
                        matches!(&change.write, Write::Put { value, .. } if *value == row.value);
                    row.version == version.number() && !is_equal
                }
                (Some(row), Expected::Version(version)) if defect == ComparesHalfOfAVersion => {
                    row.version as u32 == version.number() as u32
                }
                (Some(row), Expected::Version(version)) => row.version == version.number(),
                _ => false,
            }
        };
        let counts = |change: &Change| {
            let overwrites = change.expected == Expected::Absent
                && table.rows.contains_key(&self.place(&change.key));
            usize::from(as_expected(change)) * if overwrites { 2 } else { 1 }
        };
        let mut written: Vec<_> = written.iter().collect();
        if defect == CountsAnOverwrittenRowTwice {
            if compared.iter().map(counts).sum::<usize>() < compared.len() {
                return false;
            }
            written.retain(|change| as_expected(change));
        } else if defect == JudgesByTheLastStatement {
            if !compared.last().is_none_or(as_expected) {
                return false;
            }
            written.retain(|change| as_expected(change));
        } else if !compared.iter().all(as_expected) {
            return false;
        }
        if defect == ReadsFromAReplica {
            table.replica = table.rows.clone();
            table.last_writer = self.number;
        }
        for Change { key, write, .. } in written {
            let place = self.place(key);
            let Write::Put { value, ttl } = write else {
                match table.rows.get_mut(&place) {
                    Some(row) if defect == WritesOverWhatWasDeleted => row.deleted = true,
                    _ => drop(table.rows.remove(&place)),
                }
                continue;
            };
            table.last_version += 1;
            let before = table.rows.get(&place).cloned();
            let version = match defect {
                CountsVersionsByRow => before.as_ref().map_or(1, |row| row.version + 1),
                CountsVersionsByInstance => {
                    let mut own = self.own.lock().unwrap();
                    own.last_version += 1;
                    own.last_version
                }
                TakesTheValueForItsVersion => {
                    value.iter().fold(7, |sum, byte| sum * 31 % 65_521 + u64::from(*byte))
                }
                _ => table.last_version,
            };
            let ttl = match defect {
                TakesNoLifeForForever if ttl.as_millis() == 0 => 1_000_000 * MINUTE,
                CountsLivesIn32Bits => Duration::from_millis((ttl.as_millis() as u32).into()),
                RoundsLivesDown => Duration::from_secs(ttl.as_secs()),
                _ => *ttl,
            };
            let end = match (defect, before) {
                (KeepsTheFirstEnd, Some(row)) => row.end,
                (EndsIn2038, _) if now.plus(ttl).unix_seconds() > i32::MAX as u64 => {
                    Timestamp::from_unix_seconds(0)
                }
                _ => now.plus(ttl),
            };
            let value = match defect {
                TurnsValuesIntoText => String::from_utf8_lossy(value).into_owned().into_bytes(),
                CutsValuesAt255 => value[..value.len().min(255)].to_vec(),
                CutsValuesAtZero => {
                    value.split(|byte| *byte == 0).next().unwrap_or_default().to_vec()
                }
                TrimsValues => {
                    let end = value.iter().rposition(|byte| *byte != b' ');
                    value[..end.map_or(0, |last| last + 1)].to_vec()
                }
                _ => value.clone(),
            };
            let (writer, deleted) = (self.number, false);
            table.rows.insert(place, Stored { version, value, end, ttl, writer, deleted });
        }
        true
    }

    /// Waits until another call has come as far, or until it is clear that there is none.
    async fn others_come_in_between(&self) {
        let arrived = self.shared.arrivals.fetch_add(1, Ordering::SeqCst) + 1;
        for _ in 0..500 {
            if self.shared.arrivals.load(Ordering::SeqCst) != arrived {
                return;
            }
            std::thread::yield_now();
            tokio::task::yield_now().await;
        }
    }
}

/// Keeps what a commit would have written if it is dropped.
struct WhenDropped<'a> {
    shared: &'a Shared,
    changes: &'a [Change],
}

impl Drop for WhenDropped<'_> {
    fn drop(&mut self) {
        if !self.changes.is_empty() {
            self.shared.dropped.lock().unwrap().push(self.changes.to_vec());
        }
    }
}
