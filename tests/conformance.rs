//! The suite that proves state stores, proven itself: what keeps the promises passes, and whatever breaks one is found
//! by the check that is there for it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use password_grant::conformance::{Check, Fixture, check, check_all};
use password_grant::environment::{SecureRandom, SystemRandom};
use password_grant::state::{
    Change, Commit, Expected, InMemoryState, Loaded, Row, StateKey, StateStore, Version, Write,
};
use password_grant::testing::ManualClock;
use password_grant::time::{BoxFuture, Timestamp};
use password_grant::{BoxError, Clock, Environment, async_trait};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions};
use sqlx::{QueryBuilder, Sqlite};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

fn noon() -> ManualClock {
    ManualClock::at(Timestamp::from_unix_seconds(1_800_000_000))
}

// ---------------------------------------------------------------------------------------------------------------------
// What keeps the promises
// ---------------------------------------------------------------------------------------------------------------------

#[test]
fn the_state_in_memory_keeps_what_a_store_promises() {
    struct InMemory {
        clock: ManualClock,
        state: InMemoryState,
        runtime: Runtime,
    }

    impl Fixture for InMemory {
        fn connect(&self) -> Arc<dyn StateStore> {
            Arc::new(self.state.clone())
        }

        fn run(&self, future: BoxFuture<'_, ()>) {
            self.runtime.block_on(future);
        }

        fn pass(&self, span: Duration) {
            self.clock.advance(span);
        }
    }

    let clock = noon();
    let state = InMemoryState::new().environment(&Environment::new().clock(clock.clone()));
    check_all(&InMemory { clock, state, runtime: runtime() });
}

#[test]
fn a_database_keeps_what_a_store_promises() {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("conformance-{}.db", std::process::id()));
    let database = Database::at(file);
    check_all(&database);
    database.remove();
}

/// The whole store that a host would write over SQLite. Lives are counted by the database's clock.
struct SqliteState(SqlitePool);

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS state (
        key BLOB PRIMARY KEY, value BLOB NOT NULL, version INTEGER NOT NULL, expires_at INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS state_by_end ON state (expires_at);
";

const INSERT: &str = "
    INSERT INTO state VALUES ($1, $2, $3, $4 + CAST(unixepoch('subsec') * 1000 AS INTEGER))
    ON CONFLICT (key) DO UPDATE
    SET value = excluded.value, version = excluded.version, expires_at = excluded.expires_at
    WHERE state.expires_at <= CAST(unixepoch('subsec') * 1000 AS INTEGER)
";

const UPDATE: &str = "
    UPDATE state SET value = $2, version = $3, expires_at = $4 + CAST(unixepoch('subsec') * 1000 AS INTEGER)
    WHERE key = $1 AND version = $5 AND expires_at > CAST(unixepoch('subsec') * 1000 AS INTEGER)
";

const DELETE: &str = "
    DELETE FROM state WHERE key = $1 AND version = $2 AND expires_at > CAST(unixepoch('subsec') * 1000 AS INTEGER)
";

impl SqliteState {
    async fn open(file: &Path) -> Result<Self, BoxError> {
        let options = SqliteConnectOptions::new().filename(file).create_if_missing(true);
        let options =
            options.journal_mode(SqliteJournalMode::Wal).busy_timeout(Duration::from_secs(2));
        let pool = SqlitePoolOptions::new().max_connections(2).connect_with(options).await?;
        sqlx::raw_sql(SCHEMA).execute(&pool).await?;
        Ok(Self(pool))
    }

    /// Whatever this removes was absent before, and its version does not come again.
    async fn sweep(&self) -> Result<(), BoxError> {
        let expired =
            "DELETE FROM state WHERE expires_at <= CAST(unixepoch('subsec') * 1000 AS INTEGER)";
        sqlx::query(expired).execute(&self.0).await?;
        Ok(())
    }
}

#[async_trait]
impl StateStore for SqliteState {
    /// In one statement, which sees the rows as they are at one moment.
    async fn load(&self, keys: &[StateKey]) -> Result<Loaded, BoxError> {
        let mut load = QueryBuilder::<Sqlite>::new(
            "SELECT now, key, version, value
             FROM (SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER) AS now) AS clock
             LEFT JOIN state ON expires_at > now AND key IN (",
        );
        let mut list = load.separated(", ");
        for key in keys {
            list.push_bind(&key.as_bytes()[..]);
        }
        load.push(")");
        let found: Vec<(i64, Option<Vec<u8>>, Option<i64>, Option<Vec<u8>>)> =
            load.build_query_as().fetch_all(&self.0).await?;
        let now = found.first().map_or(0, |(now, ..)| *now);
        let row = |key: &StateKey| {
            let is_it =
                |row: &&(_, Option<Vec<u8>>, _, _)| row.1.as_deref() == Some(&key.as_bytes()[..]);
            let (_, _, version, value) = found.iter().find(is_it)?;
            Some(Row { version: Version::new((*version)? as u64), value: value.clone()? })
        };
        Ok(Loaded {
            now: Timestamp::from_unix_millis(now.try_into()?),
            rows: keys.iter().map(row).collect(),
        })
    }

    /// One statement a change, which writes its row only if that is as expected.
    async fn commit(&self, changes: &[Change]) -> Result<Commit, BoxError> {
        if !ascending(changes) {
            return Err("the keys of a commit are not in ascending order".into());
        }
        let mut transaction = self.0.begin_with("BEGIN IMMEDIATE").await?;
        let mut versions = Vec::new();
        for Change { key, expected, write } in changes {
            let key = &key.as_bytes()[..];
            let (statement, version) = match (expected, write) {
                (Expected::Absent, Write::Put { value, life }) => {
                    let version = random()?;
                    let insert = sqlx::query(INSERT)
                        .bind(key)
                        .bind(&value[..])
                        .bind(version)
                        .bind(millis(*life)?);
                    (insert, Some(version))
                }
                (Expected::Version(former), Write::Put { value, life }) => {
                    let version = random()?;
                    let update = sqlx::query(UPDATE)
                        .bind(key)
                        .bind(&value[..])
                        .bind(version)
                        .bind(millis(*life)?);
                    (update.bind(former.number() as i64), Some(version))
                }
                (Expected::Version(former), Write::Delete) => {
                    (sqlx::query(DELETE).bind(key).bind(former.number() as i64), None)
                }
                (Expected::Absent, Write::Delete) => {
                    return Err("what is absent cannot be deleted".into());
                }
            };
            if statement.execute(&mut *transaction).await?.rows_affected() == 0 {
                transaction.rollback().await?;
                return Ok(Commit::Conflict { fresh: None });
            }
            versions.push(version.map(|version| Version::new(version as u64)));
        }
        transaction.commit().await?;
        Ok(Commit::Committed { versions })
    }
}

fn random() -> Result<i64, BoxError> {
    let mut bytes = [0; 8];
    SystemRandom::new().fill(&mut bytes)?;
    Ok(i64::from_le_bytes(bytes))
}

fn millis(life: Duration) -> Result<i64, BoxError> {
    Ok(i64::try_from(life.as_nanos().div_ceil(1_000_000))?)
}

fn ascending(changes: &[Change]) -> bool {
    changes.is_sorted_by(|one, next| one.key < next.key)
}

struct Database {
    file: PathBuf,
    runtime: Runtime,
    pools: Mutex<Vec<SqlitePool>>,
    passes: AtomicUsize,
}

impl Database {
    fn at(file: PathBuf) -> Self {
        Self { file, runtime: runtime(), pools: Mutex::default(), passes: AtomicUsize::new(0) }
    }

    fn open(&self) -> SqliteState {
        let state = self.runtime.block_on(SqliteState::open(&self.file)).unwrap();
        self.pools.lock().unwrap().push(state.0.clone());
        state
    }

    fn close(&self) {
        for pool in self.pools.lock().unwrap().drain(..) {
            self.runtime.block_on(pool.close());
        }
    }

    fn remove(self) {
        self.close();
        std::fs::remove_file(self.file).unwrap();
    }
}

impl Fixture for Database {
    fn connect(&self) -> Arc<dyn StateStore> {
        Arc::new(self.open())
    }

    fn run(&self, future: BoxFuture<'_, ()>) {
        self.runtime.block_on(future);
    }

    /// The database's clock cannot be moved by hand. Every other time what has expired is swept away too, so that it is
    /// found absent both ways.
    fn pass(&self, span: Duration) {
        std::thread::sleep(span);
        if self.passes.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) {
            self.sweep();
        }
    }

    fn sweep(&self) {
        let state = self.open();
        self.runtime.block_on(state.sweep()).unwrap();
    }

    fn restart(&self) -> bool {
        self.close();
        true
    }
}

// ---------------------------------------------------------------------------------------------------------------------
// What breaks them
// ---------------------------------------------------------------------------------------------------------------------

/// What is wrong with a [`Shelf`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Defect {
    Nothing,
    /// A column of text.
    TurnsValuesIntoText,
    /// What a `SELECT … WHERE key IN (…)` returns, as it is.
    LeavesOutWhatIsAbsent,
    /// Each row in a transaction of its own.
    WritesUpToTheConflict,
    /// `SELECT`, then `UPDATE` without the version.
    ComparesBeforeItWrites,
    /// `INSERT … ON CONFLICT DO UPDATE`.
    InsertsOverWhatIsThere,
    AlwaysInConflict,
    /// `version = version + 1`.
    CountsVersionsByRow,
    /// An entity tag.
    TakesTheValueForItsVersion,
    NeverEnds,
    /// An `UPDATE` that leaves `expires_at` alone.
    KeepsTheFirstEnd,
    RoundsLivesDown,
    /// Looks for what has expired first, and deletes it then, whatever it is by then.
    SweepsWhatWasWrittenAnew,
    /// A column of 32 bits, in which what comes later is the beginning again.
    EndsIn2038,
    /// A cache in each instance, of which its own commits clear what they write.
    RemembersWhatItRead,
    /// As caches do.
    LivesLongerWhenRead,
    /// Only loads look at `expires_at`; the unique index does not.
    ComparesWithWhatHasExpired,
    TakesKeysInAnyOrder,
    TakesAKeyTwice,
    /// Those that were expected.
    TellsFormerVersions,
    /// Of the puts alone.
    TellsNothingOfDeletes,
    /// As they would be had the commit been made.
    TellsRowsThatAreNotThere,
    /// And none of the others.
    TellsOnlyWhatWasNotAsExpected,
    LoadsRowsOneByOne,
    WritesRowsOneByOne,
    /// `SQLITE_BUSY`, and a flag that a dropped call leaves behind.
    IsBusyUntilDone,
    /// A lock that a dropped call leaves behind.
    KeepsItsLockWhenDropped,
    /// Says that it has written, and has not: a replica that was never told.
    LosesUpdates,
    LosesRowsOnRestart,
    BeginsVersionsAnewOnRestart,
    ForgetsEndsOnRestart,
}

use Defect::*;

/// Which check finds what, and by which words.
const FOUND: &[(Defect, Check, &str)] = &[
    (TurnsValuesIntoText, Check::RoundTrip, "bytes instead of"),
    (LeavesOutWhatIsAbsent, Check::RoundTrip, "a load did not return a row, or none, for each key"),
    (AlwaysInConflict, Check::RoundTrip, "new rows were a conflict"),
    (AlwaysInConflict, Check::LostUpdates, "in conflict 1000 times"),
    (WritesUpToTheConflict, Check::AllOrNothing, "of 5 left something written"),
    (InsertsOverWhatIsThere, Check::AllOrNothing, "what was not as expected at 3 was no conflict"),
    (TellsFormerVersions, Check::Answers, "a commit told other versions than a load shows"),
    (TellsNothingOfDeletes, Check::Answers, "versions were told wrongly of a write and a delete"),
    (
        TellsRowsThatAreNotThere,
        Check::Answers,
        "a conflict told other rows than those that are there",
    ),
    (
        TellsOnlyWhatWasNotAsExpected,
        Check::Answers,
        "a conflict told other rows than those that are there",
    ),
    (InsertsOverWhatIsThere, Check::OneWinner, "8 of 8 won a row that is new"),
    (CountsVersionsByRow, Check::Versions, "a version was used again after a delete"),
    (
        TakesTheValueForItsVersion,
        Check::Versions,
        "a version was used again by a write of the same value",
    ),
    (NeverEnds, Check::Lives, "a row of 0.9 seconds is there two seconds later"),
    (KeepsTheFirstEnd, Check::Lives, "a row whose life was made"),
    (RoundsLivesDown, Check::Lives, "a row was gone before its time"),
    (SweepsWhatWasWrittenAnew, Check::Sweeping, "of 16 rows that were written anew"),
    (EndsIn2038, Check::Lives, "a row of a hundred years is gone after two seconds"),
    (
        RemembersWhatItRead,
        Check::ReadsAtOnce,
        "what one instance has committed, another did not read at once",
    ),
    (
        RemembersWhatItRead,
        Check::LogOuts,
        "after a log-out a session of before was answered with 200",
    ),
    (LivesLongerWhenRead, Check::Lives, "a row that was read meanwhile is there two seconds later"),
    (
        ComparesWithWhatHasExpired,
        Check::Lives,
        "the version of a row that had expired was taken for present",
    ),
    (ComparesWithWhatHasExpired, Check::OneWinner, "0 of 8 won a row that has expired"),
    (TakesKeysInAnyOrder, Check::OrderedKeys, "keys in descending order: no error"),
    (TakesAKeyTwice, Check::OrderedKeys, "a key twice: no error"),
    (ComparesBeforeItWrites, Check::OneWinner, "won a row that is new"),
    (ComparesBeforeItWrites, Check::LostUpdates, "additions"),
    (ComparesBeforeItWrites, Check::AttemptLimiter, "10 guesses may be verified, and"),
    (ComparesBeforeItWrites, Check::AssertionsUsedOnce, "an assertion was accepted"),
    (LoadsRowsOneByOne, Check::Snapshots, "rows that always add up to 300 were read as"),
    (IsBusyUntilDone, Check::Snapshots, "a commit failed: busy"),
    (IsBusyUntilDone, Check::DroppedCalls, "a commit failed: busy"),
    (WritesRowsOneByOne, Check::DroppedCalls, "a commit dropped after 1 polls wrote 1 of 3"),
    (KeepsItsLockWhenDropped, Check::DroppedCalls, "no answer came within 10s"),
    (LosesUpdates, Check::LostUpdates, "of 200 additions 1 were counted"),
    (LosesUpdates, Check::AttemptLimiter, "10 guesses may be verified, and"),
    (ComparesBeforeItWrites, Check::RefreshFamilies, "one use of a refresh token is good"),
    (LosesUpdates, Check::RefreshFamilies, "one use of a refresh token is good"),
    (LosesUpdates, Check::AttemptLimiterUnderFaults, "guesses were verified"),
    (
        LosesRowsOnRestart,
        Check::Restart,
        "a row that was committed is not the same after a restart",
    ),
    (
        LosesRowsOnRestart,
        Check::AttemptLimiter,
        "after a restart a name that has to wait was answered with 200",
    ),
    (BeginsVersionsAnewOnRestart, Check::Restart, "a version was used again after a restart"),
    (ForgetsEndsOnRestart, Check::Restart, "a restart made a row live longer"),
];

#[test]
fn every_check_finds_what_it_is_there_for() {
    let mut missed = Vec::new();
    for (defect, looked_for, words) in FOUND {
        match check(&Shelf::with(*defect), *looked_for) {
            Err(violation) if violation.check == *looked_for && violation.what.contains(words) => {}
            other => {
                missed.push(format!("{defect:?} by {looked_for:?}: {other:?} instead of {words:?}"))
            }
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
    for one in Check::ALL {
        assert!(
            FOUND.iter().any(|(_, finds, _)| finds == one),
            "nothing shows that {one:?} finds anything"
        );
    }
}

/// Or the table above would show nothing.
#[test]
fn the_same_store_without_a_defect_keeps_what_a_store_promises() {
    check_all(&Shelf::with(Nothing));
}

#[test]
#[should_panic(expected = "OrderedKeys: a key twice: no error")]
fn a_check_of_everything_names_what_was_found() {
    check_all(&Shelf::with(TakesAKeyTwice));
}

/// A small store with a defect. Whatever races in it waits until another one has come as far.
struct Shelf {
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
    /// How many have come to where others may come in between.
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
    fn with(defect: Defect) -> Self {
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
            // Until another one has written, or for long enough for there to be none.
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
            _ => ascending(changes),
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

    /// Whether what is compared was as expected, and the rest written.
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
            let Write::Put { value, life } = write else {
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
                (RoundsLivesDown, _) => now.plus(Duration::from_secs(life.as_secs())),
                (EndsIn2038, _) if now.plus(*life).unix_seconds() > i32::MAX as u64 => {
                    Timestamp::from_unix_seconds(0)
                }
                _ => now.plus(*life),
            };
            let value = match self.defect {
                TurnsValuesIntoText => String::from_utf8_lossy(value).into_owned().into_bytes(),
                _ => value.clone(),
            };
            table.rows.insert(*key, Stored { version, value, end });
        }
        true
    }

    /// Waits until another one has come as far too, or long enough for there to be none.
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
