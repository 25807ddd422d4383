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

/// A client whose key set cannot be fetched is asked once a minute, not at every request, and a
/// clock that is set back does not change that.
#[tokio::test]
async fn a_key_set_that_was_never_had_is_asked_for_once_a_minute() {
    let key = Forge::new().key();
    let source = PublishedKeys::at(JWKS_URI);
    let world = publishing_world(&source);
    let send = async || ask(&world, &assertions(&world, &key).sign().unwrap()).await;
    for asked in [1, 0, 0] {
        send().await.is(503, "temporarily_unavailable");
        assert_eq!(source.take_fetched(), asked);
    }
    world.clock.advance(Duration::from_secs(60));
    send().await.is(503, "temporarily_unavailable");
    assert_eq!(source.take_fetched(), 1);
    world.clock.set(noon());
    send().await.is(503, "temporarily_unavailable");
    assert_eq!(source.take_fetched(), 0);
    publish(&source, &[&key]);
    world.clock.advance(Duration::from_secs(60));
    send().await.is_granted();
}

/// Somebody who may register clients cannot fill the memory with their key sets.
#[tokio::test]
async fn no_more_than_a_thousand_key_sets_are_kept() {
    let forge = Forge::new();
    let source = PublishedKeys::default();
    publish(&source, &[&forge.key()]);
    let world = World::with(Users::default(), |builder| builder.jwks_source(source.clone()));
    let send = async |number: usize| {
        let uri = format!("https://client.example/{number}");
        world.clients.insert(client("backend", ClientAuthentication::private_key_jwt_uri(uri)));
        ask(&world, &forge.claims(&claims())).await.is_granted();
        source.take_fetched()
    };
    for number in 0..1_000 {
        assert_eq!(send(number).await, 1);
    }
    assert_eq!(send(0).await, 0, "they are all there");
    assert_eq!(send(1_000).await, 1);
    assert_eq!(send(0).await, 1, "one too many made room");
    assert_eq!(send(1_000).await, 0);
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
