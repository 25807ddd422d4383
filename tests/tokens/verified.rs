//! What a verifier accepts (RFC 8725, RFC 9068 section 4).

use std::time::Duration;

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::EcdsaKeyPair;
use password_grant::event::AccessFault;
use password_grant::resource::VerifierError;
use password_grant::testing::ManualClock;
use password_grant::{
    AccessTokenVerifier, Algorithm, Environment, JwtIssuer, PasswordGrant, SigningKeys,
};
use serde_json::{Value, json};

use crate::common::private_keys::{pkcs8_of_rsa, rsa_pair};
use crate::common::{AUDIENCE, ISSUER, Users, clients, encode, noon};
use crate::support::{Forge, changed, engine, every_kind, issue, p256, pem, verifier};

/// RFC 8725, RFC 9068 section 4, requirement 125; incidents C15, C16, C17.
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
    // Signed by a key that comes in the header.
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

/// Incidents C18, C20, R23; requirements 58, 125, 128.
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
        ("login_epoch", json!(0), Ok(())),
        ("login_epoch", json!(u64::MAX), Ok(())),
        ("login_epoch", json!("0"), no),
        ("login_epoch", json!(1.5), no),
        ("login_epoch", json!(-1), no),
        ("login_epoch", json!([0]), no),
        ("login_epoch", Value::Null, Ok(())), // absent
        ("nbf", json!(now), Ok(())),
        ("nbf", json!(now + 30), Ok(())),
        ("nbf", json!(now + 31), Err(AccessFault::NotYetValid)),
        ("nbf", json!("0"), no),
        ("nbf", json!(1.5), Ok(())),
        ("nbf", json!(-1.5), no),
        // A NumericDate may have a fraction, which is rounded so that the token does not gain by
        // it.
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

/// A token whose `iat` has a fraction is older than a log-out later in that second.
#[tokio::test]
async fn a_fraction_of_a_second_makes_no_token_younger_than_a_log_out() {
    let forge = Forge::new();
    let clock = ManualClock::at(noon());
    let tokens = JwtIssuer::new(forge.keys.clone(), AUDIENCE);
    let builder = PasswordGrant::builder(ISSUER, clients(), Users::default(), tokens);
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

/// Without serde_json's feature `arbitrary_precision`, its marker is a member like any other.
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

/// Incidents C19, C21, C22; RFC 7515 section 7.1.
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
        // The same member in another spelling.
        forge.sign(&header, &claims.replacen('{', "{\"\\u0073ub\":\"user-2\",", 1)),
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

/// Incident C14: HS256 with anything public about an asymmetric key as its secret.
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

/// Requirement 64: r and s have their fixed length, never DER.
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
    let rsa_keys = rsa_pair();
    let rsa_keys = SigningKeys::from_pem(pem("PRIVATE KEY", &pkcs8_of_rsa(&rsa_keys))).unwrap();
    let both = ed.clone().publish(rsa_keys.public_jwk().unwrap()).unwrap();
    let by_rsa = issue(&engine(&rsa_keys)).await;
    verifier(&both, Algorithm::Rs256).verify(&by_rsa).await.unwrap();
    assert_eq!(
        verifier(&both, Algorithm::EdDsa).verify(&by_rsa).await.unwrap_err(),
        AccessFault::NotOurs
    );
    // Incident R22: a verifier cannot be built without an algorithm, or with one that has no key.
    let keys = || ed.verification_keys().unwrap();
    assert_eq!(
        AccessTokenVerifier::new(ISSUER, AUDIENCE, [], keys()).unwrap_err(),
        VerifierError::NoAlgorithm
    );
    assert_eq!(
        AccessTokenVerifier::new(ISSUER, AUDIENCE, [Algorithm::Rs256], keys()).unwrap_err(),
        VerifierError::NoKey(Algorithm::Rs256)
    );
    // It would refuse every token.
    for (issuer, audience, error) in
        [("", AUDIENCE, VerifierError::EmptyIssuer), (ISSUER, "", VerifierError::EmptyAudience)]
    {
        assert_eq!(
            AccessTokenVerifier::new(issuer, audience, [Algorithm::EdDsa], keys()).unwrap_err(),
            error
        );
    }
    // A token without a `kid` is refused if two keys fit.
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
