//! The store is bounded: names without number take no more rows than there is room for.

use std::time::Duration;

use password_grant::limiter::LimitKey;
use password_grant::state::{InMemoryState, StateSecret};
use password_grant::testing::{InMemoryClients, InMemoryTokens};
use password_grant::token::OpaqueIssuer;
use password_grant::{
    AttemptLimits, Client, ClientAuthentication, ClientSecret, Environment, Grant, Login,
    PasswordGrant, Rejection, RequestContext,
};

use crate::common::{GOOD, ISSUER, Users, World};
use crate::support::{
    BURST, HOME, Waits, count, form_of, from, post, post_as, standing, world_over, wrong,
};

/// Requirement 92: memory is bounded, and rows that still count are not evicted.
#[tokio::test]
async fn names_without_number_take_no_more_than_the_room_there_is() {
    let state = InMemoryState::new().capacity(1_000);
    let (world, state) = world_over(Users::default(), state);
    let home = from(HOME);
    post(&world.grant, &home, GOOD).await.is_granted();
    world.fails(BURST).await;
    for number in 0..20_000 {
        let answer = world.post(&form_of(&format!("user{number}"), "wrong")).await;
        assert!([400, 429].contains(&answer.status));
    }
    // Counters take three quarters of the rows and a few shared ones. The rest is for other things.
    assert!((750..=790).contains(&state.len()), "{}", state.len());
    world.grant.log_out_everywhere(&"user-1".into(), &home).await.unwrap();
    world.post(GOOD).await.waits(1);
    // Otherwise the login would wait for the next second, because of the log-out.
    world.clock.advance(Duration::from_secs(1));
    post(&world.grant, &home, GOOD).await.is_granted();

    // New names share rows: they may wait too soon, but never too late.
    let mut verified = 0;
    for _ in 0..BURST + 1 {
        verified += usize::from(world.post(&form_of("newcomer", "wrong")).await.status == 400);
    }
    assert!(verified <= BURST);
    // After three days all rows have expired, and nearly all names have a row of their own again.
    world.clock.advance(Duration::from_secs(86_400 * 3));
    let asked = world.users.asked();
    for number in 0..1_000 {
        world.post(&form_of(&format!("later{number}"), "wrong")).await;
    }
    assert!(world.users.asked() - asked > 700, "{}", world.users.asked() - asked);
    assert!(state.len() <= 790, "{}", state.len());
}

/// A capacity of `usize::MAX` works as no bound.
#[tokio::test]
async fn a_capacity_without_bound_is_one() {
    let (world, state) = world_over(Users::default(), InMemoryState::new().capacity(usize::MAX));
    for _ in 0..2 {
        post(&world.grant, &from(HOME), GOOD).await.is_granted();
    }
    assert!(!state.is_empty());
    assert!(!world.events.lines().iter().any(|line| line.contains("server fault")));
}

/// A login does not clear the failures of other names in the row that they share.
#[tokio::test]
async fn a_login_takes_back_only_itself_from_a_row_that_it_shares() {
    let anybody = Users::who(|attempt| {
        let right = attempt.password().expose() == "wonderland";
        Ok(if right { Login::accepted("user") } else { Login::rejected(Rejection::WrongPassword) })
    });
    // There is room for thirty-two names, and for one row that all others share.
    let (world, _) = world_over(anybody, InMemoryState::new().capacity(42));
    for number in 0..32 {
        world.post(&form_of(&format!("user{number}"), "wrong")).await.is(400, "invalid_grant");
    }
    for _ in 0..5 {
        world.post(&wrong()).await.is(400, "invalid_grant");
        world.post(&form_of("mallory", "wonderland")).await.is_granted();
    }
    let nowhere = RequestContext::new();
    for username in ["alice", "mallory", "anybody"] {
        let counted = count(&world.grant, LimitKey::Account { username }, &nowhere).await;
        assert_eq!((counted.failures, counted.in_window), (5, 5), "{username}");
    }
}

/// Failures that were counted in a shared row are not forgotten when there is room again.
#[tokio::test]
async fn whoever_has_shared_a_row_goes_on_being_counted_there() {
    let (world, _) = world_over(Users::default(), InMemoryState::new().capacity(42));
    for number in 0..32 {
        world.post(&form_of(&format!("user{number}"), "wrong")).await.is(400, "invalid_grant");
    }
    world.fails(BURST).await;
    let nowhere = RequestContext::new();
    for number in 0..32 {
        let username = &*format!("user{number}");
        world.grant.reset_attempts(LimitKey::Account { username }, &nowhere).await.unwrap();
    }
    world.post(&wrong()).await.waits(1);
}

#[tokio::test]
async fn a_login_is_granted_though_there_is_no_room_to_remember_where_it_came_from() {
    let anybody = Users::who(|_| Ok(Login::accepted("user")));
    let (world, state) = world_over(anybody, InMemoryState::new().capacity(64));
    for number in 0..64 {
        post(&world.grant, &from(HOME), &form_of(&format!("user{number}"), "right"))
            .await
            .is_granted();
    }
    assert_eq!(state.len(), 64);
    post(&world.grant, &from(HOME), &form_of("one-more", "right")).await.is_granted();
    assert_eq!(state.len(), 64);
    assert!(world.events.lines().iter().any(|line| line.contains("the in-memory state is full")));
}

/// Counters that are zero again are deleted: after honest logins only the known devices are left.
#[tokio::test]
async fn honest_logins_leave_no_rows_but_their_origins() {
    let anybody = Users::who(|_| Ok(Login::accepted("user")));
    let (world, state) = world_over(anybody, InMemoryState::new());
    for number in 0..500 {
        post(&world.grant, &from(HOME), &form_of(&format!("user{}", number % 50), "any"))
            .await
            .is_granted();
    }
    assert_eq!(state.len(), 50);
    let world = World::with(world.users, |builder| {
        builder
            .state(state.clone())
            .attempt_limits(AttemptLimits::default().known_origins(Duration::ZERO))
    });
    post(&world.grant, &from(HOME), &form_of("somebody", "any")).await.is_granted();
    assert_eq!(state.len(), 50);
}

/// `Debug` does not show the secret of a shared store, and engines with different secrets do not
/// see each other's rows.
#[tokio::test]
async fn rows_of_another_secret_are_other_rows() {
    let state = InMemoryState::new().environment(&Environment::new().clock(standing()));
    let with = |bytes: [u8; 32]| {
        let secret = StateSecret::new(bytes).unwrap();
        assert_eq!(format!("{secret:?}"), "StateSecret");
        World::with(Users::default(), |builder| builder.shared_state(state.clone(), secret))
    };
    let (one, same, other) = (with([1; 32]), with([1; 32]), with([2; 32]));
    one.fails(BURST).await;
    same.post(GOOD).await.waits(1);
    other.post(GOOD).await.is_granted();
}

/// The limit holds for client secrets with a slow hash too.
#[tokio::test]
async fn a_client_registered_for_another_method_is_counted_too() {
    let clients = InMemoryClients::new([Client::confidential(
        "poster",
        ClientAuthentication::post(ClientSecret::digest_of("poster-secret")),
    )
    .grants([Grant::Password])]);
    let tokens = OpaqueIssuer::new(InMemoryTokens::new(), "https://api.example.com");
    let builder = PasswordGrant::builder(ISSUER, clients, Users::default(), tokens);
    let grant =
        builder.environment(&Environment::new().observer(()).clock(standing())).build().unwrap();
    for _ in 0..20 {
        post_as(&grant, &from(HOME), ("poster", "poster-secret"), GOOD)
            .await
            .is(401, "invalid_client");
    }
    post_as(&grant, &from(HOME), ("poster", "poster-secret"), GOOD).await.waits(60);
}
