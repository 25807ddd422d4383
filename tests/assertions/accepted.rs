//! Assertions that are accepted, of every algorithm and by other implementations.

use password_grant::assertion::{AssertionKey, ClientAssertion};
use password_grant::{
    Algorithm, BoxError, ClientAuthentication, Environment, HttpRequest, async_trait,
};
use serde_json::{Value, json};

use crate::common::private_keys::ed25519;
use crate::common::{Answer, FORM, ISSUER, Users, World};
use crate::support::{
    SECRET, ask, assertions, claims, client, is_refused, private_keys, with, world_of,
};

/// Our builder makes an assertion of every algorithm, and the engine accepts it.
#[tokio::test]
async fn an_assertion_of_every_algorithm_authenticates_its_client() {
    for (algorithm, pem) in private_keys() {
        let key = AssertionKey::from_pem_for(algorithm, pem).unwrap();
        assert_eq!(key.algorithm(), algorithm);
        let world = world_of(&key);
        let answer = ask(&world, &assertions(&world, &key).sign().unwrap()).await;
        assert_eq!(answer.claims()["client_id"], "backend", "{algorithm}");
        let assertion = assertions(&world, &key).sign().unwrap();
        world.send(&[], &format!("{}&client_id=backend", with(&assertion))).await.is_granted();
    }
    for algorithm in [Algorithm::Hs256, Algorithm::Hs384, Algorithm::Hs512] {
        let key = AssertionKey::from_secret_for(algorithm, SECRET).unwrap();
        let world = World::default();
        world
            .clients
            .insert(client("backend", ClientAuthentication::client_secret_jwt(SECRET).unwrap()));
        ask(&world, &assertions(&world, &key).sign().unwrap()).await.is_granted();
    }
}

/// An independent implementation makes the assertions.
#[tokio::test]
async fn an_assertion_made_by_another_implementation_is_taken() {
    use jsonwebtoken::{Algorithm as Name, EncodingKey, Header};
    let sign = |name: Name, key: &EncodingKey, kid: Option<String>| {
        let mut header = Header::new(name);
        header.kid = kid;
        jsonwebtoken::encode(&header, &claims(), key).unwrap()
    };
    for (algorithm, pem) in private_keys() {
        let (name, encoding) = match algorithm {
            Algorithm::EdDsa => (Name::EdDSA, EncodingKey::from_ed_pem(pem.as_bytes())),
            Algorithm::Es256 => (Name::ES256, EncodingKey::from_ec_pem(pem.as_bytes())),
            Algorithm::Es384 => (Name::ES384, EncodingKey::from_ec_pem(pem.as_bytes())),
            Algorithm::Rs256 => (Name::RS256, EncodingKey::from_rsa_pem(pem.as_bytes())),
            _ => (Name::PS256, EncodingKey::from_rsa_pem(pem.as_bytes())),
        };
        let encoding = encoding.unwrap();
        let world =
            world_of(&AssertionKey::from_pem_for(algorithm, &pem).unwrap().with_kid("backend-1"));
        for kid in [None, Some("backend-1".to_owned())] {
            ask(&world, &sign(name, &encoding, kid)).await.is_granted();
        }
        let unknown = ask(&world, &sign(name, &encoding, Some("backend-2".to_owned()))).await;
        is_refused(&unknown, &world, "AssertionSignature", &algorithm);
    }
    for (name, algorithm) in [
        (Name::HS256, Algorithm::Hs256),
        (Name::HS384, Algorithm::Hs384),
        (Name::HS512, Algorithm::Hs512),
    ] {
        let world = World::default();
        let secret = ClientAuthentication::client_secret_jwt(SECRET)
            .unwrap()
            .algorithms([algorithm])
            .unwrap();
        world.clients.insert(client("backend", secret));
        ask(&world, &sign(name, &EncodingKey::from_secret(SECRET.as_bytes()), None))
            .await
            .is_granted();
    }
}

/// An independent implementation verifies the assertions of our builder.
#[test]
fn what_is_built_is_read_by_another_implementation() {
    use jsonwebtoken::{Algorithm as Name, DecodingKey, Validation};
    let key = AssertionKey::from_pem(ed25519()).unwrap().with_kid("backend-1");
    let assertion = ClientAssertion::new("backend", ISSUER, key.clone()).sign().unwrap();
    let jwk: jsonwebtoken::jwk::Jwk =
        serde_json::from_value(json!(key.public_jwk().unwrap())).unwrap();
    let mut validation = Validation::new(Name::EdDSA);
    validation.set_audience(&[ISSUER]);
    validation.set_issuer(&["backend"]);
    let decoded = jsonwebtoken::decode::<Value>(
        &assertion,
        &DecodingKey::from_jwk(&jwk).unwrap(),
        &validation,
    )
    .unwrap();
    assert_eq!(decoded.header.kid.as_deref(), Some("backend-1"));
    assert_eq!(decoded.claims["sub"], "backend");
}

#[tokio::test]
async fn an_access_token_says_how_its_client_authenticated() {
    struct Methods;
    #[async_trait]
    impl password_grant::TokenIssuer for Methods {
        async fn issue(
            &self,
            a: &password_grant::Authorization<'_>,
        ) -> Result<password_grant::AccessToken, BoxError> {
            Ok(password_grant::AccessToken::new(a.client().method().as_str())?)
        }
    }
    let key = AssertionKey::from_pem(ed25519()).unwrap();
    let world = world_of(&key);
    let builder = password_grant::PasswordGrant::builder(
        ISSUER,
        world.clients.clone(),
        Users::default(),
        Methods,
    );
    let grant = builder
        .environment(&Environment::new().clock(world.clock.clone()).observer(()))
        .build()
        .unwrap();
    let form = with(&assertions(&world, &key).sign().unwrap());
    let request =
        HttpRequest::new("POST", None, [("content-type", FORM.as_bytes())], form.as_bytes());
    assert_eq!(Answer::from(grant.token(request).await).access_token(), "private_key_jwt");
}
