//! A [`StateStore`] over SQLite, to be copied into an application.
//!
//! Instances of an application that have one database share what the engine remembers: failed
//! attempts, used client assertions, sessions, and revoked access tokens.
//!
//! Copy the file down to the line "The proof", and then:
//!
//! 1. Open the pool as [`open`] does. Without `busy_timeout`, a commit fails if another one is
//!    under way. SQLite must be 3.42 or later.
//! 2. Run [`SCHEMA`] with the other migrations.
//! 3. Give the store to the engine, with a secret that all instances have:
//!    `builder.shared_state(SqliteState::new(pool), StateSecret::new(secret)?)`.
//! 4. Call [`SqliteState::sweep`] now and then, for example once a minute. Nothing else deletes
//!    rows that have expired.
//!
//! The rest of the file proves the store by the suite of [`password_grant::conformance`], over a
//! database in a temporary folder. It takes about half a minute:
//!
//! ```sh
//! cargo run --features conformance --example sqlite_state
//! ```

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use password_grant::conformance::{Check, Fixture, check};
use password_grant::environment::{SecureRandom, SystemRandom};
use password_grant::state::{
    Change, Commit, Expected, Loaded, Row, StateKey, StateStore, Version, Write,
};
use password_grant::time::{BoxFuture, Timestamp};
use password_grant::{BoxError, async_trait};
use sqlx::query::Query;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
};
use sqlx::{QueryBuilder, Sqlite};
use tokio::runtime::{Builder, Runtime};

/// The table, and the index by which expired rows are found. Times are milliseconds since 1970.
pub const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS state (
        key BLOB PRIMARY KEY, value BLOB NOT NULL,
        version INTEGER NOT NULL, expires_at INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX IF NOT EXISTS state_by_end ON state (expires_at);
";

/// Writes a row that is expected to be absent: not there, or expired and not swept yet.
const INSERT: &str = "
    INSERT INTO state VALUES ($1, $2, $3, $4 + CAST(unixepoch('subsec') * 1000 AS INTEGER))
    ON CONFLICT (key) DO UPDATE
    SET value = excluded.value, version = excluded.version, expires_at = excluded.expires_at
    WHERE state.expires_at <= CAST(unixepoch('subsec') * 1000 AS INTEGER)
";

const UPDATE: &str = "
    UPDATE state SET value = $2, version = $3,
        expires_at = $4 + CAST(unixepoch('subsec') * 1000 AS INTEGER)
    WHERE key = $1 AND version = $5
        AND expires_at > CAST(unixepoch('subsec') * 1000 AS INTEGER)
";

const DELETE: &str = "
    DELETE FROM state WHERE key = $1 AND version = $2
        AND expires_at > CAST(unixepoch('subsec') * 1000 AS INTEGER)
";

const SWEEP: &str =
    "DELETE FROM state WHERE expires_at <= CAST(unixepoch('subsec') * 1000 AS INTEGER)";

/// A pool as [`SqliteState`] needs it.
pub async fn open(file: &Path) -> Result<SqlitePool, BoxError> {
    let options = SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .busy_timeout(Duration::from_secs(2));
    Ok(SqlitePoolOptions::new().max_connections(2).connect_with(options).await?)
}

/// A store over one SQLite database, which must have the table of [`SCHEMA`]. Rows expire by the
/// clock of the machine that runs SQLite.
#[derive(Clone)]
pub struct SqliteState(SqlitePool);

impl SqliteState {
    pub fn new(pool: SqlitePool) -> Self {
        Self(pool)
    }

    /// Deletes the rows that have expired. They count as absent before that too, so it does not
    /// matter when this is called, or what else runs meanwhile.
    pub async fn sweep(&self) -> Result<(), BoxError> {
        sqlx::query(SWEEP).execute(&self.0).await?;
        Ok(())
    }
}

/// The time, and a row that was found, if any. All of a load has the same time.
type Found = (i64, Option<Vec<u8>>, Option<i64>, Option<Vec<u8>>);

#[async_trait]
impl StateStore for SqliteState {
    /// One statement, which sees all rows as they are at one moment.
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
        let found: Vec<Found> = load.build_query_as().fetch_all(&self.0).await?;
        let (now, ..) = found.first().ok_or("a load without a row, and without the time")?;
        Ok(Loaded {
            now: Timestamp::from_unix_millis((*now).try_into()?),
            rows: keys.iter().map(|key| row(&found, key)).collect(),
        })
    }

    /// One statement for each change, which writes its row only if that is as expected. As the
    /// transaction takes the lock for writing when it begins, it cannot fail half-way for want of
    /// it. A call that is dropped rolls back.
    async fn commit(&self, changes: &[Change]) -> Result<Commit, BoxError> {
        if !changes.is_sorted_by(|one, next| one.key < next.key) {
            return Err("the keys of a commit are not in ascending order".into());
        }
        let mut transaction = self.0.begin_with("BEGIN IMMEDIATE").await?;
        let mut versions = Vec::new();
        for change in changes {
            let (statement, version) = statement(change)?;
            if statement.execute(&mut *transaction).await?.rows_affected() == 0 {
                transaction.rollback().await?;
                return Ok(Commit::Conflict { fresh: None });
            }
            versions.push(version);
        }
        transaction.commit().await?;
        Ok(Commit::Committed { versions })
    }
}

fn row(found: &[Found], key: &StateKey) -> Option<Row> {
    let (_, _, version, value) =
        found.iter().find(|(_, own, ..)| own.as_deref() == Some(&key.as_bytes()[..]))?;
    Some(Row { version: Version::new((*version)? as u64), value: value.clone()? })
}

type Statement<'q> = Query<'q, Sqlite, SqliteArguments>;

/// The statement that makes a change, and the version that the row has after it.
fn statement(change: &Change) -> Result<(Statement<'_>, Option<Version>), BoxError> {
    let key = &change.key.as_bytes()[..];
    Ok(match (&change.expected, &change.write) {
        (Expected::Absent, Write::Put { value, ttl }) => {
            let version = random()?;
            let insert = sqlx::query(INSERT).bind(key).bind(&value[..]).bind(version);
            (insert.bind(millis(*ttl)?), Some(Version::new(version as u64)))
        }
        (Expected::Version(former), Write::Put { value, ttl }) => {
            let version = random()?;
            let update = sqlx::query(UPDATE).bind(key).bind(&value[..]).bind(version);
            let update = update.bind(millis(*ttl)?).bind(former.number() as i64);
            (update, Some(Version::new(version as u64)))
        }
        (Expected::Version(former), Write::Delete) => {
            (sqlx::query(DELETE).bind(key).bind(former.number() as i64), None)
        }
        (Expected::Absent, Write::Delete) => {
            return Err("a row that is absent cannot be deleted".into());
        }
    })
}

/// A version that the row never had: 64 random bits, which SQLite keeps as a signed number.
fn random() -> Result<i64, BoxError> {
    let mut bytes = [0; 8];
    SystemRandom::new().fill(&mut bytes)?;
    Ok(i64::from_le_bytes(bytes))
}

/// Rounded up, because a row must not expire before its TTL has passed.
fn millis(ttl: Duration) -> Result<i64, BoxError> {
    Ok(i64::try_from(ttl.as_nanos().div_ceil(1_000_000))?)
}

// --- The proof, which an application has in its tests ---

/// How the conformance suite reaches a database file.
pub struct Database {
    file: PathBuf,
    runtime: Runtime,
    pools: Mutex<Vec<SqlitePool>>,
    passes: AtomicUsize,
}

impl Database {
    pub fn at(file: PathBuf) -> Result<Self, BoxError> {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let pool = runtime.block_on(open(&file))?;
        runtime.block_on(sqlx::raw_sql(SCHEMA).execute(&pool))?;
        Ok(Self { file, runtime, pools: Mutex::new(vec![pool]), passes: AtomicUsize::new(0) })
    }

    fn state(&self) -> SqliteState {
        let pool = self.runtime.block_on(open(&self.file)).unwrap();
        self.pools.lock().unwrap().push(pool.clone());
        SqliteState::new(pool)
    }

    pub fn close(&self) {
        for pool in self.pools.lock().unwrap().drain(..) {
            self.runtime.block_on(pool.close());
        }
    }
}

impl Fixture for Database {
    fn connect(&self) -> Arc<dyn StateStore> {
        Arc::new(self.state())
    }

    fn run(&self, future: BoxFuture<'_, ()>) {
        self.runtime.block_on(future);
    }

    /// The clock of a database cannot be set by hand, so this waits. Every other time it sweeps
    /// too: an expired row must be found absent whether it was swept or not.
    fn pass(&self, span: Duration) {
        std::thread::sleep(span);
        if self.passes.fetch_add(1, Ordering::Relaxed).is_multiple_of(2) {
            self.sweep();
        }
    }

    fn sweep(&self) {
        let state = self.state();
        self.runtime.block_on(state.sweep()).unwrap();
    }

    fn restart(&self) -> bool {
        self.close();
        true
    }
}

fn main() -> Result<(), BoxError> {
    let folder = std::env::temp_dir().join(format!("sqlite_state-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let database = Database::at(folder.join("state.db"))?;
    for promise in Check::ALL {
        check(&database, *promise)?;
        println!("{promise:?}: kept");
    }
    database.close();
    Ok(std::fs::remove_dir_all(&folder)?)
}
