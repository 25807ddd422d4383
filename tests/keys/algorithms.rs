//! Which algorithms a key may sign by.

use std::sync::Arc;

use aws_lc_rs::encoding::{AsBigEndian, Curve25519SeedBin};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, Ed25519KeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use password_grant::assertion::AssertionKey;
use password_grant::jose::{Jwk, JwkSet, KeyError, SigningKey, VerificationKeys};
use password_grant::resource::VerifierError;
use password_grant::testing::ManualClock;
use password_grant::{
    AccessTokenVerifier, Algorithm, BoxError, Environment, HttpRequest, JwtIssuer, PasswordGrant,
    SigningKeys,
};
use serde_json::json;

use crate::common::private_keys::{ec, ed25519, rsa};
use crate::common::{AUDIENCE, Answer, FORM, GOOD, ISSUER, Users, clients, noon, segment};
use crate::support::{RSA, ask, assertion, jwk, private_keys, send, with, without, world_of};

/// A third of the published client keys is for RS384 or RS512, and health care requires RS384 or
/// ES384.
#[tokio::test]
async fn a_client_may_sign_by_every_algorithm_but_only_by_that_of_its_key() {
    for (algorithm, pem) in private_keys() {
        let key = AssertionKey::from_pem_for(algorithm, &pem).unwrap();
        let world = world_of([jwk(algorithm, &pem)]);
        ask(&world, &key).await.is_granted();
        assert_eq!(segment(&assertion(&world, &key), 0)["alg"], algorithm.as_str());
        // Signed by another implementation too, if it has the algorithm. ES512 is tested in
        // `foreign_clients`.
        if let Some(theirs) = theirs(algorithm, &pem) {
            send(&world, &theirs).await.is_granted();
        }
        // The key is for the algorithm that it names, and for no other one of its kind.
        for other in RSA.into_iter().filter(|other| RSA.contains(&algorithm) && *other != algorithm)
        {
            ask(&world, &AssertionKey::from_pem_for(other, &pem).unwrap())
                .await
                .is(401, "invalid_client");
        }
    }
}

/// Signed by an independent implementation, which does not have ES512.
fn theirs(algorithm: Algorithm, pem: &str) -> Option<String> {
    use jsonwebtoken::{EncodingKey, Header};
    let name = algorithm.as_str().parse().ok()?;
    let key = match algorithm {
        Algorithm::EdDsa => EncodingKey::from_ed_pem(pem.as_bytes()),
        Algorithm::Es256 | Algorithm::Es384 => EncodingKey::from_ec_pem(pem.as_bytes()),
        _ => EncodingKey::from_rsa_pem(pem.as_bytes()),
    };
    let now = noon().unix_seconds();
    let jti = format!("theirs, by {algorithm}");
    let claims =
        json!({ "iss": "backend", "sub": "backend", "aud": ISSUER, "exp": now + 60, "jti": jti });
    Some(jsonwebtoken::encode(&Header::new(name), &claims, &key.unwrap()).unwrap())
}

#[tokio::test]
async fn a_key_that_names_no_algorithm_is_for_all_of_its_kind() {
    let pem = rsa();
    let world = world_of([without(jwk(Algorithm::Rs256, &pem), "alg")]);
    for algorithm in RSA {
        ask(&world, &AssertionKey::from_pem_for(algorithm, &pem).unwrap()).await.is_granted();
    }
}

/// A verifier accepts access tokens by any algorithm that it is configured for, whoever issues
/// them.
#[tokio::test]
async fn an_access_token_may_be_signed_by_any_algorithm_that_the_verifier_is_told_of() {
    for (algorithm, pem) in private_keys() {
        let keys = SigningKeys::from_pem_for(algorithm, &pem).unwrap();
        let token = issued_by(&keys).await;
        assert_eq!(segment(&token, 0)["alg"], algorithm.as_str());
        // The key as another server reads it, from the published document.
        let published =
            JwkSet::from_json(json!(keys.public_keys()).to_string().as_bytes()).unwrap();
        let verifier = |algorithms: &[Algorithm]| {
            let keys = VerificationKeys::from_jwks(&published).unwrap();
            let verifier =
                AccessTokenVerifier::new(ISSUER, AUDIENCE, algorithms.iter().copied(), keys);
            verifier.map(|verifier| {
                verifier
                    .environment(&Environment::new().clock(ManualClock::at(noon())).observer(()))
            })
        };
        verifier(&[algorithm]).unwrap().verify(&token).await.unwrap();
        let other = if algorithm == Algorithm::Es256 { Algorithm::Es384 } else { Algorithm::Es256 };
        assert_eq!(verifier(&[other]).unwrap_err(), VerifierError::NoKey(other));
    }
    assert_eq!(
        SigningKeys::from_pem_for(Algorithm::Es384, ec(&ECDSA_P256_SHA256_FIXED_SIGNING))
            .unwrap_err(),
        KeyError::Algorithm
    );
    assert_eq!(
        SigningKeys::from_pem_for(Algorithm::Ps256, ed25519()).unwrap_err(),
        KeyError::Algorithm
    );
}

async fn issued_by(keys: &SigningKeys) -> String {
    let tokens = JwtIssuer::new(keys.clone(), AUDIENCE);
    let builder = PasswordGrant::builder(ISSUER, clients(), Users::default(), tokens);
    let grant = builder
        .environment(&Environment::new().clock(ManualClock::at(noon())).observer(()))
        .build()
        .unwrap();
    let form = format!("{GOOD}&client_id=mobile");
    let request =
        HttpRequest::new("POST", None, [("content-type", FORM.as_bytes())], form.as_bytes());
    Answer::from(grant.token(request).await).access_token()
}

/// RFC 9864 deprecates `EdDSA` in favour of `Ed25519`. Both names are read everywhere.
#[tokio::test]
async fn ed25519_has_two_names() {
    // As Node's Web Crypto exports the key of RFC 8037 appendix A.
    let node = r#"{"kty":"OKP","crv":"Ed25519","alg":"Ed25519",
        "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    let key = Jwk::from_json(node.as_bytes()).unwrap();
    assert_eq!(
        (key.algorithm(), json!(key)["alg"].as_str()),
        (Algorithm::EdDsa, Some("Ed25519")),
        "as it was read"
    );

    let pem = ed25519();
    let public = jwk(Algorithm::EdDsa, &pem);
    for registered in [Some("EdDSA"), Some("Ed25519"), None] {
        let entry = match registered {
            Some(alg) => with(public.clone(), "alg", alg),
            None => without(public.clone(), "alg"),
        };
        let world = world_of([entry]);
        for key in [
            AssertionKey::from_pem(&pem).unwrap(),
            AssertionKey::from_pem(&pem).unwrap().with_ed25519_name(),
        ] {
            ask(&world, &key).await.is_granted();
        }
    }
    let key = AssertionKey::from_pem(&pem).unwrap();
    let world = world_of([public.clone()]);
    assert_eq!(segment(&assertion(&world, &key), 0)["alg"], "EdDSA");
    assert_eq!(segment(&assertion(&world, &key.clone().with_ed25519_name()), 0)["alg"], "Ed25519");
    assert_eq!(json!(key.with_ed25519_name().public_jwk().unwrap())["alg"], "Ed25519");

    // A private JWK keeps the name that it has.
    let pair = Ed25519KeyPair::generate().unwrap();
    let seed = pair.seed().unwrap();
    let seed = URL_SAFE_NO_PAD
        .encode(AsBigEndian::<Curve25519SeedBin<'_>>::as_be_bytes(&seed).unwrap().as_ref());
    let x = URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
    for name in ["EdDSA", "Ed25519"] {
        let private = json!({
            "kty": "OKP", "crv": "Ed25519", "alg": name, "x": x, "d": seed, "p": null, "kid": null,
        });
        let key = AssertionKey::from_jwk(private.to_string()).unwrap();
        let world = world_of([json!(key.public_jwk().unwrap())]);
        assert_eq!(segment(&assertion(&world, &key), 0)["alg"], name);
        ask(&world, &key).await.is_granted();
    }

    // The host chooses which name is written in access tokens.
    let keys = SigningKeys::from_pem(&pem).unwrap();
    for (keys, name) in [(keys.clone(), "EdDSA"), (keys.with_ed25519_name(), "Ed25519")] {
        let token = issued_by(&keys).await;
        assert_eq!(segment(&token, 0)["alg"], name);
        assert_eq!(json!(keys.public_keys())["keys"][0]["alg"], name);
        let verifier = AccessTokenVerifier::new(
            ISSUER,
            AUDIENCE,
            [Algorithm::EdDsa],
            keys.verification_keys().unwrap(),
        );
        verifier
            .unwrap()
            .environment(&Environment::new().clock(ManualClock::at(noon())).observer(()))
            .verify(&token)
            .await
            .unwrap();
    }
    // The choice holds for further keys that are published too, in either order.
    let next = SigningKeys::from_pem(ed25519()).unwrap().public_jwk().unwrap();
    let keys = SigningKeys::from_pem(&pem).unwrap();
    for keys in [
        keys.clone().with_ed25519_name().publish(next.clone()).unwrap(),
        keys.clone().publish(next.clone()).unwrap().with_ed25519_name(),
    ] {
        let named: Vec<_> =
            keys.public_keys().keys.iter().map(|key| json!(key)["alg"].clone()).collect();
        assert_eq!(named, ["Ed25519", "Ed25519"]);
    }
    let published = keys.publish(next.with_ed25519_name()).unwrap().public_keys();
    assert_eq!(json!(published)["keys"][1]["alg"], "Ed25519", "as it was given");
    // The public half of a key of the host says what its algorithm is called.
    let own: Arc<dyn SigningKey> = Arc::new(OwnKey(Ed25519KeyPair::generate().unwrap()));
    assert_eq!(segment(&issued_by(&SigningKeys::from_key(own.clone())).await, 0)["alg"], "Ed25519");
    let key = AssertionKey::from_key(own);
    let world = world_of([json!(key.public_jwk().unwrap())]);
    assert_eq!(segment(&assertion(&world, &key), 0)["alg"], "Ed25519");
    ask(&world, &key).await.is_granted();
    // A key of another kind has no second name.
    let keys = SigningKeys::generate().unwrap().with_ed25519_name();
    assert_eq!(segment(&issued_by(&keys).await, 0)["alg"], "ES256");
    assert_eq!(json!(keys.public_keys())["keys"][0]["alg"], "ES256");
}

/// A `SigningKey` of the host, whose algorithm is called `Ed25519`.
struct OwnKey(Ed25519KeyPair);

impl SigningKey for OwnKey {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EdDsa
    }

    fn sign(&self, message: &[u8], out: &mut Vec<u8>) -> Result<(), BoxError> {
        out.extend_from_slice(self.0.sign(message).as_ref());
        Ok(())
    }

    fn public_jwk(&self) -> Option<Jwk> {
        let x = URL_SAFE_NO_PAD.encode(self.0.public_key().as_ref());
        let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "alg": "Ed25519", "x": x });
        Jwk::from_json(jwk.to_string().as_bytes()).ok()
    }
}

/// Similar names are refused.
#[test]
fn an_algorithm_is_read_by_its_names_and_by_nothing_else() {
    for (name, algorithm) in
        [("Ed25519", Algorithm::EdDsa), ("EdDSA", Algorithm::EdDsa), ("PS512", Algorithm::Ps512)]
    {
        assert_eq!(name.parse(), Ok(algorithm));
    }
    for (algorithm, _) in private_keys() {
        assert_eq!(algorithm.as_str().parse(), Ok(algorithm));
    }
    for name in [
        "none", "None", "", "ed25519", "EDDSA", "Ed448", "es256", "ES256K", "RS1", "RSA-OAEP",
        "ESP256", " ES256",
    ] {
        let refused = name.parse::<Algorithm>().unwrap_err();
        assert_eq!(refused, KeyError::UnknownAlgorithm(name.to_owned()));
        assert!(refused.to_string().contains(name), "{refused}");
    }
}

/// Requirement 48: an algorithm belongs to one kind of key, and to one curve.
#[test]
fn the_algorithm_of_another_kind_of_key_is_refused() {
    let keys = private_keys();
    for (algorithm, pem) in &keys {
        let (algorithm, good) = (*algorithm, jwk(*algorithm, pem));
        for (other, _) in keys.iter().cloned() {
            let kind = |algorithm: Algorithm| {
                if RSA.contains(&algorithm) { Algorithm::Rs256 } else { algorithm }
            };
            let read =
                Jwk::from_json(with(good.clone(), "alg", other.as_str()).to_string().as_bytes());
            assert_eq!(read.is_ok(), kind(algorithm) == kind(other), "{algorithm} {other}");
        }
    }
}
