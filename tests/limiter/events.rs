//! The events and alarms that the limiter reports.

use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use password_grant::{AttemptLimits, Client, ClientSecret, Environment, Grant, RequestContext};

use crate::common::{Events, GOOD, Users, World, basic};
use crate::support::{
    BURST, EITHER, HOME, Never, Waits, engine, form_of, from, post, post_as, standing, wrong,
};

/// Requirement 96: an attack that no limit stops is reported, once. However the identifier is
/// spelt, the alarm names the registered client, and the spellings are not stored.
#[tokio::test]
async fn an_alarm_of_wrong_secrets_names_the_client_that_is_registered() {
    let world = World::default();
    let spelt = |number: usize| {
        let letters = "web".chars().enumerate();
        letters
            .map(|(at, letter)| {
                if number >> at & 1 == 1 {
                    format!("%{:02X}", letter as u32)
                } else {
                    letter.into()
                }
            })
            .collect::<String>()
    };
    for number in 0..800 {
        let header = basic(&spelt(number % 8), "guess");
        world.send(&[("authorization", &header)], GOOD).await.is(401, "invalid_client");
    }
    let alarms: Vec<_> =
        world.events.lines().into_iter().filter(|line| line.starts_with("alarm")).collect();
    assert_eq!(alarms, [r#"alarm: ManySecrets through client "web", 100 failures"#]);
    // If two clients may be meant, the alarm names the one whose secret was wrong.
    let public = Client::public("a b").grants([Grant::Password]);
    let confidential =
        Client::confidential("a+b", ClientSecret::digest_of("secret")).grants([Grant::Password]);
    for client in [public, confidential] {
        world.clients.insert(client.scope("profile".parse().unwrap()));
    }
    let header = basic("a+b", "guess");
    world.send(&[("authorization", &header)], GOOD).await.is(401, "invalid_client");
    assert_eq!(world.events.last(), r#"client "a+b" not authenticated: Secret"#);
    let header = basic("x+y%3Az", "guess");
    world.send(&[("authorization", &header)], GOOD).await.is(401, "invalid_client");
    assert_eq!(
        world.events.last(),
        r#"client "x y:z" not authenticated: Unknown"#,
        "as RFC 6749 reads it"
    );
}

/// Whoever hangs up before the answer is seen all the same: each attempt, and what they lock.
#[tokio::test]
async fn an_attempt_whose_request_is_dropped_is_reported() {
    let limits = AttemptLimits::default().consecutive(10);
    for (state, lock) in [(EITHER[0], 1), (EITHER[1], 0)] {
        let (events, clock) = (Events::default(), standing());
        let grant = engine(Never(Users::default()), clock.clone(), |builder| {
            let environment = Environment::new().observer(events.clone()).clock(clock.clone());
            state(builder.environment(&environment).attempt_limits(limits.clone()), &clock)
        });
        for _ in 0..10 {
            let home = from(HOME);
            let mut asked = pin!(post(&grant, &home, GOOD));
            let mut context = Context::from_waker(Waker::noop());
            assert!(asked.as_mut().poll(&mut context).is_pending());
        }
        let of = |part: &str| events.lines().iter().filter(|line| line.contains(part)).count();
        assert_eq!(of(r#"attempt on "a…(5)" through client "web" abandoned"#), 10);
        assert_eq!(of(r#"Account of "a…(5)" locked"#), lock, "{:?}", events.lines());
    }
}

#[tokio::test]
async fn guesses_that_are_spread_raise_an_alarm() {
    let alarms = |events: &Events| -> Vec<String> {
        events.lines().into_iter().filter(|line| line.starts_with("alarm")).collect()
    };
    let world = World::default();
    for number in 0..250 {
        post(
            &world.grant,
            &from(&format!("10.0.0.{number}")),
            &form_of(&format!("user{number}"), "wrong"),
        )
        .await;
        // Guesses at one name are not spread.
        post(&world.grant, &RequestContext::new(), &wrong()).await;
    }
    let expected = [
        r#"alarm: ManyAccounts through client "web", 100 failures"#,
        "alarm: ManyAccounts, 100 failures",
    ];
    assert_eq!(alarms(&world.events), expected);
    world.clock.advance(Duration::from_secs(600));
    for number in 0..100 {
        post(&world.grant, &RequestContext::new(), &form_of(&format!("other{number}"), "wrong"))
            .await;
    }
    assert_eq!(alarms(&world.events).len(), 4);

    // Sixty names, each mistyped twice, count as sixty.
    let world = World::default();
    for number in 0..120 {
        world
            .post(&form_of(&format!("user{}", number / 2), "wrong"))
            .await
            .is(400, "invalid_grant");
    }
    assert_eq!(alarms(&world.events).len(), 0);

    let world = World::default();
    for number in 0..150 {
        post_as(&world.grant, &from(&format!("10.0.0.{number}")), ("web", "guess"), GOOD).await;
        post_as(&world.grant, &from(&format!("10.0.0.{number}")), ("unknown", "guess"), GOOD).await;
    }
    assert_eq!(alarms(&world.events), [r#"alarm: ManySecrets through client "web", 100 failures"#]);
}

/// Requirement 139.
#[tokio::test]
async fn every_decision_is_told() {
    let world = World::default();
    let home = from(HOME);
    post(&world.grant, &home, &wrong()).await;
    post(&world.grant, &home, GOOD).await;
    post(&world.grant, &home, GOOD).await;
    for _ in 0..BURST {
        post(&world.grant, &home, &wrong()).await;
    }
    post(&world.grant, &home, GOOD).await.waits(1);
    let lines = world.events.lines();
    let of = |start: &str| lines.iter().filter(|line| line.starts_with(start)).count();
    assert_eq!(of(r#"attempt on "a…(5)" through client "web" admitted, counted on Account"#), 2);
    assert_eq!(
        of(r#"attempt on "a…(5)" through client "web" admitted, counted on KnownOrigin"#),
        11
    );
    assert_eq!(of(r#"login of "alice" through client "web" from a new origin"#), 1);
    assert_eq!(
        of(r#"attempt on "a…(5)" through client "web" denied for 1s: too many on KnownOrigin"#),
        1
    );
}
