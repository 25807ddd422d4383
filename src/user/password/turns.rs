//! The order in which waiting jobs are taken, and which of them gives way when no place is free.
//! No threads and no time: see `hashing` for those.

use std::collections::{BTreeMap, VecDeque};

/// A bounded queue. Its line decides which job is taken next, and which gives way to a new one.
pub(super) struct Turns<L> {
    capacity: usize,
    line: L,
    /// The number of the newest job.
    newest: u64,
}

/// A job that waits now, and the job that gave way to it if there was no free place.
pub(super) struct Entered<J> {
    pub(super) number: u64,
    pub(super) gave_way: Option<J>,
}

impl<L: Line> Turns<L> {
    pub(super) fn new(capacity: usize) -> Self {
        Self { capacity, line: L::default(), newest: 0 }
    }

    /// Lets a job wait.
    ///
    /// # Errors
    ///
    /// The job itself, if no place is free and no other job gives way to it.
    pub(super) fn enter(&mut self, path: L::Path, job: L::Job) -> Result<Entered<L::Job>, L::Job> {
        let mut gave_way = None;
        if self.line.len() >= self.capacity {
            gave_way = self.line.give_way_to(path);
            if gave_way.is_none() {
                return Err(job);
            }
        }
        self.newest += 1;
        self.line.join(path, self.newest, job);
        Ok(Entered { number: self.newest, gave_way })
    }

    /// Takes the job whose turn it is.
    pub(super) fn next(&mut self) -> Option<L::Job> {
        self.line.next()
    }

    /// Takes out a job that need not be done any more, if it still waits.
    pub(super) fn leave(&mut self, path: L::Path, number: u64) -> Option<L::Job> {
        self.line.leave(path, number)
    }
}

/// Jobs that wait: [`FirstCome`] for those of one party, and [`RoundRobin`] over the lines of
/// several.
pub(super) trait Line: Default {
    /// Which of the lines inside this one a job is in, from the outermost to the innermost.
    type Path: Copy;
    type Job;

    /// The number of waiting jobs. Each holds one place.
    fn len(&self) -> usize;

    fn join(&mut self, path: Self::Path, number: u64, job: Self::Job);

    /// Takes the job that is served next.
    fn next(&mut self) -> Option<Self::Job>;

    /// Takes out the job that gives way to one of another line.
    fn give_way(&mut self) -> Option<Self::Job>;

    /// Takes out the job that gives way to a new one with this path. `None` if there is none.
    fn give_way_to(&mut self, path: Self::Path) -> Option<Self::Job>;

    /// Takes out the job with this number.
    fn leave(&mut self, path: Self::Path, number: u64) -> Option<Self::Job>;
}

/// The jobs of one party, oldest first, each with its number. The newest gives way to those of
/// other parties, and none to those of the same party.
pub(super) struct FirstCome<J>(VecDeque<(u64, J)>);

impl<J> Default for FirstCome<J> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<J> Line for FirstCome<J> {
    type Path = ();
    type Job = J;

    fn len(&self) -> usize {
        self.0.len()
    }

    fn join(&mut self, (): (), number: u64, job: J) {
        self.0.push_back((number, job));
    }

    fn next(&mut self) -> Option<J> {
        self.0.pop_front().map(|(_, job)| job)
    }

    fn give_way(&mut self) -> Option<J> {
        self.0.pop_back().map(|(_, job)| job)
    }

    fn give_way_to(&mut self, (): ()) -> Option<J> {
        None
    }

    fn leave(&mut self, (): (), number: u64) -> Option<J> {
        let index = self.0.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        self.0.remove(index).map(|(_, job)| job)
    }
}

/// Lines that are served in turn, however many jobs wait in each of them.
///
/// A line that is alone may hold every place. When no place is free, the line with the most jobs
/// gives way to a job of a line that has fewer even with this job. If the job's own line would not
/// have fewer, the same is decided inside that line.
///
/// So of n lines that want places, each gets an n-th part of those that they hold together, rounded
/// down, whatever happens inside the others. A line of one job never gives way to another line, and
/// no two lines ever take the same place from each other in turn.
pub(super) struct RoundRobin<K, L> {
    len: usize,
    /// The lines that are not empty, each with the number of its next turn.
    lines: BTreeMap<K, (u64, L)>,
    /// The same lines in the order of their next turns.
    order: BTreeMap<u64, K>,
    /// The same lines by their lengths; of several that are equally long, the one whose turn comes
    /// last is last.
    by_len: BTreeMap<(usize, u64), K>,
    /// The number of the turn after all others.
    last_turn: u64,
}

impl<K, L> Default for RoundRobin<K, L> {
    fn default() -> Self {
        Self {
            len: 0,
            lines: BTreeMap::new(),
            order: BTreeMap::new(),
            by_len: BTreeMap::new(),
            last_turn: 0,
        }
    }
}

impl<K: Copy + Ord, L: Line> Line for RoundRobin<K, L> {
    type Path = (K, L::Path);
    type Job = L::Job;

    fn len(&self) -> usize {
        self.len
    }

    fn join(&mut self, (key, path): Self::Path, number: u64, job: L::Job) {
        self.change(key, |line| line.join(path, number, job));
    }

    fn next(&mut self) -> Option<L::Job> {
        let (_, key) = self.order.first_key_value()?;
        let key = *key;
        let (_, mut line) = self.take(key);
        let job = line.next();
        let turn = self.last_turn();
        self.put(key, turn, line);
        job
    }

    fn give_way(&mut self) -> Option<L::Job> {
        let (_, longest) = self.longest()?;
        self.change(longest, L::give_way)
    }

    fn give_way_to(&mut self, (key, path): Self::Path) -> Option<L::Job> {
        let own = self.lines.get(&key).map_or(0, |(_, line)| line.len());
        match self.longest() {
            Some((most, longest)) if own + 1 < most => self.change(longest, L::give_way),
            _ => self.change(key, |line| line.give_way_to(path)),
        }
    }

    fn leave(&mut self, (key, path): Self::Path, number: u64) -> Option<L::Job> {
        self.change(key, |line| line.leave(path, number))
    }
}

impl<K: Copy + Ord, L: Line> RoundRobin<K, L> {
    /// The length of the longest line, and its key.
    fn longest(&self) -> Option<(usize, K)> {
        self.by_len.last_key_value().map(|((len, _), key)| (*len, *key))
    }

    /// Changes one line, which keeps its turn.
    fn change<T>(&mut self, key: K, change: impl FnOnce(&mut L) -> T) -> T {
        let (turn, mut line) = self.take(key);
        let changed = change(&mut line);
        self.put(key, turn, line);
        changed
    }

    /// Takes a line out, with the number of its turn. A new line gets the last turn.
    fn take(&mut self, key: K) -> (u64, L) {
        let Some((turn, line)) = self.lines.remove(&key) else {
            return (self.last_turn(), L::default());
        };
        self.len -= line.len();
        self.order.remove(&turn);
        self.by_len.remove(&(line.len(), turn));
        (turn, line)
    }

    /// Puts a line in, unless it is empty.
    fn put(&mut self, key: K, turn: u64, line: L) {
        if line.len() > 0 {
            self.len += line.len();
            self.order.insert(turn, key);
            self.by_len.insert((line.len(), turn), key);
            self.lines.insert(key, (turn, line));
        }
    }

    fn last_turn(&mut self) -> u64 {
        self.last_turn += 1;
        self.last_turn
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    type OneLevel<J> = Turns<RoundRobin<&'static str, FirstCome<J>>>;
    type ThreeLevels<J> = Turns<RoundRobin<u8, RoundRobin<u8, RoundRobin<u8, FirstCome<J>>>>>;

    /// The keys of a side, a group on it and a party in that.
    type Keys = [u8; 3];

    /// The same rules without any index: every question is answered by looking at all jobs.
    #[derive(Clone, Default)]
    struct Reference {
        capacity: usize,
        /// Keys and job, oldest first.
        jobs: Vec<(Keys, usize)>,
        /// Sides (one key), groups (two keys) and parties in the order of their turns.
        order: Vec<Vec<u8>>,
    }

    impl Reference {
        /// The number of jobs of a side, a group or a party.
        fn held(&self, line: &[u8]) -> usize {
            self.jobs.iter().filter(|(keys, _)| keys.starts_with(line)).count()
        }

        /// The sides of the whole queue, the groups of a side, or the parties of a group.
        fn lines_in(&self, outer: &[u8]) -> Vec<Vec<u8>> {
            let is_in = |line: &&Vec<u8>| line.len() == outer.len() + 1 && line.starts_with(outer);
            self.order.iter().filter(is_in).cloned().collect()
        }

        fn longest_in(&self, outer: &[u8]) -> Option<Vec<u8>> {
            self.lines_in(outer).into_iter().max_by_key(|line| self.held(line))
        }

        fn enter(&mut self, keys: Keys, job: usize) -> Result<Option<usize>, usize> {
            let mut gave_way = None;
            if self.jobs.len() == self.capacity {
                gave_way = Some(self.give_way_to(keys).ok_or(job)?);
            }
            for line in (1..=3).map(|length| keys[..length].to_vec()) {
                if !self.order.contains(&line) {
                    self.order.push(line);
                }
            }
            self.jobs.push((keys, job));
            Ok(gave_way)
        }

        fn give_way_to(&mut self, keys: Keys) -> Option<usize> {
            for length in 1..=3 {
                let mut loser = self.longest_in(&keys[..length - 1])?;
                if self.held(&keys[..length]) + 1 < self.held(&loser) {
                    while let Some(longest) = self.longest_in(&loser) {
                        loser = longest;
                    }
                    let newest = self.jobs.iter().rposition(|(keys, _)| keys[..] == loser)?;
                    return Some(self.remove(newest));
                }
            }
            None
        }

        fn next(&mut self) -> Option<usize> {
            let mut served = Vec::new();
            while let Some(first) = self.lines_in(&served).into_iter().next() {
                served = first;
            }
            let oldest = self.jobs.iter().position(|(keys, _)| keys[..] == served)?;
            for line in (1..=3).map(|length| &served[..length]) {
                self.order.retain(|other| other != line);
                self.order.push(line.to_vec());
            }
            Some(self.remove(oldest))
        }

        fn leave(&mut self, job: usize) -> Option<usize> {
            let index = self.jobs.iter().position(|(_, waiting)| *waiting == job)?;
            Some(self.remove(index))
        }

        fn remove(&mut self, index: usize) -> usize {
            let (_, job) = self.jobs.remove(index);
            let lines = std::mem::take(&mut self.order);
            self.order = lines.into_iter().filter(|line| self.held(line) > 0).collect();
            job
        }

        /// Whether the lines that a job is in have their share on every level: of n lines each an
        /// n-th part of the places that these lines hold together.
        fn has_its_shares(&self, keys: Keys) -> bool {
            (1..=3).all(|length| {
                let (outer, line) = (&keys[..length - 1], &keys[..length]);
                let mut lines = self.lines_in(outer);
                lines.retain(|other| other != line);
                self.held(line) >= self.held(outer) / (lines.len() + 1)
            })
        }
    }

    #[derive(Debug, Clone, Copy)]
    enum Step {
        Enter(Keys),
        /// A thread takes a job.
        Next,
        /// The caller of this job goes away, if there is one.
        Leave(usize),
    }

    fn path([side, group, party]: Keys) -> (u8, (u8, (u8, ()))) {
        (side, (group, (party, ())))
    }

    /// Takes the same steps as the reference.
    fn compare(capacity: usize, steps: &[Step]) {
        let mut reference = Reference { capacity, ..Reference::default() };
        let (mut turns, mut entered) = (ThreeLevels::new(capacity), Vec::new());
        for step in steps {
            match *step {
                Step::Enter(keys) => {
                    let job = entered.len();
                    let result = turns.enter(path(keys), job);
                    let number = result.as_ref().map_or(0, |entered| entered.number);
                    entered.push((keys, number));
                    let result = result.map(|entered| entered.gave_way);
                    assert_eq!(result, reference.enter(keys, job));
                    if let Ok(Some(refused)) | Err(refused) = result {
                        assert!(reference.has_its_shares(entered[refused].0));
                    }
                }
                Step::Next => assert_eq!(turns.next(), reference.next()),
                Step::Leave(job) => {
                    if let Some((keys, number)) = entered.get(job) {
                        assert_eq!(turns.leave(path(*keys), *number), reference.leave(job));
                    }
                }
            }
            assert_eq!(turns.line.len(), reference.jobs.len());
            assert!(turns.line.len() <= capacity);
        }
        while let Some(job) = reference.next() {
            assert_eq!(turns.next(), Some(job));
        }
        assert_eq!(turns.next(), None);
        let RoundRobin { lines, order, by_len, len, .. } = turns.line;
        let nothing_left = lines.is_empty() && order.is_empty() && by_len.is_empty() && len == 0;
        assert!(nothing_left, "nothing is kept of a line that is empty");
    }

    /// Every sequence of six steps: four parties of three groups on two sides enter jobs, a thread
    /// takes one, and the caller of the second job goes away.
    #[test]
    fn the_order_is_that_of_a_naive_reference_in_every_sequence() {
        const STEPS: [Step; 6] = [
            Step::Enter([0, 0, 0]),
            Step::Enter([0, 0, 1]),
            Step::Enter([0, 1, 0]),
            Step::Enter([1, 0, 0]),
            Step::Next,
            Step::Leave(1),
        ];
        for capacity in [2, 3] {
            for mut sequence in 0..STEPS.len().pow(6) {
                let steps = [(); 6].map(|()| {
                    let step = STEPS[sequence % STEPS.len()];
                    sequence /= STEPS.len();
                    step
                });
                compare(capacity, &steps);
            }
        }
    }

    fn steps() -> impl Strategy<Value = Step> {
        let keys = (0..2u8, 0..3u8, 0..3u8).prop_map(|(side, group, party)| [side, group, party]);
        // One caller floods the queue from its own group, while others come now and then.
        let flood = (0..3u8).prop_map(|party| [0, 0, party]);
        prop_oneof![
            4 => keys.prop_map(Step::Enter),
            4 => flood.prop_map(Step::Enter),
            2 => Just(Step::Next),
            1 => (0..100usize).prop_map(Step::Leave),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]
        #[test]
        fn the_order_is_that_of_a_naive_reference_in_long_sequences(
            capacity in 1..16usize,
            steps in vec(steps(), 1..100),
        ) {
            compare(capacity, &steps);
        }
    }

    /// Jobs that enter without any other giving way.
    fn enter_all<L: Line>(
        turns: &mut Turns<L>,
        path: L::Path,
        jobs: impl IntoIterator<Item = L::Job>,
    ) {
        for job in jobs {
            assert!(turns.enter(path, job).is_ok_and(|entered| entered.gave_way.is_none()));
        }
    }

    /// The job that gave way to this one, if one had to, or this one if it was refused.
    fn enter<L: Line>(
        turns: &mut Turns<L>,
        path: L::Path,
        job: L::Job,
    ) -> Result<Option<L::Job>, L::Job> {
        turns.enter(path, job).map(|entered| entered.gave_way)
    }

    fn rest<L: Line>(turns: &mut Turns<L>) -> Vec<L::Job> {
        std::iter::from_fn(|| turns.next()).collect()
    }

    const A: (&str, ()) = ("a", ());
    const B: (&str, ()) = ("b", ());
    const C: (&str, ()) = ("c", ());
    const D: (&str, ()) = ("d", ());

    #[test]
    fn parties_are_served_in_turn_and_each_first_come_first_served() {
        let mut turns = OneLevel::new(8);
        enter_all(&mut turns, A, ["a1", "a2", "a3", "a4"]);
        enter_all(&mut turns, B, ["b1"]);
        enter_all(&mut turns, C, ["c1", "c2"]);
        assert_eq!(turns.next(), Some("a1"));
        enter_all(&mut turns, D, ["d1"]);
        assert_eq!(rest(&mut turns), ["b1", "c1", "a2", "d1", "c2", "a3", "a4"]);
    }

    #[test]
    fn a_party_that_comes_back_does_not_get_ahead_of_those_that_wait() {
        let mut turns = OneLevel::new(8);
        enter_all(&mut turns, A, ["a1"]);
        enter_all(&mut turns, B, ["b1", "b2"]);
        assert_eq!(turns.next(), Some("a1"));
        enter_all(&mut turns, A, ["a2"]);
        assert_eq!(rest(&mut turns), ["b1", "a2", "b2"]);
    }

    #[test]
    fn the_newest_job_of_the_fullest_party_gives_way_until_all_hold_equally_many() {
        let mut turns = OneLevel::new(4);
        enter_all(&mut turns, A, ["a1", "a2", "a3", "a4"]);
        assert_eq!(enter(&mut turns, A, "a5"), Err("a5"), "a party that is alone has it all");
        assert_eq!(enter(&mut turns, B, "b1"), Ok(Some("a4")));
        assert_eq!(enter(&mut turns, B, "b2"), Ok(Some("a3")));
        assert_eq!(enter(&mut turns, B, "b3"), Err("b3"), "both hold two");
        assert_eq!(enter(&mut turns, C, "c1"), Ok(Some("b2")), "the last turn of the fullest");
        assert_eq!(enter(&mut turns, D, "d1"), Ok(Some("a2")));
        assert_eq!(enter(&mut turns, ("e", ()), "e1"), Err("e1"), "each has only one");
        assert_eq!(rest(&mut turns), ["a1", "b1", "c1", "d1"]);
    }

    #[test]
    fn of_parties_that_are_equally_full_the_one_whose_turn_comes_last_gives_way() {
        let mut turns = OneLevel::new(4);
        enter_all(&mut turns, A, ["a1", "a2", "a3"]);
        enter_all(&mut turns, B, ["b1"]);
        assert_eq!(turns.next(), Some("a1"));
        enter_all(&mut turns, B, ["b2"]);
        assert_eq!(enter(&mut turns, C, "c1"), Ok(Some("a3")));
    }

    #[test]
    fn who_leaves_frees_a_place_at_once() {
        let mut turns = OneLevel::new(2);
        let first = turns.enter(A, "a1").map_or(0, |entered| entered.number);
        enter_all(&mut turns, B, ["b1"]);
        assert!(turns.enter(C, "c1").is_err());
        assert_eq!(turns.leave(A, first), Some("a1"));
        assert_eq!(turns.leave(A, first), None);
        enter_all(&mut turns, C, ["c1"]);
        assert_eq!(rest(&mut turns), ["b1", "c1"]);
    }

    #[test]
    fn sides_take_turns_and_so_do_the_groups_of_a_side_and_the_parties_of_a_group() {
        let mut turns = ThreeLevels::new(10);
        enter_all(&mut turns, path([0, 0, 0]), ["first", "eighth"]);
        enter_all(&mut turns, path([0, 0, 1]), ["fifth"]);
        enter_all(&mut turns, path([0, 0, 2]), ["seventh"]);
        enter_all(&mut turns, path([0, 1, 0]), ["third"]);
        enter_all(&mut turns, path([1, 0, 0]), ["second", "sixth"]);
        enter_all(&mut turns, path([1, 0, 1]), ["fourth"]);
        let order = ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth"];
        assert_eq!(rest(&mut turns), order);
    }

    #[test]
    fn a_job_gives_way_on_the_outermost_level_on_which_the_new_one_has_fewer_places() {
        let mut turns = ThreeLevels::new(6);
        let [crowd, neighbour, other_group, other_side] =
            [[0, 0, 0], [0, 0, 1], [0, 1, 0], [1, 0, 0]].map(path);
        enter_all(&mut turns, crowd, ["c1", "c2", "c3", "c4", "c5", "c6"]);
        assert_eq!(enter(&mut turns, neighbour, "n1"), Ok(Some("c6")));
        assert_eq!(enter(&mut turns, neighbour, "n2"), Ok(Some("c5")));
        assert_eq!(enter(&mut turns, other_group, "g1"), Ok(Some("c4")));
        assert_eq!(enter(&mut turns, other_group, "g2"), Ok(Some("c3")));
        assert_eq!(enter(&mut turns, other_side, "s1"), Ok(Some("n2")));
        assert_eq!(enter(&mut turns, other_side, "s2"), Ok(Some("c2")));
        assert_eq!(enter(&mut turns, other_side, "s3"), Ok(Some("g2")));
        assert_eq!(enter(&mut turns, other_side, "s4"), Err("s4"), "it has half");
        assert_eq!(enter(&mut turns, other_group, "g3"), Err("g3"), "c1, n1 and g1 are left");
    }
}
