//! Keys of every kind, and a client that authenticates with them.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING,
    ECDSA_P521_SHA512_FIXED_SIGNING,
};
use password_grant::assertion::{AssertionKey, ClientAssertion};
use password_grant::jose::{JwkSet, KeyError};
use password_grant::{Algorithm, Client, ClientAuthentication, Environment, Grant};
use serde_json::{Value, json};

use crate::common::private_keys::{ec, ed25519, rsa};
use crate::common::{Answer, GOOD, ISSUER, JWT_BEARER, World};

pub const RSA: [Algorithm; 6] = [
    Algorithm::Rs256,
    Algorithm::Rs384,
    Algorithm::Rs512,
    Algorithm::Ps256,
    Algorithm::Ps384,
    Algorithm::Ps512,
];

/// A private key for each asymmetric algorithm.
pub fn private_keys() -> Vec<(Algorithm, String)> {
    let rsa = rsa();
    let others = [
        (Algorithm::EdDsa, ed25519()),
        (Algorithm::Es256, ec(&ECDSA_P256_SHA256_FIXED_SIGNING)),
        (Algorithm::Es384, ec(&ECDSA_P384_SHA384_FIXED_SIGNING)),
        (Algorithm::Es512, ec(&ECDSA_P521_SHA512_FIXED_SIGNING)),
    ];
    others.into_iter().chain(RSA.map(|algorithm| (algorithm, rsa.clone()))).collect()
}

pub fn jwk(algorithm: Algorithm, pem: &str) -> Value {
    json!(AssertionKey::from_pem_for(algorithm, pem).unwrap().public_jwk().unwrap())
}

pub fn with(mut object: Value, name: &str, value: impl Into<Value>) -> Value {
    object[name] = value.into();
    object
}

pub fn without(mut object: Value, name: &str) -> Value {
    object.as_object_mut().unwrap().remove(name);
    object
}

pub fn set(keys: impl IntoIterator<Item = Value>) -> Result<JwkSet, KeyError> {
    JwkSet::from_json(document(keys).as_bytes())
}

pub fn document(keys: impl IntoIterator<Item = Value>) -> String {
    json!({ "keys": keys.into_iter().collect::<Vec<_>>() }).to_string()
}

pub fn register(world: &World, authentication: ClientAuthentication) {
    let client = Client::confidential("backend", authentication).grants([Grant::Password]);
    world.clients.insert(client.scope("profile".parse().unwrap()));
}

pub fn world_of(keys: impl IntoIterator<Item = Value>) -> World {
    let world = World::default();
    register(&world, ClientAuthentication::private_key_jwt(&set(keys).unwrap()).unwrap());
    world
}

pub fn assertion(world: &World, key: &AssertionKey) -> String {
    ClientAssertion::new("backend", ISSUER, key.clone())
        .environment(&Environment::new().clock(world.clock.clone()))
        .sign()
        .unwrap()
}

pub async fn send(world: &World, assertion: &str) -> Answer {
    world
        .send(
            &[],
            &format!("{GOOD}&client_assertion_type={JWT_BEARER}&client_assertion={assertion}"),
        )
        .await
}

pub async fn ask(world: &World, key: &AssertionKey) -> Answer {
    send(world, &assertion(world, key)).await
}
