//! The threads that hash passwords: few, dedicated, each with its own memory, behind a bounded queue.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use argon2::Block;
use futures_channel::oneshot;

use crate::environment::RandomnessError;
use crate::error::Overloaded;
use crate::time::{Clock, Timestamp};

/// The blocks that one thread hashes in, kept from one hash to the next.
pub(crate) type Memory = Vec<Block>;

/// Hands work to the hashing threads. They end when the last handle is dropped.
#[derive(Clone)]
pub(crate) struct HashingThreads {
    queue: SyncSender<Job>,
    clock: Arc<dyn Clock>,
    queue_timeout: Duration,
}

struct Job {
    /// Returns without hashing if nobody waits for the result any more.
    work: Box<dyn FnOnce(&mut Memory) + Send>,
    deadline: Timestamp,
}

/// The hashing threads cannot be had as configured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HashingConfigError {
    /// Threads times memory is more than the budget.
    #[error(
        "{threads} hashing threads of {memory_kib} KiB exceed the memory budget of {budget_kib} KiB"
    )]
    MemoryBudget {
        /// How many threads were asked for.
        threads: usize,
        /// What one may use, in KiB.
        memory_kib: u32,
        /// What all may use together, in KiB.
        budget_kib: u64,
    },
    /// The decoy that stands in for unknown users does not behave as a real hash would.
    #[error("the password hash that stands in for unknown users failed its test")]
    Decoy,
    /// The parameters are outside what Argon2 allows.
    #[error("the Argon2 parameters are out of range")]
    Parameters,
    /// The random generator failed.
    #[error(transparent)]
    Randomness(#[from] RandomnessError),
    /// The operating system refused to start a thread.
    #[error("a hashing thread could not be started")]
    Thread(#[source] std::io::Error),
}

impl HashingThreads {
    /// `waiting` jobs may queue, each for at most `queue_timeout`. The first thread goes on in this memory.
    pub(crate) fn start(
        threads: usize,
        waiting: usize,
        queue_timeout: Duration,
        clock: Arc<dyn Clock>,
        mut memory: Memory,
    ) -> Result<Self, HashingConfigError> {
        let (queue, jobs) = sync_channel(waiting.max(1));
        let jobs = Arc::new(Mutex::new(jobs));
        for number in 0..threads.max(1) {
            let (jobs, clock, memory) = (jobs.clone(), clock.clone(), std::mem::take(&mut memory));
            std::thread::Builder::new()
                .name(format!("password-hash-{number}"))
                .spawn(move || serve(&jobs, &*clock, memory))
                .map_err(HashingConfigError::Thread)?;
        }
        Ok(Self { queue, clock, queue_timeout })
    }

    /// Runs `work` on one of the threads.
    ///
    /// Whoever drops the returned future gives up the result. Work that has begun goes on until it is done: the
    /// thread is its permit, so there is never more of it than there are threads.
    ///
    /// # Errors
    ///
    /// At once when the queue is full; later when the deadline passed before a thread was free.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Memory) -> T + Send + 'static,
    ) -> Result<T, Overloaded> {
        let (answer, answered) = oneshot::channel();
        let work = move |memory: &mut Memory| {
            if !answer.is_canceled() {
                // The receiver may have gone away meanwhile.
                let _ = answer.send(work(memory));
            }
        };
        let deadline = self.clock.now().plus(self.queue_timeout);
        match self.queue.try_send(Job { work: Box::new(work), deadline }) {
            Ok(()) => answered.await.map_err(|_| Overloaded),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Err(Overloaded),
        }
    }
}

fn serve(jobs: &Mutex<Receiver<Job>>, clock: &dyn Clock, mut memory: Memory) {
    loop {
        // The lock is held while waiting: one idle thread waits for a job, the others for the lock.
        let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = next else { return };
        if clock.now() < job.deadline {
            // A panic costs its own job, whose waiter sees the channel close, and not the thread.
            let _ = catch_unwind(AssertUnwindSafe(|| (job.work)(&mut memory)));
        }
    }
}
