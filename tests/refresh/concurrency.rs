//! Several instances of the engine over one store: parallel refreshes and logins, and a restart.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use password_grant::Environment;
use password_grant::state::InMemoryState;
use password_grant::testing::ManualClock;
use password_grant::time::BoxFuture;

use crate::common::noon;
use crate::common::sessions::Pair;
use crate::support::{Between, Instance};

/// Incident R1: 64 refreshes with one token at once, on several threads. With a retry window, all
/// that are granted get the same successor. Without one, a single refresh is granted and the
/// session ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_sixty_four_refreshes_at_once_there_is_one_lineage() {
    for window in [10, 0] {
        let store = InMemoryState::new();
        let instances: Vec<_> = (0..4)
            .map(|_| {
                Arc::new(Instance::with(store.clone(), |refresh| {
                    refresh.retry_window(Duration::from_secs(window))
                }))
            })
            .collect();
        let pair = instances[0].login().await;
        let barrier = Arc::new(tokio::sync::Barrier::new(64));
        let tasks: Vec<_> = (0..64)
            .map(|number: usize| {
                let (instance, barrier) = (instances[number % 4].clone(), barrier.clone());
                let token = pair.refresh.clone();
                tokio::spawn(async move {
                    barrier.wait().await;
                    instance.refresh(&token).await
                })
            })
            .collect();
        let mut answers = Vec::new();
        for task in tasks {
            answers.push(task.await.unwrap());
        }
        let granted: Vec<_> =
            answers.iter().filter(|answer| answer.status == 200).map(Pair::of).collect();
        let successors: HashSet<_> = granted.iter().map(|pair| pair.refresh.clone()).collect();
        assert_eq!(successors.len(), 1, "window {window}");
        let expected = if window == 0 { (1, 63, 0) } else { (33, 0, 31) };
        let of = |status: u16| answers.iter().filter(|answer| answer.status == status).count();
        assert_eq!((of(200), of(400), of(503)), expected);
        // With the window the session goes on; without it the reuse has ended it.
        let next = instances[1].refresh(&granted[0].refresh).await;
        assert_eq!(next.status, if window == 0 { 400 } else { 200 });
    }
}

/// A shared store is across the network. A login reads the log-outs of the subject, and then begins
/// its session with one load and one commit. It takes one more load only if a session has to be
/// replaced.
#[tokio::test]
async fn a_login_asks_the_store_no_more_often_than_it_must() {
    let store = Between::new(&InMemoryState::new(), usize::MAX, || unreachable!());
    let instance = Instance::with(store.clone(), |refresh| refresh.sessions(2));
    let mut calls = Vec::new();
    for _ in 0..4 {
        let before = store.calls.load(Ordering::SeqCst);
        instance.login().await;
        calls.push(store.calls.load(Ordering::SeqCst) - before);
    }
    assert_eq!(calls, [3, 3, 4, 4]);
}

/// Another login has already replaced the oldest session: the bound on sessions holds all the same.
#[tokio::test]
async fn a_login_that_another_one_overtakes_replaces_the_session_that_is_the_oldest_then() {
    for before_call in [2, 3] {
        let store = InMemoryState::new();
        let other = Arc::new(Instance::with(store.clone(), |refresh| refresh.sessions(1)));
        other.login().await;
        let (overtaking, overtaken) = (other.clone(), Arc::new(Mutex::new(None)));
        let seen = overtaken.clone();
        let between = Between::new(&store, before_call, move || -> BoxFuture<'static, ()> {
            let (other, overtaken) = (overtaking.clone(), overtaken.clone());
            Box::pin(async move { *overtaken.lock().unwrap() = Some(other.login().await.refresh) })
        });
        let last = Instance::with(between, |refresh| refresh.sessions(1)).login().await;
        let overtaken = seen.lock().unwrap().take().unwrap();
        other.refresh(&overtaken).await.is(400, "invalid_grant");
        other.refresh(&last.refresh).await.is_granted();
    }
}

/// Incidents R2 and R6: the end of a session outlives the process, even though the request that
/// caused it was refused.
#[tokio::test]
async fn a_restart_forgets_no_reuse() {
    let clock = ManualClock::at(noon());
    let store = InMemoryState::new().environment(&Environment::new().clock(clock.clone()));
    let first = Instance::over(store.clone()).login().await;
    let second = Pair::of(&Instance::over(store.clone()).refresh(&first.refresh).await);
    clock.advance(Duration::from_secs(60));
    Instance::over(store.clone()).refresh(&first.refresh).await.is(400, "invalid_grant");
    let restarted = Instance::over(store);
    restarted.refresh(&second.refresh).await.is(400, "invalid_grant");
    assert!(restarted.events.last().ends_with("Revoked"));
}
