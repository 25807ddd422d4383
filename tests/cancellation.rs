//! A request may be dropped at any await: nothing is granted, nothing stays locked, and the next
//! request works.

mod common;

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use common::{Answer, Events, FORM, GOOD, ISSUER, noon};
use password_grant::testing::ManualClock;
use password_grant::{
    AccessToken, Authorization, BoxError, Client, ClientStore, Environment, HttpRequest, Login,
    LoginAttempt, PasswordGrant, Rejection, RequestContext, TokenIssuer, UserAuthenticator,
    async_trait,
};

/// Is pending once, as a query to a database would be.
async fn round_trip() {
    let mut waited = false;
    std::future::poll_fn(|context| {
        if std::mem::replace(&mut waited, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// A host whose traits all wait, and which counts how far a request came.
#[derive(Default)]
struct Slow {
    found: AtomicUsize,
    judged: AtomicUsize,
    issued: AtomicUsize,
}

#[async_trait]
impl ClientStore for Slow {
    async fn find(
        &self,
        client_id: &str,
        context: &RequestContext,
    ) -> Result<Option<Client>, BoxError> {
        round_trip().await;
        self.found.fetch_add(1, Ordering::SeqCst);
        common::clients().find(client_id, context).await
    }
}

#[async_trait]
impl UserAuthenticator for Slow {
    async fn authenticate(&self, attempt: LoginAttempt<'_>) -> Result<Login, BoxError> {
        round_trip().await;
        round_trip().await;
        self.judged.fetch_add(1, Ordering::SeqCst);
        let right = attempt.password().expose() == "wonderland";
        Ok(if right {
            Login::accepted("user-1")
        } else {
            Login::rejected(Rejection::WrongPassword)
        })
    }
}

#[async_trait]
impl TokenIssuer for Slow {
    async fn issue(&self, _: &Authorization<'_>) -> Result<AccessToken, BoxError> {
        round_trip().await;
        self.issued.fetch_add(1, Ordering::SeqCst);
        Ok(AccessToken::new("opaque")?)
    }
}

/// Polls at most `polls` times, then drops the future. Returns its output if it was ready by then.
fn poll_then_drop<T>(future: impl Future<Output = T>, polls: usize) -> Option<T> {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..polls {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return Some(output);
        }
    }
    None
}

/// Requirement 136.
#[test]
fn a_request_dropped_at_any_poll_grants_nothing_and_hinders_nobody() {
    let slow = Arc::new(Slow::default());
    let (events, clock) = (Events::default(), ManualClock::at(noon()));
    let builder = PasswordGrant::builder(ISSUER, slow.clone(), slow.clone(), slow.clone());
    let builder = builder
        .environment(&Environment::new().observer(events.clone()).clock(clock.clone()))
        .min_failure_time(Duration::from_secs(1));
    let grant = builder.build().unwrap();
    let counts =
        || [&slow.found, &slow.judged, &slow.issued].map(|count| count.load(Ordering::SeqCst));
    let ask = |form: &str, polls: usize| {
        let form = format!("{form}&client_id=mobile");
        let headers = [("content-type", FORM.as_bytes())];
        poll_then_drop(grant.token(HttpRequest::new("POST", None, headers, form.as_bytes())), polls)
    };

    // The client waits once, the user twice, the token once: four waits, so the fifth poll is the
    // last.
    let expected = [[0, 0, 0], [0, 0, 0], [1, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 1]];
    for (polls, reached) in expected.into_iter().enumerate() {
        let before = counts();
        let answer = ask(GOOD, polls);
        let after = counts();
        assert_eq!(
            std::array::from_fn(|index| after[index] - before[index]),
            reached,
            "{polls} polls"
        );
        let done = polls == 5;
        assert_eq!(answer.is_some(), done);
        let issued = events.lines().iter().filter(|line| line.contains("issued")).count();
        assert_eq!(issued, usize::from(done), "a token that nobody got is not one");
    }

    // A failed login is held back until the minimum time has passed.
    let wrong = GOOD.replace("wonderland", "wrong");
    assert!(ask(&wrong, 10).is_none());
    assert_eq!(clock.sleepers(), 0, "nobody sleeps for a caller who went away");
    Answer::from(ask(GOOD, 5).unwrap()).is_granted();
}
