//! Tests of the cache of published key sets against a plain history of each set, over many long
//! histories: requests, callers who disconnect, fetches that end, and clocks that step back.

use aws_lc_rs::hmac;
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::jose::Algorithm;

fn uri(number: u64) -> Arc<str> {
    format!("https://client.example/{number}").into()
}

fn keys() -> Arc<VerificationKeys> {
    let key = Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]));
    Arc::new(VerificationKeys::shared(None, Algorithm::Hs256, key))
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_unix_seconds(1_800_000_000 + seconds)
}

/// The number of the fetch that the caller waits for.
fn joined<F>(step: &Step<F>) -> Option<u64> {
    match step {
        Step::Join { id, .. } => Some(*id),
        _ => None,
    }
}

#[derive(Debug, Clone, Copy)]
enum Happens {
    Request(Freshness),
    /// A caller that waits disconnects.
    Departure,
    Fetched,
    FetchFailed,
    /// This many seconds pass.
    Passes(u64),
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        4 => Just(Happens::Request(Freshness::Recent)),
        2 => Just(Happens::Request(Freshness::Newer)),
        3 => Just(Happens::Departure),
        1 => Just(Happens::Fetched),
        2 => Just(Happens::FetchFailed),
        3 => prop::sample::select(vec![1, 10, 29, 31, 60, 300, 700, 20_000])
            .prop_map(Happens::Passes),
    ]
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Keys,
    Failure,
    Interrupted,
}

/// One set as a plain history.
#[derive(Default)]
struct Reference {
    /// When each fetch began, and its end, if it has ended.
    fetches: Vec<(Timestamp, Option<End>)>,
    /// The number of the fetch that is under way, once for each caller that waits for it.
    waiting: Vec<u64>,
    was_left: bool,
}

impl Reference {
    fn last(&self) -> Option<(Timestamp, Option<End>)> {
        self.fetches.last().copied()
    }

    fn is_under_way(&self) -> bool {
        self.last().is_some_and(|(_, end)| end.is_none())
    }

    /// How many fetches have failed since the last one with keys.
    fn failures(&self) -> usize {
        let ends = self.fetches.iter().rev().filter_map(|(_, end)| *end);
        ends.take_while(|end| *end != End::Keys).filter(|end| *end == End::Failure).count()
    }

    fn may_begin(&self, now: Timestamp) -> bool {
        let pause = [60, 60, 120, 240, 480, 900][self.failures().min(5)];
        self.last().is_none_or(|(began, _)| now.since(began).as_secs() >= pause)
    }

    fn may_use_cached(&self, now: Timestamp) -> bool {
        let fetched = self.fetches.iter().rev().find(|(_, end)| *end == Some(End::Keys));
        let limit = if self.failures() > 0 { 86_400 } else { 660 };
        fetched.is_some_and(|(began, _)| now.since(*began).as_secs() < limit)
    }

    fn end(&mut self, end: End) {
        if let Some((_, open)) = self.fetches.last_mut() {
            *open = Some(end);
        }
        self.waiting.clear();
        self.was_left = false;
    }

    fn request(&mut self, cache: &mut Cache<u64>, freshness: Freshness, now: Timestamp) {
        let is_over = |(began, end): (Timestamp, Option<End>)| {
            end.is_none() && now.since(began).as_secs() >= 30
        };
        if self.waiting.is_empty() && self.last().is_some_and(is_over) {
            self.end(End::Interrupted);
        }
        let mut has_begun = false;
        match cache.next(&uri(0), freshness, now, || {
            has_begun = true;
            0
        }) {
            Step::Use(_) => assert!(self.may_use_cached(now)),
            Step::Join { id, .. } => {
                assert_ne!(has_begun, self.is_under_way());
                if has_begun {
                    assert!(self.may_begin(now));
                    self.fetches.push((now, None));
                }
                assert!(self.waiting.iter().all(|waiting| *waiting == id));
                self.waiting.push(id);
            }
            Step::Pause { pause, .. } => {
                assert!(!self.may_begin(now) && self.may_begin(now.plus(pause)));
                assert!(self.last().is_some_and(|(_, end)| end == Some(End::Interrupted)));
            }
            Step::Refuse => {
                assert!(!self.is_under_way() && !self.may_begin(now) && !self.may_use_cached(now));
            }
        }
    }

    fn departure(&mut self, cache: &mut Cache<u64>) {
        if let Some(id) = self.waiting.pop() {
            cache.leave(&uri(0), id);
            self.was_left |= self.waiting.is_empty();
        }
    }

    /// Every caller that waits says that the fetch has ended, and then no longer waits.
    fn ends(
        &mut self,
        cache: &mut Cache<u64>,
        fetched: Option<&Arc<VerificationKeys>>,
        now: Timestamp,
    ) {
        let end = match fetched {
            Some(_) => End::Keys,
            None if self.was_left => End::Interrupted,
            None => End::Failure,
        };
        let (waiting, mut at_hand) = (std::mem::take(&mut self.waiting), false);
        for (position, id) in waiting.iter().enumerate() {
            let settled = cache.settle(&uri(0), *id, fetched, now);
            assert_eq!(settled.is_first, position == 0);
            at_hand = settled.at_hand.is_some();
            cache.leave(&uri(0), *id);
        }
        if !waiting.is_empty() {
            self.end(end);
            assert_eq!(at_hand, self.may_use_cached(now));
        }
    }
}

proptest! {
    #[test]
    fn every_history_keeps_the_pauses_and_uses_no_keys_for_too_long(
        history in vec(happens(), 1..200),
    ) {
        let (mut cache, mut now) = (Cache::default(), at(0));
        let mut reference = Reference::default();
        for event in history {
            match event {
                Happens::Request(freshness) => reference.request(&mut cache, freshness, now),
                Happens::Departure => reference.departure(&mut cache),
                Happens::Fetched => reference.ends(&mut cache, Some(&keys()), now),
                Happens::FetchFailed => reference.ends(&mut cache, None, now),
                Happens::Passes(seconds) => now = now.plus(Duration::from_secs(seconds)),
            }
        }
    }
}

#[test]
fn pauses_are_remembered_for_ten_thousand_sets_and_fetches_for_a_thousand() {
    const REQUESTS: usize = RECORDS + 100;
    let mut cache = Cache::default();
    for number in 0..REQUESTS as u64 {
        let now = at(0).plus(Duration::from_millis(number));
        let id = joined(&cache.next(&uri(number), Freshness::Recent, now, || ())).unwrap();
        cache.leave(&uri(number), id);
    }
    assert_eq!(cache.sets.len(), RECORDS);
    assert_eq!(cache.sets.values().filter(|set| set.is_held()).count(), SETS);
    assert_eq!(cache.take_discarded().len(), REQUESTS - SETS);
    let mut begins =
        |number| joined(&cache.next(&uri(number), Freshness::Recent, at(11), || ())).is_some();
    assert!(begins(0), "the pause that ends first is forgotten first");
    assert!(!begins(200));
}

#[test]
fn a_clock_that_is_set_back_makes_no_pause_longer() {
    let mut cache = Cache::default();
    let mut next = |seconds| cache.next(&uri(0), Freshness::Recent, at(seconds), || ());
    let id = joined(&next(5_000)).unwrap();
    assert_eq!(joined(&next(0)), Some(id));
    assert_eq!(joined(&next(29)), Some(id));
    cache.settle(&uri(0), id, None, at(29));
    let mut next = |seconds| cache.next(&uri(0), Freshness::Recent, at(seconds), || ());
    assert_eq!(joined(&next(59)), None);
    let id = joined(&next(60)).unwrap();
    cache.settle(&uri(0), id, Some(&keys()), at(60));
    let mut next = |seconds| cache.next(&uri(0), Freshness::Recent, at(seconds), || ());
    assert!(matches!(next(0), Step::Use(_)));
    assert!(matches!(next(599), Step::Use(_)));
    assert!(joined(&next(600)).is_some());
}
