//! Properties of random input, key sets that are written and read back, and what `Debug` shows.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use password_grant::assertion::{AssertionKey, ClientAssertion};
use password_grant::jose::{Jwk, JwkSet, VerificationKeys};
use password_grant::{ClientAuthentication, ClientSecret};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::common::ISSUER;
use crate::support::{
    Forge, SECRET, ask, claims, claims_with, client, private_keys, set, world_of,
};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    /// If any byte of an assertion is changed, removed or added, it is refused.
    #[test]
    fn no_mutation_of_an_assertion_is_taken(
        at in any::<prop::sample::Index>(), to in any::<u8>(), how in 0..3,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let forge = Forge::new();
            let world = world_of(&forge.key());
            let good = forge.sign(r#"{"alg":"EdDSA","typ":"JWT"}"#, claims().to_string());
            let mut bytes = good.clone().into_bytes();
            let at = at.index(bytes.len());
            match how {
                0 => bytes[at] = to,
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, to),
            }
            if bytes == good.as_bytes() {
                return;
            }
            let encoded: String = bytes.iter().map(|byte| format!("%{byte:02X}")).collect();
            let answer = ask(&world, &encoded).await;
            assert!([400, 401].contains(&answer.status), "{}", String::from_utf8_lossy(&bytes));
            ask(&world, &good).await.is_granted();
        });
    }

    /// If the value of one claim has another type, the assertion is refused or means the same.
    #[test]
    fn no_claim_of_another_type_is_taken(
        name in prop::sample::select(vec!["iss", "sub", "aud", "exp", "nbf", "iat", "jti"]),
        value in prop_oneof![
            Just(json!(null)),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(|n| json!(-n.abs())),
            any::<f64>()
                .prop_filter("a JSON number", |n| n.is_finite())
                .prop_map(|n| json!(-n.abs())),
            Just(json!([])),
            Just(json!([[]])),
            Just(json!({})),
            Just(json!({ "a": "backend" })),
            Just(json!([7])),
        ],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let forge = Forge::new();
            let world = world_of(&forge.key());
            let past_is_fine = ["nbf", "iat"].contains(&name) && value.as_f64() == Some(0.0);
            let answer = ask(&world, &forge.claims(&claims_with(name, value.clone()))).await;
            assert!(past_is_fine || answer.status == 401, "{name}: {value}");
        });
    }

    #[test]
    fn arbitrary_text_is_no_assertion(text in "[ -~]{0,200}", dots in "[A-Za-z0-9_.-]{0,200}") {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let world = world_of(&Forge::new().key());
            for text in [text, dots] {
                let encoded: String = text.bytes().map(|byte| format!("%{byte:02X}")).collect();
                assert!([400, 401].contains(&ask(&world, &encoded).await.status));
            }
        });
    }
}

/// A host stores the keys of its clients as the document that it writes. Nothing by which a key is
/// found may be lost in it.
#[test]
fn a_key_set_that_was_written_is_read_back_as_it_was() {
    let certificate = b"the DER of a certificate";
    let mut keys: Vec<Jwk> = Vec::new();
    for (number, (algorithm, pem)) in private_keys().into_iter().enumerate() {
        let key =
            AssertionKey::from_pem_for(algorithm, pem).unwrap().with_kid(format!("key-{number}"));
        keys.push(key.public_jwk().unwrap());
        let named = key
            .certificate(certificate)
            .certificate_by_sha1(certificate)
            .with_kid(format!("named-{number}"));
        keys.push(named.public_jwk().unwrap());
    }
    // An RSA key that names no algorithm is for both, RS256 and PS256.
    let mut either = json!(keys[6]);
    let either = either.as_object_mut().unwrap();
    assert_eq!(either.remove("alg"), Some("RS256".into()));
    either.insert("kid".into(), "either".into());
    keys.push(Jwk::from_json(json!(either).to_string().as_bytes()).unwrap());
    let keys = set(keys);
    assert_eq!(keys.keys.len(), 11);
    assert_eq!(JwkSet::from_json(json!(keys).to_string().as_bytes()).unwrap(), keys);
}

/// Requirement 63: keys that are off the curve, of small order, too short, or for another use
/// verify nothing.
#[test]
fn keys_with_which_anybody_could_sign_are_refused() {
    let p384 = AssertionKey::from_pem(&private_keys()[2].1).unwrap().public_jwk().unwrap();
    let mut jwk = json!(p384);
    assert!(Jwk::from_json(jwk.to_string().as_bytes()).is_ok());
    jwk["x"] = jwk["y"].clone();
    assert!(Jwk::from_json(jwk.to_string().as_bytes()).is_err(), "off the curve");
    jwk["x"] = URL_SAFE_NO_PAD.encode([0; 48]).into();
    jwk["y"] = URL_SAFE_NO_PAD.encode([0; 48]).into();
    assert!(Jwk::from_json(jwk.to_string().as_bytes()).is_err(), "zero");
    let mut jwk = json!(p384);
    jwk["alg"] = "ES256".into();
    assert!(Jwk::from_json(jwk.to_string().as_bytes()).is_err(), "another curve's algorithm");
    let mut jwk = json!(p384);
    jwk["crv"] = "P-256".into();
    assert!(Jwk::from_json(jwk.to_string().as_bytes()).is_err(), "another curve");
    assert!(VerificationKeys::from_jwks(&set([p384])).is_ok());
}

/// `Debug` shows neither a client's HMAC secret nor an assertion.
#[tokio::test]
async fn neither_keys_nor_assertions_show() {
    let forge = Forge::new();
    let world = world_of(&forge.key());
    let assertion = forge.claims(&claims());
    let answer = ask(&world, &assertion).await;
    let replayed = ask(&world, &assertion).await;
    let signature = assertion.rsplit('.').next().unwrap();
    for text in
        world.events.lines().iter().chain([&format!("{answer:?}"), &format!("{replayed:?}")])
    {
        assert!(!text.contains(signature), "{text}");
    }
    let secret = ClientAuthentication::client_secret_jwt(SECRET).unwrap();
    let key = AssertionKey::from_secret(SECRET).unwrap();
    let built = ClientAssertion::new("backend", ISSUER, key.clone());
    for text in [
        format!("{secret:?}"),
        format!("{key:?}"),
        format!("{built:?}"),
        format!("{:?}", client("x", secret.clone())),
    ] {
        assert!(!text.contains("secret of more"), "{text}");
    }
    let _ = ClientSecret::digest_of("unused");
}
