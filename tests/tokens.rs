//! Access tokens: what is issued (RFC 9068), and who accepts it (RFC 6750).

mod common;

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use common::{AUDIENCE, Answer, FORM, GOOD, ISSUER, Users, World, encode, noon, segment};
use jsonwebtoken::jwk::JwkSet as IndependentJwkSet;
use password_grant::event::AccessFault;
use password_grant::jose::{Jwk, JwkSet, KeyError, SigningKey, VerificationKeys};
use password_grant::resource::{BearerRequest, TokenLookup};
use password_grant::testing::{InMemoryTokens, ManualClock};
use password_grant::token::{OpaqueIssuer, TokenDetails, TokenDigest, TokenStore};
use password_grant::{
    AccessTokenVerifier, Algorithm, BoxError, Environment, HttpRequest, JwtIssuer, PasswordGrant,
    SigningKeys, TokenIssuer, async_trait,
};
use serde_json::{Value, json};

const SECRET: &[u8; 32] = b"0123456789abcdef0123456789abcdef";

fn pem(kind: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let lines: Vec<_> =
        body.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n", lines.join("\n"))
}

fn p256() -> EcdsaKeyPair {
    EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap()
}

fn rsa() -> RsaKeyPair {
    RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap()
}

fn pkcs8_of_rsa(pair: &RsaKeyPair) -> Vec<u8> {
    use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
    AsDer::<Pkcs8V1Der<'_>>::as_der(pair).unwrap().as_ref().to_vec()
}

/// The RSAPrivateKey inside a PKCS#8 structure: the octet string at its end (RFC 5208 section 5).
fn pkcs1_of(pkcs8: &[u8]) -> Vec<u8> {
    // SEQUENCE { INTEGER 0, SEQUENCE { rsaEncryption, NULL }, OCTET STRING { … } }, with lengths of two bytes.
    let header = pkcs8.windows(2).position(|bytes| bytes == [0x04, 0x82]).unwrap();
    pkcs8[header + 4..].to_vec()
}

/// One set of keys for each algorithm.
fn every_kind() -> Vec<(Algorithm, SigningKeys)> {
    let ed = Ed25519KeyPair::generate().unwrap();
    vec![
        (
            Algorithm::EdDsa,
            SigningKeys::from_pem(pem("PRIVATE KEY", ed.to_pkcs8v1().unwrap().as_ref())).unwrap(),
        ),
        (
            Algorithm::Es256,
            SigningKeys::from_pem(pem("PRIVATE KEY", p256().to_pkcs8v1().unwrap().as_ref()))
                .unwrap(),
        ),
        (
            Algorithm::Rs256,
            SigningKeys::from_pem(pem("PRIVATE KEY", &pkcs8_of_rsa(&rsa()))).unwrap(),
        ),
        (Algorithm::Hs256, SigningKeys::from_hs256_secret(SECRET).unwrap()),
    ]
}

fn engine(keys: &SigningKeys) -> PasswordGrant {
    let tokens = JwtIssuer::new(keys.clone(), AUDIENCE);
    let builder = PasswordGrant::builder(ISSUER, common::clients(), Users::default(), tokens);
    builder
        .environment(&Environment::new().clock(ManualClock::at(noon())).observer(()))
        .build()
        .unwrap()
}

async fn issue(grant: &PasswordGrant) -> String {
    let form = format!("{GOOD}&client_id=mobile");
    let request =
        HttpRequest::new("POST", None, [("content-type", FORM.as_bytes())], form.as_bytes());
    Answer::from(grant.token(request).await).access_token()
}

fn verifier(keys: &SigningKeys, algorithm: Algorithm) -> AccessTokenVerifier {
    let keys = keys.verification_keys().unwrap();
    let verifier = AccessTokenVerifier::new(ISSUER, AUDIENCE, [algorithm], keys).unwrap();
    verifier.environment(&Environment::new().clock(ManualClock::at(noon())).observer(()))
}

/// Requirement 124.
#[tokio::test]
async fn a_jwt_has_the_header_and_claims_of_rfc_9068_with_every_algorithm() {
    for (algorithm, keys) in every_kind() {
        let token = issue(&engine(&keys)).await;
        let header = segment(&token, 0);
        assert_eq!(
            (&header["typ"], &header["alg"]),
            (&json!("at+jwt"), &json!(algorithm.as_str()))
        );
        let kid = header["kid"].as_str().unwrap();
        match keys.public_jwk() {
            Some(jwk) => assert_eq!(kid, jwk.kid()),
            None => assert_eq!(algorithm, Algorithm::Hs256),
        }
        let claims = segment(&token, 1);
        let expected = json!({
            "iss": ISSUER, "sub": "user-1", "aud": AUDIENCE, "client_id": "mobile", "scope": "profile",
            "iat": noon().unix_seconds(), "exp": noon().unix_seconds() + 600, "jti": claims["jti"],
        });
        assert_eq!(claims, expected);
        assert_eq!(claims["jti"].as_str().unwrap().len(), 22);

        let verified = verifier(&keys, algorithm).verify(&token).await.unwrap();
        assert_eq!(
            (verified.subject.as_str(), verified.client_id.as_str(), verified.scope.as_str()),
            ("user-1", "mobile", "profile")
        );
        assert_eq!(verified.expires_at, noon().unix_seconds() + 600);
    }
}

/// An implementation that is not ours reads our tokens with our published keys.
#[tokio::test]
async fn an_independent_implementation_accepts_the_tokens() {
    for (algorithm, keys) in every_kind() {
        let grant = engine(&keys);
        let token = issue(&grant).await;
        let mut validation = jsonwebtoken::Validation::new(algorithm.as_str().parse().unwrap());
        validation.set_audience(&[AUDIENCE]);
        validation.set_issuer(&[ISSUER]);
        let key = if algorithm == Algorithm::Hs256 {
            jsonwebtoken::DecodingKey::from_secret(SECRET)
        } else {
            let published: IndependentJwkSet = serde_json::from_slice(grant.jwks().body()).unwrap();
            let kid = segment(&token, 0)["kid"].as_str().unwrap().to_owned();
            jsonwebtoken::DecodingKey::from_jwk(published.find(&kid).unwrap()).unwrap()
        };
        let decoded = jsonwebtoken::decode::<Value>(&token, &key, &validation).unwrap();
        assert_eq!(decoded.claims["sub"], "user-1", "{algorithm}");
    }
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
    let rsa_pair = rsa();
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
    assert_eq!(SigningKeys::from_hs256_secret(&[7; 31]).unwrap_err(), KeyError::TooShort);
    assert!(SigningKeys::from_hs256_secret(&[7; 32]).is_ok());
    let modulus = |bytes: usize, first: u8| {
        let mut modulus = vec![0xff; bytes];
        modulus[0] = first;
        format!(r#"{{"kty":"RSA","n":"{}","e":"AQAB"}}"#, encode(modulus))
    };
    assert_eq!(Jwk::from_json(modulus(255, 0xff).as_bytes()).unwrap_err(), KeyError::TooShort);
    assert_eq!(Jwk::from_json(modulus(256, 0x7f).as_bytes()).unwrap_err(), KeyError::TooShort);
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
    // As fielded programs write what is not there.
    for absent in ["d", "k", "oth", "use", "key_ops", "alg", "x5t", "x5t#S256"] {
        assert_eq!(with(absent, Value::Null).unwrap(), ed, "{absent}");
    }
    assert!(with("key_ops", json!(["verify"])).is_ok());
    for text in ["", "[]", "null", r#"{"kty":"oct","k":"AQ"}"#, r#"{"kty":"OKP","kty":"OKP"}"#] {
        assert!(Jwk::from_json(text.as_bytes()).is_err(), "{text}");
    }
    // Off the curve, or no point at all.
    let (zero, one) = (encode([0; 32]), encode([1; 32]));
    for (x, y) in [(&zero, &zero), (&one, &one), (&zero, &one)] {
        let jwk = format!(r#"{{"kty":"EC","crv":"P-256","x":"{x}","y":"{y}"}}"#);
        assert_eq!(Jwk::from_json(jwk.as_bytes()).unwrap_err(), KeyError::Invalid);
    }
    // Ed25519: points of small order, under which anybody can sign, and other spellings of them.
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
    // Leading zeros, as some publishers write them, are no other key, and make no short one long.
    let padded = |zeros: usize, number: &[u8]| encode([&vec![0; zeros], number].concat());
    for (zeros_of_n, zeros_of_e) in [(1, 0), (0, 1), (1, 1), (7, 5)] {
        let key = rsa(&padded(zeros_of_n, &[0xff; 256]), &padded(zeros_of_e, &[1, 0, 1])).unwrap();
        assert_eq!(key, rsa(&n, "AQAB").unwrap());
        assert_eq!(key.kid(), rsa(&n, "AQAB").unwrap().kid());
        assert_eq!(json!(key)["n"], n);
    }
    assert_eq!(rsa(&padded(1, &[0xff; 255]), "AQAB").unwrap_err(), KeyError::TooShort);
    assert_eq!(rsa(&padded(300, &[]), "AQAB").unwrap_err(), KeyError::TooShort);
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
    // RFC 7517 section 5: kinds that are not understood are passed over; a leaked private key is not.
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
    assert!(
        PasswordGrant::builder(ISSUER, common::clients(), Users::default(), tokens)
            .build()
            .is_err()
    );
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
                "client_secret_basic", "client_secret_post", "private_key_jwt", "client_secret_jwt", "none"
            ],
            "token_endpoint_auth_signing_alg_values_supported": [
                "EdDSA", "Ed25519", "ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512",
                "HS256", "HS384", "HS512"
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
    // Requirement 123: present if, and only if, a method by a JWT is on.
    assert_eq!(metadata.get("token_endpoint_auth_signing_alg_values_supported"), None);
}

/// A key pair under our control, to sign what the issuer never would.
struct Forge {
    pair: Ed25519KeyPair,
    keys: SigningKeys,
}

impl Forge {
    fn new() -> Self {
        let pair = Ed25519KeyPair::generate().unwrap();
        let keys =
            SigningKeys::from_pem(pem("PRIVATE KEY", pair.to_pkcs8().unwrap().as_ref())).unwrap();
        Self { pair, keys }
    }

    fn verifier(&self) -> AccessTokenVerifier {
        verifier(&self.keys, Algorithm::EdDsa)
    }

    fn header(&self) -> Value {
        json!({ "typ": "at+jwt", "alg": "EdDSA", "kid": self.keys.public_jwk().unwrap().kid() })
    }

    fn claims() -> Value {
        let now = noon().unix_seconds();
        json!({
            "iss": ISSUER, "sub": "user-1", "aud": AUDIENCE, "client_id": "web", "scope": "profile",
            "iat": now, "exp": now + 600, "jti": "t-1",
        })
    }

    fn sign(&self, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", encode(header), encode(claims));
        format!("{signed}.{}", encode(self.pair.sign(signed.as_bytes())))
    }

    async fn judge(&self, header: &Value, claims: &Value) -> Result<(), AccessFault> {
        let token = self.sign(&header.to_string(), &claims.to_string());
        self.verifier().verify(&token).await.map(drop)
    }
}

fn changed(mut object: Value, name: &str, value: Value) -> Value {
    if value.is_null() {
        object.as_object_mut().unwrap().remove(name);
    } else {
        object[name] = value;
    }
    object
}

/// RFC 8725, RFC 9068 section 4, requirement 125; C15, C16, C17.
#[tokio::test]
async fn a_header_is_accepted_only_if_it_is_one_we_would_write() {
    let forge = Forge::new();
    let jwk = serde_json::to_value(forge.keys.public_jwk().unwrap()).unwrap();
    for (name, value, accepted) in [
        ("typ", json!("at+jwt"), true),
        ("typ", json!("AT+JWT"), true),
        ("typ", json!("application/at+jwt"), true),
        ("typ", json!("JWT"), false),
        ("typ", json!("client-authentication+jwt"), false),
        ("typ", json!(["at+jwt"]), false),
        ("typ", Value::Null, false),
        ("alg", json!("none"), false),
        ("alg", json!("None"), false),
        ("alg", json!("nOnE"), false),
        ("alg", json!(""), false),
        ("alg", json!("eddsa"), false),
        ("alg", json!("HS256"), false),
        ("alg", json!("RS256"), false),
        ("alg", json!(7), false),
        ("alg", Value::Null, false),
        ("kid", Value::Null, true), // one key fits
        ("kid", json!("unknown"), false),
        ("kid", json!(""), false),
        ("kid", json!(7), false),
        ("kid", json!("k".repeat(257)), false),
        ("crit", json!([]), false),
        ("crit", json!(["exp"]), false),
        ("b64", json!(true), false),
        ("b64", json!(false), false),
        ("zip", json!("DEF"), false),
        ("jwk", jwk.clone(), true), // never looked at
        ("jku", json!("https://evil.example.com"), true),
        ("x5u", json!("https://evil.example.com"), true),
        ("x5c", json!(["AQ"]), true),
    ] {
        let judged =
            forge.judge(&changed(forge.header(), name, value.clone()), &Forge::claims()).await;
        assert_eq!(
            judged,
            if accepted { Ok(()) } else { Err(AccessFault::NotOurs) },
            "{name} {value}"
        );
    }
    // Signed by a key that the header brings along.
    let thief = Forge::new();
    let own = serde_json::to_value(thief.keys.public_jwk().unwrap()).unwrap();
    for kid in [
        json!(forge.keys.public_jwk().unwrap().kid()),
        json!(thief.keys.public_jwk().unwrap().kid()),
    ] {
        let header = changed(changed(thief.header(), "jwk", own.clone()), "kid", kid);
        let token = thief.sign(&header.to_string(), &Forge::claims().to_string());
        assert_eq!(forge.verifier().verify(&token).await.unwrap_err(), AccessFault::NotOurs);
    }
}

/// C18, C20, R23; requirements 58, 125, 128.
#[tokio::test]
async fn claims_are_typed_and_compared_exactly() {
    let forge = Forge::new();
    let now = noon().unix_seconds();
    let no = Err(AccessFault::NotOurs);
    let mut table = vec![
        ("aud", json!([AUDIENCE, "https://other.example.com"]), Ok(())),
        ("aud", json!(["https://other.example.com"]), Err(AccessFault::Audience)),
        ("aud", json!([AUDIENCE, null]), no),
        ("aud", json!([]), Err(AccessFault::Audience)),
        ("aud", json!(format!("{AUDIENCE}/")), Err(AccessFault::Audience)),
        ("aud", json!({ "0": AUDIENCE }), no),
        ("iss", json!(format!("{ISSUER}/")), Err(AccessFault::Issuer)),
        ("iss", json!("https://id.example.co"), Err(AccessFault::Issuer)),
        ("iss", json!([ISSUER]), no),
        ("iss", json!(""), Err(AccessFault::Issuer)),
        ("scope", Value::Null, Ok(())),
        ("scope", json!("a  b"), no),
        ("scope", json!(""), Ok(())),
        ("scope", json!(" "), no),
        ("scope", json!(["profile"]), no),
        ("nbf", json!(now), Ok(())),
        ("nbf", json!(now + 30), Ok(())),
        ("nbf", json!(now + 31), Err(AccessFault::NotYetValid)),
        ("nbf", json!("0"), no),
        ("nbf", json!(1.5), Ok(())),
        ("nbf", json!(-1.5), no),
        // NumericDate may have a fraction: never to the token's advantage.
        ("nbf", json!(now as f64 + 30.5), Err(AccessFault::NotYetValid)),
        ("nbf", json!(now as f64 + 29.5), Ok(())),
        ("iat", json!(now as f64 + 29.5), Ok(())),
        ("iat", json!(now as f64 + 30.5), Err(AccessFault::NotYetValid)),
        ("iat", json!(1e9), Ok(())),
        ("exp", json!(now as f64 + 0.5), Ok(())),
        ("exp", json!(now as f64 - 28.5), Ok(())),
        ("exp", json!(now as f64 - 29.5), Err(AccessFault::Expired)),
        ("exp", json!(1e9), Err(AccessFault::Expired)),
        ("exp", json!(1.8e10), Ok(())),
        ("iat", json!(now + 30), Ok(())),
        ("iat", json!(now + 31), Err(AccessFault::NotYetValid)),
        ("exp", json!(now - 29), Ok(())), // within the skew
        ("exp", json!(now - 30), Err(AccessFault::Expired)),
        ("exp", json!(0), Err(AccessFault::Expired)),
        ("exp", json!(u64::MAX), Ok(())),
        ("cnf", json!({ "jkt": "x" }), Err(AccessFault::Bound)),
        ("cnf", json!({}), Err(AccessFault::Bound)),
        ("cnf", json!(false), Err(AccessFault::Bound)),
        ("roles", json!(["staff"]), Ok(())),
    ];
    for name in ["iss", "sub", "aud", "client_id", "jti"] {
        table.extend(
            [Value::Null, json!(7), json!(true), json!(["x", 1]), json!({})]
                .map(|value| (name, value, no)),
        );
    }
    for name in ["exp", "iat"] {
        let wrong = [
            Value::Null,
            json!(now.to_string()),
            json!(-1),
            json!(1e300),
            json!(true),
            json!([now]),
        ];
        table.extend(wrong.map(|value| (name, value, no)));
    }
    for (name, value, expected) in table {
        let judged =
            forge.judge(&forge.header(), &changed(Forge::claims(), name, value.clone())).await;
        assert_eq!(judged, expected, "{name} {value}");
    }
}

/// A token whose `iat` has a fraction is older than a log-out in the rest of that second.
#[tokio::test]
async fn a_fraction_of_a_second_makes_no_token_younger_than_a_log_out() {
    let forge = Forge::new();
    let clock = ManualClock::at(noon());
    let tokens = JwtIssuer::new(forge.keys.clone(), AUDIENCE);
    let builder = PasswordGrant::builder(ISSUER, common::clients(), Users::default(), tokens);
    let grant =
        builder.environment(&Environment::new().clock(clock.clone()).observer(())).build().unwrap();
    let verifier = forge
        .verifier()
        .environment(&Environment::new().clock(clock.clone()))
        .revocations(grant.revocations());
    let issued = |at: f64| {
        forge.sign(
            &forge.header().to_string(),
            &changed(Forge::claims(), "iat", json!(at)).to_string(),
        )
    };
    let now = noon().unix_seconds() as f64;
    let (before, after) = (issued(now + 0.25), issued(now + 1.0));
    verifier.verify(&before).await.unwrap();
    clock.advance(Duration::from_millis(900));
    let context = password_grant::RequestContext::new();
    grant.log_out_everywhere(&"user-1".into(), &context).await.unwrap();
    assert_eq!(verifier.verify(&before).await.unwrap_err(), AccessFault::Revoked);
    verifier.verify(&after).await.unwrap();
}

/// With serde_json's `arbitrary_precision` off, its marker is a member like any other.
#[tokio::test]
async fn no_object_is_taken_for_a_number() {
    let forge = Forge::new();
    let marked = json!({ "$serde_json::private::Number": "1800000600" });
    assert_eq!(
        forge.judge(&forge.header(), &changed(Forge::claims(), "exp", marked.clone())).await,
        Err(AccessFault::NotOurs)
    );
    let mut note = marked;
    note["role"] = json!("user");
    let claims = changed(Forge::claims(), "note", note.clone());
    let token = forge.sign(&forge.header().to_string(), &claims.to_string());
    assert_eq!(forge.verifier().verify(&token).await.unwrap().claims["note"], note);
}

/// What a look-up is promised, it gets: a token of the right characters and length.
#[tokio::test]
async fn a_look_up_is_never_asked_for_what_cannot_be_a_token() {
    struct Never;
    #[async_trait]
    impl TokenLookup for Never {
        async fn look_up(&self, token: &str) -> Result<Option<TokenDetails>, BoxError> {
            panic!("asked for {token:?}")
        }
    }
    let verifier = AccessTokenVerifier::by_lookup(ISSUER, AUDIENCE, Never)
        .environment(&Environment::new().observer(()));
    for token in ["", "a b", "a\r\nb", "a\0", "'", "=", &"a".repeat(8193)] {
        assert_eq!(verifier.verify(token).await.unwrap_err(), AccessFault::NotOurs);
    }
    let request = BearerRequest::new([("authorization", &b"Bearer abc"[..])], None);
    let lookup = AccessTokenVerifier::by_lookup(ISSUER, AUDIENCE, InMemoryLookup)
        .environment(&Environment::new().observer(()));
    assert_eq!(
        lookup.authorize(request, "").await.unwrap_err().status(),
        403,
        "an empty setting lets nobody in"
    );
}

/// Knows every token.
struct InMemoryLookup;

#[async_trait]
impl TokenLookup for InMemoryLookup {
    async fn look_up(&self, _: &str) -> Result<Option<TokenDetails>, BoxError> {
        let mut details = TokenDetails::new(ISSUER, "user-1", "web", AUDIENCE, u64::MAX);
        details.scope = "profile".parse()?;
        Ok(Some(details))
    }
}

/// C19, C21, C22; RFC 7515 section 7.1.
#[tokio::test]
async fn only_a_strict_compact_jws_of_json_objects_without_repeated_members_is_read() {
    let forge = Forge::new();
    let (header, claims) = (forge.header().to_string(), Forge::claims().to_string());
    let good = forge.sign(&header, &claims);
    forge.verifier().verify(&good).await.unwrap();
    let parts: Vec<_> = good.split('.').collect();
    let (first, second, third) = (parts[0], parts[1], parts[2]);

    let nested =
        format!("{},\"x\":{{\"a\":1,\"b\":{{\"c\":1,\"c\":2}}}}}}", &claims[..claims.len() - 1]);
    let deep = format!(
        "{},\"x\":{}1{}}}",
        &claims[..claims.len() - 1],
        "[".repeat(3000),
        "]".repeat(3000)
    );
    let infinite = claims.replace(&(noon().unix_seconds() + 600).to_string(), "1e400");
    let huge =
        claims.replace(&(noon().unix_seconds() + 600).to_string(), "99999999999999999999999999");
    let mut bad = vec![
        format!("{first}.{second}."),
        format!("{first}.{second}"),
        format!("{first}..{third}"),
        format!(".{second}.{third}"),
        format!("{good}."),
        format!("{good}.x.y"), // a JWE has five segments
        format!("{first}.{second}.{third}="),
        format!("{first}.{second}.{}", &third[1..]),
        format!(" {good}"),
        format!("{good}\n"),
        format!("{}.{second}.{third}", first.replace('e', "+")),
        String::new(),
        "..".to_owned(),
        ".".repeat(8000),
        "a".repeat(8193),
        forge.sign(&header, "[]"),
        forge.sign(&header, "\"x\""),
        forge.sign(&header, "null"),
        forge.sign(&header, &format!("{claims}{claims}")),
        forge.sign(&header, &claims.replacen('{', "{\"sub\":\"user-2\",", 1)), // a repeated member
        forge.sign(&header, &claims.replacen('{', "{\"\\u0073ub\":\"user-2\",", 1)), // spelt otherwise
        forge.sign(&header, &nested),
        forge.sign(&header, &deep),
        forge.sign(&header, &infinite),
        forge.sign(&header, &huge),
        forge.sign(&header.replacen('{', "{\"alg\":\"none\",", 1), &claims),
        forge.sign("[]", &claims),
        forge.sign("", &claims),
    ];
    // The last character of a signature of 64 bytes carries two spare bits.
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let last =
        alphabet.iter().position(|symbol| *symbol == *good.as_bytes().last().unwrap()).unwrap();
    bad.push(format!("{}{}", &good[..good.len() - 1], char::from(alphabet[last ^ 1])));
    for token in bad {
        let shown: String = token.chars().take(80).collect();
        assert_eq!(
            forge.verifier().verify(&token).await.unwrap_err(),
            AccessFault::NotOurs,
            "{shown}"
        );
    }
}

/// C14: HS256 keyed with anything that is known of an asymmetric key.
#[tokio::test]
async fn a_public_key_is_never_taken_for_a_shared_secret() {
    for (algorithm, keys) in
        every_kind().into_iter().filter(|(algorithm, _)| *algorithm != Algorithm::Hs256)
    {
        let jwk = keys.public_jwk().unwrap();
        let json = serde_json::to_string(&jwk).unwrap();
        for secret in [json.clone(), format!(" {json}\n"), jwk.kid().to_owned(), String::new()] {
            let header = json!({ "typ": "at+jwt", "alg": "HS256", "kid": jwk.kid() }).to_string();
            let signed = format!("{}.{}", encode(header), encode(Forge::claims().to_string()));
            let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
            let token = format!("{signed}.{}", encode(hmac::sign(&key, signed.as_bytes())));
            assert_eq!(
                verifier(&keys, algorithm).verify(&token).await.unwrap_err(),
                AccessFault::NotOurs
            );
        }
    }
}

/// Requirement 64: the fixed form of r and s, never DER.
#[tokio::test]
async fn an_ecdsa_signature_in_der_is_refused() {
    let pair = p256();
    let keys =
        SigningKeys::from_pem(pem("PRIVATE KEY", pair.to_pkcs8v1().unwrap().as_ref())).unwrap();
    let header = json!({ "typ": "at+jwt", "alg": "ES256" }).to_string();
    let signed = format!("{}.{}", encode(header), encode(Forge::claims().to_string()));
    let asn1 = EcdsaKeyPair::from_pkcs8(
        &aws_lc_rs::signature::ECDSA_P256_SHA256_ASN1_SIGNING,
        pair.to_pkcs8v1().unwrap().as_ref(),
    );
    let (random, asn1) = (SystemRandom::new(), asn1.unwrap());
    let fixed = format!("{signed}.{}", encode(pair.sign(&random, signed.as_bytes()).unwrap()));
    let der = format!("{signed}.{}", encode(asn1.sign(&random, signed.as_bytes()).unwrap()));
    verifier(&keys, Algorithm::Es256).verify(&fixed).await.unwrap();
    assert_eq!(
        verifier(&keys, Algorithm::Es256).verify(&der).await.unwrap_err(),
        AccessFault::NotOurs
    );
}

#[tokio::test]
async fn a_token_of_another_algorithm_than_the_ones_asked_for_is_refused() {
    let ed = Forge::new().keys;
    let rsa_keys = rsa();
    let rsa_keys = SigningKeys::from_pem(pem("PRIVATE KEY", &pkcs8_of_rsa(&rsa_keys))).unwrap();
    let both = ed.clone().publish(rsa_keys.public_jwk().unwrap()).unwrap();
    let by_rsa = issue(&engine(&rsa_keys)).await;
    verifier(&both, Algorithm::Rs256).verify(&by_rsa).await.unwrap();
    assert_eq!(
        verifier(&both, Algorithm::EdDsa).verify(&by_rsa).await.unwrap_err(),
        AccessFault::NotOurs
    );
    // R22: none, or one without a key, does not make a verifier.
    let keys = || ed.verification_keys().unwrap();
    assert_eq!(
        AccessTokenVerifier::new(ISSUER, AUDIENCE, [], keys()).unwrap_err(),
        KeyError::Empty
    );
    assert_eq!(
        AccessTokenVerifier::new(ISSUER, AUDIENCE, [Algorithm::Rs256], keys()).unwrap_err(),
        KeyError::Empty
    );
    // Without a kid, and with two keys that fit, there is nothing to choose by.
    let two = ed.clone().publish(Forge::new().keys.public_jwk().unwrap()).unwrap();
    let forge = Forge::new();
    let two_with_forge = two.publish(forge.keys.public_jwk().unwrap()).unwrap();
    let nameless = changed(forge.header(), "kid", Value::Null).to_string();
    let token = forge.sign(&nameless, &Forge::claims().to_string());
    forge.verifier().verify(&token).await.unwrap();
    assert_eq!(
        verifier(&two_with_forge, Algorithm::EdDsa).verify(&token).await.unwrap_err(),
        AccessFault::NotOurs
    );
}

/// RFC 6750 section 3: challenges, by table.
#[tokio::test]
async fn a_protected_route_answers_with_the_challenge_of_rfc_6750() {
    let keys = SigningKeys::generate().unwrap();
    let (verifier, token) = (verifier(&keys, Algorithm::Es256), issue(&engine(&keys)).await);
    let good = format!("Bearer {token}");
    let realm = r#"Bearer realm="https://id.example.com""#;
    for (headers, query, scope, status, challenge) in [
        (vec![], None, "", 401, Some(realm.to_owned())),
        (vec!["Basic abc"], None, "", 401, Some(realm.to_owned())),
        (vec![""], None, "", 401, Some(realm.to_owned())),
        (vec!["Bearerx"], None, "", 401, Some(realm.to_owned())),
        (vec!["Bearer-Token abc"], None, "", 401, Some(realm.to_owned())),
        (vec!["Bearer"], None, "", 400, Some("invalid_request".to_owned())),
        (vec!["Bearer "], None, "", 400, Some("invalid_request".to_owned())),
        (vec!["Bearer  abc"], None, "", 401, Some("invalid_token".to_owned())), // RFC 6750 section 2.1: 1*SP
        (vec!["Bearer \tabc"], None, "", 400, Some("invalid_request".to_owned())),
        (vec!["Bearer\t abc"], None, "", 400, Some("invalid_request".to_owned())),
        (vec!["Bearer   "], None, "", 400, Some("invalid_request".to_owned())),
        (vec!["Bearer\tabc"], None, "", 400, Some("invalid_request".to_owned())),
        (vec!["Bearer abc "], None, "", 400, Some("invalid_request".to_owned())),
        (vec!["Bearer a b"], None, "", 400, Some("invalid_request".to_owned())),
        (vec!["Bearer a=b"], None, "", 400, Some("invalid_request".to_owned())),
        (vec!["Bearer ="], None, "", 400, Some("invalid_request".to_owned())),
        (vec!["Bearer ä"], None, "", 400, Some("invalid_request".to_owned())),
        (vec![&good, &good], None, "", 400, Some("invalid_request".to_owned())),
        (vec![&good], Some("access_token=x"), "", 400, Some("invalid_request".to_owned())),
        (vec![&good], Some("a=1&access%5Ftoken=x"), "", 400, Some("invalid_request".to_owned())),
        (vec![], Some("access_token=x"), "", 401, Some(realm.to_owned())), // never read
        (vec!["Bearer abc"], None, "", 401, Some("invalid_token".to_owned())),
        (vec!["Bearer abc=="], None, "", 401, Some("invalid_token".to_owned())),
        (vec![&good], None, "admin", 403, Some("insufficient_scope".to_owned())),
        (vec![&good], None, "profile admin", 403, Some("insufficient_scope".to_owned())),
        (vec![&good], None, "profil", 403, Some("insufficient_scope".to_owned())),
        (vec![&good], None, " ", 403, Some("insufficient_scope".to_owned())),
        (vec![&good], None, "profile ", 403, Some("insufficient_scope".to_owned())),
        (vec![&good], None, "profile", 200, None),
        (vec![&good], None, "", 200, None),
        (vec![&good.replace("Bearer", "bEaReR")], None, "profile", 200, None),
        (vec![&good.replace("Bearer ", "Bearer   ")], None, "profile", 200, None),
        (vec![&good], Some("q=access_token"), "profile", 200, None),
    ] {
        let lines = headers.iter().map(|value| ("Authorization", value.as_bytes()));
        let request = BearerRequest::new(lines, query);
        let judged = if scope.is_empty() {
            verifier.authenticate(request).await
        } else {
            verifier.authorize(request, scope).await
        };
        let Err(refusal) = judged else {
            assert_eq!((status, &challenge), (200, &None), "{headers:?} {query:?}");
            continue;
        };
        assert_eq!(refusal.status(), status, "{headers:?} {query:?}");
        assert_eq!(refusal.header("cache-control"), Some("no-store"));
        let sent = refusal.header("www-authenticate").unwrap();
        let expected = challenge.unwrap();
        if expected == realm {
            assert_eq!(sent, realm, "no error code where there was no token");
            assert!(refusal.body().is_empty());
        } else {
            assert!(sent.starts_with(&format!(r#"{realm}, error="{expected}""#)), "{sent}");
            let body: Value = serde_json::from_slice(refusal.body()).unwrap();
            assert_eq!(body["error"], expected);
        }
        assert_eq!(sent.contains(&format!(r#"scope="{scope}""#)), status == 403, "{sent}");
    }
}

#[cfg(feature = "http")]
#[tokio::test]
async fn a_route_is_protected_with_what_the_framework_has() {
    let keys = SigningKeys::generate().unwrap();
    let (verifier, token) = (verifier(&keys, Algorithm::Es256), issue(&engine(&keys)).await);
    let request = |uri: &str| {
        let builder = http::Request::get(uri).header("authorization", format!("Bearer {token}"));
        builder.body(()).unwrap().into_parts().0
    };
    let parts = request("/api/me");
    assert_eq!(verifier.authorize(&parts.headers, "profile").await.unwrap().subject, "user-1");
    assert_eq!(verifier.authorize(&parts, "profile").await.unwrap().subject, "user-1");
    let http = HttpRequest::from_parts(&parts, b"");
    assert_eq!(verifier.authenticate(&http).await.unwrap().client_id, "mobile");
    let parts = request("/api/me?access_token=x");
    assert_eq!(verifier.authenticate(&parts).await.unwrap_err().status(), 400);
}

#[tokio::test]
async fn the_skew_is_bounded() {
    let forge = Forge::new();
    let token = |exp: u64| {
        forge.sign(
            &forge.header().to_string(),
            &changed(Forge::claims(), "exp", json!(exp)).to_string(),
        )
    };
    let now = noon().unix_seconds();
    let none = forge.verifier().skew(Duration::ZERO);
    assert_eq!(none.verify(&token(now)).await.unwrap_err(), AccessFault::Expired);
    none.verify(&token(now + 1)).await.unwrap();
    let most = forge.verifier().skew(Duration::from_secs(3600));
    most.verify(&token(now - 59)).await.unwrap();
    assert_eq!(most.verify(&token(now - 60)).await.unwrap_err(), AccessFault::Expired);
}

/// Opaque tokens: JWT is a choice.
#[tokio::test]
async fn opaque_tokens_are_random_kept_as_digests_and_looked_up() {
    let store = InMemoryTokens::new();
    let tokens = OpaqueIssuer::new(store.clone(), AUDIENCE);
    let clock = ManualClock::at(noon());
    let builder =
        PasswordGrant::builder(ISSUER, common::clients(), Users::default(), tokens.clone());
    let grant =
        builder.environment(&Environment::new().clock(clock.clone()).observer(())).build().unwrap();
    let (token, other) = (issue(&grant).await, issue(&grant).await);
    assert_ne!(token, other);
    assert_eq!(token.len(), 43, "256 bits in base64url");

    let verifier = AccessTokenVerifier::by_lookup(ISSUER, AUDIENCE, tokens.clone())
        .environment(&Environment::new().clock(clock.clone()).observer(()));
    let verified = verifier.verify(&token).await.unwrap();
    assert_eq!(
        (verified.subject.as_str(), verified.client_id.as_str(), verified.scope.as_str()),
        ("user-1", "mobile", "profile")
    );
    assert_eq!(verifier.verify(&token[1..]).await.unwrap_err(), AccessFault::NotOurs);
    assert_eq!(verifier.verify(&format!("{token}A")).await.unwrap_err(), AccessFault::NotOurs);
    let elsewhere =
        AccessTokenVerifier::by_lookup(ISSUER, "https://other.example.com", tokens.clone());
    assert_eq!(
        elsewhere
            .environment(&Environment::new().clock(clock.clone()))
            .verify(&token)
            .await
            .unwrap_err(),
        AccessFault::Audience
    );

    assert_eq!(tokens.inspect(&token, noon()).await.unwrap().unwrap().subject, "user-1");
    assert!(tokens.inspect(&token, noon().plus(Duration::from_secs(600))).await.unwrap().is_none());
    clock.advance(Duration::from_secs(630));
    assert_eq!(verifier.verify(&token).await.unwrap_err(), AccessFault::Expired);
    assert!(
        serde_json::from_slice::<Value>(grant.metadata().body()).unwrap().get("jwks_uri").is_none()
    );
}

#[tokio::test]
async fn a_token_table_that_fails_neither_issues_nor_lets_through() {
    struct Down;
    #[async_trait]
    impl TokenStore for Down {
        async fn save(&self, _: &TokenDigest, _: &TokenDetails) -> Result<(), BoxError> {
            Err("disk full".into())
        }
        async fn find(&self, _: &TokenDigest) -> Result<Option<TokenDetails>, BoxError> {
            Err("disk gone".into())
        }
    }
    let tokens = OpaqueIssuer::new(Arc::new(Down), AUDIENCE);
    let builder =
        PasswordGrant::builder(ISSUER, common::clients(), Users::default(), tokens.clone());
    let grant = builder.environment(&Environment::new().observer(())).build().unwrap();
    let form = format!("{GOOD}&client_id=mobile");
    let request =
        HttpRequest::new("POST", None, [("content-type", FORM.as_bytes())], form.as_bytes());
    Answer::from(grant.token(request).await).is(500, "server_error");

    let verifier = AccessTokenVerifier::by_lookup(ISSUER, AUDIENCE, tokens)
        .environment(&Environment::new().observer(()));
    let headers = [("authorization", &b"Bearer abc"[..])];
    let refusal = verifier.authenticate(BearerRequest::new(headers, None)).await.unwrap_err();
    assert_eq!((refusal.status(), refusal.header("retry-after")), (503, Some("1")));
    assert!(!String::from_utf8_lossy(refusal.body()).contains("disk"));
}

#[tokio::test]
async fn what_an_opaque_token_means_survives_a_json_column() {
    struct Column(std::sync::Mutex<std::collections::HashMap<TokenDigest, String>>);
    #[async_trait]
    impl TokenLookup for Column {
        async fn look_up(&self, token: &str) -> Result<Option<TokenDetails>, BoxError> {
            let rows = self.0.lock().unwrap();
            Ok(rows
                .values()
                .find(|_| token == "known")
                .map(|row| serde_json::from_str(row))
                .transpose()?)
        }
    }
    let tokens = InMemoryTokens::new();
    let issuer = OpaqueIssuer::new(tokens, AUDIENCE);
    let builder =
        PasswordGrant::builder(ISSUER, common::clients(), Users::default(), issuer.clone());
    let token =
        issue(&builder.environment(&Environment::new().observer(())).build().unwrap()).await;
    let details = issuer.look_up(&token).await.unwrap().unwrap();
    let row = serde_json::to_string(&details).unwrap();
    let column = Column(std::sync::Mutex::new([([0; 32], row)].into()));
    let verifier = AccessTokenVerifier::by_lookup(ISSUER, AUDIENCE, column)
        .environment(&Environment::new().observer(()));
    assert_eq!(verifier.verify("known").await.unwrap().scope.as_str(), "profile");
}

#[tokio::test]
async fn a_jwt_issuer_inspects_its_own_tokens() {
    for (_, keys) in every_kind() {
        let token = issue(&engine(&keys)).await;
        let issuer = JwtIssuer::new(keys, AUDIENCE);
        assert_eq!(issuer.inspect(&token, noon()).await.unwrap().unwrap().client_id, "mobile");
        assert!(
            issuer.inspect(&token, noon().plus(Duration::from_secs(600))).await.unwrap().is_none()
        );
        assert!(issuer.inspect("garbage", noon()).await.unwrap().is_none());
    }
}
