//! Registrations that can never work, and key files.

use aws_lc_rs::encoding::{AsBigEndian, Curve25519SeedBin};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use password_grant::assertion::AssertionKey;
use password_grant::jose::KeyError;
use password_grant::{Algorithm, ClientAuthentication, SigningKeys};
use serde_json::json;

use crate::common::private_keys::{ed25519, pem, rsa};
use crate::support::{jwk, set, without};

/// A registration that can never work is an error when it is built.
#[test]
fn a_registration_that_can_never_work_is_refused_where_it_is_built() {
    let shared = |bytes: usize| ClientAuthentication::client_secret_jwt(vec![7; bytes]).unwrap();
    let signing = |algorithm, pem: &str| {
        ClientAuthentication::private_key_jwt(&set([jwk(algorithm, pem)]).unwrap()).unwrap()
    };
    let rsa = rsa();
    let elsewhere = || ClientAuthentication::private_key_jwt_uri("https://client.example/jwks");
    let (rs256, any_rsa) =
        (signing(Algorithm::Rs256, &rsa), without(jwk(Algorithm::Rs256, &rsa), "alg"));
    let any_rsa = ClientAuthentication::private_key_jwt(&set([any_rsa]).unwrap()).unwrap();
    let ed = signing(Algorithm::EdDsa, &ed25519());
    for (authentication, algorithms, works) in [
        (shared(32), vec![Algorithm::Hs256], true),
        (shared(32), vec![Algorithm::Hs512], false),
        (shared(32), vec![Algorithm::Hs384, Algorithm::Hs512], false),
        (shared(32), vec![Algorithm::Hs512, Algorithm::Hs256], true),
        (shared(48), vec![Algorithm::Hs384], true),
        (shared(63), vec![Algorithm::Hs512], false),
        (shared(64), vec![Algorithm::Hs512], true),
        (shared(64), vec![Algorithm::Es256], false),
        (shared(64), vec![], false),
        (rs256.clone(), vec![Algorithm::Rs256], true),
        (rs256.clone(), vec![Algorithm::Es256], false),
        (rs256.clone(), vec![Algorithm::Ps256], false), // the key says that it is for RS256
        (rs256.clone(), vec![Algorithm::Hs256], false),
        (rs256, vec![Algorithm::Es256, Algorithm::Rs256], true),
        (any_rsa.clone(), vec![Algorithm::Ps512], true),
        (any_rsa, vec![Algorithm::EdDsa], false),
        (ed.clone(), vec!["Ed25519".parse().unwrap()], true),
        (ed, vec![Algorithm::Es256], false),
        (elsewhere(), vec![Algorithm::Es512], true),
        (elsewhere(), vec![Algorithm::Hs256], false),
        (elsewhere(), vec![], false),
    ] {
        let built = authentication.clone().algorithms(algorithms.clone());
        assert_eq!(
            built.map(drop),
            if works { Ok(()) } else { Err(KeyError::Algorithm) },
            "{authentication:?} {algorithms:?}"
        );
    }
}

/// PKCS#8 as the crate `ring` writes it: the bare public key within the context tag.
#[test]
fn a_key_file_of_ring_is_refused_with_what_to_do() {
    let pair = Ed25519KeyPair::generate().unwrap();
    let (seed, public) = (pair.seed().unwrap(), pair.public_key().as_ref().to_vec());
    let head = [0x30, 0x53, 2, 1, 1, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
    let seed = AsBigEndian::<Curve25519SeedBin<'_>>::as_be_bytes(&seed).unwrap().as_ref().to_vec();
    let ring = [&head[..], &seed, &[0xa1, 0x23, 3, 0x21, 0], &public].concat();
    let refused = SigningKeys::from_pem(pem("PRIVATE KEY", &ring)).unwrap_err();
    assert_eq!(refused, KeyError::RingPkcs8);
    let text = refused.to_string();
    assert!(
        text.contains("PKCS#8 version 1") && text.contains("openssl genpkey -algorithm ed25519"),
        "{text}"
    );
    assert!(!text.contains("  "), "{text}");
    assert_eq!(AssertionKey::from_pem(pem("PRIVATE KEY", &ring)).unwrap_err(), KeyError::RingPkcs8);
    assert_eq!(
        SigningKeys::from_pem(&ring).unwrap_err(),
        KeyError::RingPkcs8,
        "in DER, as ring hands it out"
    );
    // The conversion in the documentation of `from_pem` yields the same key.
    let converted = [&[0x30, 0x2e, 2, 1, 0][..], &ring[5..48]].concat();
    let converted = SigningKeys::from_pem(pem("PRIVATE KEY", &converted)).unwrap();
    let x = URL_SAFE_NO_PAD.encode(&public);
    assert_eq!(json!(converted.public_jwk().unwrap())["x"], x);
    // Other malformed files are not reported as files of `ring`.
    for spoilt in
        [&ring[..60], &[&ring[..48], &[0xa1, 0x22, 3, 0x21, 0], &public[..]].concat(), b"garbage"]
    {
        assert_ne!(
            SigningKeys::from_pem(pem("PRIVATE KEY", spoilt)).unwrap_err(),
            KeyError::RingPkcs8
        );
    }
}
