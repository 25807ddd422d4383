//! A store that fails, hangs or is in conflict, and a clock that is set back.

use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use password_grant::testing::ManualClock;
use password_grant::time::{BoxFuture, Timestamp};
use password_grant::{
    AttemptLimits, Clock, HttpRequest, PasswordGrant, PasswordGrantBuilder, RequestContext,
};

use crate::common::fakes::{FaultyStore, StoreFault};
use crate::common::{Answer, FORM, GOOD, Users, World, noon};
use crate::support::{
    ALICE, BURST, HOME, Never, Waits, count, engine, form_of, from, post, post_as, secret, standing,
};

fn over(store: Arc<FaultyStore>) -> World {
    World::with(Users::default(), |builder| builder.shared_state(store, secret()))
}

/// Requirement 93, incident I13: an attempt that cannot be counted is not judged.
#[tokio::test]
async fn a_store_that_fails_or_holds_what_cannot_be_read_denies_before_anything_is_judged() {
    let form = format!("{GOOD}&client_id=mobile");
    for (case, fault) in [
        (
            "the load fails",
            (|call| if call == 0 { StoreFault::Fails } else { StoreFault::None })
                as fn(usize) -> StoreFault,
        ),
        ("the commit fails", |call| if call == 1 { StoreFault::Fails } else { StoreFault::None }),
        ("the commit fails afterwards", |call| {
            if call == 1 { StoreFault::FailsAfterwards } else { StoreFault::None }
        }),
        ("a row is empty", |_| StoreFault::Garbage(b"")),
        ("a row is text", |_| StoreFault::Garbage(b"0")),
        ("a row is of another form", |_| StoreFault::Garbage(b"\x02aaaaaaaaaaaaaaaaaaaaaaaaaaaa")),
        ("there are too few rows", |_| StoreFault::NoRows),
    ] {
        let world = over(FaultyStore::new(fault));
        let answer = world.send(&[], &form).await;
        answer.is(503, "temporarily_unavailable");
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert_eq!(world.users.asked(), 0, "{case}");
        assert!(
            world.events.lines()[0].starts_with("server fault: StateStore"),
            "{case}: {:?}",
            world.events.lines()
        );
    }
}

/// A right login that cannot be settled is not granted, and stays counted as a failure.
#[tokio::test]
async fn a_login_that_cannot_be_settled_is_not_granted() {
    let form = format!("{GOOD}&client_id=mobile");
    for password in ["wonderland", "wrong"] {
        // A load, a commit that reserves, and a commit that settles.
        let world =
            over(FaultyStore::new(
                |call| {
                    if call == 2 { StoreFault::Fails } else { StoreFault::None }
                },
            ));
        let answer = world.send(&[], &form.replace("wonderland", password)).await;
        answer.is(503, "temporarily_unavailable");
        assert_eq!(world.users.asked(), 1);
        assert_eq!(count(&world.grant, ALICE, &RequestContext::new()).await.failures, 1);
        let lines = world.events.lines();
        let rejected = lines.iter().any(|line| line.ends_with("rejected: WrongPassword"));
        assert_eq!(rejected, password == "wrong", "the observer is told: {lines:?}");
    }
}

/// If the client's count cannot be read, the client is not authenticated.
#[tokio::test]
async fn a_client_that_cannot_be_counted_is_not_authenticated() {
    let fails_at = |number: usize| {
        FaultyStore::new(
            move |call| if call == number { StoreFault::Fails } else { StoreFault::None },
        )
    };
    let world = over(fails_at(0));
    post(&world.grant, &from(HOME), GOOD).await.is(503, "temporarily_unavailable");
    let world = over(fails_at(1));
    post_as(&world.grant, &from(HOME), ("web", "guess"), GOOD)
        .await
        .is(503, "temporarily_unavailable");
    assert!(world.users.asked() == 0);
}

/// The server fault that a request ends with does not hide what was refused, or what stays counted.
#[tokio::test]
async fn a_count_that_cannot_be_written_hides_no_other_event() {
    let fails_from = |number: usize| {
        FaultyStore::new(
            move |call| {
                if call >= number { StoreFault::Fails } else { StoreFault::None }
            },
        )
    };
    let world = over(fails_from(1));
    post_as(&world.grant, &from(HOME), ("web", "guess"), GOOD)
        .await
        .is(503, "temporarily_unavailable");
    let lines = world.events.lines();
    assert_eq!(lines[0], r#"client "web" not authenticated: Secret"#, "{lines:?}");
    assert!(lines[1].starts_with(r#"server fault: StateStore with client "web""#), "{lines:?}");

    let users = Users::who(|_| Err("the user table is down".into()));
    let world = World::with(users, |builder| builder.shared_state(fails_from(2), secret()));
    let form = format!("{GOOD}&client_id=mobile");
    world.send(&[], &form).await.is(503, "temporarily_unavailable");
    let lines = world.events.lines();
    let faults: Vec<_> = lines.iter().filter(|line| line.starts_with("server fault")).collect();
    assert!(faults[0].starts_with("server fault: StateStore"), "{lines:?}");
    assert!(faults[1].starts_with("server fault: UserAuthenticator"), "{lines:?}");
}

/// A conflict is tried again. Permanent conflicts, or no answer at all, become an error in the end.
#[tokio::test]
async fn a_store_in_conflict_is_asked_again_and_one_without_answer_is_given_up() {
    let form = format!("{GOOD}&client_id=mobile");
    let quick = engine_over(&FaultyStore::new(|call| {
        if call % 2 == 1 && call < 40 { StoreFault::Conflict } else { StoreFault::None }
    }));
    send_form(&quick.0, &form).await.is_granted();

    let (hangs, clock) = engine_over(&FaultyStore::new(|_| StoreFault::Hangs));
    let mut asked = Box::pin(send_form(&hangs, &form));
    let mut context = Context::from_waker(Waker::noop());
    assert!(asked.as_mut().poll(&mut context).is_pending());
    clock.0.advance(Duration::from_secs(10));
    let Poll::Ready(answer) = asked.as_mut().poll(&mut context) else { panic!("given up") };
    answer.is(503, "temporarily_unavailable");
}

/// A conflict that returns the rows saves another load, but only once: under contention the engine
/// waits and loads again.
#[tokio::test]
async fn the_rows_that_a_conflict_tells_are_taken_as_they_are() {
    let form = format!("{GOOD}&client_id=mobile");
    let loads = async |script: fn(usize) -> StoreFault| {
        let store = FaultyStore::new(script);
        send_form(&engine_over(&store).0, &form).await.is_granted();
        store.loads()
    };
    let undisturbed = loads(|_| StoreFault::None).await;
    // The calls of the engine are one first load, and then the load and the commit of the
    // reservation.
    assert_eq!(
        loads(|call| if call == 2 { StoreFault::Conflict } else { StoreFault::None }).await,
        undisturbed + 1
    );
    assert_eq!(
        loads(|call| if call == 2 { StoreFault::FreshConflict } else { StoreFault::None }).await,
        undisturbed
    );
    let twice =
        |call| if [2, 3].contains(&call) { StoreFault::FreshConflict } else { StoreFault::None };
    assert_eq!(loads(twice).await, undisturbed + 1);

    let mute = engine_over(&FaultyStore::new(|call| {
        if call == 2 { StoreFault::MuteConflict } else { StoreFault::None }
    }));
    send_form(&mute.0, &form).await.is(503, "temporarily_unavailable");
}

/// The host configures the timeout, for the store and for waiting on other logins of the name.
#[tokio::test]
async fn patience_is_as_long_as_the_host_says() {
    let second = Duration::from_secs(1);
    let limits =
        AttemptLimits::default().burst(1).waits(60 * second, 60 * second).timeout(3 * second);
    let never = || Never(Users::default());
    let clock = Impatient(standing());
    let no_answer = |builder: PasswordGrantBuilder| {
        builder
            .attempt_limits(limits.clone())
            .shared_state(FaultyStore::new(|_| StoreFault::Hangs), secret())
    };
    let others = |builder: PasswordGrantBuilder| builder.attempt_limits(limits.clone());
    let form = format!("{GOOD}&client_id=mobile");
    let no_answer = engine(never(), clock.clone(), no_answer);
    let others = engine(never(), clock.clone(), others);
    let mut context = Context::from_waker(Waker::noop());
    let mut judged = Box::pin(send_form(&others, &form));
    assert!(judged.as_mut().poll(&mut context).is_pending());
    for (grant, status) in [(&no_answer, 503), (&others, 429)] {
        let mut asked = Box::pin(send_form(grant, &form));
        assert!(asked.as_mut().poll(&mut context).is_pending());
        clock.0.advance(3 * second - Duration::from_millis(1));
        assert!(asked.as_mut().poll(&mut context).is_pending(), "{status}");
        clock.0.advance(Duration::from_millis(1));
        let Poll::Ready(answer) = asked.as_mut().poll(&mut context) else {
            panic!("{status}: given up")
        };
        answer.is(status, "temporarily_unavailable");
    }
}

/// Short sleeps end at once, and long ones when the clock is moved.
#[derive(Clone)]
struct Impatient(ManualClock);

impl Clock for Impatient {
    fn now(&self) -> Timestamp {
        self.0.now()
    }

    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        if span < Duration::from_secs(1) {
            Box::pin(tokio::task::yield_now())
        } else {
            self.0.sleep(span)
        }
    }
}

fn engine_over(store: &Arc<FaultyStore>) -> (PasswordGrant, Impatient) {
    let clock = Impatient(standing());
    (
        engine(Users::default(), clock.clone(), |builder| {
            builder.shared_state(store.clone(), secret())
        }),
        clock,
    )
}

async fn send_form(grant: &PasswordGrant, form: &str) -> Answer {
    let headers = [("content-type", FORM.as_bytes())];
    grant.token(HttpRequest::new("POST", None, headers, form.as_bytes())).await.into()
}

/// Requirement 94: a clock that is set back neither unlocks a name nor locks it for ever.
#[tokio::test]
async fn a_clock_that_is_set_back_changes_no_wait() {
    let world = World::default();
    world.fails(BURST).await;
    let year = Duration::from_secs(365 * 86_400);
    world.clock.set(noon().minus(year));
    world.post(GOOD).await.waits(1);
    world.clock.advance(Duration::from_secs(1));
    world.post(GOOD).await.is_granted();

    let world = World::default();
    let home = from(HOME);
    let guess = async || post_as(&world.grant, &home, ("web", "guess"), GOOD).await;
    for _ in 0..20 {
        guess().await.is(401, "invalid_client");
    }
    world.clock.set(noon().minus(year));
    guess().await.waits(1_200);
    world.clock.advance(Duration::from_secs(1_200));
    guess().await.is(401, "invalid_client");

    // An address too: what denies is dated anew once, and not at each attempt.
    let world = World::with(Users::default(), |builder| {
        builder.attempt_limits(AttemptLimits::default().source(2, Duration::from_secs(600)))
    });
    for name in ["bob", "carol"] {
        post(&world.grant, &home, &form_of(name, "wrong")).await.is(400, "invalid_grant");
    }
    world.clock.set(noon().minus(year));
    for waits in [1_200, 600, 1] {
        post(&world.grant, &home, GOOD).await.waits(waits);
        let span = if waits == 1_200 { 600 } else { 599 };
        world.clock.advance(Duration::from_secs(span));
    }
}
