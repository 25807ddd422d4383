//! The suite that proves state stores, proven itself: a store that keeps the promises passes, and
//! each broken promise is found by the check that is there for it.

mod defects;
mod shelf;
#[path = "../../examples/sqlite_state.rs"]
#[allow(dead_code)] // its `main`
mod sqlite_state;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use password_grant::Environment;
use password_grant::conformance::{Fixture, check_all};
use password_grant::state::{InMemoryState, StateStore};
use password_grant::testing::ManualClock;
use password_grant::time::{BoxFuture, Timestamp};
use tokio::runtime::Runtime;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

fn noon() -> ManualClock {
    ManualClock::at(Timestamp::from_unix_seconds(1_800_000_000))
}

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
    let database = sqlite_state::Database::at(file.clone()).unwrap();
    check_all(&database);
    database.close();
    std::fs::remove_file(file).unwrap();
}
