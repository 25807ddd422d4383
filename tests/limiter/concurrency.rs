//! Attempts at once: the check comes with the count, so parallel guesses do not pass together.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures_util::future::{FusedFuture, FutureExt, join_all};
use password_grant::limiter::AttemptCount;
use password_grant::state::InMemoryState;
use password_grant::time::{BoxFuture, Timestamp};
use password_grant::{
    AttemptLimits, BoxError, Clock, Environment, Login, LoginAttempt, PasswordGrant, Rejection,
    RequestContext, UserAuthenticator, async_trait,
};
use tokio::sync::Semaphore;

use crate::common::{Answer, GOOD, Users, World, noon};
use crate::support::{
    ALICE, BURST, EITHER, Never, Waits, count, engine, form_of, from, post, secret, standing, wrong,
};

/// Time stands still, and a short sleep lets the other tasks run first.
#[derive(Clone)]
struct StandingStill;

impl Clock for StandingStill {
    fn now(&self) -> Timestamp {
        noon()
    }

    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        // Long sleeps are deadlines, which never end.
        if span <= Duration::from_secs(1) {
            Box::pin(tokio::task::yield_now())
        } else {
            Box::pin(std::future::pending())
        }
    }
}

/// Takes a while for each password, as hashing does.
#[derive(Clone, Default)]
struct Slow {
    asked: Arc<AtomicUsize>,
}

#[async_trait]
impl UserAuthenticator for Slow {
    async fn authenticate(&self, attempt: LoginAttempt<'_>) -> Result<Login, BoxError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        let right = attempt.password().expose() == "wonderland";
        Ok(if right {
            Login::accepted("user-1")
        } else {
            Login::rejected(Rejection::WrongPassword)
        })
    }
}

/// Sends this many requests at once on all threads, after a barrier.
async fn at_once(grants: &[PasswordGrant], times: usize, form: &str) -> Vec<Answer> {
    let barrier = Arc::new(tokio::sync::Barrier::new(times));
    let asking = (0..times).map(|number| {
        let (grant, form, barrier) =
            (grants[number % grants.len()].clone(), form.to_owned(), barrier.clone());
        tokio::spawn(async move {
            barrier.wait().await;
            post(&grant, &RequestContext::new(), &form).await
        })
    });
    join_all(asking).await.into_iter().map(Result::unwrap).collect()
}

fn of_status(answers: &[Answer], status: u16) -> usize {
    answers.iter().filter(|answer| answer.status == status).count()
}

/// Incidents I1, I2, I3: an attempt is checked and counted in one step, so parallel guesses do not
/// all pass.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_guesses_at_once_verify_exactly_the_burst() {
    for state in EITHER {
        let users = Slow::default();
        let grant = engine(users.clone(), StandingStill, |builder| state(builder, &standing()));
        let answers = at_once(&[grant], 1000, &wrong()).await;
        assert_eq!(users.asked.load(Ordering::SeqCst), BURST);
        assert_eq!((of_status(&answers, 400), of_status(&answers, 429)), (BURST, 1000 - BURST));
    }
}

/// Incident I2: several instances over one store share one limit.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn instances_that_share_a_store_verify_the_burst_together() {
    // The store's clock stands still too, or a wait could pass on a slow machine.
    let state = InMemoryState::new().environment(&Environment::new().clock(standing()));
    let users = Slow::default();
    let instance = || {
        engine(users.clone(), StandingStill, |builder| {
            builder.shared_state(state.clone(), secret())
        })
    };
    let answers = at_once(&[instance(), instance(), instance()], 300, &wrong()).await;
    assert_eq!(users.asked.load(Ordering::SeqCst), BURST);
    assert_eq!((of_status(&answers, 400), of_status(&answers, 429)), (BURST, 300 - BURST));
}

/// Requirement 84, incident I4: a service account that logs in from fifty jobs at once is not an
/// attacker.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_right_logins_at_once_all_succeed_and_leave_nothing_counted() {
    for state in EITHER {
        let users = Slow::default();
        let grant = engine(users.clone(), StandingStill, |builder| state(builder, &standing()));
        let answers = at_once(std::slice::from_ref(&grant), 50, GOOD).await;
        assert_eq!(of_status(&answers, 200), 50);
        assert_eq!(count(&grant, ALICE, &RequestContext::new()).await, AttemptCount::default());
    }
}

/// However many users log in at once from one network, rightly: nothing is reserved there, so no
/// login counts as a failure because others are being judged.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_right_logins_at_once_from_one_network_all_succeed() {
    for state in EITHER {
        let anybody = Users::who(|_| Ok(Login::accepted("user")));
        let grant = engine(anybody, StandingStill, |builder| state(builder, &standing()));
        for round in 0..6 {
            let barrier = Arc::new(tokio::sync::Barrier::new(1_000));
            let logins = (0..1_000).map(|number| {
                let (grant, barrier) = (grant.clone(), barrier.clone());
                tokio::spawn(async move {
                    barrier.wait().await;
                    let home = from("2001:db8::1");
                    post(&grant, &home, &form_of(&format!("user{number}"), "right")).await
                })
            });
            let answers: Vec<_> = join_all(logins).await.into_iter().map(Result::unwrap).collect();
            assert_eq!(of_status(&answers, 200), 1_000, "round {round}");
        }
    }
}

/// Whoever waits for a name is served in the order of arrival, as soon as an attempt is settled,
/// and no newcomer goes before them.
#[tokio::test]
async fn whoever_waits_for_a_name_is_served_in_the_order_of_arrival() {
    let (clock, gate) = (standing(), Arc::new(Semaphore::new(0)));
    let users = Gated { gate: gate.clone(), judged: Arc::default() };
    let limits = AttemptLimits::default().burst(1);
    let grant = engine(users.clone(), clock, |builder| builder.attempt_limits(limits.clone()));
    let mut context = Context::from_waker(Waker::noop());
    let mut asking: Vec<_> = (0..20_usize)
        .map(|number| {
            let grant = grant.clone();
            let device = RequestContext::new().with_extension(Arc::new(number));
            Box::pin(async move { post(&grant, &device, GOOD).await.status })
        })
        .collect();
    for asked in &mut asking {
        assert!(asked.as_mut().poll(&mut context).is_pending());
    }
    let mut answered = [false; 20];
    for round in 0..20 {
        gate.add_permits(1);
        // The newest are polled first, so each of them could overtake the others.
        for number in (0..20).rev().filter(|number| *number >= round) {
            if !answered[number] && asking[number].as_mut().poll(&mut context).is_ready() {
                answered[number] = true;
            }
        }
        if round < 18 {
            let nowhere = RequestContext::new();
            let mut newcomer = Box::pin(post(&grant, &nowhere, GOOD));
            assert!(newcomer.as_mut().poll(&mut context).is_pending(), "others came before");
        }
    }
    for number in 0..20 {
        if !answered[number] {
            let answer = asking[number].as_mut().poll(&mut context);
            assert_eq!(answer, Poll::Ready(200));
        }
    }
    assert_eq!(*users.judged.lock().unwrap(), Vec::from_iter(0..20));
}

/// The first login makes the address a known origin, whose count is another one. Whoever waits for
/// the account's count goes on there, and is not overtaken for ever by those who came later.
#[tokio::test]
async fn whoever_waits_while_the_origin_becomes_known_goes_on_waiting_there_in_order() {
    let (clock, gate) = (standing(), Arc::new(Semaphore::new(0)));
    let users = Gated { gate: gate.clone(), judged: Arc::default() };
    let limits = AttemptLimits::default().burst(1);
    let grant = engine(users.clone(), clock, |builder| builder.attempt_limits(limits.clone()));
    let mut context = Context::from_waker(Waker::noop());
    let ask = |number: usize| {
        let grant = grant.clone();
        let home = from("192.0.2.1").with_extension(Arc::new(number));
        Box::pin(async move { post(&grant, &home, GOOD).await.status }.fuse())
    };
    let mut asking: Vec<_> = (0..10).map(ask).collect();
    for asked in &mut asking {
        assert!(asked.as_mut().poll(&mut context).is_pending());
    }
    let mut answered = 0;
    for _ in 0..40 {
        gate.add_permits(1);
        for asked in asking.iter_mut().filter(|asked| !asked.is_terminated()) {
            answered += usize::from(asked.as_mut().poll(&mut context).is_ready());
        }
    }
    assert_eq!(answered, 10, "without that any time has passed");
    assert_eq!(*users.judged.lock().unwrap(), Vec::from_iter(0..10));
}

/// Whoever waits is called when the request before them is dropped, however long a pause would be.
#[tokio::test]
async fn whoever_waits_is_called_when_the_request_before_them_is_dropped() {
    let clock = standing();
    let limits = AttemptLimits::default().burst(2);
    let gate = Arc::new(Semaphore::new(0));
    let users = Gated { gate: gate.clone(), judged: Arc::default() };
    let grant = engine(users, clock, |builder| builder.attempt_limits(limits.clone()));
    let nowhere = RequestContext::new();
    let mut context = Context::from_waker(Waker::noop());
    let ask = || Box::pin(post(&grant, &nowhere, GOOD));
    let [mut first, mut second, mut third] = [ask(), ask(), ask()];
    for asked in [&mut first, &mut second, &mut third] {
        assert!(asked.as_mut().poll(&mut context).is_pending());
    }
    let woken = Arc::new(Woken(AtomicUsize::new(0)));
    let waker = Waker::from(woken.clone());
    assert!(third.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    drop(first);
    assert_eq!(woken.0.load(Ordering::SeqCst), 1);
}

/// Counts how often it is woken.
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// Users who are judged when a test lets one through, and which remember in what order.
#[derive(Clone)]
struct Gated {
    gate: Arc<Semaphore>,
    judged: Arc<Mutex<Vec<usize>>>,
}

#[async_trait]
impl UserAuthenticator for Gated {
    async fn authenticate(&self, attempt: LoginAttempt<'_>) -> Result<Login, BoxError> {
        self.gate.acquire().await?.forget();
        self.judged.lock().unwrap().extend(attempt.context().extension::<usize>());
        Ok(Login::accepted("user-1"))
    }
}

/// At most 64 requests wait for one name. The others are told to try again.
#[tokio::test]
async fn no_more_than_sixty_four_wait_for_one_name() {
    let clock = standing();
    let world_users = Users::who(|_| Ok(Login::accepted("user-1")));
    let never = Never(world_users.clone());
    let grant = engine(never, clock.clone(), |builder| builder);
    let mut asking: Vec<_> = (0..BURST + 65)
        .map(|_| {
            let grant = grant.clone();
            Box::pin(async move { post(&grant, &RequestContext::new(), GOOD).await })
        })
        .collect();
    let mut context = Context::from_waker(Waker::noop());
    let polled: Vec<_> = asking.iter_mut().map(|asked| asked.as_mut().poll(&mut context)).collect();
    let done: Vec<_> = polled.iter().filter(|polled| polled.is_ready()).collect();
    assert_eq!(done.len(), 1, "ten are being judged, sixty-four wait");
    let Some(Poll::Ready(refused)) = polled.last() else { panic!("the last one is refused") };
    refused.waits(1);
    assert_eq!(clock.sleepers(), 64);

    // A waiting request gives up at its deadline, and its place goes to the next one. One is
    // admitted, because its wait has passed.
    clock.advance(Duration::from_secs(10));
    let polled: Vec<_> =
        asking[..BURST + 64].iter_mut().map(|asked| asked.as_mut().poll(&mut context)).collect();
    assert_eq!(polled.iter().filter(|polled| polled.is_ready()).count(), 63);
    let nowhere = RequestContext::new();
    let mut waits = Box::pin(post(&grant, &nowhere, GOOD));
    assert!(waits.as_mut().poll(&mut context).is_pending());
    assert_eq!(clock.sleepers(), 1);
    drop(waits);
    assert_eq!(clock.sleepers(), 0, "nobody waits for a caller who went away");
}

/// Requirement 83: an attempt that is not settled counts as a failure.
#[tokio::test]
async fn an_attempt_that_was_given_up_or_that_panicked_is_a_failure() {
    let grant = engine(Never(Users::default()), standing(), |builder| builder);
    for _ in 0..BURST {
        let request = pin!(post(&grant, &RequestContext::new(), GOOD))
            .poll(&mut Context::from_waker(Waker::noop()))
            .is_pending();
        assert!(request);
    }
    assert_eq!(count(&grant, ALICE, &RequestContext::new()).await.failures, 10);
    // They are settled, so nobody waits for them.
    let refused = post(&grant, &RequestContext::new(), GOOD).now_or_never();
    refused.unwrap().waits(1);

    let world = World::of(Users::who(|_| panic!("on purpose")));
    for _ in 0..BURST {
        world.post(GOOD).await.is(500, "server_error");
    }
    // These attempts are open until their timeout, and then count as failures like any other.
    world.clock.advance(Duration::from_millis(59_999));
    assert_eq!(count(&world.grant, ALICE, &RequestContext::new()).await.failures, 10);
    world.clock.advance(Duration::from_millis(1));
    world.post(GOOD).await.is(500, "server_error");
    world.post(GOOD).await.waits(2);
}

/// An attempt is open for as long as the host says that one may take, and then it has failed.
#[tokio::test]
async fn an_attempt_is_open_for_its_life() {
    let (clock, minute) = (standing(), Duration::from_secs(60));
    let limits = AttemptLimits::default()
        .burst(1)
        .waits(minute, minute)
        .attempt_timeout(Duration::from_secs(5));
    let grant = engine(Never(Users::default()), clock.clone(), |builder| {
        builder.attempt_limits(limits.clone())
    });
    let nobody = RequestContext::new();
    let mut context = Context::from_waker(Waker::noop());
    let mut first = pin!(post(&grant, &nobody, GOOD));
    assert!(first.as_mut().poll(&mut context).is_pending(), "it is judged");
    clock.advance(Duration::from_millis(4_999));
    let mut second = pin!(post(&grant, &nobody, GOOD));
    assert!(second.as_mut().poll(&mut context).is_pending(), "the first may yet turn out right");
    // It looks again after a second at most, and sees that nobody is waited for any more.
    clock.advance(Duration::from_secs(1));
    let Poll::Ready(answer) = second.as_mut().poll(&mut context) else { panic!("it has failed") };
    answer.waits(55);
}
