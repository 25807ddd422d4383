//! The suite that proves state stores, proven itself: what keeps the promises passes, and whatever breaks one is found
//! by the check that is there for it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use password_grant::conformance::{Check, Fixture, check, check_all};
use password_grant::{
    BoxError, BoxFuture, Clock, Commit, Expected, InMemoryState, Loaded, ManualClock, Row, StateKey, StateStore,
    Timestamp, Version, Write, async_trait,
};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions};
use sqlx::{Sqlite, Transaction};
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
    let state = InMemoryState::new().clock(clock.clone());
    check_all(&InMemory { clock, state, runtime: runtime() });
}

#[test]
fn a_database_keeps_what_a_store_promises() {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("conformance-{}.db", std::process::id()));
    let database = Database::at(file);
    check_all(&database);
    database.remove();
}

/// The whole store that a host would write over SQLite. Lives are counted by the database's clock.
struct SqliteState(SqlitePool);

/// One row of `versions` numbers all writes there ever are, so that none is used again, whatever becomes of the rows.
const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS state (
        key BLOB PRIMARY KEY, value BLOB NOT NULL, version INTEGER NOT NULL, expires_at INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS state_by_end ON state (expires_at);
    CREATE TABLE IF NOT EXISTS versions (id INTEGER PRIMARY KEY, last INTEGER NOT NULL);
    INSERT INTO versions VALUES (1, 0) ON CONFLICT DO NOTHING;
";

impl SqliteState {
    async fn open(file: &Path) -> Result<Self, BoxError> {
        let options = SqliteConnectOptions::new().filename(file).create_if_missing(true);
        let options = options.journal_mode(SqliteJournalMode::Wal).busy_timeout(Duration::from_secs(5));
        let pool = SqlitePoolOptions::new().max_connections(2).connect_with(options).await?;
        sqlx::raw_sql(SCHEMA).execute(&pool).await?;
        Ok(Self(pool))
    }

    /// Whatever this removes was absent before, and its version does not come again.
    async fn sweep(&self) -> Result<(), BoxError> {
        let expired = "DELETE FROM state WHERE expires_at <= CAST(unixepoch('subsec') * 1000 AS INTEGER)";
        sqlx::query(expired).execute(&self.0).await?;
        Ok(())
    }

    /// In milliseconds since 1970.
    async fn now(transaction: &mut Transaction<'static, Sqlite>) -> Result<i64, BoxError> {
        let now = sqlx::query_scalar("SELECT CAST(unixepoch('subsec') * 1000 AS INTEGER)");
        Ok(now.fetch_one(&mut **transaction).await?)
    }

    async fn row(
        transaction: &mut Transaction<'static, Sqlite>,
        key: &StateKey,
        now: i64,
    ) -> Result<Option<Row>, BoxError> {
        let row = sqlx::query_as("SELECT version, value FROM state WHERE key = $1 AND $2 < expires_at");
        let row: Option<(i64, Vec<u8>)> =
            row.bind(&key.as_bytes()[..]).bind(now).fetch_optional(&mut **transaction).await?;
        row.map(|(version, value)| Ok(Row { version: Version::new(version.try_into()?), value })).transpose()
    }
}

#[async_trait]
impl StateStore for SqliteState {
    /// In one transaction, which sees the rows as they are at one moment.
    async fn load(&self, keys: &[StateKey]) -> Result<Loaded, BoxError> {
        let mut transaction = self.0.begin().await?;
        let now = Self::now(&mut transaction).await?;
        let mut rows = Vec::new();
        for key in keys {
            rows.push(Self::row(&mut transaction, key, now).await?);
        }
        transaction.commit().await?;
        Ok(Loaded { now: Timestamp::from_unix_millis(now.try_into()?), rows })
    }

    /// `BEGIN IMMEDIATE` lets one writer in at a time: what is compared stays so until all is written.
    async fn commit(&self, read: &[(StateKey, Expected)], write: &[(StateKey, Write)]) -> Result<Commit, BoxError> {
        if !(ascending(read) && ascending(write)) {
            return Err("the keys of a commit are not in ascending order".into());
        }
        let mut transaction = self.0.begin_with("BEGIN IMMEDIATE").await?;
        let now = Self::now(&mut transaction).await?;
        for (key, expected) in read {
            let row = Self::row(&mut transaction, key, now).await?;
            if row.map_or(Expected::Absent, |row| Expected::Version(row.version)) != *expected {
                transaction.rollback().await?;
                return Ok(Commit::Conflict);
            }
        }
        for (key, write) in write {
            match write {
                Write::Put { value, life } => {
                    let version = "UPDATE versions SET last = last + 1 RETURNING last";
                    let version: i64 = sqlx::query_scalar(version).fetch_one(&mut *transaction).await?;
                    let life = i64::try_from(life.as_nanos().div_ceil(1_000_000))?;
                    sqlx::query("INSERT OR REPLACE INTO state VALUES ($1, $2, $3, $4)")
                        .bind(&key.as_bytes()[..])
                        .bind(&value[..])
                        .bind(version)
                        .bind(now.saturating_add(life))
                        .execute(&mut *transaction)
                        .await?;
                }
                Write::Delete => {
                    let delete = sqlx::query("DELETE FROM state WHERE key = $1").bind(&key.as_bytes()[..]);
                    delete.execute(&mut *transaction).await?;
                }
            }
        }
        transaction.commit().await?;
        Ok(Commit::Committed)
    }
}

fn ascending<T>(keys: &[(StateKey, T)]) -> bool {
    keys.is_sorted_by(|(one, _), (next, _)| one < next)
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
            let state = self.open();
            self.runtime.block_on(state.sweep()).unwrap();
        }
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
    None,
    /// A column of text.
    TurnsValuesIntoText,
    /// What a `SELECT … WHERE key IN (…)` returns, as it is.
    LeavesOutWhatIsAbsent,
    /// Each row in a transaction of its own.
    WritesUpToTheConflict,
    ComparesOnlyWhatItWrites,
    /// The rows it writes are locked, those that it only reads are not: snapshot isolation.
    ComparesWhatItReadsTooEarly,
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
    /// As caches do.
    LivesLongerWhenRead,
    /// Only loads look at `expires_at`; the unique index does not.
    ComparesWithWhatHasExpired,
    TakesKeysInAnyOrder,
    LooksAtTheOrderOfReadsOnly,
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
    (WritesUpToTheConflict, Check::AllOrNothing, "of 4 left something written"),
    (ComparesOnlyWhatItWrites, Check::WholeReadSet, "a row that was only read had changed, unnoticed"),
    (ComparesOnlyWhatItWrites, Check::WriteSkew, "2 were made"),
    (ComparesWhatItReadsTooEarly, Check::WriteSkew, "2 were made"),
    (InsertsOverWhatIsThere, Check::WholeReadSet, "a row was there that was expected absent, unnoticed"),
    (InsertsOverWhatIsThere, Check::OneWinner, "8 of 8 won a row that is new"),
    (CountsVersionsByRow, Check::Versions, "a version was used again after a delete"),
    (TakesTheValueForItsVersion, Check::Versions, "a version was used again by a write of the same value"),
    (NeverEnds, Check::Lives, "a row of 0.9 seconds is there two seconds later"),
    (KeepsTheFirstEnd, Check::Lives, "a row whose life was made"),
    (RoundsLivesDown, Check::Lives, "a row was gone before its time"),
    (LivesLongerWhenRead, Check::Lives, "a row that was read meanwhile is there two seconds later"),
    (ComparesWithWhatHasExpired, Check::Lives, "the version of a row that had expired was taken for present"),
    (ComparesWithWhatHasExpired, Check::OneWinner, "0 of 8 won a row that has expired"),
    (TakesKeysInAnyOrder, Check::OrderedKeys, "read keys in descending order: no error"),
    (LooksAtTheOrderOfReadsOnly, Check::OrderedKeys, "written keys in descending order: no error"),
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
    (LosesRowsOnRestart, Check::Restart, "a row that was committed is not the same after a restart"),
    (LosesRowsOnRestart, Check::AttemptLimiter, "after a restart a name that has to wait was answered with 200"),
    (BeginsVersionsAnewOnRestart, Check::Restart, "a version was used again after a restart"),
    (ForgetsEndsOnRestart, Check::Restart, "a restart made a row live longer"),
];

#[test]
fn every_check_finds_what_it_is_there_for() {
    let mut missed = Vec::new();
    for (defect, looked_for, words) in FOUND {
        match check(&Shelf::with(*defect), *looked_for) {
            Err(violation) if violation.check == *looked_for && violation.what.contains(words) => {}
            other => missed.push(format!("{defect:?} by {looked_for:?}: {other:?} instead of {words:?}")),
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
    for one in Check::ALL {
        assert!(FOUND.iter().any(|(_, finds, _)| finds == one), "nothing shows that {one:?} finds anything");
    }
}

/// Or the table above would show nothing.
#[test]
fn the_same_store_without_a_defect_keeps_what_a_store_promises() {
    check_all(&Shelf::with(None));
}

#[test]
#[should_panic(expected = "OrderedKeys: written keys in descending order: no error")]
fn a_check_of_everything_names_what_was_found() {
    check_all(&Shelf::with(LooksAtTheOrderOfReadsOnly));
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
        self.shared.clone()
    }

    fn run(&self, future: BoxFuture<'_, ()>) {
        self.runtime.block_on(future);
    }

    fn pass(&self, span: Duration) {
        self.clock.advance(span);
    }

    fn restart(&self) -> bool {
        let mut table = self.shared.table.lock().unwrap();
        match self.shared.defect {
            LosesRowsOnRestart => table.rows.clear(),
            BeginsVersionsAnewOnRestart => table.last_version = 0,
            ForgetsEndsOnRestart => {
                table.rows.values_mut().for_each(|row| row.end = row.end.plus(Duration::from_secs(3_600)));
            }
            _ => {}
        }
        true
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

    async fn commit(&self, read: &[(StateKey, Expected)], write: &[(StateKey, Write)]) -> Result<Commit, BoxError> {
        let in_order = match self.defect {
            TakesKeysInAnyOrder => true,
            LooksAtTheOrderOfReadsOnly => ascending(read),
            _ => ascending(read) && ascending(write),
        };
        if !in_order {
            return Err("the keys of a commit are not in ascending order".into());
        }
        let is_written = |(key, _): &&(StateKey, Expected)| write.iter().any(|(own, _)| own == key);
        let written: Vec<_> = read.iter().filter(is_written).copied().collect();
        match self.defect {
            AlwaysInConflict => return Ok(Commit::Conflict),
            LosesUpdates if written.iter().all(|(_, expected)| *expected != Expected::Absent) => {
                return self.commit_at_once(read, &[]);
            }
            ComparesOnlyWhatItWrites => return self.commit_at_once(&written, write),
            ComparesWhatItReadsTooEarly => {
                if self.commit_at_once(read, &[])? == Commit::Conflict {
                    return Ok(Commit::Conflict);
                }
                self.others_come_in_between().await;
                return self.commit_at_once(&written, write);
            }
            ComparesBeforeItWrites => {
                if self.commit_at_once(read, &[])? == Commit::Conflict {
                    return Ok(Commit::Conflict);
                }
                self.others_come_in_between().await;
                return self.commit_at_once(&[], write);
            }
            InsertsOverWhatIsThere => {
                let read: Vec<_> = read.iter().copied().filter(|(_, expected)| *expected != Expected::Absent).collect();
                return self.commit_at_once(&read, write);
            }
            WritesUpToTheConflict => {
                for one in read {
                    let write: Vec<_> = write.iter().filter(|(key, _)| *key == one.0).cloned().collect();
                    if self.commit_at_once(&[*one], &write)? == Commit::Conflict {
                        return Ok(Commit::Conflict);
                    }
                }
                return Ok(Commit::Committed);
            }
            WritesRowsOneByOne => {
                if self.commit_at_once(read, &[])? == Commit::Conflict {
                    return Ok(Commit::Conflict);
                }
                for one in write {
                    let _ = self.commit_at_once(&[], std::slice::from_ref(one))?;
                    tokio::task::yield_now().await;
                }
                return Ok(Commit::Committed);
            }
            IsBusyUntilDone => {
                if self.busy.swap(true, Ordering::SeqCst) {
                    return Err("busy".into());
                }
                self.others_come_in_between().await;
                let commit = self.commit_at_once(read, write);
                self.busy.store(false, Ordering::SeqCst);
                return commit;
            }
            KeepsItsLockWhenDropped => {
                self.lock.acquire().await?.forget();
                tokio::task::yield_now().await;
                let commit = self.commit_at_once(read, write);
                self.lock.add_permits(1);
                return commit;
            }
            _ => {}
        }
        self.commit_at_once(read, write)
    }
}

impl Shared {
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
            let row = table.rows.get(key).filter(|row| self.defect == NeverEnds || now < row.end)?;
            Some(Row { version: Version::new(row.version), value: row.value.clone() })
        };
        keys.iter().map(row).collect()
    }

    fn commit_at_once(&self, read: &[(StateKey, Expected)], write: &[(StateKey, Write)]) -> Result<Commit, BoxError> {
        let now = self.clock.now();
        let mut table = self.table.lock().unwrap();
        let is_there = |row: &&Stored| matches!(self.defect, NeverEnds | ComparesWithWhatHasExpired) || now < row.end;
        let as_expected = |(key, expected): &(StateKey, Expected)| {
            let row = table.rows.get(key).filter(is_there);
            row.map_or(Expected::Absent, |row| Expected::Version(Version::new(row.version))) == *expected
        };
        if !read.iter().all(as_expected) {
            return Ok(Commit::Conflict);
        }
        for (key, write) in write {
            let Write::Put { value, life } = write else {
                table.rows.remove(key);
                continue;
            };
            table.last_version += 1;
            let before = table.rows.get(key).cloned();
            let version = match self.defect {
                CountsVersionsByRow => before.as_ref().map_or(1, |row| row.version + 1),
                TakesTheValueForItsVersion => value.iter().fold(7, |sum, byte| sum * 31 % 65_521 + u64::from(*byte)),
                _ => table.last_version,
            };
            let end = match (self.defect, before) {
                (KeepsTheFirstEnd, Some(row)) => row.end,
                (RoundsLivesDown, _) => now.plus(Duration::from_secs(life.as_secs())),
                _ => now.plus(*life),
            };
            let value = match self.defect {
                TurnsValuesIntoText => String::from_utf8_lossy(value).into_owned().into_bytes(),
                _ => value.clone(),
            };
            table.rows.insert(*key, Stored { version, value, end });
        }
        Ok(Commit::Committed)
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
