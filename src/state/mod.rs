//! The state that the engine keeps between requests: small versioned rows under keys that are
//! digests.
//!
//! The trait [`StateStore`] reads and writes rows atomically. What a row means is decided by pure
//! state machines without I/O, in the modules of the features that the rows belong to.

pub(crate) mod codec;
pub(crate) mod key;
mod memory;
#[cfg(test)]
pub(crate) mod test_support;
pub(crate) mod transaction;
pub(crate) mod turns;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::error::BoxError;
pub use crate::state::key::{InvalidStateSecret, StateKey, StateSecret};
pub use crate::state::memory::{InMemoryState, StoreFull};
pub(crate) use crate::state::memory::{KEPT, KNOWN};
use crate::time::{BoxFuture, Timestamp};

/// A store of rows that several instances of the engine share.
///
/// [`InMemoryState`] is the default and serves one process. Implement this trait over a database
/// that all instances share, and give it to
/// [`PasswordGrantBuilder::shared_state`](crate::PasswordGrantBuilder::shared_state). The module
/// `conformance`, behind the feature of that name, has a suite that tests an implementation.
///
/// Every implementation promises:
///
/// * **Linearizability.** Each call takes effect at one moment, for all instances alike. What one
///   instance has committed, another reads at once.
/// * **Compare and set.** A commit writes each row only over the version that is expected there,
///   and writes all rows or none. Rows that were only read are not checked.
/// * **A transaction of its own**, which is durable before the call returns. A request that fails
///   later does not undo it.
/// * **TTLs by the store's clock**, counted from the commit. A row past its TTL is absent.
/// * **Versions that are never reused** for the same key, not even after its row was deleted or has
///   expired, or after a failover. 64 random bits suffice; a counter that can be set back does not.
/// * **No eviction.** No row is removed before its TTL has passed. A store that is full fails.
///
/// Keys are digests of one length ([`StateKey::as_bytes`]). They arrive in ascending order, none of
/// them twice, at most 16 in a call. Values are opaque, mostly shorter than 200 bytes, and at most
/// 16 KiB.
///
/// # Over SQL
///
/// Use one table, and an index for the removal of expired rows. A TTL may be a hundred years, so
/// the type of `expires_at` must not end in 2038. For PostgreSQL:
///
/// ```sql
/// CREATE TABLE state (
///     key BYTEA PRIMARY KEY, value BYTEA NOT NULL,
///     version BIGINT NOT NULL, expires_at TIMESTAMPTZ NOT NULL
/// );
/// CREATE INDEX state_by_end ON state (expires_at);
/// ```
///
/// A commit is one statement for each change, all in one transaction at READ COMMITTED. If one of
/// the statements changes no row, roll back: this is a [`Commit::Conflict`]. A serialization
/// failure or a deadlock (SQLSTATE 40001, 40P01) is a conflict too.
///
/// ```sql
/// -- Expected::Absent, Write::Put; $4 is the TTL in milliseconds
/// INSERT INTO state VALUES ($1, $2, $3, clock_timestamp() + $4 * interval '1 millisecond')
///     ON CONFLICT (key) DO UPDATE
///     SET value = excluded.value, version = excluded.version, expires_at = excluded.expires_at
///     WHERE state.expires_at <= clock_timestamp();
/// -- Expected::Version, Write::Put
/// UPDATE state SET value = $2, version = $3,
///         expires_at = clock_timestamp() + $4 * interval '1 millisecond'
///     WHERE key = $1 AND version = $5 AND expires_at > clock_timestamp();
/// -- Expected::Version, Write::Delete
/// DELETE FROM state WHERE key = $1 AND version = $2 AND expires_at > clock_timestamp();
/// -- load: returns `now` also if there is no row
/// SELECT now, key, version, value FROM (SELECT clock_timestamp() AS now) AS clock
///     LEFT JOIN state ON key = ANY ($1) AND expires_at > now;
/// -- sweep, now and then: a locked row is checked again, so one that was just rewritten stays
/// DELETE FROM state WHERE key IN (SELECT key FROM state WHERE expires_at <= clock_timestamp()
///     ORDER BY expires_at LIMIT 1000 FOR UPDATE SKIP LOCKED);
/// ```
///
/// SQLite (3.42 or later) takes the three statements of a commit with milliseconds since 1970
/// instead of timestamps, as in `CAST(unixepoch('subsec') * 1000 AS INTEGER)`, after
/// `BEGIN IMMEDIATE`. Its load has `key IN ($2, $3, …)`.
///
/// MySQL and MariaDB: the columns are
/// ``(`key` BINARY(32) PRIMARY KEY, value BLOB, version BIGINT, expires_at DATETIME(3))``. Quote
/// `key` everywhere, use `UTC_TIMESTAMP(3)` for the time, and `IN` in the load. An upsert has no
/// condition there, so two statements replace it. Only the second one decides: its duplicate key
/// (error 1062) is the conflict, and so is a deadlock (1213).
///
/// ```sql
/// -- Expected::Absent, Write::Put; use READ COMMITTED, or gaps are locked too
/// DELETE FROM state WHERE `key` = ? AND expires_at <= UTC_TIMESTAMP(3);
/// INSERT INTO state VALUES (?, ?, ?, UTC_TIMESTAMP(3) + INTERVAL ? * 1000 MICROSECOND);
/// ```
///
/// For every database:
///
/// * Read from the primary, never from a replica or through a cache. A load is one statement, so
///   that it sees all its rows at one moment.
/// * Give up a statement that waits after about two seconds (`statement_timeout`,
///   `innodb_lock_wait_timeout`, `busy_timeout`). If it takes effect long after its caller has
///   gone, the next try of an honest client could look like a theft.
///
/// # Over Redis
///
/// A commit is one script, and a load is another (`HMGET` of each key, and `TIME`). Send both to
/// the master. Put all keys of a deployment under one hash tag, as in `{state}:` followed by the
/// key, or a cluster separates them. Set `maxmemory-policy noeviction`, or rows are evicted. Set
/// `appendonly yes` with `appendfsync always`, or a restart loses commits that were answered. A
/// failover to a replica may still lose the last commits: what they recorded is not promised then.
///
/// ```lua
/// -- ARGV: for each key the expected version ('' if absent), the new version ('' to delete), the
/// -- value, and the TTL in whole milliseconds, rounded up; a script that fails half-way is not
/// -- rolled back
/// for i, key in ipairs(KEYS) do
///     if (redis.call('HGET', key, 'version') or '') ~= ARGV[4 * i - 3] then return 0 end
/// end
/// for i, key in ipairs(KEYS) do
///     local version, value, ttl = ARGV[4 * i - 2], ARGV[4 * i - 1], ARGV[4 * i]
///     if version == '' then
///         redis.call('DEL', key)
///     else
///         redis.call('HSET', key, 'version', version, 'value', value)
///         redis.call('PEXPIRE', key, ttl)
///     end
/// end
/// return 1
/// ```
///
/// # Cancel safety
///
/// A call may be dropped at any await. A commit that was dropped may or may not have taken effect,
/// as after a lost connection.
#[async_trait]
pub trait StateStore: Send + Sync + 'static {
    /// Loads the rows under these keys, in the order of the keys, and the time by the store's
    /// clock.
    ///
    /// # Errors
    ///
    /// If the store cannot answer. The caller gets 503: a row that cannot be read is never reported
    /// as absent.
    async fn load(&self, keys: &[StateKey]) -> Result<Loaded, BoxError>;

    /// Makes every change if and only if every row in it is still as expected; otherwise changes
    /// nothing.
    ///
    /// [`Expected::Absent`] needs no load before it, and [`Write::Delete`] always expects a
    /// version.
    ///
    /// # Errors
    ///
    /// If the commit is not known to have been made; the caller then assumes the worse outcome. A
    /// commit whose answer was lost is an error, never a [`Commit::Conflict`], and must not be sent
    /// again: a driver that repeats it gets a conflict with its own first try, and an honest client
    /// is refused.
    ///
    /// Also if the keys are not in ascending order or are repeated; nothing is written then.
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

/// The result of [`StateStore::load`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The time by the store's clock.
    pub now: Timestamp,
    /// One entry for each key, in the order of the keys; `None` if there is no row.
    pub rows: Vec<Option<Row>>,
}

/// A row of the store.
#[derive(Clone, PartialEq, Eq)]
pub struct Row {
    /// The version, which changes with every write.
    pub version: Version,
    /// The value that was written.
    pub value: Vec<u8>,
}

/// The version of a row's value. Versions have no order; they are only compared for equality.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Version(u64);

impl Version {
    /// Makes a version from a number; for implementations of [`StateStore`].
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

/// A change of a commit: what it does to one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The row's key.
    pub key: StateKey,
    /// What must be there for the commit to be made.
    pub expected: Expected,
    /// What to write.
    pub write: Write,
}

/// The state of a row that a change expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// There is no row, or its TTL has passed.
    Absent,
    /// There is a row of this version.
    Version(Version),
}

impl Expected {
    /// Expects the row that was loaded, or its absence.
    #[must_use]
    pub fn of(row: Option<&Row>) -> Self {
        row.map_or(Self::Absent, |row| Self::Version(row.version))
    }
}

/// What a change writes.
#[derive(Clone, PartialEq, Eq)]
pub enum Write {
    /// Stores a value under a new version.
    Put {
        /// The value.
        value: Vec<u8>,
        /// The TTL of the row, counted from the commit. A store whose clock is coarser rounds it
        /// up. It may be zero: the row is then absent at once.
        ttl: Duration,
    },
    /// Removes the row.
    Delete,
}

/// The outcome of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Commit {
    /// Every change was made.
    Committed {
        /// The new version of each row, in the order of the changes; `None` if it was deleted.
        versions: Vec<Option<Version>>,
    },
    /// A row was not as expected. Nothing was changed.
    Conflict {
        /// The current rows of all changes, in the order of the changes, if the store has them at
        /// hand, which saves a load; otherwise `None`.
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
            Self::Put { value, ttl } => {
                f.debug_struct("Put").field("bytes", &value.len()).field("ttl", ttl).finish()
            }
            Self::Delete => f.write_str("Delete"),
        }
    }
}
