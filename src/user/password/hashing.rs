//! The password hashing threads: few, dedicated, each with its own memory, behind a bounded queue.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use argon2::Block;
use futures_channel::oneshot;

use crate::environment::RandomnessError;
use crate::error::Overloaded;
use crate::time::{Clock, Timestamp};

/// The blocks that one thread hashes in. They are kept from one hash to the next.
pub(crate) type Memory = Vec<Block>;

/// Queues work for the hashing threads. The threads end when the last handle is dropped.
#[derive(Clone)]
pub(crate) struct HashingThreads {
    queue: SyncSender<Job>,
    clock: Arc<dyn Clock>,
    queue_timeout: Duration,
}

struct Job {
    /// Does nothing if nobody waits for the result any more.
    work: Box<dyn FnOnce(&mut Memory) + Send>,
    deadline: Timestamp,
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
    /// The random generator failed.
    #[error(transparent)]
    Randomness(#[from] RandomnessError),
    /// The operating system refused to start a thread.
    #[error("a hashing thread could not be started")]
    Thread(#[source] std::io::Error),
}

impl HashingThreads {
    /// Starts the threads. At most `waiting` jobs may queue, each for at most `queue_timeout`. The
    /// first thread takes over `memory`.
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
    /// # Cancel safety
    ///
    /// Dropping the future discards the result. Work that has begun runs to its end: each thread is
    /// a permit, so there is never more work in progress than there are threads.
    ///
    /// # Errors
    ///
    /// Immediately if the queue is full; later if the deadline passes before a thread is free.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
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
            // A panic ends its own job, whose waiter sees the channel close, but not the thread.
            let _ = catch_unwind(AssertUnwindSafe(|| (job.work)(&mut memory)));
        }
    }
}
