//! What the engine remembers between requests: small versioned rows under keys that are digests.
//!
//! One contract, [`StateStore`], moves such rows atomically. What they mean is decided by pure state
//! machines without I/O, in the modules of the features that they belong to.

pub(crate) mod codec;
pub(crate) mod key;
mod memory;
#[cfg(test)]
pub(crate) mod test_support;
pub(crate) mod transaction;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::error::BoxError;
pub use crate::session::Revocations;
pub use crate::state::key::{InvalidStateSecret, StateKey, StateSecret};
pub use crate::state::memory::{InMemoryState, StoreFull};
use crate::time::{BoxFuture, Timestamp};

/// Rows that several instances of the engine remember together.
///
/// [`InMemoryState`] is the default and serves one process. Implement this over a database that all instances share,
/// and give it to [`PasswordGrantBuilder::shared_state`](crate::PasswordGrantBuilder::shared_state). The module `conformance`, behind the
/// feature of that name, has a suite that proves an implementation.
///
/// What every implementation promises:
///
/// * **Linearizable**: each call takes effect at one moment, for all instances alike. What one has committed, another
///   reads at once.
/// * **Guarded by what is written**: a commit writes each row only over the version that is expected there, and all rows or
///   none. Rows that were only read are not held against anything.
/// * **Its own transaction**, durable before the call returns. A request that fails later takes nothing back.
/// * **Lives are counted by the store**, by its own clock, from the commit on. A row past its life is absent.
/// * **Versions are not used again** for the same key, not even after its row was deleted or has expired, or after a
///   failover. 64 random bits will do; a counter that can be set back will not.
/// * **Nothing is thrown away before its time.** A store that is full fails.
///
/// Keys are digests of one length ([`StateKey::as_bytes`]) and arrive in ascending order, none of them twice, at most 16
/// in a call. Values are opaque, mostly shorter than 200 bytes, and at most 16 KiB.
///
/// # Over SQL
///
/// One table, and an index for sweeping. Lives may be a hundred years: no column for the end of a life may stop in 2038.
/// For PostgreSQL:
///
/// ```sql
/// CREATE TABLE state (key BYTEA PRIMARY KEY, value BYTEA NOT NULL, version BIGINT NOT NULL, expires_at TIMESTAMPTZ NOT NULL);
/// CREATE INDEX state_by_end ON state (expires_at);
/// ```
///
/// A commit is one statement a change, all in one transaction at READ COMMITTED. Where one of them changes no row, roll back:
/// it is a [`Commit::Conflict`], and so is a serialization failure or a deadlock (SQLSTATE 40001, 40P01).
///
/// ```sql
/// -- Expected::Absent, Write::Put; the life in milliseconds
/// INSERT INTO state VALUES ($1, $2, $3, clock_timestamp() + $4 * interval '1 millisecond')
///     ON CONFLICT (key) DO UPDATE
///     SET value = excluded.value, version = excluded.version, expires_at = excluded.expires_at
///     WHERE state.expires_at <= clock_timestamp();
/// -- Expected::Version, Write::Put
/// UPDATE state SET value = $2, version = $3, expires_at = clock_timestamp() + $4 * interval '1 millisecond'
///     WHERE key = $1 AND version = $5 AND expires_at > clock_timestamp();
/// -- Expected::Version, Write::Delete
/// DELETE FROM state WHERE key = $1 AND version = $2 AND expires_at > clock_timestamp();
/// -- load: `now` also where there is no row
/// SELECT now, key, version, value FROM (SELECT clock_timestamp() AS now) AS clock
///     LEFT JOIN state ON key = ANY ($1) AND expires_at > now;
/// -- sweep, now and then: rows are locked and looked at again, or one that was just written anew would go
/// DELETE FROM state WHERE key IN (SELECT key FROM state WHERE expires_at <= clock_timestamp()
///     ORDER BY expires_at LIMIT 1000 FOR UPDATE SKIP LOCKED);
/// ```
///
/// SQLite (3.42 or later) takes the three statements of a commit with milliseconds since 1970 in the place of timestamps,
/// `CAST(unixepoch('subsec') * 1000 AS INTEGER)`, behind `BEGIN IMMEDIATE`; its load has `key IN ($2, $3, …)`.
///
/// MySQL and MariaDB: ``(`key` BINARY(32) PRIMARY KEY, value BLOB, version BIGINT, expires_at DATETIME(3))``, with `key` quoted
/// everywhere, `UTC_TIMESTAMP(3)` for the time, and `IN` in the load. An upsert has no condition there, so two statements do
/// instead. Only the second decides: its duplicate key (error 1062) is the conflict, and so is a deadlock (1213).
///
/// ```sql
/// -- Expected::Absent, Write::Put; at READ COMMITTED, or gaps are locked too
/// DELETE FROM state WHERE `key` = ? AND expires_at <= UTC_TIMESTAMP(3);
/// INSERT INTO state VALUES (?, ?, ?, UTC_TIMESTAMP(3) + INTERVAL ? * 1000 MICROSECOND);
/// ```
///
/// Then mind these:
///
/// * Reads go to the primary, never to a replica or through a cache, and a load is one statement: it sees all its rows at one
///   moment.
/// * A statement that waits is given up after two seconds or so (`statement_timeout`, `innodb_lock_wait_timeout`,
///   `busy_timeout`): one that takes effect long after its caller has gone could make the next try of an honest client look
///   like a theft.
///
/// # Over Redis
///
/// A commit is one script, and a load another (`HMGET` of each key, and `TIME`), both sent to the master. All keys of a
/// deployment stand under one hash tag, as in `{state}:` and the key, or a cluster takes them apart. `maxmemory-policy
/// noeviction`, or rows are thrown away; `appendonly yes` with `appendfsync always`, or a restart loses commits that were
/// answered. A failover to a replica may lose the last ones all the same: what they recorded is then not promised.
///
/// ```lua
/// -- ARGV: for each key the version expected ('' for none), the new version ('' to delete), the value, and the life in whole
/// -- milliseconds, rounded up: a script that fails half-way is not rolled back
/// for i, key in ipairs(KEYS) do
///     if (redis.call('HGET', key, 'version') or '') ~= ARGV[4 * i - 3] then return 0 end
/// end
/// for i, key in ipairs(KEYS) do
///     local version, value, life = ARGV[4 * i - 2], ARGV[4 * i - 1], ARGV[4 * i]
///     if version == '' then
///         redis.call('DEL', key)
///     else
///         redis.call('HSET', key, 'version', version, 'value', value)
///         redis.call('PEXPIRE', key, life)
///     end
/// end
/// return 1
/// ```
///
/// # Cancel safety
///
/// A call may be dropped at any await. Whether a commit that was dropped took effect is open, as after a lost connection.
#[async_trait]
pub trait StateStore: Send + Sync + 'static {
    /// The rows under these keys, in the order of the keys, and the time by the store's clock.
    ///
    /// # Errors
    ///
    /// When it cannot be told now. The caller gets 503: a row that cannot be read is never taken for one that is not
    /// there.
    async fn load(&self, keys: &[StateKey]) -> Result<Loaded, BoxError>;

    /// Makes every change if and only if every row in it is still as expected; else changes nothing.
    ///
    /// [`Expected::Absent`] needs no load before it, and [`Write::Delete`] always expects a version.
    ///
    /// # Errors
    ///
    /// When it is not known to have been done: whoever calls then assumes the worse. A commit whose answer was lost is an
    /// error, never a [`Commit::Conflict`], and is not sent again: a driver that repeats it by itself finds it in conflict with
    /// itself, and an honest client is refused. Also when the keys are not in ascending order or repeated, and then nothing is
    /// written.
    async fn commit(&self, changes: &[Change]) -> Result<Commit, BoxError>;
}

impl<T: StateStore + ?Sized> StateStore for Arc<T> {
    fn load<'a, 'b, 'c>(&'a self, keys: &'b [StateKey]) -> BoxFuture<'c, Result<Loaded, BoxError>>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        (**self).load(keys)
    }

    fn commit<'a, 'b, 'c>(
        &'a self,
        changes: &'b [Change],
    ) -> BoxFuture<'c, Result<Commit, BoxError>>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        (**self).commit(changes)
    }
}

/// What [`StateStore::load`] returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The time by the store's clock.
    pub now: Timestamp,
    /// A row, or that there is none, for each key in its order.
    pub rows: Vec<Option<Row>>,
}

/// A row that is there.
#[derive(Clone, PartialEq, Eq)]
pub struct Row {
    /// Changes with every write.
    pub version: Version,
    /// What was written.
    pub value: Vec<u8>,
}

/// Which of the values that stood under a key this is. It has no order: only whether two are the same counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Version(u64);

impl Version {
    /// For implementations of [`StateStore`].
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number that was given to [`new`](Self::new).
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }
}

/// What a commit does to one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The row's key.
    pub key: StateKey,
    /// What must be there for the commit to be made.
    pub expected: Expected,
    /// What to write.
    pub write: Write,
}

/// What a commit writes over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// There is no row, or one past its life.
    Absent,
    /// There is a row, of this version.
    Version(Version),
}

impl Expected {
    /// Expects the row that was loaded, or its absence.
    #[must_use]
    pub fn of(row: Option<&Row>) -> Self {
        row.map_or(Self::Absent, |row| Self::Version(row.version))
    }
}

/// What a change leaves behind.
#[derive(Clone, PartialEq, Eq)]
pub enum Write {
    /// Stores a value under a new version.
    Put {
        /// The value.
        value: Vec<u8>,
        /// How long the row lives, from now on. A store whose clock is coarser rounds up.
        life: Duration,
    },
    /// Removes the row.
    Delete,
}

/// What became of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Commit {
    /// Every change is made.
    Committed {
        /// The new version of each row, in the order of the changes; `None` where it was deleted.
        versions: Vec<Option<Version>>,
    },
    /// Something was not as expected; nothing is changed.
    Conflict {
        /// The rows of all changes as they are now, in their order, where the store has them at hand: it saves a load. `None`
        /// where it has not.
        fresh: Option<Loaded>,
    },
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Row")
            .field("version", &self.version)
            .field("bytes", &self.value.len())
            .finish()
    }
}

impl fmt::Debug for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put { value, life } => {
                f.debug_struct("Put").field("bytes", &value.len()).field("life", life).finish()
            }
            Self::Delete => f.write_str("Delete"),
        }
    }
}
