//! Password verification for a user table with Argon2id hashes, at a bounded and equal cost.

mod argon2id;
mod caller;
mod hashing;
mod memory;
mod scheme;
mod store;
mod turns;

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use zeroize::Zeroizing;

use crate::client::authenticate::{Comparison, SlowSecrets};
use crate::environment::{Environment, RandomnessError, SecureRandom};
use crate::error::{BoxError, Overloaded, Rejection};
use crate::event::{self, Event, EventKind};
use crate::future::{before, catch_panic};
use crate::types::context::RequestContext;
use crate::types::limits::RequestLimits;
use crate::user::authenticator::{LoginAttempt, UserAuthenticator};
use crate::user::login::{Login, Outcome};
pub use crate::user::password::argon2id::{Argon2Parameters, HashError};
use crate::user::password::argon2id::{Ceiling, StoredHash, check_new_password};
use crate::user::password::caller::Caller;
pub use crate::user::password::hashing::HashingConfigError;
use crate::user::password::hashing::HashingThreads;
use crate::user::password::memory::Memory;
pub use crate::user::password::store::{AccountState, User, UserStore};
use crate::user::password_use::PasswordTurn;

/// Verifies passwords against a [`UserStore`], at a bounded and equal cost.
///
/// * **Equal**: every attempt costs exactly one Argon2id verification, on the same path. An unknown
///   name, a user without a password, a disabled user and a refused hash are no faster than a wrong
///   password. This cannot hold for users whose hash has other parameters than the current ones.
///   Users whose hash is weaker (less memory times passes) are rehashed when they log in; for a
///   table that mixes parameters, use
///   [`min_failure_time`](crate::PasswordGrantBuilder::min_failure_time).
/// * **Bounded**: hashing runs on a few dedicated threads, one per core by default, each with
///   memory that it keeps. An async worker never hashes. A password waits for a thread in a bounded
///   queue, and is refused with 503 if the queue is full or no thread is free within the queue
///   timeout. A caller that goes away makes room in the queue, but frees no thread before its work
///   is done.
/// * **In turn**: the clients that are registered as a
///   [`web_backend`](crate::ClientBuilder::web_backend) and all other callers are the two sides of
///   the queue, which are served alternately, however many passwords each of them has waiting. On
///   each side groups take turns: each web backend (in each tenant) on the one, each IPv4 address
///   and each IPv6 network (/48) on the other, where all requests without an address are one group,
///   and all calls of [`hash`](Self::hash) another. In each group parties take turns: the user
///   names at a web backend, the /64s of a network. Passwords of one party are served in the order
///   of arrival.
/// * **Shared out**: when the queue is full, the side that has the most in it gives way to one that
///   has fewer, also when the new password is counted. Where the new password's own side would not
///   have fewer, the same is decided between the groups of that side, and then between the parties
///   of its group. What is refused with 503 is the newest password of the fullest party in the
///   fullest group of those that give way, or the new password if nobody does. So each side gets
///   half of the queue when it needs it, and of n groups or parties each an n-th part; whoever is
///   alone may use the whole queue. No number of addresses keeps the users of web backends out, and
///   no number of names invented at web backends keeps other callers out. [The
///   guide](crate::guide::hosting#shares-of-the-queue) says where this ends.
///
/// Stored hashes are Argon2id PHC strings with a salt of at most 48 bytes and an output of at most
/// 64 bytes, within the memory, the work (memory times passes) and the lanes of
/// [`strongest_stored`](HashedPasswordsBuilder::strongest_stored). A user with any other hash
/// cannot log in, and the observer receives
/// [`EventKind::StoredHashRefused`](crate::event::EventKind).
///
/// Passwords are compared byte for byte, as they arrive. Some systems type `é` as one character and
/// others as two, so bring passwords into one Unicode form (NFC) when they are set, and in your
/// clients before they are sent.
///
/// Clones are cheap and share the threads: give one to the engine, and keep one to
/// [`hash`](Self::hash) new passwords at enrolment.
///
/// ```
/// # use password_grant::{BoxError, RequestContext, User, UserStore, async_trait};
/// # struct Db;
/// # #[async_trait]
/// # impl UserStore for Db {
/// #     async fn find(&self, _: &str, _: &RequestContext) -> Result<Option<User>, BoxError> {
/// #         Ok(None)
/// #     }
/// #     async fn update_hash(
/// #         &self,
/// #         _: &User,
/// #         _: &str,
/// #         _: &RequestContext,
/// #     ) -> Result<(), BoxError> {
/// #         Ok(())
/// #     }
/// # }
/// use password_grant::HashedPasswords;
/// use std::time::Duration;
///
/// let users =
///     HashedPasswords::builder(Db).threads(2).queue_timeout(Duration::from_secs(2)).build()?;
/// # Ok::<(), password_grant::password::HashingConfigError>(())
/// ```
#[derive(Clone)]
pub struct HashedPasswords {
    users: Arc<dyn UserStore>,
    threads: HashingThreads,
    parameters: Argon2Parameters,
    ceiling: Ceiling,
    decoy: StoredHash,
    password_limit: usize,
    environment: Environment,
}

/// The timeout for rehashing a password and storing the new hash during a login.
const REHASH_WITHIN: Duration = Duration::from_secs(2);

impl HashedPasswords {
    /// Verifies passwords of this table, with the default settings. Starts the hashing threads, and
    /// hashes three times to make and test the decoy.
    ///
    /// # Errors
    ///
    /// If a thread cannot be started or the random generator fails.
    pub fn new(users: impl UserStore) -> Result<Self, HashingConfigError> {
        Self::builder(users).build()
    }

    /// A builder, to change the defaults.
    pub fn builder(users: impl UserStore) -> HashedPasswordsBuilder {
        HashedPasswordsBuilder {
            users: Arc::new(users),
            parameters: Argon2Parameters::default(),
            strongest: None,
            threads: None,
            queue: None,
            queue_timeout: Duration::from_secs(5),
            memory_budget_kib: 1024 * 1024,
            password_limit: RequestLimits::default().password,
            environment: Environment::new(),
        }
    }

    /// Hashes a new password for storage, on the hashing threads.
    ///
    /// # Errors
    ///
    /// If no login could send the password, if the threads are overloaded, or if the random
    /// generator fails.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future discards the hash and has no other effect.
    pub async fn hash(&self, password: &str) -> Result<String, HashError> {
        check_new_password(password, self.password_limit)?;
        self.hash_unchecked(Caller::ENROLMENT, password).await
    }

    async fn hash_unchecked(&self, caller: Caller, password: &str) -> Result<String, HashError> {
        let (parameters, randomness) = (self.parameters, self.environment.randomness.clone());
        let password = Zeroizing::new(password.to_owned());
        let hash = move |memory: &mut Memory| parameters.hash_in(memory, &password, &*randomness);
        self.threads.run(caller, hash).await.map_err(|Overloaded| HashError::Overloaded)?
    }

    /// Verifies a password when it is the caller's turn, unless the password has been withdrawn by
    /// then.
    async fn verify(
        &self,
        caller: Caller,
        turn: Option<PasswordTurn>,
        stored: StoredHash,
        password: &str,
    ) -> Result<bool, Overloaded> {
        let password = Zeroizing::new(password.to_owned());
        let Argon2Parameters { memory_kib, passes, lanes } = stored.cost();
        let verify = move |memory: &mut Memory| {
            let may_look = turn.is_none_or(|turn| turn.begin());
            if may_look { stored.verify(memory, &password) } else { Err(Overloaded) }
        };
        let right = self.threads.run(caller, verify).await??;
        self.observe(&Event::new(EventKind::PasswordVerified { memory_kib, passes, lanes }));
        Ok(right)
    }

    /// The hash to verify against, or the reason why there is none.
    fn stored_hash(&self, user: Option<&User>) -> Result<StoredHash, Rejection> {
        let user = user.ok_or(Rejection::UnknownUser)?;
        let phc = user.password_hash().ok_or(Rejection::NoPassword)?;
        StoredHash::parse(phc, self.ceiling).ok_or(Rejection::UnusableHash)
    }

    /// Decides the login of a user whose password is right. The account state and the user's scope
    /// limit apply whatever the host's hook returns.
    async fn accept(&self, user: &User, attempt: &LoginAttempt<'_>) -> Result<Login, BoxError> {
        let login = user.login();
        if !matches!(
            user.account_state(),
            AccountState::Active | AccountState::SecondFactorRequired
        ) {
            return Ok(login);
        }
        let login = self.users.accept(user, attempt, login).await?;
        if let Outcome::Accepted(accepted) = login.outcome() {
            if accepted.subject != *user.subject() {
                return Err("UserStore::accept accepted another subject than the user's".into());
            }
            if user.account_state() == AccountState::SecondFactorRequired && !accepted.second_factor
            {
                return Ok(user.login());
            }
        }
        Ok(match user.most_scope() {
            Some(most) => login.within(most),
            None => login,
        })
    }

    /// Rehashes a correct password whose stored hash is too weak. The login continues whatever
    /// fails: an error, a panic, or a database that does not answer.
    async fn strengthen(&self, user: &User, attempt: &LoginAttempt<'_>) {
        let (subject, context) = (user.subject(), attempt.context());
        let password = attempt.password.expose();
        let store = async {
            let new_hash = self.hash_unchecked(Caller::of_login(attempt), password).await?;
            self.users.update_hash(user, &new_hash, context).await
        };
        let stored =
            match before(catch_panic(pin!(store)), self.environment.clock.sleep(REHASH_WITHIN))
                .await
            {
                Some(Some(stored)) => stored,
                Some(None) => Err("it panicked".into()),
                None => Err("it took too long".into()),
            };
        self.observe(&match &stored {
            Ok(()) => Event::in_context(EventKind::PasswordRehashed, context).with_subject(subject),
            Err(cause) => Event::in_context(EventKind::RehashFailed, context)
                .with_subject(subject)
                .with_cause(&**cause),
        });
    }

    fn observe(&self, event: &Event<'_>) {
        event::observe(&*self.environment.observer, event);
    }
}

#[async_trait]
impl UserAuthenticator for HashedPasswords {
    async fn authenticate(&self, attempt: LoginAttempt<'_>) -> Result<Login, BoxError> {
        // From here on the password is looked at on a hashing thread alone, once its turn begins.
        let turn = attempt.password_use.wait_for_turn();
        let user = self.users.find(attempt.username(), attempt.context()).await?;
        let stored = self.stored_hash(user.as_ref());

        // Every attempt verifies one hash before any decision, so that all cost the same.
        let compared = stored.as_ref().unwrap_or(&self.decoy).clone();
        let (caller, password) = (Caller::of_login(&attempt), attempt.password.expose());
        let right = self.verify(caller, Some(turn), compared, password).await?;

        let (user, stored) = match (user, stored) {
            (Some(user), Ok(stored)) if right => (user, stored),
            (_, Ok(_)) => return Ok(Login::rejected(Rejection::WrongPassword)),
            (user, Err(rejection)) => {
                if let (Some(user), Rejection::UnusableHash) = (&user, rejection) {
                    let event = Event::in_context(EventKind::StoredHashRefused, attempt.context());
                    let cause = scheme::looks_like(user.password_hash().unwrap_or_default());
                    self.observe(&event.with_subject(user.subject()).with_cause(&cause));
                }
                return Ok(Login::rejected(rejection));
            }
        };
        let login = self.accept(&user, &attempt).await?;
        if login.is_accepted() && stored.is_weaker_than(self.parameters) {
            self.strengthen(&user, &attempt).await;
        }
        Ok(login)
    }
}

#[async_trait]
impl SlowSecrets for HashedPasswords {
    async fn compare(
        &self,
        phc: Option<&str>,
        secret: &str,
        context: &RequestContext,
    ) -> Result<Comparison, Overloaded> {
        let stored = phc.and_then(|phc| StoredHash::parse(phc, self.ceiling));
        let is_usable = stored.is_some();
        let stored = stored.unwrap_or_else(|| self.decoy.clone());
        let same = self.verify(Caller::at(context), None, stored, secret).await?;
        Ok(match phc {
            Some(_) if !is_usable => Comparison::Unusable,
            Some(_) if same => Comparison::Same,
            _ => Comparison::Different,
        })
    }
}

impl fmt::Debug for HashedPasswords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HashedPasswords")
            .field("parameters", &self.parameters)
            .finish_non_exhaustive()
    }
}

/// Configures [`HashedPasswords`].
#[must_use]
pub struct HashedPasswordsBuilder {
    users: Arc<dyn UserStore>,
    parameters: Argon2Parameters,
    strongest: Option<Argon2Parameters>,
    threads: Option<usize>,
    queue: Option<usize>,
    queue_timeout: Duration,
    memory_budget_kib: u64,
    password_limit: usize,
    environment: Environment,
}

impl HashedPasswordsBuilder {
    /// The cost of new hashes. Default: 19 MiB, two passes, one lane.
    pub fn parameters(mut self, parameters: Argon2Parameters) -> Self {
        self.parameters = parameters;
        self
    }

    /// The highest cost of a stored hash, in memory, work and lanes. A stronger hash is refused
    /// before anything is allocated. Passes alone are not bounded, but memory times passes is: with
    /// the default of 64 MiB, four passes and 16 lanes, a hash of 16 MiB may have 16 passes. The
    /// cost of the current [`parameters`](Self::parameters) is always allowed.
    pub fn strongest_stored(mut self, strongest: Argon2Parameters) -> Self {
        self.strongest = Some(strongest);
        self
    }

    /// The number of hashing threads. Default: one per core, as far as the memory budget allows.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = Some(threads.max(1));
        self
    }

    /// How many passwords may wait for a thread, at most 65,536. Default: 64 per thread.
    pub fn queue(mut self, waiting: usize) -> Self {
        self.queue = Some(waiting.clamp(1, 65_536));
        self
    }

    /// How long a password may wait for a thread before it is refused with 503. Default: 5 seconds.
    pub fn queue_timeout(mut self, queue_timeout: Duration) -> Self {
        self.queue_timeout = queue_timeout;
        self
    }

    /// The memory budget of all threads together, in KiB. The number of threads times the memory of
    /// the strongest stored hash must not exceed it. Default: 1 GiB. A thread holds no more memory
    /// than the largest hash that it has computed.
    pub fn memory_budget_kib(mut self, budget: u64) -> Self {
        self.memory_budget_kib = budget;
        self
    }

    /// The longest new password, in bytes; set the same limit as for logins
    /// ([`RequestLimits::password`]). Default: 1,024.
    pub fn password_limit(mut self, bytes: usize) -> Self {
        self.password_limit =
            RequestLimits { password: bytes, ..RequestLimits::default() }.within_bounds().password;
        self
    }

    /// The clock, the source of randomness and the observer; see
    /// [`Environment`](crate::Environment).
    pub fn environment(mut self, environment: &Environment) -> Self {
        self.environment = environment.clone();
        self
    }

    /// Checks the memory budget, makes and tests the decoy, and starts the threads.
    ///
    /// # Errors
    ///
    /// If the threads' memory exceeds the budget, the parameters are out of range, the random
    /// generator fails, the decoy fails its test, or a thread cannot be started.
    pub fn build(self) -> Result<HashedPasswords, HashingConfigError> {
        let ceiling = self.ceiling();
        let threads = self.affordable_threads(ceiling)?;
        let queue = self.queue.unwrap_or_else(|| threads.saturating_mul(64));
        let mut memory = Memory::new();
        let decoy = decoy(&mut memory, self.parameters, ceiling, &*self.environment.randomness)?;
        Ok(HashedPasswords {
            users: self.users,
            threads: HashingThreads::start(
                threads,
                queue,
                self.queue_timeout,
                self.environment.clock.clone(),
                memory,
            )?,
            parameters: self.parameters,
            ceiling,
            decoy,
            password_limit: self.password_limit,
            environment: self.environment,
        })
    }

    fn ceiling(&self) -> Ceiling {
        let current = self.parameters;
        let strongest = self.strongest.unwrap_or(Argon2Parameters {
            memory_kib: 64 * 1024,
            passes: 4,
            lanes: 16,
        });
        Ceiling {
            memory_kib: strongest.memory_kib.max(current.memory_kib),
            work: strongest.work().max(current.work()),
            lanes: strongest.lanes.max(current.lanes),
        }
    }

    fn affordable_threads(&self, ceiling: Ceiling) -> Result<usize, HashingConfigError> {
        let affordable = self.memory_budget_kib / u64::from(ceiling.memory_kib).max(1);
        let affordable = usize::try_from(affordable).unwrap_or(usize::MAX);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = self.threads.unwrap_or_else(|| cores.min(affordable.max(1)));
        if threads <= affordable {
            return Ok(threads);
        }
        Err(HashingConfigError::MemoryBudget {
            threads,
            memory_kib: ceiling.memory_kib,
            budget_kib: self.memory_budget_kib,
        })
    }
}

impl fmt::Debug for HashedPasswordsBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HashedPasswordsBuilder")
            .field("parameters", &self.parameters)
            .finish_non_exhaustive()
    }
}

/// Makes the decoy that is verified in place of a missing hash: the hash of a random password that
/// nobody knows, with the current parameters. It is tested, because a decoy that did not parse
/// would answer at once and so reveal that the user is unknown.
fn decoy(
    memory: &mut Memory,
    parameters: Argon2Parameters,
    ceiling: Ceiling,
    randomness: &dyn SecureRandom,
) -> Result<StoredHash, HashingConfigError> {
    let mut secret = Zeroizing::new([0; 32]);
    randomness.fill(&mut *secret)?;
    let password = Zeroizing::new(STANDARD_NO_PAD.encode(secret.as_slice()));
    let phc = parameters.hash_in(memory, &password, randomness).map_err(no_decoy)?;
    StoredHash::parse(&phc, ceiling)
        .filter(|decoy| !decoy.is_weaker_than(parameters))
        .filter(|decoy| matches!(decoy.verify(memory, &password), Ok(true)))
        .filter(|decoy| matches!(decoy.verify(memory, "not the password"), Ok(false)))
        .ok_or(HashingConfigError::Decoy)
}

/// Why no decoy could be made.
fn no_decoy(error: HashError) -> HashingConfigError {
    match error {
        // The decoy's password is one that a login could send.
        HashError::Unusable => HashingConfigError::Decoy,
        HashError::Parameters => HashingConfigError::Parameters,
        HashError::Randomness => HashingConfigError::Randomness(RandomnessError::new()),
        HashError::Overloaded => HashingConfigError::Memory,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::task::{Context, Poll, Waker};

    use futures_channel::oneshot;

    use super::*;
    use crate::client::{AuthenticatedClient, Client};
    use crate::environment::SystemRandom;
    use crate::time::Timestamp;
    use crate::time::manual::ManualClock;
    use crate::types::scope::Scope;
    use crate::types::secret::Secret;
    use crate::user::PasswordUse;

    /// A decoy that a login would refuse unread, since it costs more than stored hashes may, would
    /// answer at once.
    #[test]
    fn a_decoy_that_would_not_be_verified_stops_the_start() {
        let parameters = Argon2Parameters { memory_kib: 64, passes: 2, lanes: 1 };
        let decoy_within = |work| {
            let ceiling = Ceiling { memory_kib: 64, work, lanes: 1 };
            decoy(&mut Memory::new(), parameters, ceiling, &SystemRandom::new())
        };
        assert!(decoy_within(parameters.work()).is_ok());
        let refused = decoy_within(parameters.work() - 1).err();
        assert!(matches!(refused, Some(HashingConfigError::Decoy)), "{refused:?}");
    }

    #[test]
    fn a_decoy_that_cannot_be_made_is_refused_with_its_own_cause() {
        use HashingConfigError as Config;
        assert!(matches!(no_decoy(HashError::Unusable), Config::Decoy));
        assert!(matches!(no_decoy(HashError::Parameters), Config::Parameters));
        assert!(matches!(no_decoy(HashError::Randomness), Config::Randomness(_)));
        assert!(matches!(no_decoy(HashError::Overloaded), Config::Memory));
    }

    /// A table without users, whose look-up takes until it is let go.
    struct Slow(Mutex<Option<oneshot::Receiver<()>>>);

    #[async_trait]
    impl UserStore for Slow {
        async fn find(&self, _: &str, _: &RequestContext) -> Result<Option<User>, BoxError> {
            let found = self.0.lock().unwrap().take();
            if let Some(found) = found {
                let _ = found.await;
            }
            Ok(None)
        }

        async fn update_hash(&self, _: &User, _: &str, _: &RequestContext) -> Result<(), BoxError> {
            Ok(())
        }
    }

    /// Has a password verified. `meanwhile` runs while the user is looked up.
    fn verify_with(
        password_use: &PasswordUse,
        configure: impl FnOnce(HashedPasswordsBuilder) -> HashedPasswordsBuilder,
        meanwhile: impl FnOnce(),
    ) -> Result<Login, BoxError> {
        let (let_go, found) = oneshot::channel();
        let passwords = HashedPasswords::builder(Slow(Mutex::new(Some(found))))
            .parameters(Argon2Parameters::new(64, 1, 1))
            .threads(1)
            .environment(&Environment::new().observer(()));
        let passwords = configure(passwords).build().unwrap();
        let client = Client::public("app").build();
        let client =
            AuthenticatedClient::of_token(client, Timestamp::from_unix_seconds(0)).unwrap();
        let attempt = LoginAttempt {
            username: "alice",
            password: Secret::new("wonderland"),
            others: &[],
            scope: &Scope::empty(),
            client: &client,
            context: &RequestContext::new(),
            password_use,
        };
        let mut login = passwords.authenticate(attempt);
        let mut context = Context::from_waker(Waker::noop());
        assert!(login.as_mut().poll(&mut context).is_pending());
        meanwhile();
        let_go.send(()).unwrap();
        loop {
            if let Poll::Ready(outcome) = login.as_mut().poll(&mut context) {
                return outcome;
            }
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_password_that_is_withdrawn_before_its_hash_begins_is_not_looked_at() {
        let password_use = PasswordUse::new();
        let outcome = verify_with(
            &password_use,
            |passwords| passwords,
            || assert!(password_use.withdraw(), "only the user has been looked up"),
        );
        assert!(outcome.is_err_and(|cause| cause.is::<Overloaded>()));
    }

    #[test]
    fn a_password_that_was_hashed_cannot_be_withdrawn_and_one_that_waited_in_vain_can() {
        let hashed = PasswordUse::new();
        let outcome = verify_with(&hashed, |passwords| passwords, || ());
        let outcome = outcome.unwrap().into_outcome();
        assert!(matches!(outcome, Outcome::Rejected(Rejection::UnknownUser)));
        assert!(!hashed.withdraw());

        let in_vain = PasswordUse::new();
        let no_time = |passwords: HashedPasswordsBuilder| {
            let now = ManualClock::at(Timestamp::from_unix_seconds(0));
            let environment = Environment::new().observer(()).clock(now);
            passwords.environment(&environment).queue_timeout(Duration::ZERO)
        };
        assert!(verify_with(&in_vain, no_time, || ()).is_err());
        assert!(in_vain.withdraw());
    }
}
