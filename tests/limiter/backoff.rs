//! The limit of one user name: a burst, then waits that double, then a lock.

use std::time::Duration;

use password_grant::error::Overloaded;
use password_grant::limiter::LimitKey;
use password_grant::{
    AttemptLimits, Login, LoginAttempt, PasswordGrantBuilder, Rejection, RequestContext,
};

use crate::common::{GOOD, Users, World};
use crate::support::{ALICE, BURST, EITHER, HOME, Waits, count, form_of, from, post, wrong};

/// Requirement 81, incident I14.
#[tokio::test]
async fn limits_are_on_unless_they_are_switched_off_by_name() {
    for state in EITHER {
        let world = World::with_clock(Users::default(), state);
        world.fails(BURST).await;
        world.post(&wrong()).await.waits(1);
        assert_eq!(world.users.asked(), BURST);
    }
    let world =
        World::with(Users::default(), PasswordGrantBuilder::dangerous_without_attempt_limits);
    world.fails(50).await;
    assert_eq!(world.grant.attempts(ALICE, &RequestContext::new()).await.unwrap(), None);
}

/// The waits double up to a maximum. A hundred failures in a row lock the name for a day.
#[tokio::test]
async fn each_failure_beyond_the_burst_doubles_the_wait_until_the_name_is_locked() {
    let world = World::default();
    world.fails(BURST).await;
    let mut wait = 1;
    for failures in BURST..100 {
        world.post(&wrong()).await.waits(wait);
        world.clock.advance(Duration::from_secs(wait) - Duration::from_millis(1));
        world.post(&wrong()).await.waits(1);
        world.clock.advance(Duration::from_millis(1));
        world.fails(1).await;
        assert_eq!(world.users.asked(), failures + 1);
        wait = (wait * 2).min(900);
    }
    assert_eq!(
        world
            .events
            .lines()
            .iter()
            .filter(|line| line.starts_with("Account of \"alice\" locked"))
            .count(),
        1
    );
    assert!(count(&world.grant, ALICE, &RequestContext::new()).await.locked);
    let day = 86_400;
    world.post(&wrong()).await.waits(day);
    world.clock.advance(Duration::from_secs(day - 1));
    world.post(GOOD).await.waits(1);
    assert_eq!(world.users.asked(), 100);
    world.clock.advance(Duration::from_secs(1));
    world.post(GOOD).await.is_granted();
}

/// Users sometimes type their password into the field for the user name.
#[tokio::test]
async fn a_locked_name_is_masked_unless_a_user_has_it() {
    let world = World::of(Users::who(|attempt| {
        Ok(Login::rejected(match attempt.username() {
            "alice" => Rejection::WrongPassword,
            _ => Rejection::UnknownUser,
        }))
    }));
    for (name, shown) in [("alice", "\"alice\""), ("hunter2", "h…(7)")] {
        for failures in 0..100 {
            let answer = world.post(&form_of(name, "wrong")).await;
            assert_eq!(answer.status, 400, "{name} {failures}");
            world.clock.advance(Duration::from_secs(900));
        }
        let lines = world.events.lines();
        let locked: Vec<_> = lines.iter().filter(|line| line.contains(" locked")).collect();
        assert!(locked.last().unwrap().contains(shown), "{locked:?}");
    }
}

/// Requirements 90 and 98: a refusal for the limit reveals nothing about the password or the name,
/// and the authenticator is not asked.
#[tokio::test]
async fn the_right_password_waits_as_the_wrong_one_does_and_so_does_a_name_that_nobody_has() {
    let world = World::default();
    for name in ["alice", "nobody"] {
        for _ in 0..BURST {
            world.post(&form_of(name, "wrong")).await.is(400, "invalid_grant");
        }
    }
    let refusal = world.post(&wrong()).await;
    refusal.waits(1);
    for form in [GOOD, &form_of("nobody", "wrong"), &form_of("nobody", "wonderland")] {
        assert_eq!(world.post(form).await, refusal);
    }
    assert_eq!(world.users.asked(), 2 * BURST);
    assert_eq!(
        refusal
            .headers
            .iter()
            .filter(|(name, value)| name == "cache-control" && value == "no-store")
            .count(),
        1
    );
}

/// A client that waits for as long as it was told is not refused again, whichever limits were
/// exceeded.
#[tokio::test]
async fn of_several_waits_the_longest_is_told() {
    // Two failures from an address fill its window and count in the next one too.
    for (longest, window, expected) in [(2, 600, 1_200), (900, 60, 900)] {
        let second = Duration::from_secs(1);
        let limits = AttemptLimits::default().burst(1).waits(longest * second, longest * second);
        let world = World::with(Users::default(), |builder| {
            builder.attempt_limits(limits.source(2, window * second))
        });
        let home = from(HOME);
        for name in ["alice", "bob"] {
            post(&world.grant, &home, &form_of(name, "wrong")).await.is(400, "invalid_grant");
        }
        post(&world.grant, &home, GOOD).await.waits(expected);
        // `Retry-After` is in whole seconds, rounded up, so a client that waits for it is not too
        // early.
        world.clock.advance(Duration::from_millis(1_500));
        post(&world.grant, &home, GOOD).await.waits(expected - 1);
    }
}

/// Requirement 88: a success clears the count of failures in a row, but not that of the day.
#[tokio::test]
async fn a_login_clears_what_failed_in_a_row_before_it_and_nothing_else() {
    let world = World::default();
    for round in 1..=22 {
        world.fails(BURST - 1).await;
        world.post(GOOD).await.is_granted();
        let counted = count(&world.grant, ALICE, &RequestContext::new()).await;
        assert_eq!(
            (counted.failures, counted.in_window as usize),
            (0, round * (BURST - 1)),
            "{round}"
        );
    }
    // 198 failures in 24 hours. Two more are allowed, and then one in each quarter of an hour.
    world.fails(2).await;
    world.post(GOOD).await.waits(900);
    world.clock.advance(Duration::from_secs(900));
    world.fails(1).await;
    world.post(GOOD).await.waits(900);
}

/// Requirement 88, incident I19: an attacker gains nothing by logging in to an account of their
/// own.
#[tokio::test]
async fn a_login_of_one_user_lowers_no_count_of_another_or_of_its_address() {
    let both = |attempt: &LoginAttempt<'_>| {
        let right = attempt.password().expose() == "wonderland";
        Ok(if right { Login::accepted("user") } else { Login::rejected(Rejection::WrongPassword) })
    };
    let world = World::with(Users::who(both), |builder| {
        builder.attempt_limits(AttemptLimits::default().source(20, Duration::from_secs(600)))
    });
    let home = from(HOME);
    for _ in 0..9 {
        post(&world.grant, &home, &wrong()).await.is(400, "invalid_grant");
        post(&world.grant, &home, &form_of("mallory", "wonderland")).await.is_granted();
    }
    assert_eq!(count(&world.grant, ALICE, &home).await.failures, 9);
    assert_eq!(count(&world.grant, LimitKey::Source, &home).await.in_window, 9);
    for number in 0..11 {
        post(&world.grant, &home, &form_of(&format!("user{number}"), "wrong"))
            .await
            .is(400, "invalid_grant");
    }
    post(&world.grant, &home, &form_of("trudy", "wonderland")).await.waits(1_200);
    // Mallory has logged in from there, so the failures of others there do not concern her.
    post(&world.grant, &home, &form_of("mallory", "wonderland")).await.is_granted();
    post(&world.grant, &from("192.0.2.2"), &form_of("mallory", "wonderland")).await.is_granted();
}

/// Requirement 91, incident I11: an attempt counts only if the credential was judged and found
/// wrong.
#[tokio::test]
async fn our_own_trouble_counts_for_nobody_and_a_further_step_clears_nothing() {
    let scripted = |attempt: &LoginAttempt<'_>| match attempt.password().expose() {
        "busy" => Err(Overloaded::new().into()),
        "down" => Err("the directory is down".into()),
        "second" => Ok(Login::more_needed("mfa_required")),
        _ => Ok(Login::rejected(Rejection::WrongPassword)),
    };
    let world = World::of(Users::who(scripted));
    world.fails(BURST - 1).await;
    for _ in 0..30 {
        world.post(&form_of("alice", "busy")).await.is(503, "temporarily_unavailable");
        world.post(&form_of("alice", "down")).await.is(503, "temporarily_unavailable");
    }
    let counted = count(&world.grant, ALICE, &RequestContext::new()).await;
    assert_eq!((counted.failures, counted.in_window), (9, 9));
    // Whoever has stolen the password must not get as many guesses at the second factor as they
    // like.
    for _ in 0..30 {
        world.post(&form_of("alice", "second")).await.is(403, "mfa_required");
    }
    let counted = count(&world.grant, ALICE, &RequestContext::new()).await;
    assert_eq!((counted.failures, counted.in_window), (9, 9));
    world.fails(1).await;
    world.post(&form_of("alice", "second")).await.waits(1);
}

/// Incident I15: every rejection counts as a failure, or the count would reveal the reason.
#[tokio::test]
async fn every_rejection_counts_alike() {
    for rejection in [
        Rejection::UnknownUser,
        Rejection::Disabled,
        Rejection::SecondFactorRequired,
        Rejection::Other("x"),
    ] {
        let world = World::of(Users::who(move |_| Ok(Login::rejected(rejection))));
        world.fails(BURST).await;
        world.post(GOOD).await.waits(1);
    }
}
