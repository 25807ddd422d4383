//! The limit of clients whose authentication fails, a client and an address.

use std::time::Duration;

use password_grant::limiter::{AttemptCount, LimitKey};
use password_grant::state::InMemoryState;
use password_grant::testing::InMemoryTokens;
use password_grant::token::OpaqueIssuer;
use password_grant::{
    Client, ClientBuilder, ClientSecret, Environment, Grant, PasswordGrant, RequestContext,
};

use crate::common::fakes::{ConstantRandomness, ScriptedClients};
use crate::common::{GOOD, ISSUER, Users, World};
use crate::support::{
    ALICE, EITHER, HOME, Waits, count, form_of, from, post, post_as, post_as_mobile, post_form,
    standing, world_over,
};

/// Requirement 41: a client that fails too often has to wait at this address, and only there.
#[tokio::test]
async fn a_client_that_fails_too_often_from_an_address_waits_there_and_only_there() {
    // Clients are counted in a few groups, which a random key chooses. This key puts these three in
    // groups of their own.
    for state in EITHER {
        let world = World::in_environment(
            Users::default(),
            |own| own.randomness(ConstantRandomness(7)),
            state,
        );
        let home = from(HOME);
        let fail = async |client: &str| post_as(&world.grant, &home, (client, "guess"), GOOD).await;
        for client in ["web", "unknown"] {
            for _ in 0..20 {
                fail(client).await.is(401, "invalid_client");
            }
            fail(client).await.waits(1_200);
        }
        // Even the right secret is refused now, and a client that does not exist gets the same
        // answer.
        let refusal = post(&world.grant, &home, GOOD).await;
        assert_eq!(refusal, fail("unknown").await);
        assert!(world.events.last().starts_with("client \"unknown\" denied"));
        post(&world.grant, &from("192.0.2.2"), GOOD).await.is_granted();
        post_as(&world.grant, &home, ("idle", "idle-secret"), GOOD)
            .await
            .is(400, "unauthorized_client");
        // Clients have keys of their own: no user name was charged, and nobody logged in.
        assert_eq!(count(&world.grant, ALICE, &home).await, AttemptCount::default());
        let web = LimitKey::Client { client_id: "web" };
        assert_eq!(count(&world.grant, web, &home).await.in_window, 20);
        world.grant.reset_attempts(web, &home).await.unwrap();
        post(&world.grant, &home, GOOD).await.is_granted();
    }
}

/// A network has a count too: whoever fails from ever other addresses of it is refused at the
/// second failure from each. A client that has not failed from its address is never refused.
#[tokio::test]
async fn failures_from_a_network_deny_only_who_has_failed() {
    for state in EITHER {
        let world = World::with_clock(Users::default(), state);
        let at = |number: usize| from(&format!("2001:db8:0:{number:x}::1"));
        let guess =
            async |number: usize| post_as(&world.grant, &at(number), ("web", "guess"), GOOD).await;
        for number in 0..200 {
            guess(number).await.is(401, "invalid_client");
        }
        guess(0).await.waits(1_200);
        guess(199).await.waits(1_200);
        guess(200).await.is(401, "invalid_client");
        guess(200).await.waits(1_200);
        post(&world.grant, &at(201), GOOD).await.is_granted();
        post(&world.grant, &from("2001:db8:1::1"), GOOD).await.is_granted();
        let network = LimitKey::ClientNetwork { client_id: "web" };
        assert_eq!(count(&world.grant, network, &at(0)).await.in_window, 201);
        world.grant.reset_attempts(network, &at(0)).await.unwrap();
        guess(0).await.is(401, "invalid_client");
    }
}

/// Two readings of one Basic header may be clients that share a count: it is counted once.
#[tokio::test]
async fn identifiers_that_share_a_count_are_counted_once() {
    for state in EITHER {
        let world = World::with_clock(Users::default(), state);
        // Of so many identifiers with two readings, some share a group with their other reading.
        for number in 0..2_000 {
            let home = from(&format!("2001:db8:{number:x}::1"));
            let guess = (&*format!("client+{number}"), "guess");
            post_as(&world.grant, &home, guess, GOOD).await.is(401, "invalid_client");
            let client = LimitKey::Client { client_id: &format!("client+{number}") };
            assert_eq!(count(&world.grant, client, &home).await.in_window, 1);
        }
    }
}

/// A client over its limit is refused before it is looked up.
#[tokio::test]
async fn a_client_that_waits_costs_no_look_up() {
    let clients = ScriptedClients::new(|id, _| {
        let web = Client::confidential("web", ClientSecret::digest_of("web-secret"));
        Ok((id == "web").then(|| web.grants([Grant::Password]).build()))
    });
    let tokens = OpaqueIssuer::new(InMemoryTokens::new(), "https://api.example.com");
    let builder = PasswordGrant::builder(ISSUER, clients.clone(), Users::default(), tokens);
    let grant =
        builder.environment(&Environment::new().observer(()).clock(standing())).build().unwrap();
    for _ in 0..40 {
        post_as(&grant, &from(HOME), ("web", "guess"), GOOD).await;
    }
    assert_eq!(clients.take_asked().len(), 20);
}

/// Requirement 92: one caller that invents identifiers takes a bounded number of rows.
#[tokio::test]
async fn unknown_clients_without_number_take_a_bounded_number_of_rows() {
    let (world, state) = world_over(Users::default(), InMemoryState::new());
    for number in 0..5_000 {
        post_as(&world.grant, &from(HOME), (&format!("client{number}"), "guess"), GOOD).await;
    }
    assert!(state.len() <= 256, "{}", state.len());
}

/// Without an address the limit would be the client's as a whole, and anybody could lock an
/// application out. A public client has no secret that could be guessed.
#[tokio::test]
async fn nobody_can_lock_an_application_out() {
    let world = World::default();
    for _ in 0..200 {
        post_as(&world.grant, &RequestContext::new(), ("web", "guess"), GOOD)
            .await
            .is(401, "invalid_client");
    }
    world.post(GOOD).await.is_granted();

    let home = from(HOME);
    for _ in 0..30 {
        post_as(&world.grant, &home, ("mobile", "guess"), GOOD).await;
    }
    post_as_mobile(&world.grant, &home).await.is_granted();
}

/// A client that authenticates is not charged, however often it calls.
#[tokio::test]
async fn a_client_that_authenticates_is_not_counted() {
    let world = World::default();
    let home = from(HOME);
    for _ in 0..100 {
        post(&world.grant, &home, GOOD).await.is_granted();
    }
    let web = LimitKey::Client { client_id: "web" };
    assert_eq!(count(&world.grant, web, &home).await, AttemptCount::default());
    assert_eq!(count(&world.grant, LimitKey::Source, &home).await, AttemptCount::default());
}

/// The users of a web application's server share its address. Their mistakes make none of them wait
/// who has logged in before, and have a limit of their own, which is no other client's.
#[tokio::test]
async fn a_web_backend_has_a_limit_of_its_own_at_its_address() {
    for state in EITHER {
        let world = World::with_clock(Users::default(), state);
        let digest = ClientSecret::digest_of("shop-secret");
        let register = |client: ClientBuilder, failures| {
            let client = client.grants([Grant::Password]).scope("profile".parse().unwrap());
            world.clients.insert(client.web_backend(failures, Duration::from_secs(600)));
        };
        register(Client::confidential("shop", digest.clone()), 1_000);
        register(Client::confidential("till", digest), 5);
        register(Client::public("app"), 1_000);
        let home = from(HOME);
        let post = async |client: &str, form: &str| {
            post_as(&world.grant, &home, (client, "shop-secret"), form).await
        };
        let typo = |number: usize| form_of(&format!("user{number}"), "typo");
        for number in 0..500 {
            post("shop", &typo(number)).await.is(400, "invalid_grant");
        }
        post("shop", GOOD).await.is_granted();
        assert_eq!(count(&world.grant, LimitKey::Source, &home).await, AttemptCount::default());
        for number in 0..5 {
            post("till", &typo(500 + number)).await.is(400, "invalid_grant");
        }
        post("till", GOOD).await.waits(1_200);
        // In another tenant it is another count, which an administrator can look at and reset.
        let elsewhere = home.clone().with_tenant("other");
        let till = ("till", "shop-secret");
        post_as(&world.grant, &elsewhere, till, &typo(600)).await.is(400, "invalid_grant");
        let backend = LimitKey::WebBackend { client_id: "till" };
        assert_eq!(count(&world.grant, backend, &home).await.in_window, 5);
        assert_eq!(count(&world.grant, backend, &elsewhere).await.in_window, 1);
        world.grant.reset_attempts(backend, &home).await.unwrap();
        post("till", &typo(505)).await.is(400, "invalid_grant");
        let public = LimitKey::WebBackend { client_id: "app" };
        assert_eq!(world.grant.attempts(public, &home).await.unwrap(), None);
        // A public client is whoever says so, and gets nothing by it.
        for number in 0..300 {
            let form = format!("{}&client_id=app", typo(1_000 + number));
            post_form(&world.grant, &home, &form).await.is(400, "invalid_grant");
        }
        let form = format!("{}&client_id=app", typo(2_000));
        post_form(&world.grant, &home, &form).await.waits(1_200);
        post("shop", &typo(2_001)).await.is(400, "invalid_grant");
    }
}
