//! What the engine remembers between requests: small versioned rows under keys that are digests.
//!
//! One contract, [`StateStore`], moves such rows atomically. Everything that is remembered is a pure state machine over
//! them, without I/O, in a file of its own; a [`transaction`] brings the two together.

pub(crate) mod codec;
pub(crate) mod family;
pub(crate) mod key;
pub(crate) mod limiter;
pub(crate) mod log_out;
mod memory;
pub(crate) mod replay;
pub(crate) mod revoked;
#[cfg(test)]
mod scratch;
pub(crate) mod sessions;
pub(crate) mod transaction;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

pub use crate::state::key::{InvalidStateSecret, StateKey, StateSecret};
pub use crate::state::memory::{InMemoryState, StateFull};
pub use crate::state::revoked::Revocations;
use crate::vocabulary::clock::{BoxFuture, Timestamp};
use crate::vocabulary::error::BoxError;

/// Rows that several instances of the engine remember together.
///
/// [`InMemoryState`] is the default and serves one process. Implement this over a database that all instances share,
/// and give it to [`Builder::shared_state`](crate::Builder::shared_state). The module `conformance`, behind the
/// feature of that name, has a suite that proves an implementation.
///
/// What every implementation promises:
///
/// * **Linearizable**: each call takes effect at one moment, for all instances alike. A commit holds *every* row it has
///   read against the version that was loaded, also rows that it does not write.
/// * **Its own transaction**, durable before the call returns. A request that fails later takes nothing back.
/// * **Lives are counted by the store**, by its own clock, from the commit on. A row past its life is absent.
/// * **Versions are not used again** for the same key, not even after its row was deleted or has expired.
/// * **Nothing is thrown away before its time.** A store that is full fails.
///
/// Keys are digests of one length ([`StateKey::as_bytes`]) and arrive in ascending order, none of them twice, at most 16
/// in a call. Values are opaque, mostly shorter than 200 bytes, and at most 16 KiB.
///
/// Over an SQL database, one table will do: `key` (32 bytes, the primary key), `value`, `version` from a sequence, so that
/// none is used again, and `expires_at`. Then mind these:
///
/// * Reads go to the primary, never to a replica.
/// * The time is the database's at that moment (in PostgreSQL `clock_timestamp()`, not `now()`); lives may be a hundred
///   years, which is to stay a time that it can store.
/// * A row that is absent cannot be locked by `SELECT … FOR UPDATE`: compare in a transaction that is `SERIALIZABLE`, or
///   insert with `ON CONFLICT DO NOTHING` and roll back if that inserted nothing.
/// * What the database refuses since another transaction got in its way, so that nothing was written (SQLSTATE 40001,
///   40P01), is a [`Commit::Conflict`], not an error.
/// * A statement that waits is given up by the database after two seconds or so: one that takes effect long after its caller
///   has gone could make the next try of an honest client look like a theft.
/// * Rows past their life are yours to delete, now and then.
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

    /// Writes every row in `write` if and only if every row in `read` is still as expected; else changes nothing.
    ///
    /// Every key in `write` is in `read` too. [`Expected::Absent`] needs no load before it.
    ///
    /// # Errors
    ///
    /// When it is not known to have been done: whoever calls then assumes the worse. Also when the keys of `read` or of
    /// `write` are not in ascending order or repeated, and then nothing is written.
    async fn commit(&self, read: &[(StateKey, Expected)], write: &[(StateKey, Write)]) -> Result<Commit, BoxError>;
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

    fn commit<'a, 'b, 'c, 'd>(
        &'a self,
        read: &'b [(StateKey, Expected)],
        write: &'c [(StateKey, Write)],
    ) -> BoxFuture<'d, Result<Commit, BoxError>>
    where
        'a: 'd,
        'b: 'd,
        'c: 'd,
        Self: 'd,
    {
        (**self).commit(read, write)
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

/// What a commit relies on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// There is no row, or one past its life.
    Absent,
    /// There is a row, of this version.
    Version(Version),
}

/// What a commit does to a row.
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Commit {
    /// Everything is written.
    Committed,
    /// Something was not as expected; nothing is written.
    Conflict,
}

impl fmt::Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Row").field("version", &self.version).field("bytes", &self.value.len()).finish()
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
