//! Signing keys and public keys: reading, thumbprints, rotation, and the documents that publish
//! them.

use std::sync::Arc;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use password_grant::event::AccessFault;
use password_grant::jose::{Jwk, JwkSet, KeyError, SigningKey, VerificationKeys};
use password_grant::{Algorithm, BoxError, JwtIssuer, PasswordGrant, SigningKeys};
use serde_json::{Value, json};

use crate::common::private_keys::{pkcs8_of_rsa, rsa_pair};
use crate::common::{AUDIENCE, ISSUER, Users, World, clients, encode};
use crate::support::{Forge, engine, every_kind, issue, p256, pem, verifier};

/// The RSAPrivateKey inside a PKCS#8 structure: the octet string at its end (RFC 5208 section 5).
fn pkcs1_of(pkcs8: &[u8]) -> Vec<u8> {
    // SEQUENCE { INTEGER 0, SEQUENCE { rsaEncryption, NULL }, OCTET STRING { … } }, with lengths of
    // two bytes.
    let header = pkcs8.windows(2).position(|bytes| bytes == [0x04, 0x82]).unwrap();
    pkcs8[header + 4..].to_vec()
}

/// The example of RFC 7638 section 3.1, and that of RFC 8037 appendix A.3.
#[test]
fn the_thumbprint_is_that_of_rfc_7638() {
    let rsa = br#"{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256"}"#;
    assert_eq!(Jwk::from_json(rsa).unwrap().kid(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    let ed = br#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    assert_eq!(Jwk::from_json(ed).unwrap().kid(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
}

#[test]
fn private_keys_are_read_from_every_common_pem() {
    let p256 = p256();
    let sec1 = {
        use aws_lc_rs::encoding::{AsDer, EcPrivateKeyRfc5915Der};
        AsDer::<EcPrivateKeyRfc5915Der<'_>>::as_der(&p256.private_key()).unwrap().as_ref().to_vec()
    };
    let ed = Ed25519KeyPair::generate().unwrap();
    let rsa_pair = rsa_pair();
    let pkcs1 = pkcs1_of(&pkcs8_of_rsa(&rsa_pair));
    for (text, algorithm) in [
        (pem("PRIVATE KEY", ed.to_pkcs8().unwrap().as_ref()), Some(Algorithm::EdDsa)),
        (pem("PRIVATE KEY", ed.to_pkcs8v1().unwrap().as_ref()), Some(Algorithm::EdDsa)),
        (pem("EC PRIVATE KEY", &sec1), Some(Algorithm::Es256)),
        (format!("a comment\n{}", pem("EC PRIVATE KEY", &sec1)), Some(Algorithm::Es256)),
        (pem("PRIVATE KEY", &pkcs8_of_rsa(&rsa_pair)), Some(Algorithm::Rs256)),
        (pem("RSA PRIVATE KEY", &pkcs1), Some(Algorithm::Rs256)),
        (pem("PUBLIC KEY", ed.public_key().as_ref()), None),
        (pem("PRIVATE KEY", b"garbage"), None),
        (pem("EC PRIVATE KEY", b"garbage"), None),
        (pem("RSA PRIVATE KEY", b"garbage"), None),
        ("not a pem".to_owned(), None),
        (String::new(), None),
    ] {
        let read =
            SigningKeys::from_pem(&text).ok().map(|keys| keys.public_jwk().unwrap().algorithm());
        assert_eq!(read, algorithm, "{text}");
    }
}

/// Requirement 48.
#[test]
fn keys_that_are_too_short_are_refused() {
    assert_eq!(
        SigningKeys::from_hs256_secret(&[7; 31]).unwrap_err(),
        KeyError::ShortSecret { found: 31, needed: 32 }
    );
    assert!(SigningKeys::from_hs256_secret(&[7; 32]).is_ok());
    let modulus = |bytes: usize, first: u8| {
        let mut modulus = vec![0xff; bytes];
        modulus[0] = first;
        format!(r#"{{"kty":"RSA","n":"{}","e":"AQAB"}}"#, encode(modulus))
    };
    assert_eq!(
        Jwk::from_json(modulus(255, 0xff).as_bytes()).unwrap_err(),
        KeyError::ShortRsaKey { found: 2040 }
    );
    assert_eq!(
        Jwk::from_json(modulus(256, 0x7f).as_bytes()).unwrap_err(),
        KeyError::ShortRsaKey { found: 2047 }
    );
    assert!(Jwk::from_json(modulus(256, 0x80).as_bytes()).is_ok());
}

/// Requirement 63.
#[test]
fn what_is_published_or_fetched_as_a_public_key_is_read_strictly() {
    let ed = Forge::new().keys.public_jwk().unwrap();
    let good = serde_json::to_value(&ed).unwrap();
    let with = |name: &str, value: Value| {
        let mut key = good.clone();
        key[name] = value;
        Jwk::from_json(key.to_string().as_bytes())
    };
    assert_eq!(with("unknown", json!(1)).unwrap(), ed);
    for private in ["d", "p", "q", "dp", "dq", "qi", "oth", "k"] {
        assert_eq!(with(private, json!("AQ")).unwrap_err(), KeyError::Private, "{private}");
    }
    for (name, value, reason) in [
        ("use", json!("enc"), KeyError::Purpose),
        ("use", json!(1), KeyError::Malformed("use")),
        ("key_ops", json!(["sign"]), KeyError::Purpose),
        ("key_ops", json!([]), KeyError::Purpose),
        ("key_ops", json!("verify"), KeyError::Purpose),
        ("alg", json!("RS256"), KeyError::Algorithm),
        ("alg", json!("ES256"), KeyError::Algorithm),
        ("alg", json!("HS256"), KeyError::Algorithm),
        ("alg", json!("Ed448"), KeyError::UnknownAlgorithm("Ed448".into())),
        ("alg", json!("ed25519"), KeyError::UnknownAlgorithm("ed25519".into())),
        ("alg", json!("none"), KeyError::UnknownAlgorithm("none".into())),
        ("alg", json!(7), KeyError::Malformed("alg")),
        ("kty", json!("EC"), KeyError::Unsupported),
        ("kty", json!("RSA"), KeyError::Unsupported), // no RSA key has a curve
        ("kty", Value::Null, KeyError::Malformed("kty")),
        ("crv", json!("X25519"), KeyError::Unsupported),
        ("crv", json!("ed25519"), KeyError::Unsupported),
        ("crv", Value::Null, KeyError::Unsupported),
        ("x", json!("AQ"), KeyError::Malformed("x")),
        ("x", json!(good["x"].as_str().unwrap().to_owned() + "="), KeyError::Malformed("x")),
        ("x", json!("!".repeat(43)), KeyError::Malformed("x")),
        ("x", Value::Null, KeyError::Malformed("x")),
        ("kid", json!(7), KeyError::Malformed("kid")),
        ("kid", json!(""), KeyError::Malformed("kid")),
        ("kid", json!("k".repeat(257)), KeyError::Malformed("kid")),
        ("x5t", json!("t".repeat(65)), KeyError::Malformed("x5t")),
    ] {
        assert_eq!(with(name, value.clone()).unwrap_err(), reason, "{name} {value}");
    }
    // Members that some programs write as null if they have no value.
    for absent in ["d", "k", "oth", "use", "key_ops", "alg", "x5t", "x5t#S256"] {
        assert_eq!(with(absent, Value::Null).unwrap(), ed, "{absent}");
    }
    assert!(with("key_ops", json!(["verify"])).is_ok());
    for text in ["", "[]", "null", r#"{"kty":"oct","k":"AQ"}"#, r#"{"kty":"OKP","kty":"OKP"}"#] {
        assert!(Jwk::from_json(text.as_bytes()).is_err(), "{text}");
    }
    // Points that are off the curve, or not points at all.
    let (zero, one) = (encode([0; 32]), encode([1; 32]));
    for (x, y) in [(&zero, &zero), (&one, &one), (&zero, &one)] {
        let jwk = format!(r#"{{"kty":"EC","crv":"P-256","x":"{x}","y":"{y}"}}"#);
        assert_eq!(Jwk::from_json(jwk.as_bytes()).unwrap_err(), KeyError::Invalid);
    }
    // Ed25519: points of small order, for which anybody can sign, and other spellings of them.
    let (mut identity, mut minus_one, mut p_itself) = ([0; 32], [0xff; 32], [0xff; 32]);
    identity[0] = 1;
    (minus_one[0], minus_one[31]) = (0xec, 0x7f);
    (p_itself[0], p_itself[31]) = (0xed, 0x7f);
    let eight = "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a";
    let eight: [u8; 32] =
        std::array::from_fn(|i| u8::from_str_radix(&eight[2 * i..2 * i + 2], 16).unwrap());
    for weak in [[0; 32], identity, minus_one, p_itself, [0xff; 32], eight] {
        for sign in [0, 0x80] {
            let mut x = weak;
            x[31] |= sign;
            assert_eq!(with("x", json!(encode(x))).unwrap_err(), KeyError::Invalid, "{x:?}");
        }
    }
    let mut even = vec![0xff; 256];
    even[255] = 0xfe;
    let even = format!(r#"{{"kty":"RSA","n":"{}","e":"AQAB"}}"#, encode(even));
    assert_eq!(Jwk::from_json(even.as_bytes()).unwrap_err(), KeyError::Invalid);
    let n = encode([0xff; 256]);
    let rsa = |n: &str, e: &str| {
        Jwk::from_json(format!(r#"{{"kty":"RSA","n":"{n}","e":"{e}"}}"#).as_bytes())
    };
    for e in ["", "AA", "AQ", "Ag", "AAE", &encode([0xff; 9]), "AQAB=", "AQ AB"] {
        assert!(rsa(&n, e).is_err(), "{e}");
    }
    // Leading zeros, which some publishers write, do not change a key and do not make a short one
    // long enough.
    let padded = |zeros: usize, number: &[u8]| encode([&vec![0; zeros], number].concat());
    for (zeros_of_n, zeros_of_e) in [(1, 0), (0, 1), (1, 1), (7, 5)] {
        let key = rsa(&padded(zeros_of_n, &[0xff; 256]), &padded(zeros_of_e, &[1, 0, 1])).unwrap();
        assert_eq!(key, rsa(&n, "AQAB").unwrap());
        assert_eq!(key.kid(), rsa(&n, "AQAB").unwrap().kid());
        assert_eq!(json!(key)["n"], n);
    }
    assert_eq!(
        rsa(&padded(1, &[0xff; 255]), "AQAB").unwrap_err(),
        KeyError::ShortRsaKey { found: 2040 }
    );
    assert_eq!(rsa(&padded(300, &[]), "AQAB").unwrap_err(), KeyError::ShortRsaKey { found: 0 });
    // A coordinate has its full length and no more (RFC 7518 section 6.2.1.2).
    let p256 = json!(SigningKeys::generate().unwrap().public_jwk().unwrap());
    for (bytes, changed) in
        [(0, padded(1, &decoded(&p256["x"]))), (1, encode(&decoded(&p256["x"])[1..]))]
    {
        let mut key = p256.clone();
        key["x"] = json!(changed);
        assert_eq!(
            Jwk::from_json(key.to_string().as_bytes()).unwrap_err(),
            KeyError::Malformed("x"),
            "{bytes}"
        );
    }
}

fn decoded(value: &Value) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(value.as_str().unwrap()).unwrap()
}

#[test]
fn a_key_set_is_read_as_a_whole() {
    let key = |index: usize| {
        let mut key =
            serde_json::to_value(SigningKeys::generate().unwrap().public_jwk().unwrap()).unwrap();
        key["kid"] = json!(format!("key-{index}"));
        key
    };
    let set = |keys: Vec<Value>| JwkSet::from_json(json!({ "keys": keys }).to_string().as_bytes());
    assert_eq!(set(vec![key(1), key(2)]).unwrap().keys.len(), 2);
    assert_eq!(set((0..20).map(key).collect()).unwrap().keys.len(), 20);
    assert_eq!(set((0..21).map(key).collect()).unwrap_err(), KeyError::Set);
    assert_eq!(set(vec![key(1), key(1)]).unwrap_err(), KeyError::RepeatedKid);
    assert_eq!(set(vec![]).unwrap_err(), KeyError::Empty);
    assert!(matches!(set(vec![json!(7)]).unwrap_err(), KeyError::Unusable(_)));
    // RFC 7517 section 5: unknown kinds of keys are passed over, but a private key is refused.
    assert_eq!(set(vec![json!({ "kty": "future" }), key(1)]).unwrap().keys.len(), 1);
    assert_eq!(
        set(vec![json!({ "kty": "oct", "k": "AQ" }), key(1)]).unwrap_err(),
        KeyError::Private
    );
    assert_eq!(JwkSet::from_json(br#"{"keys":{}}"#).unwrap_err(), KeyError::Set);
    assert_eq!(JwkSet::from_json(br#"{"keys":[],"keys":[]}"#).unwrap_err(), KeyError::Set);
}

/// Publish the next key, sign with it, retire the old one: no token is refused in between.
#[tokio::test]
async fn keys_are_rotated_without_a_gap() {
    let (old, new) = (SigningKeys::generate().unwrap(), SigningKeys::generate().unwrap());
    let announced = old.clone().publish(new.public_jwk().unwrap()).unwrap();
    let switched = new.clone().publish(old.public_jwk().unwrap()).unwrap();
    let (by_old, by_new) = (issue(&engine(&announced)).await, issue(&engine(&switched)).await);
    for keys in [&announced, &switched] {
        for token in [&by_old, &by_new] {
            verifier(keys, Algorithm::Es256).verify(token).await.unwrap();
        }
        assert_eq!(keys.public_keys().keys.len(), 2);
    }
    let retired = verifier(&new, Algorithm::Es256);
    assert_eq!(retired.verify(&by_old).await.unwrap_err(), AccessFault::NotOurs);
    retired.verify(&by_new).await.unwrap();
    assert_eq!(old.clone().publish(old.public_jwk().unwrap()).unwrap_err(), KeyError::RepeatedKid);
    let alike = new.public_jwk().unwrap().with_kid(old.public_jwk().unwrap().kid());
    let mut twice = JwkSet::default();
    twice.keys.extend([old.public_jwk().unwrap(), alike]);
    assert_eq!(VerificationKeys::from_jwks(&twice).unwrap_err(), KeyError::RepeatedKid);
}

#[test]
fn a_key_that_does_not_sign_what_its_public_half_verifies_is_found_when_the_engine_is_built() {
    struct Mismatched(Jwk);
    impl SigningKey for Mismatched {
        fn algorithm(&self) -> Algorithm {
            Algorithm::Es256
        }
        fn sign(&self, _: &[u8], out: &mut Vec<u8>) -> Result<(), BoxError> {
            out.extend([0; 64]);
            Ok(())
        }
        fn public_jwk(&self) -> Option<Jwk> {
            Some(self.0.clone())
        }
    }
    let jwk = SigningKeys::generate().unwrap().public_jwk().unwrap();
    let tokens = JwtIssuer::new(SigningKeys::from_key(Arc::new(Mismatched(jwk))), AUDIENCE);
    assert!(PasswordGrant::builder(ISSUER, clients(), Users::default(), tokens).build().is_err());
}

#[tokio::test]
async fn the_documents_say_what_is_on_and_hold_nothing_private() {
    for (algorithm, keys) in every_kind() {
        let grant = engine(&keys);
        let metadata: Value = serde_json::from_slice(grant.metadata().body()).unwrap();
        let jwks: Value = serde_json::from_slice(grant.jwks().body()).unwrap();
        let mut expected = json!({
            "issuer": ISSUER,
            "token_endpoint": "https://id.example.com/oauth/token",
            "jwks_uri": "https://id.example.com/.well-known/jwks.json",
            "response_types_supported": [],
            "grant_types_supported": ["password"],
            "token_endpoint_auth_methods_supported": [
                "client_secret_basic", "client_secret_post", "private_key_jwt",
                "client_secret_jwt", "none"
            ],
            "token_endpoint_auth_signing_alg_values_supported": [
                "EdDSA", "Ed25519", "ES256", "ES384", "ES512", "RS256", "RS384", "RS512",
                "PS256", "PS384", "PS512", "HS256", "HS384", "HS512"
            ],
        });
        if algorithm == Algorithm::Hs256 {
            expected.as_object_mut().unwrap().remove("jwks_uri");
            assert_eq!(jwks, json!({ "keys": [] }));
        } else {
            let key = &jwks["keys"][0];
            assert_eq!((&key["use"], &key["alg"]), (&json!("sig"), &json!(algorithm.as_str())));
            for private in ["d", "p", "q", "dp", "dq", "qi", "k"] {
                assert_eq!(key.get(private), None);
            }
        }
        assert_eq!(metadata, expected);
        assert_eq!(grant.metadata().header("content-type"), Some("application/json"));
    }
    let world = World::with(Users::default(), |builder| {
        builder
            .scopes("profile orders:read".parse().unwrap())
            .token_endpoint("https://id.example.com/token")
            .metadata_member("service_documentation", "https://example.com/docs")
            .authentication_methods([password_grant::AuthenticationMethod::ClientSecretBasic])
    });
    let metadata: Value = serde_json::from_slice(world.grant.metadata().body()).unwrap();
    assert_eq!(metadata["scopes_supported"], json!(["profile", "orders:read"]));
    assert_eq!(metadata["token_endpoint"], "https://id.example.com/token");
    assert_eq!(metadata["service_documentation"], "https://example.com/docs");
    assert_eq!(metadata["token_endpoint_auth_methods_supported"], json!(["client_secret_basic"]));
    // Requirement 123: the member is present if and only if a method with a JWT is on.
    assert_eq!(metadata.get("token_endpoint_auth_signing_alg_values_supported"), None);
}
