//! Counts are read and reset by an administrator, and limits are checked when the engine is built.

use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use password_grant::limiter::{AttemptCount, LimitKey};
use password_grant::testing::InMemoryTokens;
use password_grant::token::OpaqueIssuer;
use password_grant::{
    AttemptLimits, BoxError, BuildError, Login, LoginAttempt, PasswordGrant, RequestContext,
    UserAuthenticator, async_trait,
};
use tokio::sync::Semaphore;

use crate::common::{GOOD, ISSUER, Users, World, clients};
use crate::support::{ALICE, BURST, EITHER, HOME, count, engine, from, post, standing, wrong};

/// Requirement 85: the host can read a count and reset it.
#[tokio::test]
async fn an_administrator_sees_a_count_and_sets_it_back() {
    for state in EITHER {
        let world = World::with_clock(Users::default(), state);
        let context = RequestContext::new();
        world.fails(BURST).await;
        let counted = count(&world.grant, LimitKey::Account { username: " ALICE" }, &context).await;
        assert_eq!((counted.failures, counted.in_window, counted.locked), (10, 10, false));
        assert_eq!(counted.wait, Some(Duration::from_secs(1)));
        world.grant.reset_attempts(ALICE, &context).await.unwrap();
        assert_eq!(count(&world.grant, ALICE, &context).await, AttemptCount::default());
        world.post(GOOD).await.is_granted();
        for on in [LimitKey::Source, LimitKey::Network, LimitKey::Client { client_id: "web" }] {
            assert_eq!(
                world.grant.attempts(on, &context).await.unwrap(),
                None,
                "{on:?} needs an address"
            );
        }
        assert_eq!(world.grant.attempts(LimitKey::Network, &from(HOME)).await.unwrap(), None);
    }
}

/// An attempt that was reserved before a reset changes nothing after it: its success does not clear
/// the new count.
#[tokio::test]
async fn what_was_under_way_at_a_reset_changes_nothing_after_it() {
    let slow = Gated { users: Users::default(), gate: Arc::new(Semaphore::new(0)) };
    let gate = slow.gate.clone();
    let grant = engine(slow, standing(), |builder| builder);
    let nobody = RequestContext::new();
    let mut slow_login = Box::pin(post(&grant, &nobody, GOOD));
    assert!(slow_login.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    grant.reset_attempts(ALICE, &nobody).await.unwrap();
    assert_eq!(count(&grant, ALICE, &nobody).await, AttemptCount::default());
    for _ in 0..3 {
        post(&grant, &nobody, &wrong()).await.is(400, "invalid_grant");
    }
    gate.add_permits(1);
    slow_login.await.is_granted();
    let counted = count(&grant, ALICE, &nobody).await;
    assert_eq!((counted.failures, counted.in_window), (3, 3));
}

/// Waits before the right password is answered, until the gate is opened.
struct Gated {
    users: Users,
    gate: Arc<Semaphore>,
}

#[async_trait]
impl UserAuthenticator for Gated {
    async fn authenticate(&self, attempt: LoginAttempt<'_>) -> Result<Login, BoxError> {
        if attempt.password().expose() == "wonderland" {
            self.gate.acquire().await?.forget();
        }
        self.users.authenticate(attempt).await
    }
}

#[test]
fn limits_that_make_no_sense_are_refused_when_the_engine_is_built() {
    let second = Duration::from_secs(1);
    let limits = AttemptLimits::default;
    for (case, limits) in [
        ("no attempt at all", limits().burst(0)),
        ("a burst beyond the lock", limits().burst(101)),
        ("no lock at a hundred (NIST SP 800-63B section 5.2.2)", limits().consecutive(101)),
        ("no failure of an address", limits().source(0, 600 * second)),
        ("a window of no time", limits().rolling(200, second)),
        ("a window of years", limits().client(20, 40 * 86_400 * second)),
        ("no wait", limits().waits(Duration::ZERO, second)),
        ("waits that shrink", limits().waits(2 * second, second)),
        ("a wait beyond the window", limits().waits(second, 2 * 86_400 * second)),
        ("origins for ever", limits().known_origins(Duration::MAX)),
        ("attempts without end", limits().attempt_timeout(Duration::MAX)),
        ("no patience", limits().timeout(Duration::ZERO)),
    ] {
        let tokens = OpaqueIssuer::new(InMemoryTokens::new(), "https://api.example.com");
        let builder = PasswordGrant::builder(ISSUER, clients(), Users::default(), tokens);
        let built = builder.attempt_limits(limits).build();
        assert!(matches!(built, Err(BuildError::AttemptLimits(_))), "{case}");
    }
}
