//! `ClientAssertion`, the client side, and the keys that it signs with.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use password_grant::assertion::{AssertionError, AssertionKey, ClientAssertion};
use password_grant::testing::ManualClock;
use password_grant::{Algorithm, Environment};
use serde_json::{Value, json};

use crate::common::fakes::NoRandomness;
use crate::common::private_keys::{ed25519, pkcs8_of_rsa, rsa_pair};
use crate::common::{ISSUER, noon, segment};
use crate::support::{SECRET, TOKEN_ENDPOINT, ask, assertions, world_of};

#[test]
fn an_assertion_says_what_the_specifications_want() {
    let clock = ManualClock::at(noon());
    let now = noon().unix_seconds();
    let certificate = b"DER";
    let key = AssertionKey::from_pem(ed25519()).unwrap();
    let built = ClientAssertion::new("backend", ISSUER, key.clone().with_kid("backend-1"))
        .environment(&Environment::new().clock(clock.clone()));
    let assertion = built.sign().unwrap();
    assert_eq!(
        segment(&assertion, 0),
        json!({ "typ": "client-authentication+jwt", "alg": "EdDSA", "kid": "backend-1" })
    );
    let mut claims = segment(&assertion, 1);
    let id = claims.as_object_mut().unwrap().remove("jti").unwrap();
    assert_eq!(URL_SAFE_NO_PAD.decode(id.as_str().unwrap()).unwrap().len(), 16);
    assert_eq!(
        claims,
        json!({ "iss": "backend", "sub": "backend", "aud": ISSUER, "iat": now, "exp": now + 300 })
    );
    assert_ne!(segment(&built.sign().unwrap(), 1)["jti"], id, "each has its own");

    let named = key.certificate(certificate).certificate_by_sha1(certificate);
    let built = ClientAssertion::new("backend", ISSUER, named)
        .environment(&Environment::new().clock(clock))
        .audiences([ISSUER, TOKEN_ENDPOINT])
        .lifetime(Duration::from_secs(60))
        .header_type("JWT")
        .claim("tenant", "demo")
        .claim("nbf", now);
    let assertion = built.sign().unwrap();
    let header = segment(&assertion, 0);
    assert_eq!((&header["typ"], header.get("kid")), (&json!("JWT"), None));
    assert_eq!(header["x5t"], "il8CqqUhLpu-kH2OhOO19-jGeWc", "{header}");
    assert_eq!(header["x5t#S256"], "v_0oyO6xCl5Qzxe1j0d-oYA4la5pdE5utTy8w79Cets", "{header}");
    let claims = segment(&assertion, 1);
    assert_eq!(
        (&claims["aud"], &claims["exp"]),
        (&json!([ISSUER, TOKEN_ENDPOINT]), &json!(now + 60))
    );
    assert_eq!((&claims["tenant"], &claims["nbf"]), (&json!("demo"), &json!(now)));

    let [kind, assertion] = built.parameters().unwrap();
    assert_eq!(kind.1, "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
    assert_eq!((kind.0, assertion.0), ("client_assertion_type", "client_assertion"));

    for name in ["iss", "sub", "aud", "iat", "exp", "jti"] {
        let key = AssertionKey::from_secret(SECRET).unwrap();
        let error = ClientAssertion::new("backend", ISSUER, key).claim(name, 1).sign().unwrap_err();
        assert!(matches!(error, AssertionError::Claim(own) if own == name));
    }
    let key = AssertionKey::from_secret(SECRET).unwrap();
    let error = ClientAssertion::new("backend", ISSUER, key)
        .environment(&Environment::new().randomness(NoRandomness))
        .sign()
        .unwrap_err();
    assert!(matches!(error, AssertionError::Randomness(_)));
}

/// RFC 8037 appendix A.1, RFC 7517 appendix A.2.
#[tokio::test]
async fn a_private_jwk_signs_as_its_pem_would() {
    const ED25519: &str = r#"{"kty":"OKP","crv":"Ed25519","kid":"ed",
        "d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
        "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    const P256: &str = r#"{"kty":"EC","crv":"P-256","use":"sig","key_ops":["sign"],
        "x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
        "y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
        "d":"870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE","kid":"1"}"#;
    for (jwk, algorithm) in [(ED25519, Algorithm::EdDsa), (P256, Algorithm::Es256)] {
        let key = AssertionKey::from_jwk(jwk).unwrap();
        assert_eq!(key.algorithm(), algorithm);
        let world = world_of(&key);
        let assertion = assertions(&world, &key).sign().unwrap();
        assert_eq!(
            segment(&assertion, 0)["kid"],
            serde_json::from_str::<Value>(jwk).unwrap()["kid"]
        );
        ask(&world, &assertion).await.is_granted();
        assert!(!format!("{key:?}").contains("nWGxne") && !format!("{key:?}").contains("870MB"));
    }
    let pair = rsa_pair();
    let private = pkcs8_of_rsa(&pair);
    let jwk = rsa_jwk(&private);
    for (alg, algorithm) in [("RS256", Algorithm::Rs256), ("PS256", Algorithm::Ps256)] {
        let mut jwk = jwk.clone();
        jwk["alg"] = alg.into();
        let key = AssertionKey::from_jwk(jwk.to_string()).unwrap();
        assert_eq!(key.algorithm(), algorithm);
        let world = world_of(&key);
        ask(&world, &assertions(&world, &key).sign().unwrap()).await.is_granted();
    }

    let change = |change: &dyn Fn(&mut Value)| {
        let mut jwk: Value = serde_json::from_str(ED25519).unwrap();
        change(&mut jwk);
        AssertionKey::from_jwk(jwk.to_string()).map(|_| ())
    };
    let other = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURp";
    assert!(change(&|jwk| drop(jwk.as_object_mut().unwrap().remove("d"))).is_err());
    assert!(change(&|jwk| jwk["d"] = 7.into()).is_err());
    assert!(change(&|jwk| jwk["d"] = "AAAA".into()).is_err());
    assert!(change(&|jwk| jwk["d"] = other.into()).is_err(), "the halves do not belong together");
    assert!(change(&|jwk| jwk["p"] = "AAAA".into()).is_err());
    assert!(change(&|jwk| jwk["kty"] = "oct".into()).is_err());
    assert!(AssertionKey::from_jwk("[]").is_err());
}

/// The members of an RSA private key as a JWK, from its PKCS#8 form: the integers of RFC 8017
/// appendix A.1.2, in their order.
fn rsa_jwk(pkcs8: &[u8]) -> Value {
    let start = pkcs8.windows(2).position(|bytes| bytes == [0x04, 0x82]).unwrap() + 4;
    let mut rest = &pkcs8[start + 4..];
    let mut numbers = Vec::new();
    while let [2, length, after @ ..] = rest {
        let (length, after) = match *length {
            0x81 => (usize::from(after[0]), &after[1..]),
            0x82 => (usize::from(after[0]) << 8 | usize::from(after[1]), &after[2..]),
            short => (usize::from(short), after),
        };
        let number = &after[..length];
        let number = number.strip_prefix(&[0]).filter(|rest| !rest.is_empty()).unwrap_or(number);
        numbers.push(URL_SAFE_NO_PAD.encode(number));
        rest = &after[length..];
    }
    let names = ["version", "n", "e", "d", "p", "q", "dp", "dq", "qi"];
    let members =
        names.iter().zip(numbers).skip(1).map(|(name, number)| ((*name).to_owned(), number.into()));
    let mut jwk = Value::Object(members.collect());
    jwk["kty"] = "RSA".into();
    jwk
}
