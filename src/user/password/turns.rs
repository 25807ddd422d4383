//! The order in which waiting jobs are taken: from each party in its turn (round robin), and of one
//! party first come, first served. No threads and no time: see `hashing` for those.

use std::collections::{BTreeMap, VecDeque};

/// A bounded queue that is served party by party.
///
/// A party that is alone may hold every place. When no place is free, the newest job of the party
/// that holds the most places gives way to a job of a party that holds fewer even with this job.
/// So no party can keep the others out by filling the queue, a job that is the only one of its
/// party never gives way, and two parties never take the same place from each other in turn.
pub(super) struct Turns<P, J> {
    capacity: usize,
    waiting: usize,
    /// The parties that have jobs waiting.
    lines: BTreeMap<P, Line<J>>,
    /// The same parties in the order of their next turns.
    order: BTreeMap<u64, P>,
    /// The same parties by the number of places that they hold; of several with equally many, the
    /// one whose newest job is the newest comes last.
    by_places: BTreeMap<(usize, u64), P>,
    /// Numbers both jobs and turns.
    next_number: u64,
}

/// The jobs of one party, oldest first, each with its number.
struct Line<J> {
    turn: u64,
    jobs: VecDeque<(u64, J)>,
}

impl<J> Line<J> {
    fn places(&self) -> Option<(usize, u64)> {
        self.jobs.back().map(|(newest, _)| (self.jobs.len(), *newest))
    }
}

/// A job that waits now, and the job that gave way to it if there was no free place.
pub(super) struct Entered<J> {
    pub(super) number: u64,
    pub(super) gave_way: Option<J>,
}

impl<P: Copy + Ord, J> Turns<P, J> {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            waiting: 0,
            lines: BTreeMap::new(),
            order: BTreeMap::new(),
            by_places: BTreeMap::new(),
            next_number: 0,
        }
    }

    /// Lets a job wait.
    ///
    /// # Errors
    ///
    /// The job itself, if no place is free and none gives way: with this job, its party would hold
    /// as many places as any other, or more.
    pub(super) fn enter(&mut self, party: P, job: J) -> Result<Entered<J>, J> {
        let mut gave_way = None;
        if self.waiting >= self.capacity {
            let held = self.lines.get(&party).map_or(0, |line| line.jobs.len());
            let fullest = self.by_places.last_key_value();
            match fullest.map(|((most, _), fullest)| (*most, *fullest)) {
                Some((most, fullest)) if held + 1 < most => {
                    gave_way = self.change(fullest, VecDeque::pop_back).map(|(_, job)| job);
                }
                _ => return Err(job),
            }
        }
        let number = self.number();
        self.change(party, |jobs| jobs.push_back((number, job)));
        Ok(Entered { number, gave_way })
    }

    /// Takes the oldest job of the party whose turn it is.
    pub(super) fn next(&mut self) -> Option<J> {
        let (_, party) = self.order.pop_first()?;
        let turn = self.number();
        if let Some(line) = self.lines.get_mut(&party) {
            line.turn = turn;
        }
        self.change(party, VecDeque::pop_front).map(|(_, job)| job)
    }

    /// Takes out a job that need not be done any more, if it still waits.
    pub(super) fn leave(&mut self, party: P, number: u64) -> Option<J> {
        let line = self.lines.get(&party)?;
        let index = line.jobs.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        self.change(party, |jobs| jobs.remove(index)).map(|(_, job)| job)
    }

    /// Changes the jobs of one party. A party whose first job arrives gets the last turn, and one
    /// without jobs is forgotten.
    fn change<T>(&mut self, party: P, change: impl FnOnce(&mut VecDeque<(u64, J)>) -> T) -> T {
        let turn = self.number();
        let line = self.lines.entry(party).or_insert_with(|| Line { turn, jobs: VecDeque::new() });
        self.waiting -= line.jobs.len();
        if let Some(places) = line.places() {
            self.by_places.remove(&places);
        }
        let changed = change(&mut line.jobs);
        self.waiting += line.jobs.len();
        match line.places() {
            Some(places) => {
                self.by_places.insert(places, party);
                self.order.insert(line.turn, party);
            }
            None => {
                self.order.remove(&line.turn);
                self.lines.remove(&party);
            }
        }
        changed
    }

    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same rules without any index: every question is answered by looking at all jobs.
    #[derive(Clone, Default)]
    struct Reference {
        capacity: usize,
        /// Party and job, oldest first.
        jobs: Vec<(u8, u32)>,
        /// The parties in the order of their turns.
        order: Vec<u8>,
    }

    impl Reference {
        fn held(&self, party: u8) -> usize {
            self.jobs.iter().filter(|(of, _)| *of == party).count()
        }

        fn enter(&mut self, party: u8, job: u32) -> Result<Option<u32>, u32> {
            let mut gave_way = None;
            if self.jobs.len() == self.capacity {
                let most = self.order.iter().map(|party| self.held(*party)).max().unwrap_or(0);
                if self.held(party) + 1 >= most {
                    return Err(job);
                }
                let newest = self.jobs.iter().rposition(|(of, _)| self.held(*of) == most).unwrap();
                gave_way = Some(self.jobs.remove(newest).1);
            }
            if self.held(party) == 0 {
                self.order.push(party);
            }
            self.jobs.push((party, job));
            Ok(gave_way)
        }

        fn next(&mut self) -> Option<u32> {
            let party = *self.order.first()?;
            let oldest = self.jobs.iter().position(|(of, _)| *of == party).unwrap();
            let (_, job) = self.jobs.remove(oldest);
            self.order.remove(0);
            if self.held(party) > 0 {
                self.order.push(party);
            }
            Some(job)
        }

        fn leave(&mut self, job: u32) -> Option<u32> {
            let index = self.jobs.iter().position(|(_, waiting)| *waiting == job)?;
            let (party, job) = self.jobs.remove(index);
            if self.held(party) == 0 {
                self.order.retain(|of| *of != party);
            }
            Some(job)
        }
    }

    /// Every sequence of six steps: three parties enter jobs, a thread takes one, and the caller
    /// of the first, second or third job goes away.
    #[test]
    fn the_order_is_that_of_a_naive_reference_in_every_sequence() {
        const STEPS: u32 = 7;
        const LENGTH: u32 = 6;
        for capacity in [2, 3] {
            for mut sequence in 0..STEPS.pow(LENGTH) {
                let mut reference = Reference { capacity, ..Reference::default() };
                let (mut turns, mut entered) = (Turns::new(capacity), Vec::new());
                for job in 0..LENGTH {
                    match sequence % STEPS {
                        party @ 0..=2 => {
                            let party = party as u8;
                            let result = turns.enter(party, job);
                            let number = result.as_ref().map_or(0, |entered| entered.number);
                            entered.push((party, number, job));
                            assert_eq!(
                                result.map(|entered| entered.gave_way),
                                reference.enter(party, job)
                            );
                        }
                        3 => assert_eq!(turns.next(), reference.next()),
                        which => {
                            let which = which as usize - 4;
                            if let Some((party, number, job)) = entered.get(which) {
                                assert_eq!(turns.leave(*party, *number), reference.leave(*job));
                            }
                        }
                    }
                    sequence /= STEPS;
                    assert_eq!(turns.waiting, reference.jobs.len());
                    assert!(turns.waiting <= capacity);
                }
                while let Some(job) = reference.next() {
                    assert_eq!(turns.next(), Some(job));
                }
                assert_eq!(turns.next(), None);
                assert!(turns.lines.is_empty() && turns.order.is_empty());
                assert!(turns.by_places.is_empty(), "nothing is kept of a party that has left");
            }
        }
    }

    fn entered<J>(turns: &mut Turns<&'static str, J>, party: &'static str, jobs: Vec<J>) {
        for job in jobs {
            assert!(turns.enter(party, job).is_ok_and(|entered| entered.gave_way.is_none()));
        }
    }

    fn rest<J>(turns: &mut Turns<&'static str, J>) -> Vec<J> {
        std::iter::from_fn(|| turns.next()).collect()
    }

    #[test]
    fn parties_are_served_in_turn_and_each_first_come_first_served() {
        let mut turns = Turns::new(8);
        entered(&mut turns, "a", vec!["a1", "a2", "a3", "a4"]);
        entered(&mut turns, "b", vec!["b1"]);
        entered(&mut turns, "c", vec!["c1", "c2"]);
        assert_eq!(turns.next(), Some("a1"));
        entered(&mut turns, "d", vec!["d1"]);
        assert_eq!(rest(&mut turns), ["b1", "c1", "a2", "d1", "c2", "a3", "a4"]);
    }

    #[test]
    fn a_party_that_comes_back_does_not_get_ahead_of_those_that_wait() {
        let mut turns = Turns::new(8);
        entered(&mut turns, "a", vec!["a1"]);
        entered(&mut turns, "b", vec!["b1", "b2"]);
        assert_eq!(turns.next(), Some("a1"));
        entered(&mut turns, "a", vec!["a2"]);
        assert_eq!(rest(&mut turns), ["b1", "a2", "b2"]);
    }

    #[test]
    fn the_newest_job_of_the_fullest_party_gives_way_until_all_hold_equally_many() {
        let mut turns = Turns::new(4);
        entered(&mut turns, "a", vec!["a1", "a2", "a3", "a4"]);
        assert_eq!(turns.enter("a", "a5").err(), Some("a5"), "a party that is alone has it all");
        let gave_way = |entered: Result<Entered<_>, _>| entered.map(|entered| entered.gave_way);
        assert_eq!(gave_way(turns.enter("b", "b1")), Ok(Some("a4")));
        assert_eq!(gave_way(turns.enter("b", "b2")), Ok(Some("a3")));
        assert_eq!(gave_way(turns.enter("b", "b3")), Err("b3"), "both hold two");
        assert_eq!(gave_way(turns.enter("c", "c1")), Ok(Some("b2")), "the newest of the fullest");
        assert_eq!(gave_way(turns.enter("d", "d1")), Ok(Some("a2")));
        assert_eq!(gave_way(turns.enter("e", "e1")), Err("e1"), "the only job of a party stays");
        assert_eq!(rest(&mut turns), ["a1", "b1", "c1", "d1"]);
    }

    #[test]
    fn who_leaves_frees_a_place_at_once() {
        let mut turns = Turns::new(2);
        let first = turns.enter("a", "a1").map_or(0, |entered| entered.number);
        entered(&mut turns, "b", vec!["b1"]);
        assert!(turns.enter("c", "c1").is_err());
        assert_eq!(turns.leave("a", first), Some("a1"));
        assert_eq!(turns.leave("a", first), None);
        entered(&mut turns, "c", vec!["c1"]);
        assert_eq!(rest(&mut turns), ["b1", "c1"]);
    }
}
