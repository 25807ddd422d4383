//! The number of sessions of a user through one client is bounded.

use std::sync::Arc;
use std::time::Duration;

use password_grant::state::InMemoryState;
use password_grant::testing::{InMemoryTokens, ManualClock};
use password_grant::token::OpaqueIssuer;
use password_grant::{Environment, Login, RefreshTokens, RequestContext};

use crate::common::sessions::{Gate, OFFLINE, Pair, Sessions, keys};
use crate::common::{AUDIENCE, Users, noon};
use crate::support::Instance;

/// A user cannot fill the store by logging in: beyond the limit of sessions, the oldest one ends.
#[tokio::test]
async fn a_user_has_a_bounded_number_of_sessions_through_a_client() {
    let users = Users::who(|attempt| Ok(Login::accepted(attempt.username())));
    let state = InMemoryState::new();
    let own = state.clone();
    let sessions =
        Sessions::over(users, |refresh| refresh.sessions(3), |builder| builder.state(own));
    let mut pairs = Vec::new();
    for _ in 0..3 {
        pairs.push(sessions.login("app").await);
    }
    let others = [
        sessions.login("other").await,
        Pair::of(&sessions.ask("app", &OFFLINE.replace("alice", "bob")).await),
    ];
    let rows = state.len();
    for _ in 0..5 {
        pairs.push(sessions.login("app").await);
        assert_eq!(state.len(), rows);
        let event = sessions.world.events.lines();
        assert!(
            event.iter().rev().take(3).any(|line| line.contains("replaced by another")),
            "{event:?}"
        );
    }
    let (gone, kept) = pairs.split_at(5);
    for pair in gone {
        sessions.refresh("app", &pair.refresh).await.is(400, "invalid_grant");
        assert!(!sessions.is_active(&pair.access).await);
    }
    for pair in kept.iter().chain(&others[1..]) {
        sessions.refresh("app", &pair.refresh).await.is_granted();
    }
    sessions.refresh("other", &others[0].refresh).await.is_granted();
}

/// A job that logs in and out all day does not end other sessions of its user.
#[tokio::test]
async fn a_session_that_has_ended_counts_no_more() {
    let sessions = Sessions::with(|refresh| refresh.sessions(3));
    let lasting = sessions.login("app").await;
    for _ in 0..5 {
        let pair = sessions.login("app").await;
        sessions.revoke("app", &pair.refresh).await;
        let other = sessions.login("app").await;
        let token = sessions.verifier().verify(&other.access).await.unwrap();
        let session = token.session_id.as_ref().unwrap();
        assert!(sessions.world.grant.end_session(session, &RequestContext::new()).await.unwrap());
    }
    assert!(!sessions.world.events.lines().iter().any(|line| line.contains("replaced by another")));
    sessions.refresh("app", &lasting.refresh).await.is_granted();
}

/// Nor does it fill the store: what is left of an ended session is soon removed.
#[tokio::test]
async fn logging_in_and_out_all_day_leaves_a_bounded_number_of_rows() {
    let clock = ManualClock::at(noon());
    let state = InMemoryState::new().environment(&Environment::new().clock(clock.clone()));
    let sessions = Sessions::in_environment(
        Users::default(),
        |environment| environment.clock(clock.clone()),
        |refresh| refresh,
        |builder| builder.state(state.clone()),
    );
    for round in 0..200 {
        let pair = sessions.login("app").await;
        sessions.revoke("app", &pair.refresh).await;
        assert!(!sessions.is_active(&pair.access).await, "{round}");
        clock.advance(Duration::from_secs(300));
        assert!(!sessions.is_active(&pair.access).await, "{round}, without its row");
        assert!(state.len() < 100, "{} rows after {round} rounds", state.len());
    }
}

/// Sessions are counted correctly after an old session has ended and after another one was stolen.
#[tokio::test]
async fn sessions_are_counted_whatever_has_become_of_others() {
    let day = 86_400;
    let sessions = Sessions::with(|refresh| refresh.sessions(3).retry_window(Duration::ZERO));
    let old = sessions.login("app").await;
    sessions.advance(30 * day - 60);
    let mut others = vec![sessions.login("app").await, sessions.login("app").await];
    sessions.revoke("app", &old.refresh).await;
    sessions.advance(day);
    others.extend([sessions.login("app").await, sessions.login("app").await]);
    sessions.refresh("app", &others[0].refresh).await.is(400, "invalid_grant"); // replaced

    // A session that was ended for theft makes room for the next, so no older one has to end.
    let [_, oldest, stolen, newest] = &others[..] else { panic!("four") };
    sessions.refresh("app", &stolen.refresh).await.is_granted();
    sessions.refresh("app", &stolen.refresh).await.is(400, "invalid_grant");
    sessions.login("app").await;
    for pair in [oldest, newest] {
        sessions.refresh("app", &pair.refresh).await.is_granted();
    }
}

/// A login whose row would be longer than stores are promised is not granted.
#[tokio::test]
async fn what_is_too_long_to_be_remembered_is_not_granted() {
    let users = Users::who(|attempt| Ok(Login::accepted(attempt.username().repeat(4_000))));
    let tokens = OpaqueIssuer::new(InMemoryTokens::new(), AUDIENCE);
    let refresh = RefreshTokens::new(keys(), Gate::default());
    let instance = Instance::issuing(InMemoryState::new(), users, tokens, refresh);
    instance.send("app", OFFLINE).await.is(503, "temporarily_unavailable");
    assert!(instance.events.last().contains("too long to be remembered"));
}

/// Logins at once do not overwrite each other's list of sessions.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_logins_at_once_the_number_of_sessions_is_bounded() {
    let store = InMemoryState::new();
    let instances: Vec<_> = (0..4)
        .map(|_| Arc::new(Instance::with(store.clone(), |refresh| refresh.sessions(5))))
        .collect();
    let barrier = Arc::new(tokio::sync::Barrier::new(32));
    let tasks: Vec<_> = (0..32)
        .map(|number: usize| {
            let (instance, barrier) = (instances[number % 4].clone(), barrier.clone());
            tokio::spawn(async move {
                barrier.wait().await;
                instance.login().await
            })
        })
        .collect();
    let mut pairs = Vec::new();
    for task in tasks {
        pairs.push(task.await.unwrap());
    }
    let mut alive = 0;
    for pair in pairs {
        alive += usize::from(instances[0].is_active(&pair.access).await);
    }
    assert_eq!(alive, 5);
}

/// A login whose session cannot be stored is not granted.
#[tokio::test]
async fn a_login_without_room_for_its_family_is_not_granted() {
    let sessions = Sessions::over(
        Users::default(),
        |refresh| refresh,
        |builder| builder.state(InMemoryState::new().capacity(0)),
    );
    sessions.ask("app", OFFLINE).await.is(503, "temporarily_unavailable");
    sessions.ask("app", &OFFLINE.replace("+offline_access", "")).await.is_granted();
}
