//! An issuer, a source of randomness or a store that fails costs nobody a session.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use password_grant::environment::{RandomnessError, SecureRandom, SystemRandom};
use password_grant::state::{
    Change, Commit, InMemoryState, Loaded, StateKey, StateSecret, StateStore,
};
use password_grant::testing::ManualClock;
use password_grant::{
    AccessToken, Authorization, BoxError, Environment, JwtIssuer, RefreshTokens, RequestContext,
    TokenIssuer, async_trait,
};

use crate::common::fakes::{FaultyStore, StoreFault};
use crate::common::sessions::{Gate, OFFLINE, Pair, Sessions, keys, refreshing};
use crate::common::{AUDIENCE, Users, noon};
use crate::support::{Ends, Instance, signing};

/// An issuer that can be told to fail.
struct Failing {
    tokens: JwtIssuer,
    fails: Arc<AtomicBool>,
}

#[async_trait]
impl TokenIssuer for Failing {
    async fn issue(&self, authorization: &Authorization<'_>) -> Result<AccessToken, BoxError> {
        if self.fails.load(Ordering::SeqCst) {
            Err("no key".into())
        } else {
            self.tokens.issue(authorization).await
        }
    }
}

/// Requirement 112: a refresh token is used up only when there is an access token to return,
/// however long that takes.
#[tokio::test]
async fn an_issuer_that_fails_costs_nobody_the_session() {
    let fails = Arc::new(AtomicBool::new(false));
    let tokens = Failing { tokens: JwtIssuer::new(signing(), AUDIENCE), fails: fails.clone() };
    let refresh = RefreshTokens::new(keys(), Gate::default()).sessions(1);
    let clock = ManualClock::at(noon());
    let instance = Instance::issuing(
        InMemoryState::new().environment(&Environment::new().clock(clock.clone())),
        Users::default(),
        tokens,
        refresh,
    );
    let first = instance.login().await;
    fails.store(true, Ordering::SeqCst);
    instance.refresh(&first.refresh).await.is(500, "server_error");
    // A login that fails does not end another session.
    instance.send("app", OFFLINE).await.is(500, "server_error");
    clock.advance(Duration::from_secs(3_600));
    fails.store(false, Ordering::SeqCst);
    let second = Pair::of(&instance.refresh(&first.refresh).await);
    instance.refresh(&second.refresh).await.is_granted();
}

/// Requirement 137: without randomness the call fails, instead of returning something weaker.
#[tokio::test]
async fn without_randomness_nothing_is_granted() {
    struct Failing(Arc<AtomicBool>);
    impl SecureRandom for Failing {
        fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomnessError> {
            if self.0.load(Ordering::SeqCst) {
                Err(RandomnessError::new())
            } else {
                SystemRandom::new().fill(bytes)
            }
        }
    }

    let fails = Arc::new(AtomicBool::new(false));
    let randomness = Failing(fails.clone());
    let sessions = Sessions::in_environment(
        Users::default(),
        |own| own.randomness(randomness),
        |refresh| refresh,
        |builder| builder,
    );
    let pair = sessions.login("app").await;
    fails.store(true, Ordering::SeqCst);
    sessions.ask("app", OFFLINE).await.is(500, "server_error");
    // The successor of a refresh token is derived, and needs no randomness.
    sessions.refresh("app", &pair.refresh).await.is_granted();
}

/// Fails one call, before or after it took effect.
fn fails_once(call: usize, afterwards: bool) -> impl Fn(usize) -> StoreFault {
    move |number| match (number == call, afterwards) {
        (false, _) => StoreFault::None,
        (true, false) => StoreFault::Fails,
        (true, true) => StoreFault::FailsAfterwards,
    }
}

/// A failing store is a 503, and loses no session.
#[tokio::test]
async fn a_store_that_fails_once_costs_nobody_the_session() {
    for afterwards in [false, true] {
        for call in 0.. {
            let store = InMemoryState::new();
            let whole = Instance::over(store.clone());
            let first = whole.login().await;
            let failing = FaultyStore::over(store.clone(), fails_once(call, afterwards));
            let answer = Instance::over(failing.clone()).refresh(&first.refresh).await;
            if failing.calls() <= call {
                assert_eq!(call, 2, "a load and a commit");
                break;
            }
            answer.is(503, "temporarily_unavailable");
            let second = Pair::of(&whole.refresh(&first.refresh).await);
            whole.refresh(&second.refresh).await.is_granted();
        }
    }
}

/// Requirement 113, incident R14: after a 503 the client may repeat a revocation or a log-out, and
/// once it is answered, no token of the session is alive.
#[tokio::test]
async fn an_end_that_fails_once_can_be_asked_for_again() {
    for (how, afterwards) in
        [Ends::Revoked, Ends::LoggedOut].into_iter().flat_map(|how| [(how, false), (how, true)])
    {
        for call in 0.. {
            let store = InMemoryState::new();
            let whole = Instance::over(store.clone());
            let pair = whole.login().await;
            let failing = FaultyStore::over(store, fails_once(call, afterwards));
            let instance = Instance::over(failing.clone());
            let subject = "user-1".into();
            let asked = async || match how {
                Ends::Revoked => instance.revoke(&pair.refresh).await.status == 200,
                Ends::LoggedOut => instance
                    .grant
                    .log_out_everywhere(&subject, &RequestContext::new())
                    .await
                    .is_ok(),
            };
            let first = asked().await;
            if failing.calls() <= call {
                assert!(first && call >= 2);
                break;
            }
            assert!(!first, "{how:?}: call {call} failed, and it was answered");
            assert!(asked().await);
            whole.refresh(&pair.refresh).await.is(400, "invalid_grant");
            assert!(!whole.is_active(&pair.access).await);
        }
    }
}

/// Makes one commit without ever answering it.
struct HangsAfterwards {
    store: InMemoryState,
    hangs: AtomicBool,
}

#[async_trait]
impl StateStore for HangsAfterwards {
    async fn load(&self, keys: &[StateKey]) -> Result<Loaded, BoxError> {
        self.store.load(keys).await
    }

    async fn commit(&self, changes: &[Change]) -> Result<Commit, BoxError> {
        let commit = self.store.commit(changes).await?;
        if self.hangs.swap(false, Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        Ok(commit)
    }
}

/// If the store stalls, the client gets its 503 while it can still retry within the window.
#[tokio::test]
async fn a_store_that_stalls_makes_no_thief_of_an_honest_client() {
    let clock = ManualClock::at(noon());
    let store = InMemoryState::new().environment(&Environment::new().clock(clock.clone()));
    let stalling = Arc::new(HangsAfterwards { store, hangs: AtomicBool::new(false) });
    let shared = stalling.clone();
    let sessions = Sessions::in_environment(
        Users::default(),
        |own| own.clock(clock.clone()),
        |refresh| refresh.retry_window(Duration::from_secs(10)),
        |builder| builder.shared_state(shared, StateSecret::new([0x5a; 32]).unwrap()),
    );
    let first = sessions.login("app").await;
    stalling.hangs.store(true, Ordering::SeqCst);
    let (answer, ()) = tokio::join!(sessions.refresh("app", &first.refresh), async {
        tokio::task::yield_now().await;
        clock.advance(Duration::from_secs(5));
    });
    answer.is(503, "temporarily_unavailable");
    clock.advance(Duration::from_secs(1)); // what it was told to wait
    let second = Pair::of(&sessions.refresh("app", &first.refresh).await);
    sessions.refresh("app", &second.refresh).await.is_granted();
}

/// Requirement 136: whatever await a refresh is dropped at, the client can repeat it.
#[tokio::test]
async fn a_refresh_that_is_given_up_anywhere_can_be_made_again() {
    let mut given_up = 0;
    for polls in 0.. {
        let store = InMemoryState::new();
        let slow = Arc::new(Slow(store.clone()));
        let instance = Instance::over(slow);
        let first = Instance::over(store).login().await;
        {
            let form = refreshing(&first.refresh);
            let mut request = pin!(instance.send("app", &form));
            let mut context = Context::from_waker(Waker::noop());
            let finished = (0..polls).any(|_| request.as_mut().poll(&mut context).is_ready());
            if finished {
                break;
            }
        }
        given_up += 1;
        let second = Pair::of(&instance.refresh(&first.refresh).await);
        instance.refresh(&second.refresh).await.is_granted();
    }
    assert!(given_up > 4, "{given_up}");
}

/// Every call is pending once before it takes effect, and once after.
struct Slow(InMemoryState);

#[async_trait]
impl StateStore for Slow {
    async fn load(&self, keys: &[StateKey]) -> Result<Loaded, BoxError> {
        tokio::task::yield_now().await;
        let loaded = self.0.load(keys).await;
        tokio::task::yield_now().await;
        loaded
    }

    async fn commit(&self, changes: &[Change]) -> Result<Commit, BoxError> {
        tokio::task::yield_now().await;
        let commit = self.0.commit(changes).await;
        tokio::task::yield_now().await;
        commit
    }
}
