//! Key sets that clients publish: fetched, kept, and asked for again within bounds.

use std::time::Duration;

use password_grant::ClientAuthentication;
use password_grant::assertion::AssertionKey;
use serde_json::json;

use crate::common::fakes::PublishedKeys;
use crate::common::{Users, World, noon};
use crate::support::{Forge, ask, assertions, claims, client, is_refused};

const JWKS_URI: &str = "https://client.example/jwks.json";

fn publish(source: &PublishedKeys, keys: &[&AssertionKey]) {
    let keys: Vec<_> = keys.iter().filter_map(|key| key.public_jwk()).collect();
    source.publish(json!({ "keys": keys }).to_string());
}

fn publishing_world(source: &PublishedKeys) -> World {
    let world = World::with(Users::default(), |builder| builder.jwks_source(source.clone()));
    world.clients.insert(client("backend", ClientAuthentication::private_key_jwt_uri(JWKS_URI)));
    world
}

#[tokio::test]
async fn keys_that_a_client_publishes_are_fetched_and_kept() {
    let (one, two) = (Forge::new().key().with_kid("one"), Forge::new().key().with_kid("two"));
    let source = PublishedKeys::at(JWKS_URI);
    publish(&source, &[&one]);
    let world = publishing_world(&source);
    let send =
        async |key: &AssertionKey| ask(&world, &assertions(&world, key).sign().unwrap()).await;
    for _ in 0..5 {
        send(&one).await.is_granted();
    }
    assert_eq!(source.take_fetched(), 1);

    // An unknown `kid` makes the engine fetch the set once, and not again within a minute.
    for _ in 0..5 {
        is_refused(&send(&two).await, &world, "AssertionSignature", &"unknown kid");
    }
    assert_eq!(source.take_fetched(), 0, "fetched just now");
    world.clock.advance(Duration::from_secs(60));
    for _ in 0..5 {
        is_refused(&send(&two).await, &world, "AssertionSignature", &"unknown kid");
    }
    assert_eq!(source.take_fetched(), 1);
    publish(&source, &[&one, &two]);
    world.clock.advance(Duration::from_secs(60));
    send(&two).await.is_granted();
    send(&one).await.is_granted();
    assert_eq!(source.take_fetched(), 1);

    // After ten minutes the set is fetched again, and a key that was removed from it is not
    // accepted.
    publish(&source, &[&two]);
    world.clock.advance(Duration::from_secs(601));
    is_refused(&send(&one).await, &world, "AssertionSignature", &"withdrawn");
    assert_eq!(source.take_fetched(), 1);

    // While the set cannot be fetched, the last one is used for a day.
    source.is_out_of_reach();
    world.clock.advance(Duration::from_secs(3_600));
    send(&two).await.is_granted();
    send(&two).await.is_granted();
    assert_eq!(source.take_fetched(), 1, "not at every request");
    world.clock.advance(Duration::from_secs(86_400));
    send(&two).await.is(503, "temporarily_unavailable");
    assert!(
        world.events.last().contains("JwksSource") && world.events.last().contains("no connection")
    );
    send(&two).await.is(503, "temporarily_unavailable");
    assert_eq!(source.take_fetched(), 1);
}

/// A thumbprint that no key of the set has may be that of a newer key, so the set is fetched.
#[tokio::test]
async fn a_key_that_is_named_by_an_unknown_thumbprint_alone_is_asked_for_anew() {
    let (one, two) = (Forge::new().key(), Forge::new().key());
    let source = PublishedKeys::at(JWKS_URI);
    publish(&source, &[&one]);
    let world = publishing_world(&source);
    let send =
        async |key: &AssertionKey| ask(&world, &assertions(&world, key).sign().unwrap()).await;
    send(&one).await.is_granted();
    assert_eq!(source.take_fetched(), 1);
    publish(&source, &[&two]);
    world.clock.advance(Duration::from_secs(60));
    send(&two.clone().certificate(b"DER")).await.is_granted();
    assert_eq!(source.take_fetched(), 1);
    // If the `kid` is known, the set is not fetched for the thumbprint.
    world.clock.advance(Duration::from_secs(60));
    let kid = two.public_jwk().unwrap().kid().to_owned();
    send(&two.clone().with_kid(kid).certificate(b"DER")).await.is_granted();
    send(&two).await.is_granted();
    assert_eq!(source.take_fetched(), 0);
}

/// A source that fails is asked ever more seldom, up to once in 15 minutes, and a clock that is set
/// back does not change that. A success ends it.
#[tokio::test]
async fn a_key_set_that_cannot_be_fetched_is_asked_for_at_growing_intervals() {
    const STEP: Duration = Duration::from_secs(10);
    let key = Forge::new().key();
    let source = PublishedKeys::at(JWKS_URI);
    let world = publishing_world(&source);
    let send = async || ask(&world, &assertions(&world, &key).sign().unwrap()).await;
    let intervals = async |count: usize| {
        let (mut intervals, mut passed, mut statuses) = (Vec::new(), Duration::ZERO, Vec::new());
        while intervals.len() < count {
            world.clock.advance(STEP);
            passed += STEP;
            let status = send().await.status;
            if source.take_fetched() > 0 {
                intervals.push(std::mem::take(&mut passed).as_secs());
            }
            statuses.push(status);
        }
        statuses.dedup();
        (intervals, statuses)
    };
    for asked in [1, 0, 0] {
        send().await.is(503, "temporarily_unavailable");
        assert_eq!(source.take_fetched(), asked);
    }
    assert_eq!(intervals(7).await, (vec![60, 120, 240, 480, 900, 900, 900], vec![503]));
    world.clock.set(noon());
    send().await.is(503, "temporarily_unavailable");
    assert_eq!(source.take_fetched(), 0);
    publish(&source, &[&key]);
    world.clock.advance(Duration::from_secs(900));
    send().await.is_granted();
    assert_eq!(source.take_fetched(), 1);
    // The keys at hand are used meanwhile, and the first pause is a minute again.
    source.is_out_of_reach();
    world.clock.advance(Duration::from_secs(600));
    send().await.is_granted();
    assert_eq!(source.take_fetched(), 1);
    assert_eq!(intervals(3).await, (vec![60, 120, 240], vec![200]));
}

/// Somebody who may register clients cannot fill the memory with their key sets. The set that was
/// used longest ago is removed, and its pause is not.
#[tokio::test]
async fn no_more_than_a_thousand_key_sets_are_kept() {
    let (world, source, forge) = world_of_many();
    let send = async |number: usize| send_as(&world, &forge, number).await;
    for number in 0..1_000 {
        assert_eq!(send(number).await, 200);
    }
    assert_eq!(source.take_fetched(), 1_000);
    assert_eq!(send(0).await, 200);
    assert_eq!(source.take_fetched(), 0, "they are all there");
    assert_eq!(send(1_000).await, 200);
    assert_eq!(source.take_fetched(), 1);
    for number in (2..1_001).chain([0]) {
        assert_eq!(send(number).await, 200);
    }
    assert_eq!(source.take_fetched(), 0, "one made room");
    assert_eq!(send(1).await, 503);
    assert_eq!(source.take_fetched(), 0, "fetched just now");
    world.clock.advance(Duration::from_secs(60));
    assert_eq!(send(1).await, 200);
    assert_eq!(source.take_fetched(), 1);
}

/// A set that may not be fetched again yet is removed last, so a full cache makes nobody wait who
/// is fetched seldom.
#[tokio::test]
async fn a_full_cache_removes_first_what_can_be_fetched_again() {
    let (world, source, forge) = world_of_many();
    let send = async |number: usize| send_as(&world, &forge, number).await;
    for number in 0..500 {
        assert_eq!(send(number).await, 200);
    }
    world.clock.advance(Duration::from_secs(60));
    for number in (500..1_000).chain(0..500).chain(1_000..1_100) {
        assert_eq!(send(number).await, 200);
    }
    source.take_fetched();
    for number in 500..1_100 {
        assert_eq!(send(number).await, 200);
    }
    assert_eq!(source.take_fetched(), 0);
}

#[tokio::test]
async fn going_round_more_than_a_thousand_clients_fetches_none_twice_a_minute() {
    const CLIENTS: usize = 1_200;
    let (world, source, forge) = world_of_many();
    let mut fetched = [0; CLIENTS];
    for _ in 0..3 {
        for (number, fetched) in fetched.iter_mut().enumerate() {
            send_as(&world, &forge, number).await;
            *fetched += source.take_fetched();
        }
    }
    assert!(fetched.iter().all(|fetched| *fetched == 1));
}

/// A world in which every client publishes the same key at a URI of its own.
fn world_of_many() -> (World, PublishedKeys, Forge) {
    let (forge, source) = (Forge::new(), PublishedKeys::default());
    publish(&source, &[&forge.key()]);
    let world = World::with(Users::default(), |builder| builder.jwks_source(source.clone()));
    (world, source, forge)
}

/// The status of a request of the client with this number.
async fn send_as(world: &World, forge: &Forge, number: usize) -> u16 {
    let uri = format!("https://client.example/{number}");
    world.clients.insert(client("backend", ClientAuthentication::private_key_jwt_uri(uri)));
    ask(world, &forge.claims(&claims())).await.status
}

#[tokio::test]
async fn a_document_that_is_no_key_set_authenticates_nobody() {
    let key = Forge::new().key();
    let private = json!({ "kty": "OKP", "crv": "Ed25519", "x": "AAAA", "d": "AAAA" });
    let many: Vec<_> = (0..21)
        .map(|number| json!(key.clone().with_kid(number.to_string()).public_jwk().unwrap()))
        .collect();
    let alike = [&key, &Forge::new().key()]
        .map(|key| json!(key.clone().with_kid("one").public_jwk().unwrap()));
    for document in [
        "not JSON".to_owned(),
        "{}".to_owned(),
        json!({ "keys": [] }).to_string(),
        json!({ "keys": [private, key.public_jwk().unwrap()] }).to_string(),
        json!({ "keys": many }).to_string(),
        json!({ "keys": alike }).to_string(),
        json!({ "keys": [{ "kty": "oct", "k": "AAAA" }] }).to_string(),
    ] {
        let source = PublishedKeys::at(JWKS_URI);
        source.publish(&document);
        let world = publishing_world(&source);
        let answer = ask(&world, &assertions(&world, &key).sign().unwrap()).await;
        assert_eq!((answer.status, world.users.asked()), (503, 0), "{document}");
    }
    // Without a `JwksSource` such a client cannot authenticate. This is a fault of the server.
    let world = World::default();
    world.clients.insert(client("backend", ClientAuthentication::private_key_jwt_uri(JWKS_URI)));
    ask(&world, &assertions(&world, &key).sign().unwrap()).await.is(503, "temporarily_unavailable");
}
