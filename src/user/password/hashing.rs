//! The password hashing threads: few, dedicated, each with its own memory, behind a bounded queue
//! that serves those who wait in turn.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_channel::oneshot;

use crate::environment::RandomnessError;
use crate::error::Overloaded;
use crate::time::{Clock, Timestamp};
use crate::user::password::caller::{Caller, Group, Party, Side};
use crate::user::password::memory::Memory;
use crate::user::password::turns::{Entered, FirstCome, RoundRobin, Turns};

/// Queues work for the hashing threads. The threads end when the last handle is dropped.
#[derive(Clone)]
pub(crate) struct HashingThreads {
    queue: Arc<Handles>,
    clock: Arc<dyn Clock>,
    queue_timeout: Duration,
}

/// What the handles share, without the threads.
struct Handles(Arc<Queue>);

/// What the handles and the threads share.
struct Queue {
    waiting: Mutex<Waiting>,
    /// A job has arrived, or the last handle is gone.
    changed: Condvar,
}

struct Waiting {
    jobs: Jobs,
    is_closed: bool,
}

/// Sides take turns, on each side its groups, and in each group its parties.
type Jobs = Turns<RoundRobin<Side, RoundRobin<Group, RoundRobin<Party, FirstCome<Job>>>>>;

struct Job {
    /// Does nothing if nobody waits for the result any more.
    work: Box<dyn FnOnce(&mut Memory) + Send>,
    deadline: Timestamp,
}

/// The place of a job in the queue. It is freed when the caller goes away.
struct Place<'a> {
    queue: &'a Queue,
    caller: Caller,
    number: u64,
}

/// The hashing threads cannot be set up as configured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HashingConfigError {
    /// The number of threads times the memory of one exceeds the budget.
    #[error(
        "{threads} hashing threads of {memory_kib} KiB exceed the memory budget of {budget_kib} KiB"
    )]
    MemoryBudget {
        /// The number of threads.
        threads: usize,
        /// The memory that one thread may use, in KiB.
        memory_kib: u32,
        /// The memory that all threads together may use, in KiB.
        budget_kib: u64,
    },
    /// The decoy hash, which is verified in place of an unknown user's, does not behave as a real
    /// hash would.
    #[error("the password hash that stands in for unknown users failed its test")]
    Decoy,
    /// The parameters are outside what Argon2 allows.
    #[error("the Argon2 parameters are out of range")]
    Parameters,
    /// The memory for the first hash could not be allocated.
    #[error("the memory for password hashing could not be allocated")]
    Memory,
    /// The random generator failed.
    #[error(transparent)]
    Randomness(#[from] RandomnessError),
    /// The operating system refused to start a thread.
    #[error("a hashing thread could not be started")]
    Thread(#[source] std::io::Error),
}

impl HashingThreads {
    /// Starts the threads. At most `capacity` jobs may wait, each for at most `queue_timeout`. The
    /// first thread takes over `memory`.
    pub(crate) fn start(
        threads: usize,
        capacity: usize,
        queue_timeout: Duration,
        clock: Arc<dyn Clock>,
        mut memory: Memory,
    ) -> Result<Self, HashingConfigError> {
        let queue = Arc::new(Queue::new(capacity.max(1)));
        let handles = Arc::new(Handles(queue.clone()));
        for number in 0..threads.max(1) {
            let memory = std::mem::replace(&mut memory, Memory::new());
            let (queue, clock) = (queue.clone(), clock.clone());
            std::thread::Builder::new()
                .name(format!("password-hash-{number}"))
                .spawn(move || serve(&queue, &*clock, memory))
                .map_err(HashingConfigError::Thread)?;
        }
        Ok(Self { queue: handles, clock, queue_timeout })
    }

    /// Runs `work` on one of the threads, when it is the turn of `caller`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future discards the result, and frees the place of work that has not begun.
    /// Work that has begun runs to its end: each thread is a permit, so there is never more work in
    /// progress than there are threads.
    ///
    /// # Errors
    ///
    /// Immediately if the queue is full and no job gives way to this one; later if this one gives
    /// way to another, or if the deadline passes before a thread is free.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        caller: Caller,
        work: impl FnOnce(&mut Memory) -> T + Send + 'static,
    ) -> Result<T, Overloaded> {
        let (answer, answered) = oneshot::channel();
        let work = move |memory: &mut Memory| {
            if !answer.is_canceled() {
                // The receiver may be gone by now.
                let _ = answer.send(work(memory));
            }
        };
        let deadline = self.clock.now().plus(self.queue_timeout);
        let _place = self.queue.0.enter(caller, Job { work: Box::new(work), deadline })?;
        answered.await.map_err(|_| Overloaded)
    }
}

impl Queue {
    fn new(capacity: usize) -> Self {
        let waiting = Waiting { jobs: Jobs::new(capacity), is_closed: false };
        Self { waiting: Mutex::new(waiting), changed: Condvar::new() }
    }

    fn enter(&self, caller: Caller, job: Job) -> Result<Place<'_>, Overloaded> {
        let entered = self.lock().jobs.enter(caller.path(), job);
        let Entered { number, gave_way } = entered.map_err(|_| Overloaded)?;
        self.changed.notify_one();
        drop(gave_way); // without the lock, since this wakes its caller
        Ok(Place { queue: self, caller, number })
    }

    /// Waits for the next job. Returns `None` when there will be none any more. The memory is wiped
    /// before the thread waits.
    fn next(&self, memory: &mut Memory) -> Option<Job> {
        let mut waiting = self.lock();
        loop {
            if let Some(job) = waiting.jobs.next() {
                return Some(job);
            }
            if memory.is_used() {
                drop(waiting);
                memory.wipe();
                waiting = self.lock();
            } else if waiting.is_closed {
                return None;
            } else {
                waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let job = self.queue.lock().jobs.leave(self.caller.path(), self.number);
        drop(job); // without the lock
    }
}

impl Drop for Handles {
    fn drop(&mut self) {
        self.0.lock().is_closed = true;
        self.0.changed.notify_all();
    }
}

fn serve(queue: &Queue, clock: &dyn Clock, mut memory: Memory) {
    while let Some(job) = queue.next(&mut memory) {
        if clock.now() < job.deadline {
            // A panic ends its own job, whose waiter sees the channel close, but not the thread.
            let _ = catch_unwind(AssertUnwindSafe(|| (job.work)(&mut memory)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::SystemRandom;
    use crate::user::password::argon2id::Argon2Parameters;

    /// What a hash leaves in the memory tells as much as its password.
    #[test]
    fn a_thread_wipes_its_memory_before_it_waits_and_not_while_there_is_more_to_hash() {
        let handles = Handles(Arc::new(Queue::new(2)));
        let queue = handles.0.clone();
        let hash = || {
            let (parameters, randomness) = (Argon2Parameters::new(64, 2, 2), SystemRandom::new());
            let work = move |memory: &mut Memory| {
                assert!(parameters.hash_in(memory, "wonderland", &randomness).is_ok());
            };
            Job { work: Box::new(work), deadline: Timestamp::from_unix_seconds(0) }
        };
        let _places = [(); 2].map(|()| queue.enter(Caller::ENROLMENT, hash()).unwrap());
        let mut memory = Memory::new();
        for left in [0, 64] {
            let job = queue.next(&mut memory).unwrap();
            assert_eq!(memory.dirty_blocks(), left, "the next hash overwrites it");
            (job.work)(&mut memory);
            assert_eq!(memory.dirty_blocks(), 64);
        }
        drop(handles); // so that there is nothing more to wait for
        assert!(queue.next(&mut memory).is_none());
        assert_eq!(memory.dirty_blocks(), 0);
    }
}
