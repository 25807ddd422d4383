//! The store is bounded: names without number take no more rows than there is room for.

use std::sync::Arc;
use std::time::Duration;

use password_grant::limiter::LimitKey;
use password_grant::state::{InMemoryState, StateSecret};
use password_grant::testing::{InMemoryClients, InMemoryTokens};
use password_grant::token::OpaqueIssuer;
use password_grant::{
    AttemptLimits, BoxError, Client, ClientAuthentication, ClientSecret, Environment, Grant, Login,
    LoginAttempt, PasswordGrant, Rejection, RequestContext, UserAuthenticator, async_trait,
};
use tokio::sync::Semaphore;

use crate::common::{GOOD, ISSUER, Users, World};
use crate::support::{
    ALICE, BURST, HOME, Waits, count, engine, form_of, from, post, post_as, post_as_mobile, secret,
    standing, world_over, wrong,
};

/// Requirement 92: memory is bounded, and rows that make somebody wait are not displaced.
#[tokio::test]
async fn names_without_number_take_no_more_than_the_room_there_is() {
    let state = InMemoryState::new().capacity(1_000);
    let (world, state) = world_over(Users::default(), state);
    world.fails(BURST).await;
    for number in 0..8_000 {
        world.post(&form_of(&format!("user{number}"), "wrong")).await.is(400, "invalid_grant");
    }
    // User names have three eighths of the rows. The rest is for other things.
    assert!((340..=375).contains(&state.len()), "{}", state.len());
    world.post(GOOD).await.waits(1);
    world.grant.log_out_everywhere(&"user-1".into(), &RequestContext::new()).await.unwrap();

    // A new name is counted alone: it may try as often as the limit says.
    for _ in 0..BURST {
        world.post(&form_of("newcomer", "wrong")).await.is(400, "invalid_grant");
    }
    world.post(&form_of("newcomer", "wrong")).await.waits(1);
}

/// A name under attack keeps its count, also if it has too few failures to wait.
#[tokio::test]
async fn a_name_keeps_its_failures_while_names_without_number_fail_once() {
    let (world, _) = world_over(Users::default(), InMemoryState::new().capacity(1_000));
    world.fails(BURST - 1).await;
    for number in 0..8_000 {
        world.post(&form_of(&format!("user{number}"), "wrong")).await.is(400, "invalid_grant");
    }
    assert_eq!(count(&world.grant, ALICE, &RequestContext::new()).await.failures, 9);
    world.fails(1).await;
    world.post(GOOD).await.waits(1);
}

/// Known origins displace no failures, and fill no room that a login needs.
#[tokio::test]
async fn known_origins_without_number_refuse_no_login_and_forget_no_failure() {
    let anybody = Users::who(|attempt| {
        let right = attempt.password().expose() == "right";
        Ok(if right { Login::accepted("user") } else { Login::rejected(Rejection::WrongPassword) })
    });
    let (world, state) = world_over(anybody, InMemoryState::new().capacity(1_000));
    world.post(&wrong()).await.is(400, "invalid_grant");
    let home = from(HOME);
    for number in 0..5_000 {
        post(&world.grant, &home, &form_of(&format!("user{number}"), "right")).await.is_granted();
    }
    assert!(state.len() <= 380, "{}", state.len());
    assert_eq!(count(&world.grant, ALICE, &RequestContext::new()).await.failures, 1);
    world.grant.log_out_everywhere(&"user".into(), &home).await.unwrap();
    assert!(!world.events.lines().iter().any(|line| line.contains("server fault")));
}

/// Names that an attacker invents, and makes wait, clear no failures of another name. Requests that
/// are denied write nothing, so they would clear it for nothing.
#[tokio::test]
async fn a_room_of_names_that_wait_forgets_no_failure_of_another() {
    let (world, _) = world_over(Users::default(), InMemoryState::new().capacity(1_000));
    world.fails(BURST - 1).await;
    for number in 0..400 {
        for _ in 0..BURST {
            world.post(&form_of(&format!("user{number}"), "wrong")).await;
        }
    }
    for number in 0..2_000 {
        world.post(&form_of(&format!("invented{number}"), "wrong")).await;
    }
    assert_eq!(count(&world.grant, ALICE, &RequestContext::new()).await.failures, 9);
    world.fails(1).await;
    world.post(GOOD).await.waits(1);
}

/// Names that an attacker invents make nobody's origin unknown, so that nobody who has logged in
/// can be made to wait at home.
#[tokio::test]
async fn invented_names_take_no_known_origins() {
    let anybody = Users::who(|attempt| {
        let right = attempt.password().expose() == "right";
        Ok(if right { Login::accepted("user") } else { Login::rejected(Rejection::WrongPassword) })
    });
    let (world, _) = world_over(anybody, InMemoryState::new().capacity(1_000));
    let home = from(HOME);
    for number in 0..150 {
        post(&world.grant, &home, &form_of(&format!("user{number}"), "right")).await.is_granted();
    }
    for number in 0..8_000 {
        let failures = if number % 8 == 0 { BURST } else { 1 };
        for _ in 0..failures {
            world.post(&form_of(&format!("invented{number}"), "wrong")).await;
        }
    }
    for number in 0..150 {
        let name = format!("user{number}");
        let known = LimitKey::KnownOrigin { username: &name, client_id: "web" };
        assert!(world.grant.attempts(known, &home).await.unwrap().is_some(), "{name}");
        world.post(&form_of(&name, "wrong")).await;
        post(&world.grant, &home, &form_of(&name, "right")).await.is_granted();
    }
}

/// A flood of wrong client secrets, from more addresses than there is room for, leaves every client
/// and every login elsewhere alone, while it lasts and afterwards.
#[tokio::test]
async fn wrong_secrets_from_addresses_without_number_deny_no_other_client() {
    let (world, _) = world_over(Users::default(), InMemoryState::new().capacity(1_024));
    let mut others = 0_u32;
    let mut others_are_granted = async || {
        for _ in 0..20 {
            others += 1;
            let elsewhere = from(&format!("198.51.{}.{}", others / 256, others % 256));
            post(&world.grant, &elsewhere, GOOD).await.is_granted();
            post_as(&world.grant, &elsewhere, ("idle", "idle-secret"), GOOD)
                .await
                .is(400, "unauthorized_client");
            post_as_mobile(&world.grant, &elsewhere).await.is_granted();
        }
        post(&world.grant, &RequestContext::new(), GOOD).await.is_granted();
    };
    for number in 0..8_000 {
        let source = from(&format!("2001:db8:bad:{number:x}::1"));
        let answer = post_as(&world.grant, &source, ("web", "guess"), GOOD).await;
        assert!([401, 429].contains(&answer.status));
        if number % 1_000 == 999 {
            others_are_granted().await;
        }
    }
    others_are_granted().await;
    assert!(!world.events.lines().iter().any(|line| line.contains("server fault")));
}

/// Addresses without number neither fail nor share their counts, and displace none with more
/// failures.
#[tokio::test]
async fn failures_from_addresses_without_number_deny_no_other_address() {
    let (world, state) = world_over(Users::default(), InMemoryState::new().capacity(1_024));
    let attacker = from("192.0.2.66");
    for number in 0..5 {
        let form = form_of(&format!("victim{number}"), "wrong");
        post(&world.grant, &attacker, &form).await.is(400, "invalid_grant");
    }
    for number in 0..5_000_u32 {
        let source = from(&format!("203.0.{}.{}", number / 256, number % 256));
        let form = form_of(&format!("user{number}"), "wrong");
        post(&world.grant, &source, &form).await.is(400, "invalid_grant");
    }
    assert!(state.len() <= 384 + 64, "{}", state.len());
    let home = from(HOME);
    assert_eq!(count(&world.grant, LimitKey::Source, &home).await.in_window, 0);
    assert_eq!(count(&world.grant, LimitKey::Source, &attacker).await.in_window, 5);
    post(&world.grant, &home, GOOD).await.is_granted();
}

/// As a store that instances share, the state has no weights, and still refuses no new name.
#[tokio::test]
async fn names_without_number_are_not_refused_over_a_shared_state_in_memory() {
    let state = InMemoryState::new().capacity(640);
    let state = state.environment(&Environment::new().clock(standing()));
    let shared = state.clone();
    let world = World::with(Users::default(), |builder| builder.shared_state(shared, secret()));
    for number in 0..2_000 {
        let form = form_of(&format!("user{number}"), "wrong");
        post(&world.grant, &from(HOME), &form).await;
        world.post(&form).await.is(400, "invalid_grant");
    }
    assert!((200..=260).contains(&state.len()), "{}", state.len());
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

/// A world with room for twenty-four names, all of which have so many failures that they wait, and
/// one row that all other names share.
async fn full_of_names_that_wait() -> (World, InMemoryState) {
    let anybody = Users::who(|attempt| {
        let right = attempt.password().expose() == "wonderland";
        Ok(if right { Login::accepted("user") } else { Login::rejected(Rejection::WrongPassword) })
    });
    let (world, state) = world_over(anybody, InMemoryState::new().capacity(64));
    for number in 0..24 * BURST {
        let form = form_of(&format!("user{}", number % 24), "wrong");
        world.post(&form).await.is(400, "invalid_grant");
    }
    assert_eq!(state.len(), 24);
    (world, state)
}

/// A login does not clear the failures of other names in the row that they share.
#[tokio::test]
async fn a_login_takes_back_only_itself_from_a_row_that_it_shares() {
    let (world, _) = full_of_names_that_wait().await;
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

/// Names that share a row count too much, and only for as long as there is no room.
#[tokio::test]
async fn a_name_has_a_row_of_its_own_again_as_soon_as_there_is_room() {
    let (world, state) = full_of_names_that_wait().await;
    let (bob, nowhere) = (form_of("bob", "wonderland"), RequestContext::new());
    world.fails(BURST).await;
    world.post(GOOD).await.waits(1);
    world.post(&bob).await.waits(1);
    assert_eq!(state.len(), 25, "one row for both");
    // The names in the room keep their rows.
    world.post(&form_of("user0", "wonderland")).await.waits(1);

    let user0 = LimitKey::Account { username: "user0" };
    world.grant.reset_attempts(user0, &nowhere).await.unwrap();
    world.post(&form_of("bob", "wrong")).await.is(400, "invalid_grant");
    let counted = LimitKey::Account { username: "bob" };
    assert_eq!(count(&world.grant, counted, &nowhere).await.failures, 1);
    // The failure is not displaced by a name that has none, which goes on sharing.
    world.post(GOOD).await.waits(1);
    assert_eq!(count(&world.grant, counted, &nowhere).await.failures, 1);

    // After three days all rows have expired, and every name has a row of its own.
    world.clock.advance(Duration::from_secs(86_400 * 3));
    for number in 0..24 {
        let form = form_of(&format!("later{number}"), "wrong");
        world.post(&form).await.is(400, "invalid_grant");
        let username = &*format!("later{number}");
        let counted = count(&world.grant, LimitKey::Account { username }, &nowhere).await;
        assert_eq!(counted.failures, 1);
    }
}

#[tokio::test]
async fn a_login_is_granted_though_there_is_no_room_to_remember_where_it_came_from() {
    let (world, state) = full_of_names_that_wait().await;
    post(&world.grant, &from(HOME), &form_of("one-more", "wonderland")).await.is_granted();
    assert_eq!(state.len(), 24);
    assert!(!world.events.lines().iter().any(|line| line.contains("from a new origin")));
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
    post_as(&grant, &from(HOME), ("poster", "poster-secret"), GOOD).await.waits(1_200);
}

/// A login that was counted in the row which names share is settled there, though there is room for
/// a row of its own by then.
#[tokio::test]
async fn what_was_counted_in_a_shared_row_is_settled_there() {
    let (clock, gate) = (standing(), Arc::new(Semaphore::new(1_000)));
    let state = InMemoryState::new().capacity(64);
    let state = state.environment(&Environment::new().clock(clock.clone()));
    let users = Gated(gate.clone());
    let grant = engine(users, clock, |builder| builder.state(state.clone()));
    let nowhere = RequestContext::new();
    let fill = async |number: usize| {
        for _ in 0..BURST {
            let form = form_of(&format!("name{number}"), "wrong");
            post(&grant, &nowhere, &form).await.is(400, "invalid_grant");
        }
    };
    for number in 0..24 {
        fill(number).await;
    }
    let stranger = LimitKey::Account { username: "stranger" };
    for _ in 0..2 * BURST {
        gate.forget_permits(usize::MAX);
        let owner = form_of("owner", "right");
        let mut login = Box::pin(post(&grant, &nowhere, &owner));
        assert!(futures_util::poll!(&mut login).is_pending());
        assert_eq!(count(&grant, stranger, &nowhere).await.in_window, 1);
        let name0 = LimitKey::Account { username: "name0" };
        grant.reset_attempts(name0, &nowhere).await.unwrap();
        gate.add_permits(1_000);
        login.await.is_granted();
        fill(0).await;
        assert_eq!(count(&grant, stranger, &nowhere).await.in_window, 0);
    }
}

/// Users who are judged as long as a test lets them through. The password `right` is right.
struct Gated(Arc<Semaphore>);

#[async_trait]
impl UserAuthenticator for Gated {
    async fn authenticate(&self, attempt: LoginAttempt<'_>) -> Result<Login, BoxError> {
        self.0.acquire().await?.forget();
        Ok(match attempt.password().expose() {
            "right" => Login::accepted("user"),
            _ => Login::rejected(Rejection::WrongPassword),
        })
    }
}
