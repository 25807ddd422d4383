//! A bound on the attempts that wait for other attempts on the same key to be settled.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::state::StateKey;

/// The attempts that wait for others to be settled. Their number is bounded, so that nobody can
/// fill the process with waiting requests.
#[derive(Default)]
pub(super) struct Waiters(Mutex<Counts>);

#[derive(Default)]
struct Counts {
    all: usize,
    each: HashMap<StateKey, usize>,
}

impl Waiters {
    const ALL: usize = 1024;
    const EACH: usize = 64;

    /// Joins the attempts that wait for this key, until the returned value is dropped. `None` if
    /// too many wait already.
    pub(super) fn join(&self, key: StateKey) -> Option<Waiting<'_>> {
        let mut counts = self.counts();
        let each = counts.each.get(&key).copied().unwrap_or(0);
        if counts.all >= Self::ALL || each >= Self::EACH {
            return None;
        }
        counts.all += 1;
        counts.each.insert(key, each + 1);
        Some(Waiting { waiters: self, key })
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One waiting attempt.
pub(super) struct Waiting<'a> {
    waiters: &'a Waiters,
    key: StateKey,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut counts = self.waiters.counts();
        counts.all -= 1;
        match counts.each.get_mut(&self.key) {
            Some(each) if *each > 1 => *each -= 1,
            _ => {
                counts.each.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::key::{Keys, Purpose};

    #[test]
    fn places_are_bounded_in_all_and_for_each_key_and_given_back() {
        let keys = Keys::local(&crate::environment::SystemRandom::new()).unwrap();
        let key = |number: usize| keys.key(Purpose::Account, &[&number.to_be_bytes()]);
        let waiters = Waiters::default();
        for _ in 0..2 {
            let each: Vec<_> = (0..Waiters::EACH).map(|_| waiters.join(key(0)).unwrap()).collect();
            assert!(waiters.join(key(0)).is_none());
            let others: Vec<_> = (Waiters::EACH..Waiters::ALL)
                .map(|number| waiters.join(key(number)).unwrap())
                .collect();
            assert!(waiters.join(key(5_000)).is_none());
            drop((each, others));
        }
        assert!(waiters.counts().each.is_empty());
    }
}
