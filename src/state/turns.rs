//! Turns of the transactions that this process runs over one row of a shared store. Those that
//! write the same row would conflict with each other, and each conflict costs a round trip.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::lock::{Mutex as AsyncMutex, MutexGuard as AsyncMutexGuard};

use crate::state::{Row, StateKey};

/// The rows for which transactions take turns, as long as there is a transaction.
#[derive(Default)]
pub(crate) struct Turns {
    rows: Mutex<HashMap<StateKey, Arc<AsyncMutex<Option<LeftRow>>>>>,
    number: AtomicU64,
}

/// The row as the last transaction has left it.
pub(crate) struct LeftRow {
    pub(crate) row: Option<Row>,
    /// The number of the load or commit that it is from.
    pub(crate) number: u64,
}

impl Turns {
    /// A number for a load or a commit, greater than all before it.
    pub(crate) fn number(&self) -> u64 {
        self.number.fetch_add(1, Ordering::SeqCst)
    }

    /// Joins the transactions over this row, until the returned value is dropped.
    pub(crate) fn join(&self, key: StateKey) -> Turn<'_> {
        let row = self.rows().entry(key).or_default().clone();
        Turn { turns: self, key, row }
    }

    fn rows(&self) -> MutexGuard<'_, HashMap<StateKey, Arc<AsyncMutex<Option<LeftRow>>>>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of one transaction among those over a row.
pub(crate) struct Turn<'a> {
    turns: &'a Turns,
    key: StateKey,
    row: Arc<AsyncMutex<Option<LeftRow>>>,
}

impl Turn<'_> {
    /// Waits until no other transaction over the row is under way. What the last one has left there
    /// is not known if it failed or was dropped.
    pub(crate) async fn begin(&self) -> AsyncMutexGuard<'_, Option<LeftRow>> {
        self.row.lock().await
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut rows = self.turns.rows();
        // One reference is the map's, and one is this turn's.
        if Arc::strong_count(&self.row) <= 2 {
            rows.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

    use super::*;
    use crate::state::key::{Keys, Purpose};

    #[test]
    fn one_transaction_at_a_time_and_nothing_is_kept_when_all_have_gone() {
        let keys = Keys::local(&crate::environment::SystemRandom::new()).unwrap();
        let key = |name: &str| keys.key(Purpose::Account, &[name.as_bytes()]);
        let (turns, context) = (Turns::default(), &mut Context::from_waker(Waker::noop()));
        let [first, second, other] = ["a", "a", "b"].map(|name| turns.join(key(name)));
        let mut begin_second = Box::pin(second.begin());
        {
            let std::task::Poll::Ready(mut left) = pin!(first.begin()).poll(context) else {
                panic!("nobody is before it");
            };
            assert!(begin_second.as_mut().poll(context).is_pending());
            assert!(pin!(other.begin()).poll(context).is_ready(), "another row");
            *left = Some(LeftRow { row: None, number: 7 });
        }
        let std::task::Poll::Ready(left) = begin_second.as_mut().poll(context) else {
            panic!("its turn has come");
        };
        assert_eq!(left.as_ref().map(|left| left.number), Some(7));
        drop(left);
        drop((begin_second, first));
        assert_eq!(turns.rows().len(), 2);
        drop((second, other));
        assert!(turns.rows().is_empty());
    }
}
