//! Revocations and log-outs that come in the middle of a refresh or a login leave nothing alive.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use password_grant::state::InMemoryState;
use password_grant::time::BoxFuture;

use crate::common::sessions::{OFFLINE, Pair};
use crate::support::{Between, Ends, Instance, end};

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
        assert_eq!(interleaved, 2, "{how:?}: a load and a commit");
    }
}

/// The same while a login begins its session.
#[tokio::test]
async fn every_interleaving_of_a_log_out_and_a_login_ends_with_nothing_of_before_it() {
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
        let answer = Instance::over(between.clone()).send("app", OFFLINE).await;
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
                other.refresh(&Pair::of(&answer).refresh).await.is(400, "invalid_grant");
            }
            200 => {}
            status => assert_eq!(status, 503),
        }
    }
    assert!(interleaved >= 2, "{interleaved}");
}

/// An access token that is revoked while a refresh of its session is under way stays revoked, and
/// the refresh goes on, at whatever call of the one the other comes.
#[tokio::test]
async fn every_interleaving_of_a_revoked_access_token_and_a_refresh_keeps_both() {
    for refresh_comes_between in [true, false] {
        let mut interleaved = 0;
        for before_call in 0.. {
            let store = InMemoryState::new();
            let other = Arc::new(Instance::over(store.clone()));
            let pair = other.login().await;
            let (acting, old, answers) = (other.clone(), pair.clone(), Arc::new(Mutex::new(None)));
            let answered = answers.clone();
            let between = Between::new(&store, before_call, move || -> BoxFuture<'static, ()> {
                let (other, old, answers) = (acting.clone(), old.clone(), answers.clone());
                Box::pin(async move {
                    let answer = match refresh_comes_between {
                        true => other.refresh(&old.refresh).await,
                        false => other.revoke(&old.access).await,
                    };
                    *answers.lock().unwrap() = Some(answer);
                })
            });
            let instance = Instance::over(between.clone());
            let answer = match refresh_comes_between {
                true => instance.revoke(&pair.access).await,
                false => instance.refresh(&pair.refresh).await,
            };
            let Some(meanwhile) = answered.lock().unwrap().take() else { break };
            interleaved += 1;
            let (refreshed, revoked) = match refresh_comes_between {
                true => (meanwhile, answer),
                false => (answer, meanwhile),
            };
            assert_eq!(revoked.status, 200);
            let minted = Pair::of(&refreshed);
            assert!(!other.is_active(&pair.access).await, "before call {before_call}");
            assert!(other.is_active(&minted.access).await, "before call {before_call}");
            other.refresh(&minted.refresh).await.is_granted();
        }
        assert!(interleaved >= 2, "{interleaved}");
    }
}
