//! The cache of published key sets: a state machine without I/O, which decides when a set is
//! fetched and which keys are used meanwhile.
//!
//! Callers are not authenticated yet, so what they can cause is bounded for each set: one fetch at
//! a time, and a pause after each, whoever asks and whoever disconnects. A fetch belongs to its
//! set and not to the request that began it. A request that waits for it drives it; if all of them
//! disconnect, it stands still until another request needs it.

#[cfg(test)]
mod exploration;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::jose::VerificationKeys;
use crate::time::Timestamp;

/// For how long cached keys are used without fetching them again.
const FRESH: Duration = Duration::from_secs(600);
/// The shortest time between the beginnings of two fetches of one set.
const MIN_INTERVAL: Duration = Duration::from_secs(60);
/// The longest time between the beginnings of two fetches, after several have failed.
const MAX_INTERVAL: Duration = Duration::from_secs(900);
/// For how long cached keys are used while they cannot be fetched again.
const STALE: Duration = Duration::from_secs(86_400);
/// After this time a fetch has failed. It is shorter than [`MIN_INTERVAL`], so that a fetch is over
/// when the next one may begin.
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);
/// The most sets with keys in the cache.
const SETS: usize = 1_000;
/// The most sets whose pauses are remembered, with or without keys. Whoever has more registered
/// clients than this can have the pauses forgotten, and then fetches begin more often.
const RECORDS: usize = 10_000;

/// How recent the keys must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// Cached keys suffice while they are fresh.
    Recent,
    /// The cached keys do not suffice, because a signature names a key that is not among them.
    Newer,
}

/// The cached sets by their URI. `F` is the handle by which a caller waits for a fetch.
pub(super) struct Cache<F> {
    sets: HashMap<Arc<str>, KeySet<F>>,
    /// How many callers there were, to tell which set was used longest ago.
    callers: u64,
    fetches: u64,
    /// Fetches that were given up. They are code of the host, so they are dropped where the cache
    /// is not locked.
    discarded: Vec<F>,
}

struct KeySet<F> {
    keys: Option<CachedKeys>,
    fetch: Option<Fetch<F>>,
    /// When the last fetch began.
    began: Timestamp,
    /// How many fetches have failed since the last success. Interrupted ones are not counted.
    failures: u32,
    /// Whether the last fetch was interrupted: its callers disconnected, and it has failed since.
    /// This says nothing about the source, because a time limit passes while nobody drives a fetch.
    interrupted: bool,
    /// The number of the last caller.
    used: u64,
}

struct CachedKeys {
    keys: Arc<VerificationKeys>,
    /// When the fetch of these keys began.
    as_of: Timestamp,
}

struct Fetch<F> {
    id: u64,
    handle: F,
    waiters: usize,
    /// Whether there was a time at which nobody waited for it.
    was_left: bool,
}

/// What a caller does next.
pub(super) enum Step<F> {
    /// Use these cached keys.
    Use(Arc<VerificationKeys>),
    /// Wait for this fetch, and call [`Cache::leave`] or [`Cache::settle`] with its number.
    Join { id: u64, handle: F },
    /// Wait until a fetch may begin, and ask again. If that is too long, use the keys at hand.
    Pause { pause: Duration, at_hand: Option<Arc<VerificationKeys>> },
    /// Do without keys.
    Refuse,
}

/// What a fetch that has ended means for a caller that waited for it.
pub(super) struct Settled {
    /// Whether this caller is the first that learns of it.
    pub(super) is_first: bool,
    /// The keys that may be used nevertheless if the fetch has failed.
    pub(super) at_hand: Option<Arc<VerificationKeys>>,
}

impl<F> Default for Cache<F> {
    fn default() -> Self {
        Self { sets: HashMap::new(), callers: 0, fetches: 0, discarded: Vec::new() }
    }
}

impl<F: Clone> Cache<F> {
    /// Decides what a caller that needs the keys at this URI does. `begin` makes a fetch.
    pub(super) fn next(
        &mut self,
        uri: &Arc<str>,
        freshness: Freshness,
        now: Timestamp,
        begin: impl FnOnce() -> F,
    ) -> Step<F> {
        self.callers += 1;
        if let Some(set) = self.sets.get_mut(uri) {
            set.used = self.callers;
            self.discarded.extend(set.catch_up(now));
            if let Some(step) = set.without_new_fetch(freshness, now) {
                return step;
            }
        }
        if !self.sets.get(uri).is_some_and(KeySet::is_held) {
            self.make_room(now);
        }
        self.fetches += 1;
        let (id, handle) = (self.fetches, begin());
        let set = self.sets.entry(uri.clone()).or_insert_with(|| KeySet::new(now));
        (set.began, set.used, set.interrupted) = (now, self.callers, false);
        set.fetch = Some(Fetch { id, handle: handle.clone(), waiters: 1, was_left: false });
        Step::Join { id, handle }
    }

    /// A caller no longer waits for this fetch.
    pub(super) fn leave(&mut self, uri: &str, id: u64) {
        let fetch = self.sets.get_mut(uri).and_then(|set| set.fetch.as_mut());
        if let Some(fetch) = fetch.filter(|fetch| fetch.id == id) {
            fetch.waiters = fetch.waiters.saturating_sub(1);
            fetch.was_left |= fetch.waiters == 0;
        }
    }

    /// This fetch has ended, with keys or with a failure (`None`). Each of its callers may say so.
    pub(super) fn settle(
        &mut self,
        uri: &str,
        id: u64,
        fetched: Option<&Arc<VerificationKeys>>,
        now: Timestamp,
    ) -> Settled {
        let Some(set) = self.sets.get_mut(uri) else {
            return Settled { is_first: false, at_hand: None };
        };
        let ended = set.fetch.take_if(|fetch| fetch.id == id);
        if let Some(fetch) = &ended {
            set.interrupted = fetched.is_none() && fetch.was_left;
            match fetched {
                Some(keys) => {
                    set.keys = Some(CachedKeys { keys: keys.clone(), as_of: set.began });
                    set.failures = 0;
                }
                None if set.interrupted => {}
                None => set.failures = set.failures.saturating_add(1),
            }
        }
        let is_first = ended.is_some();
        self.discarded.extend(ended.map(|fetch| fetch.handle));
        Settled { is_first, at_hand: set.at_hand(now) }
    }

    /// Takes the fetches that were given up.
    pub(super) fn take_discarded(&mut self) -> Vec<F> {
        std::mem::take(&mut self.discarded)
    }

    /// Makes room for one more set. It looks at every set, but only when a fetch begins.
    fn make_room(&mut self, now: Timestamp) {
        if self.sets.values().filter(|set| set.is_held()).count() >= SETS {
            // Sets that may be fetched again at once are evicted first, so that nobody has to wait
            // out a pause only because the cache was full.
            let evicted = self
                .sets
                .values_mut()
                .filter(|set| set.is_held() && !set.is_driven())
                .min_by_key(|set| (now < set.pause_end(), set.used));
            if let Some(set) = evicted {
                set.keys = None;
                self.discarded.extend(set.give_up());
            }
        }
        if self.sets.len() >= RECORDS {
            let ends_first = self
                .sets
                .iter()
                .filter(|(_, set)| !set.is_held())
                .min_by_key(|(_, set)| set.pause_end())
                .map(|(uri, _)| uri.clone());
            ends_first.and_then(|uri| self.sets.remove(&uri));
        }
    }
}

impl<F> KeySet<F> {
    fn new(now: Timestamp) -> Self {
        Self { keys: None, fetch: None, began: now, failures: 0, interrupted: false, used: 0 }
    }
}

impl<F: Clone> KeySet<F> {
    /// Moves stored times that are ahead of a clock that was set back, and gives up a fetch whose
    /// callers have all disconnected and whose time is over.
    fn catch_up(&mut self, now: Timestamp) -> Option<F> {
        self.began = self.began.min(now);
        if let Some(cached) = &mut self.keys {
            cached.as_of = cached.as_of.min(now);
        }
        let is_over = !self.is_driven() && now.since(self.began) >= TIMEOUT;
        if is_over { self.give_up() } else { None }
    }

    fn give_up(&mut self) -> Option<F> {
        let fetch = self.fetch.take()?;
        self.interrupted = true;
        Some(fetch.handle)
    }

    /// What a caller does if it begins no fetch; `None` if it must.
    fn without_new_fetch(&mut self, freshness: Freshness, now: Timestamp) -> Option<Step<F>> {
        let is_recent = |cached: &&CachedKeys| {
            freshness == Freshness::Recent && now.since(cached.as_of) < FRESH
        };
        if let Some(cached) = self.keys.as_ref().filter(is_recent) {
            return Some(Step::Use(cached.keys.clone()));
        }
        let (at_hand, pause) = (self.at_hand(now), self.pause_end().since(now));
        let may_use = at_hand.filter(|_| freshness == Freshness::Recent);
        match (&mut self.fetch, may_use) {
            (Some(fetch), Some(keys)) if fetch.waiters > 0 => Some(Step::Use(keys)),
            (Some(fetch), _) => {
                fetch.waiters += 1;
                Some(Step::Join { id: fetch.id, handle: fetch.handle.clone() })
            }
            (None, _) if pause.is_zero() => None,
            (None, Some(keys)) => Some(Step::Use(keys)),
            (None, None) if self.interrupted => {
                Some(Step::Pause { pause, at_hand: self.at_hand(now) })
            }
            (None, None) => Some(self.at_hand(now).map_or(Step::Refuse, Step::Use)),
        }
    }

    /// The keys that may be used although they are not fresh: for [`MIN_INTERVAL`] while they are
    /// fetched again, and up to [`STALE`] if that has failed. Interrupted fetches do not extend
    /// this. Otherwise whoever has a key that was withdrawn could have it accepted for a day, by
    /// beginning every fetch and disconnecting.
    fn at_hand(&self, now: Timestamp) -> Option<Arc<VerificationKeys>> {
        let cached = self.keys.as_ref()?;
        let limit = if self.failures > 0 { STALE } else { FRESH + MIN_INTERVAL };
        (now.since(cached.as_of) < limit).then(|| cached.keys.clone())
    }

    /// When the next fetch may begin.
    fn pause_end(&self) -> Timestamp {
        let doublings = self.failures.saturating_sub(1).min(4);
        self.began.plus(MIN_INTERVAL.saturating_mul(1 << doublings).min(MAX_INTERVAL))
    }

    /// Whether somebody waits for a fetch of this set.
    fn is_driven(&self) -> bool {
        self.fetch.as_ref().is_some_and(|fetch| fetch.waiters > 0)
    }

    /// Whether there is more of this set than its pause.
    fn is_held(&self) -> bool {
        self.keys.is_some() || self.fetch.is_some()
    }
}
