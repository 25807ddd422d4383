//! Conversion from and to the types of the crate `jsonwebtoken`.

use aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED_SIGNING;
use password_grant::Algorithm;
use password_grant::assertion::{AssertionKey, ClientAssertion};
use password_grant::jose::{Jwk, JwkSet, KeyError};
use serde_json::{Value, json};

use crate::common::ISSUER;
use crate::common::private_keys::ec;
use crate::support::{jwk, private_keys, with, without};

/// A host may pass keys in the types of `jsonwebtoken`, and verify with that crate what was signed
/// here.
#[test]
fn keys_go_to_jsonwebtoken_and_come_back() {
    use jsonwebtoken::jwk as theirs;
    for (algorithm, pem) in private_keys() {
        let key = AssertionKey::from_pem_for(algorithm, &pem).unwrap();
        let own = key.public_jwk().unwrap().with_certificate(b"a certificate");
        let model = theirs::Jwk::from(&own);
        let back = Jwk::try_from(&model).unwrap();
        assert_eq!(back, own, "{algorithm}");
        // The JSON is the same as that of `jsonwebtoken`, except for the algorithm that it does not
        // know.
        let written: theirs::Jwk = serde_json::from_value(json!(own)).unwrap();
        let known = jsonwebtoken::Algorithm::try_from(algorithm);
        assert_eq!(known.is_err(), algorithm == Algorithm::Es512);
        let Ok(known) = known else { continue };
        assert_eq!(written, model, "{algorithm}");
        assert_eq!(Algorithm::try_from(known).unwrap(), algorithm);

        let assertion = ClientAssertion::new("backend", ISSUER, key).sign().unwrap();
        let mut validation = jsonwebtoken::Validation::new(known);
        validation.set_audience(&[ISSUER]);
        let decoding = jsonwebtoken::DecodingKey::from_jwk(&model).unwrap();
        jsonwebtoken::decode::<Value>(&assertion, &decoding, &validation).unwrap();
    }
}

#[test]
fn a_key_of_jsonwebtoken_is_checked_as_one_in_json_is() {
    use jsonwebtoken::jwk as theirs;
    let good = jwk(Algorithm::Es256, &ec(&ECDSA_P256_SHA256_FIXED_SIGNING));
    let model = |key: &Value| serde_json::from_value::<theirs::Jwk>(key.clone()).unwrap();
    Jwk::try_from(&model(&good)).unwrap();
    for (key, fault) in [
        (with(good.clone(), "use", "enc"), KeyError::Purpose),
        (with(good.clone(), "key_ops", json!(["sign"])), KeyError::Purpose),
        (with(good.clone(), "alg", "ES384"), KeyError::Algorithm),
        (with(good.clone(), "alg", "RSA-OAEP"), KeyError::UnknownAlgorithm("RSA_OAEP".into())),
        (with(good.clone(), "kid", ""), KeyError::Malformed("kid")),
        (with(good.clone(), "x", good["y"].clone()), KeyError::Invalid),
        (with(good.clone(), "y", "AA"), KeyError::Malformed("y")),
        (without(good.clone(), "y"), KeyError::Malformed("y")),
        (with(good.clone(), "crv", "Ed25519"), KeyError::Unsupported),
        (json!({ "kty": "oct", "k": "AAAA" }), KeyError::Private),
    ] {
        assert_eq!(Jwk::try_from(&model(&key)).unwrap_err(), fault, "{key}");
    }
    let set = theirs::JwkSet { keys: vec![model(&good), model(&with(good.clone(), "use", "enc"))] };
    let own = JwkSet::try_from(&set).unwrap();
    assert_eq!((own.keys.len(), own.unusable()[0].position()), (1, 1));
    assert_eq!(own.unusable()[0].kid(), good["kid"].as_str());
    let sent = theirs::JwkSet::from(&own);
    assert_eq!(JwkSet::try_from(&sent).unwrap().keys, own.keys);
}
