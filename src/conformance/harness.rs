//! The harness of the checks: the store as one instance of an application sees it, with blocking
//! calls and timeouts.

use std::sync::{Arc, Barrier};
use std::time::Duration;

use crate::conformance::Fixture;
use crate::environment::{SecureRandom, SystemRandom};
use crate::error::BoxError;
use crate::future::before;
use crate::state::{Change, Commit, Expected, Loaded, Row, StateKey, StateStore, Version, Write};
use crate::time::{Clock, SystemClock, Timestamp};

/// The result of a check. The error says what was observed.
pub(super) type Outcome<T = ()> = Result<T, String>;

/// A TTL longer than any check takes.
pub(super) const LONG: Duration = Duration::from_secs(3_600);

/// The timeout of a call, which is the engine's default.
pub(super) const ANSWER: Duration = Duration::from_secs(10);

/// How many conflicts a commit may meet. Each conflict is caused by a successful commit, and no
/// check makes as many.
pub(super) const CONFLICTS: usize = 1_000;

pub(super) fn ensure(holds: bool, otherwise: impl Into<String>) -> Outcome {
    if holds { Ok(()) } else { Err(otherwise.into()) }
}

pub(super) fn random<const N: usize>() -> Outcome<[u8; N]> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|error| error.to_string())?;
    Ok(bytes)
}

/// The digest of a key: what follows the byte for its purpose.
type Digest = [u8; StateKey::LENGTH - 1];

/// Keys that nobody else uses, in ascending order. They differ only in their last byte.
pub(super) fn keys<const N: usize>() -> Outcome<[StateKey; N]> {
    let mut digest: Digest = random()?;
    digest.iter_mut().skip(16).for_each(|byte| *byte = 0);
    let last = std::array::from_fn(|number| u8::try_from(number).unwrap_or(u8::MAX));
    Ok(keys_with(digest, StateKey::LENGTH - 2, last))
}

/// Keys that nobody else uses, in ascending order. They differ in every byte, as the keys of the
/// engine do, so that a store which keeps rows in several places keeps these apart.
pub(super) fn spread_keys<const N: usize>() -> Outcome<[StateKey; N]> {
    let mut digests = [Digest::default(); N];
    for digest in &mut digests {
        *digest = random()?;
    }
    let mut keys = digests.map(|digest| StateKey::of_the_suite(&digest));
    keys.sort_unstable();
    Ok(keys)
}

/// Keys that nobody else uses, and that differ only in the byte of the digest at `place`. They are
/// in the order of `bytes`. The byte before that place is a space.
pub(super) fn keys_that_differ_at<const N: usize>(
    place: usize,
    bytes: [u8; N],
) -> Outcome<[StateKey; N]> {
    let mut digest: Digest = random()?;
    if let Some(before) = place.checked_sub(1).and_then(|before| digest.get_mut(before)) {
        *before = b' ';
    }
    Ok(keys_with(digest, place, bytes))
}

fn keys_with<const N: usize>(digest: Digest, place: usize, bytes: [u8; N]) -> [StateKey; N] {
    bytes.map(|byte| {
        let mut digest = digest;
        digest.iter_mut().skip(place).take(1).for_each(|at| *at = byte);
        StateKey::of_the_suite(&digest)
    })
}

pub(super) fn put(value: impl Into<Vec<u8>>, ttl: Duration) -> Write {
    Write::Put { value: value.into(), ttl }
}

pub(super) fn change(key: StateKey, expected: Expected, write: Write) -> Change {
    Change { key, expected, write }
}

pub(super) fn is_made(commit: &Commit) -> bool {
    matches!(commit, Commit::Committed { .. })
}

pub(super) struct Instance<'a, F> {
    fixture: &'a F,
    pub(super) store: Arc<dyn StateStore>,
    clock: SystemClock,
}

impl<'a, F: Fixture> Instance<'a, F> {
    pub(super) fn new(fixture: &'a F) -> Self {
        Self { fixture, store: fixture.connect(), clock: SystemClock::new() }
    }

    pub(super) fn several<const N: usize>(fixture: &'a F) -> [Self; N] {
        std::array::from_fn(|_| Self::new(fixture))
    }

    /// Runs a call to its end, with a timeout. A call that never ends, for example because a
    /// dropped call has kept a lock, is reported as a violation instead of hanging the test.
    pub(super) fn wait<T: Send>(&self, call: impl Future<Output = T> + Send) -> Outcome<T> {
        self.wait_for(ANSWER, call)
    }

    pub(super) fn wait_for<T: Send>(
        &self,
        most: Duration,
        future: impl Future<Output = T> + Send,
    ) -> Outcome<T> {
        let mut output = None;
        self.fixture
            .run(Box::pin(async { output = Some(before(future, self.clock.sleep(most)).await) }));
        let in_time = output.ok_or("the fixture did not run a future to its end")?;
        in_time.ok_or_else(|| format!("no answer came within {most:?}"))
    }

    pub(super) fn load(&self, keys: &[StateKey]) -> Outcome<Loaded> {
        let loaded =
            self.wait(self.store.load(keys))?.map_err(|error| format!("a load failed: {error}"))?;
        ensure(
            loaded.rows.len() == keys.len(),
            "a load did not return a row, or none, for each key",
        )?;
        Ok(loaded)
    }

    pub(super) fn commit(&self, changes: &[Change]) -> Outcome<Commit> {
        self.try_commit(changes)?.map_err(|error| format!("a commit failed: {error}"))
    }

    pub(super) fn try_commit(&self, changes: &[Change]) -> Outcome<Result<Commit, BoxError>> {
        self.wait(self.store.commit(changes))
    }

    pub(super) fn row(&self, key: StateKey) -> Outcome<Option<Row>> {
        Ok(self.load(&[key])?.rows.pop().flatten())
    }

    pub(super) fn value(&self, key: StateKey) -> Outcome<Option<Vec<u8>>> {
        Ok(self.row(key)?.map(|row| row.value))
    }

    pub(super) fn version(&self, key: StateKey) -> Outcome<Version> {
        self.row(key)?
            .map(|row| row.version)
            .ok_or_else(|| "a row that was written is not there".into())
    }

    pub(super) fn expected(&self, key: StateKey) -> Outcome<Expected> {
        Ok(Expected::of(self.row(key)?.as_ref()))
    }

    pub(super) fn now(&self) -> Outcome<Timestamp> {
        Ok(self.load(&[])?.now)
    }

    /// Writes all of these rows in one commit, whatever becomes of them meanwhile.
    pub(super) fn write_all(&self, keys: &[StateKey], write: &Write) -> Outcome {
        for _ in 0..CONFLICTS {
            let rows = self.load(keys)?.rows;
            let over = |(key, row): (&StateKey, &Option<Row>)| {
                change(*key, Expected::of(row.as_ref()), write.clone())
            };
            let changes: Vec<_> = keys.iter().zip(&rows).map(over).collect();
            if is_made(&self.commit(&changes)?) {
                return Ok(());
            }
        }
        Err(never_committed())
    }

    /// Writes a row, whether it exists or not. Nobody else may write it at the same time.
    pub(super) fn write(&self, key: StateKey, write: Write) -> Outcome {
        let commit = self.commit(&[change(key, self.expected(key)?, write)])?;
        ensure(is_made(&commit), "a commit that nobody disturbed was a conflict")
    }
}

pub(super) fn never_committed() -> String {
    format!("a commit was in conflict {CONFLICTS} times, over what was loaded just before")
}

/// Runs `work` for each instance at the same moment, each on its own thread, and returns all
/// results.
pub(super) fn at_once<I: Sync, T: Send>(
    instances: &[I],
    work: impl Fn(usize, &I) -> Outcome<T> + Sync,
) -> Outcome<Vec<T>> {
    let barrier = Barrier::new(instances.len());
    std::thread::scope(|scope| {
        let (work, barrier) = (&work, &barrier);
        let start = |(number, instance)| {
            scope.spawn(move || {
                barrier.wait();
                work(number, instance)
            })
        };
        let threads: Vec<_> = instances.iter().enumerate().map(start).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err("the store panicked".into())))
            .collect()
    })
}
