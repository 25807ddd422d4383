//! A log-out of a subject ends its access tokens too, those without a session included.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use password_grant::event::AccessFault;
use password_grant::testing::ManualClock;
use password_grant::time::Timestamp;
use password_grant::{Clock, Environment, Login, PasswordGrant, RequestContext};

use crate::common::sessions::{OFFLINE, Sessions, register, verifier};
use crate::common::{GOOD, Users, World, basic, noon, segment};

/// A token without a session has only its `iat` to compare with the log-out.
#[tokio::test]
async fn a_log_out_ends_access_tokens_without_a_family_too() {
    let sessions = Sessions::new();
    let form = OFFLINE.replace("+offline_access", "");
    let before = sessions.ask("app", &form).await.access_token();
    sessions
        .world
        .grant
        .log_out_everywhere(&"user-1".into(), &RequestContext::new())
        .await
        .unwrap();
    assert!(!sessions.is_active(&before).await);
    assert_eq!(sessions.verifier().verify(&before).await.unwrap_err(), AccessFault::Revoked);
    sessions.advance(1);
    let after = sessions.ask("app", &form).await.access_token();
    assert!(sessions.is_active(&after).await);
    assert!(sessions.verifier().verify(&after).await.is_ok());
}

/// Tokens and log-outs have times in whole seconds. A login in the second of a log-out would yield
/// a token that counts as logged out for all of its lifetime, so it waits for the next second.
#[tokio::test]
async fn a_login_in_the_second_of_a_log_out_waits_for_the_next() {
    let plain = OFFLINE.replace("+offline_access", "");
    let log_out = async |world: &World| {
        world.grant.log_out_everywhere(&"user-1".into(), &RequestContext::new()).await.unwrap();
    };
    let anybody = || {
        Users::who(|attempt| {
            Ok(Login::accepted(if attempt.username() == "bob" { "user-2" } else { "user-1" }))
        })
    };
    let without_refresh_tokens = World::of(anybody());
    register(&without_refresh_tokens.clients);
    let with = Sessions::over(anybody(), |refresh| refresh, |builder| builder).world;
    for (world, has_sessions) in [(with, true), (without_refresh_tokens, false)] {
        let login =
            async || world.send(&[("authorization", &basic("app", "app-secret"))], &plain).await;
        world.clock.advance(Duration::from_millis(400));
        log_out(&world).await;
        let (mut waiting, clock) = (std::pin::pin!(login()), &world.clock);
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        clock.advance(Duration::from_millis(599));
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        clock.advance(Duration::from_millis(1));
        let token = waiting.await.access_token();
        assert_eq!(segment(&token, 1)["iat"], clock.now().unix_seconds());
        let verifier = verifier(&world.keys)
            .environment(&Environment::new().clock(clock.clone()).observer(()))
            .revocations(world.grant.revocations());
        verifier.verify(&token).await.unwrap();
        // A second log-out in the same second is later than the login, and ends it.
        log_out(&world).await;
        assert_eq!(verifier.verify(&token).await.unwrap_err(), AccessFault::Revoked);

        // Another log-out while the login waits: the password that was right may have been changed.
        let mut waiting = std::pin::pin!(login());
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        clock.advance(Duration::from_millis(500));
        log_out(&world).await;
        clock.advance(Duration::from_millis(500));
        waiting.await.is(503, "temporarily_unavailable");

        // Other subjects do not wait, and a login that gets a session does not either.
        clock.advance(Duration::from_millis(200));
        log_out(&world).await;
        let bob = plain.replace("alice", "bob");
        verifier
            .verify(
                &world
                    .send(&[("authorization", &basic("app", "app-secret"))], &bob)
                    .await
                    .access_token(),
            )
            .await
            .unwrap();
        if has_sessions {
            let session =
                world.send(&[("authorization", &basic("app", "app-secret"))], OFFLINE).await;
            verifier.verify(&session.access_token()).await.unwrap();
        }
        // The log-out lies in the future, because the clock was set back: the answer says when to
        // try again.
        clock.set(clock.now().minus(Duration::from_secs(30)));
        let answer = login().await;
        answer.is(503, "temporarily_unavailable");
        assert!(
            world.events.last().starts_with("server fault: LogOutAhead"),
            "{}",
            world.events.last()
        );
        let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((30..=31).contains(&wait), "{wait}");
        clock.advance(Duration::from_secs(wait));
        login().await.is_granted();
    }
}

/// A subject that was never logged out does not wait, whatever the time is.
#[tokio::test]
async fn at_the_beginning_of_time_a_login_waits_for_nothing() {
    let clock = ManualClock::at(Timestamp::from_unix_seconds(0));
    let world =
        World::in_environment(Users::default(), |own| own.clock(clock), |builder, _| builder);
    world.post(GOOD).await.is_granted();
}

/// A clock whose sleep ends at once, like the system's where no timer can be started.
#[tokio::test]
async fn a_clock_that_does_not_sleep_is_not_asked_for_ever() {
    #[derive(Clone)]
    struct Sleepless(ManualClock, Arc<AtomicUsize>);
    impl Clock for Sleepless {
        fn now(&self) -> Timestamp {
            self.0.now()
        }
        fn sleep(&self, span: Duration) -> password_grant::time::BoxFuture<'static, ()> {
            self.1.fetch_add(1, Ordering::SeqCst);
            assert!(span <= Duration::from_secs(1));
            Box::pin(std::future::ready(()))
        }
    }
    let sleeps = Arc::new(AtomicUsize::new(0));
    let clock = Sleepless(ManualClock::at(noon()), sleeps.clone());
    let world =
        World::in_environment(Users::default(), |own| own.clock(clock), |builder, _| builder);
    world.grant.log_out_everywhere(&"user-1".into(), &RequestContext::new()).await.unwrap();
    world.post(GOOD).await.is(503, "temporarily_unavailable");
    assert!((1..10).contains(&sleeps.load(Ordering::SeqCst)));
}

/// The password is changed while a login with the former one is under way. The login gets no token,
/// with or without refresh tokens.
#[tokio::test]
async fn a_login_under_way_during_a_log_out_of_its_subject_gets_nothing() {
    for refresh_tokens in [true, false] {
        for (logged_out, status) in [("user-1", 503), ("user-2", 200)] {
            let grant = Arc::new(std::sync::OnceLock::<PasswordGrant>::new());
            let engine = grant.clone();
            let users = Users::who(move |_| {
                let log_out = engine.get().unwrap().clone();
                let context = RequestContext::new();
                let log_out =
                    async move { log_out.log_out_everywhere(&logged_out.into(), &context).await };
                futures_util::FutureExt::now_or_never(log_out).unwrap().unwrap();
                Ok(Login::accepted("user-1"))
            });
            let world = match refresh_tokens {
                true => Sessions::over(users, |refresh| refresh, |builder| builder).world,
                false => World::of(users),
            };
            grant.set(world.grant.clone()).ok().unwrap();
            let answer = world.post(GOOD).await;
            assert_eq!(answer.status, status, "{refresh_tokens} {logged_out}: {}", answer.body);
        }
    }
}
