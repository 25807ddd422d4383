//! Revocations and log-outs that come in the middle of a refresh or a login leave nothing alive.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use password_grant::state::{
    Change, Commit, InMemoryState, Loaded, StateKey, StateSecret, StateStore,
};
use password_grant::testing::ManualClock;
use password_grant::time::BoxFuture;
use password_grant::{
    BoxError, Environment, Login, PasswordGrantBuilder, RequestContext, async_trait,
};

use crate::common::sessions::{OFFLINE, Pair, Sessions};
use crate::common::{GOOD, Users, World, noon};
use crate::support::{Between, Ends, Instance, end, send};

/// Requirement 113, incident R4: at whatever call of a refresh a revocation or a log-out comes, no
/// token is alive afterwards.
#[tokio::test]
async fn every_interleaving_of_an_end_and_a_refresh_ends_with_nothing_alive() {
    for how in [Ends::Revoked, Ends::LoggedOut] {
        let mut interleaved = 0;
        for before_call in 0.. {
            let store = InMemoryState::new();
            let other = Arc::new(Instance::over(store.clone()));
            let pair = other.login().await;
            let act = {
                let (other, token) = (other.clone(), pair.refresh.clone());
                move || -> BoxFuture<'static, ()> {
                    let (other, token) = (other.clone(), token.clone());
                    Box::pin(async move { end(&other, &token, how).await })
                }
            };
            let between = Between::new(&store, before_call, act);
            let answer = Instance::over(between.clone()).refresh(&pair.refresh).await;
            if between.calls.load(Ordering::SeqCst) <= before_call {
                break;
            }
            interleaved += 1;
            if answer.status == 200 {
                let minted = Pair::of(&answer);
                assert!(
                    !other.is_active(&minted.access).await,
                    "{how:?} before call {before_call}"
                );
                other.refresh(&minted.refresh).await.is(400, "invalid_grant");
            }
            other.refresh(&pair.refresh).await.is(400, "invalid_grant");
            assert!(!other.is_active(&pair.access).await);
        }
        assert!(interleaved >= 4, "{how:?}: {interleaved}");
    }
}

/// The same while a login begins its session, or gets an access token alone, which is compared with
/// the time of the log-out.
#[tokio::test]
async fn every_interleaving_of_a_log_out_and_a_login_ends_with_nothing_of_before_it() {
    for form in [OFFLINE.to_owned(), OFFLINE.replace("+offline_access", "")] {
        every_interleaving_of_a_log_out_and_a_login(&form).await;
    }
}

async fn every_interleaving_of_a_log_out_and_a_login(form: &str) {
    let mut interleaved = 0;
    for before_call in 0.. {
        let store = InMemoryState::new();
        let other = Arc::new(Instance::over(store.clone()));
        let (acting, act) = (other.clone(), AtomicBool::new(false));
        let acted = Arc::new(act);
        let seen = acted.clone();
        let between = Between::new(&store, before_call, move || -> BoxFuture<'static, ()> {
            let (other, acted) = (acting.clone(), acted.clone());
            Box::pin(async move {
                end(&other, "", Ends::LoggedOut).await;
                acted.store(true, Ordering::SeqCst);
            })
        });
        let answer = Instance::over(between.clone()).send("app", form).await;
        if !seen.load(Ordering::SeqCst) {
            break;
        }
        interleaved += 1;
        // A login first reads the number of the last log-out. A log-out before this call comes
        // before the password is judged.
        let after_the_password_may_have_been_read = before_call > 0;
        match answer.status {
            // Either the login began after the log-out, or its tokens are not active.
            200 if after_the_password_may_have_been_read => {
                assert!(
                    !other.is_active(&answer.access_token()).await,
                    "before call {before_call}"
                );
                if form == OFFLINE {
                    other.refresh(&Pair::of(&answer).refresh).await.is(400, "invalid_grant");
                }
            }
            200 => {}
            status => assert_eq!(status, 503),
        }
    }
    assert!(interleaved >= 2, "{interleaved}");
}

/// An access token without a session gets its time before the log-outs are read, and a log-out gets
/// its time after it is done. So the token is older, whatever the clock shows in between.
#[tokio::test]
async fn a_log_out_is_dated_later_than_every_token_that_was_made_before_its_end() {
    let clock = ManualClock::at(noon());
    let (store, moving) =
        (InMemoryState::new().environment(&Environment::new().clock(clock.clone())), clock.clone());
    let sessions = |store: Arc<dyn StateStore>| {
        let clock = clock.clone();
        Sessions::in_environment(
            Users::default(),
            |own| own.clock(clock),
            |refresh| refresh,
            |builder| builder.shared_state(store, StateSecret::new([0x5a; 32]).unwrap()),
        )
    };
    let logging_in = sessions(Arc::new(store.clone()));
    let (sender, receiver) = std::sync::mpsc::channel();
    let (grant, sender) = (logging_in.world.grant.clone(), Mutex::new(sender));
    // Somebody logs in right before the log-out is committed.
    let between = Between::new(&store, 1, move || -> BoxFuture<'static, ()> {
        let (grant, sender, moving) =
            (grant.clone(), sender.lock().unwrap().clone(), moving.clone());
        Box::pin(async move {
            moving.advance(Duration::from_secs(5));
            sender
                .send(send(&grant, "app", &OFFLINE.replace("+offline_access", ""), "token").await)
                .unwrap();
        })
    });
    let logging_out = sessions(between);
    logging_out
        .world
        .grant
        .log_out_everywhere(&"user-1".into(), &RequestContext::new())
        .await
        .unwrap();
    let token = receiver.recv().unwrap().access_token();
    assert!(!logging_in.is_active(&token).await);
}

/// A store whose first commit takes a second, and whose next load waits until it is told to go on.
struct Halting {
    store: InMemoryState,
    clock: ManualClock,
    calls: AtomicUsize,
    done: Arc<AtomicBool>,
}

#[async_trait]
impl StateStore for Halting {
    async fn load(&self, keys: &[StateKey]) -> Result<Loaded, BoxError> {
        if self.calls.load(Ordering::SeqCst) > 0 {
            let done =
                || if self.done.load(Ordering::SeqCst) { Poll::Ready(()) } else { Poll::Pending };
            std::future::poll_fn(|_| done()).await;
        }
        self.store.load(keys).await
    }

    async fn commit(&self, changes: &[Change]) -> Result<Commit, BoxError> {
        if self.calls.fetch_add(1, Ordering::SeqCst) == 0 {
            self.clock.advance(Duration::from_secs(1));
        }
        self.store.commit(changes).await
    }
}

/// A log-out writes its time once more when it is done. The token of a login that began between the
/// two could be older than the second time, and would be inactive for all of its lifetime.
#[tokio::test]
async fn a_login_between_the_two_steps_of_a_log_out_gets_no_dead_token() {
    let clock = ManualClock::at(noon());
    let store = InMemoryState::new().environment(&Environment::new().clock(clock.clone()));
    let done = Arc::new(AtomicBool::new(false));
    let halting = Arc::new(Halting {
        store: store.clone(),
        clock: clock.clone(),
        calls: AtomicUsize::new(0),
        done: done.clone(),
    });
    let engine = |users: Users, store: Arc<dyn StateStore>| {
        let clock = clock.clone();
        let configure = |builder: PasswordGrantBuilder, _: &ManualClock| {
            builder.shared_state(store, StateSecret::new([0x5a; 32]).unwrap())
        };
        World::in_environment(users, |own| own.clock(clock), configure)
    };
    let logging_out = engine(Users::default(), halting).grant;
    let under_way = async move {
        logging_out.log_out_everywhere(&"user-1".into(), &RequestContext::new()).await
    };
    let mut under_way: BoxFuture<'static, Result<(), BoxError>> = Box::pin(under_way);
    assert!(
        under_way.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending(),
        "after its first step"
    );
    let under_way = Mutex::new(under_way);
    let users = Users::who(move |_| {
        done.store(true, Ordering::SeqCst);
        let finished =
            under_way.lock().unwrap().as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(finished, Poll::Ready(Ok(()))));
        Ok(Login::accepted("user-1"))
    });
    let logging_in = engine(users, Arc::new(store.clone()));
    logging_in.post(GOOD).await.is(503, "temporarily_unavailable");
}
