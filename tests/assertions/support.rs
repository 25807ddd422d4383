//! A client that authenticates by assertions, and a key to forge them with.

use std::sync::atomic::{AtomicUsize, Ordering};

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, Ed25519KeyPair,
};
use password_grant::assertion::{AssertionKey, ClientAssertion};
use password_grant::jose::{Jwk, JwkSet};
use password_grant::{Algorithm, Client, ClientAuthentication, ClientBuilder, Environment, Grant};
use serde_json::{Value, json};

use crate::common::private_keys::{ec, ed25519, pem, rsa};
use crate::common::{Answer, GOOD, ISSUER, JWT_BEARER, World, encode, noon};

pub const TOKEN_ENDPOINT: &str = "https://id.example.com/oauth/token";

pub const SECRET: &str =
    "a secret of more than sixty-four bytes, as HS512 needs to be worth its name";

/// A private key for each of these algorithms, as PEM.
pub fn private_keys() -> Vec<(Algorithm, String)> {
    let rsa = rsa();
    vec![
        (Algorithm::EdDsa, ed25519()),
        (Algorithm::Es256, ec(&ECDSA_P256_SHA256_FIXED_SIGNING)),
        (Algorithm::Es384, ec(&ECDSA_P384_SHA384_FIXED_SIGNING)),
        (Algorithm::Rs256, rsa.clone()),
        (Algorithm::Ps256, rsa),
    ]
}

pub fn set(keys: impl IntoIterator<Item = Jwk>) -> JwkSet {
    keys.into_iter().collect()
}

pub fn client(id: &str, authentication: ClientAuthentication) -> ClientBuilder {
    Client::confidential(id, authentication)
        .grants([Grant::Password])
        .scope("profile".parse().unwrap())
}

/// A world with the client `backend`, which signs with this key.
pub fn world_of(key: &AssertionKey) -> World {
    world_with(key, |authentication| authentication)
}

pub fn world_with(
    key: &AssertionKey,
    register: impl FnOnce(ClientAuthentication) -> ClientAuthentication,
) -> World {
    let world = World::default();
    let keys = ClientAuthentication::private_key_jwt(&set(key.public_jwk())).unwrap();
    world.clients.insert(client("backend", register(keys)));
    world
}

pub fn assertions(world: &World, key: &AssertionKey) -> ClientAssertion {
    ClientAssertion::new("backend", ISSUER, key.clone())
        .environment(&Environment::new().clock(world.clock.clone()))
}

pub fn with(assertion: &str) -> String {
    format!("{GOOD}&client_assertion_type={JWT_BEARER}&client_assertion={assertion}")
}

pub async fn ask(world: &World, assertion: &str) -> Answer {
    world.send(&[], &with(assertion)).await
}

/// Asserts the answer of every failed client authentication, and that the observer is told this
/// reason.
#[track_caller]
pub fn is_refused(answer: &Answer, world: &World, reason: &str, case: &dyn std::fmt::Debug) {
    assert_eq!(
        (answer.status, answer.json()["error"].as_str()),
        (401, Some("invalid_client")),
        "{case:?} {answer:?}"
    );
    assert_eq!(
        answer.header("www-authenticate"),
        Some(&*format!(r#"Basic realm="{ISSUER}""#)),
        "{case:?}"
    );
    let last = world.events.last();
    assert!(last.ends_with(&format!(": {reason}")), "{case:?}: {last}");
}

/// A key of the test's own, to sign what the builder never would.
pub struct Forge(pub Ed25519KeyPair);

impl Forge {
    pub fn new() -> Self {
        Self(Ed25519KeyPair::generate().unwrap())
    }

    pub fn key(&self) -> AssertionKey {
        AssertionKey::from_pem(pem("PRIVATE KEY", self.0.to_pkcs8v1().unwrap().as_ref())).unwrap()
    }

    pub fn sign(&self, header: impl AsRef<[u8]>, claims: impl AsRef<[u8]>) -> String {
        let signed = format!("{}.{}", encode(header), encode(claims));
        let signature = encode(self.0.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    pub fn claims(&self, claims: &Value) -> String {
        self.sign(r#"{"alg":"EdDSA"}"#, claims.to_string())
    }
}

/// Valid claims, with a new `jti` each time.
pub fn claims() -> Value {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let now = noon().unix_seconds();
    json!({
        "iss": "backend", "sub": "backend", "aud": ISSUER, "iat": now, "exp": now + 300,
        "jti": format!("id-{}", NEXT.fetch_add(1, Ordering::SeqCst)),
    })
}

pub fn claims_with(name: &str, value: impl Into<Value>) -> Value {
    changed(&claims(), name, value)
}

pub fn changed(claims: &Value, name: &str, value: impl Into<Value>) -> Value {
    let mut claims = claims.clone();
    claims[name] = value.into();
    claims
}

pub fn claims_without(name: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(name);
    claims
}
