//! The order in which waiting jobs are taken: from each group in its turn (round robin), within a
//! group from each party in its turn, and of one party first come, first served. No threads and no
//! time: see `hashing` for those.

use std::collections::{BTreeMap, VecDeque};

/// A bounded queue that is served group by group, and within a group party by party.
///
/// A party that is alone may take the whole queue. When the queue is full, a job of the group that
/// has the most jobs gives way to a job of a group that has fewer even with this one: the newest job
/// of the group's party with the most. Failing that, parties compete in the same way within the
/// group of the newcomer. So neither a group nor a party can keep the others out by filling the
/// queue, a job that is the only one of its group never gives way to another group, and no two take
/// the same room from each other in turn.
pub(super) struct Turns<G, P, J> {
    capacity: usize,
    /// Numbers the jobs in the order in which they come.
    next_number: u64,
    groups: Rotation<G, Rotation<P, Fifo<J>>>,
}

/// A job that waits now, and the job that gave way to it if the queue was full.
pub(super) struct Entered<J> {
    pub(super) number: u64,
    pub(super) gave_way: Option<J>,
}

impl<G: Copy + Ord, P: Copy + Ord, J> Turns<G, P, J> {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, next_number: 0, groups: Rotation::default() }
    }

    /// Lets a job wait.
    ///
    /// # Errors
    ///
    /// The job itself, if the queue is full and no job gives way to it.
    pub(super) fn enter(&mut self, group: G, party: P, job: J) -> Result<Entered<J>, J> {
        let key = (group, (party, ()));
        let mut gave_way = None;
        if self.groups.len() >= self.capacity {
            gave_way = self.groups.give_way(key);
            if gave_way.is_none() {
                return Err(job);
            }
        }
        self.next_number += 1;
        let number = self.next_number;
        self.groups.push(key, number, job);
        Ok(Entered { number, gave_way })
    }

    /// Takes the oldest job of the party whose turn it is.
    pub(super) fn next(&mut self) -> Option<J> {
        self.groups.next()
    }

    /// Takes out a job that need not be done any more, if it still waits.
    pub(super) fn leave(&mut self, group: G, party: P, number: u64) -> Option<J> {
        self.groups.leave((group, (party, ())), number)
    }
}

/// Jobs that wait. `Key` tells whose they are.
trait Line: Default {
    type Key: Copy;
    type Job;

    fn len(&self) -> usize;

    /// The number of the job that came last. It may have gone since.
    fn newest(&self) -> u64;

    fn push(&mut self, key: Self::Key, number: u64, job: Self::Job);

    /// Takes the job whose turn it is.
    fn next(&mut self) -> Option<Self::Job>;

    /// Takes the newest job of whoever has the most.
    fn take_newest(&mut self) -> Option<Self::Job>;

    /// Takes the job that gives way to one with this key, if one does.
    fn give_way(&mut self, key: Self::Key) -> Option<Self::Job>;

    fn leave(&mut self, key: Self::Key, number: u64) -> Option<Self::Job>;
}

/// The jobs of one party with their numbers, oldest first.
struct Fifo<J>(VecDeque<(u64, J)>);

impl<J> Default for Fifo<J> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<J> Line for Fifo<J> {
    type Key = ();
    type Job = J;

    fn len(&self) -> usize {
        self.0.len()
    }

    fn newest(&self) -> u64 {
        self.0.back().map_or(0, |(number, _)| *number)
    }

    fn push(&mut self, (): (), number: u64, job: J) {
        self.0.push_back((number, job));
    }

    fn next(&mut self) -> Option<J> {
        self.0.pop_front().map(|(_, job)| job)
    }

    fn take_newest(&mut self) -> Option<J> {
        self.0.pop_back().map(|(_, job)| job)
    }

    fn give_way(&mut self, (): ()) -> Option<J> {
        None
    }

    fn leave(&mut self, (): (), number: u64) -> Option<J> {
        let index = self.0.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        self.0.remove(index).map(|(_, job)| job)
    }
}

/// Lines that are served one after the other.
struct Rotation<K, L> {
    jobs: usize,
    newest: u64,
    next_turn: u64,
    /// The lines in which jobs wait, each with its turn.
    lines: BTreeMap<K, (u64, L)>,
    /// The keys of the same lines in the order of their turns.
    order: BTreeMap<u64, K>,
    /// The keys of the same lines by the number of jobs; of several with equally many, the one to
    /// which a job came last is the last.
    by_length: BTreeMap<(usize, u64), K>,
}

impl<K, L> Default for Rotation<K, L> {
    fn default() -> Self {
        Self {
            jobs: 0,
            newest: 0,
            next_turn: 0,
            lines: BTreeMap::new(),
            order: BTreeMap::new(),
            by_length: BTreeMap::new(),
        }
    }
}

impl<K: Copy + Ord, L: Line> Rotation<K, L> {
    /// Changes the line under this key. A line to which its first job comes gets the last turn, and
    /// one without jobs is forgotten.
    fn change<T>(&mut self, key: K, change: impl FnOnce(&mut L) -> T) -> T {
        let last_turn = self.last_turn();
        let (turn, line) = self.lines.entry(key).or_insert_with(|| (last_turn, L::default()));
        self.by_length.remove(&(line.len(), line.newest()));
        self.jobs -= line.len();
        let changed = change(line);
        self.jobs += line.len();
        if line.len() > 0 {
            self.by_length.insert((line.len(), line.newest()), key);
            self.order.insert(*turn, key);
        } else {
            self.order.remove(turn);
            self.lines.remove(&key);
        }
        changed
    }

    fn last_turn(&mut self) -> u64 {
        self.next_turn += 1;
        self.next_turn
    }
}

impl<K: Copy + Ord, L: Line> Line for Rotation<K, L> {
    type Key = (K, L::Key);
    type Job = L::Job;

    fn len(&self) -> usize {
        self.jobs
    }

    fn newest(&self) -> u64 {
        self.newest
    }

    fn push(&mut self, (key, within): Self::Key, number: u64, job: L::Job) {
        self.newest = number;
        self.change(key, |line| line.push(within, number, job));
    }

    fn next(&mut self) -> Option<L::Job> {
        let (_, key) = self.order.pop_first()?;
        let last_turn = self.last_turn();
        if let Some((turn, _)) = self.lines.get_mut(&key) {
            *turn = last_turn;
        }
        self.change(key, L::next)
    }

    fn take_newest(&mut self) -> Option<L::Job> {
        let (_, longest) = self.by_length.last_key_value()?;
        self.change(*longest, L::take_newest)
    }

    fn give_way(&mut self, (key, within): Self::Key) -> Option<L::Job> {
        let own = self.lines.get(&key).map_or(0, |(_, line)| line.len());
        let ((most, _), longest) = self.by_length.last_key_value()?;
        if own + 1 < *most {
            self.change(*longest, L::take_newest)
        } else if own > 0 {
            self.change(key, |line| line.give_way(within))
        } else {
            None
        }
    }

    fn leave(&mut self, (key, within): Self::Key, number: u64) -> Option<L::Job> {
        if !self.lines.contains_key(&key) {
            return None;
        }
        self.change(key, |line| line.leave(within, number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same rules without any index: every question is answered by looking at all jobs.
    #[derive(Clone, Default)]
    struct Reference {
        capacity: usize,
        /// Group, party and job, oldest first.
        jobs: Vec<Waiting>,
        /// The groups in the order of their turns, and the parties of each.
        order: Vec<(u8, Vec<u8>)>,
        /// The last job that came of each group.
        last: [u32; 3],
    }

    #[derive(Clone, Copy, PartialEq)]
    struct Waiting {
        group: u8,
        party: u8,
        job: u32,
    }

    impl Reference {
        fn of_group(&self, group: u8) -> usize {
            self.jobs.iter().filter(|waiting| waiting.group == group).count()
        }

        fn of_party(&self, group: u8, party: u8) -> usize {
            let own = |waiting: &&Waiting| (waiting.group, waiting.party) == (group, party);
            self.jobs.iter().filter(own).count()
        }

        /// The newest job of the group's party with the most; of several with equally many, that of
        /// the party with the newest job.
        fn newest_of(&self, group: u8) -> Waiting {
            let own = self.jobs.iter().filter(|waiting| waiting.group == group);
            *own.max_by_key(|own| (self.of_party(group, own.party), own.job)).unwrap()
        }

        fn remove(&mut self, gone: Waiting) -> u32 {
            self.jobs.retain(|waiting| *waiting != gone);
            if self.of_party(gone.group, gone.party) == 0 {
                let group = self.order.iter_mut().find(|(group, _)| *group == gone.group).unwrap();
                group.1.retain(|party| *party != gone.party);
            }
            self.order.retain(|(_, parties)| !parties.is_empty());
            gone.job
        }

        fn enter(&mut self, group: u8, party: u8, job: u32) -> Result<Option<u32>, u32> {
            let mut gave_way = None;
            if self.jobs.len() == self.capacity {
                let last = |group: u8| self.last[usize::from(group)];
                let groups = self.order.iter().map(|(group, _)| *group);
                let fullest = groups.max_by_key(|own| (self.of_group(*own), last(*own))).unwrap();
                let of_fullest = self.newest_of(fullest);
                if self.of_group(group) + 1 < self.of_group(fullest) {
                    gave_way = Some(self.remove(of_fullest));
                } else if self.of_group(group) > 0 {
                    let newest = self.newest_of(group);
                    if self.of_party(group, party) + 1 < self.of_party(group, newest.party) {
                        gave_way = Some(self.remove(newest));
                    }
                }
                if gave_way.is_none() {
                    return Err(job);
                }
            }
            self.last[usize::from(group)] = job;
            self.jobs.push(Waiting { group, party, job });
            if !self.order.iter().any(|(own, _)| *own == group) {
                self.order.push((group, Vec::new()));
            }
            let (_, parties) = self.order.iter_mut().find(|(own, _)| *own == group).unwrap();
            if !parties.contains(&party) {
                parties.push(party);
            }
            Ok(gave_way)
        }

        fn next(&mut self) -> Option<u32> {
            let (group, parties) = self.order.first_mut()?;
            let (group, party) = (*group, parties.remove(0));
            parties.push(party);
            let served = self.order.remove(0);
            self.order.push(served);
            let own = |waiting: &&Waiting| (waiting.group, waiting.party) == (group, party);
            let oldest = *self.jobs.iter().find(own).unwrap();
            Some(self.remove(oldest))
        }

        fn leave(&mut self, job: u32) -> Option<u32> {
            let gone = *self.jobs.iter().find(|waiting| waiting.job == job)?;
            Some(self.remove(gone))
        }
    }

    /// Of three parties the first two are of one group.
    const GROUP_OF: [u8; 3] = [0, 0, 1];

    /// Every sequence of six steps: three parties enter jobs, a thread takes one, and the caller of
    /// the first, second or third job goes away.
    #[test]
    fn the_order_is_that_of_a_naive_reference_in_every_sequence() {
        const STEPS: u32 = 7;
        const LENGTH: u32 = 6;
        for capacity in [2, 3] {
            for mut sequence in 0..STEPS.pow(LENGTH) {
                let steps = (0..LENGTH).map(|_| {
                    let step = sequence % STEPS;
                    sequence /= STEPS;
                    match step {
                        party @ 0..=2 => Step::Enter(GROUP_OF[party as usize], party as u8),
                        3 => Step::Next,
                        which => Step::Leave(which as usize - 4),
                    }
                });
                compare(capacity, steps);
            }
        }
    }

    proptest::proptest! {
        #[test]
        fn the_order_is_that_of_a_naive_reference_in_long_sequences(
            capacity in 1_usize..9,
            steps in proptest::collection::vec(steps(), 0..200),
        ) {
            compare(capacity, steps);
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Enter(u8, u8),
        Next,
        Leave(usize),
    }

    fn steps() -> impl proptest::strategy::Strategy<Value = Step> {
        use proptest::prelude::*;
        prop_oneof![
            4 => (0_u8..3, 0_u8..4).prop_map(|(group, party)| Step::Enter(group, party)),
            2 => Just(Step::Next),
            1 => (0_usize..200).prop_map(Step::Leave),
        ]
    }

    fn compare(capacity: usize, steps: impl IntoIterator<Item = Step>) {
        let mut reference = Reference { capacity, ..Reference::default() };
        let (mut turns, mut entered) = (Turns::new(capacity), Vec::new());
        for (job, step) in (1..).zip(steps) {
            match step {
                Step::Enter(group, party) => {
                    let result = turns.enter(group, party, job);
                    let number = result.as_ref().map_or(0, |entered| entered.number);
                    entered.push((group, party, number, job));
                    let gave_way = result.map(|entered| entered.gave_way);
                    assert_eq!(gave_way, reference.enter(group, party, job));
                }
                Step::Next => assert_eq!(turns.next(), reference.next()),
                Step::Leave(which) => {
                    if let Some((group, party, number, job)) = entered.get(which) {
                        let left = turns.leave(*group, *party, *number);
                        assert_eq!(left, reference.leave(*job));
                    }
                }
            }
            assert_eq!(turns.groups.len(), reference.jobs.len());
            assert!(turns.groups.len() <= capacity);
        }
        while let Some(job) = reference.next() {
            assert_eq!(turns.next(), Some(job));
        }
        assert_eq!(turns.next(), None);
        let Rotation { lines, order, by_length, .. } = turns.groups;
        assert!(lines.is_empty() && order.is_empty() && by_length.is_empty(), "nothing is kept");
    }

    type Named<J> = Turns<&'static str, &'static str, J>;

    /// Enters jobs of a party that is a group of its own.
    fn entered<J>(turns: &mut Named<J>, party: &'static str, jobs: Vec<J>) {
        for job in jobs {
            let entered = turns.enter(party, party, job);
            assert!(entered.is_ok_and(|entered| entered.gave_way.is_none()));
        }
    }

    fn rest<J>(turns: &mut Named<J>) -> Vec<J> {
        std::iter::from_fn(|| turns.next()).collect()
    }

    #[test]
    fn groups_are_served_in_turn_and_each_party_first_come_first_served() {
        let mut turns = Turns::new(8);
        entered(&mut turns, "a", vec!["a1", "a2", "a3", "a4"]);
        entered(&mut turns, "b", vec!["b1"]);
        entered(&mut turns, "c", vec!["c1", "c2"]);
        assert_eq!(turns.next(), Some("a1"));
        entered(&mut turns, "d", vec!["d1"]);
        assert_eq!(rest(&mut turns), ["b1", "c1", "a2", "d1", "c2", "a3", "a4"]);
    }

    #[test]
    fn the_parties_of_a_group_share_its_turns() {
        let mut turns = Turns::new(8);
        for (party, job) in [("x", "x1"), ("x", "x2"), ("y", "y1"), ("z", "z1")] {
            assert!(turns.enter("many", party, job).is_ok());
        }
        entered(&mut turns, "a", vec!["a1", "a2", "a3"]);
        assert_eq!(rest(&mut turns), ["x1", "a1", "y1", "a2", "z1", "a3", "x2"]);
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

    fn gave_way<J>(entered: Result<Entered<J>, J>) -> Result<Option<J>, J> {
        entered.map(|entered| entered.gave_way)
    }

    #[test]
    fn the_newest_job_of_the_fullest_group_gives_way_until_all_have_equally_many() {
        let mut turns = Turns::new(4);
        entered(&mut turns, "a", vec!["a1", "a2", "a3", "a4"]);
        assert_eq!(
            gave_way(turns.enter("a", "a", "a5")),
            Err("a5"),
            "one that is alone has it all"
        );
        assert_eq!(gave_way(turns.enter("b", "b", "b1")), Ok(Some("a4")));
        assert_eq!(gave_way(turns.enter("b", "b", "b2")), Ok(Some("a3")));
        assert_eq!(gave_way(turns.enter("b", "b", "b3")), Err("b3"), "both have two");
        assert_eq!(gave_way(turns.enter("c", "c", "c1")), Ok(Some("b2")), "the last to come");
        assert_eq!(gave_way(turns.enter("d", "d", "d1")), Ok(Some("a2")));
        assert_eq!(
            gave_way(turns.enter("e", "e", "e1")),
            Err("e1"),
            "the only job of a group stays"
        );
        assert_eq!(rest(&mut turns), ["a1", "b1", "c1", "d1"]);
    }

    #[test]
    fn the_parties_of_a_full_group_give_way_to_each_other_and_to_other_groups() {
        let mut turns = Turns::new(4);
        for (party, job) in [("x", "x1"), ("x", "x2"), ("x", "x3"), ("y", "y1")] {
            assert!(turns.enter("many", party, job).is_ok());
        }
        assert_eq!(gave_way(turns.enter("many", "z", "z1")), Ok(Some("x3")));
        assert_eq!(
            gave_way(turns.enter("many", "y", "y2")),
            Err("y2"),
            "x has two, and so would y"
        );
        assert_eq!(gave_way(turns.enter("a", "a", "a1")), Ok(Some("x2")));
        assert_eq!(
            gave_way(turns.enter("a", "a", "a2")),
            Ok(Some("z1")),
            "many parties, one group"
        );
        assert_eq!(gave_way(turns.enter("a", "a", "a3")), Err("a3"));
        assert_eq!(rest(&mut turns), ["x1", "a1", "y1", "a2"]);
    }

    #[test]
    fn a_job_that_leaves_makes_room_at_once() {
        let mut turns = Turns::new(2);
        let first = turns.enter("a", "a", "a1").map_or(0, |entered| entered.number);
        entered(&mut turns, "b", vec!["b1"]);
        assert!(turns.enter("c", "c", "c1").is_err());
        assert_eq!(turns.leave("a", "a", first), Some("a1"));
        assert_eq!(turns.leave("a", "a", first), None);
        entered(&mut turns, "c", vec!["c1"]);
        assert_eq!(rest(&mut turns), ["b1", "c1"]);
    }
}
