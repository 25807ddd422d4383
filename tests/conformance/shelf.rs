//! A small store in memory that has one [`Defect`].

mod instance;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use password_grant::Clock;
use password_grant::conformance::Fixture;
use password_grant::state::{Change, StateStore};
use password_grant::testing::ManualClock;
use password_grant::time::{BoxFuture, Timestamp};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;

use crate::defects::Defect::{self, *};
use crate::shelf::instance::{Instance, Own};
use crate::{noon, runtime};

const MINUTE: Duration = Duration::from_secs(60);

/// A small store with a defect. Calls that race wait for each other at the place where the defect
/// shows.
pub struct Shelf {
    shared: Arc<Shared>,
    runtime: Runtime,
}

/// What all instances have in common.
struct Shared {
    defect: Defect,
    clock: ManualClock,
    table: Mutex<Table>,
    busy: AtomicBool,
    lock: Semaphore,
    /// How many calls have come to the place where another one may come in between.
    arrivals: AtomicUsize,
    instances: AtomicU32,
    /// What dropped commits would have written.
    dropped: Mutex<Vec<Vec<Change>>>,
    passes: AtomicUsize,
}

#[derive(Default)]
struct Table {
    rows: BTreeMap<Vec<u8>, Stored>,
    /// The rows as they were before the last commit, for the replica, and who has written it.
    replica: BTreeMap<Vec<u8>, Stored>,
    last_writer: u32,
    last_version: u64,
}

#[derive(Clone)]
struct Stored {
    version: u64,
    value: Vec<u8>,
    end: Timestamp,
    ttl: Duration,
    /// The number of the instance that has written it.
    writer: u32,
    deleted: bool,
}

impl Shelf {
    pub fn with(defect: Defect) -> Self {
        let shared = Shared {
            defect,
            clock: noon(),
            table: Mutex::default(),
            busy: AtomicBool::new(false),
            lock: Semaphore::new(1),
            arrivals: AtomicUsize::new(0),
            instances: AtomicU32::new(0),
            dropped: Mutex::default(),
            passes: AtomicUsize::new(0),
        };
        Self { shared: Arc::new(shared), runtime: runtime() }
    }

    fn instance(&self) -> Instance {
        let last_version = self.shared.table.lock().unwrap().last_version;
        Instance {
            number: self.shared.instances.fetch_add(1, Ordering::SeqCst),
            shared: self.shared.clone(),
            own: Mutex::new(Own { last_version, ..Own::default() }),
        }
    }
}

impl Fixture for Shelf {
    fn connect(&self) -> Arc<dyn StateStore> {
        Arc::new(self.instance())
    }

    fn run(&self, future: BoxFuture<'_, ()>) {
        self.runtime.block_on(future);
    }

    fn pass(&self, span: Duration) {
        self.shared.clock.advance(span);
        let passes = self.shared.passes.fetch_add(1, Ordering::SeqCst);
        let instance = self.instance();
        for changes in &*self.shared.dropped.lock().unwrap() {
            match self.shared.defect {
                WritesLateWhatWasDropped => changes.iter().for_each(|one| instance.write(one)),
                WritesMuchLaterWhatWasDropped if passes > 0 => {
                    instance.commit_at_once(changes, changes);
                }
                _ => {}
            }
        }
    }

    fn sweep(&self) {
        let now = match self.shared.defect {
            SweepsByAnotherClock => self.shared.clock.now().plus(5 * MINUTE),
            _ => self.shared.clock.now(),
        };
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

    /// The replica has not received the last ten commits.
    fn fail_over(&self) -> bool {
        let mut table = self.shared.table.lock().unwrap();
        let received = table.last_version.saturating_sub(10);
        table.rows.retain(|_, row| row.version <= received);
        if self.shared.defect == SetsVersionsBackOnFailover {
            table.last_version = received;
        }
        true
    }
}
