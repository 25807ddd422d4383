//! The algorithm and the key of an assertion: those that its client is registered for, and no
//! others.

use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::signature::KeyPair;
use password_grant::assertion::{AssertionKey, ClientAssertion};
use password_grant::jose::{Jwk, JwkSet, KeyError};
use password_grant::{Algorithm, AuthenticationMethod, ClientAuthentication, Environment};
use serde_json::json;

use crate::common::private_keys::{pem, pkcs8_of_rsa, rsa_pair};
use crate::common::{GOOD, ISSUER, Users, World, basic};
use crate::support::{
    Forge, SECRET, ask, assertions, claims, claims_with, client, is_refused, private_keys, set,
    world_of,
};

/// Incident C14: a public key is not accepted as an HMAC secret.
#[tokio::test]
async fn a_public_key_is_not_taken_for_a_shared_secret() {
    let pair = rsa_pair();
    let private = pkcs8_of_rsa(&pair);
    let key = AssertionKey::from_pem(pem("PRIVATE KEY", &private)).unwrap();
    let world = world_of(&key);
    let der = AsDer::<PublicKeyX509Der<'_>>::as_der(pair.public_key()).unwrap().as_ref().to_vec();
    let public = pem("PUBLIC KEY", &der);
    let jwk = json!(key.public_jwk().unwrap()).to_string();
    let secrets = [
        public.clone(),
        format!("\n{public}"),
        public.trim().to_owned(),
        jwk,
        String::from_utf8_lossy(&der).into_owned(),
    ];
    for secret in secrets {
        for algorithm in [Algorithm::Hs256, Algorithm::Hs384, Algorithm::Hs512] {
            let key = AssertionKey::from_secret_for(algorithm, &secret).unwrap();
            let assertion = assertions(&world, &key).sign().unwrap();
            is_refused(&ask(&world, &assertion).await, &world, "Method", &algorithm);
        }
    }
}

/// Requirements 33 and 47: each method takes its own kind of proof.
#[tokio::test]
async fn a_client_authenticates_by_the_method_it_is_registered_for() {
    let forge = Forge::new();
    let world = world_of(&forge.key());
    world
        .clients
        .insert(client("sharer", ClientAuthentication::client_secret_jwt(SECRET).unwrap()));
    let mut of_sharer = claims_with("sub", "sharer");
    of_sharer["iss"] = "sharer".into();
    is_refused(&ask(&world, &forge.claims(&of_sharer)).await, &world, "Method", &"a private key");
    // An HMAC cannot be verified with the digest of a secret (incident C25).
    let key = AssertionKey::from_secret("web-secret-web-secret-web-secret-web").unwrap();
    let of_web = ClientAssertion::new("web", ISSUER, key)
        .environment(&Environment::new().clock(world.clock.clone()))
        .sign()
        .unwrap();
    is_refused(&ask(&world, &of_web).await, &world, "Method", &"web");
    // A client that is registered for assertions cannot send a secret instead.
    let secret = world.send(&[("authorization", &basic("sharer", SECRET))], GOOD).await;
    assert_eq!(secret.status, 401);
    let post = format!("{GOOD}&client_id=backend&client_secret=x");
    is_refused(&world.send(&[], &post).await, &world, "Method", &"a secret");
    is_refused(
        &world.send(&[], &format!("{GOOD}&client_id=backend")).await,
        &world,
        "Method",
        &"nothing",
    );
}

/// Requirement 46: the algorithm must be registered for the client, allowed by the server, and of
/// the key's kind.
#[tokio::test]
async fn the_algorithm_is_one_that_client_and_server_both_want() {
    let pair = rsa_pair();
    let private = pem("PRIVATE KEY", &pkcs8_of_rsa(&pair));
    let by = |algorithm| AssertionKey::from_pem_for(algorithm, &private).unwrap();
    // The registered key names no algorithm, as in many registrations.
    let mut jwk = json!(by(Algorithm::Rs256).public_jwk().unwrap());
    jwk.as_object_mut().unwrap().remove("alg");
    let keys = || set([Jwk::from_json(jwk.to_string().as_bytes()).unwrap()]);
    let registered = |algorithms: &[Algorithm]| {
        let authentication = ClientAuthentication::private_key_jwt(&keys()).unwrap();
        client("backend", authentication.algorithms(algorithms.iter().copied()).unwrap())
    };
    let world = World::default();
    for (algorithms, rs256, ps256) in [
        (&[Algorithm::Rs256, Algorithm::Ps256][..], true, true),
        (&[Algorithm::Rs256], true, false),
        (&[Algorithm::Ps256, Algorithm::Hs256], false, true),
    ] {
        world.clients.insert(registered(algorithms));
        for (algorithm, taken) in [(Algorithm::Rs256, rs256), (Algorithm::Ps256, ps256)] {
            let answer = ask(&world, &assertions(&world, &by(algorithm)).sign().unwrap()).await;
            if taken {
                answer.is_granted();
            } else {
                is_refused(&answer, &world, "AssertionAlgorithm", &(algorithms, algorithm));
            }
        }
    }
    let world =
        World::with(Users::default(), |builder| builder.assertion_algorithms([Algorithm::Ps256]));
    world.clients.insert(registered(&[Algorithm::Rs256, Algorithm::Ps256]));
    ask(&world, &assertions(&world, &by(Algorithm::Ps256)).sign().unwrap()).await.is_granted();
    let answer = ask(&world, &assertions(&world, &by(Algorithm::Rs256)).sign().unwrap()).await;
    is_refused(&answer, &world, "AssertionAlgorithm", &"the server's list");

    let methods = [AuthenticationMethod::ClientSecretBasic, AuthenticationMethod::ClientSecretJwt];
    let world = World::with(Users::default(), |builder| builder.authentication_methods(methods));
    world.clients.insert(registered(&[Algorithm::Rs256]));
    let answer = ask(&world, &assertions(&world, &by(Algorithm::Rs256)).sign().unwrap()).await;
    is_refused(&answer, &world, "Method", &"the server's methods");
}

/// A key is found by any of its names. If the assertion names none, the only key that fits is used
/// (incident C24).
#[tokio::test]
async fn keys_are_named_by_kid_or_by_certificate_or_not_at_all() {
    let certificate = b"the DER of a certificate, of which only the digests count";
    let (one, two) = (Forge::new(), Forge::new());
    let key = |forge: &Forge| forge.key();
    let registered = |keys: [AssertionKey; 2]| {
        let world = World::default();
        let public = set(keys.iter().filter_map(AssertionKey::public_jwk));
        world
            .clients
            .insert(client("backend", ClientAuthentication::private_key_jwt(&public).unwrap()));
        world
    };
    let jwk = key(&one).with_kid("one").public_jwk().unwrap().with_certificate(certificate);
    let world = World::default();
    let public = set([jwk, key(&two).with_kid("two").public_jwk().unwrap()]);
    world
        .clients
        .insert(client("backend", ClientAuthentication::private_key_jwt(&public).unwrap()));
    for signer in [
        key(&one).with_kid("one"),
        key(&two).with_kid("two"),
        key(&one).certificate(certificate),
        key(&one).certificate_by_sha1(certificate),
        key(&one).certificate(certificate).certificate_by_sha1(certificate).with_kid("one"),
    ] {
        ask(&world, &assertions(&world, &signer).sign().unwrap()).await.is_granted();
    }
    for signer in [
        key(&one),
        key(&one).with_kid("two"),
        key(&two).certificate(certificate),
        key(&one).certificate(b"another"),
        key(&two).with_kid("two").certificate(certificate),
    ] {
        let answer = ask(&world, &assertions(&world, &signer).sign().unwrap()).await;
        is_refused(&answer, &world, "AssertionSignature", &signer);
    }
    // Two keys of which only one is for the algorithm.
    let ec = AssertionKey::from_pem(&private_keys()[1].1).unwrap();
    let world = registered([key(&one), ec.clone()]);
    ask(&world, &assertions(&world, &key(&one)).sign().unwrap()).await.is_granted();
    ask(&world, &assertions(&world, &ec).sign().unwrap()).await.is_granted();
}

/// Requirement 65: an access token is never accepted as an assertion, or the reverse, even if one
/// key signs both.
#[tokio::test]
async fn an_access_token_is_no_assertion_and_an_assertion_no_access_token() {
    let forge = Forge::new();
    let private = pem("PRIVATE KEY", forge.0.to_pkcs8v1().unwrap().as_ref());
    let keys = password_grant::SigningKeys::from_pem(&private).unwrap();
    // The client's identifier is our issuer, and its key is our signing key.
    let world = World::default();
    world.clients.insert(client(
        ISSUER,
        ClientAuthentication::private_key_jwt(&set(forge.key().public_jwk())).unwrap(),
    ));
    let verifier = password_grant::AccessTokenVerifier::new(
        ISSUER,
        ISSUER,
        [Algorithm::EdDsa],
        keys.verification_keys().unwrap(),
    );
    let verifier =
        verifier.unwrap().environment(&Environment::new().clock(world.clock.clone()).observer(()));
    let mut claims = claims();
    (claims["iss"], claims["sub"]) = (ISSUER.into(), ISSUER.into());
    (claims["client_id"], claims["scope"]) = (ISSUER.into(), "profile".into());
    let token = forge.sign(r#"{"alg":"EdDSA","typ":"at+jwt"}"#, claims.to_string());
    assert!(verifier.verify(&token).await.is_ok(), "but for its type it would be either");
    is_refused(&ask(&world, &token).await, &world, "AssertionType", &"an access token");
    for typ in ["client-authentication+jwt", "JWT"] {
        let assertion =
            forge.sign(json!({ "alg": "EdDSA", "typ": typ }).to_string(), claims.to_string());
        assert!(verifier.verify(&assertion).await.is_err(), "{typ}");
        claims["jti"] = format!("for {typ}").into();
        let assertion =
            forge.sign(json!({ "alg": "EdDSA", "typ": typ }).to_string(), claims.to_string());
        ask(&world, &assertion).await.is_granted();
    }
}

#[test]
fn keys_that_cannot_be_are_refused_when_a_client_is_registered() {
    assert_eq!(
        ClientAuthentication::client_secret_jwt("31 bytes are not enough for it.").unwrap_err(),
        KeyError::ShortSecret { found: 31, needed: 32 }
    );
    assert!(ClientAuthentication::client_secret_jwt("32 bytes are just enough for it.").is_ok());
    assert_eq!(
        ClientAuthentication::private_key_jwt(&JwkSet::default()).unwrap_err(),
        KeyError::Empty
    );
    assert_eq!(
        AssertionKey::from_secret_for(Algorithm::Hs384, [0; 47]).unwrap_err(),
        KeyError::ShortSecret { found: 47, needed: 48 }
    );
    assert_eq!(
        AssertionKey::from_secret_for(Algorithm::Hs512, [0; 63]).unwrap_err(),
        KeyError::ShortSecret { found: 63, needed: 64 }
    );
    assert_eq!(
        AssertionKey::from_secret_for(Algorithm::EdDsa, [0; 64]).unwrap_err(),
        KeyError::Unsupported
    );
    // A secret of 32 bytes is long enough for HS256 only.
    let secret =
        ClientAuthentication::client_secret_jwt("32 bytes are just enough for it.").unwrap();
    assert_eq!(format!("{secret:?}"), "{ClientSecretJwt}");
}
