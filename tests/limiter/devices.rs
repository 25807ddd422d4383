//! Addresses and devices from which a user has logged in before keep a limit of their own.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Waker};
use std::time::Duration;

use password_grant::limiter::{AttemptCount, LimitKey};
use password_grant::{
    AttemptLimits, BoxError, Login, LoginAttempt, Rejection, RequestContext, UserAuthenticator,
    async_trait,
};
use proptest::collection::vec;
use proptest::prelude::*;
use tokio::sync::Barrier;

use crate::common::{GOOD, Users, World};
use crate::support::{
    ALICE, BURST, EITHER, HOME, Waits, count, engine, form_of, from, post, post_as_mobile,
    standing, wrong,
};

/// Requirement 95, incident I8: guesses from elsewhere do not lock the owner out at home.
#[tokio::test]
async fn whoever_attacks_from_elsewhere_for_a_day_does_not_delay_the_owner_at_home() {
    for state in EITHER {
        let world = World::with_clock(Users::default(), state);
        let home = from(HOME);
        post(&world.grant, &home, GOOD).await.is_granted();
        assert!(world.events.lines().iter().any(|line| line.ends_with("from a new origin")));

        let mut denied = 0;
        for minute in 0..24 * 60 {
            let elsewhere = from(&format!("198.51.{}.{}", minute / 250, minute % 250));
            denied += usize::from(post(&world.grant, &elsewhere, &wrong()).await.status == 429);
            if minute % 60 == 0 {
                post(&world.grant, &home, GOOD).await.is_granted();
            }
            world.clock.advance(Duration::from_secs(60));
        }
        assert!(denied > 1000, "{denied}");
        post(&world.grant, &from("203.0.113.1"), GOOD).await.is(429, "temporarily_unavailable");
        post(&world.grant, &home, GOOD).await.is_granted();
    }
}

/// Guesses from a known device are counted there, and there are no more of them than elsewhere.
#[tokio::test]
async fn a_known_origin_has_a_burst_of_its_own_and_no_more() {
    let world = World::default();
    let home = from(HOME);
    post(&world.grant, &home, GOOD).await.is_granted();
    for _ in 0..BURST {
        post(&world.grant, &home, &wrong()).await.is(400, "invalid_grant");
    }
    post(&world.grant, &home, GOOD).await.waits(1);
    assert_eq!(count(&world.grant, ALICE, &home).await.failures, 0);
    let at_home = LimitKey::KnownOrigin { username: "Alice", client_id: "web" };
    assert_eq!(count(&world.grant, at_home, &home).await.failures, 10);

    // A device is known for one client: another client at the same address is not known.
    post_as_mobile(&world.grant, &home).await.is_granted();

    // A host that distrusts the device can have it forgotten.
    world.grant.reset_attempts(at_home, &home).await.unwrap();
    assert_eq!(count(&world.grant, at_home, &home).await, AttemptCount::default());
    world.events.lines().iter().find(|line| *line == "attempts on KnownOrigin reset").unwrap();
}

/// A device is known for ninety days from the last login, and failures do not prolong that.
#[tokio::test]
async fn an_origin_is_forgotten_when_nobody_logs_in_from_it() {
    let world = World::default();
    let (home, elsewhere) = (from(HOME), from("203.0.113.1"));
    let day = Duration::from_secs(86_400);
    let spend = async || {
        for _ in 0..BURST {
            post(&world.grant, &elsewhere, &wrong()).await;
        }
        post(&world.grant, &elsewhere, &wrong()).await.is(429, "temporarily_unavailable");
    };
    post(&world.grant, &home, GOOD).await.is_granted();
    world.clock.advance(day * 89);
    spend().await;
    post(&world.grant, &home, GOOD).await.is_granted();
    world.clock.advance(day * 89);
    post(&world.grant, &home, &wrong()).await.is(400, "invalid_grant");
    world.clock.advance(day);
    spend().await;
    post(&world.grant, &home, GOOD).await.is(429, "temporarily_unavailable");
}

/// A device that the host names is known at any address, and does not use up the entry of the
/// address.
#[tokio::test]
async fn the_host_can_name_an_origin_of_its_own() {
    let world = World::default();
    let home = from(HOME);
    let device = |address: &str| from(address).with_device("device-7");
    post(&world.grant, &device(HOME), GOOD).await.is_granted();
    for _ in 0..=BURST {
        post(&world.grant, &from("203.0.113.1"), &wrong()).await;
    }
    post(&world.grant, &from("203.0.113.2"), GOOD).await.is(429, "temporarily_unavailable");
    post(&world.grant, &from("203.0.113.2").with_device("device-8"), GOOD)
        .await
        .is(429, "temporarily_unavailable");
    post(&world.grant, &device("203.0.113.2"), GOOD).await.is_granted();
    post(&world.grant, &home, GOOD).await.is_granted();
}

/// A log-out everywhere forgets where the user has logged in: whoever has logged in with a leaked
/// password has no count of their own there any more.
#[tokio::test]
async fn a_log_out_everywhere_forgets_where_the_user_has_logged_in() {
    for state in EITHER {
        let world = World::with_clock(Users::default(), state);
        let elsewhere = from("203.0.113.1");
        let thieves: Vec<_> = (0..5).map(|number| from(&format!("198.51.100.{number}"))).collect();
        for thief in &thieves {
            post(&world.grant, thief, GOOD).await.is_granted();
        }
        world.grant.log_out_everywhere(&"user-1".into(), &elsewhere).await.unwrap();
        let mut guesses = 0;
        for thief in &thieves {
            for _ in 0..BURST {
                guesses += usize::from(post(&world.grant, thief, &wrong()).await.status == 400);
            }
        }
        assert_eq!(guesses, BURST, "all of them share the count of the account");
        // The user's next login makes a place known again, and is reported like the first.
        world.clock.advance(Duration::from_secs(1));
        post(&world.grant, &elsewhere, GOOD).await.is_granted();
        post(&world.grant, &thieves[0], GOOD).await.is_granted();
        assert_eq!(new_origins(&world), 5 + 1 + 1);
        world.grant.log_out_everywhere(&"user-1".into(), &elsewhere).await.unwrap();
        post(&world.grant, &elsewhere, GOOD).await.is_granted();
        assert_eq!(new_origins(&world), 5 + 1 + 1 + 1);
        for _ in 0..=BURST {
            post(&world.grant, &thieves[0], &wrong()).await;
        }
        post(&world.grant, &elsewhere, GOOD).await.is_granted();
    }
}

fn new_origins(world: &World) -> usize {
    world.events.lines().iter().filter(|event| event.contains("new origin")).count()
}

/// A login with the former password that ends after the log-out makes no place known.
#[tokio::test]
async fn a_login_that_began_before_a_log_out_makes_no_origin_known() {
    for state in EITHER {
        let (begun, judge) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
        let users = Held { users: Users::default(), begun: begun.clone(), judge: judge.clone() };
        let clock = standing();
        let grant = engine(users, clock.clone(), |builder| state(builder, &clock));
        let thief = from("198.51.100.1");
        let in_flight = tokio::spawn({
            let (grant, thief) = (grant.clone(), thief.clone());
            async move { post(&grant, &thief, GOOD).await }
        });
        begun.wait().await;
        grant.log_out_everywhere(&"user-1".into(), &thief).await.unwrap();
        judge.wait().await;
        in_flight.await.unwrap();
        let origin = LimitKey::KnownOrigin { username: "alice", client_id: "web" };
        for _ in 0..BURST {
            let guess = tokio::spawn({
                let (grant, thief) = (grant.clone(), thief.clone());
                async move { post(&grant, &thief, &wrong()).await }
            });
            begun.wait().await;
            judge.wait().await;
            guess.await.unwrap().is(400, "invalid_grant");
        }
        assert_eq!(count(&grant, ALICE, &thief).await.failures, 10);
        assert_eq!(count(&grant, origin, &thief).await, AttemptCount::default());
    }
}

/// A log-out of the user while an attempt waits for others is one that the attempt has to know.
#[tokio::test]
async fn an_attempt_that_waits_learns_of_a_log_out() {
    for state in EITHER {
        let (clock, nowhere) = (standing(), RequestContext::new());
        let (home, first) = (from(HOME), Arc::new(AtomicBool::new(true)));
        let users = FirstThenNever(Users::default(), first);
        let grant = engine(users, clock.clone(), |builder| state(builder, &clock));
        post(&grant, &home, GOOD).await.is_granted();
        grant.log_out_everywhere(&"user-2".into(), &nowhere).await.unwrap();
        let mut context = Context::from_waker(Waker::noop());
        let mut asking: Vec<_> = (0..=BURST).map(|_| Box::pin(post(&grant, &home, GOOD))).collect();
        for asked in &mut asking {
            assert!(asked.as_mut().poll(&mut context).is_pending());
        }
        grant.log_out_everywhere(&"user-1".into(), &nowhere).await.unwrap();
        clock.advance(Duration::from_millis(500));
        let waited = asking.last_mut().unwrap();
        assert!(waited.as_mut().poll(&mut context).is_pending());
        assert_eq!(count(&grant, ALICE, &home).await.failures, 1, "the origin is forgotten");
    }
}

/// Users of whom the first is judged, and the others never.
struct FirstThenNever(Users, Arc<AtomicBool>);

#[async_trait]
impl UserAuthenticator for FirstThenNever {
    async fn authenticate(&self, attempt: LoginAttempt<'_>) -> Result<Login, BoxError> {
        if !self.1.swap(false, Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        self.0.authenticate(attempt).await
    }
}

/// Users whose passwords are judged when a test says so.
struct Held {
    users: Users,
    begun: Arc<Barrier>,
    judge: Arc<Barrier>,
}

#[async_trait]
impl UserAuthenticator for Held {
    async fn authenticate(&self, attempt: LoginAttempt<'_>) -> Result<Login, BoxError> {
        self.begun.wait().await;
        self.judge.wait().await;
        self.users.authenticate(attempt).await
    }
}

/// An account has twenty known origins at most. The one that was used longest ago goes.
#[tokio::test]
async fn the_origins_of_an_account_are_bounded() {
    let world = World::default();
    let at = |number: usize| from(&format!("198.51.100.{number}"));
    for number in 0..=20 {
        post(&world.grant, &at(number), GOOD).await.is_granted();
    }
    for _ in 0..=BURST {
        post(&world.grant, &from("203.0.113.1"), &wrong()).await;
    }
    post(&world.grant, &at(0), GOOD).await.is(429, "temporarily_unavailable");
    for number in 1..=20 {
        post(&world.grant, &at(number), GOOD).await.is_granted();
    }
}

/// Whatever fails at an address, in its network or behind the same web backend makes nobody wait
/// who has logged in from there.
#[tokio::test]
async fn failures_of_others_at_the_same_address_do_not_delay_an_owner_at_home() {
    for state in EITHER {
        let world = World::with_clock(Users::default(), |builder, clock| {
            let limits = AttemptLimits::default();
            let minutes = Duration::from_secs(600);
            state(builder, clock).attempt_limits(limits.source(30, minutes).network(60, minutes))
        });
        let home = from("2001:db8:0:1::1");
        post(&world.grant, &home, GOOD).await.is_granted();
        // Others at the same address, and others in the same network.
        for number in 0..100 {
            let typo = form_of(&format!("user{number}"), "typo");
            let neighbour = from(&format!("2001:db8:0:{:x}::1", 1 + number % 7));
            post(&world.grant, &neighbour, &typo).await;
        }
        let stranger = form_of("stranger", "typo");
        post(&world.grant, &home, &stranger).await.is(429, "temporarily_unavailable");
        post(&world.grant, &home, GOOD).await.is_granted();
        // A mistake at home counts for nobody else there.
        let before = count(&world.grant, LimitKey::Source, &home).await;
        post(&world.grant, &home, &wrong()).await.is(400, "invalid_grant");
        assert_eq!(count(&world.grant, LimitKey::Source, &home).await, before);
    }
}

#[derive(Debug, Clone)]
enum Happens {
    Guess(u8),
    Owner { right: bool },
    Minutes(u64),
}

fn day() -> impl Strategy<Value = Vec<Happens>> {
    let happens = prop_oneof![
        12 => any::<u8>().prop_map(Happens::Guess),
        2 => Just(Happens::Owner { right: true }),
        2 => Just(Happens::Owner { right: false }),
        3 => (0_u64..200).prop_map(Happens::Minutes),
    ];
    vec(happens, 1..300)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Whatever happens elsewhere, in any order: an owner who mistypes less often than the burst
    /// never waits at home, and away from home nobody gets more attempts than the limits allow.
    #[test]
    fn nothing_that_happens_elsewhere_delays_an_owner_at_home(history in day()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let world = World::default();
            let home = from(HOME);
            post(&world.grant, &home, GOOD).await.is_granted();
            let (mut in_a_row, mut guesses_since_a_day) = (0, Vec::new());
            let mut now = 0;
            for happens in history {
                match happens {
                    Happens::Minutes(minutes) => {
                        now += minutes;
                        world.clock.advance(Duration::from_secs(60 * minutes));
                    }
                    Happens::Guess(from_where) => {
                        let elsewhere = from(&format!("198.51.100.{from_where}"));
                        let answer = post(&world.grant, &elsewhere, &wrong()).await;
                        if answer.status == 400 {
                            guesses_since_a_day.push(now);
                        }
                    }
                    // After nine mistakes in a row nobody has to wait yet.
                    Happens::Owner { right: false } if in_a_row < BURST - 1 => {
                        post(&world.grant, &home, &wrong()).await.is(400, "invalid_grant");
                        in_a_row += 1;
                    }
                    Happens::Owner { .. } => {
                        post(&world.grant, &home, GOOD).await.is_granted();
                        in_a_row = 0;
                    }
                }
            }
            for start in &guesses_since_a_day {
                let day = *start..start + 24 * 60;
                let within = guesses_since_a_day.iter().filter(|at| day.contains(at)).count();
                assert!(within <= 200 + 96, "{within}");
            }
        });
    }
}

/// A table that tells `jose` and `josé` apart, whose names are counted as one: the owner of the one
/// has no places of their own from which to guess at the other.
#[tokio::test]
async fn a_place_is_known_for_one_of_two_names_that_are_counted_as_one() {
    let accented = |attempt: &LoginAttempt<'_>| {
        Ok(match (attempt.username(), attempt.password().expose()) {
            ("josé", "wonderland") => Login::accepted("owner"),
            ("jose", "hatter") => Login::accepted("mallory"),
            _ => Login::rejected(Rejection::WrongPassword),
        })
    };
    for state in EITHER {
        let world = World::with_clock(Users::who(accented), state);
        let home = from(HOME);
        let owner = form_of("jos%C3%A9", "wonderland");
        post(&world.grant, &home, &owner).await.is_granted();
        // Mallory's successes clear the failures in a row of the name that is counted as hers, and
        // those of the day stay.
        let mut judged = 0;
        for host in 0..400 {
            let here = from(&format!("2001:db8:0:{host:x}::1"));
            post(&world.grant, &here, &form_of("jose", "hatter")).await;
            for guess in 0..10 {
                let guess = form_of("jos%C3%A9", &format!("guess{guess}"));
                judged += usize::from(post(&world.grant, &here, &guess).await.status == 400);
            }
        }
        assert!(judged <= 200, "{judged}");
        post(&world.grant, &home, &owner).await.is_granted();
    }
}

/// However many attempts are left open at however many known origins, the owner can log in.
#[tokio::test]
async fn attempts_that_are_left_open_everywhere_keep_nobody_out() {
    for state in EITHER {
        let clock = standing();
        let grant = engine(HangsUp, clock.clone(), |builder| state(builder, &clock));
        let home = from(HOME);
        post(&grant, &home, GOOD).await.is_granted();
        for origin in 1..20 {
            let here = from(&format!("198.51.100.{origin}"));
            post(&grant, &here, GOOD).await.is_granted();
            for _ in 0..20 {
                for _ in 0..BURST - 1 {
                    let form = GOOD.replace("wonderland", "hang");
                    let mut dropped = Box::pin(post(&grant, &here, &form));
                    let _ = futures_util::poll!(&mut dropped);
                }
                post(&grant, &here, GOOD).await;
            }
            post(&grant, &home, GOOD).await.is_granted();
        }
    }
}

/// Users who never judge the password `hang`.
struct HangsUp;

#[async_trait]
impl UserAuthenticator for HangsUp {
    async fn authenticate(&self, attempt: LoginAttempt<'_>) -> Result<Login, BoxError> {
        match attempt.password().expose() {
            "hang" => std::future::pending().await,
            _ => Ok(Login::accepted("user-1")),
        }
    }
}

/// An origin that a log-out has ended stays unknown for as long as any origin may be known.
#[tokio::test]
async fn an_origin_does_not_outlive_the_log_out_that_has_ended_it() {
    let day = Duration::from_secs(86_400);
    let world = World::with(Users::default(), |builder| {
        builder.attempt_limits(AttemptLimits::default().known_origins(400 * day))
    });
    let thief = from("203.0.113.9");
    post(&world.grant, &thief, GOOD).await.is_granted();
    world.clock.advance(Duration::from_secs(1));
    world.grant.log_out_everywhere(&"user-1".into(), &thief).await.unwrap();
    for days in [0, 368, 31] {
        world.clock.advance(days * day);
        for _ in 0..BURST {
            post(&world.grant, &from("198.51.100.1"), &wrong()).await.is(400, "invalid_grant");
        }
        post(&world.grant, &thief, &wrong()).await.is(429, "temporarily_unavailable");
    }
}
